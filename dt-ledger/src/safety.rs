//! Which program calls are safe by the specification: one pure function, asked by the contract when a call is admitted and again by
//! the device agent before it acts (paper, section 6.2: safety rules as part of the specification contract).

use dt_aml::{Document, Verdict};
use dt_model::Text;

use crate::{ProgramCall, Reason};

/// Whether `document` allows `call`: the program exists, each of its parameters is given once, in its unit, and within its data type
/// and constraints. What cannot be checked is refused.
///
/// # Errors
/// The [`Reason`] that names the rule.
pub fn check_call(document: &Document, call: &ProgramCall) -> Result<(), Reason> {
    let unknown = || Reason::UnknownProgram(call.program.clone());
    let program = document.program(call.program.as_str()).ok_or_else(unknown)?;
    let unexpected = call
        .parameters
        .keys()
        .find(|name| !program.parameters.iter().any(|parameter| parameter.name == name.as_str()));
    if let Some(name) = unexpected {
        return Err(Reason::UnknownParameter(name.clone()));
    }
    for parameter in &program.parameters {
        let Ok(name) = dt_model::Name::new(parameter.name.as_str()) else { return Err(unknown()) };
        let Some(argument) = call.parameters.get(&name) else {
            return Err(Reason::MissingParameter(name));
        };
        if argument.unit.as_ref().map(dt_model::Name::as_str) != parameter.unit.as_deref() {
            return Err(Reason::WrongUnit(name));
        }
        match parameter.check(argument.value.as_str()) {
            Verdict::Passes => {}
            Verdict::NotCheckable => return Err(Reason::NotCheckable(name)),
            Verdict::Violates(violation) => {
                return Err(Reason::ParameterViolates {
                    parameter: name,
                    rule: Text::abridged(&violation.to_string()),
                });
            }
        }
    }
    Ok(())
}
