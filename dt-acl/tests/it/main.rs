//! The integration tests: what a party sees, what an attacker gets, the naive model, and the bytes.
#![expect(clippy::unwrap_used, clippy::panic, reason = "the helpers of a test report by panicking")]

mod api;
mod attacks;
mod common;
mod forge;
mod forgeries;
mod groups;
mod lists;
mod model;
mod polyglot;
mod race;
mod streams;
mod vectors;
