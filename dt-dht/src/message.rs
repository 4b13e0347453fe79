//! What travels: requests signed by a party and addressed to one node, and the replies that the node signs.

use borsh::{BorshDeserialize, BorshSerialize};
use dt_model::{Digest, Domain, Envelope, Message, PartyId, Timestamp};

use crate::{
    Address, Ballot, Bid, BlobRef, Equivocation, Key, LockCertificate, MAX_INDEX_BYTES, Promise,
    QuorumCertificate, Receipt, Record, Refusal, SettlementCertificate, Shard, UpkeepReply, UpkeepRequest,
    Vote,
};

/// What a party asks of one node. It travels as a [`crate::Parcel`] of the party.
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
        shard: Shard,
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
    /// To renew the lease of one shard of a blob, if it is there: the answer is [`ReplyBody::ShardStored`], or a
    /// [`ReplyBody::Shard`] without one.
    RenewShard {
        /// The blob's address.
        blob: Address,
        /// Which of its shards.
        index: u16,
    },
    /// To keep, beside the shards of a blob, the proof that a quorum holds them: the answer is [`ReplyBody::CertificateKept`].
    KeepCertificate {
        /// The blob's address.
        blob: Address,
        /// The proof, of the present epoch.
        certificate: QuorumCertificate,
    },
    /// For the agreed records of an address, and what is about to follow them.
    GetState {
        /// The address.
        address: Address,
    },
    /// To vote for a record as the next one at its address.
    Propose {
        /// The step that it would be.
        sequence: u64,
        /// The attempt at it; `None` is open to whoever comes first.
        ballot: Option<Ballot>,
        /// The record, signed by its writer, who need not be the sender.
        record: Envelope<Record>,
        /// For a ballot: a quorum's promises for it, sorted by signer. If one of them shows a lock, `record` has to be that of the newest.
        promises: Vec<Envelope<Promise>>,
    },
    /// To lock on a record that a quorum accepts; or if that quorum is of a former epoch, to accept it again in this one.
    Commit {
        /// The record.
        record: Envelope<Record>,
        /// Proof that a quorum accepts it.
        certificate: LockCertificate,
    },
    /// To take over a state that was decided.
    Adopt {
        /// Proof that it was.
        certificate: SettlementCertificate,
        /// Its records, or those that the node may lack.
        records: Vec<Envelope<Record>>,
    },
    /// To vote for nothing older than a ballot.
    Promise {
        /// The attempt, of which the sender is the proposer.
        bid: Envelope<Bid>,
        /// Titles to higher ranks, as other replicas show them: at most as many as the address has replicas.
        titles: Vec<Envelope<Bid>>,
    },
    /// For a record that was agreed on once, and maybe replaced since.
    GetPast {
        /// Where it lay.
        key: Key,
        /// Its version.
        version: u64,
    },
    /// Of one node to another, to keep what both hold alive and complete.
    Upkeep {
        /// What it asks.
        request: UpkeepRequest,
    },
}

/// A record that a quorum accepts as the next one, so that it is decided or may be: what a replica is locked on.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Lock {
    /// The record.
    pub record: Envelope<Record>,
    /// Proof that a quorum accepts it.
    pub certificate: LockCertificate,
}

/// What a node answers. It travels as a [`crate::Parcel`] of the node.
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
    /// To [`RequestBody::Get`] and [`RequestBody::GetPast`].
    Record {
        /// What is stored, if anything is.
        record: Option<Envelope<Record>>,
    },
    /// To [`RequestBody::PutShard`] and [`RequestBody::RenewShard`]: it is stored durably.
    ShardStored {
        /// The proof of it, for anybody; none as long as the node lacks another shard of the blob that is its own, which happens
        /// while nodes change.
        receipt: Option<Envelope<Receipt>>,
    },
    /// To [`RequestBody::KeepCertificate`]: it, or a later one, is stored durably.
    CertificateKept,
    /// To [`RequestBody::GetShard`].
    Shard {
        /// What is stored, if anything is.
        shard: Option<Shard>,
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
    /// To [`RequestBody::GetState`].
    State {
        /// Proof of the settled state, if anything is settled.
        settled: Option<SettlementCertificate>,
        /// Its records, sorted by slot.
        records: Vec<Envelope<Record>>,
        /// What the node is locked on, if it is.
        lock: Option<Lock>,
        /// The ballot that the node has promised.
        promised: Option<Ballot>,
        /// The last bid of somebody who had its rank by right.
        title: Option<Envelope<Bid>>,
        /// The sender's standing at the address: see [`crate::Validator::rank`].
        rank: Option<u8>,
    },
    /// To [`RequestBody::Propose`] and [`RequestBody::Commit`]: yes, durably.
    Voted {
        /// The vote.
        vote: Envelope<Vote>,
    },
    /// To [`RequestBody::Promise`]: yes, durably.
    Promised {
        /// The promise.
        promise: Envelope<Promise>,
        /// The record of the lock that it shows, if it shows one.
        record: Option<Envelope<Record>>,
    },
    /// To [`RequestBody::Adopt`]: the state, or a later one, is stored durably.
    Adopted {
        /// The node's settled sequence.
        sequence: u64,
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

/// The longest request or reply as it travels: one shard of the longest index, when a single shard restores it, and what is around it.
pub const MAX_MESSAGE_BYTES: usize = MAX_INDEX_BYTES + OVERHEAD_BYTES;

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
