//! The difference of two documents, as edits that turn one into the other.
//!
//! ```text
//!   align children ──► pairs ──► equal hashes: nothing to do
//!        │                └────► other hashes: other tags? then look inside
//!        └─ between two pairs the text differs: splice
//! ```
//!
//! Only what has another hash is looked into, so two versions of a large document are compared in the time that their difference takes, and a
//! walk over the children on the way to it. The edits are made on a snapshot as they are found, since each is addressed in the document
//! that the ones before it left.

use std::collections::{BTreeMap, BTreeSet};

use super::align::{self, Pair};
use super::error::EditError;
use super::model::{Edit, RemovePolicy};
use super::patch::Patch;
use super::region::Region;
use super::transaction::{Rules, Transaction};
use crate::arena::index;
use crate::arena::tree::{Node, NodeId, Tree};
use crate::document::Document;
use crate::kind::Kind;
use crate::limits::Limits;
use crate::xml;

impl Document {
    /// The edits that turn this document into `other`, byte for byte.
    ///
    /// Elements are the same if they have the same ID, or else the same tag and name, in the same element; what was moved elsewhere is
    /// taken out and put in again. The patch can be applied here whatever is wrong with `other`; [`Document::apply`] takes its edits if
    /// they bring nothing that breaks the rules of CAEX, and if none is larger than the limit for fragments: one element is never cut.
    ///
    /// # Errors
    /// [`EditError::Unaddressable`] if names or IDs are so long that what differs has no address.
    ///
    /// # Examples
    /// ```
    /// use dt_aml::{Document, Limits};
    ///
    /// let parse = |aml: &str| Document::parse(aml, &Limits::default());
    /// let mut old = parse(r#"<CAEXFile><InstanceHierarchy Name="Plant"/></CAEXFile>"#)?;
    /// let new = parse(
    ///     r#"<CAEXFile><InstanceHierarchy Name="Plant"><!-- new -->
    ///     <InternalElement Name="Motor" ID="m1"/></InstanceHierarchy></CAEXFile>"#,
    /// )?;
    /// let patch = old.diff(&new)?;
    /// old.apply(&patch.edits)?;
    /// assert_eq!(old.to_bytes(), new.to_bytes());
    /// assert_eq!(old.diff(&new)?.edits, []);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn diff(&self, other: &Self) -> Result<Patch, EditError> {
        let mut work = self.clone();
        // What comes is within the limits of the other document; what is there on the way is nobody's document.
        work.limits = Limits::NONE;
        let mut differ = Differ {
            work: Transaction::new(&mut work, Rules::WellFormed).without_undo(),
            other,
            largest: usize::try_from(self.limits.fragment).unwrap_or(usize::MAX),
            edits: Vec::new(),
        };
        differ.around()?;
        differ.root()?;
        while differ.make_way()? {}
        differ.descend()?;
        let edits = differ.edits;
        debug_assert_eq!(differ.work.root_hash(), other.root_hash);
        Ok(Patch { from: self.root_hash, to: other.root_hash, edits })
    }
}

struct Differ<'w, 'o> {
    /// The document on its way to be the other one.
    work: Transaction<'w>,
    other: &'o Document,
    /// Content is cut between elements where it would be longer.
    largest: usize,
    edits: Vec<Edit>,
}

/// A place where the content of two elements differs: everything between two children that stay.
struct Hole {
    ours: Region,
    theirs: Region,
}

impl Differ<'_, '_> {
    /// Makes the text before and behind the root element the same.
    fn around(&mut self) -> Result<(), EditError> {
        for is_prolog in [true, false] {
            let text = |tree: &Tree| {
                let span = if is_prolog { tree.node(tree.root).gap } else { tree.epilog };
                tree.text(span).to_owned()
            };
            let content = text(&self.other.tree);
            if content == text(self.work.tree()) {
                continue;
            }
            self.work.surround(is_prolog, &content)?;
            self.edits.push(Edit::around_root(is_prolog, content));
        }
        Ok(())
    }

