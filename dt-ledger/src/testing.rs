//! For those who test against this crate: conformance suites of its two seams, a chain in a few lines, and proptest strategies.
//!
//! Everything here reports by panicking with a sentence that says which promise was broken.
#![expect(clippy::expect_used, clippy::panic, reason = "a suite reports by panicking")]

mod consensus;
mod fixture;
mod simulator;
mod storage;
mod strategies;
mod tendermint;

pub use consensus::consensus_suite;
pub use fixture::{Fixture, PLANT};
pub use simulator::{
    Action, Event, Failure, Fault, Make, Prototype, Report, Scenario, Seat, Stop, Violation, Weather,
    simulate,
};
pub use storage::store_suite;
pub use strategies::{block, call, certificate, header, policy, transaction, twin_call};
pub use tendermint::{Misdeed, Tendermint, Traitor};
