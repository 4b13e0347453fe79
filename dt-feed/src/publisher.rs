//! The owner's side, sans-IO: entries in, batches out, one after the other.
//!
//! ```text
//!   append ──▶ pending ──batch──▶ Batch (in flight) ──confirm──▶ state: tree, last head
//!                                   1. blob of sealed entries
//!                                   2. segment record          each written to a quorum
//!                                   3. head record             before the next one is
//! ```
//!
//! # Invariants
//! - There MUST be one publisher of a feed at a time. Two of them would sign two heads of one version: a fork.
//! - A batch's head MUST NOT leave the publisher before a quorum holds its segment. Then a publisher that starts anew knows: what
//!   segment it finds behind the latest head it MUST finish, since a head for it may exist somewhere; where it finds none, no such
//!   head was ever sent, and it is free to describe another batch.
//! - A batch stays in flight, and the same bytes are sent again, until a quorum holds its head.

use std::collections::VecDeque;

use bytes::Bytes;
use dt_dht::{BlobError, BlobRef, Record, Resilience, encode_blob};
use dt_model::{Digest, Signed, Signer, SignerError, Timestamp};
use rand_core::CryptoRng;
use thiserror::Error;

use crate::entry::{Entry, MAX_PAYLOAD_BYTES};
use crate::head::{Head, SignedHead};
use crate::policy::{BatchPolicy, EpochKey};
use crate::segment::{Segment, SignedSegment, seal_entries};
use crate::tree::Tree;
use crate::{FeedId, Manifest};

/// How far ahead of the publisher's own time an entry may be: a gateway's and a sensor's clocks differ, but a sensor that jumps to the
/// year 2100 would else end the feed, which never goes back.
pub const MAX_AHEAD: core::time::Duration = core::time::Duration::from_secs(300);

/// The most bytes of entries that wait for the network: some minutes of a fast sensor. After that, `append` refuses.
pub const MAX_PENDING_BYTES: usize = 64 * 1024 * 1024;

/// Why an entry was not taken. The publisher is as it was.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum AppendError {
    /// The payload is longer than [`MAX_PAYLOAD_BYTES`].
    #[error("a payload of {size} bytes is longer than {limit}")]
    TooLarge {
        /// Bytes offered.
        size: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// The entry is older than the one before it.
    #[error("{offered} is before the last entry, at {last}")]
    TimeWentBack {
        /// The time of the last entry.
        last: Timestamp,
        /// The time of the offered one.
        offered: Timestamp,
    },
    /// The entry is from the future, by more than [`MAX_AHEAD`].
    #[error("{offered} is too far ahead of {now}")]
    Ahead {
        /// The publisher's time.
        now: Timestamp,
        /// The time of the offered entry.
        offered: Timestamp,
    },
    /// [`MAX_PENDING_BYTES`] wait to be published.
    #[error("{pending} bytes wait to be published, no more than {limit} may")]
    Full {
        /// Bytes that wait.
        pending: usize,
        /// Bytes that may.
        limit: usize,
    },
}

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

/// A key that cannot follow the current one.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
#[error("epoch {offered} does not follow epoch {current}")]
pub struct EpochError {
    /// The epoch in use.
    pub current: u64,
    /// The epoch offered.
    pub offered: u64,
}

/// What one batch writes, in this order.
#[derive(Debug, Clone)]
pub struct Batch {
    pub(crate) sealed: Bytes,
    pub(crate) segment: SignedSegment,
    pub(crate) head: SignedHead,
    /// Whether a quorum holds blob and segment already.
    pub(crate) described: bool,
    entries: Vec<Entry>,
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

/// Extends one feed.
#[derive(Debug)]
pub struct Publisher {
    manifest: Manifest,
    feed: FeedId,
    policy: BatchPolicy,
    key: EpochKey,
    head: Option<SignedHead>,
    /// The time of the last entry taken, pending ones included.
    last_time: Timestamp,
    /// Entries that are in no batch yet, each with the time it came.
    pending: VecDeque<(Timestamp, Entry)>,
    pending_bytes: usize,
    in_flight: Option<Batch>,
}

impl Publisher {
    /// Continues the feed of `manifest` after `head`, its latest; `None` for a feed without entries.
    ///
    /// [`Publisher::resume`](crate::Publisher::resume) finds the head, and whether there is a segment behind it, which must be finished.
    ///
    /// # Errors
    /// [`EpochError`] if the head's last segment is sealed under a later epoch than `key`.
    pub fn new(
        manifest: Manifest,
        policy: BatchPolicy,
        key: EpochKey,
        head: Option<SignedHead>,
    ) -> Result<Self, EpochError> {
        if let Some(head) = &head
            && head.epoch > key.epoch
        {
            return Err(EpochError { current: head.epoch, offered: key.epoch });
        }
        let last_time = head.as_ref().map_or_else(Timestamp::default, |head| head.last_time);
        let (feed, pending) = (manifest.feed(), VecDeque::new());
        Ok(Self { manifest, feed, policy, key, head, last_time, pending, pending_bytes: 0, in_flight: None })
    }

