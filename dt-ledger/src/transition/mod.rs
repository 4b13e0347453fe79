//! The transition: the contracts' only way to change the state. Pure and synchronous; a view and a block in, writes, receipts and events
//! out.
//!
//! ```text
//! block ─▶ for each transaction: admit ─▶ for each call: one `match` ─▶ staged writes
//!                                            refused ─▶ staged writes dropped, receipt names the rule
//!                                            all applied ─▶ staged writes kept
//! ```
//!
//! # Invariants
//! Same view and block, same output, on every machine: no clock, no randomness, no floats, no hash order. A refused transaction
//! changes nothing but its sender's nonce. Every write to a thing is a link of its trace.

mod authorization;
mod documents;
mod membership;
mod programs;
mod safety;
mod specification;
mod twins;
mod votes;

pub use documents::document_id;
pub use twins::twin_id;
pub use votes::proposal_id;

use std::collections::BTreeMap;
use std::sync::Arc;

use borsh::{BorshDeserialize, BorshSerialize};
use dt_aml::Document;
use dt_model::{ComponentId, DataClass, Digest, Operation, PartyId, Permission, Timestamp, TwinId, codec};

use crate::Reason;
use crate::admission::{self, AdmissionError};
use crate::authentic::Authentic;
use crate::call::{Call, TwinCall};
use crate::receipt::{Event, EventKind, Outcome, Receipt, TwinEvent};
use crate::record::{Resource, StateKey, TraceEntry, TraceHead, Twin};
use crate::specification::{Specifications, Specified};
use crate::state::{CallError, State, component_of, decode_value};
use crate::store::{StoreError, StoreView, Table, Writes};

/// What one block does.
#[derive(Default)]
pub(crate) struct Effects {
    /// Changes of the state, by key.
    pub(crate) state: Writes,
    /// New rows of the index.
    pub(crate) index: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Specifications that changed, and the rows that they are made of.
    pub(crate) specifications: Specifications,
    pub(crate) specification_rows: Writes,
    /// What became of each transaction.
    pub(crate) receipts: Vec<Receipt>,
    /// What happened.
    pub(crate) events: Vec<Event>,
    /// Elements that edits have carried along; counted for each transaction.
    carried: usize,
}

/// Entries of traces that one transaction may write. Claiming a long queue, or moving what is large, is said in a few bytes, and as often
/// as a transaction has calls: its length does not bound what it writes. As many as an edit may carry along; what is larger goes in parts.
const MAX_TRACED: usize = 1 << 17;

/// Over what a transaction wrote to the state.
const WRITES: dt_model::Domain = dt_model::Domain::new("dt/ledger/writes/v1");

/// The block that is being applied.
#[derive(Debug, Clone, Copy)]
pub(crate) struct At {
    pub(crate) chain: Digest,
    pub(crate) height: u64,
    pub(crate) time: Timestamp,
}

/// A block's application under way.
pub(crate) struct Transition<'a> {
    view: &'a dyn StoreView,
    specifications: &'a Specifications,
    at: At,
    done: Effects,
    /// What the present transaction has done so far.
    staged: Effects,
    /// The present transaction, its sender, and the number of the present call.
    present: Option<Present>,
}

#[derive(Clone, Copy)]
struct Present {
    transaction: Digest,
    sender: PartyId,
    call: u32,
}

impl State for Transition<'_> {
    fn raw(&self, key: &StateKey) -> Result<Option<Vec<u8>>, StoreError> {
        let bytes = key.to_bytes();
        match self.staged.state.get(&bytes).or_else(|| self.done.state.get(&bytes)) {
            Some(value) => Ok(value.clone()),
            None => self.view.get(Table::State, &bytes),
        }
    }

    fn specification(&self, twin: &TwinId) -> Option<&Arc<Document>> {
        self.specified(twin).map(|specified| &specified.document)
    }
}

impl<'a> Transition<'a> {
    pub(crate) fn new(view: &'a dyn StoreView, specifications: &'a Specifications, at: At) -> Self {
        Self { view, specifications, at, done: Effects::default(), staged: Effects::default(), present: None }
    }

