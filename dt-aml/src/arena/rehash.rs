//! The hashes of a tree's elements: made when it grows, and followed through edits.
//!
//! # Invariants
//!
//! - A node's hash MUST be that of its present pieces, or [`SubtreeHash::UNSET`].
//! - Long elements, and the children of long elements, MUST have their hashes set once they were hashed: an edit in one
//!   child need not read the others.
//! - A node's `bytes` MUST be the length of its element in any case.

use std::sync::Arc;

use super::hash::{self, Children, SHORT, SubtreeHash};
use super::tree::{NodeId, Tree, Visit};

/// What is to be known of an element after a change in it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Renewal {
    /// Its length.
    pub(crate) bytes: u32,
    /// Its hash; that of a short element is not made before it is needed.
    pub(crate) hash: SubtreeHash,
}

/// The children of a long element as its hash sees them, run by run. Of an element that has many they are remembered, so that
/// an edit need not hash all children again.
///
/// # Invariant
/// These MUST be the runs that a walk over the children finds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Runs {
    children: Children,
    /// The end of each run.
    ends: Vec<End>,
    /// The length of the children behind the last run, with the gaps before them.
    rest: u32,
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
    fn new() -> Self {
        Self { children: Children::with_room(), ends: Vec::new(), rest: 0 }
    }

    /// The length of all children with the gaps before them.
    fn bytes(&self) -> u32 {
        self.ends.iter().fold(self.rest, |bytes, end| bytes.saturating_add(end.bytes))
    }

    /// The number of the run that ends behind `child`.
    fn of_end(&self, child: NodeId) -> Option<usize> {
        self.ends.iter().position(|end| end.child == child)
    }

    /// Puts other runs in the place of those behind `before` up to the one that ends at `last`; `None`: of all behind it, and of the
    /// children in no run.
    fn replace(&mut self, before: Option<NodeId>, last: Option<NodeId>, fresh: Self) {
        let behind = |end: Option<NodeId>| end.and_then(|end| self.of_end(end)).map(|number| number + 1);
        let range = behind(before).unwrap_or(0)..behind(last).unwrap_or(self.ends.len());
        self.ends.splice(range.clone(), fresh.ends);
        self.children.replace(range, fresh.children, last.is_none());
        if last.is_none() {
            self.rest = fresh.rest;
        }
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
            next = self.behind(id, top);
            if !is_short {
                let runs = self.find_runs(id);
                self.node_mut(id).hash = self.long_hash(id, &runs);
            } else if id != top {
                self.node_mut(id).hash = self.hash(id);
            }
        }
    }

    /// What is to be known of `parent`, whose children have changed behind `left` and before `right` and nowhere else,
    /// where none is the end of its list. `left` and `right` themselves, gaps included, are as they were.
    pub(crate) fn renewal(&mut self, parent: NodeId, left: Option<NodeId>, right: Option<NodeId>) -> Renewal {
        if let Some(bytes) = self.length_if_short(parent) {
            self.forget_runs(parent);
            return Renewal { bytes, hash: SubtreeHash::UNSET };
        }
        let runs = match self.runs.get(&parent) {
            Some(_) => self.update_runs(parent, left, right),
            None => self.find_runs(parent),
        };
        let bytes = self.own_length(parent).saturating_add(runs.bytes());
        Renewal { bytes, hash: self.long_hash(parent, &runs) }
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

    fn long_hash(&self, id: NodeId, runs: &Runs) -> SubtreeHash {
        let node = self.node(id);
        hash::long(self.text(node.head), &runs.children, self.text(node.tail), self.text(node.end))
    }

    /// Adds the next child of a long element, whose hash is needed from now on; returns whether it ends a run.
    fn push_child(&mut self, runs: &mut Runs, child: NodeId) -> bool {
        if self.node(child).hash == SubtreeHash::UNSET {
            self.node_mut(child).hash = self.hash(child);
        }
        let node = self.node(child);
        runs.rest = runs.rest.saturating_add(self.length_with_gap(child));
        let ends = runs.children.push(self.text(node.gap), node.hash);
        if ends {
            runs.ends.push(End { child, bytes: std::mem::take(&mut runs.rest) });
        }
        ends
    }

    /// Walks over all children of a long element; remembers the runs of many.
    fn find_runs(&mut self, parent: NodeId) -> Arc<Runs> {
        let (mut runs, mut count) = (Runs::new(), 0);
        let mut next = self.node(parent).first;
        while let Some(child) = next {
            self.push_child(&mut runs, child);
            count += 1;
            next = self.node(child).next;
        }
        let runs = Arc::new(runs);
        if count > MANY {
            self.remember_runs(parent, Arc::clone(&runs));
        }
        runs
    }

    /// Walks over the children from the run in which something changed to the end of the first run behind the change.
    fn update_runs(&mut self, parent: NodeId, left: Option<NodeId>, right: Option<NodeId>) -> Arc<Runs> {
        let ends_run = |child: &NodeId| self.node(*child).hash.ends_run();
        let before = std::iter::successors(left, |child| self.node(*child).prev).find(ends_run);
        let mut fresh = Runs::new();
        let mut next = before.map_or(self.node(parent).first, |child| self.node(child).next);
        let (mut is_behind, mut last) = (false, None);
        while let Some(child) = next.filter(|_| last.is_none()) {
            let ends = self.push_child(&mut fresh, child);
            is_behind |= Some(child) == right;
            last = (is_behind && ends).then_some(child);
            next = self.node(child).next;
        }
        self.runs_mut(parent).replace(before, last, fresh);
        self.runs.get(&parent).cloned().unwrap_or_default()
    }
}
