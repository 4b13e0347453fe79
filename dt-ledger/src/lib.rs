//! The specification contract and the authorization contract as one deterministic state machine, with an authenticated state, an audit
//! log, and seams for consensus and storage.
//!
//! ```text
//!  Transaction ──submit──▶ Consensus (seam: Solo, …) ──blocks──▶ Replica ──one Batch per block──▶ LedgerStore (seam: memory, redb)
//!  signed Calls                    ▲                      │  ▲                                      │
//!                                  └───prepare, verify────┘  │                                      ├─ blocks   votes, receipts, events
//!                                                            │                                      ├─ state    what the contracts know
//!  block + State ──transition──▶ writes, receipts, events ───┘                                      ├─ tree     its Merkle map
//!  (pure, one `match`)                                                                              ├─ log      all transactions
//!                                                                                                   └─ index    traces, histories
//!
//!  read:   Replica::snapshot ─▶ State: authorize, twin, document, …      prove:  StateProof, ElementProof, … ─▶ Verifier, which
//!  trace:  Replica::trace    ─▶ every write to one thing, chained                trusts validators and needs no store
//!  audit:  everything again, from the genesis alone, or from an image
//!  image:  Replica::export   ─▶ Image::import under a Certified          prune:  bodies of old blocks go, headers and traces stay
//!  query:  Replica::query    ─▶ who did what, where and when, in pages   follow: Follower ─▶ events, from any cursor on
//! ```
//!
//! # Invariants
//!
//! - State MUST be a function of the genesis and the committed blocks: no clock, no randomness, no floats, no hash order.
//! - A block is applied whole or not at all, and durably before anybody is told. So is each transaction in it.
//! - Whoever acts is whoever signed. A transaction's body names no sender, so none can be forged, and its nonce is used once, whether
//!   the contracts applied it or refused it.
//! - A refusal is a receipt that names its rule ([`Reason::rule`]), not an error: it can be audited. What was not committed leaves nothing.
//! - A header carries the state root *before* its block: a replica that computed something else stops instead of forking.
//! - Validators that change in block h are named by header h + 1, under the votes of those who go, and vote from block h + 2 on.
//! - Rights hang on components, that is, on elements with an ID of their own. The nearest one above that has a policy decides, alone;
//!   what was removed keeps the scope in which it stood.
//! - Nothing here fetches, seals or stores what a document or feed holds: the ledger has references, hashes and rights.
//!
//! # Who takes part
//!
//! A chain belongs to organisations, which the [`Genesis`] names. Each is known by the key of its authority, and has:
//!
//! - **parties**: whoever holds a key that the authority certified, in our own form or in X.509 ([`Credential`]), and registered it
//!   ([`Call::Register`], signed by that key: nobody is enrolled without knowing). It stays one until the certificate ends, is revoked
//!   ([`Call::RevokeCertificate`]), or its organisation leaves; registering a certificate of the same authority that ends later renews it
//!   without a gap. The encryption key is certified once, and the party's to rotate from then on: a renewal leaves it as it is. A certificate
//!   is good to its end: to shorten one, revoke the party and certify it anew, from a later moment (some PKIs date certificates back).
//! - **validators**: the keys whose votes commit blocks, as many as it names ([`Call::SetValidators`]) up to its seats. A key serves one
//!   organisation. That it is the organisation's own is not proven: who names another's takes it from that one, for all to see.
//! - **one vote** on who the organisations are and by what rules they decide ([`Proposal`], [`Call::Propose`], [`Call::Vote`]). A change is
//!   made by the transaction in which the organisations *of that moment* that agree are as many as [`Approval`] says. No organisation and
//!   no number of parties changes any of this alone, unless the organisations have agreed that so few may.
//! - **the DHT** that its parties' nodes make. The organisations found it by a vote ([`Proposal::FoundStorage`]); from then on nodes come
//!   and go by joint epochs ([`Nodes`]): nobody is asked no more before others have taken over ([`Call::HandOver`]).
//!
//! | | a party | an authority |
//! |---|---|---|
//! | transactions on twins, by its roles | yes | no, unless it is a party besides |
//! | its own encryption key, certificate, DHT node | yes | |
//! | enrol, revoke | itself: leave | its own parties, nobody else's |
//! | validators, votes | | its own organisation's |
//!
//! What an authority cannot do: act for a party whose key it has certified, read or write a twin, change what a party has done, or touch
//! another organisation's parties. What it can: certify as many keys as it likes, under whatever names. A name says what people call a
//! party; rights are given to keys.
//!
//! An authority's key SHOULD be kept offline and be no party's and no validator's. If it is lost or stolen, the others remove its
//! organisation and add one with another key; its parties then register what the new authority certifies.
//!
//! # A twin's life
//!
//! - **Without a device agent** a twin is like any other, but that its calls wait: they are queued while the queue has room, can be
//!   cancelled, and expire. Whoever becomes the agent ([`TwinCall::SetAgent`]) claims what still waits.
//! - **Transferred** ([`TwinCall::TransferOwnership`]), it has another owner from that transaction on: the role of the owner moves, all other
//!   roles and policies stay as they are, and so does the agent. Calls that the former owner has queued are judged by the rights
//!   that he has when they are started. What he wrote stays his: authors do not change.
//! - **Decommissioned** ([`TwinCall::Decommission`]), it is read-only for ever: every call to it is refused (`twin.decommissioned`), by whomever.
//!   It can be read, traced, proven and audited like any other, by those who could before.
//!
//! # Example
//!
//! ```
//! use std::collections::BTreeMap;
//! use std::sync::Arc;
//!
//! use dt_ledger::*;
//! use dt_model::{ComponentId, ContentHash, Digest, Identity, Name, Signed, Signer, Timestamp};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
//! # let mut rng: rand_chacha::ChaCha20Rng = rand_chacha::rand_core::SeedableRng::from_seed([7; 32]);
//! let [authority, validator, owner] = [(); 3].map(|()| Identity::generate(&mut rng));
//!
//! // The root of trust: who may enrol parties, and whose votes commit blocks.
//! let genesis = Genesis {
//!     name: Name::new("bottling line")?,
//!     time: Timestamp::from_millis(0),
//!     organisations: vec![Organisation {
//!         name: Name::new("Owner AG")?,
//!         authority: authority.party(),
//!         validators: vec![validator.party()],
//!     }],
//!     approval: Approval::Majority,
//!     seats: 1,
//! };
//! let replica = Arc::new(Replica::open(Arc::new(MemoryStore::default()), &genesis)?);
//! let clock: Clock = Arc::new(|| Timestamp::from_millis(1_000));
//! let consensus = Solo::new(replica.clone(), Arc::new(validator), clock);
//!
//! // The owner is enrolled by its organisation, and creates a twin.
//! let certificate = Certificate {
//!     chain: replica.chain(),
//!     party: owner.party(),
//!     name: Name::new("owner")?,
//!     encryption_key: owner.encryption_key(),
//!     not_before: Timestamp::from_millis(0),
//!     not_after: Timestamp::MAX,
//! };
//! let certificate = Signed::new(certificate, &authority)?.into_envelope().into();
//! execute(&consensus, &replica, &owner, vec![Call::Register { certificate }]).await?;
//!
//! let aml = r#"<CAEXFile SchemaVersion="2.15"><InstanceHierarchy Name="Plant">
//!   <InternalElement Name="Filler" ID="filler"/>
//! </InstanceHierarchy></CAEXFile>"#;
//! let create = CreateTwin {
//!     device_name: Name::new("Bottling line 1")?,
//!     device_id: Name::new("line-1")?,
//!     aml: aml.into(),
//!     policy: Policy::paper_default(),
//!     roles: BTreeMap::new(),
//!     agent: None,
//! };
//! let twin = twin_id(&replica.chain(), &owner.party(), &create.device_id);
//! execute(&consensus, &replica, &owner, vec![Call::CreateTwin(create)]).await?;
//!
//! // A document is registered; its content lies elsewhere.
//! let document = TwinCall::AddDocument(Document {
//!     title: Name::new("maintenance report")?,
//!     media_type: Name::new("application/pdf")?,
//!     component: Some(ComponentId::new("filler")?),
//!     version: Version {
//!         size: 11,
//!         content: ContentHash::of(b"all is well"),
//!         item: Digest::ZERO,
//!         provenance: None,
//!     },
//! });
//! execute(&consensus, &replica, &owner, vec![Call::Twin { twin, call: document }]).await?;
//!
//! // Anybody repeats all of it, trusting the genesis alone.
//! assert_eq!(replica.snapshot()?.documents(&twin)?.len(), 1);
//! let fresh = MemoryStore::default();
//! let second = Replica::open(Arc::new(fresh.clone()), &genesis)?;
//! for height in 1..=replica.tip().height {
//!     let CommittedBlock { block, certificate, .. } = replica.block(height)?.ok_or("no such block")?;
//!     second.commit(block, certificate)?;
//! }
//! assert_eq!(second.tip(), replica.tip());
//! assert_eq!(audit(&fresh, &genesis, &mut |_| {})?.applied, 3);
//! # Ok(()) })
//! # }
//! ```
//!
//! # Why the Merkle map is our own
//!
//! `jmt`, the well-kept Jellyfish Merkle tree, was weighed and not taken. It keeps every version of every node until somebody prunes it,
//! while we keep one state and replay blocks for any other; it asks for a store of its own shape, while ours is a few tables of bytes
//! written in one step per block; and it brings two dozen dependencies, some of a former generation of the hashing crates that all
//! else here uses. What is left to write is a binary trie, whose root depends on the entries alone and is tested against a recomputation in so many
//! words, and how its nodes lie in rows.

