//! What becomes of a transaction: a receipt that the chain keeps, with the rule's name where it was refused, and events.

use std::collections::BTreeSet;

use borsh::{BorshDeserialize, BorshSerialize};
use dt_model::{
    ComponentId, DataClass, Digest, EncryptionKey, Name, Operation, PartyId, Text, Timestamp, TwinId,
};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::safety::{RuleFault, RuleKind};
use crate::{Approval, CallResult, DocumentId, FeedReference, Resource, Uri};

/// What became of one transaction.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct Receipt {
    /// The transaction's digest.
    pub transaction: Digest,
    /// What became of it.
    pub outcome: Outcome,
    /// SHA-256 over all that it wrote to the state, in the order of keys: where two replicas differ, this says at which transaction.
    pub writes: Digest,
}

/// What became of a transaction that was committed.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// All its calls were applied.
    Applied,
    /// None of its calls was applied.
    Rejected {
        /// The first call that was refused, counted from 0.
        call: u32,
        /// The rule that it broke.
        reason: Reason,
    },
}

impl Receipt {
    /// Whether the transaction was applied.
    ///
    /// # Errors
    /// The [`Reason`] if not.
    pub fn result(&self) -> Result<(), Reason> {
        match &self.outcome {
            Outcome::Applied => Ok(()),
            Outcome::Rejected { reason, .. } => Err(reason.clone()),
        }
    }
}

