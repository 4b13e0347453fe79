//! Segments: sealed batches of entries, and the signed descriptions that let anybody follow the tree without reading an entry.
//!
//! ```text
//!   entries ──borsh──▶ plaintext ──seal──▶ blob                        key: derived from the epoch's key,
//!      │                                     │ BlobRef                      feed, index, first entry and salt
//!      └──leaf hashes──▶ added (blocks of [first, end))
//!                                            ▼
//!   Segment { before: tree of [0, first), added, blob, times, epoch, salt, digest of the previous segment }
//! ```
//!
//! `before` and `added` together are the proof that the log only grew: the tree after the segment follows from them, and the next
//! segment MUST start with that tree. So a replica checks one append with a few dozen hashes, a publisher resumes from the last
//! description alone, and a reader puts together the proof for any entry from the descriptions, without the keys of other epochs.

use borsh::{BorshDeserialize, BorshSerialize};
use bytes::Bytes;
use dt_dht::{BlobRef, MAX_RECORD_BYTES, Record, seal};
use dt_model::merkle::{CompactRange, Tree};
use dt_model::{Digest, Domain, Secret, SecretError, Signed, Timestamp, codec};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::entry::{Entry, MAX_PAYLOAD_BYTES, blinding, leaf_hash};
use crate::{FeedId, Manifest, SEGMENT};

/// The most entries in a segment: what a backlog is cut into, and what a reader must fetch for one entry.
pub const MAX_SEGMENT_ENTRIES: u32 = 4096;

/// The most bytes that a segment's entries encode to: a reader holds them in memory whole.
pub const MAX_SEGMENT_BYTES: usize = 4 * 1024 * 1024;

const KEY: Domain = Domain::new("dt/feed/segment-key/v1");

/// What is said in public about one segment. It travels as the body of a [`Record`] signed by the feed's owner.
///
/// Its record's version tells attempts apart: a publisher that crashed before a segment was witnessed may describe another one in
/// its place, in a higher version.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Segment {
    /// The feed.
    pub feed: FeedId,
    /// Which of its segments this is, from 0.
    pub index: u64,
    /// The digest of the previous segment's record; [`Digest::ZERO`] for the first.
    pub previous: Digest,
    /// The tree of all entries before it. Its size is the index of the segment's first entry.
    pub before: Tree,
    /// How many entries it has: 1 to [`MAX_SEGMENT_ENTRIES`].
    pub count: u32,
    /// The hashes of the maximal perfect subtrees of its entries, in order: what the tree gains.
    pub added: Vec<Digest>,
    /// The time of its first entry.
    pub first_time: Timestamp,
    /// The time of its last entry.
    pub last_time: Timestamp,
    /// When it was made.
    pub time: Timestamp,
    /// Under which epoch's key it is sealed. Epochs never go back.
    pub epoch: u64,
    /// What makes its sealing key its own, even if two attempts at one segment hold different entries.
    pub salt: [u8; 32],
    /// The sealed entries.
    pub blob: BlobRef,
}

/// Why a record is not an acceptable segment of a feed, whatever came before it.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SegmentError {
    /// The body is no description, or one that contradicts itself.
    #[error("malformed segment description")]
    Malformed,
    /// It lies in another slot, or at another address, than it says.
    #[error("the segment does not belong where it lies")]
    WrongKey,
    /// Somebody else than the feed's owner signed it.
    #[error("the segment is not signed by the feed's owner")]
    NotOwner,
}

impl Segment {
    /// The index of its first entry.
    #[must_use]
    pub const fn first(&self) -> u64 {
        self.before.size()
    }

    /// One past the index of its last entry.
    #[must_use]
    pub const fn end(&self) -> u64 {
        self.before.size().saturating_add(self.count as u64)
    }

    /// The tree of all entries up to its last.
    #[must_use]
    pub fn after(&self) -> Option<Tree> {
        self.before.extended(&self.added_range()?)
    }

    /// The range that it adds, if the hashes are as many as its count asks for.
    pub(crate) fn added_range(&self) -> Option<CompactRange> {
        CompactRange::new(self.first(), self.first().checked_add(u64::from(self.count))?, self.added.clone())
    }

    /// The key that seals it: a different one for every attempt at every segment of every feed.
    pub(crate) fn key(&self, epoch_key: &Secret) -> Secret {
        segment_key(epoch_key, &self.feed, self.index, self.first(), &self.salt)
    }

    fn is_sound(&self) -> bool {
        (1..=MAX_SEGMENT_ENTRIES).contains(&self.count)
            && self.first_time <= self.last_time
            && self.blob.length() <= seal::sealed_bytes(MAX_SEGMENT_BYTES as u64)
            && (self.index == 0) == (self.first() == 0)
            && (self.index == 0) == (self.previous == Digest::ZERO)
            && self.index <= self.first()
            && self.added_range().is_some()
    }
}

/// A segment description whose owner's signature, place and inner consistency have been checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedSegment {
    record: Signed<Record>,
    segment: Segment,
    after: Tree,
}

