//! What replicas sign while they agree: votes, and promises to vote for nothing older.

use borsh::{BorshDeserialize, BorshSerialize};
use dt_model::{Digest, Domain, Message, PartyId};

use super::LockCertificate;
use crate::Address;
use crate::certificate::MAX_CERTIFICATE_BYTES;

/// Orders the attempts to settle one sequence: by rank, then round, then proposer. No ballot at all, `None`, is before all of them: that is
/// the attempt of whoever comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize)]
pub struct Ballot {
    /// The standing that the proposer claims: see [`crate::Validator::rank`].
    pub rank: u8,
    /// Grows with every attempt of that rank.
    pub round: u64,
    /// Who proposes: nobody else may under this ballot.
    pub proposer: PartyId,
}

/// How far the round of a ballot may be above the one before: as many attempts as nobody makes, so that nobody can use up the rounds.
pub const MAX_ROUND_STEP: u64 = 1 << 32;

/// The two steps of a settlement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, BorshSerialize, BorshDeserialize)]
pub enum Phase {
    /// I accept this state under this ballot, and will accept no other under it.
    Accept,
    /// I have stored the state, and proof that a quorum accepts it: whoever asks me from now on learns of it.
    Commit,
}

/// A replica's vote for a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Vote {
    /// The ledger's chain ID.
    pub network: Digest,
    /// The membership epoch in which the signer is a replica of the address.
    pub epoch: u64,
    /// The address.
    pub address: Address,
    /// The step that leads to the state.
    pub sequence: u64,
    /// The attempt at that step.
    pub ballot: Option<Ballot>,
    /// [`super::AddressState::digest`] of the state.
    pub state: Digest,
    /// What the signer says about it.
    pub phase: Phase,
}

impl Message for Vote {
    const DOMAIN: Domain = Domain::new("dt/dht/vote/v1");
    const MAX_BYTES: usize = 256;
}

/// A replica's promise to vote under no older ballot, and what a newer one has to respect.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Promise {
    /// The ledger's chain ID.
    pub network: Digest,
    /// The membership epoch in which the signer is a replica of the address.
    pub epoch: u64,
    /// The address.
    pub address: Address,
    /// The step that is attempted.
    pub sequence: u64,
    /// The attempt: the signer votes under no older one.
    pub ballot: Ballot,
    /// Proof of the newest state that the signer is locked on at this step, if it is on any.
    pub lock: Option<LockCertificate>,
}

impl Message for Promise {
    const DOMAIN: Domain = Domain::new("dt/dht/promise/v1");
    const MAX_BYTES: usize = MAX_CERTIFICATE_BYTES;
}
