//! The reader's side: the latest head, any range of entries, any span of time, the proof of any entry. Nothing is believed unchecked.
//!
//! # Invariants
//! - What is returned MUST lead to the root that the owner signed: the tree before a range (from the description of its first segment),
//!   the leaves of the range (from its opened entries), and the tree after it (from descriptions of later segments) are put together and
//!   compared with the head. An entry that was altered, left out, added or moved leads elsewhere.
//! - A reader never goes back: each head MUST extend the last one that it saw, and the floor that it was given.

use core::ops::Range;
use std::collections::BTreeMap;

use dt_dht::{BlobError, Client, GetError, Record};
use dt_model::merkle::{CompactRange, Subtree, gather, inclusion_path, subtrees};
use dt_model::{Digest, Signed, Timestamp};
use thiserror::Error;

use crate::entry::{Entry, blinding};
use crate::head::{Floor, Fork, SignedHead, contradiction};
use crate::policy::Keys;
use crate::proof::EntryProof;
use crate::repair::get_head;
use crate::segment::{SignedSegment, leaf_hashes, open_entries};
use crate::validator::manifest_of;
use crate::{FeedId, Manifest};

/// The most bytes of sealed entries that one call fetches: it holds them in memory. Whoever wants more reads piece by piece.
pub const MAX_READ_BYTES: u64 = 256 * 1024 * 1024;

/// What a description counts as in [`MAX_READ_BYTES`]: an upper bound for usual numbers of replicas, and one for many tiny segments.
const DESCRIPTION_BYTES: u64 = 4096;

/// Why something was not read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The network has no manifest of this feed.
    #[error("no feed {} is known", .0.short())]
    UnknownFeed(FeedId),
    /// The network did not answer as it should.
    #[error(transparent)]
    Get(#[from] GetError),
    /// The owner signed two heads that contradict each other: here is the evidence.
    #[error("the feed's owner signed contradicting heads")]
    Forked(Box<Fork>),
    /// The latest head is older than one that was seen before, or is anchored.
    #[error("the latest head has {size} entries, there were {} before", floor.size)]
    RolledBack {
        /// What was seen or anchored.
        floor: Floor,
        /// Entries of the latest head; 0 if there is none.
        size: u64,
    },
    /// The latest head's tree does not extend one that was seen before, or is anchored.
    #[error("the latest head does not extend the one with {} entries", floor.size)]
    NotAnExtension {
        /// What was seen or anchored.
        floor: Floor,
    },
    /// A segment within the signed size is not described: entries are missing.
    #[error("segment {segment} is missing")]
    Gap {
        /// The segment.
        segment: u64,
    },
    /// A segment within the signed size is described, but its entries cannot be restored.
    #[error("the entries of segment {segment} are lost")]
    Lost {
        /// The segment.
        segment: u64,
        /// What became of its blob.
        #[source]
        source: BlobError,
    },
    /// The reader has no key for this epoch: the entries are from before it was added or after it was revoked.
    #[error("no key for epoch {epoch}")]
    Unreadable {
        /// The epoch.
        epoch: u64,
    },
    /// The key for the epoch does not open the segment, or opens something else than its description commits to.
    #[error("segment {segment} does not open")]
    Sealed {
        /// The segment.
        segment: u64,
    },
    /// Descriptions or entries do not lead to the root that the owner signed.
    #[error("the feed's records do not lead to its signed root")]
    Inconsistent,
    /// The feed has no such entries.
    #[error("entries {} to {} are not among {size}", range.start, range.end)]
    OutOfRange {
        /// The entries asked for.
        range: Range<u64>,
        /// How many there are.
        size: u64,
    },
    /// More than [`MAX_READ_BYTES`] would have to be fetched.
    #[error("the entries are longer than {limit} bytes")]
    TooMuch {
        /// Bytes that one call fetches.
        limit: u64,
    },
}

/// Consecutive entries.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Run {
    /// The index of the first one.
    pub first: u64,
    /// The entries, in order.
    pub entries: Vec<Entry>,
}

/// The end of a feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Latest {
    /// The latest head.
    pub head: SignedHead,
    /// The entries of the last segment.
    pub run: Run,
}

/// Reads one feed.
pub struct Reader<'a, K> {
    pub(crate) client: &'a Client,
    pub(crate) manifest: Manifest,
    keys: K,
    floor: Option<Floor>,
    seen: Option<SignedHead>,
    pub(crate) segments: BTreeMap<u64, SignedSegment>,
}