mod audit;
mod block;
mod call;
mod consensus;
mod evidence;
mod history;
mod membership;
mod mempool;
mod parallel;
mod policy;
mod proposers;
mod receipt;
mod record;
mod replica;
pub mod safety;
mod solo;
mod state;
pub mod store;
#[cfg(feature = "testing")]
pub mod testing;
mod transaction;
mod transition;
mod tree;

pub use audit::{AuditError, AuditReport, audit};
pub use block::{
    Block, Commit, CommitCertificate, CommittedBlock, Header, MAX_BLOCK_BYTES, validators_digest, vote_quorum,
};
pub use call::{
    Argument, Call, CallResult, CreateTwin, Document, DocumentId, FeedReference, ProgramCall, Provenance,
    TwinCall, Uri, Version,
};
pub use consensus::{Consensus, ConsensusError, ExecuteError, Executed, Status, execute};
pub use evidence::checkpoint::{Checkpoint, CheckpointError};
pub use evidence::log::LogHead;
pub use evidence::note::{
    MAX_KEY_NAME_BYTES, MAX_NOTE_BYTES, NoteError, NoteKey, NoteKeyError, NoteSignature, SignedNote,
};
pub use evidence::proof::{ElementProof, TraceProof};
pub use evidence::split_view::{MAX_SPLIT_VIEW_BYTES, Split, SplitView, SplitViewError};
pub use evidence::verifier::{Certified, Verifier, VerifyError};
pub use history::events::{EventCursor, EventFilter, EventPage, EventsError, Follower, Occurrence};
pub use history::query::{MAX_PAGE, Order, Page, Query, Scope};
pub use history::trace::{TraceError, TracePage};
pub use history::{Entry, Place, Written};
pub use membership::certificate::{Certificate, Credential, CredentialError, MAX_X509_BYTES};
pub use membership::consortium::{
    Approval, Consortium, MAX_MEMBERS, MAX_OPEN_PROPOSALS, MAX_PROPOSAL_MILLIS, Organisation,
    OrganisationRecord, Proposal, ProposalRecord,
};
pub use membership::genesis::{Genesis, GenesisError};
pub use mempool::{Candidate, Mempool, MempoolError, MempoolLimits};
pub use policy::{AGENT, MAINTAINER, OWNER, Policy, Subject};
pub use proposers::{REST_HEIGHTS, Rest, turn};
pub use receipt::{Event, EventKind, Outcome, Reason, Receipt, TwinEvent};
pub use record::{
    AclAnchor, CallRecord, CallStatus, DocumentRecord, Feed, HeadAnchor, NodeRecord, Nodes, NodesChange,
    NodesHead, Party, Resource, Roles, Source, Specification, StateKey, TraceEntry, TraceHead, Twin,
    VersionRecord,
};
pub use replica::admission::AdmissionError;
pub use replica::application::Refused;
pub use replica::image::{ExportError, Image, ImportError};
pub use replica::opening::OpenReplicaError;
pub use replica::successor::BlockError;
pub use replica::{Replica, Tip};
pub use safety::{SafetyRule, SafetyRules, check_call};
pub use solo::{Clock, Solo};
pub use state::{CallError, Record, Snapshot, State};
#[cfg(feature = "redb")]
pub use store::redb::{RedbStore, StorageBackend};
pub use store::{LedgerStore, MemoryStore, StoreError, StoreView};
pub use transaction::{MAX_AML_BYTES, MAX_CALL_BYTES, MAX_CALLS, Transaction};
pub use transition::{document_id, proposal_id, twin_id};
pub use tree::StateProof;
