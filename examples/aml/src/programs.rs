//! `aml programs`: what can be called, with what.

use std::io::{self, Write};

use crate::input::Input;
use crate::words::{FAINT, TITLE, plain, terms};

/// Prints the programs with their parameters and limits.
pub(crate) fn print(input: &Input, out: &mut impl Write) -> io::Result<()> {
    let programs = input.document.programs();
    if programs.is_empty() {
        return writeln!(out, "no programs");
    }
    for program in programs {
        writeln!(
            out,
            "{TITLE}{}{TITLE:#}  {FAINT}{}{FAINT:#}",
            plain(&program.name),
            plain(&program.address)
        )?;
        for parameter in &program.parameters {
            let terms = terms(
                parameter.data_type.as_ref(),
                parameter.unit.as_deref(),
                parameter.default.as_deref(),
                &parameter.constraints,
            );
            let terms = if terms.is_empty() { "any text".to_owned() } else { terms };
            writeln!(out, "  {}: {terms}", plain(&parameter.name))?;
        }
        if program.parameters.is_empty() {
            writeln!(out, "  {FAINT}takes no parameters{FAINT:#}")?;
        }
    }
    Ok(())
}
