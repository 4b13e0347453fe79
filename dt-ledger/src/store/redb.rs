//! The embedded persistent store: redb, [behind a journal](crate::store::journaled) where it is in a file.

use std::io;
use std::path::Path;
use std::sync::OnceLock;

use dt_model::file;
use redb::{
    Builder, Database, ReadOnlyDatabase, ReadOnlyTable, ReadTransaction, ReadableDatabase as _,
    TableDefinition,
};

/// Where a [`RedbStore`] keeps its bytes: redb's own seam.
pub use redb::StorageBackend;

use crate::store::journaled::Journaled;
use crate::store::{Batch, LedgerStore, StoreError, StoreView, Table, Visit};

/// A ledger in a file, which survives the end of the process at any moment.
///
/// Beside the file `ledger` lie `ledger.journal` and `ledger.journal2`, which belong to it: while the store is open, or after a crash, they
/// hold what was committed last. When the store is closed all of it is in `ledger` alone.
pub struct RedbStore(Engine);

enum Engine {
    Journaled(Journaled),
    Direct(Database),
    ReadOnly(ReadOnlyDatabase),
}

pub(crate) const fn table(table: Table) -> TableDefinition<'static, &'static [u8], &'static [u8]> {
    TableDefinition::new(table.name())
}

pub(crate) fn engine(error: impl Into<redb::Error>) -> StoreError {
    StoreError::Engine(Box::new(error.into()))
}

impl RedbStore {
    /// Opens the ledger in `path`, or begins one there, whole or not at all.
    ///
    /// # Errors
    /// [`StoreError::Engine`]: the file is no ledger, is damaged, or is in use by another process.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        guarded(|| {
            file::make_whole(path, |path| create(path).map_err(io::Error::other))
                .map_err(redb::Error::Io)
                .map_err(engine)?;
            let database = Database::open(path).map_err(engine)?;
            Journaled::open(database, path).map(|journaled| Self(Engine::Journaled(journaled)))
        })
    }

    /// Opens the ledger in `backend`, or begins one there if that is empty: a raw device, an encrypted file, a disk that a test breaks.
    ///
    /// There is no journal: each batch is flushed to the backend. What else [`RedbStore::open`] does for a file is left to the caller: nobody
    /// else may write to the backend meanwhile, and if the process dies while a ledger is begun, the backend is to be emptied and the ledger begun again.
    ///
    /// # Errors
    /// [`StoreError::Engine`]: the backend fails, or holds no ledger, or a damaged one.
    pub fn with_backend(backend: impl StorageBackend) -> Result<Self, StoreError> {
        guarded(|| {
            let database = Builder::new().create_with_backend(backend).map_err(engine)?;
            create_tables(&database).map_err(engine)?;
            Ok(Self(Engine::Direct(database)))
        })
    }

    /// Opens the ledger in `path` without changing a byte of it. A ledger that was not closed properly needs [`RedbStore::open`]
    /// first, which recovers it.
    ///
    /// # Errors
    /// [`StoreError::Engine`].
    pub fn open_read_only(path: &Path) -> Result<Self, StoreError> {
        guarded(|| {
            ReadOnlyDatabase::open(path).map(|database| Self(Engine::ReadOnly(database))).map_err(engine)
        })
    }

    /// Gives the room of what was removed, by [`crate::Replica::prune`] for example, back to the file system. It takes as long as copying
    /// what is left does, and nobody else may have the store meanwhile.
    ///
    /// # Errors
    /// [`StoreError::Engine`].
    pub fn compact(&mut self) -> Result<(), StoreError> {
        guarded(|| {
            let database = match &mut self.0 {
                Engine::Journaled(journaled) => journaled.database()?,
                Engine::Direct(database) => database,
                Engine::ReadOnly(_) => return Err(StoreError::Engine(Box::new(ReadOnly))),
            };
            database.compact().map(drop).map_err(engine)
        })
    }
}

/// A ledger without rows in a new file.
fn create(path: &Path) -> Result<(), redb::Error> {
    create_tables(&Database::create(path)?)
}

