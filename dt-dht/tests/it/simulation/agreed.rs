//! Records of order Agreed: an owner opens and closes a gate, several writers count beside it, and one of them goes on when he may not.

use core::time::Duration;
use std::sync::{Arc, Mutex};

use borsh::{BorshDeserialize, BorshSerialize};
use dt_dht::testing::simulator::{
    Conditions, Dice, Durability, History, Host, Misdeed, OperationId, Recorder, Roster, Seen, Setup,
    Simulation, Tally, for_seeds,
};
use dt_dht::{
    Address, Client, GetError, Key, Kind, Order, PutError, Record, Refusal, Resilience, Settled, Site, Slot,
    Validator,
};
use dt_model::testing::identity;
use dt_model::{Digest, PartyId, Signed, Signer, codec};
use futures_util::future::select;

use super::must;
use super::usurper::Usurper;

const OWNER: u64 = 11;
const WRITERS: [u64; 2] = [12, 13];
/// A writer who is malicious once he may write no more.
const DISMISSED: u64 = 14;
const READER: u64 = 15;
/// A writer who breaks the protocol's rules.
const USURPER: u64 = 16;
const GATE: Slot = Slot { kind: Gate::KIND, index: 0 };
const COUNT: Slot = Slot { kind: Count::KIND, index: 0 };

fn address() -> Address {
    Address::from([0xa9; 32])
}

/// Who may count: written by the owner alone.
#[derive(BorshSerialize, BorshDeserialize)]
struct Gate {
    previous: Digest,
    writers: Vec<PartyId>,
}

/// The next number: names the gate that its writer passed, and the number before.
#[derive(BorshSerialize, BorshDeserialize)]
struct Count {
    previous: Digest,
    gate: Digest,
    writer: u64,
}

impl Gate {
    const KIND: Kind = Kind::new(*b"gate");

    fn read(record: &Signed<Record>) -> Option<Self> {
        codec::decode(&record.body, 10_000).ok()
    }
}

impl Count {
    const KIND: Kind = Kind::new(*b"coun");

    fn read(record: &Signed<Record>) -> Option<Self> {
        codec::decode(&record.body, 10_000).ok()
    }
}

fn follows(site: &Site<'_>, offered: &Signed<Record>, previous: Digest) -> Result<(), Refusal> {
    let (version, digest) = site.stored.map_or((0, Digest::ZERO), |stored| (stored.version, stored.digest()));
    if offered.key.address != address() {
        Err(Refusal::WrongAddress)
    } else if offered.version <= version {
        Err(Refusal::Stale { stored: version })
    } else if offered.version != version + 1 {
        Err(Refusal::Gap { stored: version })
    } else if previous != digest {
        Err(Refusal::Inconsistent)
    } else {
        Ok(())
    }
}

fn rank(gate: Option<&Signed<Record>>, party: &PartyId) -> Option<u8> {
    let may_write = gate.and_then(Gate::read).is_some_and(|gate| gate.writers.contains(party));
    Some(if *party == identity(OWNER).party() { 3 } else { u8::from(may_write) })
}

struct Gates;

impl Validator for Gates {
    fn kind(&self) -> Kind {
        Gate::KIND
    }

    fn order(&self) -> Order {
        Order::Agreed
    }

    fn rank(&self, site: &Site<'_>, party: &PartyId) -> Option<u8> {
        rank(site.stored, party)
    }

    fn admit(&self, site: &Site<'_>, offered: &Signed<Record>) -> Result<(), Refusal> {
        let gate = Gate::read(offered).ok_or(Refusal::Malformed)?;
        if offered.signer() != identity(OWNER).party() {
            return Err(Refusal::NotPermitted);
        }
        follows(site, offered, gate.previous)
    }
}

struct Counts;

impl Validator for Counts {
    fn kind(&self) -> Kind {
        Count::KIND
    }

    fn order(&self) -> Order {
        Order::Agreed
    }

    fn rank(&self, site: &Site<'_>, party: &PartyId) -> Option<u8> {
        rank(site.neighbours.record(GATE).as_ref(), party)
    }

