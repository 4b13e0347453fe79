//! Blocks: an ordered batch of transactions under a header that chains to the one before.

use borsh::{BorshDeserialize, BorshSerialize};
use bytes::Bytes;
use dt_model::{Digest, Domain, Envelope, Message, Timestamp, merkle};
use serde::{Deserialize, Serialize};

use crate::{Event, Receipt};

/// What a block is identified by.
///
/// `state_root` and `receipts_root` are those *before* this block, that is, the results of the one before: a replica that computed
/// something else refuses the next proposal instead of forking.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct Header {
    /// The chain.
    pub chain: Digest,
    /// 1 for the first block; the genesis is 0.
    pub height: u64,
    /// Set by consensus, never before the previous block's; the only time that the contracts know.
    pub time: Timestamp,
    /// The previous block; the chain's own digest for the first.
    pub previous: Digest,
    /// RFC 6962 root over this block's transactions, as they were received.
    pub transactions_root: Digest,
    /// The state's Merkle root before this block.
    pub state_root: Digest,
    /// RFC 6962 root over the previous block's receipts.
    pub receipts_root: Digest,
}

const HEADER: Domain = Domain::new("dt/ledger/header/v1");

impl Header {
    /// The block's digest.
    #[must_use]
    pub fn digest(&self) -> Digest {
        HEADER.sha256_of(self)
    }
}

/// A header and the transactions that it commits to, each the bytes of a signed envelope.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Block {
    /// The header.
    pub header: Header,
    /// The transactions in order.
    pub transactions: Vec<Bytes>,
}

/// The most bytes of transactions in one block.
pub const MAX_BLOCK_BYTES: usize = 64 * 1024 * 1024;

/// A validator's vote that a block is the chain's at its height.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Commit {
    /// The chain.
    pub chain: Digest,
    /// The height.
    pub height: u64,
    /// The block.
    pub block: Digest,
}

impl Message for Commit {
    const DOMAIN: Domain = Domain::new("dt/ledger/commit/v1");
    const MAX_BYTES: usize = 128;
}

/// The votes that committed a block: of more than two thirds of the validators, each once, and of nobody else.
#[derive(Debug, Clone, PartialEq, Eq, Default, BorshSerialize, BorshDeserialize)]
pub struct CommitCertificate {
    /// Each validator's vote.
    pub votes: Vec<Envelope<Commit>>,
}

/// How many of `validators` must vote: more than two thirds of them.
#[must_use]
pub const fn vote_quorum(validators: usize) -> usize {
    validators - validators.saturating_sub(1) / 3
}

/// A block that the chain holds, with what it did.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct CommittedBlock {
    /// The block.
    pub block: Block,
    /// Who committed it.
    pub certificate: CommitCertificate,
    /// What became of each transaction.
    pub receipts: Vec<Receipt>,
    /// What happened, in order.
    pub events: Vec<Event>,
}

/// The RFC 6962 Merkle tree hash (SHA-256) over `leaves`.
pub(crate) fn log_root<'a>(leaves: impl IntoIterator<Item = &'a [u8]>) -> Digest {
    merkle::root(leaves.into_iter().map(|leaf| merkle::leaf_hash(&[leaf])))
}
