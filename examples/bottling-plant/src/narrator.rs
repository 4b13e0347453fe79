//! Telling: on a terminal with colours and progress, in plain lines when piped, or one line of JSON for each step.

use std::io::IsTerminal as _;

use anstyle::{AnsiColor, Style};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Map, Value, json};

/// For whom to tell.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// For people.
    Text,
    /// For machines.
    Json,
}

/// Tells a story step by step, each line with what was proven.
pub(crate) struct Narrator {
    format: Format,
    step: Map<String, Value>,
    proven: Vec<Value>,
}

const TITLE: Style = Style::new().bold();
const GOOD: Style = AnsiColor::Green.on_default().bold();
const BAD: Style = AnsiColor::Red.on_default().bold();
const FAINT: Style = Style::new().dimmed();

impl Narrator {
    pub(crate) fn new(format: Format) -> Self {
        Self { format, step: Map::new(), proven: Vec::new() }
    }

    /// Begins a step.
    pub(crate) fn step(&mut self, name: &str, title: &str) {
        self.end();
        self.step.insert("step".into(), json!(name));
        self.step.insert("title".into(), json!(title));
        if self.format == Format::Text {
            anstream::println!("\n{TITLE}{title}{TITLE:#}");
        }
    }

    /// Says what happened, without a claim of proof.
    pub(crate) fn says(&mut self, text: &str) {
        if self.format == Format::Text {
            anstream::println!("  {FAINT}·{FAINT:#} {text}");
        }
    }

    /// Says what was proven.
    pub(crate) fn proven(&mut self, text: &str) {
        self.proven.push(json!(text));
        if self.format == Format::Text {
            anstream::println!("  {GOOD}✓{GOOD:#} {text}");
        }
    }

    /// Says what was found out of order.
    pub(crate) fn wrong(&mut self, text: &str) {
        self.step.entry("wrong").or_insert_with(|| json!([]));
        if let Some(Value::Array(wrong)) = self.step.get_mut("wrong") {
            wrong.push(json!(text));
        }
        if self.format == Format::Text {
            anstream::println!("  {BAD}✗{BAD:#} {text}");
        }
    }

    /// Adds a fact for machines.
    pub(crate) fn fact(&mut self, name: &str, value: impl Into<Value>) {
        self.step.insert(name.into(), value.into());
    }

    /// Ends the step: here the line of JSON is written.
    pub(crate) fn end(&mut self) {
        let mut step = std::mem::take(&mut self.step);
        let proven = std::mem::take(&mut self.proven);
        if self.format == Format::Json && !step.is_empty() {
            step.insert("proven".into(), Value::Array(proven));
            println!("{}", Value::Object(step));
        }
    }

    /// A bar for a long step: only where a person is watching.
    pub(crate) fn progress(&self, length: u64, what: &str) -> ProgressBar {
        if self.format == Format::Json || !std::io::stderr().is_terminal() {
            return ProgressBar::hidden();
        }
        let template = "  {bar:40.green} {pos}/{len} {msg}";
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        ProgressBar::new(length).with_style(style).with_message(what.to_owned())
    }
}
