//! Records of order Newest: several devices of one owner write, others read, and an accomplice signs what he never puts.

use core::time::Duration;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use dt_dht::testing::simulator::{
    Conditions, Dice, Durability, History, Host, Misdeed, Recorder, Seen, Setup, Simulation, Tally,
    Violation, for_seeds,
};
use dt_dht::{
    Client, GetError, Key, Kind, OwnedRecords, PutError, Record, Refusal, Resilience, Site, Validator,
};
use dt_model::testing::identity;
use dt_model::{Signed, Signer};
use futures_util::future::select;

use super::must;
use crate::support::{Chained, READER, WRITER, plain};

const ACCOMPLICE: u64 = 4;
const NAMES: [&str; 2] = ["a", "b"];
const CHAIN: &str = "chain";
const ACCOMPLICES_CHAIN: &str = "accomplice's chain";

/// A chain of versions without gaps: the writer's, and the accomplice's.
struct Chains;

impl Chains {
    const KIND: Kind = Kind::new(*b"link");

    fn key(owner: u64) -> Key {
        Key::new([0xc4; 32].into(), Self::KIND, owner)
    }

    /// A version's only content, so that it can be put again without contradiction.
    fn link(owner: u64, version: u64) -> Signed<Record> {
        let record = Record { key: Self::key(owner), version, body: version.to_le_bytes().to_vec().into() };
        Signed::new(record, &identity(owner)).unwrap()
    }
}

impl Validator for Chains {
    fn kind(&self) -> Kind {
        Self::KIND
    }

    fn admit(&self, site: &Site<'_>, offered: &Signed<Record>) -> Result<(), Refusal> {
        let stored = site.stored.map_or(0, |stored| stored.version);
        if offered.signer() != identity(offered.key.slot.index).party() {
            Err(Refusal::NotPermitted)
        } else if offered.version != stored + 1 {
            Err(Refusal::Gap { stored })
        } else {
            Ok(())
        }
    }
}

#[test]
fn newest() {
    for_seeds("-p dt-dht --test it -- simulation::newest", 40, |seed| {
        let mut dice = Dice::new(seed);
        let setup = Setup::draw(&mut dice, setup);
        let mut run = Run::new(seed, setup);
        run.storm()?;
        run.calm()?;
        must("history", run.recorder.history().check())?;
        must("stores", run.simulation.verify_stores())?;
        Ok(Tally::from(&*run.recorder.history()))
    });
}

/// With one malicious node too many, the guarantees end, and the check notices.
#[test]
fn beyond_k() {
    let caught = (0..200).filter(|seed| {
        let setup = Setup { byzantine: 2, ..setup(Resilience::tolerating(1).unwrap()) };
        let conditions = Conditions::draw(&mut Dice::new(*seed));
        let mut run = Run::new(*seed, Setup { conditions, ..setup });
        run.storm().unwrap();
        let verdict = run.recorder.history().check();
        matches!(verdict, Err(Violation::RolledBack { .. }))
    });
    let caught = caught.take(1).count();
    assert!(caught > 0, "the check cannot fail");
}

/// Stores that break their contract and lose writes are as bad as malice.
#[test]
fn stores_that_sync_late() {
    let caught = (0..300).any(|seed| {
        let resilience = Resilience::tolerating(1).unwrap();
        let conditions = Conditions { trouble: Some(100..=300), outage: 50..=200, ..Conditions::calm() };
        let mut run = Run::new(seed, Setup { durability: Durability::Late, conditions, ..setup(resilience) });
        run.storm().unwrap();
        run.recorder.history().check().is_err()
    });
    assert!(caught, "the check cannot fail");
}

/// A liar shows a record that his accomplice signed, and that nobody else can store since what comes before it is missing: it was never
/// written, and readers do without it.
#[test]
fn a_liar_with_an_accomplice_blocks_nobody() {
    for seed in 0..4 {
        let written = plain(Chained::KIND, &identity(ACCOMPLICE), 1, "written");
        let phantom = plain(Chained::KIND, &identity(ACCOMPLICE), 3, "never written");
        let parties = [READER, ACCOMPLICE].map(|seed| identity(seed).party());
        let mut simulation = Simulation::new(
            seed,
            Setup {
                byzantine: 1,
                misdeeds: vec![Misdeed::Phantoms],
                phantoms: vec![phantom],
                ..Setup::new(Resilience::tolerating(1).unwrap(), parties, vec![Arc::new(Chained)])
            },
        );
        let (writer, host) = simulation.participant(Arc::new(identity(ACCOMPLICE)));
        let (reader, _) = simulation.participant(Arc::new(identity(READER)));
        let found = Arc::new(std::sync::Mutex::new(Vec::new()));
        let (results, expected) = (found.clone(), written.clone());
        simulation.spawn(async move {
            writer.put(&written, host.now()).await.unwrap();
            for _ in 0..5 {
                let read = reader.get(written.key, &|_| Ok(()), host.now()).await;
                results.lock().unwrap().push(read);
            }
        });
        simulation.run().unwrap();
        for read in found.lock().unwrap().iter() {
            assert!(matches!(read, Ok(Some(found)) if *found == expected), "{read:?}");
        }
    }
}

