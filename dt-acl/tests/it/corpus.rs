//! What fuzzing found and kept still holds.

use dt_model::testing::corpus;

use crate::fuzz;

const CRATE: &str = env!("CARGO_MANIFEST_DIR");

#[test]
fn bytes_that_fuzzing_kept_are_read_or_refused() {
    corpus(CRATE, "decoders").iter().for_each(|input| fuzz::decoders(input));
}

#[test]
fn records_that_fuzzing_kept_are_judged() {
    corpus(CRATE, "validators").iter().for_each(|input| fuzz::validators(input));
}
