//! What fuzzing found and kept still holds.

use dt_model::testing::corpus;

use crate::fuzz;

const CRATE: &str = env!("CARGO_MANIFEST_DIR");

#[test]
fn bytes_that_fuzzing_kept_are_read_or_refused() {
    corpus(CRATE, "messages").iter().for_each(|input| fuzz::messages(input));
}

#[test]
fn requests_that_fuzzing_kept_are_answered() {
    corpus(CRATE, "replica").iter().for_each(|input| fuzz::replica(input));
}

#[test]
fn content_that_fuzzing_kept_is_restored_or_refused() {
    corpus(CRATE, "content").iter().for_each(|input| fuzz::content(input));
}
