//! What fuzzing found and kept still holds.

use std::path::{Path, PathBuf};

use crate::fuzz;

/// The kept inputs of a fuzz target.
fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(folder).expect("a corpus").map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    assert!(paths.len() > 20, "{} inputs for {target}", paths.len());
    paths.iter().map(|path| std::fs::read(path).expect("an input")).collect()
}

#[test]
fn bytes_that_fuzzing_kept_are_read_or_refused() {
    corpus("decoders").iter().for_each(|input| fuzz::decoders(input));
}

#[test]
fn records_that_fuzzing_kept_are_judged() {
    corpus("validators").iter().for_each(|input| fuzz::validators(input));
}