    /// Applies one transaction. On error nothing has happened, and the transaction is not for this block.
    pub(crate) fn apply(&mut self, authentic: &Authentic) -> Result<(), AdmissionError> {
        let At { chain, height, time } = self.at;
        admission::admit(self, &chain, height, time, authentic)?;
        let (digest, sender, transaction) = (authentic.digest, authentic.sender(), authentic.transaction());
        let performed = self.perform_all(digest, sender, &transaction.calls);
        self.present = None;
        let outcome = match performed {
            Ok(()) => Outcome::Applied,
            Err((call, error)) => {
                self.staged = Effects::default();
                match error {
                    CallError::Refused(reason) => Outcome::Rejected { call, reason },
                    CallError::Store(error) => return Err(error.into()),
                }
            }
        };
        // A nonce counts what is committed, refused or not, so that nothing can be replayed.
        self.put(&StateKey::Nonce(sender), &transaction.nonce.saturating_add(1));
        let place = (height, u32::try_from(self.done.receipts.len()).unwrap_or(u32::MAX));
        self.staged.index.insert(transaction_key(&digest), codec::encode(&place));
        let staged = std::mem::take(&mut self.staged);
        let writes = WRITES.sha256_of(&staged.state);
        self.done.state.extend(staged.state);
        self.done.index.extend(staged.index);
        self.done.specifications.extend(staged.specifications);
        self.done.specification_rows.extend(staged.specification_rows);
        self.done.events.extend(staged.events);
        self.done.receipts.push(Receipt { transaction: digest, outcome, writes });
        Ok(())
    }

    /// The specification of `twin`, as it is at this moment of the block.
    fn specified(&self, twin: &TwinId) -> Option<&Specified> {
        let staged = self.staged.specifications.get(twin).or_else(|| self.done.specifications.get(twin));
        staged.or_else(|| self.specifications.get(twin))
    }

    /// What the block does.
    pub(crate) fn finish(self) -> Effects {
        self.done
    }

    fn perform_all(
        &mut self,
        transaction: Digest,
        sender: PartyId,
        calls: &[Call],
    ) -> Result<(), (u32, CallError)> {
        for (number, call) in (0u32..).zip(calls) {
            self.present = Some(Present { transaction, sender, call: number });
            self.perform(sender, call).map_err(|error| (number, error))?;
        }
        Ok(())
    }

    /// The one place where calls are told apart.
    fn perform(&mut self, sender: PartyId, call: &Call) -> Result<(), CallError> {
        match call {
            Call::Register { certificate } => self.register(sender, certificate),
            Call::RotateEncryptionKey { key } => self.rotate_encryption_key(sender, *key),
            Call::RevokeCertificate { party } => self.revoke_certificate(sender, *party),
            Call::RegisterNode { endpoints } => self.register_node(sender, endpoints),
            Call::RetireNode => self.retire_node(sender),
            Call::SetValidators { validators } => self.set_validators(sender, validators),
            Call::Propose { proposal, millis } => self.propose(sender, proposal, *millis),
            Call::Vote { proposal } => self.vote(sender, *proposal),
            Call::Withdraw { proposal } => self.withdraw(sender, *proposal),
            Call::CreateTwin(create) => self.create_twin(sender, create),
            Call::Twin { twin, call } => {
                let record = self.twin(twin)?;
                if record.decommissioned.is_some() {
                    return Err(Reason::Decommissioned.into());
                }
                self.perform_on_twin(sender, *twin, record, call)
            }
        }
    }

    fn perform_on_twin(
        &mut self,
        sender: PartyId,
        id: TwinId,
        twin: Twin,
        call: &TwinCall,
    ) -> Result<(), CallError> {
        match call {
            TwinCall::TransferOwnership { to } => self.transfer_ownership(sender, id, twin, *to),
            TwinCall::Decommission => self.decommission(sender, id, twin),
            TwinCall::SetAgent { agent } => self.set_agent(sender, id, twin, *agent),
            TwinCall::AssignRole { party, role } => self.assign_role(sender, id, *party, role),
            TwinCall::UnassignRole { party, role } => self.unassign_role(sender, id, &twin, *party, role),
            TwinCall::SetPolicy { component, policy } => {
                self.set_policy(sender, id, component.as_ref(), policy)
            }
            TwinCall::RemovePolicy { component } => self.remove_policy(sender, id, component),
            TwinCall::SetSafetyRules { rules, expected } => {
                self.set_safety_rules(sender, id, rules, *expected)
            }
            TwinCall::AddDocument(document) => self.add_document(sender, id, document),
            TwinCall::AddDocumentVersion { document, version } => {
                self.add_document_version(sender, id, *document, version)
            }
            TwinCall::RemoveDocument { document } => self.remove_document(sender, id, *document),
            TwinCall::AddExternalSource { uri, component } => {
                self.add_source(sender, id, uri, component.as_ref())
            }
            TwinCall::RemoveExternalSource { uri } => self.remove_source(sender, id, uri),
            TwinCall::AddSensorFeed { component, feed } => self.add_feed(sender, id, component, *feed),
            TwinCall::RemoveSensorFeed { component } => self.remove_feed(sender, id, component),
            TwinCall::EditAml { edits, expected } => self.edit_aml(sender, id, edits, *expected),
            TwinCall::CallProgram(call) => self.call_program(sender, id, twin, call),
            TwinCall::CancelCall { call } => self.cancel_call(sender, id, twin, *call),
            TwinCall::ClaimCalls { epoch } => self.claim_calls(sender, id, twin, *epoch),
            TwinCall::StartCall { call, epoch } => self.start_call(sender, id, twin, *call, *epoch),
            TwinCall::CompleteCall { call, epoch, result } => {
                self.complete_call(sender, id, twin, *call, *epoch, result)
            }
            TwinCall::RejectCall { call, epoch, rule } => {
                self.reject_call(sender, id, twin, *call, *epoch, rule)
            }
            TwinCall::ReportValues { program, epoch, values } => {
                self.report_values(sender, id, &twin, program, *epoch, values)
            }
            TwinCall::AnchorAcl { item, version, digest } => {
                self.anchor_acl(sender, id, *item, *version, *digest)
            }
            TwinCall::AnchorHead { component, size, root } => {
                self.anchor_head(sender, id, component, *size, *root)
            }
        }
    }

