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
mod naming;
mod nodes;
mod programs;
mod safety;
mod specification;
mod twins;
mod votes;

pub use documents::document_id;
pub use twins::twin_id;
pub use votes::proposal_id;

use std::any::Any;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;

use borsh::BorshSerialize;
use dt_aml::Document;
use dt_model::{ComponentId, DataClass, Digest, Operation, PartyId, Permission, Timestamp, TwinId, codec};

use crate::Reason;
use crate::call::{Call, TwinCall};
use crate::history::{Entry, Place, Written, trace_key, trace_list_at};
use crate::receipt::{Event, EventKind, Outcome, Receipt, TwinEvent};
use crate::record::{Resource, StateKey, TraceEntry, TraceHead, Twin};
use crate::replica::admission::{self, AdmissionError};
use crate::replica::authentic::Authentic;
use crate::replica::specification::{Specifications, Specified};
use crate::state::{CallError, Record, State, component_of, decode_value, trace_head_at};
use crate::store::{Row, StoreError, StoreView, Table, Writes};

/// What one block does.
#[derive(Default)]
pub(crate) struct Effects {
    /// Changes of the state, by key.
    pub(crate) state: Writes,
    /// New rows of the index. Nothing reads them before they are stored.
    pub(crate) index: Vec<Row>,
    /// Specifications that changed, and the rows that they are made of.
    pub(crate) specifications: Specifications,
    pub(crate) specification_rows: Writes,
    /// What became of each transaction.
    pub(crate) receipts: Vec<Receipt>,
    /// What happened.
    pub(crate) events: Vec<Event>,
}

/// Work that one transaction may make, in traces written and elements carried along by edits. Claiming a long queue, or moving what is
/// large, is said in a few bytes, and as often as a transaction has calls: its length does not bound it. About what a specification of 10 MB
/// has elements; what is larger goes in parts.
const MAX_WORK: usize = 1 << 17;
/// Work that the transactions of one block may make, all together: some seconds' worth. A full block of ordinary ones makes half of it.
const MAX_BLOCK_WORK: usize = 1 << 20;

/// Over what a transaction wrote to the state.
const WRITES: dt_model::Domain = dt_model::Domain::new("dt/ledger/writes/v1");

/// What a receipt says of the writes of its transaction.
pub(crate) fn writes_digest(writes: &Writes) -> Digest {
    WRITES.sha256_of(writes)
}

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
    /// What the present transaction has done so far, and the work that this took, whether or not it will stand.
    staged: Effects,
    work: usize,
    /// The work of the transactions before.
    spent: usize,
    /// The present transaction, its sender, and the number of the present call.
    present: Option<Present>,
    /// What the present transaction has touched so far.
    touched: BTreeMap<Resource, Written>,
    /// What the present call has touched before it told of it.
    untold: BTreeSet<Resource>,
    /// What was read of the state before this block: parties, twins and policies are asked for by every transaction.
    known: RefCell<BTreeMap<Vec<u8>, Option<Known>>>,
}

/// A value of the state, decoded.
type Known = Rc<dyn Any>;

#[derive(Clone, Copy)]
struct Present {
    transaction: Digest,
    sender: PartyId,
    call: u32,
    /// How many events the calls before have told of.
    told: usize,
}

impl State for Transition<'_> {
    fn raw(&self, key: &StateKey) -> Result<Option<Vec<u8>>, StoreError> {
        let bytes = key.to_bytes();
        match self.staged.state.get(&bytes).or_else(|| self.done.state.get(&bytes)) {
            Some(value) => Ok(value.clone()),
            None => self.view.get(Table::State, &bytes),
        }
    }

    fn read<T: Record>(&self, key: &StateKey) -> Result<Option<T>, StoreError> {
        let bytes = key.to_bytes();
        if let Some(written) = self.staged.state.get(&bytes).or_else(|| self.done.state.get(&bytes)) {
            return written.as_ref().map(|value| decode_value(key, value)).transpose();
        }
        let known = self.known.borrow().get(&bytes).cloned();
        if let Some(value) = known {
            let Some(value) = value else { return Ok(None) };
            if let Some(value) = value.downcast_ref::<T>() {
                return Ok(Some(value.clone()));
            }
        }
        let value = self.view.get(Table::State, &bytes)?;
        let value: Option<T> = value.map(|value| decode_value(key, &value)).transpose()?;
        let known = value.clone().map(|value| Rc::new(value) as Known);
        self.known.borrow_mut().insert(bytes, known);
        Ok(value)
    }

    fn specification(&self, twin: &TwinId) -> Option<&Arc<Document>> {
        self.specified(twin).map(|specified| &specified.document)
    }
}

impl<'a> Transition<'a> {
    pub(crate) fn new(view: &'a dyn StoreView, specifications: &'a Specifications, at: At) -> Self {
        let (done, staged) = Default::default();
        let (touched, untold, known) = Default::default();
        let (work, spent, present) = (0, 0, None);
        Self { view, specifications, at, done, staged, work, spent, present, touched, untold, known }
    }

