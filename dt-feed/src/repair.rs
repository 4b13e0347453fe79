//! Reads of a feed's records, and the repair of replicas that fell behind.
//!
//! A replica that missed a segment refuses what is chained to it, with [`Refusal::Gap`] and the number of segments that its head covers.
//! Where it is needed for a quorum, to write or to read, whoever notices brings it what it lacks, in order, and tries again: the
//! records are signed by the feed's owner, so anybody can carry them.

use core::ops::Range;

use dt_dht::{Client, GetError, Key, PutError, Record, Refusal};
use dt_model::{Signed, Timestamp};
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
    let mut tried = None;
    loop {
        let Err(error) = client.put(record, now).await else { return Ok(()) };
        tried = next_lag(&put_refusals(&error), tried);
        match tried {
            Some(from) if end.saturating_sub(from) <= MAX_CATCH_UP => {
                if catch_up(client, manifest, from..end, now).await.is_err() {
                    return Err(error);
                }
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
    let mut tried = None;
    let record = loop {
        match client.get(key, &check, now).await {
            Ok(found) => break found,
            Err(error) => {
                tried = next_lag(&get_refusals(&error), tried);
                let Some(from) = tried else { return Err(error) };
                if catch_up(client, manifest, from..from.saturating_add(MAX_CATCH_UP), now).await.is_err() {
                    return Err(error);
                }
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

/// Why single replicas, or all of them, refused to store.
pub(crate) fn put_refusals(error: &PutError) -> Vec<Refusal> {
    match error {
        PutError::Refused(refusal) => vec![*refusal],
        PutError::NoQuorum { refusals, .. } => refusals.iter().map(|(_, refusal)| *refusal).collect(),
        _ => Vec::new(),
    }
}

/// Why single replicas did not take what was written back.
fn get_refusals(error: &GetError) -> Vec<Refusal> {
    match error {
        GetError::NoQuorum { refusals, .. } => refusals.iter().map(|(_, refusal)| *refusal).collect(),
        _ => Vec::new(),
    }
}

/// How far a laggard got, by its own word: the best of those that got less far than the one that was `tried`. So a liar that says that
/// it has nothing does not keep an honest laggard, which lacks little, from being served first.
fn next_lag(refusals: &[Refusal], tried: Option<u64>) -> Option<u64> {
    let stored = refusals.iter().filter_map(|refusal| match refusal {
        Refusal::Gap { stored } => Some(*stored),
        _ => None,
    });
    stored.filter(|stored| tried.is_none_or(|tried| *stored < tried)).max()
}
