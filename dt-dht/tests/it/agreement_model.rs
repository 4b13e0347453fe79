//! Three proposers, any order of delivery, restarts in between, one replica of four that votes for everything, and nodes that change: never
//! two settlements of one sequence, in whatever epochs.
//!
//! The proposers know everything that anybody voted, and may show any lock to anybody at any time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use dt_dht::{
    AddressState, Ballot, Bid, Call, Client, GetError, InProcess, Membership, MemoryStore, Node, Phase,
    Promise, Record, Replica, ReplyBody, RequestBody, Resilience, Settled, Step as Worked, Upkeep, Vote,
};
use dt_model::testing::{SeedRng, identity};
use dt_model::{Digest, Envelope, Identity, PartyId, Signed, Signer, Timestamp};
use proptest::prelude::*;

use crate::agreement::{Shared, ballot, bid, commit, first, lock, propose, settlement};
use crate::support::*;
use crate::upkeep::FAST;

/// One request of one proposer to the nodes of a mask, or their restart.
#[derive(Debug, Clone)]
struct Step {
    verb: u8,
    proposer: usize,
    /// 0: first come.
    round: u64,
    /// Which of the old group, and which of the new.
    nodes: (u8, u8),
    /// How many epochs behind the foremost node.
    late: usize,
    /// Which of several locks; and the proposer goes by his own record, whatever promises show, if it is 0.
    pick: usize,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    // Quorums as a rule, or nothing is ever decided and then contradicted.
    let quorum = || prop::sample::select(vec![7_u8, 11, 13, 14, 15]);
    let any = (0_u8..16, 0_u8..16);
    let nodes =
        prop_oneof![3 => (quorum(), quorum()), 1 => (quorum(), Just(0)), 1 => (Just(0), quorum()), 1 => any];
    let verbs = vec![PROMISE, ACCEPT, COMMIT, COMMIT, RESTART, ALL, ALL, ALL, ADVANCE, HAND_OVER];
    let (verb, late) = (prop::sample::select(verbs), prop_oneof![4 => Just(0_usize), 1 => Just(1)]);
    let step = (verb, 0_usize..3, 0_u64..3, nodes, late, 0_usize..6);
    let step = step.prop_map(|(verb, proposer, round, nodes, late, pick)| Step {
        verb,
        proposer,
        round,
        nodes,
        late,
        pick,
    });
    prop::collection::vec(step, 20..60)
}

const PROMISE: u8 = 0;
const ACCEPT: u8 = 1;
const COMMIT: u8 = 2;
const RESTART: u8 = 3;
/// The first three of them, one after the other.
const ALL: u8 = 4;
/// These nodes look at the ledger.
const ADVANCE: u8 = 5;
/// All nodes of the joint epoch repair themselves.
const HAND_OVER: u8 = 6;

/// The new group: disjoint from the old one, or sharing half of it, or the same, since the change does not concern the address.
const NEW_GROUPS: [[usize; 4]; 3] = [[4, 5, 6, 7], [2, 3, 4, 5], [0, 1, 2, 3]];
const OLD_GROUP: [usize; 4] = [0, 1, 2, 3];
/// One of each group.
const LIARS: [usize; 2] = [3, 7];
const SEEDS: [(u64, u8); 3] = [(WRITER, 1), (READER, 2), (WRITER, 1)];
const BODIES: [&str; 3] = ["a", "b", "c"];

/// What votes for one thing have in common.
type Content = (u64, Option<Ballot>, Digest, Phase);
type Votes = BTreeMap<PartyId, Envelope<Vote>>;
type Promises = BTreeMap<PartyId, (Envelope<Promise>, Option<Signed<Record>>)>;

struct World {
    nodes: Vec<Arc<Identity>>,
    stores: Vec<Arc<MemoryStore>>,
    replicas: Vec<Arc<Replica>>,
    in_process: Arc<InProcess>,
    memberships: [Membership; 3],
    new: [usize; 4],
    /// Each node's epoch, as an index.
    at: [usize; 8],
    handed_over: bool,
    clock: Arc<AtomicU64>,
    /// What was promised, by epoch and ballot.
    promises: BTreeMap<(usize, Ballot), Promises>,
    /// What is proposed under a ballot in an epoch.
    proposed: BTreeMap<(usize, Option<Ballot>, usize), Signed<Record>>,
    /// What proposers have bid; anybody may show it.
    bids: Vec<Envelope<Bid>>,
    /// All votes, by their content.
    votes: BTreeMap<Content, (Signed<Record>, Votes)>,
    decided: Option<AddressState>,
}

