//! The embedded consensus: one process orders, with group commit.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use dt_model::{Digest, Envelope, Signed, Signer, Timestamp, codec};
use tokio::sync::{Mutex as Turn, watch};

use crate::Transaction;
use crate::admission::AdmissionError;
use crate::block::{Commit, CommitCertificate, CommittedBlock};
use crate::consensus::{Consensus, ConsensusError, Status};
use crate::replica::Replica;

/// Transactions that may wait: beyond, submitters are told to come back.
const MAX_PENDING: usize = 100_000;

/// A clock that the caller brings, for the times of blocks.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// The consensus of one process, which is its chain's only validator.
///
/// Whoever submits first while no block is under way makes the next one, of all that waits then: many submitters share one flush to disk,
/// and a lone one waits for nobody. The flush blocks the calling task for its duration; put `submit` on a blocking-friendly executor
/// where that matters.
pub struct Solo {
    replica: Arc<Replica>,
    signer: Arc<dyn Signer>,
    clock: Clock,
    pending: Mutex<Vec<(Digest, Bytes)>>,
    turn: Turn<()>,
    height: watch::Sender<u64>,
}

impl Solo {
    /// Orders the transactions of `replica`, whose only validator is `signer`, by the caller's `clock`.
    #[must_use]
    pub fn new(replica: Arc<Replica>, signer: Arc<dyn Signer>, clock: Clock) -> Self {
        let (height, _) = watch::channel(replica.tip().height);
        Self { replica, signer, clock, pending: Mutex::default(), turn: Turn::new(()), height }
    }

    /// The replica.
    #[must_use]
    pub const fn replica(&self) -> &Arc<Replica> {
        &self.replica
    }

    fn waits(&self, transaction: &Digest) -> bool {
        let pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        pending.iter().any(|(waiting, _)| waiting == transaction)
    }

    /// Makes one block of all that waits; `own` is told if its transaction was not taken.
    fn make_block(&self, own: &Digest) -> Result<(), ConsensusError> {
        let waiting = std::mem::take(&mut *self.pending.lock().unwrap_or_else(PoisonError::into_inner));
        let digests: Vec<(Digest, Bytes)> = waiting.clone();
        let transactions = waiting.into_iter().map(|(_, bytes)| bytes).collect();
        let (block, left) = self.replica.prepare(transactions, (self.clock)())?;
        let mut own_error = None;
        for (bytes, error) in left {
            let is_own = digests.iter().any(|(digest, of)| digest == own && *of == bytes);
            if is_own {
                own_error = Some(error);
            }
        }
        if !block.transactions.is_empty() {
            let vote = Commit {
                chain: self.replica.chain(),
                height: block.header.height,
                block: block.header.digest(),
            };
            let vote = Signed::new(vote, &*self.signer)?.into_envelope();
            self.replica.commit(block, CommitCertificate { votes: vec![vote] })?;
            self.height.send_replace(self.replica.tip().height);
        }
        own_error.map_or(Ok(()), |error| Err(error.into()))
    }
}

#[async_trait]
impl Consensus for Solo {
    async fn submit(&self, transaction: Envelope<Transaction>) -> Result<Digest, ConsensusError> {
        let bytes = Bytes::from(codec::encode(&transaction));
        let opened = transaction.open().map_err(AdmissionError::from)?;
        let digest = opened.digest();
        {
            let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
            if pending.len() >= MAX_PENDING {
                return Err(ConsensusError::Busy);
            }
            if !pending.iter().any(|(waiting, _)| *waiting == digest) {
                pending.push((digest, bytes));
            }
        }
        let _turn = self.turn.lock().await;
        if self.waits(&digest) {
            self.make_block(&digest)?;
        }
        Ok(digest)
    }

    async fn committed(&self, height: u64) -> Result<Arc<CommittedBlock>, ConsensusError> {
        let mut reached = self.height.subscribe();
        reached.wait_for(|reached| *reached >= height).await.map_err(|_| ConsensusError::Stopped)?;
        self.replica.block(height)?.map(Arc::new).ok_or(ConsensusError::Stopped)
    }

    fn status(&self) -> Status {
        let pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner).len();
        Status { height: self.replica.tip().height, pending }
    }
}
