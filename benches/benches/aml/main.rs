//! Documents of 10 and of 100 MB: parsing, editing, snapshots and writing, each beside what others do or what cannot be avoided.
//!
//! A document is made when the first figure asks for it, so a run of a few figures does not wait for all of them.
#![expect(clippy::expect_used, reason = "a benchmark reports by panicking")]

use core::cell::OnceCell;

use benches::{is_trial, plant};
use dt_aml::{Document, Limits};

mod edit;
mod parse;
mod peers;
mod write;

/// Samples of figures that take a large part of a second each.
const FEW_SAMPLES: usize = 10;

/// A plant of a certain size.
struct Plant {
    size: &'static str,
    bytes: usize,
    text: OnceCell<String>,
}

impl Plant {
    fn new(size: &'static str, bytes: usize) -> Self {
        Self { size, bytes, text: OnceCell::new() }
    }

    /// Its text; a hundredth of that if nothing is measured.
    fn text(&self) -> &str {
        self.text.get_or_init(|| plant(if is_trial() { self.bytes / 100 } else { self.bytes }))
    }

    fn document(&self) -> Document {
        document(self.text())
    }

    fn units(&self) -> u64 {
        self.text().matches("<InternalElement Name=\"Unit ").count() as u64
    }
}

fn main() {
    let mut criterion = benches::criterion();
    let small = Plant::new("10 MB", 10_000_000);
    let large = Plant::new("100 MB", 100_000_000);
    for plant in [&small, &large] {
        parse::bench(&mut criterion, plant);
        edit::bench(&mut criterion, plant);
        edit::bench_snapshots(&mut criterion, plant);
        edit::bench_diff(&mut criterion, plant);
        write::bench(&mut criterion, plant);
    }
    edit::bench_crowd(&mut criterion);
    peers::bench(&mut criterion, &small);
    criterion.final_summary();
}

fn document(text: &str) -> Document {
    Document::parse(text, &Limits::default()).expect("a document")
}
