//! A network in one thread and in simulated time, which a seed determines wholly: the real [`Client`] and [`Replica`], over messages that
//! are delayed, lost, doubled and overtaken, machines that crash in the middle of a write, clocks that differ, and nodes that lie.
//!
//! ```text
//!   task (a workload) ── Client ── Host: Transport ──▶ World: events by time ──▶ Machine ── Replica ── Disk
//!        ▲                                                 │                       └─ Villain (the catalogue of misdeeds)
//!        └────────── Executor: polls whoever was woken ◀───┘
//!   task ── Recorder ──▶ History ── check(): is there an order in which one register could have answered so?
//! ```
//!
//! A workload is any number of tasks, each with a [`Client`] and a [`Host`] (its clock). It records what it does in a [`History`], and asks
//! at the end whether the answers are those of one register. A seed that fails fails again, every time and on every machine.
//!
//! # Invariant
//! Nothing in here, and nothing that tasks do, MUST depend on anything but the seed: no wall clock, no other thread, no hash order.
//!
//! # Example
//!
//! ```
//! # use std::sync::{Arc, Mutex};
//! # use dt_dht::testing::simulator::{Conditions, Dice, Setup, Simulation};
//! # use dt_dht::{OwnedRecords, Resilience};
//! # use dt_model::{Signed, Signer, testing::identity};
//! let owner = Arc::new(identity(1));
//! let setup = Setup {
//!     conditions: Conditions::draw(&mut Dice::new(7)),
//!     byzantine: 1,
//!     ..Setup::new(Resilience::tolerating(1)?, [owner.party()], vec![Arc::new(OwnedRecords)])
//! };
//! let mut simulation = Simulation::new(7, setup);
//! let (client, host) = simulation.participant(owner.clone());
//! let record = OwnedRecords::record(owner.party(), "name".parse()?, 1, &b"value"[..]);
//! let record = Signed::new(record, &*owner)?;
//! simulation.spawn(async move {
//!     while client.put(&record, host.now()).await.is_err() {}
//! });
//! simulation.run()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![expect(clippy::expect_used, reason = "a test's set-up reports by panicking")]

mod byzantine;
mod conditions;
mod dice;
mod disk;
mod executor;
mod history;
mod malice;
mod network;
mod node;
mod roster;
mod seeds;

use core::future::Future;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dt_model::testing::{SeedRng, identity};
use dt_model::{Digest, Identity, PartyId, Signed, Signer};
use thiserror::Error;

use self::byzantine::Means;
use self::executor::Executor;
use self::network::{Event, World};
use self::node::Machine;
use crate::{Client, Membership, Node, Record, Replica, Resilience, StoreDamage, Validator, verify_store};

pub use self::byzantine::{MISDEEDS, Misdeed};
pub use self::conditions::Conditions;
pub use self::dice::Dice;
pub use self::disk::{Disk, Durability};
pub use self::history::{History, Operation, OperationId, Recorder, Seen, Violation};
pub use self::malice::Malice;
pub use self::network::Host;
pub use self::roster::Roster;
pub use self::seeds::{Tally, for_seeds};

/// What a simulation starts with.
pub struct Setup {
    /// How many replicas an address has, and how many of them may be malicious.
    pub resilience: Resilience,
    /// How many nodes there are, of which every address has its replicas.
    pub nodes: usize,
    /// How many machines there are besides, which may become nodes: see [`Simulation::roster`].
    pub spares: usize,
    /// Who else is registered.
    pub parties: BTreeSet<PartyId>,
    /// What the replicas judge by.
    pub validators: Vec<Arc<dyn Validator>>,
    /// What messages and machines go through.
    pub conditions: Conditions,
    /// How many nodes are malicious. More than the resilience allows break the guarantees, and [`History::check`] then says so.
    pub byzantine: usize,
    /// What malicious nodes do; one of these at a time.
    pub misdeeds: Vec<Misdeed>,
    /// Records that an accomplice among the writers has signed, for [`Misdeed::Phantoms`].
    pub phantoms: Vec<Signed<Record>>,
    /// When the nodes' disks have what was written.
    pub durability: Durability,
}

impl Setup {
    /// As many nodes as replicas, all honest, in calm conditions.
    pub fn new(
        resilience: Resilience,
        parties: impl IntoIterator<Item = PartyId>,
        validators: Vec<Arc<dyn Validator>>,
    ) -> Self {
        Self {
            resilience,
            nodes: resilience.replicas(),
            spares: 0,
            parties: parties.into_iter().collect(),
            validators,
            conditions: Conditions::calm(),
            byzantine: 0,
            misdeeds: MISDEEDS.to_vec(),
            phantoms: Vec::new(),
            durability: Durability::OnReturn,
        }
    }
}

