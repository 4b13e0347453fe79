//! Blocks before they are committed: made here, or proposed by somebody else.

use bytes::Bytes;
use dt_model::{Digest, Timestamp, codec};

use crate::block::Block;
use crate::replica::Replica;
use crate::replica::application::{self, Making, Refused};
use crate::replica::successor::BlockError;
use crate::store::{Batch, StoreError, Table, scan_prefix};

impl Replica {
    /// The block to propose in `round` of the next height: made of as many of `transactions` as are admissible, and durably kept before it
    /// is returned; the others with why they are not.
    ///
    /// Asked again for the same height and round, also after a crash, it gives the same block, whatever is offered: a proposer that gave
    /// two would be taken for a traitor.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn prepare(
        &self,
        round: u32,
        transactions: Vec<Bytes>,
        time: Timestamp,
    ) -> Result<(Block, Vec<Refused>), StoreError> {
        let key = pending_key(self.tip().height + 1, round);
        let damaged = |_| StoreError::Damaged { table: Table::Pending, key: key.clone() };
        if let Some(bytes) = self.store.view()?.get(Table::Pending, &key)? {
            return Ok((codec::decode(&bytes, usize::MAX).map_err(damaged)?, Vec::new()));
        }
        let (block, left) = self.assemble_in(round, transactions, time)?;
        let mut batch = Batch::default();
        batch.put(Table::Pending, pending_key(block.header.height, round), codec::encode(&block));
        self.store.commit(batch)?;
        Ok((block, left))
    }

    /// Keeps a block that somebody proposed for the next height, durably, until that height is committed: what a validator does *before* it
    /// votes for it, so that a block that has its votes is never lost, whoever crashes. Nothing about it is verified.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn hold(&self, block: &Block) -> Result<(), StoreError> {
        let mut batch = Batch::default();
        let key = held_key(block.header.height, &block.header.digest());
        batch.put(Table::Pending, key, codec::encode(block));
        self.store.commit(batch)
    }

    /// The blocks for the next height that are kept here: those that were [prepared](Replica::prepare) and those that were
    /// [held](Replica::hold).
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn held(&self) -> Result<Vec<Block>, StoreError> {
        let next = self.tip().height + 1;
        let rows = scan_prefix(&*self.store.view()?, Table::Pending, &next.to_be_bytes(), usize::MAX)?;
        let block = |(key, value): (Vec<u8>, Vec<u8>)| {
            codec::decode(&value, usize::MAX).map_err(|_| StoreError::Damaged { table: Table::Pending, key })
        };
        rows.into_iter().map(block).collect()
    }

    /// The next block, at `time` (or the last block's time, if that is later), of as many of `transactions` as are admissible, in their
    /// order; and the others with why they are not. Nothing is kept: whoever lets others vote on it asks [`Replica::prepare`].
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn assemble(
        &self,
        transactions: Vec<Bytes>,
        time: Timestamp,
    ) -> Result<(Block, Vec<Refused>), StoreError> {
        self.assemble_in(0, transactions, time)
    }

    fn assemble_in(
        &self,
        round: u32,
        transactions: Vec<Bytes>,
        time: Timestamp,
    ) -> Result<(Block, Vec<Refused>), StoreError> {
        let (current, view) = self.consistent()?;
        let making = Making { round, time, transactions };
        let (block, applied, left) =
            application::assemble(&current, &*view, self.chain, making, &self.verified)?;
        self.keep(applied);
        Ok((block, left))
    }

    /// Whether `block` can be the chain's next, all but its votes: what a validator asks before it votes.
    ///
    /// A proposer can lie: [`BlockError::StateDiverges`] for a block without votes is a reason not to vote for it, and none to stop. From
    /// [`Replica::commit`], after the votes, it is.
    ///
    /// `latest` is the validator's clock, and what it allows other clocks to be ahead: a block from the future, once committed, would end
    /// certificates and calls before their time.
    ///
    /// # Errors
    /// [`BlockError`].
    pub fn verify(&self, block: &Block, latest: Timestamp) -> Result<(), BlockError> {
        if block.header.time > latest {
            return Err(BlockError::TimeAhead { latest });
        }
        let (current, view) = self.consistent()?;
        let applied = self.apply(&current, &*view, block)?;
        self.keep(applied);
        Ok(())
    }
}

/// Where a proposal is kept until its height is committed.
fn pending_key(height: u64, round: u32) -> Vec<u8> {
    [&height.to_be_bytes()[..], &round.to_be_bytes()].concat()
}

/// Where somebody's proposal is kept until its height is committed. No round is so long: both kinds of rows stand side by side.
fn held_key(height: u64, block: &Digest) -> Vec<u8> {
    [&height.to_be_bytes()[..], block.as_bytes()].concat()
}
