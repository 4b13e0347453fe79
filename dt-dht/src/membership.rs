//! Who takes part: the registered nodes and parties of one membership epoch, and which nodes replicate an address (paper, section
//! 4.2: the DHT runs on nodes of the lifecycle parties).

use std::collections::BTreeSet;
use std::sync::Arc;

use borsh::{BorshDeserialize, BorshSerialize};
use dt_model::{Digest, Domain, PartyId, Text};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{Address, Resilience};

/// Where a node can be reached, in the form that the transport understands (a URI, a multiaddress).
pub type Endpoint = Text<256>;

/// A registered node: a party that stores for others.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct Node {
    /// Its key: it signs every reply with it.
    pub party: PartyId,
    /// Where it can be reached. Nothing in this crate reads them: they are for the transport.
    pub endpoints: Vec<Endpoint>,
}

/// Why nodes do not make a membership.
#[derive(Debug, Error, PartialEq, Eq, Clone, Copy)]
#[non_exhaustive]
pub enum MembershipError {
    /// An address could not have as many replicas as the resilience asks for.
    #[error("{nodes} nodes cannot hold {needed} replicas")]
    TooFewNodes {
        /// Nodes given.
        nodes: usize,
        /// Replicas that every address has.
        needed: usize,
    },
    /// One node is named twice: it would count twice.
    #[error("node {} is named twice", .0.short())]
    DuplicateNode(PartyId),
}

/// The registered nodes and parties in one epoch, as the ledger has them.
///
/// # Invariant
/// Nodes are sorted and unique, and there are at least as many as an address has replicas. Placement MUST follow from this value
/// alone, and this value from the ledger alone: if whoever answers took part, one company could surround an address with its own
/// nodes (Sybil and eclipse attacks).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership {
    network: Digest,
    epoch: u64,
    resilience: Resilience,
    nodes: Arc<[Node]>,
    parties: Arc<BTreeSet<PartyId>>,
}

/// Domain of the key under which the nodes of an address are ranked.
const PLACEMENT: Domain = Domain::new("dt/dht/placement/v1");

impl Membership {
    /// The membership in `epoch` of the network whose ledger has the chain ID `network`.
    ///
    /// `nodes` may come in any order. `parties` are those whose requests are served; the nodes are so without being named again.
    ///
    /// # Errors
    /// [`MembershipError`].
    pub fn new(
        network: Digest,
        epoch: u64,
        resilience: Resilience,
        mut nodes: Vec<Node>,
        parties: BTreeSet<PartyId>,
    ) -> Result<Self, MembershipError> {
        nodes.sort_by_key(|node| node.party);
        if let Some(pair) = nodes.windows(2).find(|pair| pair[0].party == pair[1].party) {
            return Err(MembershipError::DuplicateNode(pair[0].party));
        }
        if nodes.len() < resilience.replicas() {
            return Err(MembershipError::TooFewNodes { nodes: nodes.len(), needed: resilience.replicas() });
        }
        Ok(Self { network, epoch, resilience, nodes: nodes.into(), parties: Arc::new(parties) })
    }

    /// The ledger's chain ID: the first field of everything that is signed here.
    #[must_use]
    pub const fn network(&self) -> Digest {
        self.network
    }

    /// The number of this membership: it grows by one with every change of the nodes.
    #[must_use]
    pub const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// How many replicas there are, and how many may be malicious.
    #[must_use]
    pub const fn resilience(&self) -> Resilience {
        self.resilience
    }

    /// All nodes, sorted by party.
    #[must_use]
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The node of `party`, if it has one.
    #[must_use]
    pub fn node(&self, party: &PartyId) -> Option<&Node> {
        self.nodes.binary_search_by_key(party, |node| node.party).ok().map(|at| &self.nodes[at])
    }

    /// The registered parties that were named beside the nodes.
    #[must_use]
    pub fn parties(&self) -> &BTreeSet<PartyId> {
        &self.parties
    }

    /// Whether requests of `party` are served.
    #[must_use]
    pub fn is_registered(&self, party: &PartyId) -> bool {
        self.parties.contains(party) || self.node(party).is_some()
    }

    /// The replicas of `address`, first choice first: exactly `resilience().replicas()` of them.
    ///
    /// Rendezvous hashing (highest random weight, Thaler and Ravishankar 1998): every node has a pseudorandom weight for the address,
    /// and the heaviest hold it. When a node joins or leaves, only what it gains or held moves. The epoch is no part of the weight.
    #[must_use]
    pub fn replicas(&self, address: &Address) -> Vec<PartyId> {
        let seed = PLACEMENT.blake3(&[self.network.as_bytes(), address.as_bytes()]);
        let weight = |party: &PartyId| *blake3::keyed_hash(seed.as_bytes(), party.as_bytes()).as_bytes();
        let mut ranked: Vec<([u8; 32], PartyId)> =
            self.nodes.iter().map(|node| (weight(&node.party), node.party)).collect();
        let count = self.resilience.replicas();
        if count < ranked.len() {
            ranked.select_nth_unstable_by(count, |a, b| b.cmp(a));
            ranked.truncate(count);
        }
        ranked.sort_unstable_by(|a, b| b.cmp(a));
        ranked.into_iter().map(|(_, party)| party).collect()
    }
}
