//! Pruning: the blocks that nobody here needs any more go; what shows that the chain is what it is stays.
//!
//! What goes is each block's body (transactions, receipts, events) with the index rows that lead to it. What stays: headers with their
//! votes, so that every root and every set of validators can be verified from the genesis on; the state; and the traces.

use std::sync::PoisonError;

use dt_model::codec;

use crate::block::{CommittedBlock, body_key};
use crate::history::Entry;
use crate::replica::Replica;
use crate::replica::opening::read_meta;
use crate::store::{Batch, StoreError, StoreView, Table};

/// Row of [`Table::Meta`]: the first height whose body is here, where that is not 1.
pub(crate) const FIRST: &[u8] = b"first-block";

/// Blocks that go in one step, and bytes of bodies after which a step is full: no commit of a block waits for longer than one step.
const STEP_BLOCKS: u64 = 256;
const STEP_BYTES: usize = 16 * 1024 * 1024;

impl Replica {
    /// The first height from which on [`Replica::block`] gives each block: 1, unless the ones before were pruned, or the replica came from
    /// an image; then one more than the tip's if none has been committed since.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn first_block(&self) -> Result<u64, StoreError> {
        first_block(&*self.store.view()?)
    }

    /// Removes the bodies of the blocks below height `below`, in steps that are durable each, while blocks go on being committed; the
    /// first block that is left. The last block is never removed.
    ///
    /// What was pruned reads as absent ([`Replica::block`], [`Replica::transaction`]); headers, state and traces are there as before. To
    /// audit such a replica, begin from an image of [`Replica::export`] at or after the height before `first_block`.
    ///
    /// # Errors
    /// [`StoreError`]; the store is whole then, and some of the blocks may have gone.
    pub fn prune(&self, below: u64) -> Result<u64, StoreError> {
        loop {
            let _one_at_a_time = self.committing.lock().unwrap_or_else(PoisonError::into_inner);
            let view = self.store.view()?;
            let first = first_block(&*view)?;
            let end = below.min(self.tip().height);
            if first >= end {
                return Ok(first);
            }
            let batch = step(&*view, first, end.min(first.saturating_add(STEP_BLOCKS)))?;
            drop(view);
            self.store.commit(batch)?;
        }
    }
}

/// What removes the first of the blocks from `first` to before `end`.
fn step(view: &dyn StoreView, first: u64, end: u64) -> Result<Batch, StoreError> {
    let (mut batch, mut bytes) = (Batch::default(), 0);
    let mut next = first;
    while next < end && bytes < STEP_BYTES {
        let damaged = || StoreError::Damaged { table: Table::Blocks, key: body_key(next) };
        let committed = CommittedBlock::load(view, next)?.ok_or_else(damaged)?;
        bytes += committed.block.transactions.iter().map(bytes::Bytes::len).sum::<usize>();
        bytes += size_of_val(&*committed.receipts) + size_of_val(&*committed.events);
        for key in Entry::of_block(view, next)?.iter().flat_map(Entry::keys) {
            batch.remove(Table::Index, key);
        }
        batch.remove(Table::Blocks, body_key(next));
        next += 1;
    }
    batch.put(Table::Meta, FIRST, codec::encode(&next));
    Ok(batch)
}

pub(crate) fn first_block(view: &dyn StoreView) -> Result<u64, StoreError> {
    Ok(read_meta(view, FIRST)?.unwrap_or(1))
}
