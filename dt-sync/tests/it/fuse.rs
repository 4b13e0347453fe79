//! A process that dies after so many steps: from then on neither the network nor the ledger answers it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use dt_dht::{Transport, TransportError};
use dt_ledger::{CommittedBlock, Consensus, ConsensusError, Status, Transaction};
use dt_model::{Digest, Envelope, PartyId};

/// How many steps are left.
pub(crate) struct Fuse(AtomicU64);

impl Fuse {
    pub(crate) fn of(steps: u64) -> Arc<Self> {
        Arc::new(Self(AtomicU64::new(steps)))
    }

    /// Takes a step, if there is one left.
    fn step(&self) -> bool {
        self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
    }

    /// From now on everything works.
    pub(crate) fn mend(&self) {
        self.0.store(u64::MAX, Ordering::SeqCst);
    }

    /// From now on there are so many steps left.
    pub(crate) fn leave(&self, steps: u64) {
        self.0.store(steps, Ordering::SeqCst);
    }

    pub(crate) fn left(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

/// Each request to a node is a step.
pub(crate) struct FusedTransport {
    pub(crate) inner: Arc<dyn Transport>,
    pub(crate) fuse: Arc<Fuse>,
}

#[async_trait]
impl Transport for FusedTransport {
    async fn request(&self, node: &PartyId, request: Bytes) -> Result<Bytes, TransportError> {
        if self.fuse.step() {
            self.inner.request(node, request).await
        } else {
            Err(TransportError::Unreachable(*node))
        }
    }

    fn update_membership(&self, membership: &dt_dht::Membership) {
        self.inner.update_membership(membership);
    }
}

/// To submit a transaction is a step, and so is to learn that it was committed.
pub(crate) struct FusedConsensus {
    pub(crate) inner: Arc<dyn Consensus>,
    pub(crate) fuse: Arc<Fuse>,
}

#[async_trait]
impl Consensus for FusedConsensus {
    async fn submit(&self, transaction: Envelope<Transaction>) -> Result<Digest, ConsensusError> {
        if !self.fuse.step() {
            return Err(ConsensusError::Stopped);
        }
        let digest = self.inner.submit(transaction).await?;
        if self.fuse.step() { Ok(digest) } else { Err(ConsensusError::Stopped) }
    }

    async fn committed(&self, height: u64) -> Result<Arc<CommittedBlock>, ConsensusError> {
        self.inner.committed(height).await
    }

    fn status(&self) -> Status {
        self.inner.status()
    }
}
