//! The program call queue (section 4.3; `callProgram`, Listing 1.2) and the life of a call: committed, claimed, started, ended.

use dt_model::{DataClass, Name, Operation, PartyId, TwinId};

use super::Transition;
use super::twins::require_owner;
use crate::Reason;
use crate::call::{CallResult, ProgramCall};
use crate::receipt::TwinEvent;
use crate::record::{CallRecord, CallStatus, Resource, StateKey, Twin};
use crate::safety::check_call;
use crate::state::{CallError, State};

/// Calls that may wait at once: a queue that nobody reads must not grow for ever.
const MAX_QUEUE: usize = 1024;

impl Transition<'_> {
    /// Queues a call that the sender may make, that the specification knows, and that its limits allow.
    pub(super) fn call_program(
        &mut self,
        sender: PartyId,
        id: TwinId,
        mut twin: Twin,
        call: &ProgramCall,
    ) -> Result<(), CallError> {
        self.require(sender, &id, Operation::Execute, DataClass::Program, Some(&call.program))?;
        if call.valid_until <= self.at.time {
            return Err(Reason::CallExpired(call.valid_until).into());
        }
        let admitted_under = self.require_safe(id, call)?;
        if twin.queue.len() >= MAX_QUEUE {
            // Where no agent claims, nothing else takes void calls out of the way.
            self.expire(id, &mut twin, u64::MAX)?;
        }
        if twin.queue.len() >= MAX_QUEUE {
            return Err(Reason::Full.into());
        }
        twin.calls += 1;
        let number = twin.calls;
        twin.queue.push(number);
        let record = CallRecord {
            call: call.clone(),
            caller: sender,
            committed: self.at.time,
            admitted_under,
            started_under: None,
            status: CallStatus::Committed,
            since: self.at.time,
        };
        self.put(&StateKey::Call(id, number), &record);
        self.put(&StateKey::Twin(id), &twin);
        self.tell(id, TwinEvent::CallQueued(number));
        self.trace(Resource::Call(id, number))
    }

    pub(super) fn cancel_call(
        &mut self,
        sender: PartyId,
        id: TwinId,
        twin: Twin,
        number: u64,
    ) -> Result<(), CallError> {
        let record = self.call(&id, number)?;
        if record.caller != sender {
            require_owner(sender, &twin)?;
        }
        match record.status {
            CallStatus::Committed | CallStatus::Claimed(_) => {
                self.tell(id, TwinEvent::CallCancelled(number));
                self.end(id, twin, number, record, CallStatus::Cancelled)
            }
            status => Err(Reason::WrongCallState(status).into()),
        }
    }

    /// Hands every waiting call to the agent under a new epoch, but for those whose time is over: these end here.
    pub(super) fn claim_calls(
        &mut self,
        sender: PartyId,
        id: TwinId,
        mut twin: Twin,
        epoch: u64,
    ) -> Result<(), CallError> {
        require_agent(sender, &twin)?;
        if epoch <= twin.epoch {
            return Err(Reason::Fenced { current: twin.epoch }.into());
        }
        twin.epoch = epoch;
        self.expire(id, &mut twin, u64::MAX)?;
        for &number in &twin.queue {
            let record = self.call(&id, number)?;
            let status = match record.status {
                CallStatus::Committed | CallStatus::Claimed(_) => CallStatus::Claimed(epoch),
                // A started call stays what it is, and is the new epoch's to settle.
                CallStatus::Started(_) => CallStatus::Started(epoch),
                status => return Err(Reason::WrongCallState(status).into()),
            };
            self.advance(id, number, record, status)?;
        }
        self.put(&StateKey::Twin(id), &twin);
        self.tell(id, TwinEvent::CallsClaimed(epoch));
        Ok(())
    }

    /// The last gate before the asset: order, rights, guard, expiry and safety are judged once more, by the state as it is now.
    ///
    /// The rights are the caller's, as they are now. Whoever has lost them, by a transfer of the twin for example, has called in vain.
    pub(super) fn start_call(
        &mut self,
        sender: PartyId,
        id: TwinId,
        mut twin: Twin,
        number: u64,
        epoch: u64,
    ) -> Result<(), CallError> {
        require_agent(sender, &twin)?;
        let record = self.claimed(id, &twin, number, epoch)?;
        if record.call.valid_until <= self.at.time {
            return Err(Reason::CallExpired(record.call.valid_until).into());
        }
        self.expire(id, &mut twin, number)?;
        if let Some(&first) = twin.queue.first().filter(|&&first| first != number) {
            return Err(Reason::OutOfOrder { first }.into());
        }
        self.require(record.caller, &id, Operation::Execute, DataClass::Program, Some(&record.call.program))?;
        let started_under = Some(self.require_safe(id, &record.call)?);
        self.remember_start(id, number, &record.call.program)?;
        self.put(&StateKey::Twin(id), &twin);
        self.tell(id, TwinEvent::CallStarted(number));
        let record = CallRecord { started_under, ..record };
        self.advance(id, number, record, CallStatus::Started(epoch))
    }

    pub(super) fn complete_call(
        &mut self,
        sender: PartyId,
        id: TwinId,
        twin: Twin,
        number: u64,
        epoch: u64,
        result: &CallResult,
    ) -> Result<(), CallError> {
        require_agent(sender, &twin)?;
        require_epoch(&twin, epoch)?;
        let record = self.call(&id, number)?;
        if record.status != CallStatus::Started(epoch) {
            return Err(Reason::WrongCallState(record.status).into());
        }
        self.remember_end(id, &record, result)?;
        self.tell(id, TwinEvent::CallCompleted(number, result.clone()));
        self.end(id, twin, number, record, CallStatus::Completed(result.clone()))
    }

    pub(super) fn reject_call(
        &mut self,
        sender: PartyId,
        id: TwinId,
        twin: Twin,
        number: u64,
        epoch: u64,
        rule: &Name,
    ) -> Result<(), CallError> {
        require_agent(sender, &twin)?;
        let record = self.claimed(id, &twin, number, epoch)?;
        self.tell(id, TwinEvent::CallRejected(number, rule.clone()));
        self.end(id, twin, number, record, CallStatus::Rejected(rule.clone()))
    }

    /// Whether the specification, as it is now, is the one that the caller saw (if he said which), and it and the twin's safety rules
    /// allow the call; the version of these rules.
    fn require_safe(&self, id: TwinId, call: &ProgramCall) -> Result<u64, CallError> {
        if let Some(guard) = call.guard {
            self.require_root(&id, guard)?;
        }
        let document = self.specification(&id).ok_or(Reason::UnknownTwin(id))?;
        let rules = self.safety_rules(&id)?;
        let facts = self.safety_facts(&id, &call.program, self.at.time)?;
        check_call(document, &rules, call, &facts)?;
        Ok(rules.version)
    }

    /// Ends the calls before number `before` whose time was over before they were started: they stand in nobody's way.
    fn expire(&mut self, id: TwinId, twin: &mut Twin, before: u64) -> Result<(), CallError> {
        let mut kept = Vec::with_capacity(twin.queue.len());
        for number in std::mem::take(&mut twin.queue) {
            let record = if number < before { Some(self.call(&id, number)?) } else { None };
            let is_void = |record: &CallRecord| {
                matches!(record.status, CallStatus::Committed | CallStatus::Claimed(_))
                    && record.call.valid_until <= self.at.time
            };
            match record.filter(is_void) {
                Some(record) => {
                    self.tell(id, TwinEvent::CallExpired(number));
                    self.advance(id, number, record, CallStatus::Expired)?;
                }
                None => kept.push(number),
            }
        }
        twin.queue = kept;
        Ok(())
    }

    /// The call, if it was claimed under `epoch` and that is still the newest.
    fn claimed(&self, id: TwinId, twin: &Twin, number: u64, epoch: u64) -> Result<CallRecord, CallError> {
        require_epoch(twin, epoch)?;
        let record = self.call(&id, number)?;
        match record.status {
            CallStatus::Claimed(of) if of == epoch => Ok(record),
            status => Err(Reason::WrongCallState(status).into()),
        }
    }

    fn end(
        &mut self,
        id: TwinId,
        mut twin: Twin,
        number: u64,
        record: CallRecord,
        status: CallStatus,
    ) -> Result<(), CallError> {
        twin.queue.retain(|&queued| queued != number);
        self.put(&StateKey::Twin(id), &twin);
        self.advance(id, number, record, status)
    }

    /// The call has come so far.
    fn advance(
        &mut self,
        id: TwinId,
        number: u64,
        record: CallRecord,
        status: CallStatus,
    ) -> Result<(), CallError> {
        self.put(&StateKey::Call(id, number), &CallRecord { status, since: self.at.time, ..record });
        self.trace(Resource::Call(id, number))
    }
}

pub(super) fn require_agent(sender: PartyId, twin: &Twin) -> Result<(), CallError> {
    if twin.agent == Some(sender) { Ok(()) } else { Err(Reason::NotTheAgent.into()) }
}

pub(super) fn require_epoch(twin: &Twin, epoch: u64) -> Result<(), CallError> {
    if twin.epoch == epoch { Ok(()) } else { Err(Reason::Fenced { current: twin.epoch }.into()) }
}
