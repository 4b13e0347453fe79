//! What the state holds of the DHT's nodes, and of how they change.

use std::collections::{BTreeMap, BTreeSet};

use borsh::{BorshDeserialize, BorshSerialize};
use dt_model::PartyId;
use serde::{Deserialize, Serialize};

use crate::Uri;

/// Where the DHT's membership stands.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Default, BorshSerialize, BorshDeserialize, Serialize, Deserialize,
)]
pub struct NodesHead {
    /// The membership epoch: 0 before there is one, 1 with the first nodes, and two more for each change.
    pub epoch: u64,
    /// Whether the epoch is joint: nodes hand over to others.
    pub changing: bool,
    /// Replicas that everything has; 0 before the organisations have founded the DHT.
    pub replicas: u16,
    /// How many of them may be malicious: the paper's *k*.
    pub max_faulty: u16,
    /// Nodes that are registered and not retired.
    pub registered: u32,
    /// Nodes that hold everything, or take over while nodes change.
    pub placed: u32,
    /// How many of them have taken over in the present change.
    pub taken_over: u32,
}

impl NodesHead {
    /// Whether the organisations have founded the DHT.
    #[must_use]
    pub const fn is_founded(&self) -> bool {
        self.replicas > 0
    }
}

/// A DHT node.
#[derive(Debug, Clone, PartialEq, Eq, Default, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct NodeRecord {
    /// Where it is reached.
    pub endpoints: Vec<Uri>,
    /// Whether its party runs it on: one that is retired stays until others have taken over.
    pub registered: bool,
    /// Whether it is one of the nodes that hold everything, or take over while nodes change.
    pub placed: bool,
    /// The last epoch in which it has taken over.
    pub taken_over: u64,
}

/// A change of the DHT's nodes.
#[derive(Debug, Clone, PartialEq, Eq, Default, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct NodesChange {
    /// Those that hold data after it, and did not before.
    pub joining: BTreeSet<PartyId>,
    /// Those that held data before it.
    pub leaving: BTreeSet<PartyId>,
}

impl NodesChange {
    /// Whether nothing changes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.joining.is_empty() && self.leaving.is_empty()
    }

    /// Each node that it is about, and whether it holds data afterwards.
    pub(crate) fn placements(&self) -> impl Iterator<Item = (PartyId, bool)> {
        let joining = self.joining.iter().map(|node| (*node, true));
        joining.chain(self.leaving.iter().map(|node| (*node, false)))
    }
}

/// The DHT's membership: from the changes, in order, follows who held what in each epoch.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Nodes {
    /// Where it stands.
    pub head: NodesHead,
    /// The nodes: those that hold data, and those that wait to.
    pub nodes: BTreeMap<PartyId, NodeRecord>,
    /// The epochs that began with a change, in order. The first has the first nodes; each of the others is joint.
    pub changes: BTreeMap<u64, NodesChange>,
}
