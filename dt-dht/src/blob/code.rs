//! The erasure code of one stripe.

use std::collections::BTreeSet;

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
    if content.len() > STRIPE_BYTES {
        return Err(BlobError::TooLarge { size: content.len() as u64, limit: STRIPE_BYTES as u64 });
    }
    let mut coder = Coder::new(resilience.data_shards(), resilience.replicas())?;
    let Encoded { reference, shards } = coder.encode(content.to_vec())?;
    Ok((reference, shards))
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
    let sound = shards.into_iter().filter(|(index, bytes)| blob.has_shard(*index, bytes));
    let sound: Vec<(u16, &[u8])> = sound.collect();
    Coder::new(blob.data_shards(), blob.shards().len())?.decode(blob, &sound)
}

/// Encodes and decodes with `data` shards out of `total`. Working memory is kept from one stripe to the next: to get it fresh from the
/// operating system each time costs more than the code itself.
pub(super) struct Coder {
    data: usize,
    total: usize,
    encoder: Option<ReedSolomonEncoder>,
    decoder: Option<ReedSolomonDecoder>,
}

impl Coder {
    pub(super) fn new(data: usize, total: usize) -> Result<Self, BlobError> {
        // With one replica and no faults to survive there is nothing to recover, and no such code.
        let supported = total == data || (total > data && ReedSolomonEncoder::supports(data, total - data));
        if !supported || u16::try_from(total).is_err() {
            return Err(BlobError::Unsupported { data, total });
        }
        Ok(Self { data, total, encoder: None, decoder: None })
    }

    /// Cuts `root` into shards: first its own bytes, padded with zeros, then the recovery shards.
    pub(super) fn encode(&mut self, mut root: Vec<u8>) -> Result<Encoded, BlobError> {
        let length = root.len() as u64;
        let size = shard_bytes(root.len(), self.data);
        root.resize(self.data * size, 0);
        let mut recovery = Vec::with_capacity((self.total - self.data) * size);
        let mut digests: Vec<_> = root.chunks_exact(size).map(shard_digest).collect();
        self.recover(&root, size, |_, shard| {
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

    /// Restores the root from `sound` shards of it, whose digests have been compared, and compares those of all others.
    ///
    /// No shard that was given needs to be computed again: any `data` shards fix one code word, and they are part of it.
    pub(super) fn decode<B: AsRef<[u8]>>(
        &mut self,
        blob: &BlobRef,
        sound: &[(u16, B)],
    ) -> Result<Vec<u8>, BlobError> {
        let (length, size) = (blob.root_bytes(), blob.shard_bytes());
        let mut given = BTreeSet::new();
        let distinct = sound.iter().filter(|(index, _)| given.insert(usize::from(*index)));
        let used: Vec<(usize, &[u8])> =
            distinct.take(self.data).map(|(index, shard)| (usize::from(*index), shard.as_ref())).collect();
        if used.len() < self.data {
            return Err(BlobError::TooFewShards { found: used.len(), needed: self.data });
        }
        let mut root = vec![0; self.data * size];
        for (index, shard) in used.iter().filter(|(index, _)| *index < self.data) {
            root[index * size..][..size].copy_from_slice(shard);
        }
        self.restore(&mut root, size, &used)?;
        let used: BTreeSet<usize> = used.into_iter().map(|(index, _)| index).collect();
        let check = |index: usize, shard: &[u8]| {
            let same = used.contains(&index) || blob.shards().get(index) == Some(&shard_digest(shard));
            if same { Ok(()) } else { Err(BlobError::BadEncoding) }
        };
        root.chunks_exact(size).enumerate().try_for_each(|(index, shard)| check(index, shard))?;
        if root[length..].iter().any(|byte| *byte != 0) {
            return Err(BlobError::BadEncoding);
        }
        self.recover(&root, size, check)?;
        root.truncate(length);
        Ok(root)
    }

    /// Puts the data shards that are not among the `used` ones into their places in `root`.
    fn restore(&mut self, root: &mut [u8], size: usize, used: &[(usize, &[u8])]) -> Result<(), BlobError> {
        let (data, unsupported) = (self.data, self.unsupported());
        if used.iter().all(|(index, _)| *index < data) {
            return Ok(());
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
        for (index, shard) in restored.restored_original_iter() {
            root[index * size..][..size].copy_from_slice(shard);
        }
        Ok(())
    }

    /// Computes the recovery shards of the padded `root`, and gives them one by one with their numbers.
    fn recover(
        &mut self,
        root: &[u8],
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
        for shard in root.chunks_exact(size) {
            encoder.add_original_shard(shard).map_err(|_| unsupported)?;
        }
        let encoded = encoder.encode().map_err(|_| unsupported)?;
        encoded.recovery_iter().enumerate().try_for_each(|(index, shard)| take(data + index, shard))
    }

    const fn unsupported(&self) -> BlobError {
        BlobError::Unsupported { data: self.data, total: self.total }
    }
}
