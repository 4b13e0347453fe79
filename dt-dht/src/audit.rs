//! Checking a replica's whole store from disk, without a network: is every row what an honest replica would have written?

use core::fmt;

use borsh::{BorshDeserialize, BorshSerialize};
use bytes::Bytes;
use thiserror::Error;

use crate::agreement::AgreedRow;
use crate::proof::ProofRow;
use crate::rows::{
    AGREED, CHECKSUM_BYTES, EVIDENCE, HISTORY, PROOFS, PROPOSALS, PastRow, ProposalRow, RECORDS, RecordRow,
    SHARDS, ShardRow, TOTALS, Totals, agreed_key, history_key, open_row, proof_key, proposal_key, record_key,
    shard_key,
};
use crate::upkeep::{BooksAudit, address_in};
use crate::{Equivocation, RecordStore, StoreError};

/// What an intact store holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StoreReport {
    /// Records, every one with its writer's valid signature.
    pub records: u64,
    /// Evidence against writers, every one conclusive.
    pub evidence: u64,
    /// Shards, every one with the digest that its blob's reference has for it.
    pub shards: u64,
    /// Bytes of all rows, keys included.
    pub bytes: u64,
}

/// Names a row in a store. Shown as its prefix letter and the rest in hex.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowKey(pub Bytes);

impl fmt::Display for RowKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.split_first() {
            None => f.write_str("(empty)"),
            Some((prefix, rest)) => {
                write!(f, "{}", prefix.escape_ascii())?;
                rest.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }
    }
}

/// What is wrong with a row.
#[derive(Debug, Error, PartialEq, Eq, Clone, Copy)]
#[non_exhaustive]
pub enum RowDamage {
    /// The checksum does not hold, or the content is no canonical value: key or value was altered.
    #[error("it was altered")]
    Altered,
    /// No replica writes a row with such a key.
    #[error("no replica writes such a row")]
    Foreign,
    /// The row's key is not that of its content.
    #[error("it lies at the wrong key")]
    Misplaced,
    /// The record's signature does not hold.
    #[error("the record's signature does not hold")]
    Record,
    /// The evidence proves nothing.
    #[error("the evidence proves nothing")]
    Evidence,
    /// The receipts do not show that shards of one blob are stored.
    #[error("the receipts are not for one blob's shards")]
    Proof,
    /// The shard's digest is not that in the blob's reference.
    #[error("the shard is not the blob's")]
    Shard,
}

/// Why a store is not intact.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StoreDamage {
    /// The store itself cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A row is not what an honest replica wrote.
    #[error("row {row}: {damage}")]
    Row {
        /// Which row.
        row: RowKey,
        /// What is wrong.
        damage: RowDamage,
    },
    /// Every row is sound by itself, but rows have vanished, came from elsewhere, or are older than the rest.
    #[error("{found} rows, of which not all are the last that were written; there should be {expected}")]
    Totals {
        /// Rows that there should be.
        expected: u64,
        /// Rows that there are.
        found: u64,
    },
    /// What is booked for addresses and parties is not what lies there.
    #[error("the books of addresses and parties do not agree with the rows")]
    Books,
}

/// How many rows are read at once: shards are long.
const PAGE_ROWS: usize = 16;

/// Checks every row of a replica's store: checksums, canonical form, signatures, digests, that each row lies where it belongs, and that
/// none is missing.
///
/// A single altered bit in any row is found, and so is a vanished row. What it cannot find is a whole older state of the store, or one
/// that somebody made afresh from the same records: against a replica that rolls back, readers have quorums.
///
/// # Errors
/// [`StoreDamage`]: the first damage, with the row's name.
///
/// # Examples
/// ```
/// # use dt_dht::testing::Network;
/// # use dt_dht::{OwnedRecords, Resilience};
/// # use dt_model::{Signed, Signer, testing::identity};
/// # use std::sync::Arc;
/// use dt_dht::{RecordStore, StoreDamage, verify_store};
/// # let owner = Arc::new(identity(1));
/// # let network = Network::new(Resilience::tolerating(1)?, 4, [owner.party()], &[Arc::new(OwnedRecords)]);
/// # let record = OwnedRecords::record(owner.party(), "name".parse()?, 1, &b"value"[..]);
/// # let (client, record) = (network.client(owner.clone()), Signed::new(record, &*owner)?);
/// # futures_util::FutureExt::now_or_never(client.put(&record, network.now())).unwrap()?;
/// # let store = network.replica(&network.nodes()[0].party()).store();
///
/// // `store` is of a node that has stored one record.
/// assert_eq!(verify_store(&**store)?.records, 1);
///
/// let (key, value) = store.scan(b"r", None, 1)?.remove(0);
/// let mut altered = value.to_vec();
/// altered[100] ^= 1;
/// store.put(&[(key.clone(), altered.into())])?;
/// assert!(matches!(verify_store(&**store), Err(StoreDamage::Row { row, .. }) if row.0 == key));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn verify_store(store: &dyn RecordStore) -> Result<StoreReport, StoreDamage> {
    let mut report = StoreReport::default();
    let (mut found, mut expected) = (Totals::default(), Totals::default());
    let mut books = BooksAudit::default();
    let mut after: Option<Bytes> = None;
    loop {
        let page = store.scan(&[], after.as_deref(), PAGE_ROWS)?;
        // An empty value is what is left of a removed row until it is gone.
        for (key, value) in page.iter().filter(|(key, value)| !value.is_empty() || key.len() <= 1) {
            let row = || RowKey(key.clone());
            let checked = if key.as_ref() == [TOTALS] {
                content::<Totals>(key, value).map(|(totals, _)| expected = totals)
            } else {
                check_row(key, value, &mut report, &mut books).map(|checksum| found.add(&checksum))
            };
            checked.map_err(|damage| StoreDamage::Row { row: row(), damage })?;
            report.bytes = report.bytes.saturating_add((key.len() + value.len()) as u64);
        }
        match page.last() {
            Some((key, _)) => after = Some(key.clone()),
            None => break,
        }
    }
    if found != expected {
        return Err(StoreDamage::Totals { expected: expected.rows, found: found.rows });
    }
    if books.holds() { Ok(report) } else { Err(StoreDamage::Books) }
}

