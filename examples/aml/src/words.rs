//! Words and colours: how things of a document read on a terminal.

use std::borrow::Cow;

use anstyle::{AnsiColor, Style};
use dt_aml::{Bound, Constraint, DataType, Element, Reference, Requirement};

/// Names, and what a listing is about.
pub(crate) const TITLE: Style = Style::new().bold();
/// Kinds of elements, labels.
pub(crate) const KIND: Style = AnsiColor::Cyan.on_default();
/// IDs, and what draws a tree.
pub(crate) const FAINT: Style = Style::new().dimmed();
/// Nothing is wrong.
pub(crate) const GOOD: Style = AnsiColor::Green.on_default();
/// Something is.
pub(crate) const BAD: Style = AnsiColor::Red.on_default().bold();
/// What would be right.
pub(crate) const HINT: Style = AnsiColor::Yellow.on_default();

/// Text of a document on one line, without characters that a terminal would obey or that would reorder the line.
pub(crate) fn plain(text: &str) -> Cow<'_, str> {
    let obeyed = |c: char| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    if !text.contains(obeyed) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            c if obeyed(c) => out.extend(c.escape_default()),
            c => out.push(c),
        }
    }
    Cow::Owned(out)
}

/// The same for text of several lines.
pub(crate) fn plain_lines(text: &str) -> String {
    let lines = text.split('\n').map(|line| {
        let (line, end) = line.strip_suffix('\r').map_or((line, ""), |line| (line, "\r"));
        let columns: Vec<_> = line.split('\t').map(plain).collect();
        columns.join("\t") + end
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// A number of things, such as `1 file` or `2 files`.
pub(crate) fn count(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// An element's tag and name, such as `InternalElement Motor`.
pub(crate) fn title(element: Element<'_>) -> String {
    let tag = element.tag();
    match element.name() {
        Some(name) => format!("{KIND}{tag}{KIND:#} {TITLE}{}{TITLE:#}", plain(&name)),
        None => format!("{KIND}{tag}{KIND:#}"),
    }
}

/// A value's type, unit, default and constraints, as far as there are any.
pub(crate) fn terms(
    data_type: Option<&DataType>,
    unit: Option<&str>,
    default: Option<&str>,
    constraints: &[Constraint],
) -> String {
    let mut terms = Vec::new();
    terms.extend(data_type.map(|data_type| plain(&data_type.to_string()).into_owned()));
    terms.extend(unit.map(|unit| format!("in {}", plain(unit))));
    terms.extend(default.map(|default| format!("default {}", plain(default))));
    terms.extend(constraints.iter().map(constraint));
    terms.join(", ")
}

fn constraint(constraint: &Constraint) -> String {
    let asked = match &constraint.requirement {
        Requirement::Ordinal { min, required, max } => range(min.as_ref(), required.as_ref(), max.as_ref()),
        Requirement::Nominal { values } => format!("one of {}", values.join(", ")),
        Requirement::Unknown { requirements } if requirements.is_empty() => "not checkable".to_owned(),
        Requirement::Unknown { requirements } => format!("not checkable: {requirements}"),
    };
    plain(&format!("{}: {asked}", constraint.name)).into_owned()
}

/// What an ordinal constraint asks for. Beside a bound, the required value is a target.
fn range(min: Option<&Bound>, required: Option<&Bound>, max: Option<&Bound>) -> String {
    let within = match (min, max) {
        (Some(min), Some(max)) => format!("{} to {}", min.0, max.0),
        (Some(min), None) => format!("at least {}", min.0),
        (None, Some(max)) => format!("at most {}", max.0),
        (None, None) => return required.map_or("nothing".to_owned(), |only| format!("only {}", only.0)),
    };
    required.map_or(within.clone(), |target| format!("{within}, target {}", target.0))
}

/// Where a reference stands and where it points.
pub(crate) fn place_of(reference: &Reference) -> String {
    let text = format!("{}: {}=\"{}\"", reference.from, reference.attribute, reference.target);
    plain(&text).into_owned()
}
