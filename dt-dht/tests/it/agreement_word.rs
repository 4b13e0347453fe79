//! One replica that is asked anything, in any order, with restarts and changes of nodes in between, by those who hold the keys of all the
//! other nodes, so that they can show it any lock and any promises: it keeps its word all the same.

use std::collections::BTreeMap;
use std::sync::Arc;

use dt_dht::{
    Ballot, Call, LockCertificate, Membership, MemoryStore, Node, Phase, Promise, Record, Refusal, Replica,
    ReplyBody, RequestBody, Resilience, Vote,
};
use dt_model::testing::identity;
use dt_model::{Digest, Envelope, Identity, Signed, Signer, Timestamp};
use proptest::prelude::*;

use crate::agreement::{Shared, ballot, bid, first, lock, propose, step};
use crate::support::*;

const SEEDS: [(u64, u8); 2] = [(WRITER, 1), (READER, 2)];
const BODIES: [&str; 2] = ["a", "b"];

#[derive(Debug, Clone, Copy)]
enum Deed {
    /// With what the other party bid in this round.
    Promise(u64),
    /// With promises of all others, which show this lock.
    Propose(Option<Shown>),
    Commit(Shown),
    Restart,
    Advance,
}

/// A lock on one of the records, in an epoch that is so far back.
#[derive(Debug, Clone, Copy)]
struct Shown {
    record: usize,
    round: u64,
    proposer: usize,
    back: usize,
}

fn shown() -> impl Strategy<Value = Shown> {
    let parts = (0_usize..2, 0_u64..4, 0_usize..2, 0_usize..3);
    parts.prop_map(|(record, round, proposer, back)| Shown { record, round, proposer, back })
}

fn deeds() -> impl Strategy<Value = Vec<(Deed, usize, u64)>> {
    let deed = prop_oneof![
        3 => (0_u64..4).prop_map(Deed::Promise),
        3 => prop::option::of(shown()).prop_map(Deed::Propose),
        5 => shown().prop_map(Deed::Commit),
        1 => Just(Deed::Restart),
        1 => Just(Deed::Advance),
    ];
    prop::collection::vec((deed, 0_usize..2, 0_u64..4), 10..50)
}

fn number(proposer: usize, round: u64) -> Option<Ballot> {
    let (seed, rank) = SEEDS[proposer];
    (round > 0).then(|| ballot(seed, rank, round))
}

/// What the replica has said.
#[derive(Default)]
struct Word {
    /// One state for each ballot and phase, in all epochs that one is bound by; and the last of them.
    votes: BTreeMap<(Option<Ballot>, Phase), (u64, Digest)>,
    promised: Option<Ballot>,
    /// The newest commit: by ballot, then by epoch.
    committed: Option<(Option<Ballot>, u64, Digest)>,
}

struct World {
    nodes: Vec<Arc<Identity>>,
    store: Arc<MemoryStore>,
    replica: Replica,
    memberships: [Membership; 3],
    epoch: usize,
    word: Word,
}

const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

/// The first node stays; the other three are replaced.
fn memberships(nodes: &[Arc<Identity>]) -> [Membership; 3] {
    let registered =
        |which: [usize; 4]| which.map(|at| Node { party: nodes[at].party(), endpoints: Vec::new() }).to_vec();
    let parties: std::collections::BTreeSet<_> = SEEDS.map(|(seed, _)| identity(seed).party()).into();
    let resilience = Resilience::tolerating(1).unwrap();
    let old =
        Membership::new(Digest::from([0x77; 32]), 1, resilience, registered([0, 1, 2, 3]), parties.clone());
    let old = old.unwrap();
    let joint = old.successor(registered([0, 4, 5, 6]), parties).unwrap();
    [old, joint.clone(), joint.complete().unwrap()]
}

impl World {
    fn new() -> Self {
        let nodes: Vec<_> = (0..7).map(|seed| Arc::new(identity(800 + seed))).collect();
        let memberships = memberships(&nodes);
        let store = Arc::new(MemoryStore::new());
        let replica = open(&nodes[0], &store, &memberships[0]);
        Self { nodes, store, replica, memberships, epoch: 0, word: Word::default() }
    }

    fn membership(&self) -> &Membership {
        &self.memberships[self.epoch]
    }

    /// The other nodes that are replicas in `epoch`.
    fn others(&self, epoch: usize) -> Vec<&Arc<Identity>> {
        let membership = &self.memberships[epoch];
        self.nodes[1..].iter().filter(|node| membership.node(&node.party()).is_some()).collect()
    }

    fn lock(&self, shown: Shown) -> (Signed<Record>, Vote, LockCertificate, Vec<Envelope<Vote>>) {
        let record = step(SEEDS[shown.record].0, 1, BODIES[shown.record]);
        let epoch = self.epoch.saturating_sub(shown.back);
        let (membership, state) = (&self.memberships[epoch], first(&record));
        let vote = Vote {
            network: membership.network(),
            epoch: membership.epoch(),
            address: state.address(),
            sequence: 1,
            ballot: number(shown.proposer, shown.round),
            state: state.digest(),
            phase: Phase::Accept,
        };
        let signed = |node: &&Arc<Identity>| Signed::new(vote, &***node).unwrap().into_envelope();
        let votes: Vec<_> = self.others(epoch).iter().map(signed).collect();
        (record, vote, lock(&votes), votes)
    }

