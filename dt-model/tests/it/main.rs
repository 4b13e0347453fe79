//! Integration tests of the vocabulary, one module for each thing that other crates lean on.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test reports by panicking, and so do its helpers"
)]

mod codec;
mod ed25519;
mod identity;
mod merkle;
mod sample;
mod signed;
mod text_time;
mod vectors;
mod wycheproof;
