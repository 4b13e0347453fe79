//! Random calls against naive models: of the rights, and of the documents; and any call at all against a chain that must stay whole.

use std::collections::{BTreeMap, BTreeSet};

use dt_ledger::testing::{call, transaction};
use dt_ledger::{Call, Policy, Resource, State as _, Subject, Transaction, TwinCall, audit};
use dt_model::testing::permission;
use dt_model::{DataClass, Identity, Operation, Permission, Signer as _, codec};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::support::*;

/// Each element of the fixture with the one it stands in, written down by hand.
const TREE: [(&str, Option<&str>); 8] = [
    ("line", None),
    ("tank", Some("line")),
    ("level", Some("tank")),
    ("valve", Some("tank")),
    ("conveyor", Some("line")),
    ("motor", Some("conveyor")),
    ("set-speed", Some("line")),
    ("weigh", Some("line")),
];
const ROLES: [&str; 3] = ["a", "b", "maintainer"];

/// A policy as a list.
type Grants = Vec<(Option<&'static str>, Permission)>;

#[derive(Debug, Clone)]
enum Right {
    Assign(usize, &'static str),
    Unassign(usize, &'static str),
    Set(Option<&'static str>, Grants),
    Remove(&'static str),
}

fn right() -> impl Strategy<Value = Right> {
    let element = || prop::sample::select(TREE.map(|(element, _)| element).to_vec());
    let role = || prop::sample::select(ROLES.to_vec());
    let grants = vec((prop::option::of(role()), permission()), 0..12);
    prop_oneof![
        2 => (0..4usize, role()).prop_map(|(party, role)| Right::Assign(party, role)),
        1 => (0..4usize, role()).prop_map(|(party, role)| Right::Unassign(party, role)),
        3 => (prop::option::weighted(0.8, element()), grants).prop_map(|(at, grants)| Right::Set(at, grants)),
        1 => element().prop_map(Right::Remove),
    ]
}

fn policy(grants: &Grants) -> Policy {
    grants.iter().fold(Policy::none(), |policy, (role, permission)| {
        let subject = role.map_or(Subject::Everyone, |role| Subject::Role(name(role)));
        policy.allow(subject, [*permission])
    })
}

/// The rights, in the words of the paper.
struct Rights {
    roles: [BTreeSet<&'static str>; 4],
    policies: BTreeMap<Option<&'static str>, Grants>,
}

impl Rights {
    fn may(&self, party: usize, permission: Permission, at: Option<&'static str>) -> bool {
        if party == 0 && permission == Permission::new(Operation::Administer, DataClass::Policy) {
            return true;
        }
        let mut at = at;
        let grants = loop {
            match (self.policies.get(&at), at) {
                (Some(grants), _) => break grants,
                (None, None) => return false,
                (None, Some(element)) => at = TREE.iter().find(|(name, _)| *name == element).unwrap().1,
            }
        };
        let holds = |role: &Option<&str>| match role {
            Some(role) => self.roles[party].contains(role),
            None => !self.roles[party].is_empty(),
        };
        grants.iter().any(|(role, granted)| *granted == permission && holds(role))
    }

    /// Whether `party` can do it; and does it then.
    fn apply(&mut self, party: usize, right: &Right) -> bool {
        let administer = Permission::new(Operation::Administer, DataClass::Policy);
        let may = |at| self.may(party, administer, at);
        match right {
            Right::Assign(to, role) if may(None) => {
                self.roles[*to].insert(role);
                true
            }
            Right::Unassign(from, role) if may(None) => self.roles[*from].remove(role),
            Right::Set(at, grants) if may(*at) => {
                self.policies.insert(*at, grants.clone());
                true
            }
            Right::Remove(at) if may(Some(at)) => self.policies.remove(&Some(*at)).is_some(),
            _ => false,
        }
    }
}

fn right_call(parties: &[&Identity; 4], right: &Right) -> TwinCall {
    match right {
        Right::Assign(to, role) => TwinCall::AssignRole { party: parties[*to].party(), role: name(role) },
        Right::Unassign(from, role) => {
            TwinCall::UnassignRole { party: parties[*from].party(), role: name(role) }
        }
        Right::Set(at, grants) => {
            TwinCall::SetPolicy { component: at.map(component), policy: policy(grants) }
        }
        Right::Remove(at) => TwinCall::RemovePolicy { component: component(at) },
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn rights_are_what_a_naive_model_says(steps in vec((0..4usize, right()), 1..16)) {
        let plant = Plant::new();
        let parties = [&plant.owner, &plant.maintainer, &plant.auditor, &plant.outsider];
        let empty: Grants = vec![];
        plant.call(&plant.owner, TwinCall::SetPolicy { component: None, policy: policy(&empty) }).unwrap();
        let mut model = Rights {
            roles: [["owner"].into(), ["maintainer"].into(), ["auditor"].into(), BTreeSet::new()],
            policies: [(None, empty)].into(),
        };
        for (party, right) in &steps {
            let done = plant.call(parties[*party], right_call(&parties, right)).is_ok();
            prop_assert_eq!(done, model.apply(*party, right), "{:?}", right);
        }
        let state = plant.chain.state();
        let places = TREE.iter().map(|(element, _)| Some(*element)).chain([None]);
        for (at, party) in places.flat_map(|at| (0..4usize).map(move |party| (at, party))) {
            for class in DataClass::ALL {
                for operation in [Operation::Read, Operation::Write, Operation::Execute, Operation::Administer] {
                    let permission = Permission::new(operation, class);
                    let found = state.authorize(
                        &plant.twin, &parties[party].party(), permission, at.map(component).as_ref(), plant.chain.now(),
                    );
                    prop_assert_eq!(found.is_ok(), model.may(party, permission, at), "{} {:?}", party, permission);
                }
            }
        }
    }
}

#[derive(Debug, Clone)]
enum Write {
    Add(Option<&'static str>),
    Version(usize, u8),
    Remove(usize),
}

fn write() -> impl Strategy<Value = Write> {
    let element = prop::sample::select(vec!["tank", "valve", "motor", "nowhere"]);
    prop_oneof![
        prop::option::of(element).prop_map(Write::Add),
        (0..6usize, any::<u8>()).prop_map(|(document, content)| Write::Version(document, content)),
        (0..6usize).prop_map(Write::Remove),
    ]
}

/// A document in the naive model: its versions with their authors, and whether it is in use.
#[derive(Debug, Default)]
struct Kept {
    id: Option<dt_ledger::DocumentId>,
    versions: Vec<(usize, u8)>,
    removed: bool,
    writes: u64,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn documents_are_what_a_naive_model_says(steps in vec((0..3usize, write()), 1..24)) {
        let plant = Plant::new();
        let parties = [&plant.owner, &plant.maintainer, &plant.auditor];
        let mut model: Vec<Kept> = Vec::new();
        for (party, write) in &steps {
            let may = *party < 2;
            let at = |index: usize| model.get(index).and_then(|kept| kept.id).unwrap_or([9; 32].into());
            let call = match write {
                Write::Add(at) => add_document(*at),
                Write::Version(index, content) => {
                    TwinCall::AddDocumentVersion { document: at(*index), version: version(*content) }
                }
                Write::Remove(index) => TwinCall::RemoveDocument { document: at(*index) },
            };
            let receipt = plant.call(parties[*party], call).ok();
            let in_use = |model: &mut Vec<Kept>, index: usize| {
                may && model.get(index).is_some_and(|kept| !kept.removed)
            };
            let expected = match write {
                Write::Add(at) if may && *at != Some("nowhere") => {
                    let id = receipt.as_ref().map(|receipt| plant.added(receipt));
                    model.push(Kept { id, versions: vec![(*party, 1)], removed: false, writes: 1 });
                    true
                }
                Write::Version(index, content) if in_use(&mut model, *index) => {
                    model[*index].versions.push((*party, *content));
                    model[*index].writes += 1;
                    true
                }
                Write::Remove(index) if in_use(&mut model, *index) => {
                    model[*index].removed = true;
                    model[*index].writes += 1;
                    true
                }
                _ => false,
            };
            prop_assert_eq!(receipt.is_some(), expected, "{:?}", write);
        }
        let state = plant.chain.state();
        prop_assert_eq!(state.documents(&plant.twin).unwrap().len(), model.len());
        for kept in model {
            let id = kept.id.unwrap();
            let record = state.document(&plant.twin, &id).unwrap().unwrap();
            prop_assert_eq!((record.versions as usize, record.removed.is_some()), (kept.versions.len(), kept.removed));
            for (number, (author, content)) in (1..).zip(&kept.versions) {
                let stored = state.document_version(&plant.twin, &id, number).unwrap().unwrap();
                prop_assert_eq!((stored.author, stored.version), (parties[*author].party(), version(*content)));
            }
            let trace = plant.chain.replica().trace(&Resource::Document(plant.twin, id)).unwrap();
            prop_assert_eq!(trace.len() as u64, kept.writes);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever is asked, by whomever: the chain answers with a receipt, and passes an audit.
    #[test]
    fn any_calls_leave_a_whole_chain(requests in vec((0..7usize, vec(call(), 1..4), any::<bool>()), 1..8)) {
        let plant = Plant::new();
        let authorities = [0, 1].map(|number| plant.chain.authority(number));
        let [first, second] = &authorities;
        let parties =
            [&plant.owner, &plant.maintainer, &plant.auditor, &plant.agent, &plant.outsider, first, second];
        for (party, calls, ours) in requests {
            // Half of the calls are for a twin that exists.
            let calls: Vec<Call> = calls.into_iter().map(|call| match call {
                Call::Twin { call, .. } if ours => plant.on(call),
                // So that all take part to the end, and the fixture can vote for blocks.
                Call::RevokeCertificate { .. } | Call::SetValidators { .. } => Call::RetireNode,
                other => other,
            }).collect();
            let committed = plant.chain.commit(&[plant.chain.sign(parties[party], calls)]);
            prop_assert_eq!(committed.receipts.len(), 1);
        }
        let replica = plant.chain.replica();
        let fresh = dt_ledger::MemoryStore::default();
        let again = dt_ledger::Replica::open(std::sync::Arc::new(fresh.clone()), replica.genesis()).unwrap();
        for height in 1..=replica.tip().height {
            let block = replica.block(height).unwrap().unwrap();
            again.commit(block.block, block.certificate).unwrap();
        }
        prop_assert_eq!(again.tip(), replica.tip());
        audit(&fresh, replica.genesis(), &mut |_| {}).unwrap();
        dt_ledger::Replica::load(std::sync::Arc::new(fresh)).expect("specifications are rebuilt");
    }

    /// What travels has one encoding, and no cut or flip of it is the same value.
    #[test]
    fn a_transaction_travels(transaction in transaction(), at in any::<prop::sample::Index>(), bit in 0..8u8) {
        let bytes = codec::encode(&transaction);
        let limit = bytes.len();
        let back: dt_model::Envelope<Transaction> = codec::decode(&bytes, limit).unwrap();
        prop_assert_eq!(&back, &transaction);
        let opened = back.open().unwrap();
        prop_assert_eq!(codec::encode(opened.value()), opened.envelope().body().to_vec());
        let at = at.index(bytes.len());
        prop_assert!(codec::decode::<dt_model::Envelope<Transaction>>(&bytes[..at], limit).is_err());
        let mut flipped = bytes;
        flipped[at] ^= 1 << bit;
        let other = codec::decode::<dt_model::Envelope<Transaction>>(&flipped, limit).ok();
        prop_assert!(other.is_none_or(|other| other.open().is_err()));
    }
}
