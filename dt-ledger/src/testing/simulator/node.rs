//! A node as the simulation sees it: what outlives its crashes, and what does not.

use core::time::Duration;
use std::sync::Arc;

use bytes::Bytes;
use dt_model::Signer;

use super::checks::Violation;
use super::faults::Altering;
use super::prototype::Prototype;
use super::scenario::{Fault, Scenario};
use super::watch::Watched;
use crate::testing::Fixture;
use crate::{LedgerStore, MemoryStore, Replica};

/// One node.
pub(super) struct Node {
    pub(super) signer: Arc<dyn Signer>,
    /// Of the honest ones.
    pub(super) watched: Option<Arc<Watched>>,
    /// Of the faulty ones: which of the scenario's faults it has.
    pub(super) fault: Option<usize>,
    pub(super) store: Arc<dyn LedgerStore>,
    pub(super) replica: Arc<Replica>,
    /// `None` while it is down, and when it has stopped.
    pub(super) engine: Option<Box<dyn Prototype>>,
    pub(super) kept: Option<Bytes>,
    /// How often it has crashed.
    pub(super) life: u32,
    pub(super) dying: Option<Duration>,
    pub(super) skew: Duration,
    /// The height up to which it was compared with the others.
    pub(super) compared: u64,
}

impl Node {
    pub(super) fn new(
        chain: &Fixture,
        number: usize,
        fault: Option<usize>,
        scenario: &Scenario,
        skew: Duration,
    ) -> Self {
        let identity = chain.validator(number as u64);
        let memory = MemoryStore::default();
        let alters =
            fault.and_then(|fault| scenario.faulty.get(fault)).is_some_and(|f| matches!(f, Fault::Alters));
        let store: Arc<dyn LedgerStore> =
            if alters { Arc::new(Altering::new(memory)) } else { Arc::new(memory) };
        let replica =
            Replica::open(Arc::clone(&store), chain.replica().genesis()).expect("an empty store opens");
        let watched = Watched::new(identity);
        Self {
            signer: watched.clone(),
            watched: fault.is_none().then_some(watched),
            fault,
            store,
            replica: Arc::new(replica),
            engine: None,
            kept: None,
            life: 0,
            dying: None,
            skew,
            compared: 0,
        }
    }

    /// The replica as a restart finds it.
    pub(super) fn open(&self) -> Result<Replica, Violation> {
        Replica::open(Arc::clone(&self.store), self.replica.genesis()).map_err(|error| match error {
            crate::OpenReplicaError::Store(error) => Violation::Store(error),
            error => panic!("a replica's own store opens again: {error}"),
        })
    }
}