impl<'a, K: Keys> Reader<'a, K> {
    /// A reader of `feed`, whose manifest it fetches, with the epoch keys that it was given.
    ///
    /// # Errors
    /// [`ReadError::UnknownFeed`] or [`ReadError::Get`].
    pub async fn open(client: &'a Client, feed: FeedId, keys: K, now: Timestamp) -> Result<Self, ReadError> {
        let check = |record: &Signed<Record>| manifest_of(feed, record).map(drop);
        let record = client.get(feed.manifest_key(), &check, now).await?;
        let record = record.ok_or(ReadError::UnknownFeed(feed))?;
        let manifest = manifest_of(feed, &record).map_err(GetError::Unacceptable)?;
        Ok(Self { client, manifest, keys, floor: None, seen: None, segments: BTreeMap::new() })
    }

    /// Refuses any head that does not extend `floor`: what the ledger anchors, or what the reader kept from an earlier session.
    #[must_use]
    pub fn with_floor(mut self, floor: Floor) -> Self {
        self.floor = Some(floor);
        self
    }

    /// What the feed is about.
    #[must_use]
    pub const fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The latest head, by one quorum read; `None` for a feed without entries.
    ///
    /// Where the reader has seen a head before, or was given a floor, a few more reads prove that the new one extends it.
    ///
    /// # Errors
    /// [`ReadError::Forked`], [`ReadError::RolledBack`], [`ReadError::NotAnExtension`], [`ReadError::Inconsistent`],
    /// [`ReadError::Gap`] or [`ReadError::Get`]. After an error the reader still holds to what it saw before.
    pub async fn head(&mut self, now: Timestamp) -> Result<Option<SignedHead>, ReadError> {
        let head = match get_head(self.client, &self.manifest, now).await {
            Err(GetError::Equivocation(evidence)) => {
                return Err(match Fork::from_equivocation(&self.manifest, &evidence) {
                    Some(fork) => ReadError::Forked(Box::new(fork)),
                    None => GetError::Equivocation(evidence).into(),
                });
            }
            head => head?,
        };
        let floor = self.seen.as_ref().map(|seen| seen.floor()).or(self.floor);
        let Some(head) = head else {
            return match floor.filter(|floor| floor.size > 0) {
                Some(floor) => Err(ReadError::RolledBack { floor, size: 0 }),
                None => Ok(None),
            };
        };
        if let Some(seen) = &self.seen {
            if *seen.record() == *head.record() {
                return Ok(Some(head));
            }
            if contradiction(seen, &head).is_some() {
                return Err(Fork::between(seen, &head)
                    .map_or(ReadError::Inconsistent, |fork| ReadError::Forked(Box::new(fork))));
            }
        }
        if let Some(floor) = floor {
            let known = self.seen.as_ref().map(|seen| seen.tree.clone());
            self.check_floor(&head, floor, known, now).await?;
        }
        self.seen = Some(head.clone());
        Ok(Some(head))
    }

    /// The latest head and the entries of its last segment; `None` for a feed without entries.
    ///
    /// # Errors
    /// As [`Reader::head`] and [`Reader::range`].
    pub async fn latest(&mut self, now: Timestamp) -> Result<Option<Latest>, ReadError> {
        let Some(head) = self.head(now).await? else { return Ok(None) };
        let last = head.segments - 1;
        let run = self.read(&head, last..head.segments, now).await?;
        Ok(Some(Latest { head, run }))
    }

    /// The entries with the indices `range`, checked against the latest head.
    ///
    /// # Errors
    /// [`ReadError::OutOfRange`], [`ReadError::Unreadable`], [`ReadError::Gap`], [`ReadError::Lost`], [`ReadError::Sealed`],
    /// [`ReadError::TooMuch`], and as [`Reader::head`].
    pub async fn range(&mut self, range: Range<u64>, now: Timestamp) -> Result<Vec<Entry>, ReadError> {
        let head = self.head(now).await?;
        let size = head.as_ref().map_or(0, |head| head.size());
        if range.start > range.end || range.end > size {
            return Err(ReadError::OutOfRange { range, size });
        }
        let (Some(head), Some(last)) = (head, range.end.checked_sub(1).filter(|last| *last >= range.start))
        else {
            return Ok(Vec::new());
        };
        let (first, last) = (self.find(&head, range.start, now).await?, self.find(&head, last, now).await?);
        let run = self.read(&head, first.index..last.index + 1, now).await?;
        let index = run.first..;
        let wanted = index.zip(run.entries).filter(|(index, _)| range.contains(index));
        Ok(wanted.map(|(_, entry)| entry).collect())
    }

