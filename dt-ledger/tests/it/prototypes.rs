//! Prototypes of a consensus for the tests of the simulator: one that is wrong, and one that is muffled.

use std::collections::BTreeMap;
use std::time::Duration;

use borsh::{BorshDeserialize, BorshSerialize};
use bytes::Bytes;
use dt_ledger::testing::{Action, Event, Fixture, Prototype, Seat, Stop};
use dt_ledger::{Block, Commit, CommitCertificate};
use dt_model::{Digest, Envelope, PartyId, Signed, Signer as _, Timestamp, codec};

/// Tendermint among four, numbered by their turn to propose, of which some do not hear some others for three seconds. Node 1 proposes; node 2 does not hear of it. Node 0 hears
/// all votes, decides, and is not heard any more. All crash between the votes of the first round and the second.
pub(crate) struct Muffled {
    inner: Box<dyn Prototype>,
    seat: Seat,
    turns: Vec<usize>,
    make: fn(Seat) -> Box<dyn Prototype>,
    crash: Option<Timestamp>,
    until: Timestamp,
}

impl Muffled {
    pub(crate) fn new(seat: Seat, make: fn(Seat) -> Box<dyn Prototype>) -> Self {
        let at = |millis| seat.replica.genesis().time.saturating_add(Duration::from_millis(millis));
        let (crash, until) = (Some(at(600)), at(3000));
        let turns = (0..seat.nodes).map(|node| turn_of(&seat, node)).collect();
        Self { inner: make(seat.clone()), seat, turns, make, crash, until }
    }
}

/// The place of a node among the validators, who propose in turn.
pub(crate) fn turn_of(seat: &Seat, node: usize) -> usize {
    let party = Fixture::default().validator(node as u64).party();
    let validators = seat.replica.validators(1).unwrap().unwrap();
    validators.iter().position(|validator| *validator == party).unwrap()
}

impl Prototype for Muffled {
    fn handle(&mut self, now: Timestamp, event: Event) -> Result<Vec<Action>, Stop> {
        let mut done = Vec::new();
        if self.crash.take_if(|crash| *crash < now).is_some() {
            self.inner = (self.make)(self.seat.clone());
            done = self.inner.handle(now, Event::Start)?;
        }
        done.extend(self.inner.handle(now, event)?);
        let mut heard = Vec::new();
        for action in done {
            if let Action::Keep(journal) = &action {
                self.seat.kept = Some(journal.clone());
            }
            let Action::Broadcast(bytes) = action else {
                heard.push(action);
                continue;
            };
            for to in 0..self.seat.nodes {
                heard.push(Action::Send { to, bytes: bytes.clone() });
            }
        }
        if now < self.until {
            heard.retain(|action| match action {
                // By the tags of the variants: proposals, precommits, decided blocks.
                Action::Send { to, bytes } => !matches!(
                    (self.turns[self.seat.node], self.turns[*to], bytes[0]),
                    (1 | 3, 2, 0) | (0, _, 2 | 5)
                ),
                _ => true,
            });
        }
        Ok(heard)
    }
}

/// What one might try first: the proposal of a round is voted on once, and a round without a quorum is followed by another, which knows
/// nothing of it. Who has decided in the first meets others who decide otherwise in the second.
pub(crate) struct Naive {
    seat: Seat,
    quorum: fn(usize) -> usize,
    pool: Vec<Bytes>,
    round: u32,
    voted: bool,
    blocks: BTreeMap<Digest, Block>,
    votes: BTreeMap<(u32, Digest), BTreeMap<PartyId, Envelope<Commit>>>,
}

#[derive(BorshSerialize, BorshDeserialize)]
enum Note {
    Proposal(u32, Block),
    Vote(Envelope<Commit>),
    Decided(Block, CommitCertificate),
    Transaction(Bytes),
}

impl Naive {
    pub(crate) fn new(seat: Seat, quorum: fn(usize) -> usize) -> Self {
        let (pool, round, voted, blocks, votes) = Default::default();
        Self { seat, quorum, pool, round, voted, blocks, votes }
    }

