//! What there is that a story must hold: the names of all kinds of calls, edits, reasons and events.
//!
//! Each list is one with an exhaustive match: a new kind does not compile until it is named here, and is then missed until the story has it.

use std::collections::{BTreeMap, BTreeSet};

use dt_aml::{Edit, RemovePolicy};
use dt_ledger::safety::{Condition, RuleFault};
use dt_ledger::{
    Approval, Call, CallResult, CommittedBlock, Credential, EventKind, Outcome, Proposal, Reason,
    Transaction, TwinCall, TwinEvent,
};
use dt_model::{Envelope, codec};

/// A list of a type's variants, and the name of a value's.
macro_rules! kinds {
    ($all:ident, $name:ident, $type:ident: $($variant:ident),* $(,)?) => {
        const $all: &[&str] = &[$(concat!(stringify!($type), "::", stringify!($variant))),*];
        fn $name(value: &$type) -> &'static str {
            match value {
                $($type::$variant { .. } => concat!(stringify!($type), "::", stringify!($variant)),)*
            }
        }
    };
}

kinds!(CALLS, call_name, Call: Register, RotateEncryptionKey, RevokeCertificate, RegisterNode, RetireNode,
    HandOver, SetValidators, Propose, Vote, Withdraw, CreateTwin, Twin);
kinds!(TWIN_CALLS, twin_call_name, TwinCall: TransferOwnership, Decommission, SetAgent, AssignRole, UnassignRole,
    SetPolicy, RemovePolicy, SetSafetyRules, AddDocument, AddDocumentVersion, RemoveDocument, AddExternalSource,
    RemoveExternalSource, AddSensorFeed, RemoveSensorFeed, EditAml, CallProgram, CancelCall, ClaimCalls,
    StartCall, CompleteCall, RejectCall, ReportValues, AnchorAcl, AnchorHead);
kinds!(EDITS, edit_name, Edit: Insert, Remove, Replace, SetValue, Move, Splice, Retag);
kinds!(REMOVALS, removal_name, RemovePolicy: Restrict, OpenLinks, Cascade);
kinds!(PROPOSALS, proposal_name, Proposal: AddOrganisation, RemoveOrganisation, SetApproval, SetSeats,
    FoundStorage);
kinds!(APPROVALS, approval_name, Approval: Majority, TwoThirds, Unanimous);
kinds!(CREDENTIALS, credential_name, Credential: Compact, X509);
kinds!(CONDITIONS, condition_name, Condition: MaxStep, MaxRate, Interlock, RequiredMode);
kinds!(RESULTS, result_name, CallResult: Succeeded, Failed, Unknown);
kinds!(REASONS, reason_name, Reason: NotPermitted, NotTheOwner, NotTheAgent, NotYours, BadCertificate,
    AlreadyRegistered, UnknownParty, NotAnAuthority, UnknownOrganisation, OrganisationExists, ValidatorExists,
    TooManyValidators, LastOne, UnknownProposal, ProposalExpired, AlreadyVoted, StorageFounded,
    NothingToHandOver, UnknownTwin, TwinExists,
    Decommissioned, UnknownComponent, UnknownDocument, UnknownSource, SourceExists, NoFeed, FeedExists,
    FeedAttached, RoleNotHeld, NotCanonical, OwnerRole, BadSpecification, BadEdit, SpecificationChanged,
    UnknownProgram, MissingParameter, UnknownParameter, WrongUnit, ParameterViolates, NotCheckable,
    SafetyRulesChanged, BadSafetyRule, Unsafe, NotJudged, UnknownCall, WrongCallState, CallExpired, OutOfOrder,
    Fenced, AnchorGoesBack, Full);
kinds!(EVENTS, event_name, EventKind: PartyRegistered, CertificateRenewed, EncryptionKeyRotated,
    CertificateRevoked, NodeRegistered, NodeRetired, NodeTookOver, MembershipChanged, OrganisationAdded, OrganisationRemoved, ValidatorsChanged,
    ApprovalChanged, SeatsChanged, Proposed, Voted, Enacted, Withdrawn, TwinCreated, Twin);
kinds!(TWIN_EVENTS, twin_event_name, TwinEvent: OwnershipTransferred, Decommissioned, AgentChanged, RoleAssigned,
    RoleUnassigned, PolicyChanged, SafetyRulesChanged, DocumentAdded, DocumentVersionAdded, DocumentRemoved,
    SourceAdded, SourceRemoved, FeedAdded, FeedRemoved, SpecificationChanged, CallQueued, CallCancelled,
    CallExpired, CallsClaimed, CallStarted, CallCompleted, CallRejected, ValuesReported, AclAnchored,
    HeadAnchored);