    /// The entries with timestamps in `times`, found by binary search over the segments.
    ///
    /// # Errors
    /// As [`Reader::range`].
    pub async fn history(&mut self, times: Range<Timestamp>, now: Timestamp) -> Result<Run, ReadError> {
        let Some(head) = self.head(now).await? else { return Ok(Run::default()) };
        let first = self.partition(&head, |segment| segment.last_time < times.start, now).await?;
        let end = self.partition(&head, |segment| segment.first_time < times.end, now).await?;
        if first >= end {
            return Ok(Run::default());
        }
        let mut run = self.read(&head, first..end, now).await?;
        let before = run.entries.partition_point(|entry| entry.timestamp < times.start);
        run.entries.truncate(run.entries.partition_point(|entry| entry.timestamp < times.end));
        run.entries.drain(..before.min(run.entries.len()));
        run.first += before as u64;
        Ok(run)
    }

    /// The proof of entry `index`, for somebody without keys, and the head that it is to be checked against.
    ///
    /// # Errors
    /// As [`Reader::range`].
    pub async fn prove(&mut self, index: u64, now: Timestamp) -> Result<(EntryProof, SignedHead), ReadError> {
        let head = self.head(now).await?;
        let size = head.as_ref().map_or(0, |head| head.size());
        let Some(head) = head.filter(|_| index < size) else {
            return Err(ReadError::OutOfRange { range: index..index.saturating_add(1), size });
        };
        let segment = self.find(&head, index, now).await?;
        let entries = self.entries(&segment, now).await?;
        let epoch_key = self.keys.key(segment.epoch).ok_or(ReadError::Unreadable { epoch: segment.epoch })?;
        let key = segment.key(&epoch_key);
        let leaves: Vec<(Subtree, Digest)> = (segment.first()..)
            .map_while(|index| Subtree::new(index, 0))
            .zip(leaf_hashes(&key, &head.feed, segment.first(), &entries))
            .collect();
        let mut path = Vec::new();
        for span in inclusion_path(index, size) {
            let mut range = CompactRange::empty(span.start);
            for subtree in subtrees(span.start, span.end) {
                let hash = if subtree.end() <= segment.end() {
                    gather(segment.before.range().parts().chain(leaves.iter().copied()), subtree)
                } else {
                    Some(self.subtree(&head, subtree, now).await?)
                };
                hash.and_then(|hash| range.push(subtree, hash)).ok_or(ReadError::Inconsistent)?;
            }
            path.push(range.root().ok_or(ReadError::Inconsistent)?);
        }
        // `find` returned the segment that covers the index, and `entries` are as many as it says.
        let at = usize::try_from(index - segment.first()).map_err(|_| ReadError::Inconsistent)?;
        let entry = entries.into_iter().nth(at).ok_or(ReadError::Inconsistent)?;
        let proof = EntryProof { index, entry, blinding: blinding(&key, index), path };
        match proof.verify(&self.manifest, head.record()) {
            Ok(()) => Ok((proof, head)),
            Err(_) => Err(self.inconsistent()),
        }
    }

    /// Opens `segments` and checks that their entries lead to the root of `head`.
    async fn read(
        &mut self,
        head: &SignedHead,
        segments: Range<u64>,
        now: Timestamp,
    ) -> Result<Run, ReadError> {
        let mut described: Vec<SignedSegment> = Vec::new();
        let mut bytes = 0u64;
        for index in segments {
            let segment = self.segment(index, now).await?;
            bytes = bytes.saturating_add(DESCRIPTION_BYTES).saturating_add(segment.blob.length());
            if bytes > MAX_READ_BYTES {
                return Err(ReadError::TooMuch { limit: MAX_READ_BYTES });
            }
            if described.last().is_some_and(|previous| !segment.follows(Some(previous))) {
                return Err(self.inconsistent());
            }
            described.push(segment);
        }
        let (Some(first), Some(last)) = (described.first(), described.last()) else {
            return Ok(Run::default());
        };
        // Each follows on the one before, so the last one's tree has the leaves that all of them add.
        if !self.extends(head, last.after(), now).await? {
            return Err(self.inconsistent());
        }
        let mut run = Run { first: first.first(), entries: Vec::new() };
        for segment in &described {
            run.entries.extend(self.entries(segment, now).await?);
        }
        Ok(run)
    }

    /// The entries of one segment, which are exactly those that its description commits to.
    async fn entries(&self, segment: &SignedSegment, now: Timestamp) -> Result<Vec<Entry>, ReadError> {
        let (index, epoch) = (segment.index, segment.epoch);
        let key = self.keys.key(epoch).ok_or(ReadError::Unreadable { epoch })?;
        let sealed = self.client.get_blob(&segment.blob, now).await.map_err(|error| match error {
            GetError::Blob(source) => ReadError::Lost { segment: index, source },
            other => other.into(),
        })?;
        open_entries(segment, &key, &sealed).map_err(|_| ReadError::Sealed { segment: index })
    }
}
