//! The embedded persistent store: redb, one durable transaction per block.

use std::io;
use std::path::Path;

use dt_model::file;
use redb::{Database, Durability, ReadOnlyDatabase, ReadTransaction, ReadableDatabase, TableDefinition};

use crate::store::{Batch, LedgerStore, StoreError, StoreView, Table, Visit};

/// A ledger in one file, which survives the end of the process at any moment.
pub struct RedbStore(Engine);

enum Engine {
    Writable(Database),
    ReadOnly(ReadOnlyDatabase),
}

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
            Database::open(path).map(|database| Self(Engine::Writable(database))).map_err(engine)
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

    fn begin_read(&self) -> Result<ReadTransaction, StoreError> {
        match &self.0 {
            Engine::Writable(database) => database.begin_read(),
            Engine::ReadOnly(database) => database.begin_read(),
        }
        .map_err(engine)
    }
}

/// A ledger without rows in a new file.
fn create(path: &Path) -> Result<(), redb::Error> {
    let database = Database::create(path)?;
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
        guarded(|| Ok(Box::new(RedbView(self.begin_read()?)) as Box<dyn StoreView>))
    }

    fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        let Engine::Writable(database) = &self.0 else {
            return Err(StoreError::Engine(Box::new(ReadOnly)));
        };
        guarded(|| {
            let mut write = database.begin_write().map_err(engine)?;
            write.set_durability(Durability::Immediate).map_err(engine)?;
            for each in Table::ALL {
                let mut rows = write.open_table(table(each)).map_err(engine)?;
                let first = (each, Vec::new());
                for ((_, key), value) in batch.writes.range(first..).take_while(|((of, _), _)| *of == each) {
                    match value {
                        Some(value) => rows.insert(key.as_slice(), value.as_slice()).map_err(engine)?,
                        None => rows.remove(key.as_slice()).map_err(engine)?,
                    };
                }
            }
            write.commit().map_err(engine)
        })
    }
}

struct RedbView(ReadTransaction);

impl StoreView for RedbView {
    fn get(&self, of: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        guarded(|| {
            let rows = self.0.open_table(table(of)).map_err(engine)?;
            let value = rows.get(key).map_err(engine)?;
            Ok(value.map(|value| value.value().to_vec()))
        })
    }

    fn scan(&self, of: Table, from: &[u8], visit: Visit<'_>) -> Result<(), StoreError> {
        guarded(|| {
            let rows = self.0.open_table(table(of)).map_err(engine)?;
            for row in rows.range(from..).map_err(engine)? {
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
            let rows = self.0.open_table(table(of)).map_err(engine)?;
            for row in rows.range(..=to).map_err(engine)?.rev() {
                let (key, value) = row.map_err(engine)?;
                if visit(key.value(), value.value()).is_break() {
                    break;
                }
            }
            Ok(())
        })
    }
}
