//! Merkle trees of logs that only grow (RFC 6962 and RFC 9162, SHA-256): roots, inclusion, consistency.
//!
//! ```text
//!  leaves ──leaf_hash──▶ CompactRange ──push, extend──▶ CompactRange          at most 126 hashes for any length
//!                           │ of [0, n)
//!                           └── Tree: size, peaks ──▶ root                    what whoever appends keeps
//!
//!  whoever holds the hashes ──generate──▶ InclusionProof, ConsistencyProof ──verify──▶ whoever knows roots alone
//! ```
//!
//! A [`Subtree`] is a perfect one: the 2^level leaves from a multiple of 2^level on. Any range of leaves falls into few maximal
//! subtrees, in one way; their hashes are its compact form. Those of [0, n) are the *peaks* of the tree of n leaves: its root follows
//! from them, and the peaks of a longer tree follow from them and the compact form of what was appended.
//!
//! # Invariants
//! - A tree has at most 2^64 - 1 leaves. Nothing here overflows or panics on any sizes, indices or numbers of hashes.
//! - A leaf and an inner node MUST NOT pass for each other: their hashes begin with 0x00 and 0x01.
//! - Verification takes the form of the tree from the sizes alone: there is one right number of hashes.
//!
//! # Example
//!
//! ```
//! use dt_model::Digest;
//! use dt_model::merkle::{self, CompactRange, ConsistencyProof, InclusionProof, Subtree, leaf_hash};
//!
//! let log: Vec<Digest> = ["a", "b", "c", "d", "e"].map(|leaf| leaf_hash(&[leaf.as_bytes()])).into();
//! let (old, new) = (merkle::root(log[..3].iter().copied()), merkle::root(log.iter().copied()));
//!
//! // Whoever has the leaves (or the hashes above them, in whatever store) makes the proofs.
//! let hash_of = |subtree: Subtree| {
//!     let mut range = CompactRange::empty(subtree.start());
//!     (subtree.start()..subtree.end()).try_for_each(|index| range.push_leaf(log[index as usize]))?;
//!     range.root()
//! };
//! let included = InclusionProof::generate(1, 5, |subtree| hash_of(subtree).ok_or("no such leaf"))?;
//! let extends = ConsistencyProof::generate(3, 5, |subtree| hash_of(subtree).ok_or("no such leaf"))?;
//!
//! // Whoever knows the roots checks them.
//! assert!(included.is_some_and(|proof| proof.verify(&leaf_hash(&[b"b"]), &new)));
//! assert!(extends.is_some_and(|proof| proof.verify(&old, &new)));
//! # Ok::<(), &str>(())
//! ```

mod path;
mod proof;
mod range;
mod tree;

pub use path::{consistency_path, inclusion_path};
pub use proof::{ConsistencyProof, InclusionProof, MAX_PROOF_HASHES, root_from_path};
pub use range::{CompactRange, Subtree, gather, subtrees};
pub use tree::Tree;

use sha2::{Digest as _, Sha256};

use crate::Digest;

/// The leaf hash of RFC 6962, section 2.1: SHA-256 over 0x00 and the concatenated `parts`.
#[must_use]
pub fn leaf_hash(parts: &[&[u8]]) -> Digest {
    let mut hasher = Sha256::new_with_prefix([0x00]);
    parts.iter().for_each(|part| hasher.update(part));
    Digest::from(<[u8; 32]>::from(hasher.finalize()))
}

/// The node hash of RFC 6962, section 2.1: SHA-256 over 0x01, the left and the right hash.
#[must_use]
pub fn node_hash(left: &Digest, right: &Digest) -> Digest {
    let mut preimage = [0x01; 65];
    preimage[1..33].copy_from_slice(left.as_bytes());
    preimage[33..].copy_from_slice(right.as_bytes());
    Digest::from(<[u8; 32]>::from(Sha256::digest(preimage)))
}

/// The root of the tree over leaves with these hashes (RFC 6962, section 2.1); of none, SHA-256 of nothing.
#[must_use]
pub fn root(leaf_hashes: impl IntoIterator<Item = Digest>) -> Digest {
    let mut range = CompactRange::empty(0);
    // There is room for more leaves than any iterator gives.
    leaf_hashes.into_iter().try_for_each(|hash| range.push_leaf(hash));
    fold(range.hashes())
}

/// The hash of the tree over neighbouring subtrees, of which each is smaller than the one before; of none, the hash of nothing.
fn fold(hashes: &[Digest]) -> Digest {
    let root = hashes.iter().rev().copied().reduce(|right, left| node_hash(&left, &right));
    root.unwrap_or_else(|| Digest::from(<[u8; 32]>::from(Sha256::digest([]))))
}
