//! What fuzzing found and kept still holds.

use std::path::{Path, PathBuf};

use crate::fuzz;

/// The kept inputs of a fuzz target.
fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(folder).expect("a corpus").map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).expect("an input")).collect()
}

#[test]
fn inputs_that_fuzzing_kept_are_parsed_or_refused() {
    let inputs = corpus("parse");
    assert!(inputs.len() > 20);
    inputs.iter().for_each(|input| fuzz::parse(input));
}

#[test]
fn edits_that_fuzzing_kept_can_be_taken_back() {
    let inputs = corpus("edits");
    assert!(inputs.len() > 20);
    inputs.iter().for_each(|input| fuzz::edits(input));
}