    /// Stages a write to the state.
    fn put<T: BorshSerialize>(&mut self, key: &StateKey, value: &T) {
        self.staged.state.insert(key.to_bytes(), Some(codec::encode(value)));
    }

    /// Stages a removal from the state.
    fn remove(&mut self, key: &StateKey) {
        self.staged.state.insert(key.to_bytes(), None);
    }

    /// The paper's *authorize*, of the present sender.
    fn require(
        &self,
        sender: PartyId,
        twin: &TwinId,
        operation: Operation,
        class: DataClass,
        component: Option<&ComponentId>,
    ) -> Result<(), CallError> {
        self.authorize(twin, &sender, Permission::new(operation, class), component, self.at.time)
    }

    /// Tells followers what happened to a twin.
    fn tell(&mut self, twin: TwinId, event: TwinEvent) {
        self.tell_kind(EventKind::Twin(twin, event));
    }

    fn tell_kind(&mut self, kind: EventKind) {
        if let Some(Present { transaction, sender, .. }) = self.present {
            self.staged.events.push(Event { transaction, by: sender, kind });
        }
    }

    /// The paper's *trace*: chains this write to `resource` to the one before.
    fn trace(&mut self, resource: Resource) -> Result<(), CallError> {
        let Some(Present { transaction, sender, call }) = self.present else { return Ok(()) };
        let digest = resource.digest();
        let head = self.trace_head(&digest)?.unwrap_or(TraceHead { count: 0, last: Digest::ZERO });
        let number = head.count + 1;
        let entry = TraceEntry {
            resource,
            number,
            height: self.at.height,
            time: self.at.time,
            transaction,
            call,
            author: sender,
            previous: head.last,
        };
        if self.staged.index.len() >= MAX_TRACED {
            return Err(Reason::Full.into());
        }
        self.put(&StateKey::Trace(digest), &TraceHead { count: number, last: entry.digest() });
        self.staged.index.insert(trace_key(&digest, number), codec::encode(&entry));
        Ok(())
    }

    /// The digest of the present transaction and call under a domain: what new things are named by.
    fn fresh_digest(&self, domain: dt_model::Domain) -> Digest {
        self.present.map_or(Digest::ZERO, |present| domain.sha256_of(&(present.transaction, present.call)))
    }

    /// Whether there is such an element, once, and this is its ID.
    fn require_component(&self, twin: &TwinId, component: Option<&ComponentId>) -> Result<(), CallError> {
        let Some(component) = component else { return Ok(()) };
        let found = self.specification(twin).and_then(|document| document.find(component.as_str()).ok());
        if found.and_then(component_of).as_ref() == Some(component) {
            Ok(())
        } else {
            Err(Reason::UnknownComponent(component.clone()).into())
        }
    }

    /// A record that must be there.
    fn existing<T: BorshSerialize + BorshDeserialize>(
        &self,
        key: &StateKey,
        absent: Reason,
    ) -> Result<T, CallError> {
        match self.raw(key)? {
            Some(bytes) => Ok(decode_value(key, &bytes)?),
            None => Err(absent.into()),
        }
    }
}

/// Where the index holds the place of a transaction.
pub(crate) fn transaction_key(transaction: &Digest) -> Vec<u8> {
    [b"t".as_slice(), transaction.as_bytes()].concat()
}

/// Where the index holds an entry of a trace.
pub(crate) fn trace_key(resource: &Digest, number: u64) -> Vec<u8> {
    [b"r".as_slice(), resource.as_bytes(), &number.to_be_bytes()].concat()
}
