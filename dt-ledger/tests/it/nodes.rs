//! The DHT's nodes: how their membership is founded and changed, and who cannot change it.

use std::collections::BTreeSet;

use dt_ledger::testing::Fixture;
use dt_ledger::{Call, EventKind, Nodes, Proposal, Reason, Receipt, State as _, proposal_id};
use dt_model::{Identity, PartyId, Signer as _};
use proptest::prelude::*;

use crate::support::*;

/// A chain of three organisations with eight parties, and its DHT of four replicas, of which one may be malicious.
struct Dht {
    chain: Fixture,
    parties: Vec<Identity>,
}

impl Dht {
    fn new() -> Self {
        let chain = Fixture::new(std::sync::Arc::new(dt_ledger::MemoryStore::default()), 3, 1);
        let parties = (10..18).map(|seed| chain.enrol(seed)).collect();
        Self { chain, parties }
    }

    /// With the first four parties' nodes, in epoch 1.
    fn founded() -> Self {
        let dht = Self::new();
        (0..4).for_each(|at| dht.register(at));
        dht.found(4, 1).unwrap();
        assert_eq!((dht.epoch(), dht.placed()), ((1, false), dht.set(&[0, 1, 2, 3])));
        dht
    }

    fn found(&self, replicas: u16, max_faulty: u16) -> Result<Receipt, Reason> {
        let proposal = Proposal::FoundStorage { replicas, max_faulty };
        let call = Call::Propose { proposal, millis: 1000 };
        let proposed = self.chain.apply(&self.chain.authority(0), vec![call])?;
        let vote = Call::Vote { proposal: proposal_id(&proposed.transaction, 0) };
        self.chain.apply(&self.chain.authority(1), vec![vote])
    }

    fn does(&self, at: usize, call: Call) -> Result<Receipt, Reason> {
        self.chain.apply(&self.parties[at], vec![call])
    }

    fn register(&self, at: usize) {
        self.does(at, Call::RegisterNode { endpoints: vec![uri("test://node")] }).unwrap();
    }

    fn retire(&self, at: usize) {
        self.does(at, Call::RetireNode).unwrap();
    }

    fn hand_over(&self, at: usize, epoch: u64) -> Result<(), &'static str> {
        self.does(at, Call::HandOver { epoch }).map(drop).map_err(|reason| reason.rule())
    }

    fn nodes(&self) -> Nodes {
        self.chain.state().nodes().unwrap()
    }

    fn epoch(&self) -> (u64, bool) {
        let head = self.chain.state().nodes_head().unwrap();
        (head.epoch, head.changing)
    }

    fn set(&self, which: &[usize]) -> BTreeSet<PartyId> {
        which.iter().map(|at| self.parties[*at].party()).collect()
    }

    fn placed(&self) -> BTreeSet<PartyId> {
        let nodes = self.nodes();
        let placed: BTreeSet<_> =
            nodes.nodes.iter().filter(|(_, node)| node.placed).map(|(party, _)| *party).collect();
        assert_eq!(placed.len(), nodes.head.placed as usize);
        assert_eq!(groups(&nodes).last().cloned().unwrap_or_default(), placed, "the changes lead there");
        placed
    }
}

/// The nodes after each change, as they follow from the changes.
fn groups(nodes: &Nodes) -> Vec<BTreeSet<PartyId>> {
    let mut group = BTreeSet::new();
    let step = |change: &dt_ledger::NodesChange| {
        group.extend(&change.joining);
        group.retain(|node| !change.leaving.contains(node));
        group.clone()
    };
    nodes.changes.values().map(step).collect()
}

const NOTHING: Result<(), &str> = Err("nodes.nothing-to-hand-over");

#[test]
fn the_first_nodes_hold_everything_at_once() {
    let dht = Dht::new();
    (0..3).for_each(|at| dht.register(at));
    dht.found(4, 1).unwrap();
    assert_eq!(dht.epoch(), (0, false), "too few");
    dht.retire(2);
    dht.register(3);
    assert_eq!(dht.epoch(), (0, false), "still");
    dht.register(4);
    assert_eq!((dht.epoch(), dht.placed()), ((1, false), dht.set(&[0, 1, 3, 4])));
    assert_eq!(dht.found(4, 1).unwrap_err().rule(), "nodes.storage-founded");
    // Before it was founded, nothing was to be refused either.
    let other = Dht::new();
    assert_eq!(other.hand_over(0, 0), NOTHING);
    assert_eq!(other.found(3, 1).unwrap_err().rule(), "form.not-canonical");
    assert_eq!(other.found(0, 0).unwrap_err().rule(), "form.not-canonical");
    other.found(5, 1).expect("more than are needed");
}

