//! Random histories against a naive model of who may read what, over four nodes of which any one may be down.

use std::collections::{BTreeMap, BTreeSet};

use dt_acl::{AclError, ChangeError, History, ItemId, Items, KeyError, Revocation, Rights};
use dt_dht::testing::Network;
use dt_model::Signer as _;
use dt_model::testing::{SeedRng, identity};
use proptest::prelude::*;

use crate::common::{PARTIES, grantee, items, network};

#[derive(Debug, Clone, Copy)]
enum Step {
    Grant {
        by: u64,
        whom: u64,
        rights: Rights,
        history: History,
    },
    Revoke {
        by: u64,
        whom: u64,
        revocation: Revocation,
    },
    Rotate {
        by: u64,
        whom: u64,
    },
    Write {
        by: u64,
        byte: u8,
    },
    /// The node in this place of the ranking goes down, and the one that was down comes back.
    Down {
        node: usize,
    },
}

fn step() -> impl Strategy<Value = Step> {
    // The first few parties act, so that they meet often.
    let by = prop_oneof![3 => Just(0u64), 2 => 1u64..5];
    let whom = 1u64..6;
    let history = prop_oneof![Just(History::Full), Just(History::Omitted)];
    let revocation = prop_oneof![Just(Revocation::Lazy), Just(Revocation::Eager)];
    prop_oneof![
        4 => (by.clone(), whom.clone(), dt_acl::testing::rights(), history)
            .prop_map(|(by, whom, rights, history)| Step::Grant { by, whom, rights, history }),
        3 => (by.clone(), whom.clone(), revocation)
            .prop_map(|(by, whom, revocation)| Step::Revoke { by, whom, revocation }),
        1 => (by.clone(), whom).prop_map(|(by, whom)| Step::Rotate { by, whom }),
        4 => (by, any::<u8>()).prop_map(|(by, byte)| Step::Write { by, byte }),
        2 => (0usize..4).prop_map(|node| Step::Down { node }),
    ]
}

/// What everybody should be able to do: plain sets, no keys.
#[derive(Debug, Clone)]
struct Model {
    /// Everyone on the list: rights, and the first epoch that they may read.
    list: BTreeMap<u64, (Rights, u64)>,
    epoch: u64,
    /// Content, writer, and the epoch in which it is sealed.
    data: Option<(u8, u64, u64)>,
    counter: u64,
}

impl Model {
    fn may_manage(&self, by: u64) -> bool {
        self.list.get(&by).is_some_and(|(rights, _)| rights.manage)
    }

    fn may_write(&self, by: u64) -> bool {
        self.list.get(&by).is_some_and(|(rights, _)| rights.write)
    }

    fn is_manager(&self, whom: u64) -> bool {
        self.may_manage(whom)
    }

    /// Carries out `step`; whether it is allowed.
    fn apply(&mut self, step: Step) -> bool {
        match step {
            Step::Down { .. } => true,
            Step::Write { by, byte } => {
                let allowed = self.may_write(by);
                if allowed {
                    self.counter += 1;
                    self.data = Some((byte, by, self.epoch));
                }
                allowed
            }
            Step::Rotate { by, whom } => {
                let allowed = self.may_manage(by) && self.list.contains_key(&whom);
                self.epoch += u64::from(allowed);
                allowed
            }
            Step::Revoke { by, whom, revocation } => {
                let eager = revocation == Revocation::Eager;
                let allowed = self.may_manage(by)
                    && self.list.contains_key(&whom)
                    && (by == 0 || !self.is_manager(whom))
                    && (!eager || self.may_write(by));
                if allowed {
                    self.list.remove(&whom);
                    self.epoch += 1;
                    if let (true, Some((_, writer, epoch))) = (eager, &mut self.data) {
                        (*writer, *epoch) = (by, self.epoch);
                        self.counter += 1;
                    }
                }
                allowed
            }
            Step::Grant { by, whom, rights, history } => self.grant(by, whom, rights, history),
        }
    }

    fn grant(&mut self, by: u64, whom: u64, rights: Rights, history: History) -> bool {
        let known = self.list.get(&whom).copied();
        let since = match (history, known) {
            (History::Full, _) => 1,
            (History::Omitted, Some((_, since))) => since,
            (History::Omitted, None) => self.epoch + 1,
        };
        // Only the owner makes managers, and changes them; a manager may only repeat what is so anyway.
        let touches_manager = known.is_some_and(|(rights, _)| rights.manage) || rights.manage;
        let repeats = known == Some((rights, since));
        let allowed =
            self.may_manage(by) && (by == 0 || !touches_manager || repeats) && !(rights.manage && since > 1);
        if allowed {
            self.list.insert(whom, (rights, since));
            self.epoch = self.epoch.max(since);
        }
        allowed
    }
}

