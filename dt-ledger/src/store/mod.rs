//! The storage seam: a few tables of bytes, written in one atomic step per block.

#[cfg(feature = "redb")]
mod journal;
#[cfg(feature = "redb")]
mod journaled;
pub(crate) mod memory;
#[cfg(feature = "redb")]
mod recent;
#[cfg(feature = "redb")]
pub(crate) mod redb;
pub(crate) mod rows;
mod sorted;

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use thiserror::Error;

pub use crate::store::memory::MemoryStore;

/// What a ledger keeps apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    /// Height → committed block.
    Blocks,
    /// The contracts' state.
    State,
    /// The nodes of the Merkle map over the state.
    Tree,
    /// The hashes of the log of all transactions.
    Log,
    /// What the specifications are made of: bases, and the edits since.
    Specifications,
    /// Blocks that were proposed here and are not committed yet.
    Pending,
    /// What is found again by it: traces, transactions, histories of parties, twins and elements, documents by what they hold.
    Index,
    /// What the ledger knows of itself: genesis and tip.
    Meta,
}

impl Table {
    /// All tables.
    pub const ALL: [Self; 8] = [
        Self::Blocks,
        Self::State,
        Self::Tree,
        Self::Log,
        Self::Specifications,
        Self::Pending,
        Self::Index,
        Self::Meta,
    ];

    /// The table's name on disk.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Blocks => "blocks",
            Self::State => "state",
            Self::Tree => "tree",
            Self::Log => "log",
            Self::Specifications => "specifications",
            Self::Pending => "pending",
            Self::Index => "index",
            Self::Meta => "meta",
        }
    }
}

/// A row's key and value.
pub type Row = (Vec<u8>, Vec<u8>);

/// Who is shown rows, each by key and value, until he breaks off.
pub type Visit<'a> = &'a mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>;

/// What to write to a table: for each key its value, or `None` to remove it.
pub type Writes = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// What to write to a store: at most one write for each key.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Batch {
    tables: BTreeMap<Table, Writes>,
}

impl Batch {
    /// Writes `value` at `key`.
    pub fn put(&mut self, table: Table, key: impl Into<Vec<u8>>, value: Vec<u8>) {
        self.tables.entry(table).or_default().insert(key.into(), Some(value));
    }

    /// Removes what is at `key`.
    pub fn remove(&mut self, table: Table, key: impl Into<Vec<u8>>) {
        self.tables.entry(table).or_default().insert(key.into(), None);
    }

    /// Adds many writes; sorted ones are added quickly.
    pub fn extend(&mut self, table: Table, writes: impl IntoIterator<Item = (Vec<u8>, Option<Vec<u8>>)>) {
        let all = self.tables.entry(table).or_default();
        if all.is_empty() {
            *all = writes.into_iter().collect();
        } else {
            all.extend(writes);
        }
    }

    /// The tables that are written to, each with its writes.
    pub fn tables(&self) -> impl Iterator<Item = (Table, &Writes)> {
        self.tables.iter().map(|(table, writes)| (*table, writes))
    }

    /// The tables that are written to, each with its writes.
    pub fn into_tables(self) -> impl Iterator<Item = (Table, Writes)> {
        self.tables.into_iter()
    }
}

/// Why the store did not answer.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The engine below failed.
    #[error("the store failed")]
    Engine(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// What is stored is not what was written.
    #[error("table {} is damaged at key {}", table.name(), hex(key))]
    Damaged {
        /// The table.
        table: Table,
        /// The row's key.
        key: Vec<u8>,
    },
}

/// A row's key, as messages show it.
pub(crate) fn hex(key: &[u8]) -> String {
    key.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Keeps a ledger's bytes.
///
/// What an implementer may get wrong: [`LedgerStore::commit`] is *atomic and durable*. When it returns `Ok`, all of the batch
/// survives a power failure; when the process dies before, none of it is there. A [`StoreView`] is a snapshot: commits that come
/// after it do not show in it. Keys are ordered as bytes. `commit` blocks for the time of one flush to disk.
/// `dt_ledger::testing::store_suite` (feature `testing`) checks all but the power failure.
pub trait LedgerStore: Send + Sync {
    /// What is stored now, unmoved by later commits.
    ///
    /// # Errors
    /// [`StoreError`].
    fn view(&self) -> Result<Box<dyn StoreView>, StoreError>;

    /// Writes `batch`, all of it or nothing, durably.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was written then.
    fn commit(&self, batch: Batch) -> Result<(), StoreError>;
}

/// A snapshot of a [`LedgerStore`].
pub trait StoreView: Send + Sync {
    /// The value at `key`.
    ///
    /// # Errors
    /// [`StoreError`].
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// Shows each row from key `from` on, in order, to `visit`, until it breaks off.
    ///
    /// # Errors
    /// [`StoreError`].
    fn scan(&self, table: Table, from: &[u8], visit: Visit<'_>) -> Result<(), StoreError>;

    /// Shows each row up to key `to` and at it, the last first, to `visit`, until it breaks off.
    ///
    /// # Errors
    /// [`StoreError`].
    fn scan_back(&self, table: Table, to: &[u8], visit: Visit<'_>) -> Result<(), StoreError>;
}

/// The rows of `table` whose keys start with `prefix` and come after `after`, at most `limit` of them.
///
/// # Errors
/// [`StoreError`].
pub(crate) fn scan_after(
    view: &dyn StoreView,
    table: Table,
    prefix: &[u8],
    after: Option<&[u8]>,
    limit: usize,
) -> Result<Vec<Row>, StoreError> {
    // No key lies between one and the same with a zero behind it.
    let from = after.map_or_else(|| prefix.to_vec(), |after| [after, &[0]].concat());
    let mut rows = Vec::new();
    view.scan(table, &from, &mut |key, value| {
        if !key.starts_with(prefix) || rows.len() >= limit {
            return ControlFlow::Break(());
        }
        rows.push((key.to_vec(), value.to_vec()));
        ControlFlow::Continue(())
    })?;
    Ok(rows)
}

/// The rows of `table` whose keys start with `prefix`, at most `limit` of them.
///
/// # Errors
/// [`StoreError`].
pub fn scan_prefix(
    view: &dyn StoreView,
    table: Table,
    prefix: &[u8],
    limit: usize,
) -> Result<Vec<Row>, StoreError> {
    scan_after(view, table, prefix, None, limit)
}
