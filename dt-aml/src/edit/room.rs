//! Puts elements in and takes them out, with the white space that comes and goes with them: see `place`.

use super::error::EditError;
use super::place::{self, Lone, Place};
use super::region::Region;
use super::transaction::Transaction;
use crate::arena::tree::{Node, NodeId, Span};
use crate::xml;

impl Transaction<'_> {
    /// Puts a node that stands nowhere behind `after`, or at the end of its group, on a line like its siblings'.
    pub(super) fn put(
        &mut self,
        node: NodeId,
        parent: NodeId,
        after: Option<NodeId>,
    ) -> Result<Region, EditError> {
        let Place { prev, next } = match after {
            Some(after) => Place::behind(self.tree(), parent, Some(after)),
            None => Place::at_end_of_group(self.tree(), parent, node),
        };
        let region = Region { parent, prev, next };
        let (gap, closing) = match prev.or(next) {
            Some(sibling) => {
                let line = place::last_line(self.tree(), self.tree().node(sibling).gap);
                (line, region.closing(self.tree()))
            }
            None => self.make_room(parent)?,
        };
        self.fill(region, &[(node, gap)], closing)?;
        Ok(region)
    }

    /// Opens a childless element for its first child; returns what stands before the child and behind it.
    fn make_room(&mut self, parent: NodeId) -> Result<(Span, Span), EditError> {
        let lone = Lone::of(self.tree(), parent);
        let Node { tail, end, .. } = *self.tree().node(parent);
        if end.is_empty() {
            self.open(parent)?;
            let tree = &mut self.document.tree;
            return Ok((tree.add_buffer(&lone.before), tree.add_buffer(&lone.behind)));
        }
        let tree = &mut self.document.tree;
        let looks_made = tree.text(tail) == lone.behind;
        Ok((tree.add_buffer(&if looks_made { lone.before_if_open() } else { lone.before }), tail))
    }

    /// Gives an element that closes itself an end tag.
    pub(super) fn open(&mut self, node: NodeId) -> Result<(), EditError> {
        let start = self.tree().head(node);
        let opened = format!("{}>", start.strip_suffix("/>").unwrap_or(start));
        let end = end_tag(start);
        self.retag(node, &opened, &end).map(|_| ())
    }

    /// Takes an element out of its parent, with the white space that belongs to it.
    pub(super) fn take_out(&mut self, node: NodeId, parent: NodeId) -> Result<(), EditError> {
        let region = Region::around(self.tree(), parent, node);
        let gap = self.tree().node(node).gap;
        if region.prev.is_none() && region.next.is_none() && self.is_made(parent, gap) {
            let start = self.tree().head(parent);
            let closed = format!("{}/>", start.strip_suffix('>').unwrap_or(start));
            self.fill(region, &[], Span::default())?;
            return self.retag(parent, &closed, "").map(|_| ());
        }
        let white = place::trailing_white(self.tree(), gap);
        let rest = Span { end: white.start, ..gap };
        let closing = region.closing(self.tree());
        let closing = self.document.tree.join(rest, closing);
        self.fill(region, &[], closing)
    }

    /// Whether an only child behind `gap` stands in its parent as [`Transaction::make_room`] leaves it.
    fn is_made(&self, parent: NodeId, gap: Span) -> bool {
        let tree = self.tree();
        let lone = Lone::of(tree, parent);
        let Node { head, tail, end, .. } = *tree.node(parent);
        tree.text(tail) == lone.behind
            && tree.text(gap) == lone.before
            && tree.text(end) == end_tag(tree.text(head))
    }
}

/// The end tag of an element that starts like this.
fn end_tag(start: &str) -> String {
    format!("</{}>", xml::tag_name(start))
}
