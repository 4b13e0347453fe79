//! The erasure code of one stripe.

use std::collections::BTreeMap;

use bytes::Bytes;
use reed_solomon_simd::{ReedSolomonDecoder, ReedSolomonEncoder};

use super::reference::{BlobError, BlobRef, STRIPE_BYTES, shard_bytes, shard_digest};
use crate::Resilience;

/// A stripe that was cut into shards.
#[derive(Debug, Clone)]
pub(super) struct Encoded {
    pub(super) reference: BlobRef,
    /// Slices of two buffers: the padded content, and the recovery shards.
    pub(super) shards: Vec<Bytes>,
}

/// Cuts `content`, which fits in one stripe, into shards: the reference, and the shards in order.
///
/// # Errors
/// [`BlobError::TooLarge`] or [`BlobError::Unsupported`].
pub fn encode_stripe(content: &[u8], resilience: Resilience) -> Result<(BlobRef, Vec<Bytes>), BlobError> {
    StripeCoder::new(resilience)?.encode(content.to_vec())
}

/// Restores the root of `blob` from `shards`, given with their numbers; those that are not what `blob` says are ignored.
///
/// The root is the content, unless [`BlobRef::is_indexed`]: then it is the index.
///
/// # Errors
/// [`BlobError::TooFewShards`], [`BlobError::BadEncoding`] or [`BlobError::Unsupported`].
pub fn decode_stripe<'a>(
    blob: &BlobRef,
    shards: impl IntoIterator<Item = (u16, &'a [u8])>,
) -> Result<Vec<u8>, BlobError> {
    let shards = shards.into_iter().map(|(index, bytes)| (index, Bytes::copy_from_slice(bytes)));
    let pieces = StripeCoder::of(blob.data_shards(), blob.shards().len())?.decode(blob, shards)?;
    Ok(pieces.concat())
}

/// Encodes and decodes stripes. Working memory is kept from one stripe to the next: to get it fresh from the operating system each time
/// costs more than the code itself.
pub struct StripeCoder {
    data: usize,
    total: usize,
    encoder: Option<ReedSolomonEncoder>,
    decoder: Option<ReedSolomonDecoder>,
}

impl StripeCoder {
    /// A coder for a network of this resilience.
    ///
    /// # Errors
    /// [`BlobError::Unsupported`].
    pub fn new(resilience: Resilience) -> Result<Self, BlobError> {
        Self::of(resilience.data_shards(), resilience.replicas())
    }

    pub(super) fn of(data: usize, total: usize) -> Result<Self, BlobError> {
        // With one replica and no faults to survive there is nothing to recover, and no such code.
        let supported = total == data || (total > data && ReedSolomonEncoder::supports(data, total - data));
        if !supported || u16::try_from(total).is_err() {
            return Err(BlobError::Unsupported { data, total });
        }
        Ok(Self { data, total, encoder: None, decoder: None })
    }

    /// [`encode_stripe`]. The shards are slices of two buffers; one of them is `content`, which is not copied if it has room for a few
    /// bytes of padding.
    ///
    /// # Errors
    /// [`BlobError::TooLarge`] or [`BlobError::Unsupported`].
    pub fn encode(&mut self, content: Vec<u8>) -> Result<(BlobRef, Vec<Bytes>), BlobError> {
        if content.len() > STRIPE_BYTES {
            return Err(BlobError::TooLarge { size: content.len() as u64, limit: STRIPE_BYTES as u64 });
        }
        let Encoded { reference, shards } = self.encode_root(content)?;
        Ok((reference, shards))
    }

    /// [`decode_stripe`]. The root comes in pieces, which are not copied if they were among the shards.
    ///
    /// # Errors
    /// [`BlobError::TooFewShards`], [`BlobError::BadEncoding`], or [`BlobError::OtherResilience`].
    pub fn decode(
        &mut self,
        blob: &BlobRef,
        shards: impl IntoIterator<Item = (u16, Bytes)>,
    ) -> Result<Vec<Bytes>, BlobError> {
        let sound = shards.into_iter().filter(|(index, bytes)| blob.has_shard(*index, bytes));
        let sound: Vec<_> = sound.collect();
        self.decode_sound(blob, &sound)
    }

    /// How long the data shards of a root of `length` bytes are together.
    pub(super) const fn padded(&self, length: usize) -> usize {
        self.data * shard_bytes(length, self.data)
    }

