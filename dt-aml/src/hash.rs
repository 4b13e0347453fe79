//! Subtree hashes: a Merkle tree over a document's elements, kept up to date by every edit.
//!
//! # Definition
//!
//! All hashes are BLAKE3 in keyed mode; the key is BLAKE3 of a context, which keeps the sorts apart. What is hashed are the
//! element's own bytes, in which two bytes that UTF-8 does not have mark what stands for something longer:
//!
//! - **`dt/aml/element/v2`**: an element from its start tag to its end tag, where each child element is replaced by `FF`
//!   and its hash, and where each run of children is replaced by `FE` and its hash.
//! - **`dt/aml/run/v2`**: a run: for each of its children the text before it, `FF`, and its hash. A run ends behind
//!   each child whose hash has six zeros as the lowest bits of its first byte, so it has 64 children on average. Children
//!   behind the last such one are in no run.
//! - **`dt/aml/document/v2`**: a document, where the root element is replaced by `FF` and its hash.
//!
//! ```text
//! <Value>30</Value>                              →  H("<Value>30</Value>")
//! <Attribute Name="A"> <Value>30</Value> </Attribute>  →  H("<Attribute Name="A"> " FF hash " </Attribute>")
//! ```
//!
//! So the root commits to every byte and depends on bytes alone, not on how a document came about. Where runs end follows
//! from the children themselves: an insertion among 100,000 siblings changes one run, and the rest is not hashed again.
//! Whoever makes 100,000 children none of which ends a run makes edits among them cost as if there were no runs.

use std::sync::LazyLock;

use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};

use crate::tree::{NodeId, Tree};

/// The BLAKE3 hash of an element with everything in it, or of a whole document.
#[derive(
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    BorshSerialize,
    BorshDeserialize,
)]
pub struct SubtreeHash(pub [u8; 32]);

impl SubtreeHash {
    /// Stands in a node until it is hashed for the first time.
    pub(crate) const UNSET: Self = Self([0; 32]);

    /// The bytes of the hash.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Whether a child with this hash is the last of a run.
    pub(crate) fn ends_run(&self) -> bool {
        self.0[0].trailing_zeros() >= RUN_BITS
    }
}

impl std::fmt::Display for SubtreeHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl std::fmt::Debug for SubtreeHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SubtreeHash({self})")
    }
}

/// A run has 2^RUN_BITS children on average.
const RUN_BITS: u32 = 6;

static ELEMENT: LazyLock<[u8; 32]> = LazyLock::new(|| key("dt/aml/element/v2"));
static RUN: LazyLock<[u8; 32]> = LazyLock::new(|| key("dt/aml/run/v2"));
static DOCUMENT: LazyLock<[u8; 32]> = LazyLock::new(|| key("dt/aml/document/v2"));

fn key(context: &str) -> [u8; 32] {
    blake3::hash(context.as_bytes()).into()
}

fn keyed(key: &[u8; 32], preimage: &[u8]) -> SubtreeHash {
    SubtreeHash(blake3::keyed_hash(key, preimage).into())
}

/// Stands before the hash of a child.
const CHILD: u8 = 0xFF;
/// Stands before the hash of a run.
const RUN_OF_CHILDREN: u8 = 0xFE;

fn mark(sort: u8, hash: &SubtreeHash, out: &mut Vec<u8>) {
    out.push(sort);
    out.extend_from_slice(&hash.0);
}

/// The children of an element as its hash sees them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Children {
    /// The runs' hashes.
    pub(crate) runs: Vec<SubtreeHash>,
    /// The children behind them, as they are hashed.
    rest: Vec<u8>,
}

impl Children {
    pub(crate) fn clear(&mut self) {
        self.runs.clear();
        self.rest.clear();
    }

    /// Children of which nothing is known but their runs.
    pub(crate) fn of_runs(runs: Vec<SubtreeHash>) -> Self {
        Self { runs, rest: Vec::new() }
    }

    /// Whether all children so far stand in runs.
    pub(crate) fn is_without_rest(&self) -> bool {
        self.rest.is_empty()
    }

    /// Adds the next child; returns whether it ends a run.
    pub(crate) fn push(&mut self, gap: &str, hash: SubtreeHash) -> bool {
        self.rest.extend_from_slice(gap.as_bytes());
        mark(CHILD, &hash, &mut self.rest);
        let ends = hash.ends_run();
        if ends {
            self.runs.push(keyed(&RUN, &self.rest));
            self.rest.clear();
        }
        ends
    }
}

/// Hashes elements, reusing its memory.
#[derive(Default)]
pub(crate) struct ElementHasher {
    preimage: Vec<u8>,
}

