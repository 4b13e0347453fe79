//! Reads of a feed's records, and the repair of replicas that fell behind.
//!
//! A replica that missed a segment refuses what is chained to it, with [`Refusal::Gap`] and the number of segments that its head covers.
//! Where it is needed for a quorum, to write or to read, whoever notices brings it what it lacks, in order, and tries again: the
//! records are signed by the feed's owner, so anybody can carry them.

use core::ops::Range;
use std::collections::BTreeSet;

use dt_dht::{Client, GetError, Key, PutError, Record, Refusal};
use dt_model::{PartyId, Signed, Timestamp};
use thiserror::Error;

use crate::Manifest;
use crate::head::SignedHead;
use crate::segment::SignedSegment;
use crate::validator::manifest_of;

/// The most segments that are brought to a laggard in passing: some seconds' work. Where more are missing, use [`repair`].
pub const MAX_CATCH_UP: u64 = 4096;

/// Why a feed was not repaired, or not all of it.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RepairError {
    /// A record could not be read.
    #[error(transparent)]
    Get(#[from] GetError),
    /// A record could not be written.
    #[error(transparent)]
    Put(#[from] PutError),
}

/// Brings replicas up to date that missed records of the feed, and renews the leases: manifest, the descriptions of `segments`, head.
///
/// Any registered party can do this, without keys. Replicas accept a segment only after the one before it, so those that lack
/// everything need the range from 0. It costs two quorum operations for each segment. Blobs are not touched.
///
/// # Errors
/// [`RepairError`].
pub async fn repair(
    client: &Client,
    manifest: &Manifest,
    segments: Range<u64>,
    now: Timestamp,
) -> Result<(), RepairError> {
    let head = get_head(client, manifest, now).await?;
    let end = segments.end.min(head.as_ref().map_or(0, |head| head.segments));
    catch_up(client, manifest, segments.start..end, now).await?;
    if let Some(head) = head {
        client.put(head.record(), now).await?;
    }
    Ok(())
}

/// Writes `record`, which follows on the segments before `end`. Replicas that lack some of those are brought up to date.
pub(crate) async fn put(
    client: &Client,
    manifest: &Manifest,
    record: &Signed<Record>,
    end: u64,
    now: Timestamp,
) -> Result<(), PutError> {
    let mut laggards = Laggards::default();
    loop {
        let Err(error) = client.put(record, now).await else { return Ok(()) };
        match laggards.next(&put_voices(&error)) {
            // It may fail for the sake of another one, that got less far.
            Some(from) if end.saturating_sub(from) <= MAX_CATCH_UP => {
                drop(catch_up(client, manifest, from..end, now).await);
            }
            _ => return Err(error),
        }
    }
}

/// Reads and writes the manifest and the `segments` as far as there are any.
async fn catch_up(
    client: &Client,
    manifest: &Manifest,
    segments: Range<u64>,
    now: Timestamp,
) -> Result<(), RepairError> {
    let feed = manifest.feed();
    let check = |record: &Signed<Record>| manifest_of(feed, record).map(drop);
    if let Some(record) = client.get(feed.manifest_key(), &check, now).await? {
        client.put(&record, now).await?;
    }
    for index in segments {
        let check = |record: &Signed<Record>| read_segment(manifest, record).map(drop);
        let Some(record) = client.get(feed.segment_key(index), &check, now).await? else { break };
        client.put(&record, now).await?;
    }
    Ok(())
}

/// What `read` makes of the newest record at `key`. Replicas that cannot be brought up to date by that record alone are brought up to
/// date altogether.
pub(crate) async fn get<T>(
    client: &Client,
    manifest: &Manifest,
    key: Key,
    read: &(impl Fn(&Signed<Record>) -> Result<T, Refusal> + Send + Sync),
    now: Timestamp,
) -> Result<Option<T>, GetError> {
    let check = |record: &Signed<Record>| read(record).map(drop);
    let mut laggards = Laggards::default();
    let record = loop {
        match client.get(key, &check, now).await {
            Ok(found) => break found,
            Err(error) => {
                let Some(from) = laggards.next(&get_voices(&error)) else { return Err(error) };
                drop(catch_up(client, manifest, from..from.saturating_add(MAX_CATCH_UP), now).await);
            }
        }
    };
    record.as_ref().map(read).transpose().map_err(GetError::Unacceptable)
}

/// The latest head of the feed, by one quorum read.
pub(crate) async fn get_head(
    client: &Client,
    manifest: &Manifest,
    now: Timestamp,
) -> Result<Option<SignedHead>, GetError> {
    let read = |record: &Signed<Record>| Ok(SignedHead::verify(manifest, record.clone())?);
    get(client, manifest, manifest.feed().head_key(), &read, now).await
}

/// The description of the segment `index`, by one quorum read.
pub(crate) async fn get_segment(
    client: &Client,
    manifest: &Manifest,
    index: u64,
    now: Timestamp,
) -> Result<Option<SignedSegment>, GetError> {
    let read = |record: &Signed<Record>| read_segment(manifest, record);
    get(client, manifest, manifest.feed().segment_key(index), &read, now).await
}

fn read_segment(manifest: &Manifest, record: &Signed<Record>) -> Result<SignedSegment, Refusal> {
    Ok(SignedSegment::verify(manifest, record.clone())?)
}

/// Why replicas refused to store.
pub(crate) fn put_refusals(error: &PutError) -> impl Iterator<Item = Refusal> {
    put_voices(error).into_iter().map(|(_, refusal)| refusal)
}

/// Who refused to store, and why; nobody in particular where more said so than can lie.
fn put_voices(error: &PutError) -> Vec<(Option<PartyId>, Refusal)> {
    match error {
        PutError::Refused(refusal) => vec![(None, *refusal)],
        PutError::NoQuorum { refusals, .. } => single(refusals),
        _ => Vec::new(),
    }
}

/// Who did not take what was written back, and why.
fn get_voices(error: &GetError) -> Vec<(Option<PartyId>, Refusal)> {
    match error {
        GetError::NoQuorum { refusals, .. } => single(refusals),
        _ => Vec::new(),
    }
}

fn single(refusals: &[(PartyId, Refusal)]) -> Vec<(Option<PartyId>, Refusal)> {
    refusals.iter().map(|(node, refusal)| (Some(*node), *refusal)).collect()
}

/// Which laggards were brought up to date.
#[derive(Default)]
struct Laggards(BTreeSet<Laggard>);

/// Each is served once: a liar that has another word ready each time is not served for ever, and keeps nobody else waiting.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Laggard {
    /// One replica, which may lie.
    One(PartyId),
    /// More of them than can lie, who got this far.
    Many(u64),
}

impl Laggards {
    /// How far the next one got, by its own word: the best of those that are left. So a liar that says that it has nothing does not keep an
    /// honest laggard, which lacks little, from being served first.
    fn next(&mut self, voices: &[(Option<PartyId>, Refusal)]) -> Option<u64> {
        let lags = voices.iter().filter_map(|(node, refusal)| match refusal {
            Refusal::Gap { stored } => Some((*stored, node.map_or(Laggard::Many(*stored), Laggard::One))),
            _ => None,
        });
        let (stored, laggard) = lags.filter(|(_, laggard)| !self.0.contains(laggard)).max()?;
        self.0.insert(laggard);
        Some(stored)
    }
}