    fn start_round(&mut self, round: u32, now: Timestamp, out: &mut Vec<Action>) -> Result<(), Stop> {
        (self.round, self.voted) = (round, false);
        let next = self.seat.replica.tip().height + 1;
        let timer = codec::encode(&(next, round)).into();
        out.push(Action::Wake { after: Duration::from_millis(400), timer });
        if (next + u64::from(round)) % self.seat.nodes as u64 == self.seat.node as u64 {
            let (block, _) = self.seat.replica.prepare(round, self.pool.clone(), now)?;
            out.push(say(&Note::Proposal(round, block.clone())));
            self.vote(block, out)?;
        }
        Ok(())
    }

    fn vote(&mut self, block: Block, out: &mut Vec<Action>) -> Result<(), Stop> {
        let (chain, height, id) = (block.header.chain, block.header.height, block.header.digest());
        self.blocks.insert(id, block);
        if !self.voted {
            self.voted = true;
            let vote = Commit { chain, height, round: self.round, block: id };
            let vote = Signed::new(vote, &*self.seat.signer)?.into_envelope();
            out.push(say(&Note::Vote(vote.clone())));
            self.count(vote);
        }
        Ok(())
    }

    fn count(&mut self, envelope: Envelope<Commit>) {
        let Ok(vote) = envelope.clone().open() else { return };
        if vote.height == self.seat.replica.tip().height + 1 {
            self.votes.entry((vote.round, vote.block)).or_default().insert(vote.signer(), envelope);
        }
    }

    fn decided(&self) -> Option<(Block, CommitCertificate)> {
        let quorum = (self.quorum)(self.seat.nodes);
        self.votes.iter().filter(|(_, votes)| votes.len() >= quorum).find_map(|((round, id), votes)| {
            let certificate = CommitCertificate { round: *round, votes: votes.values().cloned().collect() };
            Some((self.blocks.get(id)?.clone(), certificate))
        })
    }

    fn commit(&mut self, block: Block, certificate: CommitCertificate) -> Result<(), Stop> {
        let committed = self.seat.replica.commit(block, certificate)?;
        self.pool.retain(|waiting| !committed.block.transactions.contains(waiting));
        self.blocks.clear();
        self.votes.clear();
        Ok(())
    }
}

fn say(note: &Note) -> Action {
    Action::Broadcast(codec::encode(note).into())
}

impl Prototype for Naive {
    fn handle(&mut self, now: Timestamp, event: Event) -> Result<Vec<Action>, Stop> {
        let mut out = Vec::new();
        let next = self.seat.replica.tip().height + 1;
        match event {
            Event::Start => self.start_round(0, now, &mut out)?,
            Event::Submitted(bytes) => {
                out.push(say(&Note::Transaction(bytes.clone())));
                self.pool.push(bytes);
            }
            Event::Timer(timer) => {
                if codec::decode(&timer, timer.len()) == Ok((next, self.round)) {
                    self.start_round(self.round + 1, now, &mut out)?;
                }
            }
            Event::Message { bytes, .. } => match codec::decode(&bytes, bytes.len()) {
                Ok(Note::Transaction(bytes)) => self.pool.push(bytes),
                Ok(Note::Vote(vote)) => self.count(vote),
                Ok(Note::Proposal(round, block)) => {
                    if round == self.round && self.seat.replica.verify(&block, Timestamp::MAX).is_ok() {
                        self.vote(block, &mut out)?;
                    }
                }
                Ok(Note::Decided(block, certificate)) => {
                    if block.header.height == next && self.commit(block, certificate).is_ok() {
                        self.start_round(0, now, &mut out)?;
                    }
                }
                Err(_) => {}
            },
        }
        while let Some((block, certificate)) = self.decided() {
            self.commit(block.clone(), certificate.clone())?;
            out.push(say(&Note::Decided(block, certificate)));
            self.start_round(0, now, &mut out)?;
        }
        Ok(out)
    }
}
