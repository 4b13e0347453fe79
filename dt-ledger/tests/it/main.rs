//! What the crate promises, tried from outside.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test reports by panicking")]

mod api;
mod attacks;
mod audit;
mod blocks;
mod broken_stores;
mod calls;
mod conformance;
mod crash;
#[cfg(unix)]
mod crash_points;
mod determinism;
mod golden;
mod interlocks;
mod membership;
mod model;
mod notes;
mod policies;
mod proofs;
mod safety;
mod safety_model;
mod support;
mod transparency;
mod verifier;
mod votes;
mod x509;
