//! Agreement on records that have several writers, or that are judged by each other: order [`crate::Order::Agreed`].

mod certificate;
mod client;
mod state;
mod vote;

pub use certificate::{LockCertificate, SettlementCertificate};
pub use state::{AddressState, MAX_AGREED_SLOTS, Settled, StateEntry};
pub use vote::{Ballot, MAX_ROUND_STEP, Phase, Promise, Vote};
