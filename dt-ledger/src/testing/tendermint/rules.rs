//! The rules of algorithm 1, each at most once for each time that it is asked for; `line` is the paper's.

use core::time::Duration;

use dt_model::Digest;

use super::message::{NIL, Packet, Prevote, Proposal, Proposed, Step, Timer, Valid};
use super::{Commit, REPEAT, Stop, TIMEOUT_DELTA, TIMEOUT_PROPOSE, TIMEOUT_VOTE, Tendermint, may_come_good};
use crate::testing::simulator::Action;
use crate::{Block, CommitCertificate};

impl Tendermint {
    /// Lines 11 to 21, `StartRound`.
    pub(super) fn start_round(&mut self, round: u32) -> Result<(), Stop> {
        (self.round, self.step) = (round, Step::Propose);
        if self.proposer(round) != self.seat.signer.party() {
            self.time_out(TIMEOUT_PROPOSE, Step::Propose);
            return Ok(());
        }
        let (block, valid_round, proof) = match &self.valid {
            // Line 16: what had a quorum once is proposed again.
            Some(valid) => (valid.block.clone(), Some(valid.round), valid.proof.clone()),
            // Line 18, `getValue`.
            None => (self.fresh_block()?, None, Vec::new()),
        };
        let proposal = Proposal {
            chain: self.seat.replica.chain(),
            height: self.height,
            round,
            valid_round,
            block: block.header.digest(),
        };
        // Line 19.
        self.say(proposal, |proposal| Packet::Proposal(Box::new(Proposed { proposal, block, proof })))
    }

    /// A block of what waits. What can no longer be committed does not wait any more.
    fn fresh_block(&mut self) -> Result<Block, Stop> {
        let (block, left) = self.seat.replica.prepare(self.round, self.pool.clone(), self.now)?;
        for (transaction, error) in left {
            if !may_come_good(&error) {
                self.pool.retain(|waiting| *waiting != transaction);
            }
        }
        Ok(block)
    }

    /// Applies the first rule whose condition holds; whether there was one.
    pub(super) fn apply_a_rule(&mut self) -> Result<bool, Stop> {
        if self.decide()? || self.skip_rounds()? {
            return Ok(true);
        }
        match self.step {
            Step::Pause => Ok(false),
            Step::Propose => Ok(self.prevote_on_proposal()? || self.time_votes()),
            Step::Prevote => Ok(self.lock()? || self.precommit_nil()? || self.time_votes()),
            Step::Precommit => Ok(self.lock()? || self.time_votes()),
        }
    }

    /// Lines 22 to 33: the prevote for what is proposed, or against it.
    fn prevote_on_proposal(&mut self) -> Result<bool, Stop> {
        let Some(proposal) = self.rounds.get(&self.round).and_then(|round| round.proposal.as_ref()) else {
            return Ok(false);
        };
        let may_follow = match (self.locked, proposal.valid_round) {
            // Line 23.
            (None, _) => true,
            (Some((_, locked)), _) if locked == proposal.id => true,
            (Some(_), None) => false,
            // Line 29; the prevotes of the valid round were checked when the proposal came.
            (Some((locked_round, _)), Some(valid_round)) => locked_round <= valid_round,
        };
        let block = if may_follow && proposal.is_valid { proposal.id } else { NIL };
        self.prevote(block)?;
        Ok(true)
    }

    /// Lines 34 and 47: enough voted in this round, but not for the same; the rest get some time.
    fn time_votes(&mut self) -> bool {
        let (quorum, step) = (self.quorum(), self.step);
        let round = self.rounds.entry(self.round).or_default();
        if step == Step::Prevote && !round.timed_prevote && round.prevotes.len() >= quorum {
            round.timed_prevote = true;
            self.time_out(TIMEOUT_VOTE, Step::Prevote);
            return true;
        }
        if !round.timed_precommit && round.precommits.len() >= quorum {
            round.timed_precommit = true;
            self.time_out(TIMEOUT_VOTE, Step::Precommit);
            return true;
        }
        false
    }

    /// Lines 36 to 43: a quorum prevoted for a block. It is locked, if we have not precommitted yet, and in any case worth proposing.
    fn lock(&mut self) -> Result<bool, Stop> {
        let (quorum, number) = (self.quorum(), self.round);
        let round = self.rounds.entry(number).or_default();
        let Some(known) = round.proposal.as_ref().filter(|known| known.is_valid) else { return Ok(false) };
        let id = known.id;
        if round.locked || round.prevotes_for(id) < quorum {
            return Ok(false);
        }
        let votes = round.prevotes.values().filter(|(block, _)| *block == id);
        let proof = votes.map(|(_, envelope)| envelope.clone()).collect();
        self.valid = Some(Valid { round: number, block: known.block.clone(), proof });
        round.locked = true;
        self.unkept = true;
        if self.step == Step::Prevote {
            self.locked = Some((number, id));
            self.precommit(id)?;
        }
        Ok(true)
    }

