//! A replica's books: with every row that it writes or removes, what lies at the address and what the payer has stored change in the
//! same atomic batch. So leases, listings and quotas are right after any crash.
//!
//! # Removing
//! A store writes atomically and removes atomically, but not both at once. So a row is removed in two steps: it is overwritten by an
//! empty one, a *tombstone*, in the batch that takes it out of the books, and then removed. A tombstone counts as no row. One that a
//! crash left behind is removed when its address is swept, or is written over.

use std::collections::BTreeMap;

use borsh::{BorshDeserialize, BorshSerialize};
use bytes::Bytes;
use dt_model::{Domain, PartyId, Timestamp, codec};

use super::quota::{Amount, Class};
use super::{Quotas, Usage};
use crate::agreement::AgreedRow;
use crate::equivocation::Equivocation;
use crate::proof::ProofRow;
use crate::rows::{
    AGREED, CHECKSUM_BYTES, DamagedRow, EVIDENCE, HISTORY, PROOFS, PROPOSALS, PastRow, ProposalRow, RECORDS,
    RecordRow, RowsError, SHARDS, ShardRow, TOTALS, Totals, check_row, open_row, seal_row,
};
use crate::store::Row;
use crate::{Address, MAX_MESSAGE_BYTES, RecordStore};

/// Prefix of the row of an address: `'l' address`.
pub(crate) const ADDRESSES: u8 = b'l';
/// Prefix of the row that remembers that a blob was encoded inconsistently: `'b' address`. There is nothing in it, and it goes when the
/// address expires.
pub(crate) const BAD_BLOBS: u8 = b'b';
/// Prefix of the row of a party: `'u' party`.
pub(crate) const USAGES: u8 = b'u';

/// What lies at an address, in sum.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(crate) struct AddressRow {
    /// When anything was last put there.
    pub(crate) leased: Timestamp,
    /// How many rows lie there, of all sorts.
    pub(crate) rows: u64,
    /// How many of them are shards.
    pub(crate) shards: u64,
    /// The XOR of their marks.
    pub(crate) marks: [u8; 32],
    /// Whether it is being removed: nothing there counts any more.
    pub(crate) expiring: bool,
}

/// What a row adds to the books.
#[derive(Debug, Default)]
pub(crate) struct Entry {
    /// Who pays for it, as what, and how much.
    pub(crate) charge: Option<(PartyId, Class, Amount)>,
    /// What nodes compare to find whether they hold the same. Zeros: it is not compared.
    pub(crate) mark: [u8; 32],
}

impl Entry {
    /// Of the row at `key`, an address's, with `value`, whose checksum holds.
    ///
    /// # Errors
    /// [`DamagedRow`]: no replica writes such a row at an address.
    pub(crate) fn of(key: &[u8], value: &[u8]) -> Result<Self, DamagedRow> {
        let amount = Amount::row((key.len() + value.len()) as u64);
        match key.first() {
            Some(&RECORDS) => {
                let row: RecordRow = content(value)?;
                let mark = mark_of(key, row.record.digest().as_bytes());
                Ok(Self { charge: Some((row.record.signer(), Class::Record, amount)), mark })
            }
            // Nodes may hold different evidence of one fault: it is as good.
            Some(&EVIDENCE) => {
                let row: Equivocation = content(value)?;
                let charge = Some((row.first.signer(), Class::Evidence, amount));
                Ok(Self { charge, mark: mark_of(key, &[]) })
            }
            // Every replica has another shard. The row of the address alone shows that there is one.
            Some(&SHARDS) => {
                let row: ShardRow = content(value)?;
                Ok(Self { charge: Some((row.payer, Class::Shard, amount)), ..Self::default() })
            }
            // Any proof of one time is as good, and the latest spreads.
            Some(&PROOFS) => {
                let row: ProofRow = content(value)?;
                let mark = mark_of(key, &codec::encode(&row.since()));
                Ok(Self { charge: Some((row.payer(), Class::Shard, amount)), mark })
            }
            // History is not compared: a node that was behind has gaps, which are filled when nodes change.
            Some(&HISTORY) => {
                let row: PastRow = content(value)?;
                Ok(Self { charge: Some((row.record.signer(), Class::Record, amount)), ..Self::default() })
            }
            Some(&PROPOSALS) => {
                let row: ProposalRow = content(value)?;
                let charge = row.record.map(|record| (record.signer(), Class::Record, amount));
                Ok(Self { charge, ..Self::default() })
            }
            // Who has a promise pays for the row, or anybody could fill a store with promises. Votes differ between nodes, so the mark
            // is of what they are for.
            Some(&AGREED) => {
                let row: AgreedRow = content(value)?;
                let charge = row.promised.map(|ballot| (ballot.proposer, Class::Record, amount));
                let settled = row.settled.map(|settled| settled.state().digest());
                let locked = row.lock.map(|lock| lock.record);
                Ok(Self { charge, mark: mark_of(key, &codec::encode(&(settled, locked))) })
            }
            Some(&BAD_BLOBS) => Ok(Self::default()),
            _ => Err(DamagedRow),
        }
    }
}

