//! The hashes of a tree's elements: made when it grows, and followed through edits.
//!
//! # Invariants
//!
//! - A node's hash MUST be that of its present pieces, or [`SubtreeHash::UNSET`].
//! - Long elements, and the children of long elements, MUST have their hashes set once they were hashed: an edit in one
//!   child need not read the others.
//! - A node's `bytes` MUST be the length of its element in any case.

use crate::hash::{self, Children, SHORT, SubtreeHash};
use crate::tree::{NodeId, Span, Tree, Visit};

/// The runs among the children of an element that has many, so that an edit need not hash all children again.
///
/// # Invariant
/// These MUST be the runs that a walk over the children finds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Runs {
    ends: Vec<End>,
    hashes: Vec<SubtreeHash>,
}

/// The end of a run.
#[derive(Clone, Copy, Debug)]
struct End {
    /// The last child.
    child: NodeId,
    /// The length of all its children with the gaps before them.
    bytes: u32,
}

/// Children from which on the runs of an element are remembered.
const MANY: usize = 192;

impl Runs {
    /// The number of the run that ends behind `child`.
    fn of_end(&self, child: NodeId) -> Option<usize> {
        self.ends.iter().position(|end| end.child == child)
    }
}

/// Some children of a long element, one after another.
#[derive(Default)]
struct Row {
    children: Children,
    ends: Vec<End>,
    /// The length of the children behind the last run, with the gaps before them.
    rest: u32,
    count: usize,
}

impl Row {
    /// The length of all children with the gaps before them.
    fn bytes(&self) -> u32 {
        self.ends.iter().fold(self.rest, |bytes, end| bytes.saturating_add(end.bytes))
    }
}

impl Tree {
    /// The hash of the whole document.
    pub(crate) fn document_hash(&self) -> SubtreeHash {
        let root = self.node(self.root);
        hash::document(self.text(root.gap), self.hash(self.root), self.text(self.epilog))
    }

    /// The hash of an element, made from its bytes if it was not needed before.
    pub(crate) fn hash(&self, id: NodeId) -> SubtreeHash {
        let node = self.node(id);
        if node.hash != SubtreeHash::UNSET {
            return node.hash;
        }
        debug_assert!(node.bytes <= SHORT, "long elements have their hashes");
        hash::short(&self.source(id))
    }

    /// Sets the hashes that are needed in an element that has just grown.
    pub(crate) fn hash_grown(&mut self, top: NodeId) {
        let mut next = Some(Visit::Enter(top));
        while let Some(visit) = next {
            let (Visit::Enter(id) | Visit::Leave(id)) = visit;
            let node = self.node(id);
            let is_short = node.bytes <= SHORT;
            if let (Visit::Enter(_), Some(first), false) = (visit, node.first, is_short) {
                next = Some(Visit::Enter(first));
                continue;
            }
            next = node.next.map(Visit::Enter).or(node.parent.map(Visit::Leave)).filter(|_| id != top);
            if !is_short {
                let row = self.find_runs(id);
                self.node_mut(id).hash = self.long_hash(id, &row.children);
            } else if id != top {
                // What has just grown is of one piece.
                let source = Span { end: node.head.start + node.bytes, ..node.head };
                self.node_mut(id).hash = hash::short(self.text(source));
            }
        }
    }

    /// The length and the hash of `parent`, whose children have changed behind `left` and before `right` and nowhere else,
    /// where none is the end of its list. `left` and `right` themselves, gaps included, are as they were.
    ///
    /// The hash of a short element is not made before it is needed.
    pub(crate) fn rehash(
        &mut self,
        parent: NodeId,
        left: Option<NodeId>,
        right: Option<NodeId>,
    ) -> (u32, SubtreeHash) {
        if let Some(bytes) = self.length_if_short(parent) {
            self.forget_runs(parent);
            return (bytes, SubtreeHash::UNSET);
        }
        let row = match self.runs.get(&parent) {
            Some(_) => self.update_runs(parent, left, right),
            None => self.find_runs(parent),
        };
        (self.own_length(parent).saturating_add(row.bytes()), self.long_hash(parent, &row.children))
    }

