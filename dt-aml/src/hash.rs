//! Subtree hashes: a Merkle tree over a document's elements.
//!
//! An element's hash covers its start tag, each child's hash with the text before it, the text before its end tag,
//! and the end tag; the document's covers what stands before and after the root element too. So the root commits to
//! every byte, and depends on bytes alone: not on how a document came about. Fields are framed by their length, which
//! makes the preimage unambiguous; a prefix keeps elements and documents apart.

use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};

use crate::tree::{NodeId, Tree};

/// Prefix of an element's preimage.
const ELEMENT: &[u8] = b"dt/aml/element/v1";
/// Prefix of a document's preimage.
const DOCUMENT: &[u8] = b"dt/aml/document/v1";

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

/// Collects the preimage of one element after another, reusing its memory.
#[derive(Default)]
pub(crate) struct Preimage {
    bytes: Vec<u8>,
    /// Where the number of children goes, and how many there are so far.
    count_at: usize,
    count: u64,
}

impl Preimage {
    /// Starts an element with its start tag; the number of its children is filled in at its end.
    pub(crate) fn open(&mut self, head: &str) {
        self.bytes.clear();
        self.bytes.extend_from_slice(ELEMENT);
        self.frame(head);
        self.count_at = self.bytes.len();
        self.count = 0;
        self.bytes.extend_from_slice(&self.count.to_le_bytes());
    }

    /// The next child: the text before it and its hash.
    pub(crate) fn child(&mut self, gap: &str, hash: SubtreeHash) {
        self.count += 1;
        self.frame(gap);
        self.bytes.extend_from_slice(&hash.0);
    }

    /// Ends the element.
    pub(crate) fn close(&mut self, tail: &str, end: &str) -> SubtreeHash {
        self.frame(tail);
        self.frame(end);
        self.bytes[self.count_at..][..8].copy_from_slice(&self.count.to_le_bytes());
        self.finish()
    }

    /// A whole document around its root element.
    pub(crate) fn document(&mut self, prolog: &str, root: SubtreeHash, epilog: &str) -> SubtreeHash {
        self.bytes.clear();
        self.bytes.extend_from_slice(DOCUMENT);
        self.frame(prolog);
        self.bytes.extend_from_slice(&root.0);
        self.frame(epilog);
        self.finish()
    }

    fn frame(&mut self, text: &str) {
        self.bytes.extend_from_slice(&(text.len() as u64).to_le_bytes());
        self.bytes.extend_from_slice(text.as_bytes());
    }

    fn finish(&self) -> SubtreeHash {
        SubtreeHash(*blake3::hash(&self.bytes).as_bytes())
    }
}

impl Tree {
    /// The hash of an element from its own pieces and its children's cached hashes.
    pub(crate) fn compute_hash(&self, id: NodeId, preimage: &mut Preimage) -> SubtreeHash {
        let node = self.node(id);
        preimage.open(self.text(node.head));
        for child in self.children(id) {
            let child = self.node(child);
            preimage.child(self.text(child.gap), child.hash);
        }
        preimage.close(self.text(node.tail), self.text(node.end))
    }

    /// The hash of the whole document from the root element's cached hash.
    pub(crate) fn document_hash(&self) -> SubtreeHash {
        let root = self.node(self.root);
        Preimage::default().document(self.text(root.gap), root.hash, self.text(self.epilog))
    }
}