/// Why the contracts refused a call. A refusal is not an error of the ledger: it is committed, so that it can be audited.
#[derive(Debug, Error, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// No policy permits it: the sender's roles do not hold this permission where it would act.
    #[error("no role of the sender may {operation:?} {class:?} at {}", component.as_ref().map_or("the root", |c| c.as_str()))]
    NotPermitted {
        /// What was to be done.
        operation: Operation,
        /// To which data.
        class: DataClass,
        /// Where; `None` is the root.
        component: Option<ComponentId>,
    },
    /// Only the twin's owner does this.
    #[error("only the owner of the twin may do this")]
    NotTheOwner,
    /// Only the twin's device agent does this.
    #[error("only the device agent of the twin may do this")]
    NotTheAgent,
    /// Only the author of a thing, or the authority over a party, does this.
    #[error("this belongs to another party")]
    NotYours,
    /// The certificate is not for the sender, not for this chain, not from an authority of it, or not valid now.
    #[error("the certificate is not acceptable")]
    BadCertificate,
    /// The party takes part already, and the certificate does not renew its own.
    #[error("the party is registered already")]
    AlreadyRegistered,
    /// Nobody of that name takes part (any more).
    #[error("{} is not a registered party", .0.short())]
    UnknownParty(PartyId),
    /// Only the authority of an organisation does this.
    #[error("only the authority of an organisation may do this")]
    NotAnAuthority,
    /// No organisation of the chain has this authority.
    #[error("there is no organisation of {}", .0.short())]
    UnknownOrganisation(PartyId),
    /// The organisation is one of the chain's already.
    #[error("the organisation of {} is a member already", .0.short())]
    OrganisationExists(PartyId),
    /// The key is a validator's already, or was named twice.
    #[error("{} is a validator already", .0.short())]
    ValidatorExists(PartyId),
    /// An organisation would have more validators than it has seats.
    #[error("an organisation has at most {seats} validators")]
    TooManyValidators {
        /// How many it may have.
        seats: u8,
    },
    /// The chain would be left without organisations, without validators, or without a seat for them.
    #[error("a chain keeps at least one organisation and one validator")]
    LastOne,
    /// There is no such proposal: it never was, or was enacted, withdrawn, or fell with its proposer.
    #[error("there is no proposal {}", .0.short())]
    UnknownProposal(Digest),
    /// The proposal's time is over.
    #[error("the proposal expired at {0}")]
    ProposalExpired(Timestamp),
    /// The organisation has agreed already.
    #[error("the organisation has voted already")]
    AlreadyVoted,
    /// The organisations have founded the DHT already.
    #[error("the DHT is founded already")]
    StorageFounded,
    /// The sender runs no node that has to take over in that epoch, or said before that it had.
    #[error("nothing is to be handed over to the sender's node in epoch {epoch}")]
    NothingToHandOver {
        /// The present epoch.
        epoch: u64,
    },
    /// There is no such twin.
    #[error("there is no twin {}", .0.short())]
    UnknownTwin(TwinId),
    /// The owner has a twin of that device ID.
    #[error("the owner has a twin of this device already")]
    TwinExists,
    /// The twin's life has ended.
    #[error("the twin is decommissioned")]
    Decommissioned,
    /// The specification has no element with this ID, or several: then none of them can be meant.
    #[error("the specification has no one element {0}")]
    UnknownComponent(ComponentId),
    /// There is no such document, or it was removed.
    #[error("there is no document {}", .0.short())]
    UnknownDocument(DocumentId),
    /// The twin has no such external source.
    #[error("the twin has no such external source")]
    UnknownSource,
    /// The source is registered already.
    #[error("the external source is registered already")]
    SourceExists,
    /// The component has no feed.
    #[error("{0} has no feed")]
    NoFeed(ComponentId),
    /// The component has a feed already.
    #[error("{0} has a feed already")]
    FeedExists(ComponentId),
    /// The element cannot go while a feed is linked to it or to one below it.
    #[error("a feed is still linked to {0}")]
    FeedAttached(ComponentId),
    /// The party does not hold the role.
    #[error("the party does not hold this role")]
    RoleNotHeld,
    /// A role, policy or list is larger than one may be, or not in its canonical form.
    #[error("too many, or not in canonical form")]
    NotCanonical,
    /// The owner cannot lose the owner's role, nor the root its policy: the twin would be nobody's.
    #[error("the owner's role stays with the owner")]
    OwnerRole,
    /// The specification is not AutomationML within limits.
    #[error("the specification does not parse: {0}")]
    BadSpecification(Text<512>),
    /// An edit is not possible.
    #[error("the edit is not possible: {0}")]
    BadEdit(Text<512>),
    /// The specification is another than the sender saw.
    #[error("the specification has changed: its root is {}", found.short())]
    SpecificationChanged {
        /// Its root now.
        found: Digest,
    },
    /// The specification describes no such program.
    #[error("the specification has no program {0}")]
    UnknownProgram(ComponentId),
    /// A parameter that the program needs is missing.
    #[error("parameter {0} is missing")]
    MissingParameter(Name),
    /// The program has no such parameter.
    #[error("the program has no parameter {0}")]
    UnknownParameter(Name),
    /// A parameter's unit is not the specification's.
    #[error("parameter {0} is in another unit")]
    WrongUnit(Name),
    /// A parameter breaks a rule of the specification.
    #[error("parameter {parameter} breaks {rule}")]
    ParameterViolates {
        /// The parameter.
        parameter: Name,
        /// The rule.
        rule: Text<512>,
    },
    /// A rule for the parameter cannot be checked, so that nothing passes it.
    #[error("a rule for parameter {0} cannot be checked")]
    NotCheckable(Name),
    /// The twin's safety rules are of another version than the sender saw.
    #[error("the safety rules have changed: they are of version {found}")]
    SafetyRulesChanged {
        /// Their version now.
        found: u64,
    },
    /// A safety rule is not acceptable.
    #[error("safety rule {rule}: {fault}")]
    BadSafetyRule {
        /// The rule.
        rule: Name,
        /// What is wrong with it.
        fault: RuleFault,
    },
    /// The call breaks a safety rule of the twin.
    #[error("safety rule {rule} does not allow it")]
    Unsafe {
        /// The rule.
        rule: Name,
        /// Its sort.
        kind: RuleKind,
    },
    /// Whether the call satisfies a safety rule of the twin cannot be told, so that it is refused.
    #[error("safety rule {rule} cannot be judged")]
    NotJudged {
        /// The rule.
        rule: Name,
    },
    /// There is no such call.
    #[error("there is no call {0}")]
    UnknownCall(u64),
    /// The call is not in a state in which this can happen to it.
    #[error("the call is {0:?}")]
    WrongCallState(crate::CallStatus),
    /// The call's time is over.
    #[error("the call expired at {0}")]
    CallExpired(Timestamp),
    /// Calls are started in the order in which they came, one after the other.
    #[error("call {first} comes first")]
    OutOfOrder {
        /// The call that has to end before.
        first: u64,
    },
    /// Another claim is newer.
    #[error("epoch {current} has been claimed")]
    Fenced {
        /// The newest epoch.
        current: u64,
    },
    /// An anchor never goes back.
    #[error("version {current} is anchored already")]
    AnchorGoesBack {
        /// What is anchored.
        current: u64,
    },
    /// The ledger has no more room for this: queues and lists are bounded.
    #[error("there is no more room")]
    Full,
}

