//! What a replica keeps, as rows of its store, each with a checksum over its key and its content.
//!
//! ```text
//!   key                                      value
//!   'r' address kind index (big-endian)      checksum ‖ RecordRow     a record
//!   'e' address kind index                   checksum ‖ Equivocation  evidence against the writer at that key
//!   'a' address                              checksum ‖ AgreedRow     what is settled at an address, and what is about to be
//!   'p' address place                        checksum ‖ ProposalRow   a record that may be settled next; two places
//!   'h' address kind index place             checksum ‖ PastRow       a record that was replaced; its version modulo 1,024 is the place
//!   's' blob address, shard (big-endian)     checksum ‖ ShardRow      a shard
//!   'q' blob address                         checksum ‖ ProofRow      that a quorum holds its shards
//!   'b' blob address                         checksum                 that it was encoded inconsistently
//!   'l' address                              checksum ‖ AddressRow    its lease, and what lies there in sum
//!   'u' party                                checksum ‖ Usage         what is stored for it
//!   'c' node                                 checksum ‖ CursorRow     how far this node has compared itself with that one
//!   't'                                      checksum ‖ Totals        how many other rows there are, and the XOR of their checksums
//! ```
//!
//! # Invariant
//! Every write of a row changes the totals in the same atomic batch. So a row that has vanished is noticed, and not only one that was
//! altered. The rows of addresses and parties change with it, too: see [`crate::upkeep`].

use std::sync::{Mutex, PoisonError};

use borsh::{BorshDeserialize, BorshSerialize};
use bytes::Bytes;
use dt_model::{Domain, Envelope, PartyId, Timestamp, codec};
use thiserror::Error;

use crate::store::Row;
use crate::upkeep::{self, Batch, Quotas, address_in};
use crate::{
    Address, BlobRef, Equivocation, Former, Key, MAX_MESSAGE_BYTES, Record, RecordStore, Refusal, StoreError,
};

/// A record.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(crate) struct RecordRow {
    pub(crate) record: Envelope<Record>,
}

/// A record that was agreed on once, and replaced.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(crate) struct PastRow {
    pub(crate) record: Envelope<Record>,
    /// What it had replaced.
    pub(crate) former: Option<Former>,
}

/// A record that was proposed as the next one at its address, in one of two places: one is accepted, and another may be locked.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(crate) struct ProposalRow {
    /// `None` once the sequence is settled: a row that is not needed any more costs little.
    pub(crate) record: Option<Envelope<Record>>,
}

/// A shard.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(crate) struct ShardRow {
    pub(crate) blob: BlobRef,
    pub(crate) index: u16,
    /// Who put it last, and is charged for it.
    pub(crate) payer: PartyId,
    pub(crate) bytes: Bytes,
}

/// What the totals row holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(crate) struct Totals {
    pub(crate) rows: u64,
    pub(crate) checksums: [u8; CHECKSUM_BYTES],
}

impl Totals {
    fn toggle(&mut self, checksum: &[u8; CHECKSUM_BYTES]) {
        self.checksums.iter_mut().zip(checksum).for_each(|(sum, byte)| *sum ^= byte);
    }

    /// Counts a row.
    pub(crate) fn add(&mut self, checksum: &[u8; CHECKSUM_BYTES]) {
        self.rows = self.rows.saturating_add(1);
        self.toggle(checksum);
    }

    /// Counts a row no more.
    pub(crate) fn subtract(&mut self, checksum: &[u8; CHECKSUM_BYTES]) {
        self.rows = self.rows.saturating_sub(1);
        self.toggle(checksum);
    }
}

/// A row that is not what a replica wrote.
#[derive(Debug, Error, PartialEq, Eq, Clone, Copy)]
#[error("the row is not what was written")]
pub(crate) struct DamagedRow;

/// Why the rows could not be used.
#[derive(Debug, Error)]
pub(crate) enum RowsError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Damaged(#[from] DamagedRow),
    #[error("a payer has as much stored as he may")]
    Quota,
}

impl RowsError {
    /// What a sender is told. A row that cannot be read or written is the operator's concern; he only learns that this node cannot help.
    pub(crate) const fn refusal(&self) -> Refusal {
        match self {
            Self::Quota => Refusal::QuotaExceeded,
            Self::Store(_) | Self::Damaged(_) => Refusal::Unavailable,
        }
    }
}

pub(crate) const RECORDS: u8 = b'r';
pub(crate) const EVIDENCE: u8 = b'e';
pub(crate) const AGREED: u8 = b'a';
pub(crate) const PROPOSALS: u8 = b'p';
pub(crate) const HISTORY: u8 = b'h';
pub(crate) const SHARDS: u8 = b's';
pub(crate) const PROOFS: u8 = b'q';
pub(crate) const TOTALS: u8 = b't';
/// BLAKE3's length: enough to tell any damage, and rows are large beside it.
pub(crate) const CHECKSUM_BYTES: usize = 32;
const CHECKSUM: Domain = Domain::new("dt/dht/row/v1");

