//! Blobs: content cut into as many shards as there are replicas, of which k + 1 restore it (Reed-Solomon, systematic).
//!
//! ```text
//!   content ──pad──▶ [ s₀ | s₁ | … | s_k ] ──Reed-Solomon──▶ s₀ … s_k  s_k+1 … s_n-1 ──BLAKE3──▶ BlobRef
//!                      data shards                            shard i goes to the i-th replica of the blob's address
//! ```
//!
//! A blob is named by the digest of its [`BlobRef`], which holds the digest of every shard. A reader that has restored the content
//! encodes it again and compares *all* digests: so if a writer encoded inconsistently, so that different shards restore different
//! contents, every reader refuses, whichever shards it got.

use borsh::{BorshDeserialize, BorshSerialize};
use dt_model::{Digest, Domain};
use thiserror::Error;

use crate::{Address, Resilience};

/// The longest blob. Content is held in memory whole for now, so the limit is what a small node bears.
pub const MAX_BLOB_BYTES: usize = 64 * 1024 * 1024;

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
    /// The content is longer than [`MAX_BLOB_BYTES`].
    #[error("{size} bytes are more than the limit of {limit}")]
    TooLarge {
        /// Bytes offered.
        size: usize,
        /// Bytes allowed.
        limit: usize,
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
}

/// Names a blob and says how to restore it and how to check every shard.
///
/// # Invariant
/// 1 ≤ data shards ≤ shards, and the length is at most [`MAX_BLOB_BYTES`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize)]
pub struct BlobRef {
    length: u64,
    data_shards: u16,
    shards: Vec<Digest>,
}

impl BlobRef {
    /// Length of the content in bytes.
    #[must_use]
    pub const fn length(&self) -> u64 {
        self.length
    }

    /// How many shards restore the content.
    #[must_use]
    pub const fn data_shards(&self) -> usize {
        self.data_shards as usize
    }

    /// The digest of every shard, in order.
    #[must_use]
    pub fn shards(&self) -> &[Digest] {
        &self.shards
    }

    /// Where the shards lie, and the blob's name.
    #[must_use]
    pub fn address(&self) -> Address {
        Address::from(*BLOB.blake3_of(self).as_bytes())
    }

    /// The length of every shard in bytes.
    #[must_use]
    pub fn shard_bytes(&self) -> usize {
        // The invariant bounds the length by MAX_BLOB_BYTES, which fits.
        shard_bytes(usize::try_from(self.length).unwrap_or(MAX_BLOB_BYTES), self.data_shards())
    }

    /// Whether `bytes` are the shard `index`.
    #[must_use]
    pub fn has_shard(&self, index: u16, bytes: &[u8]) -> bool {
        bytes.len() == self.shard_bytes()
            && self.shards.get(usize::from(index)).is_some_and(|digest| *digest == SHARD.blake3(&[bytes]))
    }

    /// Whether the blob is cut as `resilience` says.
    #[must_use]
    pub fn fits(&self, resilience: Resilience) -> bool {
        self.shards.len() == resilience.replicas() && self.data_shards() == resilience.data_shards()
    }
}

impl BorshDeserialize for BlobRef {
    fn deserialize_reader<R: borsh::io::Read>(reader: &mut R) -> borsh::io::Result<Self> {
        let (length, data_shards, shards) = <(u64, u16, Vec<Digest>)>::deserialize_reader(reader)?;
        let sound = length <= MAX_BLOB_BYTES as u64
            && (1..=shards.len()).contains(&usize::from(data_shards))
            && shards.len() <= usize::from(u16::MAX);
        if !sound {
            return Err(borsh::io::ErrorKind::InvalidData.into());
        }
        Ok(Self { length, data_shards, shards })
    }
}

