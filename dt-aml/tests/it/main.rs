//! Tests of `dt-aml` through its public interface.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "helpers of tests may fail a test"
)]

mod api;
mod attacks;
mod constraints;
mod corpus;
mod diff;
mod edits;
mod files;
#[path = "../../fuzz/src/lib.rs"]
#[allow(unreachable_pub, reason = "for the fuzzer it is a crate of its own")]
mod fuzz;
mod hashes;
mod hostile;
mod links;
mod model;
mod mtp;
#[cfg(feature = "packages")]
mod packages;
mod paths;
mod queries;
mod rearrange;
mod references;
mod rewriter;
mod selections;
mod semantic;
mod siblings;
mod support;
mod vectors;
mod wellformed;
