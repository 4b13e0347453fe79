//! What the crate promises, tried from outside.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test reports by panicking")]

mod api;
mod attacks;
mod audit;
mod blocks;
mod calls;
mod conformance;
mod crash;
mod determinism;
mod membership;
mod model;
mod policies;
mod proofs;
mod prototypes;
mod simulation;
mod support;
