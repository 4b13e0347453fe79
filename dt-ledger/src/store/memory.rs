//! The store in memory: the reference of what the seam means.

use std::sync::{Arc, PoisonError, RwLock};

use crate::store::rows::Rows;
use crate::store::{Batch, LedgerStore, StoreError, StoreView, Table, Visit};

/// A store in memory: for tests, for audits, and as the reference of what the seam means. Nothing in it survives the process.
///
/// A view is taken in no time, and a commit takes as long as its batch is large, whatever is stored and whoever looks.
#[derive(Debug, Clone, Default)]
pub struct MemoryStore {
    tables: Arc<RwLock<Tables>>,
}

/// The rows of each table, in the order of [`Table::ALL`].
#[derive(Debug, Clone, Default)]
struct Tables([Rows; Table::ALL.len()]);

impl LedgerStore for MemoryStore {
    fn view(&self) -> Result<Box<dyn StoreView>, StoreError> {
        let tables = self.tables.read().unwrap_or_else(PoisonError::into_inner);
        Ok(Box::new(tables.clone()))
    }

    fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        let mut tables = self.tables.write().unwrap_or_else(PoisonError::into_inner);
        for (table, writes) in batch.into_tables() {
            tables.0[table as usize].apply(writes);
        }
        Ok(())
    }
}

impl StoreView for Tables {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.0[table as usize].get(key).map(<[u8]>::to_vec))
    }

    fn scan(&self, table: Table, from: &[u8], visit: Visit<'_>) -> Result<(), StoreError> {
        self.0[table as usize].scan(from, visit);
        Ok(())
    }

    fn scan_back(&self, table: Table, to: &[u8], visit: Visit<'_>) -> Result<(), StoreError> {
        self.0[table as usize].scan_back(to, visit);
        Ok(())
    }
}
