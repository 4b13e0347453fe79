//! A consensus in full, as an example of how to write one over a [`Replica`]: Tendermint.
//!
//! Ethan Buchman, Jae Kwon, Zarko Milosevic: "The latest gossip on BFT consensus", 2018 (arXiv 1807.04938), algorithm 1. Comments that
//! say "line" cite its lines. Of n = 3f + 1 validators, f may be faulty.
//!
//! ```text
//!  Propose ──proposal──▶ Prevote ──quorum for a block: lock it──▶ Precommit ──quorum for a block: commit it──▶ next height
//!     └──timeout: nil──▶    └──timeout or quorum for nil: nil──▶      └──timeout──▶ next round
//! ```
//!
//! # What it adds to the paper
//!
//! - *The network loses messages*, where the paper has gossip: what a node has said in this round and the last it says again and again.
//! - *Two votes of a traitor reach different nodes.* In the paper gossip brings both to all. Here a proposal that names a valid round
//!   carries the prevotes of that round, so that nobody needs to have heard them.
//! - *Crashes*: whatever a vote depends on is in the journal before the vote leaves.
//! - *Laggards* ask whoever speaks of a greater height for the blocks that they miss, and check the certificates.
//! - *A pause* between two blocks, so that an idle chain grows slowly.
//!
//! # Invariants
//! - In a round a node sends at most one proposal, one prevote and one precommit, also over a crash.
//! - A node that has locked a block prevotes for another only if a later round had a quorum of prevotes for that.
//! - What is remembered of a height is bounded: a proposal and two votes per validator for each round up to [`ROUNDS_AHEAD`] ahead.

mod message;
mod rules;
mod tally;
mod traitor;

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use dt_model::{Digest, Envelope, Message, PartyId, Signed, Timestamp, codec};

pub use traitor::{Misdeed, Traitor};

use self::message::{Journal, Packet, Prevote, Proposed, Step, Timer, Valid};
use self::tally::{Known, Round};
use super::simulator::{Action, Event, Prototype, Seat, Stop};
use crate::{AdmissionError, BlockError, Commit, vote_quorum};

/// The pause between a block and the next height's first round.
const PAUSE: Duration = Duration::from_millis(200);
/// How often a node says again what it has said.
const REPEAT: Duration = Duration::from_millis(250);
/// The timeouts of round 0 (the paper's `initTimeoutX`): a proposal takes one way through the network, and a block's check.
const TIMEOUT_PROPOSE: Duration = Duration::from_millis(300);
const TIMEOUT_VOTE: Duration = Duration::from_millis(150);
/// How much longer those of each further round are (`timeoutDelta`): at last they are longer than the network takes.
const TIMEOUT_DELTA: Duration = Duration::from_millis(100);
/// How far ahead of our clock a block's time may be.
const CLOCK_DRIFT: Duration = Duration::from_secs(1);
/// Votes for rounds further ahead are not kept, only that there are some.
const ROUNDS_AHEAD: u32 = 16;
/// Transactions that may wait.
const MAX_PENDING: usize = 10_000;
/// Longer than any journal but for its blocks, which are no longer than those of the chain.
const MAX_JOURNAL_BYTES: usize = usize::MAX;

