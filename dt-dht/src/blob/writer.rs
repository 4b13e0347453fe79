//! Writing a blob as a stream: content in as it comes, stripes out, with bounded memory; and where to go on when it breaks off.

use std::collections::{BTreeMap, BTreeSet};

use borsh::{BorshDeserialize, BorshSerialize};
use dt_model::{Digest, PartyId, Timestamp};
use futures_util::future::{BoxFuture, Either, select};
use futures_util::stream::{FuturesUnordered, SelectAll, StreamExt};
use futures_util::{FutureExt, TryFutureExt};

use super::STRIPES_IN_FLIGHT;
use super::client::{Requests, Stragglers};
use super::code::{Encoded, StripeCoder};
use super::index::IndexBuilder;
use super::reference::{BlobError, BlobRef, STRIPE_BYTES};
use crate::client::take_ready;
use crate::{Client, PutError, Resilience};

/// Stores content that is given piece by piece: [`Client::write_blob`].
///
/// Nothing runs in the background: requests are under way while [`BlobWriter::write`] or [`BlobWriter::finish`] is awaited. A write
/// waits while [`STRIPES_IN_FLIGHT`] stripes lack their quorum. Replicas that are slower than a quorum are not waited for; one that
/// lags behind by some stripes is left out of the next ones until it has caught up, if there are enough others.
///
/// After an error, or when a future was dropped, the blob is broken off: take [`BlobWriter::checkpoint`] and go on with
/// [`Client::resume_blob`]. What was stored of a blob that is never finished is kept until its lease ends.
///
/// # Examples
/// ```
/// # use dt_dht::{Client, BlobRef, PutError};
/// # use dt_model::Timestamp;
/// async fn store(
///     client: &Client,
///     mut next: impl AsyncFnMut() -> Option<Vec<u8>>, // a file, a socket, a sealer
///     clock: impl Fn() -> Timestamp,
/// ) -> Result<BlobRef, PutError> {
///     let mut writer = client.write_blob()?;
///     while let Some(piece) = next().await {
///         writer.write(&piece, clock()).await?;
///         let _so_far = writer.progress().stored;
///     }
///     writer.finish(clock()).await
/// }
/// ```
pub struct BlobWriter<'a> {
    client: &'a Client,
    resilience: Resilience,
    coder: StripeCoder,
    index: IndexBuilder,
    /// Content that does not fill a stripe yet.
    stripe: Vec<u8>,
    /// Stripes without a quorum yet, with their numbers.
    in_flight: FuturesUnordered<BoxFuture<'a, Result<(u64, Stragglers<'a>), PutError>>>,
    /// What replicas have still to take of stripes that have their quorum.
    lagging: SelectAll<Requests<'a>>,
    backlog: BTreeMap<PartyId, usize>,
    /// How many stripes, from the first on without a gap, have their quorum; and which of the later ones.
    stored: u64,
    stored_later: BTreeSet<u64>,
    probing: bool,
    /// No more can be written: finished, or broken off.
    closed: bool,
}

/// How far a put is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of content that were written to the writer.
    pub taken: u64,
    /// Bytes of content, from the first on, of which a quorum holds its shards.
    pub stored: u64,
}

/// Where a put that broke off can go on: behind the last full stripe that a quorum holds, with what the index says of those before.
///
/// It is the writer's own, and worth keeping beside whatever the content comes from; nobody else needs to see it. It says nothing of the
/// content, and what is written after it MUST be the same content as before: sealed under the same key.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize)]
pub struct Checkpoint {
    resilience: Resilience,
    digests: Vec<Digest>,
}

impl Checkpoint {
    /// The start of any content. To resume there is to write all again, but to send only what replicas do not hold.
    #[must_use]
    pub const fn start(resilience: Resilience) -> Self {
        Self { resilience, digests: Vec::new() }
    }

    /// From which byte of the content on it is to be written.
    #[must_use]
    pub const fn length(&self) -> u64 {
        (self.digests.len() / self.resilience.replicas()) as u64 * STRIPE_BYTES as u64
    }
}

impl BorshDeserialize for Checkpoint {
    fn deserialize_reader<R: borsh::io::Read>(reader: &mut R) -> borsh::io::Result<Self> {
        let (resilience, digests) = <(Resilience, Vec<Digest>)>::deserialize_reader(reader)?;
        match IndexBuilder::resume(resilience, digests.clone()) {
            Some(_) => Ok(Self { resilience, digests }),
            None => Err(borsh::io::ErrorKind::InvalidData.into()),
        }
    }
}

impl<'a> BlobWriter<'a> {
    pub(super) fn new(client: &'a Client, checkpoint: Checkpoint, probing: bool) -> Result<Self, PutError> {
        let Checkpoint { resilience, digests } = checkpoint;
        let index = (client.membership().resilience() == resilience)
            .then(|| IndexBuilder::resume(resilience, digests))
            .flatten()
            .ok_or(PutError::Blob(BlobError::OtherResilience))?;
        let coder = StripeCoder::new(resilience).map_err(PutError::Blob)?;
        Ok(Self {
            client,
            resilience,
            coder,
            stored: index.stripes(),
            index,
            stripe: Vec::new(),
            in_flight: FuturesUnordered::new(),
            lagging: SelectAll::new(),
            backlog: BTreeMap::new(),
            stored_later: BTreeSet::new(),
            probing,
            closed: false,
        })
    }

