//! What the replicas of an address agree on: which record lies in which slot, in one state after the other.

use borsh::{BorshDeserialize, BorshSerialize};
use dt_model::{Digest, Domain, Signed};

use super::SettlementCertificate;
use crate::{Address, Key, Record, Slot};

/// Slots of order [`crate::Order::Agreed`] that an address may have: each costs a row, and a line in every certificate.
pub const MAX_AGREED_SLOTS: usize = 64;

/// Domain of a state's digest.
const STATE: Domain = Domain::new("dt/dht/address-state/v1");
/// Domain of an entry's digest.
const ENTRY: Domain = Domain::new("dt/dht/state-entry/v1");

/// One slot of a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct StateEntry {
    /// The slot.
    pub slot: Slot,
    /// The record's version.
    pub version: u64,
    /// [`dt_model::Envelope::digest`] of the record.
    pub record: Digest,
    /// What lay in the slot before; `None` if this is the first.
    pub former: Option<Former>,
}

impl StateEntry {
    /// The same as what a later entry of the slot names.
    #[must_use]
    pub fn as_former(&self) -> Former {
        Former { version: self.version, digest: ENTRY.blake3_of(self) }
    }
}

/// Names an entry that was replaced, and by it the one before, down to the first: so whoever believes a state can check every record that
/// ever was in one of its slots, from whomever he has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Former {
    /// The record's version.
    pub version: u64,
    /// Over the whole entry.
    pub digest: Digest,
}

/// The agreed records of an address after so many steps, each of which put one record in one slot.
///
/// # Invariant
/// Entries are sorted by slot, each slot occurs once, there are at most [`MAX_AGREED_SLOTS`], and no more than steps. Versions go up in a slot.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize)]
pub struct AddressState {
    address: Address,
    sequence: u64,
    entries: Vec<StateEntry>,
}

impl AddressState {
    /// Nothing in any slot, as every address is at first: sequence 0.
    #[must_use]
    pub const fn empty(address: Address) -> Self {
        Self { address, sequence: 0, entries: Vec::new() }
    }

    /// Whose state it is.
    #[must_use]
    pub const fn address(&self) -> Address {
        self.address
    }

    /// How many steps led to it.
    #[must_use]
    pub const fn sequence(&self) -> u64 {
        self.sequence
    }

    /// The slots that hold something, sorted.
    #[must_use]
    pub fn entries(&self) -> &[StateEntry] {
        &self.entries
    }

    /// What lies in `slot`.
    #[must_use]
    pub fn entry(&self, slot: Slot) -> Option<&StateEntry> {
        self.entries.binary_search_by_key(&slot, |entry| entry.slot).ok().map(|at| &self.entries[at])
    }

    /// Whether `record` is one of the state.
    #[must_use]
    pub fn contains(&self, record: &Signed<Record>) -> bool {
        record.key.address == self.address
            && self.entry(record.key.slot).is_some_and(|entry| entry.record == record.digest())
    }

    /// The state after the step that puts `record` in its slot; `None` if it is for another address, or does not go up in version, or
    /// there are too many slots or steps.
    #[must_use]
    pub fn after(&self, record: &Signed<Record>) -> Option<Self> {
        let former = self.entry(record.key.slot).map(StateEntry::as_former);
        let (slot, version, record_digest) = (record.key.slot, record.version, record.digest());
        let entry = StateEntry { slot, version, record: record_digest, former };
        let mut entries = self.entries.clone();
        match entries.binary_search_by_key(&slot, |entry| entry.slot) {
            Ok(at) if entries[at].version < version => entries[at] = entry,
            Ok(_) => return None,
            Err(at) if entries.len() < MAX_AGREED_SLOTS => entries.insert(at, entry),
            Err(_) => return None,
        }
        let fits = record.key.address == self.address && entry.version > 0;
        let sequence = self.sequence.checked_add(1).filter(|_| fits)?;
        Some(Self { address: self.address, sequence, entries })
    }

    /// What votes name the state by.
    #[must_use]
    pub fn digest(&self) -> Digest {
        STATE.blake3_of(self)
    }
}

impl BorshDeserialize for AddressState {
    fn deserialize_reader<R: borsh::io::Read>(reader: &mut R) -> borsh::io::Result<Self> {
        let (address, sequence, entries) = <(Address, u64, Vec<StateEntry>)>::deserialize_reader(reader)?;
        let sound = entries.windows(2).all(|pair| pair[0].slot < pair[1].slot)
            && entries.len() <= MAX_AGREED_SLOTS
            && entries.len() as u64 <= sequence
            && (sequence == 0) == entries.is_empty()
            && entries.iter().all(|entry| {
                entry.version > 0
                    && entry.former.is_none_or(|former| (1..entry.version).contains(&former.version))
            });
        if !sound {
            return Err(borsh::io::ErrorKind::InvalidData.into());
        }
        Ok(Self { address, sequence, entries })
    }
}

/// The agreed records of an address, and the proof that they were decided.
///
/// # Invariant
/// The certificate was verified, or more replicas than can lie showed it; the records are those that its state names, in its order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settled {
    certificate: SettlementCertificate,
    records: Vec<Signed<Record>>,
}

impl Settled {
    /// `records` beside the certificate of their state, which the caller believes; `None` if they are not the records that it names.
    pub(crate) fn new(certificate: SettlementCertificate, mut records: Vec<Signed<Record>>) -> Option<Self> {
        records.sort_by_key(|record| record.key.slot);
        let state = certificate.state();
        let named = |(record, entry): (&Signed<Record>, &StateEntry)| {
            record.key == Key { address: state.address, slot: entry.slot }
                && (record.version, record.digest()) == (entry.version, entry.record)
        };
        let sound = records.len() == state.entries.len() && records.iter().zip(&state.entries).all(named);
        sound.then_some(Self { certificate, records })
    }

    /// Which records, of which versions.
    #[must_use]
    pub const fn state(&self) -> &AddressState {
        self.certificate.state()
    }

    /// How many records were settled at the address so far.
    #[must_use]
    pub const fn sequence(&self) -> u64 {
        self.state().sequence
    }

    /// The record in `slot`.
    #[must_use]
    pub fn record(&self, slot: Slot) -> Option<&Signed<Record>> {
        self.records.binary_search_by_key(&slot, |record| record.key.slot).ok().map(|at| &self.records[at])
    }

    /// All records, sorted by slot.
    #[must_use]
    pub fn records(&self) -> &[Signed<Record>] {
        &self.records
    }

    /// Proof for anybody, offline, that this is what the replicas agreed on at this sequence.
    #[must_use]
    pub const fn certificate(&self) -> &SettlementCertificate {
        &self.certificate
    }
}
