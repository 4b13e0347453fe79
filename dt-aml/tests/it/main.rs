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
mod edits;
mod files;
mod links;
mod model;
mod mtp;
mod paths;
mod queries;
mod rewriter;
mod selections;
mod semantic;
mod siblings;
mod support;
mod vectors;
mod wellformed;