    fn admit(&self, site: &Site<'_>, offered: &Signed<Record>) -> Result<(), Refusal> {
        let count = Count::read(offered).ok_or(Refusal::Malformed)?;
        let gate = site.neighbours.record(GATE).ok_or(Refusal::Superseded)?;
        if gate.digest() != count.gate {
            return Err(Refusal::Superseded);
        }
        if rank(Some(&gate), &offered.signer()) != Some(1) {
            return Err(Refusal::NotPermitted);
        }
        follows(site, offered, count.previous)
    }
}

#[test]
fn agreed() {
    for_seeds("-p dt-dht --test it -- simulation::agreed", 16, |seed| {
        let setup = Setup::draw(&mut Dice::new(seed), setup);
        let mut run = Run::new(seed, setup);
        run.storm()?;
        run.calm()?;
        run.check()
    });
}

/// With one malicious node too many, the guarantees end, and the check notices.
#[test]
fn beyond_k() {
    let caught = (0..300).any(|seed| {
        let misdeeds = vec![Misdeed::VotesForAll];
        let setup = Setup { byzantine: 2, misdeeds, ..setup(Resilience::tolerating(1).unwrap()) };
        let conditions = Conditions { delay: 1..=900, timeout: 3000, ..Conditions::calm() };
        let mut run = Run::new(seed, Setup { conditions, ..setup });
        run.storm().is_ok() && run.recorder.history().check_steps().is_err()
    });
    assert!(caught, "the check cannot fail");
}

/// Stores that lose what they had promised are as bad as malice.
#[test]
fn stores_that_sync_late() {
    let caught = (0..300).any(|seed| {
        let conditions = Conditions { trouble: Some(100..=300), outage: 50..=200, ..Conditions::calm() };
        let durability = Durability::Late;
        let setup = setup(Resilience::tolerating(1).unwrap());
        let mut run = Run::new(seed, Setup { durability, conditions, ..setup });
        run.storm().is_ok() && run.recorder.history().check_steps().is_err()
    });
    assert!(caught, "the check cannot fail");
}

pub(super) fn setup(resilience: Resilience) -> Setup {
    let parties =
        [OWNER, WRITERS[0], WRITERS[1], DISMISSED, READER, USURPER].map(|seed| identity(seed).party());
    Setup::new(resilience, parties, vec![Arc::new(Gates), Arc::new(Counts)])
}

pub(super) struct Run {
    pub(super) simulation: Simulation,
    pub(super) recorder: Recorder,
    /// By which nodes change, if they do.
    pub(super) roster: Option<Roster>,
    pub(super) wrong: Arc<Mutex<Option<String>>>,
}

impl Run {
    pub(super) fn new(seed: u64, setup: Setup) -> Self {
        let simulation = Simulation::new(seed, setup);
        Self { simulation, recorder: Recorder::default(), roster: None, wrong: Arc::default() }
    }

    fn user(&mut self, seed: u64, who: &str) -> User {
        let signer = Arc::new(identity(seed));
        let (client, host) = self.simulation.participant(signer);
        let (dice, recorder) = (self.simulation.dice(), self.recorder.clone());
        let (who, last, wrong, roster) = (who.to_owned(), None, self.wrong.clone(), self.roster.clone());
        User { who, roster, seed, client, host, dice, recorder, last, wrong }
    }

    pub(super) fn storm(&mut self) -> Result<(), String> {
        self.storm_of(1)
    }

    /// A storm that is so many times as long.
    pub(super) fn storm_of(&mut self, times: usize) -> Result<(), String> {
        for (seed, who) in [(OWNER, "owner"), (OWNER, "owner's other device")] {
            let user = self.user(seed, who);
            self.simulation.spawn(user.works(5 * times, 500));
        }
        for (seed, who) in [(WRITERS[0], "writer 1"), (WRITERS[1], "writer 2"), (DISMISSED, "dismissed")] {
            let user = self.user(seed, who);
            self.simulation.spawn(user.works(6 * times, 800));
        }
        let usurper = self.user(USURPER, "usurper");
        self.simulation.spawn(usurper.usurps(6 * times));
        let reader = self.user(READER, "reader");
        self.simulation.spawn(reader.works(6 * times, 0));
        must("storm", self.simulation.run())
    }

    /// Afterwards, with all honest nodes up, everything succeeds, and the whole past is there.
    pub(super) fn calm(&mut self) -> Result<(), String> {
        self.calm_for_the_present()?;
        let mut user = self.user(READER, "auditor");
        self.simulation.spawn(async move {
            let outcome = user.walks_back().await;
            outcome.unwrap_or_else(|error| user.complain(format!("the past: {error}")));
        });
        must("calm", self.simulation.run())?;
        self.outcome()
    }

