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
    corpus("messages").iter().for_each(|input| fuzz::messages(input));
}

#[test]
fn requests_that_fuzzing_kept_are_answered() {
    corpus("replica").iter().for_each(|input| fuzz::replica(input));
}

#[test]
fn content_that_fuzzing_kept_is_restored_or_refused() {
    corpus("content").iter().for_each(|input| fuzz::content(input));
}