/// The prefixes of the rows that lie at addresses.
pub(crate) const AT_ADDRESSES: [u8; 8] =
    [AGREED, PROPOSALS, RECORDS, HISTORY, EVIDENCE, SHARDS, PROOFS, BAD_BLOBS];

fn mark_of(key: &[u8], content: &[u8]) -> [u8; 32] {
    *Domain::new("dt/dht/mark/v1").blake3(&[&(key.len() as u64).to_le_bytes(), key, content]).as_bytes()
}

/// What a sealed row holds.
fn content<T: BorshSerialize + BorshDeserialize>(value: &[u8]) -> Result<T, DamagedRow> {
    let content = value.get(CHECKSUM_BYTES..).ok_or(DamagedRow)?;
    codec::decode(content, MAX_MESSAGE_BYTES).map_err(|_| DamagedRow)
}

/// The row key of an address.
pub(crate) fn address_key(address: &Address) -> Bytes {
    [&[ADDRESSES], &address.as_bytes()[..]].concat().into()
}

/// The row key of what is stored for a party.
pub(crate) fn usage_key(party: &PartyId) -> Bytes {
    [&[USAGES], &party.as_bytes()[..]].concat().into()
}

/// The address in a row key.
pub(crate) fn address_in(key: &[u8]) -> Result<Address, DamagedRow> {
    let address: Option<[u8; 32]> = key.get(1..33).and_then(|bytes| bytes.try_into().ok());
    address.map(Address::from).ok_or(DamagedRow)
}

/// Changes that are written at once. While there is one, there MUST NOT be another on the same store.
pub(crate) struct Batch<'a> {
    store: &'a dyn RecordStore,
    totals: Totals,
    rows: BTreeMap<Bytes, Bytes>,
    usages: BTreeMap<PartyId, (Usage, Usage)>,
    addresses: BTreeMap<Address, Option<AddressRow>>,
}

impl<'a> Batch<'a> {
    pub(crate) fn new(store: &'a dyn RecordStore) -> Result<Self, RowsError> {
        let totals = read(store, &[TOTALS])?.unwrap_or_default();
        let (rows, usages, addresses) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Ok(Self { store, totals, rows, usages, addresses })
    }

    /// Writes a sealed row of an address.
    pub(crate) fn put(&mut self, key: Bytes, value: Bytes) -> Result<(), RowsError> {
        self.take_out(&key)?;
        self.totals.add(value.first_chunk().ok_or(DamagedRow)?);
        let entry = Entry::of(&key, &value)?;
        if let Some((party, class, amount)) = entry.charge {
            self.usage(party)?.add(class, amount);
        }
        let address = self.address(address_in(&key)?)?.get_or_insert_default();
        address.rows = address.rows.saturating_add(1);
        address.shards = address.shards.saturating_add(u64::from(key.first() == Some(&SHARDS)));
        toggle(&mut address.marks, &entry.mark);
        self.rows.insert(key, value);
        Ok(())
    }

    /// Removes the row of an address at `key`, if there is one.
    pub(crate) fn remove(&mut self, key: Bytes) -> Result<(), RowsError> {
        self.take_out(&key)?;
        self.rows.insert(key, Bytes::new());
        Ok(())
    }

    /// Extends the lease of `address` until it began at `leased`, if anything lies there.
    pub(crate) fn renew(&mut self, address: Address, leased: Timestamp) -> Result<(), RowsError> {
        if let Some(row) = self.address(address)? {
            row.leased = row.leased.max(leased);
        }
        Ok(())
    }

    /// From now on nothing at `address` counts.
    pub(crate) fn expire(&mut self, address: Address) -> Result<(), RowsError> {
        if let Some(row) = self.address(address)? {
            row.expiring = true;
        }
        Ok(())
    }

