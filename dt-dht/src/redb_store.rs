//! The embedded persistent store: one redb file, one table, one synced commit per batch.

use std::io;
use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use bytes::Bytes;
use dt_model::file;
use redb::{
    Database, ReadOnlyDatabase, ReadTransaction, ReadableDatabase, TableDefinition, TableError,
    TransactionError,
};

use crate::store::{Row, scan_start};
use crate::{RecordStore, StoreError};

/// A store in a redb file.
///
/// Every batch is one transaction, synced before [`RecordStore::put`] returns, so a killed process or a power cut loses nothing that
/// was acknowledged. A file that was altered behind its back gives [`StoreError::Corrupt`], also where redb itself panics.
pub struct RedbStore(Option<Engine>);

enum Engine {
    ReadWrite(Database),
    ReadOnly(ReadOnlyDatabase),
}

/// What of the file is kept in memory: enough for the inner pages of some tens of GB. (redb's own default, a GiB, would be filled by a few blobs.)
const CACHE_BYTES: usize = 64 << 20;
const ROWS: TableDefinition<'static, &[u8], &[u8]> = TableDefinition::new("rows");

impl RedbStore {
    /// Opens the file at `path`, or makes it, whole or not at all. A store that was not closed properly is repaired.
    ///
    /// # Errors
    /// [`StoreError`]; a file is open in one place at a time.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        guarded(|| {
            let path = path.as_ref();
            file::make_whole(path, |path| create(path).map_err(io::Error::other)).map_err(redb::Error::Io)?;
            Ok(Self(Some(Engine::ReadWrite(Database::builder().set_cache_size(CACHE_BYTES).open(path)?))))
        })
    }

    /// Opens the file at `path` for reading only, without altering it: for audits of a stopped node's store.
    ///
    /// # Errors
    /// [`StoreError`]; [`StoreError::NeedsRepair`] if the node did not close it properly.
    pub fn open_read_only(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        guarded(|| Ok(Self(Some(Engine::ReadOnly(ReadOnlyDatabase::open(path)?)))))
    }

    fn begin_read(&self) -> Result<ReadTransaction, Failure> {
        match &self.0 {
            Some(Engine::ReadWrite(database)) => Ok(database.begin_read()?),
            Some(Engine::ReadOnly(database)) => Ok(database.begin_read()?),
            None => Err(Failure::Redb(redb::Error::DatabaseClosed)),
        }
    }

    fn database(&self) -> Result<&Database, Failure> {
        match &self.0 {
            Some(Engine::ReadWrite(database)) => Ok(database),
            Some(Engine::ReadOnly(_)) => Err(Failure::ReadOnly),
            None => Err(Failure::Redb(redb::Error::DatabaseClosed)),
        }
    }
}

impl Drop for RedbStore {
    fn drop(&mut self) {
        // Closing writes, and on a damaged file that may panic too.
        let engine = self.0.take();
        let _ = catch_unwind(AssertUnwindSafe(|| drop(engine)));
    }
}

impl core::fmt::Debug for RedbStore {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("RedbStore(..)")
    }
}

impl RecordStore for RedbStore {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        guarded(|| {
            let value = self.begin_read()?.open_table(ROWS)?.get(key)?;
            Ok(value.map(|value| Bytes::copy_from_slice(value.value())))
        })
    }

    fn put(&self, rows: &[Row]) -> Result<(), StoreError> {
        guarded(|| {
            let transaction = self.database()?.begin_write()?;
            {
                let mut table = transaction.open_table(ROWS)?;
                for (key, value) in rows {
                    table.insert(key.as_ref(), value.as_ref())?;
                }
            }
            Ok(transaction.commit()?)
        })
    }

    fn remove(&self, keys: &[Bytes]) -> Result<(), StoreError> {
        guarded(|| {
            let transaction = self.database()?.begin_write()?;
            {
                let mut table = transaction.open_table(ROWS)?;
                for key in keys {
                    table.remove(key.as_ref())?;
                }
            }
            Ok(transaction.commit()?)
        })
    }

    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Row>, StoreError> {
        guarded(|| {
            let table = self.begin_read()?.open_table(ROWS)?;
            let mut rows = Vec::new();
            for row in table.range::<&[u8]>((scan_start(prefix, after), Bound::Unbounded))? {
                let (key, value) = row?;
                if rows.len() >= limit || !key.value().starts_with(prefix) {
                    break;
                }
                rows.push((Bytes::copy_from_slice(key.value()), Bytes::copy_from_slice(value.value())));
            }
            Ok(rows)
        })
    }
}

/// An empty store in a new file.
fn create(path: &Path) -> Result<(), redb::Error> {
    let database = Database::create(path)?;
    let transaction = database.begin_write()?;
    transaction.open_table(ROWS)?;
    Ok(transaction.commit()?)
}

/// What may go wrong inside [`guarded`].
enum Failure {
    ReadOnly,
    Redb(redb::Error),
}

macro_rules! failure_from {
    ($($error:ty),*) => {$(
        impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                Self::Redb(error.into())
            }
        }
    )*};
}
failure_from!(
    redb::Error,
    redb::DatabaseError,
    TransactionError,
    TableError,
    redb::StorageError,
    redb::CommitError
);

/// Runs `work`, and makes any failure of redb an error of ours: on altered bytes redb may panic, which must not reach our caller.
fn guarded<T>(work: impl FnOnce() -> Result<T, Failure>) -> Result<T, StoreError> {
    // Unwind safety: after a panic redb's own locks are poisoned, so later calls fail instead of seeing half a change.
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(Failure::ReadOnly)) => Err(StoreError::ReadOnly),
        Ok(Err(Failure::Redb(error))) => Err(store_error(error)),
        Err(_panic) => Err(StoreError::Corrupt(None)),
    }
}

fn store_error(error: redb::Error) -> StoreError {
    use std::io::ErrorKind;
    match error {
        redb::Error::Io(io) if matches!(io.kind(), ErrorKind::InvalidData | ErrorKind::UnexpectedEof) => {
            StoreError::Corrupt(Some(io.into()))
        }
        redb::Error::Io(io) => StoreError::Io(io),
        redb::Error::DatabaseAlreadyOpen => StoreError::AlreadyOpen,
        redb::Error::RepairAborted => StoreError::NeedsRepair,
        // `open` makes the table, so one that is missing was there.
        error @ (redb::Error::Corrupted(_)
        | redb::Error::TableDoesNotExist(_)
        | redb::Error::TableTypeMismatch { .. }
        | redb::Error::TableIsMultimap(_)
        | redb::Error::TypeDefinitionChanged { .. }) => StoreError::Corrupt(Some(error.into())),
        error => StoreError::Engine(error.into()),
    }
}
