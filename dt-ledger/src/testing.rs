//! For those who test against this crate: conformance suites of its two seams, a chain in a few lines, proptest strategies, and a
//! simulator for those who try out a consensus.
//!
//! The suites report by panicking with a sentence that says which promise was broken, the simulator by a [`Failure`].
//!
//! # How to prototype a consensus
//!
//! 1. Write a type that holds its [`Seat`] and implements [`Prototype`]: one method, which takes what happens at the node (a message, a
//!    timer, a transaction, a restart) and the time, and gives back what the node does. It needs no network, no threads and no disk.
//! 2. Propose what [`Replica::prepare`](crate::Replica::prepare) gives; ask [`Replica::verify`](crate::Replica::verify) before a vote;
//!    let the last vote of a round be a [`Commit`](crate::Commit), so that a quorum of them is the block's
//!    [`CommitCertificate`](crate::CommitCertificate); hand both to [`Replica::commit`](crate::Replica::commit).
//! 3. Run it through a [`Scenario`] with [`simulate`]: first in [`Weather::FAIR`], then in [`Weather::FOUL`], then with each [`Fault`],
//!    with as many seeds as you have patience for. The same seed is the same run, on every machine: a [`Failure`] tells the seed and what
//!    happened last.
//! 4. Write down what a node must not forget with [`Action::Keep`], *before* what depends on it is sent. [`Prototype`] lists what else
//!    goes wrong.
//! 5. Write a traitor: your prototype but for one misdeed, as [`Traitor`] is for [`Tendermint`], and give it to [`Fault::Traitor`].
//!    Where you have f + 1 of them, the simulator should find a violation. If it does not, it would not find your mistakes either.
//! 6. When it holds, wrap it into a driver that implements [`Consensus`](crate::Consensus) over a real network and clock, and run
//!    [`consensus_suite`].
//!
//! [`Tendermint`] is a whole one to read: its `rules.rs` follows the paper line by line. This is the smallest, for a chain with one
//! validator:
//!
//! ```
//! use bytes::Bytes;
//! use dt_ledger::testing::{Action, Event, Prototype, Scenario, Seat, Stop, Tendermint, Weather, simulate};
//! use dt_ledger::{Commit, CommitCertificate};
//! use dt_model::{Signed, Timestamp};
//!
//! struct Alone {
//!     seat: Seat,
//!     pool: Vec<Bytes>,
//! }
//!
//! impl Prototype for Alone {
//!     fn handle(&mut self, now: Timestamp, event: Event) -> Result<Vec<Action>, Stop> {
//!         let Event::Submitted(transaction) = event else { return Ok(Vec::new()) };
//!         self.pool.push(transaction);
//!         let (block, refused) = self.seat.replica.prepare(0, std::mem::take(&mut self.pool), now)?;
//!         // What is out of order now may be in order later.
//!         self.pool = refused.into_iter().map(|(transaction, _)| transaction).collect();
//!         let (chain, height) = (block.header.chain, block.header.height);
//!         let vote = Commit { chain, height, round: 0, block: block.header.digest() };
//!         let votes = vec![Signed::new(vote, &*self.seat.signer)?.into_envelope()];
//!         self.seat.replica.commit(block, CommitCertificate { round: 0, votes })?;
//!         Ok(Vec::new())
//!     }
//! }
//!
//! simulate(1, &Scenario::new(1), &|seat| Box::new(Alone { seat, pool: Vec::new() })).unwrap();
//!
//! // It is nothing for four: its vote is not enough, and its replica says so.
//! let failure = simulate(1, &Scenario::new(4), &|seat| Box::new(Alone { seat, pool: Vec::new() })).unwrap_err();
//! assert!(failure.to_string().ends_with("stopped: the chain cannot be followed: 1 of 3 votes commit the block"));
//!
//! // Tendermint is, whatever the weather.
//! let scenario = Scenario { weather: Weather::FOUL, ..Scenario::new(4) };
//! simulate(1, &scenario, &|seat| Box::new(Tendermint::new(seat))).unwrap();
//! ```
#![expect(clippy::expect_used, clippy::panic, reason = "a suite reports by panicking")]

mod consensus;
mod fixture;
mod log;
mod simulator;
mod storage;
mod strategies;
mod tendermint;

pub use consensus::consensus_suite;
pub use fixture::{Fixture, PLANT};
pub use log::StoredLog;
pub use simulator::{
    Action, Event, Failure, Fault, Make, Prototype, Report, Scenario, Seat, Stop, Violation, Weather,
    simulate,
};
pub use storage::store_suite;
pub use strategies::{
    approval, block, call, certificate, credential, header, policy, proposal, safety_number, safety_rule,
    transaction, twin_call,
};
pub use tendermint::{Misdeed, Tendermint, Traitor};