    /// What lies at `address`.
    pub(crate) fn address(&mut self, address: Address) -> Result<&mut Option<AddressRow>, RowsError> {
        use std::collections::btree_map::Entry;
        match self.addresses.entry(address) {
            Entry::Occupied(entry) => Ok(entry.into_mut()),
            Entry::Vacant(entry) => Ok(entry.insert(read(self.store, &address_key(&address))?)),
        }
    }

    /// Writes everything, durably, if no payer has more than his quota then.
    pub(crate) fn commit(mut self, quotas: &Quotas) -> Result<(), RowsError> {
        let broken =
            |(party, (before, after)): (&PartyId, &(Usage, Usage))| after.breaks(before, quotas.of(party));
        if self.usages.iter().any(broken) {
            return Err(RowsError::Quota);
        }
        let usages = core::mem::take(&mut self.usages);
        for (party, (_, usage)) in usages {
            self.settle(usage_key(&party), (usage != Usage::default()).then_some(usage))?;
        }
        let addresses = core::mem::take(&mut self.addresses);
        for (address, row) in addresses {
            self.settle(address_key(&address), row.filter(|row| row.rows > 0))?;
        }
        self.rows.insert(Bytes::from_static(&[TOTALS]), seal_row(&[TOTALS], &self.totals));
        let rows: Vec<Row> = core::mem::take(&mut self.rows).into_iter().collect();
        self.store.put(&rows)?;
        let removed: Vec<Bytes> =
            rows.into_iter().filter(|(_, value)| value.is_empty()).map(|(key, _)| key).collect();
        if !removed.is_empty() {
            // The change is made already. A tombstone that stays is removed by a later sweep.
            drop(self.store.remove(&removed));
        }
        Ok(())
    }

    /// Writes a row of the books, or removes it.
    pub(crate) fn settle<T: BorshSerialize>(
        &mut self,
        key: Bytes,
        content: Option<T>,
    ) -> Result<(), RowsError> {
        if let Some(old) = self.store.get(&key)?.filter(|old| !old.is_empty()) {
            self.totals.subtract(old.first_chunk().ok_or(DamagedRow)?);
        } else if content.is_none() {
            return Ok(());
        }
        let value = content.map_or_else(Bytes::new, |content| seal_row(&key, &content));
        if let Some(checksum) = value.first_chunk() {
            self.totals.add(checksum);
        }
        self.rows.insert(key, value);
        Ok(())
    }

    /// Takes the row at `key`, as this batch leaves it, out of the books.
    fn take_out(&mut self, key: &Bytes) -> Result<(), RowsError> {
        let stored = match self.rows.remove(key) {
            Some(value) => Some(value),
            None => self.store.get(key)?,
        };
        let Some(value) = stored.filter(|value| !value.is_empty()) else { return Ok(()) };
        self.totals.subtract(&check_row(key, &value)?);
        let entry = Entry::of(key, &value)?;
        if let Some((party, class, amount)) = entry.charge {
            self.usage(party)?.subtract(class, amount);
        }
        let address = self.address(address_in(key)?)?.get_or_insert_default();
        address.rows = address.rows.saturating_sub(1);
        address.shards = address.shards.saturating_sub(u64::from(key.first() == Some(&SHARDS)));
        toggle(&mut address.marks, &entry.mark);
        Ok(())
    }

    fn usage(&mut self, party: PartyId) -> Result<&mut Usage, RowsError> {
        use std::collections::btree_map::Entry;
        match self.usages.entry(party) {
            Entry::Occupied(entry) => Ok(&mut entry.into_mut().1),
            Entry::Vacant(entry) => {
                let usage: Usage = read(self.store, &usage_key(&party))?.unwrap_or_default();
                Ok(&mut entry.insert((usage, usage)).1)
            }
        }
    }
}

pub(crate) fn toggle(marks: &mut [u8; 32], mark: &[u8; 32]) {
    marks.iter_mut().zip(mark).for_each(|(sum, byte)| *sum ^= byte);
}

/// The row at `key`, unless it is a tombstone.
pub(crate) fn read<T: BorshSerialize + BorshDeserialize>(
    store: &dyn RecordStore,
    key: &[u8],
) -> Result<Option<T>, RowsError> {
    match store.get(key)? {
        Some(value) if !value.is_empty() => Ok(Some(open_row(key, &value)?.0)),
        _ => Ok(None),
    }
}