/// The rules' names where one reason has several.
const SAFETY: &[&str] = &["safety.max-step", "safety.max-rate", "safety.interlock", "safety.required-mode"];
/// The faults of safety rules, by their names in Rust: the type has room for more, so that no match can be exhaustive.
const FAULTS: &[&str] =
    &["NameTaken", "UnknownProgram", "UnknownParameter", "UnknownVariable", "NotANumber", "OutOfBounds"];

/// How often there was what, by name.
#[derive(Debug, Default)]
pub(super) struct Found {
    accepted: BTreeMap<String, u32>,
    refused: BTreeMap<String, u32>,
    happened: BTreeMap<String, u32>,
}

impl Found {
    pub(super) fn in_blocks(blocks: &[CommittedBlock]) -> Self {
        let mut found = Self::default();
        for block in blocks {
            for (bytes, receipt) in block.block.transactions.iter().zip(&block.receipts) {
                let envelope: Envelope<Transaction> = codec::decode(bytes, bytes.len()).unwrap();
                found.transaction(envelope.open().unwrap().value(), &receipt.outcome);
            }
            for event in &block.events {
                found.event(&event.kind);
            }
        }
        found
    }

    fn transaction(&mut self, transaction: &Transaction, outcome: &Outcome) {
        match outcome {
            Outcome::Applied => {
                for name in transaction.calls.iter().flat_map(names) {
                    *self.accepted.entry(name).or_default() += 1;
                }
            }
            Outcome::Rejected { call, reason } => {
                for name in names(&transaction.calls[*call as usize]) {
                    *self.refused.entry(name).or_default() += 1;
                }
                self.happens(reason_name(reason));
                self.happens(reason.rule());
                if let Reason::BadSafetyRule { fault, .. } = reason {
                    self.happens(&fault_name(fault));
                }
            }
        }
    }

    fn event(&mut self, kind: &EventKind) {
        self.happens(event_name(kind));
        if let EventKind::Twin(_, event) = kind {
            self.happens(twin_event_name(event));
        }
    }

    fn happens(&mut self, what: &str) {
        *self.happened.entry(what.to_owned()).or_default() += 1;
    }

    /// What is missing.
    pub(super) fn missing(&self) -> Vec<String> {
        let lacks = |found: &BTreeMap<String, u32>, how: &str, lists: &[&[&str]]| -> Vec<String> {
            let all: BTreeSet<&str> = lists.concat().into_iter().collect();
            let all = all.into_iter().filter(|name| !found.contains_key(*name));
            all.map(|name| format!("{name} {how}")).collect()
        };
        let calls = [CALLS, TWIN_CALLS, EDITS, PROPOSALS, CREDENTIALS, CONDITIONS];
        let once = [REMOVALS, APPROVALS, RESULTS];
        let happens = [REASONS, EVENTS, TWIN_EVENTS, SAFETY, FAULTS];
        let accepted = lacks(&self.accepted, "accepted", &[&calls[..], &once[..]].concat());
        let refused = lacks(&self.refused, "refused", &calls);
        [accepted, refused, lacks(&self.happened, "", &happens)].concat()
    }
}

fn fault_name(fault: &RuleFault) -> String {
    format!("{fault:?}").split(['(', ' ']).next().unwrap().to_owned()
}

/// The names of a call and of what is in it.
fn names(call: &Call) -> Vec<String> {
    let mut names = vec![call_name(call)];
    match call {
        Call::Register { certificate } => names.push(credential_name(certificate)),
        Call::Propose { proposal, .. } => {
            names.push(proposal_name(proposal));
            if let Proposal::SetApproval(approval) = proposal {
                names.push(approval_name(approval));
            }
        }
        Call::Twin { call, .. } => {
            names.push(twin_call_name(call));
            match call {
                TwinCall::EditAml { edits, .. } => {
                    names.extend(edits.iter().map(edit_name));
                    names.extend(edits.iter().filter_map(Edit::policy).map(|policy| removal_name(&policy)));
                }
                TwinCall::SetSafetyRules { rules, .. } => {
                    names.extend(rules.iter().map(|rule| condition_name(&rule.condition)));
                }
                TwinCall::CompleteCall { result, .. } => names.push(result_name(result)),
                _ => {}
            }
        }
        _ => {}
    }
    names.into_iter().map(str::to_owned).collect()
}
