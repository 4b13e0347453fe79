//! Three proposers, any order of delivery, restarts in between, one replica of four that votes for everything: never two settlements of one
//! sequence.

use std::collections::BTreeMap;
use std::sync::Arc;

use dt_dht::testing::Network;
use dt_dht::{
    AddressState, Ballot, Phase, Promise, Record, Replica, ReplyBody, RequestBody, Resilience, Vote,
};
use dt_model::{Envelope, PartyId, Signed, Signer};
use proptest::prelude::*;

use crate::agreement::{Shared, ballot, commit, first, lock, promise, propose, settlement, shared};
use crate::support::*;

/// One request of one proposer to the nodes of a mask, or their restart.
#[derive(Debug, Clone)]
struct Step {
    verb: u8,
    proposer: usize,
    /// 0: first come.
    round: u64,
    nodes: u8,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    // Quorums as a rule, or nothing is ever decided and then contradicted.
    let nodes = prop_oneof![3 => prop::sample::select(vec![7_u8, 11, 13, 14, 15]), 1 => 1_u8..16];
    let verb = prop_oneof![1 => Just(PROMISE), 1 => Just(ACCEPT), 1 => Just(COMMIT), 1 => Just(RESTART), 2 => Just(ALL)];
    let step = (verb, 0_usize..3, 0_u64..3, nodes);
    let step = step.prop_map(|(verb, proposer, round, nodes)| Step { verb, proposer, round, nodes });
    prop::collection::vec(step, 20..60)
}

const PROMISE: u8 = 0;
const ACCEPT: u8 = 1;
const COMMIT: u8 = 2;
const RESTART: u8 = 3;
/// The three of them, one after the other.
const ALL: u8 = 4;

/// What a proposer has gathered for one ballot.
#[derive(Default)]
struct Attempt {
    promises: BTreeMap<PartyId, (Envelope<Promise>, Option<Signed<Record>>)>,
    record: Option<Signed<Record>>,
    accepts: BTreeMap<PartyId, Envelope<Vote>>,
    commits: BTreeMap<PartyId, Envelope<Vote>>,
}

struct World {
    network: Network,
    replicas: Vec<Replica>,
    attempts: BTreeMap<(usize, u64), Attempt>,
    decided: Option<AddressState>,
}

const QUORUM: usize = 3;
const LIAR: usize = 3;
const SEEDS: [(u64, u8); 3] = [(WRITER, 1), (READER, 2), (WRITER, 1)];
const BODIES: [&str; 3] = ["a", "b", "c"];

/// The replica of a node, which has nothing but its store.
fn open(network: &Network, node: usize) -> Replica {
    let identity = network.nodes()[node].clone();
    let store = network.replica(&identity.party()).store().clone();
    Replica::new(identity, store, network.membership().clone(), vec![Arc::new(Shared)])
}

impl World {
    fn new(network: Network) -> Self {
        let replicas = (0..4).map(|node| open(&network, node)).collect();
        Self { network, replicas, attempts: BTreeMap::new(), decided: None }
    }

    fn vote(&self, state: &AddressState, ballot: Option<Ballot>, phase: Phase) -> Envelope<Vote> {
        let membership = self.network.membership();
        let vote = Vote {
            network: membership.network(),
            epoch: membership.epoch(),
            address: state.address(),
            sequence: state.sequence(),
            ballot,
            state: state.digest(),
            phase,
        };
        Signed::new(vote, &**self.network.nodes().get(LIAR).unwrap()).unwrap().into_envelope()
    }

    /// The liar's promise hides every lock.
    fn promise_of_liar(&self, record: &Signed<Record>, ballot: Ballot) -> Envelope<Promise> {
        let membership = self.network.membership();
        let (network, epoch, address) = (membership.network(), membership.epoch(), record.key.address);
        let promise = Promise { network, epoch, address, sequence: 1, ballot, lock: None };
        Signed::new(promise, &**self.network.nodes().get(LIAR).unwrap()).unwrap().into_envelope()
    }

    fn ask(&self, seed: u64, node: usize, body: RequestBody) -> ReplyBody {
        let call = call(&self.network, seed, &self.network.nodes()[node], body);
        call.read(&self.replicas[node].handle(call.bytes(), self.network.now())).unwrap()
    }

