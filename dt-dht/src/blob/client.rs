//! A client's blobs: thin drivers around [`StripePut`] and [`StripeGet`], and conveniences over the streams.

use core::ops::Range;
use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use dt_model::{PartyId, SignerError, Timestamp};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Either, select};
use futures_util::stream::{FuturesUnordered, Stream, StreamExt};

use super::fetch::{Conduct, StripeGet};
use super::reader::BlobReader;
use super::reference::BlobRef;
use super::store::{Part, StripePut, places};
use super::timer::Timer;
use super::writer::{BlobWriter, Checkpoint};
use crate::client::Answered;
use crate::{Client, GetError, Membership, PutError, RequestBody, Shard};

/// How many stripes a replica may lag behind before it is spared: further ones are sent to the others only, as long as those are
/// enough. What it lacks, it gets by repair.
const MAX_BACKLOG: usize = 2;

/// What replicas have still to take when a quorum has its shards.
pub(super) struct Stragglers<'a> {
    pub(super) nodes: Vec<PartyId>,
    pub(super) requests: Requests<'a>,
}

/// Shards and proofs on their way: which node answered what, and how.
pub(super) type Requests<'a> =
    FuturesUnordered<BoxFuture<'a, (PartyId, Asked, Result<Answered, SignerError>)>>;

/// What a node was asked to keep.
#[derive(Debug, Clone, Copy)]
pub(super) enum Asked {
    Shard,
    Certificate,
}

impl Client {
    /// Reads blobs with the fewest requests: see [`Timer`].
    #[must_use]
    pub fn with_timer(mut self, timer: Arc<dyn Timer>) -> Self {
        self.timer = Some(timer);
        self
    }

    /// Stores `content`, which the caller has sealed, as a blob: one shard of every stripe at each replica of its address.
    ///
    /// A quorum of 2k + 1 nodes said that they hold their shard; of these at most k lie, and any k + 1 shards restore the content. Then a quorum
    /// was given the proof of it, so that a change of nodes waits until the new ones hold the content, too. What was not stored to the end may
    /// be lost when nodes change.
    ///
    /// # Errors
    /// [`PutError`].
    pub async fn put_blob(&self, content: &[u8], now: Timestamp) -> Result<BlobRef, PutError> {
        let mut writer = self.write_blob()?;
        writer.write(content, now).await?;
        writer.finish(now).await
    }

