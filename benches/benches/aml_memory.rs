//! Memory that a parsed document keeps and that parsing takes at most, in multiples of its bytes, beside a bare XML parser.
//!
//! Criterion measures time alone; this counts the bytes that are asked of the allocator. The text that is parsed is the caller's, and not counted.
#![expect(clippy::expect_used, reason = "a benchmark reports by panicking")]

use benches::{FRAGMENT_ID, fragment, is_trial, plant, unit_id};
use dt_aml::{Document, Limits};
use peak_alloc::PeakAlloc;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// Edits between two looks at what they left behind.
const EDITS: u64 = 20_000;

fn main() {
    for (size, bytes) in [("10 MB", 10_000_000), ("100 MB", 100_000_000)] {
        let text = plant(if is_trial() { bytes / 100 } else { bytes });
        let ours = || Document::parse(&text, &Limits::default()).expect("a document");
        report(&format!("aml/memory {size}/peer: roxmltree parse"), &text, || {
            roxmltree::Document::parse(&text).expect("well-formed")
        });
        report(&format!("aml/memory {size}/ours: Document::parse"), &text, ours);
        report(&format!("aml/memory {size}/ours: Document::parse and root_hash"), &text, || {
            let document = ours();
            (document.root_hash(), document)
        });
        report(
            &format!("aml/memory {size}/ours: the same after {EDITS} insertions and removals"),
            &text,
            || {
                let mut document = ours();
                for number in 0..if is_trial() { EDITS / 100 } else { EDITS } {
                    document.insert(&fragment(), &unit_id(number % 10), None).expect("it fits");
                    document.remove(FRAGMENT_ID).expect("it is there");
                }
                document
            },
        );
    }
}

/// Prints what `make` keeps, and what it takes at most, unless the command line asks for others.
fn report<T>(name: &str, text: &str, make: impl FnOnce() -> T) {
    let mut wanted = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).peekable();
    if wanted.peek().is_some() && !wanted.any(|part| name.contains(&part)) {
        return;
    }
    let before = ALLOCATOR.current_usage();
    ALLOCATOR.reset_peak_usage();
    let made = make();
    let (kept, peak) = (ALLOCATOR.current_usage() - before, ALLOCATOR.peak_usage() - before);
    drop(made);
    println!("{name}: keeps {}, takes at most {} bytes for each byte", ratio(kept, text), ratio(peak, text));
}

/// A ratio to the text's bytes with two digits behind the point.
fn ratio(bytes: usize, text: &str) -> String {
    let hundredths = bytes * 100 / text.len();
    format!("{}.{:02}", hundredths / 100, hundredths % 100)
}
