//! The DHT over real networks: a [`dt_dht::Transport`] on rust-libp2p (QUIC, TCP with Noise) that only registered parties may use.
//!
//! ```text
//!   Client ── Transport::request ──▶ Outbox ─┐                         ┌─ Desk ──▶ Answer (the party's Replica)
//!                                            ├─ Task: owns the swarm ──┤
//!   Membership (from the ledger) ─▶ Directory┘          │              └─ one stream for each request and its reply
//!                                       │               ▼
//!                                      Gate ──▶ connection limits ──▶ identify, Kademlia ──▶ Exchanges: an engine
//!                                       who may connect                where members are     and an account for each peer
//! ```
//!
//! A party is one peer: both are the same Ed25519 key, which Noise and TLS prove in the handshake. So whoever is not registered on the ledger
//! is refused before he can say anything, and nobody is heard in another's name.
//!
//! # Invariants
//! - A request is delivered at most once, and ends within [`Config::request_timeout`].
//! - What a peer costs is bounded, in rate, memory, streams and places ([`Limits`]), and paid from his own share.
//! - Addresses come from the ledger ([`dt_dht::Node::endpoints`]), and are else hints of other members: whoever answers there has to prove his
//!   key. Kademlia stores nothing.
//!
//! # Example
//!
//! ```
//! # use std::collections::BTreeSet;
//! # use std::sync::Arc;
//! # use dt_dht::{Client, Membership, MemoryStore, Node, OwnedRecords, Policy, Replica, Resilience};
//! # use dt_model::{Digest, Identity, Signed, Signer, Timestamp};
//! use dt_dht_libp2p::{Config, Libp2pTransport};
//!
//! # tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
//! # let mut rng: rand_chacha::ChaCha20Rng = rand_chacha::rand_core::SeedableRng::from_seed([7; 32]);
//! # let clock = Arc::new(|| Timestamp::from_millis(1_700_000_000_000));
//! # let identity = Arc::new(Identity::generate(&mut rng));
//! # let nodes = vec![Node { party: identity.party(), endpoints: vec![] }];
//! # let membership = Membership::new(Digest::from([1; 32]), 1, Resilience::tolerating(0)?, nodes, BTreeSet::new())?;
//! # let store = Arc::new(MemoryStore::new());
//! let replica = Replica::new(identity.clone(), store, membership.clone(), vec![Arc::new(OwnedRecords)]);
//! let config = Config {
//!     listen: vec!["/ip4/127.0.0.1/tcp/0".parse()?, "/ip4/127.0.0.1/udp/0/quic-v1".parse()?],
//!     ..Config::default()
//! };
//! let answer = Arc::new(replica).answering(clock);
//! let transport = Libp2pTransport::start(&identity, &membership, Some(answer), config).await?;
//!
//! let client = Client::new(identity.clone(), Arc::new(transport.clone()), membership, rng);
//! # let (name, now) = ("calibration".parse()?, Timestamp::from_millis(1_700_000_000_000));
//! let record = OwnedRecords::record(identity.party(), name, 1, &b"zero at 4.02 mA"[..]);
//! client.put(&Signed::new(record, &*identity)?, now).await?;
//! transport.shut_down().await;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod account;
mod config;
mod desk;
mod directory;
mod exchange;
mod frame;
mod gate;
mod outbox;
mod peer;
mod swarm;
mod task;
mod transport;

pub use config::{Config, Limits};
pub use libp2p::Multiaddr;
pub use transport::{Libp2pTransport, StartError, Status};
