//! Telling: lines for people, or one line of JSON for each step.

use anstyle::{AnsiColor, Style};
use serde_json::{Value, json};

/// Tells a story step by step, each with what was proven.
pub(super) struct Narrator {
    json: bool,
    step: Option<(String, Vec<Value>, Vec<Value>)>,
}

const TITLE: Style = Style::new().bold();
const GOOD: Style = AnsiColor::Green.on_default().bold();
const BAD: Style = AnsiColor::Red.on_default().bold();
const FAINT: Style = Style::new().dimmed();

impl Narrator {
    pub(super) const fn new(json: bool) -> Self {
        Self { json, step: None }
    }

    /// Begins a step.
    pub(super) fn step(&mut self, title: &str) {
        self.end();
        self.step = Some((title.to_owned(), Vec::new(), Vec::new()));
        if !self.json {
            anstream::println!("\n{TITLE}{title}{TITLE:#}");
        }
    }

    /// Says what happens, without a claim of proof.
    pub(super) fn says(&self, text: &str) {
        if !self.json {
            anstream::println!("  {FAINT}·{FAINT:#} {text}");
        }
    }

    /// Says what was proven.
    pub(super) fn proven(&mut self, text: &str) {
        if let Some((_, proven, _)) = &mut self.step {
            proven.push(json!(text));
        }
        if !self.json {
            anstream::println!("  {GOOD}✓{GOOD:#} {text}");
        }
    }

    /// Says what was not as it must be.
    pub(super) fn wrong(&mut self, text: &str) {
        if let Some((_, _, wrong)) = &mut self.step {
            wrong.push(json!(text));
        }
        if !self.json {
            anstream::println!("  {BAD}✗{BAD:#} {text}");
        }
    }

    /// Ends the step: here its line of JSON is written.
    pub(super) fn end(&mut self) {
        let Some((title, proven, wrong)) = self.step.take() else { return };
        if self.json {
            anstream::println!("{}", json!({ "step": title, "proven": proven, "wrong": wrong }));
        }
    }
}
