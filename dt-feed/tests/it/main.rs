//! Tests of `dt-feed` as others see it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests report by panicking")]

mod api;
mod attacks;
mod collusion;
mod common;
mod corpus;
#[path = "../../fuzz/src/lib.rs"]
#[allow(unreachable_pub, reason = "for the fuzzer it is a crate of its own")]
mod fuzz;
mod laggards;
mod model;
mod simulation;
mod vectors;
mod wire;
mod witness;
