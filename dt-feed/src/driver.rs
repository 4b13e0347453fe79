//! The owner's side on the network: thin drivers around [`Publisher`].

use dt_dht::{Client, GetError, PutError, Record, Refusal};
use dt_model::{Signed, Timestamp};
use rand_core::CryptoRng;
use thiserror::Error;

use crate::Manifest;
use crate::batch::{Batch, BatchError};
use crate::head::SignedHead;
use crate::policy::{BatchPolicy, EpochKey};
use crate::publisher::{EpochError, Publisher};
use crate::repair::{get, get_head, get_segment, put, put_refusals};
use crate::segment::SignedSegment;
use crate::validator::manifest_of;

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
    /// A segment that no quorum holds may not be found now, and be found by a later run, as long as this one has put none in its place.
    /// So whoever throws entries away that no head covers yet can tell only by reading whether they are in the log.
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
        let head = get_head(client, &manifest, now).await?;
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
        let index = batch.segment().index;
        if let Err(error) = put(client, self.manifest(), batch.segment().record(), index, now).await {
            // A former run, whose clock was ahead, may have left an attempt that no quorum holds: ours takes its place.
            let version = batch.segment().record().version;
            let Some(newer) = newer_attempt(client, self.manifest(), index, version, &error, now).await
            else {
                return Err(error.into());
            };
            self.reversion(newer, client.signer())?;
            let Some(batch) = self.in_flight() else { return Ok(()) };
            put(client, self.manifest(), batch.segment().record(), index, now).await?;
        }
        if let Some(batch) = self.in_flight_mut() {
            batch.described = true;
        }
        Ok(())
    }

    /// Writes the head of the batch in flight, whose segment a quorum holds.
    async fn settle(&mut self, client: &Client, now: Timestamp) -> Result<(), PublishError> {
        if let Some(head) = self.in_flight().map(Batch::head) {
            put(client, self.manifest(), head.record(), head.segments, now).await?;
            self.confirm();
        }
        Ok(())
    }
}

/// The version of the attempt that is stored instead of `version` at segment `index`, if that is why replicas refused: as it is read, since
/// by the word of a single liar the versions would be used up.
async fn newer_attempt(
    client: &Client,
    manifest: &Manifest,
    index: u64,
    version: u64,
    error: &PutError,
    now: Timestamp,
) -> Option<u64> {
    put_refusals(error).find(|refusal| matches!(refusal, Refusal::Stale { stored } if *stored > version))?;
    let segment = get_segment(client, manifest, index, now).await.ok()??;
    Some(segment.record().version).filter(|stored| *stored > version)
}

/// The segment that follows on `head` and that no head covers yet, if a former run left one.
async fn segment_behind(
    client: &Client,
    manifest: &Manifest,
    head: Option<&SignedHead>,
    now: Timestamp,
) -> Result<Option<SignedSegment>, GetError> {
    let read = |record: &Signed<Record>| {
        let segment = SignedSegment::verify(manifest, record.clone())?;
        let follows = match head {
            None => segment.index == 0,
            Some(head) => segment.previous == head.segment && segment.before == head.tree,
        };
        if follows { Ok(segment) } else { Err(Refusal::Inconsistent) }
    };
    let key = manifest.feed().segment_key(head.map_or(0, |head| head.segments));
    get(client, manifest, key, &read, now).await
}
