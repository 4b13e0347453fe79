//! Which program calls are safe (paper, section 6.2: safety rules as part of the specification contract).
//!
//! [`check_call`] is the one function that says so. The contract asks it when a call is admitted and again when it is started; the device
//! agent asks it immediately before it acts, with what its device reads. It is pure: specification, rules, call and [`Facts`] are
//! arguments. Two sorts of rules hold:
//!
//! - the constraints that the specification puts on a parameter: data type, unit, limits, nominal values;
//! - the twin's [`SafetyRules`], which relate a call to what is so already: the last value, the last starts, other variables.
//!
//! ```text
//!                specification ─┐
//! ledger: rules, last values,   ├─▶ check_call ─▶ passes, or the Reason that names the rule
//!         starts, block time ───┤
//! agent:  clock, readings ──────┘
//! ```
//!
//! # Invariants
//! - What cannot be judged is refused ([`Reason::NotJudged`]): an unknown variable, a text where a number is needed, another unit, a last
//!   value that nobody knows.
//! - Numbers are exact decimals, and nothing is converted between units.
//! - The rules as they are when a call is started decide, not those under which it was admitted. The call's record names both versions.
//! - Rules are bounded ([`MAX_RULES`], [`MAX_RULES_BYTES`], [`MAX_VARIABLES`]), and so is what is remembered for them ([`MAX_STARTS`], and one value for each
//!   parameter).
//!
//! A call is judged by what is so when it is judged. Calls that wait do not count before they are started: a ramp of steps is called
//! step by step, and a call that would come too early is refused, not put off.
//!
//! # Example
//! ```
//! use dt_ledger::safety::{Condition, Facts, Observed, SafetyRule};
//! use dt_ledger::{Argument, ProgramCall, SafetyRules, check_call};
//! # use std::collections::BTreeMap;
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let aml = r#"<CAEXFile><InstanceHierarchy Name="Plant"><InternalElement Name="SetSpeed" ID="p1">
//! #   <ExternalInterface Name="Speed" ID="p1.speed" RefBaseClassPath="Logic/VariableInterface">
//! #     <Attribute Name="Speed" AttributeDataType="xs:decimal" Unit="m/min"/></ExternalInterface>
//! #   <RoleRequirements RefBaseRoleClassPath="PlantRoles/Program"/></InternalElement></InstanceHierarchy></CAEXFile>"#;
//! # let document = dt_aml::Document::parse(aml, &dt_aml::Limits::default())?;
//! let speed = |value: &str| -> Result<_, dt_model::TextError> {
//!     Ok(BTreeMap::from([("Speed".parse()?, Argument { value: value.parse()?, unit: Some("m/min".parse()?) })]))
//! };
//! let step = Condition::MaxStep { parameter: "Speed".parse()?, step: "0.5".parse()?, from: None };
//! let rule = SafetyRule { name: "gentle".parse()?, program: Some("p1".parse()?), condition: step };
//! let rules = SafetyRules { version: 1, rules: vec![rule] };
//!
//! // The machine runs at 30 m/min.
//! let values = speed("30")?.into_iter().map(|(name, last)| (name, Observed::Value(last))).collect();
//! let facts = Facts { values, ..Facts::default() };
//! let call = |value| -> Result<_, dt_model::TextError> {
//!     let (valid_until, guard) = (dt_model::Timestamp::MAX, None);
//!     Ok(ProgramCall { program: "p1".parse()?, parameters: speed(value)?, valid_until, guard })
//! };
//! assert_eq!(check_call(&document, &rules, &call("30.5")?, &facts), Ok(()));
//! let refused = check_call(&document, &rules, &call("30.6")?, &facts).unwrap_err();
//! assert_eq!(refused.full_rule().as_str(), "safety.max-step/gentle");
//! let refused = check_call(&document, &rules, &call("30")?, &Facts::default()).unwrap_err();
//! assert_eq!(refused.rule(), "safety.not-judged", "nobody knows how fast it runs");
//! # Ok(())
//! # }
//! ```

mod facts;
mod judge;
mod number;
mod rules;
mod variable;

pub use facts::{Facts, Observed, ProgramHistory};
pub use number::{NotANumber, Number};
pub(crate) use rules::check_rules;
pub use rules::{
    Comparison, Condition, MAX_RULES, MAX_RULES_BYTES, MAX_STARTS, MAX_VARIABLES, Operand, Relation,
    RuleFault, RuleKind, SafetyRule, SafetyRules,
};
pub use variable::{MEASURED_VALUE, variable};

use dt_aml::{Document, Program, Verdict};
use dt_model::{Name, Text};

use self::judge::Case;
use crate::{ProgramCall, Reason};

/// Whether `call` is safe, by `document`, by `rules`, and by the `facts`. What cannot be checked is refused.
///
/// Its time, its guard and its caller's rights are judged elsewhere.
///
/// # Errors
/// The [`Reason`] that names the first rule that it breaks: those of the specification come before the twin's own.
pub fn check_call(
    document: &Document,
    rules: &SafetyRules,
    call: &ProgramCall,
    facts: &Facts,
) -> Result<(), Reason> {
    let unknown = || Reason::UnknownProgram(call.program.clone());
    let program = document.program(call.program.as_str()).ok_or_else(unknown)?;
    check_parameters(&program, call)?;
    let case = Case::new(document, rules, &program, call, facts);
    for SafetyRule { name: rule, condition, .. } in rules.for_call(call) {
        let rule = || rule.clone();
        match case.satisfies(condition) {
            Some(true) => {}
            Some(false) => return Err(Reason::Unsafe { rule: rule(), kind: condition.kind() }),
            None => return Err(Reason::NotJudged { rule: rule() }),
        }
    }
    Ok(())
}

/// Whether each of the program's parameters is given once, in its unit, within its data type and constraints.
fn check_parameters(program: &Program, call: &ProgramCall) -> Result<(), Reason> {
    let is_known = |name: &Name| program.parameters.iter().any(|parameter| parameter.name == name.as_str());
    if let Some(name) = call.parameters.keys().find(|name| !is_known(name)) {
        return Err(Reason::UnknownParameter(name.clone()));
    }
    for parameter in &program.parameters {
        let unknown = |_| Reason::UnknownProgram(call.program.clone());
        let name = Name::new(parameter.name.as_str()).map_err(unknown)?;
        let Some(argument) = call.parameters.get(&name) else {
            return Err(Reason::MissingParameter(name));
        };
        if argument.unit.as_ref().map(Name::as_str) != parameter.unit.as_deref() {
            return Err(Reason::WrongUnit(name));
        }
        match parameter.check(argument.value.as_str()) {
            Verdict::Passes => {}
            Verdict::NotCheckable => return Err(Reason::NotCheckable(name)),
            Verdict::Violates(violation) => {
                let rule = Text::abridged(&violation.to_string());
                return Err(Reason::ParameterViolates { parameter: name, rule });
            }
        }
    }
    Ok(())
}
