//! The paper's *trace* (section 3.2) in pages: the writes to one thing, each chained to the one before.

use dt_model::{Digest, codec};
use thiserror::Error;

use crate::history::query::MAX_PAGE;
use crate::history::{trace_key, trace_list};
use crate::record::{Resource, TraceEntry, TraceHead};
use crate::replica::Replica;
use crate::replica::opening::MAX_META_BYTES;
use crate::state::{Snapshot, State as _};
use crate::store::{Row, StoreError, Table, scan_after, scan_prefix};

/// A part of a trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TracePage {
    /// The writes, in order.
    pub entries: Vec<TraceEntry>,
    /// Where the trace stood after the last of them: from where to ask on.
    pub reached: TraceHead,
    /// Where the trace stands in the state, which a [`crate::StateProof`] ties to a certified header. The trace was read to its end when
    /// `reached` is the same.
    pub head: TraceHead,
}

/// Why there is no such page.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TraceError {
    /// The trace never stood where the page is to begin.
    #[error("the trace never stood at {} after {} writes", .0.last.short(), .0.count)]
    NotOfThisTrace(TraceHead),
    /// The store did not answer, or the chain does not hold.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl TraceHead {
    /// Where a trace stands before the first write.
    pub const BEGINNING: Self = Self { count: 0, last: Digest::ZERO };

    /// Where the trace stood after `entry`.
    #[must_use]
    pub fn after(entry: &TraceEntry) -> Self {
        Self { count: entry.number, last: entry.digest() }
    }
}

impl Snapshot {
    /// The paper's *trace* (section 3.2): every write to `resource`, in order, each chained to the one before. The chain is checked up
    /// to its head in the state, which a [`crate::StateProof`] ties to a certified header.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] where the chain does not hold.
    pub fn trace(&self, resource: &Resource) -> Result<Vec<TraceEntry>, StoreError> {
        let head = self.trace_head(resource)?.unwrap_or(TraceHead::BEGINNING);
        let list = trace_list(resource);
        let rows = scan_prefix(&*self.view, Table::Index, &list, usize::MAX)?;
        let (entries, reached) = chained(resource, TraceHead::BEGINNING, rows)?;
        if reached == head {
            Ok(entries)
        } else {
            Err(StoreError::Damaged { table: Table::Index, key: trace_key(&list, reached.count) })
        }
    }
}

/// The entries in `rows`, of which the first follows on `reached`, and where the trace stands after them.
fn chained(
    resource: &Resource,
    mut reached: TraceHead,
    rows: Vec<Row>,
) -> Result<(Vec<TraceEntry>, TraceHead), StoreError> {
    let mut entries = Vec::with_capacity(rows.len());
    for (key, value) in rows {
        let entry = decode(key.clone(), &value)?;
        let follows = entry.number == reached.count + 1 && entry.previous == reached.last;
        if !follows || entry.resource != *resource {
            return Err(StoreError::Damaged { table: Table::Index, key });
        }
        reached = TraceHead::after(&entry);
        entries.push(entry);
    }
    Ok((entries, reached))
}

impl Replica {
    /// [`Snapshot::trace`] of the state after the last block.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] where the chain does not hold.
    pub fn trace(&self, resource: &Resource) -> Result<Vec<TraceEntry>, StoreError> {
        self.snapshot()?.trace(resource)
    }

    /// At most `limit` (1 to [`MAX_PAGE`]) of the writes to `resource` after it stood at `after`.
    ///
    /// Each entry is held against the one before, the first against `after`, the last of the trace against its head in the state: whoever
    /// has read on from [`TraceHead::BEGINNING`] until `reached` is `head` has the whole of it, and nothing else.
    ///
    /// # Errors
    /// [`TraceError::NotOfThisTrace`], or [`StoreError::Damaged`] where the chain does not hold.
    pub fn trace_page(
        &self,
        resource: &Resource,
        after: TraceHead,
        limit: u32,
    ) -> Result<TracePage, TraceError> {
        let snapshot = self.snapshot()?;
        let list = trace_list(resource);
        let head = snapshot.trace_head(resource)?.unwrap_or(TraceHead::BEGINNING);
        if !stood_at(&snapshot, &list, head, after)? {
            return Err(TraceError::NotOfThisTrace(after));
        }
        let from = trace_key(&list, after.count);
        let limit = limit.clamp(1, MAX_PAGE) as usize;
        let rows = scan_after(&*snapshot.view, Table::Index, &list, Some(&from), limit)?;
        let (entries, reached) = chained(resource, after, rows)?;
        if (entries.len() < limit || reached.count >= head.count) && reached != head {
            let key = trace_key(&list, reached.count);
            return Err(StoreError::Damaged { table: Table::Index, key }.into());
        }
        Ok(TracePage { entries, reached, head })
    }
}

/// Whether the trace in `list` that now stands at `head` once stood at `after`.
fn stood_at(snapshot: &Snapshot, list: &[u8], head: TraceHead, after: TraceHead) -> Result<bool, StoreError> {
    if after == head || after == TraceHead::BEGINNING {
        return Ok(true);
    }
    if after.count == 0 || after.count >= head.count {
        return Ok(false);
    }
    let key = trace_key(list, after.count);
    let Some(bytes) = snapshot.view.get(Table::Index, &key)? else {
        return Err(StoreError::Damaged { table: Table::Index, key });
    };
    Ok(TraceHead::after(&decode(key, &bytes)?) == after)
}

fn decode(key: Vec<u8>, bytes: &[u8]) -> Result<TraceEntry, StoreError> {
    codec::decode(bytes, MAX_META_BYTES).map_err(|_| StoreError::Damaged { table: Table::Index, key })
}
