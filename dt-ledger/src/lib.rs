//! The specification contract and the authorization contract as one deterministic state machine, with an authenticated state, an audit
//! log, and seams for consensus and storage.

mod admission;
mod audit;
mod block;
mod call;
mod certificate;
mod consensus;
mod genesis;
mod policy;
mod receipt;
mod record;
#[cfg(feature = "redb")]
mod redb_store;
mod replica;
mod safety;
mod solo;
mod state;
pub mod store;
#[cfg(feature = "testing")]
pub mod testing;
mod transaction;
mod transition;
mod tree;

pub use admission::AdmissionError;
pub use audit::{AuditError, AuditReport, audit};
pub use block::{Block, Commit, CommitCertificate, CommittedBlock, Header, MAX_BLOCK_BYTES, vote_quorum};
pub use call::{
    Argument, Call, CallResult, CreateTwin, Document, DocumentId, FeedReference, ProgramCall, Provenance,
    TwinCall, Uri, Version,
};
pub use certificate::Certificate;
pub use consensus::{Consensus, ConsensusError, ExecuteError, Executed, Status, execute};
pub use genesis::{Genesis, GenesisError, Organisation};
pub use policy::{AGENT, MAINTAINER, OWNER, Policy, Subject};
pub use receipt::{Event, EventKind, Outcome, Reason, Receipt, TwinEvent};
pub use record::{
    AclAnchor, CallRecord, CallStatus, DocumentRecord, Feed, HeadAnchor, Nodes, Party, Resource, Roles,
    Source, Specification, StateKey, TraceEntry, TraceHead, Twin, VersionRecord,
};
#[cfg(feature = "redb")]
pub use redb_store::RedbStore;
pub use replica::{BlockError, OpenReplicaError, Replica, Tip};
pub use safety::check_call;
pub use solo::{Clock, Solo};
pub use state::{CallError, Snapshot, State};
pub use store::{LedgerStore, MemoryStore, StoreError, StoreView};
pub use transaction::{MAX_AML_BYTES, MAX_CALL_BYTES, MAX_CALLS, Transaction};
pub use transition::{document_id, twin_id};
pub use tree::StateProof;
