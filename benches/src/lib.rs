//! What the benchmarks share: how they measure, a synthetic plant of any size and one with a crowd in it, a chain on which
//! several parties work, and a runtime to wait on. Nothing here is timed.
//!
//! ```text
//!   benches/model.rs   aml/   ledger/   dht.rs   acl.rs   feed.rs   sync.rs     one per crate, aml_memory.rs, ledger_scale.rs
//!         └─────────────┴────────┴─────────┴────────┴────────┴─────────┘
//!                                     │
//!        criterion()   plant(bytes)   Chain   client()   runtime()   Ed25519   Numbers     this library
//! ```
//!
//! Each group of a benchmark holds our figure (`ours: …`) and what it is to be held against (`peer: …`), measured in one run.

mod chain;
mod measure;
mod network;
mod plant;

pub use chain::{CALLS, Chain, MEMBERS, encoded};
pub use measure::{Ed25519, Numbers, criterion, is_trial, runtime};
pub use network::client;
pub use plant::{
    CROWD_ID, DEVICES_PER_UNIT, FRAGMENT_ID, UNITS_PER_AREA, crowd, fragment, member, member_id, plant,
    unit_id,
};
