//! What must hold before the contracts look at a transaction at all: it is authentic, for this chain, in time, in order, and its sender
//! takes part. A block with a transaction that does not satisfy this is no block of the chain.

use dt_model::{DecodeError, OpenError, PartyId, Timestamp};
use thiserror::Error;

use crate::record::StateKey;
use crate::replica::authentic::Authentic;
use crate::state::State;
use crate::store::StoreError;
use crate::transaction::{MAX_CALL_BYTES, MAX_CALLS};
use crate::{Call, Certificate, Credential};

/// Why a transaction is not taken into a block. It leaves no receipt: nobody who takes part can be held to it.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AdmissionError {
    /// The bytes are no envelope.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The signature does not hold, or the body is no transaction.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// It is for another chain.
    #[error("the transaction is for another chain")]
    WrongChain,
    /// Its last height has passed.
    #[error("the transaction was valid until height {valid_until}")]
    Expired {
        /// The last height at which it could be committed.
        valid_until: u64,
    },
    /// It is out of its sender's order: committed already, or one before it is missing.
    #[error("the sender's next nonce is {expected}, not {found}")]
    Nonce {
        /// The nonce that would be right.
        expected: u64,
        /// The nonce that it has.
        found: u64,
    },
    /// The sender is no party of the chain, or no longer.
    #[error("{} does not take part", .0.short())]
    UnknownSender(PartyId),
    /// It has no calls, too many, or is too long for what it calls.
    #[error(
        "a transaction has 1 to {MAX_CALLS} calls and, but for the specifications of new twins, {MAX_CALL_BYTES} bytes at most"
    )]
    Size,
    /// The block has no room for the work that it would make; the next one may.
    #[error("the block has no room for it")]
    BlockFull,
    /// The store did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Whether `transaction` may be committed at `height` and `now`, given `state`.
pub(crate) fn admit(
    state: &impl State,
    chain: &dt_model::Digest,
    height: u64,
    now: Timestamp,
    authentic: &Authentic,
) -> Result<(), AdmissionError> {
    let (expected, found) = (screen(state, chain, height, now, authentic)?, authentic.transaction().nonce);
    if found != expected { Err(AdmissionError::Nonce { expected, found }) } else { Ok(()) }
}

/// Whether `transaction` may be committed at `height` and `now`, given `state`, once those of its sender that come before it are; the
/// nonce that the sender's next one has.
pub(crate) fn screen(
    state: &impl State,
    chain: &dt_model::Digest,
    height: u64,
    now: Timestamp,
    authentic: &Authentic,
) -> Result<u64, AdmissionError> {
    let transaction = authentic.transaction();
    // Only specifications are long: beside one nothing else is longer than elsewhere, nor is it where there is none.
    let specifications = transaction.calls.iter().map(|call| match call {
        Call::CreateTwin(create) => create.aml.len(),
        _ => 0,
    });
    let length = authentic.body_len().saturating_sub(specifications.sum());
    if transaction.calls.is_empty() || transaction.calls.len() > MAX_CALLS || length > MAX_CALL_BYTES {
        return Err(AdmissionError::Size);
    }
    if transaction.chain != *chain {
        return Err(AdmissionError::WrongChain);
    }
    if transaction.valid_until < height {
        return Err(AdmissionError::Expired { valid_until: transaction.valid_until });
    }
    let sender = authentic.sender();
    let expected = state.nonce(&sender)?;
    if transaction.nonce < expected {
        return Err(AdmissionError::Nonce { expected, found: transaction.nonce });
    }
    // An authority sends transactions for its organisation; whether it is a party besides is another question.
    let takes_part =
        state.active_party(&sender, now)?.is_some() || state.raw(&StateKey::Organisation(sender))?.is_some();
    if takes_part || registers(state, chain, now, authentic)? {
        return Ok(expected);
    }
    // Who is no party yet may become one by what comes before: that is for the order to say.
    if transaction.nonce > expected {
        return Err(AdmissionError::Nonce { expected, found: transaction.nonce });
    }
    Err(AdmissionError::UnknownSender(sender))
}

/// Whether the transaction does nothing but enrol its sender, with a certificate that an authority of the chain signed. A party that
/// was enrolled before and is revoked or expired comes back the same way, if it is certified anew.
fn registers(
    state: &impl State,
    chain: &dt_model::Digest,
    now: Timestamp,
    authentic: &Authentic,
) -> Result<bool, StoreError> {
    match authentic.transaction().calls.as_slice() {
        [Call::Register { certificate }] => {
            Ok(acceptable(state, chain, now, authentic.sender(), certificate)?.is_some())
        }
        _ => Ok(false),
    }
}

/// The certificate, if it is for `party`, for this chain, valid now, signed by one of the chain's authorities, and not from before the
/// party's revocation: else a revoked party would come back with what was revoked.
pub(crate) fn acceptable(
    state: &impl State,
    chain: &dt_model::Digest,
    now: Timestamp,
    party: PartyId,
    credential: &Credential,
) -> Result<Option<Certificate>, StoreError> {
    if state.raw(&StateKey::Organisation(credential.authority()))?.is_none() {
        return Ok(None);
    }
    let revoked = state.party(&party)?.and_then(|party| party.revoked);
    Ok(credential.open(chain).ok().filter(|certificate| {
        certificate.party == party
            && certificate.is_valid_at(now)
            && revoked.is_none_or(|revoked| certificate.not_before > revoked)
    }))
}
