//! How answers are shown: to people as text, to programs as a line of JSON.

use std::io::Write;

use serde::Serialize;

use crate::failure::{Failure, Kind};

/// How answers are shown.
pub(super) struct Show<'a> {
    pub(super) json: bool,
    pub(super) out: &'a mut dyn Write,
}

impl Show<'_> {
    /// One line: `text` for people.
    pub(super) fn line(&mut self, value: &impl Serialize, text: &str) -> Result<(), Failure> {
        if !self.json {
            return written(writeln!(self.out, "{text}"));
        }
        let line = serde_json::to_string(value).map_err(|error| Failure::internal(&error))?;
        written(writeln!(self.out, "{line}"))
    }

    /// All fields, one a line for people.
    pub(super) fn all(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        if self.json {
            return self.line(value, "");
        }
        let value = serde_json::to_value(value).map_err(|error| Failure::internal(&error))?;
        written(fields(self.out, &value, 0))
    }
}

/// A tree of fields, indented.
fn fields(out: &mut dyn Write, value: &serde_json::Value, depth: usize) -> std::io::Result<()> {
    use serde_json::Value;
    for (name, value) in value.as_object().into_iter().flatten() {
        let (name, indent) = (name.replace('_', " "), "  ".repeat(depth));
        match value {
            Value::Null => {}
            Value::Object(_) => {
                writeln!(out, "{indent}{name}")?;
                fields(out, value, depth + 1)?;
            }
            Value::Array(values) => {
                writeln!(out, "{indent}{name} ({})", values.len())?;
                for value in values {
                    match value {
                        Value::Object(of) => {
                            let words = of.iter().filter(|(_, value)| !value.is_null());
                            let words = words.map(|(name, value)| format!("{name}={}", word(value)));
                            writeln!(out, "{indent}  {}", words.collect::<Vec<_>>().join("  "))?;
                        }
                        value => writeln!(out, "{indent}  {}", word(value))?,
                    }
                }
            }
            value => writeln!(out, "{indent}{name:22} {}", word(value))?,
        }
    }
    Ok(())
}

pub(super) fn word(value: &serde_json::Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

pub(super) fn written(result: std::io::Result<()>) -> Result<(), Failure> {
    result.map_err(|error| Failure::new(Kind::Internal, format_args!("standard output: {error}")))
}
