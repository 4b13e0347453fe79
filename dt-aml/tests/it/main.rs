//! Tests of `dt-aml` through its public interface.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "helpers of tests may fail a test"
)]

mod api;
mod attacks;
mod corpus;
mod diff;
mod edits;
mod files;
mod model;
#[cfg(feature = "packages")]
mod packages;
mod queries;
mod random;
mod rearrange;
mod references;
mod siblings;
mod support;
mod vectors;
mod wellformed;
