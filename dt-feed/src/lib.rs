//! Single-owner, signed, chained, encrypted sensor streams whose replicas witness that they only ever grow.
//!
//! ```text
//!  owner                                 k of 3k + 1 nodes may lie              reader
//!  ─────                                 ────────────────────────               ──────
//!  Publisher ── append(Entry)      at the address that is the Manifest's digest:    Reader (keys of epochs)
//!     │                              ┌──────────────────────────────────────┐         │
//!     │ batch: 256 entries, 100 ms   │ mani 0   Manifest                    │◀─ open ─┤
//!     ├─▶ blob of sealed entries ───▶│ segm 0 ◀─ segm 1 ◀─ … ◀─ segm n - 1  │◀─ range, history, prove
//!     ├─▶ Segment ──────────────────▶│                             ▲        │         │
//!     └─▶ Head ─────────────────────▶│ head 0   n segments, root ──┘        │◀─ head ─┤ never back: Floor
//!         one signature for all      └──────────────────────────────────────┘         ├─▶ EntryProof, for anybody
//!                                      validators: each step follows the last         └─▶ Fork: evidence
//! ```
//!
//! This is the paper's *DHT feed* (section 4.3): the ledger refers to a feed once, by its [`FeedId`], and readings follow without
//! another transaction. Entries are the leaves of an RFC 6962 tree; a [`Head`] signs its root, a [`Segment`] describes a sealed batch and
//! proves how the tree grew by it.
//!
//! # Invariants
//! - Only the [`Manifest`]'s owner MUST be able to extend a feed, and nobody to shorten or change it: a replica keeps what its head covers
//!   ([`validators`]), and two histories by one owner are a [`Fork`].
//! - There MUST be one [`Publisher`] of a feed at a time, and its clock MUST NOT go back between runs.
//! - Entries MUST leave the publisher only sealed. A leaf is blinded, so that a node cannot guess a reading from its hash.
//! - What a [`Reader`] returns MUST lead to the root that the owner signed.
//! - Keys come from outside ([`EpochKey`], [`Keys`]): whoever is given the key of an epoch reads that epoch, and no other.
//!
//! What that withstands, attack by attack, and what it does not: [`threat_model`].
//!
//! # Costs
//! A batch costs the owner three quorum operations, one after the other (blob, segment, head), and two signatures; its head costs a
//! reader one quorum read, its entries two more. A range or a span of time is found in O(log n) reads of descriptions, and proven with
//! O(log n) further ones; both are remembered. The publisher's state is the last head: at most 64 hashes.
//!
//! # Example
//!
//! ```
//! use std::collections::BTreeSet;
//! use std::sync::Arc;
//!
//! use dt_dht::{Client, InProcess, Membership, MemoryStore, Node, Replica, Resilience};
//! use dt_feed::{BatchPolicy, Entry, EpochKey, Manifest, Publisher, Reader, validators};
//! use dt_model::{Digest, Identity, Secret, Signer, Timestamp, TwinId};
//!
//! # let mut rng: rand_chacha::ChaCha20Rng = rand_chacha::rand_core::SeedableRng::from_seed([7; 32]);
//! # let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
//! # runtime.block_on(async {
//! // Four nodes, of which one may lie, a device, and a maintainer.
//! let nodes: Vec<Arc<Identity>> = (0..4).map(|_| Arc::new(Identity::generate(&mut rng))).collect();
//! let device = Arc::new(Identity::generate(&mut rng));
//! let maintainer = Arc::new(Identity::generate(&mut rng));
//! let membership = Membership::new(
//!     Digest::from([1; 32]), // the ledger's chain ID
//!     1,
//!     Resilience::tolerating(1)?,
//!     nodes.iter().map(|node| Node { party: node.party(), endpoints: vec![] }).collect(),
//!     BTreeSet::from([device.party(), maintainer.party()]),
//! )?;
//! let now = Timestamp::from_millis(1_700_000_000_000);
//! let replicas = nodes.iter().map(|node| {
//!     Arc::new(Replica::new(node.clone(), Arc::new(MemoryStore::new()), membership.clone(), validators()))
//! });
//! let network = Arc::new(InProcess::new(replicas, Arc::new(move || now)));
//! # let (rng_a, rng_b) = (rng.clone(), rng.clone());
//!
//! // The device publishes under a key that the maintainer was given.
//! let client = Client::new(device.clone(), network.clone(), membership.clone(), rng_a);
//! let manifest = Manifest {
//!     twin: TwinId::from([2; 32]),
//!     component: "filler".parse()?,
//!     owner: device.party(),
//!     topic: "pressure".parse()?,
//!     media_type: "application/json".parse()?,
//! };
//! let secret = Secret::generate(&mut rng);
//! let key = EpochKey::new(1, secret.clone());
//! let mut publisher = Publisher::create(&client, manifest.clone(), BatchPolicy::default(), key, now).await?;
//! for (at, reading) in [(0, "4.02"), (10, "4.01"), (20, "4.07")] {
//!     let time = Timestamp::from_millis(1_700_000_000_000 + at);
//!     publisher.append(Entry::new(time, reading), now)?;
//! }
//! publisher.flush(&client, now, &mut rng).await?;
//!
//! // The maintainer reads, and proves one reading to an auditor who has no key.
//! let client = Client::new(maintainer, network, membership, rng_b);
//! let keys = move |epoch: u64| (epoch == 1).then(|| secret.clone());
//! let mut reader = Reader::open(&client, manifest.feed(), keys, now).await?;
//! let latest = reader.latest(now).await?.expect("three entries");
//! assert_eq!(latest.run.entries[2].payload, "4.07");
//! let (proof, head) = reader.prove(1, now).await?;
//! proof.verify(&manifest, head.record())?; // anybody can, offline
//! assert_eq!(proof.entry.payload, "4.01");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # }).unwrap();
//! ```

mod batch;
mod driver;
mod entry;
mod head;
mod manifest;
mod policy;
mod proof;
mod publisher;
mod reader;
mod repair;
mod segment;
#[cfg(feature = "testing")]
pub mod testing;
#[doc = include_str!("../THREATS.md")]
pub mod threat_model {}
mod validator;
mod walk;

pub use dt_model::merkle::Tree;

pub use batch::{Batch, BatchError};
pub use driver::PublishError;
pub use entry::{Entry, MAX_PAYLOAD_BYTES};
pub use head::{
    Contradiction, Floor, Fork, ForkError, Head, HeadError, MAX_FORK_BYTES, MAX_HEAD_BYTES, SignedHead,
};
pub use manifest::{FeedId, HEAD, MANIFEST, MAX_MANIFEST_BYTES, Manifest, SEGMENT};
pub use policy::{BatchPolicy, EpochKey, Keys, PolicyError};
pub use proof::{EntryProof, MAX_PROOF_BYTES, ProofError};
pub use publisher::{AppendError, EpochError, MAX_AHEAD, MAX_PENDING_BYTES, MAX_PENDING_ENTRIES, Publisher};
pub use reader::{Latest, MAX_READ_BYTES, ReadError, Reader, Run};
pub use repair::{MAX_CATCH_UP, RepairError, repair};
pub use segment::{MAX_SEGMENT_BYTES, MAX_SEGMENT_ENTRIES, Segment, SegmentError, SignedSegment};
pub use validator::{HeadValidator, ManifestValidator, SegmentValidator, validators};
