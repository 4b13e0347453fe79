//! The embedded consensus: one process orders, with group commit.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use dt_model::{Digest, Envelope, Signed, Signer, Timestamp, codec};
use tokio::sync::oneshot::error::TryRecvError;
use tokio::sync::{Mutex as Turn, oneshot, watch};

use crate::Transaction;
use crate::block::{Commit, CommitCertificate, CommittedBlock, MAX_BLOCK_BYTES};
use crate::consensus::{Consensus, ConsensusError, Status};
use crate::replica::Replica;
use crate::replica::admission::AdmissionError;

/// Transactions that may wait: beyond, submitters are told to come back.
const MAX_PENDING: usize = 100_000;

/// A clock that the caller brings, for the times of blocks.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// A transaction that waits, and whom to tell what became of it.
struct Waiting {
    bytes: Bytes,
    done: oneshot::Sender<Result<(), AdmissionError>>,
}

/// The consensus of one process, which is its chain's only validator.
///
/// Whoever submits first while no block is under way makes the next one, of all that waits then: many submitters share one flush to disk,
/// and a lone one waits for nobody. The flush blocks the calling task for its duration; put `submit` on a blocking-friendly executor
/// where that matters.
pub struct Solo {
    replica: Arc<Replica>,
    signer: Arc<dyn Signer>,
    clock: Clock,
    pending: Mutex<VecDeque<Waiting>>,
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

    fn pending(&self) -> MutexGuard<'_, VecDeque<Waiting>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the first of those that wait: as many as a block holds.
    fn take_batch(&self) -> Vec<Waiting> {
        let mut pending = self.pending();
        let mut bytes = 0usize;
        let fits = pending.iter().take_while(|waiting| {
            bytes = bytes.saturating_add(waiting.bytes.len());
            bytes <= MAX_BLOCK_BYTES
        });
        let count = fits.count();
        pending.drain(..count).collect()
    }

    /// Makes one block of those that wait, and tells each of them what became of it.
    ///
    /// On error nobody is told, and all of the batch is lost: its submitters learn it from their closed channels.
    fn make_block(&self) -> Result<(), ConsensusError> {
        let batch = self.take_batch();
        let transactions = batch.iter().map(|waiting| waiting.bytes.clone()).collect();
        let (block, left) = self.replica.assemble(transactions, (self.clock)())?;
        if !block.transactions.is_empty() {
            let vote = Commit {
                chain: self.replica.chain(),
                height: block.header.height,
                round: 0,
                block: block.header.digest(),
            };
            let vote = Signed::new(vote, &*self.signer)?.into_envelope();
            self.replica.commit(block, CommitCertificate { round: 0, votes: vec![vote] })?;
            self.height.send_replace(self.replica.tip().height);
        }
        // The same bytes may have been submitted twice: the first was taken then, and what is left is the last.
        let mut left: BTreeMap<Bytes, AdmissionError> = left.into_iter().collect();
        for Waiting { bytes, done } in batch.into_iter().rev() {
            // Nobody listens where the submitter has gone.
            let _ = done.send(left.remove(&bytes).map_or(Ok(()), Err));
        }
        Ok(())
    }
}

#[async_trait]
impl Consensus for Solo {
    async fn submit(&self, transaction: Envelope<Transaction>) -> Result<Digest, ConsensusError> {
        let bytes = Bytes::from(codec::encode(&transaction));
        let digest = self.replica.authenticate(&bytes)?;
        let (done, mut outcome) = oneshot::channel();
        {
            let mut pending = self.pending();
            if pending.len() >= MAX_PENDING {
                return Err(ConsensusError::Busy);
            }
            pending.push_back(Waiting { bytes, done });
        }
        loop {
            let _turn = self.turn.lock().await;
            match outcome.try_recv() {
                Ok(outcome) => return Ok(outcome.map(|()| digest)?),
                Err(TryRecvError::Closed) => return Err(ConsensusError::Stopped),
                Err(TryRecvError::Empty) => self.make_block()?,
            }
        }
    }

    async fn committed(&self, height: u64) -> Result<Arc<CommittedBlock>, ConsensusError> {
        let mut reached = self.height.subscribe();
        reached.wait_for(|reached| *reached >= height).await.map_err(|_| ConsensusError::Stopped)?;
        let pruned = ConsensusError::Pruned { first: self.replica.first_block()? };
        self.replica.block(height)?.map(Arc::new).ok_or(pruned)
    }

    fn status(&self) -> Status {
        let pending = self.pending().len();
        Status { height: self.replica.tip().height, pending }
    }
}
