//! The run itself: nodes, the messages between them, and the order in which things happen.

use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use dt_model::{Digest, Timestamp};

use super::checks::{Checks, Failure, Violation};
use super::dice::Dice;
use super::faults::spoil;
use super::node::Node;
use super::plan::{Happening, Links, plan};
use super::prototype::{Action, Event, Make, Seat, Stop};
use super::scenario::{Scenario, Weather};
use super::trace::Trace;
use super::watch::Doubled;
use super::workload::{self, Submission};
use crate::testing::Fixture;
use crate::{MemoryStore, audit};

/// What a simulation that found no violation can tell.
#[derive(Debug)]
pub struct Report {
    /// A digest over all that happened, in order. Two runs that differ in anything differ here.
    pub trace: Digest,
    /// How many things happened.
    pub events: u64,
    /// How long it took, in the nodes' time, until everything was committed everywhere.
    pub time: Duration,
    /// The round in which each height was decided, from height 1 on.
    pub rounds: Vec<u32>,
    /// How many crashes there were.
    pub crashes: u32,
    /// Which nodes were the faulty ones, in the order of [`Scenario::faulty`].
    pub faulty: Vec<usize>,
    /// The faulty nodes that stopped, and why.
    pub stopped: BTreeMap<usize, Stop>,
}

/// More events than this are a prototype that never comes to rest.
const MAX_EVENTS: u64 = 2_000_000;
/// How far the nodes' clocks are apart at most.
const CLOCK_SKEW: Duration = Duration::from_millis(40);

/// Runs the prototype that `make` makes through `scenario`, with chance as `seed` has it.
///
/// While it runs, it is checked that no two honest nodes commit different blocks or come to different states, that no transaction is
/// committed twice or without having been submitted, and that no honest node votes twice or stops. In the end everything that was
/// submitted must be committed on every honest node in time, and one honest node is audited.
///
/// # Errors
/// [`Failure`], which tells the seed, the violation and what happened last.
///
/// # Panics
/// If there are more faulty nodes than nodes, or no nodes.
pub fn simulate(seed: u64, scenario: &Scenario, make: Make<'_>) -> Result<Report, Failure> {
    let mut simulation = Simulation::new(seed, scenario, make);
    match simulation.run() {
        Ok(()) => Ok(simulation.report()),
        Err(violation) => {
            let (at, last) = (simulation.now, simulation.trace.told());
            Err(Failure { seed, at, violation: Box::new(violation), last })
        }
    }
}

struct Simulation<'a> {
    scenario: &'a Scenario,
    make: Make<'a>,
    seed: u64,
    dice: Dice,
    /// When the chain begins.
    beginning: Timestamp,
    now: Duration,
    queue: BTreeMap<(Duration, u64), Happening>,
    scheduled: u64,
    nodes: Vec<Node>,
    cut: Links,
    calm: bool,
    submissions: Vec<Submission>,
    checks: Checks,
    trace: Trace,
    events: u64,
    crashes: u32,
    stopped: BTreeMap<usize, Stop>,
}

impl<'a> Simulation<'a> {
    fn new(seed: u64, scenario: &'a Scenario, make: Make<'a>) -> Self {
        assert!(
            scenario.nodes > 0 && scenario.faulty.len() <= scenario.nodes,
            "a scenario of this many nodes"
        );
        let chain = Fixture::new(Arc::new(MemoryStore::default()), 2, scenario.nodes as u64);
        let mut dice = Dice::new(seed, 0);
        let faulty = dice.choose(scenario.faulty.len(), scenario.nodes);
        let nodes = (0..scenario.nodes).map(|number| {
            let fault = faulty.iter().position(|faulty| *faulty == number);
            Node::new(&chain, number, fault, scenario, dice.between((Duration::ZERO, CLOCK_SKEW)))
        });
        let nodes = nodes.collect();
        let submissions = workload::transactions(scenario, &chain);
        let mut simulation = Self {
            scenario,
            make,
            seed,
            beginning: chain.replica().genesis().time,
            now: Duration::ZERO,
            queue: BTreeMap::new(),
            scheduled: 0,
            nodes,
            cut: Links::new(),
            calm: false,
            checks: Checks::expecting(submissions.iter().map(|(digest, _)| *digest)),
            submissions,
            trace: Trace::default(),
            events: 0,
            crashes: 0,
            stopped: BTreeMap::new(),
            dice,
        };
        let rubbish = workload::inadmissible(&chain, &mut simulation.dice);
        let offered = simulation.submissions.iter().map(|(_, bytes)| bytes.clone()).chain(rubbish).collect();
        let honest: Vec<usize> =
            (0..scenario.nodes).filter(|&node| simulation.nodes[node].fault.is_none()).collect();
        for (time, happening) in plan(scenario, &honest, offered, &mut simulation.dice) {
            simulation.at(time, happening);
        }
        simulation
    }

