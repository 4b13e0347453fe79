//! The agent's side of program calls (section 4.4): from the ledger's queue to the asset and back, at most once each.
//!
//! ```text
//! claim ─▶ judge again ─▶ journal ─▶ StartCall ─▶ read once more ─▶ asset ─▶ journal ─▶ CompleteCall
//!              │ no                      │ refused      │ unsafe now     │ lost: look at the asset, never try again
//!              └──▶ RejectCall ◀─────────┘              └──▶ Failed      └──▶ Succeeded, or Unknown
//! ```

use dt_ledger::safety::Facts;
use dt_ledger::{
    Argument, CallError, CallRecord, CallResult, CallStatus, ExecuteError, ProgramCall, Reason, State as _,
    TwinCall, check_call,
};
use dt_model::{ComponentId, DataClass, Digest, Operation, Permission, Text, Timestamp};

use super::{Agent, AgentError};
use crate::ClientError;
use crate::device::{DeviceError, Reading};
use crate::journal::InFlight;

/// A call that the agent dealt with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Served {
    /// Its number.
    pub call: u64,
    /// What became of it.
    pub status: CallStatus,
}

impl Agent {
    /// Takes the calls that wait on the ledger to the asset, and the results back.
    ///
    /// # Errors
    /// [`AgentError`]; made again, it first settles what it was at.
    pub async fn serve_calls(&mut self, now: Timestamp) -> Result<Vec<Served>, AgentError> {
        self.follow(now).await?;
        let mut served = Vec::new();
        let twin = self.twin_record()?;
        if twin.queue.is_empty() {
            if self.journal.memory().in_flight.is_some() {
                self.journal.in_flight(None)?;
            }
            return Ok(served);
        }
        let epoch = twin.epoch + 1;
        self.execute(vec![TwinCall::ClaimCalls { epoch }]).await?;
        for call in self.twin_record()?.queue {
            let record = self.call_record(call)?;
            let status = match record.status {
                CallStatus::Claimed(of) if of == epoch => self.perform(call, &record, epoch, now).await?,
                CallStatus::Started(of) if of == epoch => self.settle(call, &record, epoch).await?,
                status => status,
            };
            served.push(Served { call, status });
        }
        Ok(served)
    }

    /// One claimed call: judged again, started on the ledger, actuated, and its result committed.
    async fn perform(
        &mut self,
        call: u64,
        record: &CallRecord,
        epoch: u64,
        now: Timestamp,
    ) -> Result<CallStatus, AgentError> {
        let known = match self.judge(record, now).await? {
            Ok(known) => known,
            Err(reason) => return self.reject(call, epoch, &reason).await,
        };
        let shown_before = self.shows(record).await;
        self.journal.in_flight(Some(InFlight { call, shown_before, result: None }))?;
        match self.execute(vec![TwinCall::StartCall { call, epoch }]).await {
            Err(AgentError::Client(ClientError::Ledger(ExecuteError::Refused(reason)))) => {
                self.journal.in_flight(None)?;
                return self.reject(call, epoch, &reason).await;
            }
            started => started?,
        }
        // The start took as long as a block takes: the asset may have moved by itself meanwhile.
        let result = match self.is_safe(&record.call, known).await? {
            Ok(()) => self.actuate(record, shown_before).await,
            Err(reason) => CallResult::Failed(Text::abridged(&format!("{}: {reason}", reason.full_rule()))),
        };
        self.complete(call, record, epoch, result).await
    }

    /// The one place where the asset is moved.
    async fn actuate(&self, record: &CallRecord, shown_before: bool) -> CallResult {
        match self.device.call(&record.call.program, &record.call.parameters).await {
            Ok(said) => CallResult::Succeeded(said),
            Err(DeviceError::Lost) => self.look(record, shown_before).await,
            Err(error) => CallResult::Failed(Text::abridged(&error.to_string())),
        }
    }

    /// A call that was started under an earlier claim: its result is in the journal, or is found by looking at the asset.
    async fn settle(&mut self, call: u64, record: &CallRecord, epoch: u64) -> Result<CallStatus, AgentError> {
        let known = self.journal.memory().in_flight.clone().filter(|in_flight| in_flight.call == call);
        let result = match known {
            Some(InFlight { result: Some(result), .. }) => result,
            Some(InFlight { shown_before, .. }) => self.look(record, shown_before).await,
            // The journal is another's, so what the asset showed before is not known.
            None => CallResult::Unknown,
        };
        self.complete(call, record, epoch, result).await
    }