/// Makes the tables that are not there.
pub(crate) fn create_tables(database: &Database) -> Result<(), redb::Error> {
    let read = database.begin_read()?;
    if Table::ALL.iter().all(|each| read.open_table(table(*each)).is_ok()) {
        return Ok(());
    }
    let write = database.begin_write()?;
    for each in Table::ALL {
        write.open_table(table(each))?;
    }
    Ok(write.commit()?)
}

/// The file was opened for reading only.
#[derive(Debug, thiserror::Error)]
#[error("the ledger was opened for reading only")]
struct ReadOnly;

/// The engine broke off: on damaged files it may panic, which must not end the process of somebody who audits one.
#[derive(Debug, thiserror::Error)]
#[error("the storage engine broke off")]
pub(crate) struct BrokeOff;

pub(crate) fn guarded<T>(run: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(run))
        .unwrap_or_else(|_| Err(StoreError::Engine(Box::new(BrokeOff))))
}

impl LedgerStore for RedbStore {
    fn view(&self) -> Result<Box<dyn StoreView>, StoreError> {
        guarded(|| {
            let read = match &self.0 {
                Engine::Journaled(journaled) => return journaled.view(),
                Engine::Direct(database) => database.begin_read(),
                Engine::ReadOnly(database) => database.begin_read(),
            };
            Ok(Box::new(RedbView::new(read.map_err(engine)?)) as Box<dyn StoreView>)
        })
    }

    fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        guarded(|| match &self.0 {
            Engine::Journaled(journaled) => journaled.commit(batch),
            Engine::Direct(database) => write(database, &batch),
            Engine::ReadOnly(_) => Err(StoreError::Engine(Box::new(ReadOnly))),
        })
    }
}

/// Writes a batch, durably.
fn write(database: &Database, batch: &Batch) -> Result<(), StoreError> {
    let write = database.begin_write().map_err(engine)?;
    for (of, writes) in batch.tables() {
        let mut rows = write.open_table(table(of)).map_err(engine)?;
        for (key, value) in writes {
            match value {
                Some(value) => rows.insert(key.as_slice(), value.as_slice()).map_err(engine)?,
                None => rows.remove(key.as_slice()).map_err(engine)?,
            };
        }
    }
    write.commit().map_err(engine)
}

pub(crate) struct RedbView {
    read: ReadTransaction,
    /// Tables that were looked into, in the order of [`Table::ALL`]: finding one takes as long as reading a row.
    tables: [OnceLock<OpenTable>; Table::ALL.len()],
}

type OpenTable = ReadOnlyTable<&'static [u8], &'static [u8]>;

impl RedbView {
    pub(crate) fn new(read: ReadTransaction) -> Self {
        Self { read, tables: Default::default() }
    }

    fn table(&self, of: Table) -> Result<&OpenTable, StoreError> {
        let place = &self.tables[of as usize];
        if let Some(open) = place.get() {
            return Ok(open);
        }
        let open = self.read.open_table(table(of)).map_err(engine)?;
        Ok(place.get_or_init(|| open))
    }
}

impl StoreView for RedbView {
    fn get(&self, of: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        guarded(|| {
            let value = self.table(of)?.get(key).map_err(engine)?;
            Ok(value.map(|value| value.value().to_vec()))
        })
    }

    fn scan(&self, of: Table, from: &[u8], visit: Visit<'_>) -> Result<(), StoreError> {
        guarded(|| {
            for row in self.table(of)?.range(from..).map_err(engine)? {
                let (key, value) = row.map_err(engine)?;
                if visit(key.value(), value.value()).is_break() {
                    break;
                }
            }
            Ok(())
        })
    }

    fn scan_back(&self, of: Table, to: &[u8], visit: Visit<'_>) -> Result<(), StoreError> {
        guarded(|| {
            for row in self.table(of)?.range(..=to).map_err(engine)?.rev() {
                let (key, value) = row.map_err(engine)?;
                if visit(key.value(), value.value()).is_break() {
                    break;
                }
            }
            Ok(())
        })
    }
}
