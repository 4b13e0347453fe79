//! `aml find`: one element, or all that have something in common.

use std::io::{self, Write};
use std::path::PathBuf;

use dt_aml::{Attribute, Element};

use crate::failure::Failure;
use crate::input::Input;
use crate::words::{FAINT, KIND, TITLE, plain, plain_lines, terms, title};
use crate::{Outcome, output};

#[derive(clap::Args)]
pub(crate) struct Find {
    /// The document or package.
    file: PathBuf,
    /// The element.
    #[arg(required_unless_present_any = ["name", "role", "class"])]
    address: Option<String>,
    /// Print the source alone, byte for byte.
    #[arg(long, requires = "address", conflicts_with_all = ["name", "role", "class"])]
    source: bool,
    /// List the InternalElements of this name; with an address, those in that element.
    #[arg(long)]
    name: Option<String>,
    /// List those with the role at this CAEX path, or one that inherits from it.
    #[arg(long, value_name = "PATH")]
    role: Option<String>,
    /// List those of the system unit class at this CAEX path, or one that inherits from it.
    #[arg(long, value_name = "PATH")]
    class: Option<String>,
}

/// Prints an element, or lists those that match.
pub(crate) fn run(find: &Find, out: &mut impl Write) -> Result<Outcome, Failure> {
    let Find { file, address, source, name, role, class } = find;
    let input = Input::read(file)?;
    let element = address.as_deref().map(|address| input.find(address)).transpose()?;
    match element {
        Some(element) if name.is_none() && role.is_none() && class.is_none() => {
            if *source {
                output::raw(element.source().as_bytes())?;
            } else {
                print(element, out)?;
            }
            return Ok(Outcome::Done);
        }
        _ => {}
    }
    let mut query = input.document.query();
    if let Some(element) = element {
        query = query.within(element);
    }
    if let Some(name) = name {
        query = query.named(name);
    }
    if let Some(role) = role {
        query = query.with_role(role);
    }
    if let Some(class) = class {
        query = query.of_unit_class(class);
    }
    let mut outcome = Outcome::Found;
    for element in query {
        let address = element.address().unwrap_or_default();
        writeln!(out, "{}  {FAINT}{}{FAINT:#}", title(element), plain(&address))?;
        outcome = Outcome::Done;
    }
    Ok(outcome)
}

/// Prints what is known of an element, then its source.
fn print(element: Element<'_>, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "{}", title(element))?;
    let none = || "none: its names are too long".to_owned();
    let mut fact = |label: &str, value: &str| writeln!(out, "  {KIND}{label:10}{KIND:#}{}", plain(value));
    fact("address", &element.address().unwrap_or_else(none))?;
    if let Some(parent) = element.parent() {
        fact("parent", &parent.address().unwrap_or_else(none))?;
    }
    fact("position", &element.position().to_string())?;
    fact("hash", &element.hash().to_string())?;
    for attribute in element.attributes() {
        writeln!(out, "  {KIND}attribute{KIND:#} {}", line(&attribute))?;
    }
    writeln!(out, "\n{}", plain_lines(&element.source()))
}

/// An attribute on one line.
fn line(attribute: &Attribute) -> String {
    let Attribute { name, value, default, unit, data_type, constraints, .. } = attribute;
    let (value, unit_apart) = match (value, unit) {
        (Some(value), Some(unit)) => (format!("= {} {}", plain(value), plain(unit)), None),
        (Some(value), None) => (format!("= {}", plain(value)), None),
        (None, unit) => ("without a value".to_owned(), unit.as_deref()),
    };
    let terms = terms(data_type.as_ref(), unit_apart, default.as_deref(), constraints);
    let terms = if terms.is_empty() { terms } else { format!("  ({terms})") };
    format!("{TITLE}{}{TITLE:#} {value}{terms}", plain(name))
}
