//! A feed in simulated networks: a device publishes, crashes and starts again, others follow it, one of them too long, k nodes lie, and nodes
//! change.
//!
//! A few seeds run by default. All of them:
//!
//! ```sh
//! DT_DHT_SEEDS=10000 cargo test --release -p dt-feed --test it -- simulation --nocapture
//! ```

mod device;
mod follower;
mod notes;

use core::fmt::Display;
use core::time::Duration;
use std::sync::{Arc, Mutex};

use dt_dht::Resilience;
use dt_dht::testing::simulator::{
    Conditions, Dice, Host, Misdeed, Roster, Setup, Simulation, Tally, for_seeds,
};
use dt_feed::validators;
use dt_model::Signer as _;
use dt_model::testing::{SeedRng, identity};

use self::device::Device;
use self::follower::{Follower, Keyring};
use self::notes::{Book, Verdict};
use crate::common::{OWNER, STRANGER};

/// Who is given every key.
const READER: u64 = STRANGER;
/// Who was given the key of the first epoch, and no other.
const FORMER: u64 = 3;

#[test]
fn simulation() {
    for_seeds("-p dt-feed --test it -- simulation::simulation", 6, |seed| {
        let mut run = Run::new(seed, Setup::draw(&mut Dice::new(seed), setup));
        run.storm()?;
        run.calm()?;
        run.check()
    });
}

/// Nodes join and leave meanwhile.
#[test]
fn epochs() {
    for_seeds("-p dt-feed --test it -- simulation::epochs", 2, while_nodes_change);
}

/// All nodes are replaced at once, and then half of them by former ones, which hold what is out of date.
#[test]
fn all_nodes_replaced() {
    for_seeds("-p dt-feed --test it -- simulation::all_nodes_replaced", 2, |seed| {
        let conditions = Conditions::draw(&mut Dice::new(seed));
        let setup = setup(Resilience::tolerating(1).unwrap());
        let nodes = setup.nodes;
        let setup = Setup { byzantine: 1, conditions, spares: nodes, ..setup };
        change_nodes(
            seed,
            setup,
            vec![(nodes..2 * nodes).collect(), (nodes / 2..nodes + nodes / 2).collect()],
        )
    });
}

/// A put that broke off leaves a shard or two, of which nobody can make the others: whoever is to take over does not wait for them.
#[test]
fn a_blob_that_was_never_stored_holds_up_no_hand_over() {
    while_nodes_change(272).unwrap();
}

fn while_nodes_change(seed: u64) -> Result<Tally, String> {
    let setup = Setup { spares: 2, ..Setup::draw(&mut Dice::new(seed), setup) };
    let nodes = setup.nodes;
    change_nodes(
        seed,
        setup,
        vec![(0..=nodes).collect(), (1..nodes + 2).filter(|at| *at != nodes / 2).collect()],
    )
}

fn change_nodes(seed: u64, setup: Setup, plan: Vec<Vec<usize>>) -> Result<Tally, String> {
    let mut run = Run::new(seed, setup);
    run.change(plan);
    run.storm()?;
    run.calm()?;
    run.check()
}

/// With one malicious node too many, the guarantees end: the log's own check notices, and some readers do by themselves.
#[test]
fn beyond_k() {
    let (mut broken, mut refused) = (false, false);
    for seed in 0..50 {
        let conditions = Conditions { delay: 1..=200, lost_permille: 100, ..Conditions::calm() };
        let setup = Setup {
            byzantine: 2,
            misdeeds: vec![Misdeed::YesMan],
            conditions,
            ..setup(Resilience::tolerating(1).unwrap())
        };
        let mut run = Run::new(seed, setup);
        run.storm().unwrap();
        broken |= matches!(run.verdict(), Verdict::Broken(_));
        refused |= matches!(run.verdict(), Verdict::Refused(_));
        if broken && refused {
            return;
        }
    }
    panic!("the check cannot fail: {broken}, {refused}");
}

/// The same seed gives the same run, to the last byte of the last message.
#[test]
fn a_seed_replays() {
    let trace = |seed| {
        let mut run = Run::new(seed, Setup::draw(&mut Dice::new(seed), setup));
        run.storm().unwrap();
        run.simulation.trace()
    };
    assert_eq!(trace(5), trace(5));
    assert_ne!(trace(5), trace(6));
}

/// The device loses its power at any millisecond: what it left is finished or taken back, whatever there is of it.
#[test]
fn a_crash_at_any_moment() {
    let mut left_behind = 0;
    for moment in (0..160).step_by(4) {
        let mut run = Run::new(moment, setup(Resilience::tolerating(1).unwrap()));
        let mut device = run.device.lock().unwrap().take().unwrap();
        let back = run.device.clone();
        run.simulation.spawn(async move {
            device.loses_power_after(moment).await;
            device.finishes().await;
            back.lock().unwrap().replace(device);
        });
        run.simulation.run().unwrap();
        run.follow(READER, Keyring::All, 1);
        run.simulation.run().unwrap();
        run.check().unwrap();
        left_behind += run.book.notes().left_behind;
    }
    assert!(left_behind > 0, "no crash came between a segment and its head");
}

