//! Whether a block is the chain's next: what its header must say, and whose votes commit it.

use dt_model::{Digest, PartyId, Timestamp};
use thiserror::Error;

use crate::block::{Commit, CommitCertificate, Header, MAX_BLOCK_BYTES, validators_digest, vote_quorum};
use crate::replica::Tip;
use crate::replica::admission::AdmissionError;
use crate::store::StoreError;

/// Why a block is not the chain's next.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BlockError {
    /// It is for another chain.
    #[error("the block is for another chain")]
    WrongChain,
    /// It is not the next.
    #[error("the next height is {expected}, not {found}")]
    WrongHeight {
        /// The next height.
        expected: u64,
        /// The block's.
        found: u64,
    },
    /// It does not build on our last block.
    #[error("the block builds on another predecessor")]
    WrongPredecessor,
    /// Its time is before the last block's.
    #[error("the block's time goes back")]
    TimeGoesBack,
    /// Its time is later than a validator's clock allows.
    #[error("the block's time is after {latest}")]
    TimeAhead {
        /// The latest time that it might have.
        latest: Timestamp,
    },
    /// Its proposer computed another state from the blocks before: one of us is wrong, and must stop.
    #[error("the state before the block is another: its proposer has {found}, we have {expected}")]
    StateDiverges {
        /// Our root.
        expected: Digest,
        /// The block's.
        found: Digest,
    },
    /// Its proposer computed other receipts for the block before.
    #[error("the receipts before the block are others")]
    ReceiptsDiverge,
    /// Its proposer knows other transactions of the blocks before.
    #[error("the log before the block is another")]
    LogDiverges,
    /// Its header names other validators for the next block.
    #[error("the next block's validators are others")]
    ValidatorsDiverge,
    /// Its header names others who do not propose for a while.
    #[error("those who do not propose for a while are others")]
    RestingDiverge,
    /// Its header commits to other transactions.
    #[error("the transactions are not those of the header")]
    WrongTransactions,
    /// It is larger than a block may be.
    #[error("the block is larger than {MAX_BLOCK_BYTES} bytes")]
    TooLarge,
    /// A transaction in it is not admissible.
    #[error("transaction {index}: {error}")]
    Transaction {
        /// Counted from 0.
        index: usize,
        /// Why.
        #[source]
        error: AdmissionError,
    },
    /// Too few validators voted for it, or a vote is not one.
    #[error("{votes} of {needed} votes commit the block")]
    Uncommitted {
        /// Valid votes of distinct validators.
        votes: usize,
        /// Votes needed.
        needed: usize,
    },
    /// The store did not answer, or did not write.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Whether `header` follows on `tip`, when the state after it names the validators `next`.
pub(crate) fn check_header(
    chain: Digest,
    tip: &Tip,
    next: &[PartyId],
    header: &Header,
) -> Result<(), BlockError> {
    if header.chain != chain {
        return Err(BlockError::WrongChain);
    }
    if header.height != tip.height + 1 {
        return Err(BlockError::WrongHeight { expected: tip.height + 1, found: header.height });
    }
    if header.previous != tip.block {
        return Err(BlockError::WrongPredecessor);
    }
    if header.time < tip.time {
        return Err(BlockError::TimeGoesBack);
    }
    if header.state_root != tip.state_root {
        return Err(BlockError::StateDiverges { expected: tip.state_root, found: header.state_root });
    }
    if header.receipts_root != tip.receipts_root {
        return Err(BlockError::ReceiptsDiverge);
    }
    if header.log != tip.log {
        return Err(BlockError::LogDiverges);
    }
    if header.next_validators != validators_digest(next) {
        return Err(BlockError::ValidatorsDiverge);
    }
    if header.resting != tip.resting_after(header.round) {
        return Err(BlockError::RestingDiverge);
    }
    Ok(())
}

/// Whether more than two thirds of `validators`, each once and nobody else, voted for the block of `header`.
pub(crate) fn check_votes(
    validators: &[PartyId],
    header: &Header,
    certificate: &CommitCertificate,
) -> Result<(), BlockError> {
    let needed = vote_quorum(validators.len());
    let Header { chain, height, .. } = *header;
    let vote = Commit { chain, height, round: certificate.round, block: header.digest() };
    let mut voters: Vec<PartyId> = Vec::with_capacity(needed);
    // A vote that is none condemns the certificate: what is stored and audited holds nothing that nobody answers for. The first such
    // vote ends the work, so there are never more signatures to check than validators.
    for envelope in &certificate.votes {
        let is_new = validators.contains(&envelope.signer()) && !voters.contains(&envelope.signer());
        if !is_new || !envelope.clone().open().is_ok_and(|signed| *signed.value() == vote) {
            return Err(BlockError::Uncommitted { votes: voters.len(), needed });
        }
        voters.push(envelope.signer());
    }
    if voters.len() < needed {
        return Err(BlockError::Uncommitted { votes: voters.len(), needed });
    }
    Ok(())
}
