//! The storage seam: rows of bytes, and the in-memory reference.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{PoisonError, RwLock};

use bytes::Bytes;
use thiserror::Error;

/// Why a store did not do what it was asked.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The operating system failed.
    #[error("the store's file failed")]
    Io(#[from] std::io::Error),
    /// What is on disk is not what the store wrote.
    #[error("the store is damaged")]
    Corrupt(#[source] Option<Box<dyn std::error::Error + Send + Sync>>),
    /// Another process or another value of this one has the store open.
    #[error("the store is open elsewhere")]
    AlreadyOpen,
    /// The store was not closed properly, and cannot be repaired without writing: open it for writing once.
    #[error("the store needs to be repaired by opening it for writing")]
    NeedsRepair,
    /// A write to a store that was opened for reading.
    #[error("the store is open for reading only")]
    ReadOnly,
    /// The engine failed for a reason of its own.
    #[error("the store's engine failed")]
    Engine(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// A row: its key and its value.
pub type Row = (Bytes, Bytes);

/// Keeps a replica's rows: a sorted map from bytes to bytes that survives.
///
/// What an implementer may get wrong: [`RecordStore::put`] MUST be durable when it returns (synced to the disk, not merely handed to
/// the operating system), since a receipt is signed right after it: a replica that forgets what it receipted counts as malicious. It
/// MUST be atomic: after a crash either all rows of the batch are there or none. Reads see every completed write. Keys sort as bytes,
/// and may hold any bytes. Damage is an error, never other bytes and never a panic. Calls are concurrent.
/// [`crate::testing::store_suite`] checks all of this that can be checked without a power cut.
pub trait RecordStore: Send + Sync {
    /// The value at `key`.
    ///
    /// # Errors
    /// [`StoreError`].
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError>;

    /// Writes all `rows`, durably and atomically, over what was there. Of two rows with one key, the later one stays.
    ///
    /// # Errors
    /// [`StoreError`]; then nothing was written.
    fn put(&self, rows: &[Row]) -> Result<(), StoreError>;

    /// Removes the rows with these `keys`, durably and atomically. A key that is not there is no error.
    ///
    /// # Errors
    /// [`StoreError`]; then nothing was removed.
    fn remove(&self, keys: &[Bytes]) -> Result<(), StoreError>;

    /// At most `limit` rows whose keys start with `prefix` and are greater than `after`, in the order of their keys.
    ///
    /// # Errors
    /// [`StoreError`].
    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Row>, StoreError>;
}

/// Where a scan starts.
pub(crate) fn scan_start<'a>(prefix: &'a [u8], after: Option<&'a [u8]>) -> Bound<&'a [u8]> {
    match after {
        Some(after) if after >= prefix => Bound::Excluded(after),
        _ => Bound::Included(prefix),
    }
}

/// Rows in memory: the reference, for tests and for nodes that may forget.
#[derive(Debug, Default)]
pub struct MemoryStore(RwLock<BTreeMap<Bytes, Bytes>>);

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl RecordStore for MemoryStore {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        Ok(self.0.read().unwrap_or_else(PoisonError::into_inner).get(key).cloned())
    }

    fn put(&self, rows: &[Row]) -> Result<(), StoreError> {
        let mut map = self.0.write().unwrap_or_else(PoisonError::into_inner);
        map.extend(rows.iter().cloned());
        Ok(())
    }

    fn remove(&self, keys: &[Bytes]) -> Result<(), StoreError> {
        let mut map = self.0.write().unwrap_or_else(PoisonError::into_inner);
        keys.iter().for_each(|key| drop(map.remove(key)));
        Ok(())
    }

    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Row>, StoreError> {
        let map = self.0.read().unwrap_or_else(PoisonError::into_inner);
        Ok(map
            .range::<[u8], _>((scan_start(prefix, after), Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(prefix))
            .take(limit)
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect())
    }
}
