//! For those who test against this crate: conformance suites of its two seams, a chain in a few lines, and proptest strategies.
//!
//! Everything here reports by panicking with a sentence that says which promise was broken.
#![expect(clippy::expect_used, clippy::panic, reason = "a suite reports by panicking")]

mod consensus;
mod fixture;
mod log;
mod storage;
mod strategies;

pub use consensus::consensus_suite;
pub use fixture::{Fixture, PLANT};
pub use log::StoredLog;
pub use storage::store_suite;
pub use strategies::{
    approval, block, call, certificate, credential, header, policy, proposal, safety_number, safety_rule,
    transaction, twin_call,
};