impl World {
    fn new(new: [usize; 4]) -> Self {
        let nodes: Vec<_> = (0..8).map(|seed| Arc::new(identity(700 + seed))).collect();
        let registered = |which: [usize; 4]| {
            which.map(|at| Node { party: nodes[at].party(), endpoints: Vec::new() }).to_vec()
        };
        let parties: BTreeSet<_> = [WRITER, READER].map(|seed| identity(seed).party()).into();
        let resilience = Resilience::tolerating(1).unwrap();
        let network = Digest::from([0x6d; 32]);
        let old = Membership::new(network, 1, resilience, registered(OLD_GROUP), parties.clone()).unwrap();
        let joint = old.successor(registered(new), parties).unwrap();
        let memberships = [old, joint.clone(), joint.complete().unwrap()];
        let stores: Vec<_> = nodes.iter().map(|_| Arc::new(MemoryStore::new())).collect();
        let clock = Arc::new(AtomicU64::new(1_700_000_000_000));
        let time = clock.clone();
        let time = move || Timestamp::from_millis(time.load(Ordering::SeqCst));
        let in_process = Arc::new(InProcess::new([], Arc::new(time)));
        let mut world = Self {
            nodes,
            stores,
            replicas: Vec::new(),
            in_process,
            memberships,
            new,
            at: [0; 8],
            handed_over: false,
            clock,
            promises: BTreeMap::new(),
            proposed: BTreeMap::new(),
            bids: Vec::new(),
            votes: BTreeMap::new(),
            decided: None,
        };
        world.replicas = (0..8).map(|node| world.open(node)).collect();
        world
    }

    /// The replica of a node, which has nothing but its store. Liars only vote.
    fn open(&self, node: usize) -> Arc<Replica> {
        let (identity, store) = (self.nodes[node].clone(), self.stores[node].clone());
        let membership = self.memberships[self.at[node]].clone();
        let replica = Arc::new(Replica::new(identity, store, membership, vec![Arc::new(Shared)]));
        if !LIARS.contains(&node) {
            self.in_process.add(replica.clone());
        }
        replica
    }

    fn take(&mut self, step: &Step) {
        let nodes = self.chosen(step.nodes);
        match step.verb {
            ALL => {
                for verb in [PROMISE, ACCEPT, COMMIT] {
                    self.take(&Step { verb, ..step.clone() });
                }
            }
            RESTART => nodes.into_iter().for_each(|node| self.replicas[node] = self.open(node)),
            ADVANCE => nodes.into_iter().for_each(|node| self.advance(node)),
            HAND_OVER => self.hand_over(),
            _ => {
                let epoch = self.at.iter().max().unwrap().saturating_sub(step.late);
                let (seed, rank) = SEEDS[step.proposer];
                let number = step.round * 3 + step.proposer as u64;
                let ballot = (step.round > 0).then(|| ballot(seed, rank, number));
                let members = self.memberships[epoch].replicas(&self.own(step.proposer).key.address);
                let is_member = |node: &usize| members.contains(&self.nodes[*node].party());
                let asked: Vec<_> = nodes.into_iter().filter(is_member).collect();
                for node in asked {
                    match step.verb {
                        PROMISE => self.gather_promise(step, epoch, node, ballot),
                        ACCEPT => self.gather_accept(step, epoch, node, ballot),
                        _ => self.gather_commit(step, epoch, node),
                    }
                }
            }
        }
    }

    /// The nodes of two masks, each once.
    fn chosen(&self, (old, new): (u8, u8)) -> BTreeSet<usize> {
        let of = |mask: u8, group: [usize; 4]| {
            (0..4).filter(move |at| mask >> at & 1 == 1).map(move |at| group[at])
        };
        of(old, OLD_GROUP).chain(of(new, self.new)).collect()
    }

    fn own(&self, proposer: usize) -> Signed<Record> {
        crate::agreement::step(SEEDS[proposer].0, 1, BODIES[proposer])
    }

    /// A node goes on to the next epoch. To the last one only when that may begin.
    fn advance(&mut self, node: usize) {
        if self.at[node] == 0 || (self.at[node] == 1 && self.handed_over) {
            self.at[node] += 1;
            self.replicas[node].update_membership(self.memberships[self.at[node]].clone());
        }
    }