fn must<T, E: Display>(what: &str, outcome: Result<T, E>) -> Result<T, String> {
    outcome.map_err(|error| format!("{what}: {error}"))
}

fn setup(resilience: Resilience) -> Setup {
    Setup::new(resilience, [OWNER, READER, FORMER].map(|seed| identity(seed).party()), validators())
}

struct Run {
    simulation: Simulation,
    book: Book,
    /// The one device of the feed, between its tasks: its clock does not go back.
    device: Arc<Mutex<Option<Device>>>,
    roster: Option<Roster>,
}

impl Run {
    fn new(seed: u64, setup: Setup) -> Self {
        let (mut simulation, book) = (Simulation::new(seed, setup), Book::default());
        let (client, host) = simulation.participant(Arc::new(identity(OWNER)));
        let mut dice = simulation.dice();
        let rng = SeedRng::new(dice.number());
        let device = Device::new(client, host, dice, rng, book.clone());
        Self { simulation, book, device: Arc::new(Mutex::new(Some(device))), roster: None }
    }

    /// Has the nodes changed, one change after the other.
    fn change(&mut self, plan: Vec<Vec<usize>>) {
        let roster = self.simulation.roster();
        let (_, host) = self.simulation.participant(Arc::new(identity(READER)));
        if let Some(device) = &mut *self.device.lock().unwrap() {
            device.roster = Some(roster.clone());
        }
        let dice = self.simulation.dice();
        self.simulation.spawn(direct(plan, roster.clone(), host, dice, self.book.clone()));
        self.roster = Some(roster);
    }

    /// Somebody follows the feed, for so many sessions.
    fn follow(&mut self, seed: u64, keys: Keyring, sessions: usize) {
        let (client, host) = self.simulation.participant(Arc::new(identity(seed)));
        let mut dice = self.simulation.dice();
        // Whoever has a timer asks few nodes for a blob, and others when they are late.
        let client = if dice.permille(500) { client.with_timer(Arc::new(host.clone())) } else { client };
        let follower = Follower::new(client, host, dice, keys, self.book.clone(), self.roster.clone());
        self.simulation.spawn(follower.works(sessions));
    }

    fn storm(&mut self) -> Result<(), String> {
        let Some(mut device) = self.device.lock().unwrap().take() else { return Err("no device".into()) };
        let back = self.device.clone();
        self.simulation.spawn(async move {
            device.lives(4).await;
            back.lock().unwrap().replace(device);
        });
        self.follow(READER, Keyring::All, 3);
        self.follow(READER, Keyring::All, 3);
        self.follow(FORMER, Keyring::First, 3);
        self.follow(FORMER, Keyring::FirstForAll, 3);
        must("storm", self.simulation.run())
    }

    /// Afterwards, with all honest nodes up, everything succeeds, and the whole log is there.
    fn calm(&mut self) -> Result<(), String> {
        self.simulation.calm();
        let Some(mut device) = self.device.lock().unwrap().take() else { return Err("no device".into()) };
        let back = self.device.clone();
        self.simulation.spawn(async move {
            device.finishes().await;
            back.lock().unwrap().replace(device);
        });
        must("calm", self.simulation.run())?;
        let (client, host) = self.simulation.participant(Arc::new(identity(READER)));
        let (dice, roster) = (self.simulation.dice(), self.roster.clone());
        let mut auditor = Follower::new(client, host, dice, Keyring::All, self.book.clone(), roster);
        self.simulation.spawn(async move { auditor.audits().await });
        must("calm", self.simulation.run())
    }

    fn verdict(&self) -> Verdict {
        self.book.verdict()
    }

    fn check(&self) -> Result<Tally, String> {
        match self.verdict() {
            Verdict::Sound => {}
            Verdict::Broken(wrong) | Verdict::Refused(wrong) => return Err(wrong),
        }
        must("stores", self.simulation.verify_stores())?;
        Ok(Tally::from(&*self.book.recorder.history()))
    }
}

async fn direct(plan: Vec<Vec<usize>>, roster: Roster, host: Host, mut dice: Dice, book: Book) {
    for nodes in plan {
        let pause = dice.within(200..=3000);
        host.sleep(Duration::from_millis(pause)).await;
        roster.change(nodes);
        if let Err(said) = roster.settles(&host).await {
            book.broken(said);
            break;
        }
    }
    roster.close();
}