    /// Line 44: a quorum prevoted for nothing.
    fn precommit_nil(&mut self) -> Result<bool, Stop> {
        let refused =
            self.rounds.get(&self.round).is_some_and(|round| round.prevotes_for(NIL) >= self.quorum());
        if refused {
            self.precommit(NIL)?;
        }
        Ok(refused)
    }

    /// Line 49: a quorum precommitted a block, in whatever round.
    fn decide(&mut self) -> Result<bool, Stop> {
        let quorum = self.quorum();
        let decided = self.rounds.iter().find_map(|(number, round)| {
            let known = round.proposal.as_ref().filter(|known| round.precommits_for(known.id) >= quorum)?;
            let votes = round.precommits.values().filter(|(block, _)| *block == known.id);
            let votes = votes.map(|(_, envelope)| envelope.clone()).collect();
            Some((known.block.clone(), CommitCertificate { round: *number, votes }))
        });
        let Some((block, certificate)) = decided else { return Ok(false) };
        self.commit(block, certificate)?;
        Ok(true)
    }

    /// Lines 51 to 54. A quorum stands behind the block: where the replica cannot follow, it is the replica that is wrong.
    pub(super) fn commit(&mut self, block: Block, certificate: CommitCertificate) -> Result<(), Stop> {
        let committed = self.seat.replica.commit(block, certificate)?;
        self.pool.retain(|waiting| !committed.block.transactions.contains(waiting));
        self.begin_height();
        Ok(())
    }

    /// Line 55: one honest node at least is at a later round, so that round has begun.
    fn skip_rounds(&mut self) -> Result<bool, Stop> {
        let mut rounds: Vec<u32> = self.heard.values().copied().collect();
        rounds.sort_unstable_by(|a, b| b.cmp(a));
        // Of f + 1 nodes one is honest, so the round that f + 1 nodes have reached is one that an honest node has reached.
        let faulty = self.validators.len() - self.quorum();
        match rounds.get(faulty) {
            Some(&round) if round > self.round => {
                self.start_round(round)?;
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    /// What a timer was set for, if it still means something: lines 57 to 67.
    pub(super) fn wake(&mut self, timer: Timer) -> Result<(), Stop> {
        match timer {
            Timer::Begin(height) if (height, Step::Pause) == (self.height, self.step) => self.start_round(0),
            Timer::Timeout(height, round, step) if (height, round) == (self.height, self.round) => match step
            {
                Step::Propose if self.step == Step::Propose => self.prevote(NIL),
                Step::Prevote if self.step == Step::Prevote => self.precommit(NIL),
                Step::Precommit => self.start_round(round + 1),
                _ => Ok(()),
            },
            Timer::Repeat => {
                self.repeat();
                Ok(())
            }
            Timer::Begin(_) | Timer::Timeout(..) => Ok(()),
        }
    }

    /// Says again what it said in this round and the last: who is further behind hears from enough others of a later round.
    fn repeat(&mut self) {
        self.asked = false;
        let recent = self.sent.iter().filter(|(round, _)| round + 1 >= self.round);
        self.actions.extend(recent.map(|(_, packet)| Action::Broadcast(packet.to_bytes())));
        self.set_timer(REPEAT, Timer::Repeat);
    }

    fn prevote(&mut self, block: Digest) -> Result<(), Stop> {
        self.step = Step::Prevote;
        let vote =
            Prevote { chain: self.seat.replica.chain(), height: self.height, round: self.round, block };
        self.say(vote, Packet::Prevote)
    }

    fn precommit(&mut self, block: Digest) -> Result<(), Stop> {
        self.step = Step::Precommit;
        let vote = Commit { chain: self.seat.replica.chain(), height: self.height, round: self.round, block };
        self.say(vote, Packet::Precommit)
    }

    /// The paper's `timeoutX(round)`: the later the round, the longer.
    fn time_out(&mut self, base: Duration, step: Step) {
        let after = base + TIMEOUT_DELTA * self.round;
        self.set_timer(after, Timer::Timeout(self.height, self.round, step));
    }
}
