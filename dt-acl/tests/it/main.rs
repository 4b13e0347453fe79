//! The integration tests: what a party sees, what an attacker gets, the naive model, and the bytes.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "the helpers of a test report by panicking"
)]

mod api;
mod attacks;
mod common;
mod corpus;
mod forge;
mod forgeries;
#[path = "../../fuzz/src/lib.rs"]
#[allow(unreachable_pub, reason = "for the fuzzer it is a crate of its own")]
mod fuzz;
mod groups;
mod lists;
mod model;
mod polyglot;
mod race;
mod simulation;
mod streams;
mod vectors;
mod wraps;