/// One node's engine of Tendermint, the reference of a [`Prototype`] (Buchman, Kwon, Milosevic 2018, algorithm 1).
///
/// It bears f faulty validators among 3f + 1, crashes, and a network that loses messages, and goes on as soon as messages arrive in time.
/// The set of validators may change from block to block, as long as each of them is a node of the network.
///
/// # Examples
/// ```
/// use dt_ledger::testing::{Fault, Scenario, Tendermint, Weather, simulate};
///
/// let scenario = Scenario { faulty: vec![Fault::Twins], weather: Weather::FOUL, ..Scenario::new(4) };
/// let report = simulate(7, &scenario, &|seat| Box::new(Tendermint::new(seat))).unwrap();
/// assert!(report.rounds.iter().any(|round| *round > 0), "not every height was decided at the first attempt");
/// ```
pub struct Tendermint {
    seat: Seat,
    now: Timestamp,
    /// Transactions that wait, by arrival.
    pool: Vec<Bytes>,
    validators: Vec<PartyId>,
    /// The paper's `h`, `round`, `step`.
    height: u64,
    round: u32,
    step: Step,
    /// `lockedRound` and `lockedValue`.
    locked: Option<(u32, Digest)>,
    /// `validRound` and `validValue`.
    valid: Option<Valid>,
    /// What was heard at this height.
    rounds: BTreeMap<u32, Round>,
    /// The greatest round at which each validator was heard.
    heard: BTreeMap<PartyId, u32>,
    /// What this node has said at this height, in which round.
    sent: Vec<(u32, Packet)>,
    /// Whether a block was asked for since the last repetition.
    asked: bool,
    /// What is to be done about the present event, and whether the journal is to be written first.
    actions: Vec<Action>,
    unkept: bool,
}

impl Prototype for Tendermint {
    fn handle(&mut self, now: Timestamp, event: Event) -> Result<Vec<Action>, Stop> {
        self.now = now;
        match event {
            Event::Start => self.start()?,
            Event::Message { from, bytes } => {
                if let Some(packet) = Packet::read(&bytes) {
                    self.receive(from, packet)?;
                }
            }
            Event::Timer(timer) => {
                if let Ok(timer) = codec::decode(&timer, timer.len()) {
                    self.wake(timer)?;
                }
            }
            Event::Submitted(transaction) => {
                if self.pend(&transaction) {
                    self.actions.push(Action::Broadcast(Packet::Transaction(transaction).to_bytes()));
                }
            }
        }
        while self.apply_a_rule()? {}
        Ok(self.take_actions())
    }
}

impl Tendermint {
    /// The engine of `seat`, as it was left.
    #[must_use]
    pub fn new(seat: Seat) -> Self {
        Self {
            now: Timestamp::default(),
            pool: Vec::new(),
            validators: Vec::new(),
            height: 0,
            round: 0,
            step: Step::Pause,
            locked: None,
            valid: None,
            rounds: BTreeMap::new(),
            heard: BTreeMap::new(),
            sent: Vec::new(),
            asked: false,
            actions: Vec::new(),
            unkept: false,
            seat,
        }
    }

    /// Line 10, or the place where a crash has cut it off.
    fn start(&mut self) -> Result<(), Stop> {
        self.set_timer(REPEAT, Timer::Repeat);
        self.begin_height();
        let kept =
            self.seat.kept.take().and_then(|kept| codec::decode::<Journal>(&kept, MAX_JOURNAL_BYTES).ok());
        let Some(journal) = kept.filter(|journal| journal.height == self.height) else { return Ok(()) };
        (self.round, self.step) = (journal.round, journal.step);
        (self.locked, self.valid) = (journal.locked, journal.valid);
        for (_, packet) in &journal.sent {
            self.hear(packet.clone())?;
        }
        self.sent = journal.sent;
        // The timers are set again when the votes of the others arrive again.
        Ok(())
    }

    /// Makes ready for the height after the replica's last, and lets it begin after a pause.
    fn begin_height(&mut self) {
        let tip = self.seat.replica.tip();
        (self.height, self.validators) = (tip.height + 1, tip.validators);
        (self.round, self.step) = (0, Step::Pause);
        (self.locked, self.valid) = (None, None);
        self.rounds.clear();
        self.heard.clear();
        self.sent.clear();
        self.unkept = false;
        self.set_timer(PAUSE, Timer::Begin(self.height));
    }

