//! The log of a chain by itself, for those who test proofs without a chain around it.

use std::sync::Arc;

use dt_model::merkle::{ConsistencyProof, InclusionProof, leaf_hash};

use crate::evidence::log::{self, Log, LogHead};
use crate::store::{Batch, LedgerStore, MemoryStore, StoreError};

/// A log in a store, appended to as the blocks of a chain append to it.
pub struct StoredLog {
    store: Arc<dyn LedgerStore>,
    head: LogHead,
}

impl Default for StoredLog {
    fn default() -> Self {
        Self { store: Arc::new(MemoryStore::default()), head: LogHead::empty() }
    }
}

impl StoredLog {
    /// The log that `store` holds, which had this `head`.
    #[must_use]
    pub fn open(store: Arc<dyn LedgerStore>, head: LogHead) -> Self {
        Self { store, head }
    }

    /// Appends `leaves` in one step, and says what was written.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn append<T: AsRef<[u8]>>(&mut self, leaves: &[T]) -> Result<Batch, StoreError> {
        let mut batch = Batch::default();
        let hashes = leaves.iter().map(|leaf| leaf_hash(&[leaf.as_ref()]));
        let view = self.store.view()?;
        let mut range = log::load(&*view, self.head)?;
        self.head = log::append(&*view, &mut range, hashes, &mut batch)?;
        self.store.commit(batch.clone())?;
        Ok(batch)
    }

    /// Where it stands.
    #[must_use]
    pub const fn head(&self) -> LogHead {
        self.head
    }

    /// Proof that leaf `index` is among the first `size`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn inclusion(&self, index: u64, size: u64) -> Result<Option<InclusionProof>, StoreError> {
        Log::new(&*self.store.view()?, self.head).inclusion(index, size)
    }

    /// Proof that the first `to` leaves begin with the first `from`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn consistency(&self, from: u64, to: u64) -> Result<Option<ConsistencyProof>, StoreError> {
        Log::new(&*self.store.view()?, self.head).consistency(from, to)
    }
}
