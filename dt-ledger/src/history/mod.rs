//! What became of each transaction, in the order of the chain, and the rows by which it is found again.
//!
//! ```text
//! Table::Index, for each committed transaction:
//!   t ‖ its digest                          → its place
//!   e ‖ place                               → time, digest, sender, outcome, resources: an Entry
//!   p ‖ sender ‖ place                      → nothing
//!   w ‖ twin ‖ place                        → nothing; for each twin that it touched
//!   c ‖ digest of the element ‖ place       → nothing; for each element that it touched
//!   r ‖ resource ‖ number                   → the TraceEntry; for each write. A document by its ID, another by its digest
//! ```
//!
//! A place is the block's height and the transaction's number in it, both big-endian, so that all rows of one list lie in the order of the
//! chain. Every row follows from the entry, so that whoever prunes a block finds them all by its entries.

pub(crate) mod events;
pub(crate) mod lists;
pub(crate) mod lookup;
pub(crate) mod query;
pub(crate) mod trace;

use std::collections::{BTreeMap, BTreeSet};

use borsh::{BorshDeserialize, BorshSerialize};
use dt_model::{ComponentId, Digest, PartyId, Timestamp, TwinId, codec};
use serde::{Deserialize, Serialize};

use crate::receipt::Outcome;
use crate::record::{Resource, StateKey};
use crate::store::{Row, StoreError, StoreView, Table, scan_prefix};

/// Where a transaction stands in the chain.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    BorshSerialize,
    BorshDeserialize,
    Serialize,
    Deserialize,
)]
pub struct Place {
    /// The block.
    pub height: u64,
    /// The transaction in that block, counted from 0.
    pub index: u32,
}

impl Place {
    /// Before all others.
    pub const FIRST: Self = Self { height: 0, index: 0 };
    /// After all others.
    pub const LAST: Self = Self { height: u64::MAX, index: u32::MAX };

    /// Bytes of a place in a key.
    pub(crate) const LEN: usize = 12;

    pub(crate) fn to_bytes(self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        bytes[..8].copy_from_slice(&self.height.to_be_bytes());
        bytes[8..].copy_from_slice(&self.index.to_be_bytes());
        bytes
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (height, index) = bytes.split_first_chunk::<8>()?;
        let height = u64::from_be_bytes(*height);
        Some(Self { height, index: u32::from_be_bytes(index.try_into().ok()?) })
    }

    /// The least place after this one.
    pub(crate) fn next(self) -> Option<Self> {
        match self.index.checked_add(1) {
            Some(index) => Some(Self { index, ..self }),
            None => Some(Self { height: self.height.checked_add(1)?, index: 0 }),
        }
    }

    /// The greatest place before this one.
    pub(crate) fn previous(self) -> Option<Self> {
        match self.index.checked_sub(1) {
            Some(index) => Some(Self { index, ..self }),
            None => Some(Self { height: self.height.checked_sub(1)?, index: u32::MAX }),
        }
    }
}

/// A committed transaction, as a [`crate::Query`] finds it. The transaction itself is [`crate::Replica::transaction`]'s to give.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct Entry {
    /// Where it stands.
    pub place: Place,
    /// The block's time.
    pub time: Timestamp,
    /// Its digest.
    pub transaction: Digest,
    /// Its sender.
    pub sender: PartyId,
    /// What became of it.
    pub outcome: Outcome,
    /// What it touched: if it was applied, all that it wrote to, and the programs of the calls among that; if it was rejected, the twins
    /// that it addressed and the first 64 things that it named besides.
    pub resources: BTreeMap<Resource, Written>,
}

/// Which entries of a resource's trace a transaction wrote.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Default, BorshSerialize, BorshDeserialize, Serialize, Deserialize,
)]
pub struct Written {
    /// The number of the first; 0 if there is none.
    pub first: u64,
    /// How many. They follow on each other.
    pub count: u64,
}

impl Entry {
    /// The twins that it touched.
    #[must_use]
    pub fn twins(&self) -> BTreeSet<TwinId> {
        self.resources.keys().filter_map(Resource::twin).collect()
    }

    /// The elements that it touched, each with its twin.
    #[must_use]
    pub fn components(&self) -> BTreeSet<(TwinId, &ComponentId)> {
        self.resources.keys().filter_map(Resource::component).collect()
    }

    /// The rows by which it is found, but for those of the traces.
    pub(crate) fn rows(&self) -> Vec<Row> {
        let place = self.place.to_bytes();
        let listed = |list: Vec<u8>| ([list, place.to_vec()].concat(), Vec::new());
        let body = (&self.time, &self.transaction, &self.sender, &self.outcome, &self.resources);
        let mut rows = vec![
            (transaction_key(&self.transaction), codec::encode(&(self.place.height, self.place.index))),
            ([ENTRIES, &place].concat(), codec::encode(&body)),
            listed(party_list(&self.sender)),
        ];
        rows.extend(self.twins().iter().map(twin_list).map(listed));
        let components = self.components();
        rows.extend(components.into_iter().map(|(twin, at)| component_list(twin, at)).map(listed));
        rows
    }

    /// The keys of its rows, but for those of the traces: what goes with it when its block is pruned.
    pub(crate) fn keys(&self) -> Vec<Vec<u8>> {
        self.rows().into_iter().map(|(key, _)| key).collect()
    }

