//! What fuzzing found and kept still holds.

use std::path::Path;

use dt_model::testing;

use crate::fuzz;

/// The kept inputs of a fuzz target.
fn corpus(target: &str) -> Vec<Vec<u8>> {
    testing::corpus(&Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target))
}

#[test]
fn bytes_that_fuzzing_kept_are_read_or_refused() {
    corpus("decoders").iter().for_each(|input| fuzz::decoders(input));
}

#[test]
fn records_that_fuzzing_kept_are_judged() {
    corpus("validators").iter().for_each(|input| fuzz::validators(input));
}
