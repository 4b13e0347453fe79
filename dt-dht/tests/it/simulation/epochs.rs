//! Nodes join, leave and are replaced while others read and write, in any weather and with k of them malicious.

use core::time::Duration;
use std::sync::{Arc, Mutex};

use dt_dht::testing::simulator::{Conditions, Dice, Host, Recorder, Roster, Seen, Setup, Tally, for_seeds};
use dt_dht::{Client, OwnedRecords, Record, Resilience, Validator};
use dt_model::testing::identity;
use dt_model::{Signed, Signer as _};

use super::agreed::{self, Run};
use super::deposits::{Depositor, Stored, read_all};
use super::must;

/// Whose records of order Newest lie beside what is agreed.
const OWNER: u64 = 17;
const READER: u64 = 18;

/// How nodes change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Discipline {
    /// As they should.
    HandOver,
    /// The joint epoch is ended by the clock.
    NoHandOver,
    /// There is no joint epoch: a quorum in the new group is enough at once.
    NewGroupOnly,
}

/// Nodes join, are replaced one by one, two at once, and more, until none is left of `0..nodes` and as many others are there.
fn by_steps(nodes: usize) -> Vec<Vec<usize>> {
    let joined = (0..=nodes).collect();
    let replaced = (0..=nodes + 1).filter(|at| *at != nodes / 2).collect();
    // Those that leave at last were there from the beginning, and one of them is malicious.
    let renewed = (1..nodes + 3).filter(|at| *at != nodes / 2 && *at != nodes - 1).collect();
    let half = (nodes / 2 + 1..nodes / 2 + 1 + nodes).collect();
    vec![joined, replaced, renewed, half, (nodes..2 * nodes).collect()]
}

/// All nodes are replaced at once, and then half of them again by former ones, which hold what is out of date.
fn as_a_whole(nodes: usize) -> Vec<Vec<usize>> {
    vec![(nodes..2 * nodes).collect(), (nodes / 2..nodes + nodes / 2).collect()]
}

#[test]
fn epochs() {
    for_seeds("-p dt-dht --test it -- simulation::epochs", 6, |seed| {
        let setup = Setup::draw(&mut Dice::new(seed), setup);
        let (spares, plan) = (setup.nodes, by_steps(setup.nodes));
        let mut changing = Changing::new(seed, Setup { spares, ..setup }, plan, Discipline::HandOver);
        changing.run.storm_of(3)?;
        changing.calm()?;
        changing.verdict()
    });
}

#[test]
fn all_nodes_replaced() {
    for_seeds("-p dt-dht --test it -- simulation::epochs::all_nodes_replaced", 6, |seed| {
        let conditions = Conditions::draw(&mut Dice::new(seed));
        let setup = setup(Resilience::tolerating(1).unwrap());
        let (spares, plan) = (setup.nodes, as_a_whole(setup.nodes));
        let setup = Setup { byzantine: 1, conditions, spares, ..setup };
        let mut changing = Changing::new(seed, setup, plan, Discipline::HandOver);
        changing.run.storm_of(3)?;
        changing.calm()?;
        changing.verdict()
    });
}

/// Nodes that are asked no more before others have what they held, and nodes that are asked alone before they have anything: the checker
/// finds both.
#[test]
fn without_discipline() {
    for discipline in [Discipline::NoHandOver, Discipline::NewGroupOnly] {
        let caught = (0..100).any(|seed| {
            let setup = setup(Resilience::tolerating(1).unwrap());
            let conditions = Conditions { delay: 1..=100, ..Conditions::calm() };
            let (spares, plan) = (setup.nodes, as_a_whole(setup.nodes));
            let setup = Setup { byzantine: 1, conditions, spares, ..setup };
            let mut changing = Changing::new(seed, setup, plan, discipline);
            changing.run.storm_of(1).unwrap();
            changing.run.recorder.history().check_steps().is_err()
                || changing.records.history().check().is_err()
        });
        assert!(caught, "{discipline:?} is not noticed");
    }
}

fn setup(resilience: Resilience) -> Setup {
    let mut setup = agreed::setup(resilience);
    setup.parties.extend([OWNER, READER].map(|seed| identity(seed).party()));
    setup.validators.push(Arc::new(OwnedRecords) as Arc<dyn Validator>);
    setup
}

/// A run in which nodes change.
struct Changing {
    run: Run,
    /// What became of the records of order Newest.
    records: Recorder,
    seed: u64,
    /// Which blobs were acknowledged.
    stored: Stored,
}

