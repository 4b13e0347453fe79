//! Heads: one signature over the whole log as it stands, and what two heads prove that should not both exist.

use borsh::{BorshDeserialize, BorshSerialize};
use dt_dht::{Equivocation, Record};
use dt_model::merkle::Tree;
use dt_model::{Digest, Envelope, OpenError, Signed, Timestamp, codec};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::segment::SignedSegment;
use crate::{FeedId, Manifest};

/// The longest encoded head: 64 peaks, and the fields around them.
pub const MAX_HEAD_BYTES: usize = 4096;

/// The log at one moment, as its owner signs it. It travels as the body of a [`Record`], whose version is the number of segments.
///
/// # Invariant
/// A head covers exactly one segment more than the one before it, and MUST follow from that segment and its own predecessor alone. So a
/// publisher that crashed signs the same head again instead of another one.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Head {
    /// The feed.
    pub feed: FeedId,
    /// How many segments there are; also how many heads so far, and the record's version.
    pub segments: u64,
    /// The digest of the previous head's record; [`Digest::ZERO`] for the first.
    pub previous: Digest,
    /// The digest of the last segment's record, which is chained to all others.
    pub segment: Digest,
    /// Number of entries, and the root and peaks of their tree.
    pub tree: Tree,
    /// The time of the first entry of all.
    pub first_time: Timestamp,
    /// The time of the last entry.
    pub last_time: Timestamp,
    /// When the last segment was made.
    pub time: Timestamp,
    /// The key epoch of the last segment.
    pub epoch: u64,
}

impl Head {
    /// The one head that covers `segment` and follows `previous`.
    pub(crate) fn covering(segment: &SignedSegment, previous: Digest, first_time: Timestamp) -> Option<Self> {
        Some(Self {
            feed: segment.feed,
            segments: segment.index.checked_add(1)?,
            previous,
            segment: segment.record().digest(),
            tree: segment.after().clone(),
            first_time,
            last_time: segment.last_time,
            time: segment.time,
            epoch: segment.epoch,
        })
    }

    /// The record to sign.
    pub(crate) fn record(&self) -> Record {
        Record { key: self.feed.head_key(), version: self.segments, body: codec::encode(self).into() }
    }

    /// How many entries there are.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.tree.size()
    }

    /// The root of the entries' tree (RFC 6962).
    #[must_use]
    pub fn root(&self) -> Digest {
        self.tree.root()
    }

    /// What to anchor: any later head must extend this.
    #[must_use]
    pub fn floor(&self) -> Floor {
        Floor { size: self.size(), root: self.root() }
    }

    fn is_sound(&self) -> bool {
        (1..=self.size()).contains(&self.segments)
            && (self.segments == 1) == (self.previous == Digest::ZERO)
            && self.first_time <= self.last_time
    }
}

/// A log at some moment, in the form that a ledger anchors. A head that does not extend it MUST be refused as a rollback.
#[derive(Debug, Clone, Copy, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct Floor {
    /// Number of entries: that of some head.
    pub size: u64,
    /// The root of their tree.
    pub root: Digest,
}

/// Why a record is not a head of a feed.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum HeadError {
    /// The body is no head, or one that contradicts itself.
    #[error("malformed head")]
    Malformed,
    /// It is of another feed.
    #[error("the head belongs to another feed")]
    WrongFeed,
    /// Somebody else than the feed's owner signed it.
    #[error("the head is not signed by the feed's owner")]
    NotOwner,
}

/// A head whose owner's signature, feed and inner consistency have been checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedHead {
    record: Signed<Record>,
    head: Head,
}

impl SignedHead {
    /// Reads `record` as a head of the feed of `manifest`.
    ///
    /// # Errors
    /// [`HeadError`].
    pub fn verify(manifest: &Manifest, record: Signed<Record>) -> Result<Self, HeadError> {
        let head: Head = codec::decode(&record.body, MAX_HEAD_BYTES).map_err(|_| HeadError::Malformed)?;
        if head.feed != manifest.feed() || record.key != head.feed.head_key() {
            return Err(HeadError::WrongFeed);
        }
        if record.signer() != manifest.owner {
            return Err(HeadError::NotOwner);
        }
        if record.version != head.segments || !head.is_sound() {
            return Err(HeadError::Malformed);
        }
        Ok(Self { record, head })
    }