    /// Afterwards, with all honest nodes up, everything succeeds.
    pub(super) fn calm_for_the_present(&mut self) -> Result<(), String> {
        self.simulation.calm();
        for (seed, who) in [(OWNER, "owner, at last"), (WRITERS[0], "writer, at last")] {
            let mut user = self.user(seed, who);
            self.simulation.spawn(async move {
                // Both at once may contend, and what somebody of a higher rank left undone may be taken over after ten seconds: then one
                // tries again.
                let mut outcome = Err("no attempt".to_owned());
                for _ in 0..10 {
                    outcome = user.finishes().await;
                    if outcome.is_ok() {
                        break;
                    }
                    user.host.sleep(Duration::from_secs(2)).await;
                }
                let who = user.who.clone();
                outcome.unwrap_or_else(|error| user.complain(format!("{who}: {error}")));
            });
        }
        must("calm", self.simulation.run())?;
        self.outcome()
    }

    fn outcome(&self) -> Result<(), String> {
        self.wrong.lock().unwrap().take().map_or(Ok(()), Err)
    }

    pub(super) fn check(&self) -> Result<Tally, String> {
        must("history", self.recorder.history().check_steps())?;
        must("stores", self.simulation.verify_stores())?;
        Ok(Tally::from(&*self.recorder.history()))
    }
}

struct User {
    who: String,
    roster: Option<Roster>,
    seed: u64,
    client: Client,
    host: Host,
    dice: Dice,
    recorder: Recorder,
    last: Option<Settled>,
    wrong: Arc<Mutex<Option<String>>>,
}

