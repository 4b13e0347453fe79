//! A whole network in one process, with a clock that stands still until told otherwise.
#![expect(clippy::expect_used, reason = "a test's set-up reports by panicking")]

use core::time::Duration;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use dt_model::testing::{SeedRng, identity};
use dt_model::{Digest, Identity, PartyId, Signer, Timestamp};

use super::{Fault, Faulty};
use crate::{
    Address, Client, InProcess, Membership, MemoryStore, Node, RecordStore, Replica, Resilience, Validator,
};

/// Nodes with stores in memory, any of which can be stopped or made to lie, and clients for whoever is registered.
pub struct Network {
    membership: Membership,
    nodes: Vec<Arc<Identity>>,
    replicas: Vec<Arc<Replica>>,
    in_process: Arc<InProcess>,
    faulty: Arc<Faulty>,
    clock: Arc<AtomicU64>,
    seed: AtomicU64,
}

/// Where the clock starts: some time in 2023.
const START_MILLIS: u64 = 1_700_000_000_000;
/// The seeds of the nodes' identities start here, away from those that tests use for parties.
const NODE_SEEDS: u64 = 1 << 32;

impl Network {
    /// `nodes` nodes that serve `parties`, and judge with `validators`, which all of them share.
    ///
    /// # Panics
    /// If there are fewer nodes than replicas.
    #[must_use]
    pub fn new(
        resilience: Resilience,
        nodes: usize,
        parties: impl IntoIterator<Item = PartyId>,
        validators: &[Arc<dyn Validator>],
    ) -> Self {
        let stores = (0..nodes).map(|_| Arc::new(MemoryStore::new()) as Arc<dyn RecordStore>);
        Self::with_stores(resilience, stores.collect(), parties, validators)
    }

    /// A network with one node for each of `stores`.
    ///
    /// # Panics
    /// If there are fewer of them than replicas.
    #[must_use]
    pub fn with_stores(
        resilience: Resilience,
        stores: Vec<Arc<dyn RecordStore>>,
        parties: impl IntoIterator<Item = PartyId>,
        validators: &[Arc<dyn Validator>],
    ) -> Self {
        let nodes: Vec<Arc<Identity>> =
            (NODE_SEEDS..).take(stores.len()).map(|seed| Arc::new(identity(seed))).collect();
        let registered = nodes.iter().map(|node| Node { party: node.party(), endpoints: Vec::new() });
        let (network, parties) = (Digest::from([0x6e; 32]), parties.into_iter().collect());
        let membership = Membership::new(network, 1, resilience, registered.collect(), parties)
            .expect("as many nodes as replicas");
        let replica = |(node, store): (&Arc<Identity>, _)| {
            Arc::new(Replica::new(node.clone(), store, membership.clone(), validators.to_vec()))
        };
        let replicas: Vec<_> = nodes.iter().zip(stores).map(replica).collect();
        let clock = Arc::new(AtomicU64::new(START_MILLIS));
        let time = clock.clone();
        let in_process = Arc::new(InProcess::new(
            replicas.iter().cloned(),
            Arc::new(move || Timestamp::from_millis(time.load(Ordering::SeqCst))),
        ));
        let faulty = Arc::new(Faulty::new(in_process.clone()));
        Self { membership, nodes, replicas, in_process, faulty, clock, seed: AtomicU64::new(0) }
    }

    /// Who takes part.
    #[must_use]
    pub const fn membership(&self) -> &Membership {
        &self.membership
    }

    /// The nodes' identities.
    #[must_use]
    pub fn nodes(&self) -> &[Arc<Identity>] {
        &self.nodes
    }

    /// The replica of `node`.
    ///
    /// # Panics
    /// If there is no such node.
    #[must_use]
    pub fn replica(&self, node: &PartyId) -> &Arc<Replica> {
        self.replicas.iter().find(|replica| replica.party() == *node).expect("a node of this network")
    }

    /// The identities of the replicas of `address`, first choice first.
    #[must_use]
    pub fn replicas(&self, address: &Address) -> Vec<Arc<Identity>> {
        let identity = |party: PartyId| self.nodes.iter().find(|node| node.party() == party).cloned();
        self.membership.replicas(address).into_iter().filter_map(identity).collect()
    }

    /// The transport, for stopping and starting nodes.
    #[must_use]
    pub const fn in_process(&self) -> &Arc<InProcess> {
        &self.in_process
    }

    /// The transport that clients use, for making nodes lie.
    #[must_use]
    pub const fn faulty(&self) -> &Arc<Faulty> {
        &self.faulty
    }

    /// Makes `node` misbehave.
    pub fn corrupt(&self, node: &Arc<Identity>, fault: Fault) {
        self.faulty.corrupt(node.clone(), fault);
    }

    /// A client of `signer`.
    #[must_use]
    pub fn client(&self, signer: Arc<dyn Signer>) -> Client {
        let rng = SeedRng::new(self.seed.fetch_add(1, Ordering::SeqCst));
        Client::new(signer, self.faulty.clone(), self.membership.clone(), rng)
    }

    /// What time it is.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.clock.load(Ordering::SeqCst))
    }

    /// Lets time pass.
    pub fn advance(&self, time: Duration) {
        let later = self.now().saturating_add(time);
        self.clock.store(later.as_millis(), Ordering::SeqCst);
    }
}
