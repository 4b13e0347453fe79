//! How much four validators commit, all in this process, and how fast: real sockets, real disks, real contract execution.
//!
//! ```sh
//! cargo run --release -p dt-ledger-malachite --features bare --example load -- 10
//! cargo run --release -p dt-ledger-malachite --features bare --example load -- stages 10 1500
//! cargo run --release -p dt-ledger-malachite --features bare --example load -- idle 60
//! ```
//!
//! The first prints, for so many seconds each: transactions per second with as many under way as there is room for; the time from handing
//! in to the durable commit at half that load, on nodes that were just started; beside it, how fast the same engine agrees on blocks of as
//! many bytes that mean nothing; and what a transaction costs in CPU time. The second prints only where the time of transactions passes at
//! a rate (in a second), stage by stage, and of the slowest. The third prints what nodes cost that have nothing to do, and how long after
//! one node's commit another one knows of it.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::float_arithmetic,
    clippy::disallowed_methods,
    reason = "a program that measures: it has a clock, and may end with a panic"
)]

mod cluster;
mod cost;
mod idle;
mod stages;
mod traffic;

use std::path::Path;
use std::time::Duration;

use cost::load_average;
use dt_ledger::Consensus as _;
use stages::{Listener, Stages};
use traffic::{Outcome, TRANSACTION_BYTES};

/// As in a node: most of what a transaction needs memory for is small, and given back soon, on several threads.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The time that so many of a thousand do not exceed, in milliseconds.
fn millis(times: &[Duration], per_mille: usize) -> f64 {
    times.get(times.len().saturating_sub(1) * per_mille / 1000).map_or(0.0, |time| time.as_secs_f64() * 1e3)
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

fn row(what: &str, outcome: &Outcome) {
    println!(
        "  {what:<16} {:7.0}/s {:6.1} blocks/s   {:5.0} µs ({:.0} of them the system's)   p50 {:.0} ms, p99 {:.0} ms",
        outcome.per_second,
        outcome.blocks_per_second,
        micros(outcome.cpu.total()),
        micros(outcome.cpu.system),
        millis(&outcome.times, 500),
        millis(&outcome.times, 990)
    );
}

/// The rate in a second at which the stages are looked at, unless another is given: half of what is asked for.
const RATE: f64 = 1_500.0;

/// Where the time passes, well below what there is room for.
async fn look(folder: &Path, seconds: u64, rate: f64) {
    let stages: &'static Stages = Box::leak(Box::default());
    tracing::subscriber::set_global_default(Listener(stages)).unwrap();
    let nodes = cluster::start(folder).await;
    let parties = traffic::enrol(&nodes).await;
    println!("later rounds at the start: {}", stages.clear());
    let outcome = traffic::load(&nodes, &parties, seconds, Some(rate)).await;
    row("stages", &outcome);
    stages.print(&outcome.ways);
    println!("load average {}", load_average());
    cluster::stop(&nodes).await;
}

/// On nodes that have no more behind them than they will have in the long run: those of before are still giving their store what came at twice
/// the rate.
async fn half(folder: &Path, seconds: u64, rate: f64) {
    let nodes = cluster::start(folder).await;
    let parties = traffic::enrol(&nodes).await;
    row("half of it", &traffic::load(&nodes, &parties, seconds, Some(rate)).await);
    cluster::stop(&nodes).await;
}

async fn load(folder: &Path, seconds: u64) {
    println!(
        "four validators, {TRANSACTION_BYTES} bytes a transaction, {seconds} s each, load average {}\n",
        load_average()
    );
    println!("                   transactions               CPU time of each, all four together");
    let nodes = cluster::start(&folder.join("full")).await;
    let parties = traffic::enrol(&nodes).await;
    let first = nodes[0].status().height + 1;
    let most = traffic::load(&nodes, &parties, seconds, None).await;
    row("most", &most);
    cluster::stop(&nodes).await;
    half(&folder.join("half"), seconds, most.per_second / 2.0).await;
    let each = most.per_second / most.blocks_per_second;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "some megabytes")]
    let bytes = (each * TRANSACTION_BYTES as f64) as usize;
    let alone = cluster::engine_alone(&folder.join("bare"), bytes, seconds).await;
    let engine = alone.cpu.total().div_f64(each);
    println!(
        "  {:<16} {:7.0}/s {:6.1} blocks/s   {:5.0} µs ({:.0} of them the system's)",
        "engine alone",
        alone.blocks_per_second * each,
        alone.blocks_per_second,
        micros(engine),
        micros(alone.cpu.system.div_f64(each))
    );
    let empty = cluster::engine_alone(&folder.join("empty"), 0, seconds).await;
    println!(
        "  {:<16} {:>9} {:6.1} blocks/s   {:5.0} µs a block",
        "empty blocks",
        "",
        empty.blocks_per_second,
        micros(empty.cpu.total())
    );

    let ledger = cost::of_ledger(&folder.join("again"), nodes[0].replica(), first);
    println!("\n  where the CPU time of a transaction goes, of {:.0} µs:", micros(most.cpu.total()));
    let mut rest = most.cpu.total();
    for (what, time) in [
        ("4 times its signature", 4 * ledger.signature),
        ("4 times contracts, root and rows", 4 * ledger.apply),
        ("4 times keeping the proposal and the block", 4 * ledger.store),
        ("the engine alone, with as many bytes", engine),
    ] {
        println!("    {what:<46} {:5.0} µs", micros(time));
        rest = rest.saturating_sub(time);
    }
    println!("    {:<46} {:5.0} µs", "the rest: mempool, its gossip, copies, this program", micros(rest));
    println!("    what each validator writes for it:");
    for (table, rows, bytes) in &ledger.written {
        println!("      {:<14} {rows:5.2} rows {bytes:6.0} bytes", table.name());
    }
    println!("\n  load average at the end {}", load_average());
}

#[tokio::main]
async fn main() {
    let mut words = std::env::args().skip(1);
    let mut word = words.next();
    let what = word.take_if(|word| word.parse::<u64>().is_err());
    if what.is_some() {
        word = words.next();
    }
    let seconds = word.and_then(|seconds| seconds.parse().ok()).unwrap_or(10);
    let folder = tempfile::tempdir().unwrap();
    match what.as_deref() {
        None => load(folder.path(), seconds).await,
        Some("idle") => idle::measure(folder.path(), seconds).await,
        Some("stages") => {
            let rate = words.next().and_then(|rate| rate.parse().ok()).unwrap_or(RATE);
            look(folder.path(), seconds, rate).await;
        }
        Some(other) => eprintln!("{other} is not known: idle, stages, or nothing"),
    }
}
