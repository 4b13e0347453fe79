//! How a replica comes up: from nothing, or from what it stored.

use std::sync::Arc;

use borsh::{BorshDeserialize, BorshSerialize};
use dt_aml::{Document, Edit};
use dt_model::{Digest, TwinId, codec};
use thiserror::Error;

use crate::block::log_root;
use crate::genesis::{Genesis, GenesisError};
use crate::record::{Sort, Specification, StateKey};
use crate::replica::Tip;
use crate::state::{Specifications, decode_value};
use crate::store::{Batch, LedgerStore, StoreError, StoreView, Table, scan_prefix};
use crate::transaction::AML_LIMITS;
use crate::tree;

/// Why a replica did not come up.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OpenReplicaError {
    /// The genesis cannot begin a chain.
    #[error(transparent)]
    Genesis(#[from] GenesisError),
    /// The store holds another chain.
    #[error("the store holds the chain {}", found.short())]
    OtherChain {
        /// That chain.
        found: Digest,
    },
    /// The store holds no chain.
    #[error("the store holds no chain")]
    NoChain,
    /// The specification of a twin cannot be rebuilt from its base and edits.
    #[error("the specification of twin {} cannot be rebuilt", .0.short())]
    Specification(TwinId),
    /// The store did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Rows of [`Table::Meta`].
pub(crate) const GENESIS: &[u8] = b"genesis";
pub(crate) const TIP: &[u8] = b"tip";
/// Neither row is ever longer.
pub(crate) const MAX_META_BYTES: usize = 1024 * 1024;

/// Writes the state that `genesis` begins with.
pub(crate) fn begin(store: &dyn LedgerStore, genesis: &Genesis) -> Result<(), StoreError> {
    let chain = genesis.chain();
    let state = genesis.rows();
    let mut batch = Batch::default();
    let state_root = tree::update(&*store.view()?, &state, &mut batch)?;
    batch.writes.extend(state.into_iter().map(|(key, value)| ((Table::State, key), value)));
    let receipts_root = log_root([]);
    let tip = Tip { height: 0, block: chain, time: genesis.time, state_root, receipts_root };
    batch.put(Table::Meta, GENESIS, codec::encode(genesis));
    batch.put(Table::Meta, TIP, codec::encode(&tip));
    store.commit(batch)
}

pub(crate) fn read_meta<T: BorshSerialize + BorshDeserialize>(
    view: &dyn StoreView,
    key: &[u8],
) -> Result<Option<T>, StoreError> {
    let Some(bytes) = view.get(Table::Meta, key)? else { return Ok(None) };
    codec::decode(&bytes, MAX_META_BYTES)
        .map(Some)
        .map_err(|_| StoreError::Damaged { table: Table::Meta, key: key.to_vec() })
}

/// Parses every twin's base, applies its edits, and checks that the result has the root that the state says.
pub(crate) fn rebuild(view: &dyn StoreView) -> Result<Specifications, OpenReplicaError> {
    let mut specifications = Specifications::new();
    for (key, value) in
        scan_prefix(view, Table::State, &StateKey::prefix(Sort::Specification, None), usize::MAX)?
    {
        let damaged = |_| StoreError::Damaged { table: Table::State, key: key.clone() };
        let key = codec::decode(&key, MAX_META_BYTES).map_err(damaged)?;
        let StateKey::Specification(twin) = key else { continue };
        let stands: Specification = decode_value(&key, &value)?;
        let document =
            rebuild_one(view, twin, stands.version)?.ok_or(OpenReplicaError::Specification(twin))?;
        if document.root_hash().as_bytes() != stands.root.as_bytes() {
            return Err(OpenReplicaError::Specification(twin));
        }
        specifications.insert(twin, Arc::new(document));
    }
    Ok(specifications)
}

fn rebuild_one(view: &dyn StoreView, twin: TwinId, version: u64) -> Result<Option<Document>, StoreError> {
    let read = |key: &StateKey| view.get(Table::State, &key.to_bytes());
    let base = StateKey::SpecificationBase(twin);
    let Some(bytes) = read(&base)? else { return Ok(None) };
    let aml: Vec<u8> = decode_value(&base, &bytes)?;
    let Ok(mut document) = Document::parse(&aml, &AML_LIMITS) else { return Ok(None) };
    for number in 1..=version {
        let key = StateKey::SpecificationEdits(twin, number);
        let Some(bytes) = read(&key)? else { return Ok(None) };
        let edits: Vec<Edit> = decode_value(&key, &bytes)?;
        if document.apply(&edits).is_err() {
            return Ok(None);
        }
    }
    Ok(Some(document))
}
