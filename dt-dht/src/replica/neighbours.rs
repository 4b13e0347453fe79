//! What a validator sees of an address besides the record that it judges.

use std::cell::Cell;

use dt_model::Signed;

use super::{Replica, unavailable};
use crate::rows::{RECORDS, RecordRow, record_key};
use crate::{Address, Key, Neighbours, Order, Record, Refusal, Slot};

impl Replica {
    /// What is stored at `key`.
    pub(crate) fn load(&self, key: &Key) -> Result<Option<Signed<Record>>, Refusal> {
        let Some(row) = self.rows().read::<RecordRow>(&record_key(RECORDS, key)).map_err(unavailable)? else {
            return Ok(None);
        };
        let record = self.verified.open(row.record).map_err(|_| Refusal::Unavailable)?;
        if record.key == *key { Ok(Some(record)) } else { Err(Refusal::Unavailable) }
    }
}

/// The other slots of an address, read when a validator asks for them.
pub(super) struct StoredNeighbours<'a> {
    replica: &'a Replica,
    address: Address,
    /// Whether only records of order [`Order::Agreed`] are shown.
    agreed: bool,
    /// Whether a row could not be read: then the verdict is worthless.
    failed: Cell<bool>,
}

impl<'a> StoredNeighbours<'a> {
    pub(super) fn new(replica: &'a Replica, address: Address) -> Self {
        Self { replica, address, agreed: false, failed: Cell::new(false) }
    }

    /// Shows records of order [`Order::Agreed`] alone: the others may differ between honest replicas.
    pub(super) fn agreed(replica: &'a Replica, address: Address) -> Self {
        Self { agreed: true, ..Self::new(replica, address) }
    }

    pub(super) fn finish(&self) -> Result<(), Refusal> {
        if self.failed.get() { Err(Refusal::Unavailable) } else { Ok(()) }
    }
}

impl Neighbours for StoredNeighbours<'_> {
    fn record(&self, slot: Slot) -> Option<Signed<Record>> {
        if self.agreed && self.replica.order(&slot.kind) != Some(Order::Agreed) {
            return None;
        }
        match self.replica.load(&Key { address: self.address, slot }) {
            Ok(stored) => stored,
            Err(_) => {
                self.failed.set(true);
                None
            }
        }
    }
}
