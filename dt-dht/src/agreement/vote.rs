//! What replicas sign while they agree: votes, and promises to vote for nothing older.

use borsh::{BorshDeserialize, BorshSerialize};
use dt_model::{Digest, Domain, Envelope, Message, PartyId, Timestamp, codec};

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

/// A ballot by the hand of its proposer: he attempts a step under it. Its envelope's signer MUST be the ballot's proposer.
///
/// A bid of a party that has the rank by right is a *title* to that rank for everybody: whoever has it may show it to replicas that were not
/// sent it, and a promise that only one of them gave does not hold up the others when the proposer is gone.
///
/// It names no epoch: who has a rank is a matter of the records that are settled, whoever keeps them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Bid {
    /// The ledger's chain ID.
    pub network: Digest,
    /// The address.
    pub address: Address,
    /// The step that is attempted.
    pub sequence: u64,
    /// The attempt.
    pub ballot: Ballot,
    /// When it was made, by the proposer's clock: whoever is shown it later judges his rank at this time.
    pub time: Timestamp,
}

impl Bid {
    /// What an envelope says, without a check of anything. `None` if it holds no bid.
    pub(crate) fn claim(envelope: &Envelope<Self>) -> Option<Self> {
        codec::decode(envelope.body(), Self::MAX_BYTES).ok()
    }
}

impl Message for Bid {
    const DOMAIN: Domain = Domain::new("dt/dht/bid/v1");
    const MAX_BYTES: usize = 128;
}

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