pub(super) fn setup(resilience: Resilience) -> Setup {
    let parties = [WRITER, READER, ACCOMPLICE].map(|seed| identity(seed).party());
    let phantoms = (1..=3).flat_map(|version| NAMES.map(|value| record(ACCOMPLICE, "p", version, value)));
    let phantoms = phantoms.chain([3, 5].map(|version| Chains::link(ACCOMPLICE, version))).collect();
    let validators: Vec<Arc<dyn Validator>> = vec![Arc::new(OwnedRecords), Arc::new(Chains)];
    Setup { phantoms, ..Setup::new(resilience, parties, validators) }
}

fn record(owner: u64, name: &str, version: u64, value: &str) -> Signed<Record> {
    let owner = identity(owner);
    let value = value.as_bytes().to_vec();
    Signed::new(OwnedRecords::record(owner.party(), name.parse().unwrap(), version, value), &owner).unwrap()
}

pub(super) struct Run {
    pub(super) simulation: Simulation,
    pub(super) recorder: Recorder,
    versions: Arc<[AtomicU64; 2]>,
}

impl Run {
    pub(super) fn new(seed: u64, setup: Setup) -> Self {
        let recorder = Recorder::default();
        setup.phantoms.iter().for_each(|phantom| recorder.history().allow(phantom.digest()));
        Self { simulation: Simulation::new(seed, setup), recorder, versions: Arc::default() }
    }

    fn user(&mut self, seed: u64, who: &str) -> User {
        let (client, host) = self.simulation.participant(Arc::new(identity(seed)));
        let (dice, recorder) = (self.simulation.dice(), self.recorder.clone());
        User { who: who.to_owned(), client, host, dice, recorder, versions: self.versions.clone() }
    }

    /// Everybody does what he wants, in whatever weather.
    pub(super) fn storm(&mut self) -> Result<(), String> {
        for who in ["writer 1", "writer 2"] {
            let user = self.user(WRITER, who);
            self.simulation.spawn(user.works(6, 700));
        }
        for (owner, object) in [(WRITER, CHAIN), (ACCOMPLICE, ACCOMPLICES_CHAIN)] {
            let mut user = self.user(owner, "chain's writer");
            self.simulation.spawn(async move {
                for _ in 0..4 {
                    drop(user.link(owner, object).await);
                }
            });
        }
        for who in ["accomplice 1", "accomplice 2"] {
            let user = self.user(ACCOMPLICE, who);
            self.simulation.spawn(user.contradicts_itself());
        }
        for who in ["reader 1", "reader 2"] {
            let user = self.user(READER, who);
            self.simulation.spawn(user.works(6, 0));
        }
        must("storm", self.simulation.run())
    }

    /// Afterwards, with all honest nodes up, everything succeeds.
    pub(super) fn calm(&mut self) -> Result<(), String> {
        self.simulation.calm();
        let mut user = self.user(WRITER, "the last");
        let failed = Arc::new(std::sync::Mutex::new(None));
        let report = failed.clone();
        self.simulation.spawn(async move {
            for name in 0..NAMES.len() {
                let wrong = match user.get(name).await {
                    Err(error) => Some(format!("the last get: {error}")),
                    Ok(()) => user.put(name).await.err().map(|error| format!("the last put: {error}")),
                };
                if let Some(wrong) = wrong {
                    report.lock().unwrap().get_or_insert(wrong);
                }
            }
            // Of the chain only safety is asked: see the limit of `Order::Newest`.
            drop(user.link(WRITER, CHAIN).await);
        });
        must("calm", self.simulation.run())?;
        failed.lock().unwrap().take().map_or(Ok(()), Err)
    }
}

struct User {
    who: String,
    client: Client,
    host: Host,
    dice: Dice,
    recorder: Recorder,
    versions: Arc<[AtomicU64; 2]>,
}

