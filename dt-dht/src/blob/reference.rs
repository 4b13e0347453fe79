//! What names a blob, and what follows from it: lengths of stripes, shards and index.

use borsh::{BorshDeserialize, BorshSerialize};
use dt_model::{Digest, Domain};
use thiserror::Error;

use super::code::StripeCoder;
use super::index::{DIGEST_BYTES, IndexBuilder};
use crate::{Address, Resilience, Shard, seal};

/// Sealed chunks in a stripe. Measured: a stripe's cost per byte is the same from 4 chunks to 64, but every stripe costs n signed
/// requests, which are below a tenth of its cost only from 16 on; and more would be fetched in vain for a short range.
const STRIPE_CHUNKS: usize = 16;

/// Bytes of a stripe: whole sealed chunks, so that a range of sealed content never needs a part of a chunk from one stripe and the rest
/// from the next.
pub const STRIPE_BYTES: usize = STRIPE_CHUNKS * (seal::CHUNK_BYTES + seal::TAG_BYTES);

/// The longest blob: 4,096 stripes, somewhat more than 4 GiB. With more than 32 replicas it is less: see [`max_blob_bytes`].
pub const MAX_BLOB_BYTES: u64 = 4096 * STRIPE_BYTES as u64;

/// The longest index, which reader and writer hold in memory: what the longest blob needs with 32 replicas.
pub const MAX_INDEX_BYTES: usize = 4 * 1024 * 1024;

/// Domain of the digest of one shard.
const SHARD: Domain = Domain::new("dt/dht/shard/v1");
/// Domain of a blob's address.
const BLOB: Domain = Domain::new("dt/dht/blob/v1");
/// Shards have an even number of bytes (the field has 2^16 elements), and at least one element.
const ELEMENT_BYTES: usize = 2;

/// Why content was not encoded or restored.
#[derive(Debug, Error, PartialEq, Eq, Clone, Copy)]
#[non_exhaustive]
pub enum BlobError {
    /// The content is longer than [`max_blob_bytes`], or than a stripe where one stripe is meant.
    #[error("{size} bytes are more than the limit of {limit}")]
    TooLarge {
        /// Bytes offered.
        size: u64,
        /// Bytes allowed.
        limit: u64,
    },
    /// Too few of the given shards are what the reference says.
    #[error("{found} shards, where {needed} are needed")]
    TooFewShards {
        /// Sound shards given.
        found: usize,
        /// Shards that restore the content.
        needed: usize,
    },
    /// The shards are those that the writer made, but he did not make them from one content. Every reader finds the same.
    #[error("the writer encoded the blob inconsistently")]
    BadEncoding,
    /// The erasure code has no such form (more than 32,768 shards of a kind).
    #[error("no erasure code with {data} data shards out of {total}")]
    Unsupported {
        /// Data shards.
        data: usize,
        /// All shards.
        total: usize,
    },
    /// The blob, or what is stored of it, is cut for another resilience than the network has now.
    #[error("cut for another resilience than the network has now")]
    OtherResilience,
    /// A range that the blob does not have.
    #[error("no range from {start} to {end} in a blob of {length} bytes")]
    OutOfRange {
        /// Where the range starts.
        start: u64,
        /// Where it ends, exclusively.
        end: u64,
        /// Length of the blob.
        length: u64,
    },
}

/// Names a blob and says how to restore its root (the content, or the index of longer content) and how to check every shard of it.
///
/// # Invariant
/// 1 ≤ data shards ≤ shards, and the length is at most [`max_blob_bytes`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize)]
pub struct BlobRef {
    length: u64,
    data_shards: u16,
    shards: Vec<Digest>,
}

/// The longest blob in a network of this resilience: at most [`MAX_BLOB_BYTES`], and what an index of [`MAX_INDEX_BYTES`] can name.
#[must_use]
pub const fn max_blob_bytes(resilience: Resilience) -> u64 {
    longest(resilience.replicas())
}

const fn longest(replicas: usize) -> u64 {
    // A resilience has one replica at least, and a stripe needs no index.
    let replicas = if replicas == 0 { 1 } else { replicas };
    let stripes = MAX_INDEX_BYTES / (replicas * DIGEST_BYTES);
    let stripes = if stripes == 0 { 1 } else { stripes as u64 };
    let bytes = stripes * STRIPE_BYTES as u64;
    if bytes < MAX_BLOB_BYTES { bytes } else { MAX_BLOB_BYTES }
}

