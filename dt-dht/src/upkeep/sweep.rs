//! Removing what has expired, or is no longer the node's own: a bounded number of rows at a time, and whole addresses only.
//!
//! An address that is begun to be removed is marked first: nothing there counts any more, so that nobody sees half of it, also not after
//! a crash. Who puts something there meanwhile finishes the removal, or is told to come again.

use core::time::Duration;

use bytes::Bytes;
use dt_model::Timestamp;

use super::books::{AT_ADDRESSES, AddressRow};
use super::{Batch, address_key, limits};
use crate::rows::{RowsError, SHARDS, shard_key};
use crate::{Address, Refusal, Replica};

/// What a sweep did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Swept {
    /// Addresses looked at.
    pub looked: usize,
    /// Rows removed.
    pub removed: usize,
    /// Where to go on.
    pub next: Option<Address>,
    /// Whether there is nothing after that.
    pub is_over: bool,
}

/// How many rows are removed in one batch.
const BATCH_ROWS: usize = 64;
/// How long to wait for the rest of a removal.
const REMOVAL_WAIT: Duration = Duration::from_millis(200);

impl Replica {
    /// Removes what has expired, at addresses after `after`: about `budget` addresses are looked at and rows removed.
    ///
    /// To be called again with [`Swept::next`] until [`Swept::is_over`], and then from the beginning, say once a day. Nothing is lost if it is
    /// not: what has expired and is not removed is served, and renewed by whoever puts it.
    ///
    /// # Errors
    /// [`Refusal::Unavailable`] if the store fails.
    pub fn sweep(&self, after: Option<Address>, budget: usize, now: Timestamp) -> Result<Swept, Refusal> {
        let mut swept = Swept { next: after, ..Swept::default() };
        while swept.looked + swept.removed < budget {
            let page = self.addresses(swept.next, 1)?;
            let Some((address, row)) = page.first() else { return Ok(Swept { is_over: true, ..swept }) };
            swept.looked += 1;
            if row.expiring || row.rows == 0 || self.policy().ends(row.leased) <= now {
                let _held = self.lock_only(address);
                // Somebody may have renewed it meanwhile.
                let row = self.address_row(address)?.unwrap_or_default();
                if row.expiring || row.rows == 0 || self.policy().ends(row.leased) <= now {
                    let room = budget.saturating_sub(swept.looked + swept.removed).max(1);
                    let (removed, done) = self.remove_address(address, &row, room)?;
                    swept.removed += removed;
                    if !done {
                        return Ok(swept);
                    }
                }
            }
            swept.next = Some(*address);
        }
        Ok(swept)
    }

    /// Drops an address that other nodes hold now: it is marked, and the next sweeps remove it.
    pub(crate) fn drop_address(&self, address: &Address) -> Result<(), Refusal> {
        let _held = self.lock_only(address);
        self.rows().change(|batch| batch.expire(*address)).map_err(|error| error.refusal())
    }

    /// Removes the shards at an address that are not the node's `own` any more, since its place among the replicas has changed.
    pub(crate) fn drop_shards(&self, blob: &Address, own: &[u16]) -> Result<(), Refusal> {
        let prefix = [&[SHARDS], &blob.as_bytes()[..]].concat();
        let _held = self.lock_only(blob);
        let rows = self.store().scan(&prefix, None, BATCH_ROWS).map_err(|_| Refusal::Unavailable)?;
        let is_own = |key: &Bytes| own.iter().any(|index| *key == shard_key(blob, *index));
        let others: Vec<Bytes> = rows.into_iter().map(|(key, _)| key).filter(|key| !is_own(key)).collect();
        if others.is_empty() {
            return Ok(());
        }
        let change = |batch: &mut Batch<'_>| others.into_iter().try_for_each(|key| batch.remove(key));
        self.rows().change(change).map_err(|error| error.refusal())
    }

    /// Finishes the removal of an address that is being removed. Its lock is held.
    ///
    /// # Errors
    /// [`Refusal::Busy`] if there is more of it than can be removed at once.
    pub(crate) fn finish_removal(&self, address: &Address) -> Result<(), Refusal> {
        match self.address_row(address)? {
            Some(row) if row.expiring => match self.remove_address(address, &row, BATCH_ROWS)? {
                (_, true) => Ok(()),
                (_, false) => Err(limits::busy(REMOVAL_WAIT)),
            },
            _ => Ok(()),
        }
    }

    /// Removes up to `most` rows of an address whose lock is held: how many, and whether none is left.
    fn remove_address(
        &self,
        address: &Address,
        row: &AddressRow,
        most: usize,
    ) -> Result<(usize, bool), Refusal> {
        let rows = self.rows();
        let fails = |error: RowsError| error.refusal();
        let mut removed = 0;
        if !row.expiring && row.rows > BATCH_ROWS.min(most) as u64 {
            rows.change(|batch| batch.expire(*address)).map_err(fails)?;
        }
        loop {
            let limit = BATCH_ROWS.min(most.saturating_sub(removed).max(1));
            let keys = self.keys_at(address, limit)?;
            if keys.is_empty() {
                if row.rows == 0 {
                    // The last that a crash may have left of a removal.
                    self.store().remove(&[address_key(address)]).map_err(|_| Refusal::Unavailable)?;
                }
                return Ok((removed, true));
            }
            if removed >= most && removed > 0 {
                return Ok((removed, false));
            }
            removed += keys.len();
            rows.change(|batch| keys.into_iter().try_for_each(|key| batch.remove(key))).map_err(fails)?;
        }
    }

    /// The keys of some rows at an address, tombstones too.
    fn keys_at(&self, address: &Address, limit: usize) -> Result<Vec<Bytes>, Refusal> {
        let mut keys = Vec::new();
        for prefix in AT_ADDRESSES {
            let prefix = [&[prefix], &address.as_bytes()[..]].concat();
            let rows = self.store().scan(&prefix, None, limit - keys.len());
            keys.extend(rows.map_err(|_| Refusal::Unavailable)?.into_iter().map(|(key, _)| key));
            if keys.len() >= limit {
                break;
            }
        }
        Ok(keys)
    }
}
