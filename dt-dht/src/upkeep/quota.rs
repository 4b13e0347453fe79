//! How much a node stores for whom.
//!
//! A record is charged to its signer, a shard to the party that put it last, evidence to whom it convicts. Renewing a record costs
//! nothing; whoever renews another's shard takes over its charge. Each row is charged its bytes and [`ROW_BYTES`] besides, so that many
//! small rows are no way around.

use std::collections::BTreeMap;

use borsh::{BorshDeserialize, BorshSerialize};
use dt_model::PartyId;

/// What a row costs besides its bytes: the address row, the totals and the engine's own keeping.
pub const ROW_BYTES: u64 = 256;

/// Rows, and their bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Amount {
    /// How many.
    pub rows: u64,
    /// How long together: keys, values and [`ROW_BYTES`] for each.
    pub bytes: u64,
}

impl Amount {
    /// More than any node has.
    pub const UNLIMITED: Self = Self { rows: u64::MAX, bytes: u64::MAX };

    /// One row of `bytes`.
    pub(crate) const fn row(bytes: u64) -> Self {
        Self { rows: 1, bytes: bytes.saturating_add(ROW_BYTES) }
    }

    fn add(&mut self, other: Self) {
        self.rows = self.rows.saturating_add(other.rows);
        self.bytes = self.bytes.saturating_add(other.bytes);
    }

    fn subtract(&mut self, other: Self) {
        self.rows = self.rows.saturating_sub(other.rows);
        self.bytes = self.bytes.saturating_sub(other.bytes);
    }

    /// Whether it grew from `before` to more than `limit` allows.
    const fn breaks(self, before: Self, limit: Self) -> bool {
        (self.rows > before.rows && self.rows > limit.rows)
            || (self.bytes > before.bytes && self.bytes > limit.bytes)
    }
}

/// What sort of row is charged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    Record,
    Shard,
    Evidence,
}

/// What a node stores for one party: also the form of a quota.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Usage {
    /// Records that it signed.
    pub records: Amount,
    /// Shards that it put.
    pub shards: Amount,
    /// Evidence against it.
    pub evidence: Amount,
}

impl Usage {
    pub(crate) fn add(&mut self, class: Class, amount: Amount) {
        self.class(class).add(amount);
    }

    pub(crate) fn subtract(&mut self, class: Class, amount: Amount) {
        self.class(class).subtract(amount);
    }

    /// Whether it grew from `before` to more than `quota` allows. What is over it already may still shrink or change.
    pub(crate) const fn breaks(&self, before: &Self, quota: &Self) -> bool {
        self.records.breaks(before.records, quota.records)
            || self.shards.breaks(before.shards, quota.shards)
            || self.evidence.breaks(before.evidence, quota.evidence)
    }

    const fn class(&mut self, class: Class) -> &mut Amount {
        match class {
            Class::Record => &mut self.records,
            Class::Shard => &mut self.shards,
            Class::Evidence => &mut self.evidence,
        }
    }
}

/// What each party may have stored at one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quotas {
    /// What a party may have that has no quota of its own.
    pub common: Usage,
    /// Quotas of their own.
    pub of: BTreeMap<PartyId, Usage>,
}

/// One proof convicts; some more show how it was done.
const EVIDENCE: Amount = Amount { rows: 16, bytes: 16 << 20 };

impl Quotas {
    /// No quota but for evidence.
    #[must_use]
    pub const fn unlimited() -> Self {
        let common = Usage { records: Amount::UNLIMITED, shards: Amount::UNLIMITED, evidence: EVIDENCE };
        Self { common, of: BTreeMap::new() }
    }

    /// For each party a million records and 4 GiB of them, and 64 GiB of shards.
    #[must_use]
    pub const fn recommended() -> Self {
        let records = Amount { rows: 1_000_000, bytes: 4 << 30 };
        let shards = Amount { rows: 1_000_000, bytes: 64 << 30 };
        Self { common: Usage { records, shards, evidence: EVIDENCE }, of: BTreeMap::new() }
    }

    /// What `party` may have.
    #[must_use]
    pub fn of(&self, party: &PartyId) -> &Usage {
        self.of.get(party).unwrap_or(&self.common)
    }
}
