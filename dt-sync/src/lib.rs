//! What a participant runs: the client over ledger and DHT, and the device agent between twin and asset.
//!
//! ```text
//!            Client ───────────────┐                 Agent (a Client with a Device)
//!     write: seal, store off-chain,│       asset ──readings──▶ feeds
//!            wait for the quorum,  │       asset ──exchange──▶ one ledger transaction
//!            then register         │       asset ◀──calls────── the ledger's queue, at most once
//!     read:  believe the ledger,   │
//!            check the DHT by it   │
//!                ┌─────────────────┴──────┐
//!                ▼                        ▼
//!     Ledger: consensus, replica    Items, feeds: dt-acl, dt-feed over dt-dht
//! ```
//!
//! # Invariants
//! - The ledger says who may read; lists on the DHT follow it ([`readers`]), and only a quorum changes either.
//! - Nothing that a node says is believed: content is held against the ledger's hash, lists and heads against its anchors.
//! - A crash between two steps loses nothing: the same call made again finishes what it began.
//! - A machine is actuated at most once for each call (see [`Agent`]).

mod agent;
mod anomaly;
mod client;
mod device;
mod error;
mod feeds;
mod journal;
mod ledger;
mod rights;
#[cfg(feature = "testing")]
pub mod testing;

pub use agent::{Agent, AgentError, Pulled, Served};
pub use anomaly::{Anomaly, MEASURED_VALUE, check as check_reading};
pub use client::{Client, Content, Draft};
pub use device::{Device, DeviceError, Exchange, READING_MEDIA_TYPE, Reading};
pub use error::ClientError;
pub use feeds::{FeedKeys, Readings};
pub use journal::{InFlight, Journal, JournalError, Memory};
pub use ledger::{Ledger, Subscription};
pub use rights::{feed_keys, membership, readers};