impl User {
    fn history(&self) -> std::sync::MutexGuard<'_, History> {
        self.recorder.history()
    }

    fn complain(&self, wrong: String) {
        self.wrong.lock().unwrap().get_or_insert(wrong);
    }

    /// So many operations, of which so many in a thousand are writes.
    async fn works(mut self, operations: usize, writes: u64) {
        for _ in 0..operations {
            let pause = self.dice.within(0..=1500);
            self.host.sleep(Duration::from_millis(pause)).await;
            // Now and then somebody loses patience: his future is dropped in the middle.
            let patience = if self.dice.permille(200) { self.dice.within(1..=600) } else { 1 << 22 };
            let host = self.host.clone();
            let alarm = core::pin::pin!(host.sleep(Duration::from_millis(patience)));
            let operation = core::pin::pin!(self.operate(writes));
            let _whoever_was_first = select(operation, alarm).await;
        }
    }

    /// Goes for the same as the others, against the rules.
    async fn usurps(mut self, attempts: usize) {
        for _ in 0..attempts {
            let pause = self.dice.within(0..=1200);
            self.host.sleep(Duration::from_millis(pause)).await;
            drop(self.reads().await);
            let Some(last) = self.last.take() else { continue };
            let rivals = [self.next(Some(&last)), self.next(Some(&last))].into_iter().flatten();
            let rivals: Vec<_> =
                rivals.filter(|(_, is_allowed)| *is_allowed).map(|(record, _)| record).collect();
            for record in &rivals {
                self.history().call(&self.who, "item", Some(record.digest()));
            }
            // The others go on meanwhile: what he tries to replace may be decided by then.
            for _ in 0..2 {
                let pause = self.dice.within(0..=500);
                self.host.sleep(Duration::from_millis(pause)).await;
                let mut usurper = Usurper { client: &self.client, host: &self.host, dice: &mut self.dice };
                usurper.usurps(&last, &rivals).await;
            }
        }
    }

    /// Looks at the ledger.
    fn follow(&self) {
        if let Some(roster) = &self.roster {
            roster.inform(&self.client);
        }
    }

    async fn operate(&mut self, writes: u64) {
        if self.dice.permille(700) {
            self.follow();
        }
        // Sometimes he builds on what he read a while ago.
        if self.last.is_none() || self.dice.permille(800) {
            drop(self.reads().await);
        }
        if self.dice.permille(writes) {
            drop(self.writes().await);
        }
    }

    async fn finishes(&mut self) -> Result<(), String> {
        self.follow();
        must("read", self.reads().await)?;
        must("write", self.writes().await)
    }

    async fn reads(&mut self) -> Result<(), GetError> {
        let call = self.history().call(&self.who, "item", None);
        let found = self.client.state(address(), self.host.now()).await?;
        match &found {
            None => self.history().answer(call, Seen::default()),
            Some(settled) => self.saw(call, settled),
        }
        self.last = found;
        Ok(())
    }

    async fn writes(&mut self) -> Result<(), PutError> {
        let last = self.last.take();
        let Some((record, is_allowed)) = self.next(last.as_ref()) else { return Ok(()) };
        // What must never be settled is not announced, so that whoever sees it sees a phantom.
        let call = is_allowed.then(|| self.history().call(&self.who, "item", Some(record.digest())));
        let settled = self.client.settle(&record, self.host.now()).await?;
        match call {
            Some(call) => self.saw(call, &settled),
            None => self.complain(format!("{} wrote what he may not", self.who)),
        }
        self.last = Some(settled);
        Ok(())
    }

    /// Notes what came of a call, and checks the certificate as anybody could.
    fn saw(&self, call: OperationId, settled: &Settled) {
        if let Err(error) = settled.certificate().verify(&self.client.membership()) {
            self.complain(format!("{} got a certificate that proves nothing: {error}", self.who));
        }
        let entries = settled.state().entries().iter();
        let entries = entries.map(|entry| (entry.slot, (entry.version, entry.record))).collect();
        self.history().answer(call, Seen { version: settled.sequence(), entries });
    }

    /// What this user would write next, and whether he may. The owner has the gate opened and closed; the others count.
    fn next(&mut self, last: Option<&Settled>) -> Option<(Signed<Record>, bool)> {
        let of = |slot| last.and_then(|last| last.record(slot));
        let version = |slot| of(slot).map_or(0, |record| record.version) + 1;
        let previous = |slot| of(slot).map_or(Digest::ZERO, Signed::digest);
        let signer = identity(self.seed);
        if self.seed == OWNER {
            let may = WRITERS.iter().chain([&USURPER]).chain(self.dice.permille(500).then_some(&DISMISSED));
            let writers = may.map(|seed| identity(*seed).party()).collect();
            let body = codec::encode(&Gate { previous: previous(GATE), writers }).into();
            let record = Record { key: key(GATE), version: version(GATE), body };
            return Some((Signed::new(record, &signer).unwrap(), true));
        }
        let gate = of(GATE)?;
        let is_allowed = rank(Some(gate), &signer.party()) == Some(1);
        // Whoever is dismissed names the gate, or one that there was, all the same.
        let passed = if is_allowed { gate.digest() } else { Gate::read(gate)?.previous };
        let count = Count { previous: previous(COUNT), gate: passed, writer: self.dice.number() };
        let record = Record { key: key(COUNT), version: version(COUNT), body: codec::encode(&count).into() };
        Some((Signed::new(record, &signer).unwrap(), is_allowed))
    }

    /// Every number that there ever was is still to be had, down to the first, and every acknowledged one is among them, once.
    async fn walks_back(&mut self) -> Result<(), String> {
        self.follow();
        must("read", self.reads().await)?;
        let settled = self.last.take().ok_or("nothing is there")?;
        let mut chain = Vec::new();
        for slot in [GATE, COUNT] {
            let mut next = settled.record(slot).cloned();
            while let Some(record) = next {
                chain.push(record.digest());
                let (version, previous) = (record.version - 1, previous(&record));
                next = match version {
                    0 => None,
                    _ => {
                        let past = self.client.past(key(slot), version, previous, self.host.now()).await;
                        Some(must("past", past)?.ok_or(format!("version {version} is lost"))?)
                    }
                };
            }
        }
        let history = self.history();
        let acknowledged = history.operations().iter().filter(|done| done.seen.is_some());
        for token in acknowledged.filter_map(|done| done.token) {
            if chain.iter().filter(|known| **known == token).count() != 1 {
                return Err(format!("{token} was acknowledged, and is not once in the chain"));
            }
        }
        Ok(())
    }
}

fn key(slot: Slot) -> Key {
    Key { address: address(), slot }
}

fn previous(record: &Signed<Record>) -> Digest {
    let gate = Gate::read(record).map(|gate| gate.previous);
    if record.key.slot == GATE { gate } else { Count::read(record).map(|count| count.previous) }.unwrap()
}