    /// Makes the root elements ones that can be compared: with other namespaces, nothing in one means the same in the other.
    fn root(&mut self) -> Result<(), EditError> {
        let (ours, theirs) = (self.work.tree().root, self.other.tree.root);
        if align::is_comparable(self.work.tree(), ours, &self.other.tree, theirs) {
            return Ok(());
        }
        if !self.work.tree().node(ours).end.is_empty() {
            self.splice(Region { parent: ours, prev: None, next: None }, "")?;
        }
        let [start, end] = tags(&self.other.tree, theirs);
        // The other root may close itself, but then it has no content that would have to come.
        self.retag(ours, &start, &end).map(|_| ())
    }

    /// Takes out elements that stand in the way of others: what has been moved comes in another place than it goes from, and an ID or a name
    /// cannot be in both at once. Returns whether there were any.
    fn make_way(&mut self) -> Result<bool, EditError> {
        let mut going: BTreeMap<Claim, (usize, NodeId)> = BTreeMap::new();
        let mut coming: Vec<(Claim, usize)> = Vec::new();
        let mut pairs = vec![(self.work.tree().root, self.other.tree.root)];
        let mut number = 0;
        while let Some((ours, theirs)) = pairs.pop() {
            let (holes, inner) = self.compare(ours, theirs);
            pairs.extend(inner);
            for hole in holes {
                number += 1;
                for node in hole.ours.nodes(self.work.tree()) {
                    claims(self.work.tree(), node, ours, &mut |claim| {
                        going.insert(claim, (number, node));
                    });
                }
                for node in hole.theirs.nodes(&self.other.tree) {
                    claims(&self.other.tree, node, ours, &mut |claim| coming.push((claim, number)));
                }
            }
        }
        let in_the_way = coming.iter().filter_map(|(claim, hole)| {
            going.get(claim).filter(|(other, _)| other != hole).map(|(_, node)| *node)
        });
        let in_the_way: BTreeSet<NodeId> = in_the_way.collect();
        for node in &in_the_way {
            let Node { parent: Some(parent), gap, .. } = *self.work.tree().node(*node) else { continue };
            let region = Region::around(self.work.tree(), parent, *node);
            let tree = self.work.tree();
            let content = [tree.text(gap), tree.text(region.closing(tree))].concat();
            self.splice(region, &content)?;
        }
        Ok(!in_the_way.is_empty())
    }

    /// Makes everything in the root element the same.
    fn descend(&mut self) -> Result<(), EditError> {
        let mut pairs = vec![(self.work.tree().root, self.other.tree.root)];
        while let Some((ours, theirs)) = pairs.pop() {
            let [start, end] = tags(&self.other.tree, theirs);
            let differs = tags(self.work.tree(), ours) != [start.as_str(), end.as_str()];
            let ours = if differs && !end.is_empty() { self.retag(ours, &start, &end)? } else { ours };
            let (holes, inner) = self.compare(ours, theirs);
            for hole in holes {
                self.close(hole)?;
            }
            if differs && end.is_empty() {
                self.retag(ours, &start, &end)?;
            }
            pairs.extend(inner);
        }
        Ok(())
    }

