//! The run itself: nodes, the messages between them, and the order in which things happen.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use dt_model::{Digest, Domain, Signer, Timestamp};

use super::checks::{Checks, Failure, Violation};
use super::dice::Dice;
use super::faults::{Altering, spoil};
use super::prototype::{Action, Event, Make, Prototype, Seat, Stop};
use super::scenario::{Fault, Scenario, Weather};
use super::watch::{Doubled, Watched};
use super::workload::{self, Submission};
use crate::testing::Fixture;
use crate::{LedgerStore, MemoryStore, Replica, audit};

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
/// How many of the last events a failure tells.
const TOLD: usize = 60;
/// How far the nodes' clocks are apart at most.
const CLOCK_SKEW: Duration = Duration::from_millis(40);

/// How long the network is cut at most: several rounds of a protocol.
const LONGEST_CUT: Duration = Duration::from_millis(1200);
/// How long a node that crashed is away at most: less than a round, or many heights.
const SHORT_ABSENCE: Duration = Duration::from_millis(100);
const LONG_ABSENCE: Duration = Duration::from_millis(2000);

const TRACE: Domain = Domain::new("dt/ledger/simulation/v1");

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
            let last = simulation.last.iter().map(|(at, node, what)| {
                let who = node.map_or("network".to_owned(), |node| format!("node {node}"));
                format!("{:>6} ms  {who:<8} {what}", at.as_millis())
            });
            let last = last.collect();
            Err(Failure { seed, at: simulation.now, violation: Box::new(violation), last })
        }
    }
}

/// A thing that is to happen.
#[derive(Debug)]
enum Happening {
    /// A node is told something. What was meant for an earlier life of it is lost.
    Tell {
        node: usize,
        life: Option<u32>,
        event: Event,
    },
    /// A node is to crash in the midst of what it does next, and to come back after so long.
    Crash {
        node: usize,
        away: Duration,
    },
    Restart {
        node: usize,
    },
    /// From now on these nodes are not heard by those, the first not by the second.
    Cut(Links),
    Calm,
}

/// Ways from one node to another.
type Links = BTreeSet<(usize, usize)>;

