//! Reading a blob as a stream, from any place on, with bounded memory.

use core::ops::Range;
use std::collections::VecDeque;

use bytes::Bytes;
use dt_model::Timestamp;
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesOrdered, StreamExt};
use futures_util::{FutureExt, TryFutureExt};

use super::STRIPES_IN_FLIGHT;
use super::code::StripeCoder;
use super::index::Index;
use super::reference::{BlobError, BlobRef, STRIPE_BYTES};
use crate::{Client, GetError};

/// A stripe and the shards that restore it.
type Fetched = (BlobRef, Vec<(u16, Bytes)>);

/// Gives the content of a blob piece by piece: [`Client::read_blob`].
///
/// What it gives has been checked, whatever becomes of the rest. Nothing runs in the background: up to [`STRIPES_IN_FLIGHT`] stripes
/// are fetched ahead while [`BlobReader::next`] is awaited.
///
/// A range costs whole stripes: the verdict on a stripe needs all of it.
///
/// # Examples
/// ```
/// # use dt_dht::{BlobRef, Client, GetError};
/// # use dt_model::Timestamp;
/// async fn read(client: &Client, blob: &BlobRef, clock: impl Fn() -> Timestamp) -> Result<(), GetError> {
///     let mut reader = client.read_blob(blob, 0..blob.length())?;
///     while let Some(piece) = reader.next(clock()).await? {
///         // write it to a file, or open the sealed chunks in it
///         let _done = (piece.len(), reader.position());
///     }
///     Ok(())
/// }
/// ```
pub struct BlobReader<'a> {
    client: &'a Client,
    blob: BlobRef,
    /// Fetched when it is first needed.
    index: Option<Index>,
    coder: StripeCoder,
    /// What is still to be given; all of it but what is `ready` is still to be fetched.
    range: Range<u64>,
    /// The next pieces of the range, up to the end of a stripe or of the range.
    ready: VecDeque<Bytes>,
    /// Stripes that are being fetched, in order; the first one is where the range starts if nothing is ready.
    in_flight: FuturesOrdered<BoxFuture<'a, Result<Fetched, GetError>>>,
}

impl<'a> BlobReader<'a> {
    pub(super) fn new(client: &'a Client, blob: BlobRef, range: Range<u64>) -> Result<Self, GetError> {
        let coder = StripeCoder::of(blob.data_shards(), blob.shards().len())?;
        let in_flight = FuturesOrdered::new();
        let mut reader =
            Self { client, blob, index: None, coder, range: 0..0, ready: VecDeque::new(), in_flight };
        reader.seek(range)?;
        Ok(reader)
    }

    /// The next piece of the range: what one data shard has of it. `None` at the end of the range.
    ///
    /// `now` is the time of the requests that are made by this call.
    ///
    /// # Errors
    /// [`GetError`]. A later call tries again from the same position on; [`BlobError::BadEncoding`] comes again.
    pub async fn next(&mut self, now: Timestamp) -> Result<Option<Bytes>, GetError> {
        if self.range.is_empty() {
            return Ok(None);
        }
        if self.ready.is_empty() {
            match self.next_stripe(now).await {
                Ok(pieces) => self.cut(pieces),
                Err(error) => {
                    self.in_flight.clear();
                    return Err(error);
                }
            }
        }
        let piece = self.ready.pop_front();
        self.range.start += piece.as_ref().map_or(0, |piece| piece.len() as u64);
        Ok(piece)
    }

    /// Makes ready what the range has of a stripe's `pieces`.
    fn cut(&mut self, pieces: Vec<Bytes>) {
        let mut start = self.range.start - self.range.start % STRIPE_BYTES as u64;
        for mut piece in pieces {
            let end = start + piece.len() as u64;
            let behind = end.saturating_sub(self.range.end.max(start));
            let before = self.range.start.saturating_sub(start);
            // Both are at most the length of the piece, where it matters.
            let length = piece.len();
            piece.truncate(length - usize::try_from(behind).unwrap_or(length).min(length));
            let piece = piece.split_off(usize::try_from(before).unwrap_or(length).min(piece.len()));
            if !piece.is_empty() {
                self.ready.push_back(piece);
            }
            start = end;
        }
    }

    /// Where the next piece starts in the content.
    #[must_use]
    pub const fn position(&self) -> u64 {
        self.range.start
    }

    /// Goes on with another range. The index is not fetched again.
    ///
    /// # Errors
    /// [`GetError::Blob`] with [`BlobError::OutOfRange`]; then nothing has changed.
    pub fn seek(&mut self, range: Range<u64>) -> Result<(), GetError> {
        let length = self.blob.length();
        if range.start > range.end || range.end > length {
            return Err(BlobError::OutOfRange { start: range.start, end: range.end, length }.into());
        }
        self.in_flight.clear();
        self.ready.clear();
        self.range = range;
        Ok(())
    }

    /// The stripe in which the range starts, in pieces. It is no longer in flight, whatever comes of it.
    async fn next_stripe(&mut self, now: Timestamp) -> Result<Vec<Bytes>, GetError> {
        if self.blob.is_indexed() && self.index.is_none() {
            let shards = self.client.fetch_stripe(self.blob.clone(), now).await?;
            let root = self.coder.decode_sound(&self.blob, &shards)?;
            self.index = Some(Index::new(self.blob.clone(), root.concat()));
        }
        let first = self.range.start / STRIPE_BYTES as u64;
        let behind = self.range.end.div_ceil(STRIPE_BYTES as u64);
        for number in (first..behind).take(STRIPES_IN_FLIGHT).skip(self.in_flight.len()) {
            let stripe = match &self.index {
                Some(index) => index.stripe(number),
                None => Some(self.blob.clone()),
            };
            let Some(stripe) = stripe else { break };
            let fetch = self.client.fetch_stripe(stripe.clone(), now);
            self.in_flight.push_back(fetch.map_ok(|shards| (stripe, shards)).boxed());
        }
        let Some(fetched) = self.in_flight.next().await else {
            let (found, needed) = (0, self.blob.data_shards());
            return Err(BlobError::TooFewShards { found, needed }.into());
        };
        let (stripe, shards) = fetched?;
        Ok(self.coder.decode_sound(&stripe, &shards)?)
    }
}