    /// Where the content of two elements differs: the holes between children that stay, and those of these that differ inside.
    fn compare(&self, ours: NodeId, theirs: NodeId) -> (Vec<Hole>, Vec<(NodeId, NodeId)>) {
        let (document, other) = (&*self.work.document, self.other);
        if document.tree.hash(ours) == other.tree.hash(theirs) {
            return (Vec::new(), Vec::new());
        }
        let pairs = align::children(document, ours, other, theirs);
        let mut holes = Vec::new();
        let mut inner = Vec::new();
        let mut before: Option<Pair> = None;
        for after in pairs.iter().copied().map(Some).chain([None]) {
            let region = |parent, side: fn(Pair) -> NodeId| Region {
                parent,
                prev: before.map(side),
                next: after.map(side),
            };
            let hole =
                Hole { ours: region(ours, |pair| pair.ours), theirs: region(theirs, |pair| pair.theirs) };
            if !hole.is_closed(&document.tree, &other.tree) {
                holes.push(hole);
            }
            if let Some(pair) = after
                && document.tree.hash(pair.ours) != other.tree.hash(pair.theirs)
            {
                inner.push((pair.ours, pair.theirs));
            }
            before = after;
        }
        (holes, inner)
    }

    /// Puts in a hole what comes in it, in pieces if it is long.
    fn close(&mut self, hole: Hole) -> Result<(), EditError> {
        let Hole { mut ours, theirs } = hole;
        let tree = &self.other.tree;
        let mut content = String::new();
        for node in theirs.nodes(tree) {
            let length = content.len();
            content.push_str(tree.text(tree.node(node).gap));
            tree.pieces(node).for_each(|piece| content.push_str(tree.text(piece)));
            if content.len() > self.largest && length > 0 {
                let next = content.split_off(length);
                ours.prev = self.splice(ours, &content)?;
                content = next;
            }
        }
        content.push_str(tree.text(theirs.closing(tree)));
        self.splice(ours, &content).map(|_| ())
    }

    /// Puts content in a region; returns the last element before its end.
    fn splice(&mut self, region: Region, content: &str) -> Result<Option<NodeId>, EditError> {
        self.edits.push(self.work.splice_of(region, content.to_owned())?);
        self.work.fill_in(region, content)?;
        let tree = self.work.tree();
        Ok(region.next.map_or(tree.node(region.parent).last, |next| tree.node(next).prev))
    }

    fn retag(&mut self, node: NodeId, start: &str, end: &str) -> Result<NodeId, EditError> {
        self.edits.push(Edit::Retag {
            address: self.work.address(node)?,
            start: start.to_owned(),
            end: end.to_owned(),
            policy: RemovePolicy::OpenLinks,
        });
        self.work.retag(node, start, end)
    }
}

impl Hole {
    /// Whether both sides are the same already.
    fn is_closed(&self, ours: &Tree, theirs: &Tree) -> bool {
        let (mut left, mut right) = (self.ours.nodes(ours), self.theirs.nodes(theirs));
        loop {
            match (left.next(), right.next()) {
                (Some(left), Some(right)) => {
                    let gaps_differ = ours.text(ours.node(left).gap) != theirs.text(theirs.node(right).gap);
                    if gaps_differ || ours.hash(left) != theirs.hash(right) {
                        return false;
                    }
                }
                (None, None) => {
                    return ours.text(self.ours.closing(ours)) == theirs.text(self.theirs.closing(theirs));
                }
                _ => return false,
            }
        }
    }
}

/// The start and the end tag of an element.
fn tags(tree: &Tree, node: NodeId) -> [String; 2] {
    let Node { head, end, .. } = *tree.node(node);
    [head, end].map(|span| tree.text(span).to_owned())
}

/// What only one element can have at a time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Claim {
    Id(String),
    /// The only child of this kind in an element of ours, or the only one with this name.
    Child(NodeId, Kind, Option<String>),
}

/// Calls `tell` with what an element in `parent`, and everything in it, claims for itself.
fn claims(tree: &Tree, top: NodeId, parent: NodeId, tell: &mut impl FnMut(Claim)) {
    tree.preorder(top)
        .filter_map(|node| index::id_of(tree, node))
        .for_each(|id| tell(Claim::Id(id.into_owned())));
    let kind = tree.node(top).kind;
    if kind != Kind::Other {
        let name = xml::attribute(tree.head(top), "Name").map(|name| name.into_owned());
        tell(Claim::Child(parent, kind, name));
    }
}