impl Reason {
    /// The rule's name, as it stands in audits and logs: stable, whatever the details are.
    #[must_use]
    pub const fn rule(&self) -> &'static str {
        match self {
            Self::NotPermitted { .. } => "authorization.not-permitted",
            Self::NotTheOwner => "authorization.not-the-owner",
            Self::NotTheAgent => "authorization.not-the-agent",
            Self::NotYours => "authorization.not-yours",
            Self::BadCertificate => "membership.bad-certificate",
            Self::AlreadyRegistered => "membership.already-registered",
            Self::UnknownParty(_) => "membership.unknown-party",
            Self::NotAnAuthority => "membership.not-an-authority",
            Self::UnknownOrganisation(_) => "membership.unknown-organisation",
            Self::OrganisationExists(_) => "membership.organisation-exists",
            Self::ValidatorExists(_) => "membership.validator-exists",
            Self::TooManyValidators { .. } => "membership.too-many-validators",
            Self::LastOne => "membership.last-one",
            Self::UnknownProposal(_) => "vote.unknown-proposal",
            Self::ProposalExpired(_) => "vote.expired",
            Self::AlreadyVoted => "vote.already-voted",
            Self::StorageFounded => "nodes.storage-founded",
            Self::NothingToHandOver { .. } => "nodes.nothing-to-hand-over",
            Self::UnknownTwin(_) => "twin.unknown",
            Self::TwinExists => "twin.exists",
            Self::Decommissioned => "twin.decommissioned",
            Self::UnknownComponent(_) => "specification.unknown-component",
            Self::UnknownDocument(_) => "document.unknown",
            Self::UnknownSource => "source.unknown",
            Self::SourceExists => "source.exists",
            Self::NoFeed(_) => "feed.none",
            Self::FeedExists(_) => "feed.exists",
            Self::FeedAttached(_) => "feed.attached",
            Self::RoleNotHeld => "authorization.role-not-held",
            Self::NotCanonical => "form.not-canonical",
            Self::OwnerRole => "authorization.owner-role",
            Self::BadSpecification(_) => "specification.malformed",
            Self::BadEdit(_) => "specification.bad-edit",
            Self::SpecificationChanged { .. } => "specification.changed",
            Self::UnknownProgram(_) => "program.unknown",
            Self::MissingParameter(_) => "program.parameter-missing",
            Self::UnknownParameter(_) => "program.parameter-unknown",
            Self::WrongUnit(_) => "program.parameter-unit",
            Self::ParameterViolates { .. } => "program.parameter-limit",
            Self::NotCheckable(_) => "program.parameter-not-checkable",
            Self::SafetyRulesChanged { .. } => "safety.rules-changed",
            Self::BadSafetyRule { .. } => "safety.bad-rule",
            Self::Unsafe { kind: RuleKind::MaxStep, .. } => "safety.max-step",
            Self::Unsafe { kind: RuleKind::MaxRate, .. } => "safety.max-rate",
            Self::Unsafe { kind: RuleKind::Interlock, .. } => "safety.interlock",
            Self::Unsafe { kind: RuleKind::RequiredMode, .. } => "safety.required-mode",
            Self::NotJudged { .. } => "safety.not-judged",
            Self::UnknownCall(_) => "call.unknown",
            Self::WrongCallState(_) => "call.state",
            Self::CallExpired(_) => "call.expired",
            Self::OutOfOrder { .. } => "call.out-of-order",
            Self::Fenced { .. } => "call.fenced",
            Self::AnchorGoesBack { .. } => "anchor.goes-back",
            Self::Full => "limits.full",
        }
    }

    /// The rule's name, and, where the rule is one of the twin's own, which one: `safety.max-step/gentle`. What an agent gives as the
    /// rule by which it rejects a call ([`crate::TwinCall::RejectCall`]).
    #[must_use]
    pub fn full_rule(&self) -> Name {
        match self {
            Self::Unsafe { rule, .. } | Self::NotJudged { rule } => {
                Name::abridged(&format!("{}/{rule}", self.rule()))
            }
            _ => Name::abridged(self.rule()),
        }
    }
}

