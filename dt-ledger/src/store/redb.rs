//! The embedded persistent store: redb behind a journal.
//!
//! A block touches rows all over redb's file, and each flush would write every page that has one of them. So a batch is flushed to a
//! [journal](crate::store::journal), which costs one write, and redb has it in memory until there is enough to be worth a flush.

use std::io;
use std::path::Path;
use std::sync::{Mutex, OnceLock, PoisonError};

use dt_model::{Digest, codec, file};
use redb::{
    Builder, Database, Durability, ReadOnlyDatabase, ReadOnlyTable, ReadTransaction, ReadableDatabase,
    TableDefinition, WriteTransaction,
};

/// Where a [`RedbStore`] keeps its bytes: redb's own seam.
pub use redb::StorageBackend;

use crate::store::journal::Journal;
use crate::store::{Batch, LedgerStore, StoreError, StoreView, Table, Visit, Writes};

/// A ledger in a file, which survives the end of the process at any moment.
///
/// Beside the file `ledger` lies `ledger.journal`, which belongs to it: while the store is open, or after a crash, it holds what was
/// committed last. When the store is closed all of it is in `ledger` alone.
pub struct RedbStore(Engine);

enum Engine {
    Writable { database: Database, journal: Option<Mutex<Journal>> },
    ReadOnly(ReadOnlyDatabase),
}

/// The journal is emptied when it would be longer: enough for redb to write a page once for many blocks, and little enough to be read again
/// after a crash in a moment.
const MAX_JOURNAL_BYTES: u64 = 64 * 1024 * 1024;
/// Up to where redb has come in the journal.
const HEAD: TableDefinition<'static, (), [u8; 32]> = TableDefinition::new("journal");

const fn table(table: Table) -> TableDefinition<'static, &'static [u8], &'static [u8]> {
    TableDefinition::new(table.name())
}

fn engine(error: impl Into<redb::Error>) -> StoreError {
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
            let journal = take_up(&database, &Journal::beside(path))?;
            Ok(Self(Engine::Writable { database, journal: Some(Mutex::new(journal)) }))
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
            Ok(Self(Engine::Writable { database, journal: None }))
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
        self.flush()?;
        let Engine::Writable { database, .. } = &mut self.0 else {
            return Err(StoreError::Engine(Box::new(ReadOnly)));
        };
        guarded(|| database.compact().map(drop).map_err(engine))
    }

    /// Brings the file up to date, and empties the journal.
    fn flush(&self) -> Result<(), StoreError> {
        let Engine::Writable { database, journal: Some(journal) } = &self.0 else { return Ok(()) };
        let mut journal = journal.lock().unwrap_or_else(PoisonError::into_inner);
        if journal.len() == 0 {
            return Ok(());
        }
        guarded(|| {
            write(database, &[], Some(journal.head()), Durability::Immediate)?;
            journal.empty().map_err(redb::Error::Io).map_err(engine)
        })
    }

    fn begin_read(&self) -> Result<ReadTransaction, StoreError> {
        match &self.0 {
            Engine::Writable { database, .. } => database.begin_read(),
            Engine::ReadOnly(database) => database.begin_read(),
        }
        .map_err(engine)
    }
}

/// A ledger without rows in a new file.
fn create(path: &Path) -> Result<(), redb::Error> {
    create_tables(&Database::create(path)?)
}

/// Makes the tables that are not there.
fn create_tables(database: &Database) -> Result<(), redb::Error> {
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
struct BrokeOff;

fn guarded<T>(run: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(run))
        .unwrap_or_else(|_| Err(StoreError::Engine(Box::new(BrokeOff))))
}

impl LedgerStore for RedbStore {
    fn view(&self) -> Result<Box<dyn StoreView>, StoreError> {
        guarded(|| {
            let view = RedbView { read: self.begin_read()?, tables: Default::default() };
            Ok(Box::new(view) as Box<dyn StoreView>)
        })
    }

    fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        let Engine::Writable { database, journal } = &self.0 else {
            return Err(StoreError::Engine(Box::new(ReadOnly)));
        };
        let tables: Vec<(&str, &Writes)> =
            batch.tables().map(|(table, writes)| (table.name(), writes)).collect();
        let Some(journal) = journal else {
            return guarded(|| write(database, &tables, None, Durability::Immediate));
        };
        let mut journal = journal.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = codec::encode(&tables);
        if journal.len().saturating_add(bytes.len() as u64) > MAX_JOURNAL_BYTES {
            guarded(|| write(database, &tables, Some(journal.head()), Durability::Immediate))?;
            // All is written, whether this fails or not; if it does, nothing more will be.
            let _ = journal.empty();
            return Ok(());
        }
        let head = journal.append(&bytes).map_err(redb::Error::Io).map_err(engine)?;
        guarded(|| write(database, &tables, Some(head), Durability::None))
            .inspect_err(|_| journal.take_back())
    }
}

impl Drop for RedbStore {
    fn drop(&mut self) {
        // If this fails, the journal has what is missing.
        let _ = self.flush();
    }
}

/// Writes rows, and how far that is in the journal, in one step.
fn write(
    database: &Database,
    tables: &[(&str, &Writes)],
    head: Option<Digest>,
    durability: Durability,
) -> Result<(), StoreError> {
    let mut write = database.begin_write().map_err(engine)?;
    write.set_durability(durability).map_err(engine)?;
    for (name, writes) in tables {
        insert(&write, name, writes)?;
    }
    if let Some(head) = head {
        write.open_table(HEAD).map_err(engine)?.insert((), *head.as_bytes()).map_err(engine)?;
    }
    write.commit().map_err(engine)
}

fn insert(write: &WriteTransaction, name: &str, writes: &Writes) -> Result<(), StoreError> {
    let mut rows = write.open_table(TableDefinition::<&[u8], &[u8]>::new(name)).map_err(engine)?;
    for (key, value) in writes {
        match value {
            Some(value) => rows.insert(key.as_slice(), value.as_slice()).map_err(engine)?,
            None => rows.remove(key.as_slice()).map_err(engine)?,
        };
    }
    Ok(())
}

/// Opens the journal, and gives redb what it holds that redb has not flushed.
fn take_up(database: &Database, path: &Path) -> Result<Journal, StoreError> {
    let failed = |error| engine(redb::Error::Io(error));
    let Some(head) = head(database)? else {
        // What lies there was left by a former ledger.
        let mut journal = Journal::new(path).map_err(failed)?;
        journal.empty().map_err(failed)?;
        write(database, &[], Some(journal.head()), Durability::Immediate)?;
        return Ok(journal);
    };
    let mut journal = Journal::open(path, head, |bytes, head| {
        let batch: Vec<(String, Writes)> = codec::decode(bytes, usize::MAX).map_err(io::Error::other)?;
        let tables: Vec<(&str, &Writes)> =
            batch.iter().map(|(name, writes)| (name.as_str(), writes)).collect();
        write(database, &tables, Some(head), Durability::None).map_err(io::Error::other)
    })
    .map_err(failed)?;
    write(database, &[], Some(journal.head()), Durability::Immediate)?;
    journal.empty().map_err(failed)?;
    Ok(journal)
}

/// Up to where redb has come in the journal; `None` where there was none yet.
fn head(database: &Database) -> Result<Option<Digest>, StoreError> {
    let read = database.begin_read().map_err(engine)?;
    let table = match read.open_table(HEAD) {
        Err(redb::TableError::TableDoesNotExist(_)) => return Ok(None),
        table => table.map_err(engine)?,
    };
    let head = table.get(()).map_err(engine)?;
    Ok(head.map(|head| Digest::from(head.value())))
}

struct RedbView {
    read: ReadTransaction,
    /// Tables that were looked into, in the order of [`Table::ALL`]: finding one takes as long as reading a row.
    tables: [OnceLock<OpenTable>; Table::ALL.len()],
}

type OpenTable = ReadOnlyTable<&'static [u8], &'static [u8]>;

impl RedbView {
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