    /// Applies one transaction. On error nothing has happened, and the transaction is not for this block.
    pub(crate) fn apply(&mut self, authentic: &Authentic) -> Result<(), AdmissionError> {
        let At { chain, height, time } = self.at;
        admission::admit(self, &chain, height, time, authentic)?;
        let (digest, sender, transaction) = (authentic.digest, authentic.sender(), authentic.transaction());
        self.work = 0;
        let performed = self.perform_all(digest, sender, &transaction.calls);
        self.present = None;
        if self.spent + self.work > MAX_BLOCK_WORK {
            (self.staged, self.touched, self.untold) = Default::default();
            return Err(AdmissionError::BlockFull);
        }
        self.spent += self.work;
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
        let index = u32::try_from(self.done.receipts.len()).unwrap_or(u32::MAX);
        let resources = self.resources(sender, &transaction.calls, &outcome);
        let place = Place { height, index };
        let entry = Entry { place, time, transaction: digest, sender, outcome, resources };
        self.staged.index.extend(entry.rows());
        let outcome = entry.outcome;
        let staged = std::mem::take(&mut self.staged);
        let writes = writes_digest(&staged.state);
        self.done.state.extend(staged.state);
        self.done.index.extend(staged.index);
        self.done.specifications.extend(staged.specifications);
        self.done.specification_rows.extend(staged.specification_rows);
        self.done.events.extend(staged.events);
        self.done.receipts.push(Receipt { transaction: digest, outcome, writes });
        Ok(())
    }

    /// What the present transaction, which had this outcome, is found by.
    fn resources(
        &mut self,
        sender: PartyId,
        calls: &[Call],
        outcome: &Outcome,
    ) -> BTreeMap<Resource, Written> {
        let mut resources = std::mem::take(&mut self.touched);
        if *outcome != Outcome::Applied {
            let named = naming::named(sender, calls);
            resources = named.into_iter().map(|resource| (resource, Written::default())).collect();
        }
        let mut twins = naming::addressed(&self.at.chain, &sender, calls);
        for twin in resources.keys().filter_map(Resource::twin) {
            twins.remove(&twin);
        }
        resources.extend(twins.into_iter().map(|twin| (Resource::Twin(twin), Written::default())));
        resources
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
            let told = self.staged.events.len();
            self.present = Some(Present { transaction, sender, call: number, told });
            self.untold.clear();
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
            Call::HandOver { epoch } => self.hand_over(sender, *epoch),
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

    /// Stages a row of the index.
    fn index(&mut self, key: Vec<u8>, value: Vec<u8>) {
        self.staged.index.push((key, value));
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
            let resources = std::mem::take(&mut self.untold);
            self.staged.events.push(Event { transaction, by: sender, kind, resources });
        }
    }

    /// Notes that the present call touches `resource`: for those who ask for it, and for its event, be it told already or not yet.
    fn touch(&mut self, resource: Resource) -> &mut Written {
        let told = self.present.map_or(0, |present| present.told);
        let event = self.staged.events.get_mut(told..).and_then(<[Event]>::last_mut);
        event.map_or(&mut self.untold, |event| &mut event.resources).insert(resource.clone());
        self.touched.entry(resource).or_default()
    }

    /// The paper's *trace*: chains this write to `resource` to the one before. Documents keep their heads themselves, by [`Self::chain`].
    fn trace(&mut self, resource: Resource) -> Result<(), CallError> {
        if self.present.is_none() {
            return Ok(());
        }
        let key = resource.head_key();
        let head = trace_head_at(self, &key, &resource)?.unwrap_or(TraceHead::BEGINNING);
        let list = trace_list_at(&resource, &key);
        let head = self.chain(resource, &list, head)?;
        self.put(&key, &head);
        Ok(())
    }

    /// Chains this write to `resource`, whose trace is in `list` and stands at `head`: where it stands now, for the state to keep.
    fn chain(&mut self, resource: Resource, list: &[u8], head: TraceHead) -> Result<TraceHead, CallError> {
        let Some(Present { transaction, sender, call, .. }) = self.present else { return Ok(head) };
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
        self.take_work(1)?;
        let head = TraceHead::after(&entry);
        self.index(trace_key(list, number), codec::encode(&entry));
        if let Resource::Call(twin, number) = &entry.resource {
            let program = self.call(twin, *number)?.call.program;
            self.touch(Resource::Element(*twin, program));
        }
        let written = self.touch(entry.resource);
        if written.count == 0 {
            written.first = number;
        }
        written.count += 1;
        Ok(head)
    }

    /// Counts work that is about to be done.
    fn take_work(&mut self, units: usize) -> Result<(), CallError> {
        self.work = self.work.saturating_add(units);
        if self.work > MAX_WORK { Err(Reason::Full.into()) } else { Ok(()) }
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
    fn existing<T: Record>(&self, key: &StateKey, absent: Reason) -> Result<T, CallError> {
        self.read(key)?.ok_or_else(|| absent.into())
    }
}