    /// The feed.
    #[must_use]
    pub const fn feed(&self) -> FeedId {
        self.feed
    }

    /// What the feed is about.
    #[must_use]
    pub const fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The time of the last entry taken, whether or not it is published: what comes next is not before it.
    #[must_use]
    pub const fn last_time(&self) -> Timestamp {
        self.last_time
    }

    /// The epoch of the key under which further batches are sealed.
    #[must_use]
    pub const fn epoch(&self) -> u64 {
        self.key.epoch
    }

    /// The latest head that a quorum holds.
    #[must_use]
    pub const fn head(&self) -> Option<&SignedHead> {
        self.head.as_ref()
    }

    /// How many entries a head covers; those in flight and pending come after.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.head.as_ref().map_or(0, |head| head.size())
    }

    /// How many entries are taken and not covered by a head yet: a crash now would lose them, unless the caller keeps them.
    #[must_use]
    pub fn unpublished(&self) -> usize {
        self.pending.len() + self.in_flight.as_ref().map_or(0, |batch| batch.segment.count as usize)
    }

    /// The batch that is being written.
    #[must_use]
    pub const fn in_flight(&self) -> Option<&Batch> {
        self.in_flight.as_ref()
    }

    pub(crate) const fn in_flight_mut(&mut self) -> Option<&mut Batch> {
        self.in_flight.as_mut()
    }

    /// Seals further batches under `key`: after a reader was revoked, or as often as the policy of the owner says.
    ///
    /// Entries that wait are sealed under the new key; a batch in flight keeps the one it has.
    ///
    /// # Errors
    /// [`EpochError`] unless its epoch is later than the current one.
    pub fn set_key(&mut self, key: EpochKey) -> Result<(), EpochError> {
        if key.epoch <= self.key.epoch {
            return Err(EpochError { current: self.key.epoch, offered: key.epoch });
        }
        self.key = key;
        Ok(())
    }

    /// Takes an entry, to be published with the next batch.
    ///
    /// # Errors
    /// [`AppendError`].
    pub fn append(&mut self, entry: Entry, now: Timestamp) -> Result<(), AppendError> {
        let size = entry.payload.len();
        if size > MAX_PAYLOAD_BYTES {
            return Err(AppendError::TooLarge { size, limit: MAX_PAYLOAD_BYTES });
        }
        if entry.timestamp < self.last_time {
            return Err(AppendError::TimeWentBack { last: self.last_time, offered: entry.timestamp });
        }
        if entry.timestamp > now.saturating_add(MAX_AHEAD) {
            return Err(AppendError::Ahead { now, offered: entry.timestamp });
        }
        let pending = self.pending_bytes + entry.encoded_bytes();
        if pending > MAX_PENDING_BYTES {
            return Err(AppendError::Full { pending: self.pending_bytes, limit: MAX_PENDING_BYTES });
        }
        self.pending_bytes = pending;
        self.last_time = entry.timestamp;
        self.pending.push_back((now, entry));
        Ok(())
    }

    /// When [`Publisher::is_due`] becomes true if nothing else is appended; `None` while nothing waits.
    #[must_use]
    pub fn due_at(&self) -> Option<Timestamp> {
        self.pending.front().map(|(came, _)| came.saturating_add(self.policy.max_delay()))
    }

    /// Whether there is something to write now: a batch in flight, a full one, or one whose first entry has waited long enough.
    #[must_use]
    pub fn is_due(&self, now: Timestamp) -> bool {
        self.in_flight.is_some()
            || self.due_at().is_some_and(|due| due <= now)
            || self.pending.len() >= self.policy.max_entries() as usize
            || self.pending_bytes >= self.policy.max_bytes()
    }

