//! What the agent adds to a safety judgement: what its device reads (paper, section 6.2).

use std::collections::BTreeMap;

use dt_aml::{Document, Parameter};
use dt_ledger::safety::{Condition, Facts, Observed, variable};
use dt_ledger::{Argument, ProgramCall, SafetyRules, TwinCall};
use dt_model::{ComponentId, Name};

use super::{Agent, AgentError};
use crate::device::{DeviceError, Reading};

impl Agent {
    /// Tells the ledger what the device shows of the parameters of `program`, from which the twin's rules count the next step. To be done
    /// when somebody has set them at the machine itself, and after a call of which nobody knows what came of it; then the agent does
    /// it by itself as far as the device answers. Whether there was anything to tell.
    ///
    /// # Errors
    /// [`AgentError::Client`]; the ledger refuses what is read while a call is under way.
    pub async fn report_values(&self, program: &ComponentId) -> Result<bool, AgentError> {
        let epoch = self.twin_record()?.epoch;
        let report = self.report_of(program, epoch).await?;
        let is_told = report.is_some();
        if let Some(report) = report {
            self.execute(vec![report]).await?;
        }
        Ok(is_told)
    }

    /// The call that tells it, if the device shows anything.
    pub(super) async fn report_of(
        &self,
        program: &ComponentId,
        epoch: u64,
    ) -> Result<Option<TwinCall>, AgentError> {
        let specification = self.client.ledger().specification(&self.twin)?;
        let Some(described) = specification.program(program.as_str()) else { return Ok(None) };
        let mut values = BTreeMap::new();
        // Names that mean two parameters mean none: the ledger would refuse the report.
        let named = |parameter: &&Parameter| described.parameter(&parameter.name).is_some();
        for parameter in described.parameters.iter().filter(named) {
            let unit = unit(parameter.unit.as_deref());
            let address = parameter.address.as_deref().and_then(|address| ComponentId::new(address).ok());
            let (Some(address), Ok(name)) = (address, Name::new(parameter.name.as_str())) else { continue };
            match self.device.read(&address).await {
                Ok(Some(Reading { value, unit: shown, .. })) if shown.is_none() || shown == unit => {
                    values.insert(name, Argument { value, unit });
                }
                _ => {}
            }
        }
        let program = program.clone();
        Ok((!values.is_empty()).then_some(TwinCall::ReportValues { program, epoch, values }))
    }

    /// The ledger's facts with what the device reads of all that the rules ask for.
    ///
    /// A parameter that cannot be read back has the value that it was last given. A variable has the value that the specification says
    /// only where the device does not have it; where it has it and does not show it, nobody knows its value.
    pub(super) async fn observe(
        &self,
        specification: &Document,
        rules: &SafetyRules,
        call: &ProgramCall,
        mut facts: Facts,
    ) -> Facts {
        let program = specification.program(call.program.as_str());
        for rule in rules.for_call(call) {
            for address in rule.condition.variables() {
                let unit = variable(specification, address).and_then(|attribute| attribute.unit);
                let shown = match self.shown(address, unit.as_deref()).await {
                    Err(DeviceError::UnknownComponent(_)) => continue,
                    Ok(Some(shown)) => Observed::Value(shown),
                    Ok(None) | Err(_) => Observed::Unknown,
                };
                facts.variables.insert(address.clone(), shown);
            }
            let Condition::MaxStep { parameter: name, .. } = &rule.condition else { continue };
            let parameter = program.as_ref().and_then(|program| program.parameter(name.as_str()));
            let address = parameter.and_then(|parameter| ComponentId::new(parameter.address.clone()?).ok());
            let Some((parameter, address)) = parameter.zip(address) else { continue };
            let shown = match self.shown(&address, parameter.unit.as_deref()).await {
                Ok(None) | Err(DeviceError::UnknownComponent(_)) => continue,
                Ok(Some(shown)) => Observed::Value(shown),
                Err(_) => Observed::Unknown,
            };
            facts.values.insert(name.clone(), shown);
        }
        facts
    }

    /// What the device reads at `address`; a reading that names no unit is in that of the specification.
    async fn shown(
        &self,
        address: &ComponentId,
        expected: Option<&str>,
    ) -> Result<Option<Argument>, DeviceError> {
        let reading = self.device.read(address).await?;
        Ok(reading
            .map(|Reading { value, unit: shown, .. }| Argument { value, unit: shown.or(unit(expected)) }))
    }
}

fn unit(text: Option<&str>) -> Option<Name> {
    text.and_then(|text| Name::new(text).ok())
}
