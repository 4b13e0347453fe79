//! Safety rules of a twin, and what is remembered for them (paper, section 6.2).

use std::collections::BTreeMap;

use dt_model::{ComponentId, DataClass, Name, Operation, PartyId, TwinId};

use super::Transition;
use super::programs::{require_agent, require_epoch};
use crate::Reason;
use crate::call::{Argument, CallResult};
use crate::receipt::TwinEvent;
use crate::record::{CallRecord, Resource, StateKey, Twin};
use crate::safety::{Observed, ProgramHistory, SafetyRule, SafetyRules, check_rules};
use crate::state::{CallError, State};

impl Transition<'_> {
    /// Sets the rules, for all calls that are admitted or started from now on.
    pub(super) fn set_safety_rules(
        &mut self,
        sender: PartyId,
        id: TwinId,
        rules: &[SafetyRule],
        expected: u64,
    ) -> Result<(), CallError> {
        self.require(sender, &id, Operation::Administer, DataClass::Policy, None)?;
        let found = self.safety_rules(&id)?.version;
        if found != expected {
            return Err(Reason::SafetyRulesChanged { found }.into());
        }
        check_rules(self.specification(&id).ok_or(Reason::UnknownTwin(id))?, rules)?;
        let version = found + 1;
        self.put(&StateKey::Safety(id), &SafetyRules { version, rules: rules.to_vec() });
        self.tell(id, TwinEvent::SafetyRulesChanged(version));
        self.trace(Resource::Safety(id))
    }

    /// Takes what the device shows for the last values of a program's parameters.
    pub(super) fn report_values(
        &mut self,
        sender: PartyId,
        id: TwinId,
        twin: &Twin,
        program: &ComponentId,
        epoch: u64,
        values: &BTreeMap<Name, Argument>,
    ) -> Result<(), CallError> {
        require_agent(sender, twin)?;
        require_epoch(twin, epoch)?;
        let document = self.specification(&id).ok_or(Reason::UnknownTwin(id))?;
        let unknown = || Reason::UnknownProgram(program.clone());
        let described = document.program(program.as_str()).ok_or_else(unknown)?;
        for (name, argument) in values {
            let unknown = || Reason::UnknownParameter(name.clone());
            let parameter = described.parameter(name.as_str()).ok_or_else(unknown)?;
            if argument.unit.as_ref().map(Name::as_str) != parameter.unit.as_deref() {
                return Err(Reason::WrongUnit(name.clone()).into());
            }
        }
        let mut history = self.program_history(&id, program)?;
        if let Some(call) = history.under_way {
            return Err(Reason::WrongCallState(self.call(&id, call)?.status).into());
        }
        let shown = values.iter().map(|(name, shown)| (name.clone(), Observed::Value(shown.clone())));
        // What the program no longer has is forgotten, so that there is never more than one value for each parameter.
        history.values.retain(|name, _| described.parameter(name.as_str()).is_some());
        history.values.extend(shown);
        self.put(&StateKey::Program(id, program.clone()), &history);
        self.tell(id, TwinEvent::ValuesReported(program.clone()));
        self.trace(Resource::Element(id, program.clone()))
    }

    /// From here on the call counts: as a start, and with its values.
    pub(super) fn remember_start(
        &mut self,
        id: TwinId,
        number: u64,
        program: &ComponentId,
    ) -> Result<(), CallError> {
        let mut history = self.program_history(&id, program)?;
        history.start(number, self.at.time);
        self.put(&StateKey::Program(id, program.clone()), &history);
        Ok(())
    }

    /// What the end of a started call says of its values ([`ProgramHistory`]).
    pub(super) fn remember_end(
        &mut self,
        id: TwinId,
        record: &CallRecord,
        result: &CallResult,
    ) -> Result<(), CallError> {
        let ProgramHistory { starts, values, .. } = self.program_history(&id, &record.call.program)?;
        let parameters = record.call.parameters.iter();
        let values = match result {
            CallResult::Succeeded(_) => {
                parameters.map(|(name, set)| (name.clone(), Observed::Value(set.clone()))).collect()
            }
            CallResult::Failed(_) => values,
            CallResult::Unknown => parameters.map(|(name, _)| (name.clone(), Observed::Unknown)).collect(),
        };
        let history = ProgramHistory { starts, values, under_way: None };
        self.put(&StateKey::Program(id, record.call.program.clone()), &history);
        Ok(())
    }
}
