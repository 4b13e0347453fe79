//! Entries, the leaves they make in the feed's tree, and what keeps a leaf from being guessed.
//!
//! A reading has little entropy: a temperature takes perhaps a thousand values, so the bare hash of an entry would tell every replica
//! what it was. Each leaf therefore includes a blinding value, which follows from the segment's key and the entry's index. Whoever
//! proves one entry hands over the blinding value of that entry, which says nothing about any other.

use borsh::{BorshDeserialize, BorshSerialize};
use bytes::Bytes;
use dt_model::{Digest, Domain, Secret, Timestamp, merkle};
use serde::{Deserialize, Serialize};

use crate::FeedId;

/// The longest payload: a reading or a short burst of them. A film or a file is a document, not an entry.
pub const MAX_PAYLOAD_BYTES: usize = 64 * 1024;

/// What an entry's encoding has besides its payload: a timestamp and a length.
pub(crate) const ENTRY_OVERHEAD_BYTES: usize = 8 + 4;

const LEAF: Domain = Domain::new("dt/feed/leaf/v1");
const BLINDING: Domain = Domain::new("dt/feed/blinding/v1");

/// One reading.
#[derive(Debug, Clone, PartialEq, Eq, Hash, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct Entry {
    /// When it was measured, by the owner's clock. Within a feed it never decreases.
    pub timestamp: Timestamp,
    /// What was measured, in the manifest's media type: at most [`MAX_PAYLOAD_BYTES`].
    pub payload: Bytes,
}

impl Entry {
    /// An entry of `payload` at `timestamp`.
    #[must_use]
    pub fn new(timestamp: Timestamp, payload: impl Into<Bytes>) -> Self {
        Self { timestamp, payload: payload.into() }
    }

    /// The length of its encoding in bytes.
    pub(crate) fn encoded_bytes(&self) -> usize {
        ENTRY_OVERHEAD_BYTES + self.payload.len()
    }
}

/// The blinding value of the entry `index` in the segment that `key` seals.
pub(crate) fn blinding(key: &Secret, index: u64) -> [u8; 32] {
    *key.derive(BLINDING, &index.to_le_bytes()).expose()
}

/// The RFC 6962 leaf hash of the entry `index`: over domain, feed, index, blinding value and the entry's encoding.
pub(crate) fn leaf_hash(feed: &FeedId, index: u64, blinding: &[u8; 32], entry: &Entry) -> Digest {
    // An entry of at most MAX_PAYLOAD_BYTES has a length that fits; a longer one is refused before it gets here.
    let length = u32::try_from(entry.payload.len()).unwrap_or(u32::MAX);
    merkle::leaf_hash(&[
        &LEAF.prefix(),
        feed.as_bytes(),
        &index.to_le_bytes(),
        blinding,
        &entry.timestamp.as_millis().to_le_bytes(),
        &length.to_le_bytes(),
        &entry.payload,
    ])
}
