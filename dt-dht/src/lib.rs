//! Quorum-replicated and erasure-coded records among registered nodes, of which k may be malicious, with seams for network and storage.
//!
//! ```text
//!   Client ── Call ──▶ Transport (seam) ──▶ Replica ── Validator (seam): is it allowed?
//!     │      signed      in process,          │        dt-acl, dt-feed, OwnedRecords
//!     │      request     libp2p, …            └─────── RecordStore (seam): rows on disk
//!     ▼                                                memory, redb
//!   PutQuorum, GetQuorum ◀── signed replies of n replicas, of which any q decide
//!     │
//!     ├── QuorumCertificate: q receipts, proof of storage for anybody
//!     └── the newest record: no older one is returned afterwards
//!
//!   Membership (from the ledger) ── replicas(address) ──▶ which n nodes hold an address
//!   BlobRef: bulk data in stripes, each in n shards, of which any k + 1 restore it; BlobWriter and BlobReader stream it
//! ```
//!
//! Where a record has one writer, the newest version counts ([`Order::Newest`]: [`Client::put`], [`Client::get`]). Where several write, or
//! records are judged by each other, the replicas of the address agree on one step after the other ([`Order::Agreed`]: [`Client::settle`],
//! [`Client::state`], [`Client::past`]): of two who start from the same state one wins, and nobody who breaks off holds the others up.
//!
//! A node runs [`Upkeep`] beside its [`Replica`]: it finds what it lacks, makes lost shards anew, and takes over what a change of the
//! [`Membership`] gives it. Its [`Policy`] says how long it keeps what nobody renews, and how much it does for whom.
//!
//! A [`Record`] is signed by its writer and lies at a [`Key`]. Its kind's [`Validator`] says at every replica who may write what; a reader
//! believes signatures and quorums, never a node. What that withstands, and what not: [`threat_model`].
//!
//! # Invariants
//! - Of n ≥ 3k + 1 replicas of an address at most k are malicious. With more, records may be rolled back or withheld, but still not forged:
//!   that takes the writer's key.
//! - Nodes and parties are those that the ledger registers: [`Membership`] MUST come from there.
//! - Content MUST be sealed before it is put (see [`seal`]): nodes see what they store.
//! - Time is an argument: the parties' clocks agree within [`MAX_REQUEST_AGE`].
//!
//! # Example
//!
//! Four nodes, of which any one may fail or lie: here one is down.
//!
//! ```
//! use std::collections::BTreeSet;
//! use std::sync::Arc;
//!
//! use dt_dht::{Client, InProcess, Membership, MemoryStore, Node, OwnedRecords, Replica, Resilience};
//! use dt_model::{Digest, Identity, Signed, Signer, Timestamp};
//!
//! # let mut rng: rand_chacha::ChaCha20Rng = rand_chacha::rand_core::SeedableRng::from_seed([7; 32]);
//! # futures_util::FutureExt::now_or_never(async {
//! let nodes: Vec<Arc<Identity>> = (0..4).map(|_| Arc::new(Identity::generate(&mut rng))).collect();
//! let maintainer = Arc::new(Identity::generate(&mut rng));
//! let membership = Membership::new(
//!     Digest::from([1; 32]), // the ledger's chain ID
//!     1,
//!     Resilience::tolerating(1)?,
//!     nodes.iter().map(|node| Node { party: node.party(), endpoints: vec![] }).collect(),
//!     BTreeSet::from([maintainer.party()]),
//! )?;
//! let replicas = nodes.iter().map(|node| {
//!     let store = Arc::new(MemoryStore::new());
//!     Arc::new(Replica::new(node.clone(), store, membership.clone(), vec![Arc::new(OwnedRecords)]))
//! });
//! let now = Timestamp::from_millis(1_700_000_000_000);
//! let network = Arc::new(InProcess::new(replicas, Arc::new(move || now)));
//! network.stop(&nodes[2].party());
//!
//! let client = Client::new(maintainer.clone(), network, membership.clone(), rng);
//! let name = "calibration".parse()?;
//! let key = OwnedRecords::key(&maintainer.party(), &name);
//! let record = OwnedRecords::record(maintainer.party(), name, 1, &b"zero at 4.02 mA"[..]);
//! let record = Signed::new(record, &*maintainer)?;
//!
//! let certificate = client.put(&record, now).await?;
//! certificate.verify_for(&membership, &record)?; // anybody can, offline
//!
//! let found = client.get(key, OwnedRecords::check(), now).await?.expect("it was stored");
//! assert_eq!(OwnedRecords::value(&found)?, "zero at 4.02 mA");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # }).unwrap().unwrap();
//! ```

mod agreement;
mod audit;
mod blob;
mod call;
mod certificate;
mod client;
mod equivocation;
mod membership;
mod message;
mod operation;
mod owned;
mod parcel;
mod proof;
mod quorum;
mod record;
#[cfg(feature = "redb")]
mod redb_store;
mod replica;
mod resilience;
mod rows;
pub mod seal;
mod store;
mod tally;
#[cfg(feature = "testing")]
pub mod testing;
#[doc = include_str!("../THREATS.md")]
pub mod threat_model {}
mod transport;
mod upkeep;
mod validator;

pub use agreement::{
    AddressState, Ballot, Bid, Former, LockCertificate, MAX_AGREED_SLOTS, MAX_ROUND_STEP, Phase, Promise,
    Settled, SettlementCertificate, StateEntry, Vote,
};
pub use audit::{RowDamage, RowKey, StoreDamage, StoreReport, verify_store};
pub use blob::{
    BlobError, BlobReader, BlobRef, BlobWriter, Checkpoint, MAX_BLOB_BYTES, MAX_INDEX_BYTES, Progress,
    STRIPE_BYTES, STRIPES_IN_FLIGHT, StripeCoder, Timer, decode_stripe, encode_stripe, max_blob_bytes,
};
pub use call::{Call, ReplyError};
pub use certificate::{CertificateError, MAX_CERTIFICATE_BYTES, QuorumCertificate, Receipt};
pub use client::{Client, GetError, PutError};
pub use equivocation::{Culprit, Equivocation, EquivocationError};
pub use membership::{Endpoint, Membership, MembershipError, Node};
pub use message::{
    Lock, MAX_MESSAGE_BYTES, MAX_REQUEST_AGE, Reply, ReplyBody, Request, RequestBody, request_digest,
};
pub use owned::OwnedRecords;
pub use parcel::{Carries, Parcel, Shard};
pub use quorum::{Check, GetQuorum, PutQuorum, WriteBack};
pub use record::{Address, Key, Kind, MAX_RECORD_BYTES, Record, Slot};
#[cfg(feature = "redb")]
pub use redb_store::RedbStore;
pub use replica::Replica;
pub use resilience::{Resilience, TooFewReplicas};
pub use store::{MemoryStore, RecordStore, Row, StoreError};
pub use transport::{Answer, Clock, InProcess, Transport, TransportError};
pub use upkeep::{
    Amount, FoundPast, FoundShard, HandOver, HandOverCertificate, HandOverError, Holding, LEASE,
    LISTING_HOLDINGS, Listing, Pace, Place, Policy, Quotas, ROW_BYTES, Rate, RequestLimits, Step, Summary,
    Swept, Upkeep, UpkeepReply, UpkeepReport, UpkeepRequest, Usage,
};
pub use validator::{Neighbours, Order, Refusal, Site, Validator};