impl BlobRef {
    /// The reference of `content`, as it would be stored: without a network, and in the memory of a few stripes.
    ///
    /// # Errors
    /// [`BlobError::TooLarge`] or [`BlobError::Unsupported`].
    pub fn of(content: &[u8], resilience: Resilience) -> Result<Self, BlobError> {
        let mut index = IndexBuilder::new(resilience);
        let mut coder = StripeCoder::new(resilience)?;
        index.reserve(content.len() as u64)?;
        if content.len() <= STRIPE_BYTES {
            return Ok(coder.encode(content.to_vec())?.0);
        }
        for stripe in content.chunks(STRIPE_BYTES) {
            index.push(&coder.encode(stripe.to_vec())?.0);
        }
        Ok(index.encode(&mut coder)?.reference)
    }

    /// A reference of `length` bytes of content whose root has these shards.
    pub(super) const fn new(length: u64, data_shards: u16, shards: Vec<Digest>) -> Self {
        Self { length, data_shards, shards }
    }

    /// Length of the content in bytes.
    #[must_use]
    pub const fn length(&self) -> u64 {
        self.length
    }

    /// How many shards restore the root.
    #[must_use]
    pub const fn data_shards(&self) -> usize {
        self.data_shards as usize
    }

    /// The digest of every shard of the root, in order.
    #[must_use]
    pub fn shards(&self) -> &[Digest] {
        &self.shards
    }

    /// Where the shards of the root lie, and the blob's name.
    #[must_use]
    pub fn address(&self) -> Address {
        Address::from(*BLOB.blake3_of(self).as_bytes())
    }

    /// How many stripes the content has: one at least.
    #[must_use]
    pub const fn stripes(&self) -> u64 {
        let stripes = self.length.div_ceil(STRIPE_BYTES as u64);
        if stripes == 0 { 1 } else { stripes }
    }

    /// Whether the root is an index, and not the content itself.
    #[must_use]
    pub const fn is_indexed(&self) -> bool {
        self.stripes() > 1
    }

    /// The length of the root in bytes.
    #[must_use]
    pub fn root_bytes(&self) -> usize {
        // The invariant bounds both by what fits in memory.
        let bytes = match self.is_indexed() {
            true => self.stripes() * (self.shards.len() * DIGEST_BYTES) as u64,
            false => self.length,
        };
        usize::try_from(bytes).unwrap_or(MAX_INDEX_BYTES)
    }

    /// The length of every shard of the root in bytes.
    #[must_use]
    pub fn shard_bytes(&self) -> usize {
        shard_bytes(self.root_bytes(), self.data_shards())
    }

    /// Whether `bytes` are the shard `index`.
    #[must_use]
    pub fn has_shard(&self, index: u16, bytes: &[u8]) -> bool {
        bytes.len() == self.shard_bytes()
            && self.shards.get(usize::from(index)).is_some_and(|digest| *digest == shard_digest(bytes))
    }

    /// Whether `shard` is the shard `index`. Nothing is hashed: a shard has its digest.
    #[must_use]
    pub fn names(&self, index: u16, shard: &Shard) -> bool {
        shard.bytes().len() == self.shard_bytes()
            && self.shards.get(usize::from(index)) == Some(&shard.digest())
    }

    /// Whether the blob is cut as `resilience` says.
    #[must_use]
    pub fn fits(&self, resilience: Resilience) -> bool {
        self.shards.len() == resilience.replicas() && self.data_shards() == resilience.data_shards()
    }

    /// The length of stripe `number` in bytes.
    pub(super) fn stripe_bytes(&self, number: u64) -> u64 {
        self.length.saturating_sub(number.saturating_mul(STRIPE_BYTES as u64)).min(STRIPE_BYTES as u64)
    }
}

impl BorshDeserialize for BlobRef {
    fn deserialize_reader<R: borsh::io::Read>(reader: &mut R) -> borsh::io::Result<Self> {
        let (length, data_shards, shards) = <(u64, u16, Vec<Digest>)>::deserialize_reader(reader)?;
        let sound = (1..=shards.len()).contains(&usize::from(data_shards))
            && shards.len() <= usize::from(u16::MAX)
            && length <= longest(shards.len());
        if !sound {
            return Err(borsh::io::ErrorKind::InvalidData.into());
        }
        Ok(Self { length, data_shards, shards })
    }
}

/// The domain is put before the shard's hash, and not before the shard: so that the shard is hashed from its first byte in whole blocks,
/// which is quicker by a tenth.
pub(crate) fn shard_digest(bytes: &[u8]) -> Digest {
    SHARD.blake3(&[blake3::hash(bytes).as_bytes()])
}

/// The length of one shard: the root divided, rounded up to whole elements.
pub(super) const fn shard_bytes(length: usize, data: usize) -> usize {
    let bytes = length.div_ceil(data).next_multiple_of(ELEMENT_BYTES);
    if bytes == 0 { ELEMENT_BYTES } else { bytes }
}
