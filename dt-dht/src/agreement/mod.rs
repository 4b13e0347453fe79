//! Agreement on records that have several writers, or that are judged by each other: order [`crate::Order::Agreed`].

mod certificate;
mod client;
mod course;
mod justify;
mod past;
mod poll;
mod read;
mod remembered;
mod row;
mod state;
mod vote;

pub use certificate::{LockCertificate, SettlementCertificate};
pub(crate) use justify::Attempt;
pub(crate) use remembered::Remembered;
pub(crate) use row::{AgreedRow, Place};
pub use state::{AddressState, MAX_AGREED_SLOTS, Settled, StateEntry};
pub use vote::{Ballot, MAX_ROUND_STEP, Phase, Promise, Vote};
