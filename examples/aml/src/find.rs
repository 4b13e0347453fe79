//! `aml find`: one element.

use std::io::{self, Write};

use dt_aml::{Attribute, Element};

use crate::words::{KIND, TITLE, plain, plain_lines, terms, title};

/// Prints what is known of an element, then its source.
pub(crate) fn print(element: Element<'_>, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "{}", title(element))?;
    let none = || "none: it shares its ID or name with others, or has neither".to_owned();
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
