//! The owner's side on the network: thin drivers around [`Publisher`], and the repair of replicas that fell behind.

use core::ops::Range;

use dt_dht::{Client, GetError, PutError, Record, Refusal};
use dt_model::{Signed, Timestamp};
use rand_core::CryptoRng;
use thiserror::Error;

use crate::head::SignedHead;
use crate::policy::{BatchPolicy, EpochKey};
use crate::publisher::{BatchError, EpochError, Publisher};
use crate::segment::SignedSegment;
use crate::validator::manifest_of;
use crate::Manifest;

/// The most segments that `publish` brings to laggards on its own: more are a job for [`repair`], beside the publishing.
pub const MAX_CATCH_UP: u64 = 256;

/// Why nothing was published, or not everything. Publishing again continues where it stopped; no entry is lost.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PublishError {
    /// No batch was made.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// The network did not take it.
    #[error(transparent)]
    Put(#[from] PutError),
    /// The feed's state could not be read.
    #[error(transparent)]
    Get(#[from] GetError),
    /// The key is of an earlier epoch than the feed's last segment.
    #[error(transparent)]
    Epoch(#[from] EpochError),
    /// The client's signer is not the feed's owner.
    #[error("only the owner of the feed publishes")]
    NotOwner,
    /// The publisher's clock is behind the feed's latest head. Nothing is to be signed before it is set right.
    #[error("the clock says {now}, the latest head was made at {head}")]
    ClockBehind {
        /// The publisher's time.
        now: Timestamp,
        /// The time of the latest head.
        head: Timestamp,
    },
}

impl Publisher {
    /// Publishes the manifest, and continues the feed: from the start, as a rule. Doing it again is harmless.
    ///
    /// # Errors
    /// [`PublishError`].
    pub async fn create(
        client: &Client,
        manifest: Manifest,
        policy: BatchPolicy,
        key: EpochKey,
        now: Timestamp,
    ) -> Result<Self, PublishError> {
        if client.signer().party() != manifest.owner {
            return Err(PublishError::NotOwner);
        }
        let feed = manifest.feed();
        let check = |record: &Signed<Record>| manifest_of(feed, record).map(drop);
        if client.get(feed.manifest_key(), &check, now).await?.is_none() {
            let record = Signed::new(manifest.record(), client.signer()).map_err(BatchError::from)?;
            client.put(&record, now).await?;
        }
        Self::resume(client, manifest, policy, key, now).await
    }

    /// Continues the feed from what the network holds, after a restart: the latest head is all that a publisher needs.
    ///
    /// If the former run left a segment without a head, that segment is finished first. Entries that were in no segment are lost,
    /// unless the caller has kept them: those after [`crate::Head::last_time`], and [`Publisher::size`] says how many are not.
    ///
    /// # Errors
    /// [`PublishError`].
    pub async fn resume(
        client: &Client,
        manifest: Manifest,
        policy: BatchPolicy,
        key: EpochKey,
        now: Timestamp,
    ) -> Result<Self, PublishError> {
        if client.signer().party() != manifest.owner {
            return Err(PublishError::NotOwner);
        }
        let head = latest_head(client, &manifest, now).await?;
        if let Some(head) = &head
            && now < head.time
        {
            return Err(PublishError::ClockBehind { now, head: head.time });
        }
        let left = segment_behind(client, &manifest, head.as_ref(), now).await?;
        if let Some(left) = &left
            && left.epoch > key.epoch
        {
            return Err(EpochError { current: left.epoch, offered: key.epoch }.into());
        }
        let mut publisher = Self::new(manifest, policy, key, head)?;
        if let Some(left) = left {
            publisher.adopt(left, client.signer())?;
            publisher.settle(client, now).await?;
        }
        Ok(publisher)
    }

    /// Writes one batch if one is due, and returns its head once a quorum holds it.
    ///
    /// A batch costs three quorum operations, one after the other: blob, segment, head. A future that is dropped leaves the batch in
    /// flight; the next call goes on with it.
    ///
    /// # Errors
    /// [`PublishError`].
    pub async fn publish(
        &mut self,
        client: &Client,
        now: Timestamp,
        rng: &mut (impl CryptoRng + Send + ?Sized),
    ) -> Result<Option<SignedHead>, PublishError> {
        if self.is_due(now) { self.publish_one(client, now, rng).await } else { Ok(None) }
    }

    /// Writes everything that waits, due or not, and returns the latest head.
    ///
    /// # Errors
    /// [`PublishError`].
    pub async fn flush(
        &mut self,
        client: &Client,
        now: Timestamp,
        rng: &mut (impl CryptoRng + Send + ?Sized),
    ) -> Result<Option<SignedHead>, PublishError> {
        while self.publish_one(client, now, rng).await?.is_some() {}
        Ok(self.head().cloned())
    }

    async fn publish_one(
        &mut self,
        client: &Client,
        now: Timestamp,
        rng: &mut (impl CryptoRng + Send + ?Sized),
    ) -> Result<Option<SignedHead>, PublishError> {
        let resilience = client.membership().resilience();
        let Some(batch) = self.batch(resilience, now, client.signer(), rng)? else {
            return Ok(None);
        };
        if !batch.described {
            if !batch.blob().fits(resilience) {
                self.reblob(resilience, now, client.signer(), rng)?;
            }
            self.describe(client, now).await?;
        }
        self.settle(client, now).await?;
        Ok(self.head().cloned())
    }

    /// Writes blob and segment of the batch in flight.
    async fn describe(&mut self, client: &Client, now: Timestamp) -> Result<(), PublishError> {
        let Some(batch) = self.in_flight() else { return Ok(()) };
        client.put_blob(batch.sealed(), now).await?;
        let record = batch.segment().record().clone();
        let index = batch.segment().index;
        if let Err(error) = client.put(&record, now).await {
            let stale = refusals(&error).filter_map(|refusal| match refusal {
                Refusal::Stale { stored } if *stored >= record.version => Some(*stored),
                _ => None,
            });
            match (stale.max(), lag(&error)) {
                // A former run, whose clock was ahead, left an attempt that no quorum holds: ours takes its place.
                (Some(stored), _) => self.reversion(stored, client.signer())?,
                (None, Some(from)) => catch_up(client, self.manifest(), from..index, now).await?,
                (None, None) => return Err(error.into()),
            }
            let Some(batch) = self.in_flight() else { return Ok(()) };
            client.put(batch.segment().record(), now).await?;
        }
        if let Some(batch) = self.in_flight_mut() {
            batch.described = true;
        }
        Ok(())
    }

    /// Writes the head of the batch in flight, whose segment a quorum holds.
    async fn settle(&mut self, client: &Client, now: Timestamp) -> Result<(), PublishError> {
        let Some(batch) = self.in_flight() else { return Ok(()) };
        let head = batch.head().record();
        if let Err(error) = client.put(head, now).await {
            let Some(from) = lag(&error) else { return Err(error.into()) };
            catch_up(client, self.manifest(), from..batch.head().segments, now).await?;
            client.put(head, now).await?;
        }
        self.confirm();
        Ok(())
    }
}

/// Brings replicas up to date that missed records of the feed, and renews the leases: manifest, the descriptions of `segments`, head.
///
/// Any registered party can do this, without keys. Replicas accept a segment only after the one before it, so those that lack
/// everything need the range from 0. It costs two quorum operations for each segment. Blobs are not touched.
///
/// # Errors
/// [`PublishError`].
pub async fn repair(
    client: &Client,
    manifest: &Manifest,
    segments: Range<u64>,
    now: Timestamp,
) -> Result<(), PublishError> {
    let head = latest_head(client, manifest, now).await?;
    let end = segments.end.min(head.as_ref().map_or(0, |head| head.segments));
    write_again(client, manifest, segments.start..end, now).await?;
    if let Some(head) = head {
        client.put(head.record(), now).await?;
    }
    Ok(())
}

/// [`repair`] for laggards that stand in the way of a batch: of the segments that a head covers or will cover, the last ones.
async fn catch_up(
    client: &Client,
    manifest: &Manifest,
    segments: Range<u64>,
    now: Timestamp,
) -> Result<(), PublishError> {
    let start = segments.start.max(segments.end.saturating_sub(MAX_CATCH_UP));
    write_again(client, manifest, start..segments.end, now).await
}

async fn write_again(
    client: &Client,
    manifest: &Manifest,
    segments: Range<u64>,
    now: Timestamp,
) -> Result<(), PublishError> {
    let feed = manifest.feed();
    let check = |record: &Signed<Record>| manifest_of(feed, record).map(drop);
    if let Some(record) = client.get(feed.manifest_key(), &check, now).await? {
        client.put(&record, now).await?;
    }
    for index in segments {
        let check = |record: &Signed<Record>| {
            SignedSegment::verify(manifest, record.clone()).map(drop).map_err(Refusal::from)
        };
        if let Some(record) = client.get(feed.segment_key(index), &check, now).await? {
            client.put(&record, now).await?;
        }
    }
    Ok(())
}

/// The latest head of the feed, by one quorum read.
pub(crate) async fn latest_head(
    client: &Client,
    manifest: &Manifest,
    now: Timestamp,
) -> Result<Option<SignedHead>, GetError> {
    let verify = |record: &Signed<Record>| SignedHead::verify(manifest, record.clone()).map_err(Refusal::from);
    let check = |record: &Signed<Record>| verify(record).map(drop);
    let record = client.get(manifest.feed().head_key(), &check, now).await?;
    record.as_ref().map(verify).transpose().map_err(GetError::Unacceptable)
}

/// The segment that follows on `head` and that no head covers yet, if a former run left one.
async fn segment_behind(
    client: &Client,
    manifest: &Manifest,
    head: Option<&SignedHead>,
    now: Timestamp,
) -> Result<Option<SignedSegment>, GetError> {
    let verify = |record: &Signed<Record>| {
        let segment = SignedSegment::verify(manifest, record.clone())?;
        let follows = match head {
            None => segment.index == 0,
            Some(head) => segment.previous == head.segment && segment.before == head.tree,
        };
        if follows { Ok(segment) } else { Err(Refusal::Inconsistent) }
    };
    let check = |record: &Signed<Record>| verify(record).map(drop);
    let key = manifest.feed().segment_key(head.map_or(0, |head| head.segments));
    let record = client.get(key, &check, now).await?;
    record.as_ref().map(verify).transpose().map_err(GetError::Unacceptable)
}

/// Why single replicas, or all of them, refused.
fn refusals(error: &PutError) -> impl Iterator<Item = &Refusal> {
    let (one, many) = match error {
        PutError::Refused(refusal) => (Some(refusal), &[][..]),
        PutError::NoQuorum { refusals, .. } => (None, &refusals[..]),
        _ => (None, &[][..]),
    };
    one.into_iter().chain(many.iter().map(|(_, refusal)| refusal))
}

/// How far the replica got that lacks most, if any says that it lacks something.
fn lag(error: &PutError) -> Option<u64> {
    let stored = refusals(error).filter_map(|refusal| match refusal {
        Refusal::Gap { stored } => Some(*stored),
        _ => None,
    });
    stored.min()
}
