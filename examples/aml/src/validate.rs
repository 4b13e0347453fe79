//! `aml validate`: what is wrong with a file.

use std::io::Write;

use crate::Outcome;
use crate::failure::Failure;
use crate::input::Input;
use crate::words::{BAD, GOOD, TITLE, plain};

/// Prints an issue a line, as editors and other tools read them.
pub(crate) fn print(input: &Input, out: &mut impl Write) -> Result<Outcome, Failure> {
    let issues = input.document.issues();
    let name = plain(&input.name);
    for issue in &issues {
        let problem = issue.problem.to_string();
        writeln!(out, "{TITLE}{name}:{}:{TITLE:#} {BAD}issue:{BAD:#} {}", issue.position, plain(&problem))?;
    }
    if issues.is_empty() {
        writeln!(out, "{TITLE}{name}:{TITLE:#} {GOOD}no issues{GOOD:#}")?;
        return Ok(Outcome::Done);
    }
    Ok(Outcome::Found)
}
