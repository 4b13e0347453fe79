//! What the parts of a node share: the replica, what waits, how far the chain has come, and why the node stopped.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use dt_ledger::{
    AdmissionError, BlockError, Clock, CommittedBlock, ConsensusError, Mempool, MempoolError, Replica,
    StoreError,
};
use dt_model::{Digest, SignerError};
use tokio::sync::watch;

use crate::evidence::Equivocation;

/// Why a node stopped for good. It must not be started again before somebody has looked into it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Halt {
    /// The validators committed a block that does not follow from our state.
    #[error("block {height} has its votes, but does not follow from our state: {error}")]
    Diverged {
        /// The block's height.
        height: u64,
        /// Why not.
        #[source]
        error: BlockError,
    },
    /// A block was decided that is not here, though nobody votes for what he does not hold.
    #[error("block {height} was decided, and is not here")]
    BlockLost {
        /// Its height.
        height: u64,
    },
    /// The chain has votes of our key that this node did not give: its journal was lost, or the key is used elsewhere.
    #[error("block {height} has a vote of our key, which this node did not give")]
    VotedBefore {
        /// The block's height.
        height: u64,
    },
    /// The disk failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The keys did not sign.
    #[error(transparent)]
    Signer(#[from] SignerError),
    /// The engine has stopped; its log says why.
    #[error("the engine has stopped")]
    Engine,
}

/// What the driver shares with whoever asks.
pub(crate) struct Shared {
    pub(crate) replica: Arc<Replica>,
    pub(crate) clock: Clock,
    pub(crate) mempool: Mutex<Mempool>,
    /// The last height, and its block, if this process has committed it.
    pub(crate) newest: watch::Sender<(u64, Option<Arc<CommittedBlock>>)>,
    pub(crate) halted: watch::Sender<Option<Arc<Halt>>>,
    /// Whether somebody wants the node to stop.
    pub(crate) stopping: AtomicBool,
    /// Who was seen to contradict himself.
    pub(crate) equivocations: Mutex<Vec<Equivocation>>,
    /// Changes whenever there is reason for a block.
    pub(crate) stirred: watch::Sender<u64>,
}

impl Shared {
    pub(crate) fn mempool(&self) -> MutexGuard<'_, Mempool> {
        self.mempool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn equivocations(&self) -> MutexGuard<'_, Vec<Equivocation>> {
        self.equivocations.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// There is reason for a block at `height`.
    pub(crate) fn stir(&self, height: u64) {
        self.stirred.send_modify(|stirred| *stirred = height.max(*stirred));
    }

    /// Lets a transaction wait for a block; its digest, also if it waits already.
    pub(crate) fn admit(&self, bytes: &Bytes) -> Result<Digest, ConsensusError> {
        let now = (self.clock)();
        loop {
            let height = self.replica.tip().height;
            let candidate = self.replica.screen(bytes, now)?;
            let digest = candidate.digest();
            let (is_first, admitted) = {
                let mut mempool = self.mempool();
                (mempool.is_empty(), mempool.insert(candidate, now))
            };
            match admitted {
                // Who waits for a transaction waits no longer for a second one.
                Ok(_) if is_first => self.stir(0),
                Ok(_) | Err(MempoolError::Known) => {}
                // What comes before it was committed since the state was asked, and waits no longer.
                Err(MempoolError::Admission(AdmissionError::Nonce { expected, found }))
                    if expected < found && self.replica.tip().height > height =>
                {
                    continue;
                }
                Err(MempoolError::Admission(error)) => return Err(error.into()),
                Err(MempoolError::Conflict { nonce }) => return Err(ConsensusError::Conflict { nonce }),
                Err(_) => return Err(ConsensusError::Busy),
            }
            return Ok(digest);
        }
    }
}