    /// Starts a blob whose content is not in memory, or not known to its end yet.
    ///
    /// # Errors
    /// [`PutError::Blob`] if the network's resilience allows no blobs.
    pub fn write_blob(&self) -> Result<BlobWriter<'_>, PutError> {
        BlobWriter::new(self, Checkpoint::start(self.membership().resilience()), false)
    }

    /// Goes on with a blob whose put broke off. The content is to be written from [`Checkpoint::length`] on. Replicas are asked what
    /// they hold before they are sent anything, so nothing is sent twice.
    ///
    /// # Errors
    /// [`PutError::Blob`] if the checkpoint is of a network of another resilience.
    pub fn resume_blob(&self, checkpoint: Checkpoint) -> Result<BlobWriter<'_>, PutError> {
        BlobWriter::new(self, checkpoint, true)
    }

    /// The content of `blob`, as it was put: still sealed. It is held in memory whole: [`Client::read_blob`] is for long content.
    ///
    /// # Errors
    /// [`GetError`]; [`crate::BlobError::BadEncoding`] is every reader's verdict on the blob, not a passing failure.
    pub async fn get_blob(&self, blob: &BlobRef, now: Timestamp) -> Result<Bytes, GetError> {
        let mut reader = self.read_blob(blob, 0..blob.length())?;
        // What a reference says of its length is worth no memory until the stripes are there.
        let mut content = Vec::new();
        while let Some(piece) = reader.next(now).await? {
            if content.is_empty() && !blob.is_indexed() {
                content.reserve_exact(blob.root_bytes());
            }
            content.extend_from_slice(&piece);
        }
        Ok(content.into())
    }

    /// Reads the `range` of the content of `blob`, stripe by stripe; stripes outside of it are not fetched. Nothing is sent before
    /// [`BlobReader::next`].
    ///
    /// # Errors
    /// [`GetError::Blob`] with [`crate::BlobError::OutOfRange`].
    pub fn read_blob(&self, blob: &BlobRef, range: Range<u64>) -> Result<BlobReader<'_>, GetError> {
        BlobReader::new(self, blob.clone(), range)
    }

    /// Stores one stripe. `probing` asks each replica first whether it has its shard. The replicas that had not answered when a quorum
    /// had are returned, so that what is sent to them is delivered while they are polled.
    pub(super) async fn store_stripe(
        &self,
        blob: BlobRef,
        mut shards: Vec<Bytes>,
        probing: bool,
        backlog: BTreeMap<PartyId, usize>,
        now: Timestamp,
    ) -> Result<Stragglers<'_>, PutError> {
        let membership = self.membership();
        if !blob.fits(membership.resilience()) {
            return Err(PutError::Blob(super::BlobError::OtherResilience));
        }
        let address = blob.address();
        let mut quorum = StripePut::new(&membership, &address, &backlog, MAX_BACKLOG, now);
        let mut replies = Requests::new();
        loop {
            for (node, part) in quorum.wanted() {
                let index = match part {
                    Part::Shard(index) => index,
                    Part::Certificate(certificate) => {
                        let body = RequestBody::KeepCertificate { blob: address, certificate };
                        let sent = self.exchange(self.call(&membership, node, body, now)?);
                        replies.push(sent.map(move |reply| (node, Asked::Certificate, Ok(reply))).boxed());
                        continue;
                    }
                };
                let number = usize::from(index);
                let Some((digest, shard)) = blob.shards().get(number).zip(shards.get_mut(number)) else {
                    continue;
                };
                // Taken out, so that it is freed when it has been encoded as a message; while nodes hand over, two may need it.
                let bytes = if membership.is_changing() { shard.clone() } else { core::mem::take(shard) };
                let shard = Shard::known(*digest, bytes);
                let put = RequestBody::PutShard { blob: blob.clone(), index, shard };
                let probe = probing.then_some(RequestBody::RenewShard { blob: address, index });
                let sent = self.send_shard(membership.clone(), node, probe, put, now);
                replies.push(sent.map(move |answered| (node, Asked::Shard, answered)).boxed());
            }
            if let Some(outcome) = quorum.outcome() {
                outcome?;
                return Ok(Stragglers { nodes: quorum.awaited(), requests: replies });
            }
            let Some((node, asked, answered)) = replies.next().await else { return Err(quorum.unfinished()) };
            match asked {
                Asked::Shard => quorum.answer_shard(node, answered?.1.as_ref()),
                Asked::Certificate => quorum.answer_certificate(node, answered?.1.as_ref()),
            }
        }
    }

    /// Sends a replica its shard, unless it says to `probe` that it has it.
    async fn send_shard(
        &self,
        membership: Membership,
        node: PartyId,
        probe: Option<RequestBody>,
        put: RequestBody,
        now: Timestamp,
    ) -> Result<Answered, SignerError> {
        if let Some(probe) = probe {
            let answered = self.exchange(self.call(&membership, node, probe, now)?).await;
            if matches!(answered.1, Some(crate::ReplyBody::ShardStored { .. })) {
                return Ok(answered);
            }
        }
        let call = self.call(&membership, node, put, now)?;
        Ok(self.exchange(call).await)
    }

    /// Fetches as many sound shards as restore the root of `blob`.
    pub(super) async fn fetch_stripe(
        &self,
        blob: BlobRef,
        now: Timestamp,
    ) -> Result<Vec<(u16, Bytes)>, GetError> {
        let (membership, address) = (self.membership(), blob.address());
        let (shards, replicas) = (blob.shards().len(), membership.resilience().replicas());
        if shards != replicas {
            return Err(GetError::OtherResilience { shards, replicas });
        }
        let mut candidates = places(&membership, &address);
        self.peers.rank(&mut candidates, blob.data_shards());
        let timer = self.timer.as_deref();
        let mut get = StripeGet::new(&membership, blob, candidates);
        let mut replies = FuturesUnordered::new();
        let mut patience = Duration::ZERO;
        let mut sleep: Option<BoxFuture<'_, ()>> = None;
        while !get.is_decided() {
            let wanted = if timer.is_some() { get.wanted() } else { get.all() };
            if let Some(timer) = timer
                && !wanted.is_empty()
            {
                patience = self.peers.patience(get.awaited());
                sleep = Some(timer.sleep(patience));
            }
            for (node, index) in wanted {
                let body = RequestBody::GetShard { blob: address, index };
                let exchange = self.exchange(self.call(&membership, node, body, now)?);
                replies.push(timed(timer, exchange).map(move |answered| (index, answered)));
            }
            match first_of(&mut replies, &mut sleep).await {
                Either::Left(None) => break,
                Either::Left(Some((index, ((node, reply), time)))) => {
                    match (get.answer(node, index, reply), time) {
                        (Conduct::Lied, _) => self.peers.lied(node),
                        (Conduct::Proper, Some(time)) => self.peers.answered(node, time),
                        (Conduct::Useless, Some(time)) => self.peers.useless(node, time),
                        (Conduct::Failed, Some(time)) => self.peers.failed(node, time),
                        (_, None) => {}
                    }
                }
                Either::Right(()) => {
                    sleep = None;
                    get.late().into_iter().for_each(|node| self.peers.failed(node, patience));
                }
            }
        }
        get.outcome()
    }
}

/// What `future` gives, and how long it took, if there is a timer.
async fn timed<T>(timer: Option<&dyn Timer>, future: impl Future<Output = T>) -> (T, Option<Duration>) {
    let start = timer.map(Timer::elapsed);
    let output = future.await;
    (output, timer.zip(start).map(|(timer, start)| timer.elapsed().saturating_sub(start)))
}

/// The next item of `stream`, or the end of `sleep`, whatever comes first.
async fn first_of<S: Stream + Unpin>(
    stream: &mut S,
    sleep: &mut Option<BoxFuture<'_, ()>>,
) -> Either<Option<S::Item>, ()> {
    let Some(sleep) = sleep else { return Either::Left(stream.next().await) };
    match select(stream.next(), sleep).await {
        Either::Left((item, _)) => Either::Left(item),
        Either::Right(((), _)) => Either::Right(()),
    }
}