    fn at(&mut self, time: Duration, happening: Happening) {
        self.scheduled += 1;
        self.queue.insert((time, self.scheduled), happening);
    }

    fn run(&mut self) -> Result<(), Violation> {
        let end = self.scenario.unrest + self.scenario.patience;
        while let Some(((time, _), happening)) = self.queue.pop_first() {
            if time > end {
                break;
            }
            self.now = time;
            self.events += 1;
            if self.events > MAX_EVENTS {
                return Err(Violation::Runaway { events: self.events });
            }
            self.happen(happening)?;
            if self.calm && self.is_complete() {
                return self.audit();
            }
        }
        let heights = self.nodes.iter().map(|node| node.replica.tip().height).collect();
        Err(Violation::Stalled { missing: self.checks.missing(), heights })
    }

    fn happen(&mut self, happening: Happening) -> Result<(), Violation> {
        match happening {
            Happening::Tell { node, life, event } => {
                if life.is_none_or(|life| life == self.nodes[node].life) {
                    self.tell(node, event)?;
                }
            }
            Happening::Crash { node, away } => {
                if !self.calm {
                    self.nodes[node].dying = Some(away);
                }
            }
            Happening::Restart { node } => self.restart(node)?,
            Happening::Cut(cut) => {
                let ways = cut.iter().flat_map(|&(from, to)| [from as u8, to as u8]).collect::<Vec<_>>();
                self.note(None, if cut.is_empty() { "is whole" } else { "is cut" }, &ways);
                self.cut = cut;
            }
            Happening::Calm => {
                self.note(None, "calm", b"");
                self.calm = true;
                self.cut.clear();
                for node in 0..self.nodes.len() {
                    self.nodes[node].dying = None;
                    self.restart(node)?;
                }
                // What was lost with a node that crashed is handed in again, to all.
                let lost = self.submissions.iter().filter(|(digest, _)| self.checks.awaits(digest));
                for (_, bytes) in lost.cloned().collect::<Vec<_>>() {
                    for node in 0..self.nodes.len() {
                        self.tell(node, Event::Submitted(bytes.clone()))?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Starts a node that is down; one that runs or has stopped stays as it is.
    fn restart(&mut self, number: usize) -> Result<(), Violation> {
        let node = &mut self.nodes[number];
        if node.engine.is_some() || self.stopped.contains_key(&number) {
            return Ok(());
        }
        node.replica = Arc::new(node.open()?);
        let seat = Seat {
            node: number,
            nodes: self.scenario.nodes,
            signer: Arc::clone(&node.signer),
            replica: Arc::clone(&node.replica),
            kept: node.kept.clone(),
        };
        let engine = match node.fault.and_then(|fault| self.scenario.faulty.get(fault)) {
            None => (self.make)(seat),
            Some(fault) => {
                let mut dice = Dice::new(self.seed, 1 + number as u64);
                let death = dice.between((Duration::ZERO, self.scenario.unrest));
                spoil(fault, seat, self.make, dice, self.beginning.saturating_add(death))
            }
        };
        node.engine = Some(engine);
        self.tell(number, Event::Start)
    }

    /// Tells a node, does what it does, and looks what has come of it.
    fn tell(&mut self, number: usize, event: Event) -> Result<(), Violation> {
        let node = &mut self.nodes[number];
        let Some(engine) = &mut node.engine else { return Ok(()) };
        let now = self.beginning.saturating_add(self.now + node.skew);
        let handled = engine.handle(now, event.clone());
        let (life, dying) = (node.life, node.dying.take());
        self.note_event(number, &event);
        let mut actions = match handled {
            Ok(actions) => actions,
            Err(reason) => {
                self.nodes[number].engine = None;
                self.note(Some(number), "stops", b"");
                if self.nodes[number].fault.is_none() {
                    return Err(Violation::Stopped { node: number, reason });
                }
                self.stopped.insert(number, reason);
                return Ok(());
            }
        };
        if dying.is_some() {
            actions.truncate(self.dice.place(actions.len() + 1));
        }
        for action in actions {
            self.act(number, life, action)?;
        }
        if let Some(away) = dying {
            self.crash(number, away);
        }
        self.compare(number)
    }

    fn crash(&mut self, number: usize, away: Duration) {
        self.note(Some(number), "crashes", b"");
        self.crashes += 1;
        self.nodes[number].engine = None;
        self.nodes[number].life += 1;
        self.at(self.now + away, Happening::Restart { node: number });
    }

    fn act(&mut self, from: usize, life: u32, action: Action) -> Result<(), Violation> {
        match action {
            Action::Keep(bytes) => {
                self.note(Some(from), "keeps", &bytes);
                self.nodes[from].kept = Some(bytes);
            }
            Action::Send { to, bytes } => {
                self.note(Some(from), "sends", &bytes);
                self.watch(from, &bytes)?;
                self.carry(from, to, bytes);
            }
            Action::Broadcast(bytes) => {
                self.note(Some(from), "broadcasts", &bytes);
                self.watch(from, &bytes)?;
                for to in 0..self.nodes.len() {
                    self.carry(from, to, bytes.clone());
                }
            }
            Action::Wake { after, timer } => {
                let happening = Happening::Tell { node: from, life: Some(life), event: Event::Timer(timer) };
                self.at(self.now + after, happening);
            }
        }
        Ok(())
    }

    fn watch(&self, node: usize, bytes: &[u8]) -> Result<(), Violation> {
        let Some(watched) = &self.nodes[node].watched else { return Ok(()) };
        watched.sends(bytes).map_err(|Doubled { height, round }| Violation::VotedTwice {
            node,
            height,
            round,
        })
    }

    /// Puts a message on its way, if it finds one.
    fn carry(&mut self, from: usize, to: usize, bytes: Bytes) {
        if from == to || to >= self.nodes.len() {
            return;
        }
        let weather = if self.calm { Weather::FAIR } else { self.scenario.weather.clone() };
        let lost = self.dice.happens(weather.lost);
        let copies = 1 + u8::from(self.dice.happens(weather.doubled));
        if lost || self.cut.contains(&(from, to)) {
            return;
        }
        for _ in 0..copies {
            let at = self.now + self.dice.between(weather.delay);
            let event = Event::Message { from, bytes: bytes.clone() };
            self.at(at, Happening::Tell { node: to, life: None, event });
        }
    }

    fn compare(&mut self, number: usize) -> Result<(), Violation> {
        let node = &self.nodes[number];
        let (before, tip) = (node.compared, node.replica.tip());
        if node.fault.is_some() || tip.height == before {
            return Ok(());
        }
        self.note(Some(number), &format!("is at height {} with block", tip.height), tip.block.as_ref());
        let node = &mut self.nodes[number];
        node.compared = self.checks.compare(number, &node.replica, before)?;
        Ok(())
    }

    fn is_complete(&self) -> bool {
        let honest = self.nodes.iter().filter(|node| node.fault.is_none());
        honest.map(|node| node.compared).all(|height| self.checks.is_complete_at(height))
    }

    fn audit(&self) -> Result<(), Violation> {
        let honest = self.nodes.iter().enumerate().find(|(_, node)| node.fault.is_none());
        let Some((number, node)) = honest else { return Ok(()) };
        audit(&*node.store, node.replica.genesis(), &mut |_| {})
            .map_err(|error| Violation::Audit { node: number, error })?;
        Ok(())
    }

    fn note_event(&mut self, node: usize, event: &Event) {
        match event {
            Event::Start => self.note(Some(node), "starts", b""),
            Event::Message { from, bytes } => {
                self.note(Some(node), &format!("hears from node {from}"), bytes)
            }
            Event::Timer(timer) => self.note(Some(node), "wakes", timer),
            Event::Submitted(bytes) => self.note(Some(node), "is handed", bytes),
        }
    }

    fn note(&mut self, who: Option<usize>, what: &str, bytes: &[u8]) {
        self.trace.note(self.now, who, what, bytes);
    }

    fn report(self) -> Report {
        let mut faulty = vec![0; self.scenario.faulty.len()];
        for (number, node) in self.nodes.iter().enumerate() {
            if let Some(fault) = node.fault {
                faulty[fault] = number;
            }
        }
        Report {
            trace: self.trace.digest(),
            events: self.events,
            time: self.now,
            rounds: self.checks.rounds(),
            crashes: self.crashes,
            faulty,
            stopped: self.stopped,
        }
    }
}
