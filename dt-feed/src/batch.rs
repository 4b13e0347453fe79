//! A batch: what is sealed, described and signed at once, so that nothing is left to decide while it is written.

use bytes::Bytes;
use dt_dht::{BlobError, BlobRef, Record, Resilience};
use dt_model::merkle::Tree;
use dt_model::{Digest, Signed, Signer, SignerError, Timestamp, codec};
use rand_core::CryptoRng;
use thiserror::Error;

use crate::Publisher;
use crate::entry::Entry;
use crate::head::{Head, HeadError, SignedHead};
use crate::segment::{Segment, SegmentError, SignedSegment, seal_entries};

/// Why no batch was made. The publisher is as it was.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BatchError {
    /// The owner's signer failed.
    #[error(transparent)]
    Signer(#[from] SignerError),
    /// The signer is not the feed's owner.
    #[error("only the owner of the feed extends it")]
    NotOwner,
    /// The sealed entries make no blob.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// The feed has 2^64 - 1 entries or segments.
    #[error("the feed is full")]
    Full,
}

/// What one batch writes, in this order.
#[derive(Debug, Clone)]
pub struct Batch {
    pub(crate) sealed: Bytes,
    pub(crate) segment: SignedSegment,
    pub(crate) head: SignedHead,
    /// Whether a quorum holds blob and segment already.
    pub(crate) described: bool,
    pub(crate) entries: Vec<Entry>,
}

impl Batch {
    /// The content of the blob: the sealed entries. Empty if the batch was found on the network, where its blob is.
    #[must_use]
    pub const fn sealed(&self) -> &Bytes {
        &self.sealed
    }

    /// The blob that the segment refers to.
    #[must_use]
    pub fn blob(&self) -> &BlobRef {
        &self.segment.blob
    }

    /// The segment's description.
    #[must_use]
    pub const fn segment(&self) -> &SignedSegment {
        &self.segment
    }

    /// The head that covers it.
    #[must_use]
    pub const fn head(&self) -> &SignedHead {
        &self.head
    }
}

impl Publisher {
    /// Seals, describes and signs `entries` as what follows on the latest head.
    pub(crate) fn make(
        &self,
        entries: Vec<Entry>,
        resilience: Resilience,
        now: Timestamp,
        signer: &dyn Signer,
        rng: &mut (impl CryptoRng + ?Sized),
    ) -> Result<Batch, BatchError> {
        let mut salt = [0; 32];
        rng.fill_bytes(&mut salt);
        let previous = self.head.as_ref();
        let index = previous.map_or(0, |head| head.segments);
        let before = previous.map_or_else(Tree::empty, |head| head.tree.clone());
        let (key, first) = (&self.key.key, before.size());
        let sealed = seal_entries(key, &self.feed, index, first, &entries, salt).ok_or(BatchError::Full)?;
        let blob = BlobRef::of(&sealed.bytes, resilience)?;
        let (Some(oldest), Some(newest)) = (entries.first(), entries.last()) else {
            return Err(BatchError::Full);
        };
        let time = previous.map_or(now, |head| now.max(head.time));
        let segment = Segment {
            feed: self.feed,
            index,
            previous: previous.map_or(Digest::ZERO, |head| head.segment),
            before,
            // No policy allows more than MAX_SEGMENT_ENTRIES.
            count: u32::try_from(entries.len()).map_err(|_| BatchError::Full)?,
            added: sealed.added.into_hashes(),
            first_time: oldest.timestamp,
            last_time: newest.timestamp,
            time,
            epoch: self.key.epoch,
            salt: sealed.salt,
            blob,
        };
        let segment = self.sign_segment(segment, attempt(now, rng), signer)?;
        let head = self.sign_head(&segment, signer)?;
        Ok(Batch { sealed: sealed.bytes, segment, head, described: false, entries })
    }

    /// The description as a record in this version, checked as anybody will check it.
    pub(crate) fn sign_segment(
        &self,
        segment: Segment,
        version: u64,
        signer: &dyn Signer,
    ) -> Result<SignedSegment, BatchError> {
        let key = self.feed.segment_key(segment.index);
        let record = Record { key, version, body: codec::encode(&segment).into() };
        let record = Signed::new(record, signer)?;
        SignedSegment::verify(&self.manifest, record).map_err(|error| match error {
            SegmentError::NotOwner => BatchError::NotOwner,
            _ => BatchError::Full,
        })
    }

    /// The one head that follows on the latest and covers `segment`.
    pub(crate) fn sign_head(
        &self,
        segment: &SignedSegment,
        signer: &dyn Signer,
    ) -> Result<SignedHead, BatchError> {
        let previous = self.head.as_ref().map_or(Digest::ZERO, |head| head.record().digest());
        let first_time = self.head.as_ref().map_or(segment.first_time, |head| head.first_time);
        let head = Head::covering(segment, previous, first_time).ok_or(BatchError::Full)?;
        let record = Signed::new(head.record(), signer)?;
        SignedHead::verify(&self.manifest, record).map_err(|error| match error {
            HeadError::NotOwner => BatchError::NotOwner,
            _ => BatchError::Full,
        })
    }
}

/// How many low bits of a segment's version are random: 44 bits remain for milliseconds, enough until the year 2527.
const ATTEMPT_BITS: u32 = 20;

/// The version of an attempt at a segment: the later of two has the higher one, since time passed in between, and two in the same
/// millisecond differ. Two records of one version would be evidence against an honest owner.
fn attempt(now: Timestamp, rng: &mut (impl CryptoRng + ?Sized)) -> u64 {
    let millis = now.as_millis().min(u64::MAX >> ATTEMPT_BITS);
    let random = u64::from(rng.next_u32() >> (u32::BITS - ATTEMPT_BITS));
    ((millis << ATTEMPT_BITS) | random).max(1)
}