    /// Cuts `root` into shards: first its own bytes, padded with zeros, then the recovery shards.
    pub(super) fn encode_root(&mut self, mut root: Vec<u8>) -> Result<Encoded, BlobError> {
        let length = root.len() as u64;
        let size = shard_bytes(root.len(), self.data);
        root.resize(self.data * size, 0);
        let mut recovery = Vec::with_capacity((self.total - self.data) * size);
        let mut digests: Vec<_> = root.chunks_exact(size).map(shard_digest).collect();
        self.recover(root.chunks_exact(size), size, |_, shard| {
            digests.push(shard_digest(shard));
            recovery.extend_from_slice(shard);
            Ok(())
        })?;
        let data = u16::try_from(self.data).map_err(|_| self.unsupported())?;
        let shards =
            |buffer: Bytes| (0..buffer.len()).step_by(size).map(move |at| buffer.slice(at..at + size));
        let shards = shards(root.into()).chain(shards(recovery.into())).collect();
        Ok(Encoded { reference: BlobRef::new(length, data, digests), shards })
    }

    /// Restores the root from `sound` shards of it, whose digests have been compared, and compares those of all others. The root comes
    /// in pieces: the data shards that were given, without a copy, and those that were restored.
    ///
    /// No shard that was given needs to be computed again: any `data` shards fix one code word, and they are part of it.
    pub(super) fn decode_sound(
        &mut self,
        blob: &BlobRef,
        sound: &[(u16, Bytes)],
    ) -> Result<Vec<Bytes>, BlobError> {
        if (blob.data_shards(), blob.shards().len()) != (self.data, self.total) {
            return Err(BlobError::OtherResilience);
        }
        let given = sound.iter().map(|(index, shard)| (usize::from(*index), shard));
        let used: BTreeMap<usize, &Bytes> = given.collect();
        let used: BTreeMap<usize, &Bytes> = used.into_iter().take(self.data).collect();
        if used.len() < self.data {
            return Err(BlobError::TooFewShards { found: used.len(), needed: self.data });
        }
        let mut pieces = self.restore(blob.shard_bytes(), &used)?;
        let check = |index: usize, shard: &[u8]| {
            let same = used.contains_key(&index) || blob.shards().get(index) == Some(&shard_digest(shard));
            if same { Ok(()) } else { Err(BlobError::BadEncoding) }
        };
        pieces.iter().enumerate().try_for_each(|(index, shard)| check(index, shard))?;
        self.recover(pieces.iter(), blob.shard_bytes(), check)?;
        let mut left = blob.root_bytes();
        for piece in &mut pieces {
            let padding = piece.split_off(left.min(piece.len()));
            left -= piece.len();
            if padding.iter().any(|byte| *byte != 0) {
                return Err(BlobError::BadEncoding);
            }
        }
        Ok(pieces)
    }

    /// The data shards, given as many `used` ones as are needed.
    fn restore(&mut self, size: usize, used: &BTreeMap<usize, &Bytes>) -> Result<Vec<Bytes>, BlobError> {
        let (data, unsupported) = (self.data, self.unsupported());
        if used.keys().all(|index| *index < data) {
            return Ok(used.values().map(|shard| Bytes::clone(shard)).collect());
        }
        let recovery = self.total - data;
        let decoder = match &mut self.decoder {
            Some(decoder) => {
                decoder.reset(data, recovery, size).map_err(|_| unsupported)?;
                decoder
            }
            none => none.insert(ReedSolomonDecoder::new(data, recovery, size).map_err(|_| unsupported)?),
        };
        for (index, shard) in used {
            let added = match index.checked_sub(data) {
                None => decoder.add_original_shard(*index, shard),
                Some(index) => decoder.add_recovery_shard(index, shard),
            };
            added.map_err(|_| unsupported)?;
        }
        let restored = decoder.decode().map_err(|_| unsupported)?;
        let piece = |index| match used.get(&index) {
            Some(shard) => Ok(Bytes::clone(shard)),
            None => restored.restored_original(index).map(Bytes::copy_from_slice).ok_or(unsupported),
        };
        (0..data).map(piece).collect()
    }

    /// Computes the recovery shards from the data shards, and gives them one by one with their numbers.
    fn recover(
        &mut self,
        shards: impl Iterator<Item = impl AsRef<[u8]>>,
        size: usize,
        mut take: impl FnMut(usize, &[u8]) -> Result<(), BlobError>,
    ) -> Result<(), BlobError> {
        let (data, recovery, unsupported) = (self.data, self.total - self.data, self.unsupported());
        if recovery == 0 {
            return Ok(());
        }
        let encoder = match &mut self.encoder {
            Some(encoder) => {
                encoder.reset(data, recovery, size).map_err(|_| unsupported)?;
                encoder
            }
            none => none.insert(ReedSolomonEncoder::new(data, recovery, size).map_err(|_| unsupported)?),
        };
        for shard in shards {
            encoder.add_original_shard(shard).map_err(|_| unsupported)?;
        }
        let encoded = encoder.encode().map_err(|_| unsupported)?;
        encoded.recovery_iter().enumerate().try_for_each(|(index, shard)| take(data + index, shard))
    }

    const fn unsupported(&self) -> BlobError {
        BlobError::Unsupported { data: self.data, total: self.total }
    }
}
