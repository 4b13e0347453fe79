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
use dt_dht::Resilience;
use dt_model::{Signer, Timestamp};
use rand_core::CryptoRng;
use thiserror::Error;

use crate::batch::{Batch, BatchError};
use crate::entry::{Entry, MAX_PAYLOAD_BYTES};
use crate::head::SignedHead;
use crate::policy::{BatchPolicy, EpochKey};
use crate::segment::SignedSegment;
use crate::{FeedId, Manifest};

/// How far ahead of the publisher's own time an entry may be: a gateway's and a sensor's clocks differ, but a sensor that jumps to the
/// year 2100 would else end the feed, which never goes back.
pub const MAX_AHEAD: core::time::Duration = core::time::Duration::from_secs(300);

/// The most bytes of entries that wait for the network: some minutes of a fast sensor. After that, `append` refuses.
pub const MAX_PENDING_BYTES: usize = 64 * 1024 * 1024;

/// The most entries that wait for the network: each takes some memory besides its bytes.
pub const MAX_PENDING_ENTRIES: usize = 1024 * 1024;

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
    /// [`MAX_PENDING_BYTES`] or [`MAX_PENDING_ENTRIES`] wait to be published.
    #[error("{entries} entries of {bytes} bytes wait to be published: no more may")]
    Full {
        /// Entries that wait.
        entries: usize,
        /// Bytes that they encode to.
        bytes: usize,
    },
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

/// Extends one feed.
#[derive(Debug)]
pub struct Publisher {
    pub(crate) manifest: Manifest,
    pub(crate) feed: FeedId,
    policy: BatchPolicy,
    pub(crate) key: EpochKey,
    pub(crate) head: Option<SignedHead>,
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
        let bytes = self.pending_bytes + entry.encoded_bytes();
        if bytes > MAX_PENDING_BYTES || self.pending.len() >= MAX_PENDING_ENTRIES {
            return Err(AppendError::Full { entries: self.pending.len(), bytes: self.pending_bytes });
        }
        self.pending_bytes = bytes;
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
            let entries: Vec<Entry> =
                self.pending.iter().take(count).map(|(_, entry)| entry.clone()).collect();
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

    /// Puts the batch in flight together anew, for another resilience. Only before its head was sent: it is another attempt.
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
}
