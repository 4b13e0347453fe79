//! What the nodes of [`super::Tendermint`] tell each other, and what each keeps over a crash.

use borsh::{BorshDeserialize, BorshSerialize};
use bytes::Bytes;
use dt_model::{Digest, Domain, Envelope, Message, codec};

use crate::{Block, Commit, CommitCertificate, MAX_BLOCK_BYTES};

/// A vote for no block: no block has this digest.
pub(super) const NIL: Digest = Digest::ZERO;

/// The longest message: a block and a certificate.
const MAX_BYTES: usize = MAX_BLOCK_BYTES + MAX_BLOCK_BYTES / 4;

/// A message between nodes.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(super) enum Packet {
    /// The paper's `PROPOSAL`, with the block that it names.
    Proposal(Box<Proposed>),
    /// The paper's `PREVOTE`.
    Prevote(Envelope<Prevote>),
    /// The paper's `PRECOMMIT`. Enough of them are the block's certificate.
    Precommit(Envelope<Commit>),
    /// A transaction that was submitted elsewhere.
    Transaction(Bytes),
    /// The sender does not have the block at this height.
    Ask(u64),
    /// The answer.
    Decided(Box<(Block, CommitCertificate)>),
}

/// A proposal with all that is needed to judge it.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(super) struct Proposed {
    pub(super) proposal: Envelope<Proposal>,
    pub(super) block: Block,
    /// Where the proposal names a valid round: the prevotes of that round for the block.
    pub(super) proof: Vec<Envelope<Prevote>>,
}

/// What a round's proposer signs.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(super) struct Proposal {
    pub(super) chain: Digest,
    pub(super) height: u64,
    pub(super) round: u32,
    /// The last round in which the proposer saw a quorum of prevotes for the block; the paper's -1 is `None`.
    pub(super) valid_round: Option<u32>,
    pub(super) block: Digest,
}

impl Message for Proposal {
    const DOMAIN: Domain = Domain::new("dt/ledger/tendermint-proposal/v1");
    const MAX_BYTES: usize = 128;
}

/// A vote of a round's first half.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(super) struct Prevote {
    pub(super) chain: Digest,
    pub(super) height: u64,
    pub(super) round: u32,
    /// [`NIL`] for none.
    pub(super) block: Digest,
}

impl Message for Prevote {
    const DOMAIN: Domain = Domain::new("dt/ledger/tendermint-prevote/v1");
    const MAX_BYTES: usize = 128;
}

/// What a node remembers over a crash: enough not to vote twice and not to forget what it has locked.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(super) struct Journal {
    pub(super) height: u64,
    pub(super) round: u32,
    pub(super) step: Step,
    pub(super) locked: Option<(u32, Digest)>,
    pub(super) valid: Option<Valid>,
    pub(super) sent: Vec<(u32, Packet)>,
}

/// The paper's `step`, and the pause before a height's first round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, BorshSerialize, BorshDeserialize)]
pub(super) enum Step {
    Pause,
    Propose,
    Prevote,
    Precommit,
}

/// The paper's `validValue` and `validRound`, with what proves them.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(super) struct Valid {
    pub(super) round: u32,
    pub(super) block: Block,
    pub(super) proof: Vec<Envelope<Prevote>>,
}

/// A timer, with what it was set for: when it runs out later, it means nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(super) enum Timer {
    /// The pause after a block.
    Begin(u64),
    /// The paper's `OnTimeoutPropose`, `OnTimeoutPrevote` and `OnTimeoutPrecommit`.
    Timeout(u64, u32, Step),
    /// Time to say again what may have been lost.
    Repeat,
}

impl Packet {
    pub(super) fn to_bytes(&self) -> Bytes {
        codec::encode(self).into()
    }

    /// The height that a proposal or vote is for, as it says itself: nothing is verified yet.
    pub(super) fn height(&self) -> Option<u64> {
        self.subject().map(|(height, _, _)| height)
    }

    /// Height, round and block that a proposal or vote is about, as it says itself: nothing is verified yet.
    pub(super) fn subject(&self) -> Option<(u64, u32, Digest)> {
        match self {
            Self::Proposal(proposed) => {
                body(&proposed.proposal).map(|said| (said.height, said.round, said.block))
            }
            Self::Prevote(vote) => body(vote).map(|said| (said.height, said.round, said.block)),
            Self::Precommit(vote) => body(vote).map(|said| (said.height, said.round, said.block)),
            Self::Transaction(_) | Self::Ask(_) | Self::Decided(_) => None,
        }
    }

    /// What a node was sent, if it is a packet at all.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        codec::decode(bytes, MAX_BYTES).ok()
    }
}

fn body<T: Message>(envelope: &Envelope<T>) -> Option<T> {
    codec::decode(envelope.body(), T::MAX_BYTES).ok()
}