    /// Takes the next bytes of the content. They are stored when this or a later call returns: see [`BlobWriter::progress`].
    ///
    /// # Errors
    /// [`PutError`]. After [`PutError::TooLarge`] nothing has been taken; after any other one the put is broken off.
    pub async fn write(&mut self, mut bytes: &[u8], now: Timestamp) -> Result<(), PutError> {
        if self.closed {
            return Err(PutError::BrokenOff);
        }
        let more = (self.stripe.len() as u64).saturating_add(bytes.len() as u64);
        self.index.reserve(more).map_err(too_large)?;
        // Only a call that comes to its end opens it again: so neither an error nor a dropped future leaves a gap unnoticed.
        self.closed = true;
        while !bytes.is_empty() {
            if self.stripe.is_empty() && self.index.stripes() > 0 {
                // More than one stripe: so this one is likely to be full, and need not move while it grows.
                self.stripe.reserve_exact(self.coder.padded(STRIPE_BYTES));
            }
            let (head, tail) = bytes.split_at(bytes.len().min(STRIPE_BYTES - self.stripe.len()));
            self.stripe.extend_from_slice(head);
            bytes = tail;
            if self.stripe.len() == STRIPE_BYTES {
                self.send_stripe(now).await?;
            }
        }
        self.closed = false;
        Ok(())
    }

    /// Stores what is left, and the index if there is more than one stripe. The blob is stored when this returns.
    ///
    /// # Errors
    /// [`PutError`]; then the put is broken off. Afterwards it is finished: in both cases nothing more can be written.
    pub async fn finish(&mut self, now: Timestamp) -> Result<BlobRef, PutError> {
        if core::mem::replace(&mut self.closed, true) {
            return Err(PutError::BrokenOff);
        }
        if !self.stripe.is_empty() || self.index.stripes() == 0 {
            self.send_stripe(now).await?;
        }
        while !self.in_flight.is_empty() {
            self.wait().await?;
        }
        if let Some(only) = self.index.only() {
            return Ok(only);
        }
        let Encoded { reference, shards } = self.index.encode(&mut self.coder).map_err(PutError::Blob)?;
        let backlog = self.backlog.clone();
        let mut late =
            self.client.store_stripe(reference.clone(), shards, self.probing, backlog, now).await?;
        take_ready(&mut late.requests, drop);
        Ok(reference)
    }

    /// How far it is.
    #[must_use]
    pub fn progress(&self) -> Progress {
        let taken = self.index.length() + self.stripe.len() as u64;
        Progress { taken, stored: (self.stored * STRIPE_BYTES as u64).min(self.index.length()) }
    }

    /// Where to go on if it breaks off now.
    #[must_use]
    pub fn checkpoint(&self) -> Checkpoint {
        let full = self.index.length() / STRIPE_BYTES as u64;
        let digests = self.index.digests(self.stored.min(full)).to_vec();
        Checkpoint { resilience: self.resilience, digests }
    }

    /// Encodes what is there as the next stripe, sends it, and waits until there is room for another one.
    async fn send_stripe(&mut self, now: Timestamp) -> Result<(), PutError> {
        let content = core::mem::take(&mut self.stripe);
        let number = self.index.stripes();
        let Encoded { reference, shards } = self.coder.encode_root(content).map_err(PutError::Blob)?;
        self.index.push(&reference);
        let store = self.client.store_stripe(reference, shards, self.probing, self.backlog.clone(), now);
        self.in_flight.push(store.map_ok(move |late| (number, late)).boxed());
        loop {
            // Without waiting, and so that the new requests are on their way.
            while let Some(Some(stored)) = self.in_flight.next().now_or_never() {
                self.settle(stored?);
            }
            while let Some(Some((node, ..))) = self.lagging.next().now_or_never() {
                self.caught_up(node);
            }
            if self.in_flight.len() < STRIPES_IN_FLIGHT {
                return Ok(());
            }
            self.wait().await?;
        }
    }

    /// Waits for the quorum of one stripe.
    async fn wait(&mut self) -> Result<(), PutError> {
        loop {
            if self.lagging.is_empty() {
                if let Some(stored) = self.in_flight.next().await {
                    self.settle(stored?);
                }
                return Ok(());
            }
            match select(self.in_flight.next(), self.lagging.next()).await {
                Either::Left((None, _)) => return Ok(()),
                Either::Left((Some(stored), _)) => {
                    self.settle(stored?);
                    return Ok(());
                }
                Either::Right((Some((node, ..)), _)) => self.caught_up(node),
                Either::Right((None, _)) => {}
            }
        }
    }

    /// A stripe has its quorum.
    fn settle(&mut self, (number, late): (u64, Stragglers<'a>)) {
        self.stored_later.insert(number);
        while self.stored_later.remove(&self.stored) {
            self.stored += 1;
        }
        late.nodes.into_iter().for_each(|node| *self.backlog.entry(node).or_default() += 1);
        self.lagging.push(late.requests);
    }

    fn caught_up(&mut self, node: PartyId) {
        if let Some(behind) = self.backlog.get_mut(&node) {
            *behind = behind.saturating_sub(1);
        }
    }
}

fn too_large(error: BlobError) -> PutError {
    match error {
        BlobError::TooLarge { size, limit } => PutError::TooLarge { size, limit },
        other => PutError::Blob(other),
    }
}
