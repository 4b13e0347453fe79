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
    /// The nodes change already: one change has to be complete before the next.
    #[error("the nodes of epoch {0} are still handing over")]
    Changing(u64),
    /// The nodes do not change: there is nothing to complete.
    #[error("the nodes of epoch {0} do not change")]
    NotChanging(u64),
}

/// The registered nodes and parties in one epoch, as the ledger has them.
///
/// A change of the nodes takes two epochs. In the first one, [`Membership::successor`], every address has two groups of replicas, by the old
/// and by the new nodes, and every quorum is a quorum in *each* of them: so whatever was decided before is seen, and whatever is decided
/// meanwhile is seen afterwards. When the new replicas have read what is theirs, [`Membership::complete`] ends the change, and the old group
/// is asked no more.
///
/// # Invariant
/// Nodes are sorted and unique, and there are at least as many as an address has replicas. Placement MUST follow from this value
/// alone, and this value from the ledger alone: if whoever answers took part, one company could surround an address with its own
/// nodes (Sybil and eclipse attacks).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership {
    network: Digest,
    resilience: Resilience,
    epoch: Arc<Epoch>,
    /// Former epochs, oldest first: certificates of theirs are still about.
    former: Vec<Arc<Epoch>>,
    /// Old and new nodes, while they change.
    nodes: Arc<[Node]>,
    /// The new nodes, while they change; else all.
    next: Arc<[Node]>,
    parties: Arc<BTreeSet<PartyId>>,
}

