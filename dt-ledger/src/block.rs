//! Blocks: an ordered batch of transactions under a header that chains to the one before.

use borsh::{BorshDeserialize, BorshSerialize};
use bytes::Bytes;
use dt_model::{Digest, Domain, Envelope, Message, PartyId, Timestamp, codec, merkle};
use serde::{Deserialize, Serialize};

use crate::evidence::log::LogHead;
use crate::store::{Batch, StoreError, StoreView, Table};
use crate::{Event, Receipt, Rest};

/// What a block is identified by.
///
/// `state_root`, `receipts_root` and `log` are those *before* this block, that is, the results of the one before: a replica that computed
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
    /// All transactions of the chain before this block.
    pub log: LogHead,
    /// The validators whose votes commit the next block ([`validators_digest`]): what the state before this block says.
    pub next_validators: Digest,
    /// The round in which the block was made, however often it was proposed again. An engine without rounds makes all blocks in round 0.
    pub round: u32,
    /// The validators that do not propose for a while: those of the header before, and the proposers of the rounds before this one.
    pub resting: Vec<Rest>,
}

const HEADER: Domain = Domain::new("dt/ledger/header/v1");
const VALIDATORS: Domain = Domain::new("dt/ledger/validators/v1");

/// What a header names a set of validators by.
#[must_use]
pub fn validators_digest(validators: &[PartyId]) -> Digest {
    VALIDATORS.sha256_of(validators)
}

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
///
/// An engine that votes in rounds signs this as its last vote of a round (Tendermint's precommit), and MUST NOT sign two blocks of one
/// height and round. One that decides otherwise signs it when it knows the decision, in round 0.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Commit {
    /// The chain.
    pub chain: Digest,
    /// The height.
    pub height: u64,
    /// The round.
    pub round: u32,
    /// The block.
    pub block: Digest,
}

impl Message for Commit {
    const DOMAIN: Domain = Domain::new("dt/ledger/commit/v1");
    const MAX_BYTES: usize = 128;
}

/// The votes that committed a block, all of one round: of more than two thirds of the validators, each once, and of nobody else.
#[derive(Debug, Clone, PartialEq, Eq, Default, BorshSerialize, BorshDeserialize)]
pub struct CommitCertificate {
    /// The round in which they voted.
    pub round: u32,
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

impl CommittedBlock {
    /// The rows of [`Table::Blocks`] that hold it. The header and its votes lie by themselves: they stay when the rest is pruned.
    pub(crate) fn store(&self, batch: &mut Batch) {
        let height = self.block.header.height;
        store_header(batch, &self.block.header, &self.certificate);
        let body = (&self.block.transactions, &self.receipts, &self.events);
        batch.put(Table::Blocks, body_key(height), codec::encode(&body));
    }

    /// The block at `height` as it was stored; `None` if there is none, or only its header.
    pub(crate) fn load(view: &dyn StoreView, height: u64) -> Result<Option<Self>, StoreError> {
        let key = body_key(height);
        let Some(body) = view.get(Table::Blocks, &key)? else { return Ok(None) };
        let damaged = |key| StoreError::Damaged { table: Table::Blocks, key };
        // No limit: these are our own bytes, with receipts and events that may be many times as long as the transactions.
        let (transactions, receipts, events) =
            codec::decode(&body, usize::MAX).map_err(|_| damaged(key.clone()))?;
        let (header, certificate) = load_header(view, height)?.ok_or_else(|| damaged(key))?;
        Ok(Some(Self { block: Block { header, transactions }, certificate, receipts, events }))
    }
}

/// The row of [`Table::Blocks`] that holds a header and its votes.
pub(crate) fn store_header(batch: &mut Batch, header: &Header, certificate: &CommitCertificate) {
    batch.put(Table::Blocks, header_key(header.height), codec::encode(&(header, certificate)));
}

/// The header at `height` and its votes, as they were stored.
pub(crate) fn load_header(
    view: &dyn StoreView,
    height: u64,
) -> Result<Option<(Header, CommitCertificate)>, StoreError> {
    let key = header_key(height);
    let Some(bytes) = view.get(Table::Blocks, &key)? else { return Ok(None) };
    codec::decode(&bytes, usize::MAX)
        .map(Some)
        .map_err(|_| StoreError::Damaged { table: Table::Blocks, key: key.to_vec() })
}

fn header_key(height: u64) -> [u8; 8] {
    height.to_be_bytes()
}

/// Directly after the header's.
pub(crate) fn body_key(height: u64) -> Vec<u8> {
    [&height.to_be_bytes()[..], b"b"].concat()
}

/// The leaf hash of RFC 6962, section 2.1.
pub(crate) fn leaf_hash(leaf: &[u8]) -> Digest {
    merkle::leaf_hash(&[leaf])
}

/// The RFC 6962 Merkle tree hash (SHA-256) over leaves with these hashes.
pub(crate) fn log_root(leaves: &[Digest]) -> Digest {
    merkle::root(leaves.iter().copied())
}