#[test]
fn a_node_joins_when_all_but_k_have_taken_over() {
    let dht = Dht::founded();
    dht.register(4);
    assert_eq!((dht.epoch(), dht.placed()), ((2, true), dht.set(&[0, 1, 2, 3, 4])));
    for at in 0..3 {
        dht.hand_over(at, 2).unwrap();
        assert_eq!(dht.epoch(), (2, true));
    }
    dht.hand_over(4, 2).unwrap();
    assert_eq!((dht.epoch(), dht.placed()), ((3, false), dht.set(&[0, 1, 2, 3, 4])));
    assert_eq!(dht.hand_over(3, 2), NOTHING, "the last is not waited for");
    assert_eq!(dht.hand_over(3, 3), NOTHING);
    let tip = dht.chain.replica().tip().height;
    let events = |height| dht.chain.replica().block(height).unwrap().unwrap().events;
    let happened: Vec<_> = (1..=tip).flat_map(events).map(|event| event.kind).collect();
    let changed =
        |epoch| happened.iter().filter(|kind| **kind == EventKind::MembershipChanged(epoch)).count();
    assert_eq!([1, 2, 3, 4].map(changed), [1, 1, 1, 0]);
}

#[test]
fn a_node_that_leaves_stays_until_others_have_taken_over() {
    let dht = Dht::founded();
    dht.retire(0);
    assert_eq!((dht.epoch(), dht.placed()), ((1, false), dht.set(&[0, 1, 2, 3])), "too few would be left");
    dht.register(4);
    assert_eq!((dht.epoch(), dht.placed()), ((2, true), dht.set(&[1, 2, 3, 4])), "one replaces the other");
    assert!(dht.nodes().nodes.contains_key(&dht.parties[0].party()), "it can be reached still");
    assert_eq!(dht.hand_over(0, 2), NOTHING, "it takes nothing over");
    for at in [1, 2, 4] {
        dht.hand_over(at, 2).unwrap();
    }
    assert_eq!(dht.epoch(), (3, false));
    assert!(!dht.nodes().nodes.contains_key(&dht.parties[0].party()));
    assert_eq!(
        groups(&dht.nodes()),
        [dht.set(&[0, 1, 2, 3]), dht.set(&[1, 2, 3, 4])],
        "what was is not forgotten"
    );
}

#[test]
fn what_happens_during_a_change_waits_and_comes_at_once() {
    let dht = Dht::founded();
    dht.register(4);
    dht.register(5);
    dht.retire(0);
    dht.retire(4);
    dht.register(6);
    dht.retire(6);
    dht.retire(5);
    dht.register(5);
    assert_eq!((dht.epoch(), dht.placed()), ((2, true), dht.set(&[0, 1, 2, 3, 4])));
    for at in [4, 1, 2, 0] {
        dht.hand_over(at, 2).unwrap();
    }
    assert_eq!(
        (dht.epoch(), dht.placed()),
        ((4, true), dht.set(&[1, 2, 3, 5])),
        "and the next change begins"
    );
    // One that leaves comes back, before it is gone.
    dht.register(0);
    for at in [5, 1, 2] {
        dht.hand_over(at, 4).unwrap();
    }
    assert_eq!((dht.epoch(), dht.placed()), ((6, true), dht.set(&[0, 1, 2, 3, 5])));
    // One that was to leave stays: then nothing waits.
    dht.retire(1);
    dht.register(1);
    for at in [5, 1, 2, 0] {
        dht.hand_over(at, 6).unwrap();
    }
    assert_eq!((dht.epoch(), dht.placed()), ((7, false), dht.set(&[0, 1, 2, 3, 5])));
}

