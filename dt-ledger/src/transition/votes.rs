//! Who shares the chain: the organisations, their validators, and the votes by which they change that.
//!
//! ```text
//!  Propose ──▶ open, one vote ──Vote──▶ … ──Vote that makes up the number──▶ enacted, in that transaction
//!                 │  └─ Withdraw ──▶ gone
//!                 └─ expires: no vote any more, gone with its organisation's next proposal
//! ```
//!
//! What was proposed is checked when it is proposed, and again when it would be enacted: a vote that would enact what cannot be (any more)
//! is refused and does not count; the proposal stays open. Votes are counted by the organisations and the rule of that moment.

use std::collections::BTreeSet;

use dt_model::{Digest, Domain, PartyId};

use super::Transition;
use crate::Reason;
use crate::membership::consortium::{
    Approval, Consortium, MAX_MEMBERS, MAX_OPEN_PROPOSALS, MAX_PROPOSAL_MILLIS, Organisation,
    OrganisationRecord, Proposal, ProposalRecord,
};
use crate::receipt::EventKind;
use crate::record::{Resource, StateKey};
use crate::state::{CallError, State};

const PROPOSAL: Domain = Domain::new("dt/ledger/proposal/v1");

/// The proposal that call number `call` of `transaction` makes.
#[must_use]
pub fn proposal_id(transaction: &Digest, call: u32) -> Digest {
    PROPOSAL.sha256_of(&(transaction, call))
}

