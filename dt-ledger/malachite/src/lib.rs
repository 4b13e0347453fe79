//! A consensus for `dt-ledger` on the Malachite engine (Tendermint): validators of several companies agree on every block over a network.
//!
//! ```text
//!  submit ─▶ Mempool ──────────────▶ GetValue ─▶ Replica::prepare ─▶ parts ─┐
//!    │          ▲                       │                                    │ engine's network: proposals, parts, votes, blocks of the past
//!    └─ exchange ┴─ of the peers     Application ◀── Decided ◀── engine ◀────┘
//!       own network: transactions,      │
//!       images                          └─▶ Replica::{verify, hold, commit}
//! ```
//!
//! The engine decides on digests; blocks, transactions and the state are ours. A precommit is the ledger's [`dt_ledger::Commit`], so the
//! certificates of this engine are those of the ledger, and whoever verifies a chain need not know by what it was agreed on.
//!
//! # What a validator must keep
//!
//! Its replica's store and its journal (`<folder>/journal`). Without the journal it might vote twice: it is not started then
//! ([`StartError::JournalLost`]), and where both are lost and somebody says that it is new, it stops when it meets a vote of its own
//! ([`Halt::VotedBefore`]). It comes back as a watcher ([`Start::Watch`]), and votes again under a key that its organisation names on the ledger.

mod application;
#[cfg(feature = "bare")]
mod bare;
mod bodies;
mod config;
mod context;
mod engine;
mod evidence;
mod exchange;
mod images;
mod node;
mod shared;
mod signing;
mod wire;

#[cfg(feature = "bare")]
pub use bare::Bare;
pub use config::{Config, Pace, Peer, Start};
pub use evidence::{Act, Equivocation, Said};
pub use images::{RestoreError, Restored, restore};
pub use libp2p::Multiaddr;
pub use libp2p::identity::Keypair;
pub use node::{Malachite, StartError};
pub use shared::Halt;
