//! The program from outside: what it prints, what it leaves on disk, what it survives, what its audit finds.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod damage;
mod files;
mod program;

use std::path::Path;
use std::process::{Command, Output, Stdio};

/// Readings that are enough for a story in a test.
const FEW: &str = "600";

/// The program with these arguments, run to its end.
fn run(arguments: &[&str]) -> Output {
    command(arguments).output().expect("the program starts")
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bottling-plant"));
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// The run of a short story in `folder`.
fn story(folder: &Path, more: &[&str]) -> Output {
    let mut arguments = vec!["--data", text(folder), "--readings", FEW];
    arguments.extend(more);
    run(&arguments)
}

/// The audit of `folder`.
fn audit(folder: &Path) -> Output {
    run(&["audit", "--data", text(folder)])
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

fn code(output: &Output) -> i32 {
    output.status.code().expect("the program ended by itself")
}

/// Everything that the program said, for a failing test.
fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
