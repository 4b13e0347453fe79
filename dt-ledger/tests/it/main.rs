//! What the crate promises, tried from outside.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test reports by panicking")]

mod api;
mod attacks;
mod audit;
mod blocks;
mod broken_consensus;
mod broken_stores;
mod calls;
mod conformance;
mod cores;
mod crash;
#[cfg(unix)]
mod crash_points;
mod determinism;
mod events;
mod golden;
mod images;
mod interlocks;
mod journal;
mod membership;
mod mempool;
mod model;
mod nodes;
mod notes;
mod pages;
mod policies;
mod proofs;
mod proposers;
mod prototypes;
mod pruning;
mod queries;
mod safety;
mod safety_model;
mod simulation;
mod split_views;
mod support;
mod transparency;
mod verifier;
mod votes;
mod x509;