/// Cuts `content` into shards: the reference, and the shards in order.
///
/// # Errors
/// [`BlobError::TooLarge`] or [`BlobError::Unsupported`].
pub fn encode_blob(content: &[u8], resilience: Resilience) -> Result<(BlobRef, Vec<Vec<u8>>), BlobError> {
    if content.len() > MAX_BLOB_BYTES {
        return Err(BlobError::TooLarge { size: content.len(), limit: MAX_BLOB_BYTES });
    }
    let (data, total) = (resilience.data_shards(), resilience.replicas());
    let shards = shards_of(content, data, total)?;
    let digests = shards.iter().map(|shard| SHARD.blake3(&[shard])).collect();
    // Both numbers are u16 in `Resilience`.
    let data_shards = u16::try_from(data).map_err(|_| BlobError::Unsupported { data, total })?;
    Ok((BlobRef { length: content.len() as u64, data_shards, shards: digests }, shards))
}

/// Restores the content from `shards`, given with their numbers; those that are not what `blob` says are ignored.
///
/// # Errors
/// [`BlobError::TooFewShards`], [`BlobError::BadEncoding`] or [`BlobError::Unsupported`].
pub fn decode_blob<'a>(
    blob: &BlobRef,
    shards: impl IntoIterator<Item = (u16, &'a [u8])>,
) -> Result<Vec<u8>, BlobError> {
    let (data, total) = (blob.data_shards(), blob.shards.len());
    let mut sound: Vec<(usize, &[u8])> = shards
        .into_iter()
        .filter(|(index, bytes)| blob.has_shard(*index, bytes))
        .map(|(index, bytes)| (usize::from(index), bytes))
        .collect();
    sound.sort_unstable_by_key(|(index, _)| *index);
    sound.dedup_by_key(|(index, _)| *index);
    if sound.len() < data {
        return Err(BlobError::TooFewShards { found: sound.len(), needed: data });
    }
    let content = restore(blob, &sound[..data])?;
    let again = shards_of(&content, data, total)?;
    let same = again.iter().zip(&blob.shards).all(|(shard, digest)| *digest == SHARD.blake3(&[shard]));
    if same { Ok(content) } else { Err(BlobError::BadEncoding) }
}

/// Puts the content together from exactly as many sound shards as are needed.
fn restore(blob: &BlobRef, sound: &[(usize, &[u8])]) -> Result<Vec<u8>, BlobError> {
    let (data, total) = (blob.data_shards(), blob.shards.len());
    let (original, recovery): (Vec<_>, Vec<_>) = sound.iter().copied().partition(|(index, _)| *index < data);
    let restored = if recovery.is_empty() {
        std::collections::BTreeMap::new()
    } else {
        let recovery = recovery.iter().map(|(index, bytes)| (index - data, bytes));
        reed_solomon_simd::decode(data, total - data, original.iter().copied(), recovery)
            .map_err(|_| BlobError::Unsupported { data, total })?
    };
    let length = usize::try_from(blob.length).unwrap_or(MAX_BLOB_BYTES);
    let mut content = Vec::with_capacity(data * blob.shard_bytes());
    let mut given = original.into_iter().peekable();
    for index in 0..data {
        match given.next_if(|(at, _)| *at == index) {
            Some((_, bytes)) => content.extend_from_slice(bytes),
            None => content.extend_from_slice(restored.get(&index).map_or(&[][..], Vec::as_slice)),
        }
    }
    content.truncate(length);
    Ok(content)
}

/// All shards of `content`: first the content itself, padded with zeros, then the recovery shards.
fn shards_of(content: &[u8], data: usize, total: usize) -> Result<Vec<Vec<u8>>, BlobError> {
    let size = shard_bytes(content.len(), data);
    let mut shards: Vec<Vec<u8>> = (0..data)
        .map(|index| {
            let start = (index * size).min(content.len());
            let end = (start + size).min(content.len());
            let mut shard = content[start..end].to_vec();
            shard.resize(size, 0);
            shard
        })
        .collect();
    // With one replica and no faults to survive there is nothing to recover, and no such code.
    if total > data {
        let recovery = reed_solomon_simd::encode(data, total - data, &shards)
            .map_err(|_| BlobError::Unsupported { data, total })?;
        shards.extend(recovery);
    }
    Ok(shards)
}

/// The length of one shard: the content divided, rounded up to whole elements.
const fn shard_bytes(length: usize, data: usize) -> usize {
    let bytes = length.div_ceil(data).next_multiple_of(ELEMENT_BYTES);
    if bytes == 0 { ELEMENT_BYTES } else { bytes }
}
