//! The organisations that share a chain, and the rules by which they change who they are.
//!
//! The paper's set-up (section 4.5) names the parties once. Practice changes them, and nobody may do that alone: an organisation is added
//! or removed, and the rules of this are changed, by a vote of the organisations.

use std::collections::{BTreeMap, BTreeSet};

use borsh::{BorshDeserialize, BorshSerialize};
use dt_model::{Digest, Name, PartyId, Timestamp};
use serde::{Deserialize, Serialize};

/// Organisations that a chain may have, and validators: bounds the work of checking a block's certificate and of counting votes.
pub const MAX_MEMBERS: usize = 256;
/// Proposals that one organisation may have open.
pub const MAX_OPEN_PROPOSALS: usize = 4;
/// The longest that a proposal may stand: 90 days, in milliseconds.
pub const MAX_PROPOSAL_MILLIS: u64 = 90 * 24 * 60 * 60 * 1000;

/// An organisation: who enrols its parties, and which validators it runs.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct Organisation {
    /// What people call it.
    pub name: Name,
    /// The key that signs its parties' certificates, votes for it, and names its validators. It is what the organisation is known by.
    pub authority: PartyId,
    /// The keys whose votes commit blocks: distinct, at most as many as the chain has seats for each organisation, and of no other
    /// organisation. May be empty.
    pub validators: Vec<PartyId>,
}

/// How many organisations must agree to a proposal. Each has one vote, however many validators it runs; the proposer's counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Approval {
    /// More than half of them.
    Majority,
    /// More than two thirds of them.
    TwoThirds,
    /// All of them; so nobody is put out against its will.
    Unanimous,
}

impl Approval {
    /// How many of `organisations` must agree.
    #[must_use]
    pub const fn needed(self, organisations: u64) -> u64 {
        match self {
            Self::Majority => organisations / 2 + 1,
            // The quotient and the remainder apart, so that nothing overflows.
            Self::TwoThirds => organisations / 3 * 2 + organisations % 3 * 2 / 3 + 1,
            Self::Unanimous => organisations,
        }
    }
}

/// A change that the organisations vote on.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Proposal {
    /// Takes in an organisation.
    AddOrganisation(Organisation),
    /// Puts out the organisation of this authority: its validators, its DHT nodes and its proposals go, and its parties no longer take part.
    /// Were it taken in again, those of its parties whose certificates still run would take part again; their nodes register anew.
    RemoveOrganisation(PartyId),
    /// Changes how many organisations must agree from now on, to what is open already too.
    SetApproval(Approval),
    /// Changes how many validators an organisation may run. No organisation may run more at that moment.
    SetSeats(u8),
    /// Founds the DHT, once and for all, with the nodes that are registered then, or with the first that are enough.
    FoundStorage {
        /// Replicas of everything: more than three times `max_faulty`.
        replicas: u16,
        /// How many of them may be malicious: the paper's *k*.
        max_faulty: u16,
    },
}

/// The rules that the organisations have given themselves, and who they are.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct Consortium {
    /// How many organisations must agree to a proposal.
    pub approval: Approval,
    /// How many validators an organisation may run: at least 1.
    pub seats: u8,
    /// The authorities of the organisations: never none.
    pub organisations: BTreeSet<PartyId>,
    /// How many organisations there ever were: the newest [`OrganisationRecord::term`].
    pub terms: u64,
}

impl Consortium {
    /// How many organisations must agree to a proposal now.
    #[must_use]
    pub fn needed(&self) -> u64 {
        self.approval.needed(self.organisations.len() as u64)
    }
}

/// An organisation as the ledger knows it.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct OrganisationRecord {
    /// What people call it.
    pub name: Name,
    /// Its validators, sorted.
    pub validators: Vec<PartyId>,
    /// Since when it has been a member.
    pub since: Timestamp,
    /// Which membership of the chain this is, counted from 1. One that was put out and taken in again has another, so that what it voted
    /// before does not count.
    pub term: u64,
    /// Its proposals that were neither enacted nor withdrawn; those that expired leave with its next one.
    pub open: BTreeSet<Digest>,
}

/// A proposal that is open, or expired.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct ProposalRecord {
    /// What is proposed.
    pub proposal: Proposal,
    /// The authority that proposed it.
    pub proposer: PartyId,
    /// When.
    pub proposed: Timestamp,
    /// The first moment at which it can no longer be voted on.
    pub expires: Timestamp,
    /// The authorities that agreed, each with the [`OrganisationRecord::term`] in which it did. A vote counts while that term lasts.
    pub votes: BTreeMap<PartyId, u64>,
}

impl OrganisationRecord {
    /// What the ledger keeps of `organisation`, which joins at `since` in its `term`.
    pub(crate) fn new(organisation: &Organisation, since: Timestamp, term: u64) -> Self {
        let mut validators = organisation.validators.clone();
        validators.sort_unstable();
        Self { name: organisation.name.clone(), validators, since, term, open: BTreeSet::new() }
    }
}
