//! What nodes ask each other to keep what they hold alive and complete. These are ordinary signed requests; only nodes may make them.

use borsh::{BorshDeserialize, BorshSerialize};
use dt_model::{Envelope, PartyId};

use super::{HandOver, Listing, Place, Summary};
use crate::{Address, BlobRef, Former, Key, QuorumCertificate, Record, Shard};

/// The requests of upkeep. What is listed is what both nodes are replicas of, in the order of addresses.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum UpkeepRequest {
    /// For a digest of what lies at the next addresses.
    Summarise {
        /// From which address on, without it; `None`: from the first one.
        after: Option<Address>,
    },
    /// For the next page of what lies in a range.
    List {
        /// From where on, without it; `None`: from the first address on.
        after: Option<(Address, Place)>,
        /// The last address of the range; `None`: to the end.
        until: Option<Address>,
    },
    /// For whatever shard of a blob the node has, with what is needed to make others.
    FetchShard {
        /// The blob's address.
        blob: Address,
        /// Which shard.
        index: u16,
    },
    /// For the proof that a quorum holds its shards of a blob.
    FetchCertificate {
        /// The blob's address.
        blob: Address,
    },
    /// For what the node has of an agreed slot's past, as a replica of its address, from an entry on backwards.
    FetchPast {
        /// The slot.
        key: Key,
        /// The newest entry that is asked for.
        former: Former,
    },
    /// For the node's statement that it holds all that is its own in this epoch. Every party may ask.
    HandOver,
}

/// The answers.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum UpkeepReply {
    /// To [`UpkeepRequest::Summarise`].
    Summary(Summary),
    /// To [`UpkeepRequest::List`].
    Listing(Listing),
    /// To [`UpkeepRequest::FetchShard`].
    Shard(Option<FoundShard>),
    /// To [`UpkeepRequest::FetchCertificate`].
    Certificate(Option<QuorumCertificate>),
    /// To [`UpkeepRequest::FetchPast`]: the entry that was asked for, and those before, without a gap; nothing if the node has not that one.
    Past(Vec<FoundPast>),
    /// To [`UpkeepRequest::HandOver`]: nothing as long as it does not hold all.
    HandOver(Option<Envelope<HandOver>>),
}

/// An agreed record that was replaced. What it is told by is the digest of both fields, so it needs no proof.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct FoundPast {
    /// The record.
    pub record: Envelope<Record>,
    /// What it had replaced.
    pub former: Option<Former>,
}

/// A shard, and what is known of its blob.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct FoundShard {
    /// The blob: its address is the digest of this, so it needs no proof.
    pub blob: BlobRef,
    /// Who is charged for it.
    pub payer: PartyId,
    /// The shard.
    pub shard: Shard,
}
