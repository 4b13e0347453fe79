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

/// The longest transaction, but for the creation of a twin. Bulk data goes to the DHT (section 4.2).
pub const MAX_CALL_BYTES: usize = 1024 * 1024;

/// The most calls in one transaction.
pub const MAX_CALLS: usize = 256;

impl Message for Transaction {
    const DOMAIN: Domain = Domain::new("dt/ledger/transaction/v1");
    const MAX_BYTES: usize = MAX_AML_BYTES + MAX_CALL_BYTES;
}
