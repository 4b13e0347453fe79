//! Checking what others say of the chain, with nothing but a set of validators to trust: no store, no network, no clock.
//!
//! ```text
//!  Genesis, or a set of validators ─▶ Verifier ──header and votes,──▶ Certified ──proof──▶ a value of the state, or its absence
//!                                        ▲   │   or checkpoint      (roots after          an element of a specification
//!                                        └───┘                       a block)             the trace of a thing
//!                                   new validators                                        a transaction, its receipt
//! ```
//!
//! A header is proposed before its own block is applied, so it certifies what the blocks *before* it have made. Whoever has no later
//! header takes a checkpoint, which validators sign for the asking ([`Replica::checkpoint`](crate::Replica::checkpoint)).

use dt_model::{Digest, PartyId};
use thiserror::Error;

use crate::block::{CommitCertificate, Header, validators_digest};
use crate::evidence::checkpoint::{Checkpoint, CheckpointError};
use crate::evidence::note::SignedNote;
use crate::membership::genesis::Genesis;
use crate::replica::successor::{BlockError, check_votes};

/// Why something is not to be believed.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum VerifyError {
    /// It is of another chain.
    #[error("this is of another chain")]
    WrongChain,
    /// Too few of the validators that are trusted have signed it. Where the set has changed since, [`Verifier::advance`] comes first.
    #[error("{votes} of {needed} votes of the trusted validators stand behind this")]
    Uncertified {
        /// Valid votes of distinct validators.
        votes: usize,
        /// Votes needed.
        needed: usize,
    },
    /// The next validators are not those that the header names.
    #[error("these are not the next validators")]
    OtherValidators,
    /// The note is no checkpoint that the trusted validators have signed.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The proof does not show what is claimed.
    #[error("the proof does not hold")]
    Proof,
}

/// Whom one trusts of a chain, at present.
///
/// The trust is in the set: that of its validators fewer than a third are faulty, *still*. Validators that were dismissed long ago can sign
/// another history; so keep up with the changes ([`Verifier::advance`]), or start from a set that was looked up lately.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verifier {
    chain: Digest,
    validators: Vec<PartyId>,
}

impl Verifier {
    /// Trusts what a chain begins with.
    #[must_use]
    pub fn new(genesis: &Genesis) -> Self {
        Self { chain: genesis.chain(), validators: genesis.validators() }
    }

    /// Trusts these validators of that chain.
    #[must_use]
    pub const fn trusting(chain: Digest, validators: Vec<PartyId>) -> Self {
        Self { chain, validators }
    }

    /// The chain.
    #[must_use]
    pub const fn chain(&self) -> Digest {
        self.chain
    }

    /// The validators that are trusted.
    #[must_use]
    pub fn validators(&self) -> &[PartyId] {
        &self.validators
    }

    /// What the votes for `header` certify: the roots after the block before it.
    ///
    /// # Errors
    /// [`VerifyError`].
    pub fn header(&self, header: &Header, certificate: &CommitCertificate) -> Result<Certified, VerifyError> {
        if header.chain != self.chain || header.height == 0 {
            return Err(VerifyError::WrongChain);
        }
        check_votes(&self.validators, header, certificate).map_err(|error| match error {
            BlockError::Uncommitted { votes, needed } => VerifyError::Uncertified { votes, needed },
            _ => VerifyError::Proof,
        })?;
        Ok(Certified(Checkpoint {
            chain: header.chain,
            log: header.log,
            height: header.height - 1,
            block: header.previous,
            state_root: header.state_root,
            receipts_root: header.receipts_root,
        }))
    }

    /// What the signatures of a checkpoint certify.
    ///
    /// # Errors
    /// [`VerifyError::Checkpoint`].
    pub fn checkpoint(&self, note: &SignedNote) -> Result<Certified, VerifyError> {
        Ok(Certified(Checkpoint::open(note, &self.chain, &self.validators)?))
    }

    /// Goes over to the validators `next`, whom `header` names for the block after it.
    ///
    /// # Errors
    /// [`VerifyError`]; the set is as it was then.
    pub fn advance(
        &mut self,
        header: &Header,
        certificate: &CommitCertificate,
        next: Vec<PartyId>,
    ) -> Result<Certified, VerifyError> {
        let certified = self.header(header, certificate)?;
        if validators_digest(&next) != header.next_validators {
            return Err(VerifyError::OtherValidators);
        }
        self.validators = next;
        Ok(certified)
    }
}

/// What validators whom somebody trusts have certified of the chain after a block.
///
/// # Invariant
/// Only a [`Verifier`] makes one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Certified(Checkpoint);

impl core::ops::Deref for Certified {
    type Target = Checkpoint;

    fn deref(&self) -> &Checkpoint {
        &self.0
    }
}