    /// Takes what another node says.
    fn receive(&mut self, from: usize, packet: Packet) -> Result<(), Stop> {
        match packet {
            Packet::Transaction(transaction) => {
                self.pend(&transaction);
                Ok(())
            }
            Packet::Ask(height) => {
                if let Some(committed) = self.seat.replica.block(height)? {
                    let decided = Packet::Decided(Box::new((committed.block, committed.certificate)));
                    self.send(from, &decided);
                }
                Ok(())
            }
            Packet::Decided(decided) if decided.0.header.height == self.height => {
                let (block, certificate) = *decided;
                match self.commit(block, certificate) {
                    Ok(()) => {
                        // There may be more.
                        self.send(from, &Packet::Ask(self.height));
                        Ok(())
                    }
                    // Whoever sent it has no such block; the chain may have.
                    Err(Stop::Block(
                        BlockError::Uncommitted { .. } | BlockError::WrongTransactions | BlockError::TooLarge,
                    )) => Ok(()),
                    Err(stop) => Err(stop),
                }
            }
            Packet::Decided(_) => Ok(()),
            vote => {
                if vote.height().is_some_and(|height| height > self.height) && !self.asked {
                    self.asked = true;
                    self.send(from, &Packet::Ask(self.height));
                }
                self.hear(vote)
            }
        }
    }

    /// Takes a proposal or a vote into account, if it is one of this height by one of its validators.
    fn hear(&mut self, packet: Packet) -> Result<(), Stop> {
        if packet.height() != Some(self.height) || self.knows(&packet) {
            return Ok(());
        }
        match packet {
            Packet::Proposal(proposed) => self.hear_proposal(*proposed)?,
            Packet::Prevote(envelope) => {
                let Ok(vote) = envelope.clone().open() else { return Ok(()) };
                if let Some(round) = self.round_of(vote.signer(), vote.chain, vote.round) {
                    round.prevotes.entry(vote.signer()).or_insert((vote.block, envelope));
                }
            }
            Packet::Precommit(envelope) => {
                let Ok(vote) = envelope.clone().open() else { return Ok(()) };
                if let Some(round) = self.round_of(vote.signer(), vote.chain, vote.round) {
                    round.precommits.entry(vote.signer()).or_insert((vote.block, envelope));
                }
            }
            Packet::Transaction(_) | Packet::Ask(_) | Packet::Decided(_) => {}
        }
        Ok(())
    }

    fn hear_proposal(&mut self, proposed: Proposed) -> Result<(), Stop> {
        let Proposed { proposal: envelope, block, proof } = proposed;
        let Ok(proposal) = envelope.clone().open() else { return Ok(()) };
        let id = block.header.digest();
        let is_first = self.rounds.get(&proposal.round).is_none_or(|round| round.proposal.is_none());
        if !is_first || proposal.signer() != self.proposer(proposal.round) || proposal.block != id {
            return Ok(());
        }
        if let Some(valid_round) = proposal.valid_round
            && (valid_round >= proposal.round || !self.is_proof(&proof, valid_round, id))
        {
            return Ok(());
        }
        let latest = self.now.saturating_add(CLOCK_DRIFT);
        // A new block names its round, or its proposer would let others rest who have not failed.
        let names_round = proposal.valid_round.is_some() || block.header.round == proposal.round;
        let is_valid = names_round
            && match self.seat.replica.verify(&block, latest) {
                Ok(()) => true,
                Err(BlockError::Store(error)) => return Err(error.into()),
                // Also where it has another state than we have: so far that is its proposer's word alone.
                Err(_) => false,
            };
        let known = Known { envelope, id, block, valid_round: proposal.valid_round, is_valid };
        if let Some(round) = self.round_of(proposal.signer(), proposal.chain, proposal.round) {
            round.proposal.get_or_insert(known);
        }
        Ok(())
    }