/// Checks one row, counts it, and gives its checksum.
fn check_row(
    key: &Bytes,
    value: &[u8],
    report: &mut StoreReport,
    books: &mut BooksAudit,
) -> Result<[u8; CHECKSUM_BYTES], RowDamage> {
    match key.first() {
        Some(&RECORDS) => {
            let (row, checksum) = content::<RecordRow>(key, value)?;
            let record = row.record.clone().open().map_err(|_| RowDamage::Record)?;
            require(*key == record_key(RECORDS, &record.key), RowDamage::Misplaced)?;
            books.take(key, value)?;
            report.records += 1;
            Ok(checksum)
        }
        Some(&EVIDENCE) => {
            let (row, checksum) = content::<Equivocation>(key, value)?;
            let culprit = row.verify().map_err(|_| RowDamage::Evidence)?;
            require(*key == record_key(EVIDENCE, &culprit.key), RowDamage::Misplaced)?;
            books.take(key, value)?;
            report.evidence += 1;
            Ok(checksum)
        }
        Some(&SHARDS) => {
            let (row, checksum) = content::<ShardRow>(key, value)?;
            require(row.blob.has_shard(row.index, &row.bytes), RowDamage::Shard)?;
            require(*key == shard_key(&row.blob.address(), row.index), RowDamage::Misplaced)?;
            books.take(key, value)?;
            report.shards += 1;
            Ok(checksum)
        }
        Some(&PROOFS) => {
            let (row, checksum) = content::<ProofRow>(key, value)?;
            let blob = address_in(key).map_err(|_| RowDamage::Misplaced)?;
            require(*key == proof_key(&blob), RowDamage::Misplaced)?;
            // The receipts are for what lies here, or the signatures do not hold.
            require(row.certificate(&blob).is_signed(), RowDamage::Proof)?;
            books.take(key, value)?;
            Ok(checksum)
        }
        Some(&AGREED) => {
            let (row, checksum) = content::<AgreedRow>(key, value)?;
            if let Some(settled) = &row.settled {
                require(settled.is_sound(), RowDamage::Record)?;
                require(*key == agreed_key(&settled.state().address()), RowDamage::Misplaced)?;
            }
            books.take(key, value)?;
            Ok(checksum)
        }
        Some(&PROPOSALS) => {
            let (row, checksum) = content::<ProposalRow>(key, value)?;
            if let Some(record) = row.record {
                let record = record.open().map_err(|_| RowDamage::Record)?;
                let at = |place| *key == proposal_key(&record.key.address, place);
                require(at(0) || at(1), RowDamage::Misplaced)?;
            }
            books.take(key, value)?;
            Ok(checksum)
        }
        Some(&HISTORY) => {
            let (row, checksum) = content::<PastRow>(key, value)?;
            let record = row.record.open().map_err(|_| RowDamage::Record)?;
            require(*key == history_key(&record.key, record.version), RowDamage::Misplaced)?;
            books.take(key, value)?;
            Ok(checksum)
        }
        _ => books.check(key, value),
    }
}

fn content<T: BorshSerialize + BorshDeserialize>(
    key: &[u8],
    value: &[u8],
) -> Result<(T, [u8; CHECKSUM_BYTES]), RowDamage> {
    open_row(key, value).map_err(|_| RowDamage::Altered)
}

fn require(holds: bool, damage: RowDamage) -> Result<(), RowDamage> {
    if holds { Ok(()) } else { Err(damage) }
}