    /// The batch in flight, or else a new one of the entries that wait, due or not; `None` if there are none.
    ///
    /// `resilience` is that of the network whose nodes will hold the blob.
    ///
    /// # Errors
    /// [`BatchError`].
    pub fn batch(
        &mut self,
        resilience: Resilience,
        now: Timestamp,
        signer: &dyn Signer,
        rng: &mut (impl CryptoRng + ?Sized),
    ) -> Result<Option<&Batch>, BatchError> {
        if self.in_flight.is_none() && !self.pending.is_empty() {
            let count = self.next_count();
            let entries: Vec<Entry> = self.pending.iter().take(count).map(|(_, entry)| entry.clone()).collect();
            let batch = self.make(entries, resilience, now, signer, rng)?;
            self.pending.drain(..count);
            self.pending_bytes -= batch.entries.iter().map(Entry::encoded_bytes).sum::<usize>();
            self.in_flight = Some(batch);
        }
        Ok(self.in_flight.as_ref())
    }

    /// Takes note that a quorum holds the head of the batch in flight.
    pub fn confirm(&mut self) {
        if let Some(batch) = self.in_flight.take() {
            self.head = Some(batch.head);
        }
    }

    /// Puts the batch in flight together anew, for another resilience. Only before its segment was sent.
    pub(crate) fn reblob(
        &mut self,
        resilience: Resilience,
        now: Timestamp,
        signer: &dyn Signer,
        rng: &mut (impl CryptoRng + ?Sized),
    ) -> Result<(), BatchError> {
        if let Some(batch) = self.in_flight.as_ref().filter(|batch| !batch.described) {
            let batch = self.make(batch.entries.clone(), resilience, now, signer, rng)?;
            self.in_flight = Some(batch);
        }
        Ok(())
    }

    /// Describes the batch in flight in a version above `stored`. Only before its head was sent.
    pub(crate) fn reversion(&mut self, stored: u64, signer: &dyn Signer) -> Result<(), BatchError> {
        let version = stored.checked_add(1).ok_or(BatchError::Full)?;
        if let Some(batch) = self.in_flight.take_if(|batch| !batch.described) {
            let Batch { sealed, segment, head, described, entries } = batch;
            let renewed = self
                .sign_segment((*segment).clone(), version, signer)
                .and_then(|segment| Ok((self.sign_head(&segment, signer)?, segment)));
            let (outcome, head, segment) = match renewed {
                Ok((head, segment)) => (Ok(()), head, segment),
                Err(error) => (Err(error), head, segment),
            };
            self.in_flight = Some(Batch { sealed, segment, head, described, entries });
            return outcome;
        }
        Ok(())
    }

    /// Takes up a segment that was found behind the latest head: its head is to be written before anything else.
    pub(crate) fn adopt(&mut self, segment: SignedSegment, signer: &dyn Signer) -> Result<(), BatchError> {
        let head = self.sign_head(&segment, signer)?;
        self.last_time = self.last_time.max(segment.last_time);
        let (sealed, entries) = (Bytes::new(), Vec::new());
        self.in_flight = Some(Batch { sealed, segment, head, described: true, entries });
        Ok(())
    }

    /// How many of the entries that wait fit into one batch: at least one, since a batch has room for the longest entry.
    fn next_count(&self) -> usize {
        let mut bytes = 0;
        let fits = |(_, entry): &&(Timestamp, Entry)| {
            bytes += entry.encoded_bytes();
            bytes <= self.policy.max_bytes()
        };
        self.pending.iter().take(self.policy.max_entries() as usize).take_while(fits).count()
    }

    fn make(
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
        let (blob, _) = encode_blob(&sealed.bytes, resilience)?;
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

    fn sign_segment(
        &self,
        segment: Segment,
        version: u64,
        signer: &dyn Signer,
    ) -> Result<SignedSegment, BatchError> {
        let key = self.feed.segment_key(segment.index);
        let record = Record { key, version, body: dt_model::encode(&segment).into() };
        let record = Signed::new(record, signer)?;
        SignedSegment::verify(&self.manifest, record).map_err(|error| match error {
            crate::SegmentError::NotOwner => BatchError::NotOwner,
            _ => BatchError::Full,
        })
    }

    fn sign_head(&self, segment: &SignedSegment, signer: &dyn Signer) -> Result<SignedHead, BatchError> {
        let previous = self.head.as_ref().map_or(Digest::ZERO, |head| head.record().digest());
        let first_time = self.head.as_ref().map_or(segment.first_time, |head| head.first_time);
        let head = Head::covering(segment, previous, first_time).ok_or(BatchError::Full)?;
        let record = Signed::new(head.record(), signer)?;
        SignedHead::verify(&self.manifest, record).map_err(|error| match error {
            crate::HeadError::NotOwner => BatchError::NotOwner,
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