    async fn complete(
        &mut self,
        call: u64,
        record: &CallRecord,
        epoch: u64,
        result: CallResult,
    ) -> Result<CallStatus, AgentError> {
        self.journal.in_flight(Some(InFlight { call, shown_before: false, result: Some(result.clone()) }))?;
        let mut calls = vec![TwinCall::CompleteCall { call, epoch, result: result.clone() }];
        if result == CallResult::Unknown {
            calls.extend(self.report_of(&record.call.program, epoch).await?);
        }
        self.execute(calls).await?;
        self.journal.in_flight(None)?;
        Ok(CallStatus::Completed(result))
    }

    async fn reject(&mut self, call: u64, epoch: u64, reason: &Reason) -> Result<CallStatus, AgentError> {
        let rule = reason.full_rule();
        self.execute(vec![TwinCall::RejectCall { call, epoch, rule: rule.clone() }]).await?;
        Ok(CallStatus::Rejected(rule))
    }

    /// What came of a call that nobody saw end: it was carried out if the asset shows its values now and did not before.
    async fn look(&self, record: &CallRecord, shown_before: bool) -> CallResult {
        if !shown_before && self.shows(record).await {
            return CallResult::Succeeded(Text::abridged("found in effect at the asset"));
        }
        CallResult::Unknown
    }

    /// Whether every parameter's variable shows the value that the call asks for.
    async fn shows(&self, record: &CallRecord) -> bool {
        let specification = self.client.ledger().specification(&self.twin).ok();
        let program = specification.and_then(|found| found.program(record.call.program.as_str()));
        let Some(program) = program.filter(|program| !program.parameters.is_empty()) else { return false };
        for parameter in &program.parameters {
            let asked = record.call.parameters.get(parameter.name.as_str());
            let variable = parameter.address.as_deref().and_then(|address| ComponentId::new(address).ok());
            let Some(variable) = variable else { return false };
            let shown = self.device.read(&variable).await.ok().flatten();
            let is_shown = |(shown, asked): (Reading, &Argument)| {
                let in_unit = shown.unit.is_none() || shown.unit == asked.unit;
                in_unit && same_value(&shown, asked.value.as_str())
            };
            if !shown.zip(asked).is_some_and(is_shown) {
                return false;
            }
        }
        true
    }

    /// The same judgement that the contract made when it admitted the call, on what is true now, and on what the device reads; what the
    /// ledger knows for it.
    async fn judge(&self, record: &CallRecord, now: Timestamp) -> Result<Result<Facts, Reason>, AgentError> {
        let state = self.client.ledger().state().map_err(ClientError::from)?;
        let call = &record.call;
        if call.valid_until <= now {
            return Ok(Err(Reason::CallExpired(call.valid_until)));
        }
        let execute = Permission::new(Operation::Execute, DataClass::Program);
        match state.authorize(&self.twin, &record.caller, execute, Some(&call.program), now) {
            Ok(()) => {}
            Err(CallError::Refused(reason)) => return Ok(Err(reason)),
            Err(CallError::Store(error)) => return Err(ClientError::from(error).into()),
        }
        let specification = self.client.ledger().specification(&self.twin)?;
        let found = Digest::from(*specification.root_hash().as_bytes());
        if call.guard.is_some_and(|guard| guard != found) {
            return Ok(Err(Reason::SpecificationChanged { found }));
        }
        let known = state.safety_facts(&self.twin, &call.program, now).map_err(ClientError::from)?;
        drop(state);
        Ok(self.is_safe(call, known.clone()).await?.map(|()| known))
    }

    /// Whether specification and rules, as they are now, allow the call by what is known from before it was started, and by what the
    /// device reads now.
    async fn is_safe(&self, call: &ProgramCall, known: Facts) -> Result<Result<(), Reason>, AgentError> {
        let specification = self.client.ledger().specification(&self.twin)?;
        let rules = self.client.ledger().state().and_then(|state| state.safety_rules(&self.twin));
        let rules = rules.map_err(ClientError::from)?;
        let facts = self.observe(&specification, &rules, call, known).await;
        Ok(check_call(&specification, &rules, call, &facts))
    }

    pub(super) fn twin_record(&self) -> Result<dt_ledger::Twin, AgentError> {
        let state = self.client.ledger().state().map_err(ClientError::from)?;
        Ok(state.twin(&self.twin).map_err(ClientError::from)?)
    }

    fn call_record(&self, call: u64) -> Result<CallRecord, AgentError> {
        let state = self.client.ledger().state().map_err(ClientError::from)?;
        Ok(state.call(&self.twin, call).map_err(ClientError::from)?)
    }
}

/// Whether a variable shows the value that was asked for: the same number, or else the same text.
pub(crate) fn same_value(shown: &Reading, asked: &str) -> bool {
    let number = dt_aml::value::decimal;
    match (number(shown.value.as_str()), number(asked)) {
        (Some(shown), Some(asked)) => shown == asked,
        _ => shown.value.as_str() == asked,
    }
}
