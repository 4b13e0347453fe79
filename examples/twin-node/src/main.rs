//! A participant's node: ledger replica with consensus, DHT node, client and device agent in one process, and the commands that talk to it.
//!
//! ```text
//! init, genesis ─▶ folder: keys, config.toml, card ─▶ founding.json            once, before there is a chain
//! run ─▶ node: Malachite ─ Replica ─┬─ Client ─ Agent ─ simulated device
//!              libp2p ──── Replica ─┘      ▲
//! verbs ─▶ remote ── HTTP on loopback ─▶ server: /v1, /health, /ready, /metrics
//! devnet ─▶ four processes of this program, and the bottling plant's story over them
//! ```

mod api;
mod card;
mod clock;
mod commands;
mod devnet;
mod failure;
mod folder;
mod founding;
mod init;
mod node;
mod remote;
mod settings;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::failure::{EXIT_CODES, Failure, Kind};
use crate::folder::Folder;

/// Of all that a node takes memory for most is small and given back soon, on several threads.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A participant's node: a digital twin's ledger, its DHT, and what a party does with them.
#[derive(Parser)]
#[command(version, after_help = EXIT_CODES)]
struct Args {
    /// The node's folder; without it, this one. For devnet: where to keep the nodes; without it, a temporary folder.
    #[arg(long, global = true, value_name = "DIR")]
    folder: Option<PathBuf>,
    /// JSON, one line for each answer.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Init(init::Init),
    Genesis(init::Compose),
    /// Run the node, until it is told to stop (SIGINT, SIGTERM).
    Run {
        /// Stop when standard input ends, too: with whoever started it.
        #[arg(long)]
        while_stdin: bool,
    },
    Devnet(devnet::Devnet),
    #[command(flatten)]
    Verb(commands::Verb),
}

fn main() -> ExitCode {
    match run(Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

fn run(args: Args) -> Result<(), Failure> {
    let folder = Folder::new(args.folder.clone().unwrap_or_else(|| PathBuf::from(".")));
    let mut out = anstream::stdout().lock();
    match args.command {
        Command::Init(init) => {
            let card = init.run(&folder)?;
            say(&mut out, format_args!("the card for the others: {}", card.display()))
        }
        Command::Genesis(compose) => {
            let founding = compose.run()?;
            for card in founding.cards() {
                say(&mut out, format_args!("{:24} authority {}", card.name, card.authority))?;
            }
            say(&mut out, format_args!("chain   {}", founding.genesis().chain()))?;
            say(&mut out, format_args!("digest  {}  (compare it with all the others)", founding.digest()))
        }
        Command::Run { while_stdin } => node::run(&folder, while_stdin),
        Command::Devnet(devnet) => devnet.run(args.folder, args.json),
        Command::Verb(verb) => commands::run(&folder, args.json, verb, &mut out),
    }
}

fn say(out: &mut dyn std::io::Write, line: std::fmt::Arguments<'_>) -> Result<(), Failure> {
    writeln!(out, "{line}").map_err(|error| Failure::new(Kind::Internal, error))
}