/// Tasks were still waiting after all the time that a simulation is given: somebody waits for ever.
#[derive(Debug, Error, PartialEq, Eq, Clone, Copy)]
#[error("tasks wait for ever")]
pub struct Stuck;

/// A whole network, from a seed.
pub struct Simulation {
    world: Arc<Mutex<World>>,
    executor: Executor,
    machines: Vec<Machine>,
    membership: Membership,
    misdeeds: Vec<Misdeed>,
    seeds: Dice,
}

/// The seeds of the nodes' identities start here, away from those that tests use for parties.
const NODE_SEEDS: u64 = 1 << 32;
/// How long a simulation may last, in simulated milliseconds.
const LONGEST_MILLIS: u64 = 24 * 3_600_000;

impl Simulation {
    /// The network of `setup`. The first nodes are the malicious ones; spare machines mean well.
    ///
    /// # Panics
    /// If there are fewer nodes than replicas.
    #[must_use]
    pub fn new(seed: u64, setup: Setup) -> Self {
        // All who sign are in this thread, and it would do little else than verify.
        dt_model::testing::trust_own_signatures();
        let mut seeds = Dice::new(seed);
        let nodes: Vec<Arc<Identity>> =
            (NODE_SEEDS..).take(setup.nodes + setup.spares).map(|seed| Arc::new(identity(seed))).collect();
        let registered =
            nodes.iter().take(setup.nodes).map(|node| Node { party: node.party(), endpoints: Vec::new() });
        let membership = Membership::new(
            Digest::from([0x73; 32]),
            1,
            setup.resilience,
            registered.collect(),
            setup.parties,
        )
        .expect("as many nodes as replicas");
        let is_troubled = setup.conditions.trouble.is_some();
        let world = Arc::new(Mutex::new(World::new(setup.conditions, seeds.fork())));
        let (validators, phantoms) = (setup.validators, setup.phantoms.into());
        let machines = nodes.iter().map(|node| {
            let means = Means {
                signer: node.clone(),
                membership: membership.clone(),
                validators: validators.clone(),
                phantoms: Arc::clone(&phantoms),
            };
            Machine::new(means, Disk::new(setup.durability), Host::new(node.party(), world.clone()))
        });
        let mut simulation = Self {
            machines: machines.collect(),
            world,
            executor: Executor::default(),
            membership,
            misdeeds: setup.misdeeds,
            seeds,
        };
        (0..setup.byzantine).for_each(|at| simulation.turn(at));
        if is_troubled {
            simulation.world().schedule(1, Event::Trouble);
        }
        simulation
    }

    /// Who takes part.
    #[must_use]
    pub const fn membership(&self) -> &Membership {
        &self.membership
    }

    /// A client of `signer`, and his clock.
    pub fn participant(&mut self, signer: Arc<dyn Signer>) -> (Client, Host) {
        let host = Host::new(signer.party(), self.world.clone());
        let rng = SeedRng::new(self.seeds.number());
        (Client::new(signer, Arc::new(host.clone()), self.membership.clone(), rng), host)
    }

    /// A ledger by which nodes change: machines, numbered from 0, follow it from now on, and each runs its upkeep until it is closed.
    pub fn roster(&mut self) -> Roster {
        let machines = self.machines.iter().map(Machine::party).collect();
        let roster = Roster::new(self.membership.clone(), machines);
        for machine in &self.machines {
            let keeper = roster::keep(machine.seat(), machine.host(), roster.clone(), self.seeds.fork());
            self.executor.spawn(keeper);
        }
        roster
    }

    /// A source of choices for a task.
    pub fn dice(&mut self) -> Dice {
        self.seeds.fork()
    }

    /// Adds a task.
    pub fn spawn(&mut self, task: impl Future<Output = ()> + 'static) {
        self.executor.spawn(task);
    }

    /// Runs until every task is done.
    ///
    /// # Errors
    /// [`Stuck`] if one never is.
    pub fn run(&mut self) -> Result<(), Stuck> {
        let end = self.world().now() + LONGEST_MILLIS;
        loop {
            self.executor.run_ready();
            self.find_crashed();
            if self.executor.is_idle() {
                return Ok(());
            }
            let event = {
                let world = &mut *self.world();
                world.next().filter(|_| world.now() < end)
            };
            self.happen(event.ok_or(Stuck)?);
        }
    }