struct Node {
    signer: Arc<dyn Signer>,
    /// Of the honest ones.
    watched: Option<Arc<Watched>>,
    /// Of the faulty ones: which of the scenario's faults it has.
    fault: Option<usize>,
    store: Arc<dyn LedgerStore>,
    replica: Arc<Replica>,
    /// `None` while it is down, and when it has stopped.
    engine: Option<Box<dyn Prototype>>,
    kept: Option<Bytes>,
    /// How often it has crashed.
    life: u32,
    dying: Option<Duration>,
    skew: Duration,
    /// The height up to which it was compared with the others.
    compared: u64,
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
    trace: Digest,
    events: u64,
    crashes: u32,
    last: VecDeque<(Duration, Option<usize>, String)>,
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
            trace: Digest::ZERO,
            events: 0,
            crashes: 0,
            last: VecDeque::new(),
            stopped: BTreeMap::new(),
            dice,
        };
        let rubbish = workload::inadmissible(&chain, &mut simulation.dice);
        simulation.plan(rubbish);
        simulation
    }

    /// Decides beforehand what the unrest brings.
    fn plan(&mut self, rubbish: Vec<Bytes>) {
        let unrest = self.scenario.unrest;
        self.at(unrest, Happening::Calm);
        for node in 0..self.nodes.len() {
            self.at(Duration::ZERO, Happening::Restart { node });
        }
        let good = self.submissions.iter().map(|(_, bytes)| bytes.clone());
        for bytes in good.chain(rubbish).collect::<Vec<_>>() {
            for _ in 0..2 {
                let (node, at) =
                    (self.dice.place(self.nodes.len()), self.dice.between((Duration::ZERO, unrest)));
                let event = Event::Submitted(bytes.clone());
                self.at(at, Happening::Tell { node, life: None, event });
            }
        }
        for _ in 0..self.scenario.weather.partitions {
            let start = self.dice.between((Duration::ZERO, unrest));
            let end = start + self.dice.between((Duration::ZERO, LONGEST_CUT));
            let cut = self.cut_links();
            self.at(start, Happening::Cut(cut));
            self.at(end, Happening::Cut(Links::new()));
        }
        let honest = (0..self.nodes.len()).filter(|&node| self.nodes[node].fault.is_none());
        for node in honest.collect::<Vec<_>>() {
            for _ in 0..self.dice.below(1 + u64::from(self.scenario.weather.crashes)) {
                let at = self.dice.between((Duration::ZERO, unrest));
                // Some come back while the others still wait for their vote, some when much has happened.
                let longest = if self.dice.happens(500) { SHORT_ABSENCE } else { LONG_ABSENCE };
                let away = self.dice.between((Duration::ZERO, longest));
                self.at(at, Happening::Crash { node, away });
            }
        }
    }

    /// A partition, or one in which one side still hears the other, or any half of all ways.
    fn cut_links(&mut self) -> Links {
        let nodes = self.nodes.len();
        let size = self.dice.place(nodes);
        let group = self.dice.choose(size, nodes);
        let (both_ways, any) = (self.dice.happens(500), self.dice.happens(500));
        let mut links = Links::new();
        for (from, to) in (0..nodes).flat_map(|from| (0..nodes).map(move |to| (from, to))) {
            let parted = match (group.contains(&from), group.contains(&to)) {
                (true, false) => true,
                (false, true) => both_ways,
                _ => false,
            };
            if if any { self.dice.happens(500) } else { parted } {
                links.insert((from, to));
            }
        }
        links
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

    /// Writes one more thing into the trace.
    fn note(&mut self, node: Option<usize>, what: &str, bytes: &[u8]) {
        let about = TRACE.sha256(&[bytes]);
        let (at, who) = (self.now.as_millis() as u64, node.map_or(u64::MAX, |node| node as u64));
        let parts =
            [self.trace.as_ref(), &at.to_be_bytes(), &who.to_be_bytes(), about.as_ref(), what.as_bytes()];
        self.trace = TRACE.sha256(&parts);
        if self.last.len() == TOLD {
            self.last.pop_front();
        }
        let what = if bytes.is_empty() { what.to_owned() } else { format!("{what} {}", about.short()) };
        self.last.push_back((self.now, node, what));
    }

    fn report(self) -> Report {
        let mut faulty = vec![0; self.scenario.faulty.len()];
        for (number, node) in self.nodes.iter().enumerate() {
            if let Some(fault) = node.fault {
                faulty[fault] = number;
            }
        }
        Report {
            trace: self.trace,
            events: self.events,
            time: self.now,
            rounds: self.checks.rounds(),
            crashes: self.crashes,
            faulty,
            stopped: self.stopped,
        }
    }
}

impl Node {
    fn new(
        chain: &Fixture,
        number: usize,
        fault: Option<usize>,
        scenario: &Scenario,
        skew: Duration,
    ) -> Self {
        let identity = chain.validator(number as u64);
        let memory = MemoryStore::default();
        let alters =
            fault.and_then(|fault| scenario.faulty.get(fault)).is_some_and(|f| matches!(f, Fault::Alters));
        let store: Arc<dyn LedgerStore> =
            if alters { Arc::new(Altering::new(memory)) } else { Arc::new(memory) };
        let replica =
            Replica::open(Arc::clone(&store), chain.replica().genesis()).expect("an empty store opens");
        let watched = Watched::new(identity);
        Self {
            signer: watched.clone(),
            watched: fault.is_none().then_some(watched),
            fault,
            store,
            replica: Arc::new(replica),
            engine: None,
            kept: None,
            life: 0,
            dying: None,
            skew,
            compared: 0,
        }
    }

    /// The replica as a restart finds it.
    fn open(&self) -> Result<Replica, Violation> {
        Replica::open(Arc::clone(&self.store), self.replica.genesis()).map_err(|error| match error {
            crate::OpenReplicaError::Store(error) => Violation::Store(error),
            error => panic!("a replica's own store opens again: {error}"),
        })
    }
}