/// Nobody ends an epoch but the nodes that have to take over, each of them once, and in its time.
#[test]
fn who_is_no_node_hands_nothing_over() {
    let dht = Dht::founded();
    assert_eq!(dht.hand_over(0, 1), NOTHING, "nothing changes");
    dht.register(4);
    let authority = dht.chain.authority(0);
    let refused = dht.chain.apply(&authority, vec![Call::HandOver { epoch: 2 }]).unwrap_err();
    assert_eq!(refused.rule(), "nodes.nothing-to-hand-over");
    assert_eq!(dht.hand_over(5, 2), NOTHING, "it has no node");
    dht.register(5);
    assert_eq!(dht.hand_over(5, 2), NOTHING, "its node waits");
    for epoch in [0, 1, 3, 4, u64::MAX] {
        assert_eq!(dht.hand_over(4, epoch), NOTHING, "{epoch}");
    }
    for again in [Ok(()), NOTHING, NOTHING] {
        assert_eq!(dht.hand_over(4, 2), again, "it counts once");
    }
    // Within one transaction neither.
    let twice = vec![Call::HandOver { epoch: 2 }, Call::HandOver { epoch: 2 }];
    dht.chain.apply(&dht.parties[3], twice).unwrap_err();
    assert_eq!(dht.nodes().head.taken_over, 1);
    // An endpoint that changes, and coming back, do not make it count again.
    dht.register(4);
    dht.retire(4);
    dht.register(4);
    assert_eq!(dht.hand_over(4, 2), NOTHING);
    assert_eq!(dht.nodes().head.taken_over, 1);
    // No authority founds a DHT alone.
    let alone = Dht::new();
    (0..4).for_each(|at| alone.register(at));
    let call =
        Call::Propose { proposal: Proposal::FoundStorage { replicas: 1, max_faulty: 0 }, millis: 1000 };
    alone.chain.apply(&alone.chain.authority(0), vec![call]).unwrap();
    assert_eq!(alone.epoch(), (0, false));
}

#[test]
fn the_nodes_of_an_organisation_that_is_put_out_hand_over_first() {
    let dht = Dht::founded();
    (4..8).for_each(|at| dht.register(at));
    let party = |at: usize| dht.chain.state().party(&dht.parties[at].party()).unwrap().unwrap();
    let theirs: Vec<usize> =
        (0..8).filter(|at| party(*at).authority == dht.chain.authority(2).party()).collect();
    assert!(theirs.iter().any(|at| *at < 5), "one of them is placed: {theirs:?}");
    let proposal = Proposal::RemoveOrganisation(dht.chain.authority(2).party());
    let call = Call::Propose { proposal, millis: 1000 };
    let proposed = dht.chain.apply(&dht.chain.authority(0), vec![call]).unwrap();
    let vote = Call::Vote { proposal: proposal_id(&proposed.transaction, 0) };
    dht.chain.apply(&dht.chain.authority(1), vec![vote]).unwrap();
    assert_eq!((dht.epoch(), dht.placed()), ((2, true), dht.set(&[0, 1, 2, 3, 4])));
    for at in (0..5).filter(|at| !theirs.contains(at)) {
        dht.hand_over(at, 2).unwrap();
    }
    let gone = theirs.iter().filter(|at| **at < 5).count();
    if gone <= 1 {
        assert_eq!(dht.epoch(), (4, true));
        let left: Vec<usize> = (0..8).filter(|at| !theirs.contains(at)).collect();
        assert_eq!(dht.placed(), dht.set(&left));
    }
}

#[derive(Debug, Clone)]
enum Step {
    Register(usize),
    Retire(usize),
    HandOver(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => (0..8usize).prop_map(Step::Register),
        2 => (0..8usize).prop_map(Step::Retire),
        5 => (0..8usize).prop_map(Step::HandOver),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Against sets: who is registered, who holds everything, who takes over.
    #[test]
    fn memberships_are_what_naive_sets_say(steps in prop::collection::vec(step(), 1..60)) {
        let dht = Dht::founded();
        let (mut registered, mut placed) = (BTreeSet::from([0, 1, 2, 3]), BTreeSet::from([0, 1, 2, 3]));
        let (mut epoch, mut taken_over): (u64, Option<BTreeSet<usize>>) = (1, None);
        for step in steps {
            match step {
                Step::Register(at) => {
                    dht.register(at);
                    registered.insert(at);
                }
                Step::Retire(at) => {
                    let did = dht.does(at, Call::RetireNode).is_ok();
                    prop_assert_eq!(did, registered.remove(&at));
                }
                Step::HandOver(at) => {
                    let counts = taken_over.as_mut().is_some_and(|nodes| placed.contains(&at) && nodes.insert(at));
                    prop_assert_eq!(dht.hand_over(at, epoch).is_ok(), counts);
                    if taken_over.as_ref().is_some_and(|nodes| nodes.len() + 1 >= placed.len()) {
                        (epoch, taken_over) = (epoch + 1, None);
                    }
                }
            }
            if taken_over.is_none() && registered != placed && registered.len() >= 4 {
                (epoch, taken_over, placed) = (epoch + 1, Some(BTreeSet::new()), registered.clone());
            }
            let head = dht.nodes().head;
            prop_assert_eq!((head.epoch, head.changing), (epoch, taken_over.is_some()));
            prop_assert_eq!(head.registered as usize, registered.len());
            prop_assert_eq!(dht.placed(), dht.set(&placed.iter().copied().collect::<Vec<_>>()));
        }
    }
}