    /// Ends all trouble: the network is whole and fast, and every machine runs. The malicious stay malicious.
    pub fn calm(&mut self) {
        let world = &mut *self.world.lock().unwrap_or_else(PoisonError::into_inner);
        world.change(Conditions { skew: world.conditions.skew, ..Conditions::calm() });
        self.machines.iter_mut().for_each(Machine::start);
    }

    /// A digest of everything that has happened: the same seed and workload give the same.
    #[must_use]
    pub fn trace(&self) -> Digest {
        self.world().trace()
    }

    /// The honest nodes' replicas.
    pub fn honest(&self) -> impl Iterator<Item = Arc<Replica>> {
        self.machines.iter().filter(|machine| machine.is_honest()).map(Machine::replica)
    }

    /// Checks every honest node's store from disk.
    ///
    /// # Errors
    /// [`StoreDamage`]: the first that is found.
    pub fn verify_stores(&self) -> Result<(), StoreDamage> {
        self.honest().try_for_each(|replica| verify_store(&**replica.store()).map(drop))
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Those whose own upkeep met a power cut are down from then on.
    fn find_crashed(&mut self) {
        let crashed = |machine: &&mut Machine| machine.is_up() && machine.disk().is_off();
        let nodes: Vec<_> = self.machines.iter_mut().filter(crashed).map(|machine| machine.crash()).collect();
        nodes.into_iter().for_each(|node| self.start_later(node));
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Request { from, node, bytes, reply } if self.world().reaches(&from, &node) => {
                let Some(machine) = self.machines.iter_mut().find(|machine| machine.party() == node) else {
                    return;
                };
                let was_up = machine.is_up();
                let answer = machine.serve(&bytes);
                let crashed = was_up && !machine.is_up();
                if let Some(answer) = answer {
                    self.world().send_back(from, node, answer, reply);
                }
                if crashed {
                    self.start_later(node);
                }
            }
            Event::Reply { to, node, bytes, reply } if self.world().reaches(&to, &node) => {
                reply.set(Ok(bytes))
            }
            Event::Request { .. } | Event::Reply { .. } => {}
            Event::TimeOut { node, reply } => reply.set(Err(crate::TransportError::TimedOut(node))),
            Event::Wake(slot) => slot.set(()),
            Event::Trouble => self.trouble(),
            Event::Start(node) => {
                let down = |machine: &&mut Machine| machine.party() == node && !machine.is_up();
                if let Some(machine) = self.machines.iter_mut().find(down) {
                    machine.start();
                }
            }
            Event::Rejoin => self.world().island.clear(),
        }
    }

    /// One trouble, and the next one later.
    fn trouble(&mut self) {
        let Some(pause) = self.world().conditions.trouble.clone() else { return };
        let at = self.seeds.below(self.machines.len());
        match self.seeds.below(8) {
            0 | 1 if self.machines[at].is_up() => {
                let node = self.machines[at].crash();
                self.start_later(node);
            }
            2 | 3 => {
                let (after, written) = (self.seeds.within(0..=2), self.seeds.permille(500));
                self.machines[at].disk().cut_power_at(after, written);
            }
            4 => self.split(),
            5 | 6 => {
                if let Some(at) = (0..self.machines.len())
                    .cycle()
                    .skip(at)
                    .take(self.machines.len())
                    .find(|at| !self.machines[*at].is_honest())
                {
                    self.turn(at);
                }
            }
            _ => {}
        }
        let pause = self.seeds.within(pause);
        self.world().schedule(pause, Event::Trouble);
    }

    /// Cuts some participants off from the others, for a while.
    fn split(&mut self) {
        let everybody = self
            .membership
            .nodes()
            .iter()
            .map(|node| node.party)
            .chain(self.membership.parties().iter().copied());
        let island = everybody.filter(|_| self.seeds.permille(300)).collect();
        let world = &mut *self.world.lock().unwrap_or_else(PoisonError::into_inner);
        world.island = island;
        let outage = self.seeds.within(world.conditions.outage.clone());
        world.schedule(outage, Event::Rejoin);
    }

    fn start_later(&mut self, node: PartyId) {
        let world = &mut *self.world.lock().unwrap_or_else(PoisonError::into_inner);
        let outage = self.seeds.within(world.conditions.outage.clone());
        world.schedule(outage, Event::Start(node));
    }

    /// Gives a malicious node its next misdeed.
    fn turn(&mut self, at: usize) {
        let misdeed = *self.seeds.choose(&self.misdeeds);
        let dice = self.seeds.fork();
        self.machines[at].turn(misdeed, dice);
    }
}