    /// The signed record, for whoever is to check it.
    #[must_use]
    pub const fn record(&self) -> &Signed<Record> {
        &self.record
    }
}

impl core::ops::Deref for SignedHead {
    type Target = Head;
    fn deref(&self) -> &Head {
        &self.head
    }
}

/// Evidence that an owner showed different histories of one feed: two heads that cannot both belong to a log that only grows.
///
/// Two heads of one version always contradict each other, and so do neighbours that are not chained. Heads further apart do so by
/// themselves only where their trees share a perfect subtree, or sizes or times go back; a reader finds out about the others from the
/// segments in between, and refuses them with [`ReadError::NotAnExtension`](crate::ReadError::NotAnExtension).
///
/// Anybody can check it, without keys and without a network. It travels in the canonical codec, within [`MAX_FORK_BYTES`].
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Fork {
    /// One head.
    pub a: Envelope<Record>,
    /// The other.
    pub b: Envelope<Record>,
}

/// The longest encoded fork: two heads in their records and envelopes.
pub const MAX_FORK_BYTES: usize = 2 * (MAX_HEAD_BYTES + 512);

/// How two heads contradict each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Contradiction {
    /// Both claim to be the same head of the feed.
    SameVersion {
        /// The number that both have.
        version: u64,
    },
    /// The later one names another head as the one directly before it than the one that was signed.
    OtherPredecessor {
        /// The number of the earlier one.
        version: u64,
    },
    /// The later one's tree is no longer than the earlier one's, or differs in entries that both cover.
    NotAnExtension {
        /// The number of the earlier one.
        earlier: u64,
        /// The number of the later one.
        later: u64,
    },
    /// The later one says that it was made, or that its entries were measured, before the earlier one.
    TimeWentBack {
        /// The number of the earlier one.
        earlier: u64,
        /// The number of the later one.
        later: u64,
    },
}

/// Why two records prove nothing against the owner.
#[derive(Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum ForkError {
    /// A record was not signed as it says.
    #[error("one of the records does not open")]
    Record(#[from] OpenError),
    /// A record is no head of this feed by its owner.
    #[error(transparent)]
    Head(#[from] HeadError),
    /// The heads can both belong to one log.
    #[error("the heads do not contradict each other")]
    NoContradiction,
}

impl Fork {
    /// The evidence that `a` and `b` make, if they contradict each other.
    #[must_use]
    pub fn between(a: &SignedHead, b: &SignedHead) -> Option<Self> {
        contradiction(a, b)?;
        Some(Self { a: a.record.envelope().clone(), b: b.record.envelope().clone() })
    }

    /// The fork that the DHT's evidence shows, if it is about the heads of this feed.
    #[must_use]
    pub fn from_equivocation(manifest: &Manifest, evidence: &Equivocation) -> Option<Self> {
        let fork = Self { a: evidence.first.clone(), b: evidence.second.clone() };
        fork.verify(manifest).is_ok().then_some(fork)
    }

    /// Checks the evidence against the owner of the feed of `manifest`, offline.
    ///
    /// # Errors
    /// [`ForkError`].
    pub fn verify(&self, manifest: &Manifest) -> Result<Contradiction, ForkError> {
        let a = SignedHead::verify(manifest, self.a.clone().open()?)?;
        let b = SignedHead::verify(manifest, self.b.clone().open()?)?;
        contradiction(&a, &b).ok_or(ForkError::NoContradiction)
    }
}

/// How `a` and `b`, heads of one feed by its owner, contradict each other, if they do.
pub(crate) fn contradiction(a: &SignedHead, b: &SignedHead) -> Option<Contradiction> {
    let (a, b) = if a.segments <= b.segments { (a, b) } else { (b, a) };
    let (earlier, later) = (a.segments, b.segments);
    if earlier == later {
        let same = a.record.digest() == b.record.digest();
        return (!same).then_some(Contradiction::SameVersion { version: earlier });
    }
    if earlier.checked_add(1) == Some(later) && b.previous != a.record.digest() {
        return Some(Contradiction::OtherPredecessor { version: earlier });
    }
    if a.size() >= b.size() || !a.tree.agrees_with(&b.tree) {
        return Some(Contradiction::NotAnExtension { earlier, later });
    }
    if a.time > b.time || a.last_time > b.last_time || a.first_time != b.first_time || a.epoch > b.epoch {
        return Some(Contradiction::TimeWentBack { earlier, later });
    }
    None
}
