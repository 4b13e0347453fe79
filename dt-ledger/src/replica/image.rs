//! Images: a replica's state in one stream of bytes, from which another replica goes on without the blocks before.
//!
//! ```text
//! domain  Head   State …        Specification …  Trace …                 Log …                 End
//! v1      tip    rows by key    by twin          by resource and number  its last tiles
//!         └── a Checkpoint ─────┴── the state ───┴── heads in the state ─┴── the checkpoint     nothing may follow
//! ```
//!
//! Each frame is its length in four bytes (little endian) and the canonical encoding of a [`Frame`]. There is one image of a chain at a
//! height, but for which votes of the last block a replica has: no part of it depends on how a replica came there.
//!
//! # Invariant
//! Nothing of an image is believed. All of it follows from a certified [`crate::Checkpoint`]: the last block's digest binds its header, that its
//! validators and (by the header before) those of the next block; the state's root binds every row; the rows bind each specification by
//! its subtree root, and each trace by its last link; and the tiles at the edge of the log make its root.

mod export;
mod frames;
mod import;

use borsh::{BorshDeserialize, BorshSerialize};
use dt_model::{Domain, PartyId, TwinId};

use crate::block::{CommitCertificate, Header, validators_digest};
use crate::membership::genesis::Genesis;
use crate::record::TraceEntry;
use crate::replica::opening::{OpenReplicaError, read_meta};
use crate::replica::successor::check_votes;
use crate::store::StoreView;
use crate::transaction::MAX_AML_BYTES;

pub use export::ExportError;
pub use import::{Image, ImportError};

/// What an image begins with: its version.
const IMAGE: Domain = Domain::new("dt/ledger/image/v1");
/// No frame is longer: the longest holds a specification.
const MAX_FRAME_BYTES: usize = MAX_AML_BYTES + 1024;

/// Rows of [`crate::store::Table::Meta`]: that an import is under way, and the [`Head`] of the image that a replica came from.
pub(crate) const IMPORTING: &[u8] = b"importing";
pub(crate) const ORIGIN: &[u8] = b"origin";

#[derive(BorshSerialize, BorshDeserialize)]
enum Frame {
    /// Where the chain stands.
    Head(Box<Head>),
    /// A row of the state.
    State(Vec<u8>, Vec<u8>),
    /// A twin's specification: the document's own bytes.
    Specification(TwinId, Vec<u8>),
    /// A link of a trace.
    Trace(TraceEntry),
    /// The last, partial tile of a level of the log; from the lowest level up.
    Log(Vec<u8>),
    /// There is no more.
    End,
}

/// A block with what shows that its validators committed it, and who they were.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(crate) struct Head {
    pub(crate) genesis: Genesis,
    /// The header before, but for the first block: it names the validators.
    previous: Option<Header>,
    pub(crate) header: Header,
    certificate: CommitCertificate,
    /// Whose votes these are.
    validators: Vec<PartyId>,
    /// Whose votes commit the next block.
    next_validators: Vec<PartyId>,
}

impl Head {
    /// Whether it all hangs together: with the header's digest trusted, it is true.
    fn holds(&self) -> bool {
        let Self { genesis, previous, header, certificate, validators, next_validators } = self;
        let chain = genesis.chain();
        let committed_by = match previous {
            None => header.height == 1 && header.previous == chain && *validators == genesis.validators(),
            Some(previous) => {
                previous.chain == chain
                    && previous.height.checked_add(1) == Some(header.height)
                    && previous.digest() == header.previous
                    && previous.next_validators == validators_digest(validators)
            }
        };
        committed_by
            && genesis.check().is_ok()
            && header.chain == chain
            && header.next_validators == validators_digest(next_validators)
            && check_votes(validators, header, certificate).is_ok()
    }
}

/// Refuses a store in which an import has begun and not ended.
pub(crate) fn require_finished(view: &dyn StoreView) -> Result<(), OpenReplicaError> {
    match read_meta::<u8>(view, IMPORTING)? {
        Some(_) => Err(OpenReplicaError::Unfinished),
        None => Ok(()),
    }
}
