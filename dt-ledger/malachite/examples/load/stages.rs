//! Where the time of a transaction passes: what the nodes log of each block, with the moment of each line.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};

use tracing::{Event, Metadata, Subscriber};

/// What a proposer's node logs of its block, in this order, and what each node does.
const STAGES: [&str; 8] = ["round", "proposed", "sent", "received", "verified", "held", "decided", "block"];

/// Blocks that are shown stage by stage.
const SHOWN: usize = 6;

/// The moments of a height, on each node.
type Moments = BTreeMap<(&'static str, String), Instant>;

#[derive(Default)]
struct Lines {
    names: BTreeMap<u64, String>,
    heights: BTreeMap<u64, Moments>,
    /// Rounds after the first.
    later_rounds: u64,
}

/// Remembers when each node came how far.
#[derive(Default)]
pub(crate) struct Stages {
    lines: Mutex<Lines>,
    spans: AtomicU64,
}

/// Hands what it hears to a recorder that outlives it.
pub(crate) struct Listener(pub(crate) &'static Stages);

thread_local! {
    static INSIDE: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

#[derive(Default)]
struct Fields {
    message: String,
    name: String,
    height: u64,
    round: i64,
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        match field.name() {
            "message" => self.message = format!("{value:?}"),
            "name" => self.name = format!("{value:?}"),
            _ => {}
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        match field.name() {
            "height" => self.height = value,
            "round" => self.round = i64::try_from(value).unwrap(),
            _ => {}
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        if field.name() == "round" {
            self.round = value;
        }
    }
}

impl Subscriber for Listener {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("dt_ledger_malachite")
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut fields = Fields::default();
        span.record(&mut fields);
        let id = self.0.spans.fetch_add(1, Ordering::Relaxed) + 1;
        // What stands behind the number is the node's port.
        let name = fields.name.trim_matches('"').rsplit_once('-').map(|(name, _)| name.to_owned());
        self.0.lines.lock().unwrap().names.insert(id, name.unwrap_or_default());
        Id::from_u64(id)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let now = Instant::now();
        let mut fields = Fields::default();
        event.record(&mut fields);
        let Some(stage) = STAGES.into_iter().find(|stage| *stage == fields.message) else { return };
        let Some(node) = INSIDE.with_borrow(|inside| inside.last().copied()) else { return };
        let mut lines = self.0.lines.lock().unwrap();
        lines.later_rounds += u64::from(stage == "round" && fields.round > 0);
        let name = lines.names.get(&node).cloned().unwrap_or_default();
        lines.heights.entry(fields.height).or_default().entry((stage, name)).or_insert(now);
    }

    fn enter(&self, span: &Id) {
        INSIDE.with_borrow_mut(|inside| inside.push(span.into_u64()));
    }

    fn exit(&self, _: &Id) {
        INSIDE.with_borrow_mut(Vec::pop);
    }
}

/// A transaction's way: where it was handed in and followed, and when; and in which block it was.
#[derive(Debug, Clone)]
pub(crate) struct Way {
    pub(crate) node: usize,
    pub(crate) begun: Instant,
    pub(crate) took: Duration,
    pub(crate) height: u64,
}

impl Stages {
    /// Forgets what was, and tells how many later rounds there were.
    pub(crate) fn clear(&self) -> u64 {
        let mut lines = self.lines.lock().unwrap();
        lines.heights.clear();
        std::mem::take(&mut lines.later_rounds)
    }

    /// Prints how long the stages of these ways took, which are in order of length: on average, and of the slowest hundredth.
    pub(crate) fn print(&self, ways: &[Way]) {
        let slow = &ways[ways.len() - ways.len() / 100..];
        let heights: BTreeSet<u64> = slow.iter().map(|way| way.height).collect();
        println!("    {:<52} {:>8} {:>12}", "where its time passes, in ms", "of all", "slowest 1 %");
        let lines = self.lines.lock().unwrap();
        let (all, slow) = (average(&lines, ways), average(&lines, slow));
        for (what, all, slow) in [
            ("until its proposer begins a round", all[0], slow[0]),
            ("block made and kept", all[1], slow[1]),
            ("sent", all[2], slow[2]),
            ("received whole by whoever follows it", all[3], slow[3]),
            ("verified", all[4], slow[4]),
            ("kept", all[5], slow[5]),
            ("decided", all[6], slow[6]),
            ("committed", all[7], slow[7]),
            ("told", all[8], slow[8]),
        ] {
            println!("    {what:<52} {all:8.1} {slow:12.1}");
        }
        println!(
            "    the slowest are in {} blocks: {heights:?}; {} later rounds",
            heights.len(),
            lines.later_rounds
        );
        for height in heights.into_iter().take(SHOWN) {
            self.tell(&lines, height);
        }
    }

    /// Prints one height, node by node, in milliseconds from the first line.
    fn tell(&self, lines: &Lines, height: u64) {
        let Some(moments) = lines.heights.get(&height) else { return };
        let Some(first) = moments.values().min() else { return };
        let mut nodes: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for stage in STAGES {
            for ((_, node), moment) in moments.iter().filter(|((other, _), _)| *other == stage) {
                let after = moment.duration_since(*first).as_secs_f64() * 1e3;
                nodes.entry(node).or_default().push(format!("{stage} {after:.0}"));
            }
        }
        for (node, line) in nodes {
            println!("      {height} {node}: {}", line.join(", "));
        }
    }
}

/// The stages of each way, on average: in milliseconds.
fn average(lines: &Lines, ways: &[Way]) -> [f64; 9] {
    let mut sums = [0.0; 9];
    for way in ways {
        let Some(moments) = lines.heights.get(&way.height) else { continue };
        let Some(proposer) = moments.keys().find(|(stage, _)| *stage == "proposed").map(|(_, node)| node)
        else {
            continue;
        };
        let own = format!("load-{}", way.node);
        let mut last = way.begun;
        for (number, stage) in STAGES.into_iter().enumerate() {
            let node = if number < 3 { proposer } else { &own };
            if let Some(moment) = moments.get(&(stage, node.clone())) {
                sums[number] += moment.saturating_duration_since(last).as_secs_f64() * 1e3;
                last = last.max(*moment);
            }
        }
        sums[8] += (way.begun + way.took).saturating_duration_since(last).as_secs_f64() * 1e3;
    }
    sums.map(|sum| sum / ways.len().max(1) as f64)
}