impl User {
    /// So many operations, of which so many in a thousand are puts.
    async fn works(mut self, operations: usize, puts: u64) {
        for _ in 0..operations {
            let pause = self.dice.within(0..=800);
            self.host.sleep(Duration::from_millis(pause)).await;
            // Now and then somebody loses patience: his future is dropped in the middle.
            let patience = if self.dice.permille(150) { self.dice.within(1..=300) } else { 1 << 20 };
            let host = self.host.clone();
            let alarm = core::pin::pin!(host.sleep(Duration::from_millis(patience)));
            let operation = core::pin::pin!(self.operate(puts));
            let _whoever_was_first = select(operation, alarm).await;
        }
    }

    async fn operate(&mut self, puts: u64) {
        let name = self.dice.below(NAMES.len());
        if self.dice.permille(puts) {
            drop(self.put(name).await);
        } else if self.dice.permille(150) {
            drop(self.get_phantom().await);
        } else if self.dice.permille(150) {
            drop(self.get_key(Chains::key(WRITER), CHAIN).await);
        } else if self.dice.permille(150) {
            drop(self.get_key(Chains::key(ACCOMPLICE), ACCOMPLICES_CHAIN).await);
        } else {
            drop(self.get(name).await);
        }
    }

    fn history(&self) -> std::sync::MutexGuard<'_, History> {
        self.recorder.history()
    }

    async fn put(&mut self, name: usize) -> Result<(), PutError> {
        let version = 1 + self.versions[name].fetch_add(1, Ordering::SeqCst);
        let record = record(WRITER, NAMES[name], version, "value");
        let call = self.history().call(&self.who, NAMES[name], Some(record.digest()));
        let certificate = self.client.put(&record, self.host.now()).await?;
        certificate.verify_for(&self.client.membership(), &record).unwrap();
        self.history().answer(call, Seen::record(record.key.slot, version, record.digest()));
        Ok(())
    }

    /// Puts what the liars show besides, of each version one of two records.
    async fn contradicts_itself(mut self) {
        for version in 1..=3 {
            let pause = self.dice.within(0..=1000);
            self.host.sleep(Duration::from_millis(pause)).await;
            let value = NAMES[self.dice.below(NAMES.len())];
            let record = record(ACCOMPLICE, "p", version, value);
            let call = self.history().call(&self.who, "p", Some(record.digest()));
            if let Ok(certificate) = self.client.put(&record, self.host.now()).await {
                certificate.verify_for(&self.client.membership(), &record).unwrap();
                self.history().answer(call, Seen::record(record.key.slot, version, record.digest()));
            }
        }
    }

    async fn get(&mut self, name: usize) -> Result<(), GetError> {
        self.get_from(WRITER, NAMES[name]).await
    }

    async fn get_phantom(&mut self) -> Result<(), GetError> {
        self.get_from(ACCOMPLICE, "p").await
    }

    async fn get_from(&mut self, owner: u64, name: &str) -> Result<(), GetError> {
        let key = OwnedRecords::key(&identity(owner).party(), &name.parse().unwrap());
        self.get_key(key, name).await.map(drop)
    }

    async fn get_key(&mut self, key: Key, object: &str) -> Result<u64, GetError> {
        let call = self.history().call(&self.who, object, None);
        let is_owned = key.slot.kind == OwnedRecords::KIND;
        let check = |record: &Signed<Record>| match is_owned {
            true => OwnedRecords::value(record).map(drop),
            false if record.signer() == identity(key.slot.index).party() => Ok(()),
            false => Err(Refusal::NotPermitted),
        };
        let found = self.client.get(key, &check, self.host.now()).await?;
        let version = found.as_ref().map_or(0, |found| found.version);
        let seen =
            found.map_or(Seen::default(), |found| Seen::record(key.slot, found.version, found.digest()));
        self.history().answer(call, seen);
        Ok(version)
    }

    /// Reads a chain, and puts its next link.
    async fn link(&mut self, owner: u64, object: &str) -> Result<(), String> {
        self.host.sleep(Duration::from_millis(500)).await;
        let version = must("the chain's get", self.get_key(Chains::key(owner), object).await)? + 1;
        let link = Chains::link(owner, version);
        let call = self.history().call(&self.who, object, Some(link.digest()));
        let certificate = must("the chain's put", self.client.put(&link, self.host.now()).await)?;
        certificate.verify_for(&self.client.membership(), &link).unwrap();
        self.history().answer(call, Seen::record(link.key.slot, version, link.digest()));
        Ok(())
    }
}