    fn take(&mut self, step: &Step) {
        if step.verb == ALL {
            return [PROMISE, ACCEPT, COMMIT]
                .map(|verb| self.take(&Step { verb, ..step.clone() }))
                .into_iter()
                .collect();
        }
        let (seed, rank) = SEEDS[step.proposer];
        let own = crate::agreement::step(seed, 1, BODIES[step.proposer]);
        let ballot = (step.round > 0).then(|| ballot(seed, rank, step.round * 3 + step.proposer as u64));
        let mut attempt = self.attempts.remove(&(step.proposer, step.round)).unwrap_or_default();
        for node in (0..4).filter(|node| step.nodes >> node & 1 == 1) {
            match step.verb {
                PROMISE => self.gather_promise(&mut attempt, seed, node, &own, ballot),
                ACCEPT => self.gather_accept(&mut attempt, seed, node, &own, ballot),
                RESTART => self.replicas[node] = open(&self.network, node),
                _ => self.gather_commit(&mut attempt, seed, node, ballot),
            }
        }
        self.attempts.insert((step.proposer, step.round), attempt);
    }

    fn gather_promise(
        &self,
        attempt: &mut Attempt,
        seed: u64,
        node: usize,
        own: &Signed<Record>,
        ballot: Option<Ballot>,
    ) {
        let Some(ballot) = ballot.filter(|_| attempt.record.is_none()) else { return };
        let party = self.network.nodes()[node].party();
        if node == LIAR {
            attempt.promises.insert(party, (self.promise_of_liar(own, ballot), None));
        } else if let ReplyBody::Promised { promise, record } = self.ask(seed, node, promise(own, ballot)) {
            attempt.promises.insert(party, (promise, record.map(|record| record.open().unwrap())));
        }
    }

    fn gather_accept(
        &self,
        attempt: &mut Attempt,
        seed: u64,
        node: usize,
        own: &Signed<Record>,
        ballot: Option<Ballot>,
    ) {
        if ballot.is_some() && attempt.promises.len() < QUORUM {
            return;
        }
        let lock_of = |promise: &Envelope<Promise>| {
            promise.clone().open().unwrap().lock.as_ref().map(|lock| lock.claim().unwrap().ballot)
        };
        let locked = attempt
            .promises
            .values()
            .filter_map(|(promise, record)| lock_of(promise).map(|ballot| (ballot, record.clone().unwrap())));
        let newest = locked.max_by_key(|(ballot, _)| *ballot).map(|(_, record)| record);
        let record = attempt.record.get_or_insert_with(|| newest.unwrap_or_else(|| own.clone())).clone();
        let promises = attempt.promises.values().map(|(promise, _)| promise.clone()).collect();
        let party = self.network.nodes()[node].party();
        if node == LIAR {
            attempt.accepts.insert(party, self.vote(&first(&record), ballot, Phase::Accept));
        } else if let ReplyBody::Voted { vote } = self.ask(seed, node, propose(&record, 1, ballot, promises))
        {
            attempt.accepts.insert(party, vote);
        }
    }

    fn gather_commit(&mut self, attempt: &mut Attempt, seed: u64, node: usize, ballot: Option<Ballot>) {
        let Some(record) = attempt.record.clone().filter(|_| attempt.accepts.len() >= QUORUM) else { return };
        let votes: Vec<_> = attempt.accepts.values().cloned().collect();
        lock(&votes).verify(self.network.membership(), &record.key.address).unwrap();
        let party = self.network.nodes()[node].party();
        if node == LIAR {
            attempt.commits.insert(party, self.vote(&first(&record), ballot, Phase::Commit));
        } else if let ReplyBody::Voted { vote } = self.ask(seed, node, commit(&record, &votes)) {
            attempt.commits.insert(party, vote);
        }
        if attempt.commits.len() >= QUORUM {
            let votes: Vec<_> = attempt.commits.values().cloned().collect();
            let state = first(&record);
            settlement(&state, &votes).verify(self.network.membership()).unwrap();
            let decided = self.decided.get_or_insert_with(|| state.clone());
            assert_eq!(*decided, state, "two settlements of one sequence");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn one_state_per_sequence(steps in steps()) {
        let network = shared(Resilience::tolerating(1).unwrap(), 4);
        let mut world = World::new(network);
        for step in &steps {
            world.take(step);
        }
    }
}