    /// The keys of the entries of traces that it wrote.
    #[cfg(test)]
    pub(crate) fn trace_keys(&self) -> Vec<Vec<u8>> {
        let keys = |(resource, written): (&Resource, &Written)| {
            let (list, Written { first, count }) = (trace_list(resource), *written);
            (first..first.saturating_add(count)).map(move |number| trace_key(&list, number))
        };
        self.resources.iter().flat_map(keys).collect()
    }

    /// The entry at `place`, and the bytes that it takes in the store.
    pub(crate) fn load(view: &dyn StoreView, place: Place) -> Result<Option<(Self, usize)>, StoreError> {
        let key = [ENTRIES, &place.to_bytes()].concat();
        let Some(bytes) = view.get(Table::Index, &key)? else { return Ok(None) };
        Self::decode(place, &bytes)
            .map(|entry| Some((entry, bytes.len())))
            .ok_or(StoreError::Damaged { table: Table::Index, key })
    }

    /// The entries of the block at `height`.
    pub(crate) fn of_block(view: &dyn StoreView, height: u64) -> Result<Vec<Self>, StoreError> {
        let rows = scan_prefix(view, Table::Index, &[ENTRIES, &height.to_be_bytes()].concat(), usize::MAX)?;
        let decode = |(key, value): (Vec<u8>, Vec<u8>)| {
            key.strip_prefix(ENTRIES)
                .and_then(Place::from_bytes)
                .and_then(|place| Self::decode(place, &value))
                .ok_or(StoreError::Damaged { table: Table::Index, key })
        };
        rows.into_iter().map(decode).collect()
    }

    /// No limit: these are our own bytes.
    fn decode(place: Place, bytes: &[u8]) -> Option<Self> {
        let (time, transaction, sender, outcome, resources) = codec::decode(bytes, usize::MAX).ok()?;
        Some(Self { place, time, transaction, sender, outcome, resources })
    }
}

/// Where the index holds the place of a transaction.
pub(crate) fn transaction_key(transaction: &Digest) -> Vec<u8> {
    [b"t".as_slice(), transaction.as_bytes()].concat()
}

/// What the index keys of all entries of traces start with.
pub(crate) const TRACES: &[u8] = b"r";

/// The list of a thing's trace. Documents are the many: those that came together have theirs together.
pub(crate) fn trace_list(resource: &Resource) -> Vec<u8> {
    match resource {
        Resource::Document(_, document) => [TRACES, b"d", document.as_bytes()].concat(),
        other => digest_list(&other.digest()),
    }
}

/// The list of the trace of a thing whose [`Resource::head_key`] is `key`: that has the digest already, where there is one.
pub(crate) fn trace_list_at(resource: &Resource, key: &StateKey) -> Vec<u8> {
    match key {
        StateKey::Trace(digest) => digest_list(digest),
        _ => trace_list(resource),
    }
}

fn digest_list(resource: &Digest) -> Vec<u8> {
    [TRACES, b"r", resource.as_bytes()].concat()
}

/// Where the index holds an entry of a trace.
pub(crate) fn trace_key(list: &[u8], number: u64) -> Vec<u8> {
    [list, &number.to_be_bytes()].concat()
}

/// The list of all transactions.
pub(crate) const ENTRIES: &[u8] = b"e";

/// The list of a sender's transactions.
pub(crate) fn party_list(party: &PartyId) -> Vec<u8> {
    [b"p".as_slice(), party.as_bytes()].concat()
}

/// The list of the transactions that touched a twin.
pub(crate) fn twin_list(twin: &TwinId) -> Vec<u8> {
    [b"w".as_slice(), twin.as_bytes()].concat()
}

/// The list of the transactions that touched an element.
pub(crate) fn component_list(twin: TwinId, component: &ComponentId) -> Vec<u8> {
    [b"c".as_slice(), Resource::Element(twin, component.clone()).digest().as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Fixture;
    use crate::{MAINTAINER, TwinCall};

    /// Whoever prunes all blocks by their entries leaves nothing of them in the index but who the validators were.
    #[test]
    fn all_rows_of_a_transaction_follow_from_its_entry() {
        let chain = Fixture::default();
        let (owner, agent) = (chain.enrol(1), chain.enrol(2));
        let twin = chain.twin(&owner, Some(&agent), &[(&agent, MAINTAINER)]);
        let component = |at: &str| ComponentId::new(at).unwrap();
        let policy =
            TwinCall::SetPolicy { component: Some(component("tank")), policy: crate::Policy::none() };
        let remove = TwinCall::RemoveSensorFeed { component: component("tank") };
        chain.call(&owner, twin, policy.clone()).unwrap();
        let calls = [policy, remove].map(|call| crate::Call::Twin { twin, call });
        let sent = [chain.sign(&owner, calls.to_vec()), chain.sign(&agent, calls[1..].to_vec())];
        let committed = chain.commit(&sent);
        assert!(committed.receipts.iter().all(|receipt| receipt.result().is_err()));
        let view = chain.replica().store().view().unwrap();
        let mut left: BTreeSet<Vec<u8>> = scan_prefix(&*view, Table::Index, &[], usize::MAX)
            .unwrap()
            .into_iter()
            .map(|(key, _)| key)
            .collect();
        for height in 1..=chain.replica().tip().height {
            for entry in Entry::of_block(&*view, height).unwrap() {
                let loaded = Entry::load(&*view, entry.place).unwrap().unwrap().0;
                assert_eq!(loaded, entry);
                for key in entry.keys().into_iter().chain(entry.trace_keys()) {
                    assert!(left.remove(&key), "a row that is not there: {}", crate::store::hex(&key));
                }
            }
        }
        assert!(left.iter().all(|key| key.starts_with(b"v")), "{left:?}");
    }
}