    /// The length of an element without its children and the gaps before them.
    fn own_length(&self, id: NodeId) -> u32 {
        let node = self.node(id);
        [node.head, node.tail, node.end]
            .iter()
            .fold(0, |bytes: u32, span| bytes.saturating_add(span.end - span.start))
    }

    /// The length of an element, if it is short. Reads no more children than that takes.
    fn length_if_short(&self, id: NodeId) -> Option<u32> {
        let lengths = self.children(id).map(|child| self.length_with_gap(child));
        let mut lengths = std::iter::once(self.own_length(id)).chain(lengths);
        lengths.try_fold(0_u32, |bytes, length| bytes.checked_add(length).filter(|bytes| *bytes <= SHORT))
    }

    fn length_with_gap(&self, id: NodeId) -> u32 {
        let node = self.node(id);
        node.bytes.saturating_add(node.gap.end - node.gap.start)
    }

    fn long_hash(&self, id: NodeId, children: &Children) -> SubtreeHash {
        let node = self.node(id);
        hash::long(self.text(node.head), children, self.text(node.tail), self.text(node.end))
    }

    /// Adds the next child of a long element, whose hash is needed from now on.
    fn push_child(&mut self, row: &mut Row, child: NodeId) {
        if self.node(child).hash == SubtreeHash::UNSET {
            self.node_mut(child).hash = self.hash(child);
        }
        let node = self.node(child);
        row.count += 1;
        row.rest = row.rest.saturating_add(self.length_with_gap(child));
        if row.children.push(self.text(node.gap), node.hash) {
            row.ends.push(End { child, bytes: std::mem::take(&mut row.rest) });
        }
    }

    /// All children of a long element as its hash sees them; remembers the runs of many.
    fn find_runs(&mut self, parent: NodeId) -> Row {
        let mut row = Row::default();
        let mut next = self.node(parent).first;
        while let Some(child) = next {
            self.push_child(&mut row, child);
            next = self.node(child).next;
        }
        if row.count > MANY {
            let (ends, hashes) = (row.ends.clone(), row.children.runs.clone());
            self.remember_runs(parent, Runs { ends, hashes });
        }
        row
    }

    /// The same, where only runs between `left` and `right` are formed anew.
    fn update_runs(&mut self, parent: NodeId, left: Option<NodeId>, right: Option<NodeId>) -> Row {
        let ends_run = |child: &NodeId| self.node(*child).hash.ends_run();
        let before = std::iter::successors(left, |child| self.node(*child).prev).find(ends_run);
        let behind = std::iter::successors(right, |child| self.node(*child).next).find(ends_run);
        let runs = self.runs.get(&parent).cloned().unwrap_or_default();
        let from = before.and_then(|child| runs.of_end(child)).map_or(0, |number| number + 1);
        let to = behind.and_then(|child| runs.of_end(child)).map_or(runs.ends.len(), |number| number + 1);
        drop(runs);

        let mut row = Row::default();
        let mut next = before.map_or(self.node(parent).first, |child| self.node(child).next);
        let mut settled = false;
        while let Some(child) = next.filter(|_| !settled) {
            self.push_child(&mut row, child);
            next = self.node(child).next;
            settled = Some(child) == behind;
        }
        let runs = self.runs_mut(parent);
        runs.ends.splice(from..to, row.ends.drain(..));
        runs.hashes.splice(from..to, row.children.runs.drain(..));
        row.ends.clone_from(&runs.ends);
        row.children.runs.clone_from(&runs.hashes);
        if settled {
            // The last child so far ends a run, so the rest begins behind the last run of all.
            let last = row.ends.last().map(|end| end.child);
            let mut next = last.map_or(self.node(parent).first, |child| self.node(child).next);
            while let Some(child) = next {
                self.push_child(&mut row, child);
                next = self.node(child).next;
            }
        }
        row
    }
}
