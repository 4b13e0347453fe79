//! Transactions: a party's signed request that some calls be applied, all or none of them.

use borsh::{BorshDeserialize, BorshSerialize};
use dt_model::{Digest, Domain, Message};
use serde::{Deserialize, Serialize};

use crate::Call;

/// A request to the contracts. Its sender is whoever signed it: the body names no other, so none can be forged.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct Transaction {
    /// The chain it is for ([`crate::Genesis::chain`]).
    pub chain: Digest,
    /// How many transactions of the sender the chain holds already: each is applied once, in the sender's order.
    pub nonce: u64,
    /// The last height at which it may be committed.
    pub valid_until: u64,
    /// What is asked for, in order; all of it happens or nothing.
    pub calls: Vec<Call>,
}

/// The largest specification that a twin can be created with.
pub const MAX_AML_BYTES: usize = 16 * 1024 * 1024;

/// Under what limits every replica parses and edits specifications. They are part of the rules: with others a replica would judge an edit
/// otherwise than the rest, so nothing here is left to what another crate takes for a good default.
pub(crate) const AML_LIMITS: dt_aml::Limits = dt_aml::Limits {
    bytes: MAX_AML_BYTES as u64,
    // Real files stay below 20.
    depth: 256,
    // One for each 16 bytes: real files have one for 60, and a parsed element takes ten times as much.
    elements: 1 << 20,
    // CAEX knows fewer than 20.
    attributes: 256,
    namespaces: 64,
    fragment: MAX_CALL_BYTES as u64,
};

/// The longest transaction, but for the specifications of twins that it creates. Bulk data goes to the DHT (section 4.2).
pub const MAX_CALL_BYTES: usize = 1024 * 1024;

/// The most calls in one transaction.
pub const MAX_CALLS: usize = 256;

impl Message for Transaction {
    const DOMAIN: Domain = Domain::new("dt/ledger/transaction/v1");
    const MAX_BYTES: usize = MAX_AML_BYTES + MAX_CALL_BYTES;
}
