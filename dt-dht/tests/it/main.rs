//! What the crate promises, tried from outside.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test reports by panicking")]

mod agreement;
mod agreement_model;
mod api;
mod attacks;
mod blobs;
mod conformance;
mod disk;
mod model;
mod quorum;
mod sealing;
mod support;
mod vectors;
