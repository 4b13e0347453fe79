//! The paper's use case (section 5), end to end on embedded defaults: a fill-level sensor of a bottling plant breaks and is replaced, and
//! four parties that do not trust each other share what happened.
//!
//! ```text
//! main ── args ──▶ story: the steps, each proven ──▶ narrator: terminal, plain lines, or JSON
//!                    │
//!                    ├─ world: parties, ledger, four DHT nodes, all in one folder; a run that was killed goes on here
//!                    ├─ subject: which elements of the AML file play sensor and program
//!                    └─ asset: the simulated plant as a `dt_sync::Device`
//! main ── audit ──▶ audit: verifies a finished run from disk, trusting nothing in it
//! ```
#![expect(clippy::print_stdout, reason = "a program speaks on its standard output")]

mod asset;
mod audit;
mod clock;
mod narrator;
mod plant;
mod seal;
mod story;
mod subject;
mod world;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use dt_model::Digest;

use crate::narrator::{Format, Narrator};

/// What a step may fail with: whatever the crates below report.
pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Exit codes, as `--help` lists them.
const FAILED: u8 = 1;
const NOT_THERE: u8 = 3;

const EXIT_CODES: &str = "Exit codes:
  0  the story ended and everything in it was proven; the audit found everything in order
  1  something was not as it must be: a step failed, or the audit found a divergence
  2  the command line makes no sense
  3  the data folder or a file in it cannot be used";

/// A bottling plant's digital twin, shared by its manufacturer, owner, maintainer and auditor.
///
/// Without a command it tells the story: a fill-level sensor fails, bottles flood, the maintainer replaces it, and everybody learns of it
/// what they may, with proof. Everything is real (ledger, DHT, encryption, signatures) and runs in this process.
#[derive(Parser)]
#[command(version, after_help = EXIT_CODES, args_conflicts_with_subcommands = true)]
struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: Run,
}

#[derive(Subcommand)]
enum Command {
    /// Verify the run that lies in a folder, trusting nothing in it: chain, state, nodes, documents, readings, every byte.
    Audit {
        /// The folder of the run.
        #[arg(long, value_name = "DIR")]
        data: PathBuf,
        /// The chain that it must be, as the run printed it. Without this, the chain that the folder names is taken for the right one.
        #[arg(long, value_name = "HEX")]
        chain: Option<Digest>,
        /// One line of JSON for each check.
        #[arg(long)]
        json: bool,
    },
}

#[derive(clap::Args)]
struct Run {
    /// Keep everything in this folder; a run that was cut off goes on from there. Without it, a temporary folder is used and removed.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Make keys, readings and blocks reproducible. For tests: keys that follow from a number are no secret.
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Take the specification from this AutomationML file, or from the package that holds one (.amlx, .mtp, .zip), instead of the plant's
    /// own.
    #[arg(long, value_name = "FILE")]
    aml: Option<PathBuf>,
    /// Let the new sensor's stream grow to so many readings.
    #[arg(long, value_name = "N", default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    readings: u64,
    /// One line of JSON for each step.
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let runtime = match tokio::runtime::Builder::new_current_thread().build() {
        Ok(runtime) => runtime,
        Err(error) => return report(&error, FAILED),
    };
    match args.command {
        Some(Command::Audit { data, chain, json }) => {
            let mut narrator = Narrator::new(format(json));
            verdict(runtime.block_on(audit::audit(&data, chain, &mut narrator)))
        }
        None => run(&runtime, args.run),
    }
}

fn run(runtime: &tokio::runtime::Runtime, args: Run) -> ExitCode {
    let temporary =
        match args.data.is_none().then(|| tempfile::Builder::new().prefix("bottling-plant-").tempdir()) {
            Some(Err(error)) => return report(&error, NOT_THERE),
            Some(Ok(folder)) => Some(folder),
            None => None,
        };
    let folder = temporary.as_ref().map(|folder| folder.path().to_owned()).or(args.data);
    let Some(folder) = folder else { return ExitCode::from(NOT_THERE) };
    let mut narrator = Narrator::new(format(args.json));
    if seal::is_sealed(&folder) {
        narrator.step("run", "The story in this folder has ended and is sealed: it is audited instead");
        return verdict(runtime.block_on(audit::audit(&folder, None, &mut narrator)));
    }
    let asked = world::Asked { seed: args.seed, readings: args.readings, aml: args.aml.as_deref() };
    let world = match world::World::open(&folder, asked) {
        Ok(world) => world,
        Err(error) => return report(&*error, NOT_THERE),
    };
    match runtime.block_on(story::tell(world, &mut narrator)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => report(&*error, FAILED),
    }
}

fn verdict(audited: Result<bool, Failure>) -> ExitCode {
    match audited {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(FAILED),
        Err(error) => report(&*error, NOT_THERE),
    }
}

const fn format(json: bool) -> Format {
    if json { Format::Json } else { Format::Text }
}

/// Says on standard error what went wrong, with what caused it.
fn report(error: &(dyn std::error::Error + 'static), code: u8) -> ExitCode {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        let more = source.to_string();
        if !text.ends_with(&more) {
            text = format!("{text}: {more}");
        }
        cause = source.source();
    }
    anstream::eprintln!("bottling-plant: {text}");
    ExitCode::from(code)
}
