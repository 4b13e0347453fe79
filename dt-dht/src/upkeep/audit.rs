//! Whether a store's books agree with its rows: what `verify_store` adds up while it reads them.

use std::collections::BTreeMap;

use borsh::{BorshDeserialize, BorshSerialize};
use bytes::Bytes;
use dt_model::PartyId;

use super::Usage;
use super::books::{
    ADDRESSES, AddressRow, BAD_BLOBS, Entry, USAGES, address_in, address_key, toggle, usage_key,
};
use super::local::bad_key;
use super::visit::{CURSORS, CursorRow, cursor_key};
use crate::RowDamage;
use crate::rows::{CHECKSUM_BYTES, open_row};

/// Both sides of the books.
#[derive(Debug, Default)]
pub(crate) struct BooksAudit {
    found: Sum,
    booked: Sum,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Sum {
    rows: u64,
    marks: [u8; 32],
    usages: BTreeMap<PartyId, Usage>,
}

impl BooksAudit {
    /// Takes a row that lies at an address.
    pub(crate) fn take(&mut self, key: &[u8], value: &[u8]) -> Result<(), RowDamage> {
        let entry = Entry::of(key, value).map_err(|_| RowDamage::Altered)?;
        self.found.rows += 1;
        toggle(&mut self.found.marks, &entry.mark);
        if let Some((party, class, amount)) = entry.charge {
            self.found.usages.entry(party).or_default().add(class, amount);
        }
        Ok(())
    }

    /// Checks and takes a row of the books themselves, if it is one, and gives its checksum.
    pub(crate) fn check(&mut self, key: &Bytes, value: &[u8]) -> Result<[u8; CHECKSUM_BYTES], RowDamage> {
        let named: Option<[u8; 32]> = key.get(1..).and_then(|rest| rest.try_into().ok());
        let party = || named.and_then(|bytes| PartyId::from_bytes(bytes).ok()).ok_or(RowDamage::Foreign);
        match key.first() {
            Some(&ADDRESSES) => {
                let (row, checksum) = content::<AddressRow>(key, value)?;
                let address = address_in(key).map_err(|_| RowDamage::Misplaced)?;
                require(*key == address_key(&address))?;
                self.booked.rows = self.booked.rows.saturating_add(row.rows);
                toggle(&mut self.booked.marks, &row.marks);
                Ok(checksum)
            }
            Some(&USAGES) => {
                let (row, checksum) = content::<Usage>(key, value)?;
                let party = party()?;
                require(*key == usage_key(&party))?;
                self.booked.usages.insert(party, row);
                Ok(checksum)
            }
            Some(&CURSORS) => {
                let (_, checksum) = content::<CursorRow>(key, value)?;
                require(*key == cursor_key(&party()?))?;
                Ok(checksum)
            }
            Some(&BAD_BLOBS) => {
                let ((), checksum) = content(key, value)?;
                let address = address_in(key).map_err(|_| RowDamage::Misplaced)?;
                require(*key == bad_key(&address))?;
                self.take(key, value)?;
                Ok(checksum)
            }
            _ => Err(RowDamage::Foreign),
        }
    }

    /// Whether both sides agree.
    pub(crate) fn holds(&self) -> bool {
        self.found == self.booked
    }
}

fn content<T: BorshSerialize + BorshDeserialize>(
    key: &[u8],
    value: &[u8],
) -> Result<(T, [u8; CHECKSUM_BYTES]), RowDamage> {
    open_row(key, value).map_err(|_| RowDamage::Altered)
}

fn require(holds: bool) -> Result<(), RowDamage> {
    if holds { Ok(()) } else { Err(RowDamage::Misplaced) }
}
