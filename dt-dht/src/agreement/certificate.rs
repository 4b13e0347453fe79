//! A quorum's votes: proof that a state may be committed, and proof that it was.

use borsh::{BorshDeserialize, BorshSerialize};
use dt_model::{Envelope, Message, codec};

use super::{AddressState, Phase, Vote};
use crate::certificate::{CertificateError, check_signers};
use crate::{Address, Membership};

/// Proof that a quorum accepted a state under one ballot, so that no other state can have such proof under that ballot: the paper's
/// quorum, PBFT's *prepared* certificate. A replica that holds it is locked on the state.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct LockCertificate {
    votes: Vec<Envelope<Vote>>,
}

impl LockCertificate {
    pub(crate) const fn new(votes: Vec<Envelope<Vote>>) -> Self {
        Self { votes }
    }

    /// What was accepted, without a check of anything. `None` if there is no vote, or it is none.
    #[must_use]
    pub fn claim(&self) -> Option<Vote> {
        claim(&self.votes)
    }

    /// The membership epoch in which it was accepted, as the votes have it.
    pub(crate) fn epoch(&self) -> Option<u64> {
        self.claim().map(|vote| vote.epoch)
    }

    /// Whether the votes are said to be of this epoch, or of one with which it shares a group of replicas ([`Membership::binding_since`]).
    /// What was decided earlier is settled before a joint epoch ends ([`crate::HandOver`]); what was only accepted then binds nobody, and
    /// MUST NOT: between replicas that have nothing to do with each other, ballots do not order anything.
    ///
    /// To bind is not to decide: by a lock of a former epoch nothing is committed, but only accepted again.
    #[must_use]
    pub fn is_current(&self, membership: &Membership) -> bool {
        self.epoch().is_some_and(|epoch| epoch >= membership.binding_since())
    }

    /// Checks everything: a quorum of distinct replicas of the address accepted one state under one ballot, in this epoch or one before
    /// that counts still ([`LockCertificate::is_current`]).
    ///
    /// # Errors
    /// [`CertificateError`].
    pub fn verify(&self, membership: &Membership, address: &Address) -> Result<Vote, CertificateError> {
        if !self.is_current(membership) {
            return Err(CertificateError::OtherMembership);
        }
        let vote = open(&self.votes, Phase::Accept, membership)?;
        if vote.address == *address { Ok(vote) } else { Err(CertificateError::OtherRecord) }
    }
}

/// Proof, for anybody and without a network, that a state was decided: a quorum is locked on it, so every later quorum read finds it or
/// what came after it, and no other state was or will be decided at its sequence.
///
/// # What a verifier needs
/// The votes name one epoch ([`SettlementCertificate::epoch`]), and that epoch's nodes alone decide, whatever came before and after: one
/// group of replicas, or a quorum in each of two in a joint epoch. So what is needed is a [`Membership`] that remembers that epoch
/// ([`Membership::remembers`]): of the network's ledger, the nodes of the epoch, and of the epoch before if it is joint. Two certificates that
/// verify under one membership, whatever their epochs, never show different states of one sequence.
///
/// That holds as long as of the replicas of an address in that epoch at most *k* are malicious, also after they have left: whoever does not
/// trust the keys of retired nodes any longer forgets their epochs ([`Membership::without_epochs_before`]).
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct SettlementCertificate {
    state: AddressState,
    votes: Vec<Envelope<Vote>>,
}

impl SettlementCertificate {
    pub(crate) const fn new(state: AddressState, votes: Vec<Envelope<Vote>>) -> Self {
        Self { state, votes }
    }

    /// The state that was decided.
    #[must_use]
    pub const fn state(&self) -> &AddressState {
        &self.state
    }

    /// The membership epoch in which it was decided, as the votes have it.
    #[must_use]
    pub fn epoch(&self) -> Option<u64> {
        claim(&self.votes).map(|vote| vote.epoch)
    }

    /// Checks everything: a quorum of distinct replicas of the address committed this state under one ballot. A certificate of a former
    /// epoch is checked against that epoch's replicas.
    ///
    /// # Errors
    /// [`CertificateError`].
    pub fn verify(&self, membership: &Membership) -> Result<(), CertificateError> {
        let vote = open(&self.votes, Phase::Commit, membership)?;
        let named = (vote.address, vote.sequence, vote.state);
        let same = named == (self.state.address(), self.state.sequence(), self.state.digest());
        if same { Ok(()) } else { Err(CertificateError::OtherRecord) }
    }

    /// Whether the votes are sound by themselves, whoever the replicas are: what can be said of a stored certificate without a membership.
    pub(crate) fn is_sound(&self) -> bool {
        let Some(vote) = claim(&self.votes) else { return false };
        (vote.address, vote.sequence, vote.state, vote.phase)
            == (self.state.address(), self.state.sequence(), self.state.digest(), Phase::Commit)
            && self.votes.iter().all(|vote| vote.clone().open().is_ok())
    }
}

/// What the first vote says; not checked.
fn claim(votes: &[Envelope<Vote>]) -> Option<Vote> {
    codec::decode(votes.first()?.body(), <Vote as Message>::MAX_BYTES).ok()
}

/// What all the votes say: a vote holds nothing that differs between voters, so their bodies are the same bytes.
fn open(votes: &[Envelope<Vote>], phase: Phase, membership: &Membership) -> Result<Vote, CertificateError> {
    let needed = membership.resilience().quorum();
    let too_few = CertificateError::TooFew { receipts: votes.len(), needed };
    let (Some(first), Some(claim)) = (votes.first(), claim(votes)) else { return Err(too_few) };
    if let Some(other) = votes.iter().find(|vote| vote.body() != first.body()) {
        return Err(CertificateError::Disagreement(other.signer()));
    }
    if claim.network != membership.network() {
        return Err(CertificateError::OtherMembership);
    }
    if claim.phase != phase {
        return Err(CertificateError::OtherRecord);
    }
    let groups =
        membership.groups_in(claim.epoch, &claim.address).ok_or(CertificateError::OtherMembership)?;
    check_signers(&groups, needed, votes.iter().map(Envelope::signer))?;
    // Signatures come last: they cost the most.
    votes.iter().try_for_each(|vote| vote.clone().open().map(drop))?;
    Ok(claim)
}