impl SignedSegment {
    /// Reads `record` as a segment of the feed of `manifest`.
    ///
    /// # Errors
    /// [`SegmentError`].
    pub fn verify(manifest: &Manifest, record: Signed<Record>) -> Result<Self, SegmentError> {
        let segment: Segment =
            codec::decode(&record.body, MAX_RECORD_BYTES).map_err(|_| SegmentError::Malformed)?;
        if segment.feed != manifest.feed() || record.key != segment.feed.segment_key(segment.index) {
            return Err(SegmentError::WrongKey);
        }
        if record.signer() != manifest.owner {
            return Err(SegmentError::NotOwner);
        }
        let after = segment.is_sound().then(|| segment.after()).flatten().ok_or(SegmentError::Malformed)?;
        Ok(Self { record, segment, after })
    }

    /// The signed record.
    #[must_use]
    pub const fn record(&self) -> &Signed<Record> {
        &self.record
    }

    /// The tree of all entries up to the segment's last.
    #[must_use]
    pub const fn after(&self) -> &Tree {
        &self.after
    }

    /// Whether this is the segment directly after `previous`, or a first one where there is none.
    #[must_use]
    pub fn follows(&self, previous: Option<&Self>) -> bool {
        match previous {
            None => self.index == 0,
            Some(previous) => {
                previous.index.checked_add(1) == Some(self.index)
                    && self.previous == previous.record.digest()
                    && self.before == previous.after
                    && self.first_time >= previous.last_time
                    && self.time >= previous.time
                    && self.epoch >= previous.epoch
            }
        }
    }
}

impl core::ops::Deref for SignedSegment {
    type Target = Segment;
    fn deref(&self) -> &Segment {
        &self.segment
    }
}

/// A segment's slot is `(SEGMENT, index)`.
pub(crate) fn previous_slot(index: u64) -> Option<dt_dht::Slot> {
    Some(dt_dht::Slot { kind: SEGMENT, index: index.checked_sub(1)? })
}

/// A batch before it is described: sealed bytes and the leaves they make.
pub(crate) struct Sealed {
    pub(crate) bytes: Bytes,
    pub(crate) added: CompactRange,
    pub(crate) salt: [u8; 32],
}

/// Seals `entries`, which start at `first`, as the segment `index`.
pub(crate) fn seal_entries(
    epoch_key: &Secret,
    feed: &FeedId,
    index: u64,
    first: u64,
    entries: &[Entry],
    salt: [u8; 32],
) -> Option<Sealed> {
    let key = segment_key(epoch_key, feed, index, first, &salt);
    let added = leaf_range(&key, feed, first, entries)?;
    let plaintext = Zeroizing::new(codec::encode(entries));
    let bytes = seal::seal(&key, &context(feed, index, first), &plaintext).into();
    Some(Sealed { bytes, added, salt })
}

/// The entries of `segment`, from its blob's content: as many as it says, in order, and exactly those that its hashes commit to.
///
/// # Errors
/// [`SecretError`], without a reason: the key is another one, or the owner sealed something else than he described.
pub(crate) fn open_entries(
    segment: &Segment,
    epoch_key: &Secret,
    sealed: &[u8],
) -> Result<Vec<Entry>, SecretError> {
    let key = segment.key(epoch_key);
    let context = context(&segment.feed, segment.index, segment.first());
    let plaintext = seal::open(&key, &context, sealed)?;
    let entries: Vec<Entry> = codec::decode(&plaintext, MAX_SEGMENT_BYTES).map_err(|_| SecretError)?;
    let sound = entries.len() == segment.count as usize
        && entries.iter().all(|entry| entry.payload.len() <= MAX_PAYLOAD_BYTES)
        && entries.is_sorted_by_key(|entry| entry.timestamp)
        && entries.first().map(|entry| entry.timestamp) == Some(segment.first_time)
        && entries.last().map(|entry| entry.timestamp) == Some(segment.last_time);
    let added = leaf_range(&key, &segment.feed, segment.first(), &entries);
    // The cipher does not commit to its key; the leaf hashes, which include blinding values derived from it, do.
    if sound && added == segment.added_range() { Ok(entries) } else { Err(SecretError) }
}

/// The leaf hashes of the entries of one segment, in order.
pub(crate) fn leaf_hashes<'a>(
    key: &'a Secret,
    feed: &'a FeedId,
    first: u64,
    entries: &'a [Entry],
) -> impl Iterator<Item = Digest> + 'a {
    (first..).zip(entries).map(|(index, entry)| leaf_hash(feed, index, &blinding(key, index), entry))
}

fn leaf_range(key: &Secret, feed: &FeedId, first: u64, entries: &[Entry]) -> Option<CompactRange> {
    let mut range = CompactRange::empty(first);
    leaf_hashes(key, feed, first, entries).try_for_each(|hash| range.push_leaf(hash))?;
    Some(range)
}

fn segment_key(epoch_key: &Secret, feed: &FeedId, index: u64, first: u64, salt: &[u8; 32]) -> Secret {
    let mut context = context(feed, index, first);
    context.extend_from_slice(salt);
    epoch_key.derive(KEY, &context)
}

/// Where a segment belongs: all fields have fixed widths.
fn context(feed: &FeedId, index: u64, first: u64) -> Vec<u8> {
    codec::encode(&(feed, index, first))
}
