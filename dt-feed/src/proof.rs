//! Proof of one entry, for somebody who has neither keys nor a network.

use borsh::{BorshDeserialize, BorshSerialize};
use dt_dht::Record;
use dt_model::merkle::root_from_path;
use dt_model::{Digest, Signed};
use thiserror::Error;

use crate::Manifest;
use crate::entry::{Entry, MAX_PAYLOAD_BYTES, leaf_hash};
use crate::head::{HeadError, SignedHead};

/// The longest encoded proof: the longest entry, a path of 64 hashes, and the fields around them.
pub const MAX_PROOF_BYTES: usize = MAX_PAYLOAD_BYTES + 64 * 32 + 256;

/// Shows that a feed holds an entry, against a signed head of it. It travels in the canonical codec, within [`MAX_PROOF_BYTES`].
///
/// It reveals this entry, and nothing about any other.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct EntryProof {
    /// Which entry it is, from 0.
    pub index: u64,
    /// The entry.
    pub entry: Entry,
    /// The blinding value of its leaf.
    pub blinding: [u8; 32],
    /// The hashes from the leaf's sibling up to the root (RFC 6962, section 2.1.1).
    pub path: Vec<Digest>,
}

/// Why a proof proves nothing.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProofError {
    /// The record is no head of the feed by its owner.
    #[error(transparent)]
    Head(#[from] HeadError),
    /// Entry, index, blinding value and path do not lead to the head's root.
    #[error("the entry is not proven to be in the feed")]
    NotIncluded,
}

impl EntryProof {
    /// Checks that the feed of `manifest`, as its owner signed it in `head`, has this entry at this index.
    ///
    /// # Errors
    /// [`ProofError`].
    pub fn verify(&self, manifest: &Manifest, head: &Signed<Record>) -> Result<(), ProofError> {
        let head = SignedHead::verify(manifest, head.clone())?;
        if self.entry.payload.len() > MAX_PAYLOAD_BYTES {
            return Err(ProofError::NotIncluded);
        }
        let leaf = leaf_hash(&head.feed, self.index, &self.blinding, &self.entry);
        match root_from_path(self.index, head.size(), &leaf, &self.path) {
            Some(root) if root == head.root() => Ok(()),
            _ => Err(ProofError::NotIncluded),
        }
    }
}
