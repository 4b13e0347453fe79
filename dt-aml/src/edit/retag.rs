//! Other tags for an element, and other text around the root element.

use super::error::EditError;
use super::model::{Edit, RemovePolicy};
use super::region::Region;
use super::transaction::Transaction;
use crate::arena::tree::{Node, NodeId, Span, Tree};
use crate::caex::class;
use crate::caex::reference;
use crate::kind::Kind;
use crate::xml::{self, Shape};

impl Transaction<'_> {
    /// Gives an element other tags, in the scope of its parent: `start` and `end`, or only `start` if it closes itself.
    pub(crate) fn retag(&mut self, node: NodeId, start: &str, end: &str) -> Result<NodeId, EditError> {
        let Node { parent, head, tail, end: former_end, first, .. } = *self.tree().node(node);
        if end.is_empty() && (first.is_some() || !tail.is_empty()) {
            return Err(EditError::NotTags);
        }
        let undo_tags = [head, former_end].map(|span| self.tree().text(span).to_owned());
        let keeps_meaning = xml::are_alike(self.tree().head(node), start);
        let tags = self.grow(&[start, end].concat(), Shape::Element, parent)?;
        let Node { head, end: new_end, .. } = *self.tree().node(tags.roots[0]);
        if head.len() != start.len() as u64 || new_end.len() != end.len() as u64 {
            return Err(EditError::NotTags);
        }
        let node =
            if keeps_meaning { self.swap_tags(node, head, new_end) } else { self.regrow(node, start, end)? };
        if self.remembers() {
            let [start, end] = undo_tags;
            let undo =
                Edit::Retag { address: self.address(node)?, start, end, policy: RemovePolicy::OpenLinks };
            self.remember(undo);
        }
        Ok(node)
    }

    /// Gives an element tags that change nothing about what stands in it.
    fn swap_tags(&mut self, node: NodeId, head: Span, end: Span) -> NodeId {
        // The paths of classes hold the names of what they stand in, and a value is a reference by its attribute's type.
        let reaches_down = names_reach_down(self.tree().node(node).kind);
        if reaches_down {
            self.unindex_all(node)
        } else {
            self.unindex(node)
        }
        self.change_counted(node, |node| (node.head, node.end) = (head, end));
        if reaches_down {
            self.index_all(node)
        } else {
            self.index(node)
        }
        let last = self.tree().node(node).last;
        self.rehash_from(node, last, None);
        node
    }

    /// Reads an element anew between other tags, since they change what its content means.
    fn regrow(&mut self, node: NodeId, start: &str, end: &str) -> Result<NodeId, EditError> {
        let Node { parent, gap, .. } = *self.tree().node(node);
        let inner = Region { parent: node, prev: None, next: None }.text(self.tree());
        let grown = self.grow(&[start, &inner, end].concat(), Shape::Element, parent)?;
        let fresh = grown.roots[0];
        match parent {
            Some(parent) => {
                let region = Region::around(self.tree(), parent, node);
                let closing = region.closing(self.tree());
                self.refill(region, &[(fresh, gap)], closing)?;
            }
            None => {
                self.exchange_root(fresh, grown.version)?;
                if self.tree().node(fresh).kind != Kind::CaexFile {
                    return Err(EditError::Root);
                }
            }
        }
        Ok(fresh)
    }

    /// Puts other text before the root element, or behind it.
    pub(crate) fn surround(&mut self, before: bool, text: &str) -> Result<(), EditError> {
        let span = self.document.tree.add_buffer(text);
        let root = self.tree().root;
        let former = if before { self.tree().node(root).gap } else { self.tree().epilog };
        if self.remembers() {
            let former = self.tree().text(former).to_owned();
            self.remember(Edit::around_root(before, former));
        }
        self.document.tree.bytes = self.tree().bytes - former.len() + span.len();
        if before {
            self.change(root, |node| node.gap = span);
        } else {
            self.document.tree.epilog = span;
        }
        self.check_size()
    }
}

/// Whether what stands in an element of this kind is found by a name that its ancestors' names are part of.
fn names_reach_down(kind: Kind) -> bool {
    class::is_class_or_library(kind) || reference::is_part(kind)
}

/// The elements that another start tag may give another ID, name or meaning: all in the element, or that alone.
pub(super) fn renamed_by<'t>(
    tree: &'t Tree,
    node: NodeId,
    start: &str,
) -> impl Iterator<Item = NodeId> + use<'t> {
    let is_alone = xml::are_alike(tree.head(node), start) && !names_reach_down(tree.node(node).kind);
    tree.preorder(node).take(if is_alone { 1 } else { usize::MAX })
}
