//! The index of content that has more than one stripe: the digests of all shards of all stripes, one after the other.
//!
//! Nothing else is in it: how long each stripe is, and in how many shards it is cut, follows from the [`BlobRef`].

use dt_model::Digest;

use super::code::{Encoded, StripeCoder};
use super::reference::{BlobError, BlobRef, STRIPE_BYTES, max_blob_bytes};
use crate::Resilience;

/// Bytes of one digest in an index.
pub(super) const DIGEST_BYTES: usize = 32;

/// The stripes of a blob, as its index names them.
#[derive(Debug, Clone)]
pub(super) struct Index {
    blob: BlobRef,
    root: Vec<u8>,
}

impl Index {
    /// `root` is the root of `blob`, which is indexed.
    pub(super) fn new(blob: BlobRef, root: Vec<u8>) -> Self {
        debug_assert_eq!(root.len(), blob.root_bytes(), "the length of an index follows from its blob");
        Self { blob, root }
    }

    /// The reference of stripe `number`; `None` behind the last one.
    pub(super) fn stripe(&self, number: u64) -> Option<BlobRef> {
        let size = self.blob.shards().len() * DIGEST_BYTES;
        let start = usize::try_from(number).ok()?.checked_mul(size)?;
        let entry = self.root.get(start..start.checked_add(size)?)?;
        let digests = entry.as_chunks::<DIGEST_BYTES>().0.iter().map(|digest| Digest::from(*digest));
        let data = u16::try_from(self.blob.data_shards()).ok()?;
        Some(BlobRef::new(self.blob.stripe_bytes(number), data, digests.collect()))
    }
}

/// Collects the stripes of content whose length is not known yet.
#[derive(Debug, Clone)]
pub(super) struct IndexBuilder {
    resilience: Resilience,
    length: u64,
    digests: Vec<Digest>,
}

impl IndexBuilder {
    pub(super) const fn new(resilience: Resilience) -> Self {
        Self { resilience, length: 0, digests: Vec::new() }
    }

    /// Goes on behind full stripes whose shards have these `digests`; `None` if they are not those of whole stripes.
    pub(super) fn resume(resilience: Resilience, digests: Vec<Digest>) -> Option<Self> {
        let (stripes, rest) = (digests.len() / resilience.replicas(), digests.len() % resilience.replicas());
        let length = u64::try_from(stripes).ok()?.checked_mul(STRIPE_BYTES as u64)?;
        let sound = rest == 0 && length <= max_blob_bytes(resilience);
        sound.then_some(Self { resilience, length, digests })
    }

    /// Whether `more` bytes of content have room.
    pub(super) fn reserve(&self, more: u64) -> Result<(), BlobError> {
        let (size, limit) = (self.length.saturating_add(more), max_blob_bytes(self.resilience));
        if size > limit { Err(BlobError::TooLarge { size, limit }) } else { Ok(()) }
    }

    /// Adds the next stripe; all but the last one are full.
    pub(super) fn push(&mut self, stripe: &BlobRef) {
        debug_assert!(self.length.is_multiple_of(STRIPE_BYTES as u64), "only the last stripe is shorter");
        self.length += stripe.length();
        self.digests.extend_from_slice(stripe.shards());
    }

    /// Bytes of content so far.
    pub(super) const fn length(&self) -> u64 {
        self.length
    }

    /// How many stripes there are.
    pub(super) fn stripes(&self) -> u64 {
        (self.digests.len() / self.resilience.replicas()) as u64
    }

    /// The digests of the shards of the first `stripes` stripes.
    pub(super) fn digests(&self, stripes: u64) -> &[Digest] {
        let count = usize::try_from(stripes).unwrap_or(usize::MAX).saturating_mul(self.resilience.replicas());
        &self.digests[..count.min(self.digests.len())]
    }

    /// The blob, if it is one stripe: then it needs no index.
    pub(super) fn only(&self) -> Option<BlobRef> {
        let data = u16::try_from(self.resilience.data_shards()).ok()?;
        (self.stripes() == 1).then(|| BlobRef::new(self.length, data, self.digests.clone()))
    }

    /// Encodes the index: the blob's reference, and the shards of its root.
    pub(super) fn encode(&self, coder: &mut StripeCoder) -> Result<Encoded, BlobError> {
        let mut root = Vec::with_capacity(self.digests.len() * DIGEST_BYTES);
        self.digests.iter().for_each(|digest| root.extend_from_slice(digest.as_bytes()));
        let Encoded { reference, shards } = coder.encode_root(root)?;
        let data = u16::try_from(reference.data_shards()).unwrap_or(u16::MAX);
        Ok(Encoded { reference: BlobRef::new(self.length, data, reference.shards().to_vec()), shards })
    }
}
