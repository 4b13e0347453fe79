//! The consensus seam, and what everybody does with it: submit, and follow.

use std::sync::Arc;

use async_trait::async_trait;
use dt_model::{Digest, Envelope, Signer, SignerError};
use thiserror::Error;

use crate::block::CommittedBlock;
use crate::receipt::EventKind;
use crate::replica::Replica;
use crate::replica::admission::AdmissionError;
use crate::replica::successor::BlockError;
use crate::state::State;
use crate::store::StoreError;
use crate::{Call, Reason, Transaction};

/// Where a consensus stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    /// The last committed height.
    pub height: u64,
    /// Transactions that wait.
    pub pending: usize,
}

/// Why a transaction was not taken, or the chain not followed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConsensusError {
    /// The transaction is not admissible.
    #[error(transparent)]
    Admission(#[from] AdmissionError),
    /// Another transaction of the same sender and nonce waits.
    #[error("another transaction of the sender has nonce {nonce}")]
    Conflict {
        /// The nonce of both.
        nonce: u64,
    },
    /// The next block was not accepted.
    #[error(transparent)]
    Block(#[from] BlockError),
    /// The store did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The proposer's key did not sign.
    #[error(transparent)]
    Signer(#[from] SignerError),
    /// Too many transactions wait.
    #[error("too many transactions wait")]
    Busy,
    /// The block was pruned here, or came before the image that this replica began with.
    #[error("the blocks before height {first} are not here")]
    Pruned {
        /// The first block that is here.
        first: u64,
    },
    /// The engine stopped.
    #[error("the consensus has stopped")]
    Stopped,
}

/// Orders transactions into blocks, on which all replicas agree.
///
/// What an implementer may get wrong: a block counts as committed only when [`Replica::commit`] returned for it on this node, with
/// the votes of a quorum; [`Consensus::submit`] may return before that and promises nothing; a submitted transaction may be committed
/// once or never, but not twice (its nonce sees to that); a sender's next transaction may be handed in as soon as the one before was
/// taken, committed or not ([`crate::Mempool`] sees to that); [`Consensus::committed`] never skips and never repeats a height, also after a
/// restart. A proposer asked again for the same height and round after a crash MUST give the same block. Block time never goes back, and
/// nothing here knows a clock: who votes MUST refuse a proposal whose time runs ahead of its own clock by more than clocks differ, or one
/// proposer ends every certificate for ever.
///
/// `dt_ledger::testing::consensus_suite` (feature `testing`) checks an implementation from outside.
#[async_trait]
pub trait Consensus: Send + Sync {
    /// Hands in a transaction; its digest, by which the receipt is found.
    ///
    /// # Errors
    /// [`ConsensusError`]; the transaction will not be committed then.
    async fn submit(&self, transaction: Envelope<Transaction>) -> Result<Digest, ConsensusError>;

    /// The block at `height` (counted from 1), as soon as it is committed here: call it for each height in turn to follow the chain.
    ///
    /// # Errors
    /// [`ConsensusError`].
    async fn committed(&self, height: u64) -> Result<Arc<CommittedBlock>, ConsensusError>;

    /// Where it stands.
    fn status(&self) -> Status;
}

/// Why a request did not come to a good end.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ExecuteError {
    /// The contracts refused it, and the chain says so.
    #[error("refused on the ledger by {rule}: {0}", rule = .0.rule())]
    Refused(Reason),
    /// It did not get into a block.
    #[error(transparent)]
    Consensus(#[from] ConsensusError),
    /// It was not committed while it was valid.
    #[error("the transaction was not committed until height {0}")]
    Expired(u64),
}

/// How many blocks a request made here stays valid.
const VALIDITY: u64 = 100;

/// A transaction that was committed and applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Executed {
    /// Its digest.
    pub transaction: Digest,
    /// The block that holds it.
    pub height: u64,
    /// What it made happen, in order.
    pub events: Vec<EventKind>,
}

/// Signs `calls` as one transaction of `signer`, submits it, and waits until the chain has it.
///
/// A party's transactions have an order, so one party MUST NOT run two of these at a time: the second would take the first one's nonce.
///
/// # Errors
/// [`ExecuteError::Refused`] with the contracts' reason, or why it never came so far.
pub async fn execute(
    consensus: &dyn Consensus,
    replica: &Replica,
    signer: &dyn Signer,
    calls: Vec<Call>,
) -> Result<Executed, ExecuteError> {
    let tip = replica.tip();
    let nonce =
        replica.snapshot().and_then(|state| state.nonce(&signer.party())).map_err(ConsensusError::from)?;
    let valid_until = tip.height + VALIDITY;
    let transaction = Transaction { chain: replica.chain(), nonce, valid_until, calls };
    let signed = dt_model::Signed::new(transaction, signer).map_err(ConsensusError::from)?;
    let digest = consensus.submit(signed.into_envelope()).await?;
    for height in tip.height + 1..=valid_until {
        let block = consensus.committed(height).await?;
        if let Some(receipt) = block.receipts.iter().find(|receipt| receipt.transaction == digest) {
            receipt.result().map_err(ExecuteError::Refused)?;
            let events = block.events.iter().filter(|event| event.transaction == digest);
            let events = events.map(|event| event.kind.clone()).collect();
            return Ok(Executed { transaction: digest, height, events });
        }
    }
    Err(ExecuteError::Expired(valid_until))
}