/// Who replicates in one epoch: what its certificates are checked against.
#[derive(Debug, PartialEq, Eq)]
struct Epoch {
    number: u64,
    /// The nodes that hold addresses, sorted; while nodes change, first the old ones, then the new ones.
    nodes: Vec<Arc<[PartyId]>>,
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
        nodes: Vec<Node>,
        parties: BTreeSet<PartyId>,
    ) -> Result<Self, MembershipError> {
        let nodes = sorted(nodes, resilience)?;
        let epoch = Arc::new(Epoch { number: epoch, nodes: vec![keys(&nodes)] });
        let (next, former, parties) = (nodes.clone(), Vec::new(), Arc::new(parties));
        Ok(Self { network, resilience, epoch, former, nodes, next, parties })
    }

    /// The next epoch, in which `nodes` take over from the present ones.
    ///
    /// # Errors
    /// [`MembershipError`]; [`MembershipError::Changing`] while a former change is not complete.
    pub fn successor(&self, nodes: Vec<Node>, parties: BTreeSet<PartyId>) -> Result<Self, MembershipError> {
        if self.is_changing() {
            return Err(MembershipError::Changing(self.epoch()));
        }
        let next = sorted(nodes, self.resilience)?;
        let staying = self.nodes.iter().filter(|old| !next.iter().any(|new| new.party == old.party));
        let mut all: Vec<Node> = staying.chain(next.iter()).cloned().collect();
        all.sort_by_key(|node| node.party);
        let groups = vec![keys(&self.nodes), keys(&next)];
        Ok(self.advance(groups, all.into(), next, Arc::new(parties)))
    }

    /// The epoch after a change of nodes, in which the new ones hold everything alone.
    ///
    /// It MUST NOT begin before the new replicas of every address have read what is there, or what they lack is lost.
    ///
    /// # Errors
    /// [`MembershipError::NotChanging`].
    pub fn complete(&self) -> Result<Self, MembershipError> {
        if !self.is_changing() {
            return Err(MembershipError::NotChanging(self.epoch()));
        }
        let next = self.next.clone();
        Ok(self.advance(vec![keys(&next)], next.clone(), next, self.parties.clone()))
    }

    /// The same nodes in the same epoch, serving other parties.
    #[must_use]
    pub fn with_parties(mut self, parties: BTreeSet<PartyId>) -> Self {
        self.parties = Arc::new(parties);
        self
    }

    /// The same without former epochs before `epoch`, whose certificates are then no longer believed. It MUST have been over for as long as
    /// leases last: by certificates nodes know which blobs they have to wait for when they take over.
    #[must_use]
    pub fn without_epochs_before(mut self, epoch: u64) -> Self {
        self.former.retain(|former| former.number >= epoch);
        self
    }

    fn advance(
        &self,
        groups: Vec<Arc<[PartyId]>>,
        nodes: Arc<[Node]>,
        next: Arc<[Node]>,
        parties: Arc<BTreeSet<PartyId>>,
    ) -> Self {
        let mut former = self.former.clone();
        former.push(self.epoch.clone());
        let epoch = Arc::new(Epoch { number: self.epoch().saturating_add(1), nodes: groups });
        Self { network: self.network, resilience: self.resilience, epoch, former, nodes, next, parties }
    }

    /// The ledger's chain ID: the first field of everything that is signed here.
    #[must_use]
    pub const fn network(&self) -> Digest {
        self.network
    }

    /// The number of this membership: a change of the nodes takes two.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch.number
    }

    /// The first epoch that shares a group of nodes with this one: the one before, and if this is a joint one, the joint one before that,
    /// too, whose new nodes are the old ones now.
    #[must_use]
    pub fn binding_since(&self) -> u64 {
        self.epoch().saturating_sub(1 + u64::from(self.is_changing()))
    }

    /// Whether this is the membership of `epoch`, or knows who the replicas were then: what certificates of that epoch are checked by.
    #[must_use]
    pub fn remembers(&self, epoch: u64) -> bool {
        self.known(epoch).is_some()
    }

    /// Whether nodes hand over to others in this epoch.
    #[must_use]
    pub fn is_changing(&self) -> bool {
        self.epoch.nodes.len() > 1
    }

    /// How many replicas there are, and how many may be malicious.
    #[must_use]
    pub const fn resilience(&self) -> Resilience {
        self.resilience
    }

    /// All nodes, sorted by party: also those that are handing over.
    #[must_use]
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The keys of the nodes that hold addresses in this epoch: one group, or while nodes change, first the old ones and then the new.
    pub(crate) fn node_groups(&self) -> impl Iterator<Item = &[PartyId]> {
        self.epoch.nodes.iter().map(|nodes| &**nodes)
    }

    /// The nodes that there will be when the present change is complete; if there is none, all nodes.
    #[must_use]
    pub fn next_nodes(&self) -> &[Node] {
        &self.next
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

    /// Everybody who holds `address`, first choice first: the replicas of [`Membership::groups`], each once.
    #[must_use]
    pub fn replicas(&self, address: &Address) -> Vec<PartyId> {
        let mut groups = self.groups(address).into_iter().rev();
        let mut replicas = groups.next().unwrap_or_default();
        for replica in groups.flatten() {
            if !replicas.contains(&replica) {
                replicas.push(replica);
            }
        }
        replicas
    }

    /// The groups of replicas of `address`: one, or the old and the new one while nodes change and the address is affected. Each has
    /// exactly `resilience().replicas()` members, first choice first. Whatever needs a quorum needs one in each group.
    ///
    /// Rendezvous hashing (highest random weight, Thaler and Ravishankar 1998): every node has a pseudorandom weight for the address,
    /// and the heaviest hold it. When a node joins or leaves, only what it gains or held moves. The epoch is no part of the weight.
    #[must_use]
    pub fn groups(&self, address: &Address) -> Vec<Vec<PartyId>> {
        self.groups_of(&self.epoch, address)
    }

    /// The groups as they were in `epoch`, if this membership remembers it.
    #[must_use]
    pub fn groups_in(&self, epoch: u64, address: &Address) -> Option<Vec<Vec<PartyId>>> {
        self.known(epoch).map(|known| self.groups_of(known, address))
    }

    fn known(&self, epoch: u64) -> Option<&Epoch> {
        let mut epochs = self.former.iter().rev().chain([&self.epoch]);
        epochs.find(|known| known.number == epoch).map(|known| &**known)
    }

    /// Whether `party` is a replica of `address`, in any group.
    #[must_use]
    pub fn is_replica(&self, party: &PartyId, address: &Address) -> bool {
        self.node(party).is_some() && self.groups(address).iter().any(|group| group.contains(party))
    }

    fn groups_of(&self, epoch: &Epoch, address: &Address) -> Vec<Vec<PartyId>> {
        let mut groups: Vec<_> = epoch.nodes.iter().map(|nodes| self.place(nodes, address)).collect();
        groups.dedup();
        groups
    }

    fn place(&self, nodes: &[PartyId], address: &Address) -> Vec<PartyId> {
        let seed = PLACEMENT.blake3(&[self.network.as_bytes(), address.as_bytes()]);
        let weight = |party: &PartyId| *blake3::keyed_hash(seed.as_bytes(), party.as_bytes()).as_bytes();
        let mut ranked: Vec<([u8; 32], PartyId)> =
            nodes.iter().map(|party| (weight(party), *party)).collect();
        let count = self.resilience.replicas();
        if count < ranked.len() {
            ranked.select_nth_unstable_by(count, |a, b| b.cmp(a));
            ranked.truncate(count);
        }
        ranked.sort_unstable_by(|a, b| b.cmp(a));
        ranked.into_iter().map(|(_, party)| party).collect()
    }
}

/// The nodes, sorted and checked.
fn sorted(mut nodes: Vec<Node>, resilience: Resilience) -> Result<Arc<[Node]>, MembershipError> {
    nodes.sort_by_key(|node| node.party);
    if let Some(pair) = nodes.windows(2).find(|pair| pair[0].party == pair[1].party) {
        return Err(MembershipError::DuplicateNode(pair[0].party));
    }
    if nodes.len() < resilience.replicas() {
        return Err(MembershipError::TooFewNodes { nodes: nodes.len(), needed: resilience.replicas() });
    }
    Ok(nodes.into())
}

fn keys(nodes: &[Node]) -> Arc<[PartyId]> {
    nodes.iter().map(|node| node.party).collect()
}