impl ElementHasher {
    /// The hash of an element from its own pieces and its children.
    pub(crate) fn hash(&mut self, head: &str, children: &Children, tail: &str, end: &str) -> SubtreeHash {
        let out = &mut self.preimage;
        out.clear();
        out.extend_from_slice(head.as_bytes());
        children.runs.iter().for_each(|run| mark(RUN_OF_CHILDREN, run, out));
        out.extend_from_slice(&children.rest);
        out.extend_from_slice(tail.as_bytes());
        out.extend_from_slice(end.as_bytes());
        keyed(&ELEMENT, out)
    }
}

/// The hash of a whole document around its root element.
pub(crate) fn document(prolog: &str, root: SubtreeHash, epilog: &str) -> SubtreeHash {
    let mut preimage = prolog.as_bytes().to_vec();
    mark(CHILD, &root, &mut preimage);
    preimage.extend_from_slice(epilog.as_bytes());
    keyed(&DOCUMENT, &preimage)
}

/// The runs among the children of an element that has many, so that an edit need not hash all children again.
///
/// # Invariant
/// These MUST be the runs that a walk over the children finds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Runs {
    /// The last child of each run.
    ends: Vec<NodeId>,
    hashes: Vec<SubtreeHash>,
}

/// Children from which on the runs of an element are remembered.
const MANY: usize = 192;

impl Runs {
    /// Remembers the runs of an element with this many children, if they are worth it.
    pub(crate) fn worth_keeping(ends: &[NodeId], children: &Children, count: usize) -> Option<Self> {
        (count > MANY).then(|| Self { ends: ends.to_vec(), hashes: children.runs.clone() })
    }

    /// The number of the run that ends behind `child`.
    fn of_end(&self, child: NodeId) -> Option<usize> {
        self.ends.iter().position(|end| *end == child)
    }
}

impl Tree {
    /// Hashes `parent` anew, whose children have changed behind `left` and before `right` and nowhere else, where
    /// none is the end of its list. `left` and `right` themselves, gaps included, are as they were.
    pub(crate) fn rehash(
        &mut self,
        parent: NodeId,
        left: Option<NodeId>,
        right: Option<NodeId>,
    ) -> SubtreeHash {
        let children = match self.runs.get(&parent) {
            Some(_) => self.update_runs(parent, left, right),
            None => self.find_runs(parent),
        };
        let node = self.node(parent);
        ElementHasher::default().hash(
            self.text(node.head),
            &children,
            self.text(node.tail),
            self.text(node.end),
        )
    }

    /// All children of an element as its hash sees them; remembers the runs of many.
    fn find_runs(&mut self, parent: NodeId) -> Children {
        let (mut children, mut ends, mut count) = (Children::default(), Vec::new(), 0);
        for child in self.children(parent) {
            count += 1;
            let node = self.node(child);
            if children.push(self.text(node.gap), node.hash) {
                ends.push(child);
            }
        }
        if let Some(runs) = Runs::worth_keeping(&ends, &children, count) {
            self.remember_runs(parent, runs);
        }
        children
    }

    /// The same, where only runs between `left` and `right` are formed anew.
    fn update_runs(&mut self, parent: NodeId, left: Option<NodeId>, right: Option<NodeId>) -> Children {
        let ends_run = |child: &NodeId| self.node(*child).hash.ends_run();
        let before = std::iter::successors(left, |child| self.node(*child).prev).find(ends_run);
        let behind = std::iter::successors(right, |child| self.node(*child).next).find(ends_run);
        let runs = self.runs.get(&parent).cloned().unwrap_or_default();
        let from = before.and_then(|child| runs.of_end(child)).map_or(0, |number| number + 1);
        let to = behind.and_then(|child| runs.of_end(child)).map_or(runs.ends.len(), |number| number + 1);

        let (mut children, mut ends) = (Children::default(), Vec::new());
        let mut next = before.map_or(self.node(parent).first, |child| self.node(child).next);
        let mut settled = false;
        while let Some(child) = next {
            let node = self.node(child);
            if children.push(self.text(node.gap), node.hash) {
                ends.push(child);
            }
            next = node.next;
            if Some(child) == behind {
                settled = true;
                break;
            }
        }
        drop(runs);
        let runs = self.runs_mut(parent);
        runs.ends.splice(from..to, ends);
        runs.hashes.splice(from..to, std::mem::take(&mut children.runs));
        children.runs.clone_from(&runs.hashes);
        let last = runs.ends.last().copied();
        if settled {
            self.push_rest(parent, last, &mut children);
        }
        children
    }

    /// Adds the children behind the last run.
    fn push_rest(&self, parent: NodeId, last_end: Option<NodeId>, children: &mut Children) {
        children.rest.clear();
        let mut next = last_end.map_or(self.node(parent).first, |child| self.node(child).next);
        while let Some(child) = next {
            let node = self.node(child);
            children.push(self.text(node.gap), node.hash);
            next = node.next;
        }
    }

    /// The hash of the whole document from the root element's cached hash.
    pub(crate) fn document_hash(&self) -> SubtreeHash {
        let root = self.node(self.root);
        document(self.text(root.gap), root.hash, self.text(self.epilog))
    }
}