impl Changing {
    fn new(seed: u64, setup: Setup, plan: Vec<Vec<usize>>, discipline: Discipline) -> Self {
        let (mut run, records) = (Run::new(seed, setup), Recorder::default());
        let roster = run.simulation.roster();
        run.roster = Some(roster.clone());
        let (_, host) = run.simulation.participant(Arc::new(identity(READER)));
        let (dice, wrong) = (run.simulation.dice(), run.wrong.clone());
        run.simulation.spawn(direct(plan, roster.clone(), host, dice, discipline, wrong));
        for (seed, who) in [(OWNER, "record's owner"), (READER, "record's reader")] {
            let (client, host) = run.simulation.participant(Arc::new(identity(seed)));
            let (roster, recorder, dice) = (roster.clone(), records.clone(), run.simulation.dice());
            run.simulation.spawn(Keeper { who, seed, client, host, roster, recorder, dice }.works());
        }
        let (client, host) = run.simulation.participant(Arc::new(identity(OWNER)));
        let (stored, dice) = (Stored::default(), run.simulation.dice());
        let depositor = Depositor { seed, client, host, roster, dice, stored: stored.clone() };
        run.simulation.spawn(depositor.works());
        Self { run, records, seed, stored }
    }

    /// Afterwards everything succeeds, and what was acknowledged is there.
    fn calm(&mut self) -> Result<(), String> {
        let (client, host) = self.run.simulation.participant(Arc::new(identity(READER)));
        self.run.roster.iter().for_each(|roster| roster.inform(&client));
        let (seed, stored, wrong) = (self.seed, self.stored.clone(), self.run.wrong.clone());
        self.run.simulation.spawn(async move {
            if let Err(said) = read_all(seed, client, host, stored).await {
                wrong.lock().unwrap().get_or_insert(said);
            }
        });
        self.run.calm()
    }

    /// What is there now is what it has to be. (That the past is there, too, shows in the calm.)
    fn verdict(&self) -> Result<Tally, String> {
        must("records", self.records.history().check())?;
        self.run.check()
    }
}

/// Has the nodes changed, one change after the other.
async fn direct(
    plan: Vec<Vec<usize>>,
    roster: Roster,
    host: Host,
    mut dice: Dice,
    discipline: Discipline,
    wrong: Arc<Mutex<Option<String>>>,
) {
    for nodes in plan {
        let pause = dice.within(200..=3000);
        host.sleep(Duration::from_millis(pause)).await;
        roster.change(nodes);
        match discipline {
            Discipline::HandOver => {}
            Discipline::NoHandOver => {
                host.sleep(Duration::from_millis(300)).await;
                if roster.is_changing() {
                    roster.complete();
                }
            }
            Discipline::NewGroupOnly => roster.complete(),
        }
        if let Err(said) = roster.settles(&host).await {
            wrong.lock().unwrap().get_or_insert(said);
            break;
        }
    }
    roster.close();
}

/// Writes records of his own, or reads them.
struct Keeper {
    who: &'static str,
    seed: u64,
    client: Client,
    host: Host,
    roster: Roster,
    recorder: Recorder,
    dice: Dice,
}

impl Keeper {
    async fn works(mut self) {
        for version in 1..=14u64 {
            let pause = self.dice.within(0..=2500);
            self.host.sleep(Duration::from_millis(pause)).await;
            if self.dice.permille(700) {
                self.roster.inform(&self.client);
            }
            for name in ["x", "y", "z"] {
                drop(if self.seed == OWNER {
                    self.write(name, version).await
                } else {
                    self.read(name).await
                });
            }
        }
    }

    async fn write(&self, name: &str, version: u64) -> Result<(), String> {
        let record = record(name, version);
        let call = self.recorder.history().call(self.who, name, Some(record.digest()));
        must("put", self.client.put(&record, self.host.now()).await)?;
        let seen = Seen::record(record.key.slot, version, record.digest());
        self.recorder.history().answer(call, seen);
        Ok(())
    }

    async fn read(&self, name: &str) -> Result<(), String> {
        let key = record(name, 1).key;
        let call = self.recorder.history().call(self.who, name, None);
        let found = must("get", self.client.get(key, OwnedRecords::check(), self.host.now()).await)?;
        let seen = found
            .map_or_else(Seen::default, |record| Seen::record(key.slot, record.version, record.digest()));
        self.recorder.history().answer(call, seen);
        Ok(())
    }
}

fn record(name: &str, version: u64) -> Signed<Record> {
    let owner = identity(OWNER);
    let record =
        OwnedRecords::record(owner.party(), name.parse().unwrap(), version, version.to_le_bytes().to_vec());
    Signed::new(record, &owner).unwrap()
}