    /// The upkeep of every honest node that is in the joint epoch, until it rests. All new nodes but one have to have taken over; the liars
    /// say so in any case.
    fn hand_over(&mut self) {
        // Who did not answer is asked again after ten seconds.
        self.clock.fetch_add(11_000, Ordering::SeqCst);
        let now = self.now();
        let honest = (0..8).filter(|node| !LIARS.contains(node) && self.at[*node] == 1);
        let mut tasks: Vec<_> = honest
            .map(|node| {
                let rng = SeedRng::new(node as u64);
                (node, Upkeep::new(self.replicas[node].clone(), self.in_process.clone(), rng, FAST))
            })
            .collect();
        let mut busy = true;
        for _ in 0..400 {
            busy = false;
            for (_, task) in &mut tasks {
                busy |= block_on(task.step(now)).unwrap() == Worked::Worked;
            }
            if !busy {
                break;
            }
        }
        assert!(!busy, "the tasks never rest");
        let stated =
            tasks.iter().filter(|(node, task)| self.new.contains(node) && task.has_taken_over().unwrap());
        let liars = self.new.iter().filter(|node| LIARS.contains(node));
        self.handed_over |= stated.count() + liars.count() >= 3;
        self.look_at_stores();
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.clock.load(Ordering::SeqCst))
    }

    fn ask(&self, seed: u64, epoch: usize, node: usize, body: RequestBody) -> Option<ReplyBody> {
        let (party, membership) = (self.nodes[node].party(), &self.memberships[epoch]);
        let call = Call::new(&identity(seed), membership, party, [5; 16], self.now(), body).unwrap();
        call.read(&self.replicas[node].handle(call.bytes(), self.now())).ok()
    }

    /// A liar's promise hides every lock.
    fn gather_promise(&mut self, step: &Step, epoch: usize, node: usize, ballot: Option<Ballot>) {
        let Some(ballot) = ballot.filter(|_| !self.proposed.contains_key(&(epoch, ballot, step.proposer)))
        else {
            return;
        };
        let own = self.own(step.proposer);
        let bid = bid(&self.memberships[epoch], &own, ballot, self.now());
        let titles = self.bids.iter().rev().take(step.pick.min(4)).cloned().collect();
        self.bids.push(bid.clone());
        let found = if LIARS.contains(&node) {
            let membership = &self.memberships[epoch];
            let (network, epoch, address) = (membership.network(), membership.epoch(), own.key.address);
            let promise = Promise { network, epoch, address, sequence: 1, ballot, lock: None };
            (Signed::new(promise, &*self.nodes[node]).unwrap().into_envelope(), None)
        } else {
            match self.ask(SEEDS[step.proposer].0, epoch, node, RequestBody::Promise { bid, titles }) {
                Some(ReplyBody::Promised { promise, record }) => {
                    (promise, record.map(|record| record.open().unwrap()))
                }
                _ => return,
            }
        };
        self.promises.entry((epoch, ballot)).or_default().insert(self.nodes[node].party(), found);
    }

    fn gather_accept(&mut self, step: &Step, epoch: usize, node: usize, ballot: Option<Ballot>) {
        let none = Promises::new();
        let promises = ballot.map_or(&none, |ballot| self.promises.get(&(epoch, ballot)).unwrap_or(&none));
        let lock_of = |promise: &Envelope<Promise>| promise.clone().open().unwrap().lock.clone();
        let locked = promises.values().filter_map(|(promise, record)| {
            lock_of(promise).map(|lock| (lock.claim().unwrap().ballot, record.clone().unwrap()))
        });
        let newest = locked.max_by_key(|(ballot, _)| *ballot).map(|(_, record)| record);
        let record = newest.filter(|_| step.pick > 0).unwrap_or_else(|| self.own(step.proposer));
        let envelopes = promises.values().map(|(promise, _)| promise.clone()).collect();
        let place = (epoch, ballot, step.proposer);
        let record = match step.pick {
            0 => record,
            _ => self.proposed.entry(place).or_insert(record).clone(),
        };
        self.vote(
            step,
            epoch,
            node,
            &record,
            (ballot, Phase::Accept),
            propose(&record, 1, ballot, envelopes),
        );
    }

    /// Shows a node some lock that there is, of this epoch or a former one.
    fn gather_commit(&mut self, step: &Step, epoch: usize, node: usize) {
        let membership = self.memberships[epoch].clone();
        let locks = self.votes.iter().filter_map(|((_, ballot, _, phase), (record, votes))| {
            let votes: Vec<_> = votes.values().cloned().collect();
            let holds =
                *phase == Phase::Accept && lock(&votes).verify(&membership, &record.key.address).is_ok();
            holds.then(|| (record.clone(), *ballot, votes))
        });
        let locks: Vec<_> = locks.collect();
        let Some((record, ballot, votes)) = locks.get(step.pick % locks.len().max(1)).cloned() else {
            return;
        };
        self.vote(step, epoch, node, &record, (ballot, Phase::Commit), commit(&record, &votes));
    }

    /// Has a node vote; a liar votes both ways.
    fn vote(
        &mut self,
        step: &Step,
        epoch: usize,
        node: usize,
        record: &Signed<Record>,
        (ballot, phase): (Option<Ballot>, Phase),
        body: RequestBody,
    ) {
        let votes = if LIARS.contains(&node) {
            let (membership, state) = (&self.memberships[epoch], first(record));
            let (network, epoch, address) = (membership.network(), membership.epoch(), state.address());
            let state = state.digest();
            let vote = Vote { network, epoch, address, sequence: 1, ballot, state, phase };
            let both = [Vote { phase: Phase::Accept, ..vote }, vote];
            both.map(|vote| Signed::new(vote, &*self.nodes[node]).unwrap().into_envelope()).to_vec()
        } else {
            match self.ask(SEEDS[step.proposer].0, epoch, node, body) {
                Some(ReplyBody::Voted { vote }) => vec![vote],
                _ => return,
            }
        };
        for envelope in votes {
            let vote = envelope.clone().open().unwrap().into_value();
            let content = (vote.epoch, vote.ballot, vote.state, vote.phase);
            let (_, votes) = self.votes.entry(content).or_insert_with(|| (record.clone(), Votes::new()));
            votes.insert(self.nodes[node].party(), envelope);
            let votes: Vec<_> = votes.values().cloned().collect();
            let certificate = settlement(&first(record), &votes);
            if certificate.verify(&self.memberships[2]).is_ok() {
                self.decide(certificate.state());
            }
        }
    }

    fn decide(&mut self, state: &AddressState) {
        let decided = self.decided.get_or_insert_with(|| state.clone());
        assert_eq!(decided, state, "two settlements of one sequence");
    }

    /// What honest nodes have settled was decided.
    fn look_at_stores(&mut self) {
        let address = self.own(0).key.address;
        for node in (0..8).filter(|node| !LIARS.contains(node)) {
            let reply = self.ask(WRITER, self.at[node], node, RequestBody::GetState { address });
            if let Some(ReplyBody::State { settled: Some(settled), .. }) = reply {
                settled.verify(&self.memberships[2]).unwrap();
                self.decide(settled.state());
            }
        }
    }

    /// The change is brought to its end by the nodes alone, whoever was promised what, and somebody writes in the new group: he finds what
    /// was decided, or decides now.
    fn finish(&mut self) {
        (0..8).for_each(|node| self.advance_from(0, node));
        for _ in 0..8 {
            if !self.handed_over {
                self.hand_over();
            }
        }
        assert!(self.handed_over, "the hand-over ends");
        (0..8).for_each(|node| self.advance_from(1, node));
        let last = crate::agreement::step(READER, 1, "last");
        drop(block_on(self.client(2).settle(&last, self.now())));
        let found = self.read(2).unwrap().unwrap();
        found.certificate().verify(&self.memberships[2]).unwrap();
        self.decide(found.state());
    }

    fn advance_from(&mut self, epoch: usize, node: usize) {
        if self.at[node] == epoch {
            self.advance(node);
        }
    }

    fn client(&self, epoch: usize) -> Client {
        let (transport, rng) = (self.in_process.clone(), SeedRng::new(1));
        Client::new(Arc::new(identity(READER)), transport, self.memberships[epoch].clone(), rng)
    }

    fn read(&self, epoch: usize) -> Result<Option<Settled>, GetError> {
        block_on(self.client(epoch).state(self.own(0).key.address, self.now()))
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn one_state_per_sequence(new in prop::sample::select(NEW_GROUPS.to_vec()), steps in steps()) {
        let mut world = World::new(new);
        for step in &steps {
            world.take(step);
        }
        world.finish();
    }
}
