//! Proofs in the standard form of RFC 6962, section 2.1, and their verification by RFC 9162, section 2.1.

use core::ops::Range;

use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};

use super::{Subtree, consistency_path, fold, inclusion_path, node_hash, root, subtrees};
use crate::Digest;

/// The most hashes in a proof between trees of any size.
pub const MAX_PROOF_HASHES: usize = 65;

/// Shows that a log of `size` leaves has a certain leaf at `index`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct InclusionProof {
    /// Which leaf it is, from 0.
    pub index: u64,
    /// The number of leaves of the tree.
    pub size: u64,
    /// The audit path, from the leaf's sibling up to the root (RFC 6962, section 2.1.1).
    pub hashes: Vec<Digest>,
}

impl InclusionProof {
    /// The proof for leaf `index` of the tree of `size` leaves, from the hashes of its perfect subtrees; `None` if it has no such leaf.
    ///
    /// # Errors
    /// Those of `hash_of`.
    pub fn generate<E>(
        index: u64,
        size: u64,
        hash_of: impl FnMut(Subtree) -> Result<Digest, E>,
    ) -> Result<Option<Self>, E> {
        if index >= size {
            return Ok(None);
        }
        Ok(Some(Self { index, size, hashes: hashes_of(inclusion_path(index, size), hash_of)? }))
    }

    /// The root of the tree that has a leaf with the hash `leaf` there; `None` if the proof has not the number of hashes that index and
    /// size ask for.
    #[must_use]
    pub fn root(&self, leaf: &Digest) -> Option<Digest> {
        root_from_path(self.index, self.size, leaf, &self.hashes)
    }

    /// Whether the tree with this `root` has a leaf with the hash `leaf` there.
    #[must_use]
    pub fn verify(&self, leaf: &Digest, root: &Digest) -> bool {
        self.root(leaf).as_ref() == Some(root)
    }
}

/// Shows that the log of `to` leaves begins with the log of `from` leaves.
#[derive(Debug, Clone, PartialEq, Eq, Hash, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct ConsistencyProof {
    /// The number of leaves of the old tree.
    pub from: u64,
    /// The number of leaves of the new tree.
    pub to: u64,
    /// The hashes of RFC 6962, section 2.1.2. None if the old tree is empty, or is the new one.
    pub hashes: Vec<Digest>,
}

impl ConsistencyProof {
    /// The proof from the tree of `from` leaves to that of `to`, from the hashes of the new one's perfect subtrees; `None` if the old one
    /// is larger.
    ///
    /// # Errors
    /// Those of `hash_of`.
    pub fn generate<E>(
        from: u64,
        to: u64,
        hash_of: impl FnMut(Subtree) -> Result<Digest, E>,
    ) -> Result<Option<Self>, E> {
        if from > to {
            return Ok(None);
        }
        Ok(Some(Self { from, to, hashes: hashes_of(consistency_path(from, to), hash_of)? }))
    }

    /// Whether the tree with the root `new` begins with the one with the root `old`.
    ///
    /// Anything begins with the empty log, of which RFC 9162 says nothing: here its root is checked, and the new one's cannot be.
    #[must_use]
    pub fn verify(&self, old: &Digest, new: &Digest) -> bool {
        match (self.from, self.to) {
            (from, to) if from > to => false,
            (from, to) if from == to => self.hashes.is_empty() && old == new && (to > 0 || *old == root([])),
            (0, _) => self.hashes.is_empty() && *old == root([]),
            _ => self.leads_to(old, new).unwrap_or(false),
        }
    }

    /// RFC 9162, section 2.1.4.2, for 0 < from < to; `None` if there are too few or too many hashes.
    fn leads_to(&self, old: &Digest, new: &Digest) -> Option<bool> {
        // A perfect old tree is itself the first hash, and is not sent.
        let (first, rest) =
            if self.from.is_power_of_two() { (old, &self.hashes[..]) } else { self.hashes.split_first()? };
        // Both trees' last leaves, seen from the level of the first hash: the least at which the old tree has no half-filled node.
        let level = (self.from - 1).trailing_ones();
        let (mut old_last, mut new_last) = ((self.from - 1) >> level, (self.to - 1) >> level);
        let (mut old_root, mut new_root) = (*first, *first);
        for hash in rest {
            if new_last == 0 {
                return None;
            }
            if old_last & 1 == 1 || old_last == new_last {
                old_root = node_hash(hash, &old_root);
                new_root = node_hash(hash, &new_root);
                climb(&mut old_last, &mut new_last);
            } else {
                new_root = node_hash(&new_root, hash);
            }
            (old_last, new_last) = (old_last >> 1, new_last >> 1);
        }
        (new_last == 0).then_some(old_root == *old && new_root == *new)
    }
}

/// The root that the hash `leaf` at `index` and its audit path give in a tree of `size` leaves (RFC 9162, section 2.1.3.2); `None` if
/// there is no such leaf or the path has the wrong length.
#[must_use]
pub fn root_from_path(index: u64, size: u64, leaf: &Digest, path: &[Digest]) -> Option<Digest> {
    let (mut at, mut last) = (index, size.checked_sub(1)?);
    if at > last {
        return None;
    }
    let mut root = *leaf;
    for hash in path {
        if last == 0 {
            return None;
        }
        if at & 1 == 1 || at == last {
            root = node_hash(hash, &root);
            climb(&mut at, &mut last);
        } else {
            root = node_hash(&root, hash);
        }
        (at, last) = (at >> 1, last >> 1);
    }
    (last == 0).then_some(root)
}

/// Goes up past the levels at which the last node has no sibling, and stands for its parent: until `at` is a right child, or the root.
const fn climb(at: &mut u64, last: &mut u64) {
    while *at & 1 == 0 && *at != 0 {
        (*at, *last) = (*at >> 1, *last >> 1);
    }
}

/// The tree hashes of these ranges, each put together from those of its perfect subtrees.
fn hashes_of<E>(
    path: Vec<Range<u64>>,
    mut hash_of: impl FnMut(Subtree) -> Result<Digest, E>,
) -> Result<Vec<Digest>, E> {
    let span = |span: Range<u64>| {
        let hashes = subtrees(span.start, span.end).map(&mut hash_of).collect::<Result<Vec<_>, E>>()?;
        Ok(fold(&hashes))
    };
    path.into_iter().map(span).collect()
}
