//! How a node is set up.

use std::path::PathBuf;
use std::time::Duration;

use dt_ledger::MempoolLimits;
use libp2p::Multiaddr;
use libp2p::identity::Keypair;

/// Where another node is reached. Both addresses SHOULD end in `/p2p/<peer id>`: then nobody else is taken for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Its engine: votes, proposals, blocks.
    pub consensus: Multiaddr,
    /// For the exchange of transactions and images.
    pub exchange: Multiaddr,
}

/// Whether a validator has voted before with its key.
///
/// Its journal (the engine's write-ahead log) holds what it has voted for in the height that is under way. Without it, it could vote
/// twice in one round, which is what a traitor does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// Never: the key is new, and so is the journal. Told once, by whoever made the key.
    First,
    /// It may have: the journal must be there, or the node does not start.
    Resume,
    /// It does not vote: a participant that follows, or a validator whose journal is lost, until the ledger names a new key.
    Watch,
}

/// How a node is set up.
#[derive(Debug, Clone)]
pub struct Config {
    /// What logs and metrics call it.
    pub name: String,
    /// Its folder: the engine's journal, and images on their way.
    pub folder: PathBuf,
    /// The key by which nodes know each other. It is a key of its own, because a party's [`dt_model::Signer`] may be a device that does
    /// not give its key to a network stack; the validator signs that the node is its own.
    pub node_key: Keypair,
    /// Where the engine listens, such as `/ip4/0.0.0.0/tcp/27000`.
    pub consensus: Multiaddr,
    /// Where the exchange listens.
    pub exchange: Multiaddr,
    /// The other nodes.
    pub peers: Vec<Peer>,
    /// Whether it votes, and whether it has before.
    pub start: Start,
    /// What waits for a block.
    pub mempool: MempoolLimits,
    /// How the chain is paced.
    pub pace: Pace,
}

/// How the chain is paced. Nodes may differ in all of it: whose turn it is to propose sets the pace of that block, and the others follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// The least time from one block's beginning to the next one's. Whoever hands in one transaction after the other waits no longer.
    pub block: Duration,
    /// The same after a block of more than four transactions: under load they are gathered for so long, since an agreement costs all
    /// nodes the same, be it on one transaction or on hundreds. It is what load adds to the time until a transaction is committed, half of
    /// it on average. Where an agreement takes longer than this anyway, as between distant sites, it adds nothing.
    pub gather: Duration,
    /// How long transactions that were handed in here are gathered before the peers are told of them, where the peers were told of others
    /// as short a time ago. The first one does not wait.
    pub tell: Duration,
    /// The time from one block to the next where nothing waits.
    pub idle: Duration,
    /// How long a proposer is waited for in the first round: longer than the largest block takes to be made, sent and verified. It is what
    /// a dead one costs.
    pub propose: Duration,
    /// How long votes are waited for in the first round, once two thirds have voted and disagree.
    pub vote: Duration,
    /// By how much each further round waits longer.
    pub step: Duration,
    /// How far a proposer's clock may be ahead of ours.
    pub drift: Duration,
    /// Bytes of transactions in one block, [`dt_ledger::MAX_BLOCK_BYTES`] at most.
    pub block_bytes: usize,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            block: Duration::from_millis(20),
            gather: Duration::from_millis(60),
            tell: Duration::from_millis(20),
            idle: Duration::from_secs(5),
            propose: Duration::from_secs(3),
            vote: Duration::from_millis(500),
            step: Duration::from_millis(500),
            drift: Duration::from_secs(2),
            block_bytes: 1024 * 1024,
        }
    }
}