    fn promises(
        &self,
        record: &Signed<Record>,
        ballot: Ballot,
        lock: Option<&LockCertificate>,
    ) -> Vec<Envelope<Promise>> {
        let membership = self.membership();
        let (network, epoch, address) = (membership.network(), membership.epoch(), record.key.address);
        let promise = Promise { network, epoch, address, sequence: 1, ballot, lock: lock.cloned() };
        let others = self.others(self.epoch).into_iter();
        let mut promises: Vec<_> =
            others.map(|node| Signed::new(promise.clone(), &**node).unwrap().into_envelope()).collect();
        promises.sort_by_key(Envelope::signer);
        promises
    }

    fn ask(&self, seed: u64, body: RequestBody) -> ReplyBody {
        let (party, membership) = (self.nodes[0].party(), self.membership());
        let call = Call::new(&identity(seed), membership, party, [5; 16], NOW, body).unwrap();
        call.read(&self.replica.handle(call.bytes(), NOW)).unwrap()
    }

    fn take(&mut self, deed: Deed, proposer: usize, round: u64) {
        let (seed, _) = SEEDS[proposer];
        let own = step(seed, 1, BODIES[proposer]);
        let ballot = number(proposer, round);
        match deed {
            Deed::Restart => self.replica = open(&self.nodes[0], &self.store, self.membership()),
            Deed::Advance => {
                self.epoch = 2.min(self.epoch + 1);
                self.replica.update_membership(self.membership().clone());
            }
            Deed::Promise(shown) => {
                let Some(ballot) = ballot else { return };
                let bid = |ballot| bid(self.membership(), &own, ballot, NOW);
                let titles = number(1 - proposer, shown).map(bid).into_iter().collect();
                if let ReplyBody::Promised { promise, .. } =
                    self.ask(seed, RequestBody::Promise { bid: bid(ballot), titles })
                {
                    self.hear_promise(&promise.open().unwrap());
                }
            }
            Deed::Propose(shown) => {
                let shown = shown.map(|shown| self.lock(shown));
                let (record, lock) = match &shown {
                    Some((record, _, lock, _)) if ballot.is_some() => (record.clone(), Some(lock)),
                    _ => (own, None),
                };
                let promises = ballot.map_or_else(Vec::new, |ballot| self.promises(&record, ballot, lock));
                let reply = self.ask(seed, propose(&record, 1, ballot, promises));
                self.hear_vote(reply, None);
            }
            Deed::Commit(shown) => {
                let (record, claim, _, votes) = self.lock(shown);
                let reply = self.ask(seed, crate::agreement::commit(&record, &votes));
                self.hear_vote(reply, Some(claim));
            }
        }
    }

    fn hear_vote(&mut self, reply: ReplyBody, shown: Option<Vote>) {
        let ReplyBody::Voted { vote } = reply else { return };
        let vote = vote.open().unwrap().into_value();
        assert_eq!(vote.epoch, self.membership().epoch(), "it votes in its epoch");
        assert!(vote.ballot >= self.word.promised, "it keeps its promises");
        let known = self.word.votes.insert((vote.ballot, vote.phase), (vote.epoch, vote.state));
        let known = known.filter(|(epoch, _)| *epoch >= self.membership().binding_since());
        let is_other = known.is_some_and(|(_, state)| state != vote.state);
        assert!(!is_other, "one state under a ballot, {:?}", vote.phase);
        self.word.promised = vote.ballot;
        let is_of_now = shown.is_some_and(|shown| shown.epoch == vote.epoch);
        assert_eq!(vote.phase == Phase::Commit, is_of_now, "it commits by locks of its epoch");
        if let Some(shown) = shown {
            assert_eq!((vote.ballot, vote.state), (shown.ballot, shown.state), "what it was shown");
        }
        if vote.phase == Phase::Commit {
            self.word.committed = Some((vote.ballot, vote.epoch, vote.state));
        }
    }

    fn hear_promise(&mut self, promise: &Promise) {
        assert!(Some(promise.ballot) >= self.word.promised, "promises go up");
        self.word.promised = Some(promise.ballot);
        let Some((ballot, epoch, state)) = self.word.committed else { return };
        let is_bound = epoch >= self.membership().binding_since();
        let shown = promise.lock.as_ref().and_then(LockCertificate::claim);
        match shown {
            Some(shown) => assert_eq!((shown.ballot, shown.epoch, shown.state), (ballot, epoch, state)),
            None => assert!(!is_bound, "it shows what it is locked on"),
        }
        // A lock that binds nobody any more would make readers take an honest node for a liar.
        assert_eq!(shown.is_some(), is_bound);
    }
}

fn open(node: &Arc<Identity>, store: &Arc<MemoryStore>, membership: &Membership) -> Replica {
    Replica::new(node.clone(), store.clone(), membership.clone(), vec![Arc::new(Shared)])
}

/// Of two locks that promises show, the record of the newer one has to be proposed.
#[test]
fn the_newest_lock_that_promises_show_counts() {
    let world = World::new();
    let shown = |record, round| world.lock(Shown { record, round, proposer: 0, back: 0 });
    let ((his, _, older, _), (hers, _, newer, _)) = (shown(0, 1), shown(1, 2));
    let attempt = number(0, 3).unwrap();
    let mut promises = world.promises(&his, attempt, Some(&older));
    promises[1] = world.promises(&his, attempt, Some(&newer)).swap_remove(1);
    let ask = |record| world.ask(WRITER, propose(record, 1, Some(attempt), promises.clone()));
    assert_eq!(ask(&his), refused(Refusal::Unproven));
    assert!(matches!(ask(&hers), ReplyBody::Voted { .. }));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    #[test]
    fn a_replica_keeps_its_word(deeds in deeds()) {
        let mut world = World::new();
        for (deed, proposer, round) in deeds {
            world.take(deed, proposer, round);
        }
    }
}
