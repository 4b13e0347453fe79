//! Validators that know the protocol and break it.

use std::collections::BTreeSet;

use bytes::Bytes;
use dt_model::{Digest, Envelope, Message, Signed, Timestamp};

use super::Tendermint;
use super::message::{Packet, Prevote, Proposal, Proposed};
use crate::block::{leaf_hash, log_root};
use crate::testing::simulator::{Action, Event, Prototype, Seat, Stop};
use crate::{Block, Commit};

/// How a [`Traitor`] breaks the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Misdeed {
    /// Whenever it is its turn, it proposes two blocks, one to each half of the others, and votes for both.
    ProposesTwo,
    /// It agrees with everybody: to each node it votes, in both halves of the round, for what that node proposes or votes for.
    VotesForAll,
    /// It proposes blocks with a transaction that is not admissible.
    BadTransaction,
    /// It proposes blocks on another state than the chain has.
    OtherState,
    /// It proposes blocks whose time is before the last block's.
    TimeGoesBack,
    /// It proposes blocks whose time is far in the future.
    TimeRunsAhead,
    /// It proposes new blocks as if a quorum had prevoted for them in the round before.
    ClaimsAQuorum,
}

/// A validator that runs [`Tendermint`] but for one [`Misdeed`].
pub struct Traitor {
    inner: Tendermint,
    seat: Seat,
    misdeed: Misdeed,
    /// With whom it has agreed since it last woke, in which round, about which block: two that agree with everybody would not end.
    agreed: BTreeSet<(usize, u64, u32, Digest)>,
}

impl Traitor {
    /// The traitor in `seat`.
    #[must_use]
    pub fn new(seat: Seat, misdeed: Misdeed) -> Self {
        Self { inner: Tendermint::new(seat.clone()), seat, misdeed, agreed: BTreeSet::new() }
    }

    fn sign<T: Message>(&self, message: T) -> Result<Envelope<T>, Stop> {
        Ok(Signed::new(message, &*self.seat.signer)?.into_envelope())
    }

    /// The packets of a vote for `block` in both halves of `round`.
    fn votes(&self, height: u64, round: u32, block: Digest) -> Result<[Bytes; 2], Stop> {
        let chain = self.seat.replica.chain();
        let prevote = Packet::Prevote(self.sign(Prevote { chain, height, round, block })?);
        let precommit = Packet::Precommit(self.sign(Commit { chain, height, round, block })?);
        Ok([prevote.to_bytes(), precommit.to_bytes()])
    }

    /// The packet of its own `proposal` with `block` in it, without a proof.
    fn propose(&self, proposal: Proposal, block: Block) -> Result<Packet, Stop> {
        let proposal = Proposal { block: block.header.digest(), ..proposal };
        Ok(Packet::Proposal(Box::new(Proposed { proposal: self.sign(proposal)?, block, proof: Vec::new() })))
    }

    /// What goes out instead of its own proposal.
    fn betray(&self, proposal: &Proposal, block: &Block) -> Result<Vec<Action>, Stop> {
        let mut other = block.clone();
        match self.misdeed {
            Misdeed::VotesForAll => {}
            Misdeed::ProposesTwo => {
                other.header.time = Timestamp::from_millis(other.header.time.as_millis() + 1);
                return self.propose_both(proposal, [block.clone(), other]);
            }
            Misdeed::ClaimsAQuorum => {
                let claim = Proposal { valid_round: proposal.round.checked_sub(1), ..proposal.clone() };
                return Ok(vec![Action::Broadcast(self.propose(claim, other)?.to_bytes())]);
            }
            Misdeed::BadTransaction => {
                other.transactions.push(Bytes::from_static(b"no transaction"));
                let leaves: Vec<Digest> = other.transactions.iter().map(|bytes| leaf_hash(bytes)).collect();
                other.header.transactions_root = log_root(&leaves);
            }
            Misdeed::OtherState => other.header.state_root = Digest::from([1; 32]),
            Misdeed::TimeGoesBack => other.header.time = Timestamp::from_millis(0),
            Misdeed::TimeRunsAhead => other.header.time = Timestamp::from_millis(u64::MAX),
        }
        let votes = self.votes(proposal.height, proposal.round, other.header.digest())?;
        let packets = std::iter::once(self.propose(new(proposal), other)?.to_bytes()).chain(votes);
        Ok(packets.map(Action::Broadcast).collect())
    }

    fn propose_both(&self, proposal: &Proposal, blocks: [Block; 2]) -> Result<Vec<Action>, Stop> {
        let mut actions = Vec::new();
        for (half, block) in blocks.into_iter().enumerate() {
            let votes = self.votes(proposal.height, proposal.round, block.header.digest())?;
            let packets = std::iter::once(self.propose(new(proposal), block)?.to_bytes()).chain(votes);
            for bytes in packets {
                let hearers = (0..self.seat.nodes).filter(|to| to % 2 == half);
                actions.extend(hearers.map(|to| Action::Send { to, bytes: bytes.clone() }));
            }
        }
        Ok(actions)
    }

    /// Votes for what `node` says, and tells it alone.
    fn agree(&mut self, node: usize, packet: &Packet) -> Result<Vec<Action>, Stop> {
        let Some((height, round, block)) = packet.subject() else { return Ok(Vec::new()) };
        if !self.agreed.insert((node, height, round, block)) {
            return Ok(Vec::new());
        }
        Ok(self.votes(height, round, block)?.map(|bytes| Action::Send { to: node, bytes }).into())
    }
}

/// The proposal as one of a block that no round has voted for.
fn new(proposal: &Proposal) -> Proposal {
    Proposal { valid_round: None, ..proposal.clone() }
}

impl Prototype for Traitor {
    fn handle(&mut self, now: Timestamp, event: Event) -> Result<Vec<Action>, Stop> {
        let mut actions = Vec::new();
        let flatters = self.misdeed == Misdeed::VotesForAll;
        match &event {
            Event::Message { from, bytes } if flatters => {
                if let Some(packet) = Packet::read(bytes) {
                    actions.extend(self.agree(*from, &packet)?);
                }
            }
            Event::Timer(_) => self.agreed.clear(),
            _ => {}
        }
        for action in self.inner.handle(now, event)? {
            let packet = if let Action::Broadcast(bytes) = &action { Packet::read(bytes) } else { None };
            match packet {
                Some(Packet::Proposal(proposed)) => {
                    if let Ok(proposal) = proposed.proposal.clone().open() {
                        actions.extend(self.betray(&proposal, &proposed.block)?);
                    }
                }
                // What it thinks itself it keeps to itself.
                Some(Packet::Prevote(_) | Packet::Precommit(_)) if flatters => {}
                _ => actions.push(action),
            }
        }
        Ok(actions)
    }
}
