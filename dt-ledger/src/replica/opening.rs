//! How a replica comes up: from nothing, or from what it stored.

use borsh::{BorshDeserialize, BorshSerialize};
use dt_model::{Digest, TwinId, codec};
use thiserror::Error;

use crate::block::log_root;
use crate::evidence::log::LogHead;
use crate::membership::genesis::{Genesis, GenesisError};
use crate::parallel::Threads;
use crate::replica::Tip;
use crate::store::{Batch, LedgerStore, StoreError, StoreView, Table};
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
    /// An import of an image into the store has begun and not ended: it must begin anew.
    #[error("the store holds an unfinished import")]
    Unfinished,
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
    let state_root = tree::update(&*store.view()?, &state, &mut batch, Threads::ONE)?;
    batch.extend(Table::State, state);
    let validators = genesis.validators();
    batch.put(Table::Index, validators_key(1), codec::encode(&validators));
    let receipts_root = log_root(&[]);
    let tip = Tip {
        height: 0,
        block: chain,
        time: genesis.time,
        state_root,
        receipts_root,
        log: LogHead::empty(),
        validators,
        resting: Vec::new(),
    };
    batch.put(Table::Meta, GENESIS, codec::encode(genesis));
    batch.put(Table::Meta, TIP, codec::encode(&tip));
    store.commit(batch)
}

/// Where the index holds the validators from `height` on. The greater the height, the earlier the row, so that a scan from a height finds
/// those that are in force there first.
pub(crate) fn validators_key(height: u64) -> Vec<u8> {
    [b"v".as_slice(), &(!height).to_be_bytes()].concat()
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
