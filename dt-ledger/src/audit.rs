//! The paper's *audit* (section 3.2): everything a replica holds is recomputed from its blocks, by somebody who trusts none of its nodes.

use std::ops::ControlFlow;
use std::sync::Arc;

use thiserror::Error;

use crate::block::CommittedBlock;
use crate::genesis::Genesis;
use crate::opening::{GENESIS, OpenReplicaError, read_meta};
use crate::replica::{Replica, Tip};
use crate::store::{LedgerStore, MemoryStore, Row, StoreError, StoreView, Table, hex};
use crate::successor::BlockError;

/// What an audit found in order.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AuditReport {
    /// Where the chain stands.
    pub tip: Tip,
    /// Transactions that were applied.
    pub applied: u64,
    /// Transactions that were refused, each with the rule's name on the chain.
    pub rejected: u64,
    /// Rows of the store that were compared with what they must be.
    pub rows: u64,
}

/// The first thing that an audit found out of order.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AuditError {
    /// The store holds another chain than the one that is audited, or none.
    #[error(transparent)]
    Chain(#[from] OpenReplicaError),
    /// A block is not what its validators committed, or cannot follow on the one before.
    #[error("block {height}: {error}")]
    Block {
        /// Its height.
        height: u64,
        /// What is wrong with it.
        #[source]
        error: BlockError,
    },
    /// A block is missing, or its bytes are damaged.
    #[error("block {height} is missing or damaged")]
    BlockUnreadable {
        /// Its height.
        height: u64,
    },
    /// What is stored about a block's results is not what the block does.
    #[error("block {height}: transaction {transaction} had another outcome than is stored")]
    Outcome {
        /// Its height.
        height: u64,
        /// The first transaction with another receipt, counted from 0; beyond the last, the events differ.
        transaction: usize,
    },
    /// A row is not what the blocks make it.
    #[error("table {}: a row is not what the blocks make it (key {})", table.name(), hex(key))]
    Row {
        /// The table.
        table: Table,
        /// The first such key.
        key: Vec<u8>,
    },
    /// The store did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Replays the chain that `store` holds from `genesis`, the one thing that the auditor trusts, and compares all that is stored with what
/// comes out: blocks and their votes, outcomes, every value of the state, every node of its Merkle map, every trace.
///
/// `progress` is told each height when it is done.
///
/// # Errors
/// [`AuditError`] names the first divergence.
pub fn audit(
    store: &dyn LedgerStore,
    genesis: &Genesis,
    progress: &mut dyn FnMut(u64),
) -> Result<AuditReport, AuditError> {
    let stored = store.view()?;
    let memory = MemoryStore::default();
    let replica = Replica::open(Arc::new(memory.clone()), genesis)?;
    match read_meta::<Genesis>(&*stored, GENESIS)? {
        None => return Err(OpenReplicaError::NoChain.into()),
        Some(found) if found != *genesis => {
            return Err(OpenReplicaError::OtherChain { found: found.chain() }.into());
        }
        Some(_) => {}
    }
    let (mut applied, mut rejected) = (0, 0);
    for height in 1.. {
        let committed = match CommittedBlock::load(&*stored, height) {
            Ok(Some(committed)) => committed,
            Ok(None) => break,
            Err(StoreError::Damaged { table: Table::Blocks, .. }) => {
                return Err(AuditError::BlockUnreadable { height });
            }
            Err(error) => return Err(error.into()),
        };
        let replayed = replica
            .commit(committed.block.clone(), committed.certificate.clone())
            .map_err(|error| AuditError::Block { height, error })?;
        if *replayed != committed {
            let differs = |(a, b)| a != b;
            let pairs = replayed.receipts.iter().zip(&committed.receipts);
            let transaction =
                pairs.map(differs).position(|differs| differs).unwrap_or(replayed.receipts.len());
            return Err(AuditError::Outcome { height, transaction });
        }
        let refused = replayed.receipts.iter().filter(|receipt| receipt.result().is_err()).count() as u64;
        rejected += refused;
        applied += replayed.receipts.len() as u64 - refused;
        progress(height);
    }
    let rows = compare(&*stored, &*memory.view()?)?;
    Ok(AuditReport { tip: replica.tip(), applied, rejected, rows })
}

/// Compares all rows of two stores.
fn compare(stored: &dyn StoreView, replayed: &dyn StoreView) -> Result<u64, AuditError> {
    let mut count = 0;
    for table in Table::ALL {
        let expected = all_rows(replayed, table)?;
        let mut expected = expected.iter();
        let mut wrong = None;
        stored.scan(table, &[], &mut |key, value| {
            let same = expected.next().is_some_and(|(k, v)| k == key && v == value);
            if !same {
                wrong = Some(key.to_vec());
                return ControlFlow::Break(());
            }
            count += 1;
            ControlFlow::Continue(())
        })?;
        if let Some(key) = wrong.or_else(|| expected.next().map(|(key, _)| key.clone())) {
            return Err(AuditError::Row { table, key });
        }
    }
    Ok(count)
}

fn all_rows(view: &dyn StoreView, table: Table) -> Result<Vec<Row>, StoreError> {
    crate::store::scan_prefix(view, table, &[], usize::MAX)
}
