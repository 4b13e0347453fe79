//! What travels: requests signed by a party and addressed to one node, and the replies that the node signs.

use borsh::{BorshDeserialize, BorshSerialize};
use bytes::Bytes;
use dt_model::{Digest, Domain, Envelope, Message, PartyId, Timestamp};

use crate::{
    Address, BlobRef, Equivocation, Key, MAX_BLOB_BYTES, Receipt, Record, Refusal, UpkeepReply, UpkeepRequest,
};

/// What a party asks of one node. It travels as an [`Envelope`] of the party.
///
/// # Invariant
/// It names network, epoch, addressee and time, so a node MUST NOT be able to pass it on as addressed to another, nor anybody replay
/// it in another epoch or after [`MAX_REQUEST_AGE`].
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Request {
    /// The ledger's chain ID.
    pub network: Digest,
    /// The membership epoch in which the sender chose the addressee.
    pub epoch: u64,
    /// The node it is for.
    pub node: PartyId,
    /// Random, so that no two requests are the same and no reply serves twice.
    pub nonce: [u8; 16],
    /// When it was made.
    pub time: Timestamp,
    /// What is asked.
    pub body: RequestBody,
}

/// The requests there are.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum RequestBody {
    /// To store a record, or to renew its lease.
    Put {
        /// The record, signed by its writer, who need not be the sender.
        record: Envelope<Record>,
    },
    /// For the record at a key.
    Get {
        /// The key.
        key: Key,
    },
    /// To store one shard of a blob, or to renew its lease.
    PutShard {
        /// The blob.
        blob: BlobRef,
        /// Which of its shards.
        index: u16,
        /// The shard.
        bytes: Bytes,
    },
    /// For one shard of a blob.
    GetShard {
        /// The blob's address.
        blob: Address,
        /// Which of its shards.
        index: u16,
    },
    /// For the evidence, if there is any, that the writer at a key signed two records of one version.
    GetEvidence {
        /// The key.
        key: Key,
    },
    /// Of one node to another, to keep what both hold alive and complete.
    Upkeep {
        /// What it asks.
        request: UpkeepRequest,
    },
}

/// What a node answers. It travels as an [`Envelope`] of the node.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Reply {
    /// The ledger's chain ID.
    pub network: Digest,
    /// The node's membership epoch.
    pub epoch: u64,
    /// [`request_digest`] of the bytes it answers: a reply to one request, with its nonce, is none to another.
    pub request: Digest,
    /// The answer.
    pub body: ReplyBody,
}

/// The replies there are.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum ReplyBody {
    /// To [`RequestBody::Put`]: it is stored durably.
    Stored {
        /// The proof of it, for anybody.
        receipt: Envelope<Receipt>,
    },
    /// To [`RequestBody::Get`].
    Record {
        /// What is stored, if anything is.
        record: Option<Envelope<Record>>,
    },
    /// To [`RequestBody::PutShard`]: it is stored durably.
    ShardStored,
    /// To [`RequestBody::GetShard`].
    Shard {
        /// What is stored, if anything is.
        bytes: Option<Bytes>,
    },
    /// To [`RequestBody::GetEvidence`].
    Evidence {
        /// What was found, if anything was.
        evidence: Option<Equivocation>,
    },
    /// To any of them: no.
    Refused {
        /// Why not.
        refusal: Refusal,
    },
    /// To [`RequestBody::Upkeep`].
    Upkeep {
        /// The answer.
        reply: UpkeepReply,
    },
}

/// How far a request's time may be from the node's, in either direction: generous for clocks of companies' machines, and short enough
/// that a recorded request is soon worthless.
pub const MAX_REQUEST_AGE: core::time::Duration = core::time::Duration::from_secs(300);

/// What a shard's request has besides the shard: the digests of up to 65,535 shards, and the fields around them.
const OVERHEAD_BYTES: usize = 65_536 * 32 + 64 * 1024;

/// The longest request or reply as it travels: one shard of the longest blob, when a single shard restores it, and what is around it.
pub const MAX_MESSAGE_BYTES: usize = MAX_BLOB_BYTES + OVERHEAD_BYTES;

impl Message for Request {
    const DOMAIN: Domain = Domain::new("dt/dht/request/v1");
    const MAX_BYTES: usize = MAX_MESSAGE_BYTES;
}

impl Message for Reply {
    const DOMAIN: Domain = Domain::new("dt/dht/reply/v1");
    const MAX_BYTES: usize = MAX_MESSAGE_BYTES;
}

/// What a reply names its request by: BLAKE3 over the request's bytes as they arrived, whatever they were.
#[must_use]
pub fn request_digest(request: &[u8]) -> Digest {
    Domain::new("dt/dht/request-bytes/v1").blake3(&[request])
}