impl Transition<'_> {
    pub(super) fn propose(
        &mut self,
        sender: PartyId,
        proposal: &Proposal,
        millis: u64,
    ) -> Result<(), CallError> {
        let mut organisation = self.own_organisation(sender)?;
        if !(1..=MAX_PROPOSAL_MILLIS).contains(&millis) {
            return Err(Reason::NotCanonical.into());
        }
        self.check_proposal(proposal)?;
        self.drop_expired(&mut organisation)?;
        if organisation.open.len() >= MAX_OPEN_PROPOSALS {
            return Err(Reason::Full.into());
        }
        let id = self.fresh_digest(PROPOSAL);
        let now = self.at.time;
        let record = ProposalRecord {
            proposal: proposal.clone(),
            proposer: sender,
            proposed: now,
            expires: now.saturating_add(std::time::Duration::from_millis(millis)),
            votes: [(sender, organisation.term)].into(),
        };
        organisation.open.insert(id);
        self.put(&StateKey::Organisation(sender), &organisation);
        self.tell_kind(EventKind::Proposed(id));
        self.trace(Resource::Proposal(id))?;
        self.settle(id, record).map(drop)
    }

    pub(super) fn vote(&mut self, sender: PartyId, id: Digest) -> Result<(), CallError> {
        let organisation = self.own_organisation(sender)?;
        let mut record: ProposalRecord =
            self.existing(&StateKey::Proposal(id), Reason::UnknownProposal(id))?;
        if self.at.time >= record.expires {
            return Err(Reason::ProposalExpired(record.expires).into());
        }
        let is_new = record.votes.insert(sender, organisation.term) != Some(organisation.term);
        self.tell_kind(EventKind::Voted(id));
        self.trace(Resource::Proposal(id))?;
        // A vote again is none, unless the rule or the organisations have changed since and what there is suffices now.
        let enacted = self.settle(id, record)?;
        if is_new || enacted { Ok(()) } else { Err(Reason::AlreadyVoted.into()) }
    }

    pub(super) fn withdraw(&mut self, sender: PartyId, id: Digest) -> Result<(), CallError> {
        let record: ProposalRecord = self.existing(&StateKey::Proposal(id), Reason::UnknownProposal(id))?;
        if record.proposer != sender {
            return Err(Reason::NotYours.into());
        }
        self.close(&id, sender)?;
        self.tell_kind(EventKind::Withdrawn(id));
        self.trace(Resource::Proposal(id))
    }

    pub(super) fn set_validators(
        &mut self,
        sender: PartyId,
        validators: &[PartyId],
    ) -> Result<(), CallError> {
        let organisation = self.own_organisation(sender)?;
        let Consortium { seats, .. } = self.consortium()?;
        let others = without(self.validators()?, &organisation.validators);
        let named = check_validators(validators, seats, &others)?;
        if others.is_empty() && named.is_empty() {
            return Err(Reason::LastOne.into());
        }
        let validators = named.iter().copied().collect();
        self.put(&StateKey::Organisation(sender), &OrganisationRecord { validators, ..organisation });
        self.put_validators(sender, others, named);
        self.trace(Resource::Organisation(sender))
    }

    /// The organisation of which `sender` is the authority.
    fn own_organisation(&self, sender: PartyId) -> Result<OrganisationRecord, CallError> {
        self.existing(&StateKey::Organisation(sender), Reason::NotAnAuthority)
    }

    /// Enacts the proposal if it has the votes that it needs, or keeps it; says which.
    fn settle(&mut self, id: Digest, mut record: ProposalRecord) -> Result<bool, CallError> {
        // What those voted who have left since does not count, and is not kept.
        let mut left = Vec::new();
        for (authority, term) in &record.votes {
            if self.organisation(authority)?.is_none_or(|organisation| organisation.term != *term) {
                left.push(*authority);
            }
        }
        record.votes.retain(|authority, _| !left.contains(authority));
        if (record.votes.len() as u64) < self.consortium()?.needed() {
            self.put(&StateKey::Proposal(id), &record);
            return Ok(false);
        }
        self.close(&id, record.proposer)?;
        self.check_proposal(&record.proposal)?;
        self.tell_kind(EventKind::Enacted(id));
        self.enact(record.proposal)?;
        Ok(true)
    }

    /// Removes a proposal, and its mention where its proposer's are.
    fn close(&mut self, id: &Digest, proposer: PartyId) -> Result<(), CallError> {
        self.remove(&StateKey::Proposal(*id));
        if let Some(mut organisation) = self.organisation(&proposer)? {
            organisation.open.remove(id);
            self.put(&StateKey::Organisation(proposer), &organisation);
        }
        Ok(())
    }

    fn drop_expired(&mut self, organisation: &mut OrganisationRecord) -> Result<(), CallError> {
        for id in organisation.open.clone() {
            if self.proposal(&id)?.is_none_or(|record| self.at.time >= record.expires) {
                self.remove(&StateKey::Proposal(id));
                organisation.open.remove(&id);
            }
        }
        Ok(())
    }

    /// Whether `proposal` could be enacted now.
    fn check_proposal(&self, proposal: &Proposal) -> Result<(), CallError> {
        let consortium = self.consortium()?;
        let validators = self.validators()?;
        match proposal {
            Proposal::AddOrganisation(organisation) => {
                if consortium.organisations.contains(&organisation.authority) {
                    return Err(Reason::OrganisationExists(organisation.authority).into());
                }
                if consortium.organisations.len() >= MAX_MEMBERS {
                    return Err(Reason::Full.into());
                }
                check_validators(&organisation.validators, consortium.seats, &validators)?;
            }
            Proposal::RemoveOrganisation(authority) => {
                let record: OrganisationRecord = self
                    .existing(&StateKey::Organisation(*authority), Reason::UnknownOrganisation(*authority))?;
                if consortium.organisations.len() <= 1 || validators.len() <= record.validators.len() {
                    return Err(Reason::LastOne.into());
                }
            }
            Proposal::SetApproval(Approval::Majority | Approval::TwoThirds | Approval::Unanimous) => {}
            Proposal::SetSeats(seats) => {
                if *seats == 0 {
                    return Err(Reason::LastOne.into());
                }
                for authority in &consortium.organisations {
                    let record = self.organisation(authority)?;
                    if record.is_some_and(|record| record.validators.len() > usize::from(*seats)) {
                        return Err(Reason::TooManyValidators { seats: *seats }.into());
                    }
                }
            }
            Proposal::FoundStorage { replicas, max_faulty } => self.check_founding(*replicas, *max_faulty)?,
        }
        Ok(())
    }

    /// Does what was proposed, checked and agreed.
    fn enact(&mut self, proposal: Proposal) -> Result<(), CallError> {
        let mut consortium = self.consortium()?;
        match proposal {
            Proposal::AddOrganisation(organisation) => {
                consortium.terms += 1;
                consortium.organisations.insert(organisation.authority);
                self.add_organisation(&organisation, consortium.terms)?;
            }
            Proposal::RemoveOrganisation(authority) => {
                consortium.organisations.remove(&authority);
                self.remove_organisation(authority)?;
            }
            Proposal::SetApproval(approval) => {
                consortium.approval = approval;
                self.tell_kind(EventKind::ApprovalChanged(approval));
            }
            Proposal::SetSeats(seats) => {
                consortium.seats = seats;
                self.tell_kind(EventKind::SeatsChanged(seats));
            }
            Proposal::FoundStorage { replicas, max_faulty } => self.found_storage(replicas, max_faulty)?,
        }
        self.put(&StateKey::Consortium, &consortium);
        self.trace(Resource::Consortium)
    }

    fn add_organisation(&mut self, organisation: &Organisation, term: u64) -> Result<(), CallError> {
        let authority = organisation.authority;
        let record = OrganisationRecord::new(organisation, self.at.time, term);
        self.put(&StateKey::Organisation(authority), &record);
        self.tell_kind(EventKind::OrganisationAdded(authority));
        if !record.validators.is_empty() {
            let others = self.validators()?;
            self.put_validators(authority, others, record.validators.into_iter().collect());
        }
        self.trace(Resource::Organisation(authority))
    }

    fn remove_organisation(&mut self, authority: PartyId) -> Result<(), CallError> {
        let record: OrganisationRecord =
            self.existing(&StateKey::Organisation(authority), Reason::UnknownOrganisation(authority))?;
        for id in &record.open {
            self.remove(&StateKey::Proposal(*id));
        }
        self.remove(&StateKey::Organisation(authority));
        self.tell_kind(EventKind::OrganisationRemoved(authority));
        if !record.validators.is_empty() {
            let others = without(self.validators()?, &record.validators);
            self.put_validators(authority, others, BTreeSet::new());
        }
        self.retire_nodes_of(authority)?;
        self.trace(Resource::Organisation(authority))
    }

    /// Writes the chain's validators: `named`, which `authority` named, and those of the others.
    fn put_validators(&mut self, authority: PartyId, others: Vec<PartyId>, named: BTreeSet<PartyId>) {
        let all: BTreeSet<PartyId> = others.into_iter().chain(named).collect();
        // The same bytes as a sorted list has.
        self.put(&StateKey::Validators, &all);
        let count = u32::try_from(all.len()).unwrap_or(u32::MAX);
        self.tell_kind(EventKind::ValidatorsChanged(authority, count));
    }
}

/// The validators of the other organisations.
fn without(all: Vec<PartyId>, own: &[PartyId]) -> Vec<PartyId> {
    all.into_iter().filter(|key| !own.contains(key)).collect()
}

/// Whether an organisation may name these validators beside those of the `others`.
fn check_validators(named: &[PartyId], seats: u8, others: &[PartyId]) -> Result<BTreeSet<PartyId>, Reason> {
    if named.len() > usize::from(seats) {
        return Err(Reason::TooManyValidators { seats });
    }
    if others.len() + named.len() > MAX_MEMBERS {
        return Err(Reason::Full);
    }
    let mut distinct = BTreeSet::new();
    for key in named {
        if others.contains(key) || !distinct.insert(*key) {
            return Err(Reason::ValidatorExists(*key));
        }
    }
    Ok(distinct)
}
