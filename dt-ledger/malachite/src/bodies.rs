//! Proposed blocks on their way: announced by a proposer's signature, cut into pieces, put together again.
//!
//! Sans-IO, and bounded whoever sends: a stream is taken only behind an announcement of a validator for this height or the next, of a
//! length that a block may have; each publisher has few streams, and pieces out of their order wait only as far as the length goes.

use std::collections::BTreeMap;
use std::sync::Arc;

use borsh::{BorshDeserialize, BorshSerialize};
use bytes::Bytes;
use dt_ledger::{Block, MAX_BLOCK_BYTES};
use dt_model::{Digest, Domain, Envelope, Message, PartyId, Signed, Signer, SignerError, codec};
use malachite::app::streaming::StreamContent;
use malachite::app::types::PeerId;
use malachite::app::types::streaming::{StreamId, StreamMessage};

use crate::context::Part;

/// Bytes in one piece: small enough to be passed on while the next is under way.
pub(crate) const MAX_PIECE_BYTES: usize = 128 * 1024;
/// The longest encoded block: transactions have lengths before them, and a header stands in front.
pub(crate) const MAX_BODY_BYTES: usize = MAX_BLOCK_BYTES + MAX_BLOCK_BYTES / 16;
/// Streams of one publisher that are under way: a round's, the next one's, and those of the next height.
const MAX_STREAMS: usize = 4;
/// Pieces that came before their announcement.
const MAX_EARLY_PIECES: usize = 8;

/// What a proposer says of the block that follows.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Announcement {
    /// The chain.
    pub chain: Digest,
    /// The height.
    pub height: u64,
    /// The round in which it is proposed.
    pub round: u32,
    /// The earlier round in which it had two thirds of the prevotes, if it is proposed again for that.
    pub valid_round: Option<u32>,
    /// The block.
    pub block: Digest,
    /// Bytes of the encoded block.
    pub length: u32,
}

impl Message for Announcement {
    const DOMAIN: Domain = Domain::new("dt/ledger-malachite/announcement/v1");
    const MAX_BYTES: usize = 128;
}

/// A block that somebody proposed, whole.
#[derive(Debug, Clone)]
pub(crate) struct Offered {
    pub(crate) announcement: Announcement,
    pub(crate) proposer: PartyId,
    pub(crate) block: Arc<Block>,
}

/// `block` as a stream of messages.
pub(crate) fn cut(
    announcement: Announcement,
    body: &Bytes,
    signer: &dyn Signer,
) -> Result<Vec<StreamMessage<Part>>, SignerError> {
    // No stream has the same name twice: a proposer proposes once in a round.
    let name = codec::encode(&(announcement.height, announcement.round, announcement.block));
    let stream = StreamId::new(name.into());
    let first = Part::Announcement(Signed::new(announcement, signer)?.into_envelope());
    let pieces = (0..body.len())
        .step_by(MAX_PIECE_BYTES)
        .map(|start| Part::Bytes(body.slice(start..body.len().min(start + MAX_PIECE_BYTES))));
    let parts = std::iter::once(first).chain(pieces);
    Ok((0..)
        .zip(parts)
        .map(|(sequence, part)| StreamMessage::new(stream.clone(), sequence, StreamContent::Data(part)))
        .collect())
}

/// The streams that are under way.
pub(crate) struct Streams {
    chain: Digest,
    streams: BTreeMap<(PeerId, StreamId), Stream>,
}

#[derive(Default)]
struct Stream {
    announced: Option<(Announcement, PartyId)>,
    pieces: BTreeMap<u64, Bytes>,
    bytes: usize,
}

impl Streams {
    pub(crate) const fn new(chain: Digest) -> Self {
        Self { chain, streams: BTreeMap::new() }
    }

    /// Takes one message; the block, if that makes it whole. `next` is the height that is decided now, `known` gives blocks that are here
    /// already, and `votes` tells whether somebody is a validator.
    pub(crate) fn take(
        &mut self,
        publisher: PeerId,
        message: StreamMessage<Part>,
        next: u64,
        known: impl Fn(&Digest) -> Option<Arc<Block>>,
        votes: impl Fn(&PartyId) -> bool,
    ) -> Option<Offered> {
        let StreamMessage { stream_id, sequence, content } = message;
        let part = content.into_data()?;
        let key = (publisher, stream_id);
        let under_way = self.streams.keys().filter(|(peer, _)| *peer == publisher).count();
        if under_way >= MAX_STREAMS && !self.streams.contains_key(&key) {
            return None;
        }
        let stream = self.streams.entry(key.clone()).or_default();
        let taken = match part {
            Part::Announcement(envelope) => stream.announce(envelope, self.chain, next, votes),
            Part::Bytes(piece) => stream.add(sequence, piece),
        };
        if taken.is_none() {
            self.streams.remove(&key);
            return None;
        }
        let (announcement, proposer) = stream.announced.clone()?;
        if let Some(block) = known(&announcement.block) {
            self.streams.remove(&key);
            return Some(Offered { announcement, proposer, block });
        }
        if stream.bytes < announcement.length as usize {
            return None;
        }
        let block = self.streams.remove(&key)?.put_together(&announcement)?;
        Some(Offered { announcement, proposer, block: Arc::new(block) })
    }

    /// Forgets what is not for `next` or later.
    pub(crate) fn prune(&mut self, next: u64) {
        self.streams.retain(|_, stream| {
            stream.announced.as_ref().is_some_and(|(announcement, _)| announcement.height >= next)
        });
    }
}

impl Stream {
    /// `None` if the announcement is no good.
    fn announce(
        &mut self,
        envelope: Envelope<Announcement>,
        chain: Digest,
        next: u64,
        votes: impl Fn(&PartyId) -> bool,
    ) -> Option<()> {
        // A proposer that came back says everything once more.
        if self.announced.is_some() {
            return Some(());
        }
        if !votes(&envelope.signer()) {
            return None;
        }
        let signed = envelope.open().ok()?;
        let announcement = signed.value();
        let is_near = (next..=next.saturating_add(1)).contains(&announcement.height);
        let length = announcement.length as usize;
        if announcement.chain != chain || !is_near || length > MAX_BODY_BYTES || self.bytes > length {
            return None;
        }
        self.announced = Some((announcement.clone(), signed.signer()));
        Some(())
    }

    /// `None` if there is more than there should be.
    fn add(&mut self, sequence: u64, piece: Bytes) -> Option<()> {
        if self.pieces.contains_key(&sequence) {
            return Some(());
        }
        let bytes = self.bytes + piece.len();
        let has_room = match &self.announced {
            Some((announcement, _)) => bytes <= announcement.length as usize,
            None => self.pieces.len() < MAX_EARLY_PIECES,
        };
        if !has_room || piece.is_empty() {
            return None;
        }
        self.pieces.insert(sequence, piece);
        self.bytes = bytes;
        Some(())
    }

    /// The block, if it is the one that was announced.
    fn put_together(self, announcement: &Announcement) -> Option<Block> {
        let body = self.pieces.values().fold(Vec::with_capacity(self.bytes), |mut body, piece| {
            body.extend_from_slice(piece);
            body
        });
        let block: Block = codec::decode(&body, MAX_BODY_BYTES).ok()?;
        let is_right =
            block.header.digest() == announcement.block && block.header.height == announcement.height;
        is_right.then_some(block)
    }
}