/// What is known about the keys that each party has ever had.
type Known = BTreeMap<u64, BTreeSet<[u8; 32]>>;

async fn act(
    items: &Items,
    item: ItemId,
    net: &Network,
    step: Step,
    rng: &mut SeedRng,
) -> Result<(), AclError> {
    let now = net.now();
    match step {
        Step::Grant { whom, rights, history, .. } => {
            items.grant(item, &[grantee(whom, rights)], history, now, rng).await.map(drop)
        }
        Step::Revoke { whom, revocation, .. } => {
            items.revoke(item, identity(whom).party(), revocation, now, rng).await.map(drop)
        }
        Step::Rotate { whom, .. } => {
            // To a fresh key, and back by the owner's hand, so that the party can go on with the identity that its number gives.
            let mut party = identity(whom);
            let fresh = party.rotate_encryption_key(rng);
            items.rotate(item, party.party(), fresh, now, rng).await?;
            let owner = crate::common::items(net, 0);
            owner.rotate(item, party.party(), identity(whom).encryption_key(), now, rng).await.map(drop)
        }
        Step::Write { byte, .. } => items.write(item, &[byte; 40], now, rng).await.map(drop),
        Step::Down { .. } => Ok(()),
    }
}

/// Everybody sees what the model says, and nobody who is out has the current key.
async fn agree(net: &Network, item: ItemId, model: &Model, known: &mut Known) {
    let current = *items(net, 0).epoch_key(item, model.epoch, net.now()).await.unwrap().expose();
    for party in 0..PARTIES {
        let view = items(net, party);
        let read = view.read(item, None, net.now()).await;
        match (model.list.get(&party), model.data) {
            (None, _) => assert!(matches!(read, Err(AclError::NotAReader(_))), "{party}: {read:?}"),
            (Some(_), None) => assert!(matches!(read, Err(AclError::NoData(_))), "{party}: {read:?}"),
            (Some((_, since)), Some((_, _, epoch))) if *since > epoch => {
                assert!(
                    matches!(read, Err(AclError::Key(KeyError::BeforeGrant { .. }))),
                    "{party}: {read:?}"
                );
            }
            (Some(_), Some((byte, writer, _))) => {
                let opened = read.unwrap();
                assert_eq!((&**opened.plaintext, opened.counter), (&[byte; 40][..], model.counter));
                assert_eq!(opened.writer, identity(writer).party());
            }
        }
        let keys = known.entry(party).or_default();
        match model.list.get(&party) {
            None => assert!(!keys.contains(&current), "{party} is out and has the current key"),
            Some((_, since)) => {
                let ring = view.keys(item, None, net.now()).await.unwrap();
                for epoch in 1..=model.epoch {
                    match ring.key(epoch) {
                        Ok(key) => {
                            assert!(epoch >= *since);
                            keys.insert(*key.expose());
                        }
                        Err(_) => assert!(epoch < *since),
                    }
                }
            }
        }
    }
}

async fn run(steps: Vec<Step>) {
    let (net, mut rng) = (network(1, 4), SeedRng::new(1));
    let item = items(&net, 0).create("model", &[], net.now(), &mut rng).await.unwrap().acl.item();
    let replicas = net.replicas(&item.address());
    let mut model = Model { list: BTreeMap::from([(0, (Rights::ALL, 1))]), epoch: 1, data: None, counter: 0 };
    let mut known = Known::new();
    for step in steps {
        let by = match step {
            Step::Down { node } => {
                // Whoever was down comes back with what it had, and nobody repairs it.
                replicas.iter().for_each(|node| net.in_process().start(&node.party()));
                net.in_process().stop(&replicas[node].party());
                continue;
            }
            Step::Grant { by, .. }
            | Step::Revoke { by, .. }
            | Step::Rotate { by, .. }
            | Step::Write { by, .. } => by,
        };
        let before = model.clone();
        let allowed = model.apply(step);
        // The test's rotation goes there and back.
        model.epoch += u64::from(allowed && matches!(step, Step::Rotate { .. }));
        let done = act(&items(&net, by), item, &net, step, &mut rng).await;
        match &done {
            Ok(()) => assert!(allowed, "{step:?} was done, though not allowed by {before:?}"),
            Err(AclError::NotPermitted | AclError::NotAReader(_)) => {
                assert!(!allowed, "{step:?} {before:?} {done:?}")
            }
            Err(AclError::Change(
                ChangeError::OnlyOwnerAppoints(_)
                | ChangeError::ManagerNeedsHistory(_)
                | ChangeError::NotOnList(_),
            )) => assert!(!allowed, "{step:?} {before:?} {done:?}"),
            Err(other) => panic!("{step:?} {before:?}: {other:?}"),
        }
        agree(&net, item, &model, &mut known).await;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn who_may_read_what(steps in prop::collection::vec(step(), 1..16)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(run(steps));
    }
}
