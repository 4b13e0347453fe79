//! The judgement of one call by one rule.
//!
//! Three answers: it passes, it does not, or nobody can tell. The last refuses too, by a name of its own: `None` here.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use dt_aml::{Attribute, DataType, Document, Program};
use dt_model::{ComponentId, Name};

use super::Number;
use super::facts::{Facts, Observed};
use super::rules::{Comparison, Condition, Operand, Relation, SafetyRules};
use super::variable::variable;
use crate::{Argument, ProgramCall};

/// A call with all that it is judged by.
pub(super) struct Case<'a> {
    program: &'a Program,
    call: &'a ProgramCall,
    facts: &'a Facts,
    /// The variables that the rules speak of, as far as the specification has them.
    variables: BTreeMap<&'a ComponentId, Attribute>,
}

/// One side of a comparison.
struct Side {
    text: String,
    /// `None`: any.
    unit: Option<String>,
    is_truth: bool,
}

impl<'a> Case<'a> {
    /// A call of `program`, to be judged by `rules`.
    pub(super) fn new(
        document: &Document,
        rules: &'a SafetyRules,
        program: &'a Program,
        call: &'a ProgramCall,
        facts: &'a Facts,
    ) -> Self {
        let addresses: BTreeSet<_> =
            rules.for_call(call).flat_map(|rule| rule.condition.variables()).collect();
        let found = addresses.into_iter().filter_map(|address| Some((address, variable(document, address)?)));
        Self { program, call, facts, variables: found.collect() }
    }

    /// Whether the call satisfies `condition`; `None` if that cannot be told.
    pub(super) fn satisfies(&self, condition: &Condition) -> Option<bool> {
        match condition {
            Condition::MaxStep { parameter, step, from } => self.is_within(parameter, *step, *from),
            Condition::MaxRate { starts, period } => Some(self.is_in_time(*starts, *period)),
            Condition::Interlock { when, then } => {
                if self.holds(when)? {
                    self.holds(then)
                } else {
                    Some(true)
                }
            }
            Condition::RequiredMode { variable, values } => {
                let shown = self.variable(variable)?;
                let equal = |value: &str| compare(&shown, Relation::Equal, &Side::constant(value));
                // A value that cannot be compared counts only where no other is equal.
                values.iter().map(|value| equal(value.as_str())).reduce(|all, one| match (all, one) {
                    (Some(true), _) | (_, Some(true)) => Some(true),
                    (None, _) | (_, None) => None,
                    _ => Some(false),
                })?
            }
        }
    }

    /// Whether a parameter is at most `step` away from its last value.
    fn is_within(&self, parameter: &Name, step: Number, from: Option<Number>) -> Option<bool> {
        let argument = self.call.parameters.get(parameter)?;
        let asked: Number = argument.value.as_str().parse().ok()?;
        let last = match self.facts.values.get(parameter) {
            Some(Observed::Value(last)) if last.unit == argument.unit => last.value.as_str().parse().ok()?,
            Some(Observed::Value(_) | Observed::Unknown) => return None,
            None => from?,
        };
        Some(asked.is_within(step, last))
    }

    /// Whether one more start now leaves at most `starts` of them within any period: the one that many before it has left the period.
    fn is_in_time(&self, starts: u32, period: u64) -> bool {
        let before = self.facts.starts.iter().rev().nth((starts as usize).saturating_sub(1));
        before.is_none_or(|before| self.facts.now.as_millis() >= before.as_millis().saturating_add(period))
    }

    fn holds(&self, comparison: &Comparison) -> Option<bool> {
        compare(&self.side(&comparison.left)?, comparison.relation, &self.side(&comparison.right)?)
    }

    fn side(&self, operand: &Operand) -> Option<Side> {
        match operand {
            Operand::Parameter(name) => {
                let data_type = &self.program.parameter(name.as_str())?.data_type;
                Some(Side::of(self.call.parameters.get(name)?, data_type.as_ref()))
            }
            Operand::Variable(address) => self.variable(address),
            Operand::Constant(text) => Some(Side::constant(text.as_str())),
        }
    }

    /// What a variable holds: what the device reads, in the unit of the specification, or else what the specification says.
    fn variable(&self, address: &ComponentId) -> Option<Side> {
        let attribute = self.variables.get(address)?;
        match self.facts.variables.get(address) {
            Some(Observed::Value(shown)) => {
                let in_unit = shown.unit.as_ref().map(Name::as_str) == attribute.unit.as_deref();
                in_unit.then(|| Side::of(shown, attribute.data_type.as_ref()))
            }
            Some(Observed::Unknown) => None,
            None => {
                let is_truth = attribute.data_type == Some(DataType::Boolean);
                Some(Side { text: attribute.value.clone()?, unit: attribute.unit.clone(), is_truth })
            }
        }
    }
}

impl Side {
    fn of(argument: &Argument, data_type: Option<&DataType>) -> Self {
        let Argument { value, unit } = argument;
        Self {
            text: value.to_string(),
            unit: unit.as_ref().map(Name::to_string),
            is_truth: data_type == Some(&DataType::Boolean),
        }
    }

    fn constant(text: &str) -> Self {
        Self { text: text.to_owned(), unit: None, is_truth: false }
    }
}

/// Whether `left` stands so to `right`; `None` if they cannot be compared so.
fn compare(left: &Side, relation: Relation, right: &Side) -> Option<bool> {
    if left.unit.is_some() && right.unit.is_some() && left.unit != right.unit {
        return None;
    }
    let (a, b) = (left.text.as_str(), right.text.as_str());
    if left.is_truth || right.is_truth {
        return same(truth(a)? == truth(b)?, relation);
    }
    let order = match (a.parse::<Number>(), b.parse::<Number>()) {
        (Ok(a), Ok(b)) => a.cmp(&b),
        // A number that is too long is not less a number: it is not let pass as some other text.
        (a_number, b_number) if a_number.is_err() && is_numeral(a) || b_number.is_err() && is_numeral(b) => {
            return None;
        }
        _ => return same(a == b, relation),
    };
    Some(match relation {
        Relation::Equal => order == Ordering::Equal,
        Relation::NotEqual => order != Ordering::Equal,
        Relation::Less => order == Ordering::Less,
        Relation::AtMost => order != Ordering::Greater,
        Relation::More => order == Ordering::Greater,
        Relation::AtLeast => order != Ordering::Less,
    })
}

/// What has no order is the same or not.
const fn same(is_same: bool, relation: Relation) -> Option<bool> {
    match relation {
        Relation::Equal => Some(is_same),
        Relation::NotEqual => Some(!is_same),
        Relation::Less | Relation::AtMost | Relation::More | Relation::AtLeast => None,
    }
}

/// An `xs:boolean`.
fn truth(text: &str) -> Option<bool> {
    match text.trim() {
        "true" | "1" => Some(true),
        "false" | "0" => Some(false),
        _ => None,
    }
}

/// Whether a text has the form of a number: sign, digits with a point, exponent.
fn is_numeral(text: &str) -> bool {
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let (mantissa, exponent) = match text.trim().split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (text.trim(), None),
    };
    let mantissa = mantissa.strip_prefix(['+', '-']).unwrap_or(mantissa);
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let exponent = exponent.map(|exponent| exponent.strip_prefix(['+', '-']).unwrap_or(exponent));
    digits(whole)
        && digits(fraction)
        && !(whole.is_empty() && fraction.is_empty())
        && exponent.is_none_or(|exponent| !exponent.is_empty() && digits(exponent))
}
