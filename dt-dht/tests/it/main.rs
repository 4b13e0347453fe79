//! What the crate promises, tried from outside.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test reports by panicking")]

mod agreement;
mod agreement_bids;
mod agreement_liars;
mod agreement_model;
mod agreement_word;
mod api;
mod attacks;
mod blobs;
mod conformance;
mod corpus;
mod disk;
#[path = "../../fuzz/src/lib.rs"]
#[allow(unreachable_pub, reason = "for the fuzzer it is a crate of its own")]
mod fuzz;
mod hedging;
mod memory;
mod model;
mod overtaken;
mod quorum;
mod replays;
mod sealing;
mod simulation;
mod spy;
mod streams;
mod support;
mod upkeep;
mod vectors;
mod verified;
