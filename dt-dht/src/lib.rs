//! Quorum-replicated and erasure-coded records among registered nodes, of which k may be malicious, with seams for network and storage.

mod record;
mod resilience;
mod validator;

pub use record::{Address, Key, Kind, MAX_RECORD_BYTES, Record, Slot};
pub use resilience::{Resilience, TooFewReplicas};
pub use validator::{Neighbours, Refusal, Site, Validator};