/// Something that happened on the ledger, for those who follow it.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct Event {
    /// The transaction that caused it.
    pub transaction: Digest,
    /// Its sender.
    pub by: PartyId,
    /// What happened.
    pub kind: EventKind,
    /// What it happened to: all whose trace it went on, and the program of each call among them.
    pub resources: BTreeSet<Resource>,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EventKind {
    /// A party takes part.
    PartyRegistered(PartyId),
    /// A party's certificate is another, which ends at this moment.
    CertificateRenewed(PartyId, Timestamp),
    /// A party's encryption key is another.
    EncryptionKeyRotated(PartyId, EncryptionKey),
    /// A party no longer takes part.
    CertificateRevoked(PartyId),
    /// A party runs a DHT node, or runs it elsewhere.
    NodeRegistered(PartyId),
    /// A DHT node is to hold nothing any more.
    NodeRetired(PartyId),
    /// A DHT node holds everything that is its own in the present epoch.
    NodeTookOver(PartyId),
    /// The DHT's membership is in another epoch.
    MembershipChanged(u64),
    /// An organisation was taken in.
    OrganisationAdded(PartyId),
    /// An organisation was put out.
    OrganisationRemoved(PartyId),
    /// An organisation named its validators; so many the chain has now.
    ValidatorsChanged(PartyId, u32),
    /// So many organisations must agree from now on.
    ApprovalChanged(Approval),
    /// An organisation may have so many validators from now on.
    SeatsChanged(u8),
    /// A change was proposed to the organisations.
    Proposed(Digest),
    /// The sender's organisation agreed to a proposal.
    Voted(Digest),
    /// A proposal has the votes it needs, and was enacted.
    Enacted(Digest),
    /// A proposal was withdrawn.
    Withdrawn(Digest),
    /// A twin was created.
    TwinCreated(TwinId),
    /// Something happened to a twin.
    Twin(TwinId, TwinEvent),
}

/// What happened to a twin.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TwinEvent {
    /// It has another owner.
    OwnershipTransferred(PartyId),
    /// Its life ended.
    Decommissioned,
    /// It has another device agent.
    AgentChanged(Option<PartyId>),
    /// A party has a role.
    RoleAssigned(PartyId, Name),
    /// A party has a role no longer.
    RoleUnassigned(PartyId, Name),
    /// A policy was set or removed at an element (or at the root).
    PolicyChanged(Option<ComponentId>),
    /// Its safety rules are others; their new version.
    SafetyRulesChanged(u64),
    /// A document was added.
    DocumentAdded(DocumentId),
    /// A document has a new version, of this number (counted from 1).
    DocumentVersionAdded(DocumentId, u32),
    /// A document is out of use.
    DocumentRemoved(DocumentId),
    /// An external source was added.
    SourceAdded(Uri),
    /// An external source was removed.
    SourceRemoved(Uri),
    /// A component is linked to a feed.
    FeedAdded(ComponentId, FeedReference),
    /// A component is no longer linked to this feed.
    FeedRemoved(ComponentId, FeedReference),
    /// The specification changed; its new subtree root.
    SpecificationChanged(Digest),
    /// A program call waits for the agent.
    CallQueued(u64),
    /// A program call was taken back.
    CallCancelled(u64),
    /// A program call's time was over before it was started.
    CallExpired(u64),
    /// The agent claimed the waiting calls under this epoch.
    CallsClaimed(u64),
    /// The agent is about to actuate.
    CallStarted(u64),
    /// A call ended.
    CallCompleted(u64, CallResult),
    /// The agent refused a call.
    CallRejected(u64, Name),
    /// The agent said what the device shows of a program's parameters.
    ValuesReported(ComponentId),
    /// An item's access control list was anchored.
    AclAnchored(Digest, u64),
    /// A feed's head was anchored.
    HeadAnchored(ComponentId, u64),
}