    /// Whether `proof` holds a quorum of prevotes for the block `id` in `round`.
    fn is_proof(&self, proof: &[Envelope<Prevote>], round: u32, id: Digest) -> bool {
        let vote = Prevote { chain: self.seat.replica.chain(), height: self.height, round, block: id };
        let is_vote = |envelope: &&Envelope<Prevote>| {
            self.validators.contains(&envelope.signer())
                && (*envelope).clone().open().is_ok_and(|signed| *signed.value() == vote)
        };
        if proof.len() > self.validators.len() {
            return false;
        }
        let voters: BTreeSet<PartyId> = proof.iter().filter(is_vote).map(Envelope::signer).collect();
        voters.len() >= self.quorum()
    }

    /// Where a message of `signer` for `round` is noted, if it is to be noted.
    fn round_of(&mut self, signer: PartyId, chain: Digest, round: u32) -> Option<&mut Round> {
        if chain != self.seat.replica.chain() || !self.validators.contains(&signer) {
            return None;
        }
        let heard = self.heard.entry(signer).or_default();
        *heard = round.max(*heard);
        let is_near = round <= self.round.saturating_add(ROUNDS_AHEAD);
        is_near.then(|| self.rounds.entry(round).or_default())
    }

    /// Whether this very message was noted before: its signature need not be verified again.
    fn knows(&self, packet: &Packet) -> bool {
        self.rounds.values().any(|round| match packet {
            Packet::Prevote(vote) => {
                round.prevotes.get(&vote.signer()).is_some_and(|(_, known)| known == vote)
            }
            Packet::Precommit(vote) => {
                round.precommits.get(&vote.signer()).is_some_and(|(_, known)| known == vote)
            }
            Packet::Proposal(proposed) => {
                round.proposal.as_ref().is_some_and(|known| known.envelope == proposed.proposal)
            }
            _ => false,
        })
    }

    /// Keeps a transaction until it is committed; whether it is new.
    fn pend(&mut self, transaction: &Bytes) -> bool {
        let is_new = self.pool.len() < MAX_PENDING
            && self.seat.replica.authenticate(transaction).is_ok()
            && !self.pool.contains(transaction);
        if is_new {
            self.pool.push(transaction.clone());
        }
        is_new
    }

    /// Signs `message` and says it, to the others and to itself.
    fn say<T: Message>(
        &mut self,
        message: T,
        packet: impl FnOnce(Envelope<T>) -> Packet,
    ) -> Result<(), Stop> {
        let packet = packet(Signed::new(message, &*self.seat.signer)?.into_envelope());
        self.actions.push(Action::Broadcast(packet.to_bytes()));
        self.sent.push((self.round, packet.clone()));
        self.unkept = true;
        self.hear(packet)
    }

    fn send(&mut self, to: usize, packet: &Packet) {
        self.actions.push(Action::Send { to, bytes: packet.to_bytes() });
    }

    fn set_timer(&mut self, after: Duration, timer: Timer) {
        self.actions.push(Action::Wake { after, timer: codec::encode(&timer).into() });
    }

    /// What is to be done: first of all the journal is written, if what it must hold has changed.
    fn take_actions(&mut self) -> Vec<Action> {
        let mut actions = std::mem::take(&mut self.actions);
        if std::mem::take(&mut self.unkept) {
            let journal = Journal {
                height: self.height,
                round: self.round,
                step: self.step,
                locked: self.locked,
                valid: self.valid.clone(),
                sent: self.sent.clone(),
            };
            actions.insert(0, Action::Keep(codec::encode(&journal).into()));
        }
        actions
    }

    fn proposer(&self, round: u32) -> PartyId {
        self.seat.replica.tip().proposer(round).unwrap_or(self.validators[0])
    }

    /// The paper's 2f + 1.
    fn quorum(&self) -> usize {
        vote_quorum(self.validators.len())
    }
}

/// Whether a transaction that is not for this block may be for a later one.
fn may_come_good(error: &AdmissionError) -> bool {
    match error {
        AdmissionError::Nonce { expected, found } => found > expected,
        AdmissionError::UnknownSender(_) => true,
        _ => false,
    }
}