/// The row key of a record, or of the evidence beside it.
pub(crate) fn record_key(prefix: u8, key: &Key) -> Bytes {
    let mut bytes = vec![prefix];
    bytes.extend_from_slice(key.address.as_bytes());
    bytes.extend_from_slice(&codec::encode(&key.slot.kind));
    bytes.extend_from_slice(&key.slot.index.to_be_bytes());
    bytes.into()
}

/// How many replaced records of a slot are kept.
pub(crate) const MAX_HISTORY: u64 = 1024;

/// The row key of what is settled at an address.
pub(crate) fn agreed_key(address: &Address) -> Bytes {
    [&[AGREED][..], address.as_bytes()].concat().into()
}

/// The row key of a proposal.
pub(crate) fn proposal_key(address: &Address, place: u8) -> Bytes {
    [&[PROPOSALS][..], address.as_bytes(), &[place]].concat().into()
}

/// The row key of a replaced record: the place of the one that is [`MAX_HISTORY`] versions older.
pub(crate) fn history_key(key: &Key, version: u64) -> Bytes {
    let place = version % MAX_HISTORY;
    [&record_key(HISTORY, key)[..], &place.to_be_bytes()[6..]].concat().into()
}

/// The row key of a shard.
pub(crate) fn shard_key(blob: &Address, index: u16) -> Bytes {
    let mut bytes = vec![SHARDS];
    bytes.extend_from_slice(blob.as_bytes());
    bytes.extend_from_slice(&index.to_be_bytes());
    bytes.into()
}

/// The row key of the proof that a quorum holds its shards of a blob.
pub(crate) fn proof_key(blob: &Address) -> Bytes {
    [&[PROOFS][..], blob.as_bytes()].concat().into()
}

fn checksum(key: &[u8], content: &[u8]) -> [u8; CHECKSUM_BYTES] {
    *CHECKSUM.blake3(&[&(key.len() as u64).to_le_bytes(), key, content]).as_bytes()
}

/// The value of a row that holds `content`.
pub(crate) fn seal_row<T: BorshSerialize>(key: &[u8], content: &T) -> Bytes {
    let content = codec::encode(content);
    let mut value = Vec::with_capacity(CHECKSUM_BYTES + content.len());
    value.extend_from_slice(&checksum(key, &content));
    value.extend_from_slice(&content);
    value.into()
}

/// The checksum of a row, if it holds.
pub(crate) fn check_row(key: &[u8], value: &[u8]) -> Result<[u8; CHECKSUM_BYTES], DamagedRow> {
    let (sum, content) = value.split_first_chunk::<CHECKSUM_BYTES>().ok_or(DamagedRow)?;
    if *sum == checksum(key, content) { Ok(*sum) } else { Err(DamagedRow) }
}

/// The content of a row, if the checksum holds, and the checksum.
pub(crate) fn open_row<T: BorshSerialize + BorshDeserialize>(
    key: &[u8],
    value: &[u8],
) -> Result<(T, [u8; CHECKSUM_BYTES]), DamagedRow> {
    let sum = check_row(key, value)?;
    let content = &value[CHECKSUM_BYTES..];
    Ok((codec::decode(content, MAX_MESSAGE_BYTES).map_err(|_| DamagedRow)?, sum))
}

/// A store, seen as rows.
pub(crate) struct Rows<'a> {
    store: &'a dyn RecordStore,
    /// Held while totals are read and written.
    totals: &'a Mutex<()>,
    quotas: &'a Quotas,
}

impl<'a> Rows<'a> {
    pub(crate) fn new(store: &'a dyn RecordStore, totals: &'a Mutex<()>, quotas: &'a Quotas) -> Self {
        Self { store, totals, quotas }
    }

    /// The row at `key`.
    pub(crate) fn read<T: BorshSerialize + BorshDeserialize>(
        &self,
        key: &[u8],
    ) -> Result<Option<T>, RowsError> {
        upkeep::read(self.store, key)
    }

    /// Makes a change, whole or not at all.
    pub(crate) fn change(
        &self,
        change: impl FnOnce(&mut Batch<'_>) -> Result<(), RowsError>,
    ) -> Result<(), RowsError> {
        let _held = self.totals.lock().unwrap_or_else(PoisonError::into_inner);
        let mut batch = Batch::new(self.store)?;
        change(&mut batch)?;
        batch.commit(self.quotas)
    }

    /// Writes `content` at `key`, and leases the address of which it is.
    pub(crate) fn write<T: BorshSerialize>(
        &self,
        key: Bytes,
        content: &T,
        leased: Timestamp,
    ) -> Result<(), RowsError> {
        let value = seal_row(&key, content);
        self.write_all(vec![(key, value)], leased)
    }

    /// Writes rows that [`seal_row`] made, and leases the addresses of which they are: all or none.
    pub(crate) fn write_all(&self, rows: Vec<Row>, leased: Timestamp) -> Result<(), RowsError> {
        self.change(|batch| {
            for (key, value) in rows {
                let address = address_in(&key)?;
                batch.put(key, value)?;
                batch.renew(address, leased)?;
            }
            Ok(())
        })
    }

    /// The evidence at `key`.
    pub(crate) fn evidence(&self, key: &Key) -> Result<Option<Equivocation>, RowsError> {
        self.read(&record_key(EVIDENCE, key))
    }
}
