//! A command line for AutomationML files: look into them, check and edit them.
//!
//! ```text
//!   FILE or - ──► input: document or package ──► Document ──► info, tree, find, programs, hash, validate, diff ──► standard output
//!                                                   └───────► insert, remove ──► output: standard output or a file, whole
//! ```
//!
//! Everything it knows it asks of `dt-aml`; here is only what a person sees: words, colours on a terminal, exit codes.

mod diff;
mod edit;
mod failure;
mod find;
mod info;
mod input;
mod output;
mod programs;
mod tree;
mod validate;
mod words;

use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anstream::AutoStream;
use clap::{Parser, Subcommand};

use crate::failure::Failure;
use crate::input::Input;
use crate::words::{BAD, HINT};

/// Exit codes, as `--help` lists them.
const FOUND: u8 = 1;
const FAILED: u8 = 2;

const AFTER_HELP: &str = "FILE is an AutomationML document (CAEX 2.15 or 3.0), or a package that holds one (.amlx, .mtp, .zip); - reads standard input.

ADDRESS is an ID, or a path from an ID or the root: 4f1e, 4f1e/Attribute[Speed]/Value, /InstanceHierarchy[Plant]; / is the root element. To look something up, a path of names as CAEX writes them will do too: Plant/Line/Motor, Roles/[I/O].

Exit codes:
  0  done
  1  validate found issues, diff differences, or find nothing
  2  it could not be done, or the command line makes no sense

Colours follow the terminal; NO_COLOR and CLICOLOR_FORCE overrule it.";

/// Looks into AutomationML files, checks and edits them.
#[derive(Parser)]
#[command(version, after_help = AFTER_HELP)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// What the file is: version, origin, size, elements by kind, libraries, root hash, number of issues.
    Info {
        /// The document or package.
        file: PathBuf,
    },
    /// The elements that carry structure, as a tree.
    Tree {
        /// The document or package.
        file: PathBuf,
        /// Where to begin; without it, at the root.
        address: Option<String>,
        /// Show so many levels below that.
        #[arg(long, value_name = "N")]
        depth: Option<usize>,
        /// Show attributes with their values too.
        #[arg(long)]
        attributes: bool,
    },
    /// One element: kind, place, hash, attributes with units and constraints, and its source. Or all with a name, a role, a class.
    Find(find::Find),
    /// The programs that can be called, with their parameters and limits.
    Programs {
        /// The document or package.
        file: PathBuf,
    },
    /// What is wrong with the file, as FILE:LINE:COLUMN; exit code 1 if anything is.
    Validate {
        /// The document or package.
        file: PathBuf,
    },
    /// What has to be edited to turn one file into another; exit code 1 if anything has.
    Diff {
        /// The document or package as it was.
        old: PathBuf,
        /// The document or package as it is.
        new: PathBuf,
    },
    /// The hash of the whole document, or of one element with everything in it.
    Hash {
        /// The document or package.
        file: PathBuf,
        /// The element; without it, the document, prolog and comments around the root element included.
        address: Option<String>,
        /// The hash of what it says, whatever white space, prefixes or order of XML attributes it is written with.
        #[arg(long)]
        semantic: bool,
    },
    /// Insert an element; the edited document goes to standard output or to a file.
    Insert(edit::Insert),
    /// Remove an element; the edited document goes to standard output or to a file.
    Remove(edit::Remove),
}

/// How a command ended that could be carried out.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Done,
    /// Something was found that should not be there.
    Found,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let mut out = BufWriter::new(AutoStream::auto(std::io::stdout().lock()));
    let outcome = run(args.command, &mut out).and_then(|outcome| {
        out.flush()?;
        Ok(outcome)
    });
    match outcome {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::Found) => ExitCode::from(FOUND),
        // Whoever read the output has seen enough.
        Err(Failure::Output(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(failure) => {
            report(&failure);
            ExitCode::from(FAILED)
        }
    }
}

fn run(command: Command, out: &mut impl Write) -> Result<Outcome, Failure> {
    match command {
        Command::Info { file } => info::print(&Input::read(&file)?, out)?,
        Command::Tree { file, address, depth, attributes } => {
            let input = Input::read(&file)?;
            let from = input.find(address.as_deref().unwrap_or("/"))?;
            tree::print(from, depth, attributes, out)?;
        }
        Command::Find(find) => return find::run(&find, out),
        Command::Programs { file } => programs::print(&Input::read(&file)?, out)?,
        Command::Validate { file } => return validate::print(&Input::read(&file)?, out),
        Command::Diff { old, new } => return diff::print(&Input::read(&old)?, &Input::read(&new)?, out),
        Command::Hash { file, address, semantic } => {
            let input = Input::read(&file)?;
            let element = address.map(|address| input.find(&address)).transpose()?;
            match (element, semantic) {
                (None, false) => writeln!(out, "{}", input.document.root_hash())?,
                (None, true) => writeln!(out, "{}", input.document.semantic_hash())?,
                (Some(element), false) => writeln!(out, "{}", element.hash())?,
                (Some(element), true) => writeln!(out, "{}", element.semantic_hash())?,
            }
        }
        Command::Insert(insert) => edit::insert(insert)?,
        Command::Remove(remove) => edit::remove(remove)?,
    }
    Ok(Outcome::Done)
}

/// Says on standard error what went wrong, where, and what would be right.
fn report(failure: &Failure) {
    anstream::eprintln!("{BAD}aml:{BAD:#} {failure}");
    for line in failure.details() {
        anstream::eprintln!("  {line}");
    }
    if let Some(hint) = failure.hint() {
        anstream::eprintln!("{HINT}hint:{HINT:#} {hint}");
    }
}
