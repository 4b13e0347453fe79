//! The rules that a twin has besides the constraints of its specification.

use std::collections::{BTreeMap, BTreeSet};

use borsh::{BorshDeserialize, BorshSerialize};
use dt_aml::{Document, Program};
use dt_model::{ComponentId, Name, Text, codec};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::Number;
use super::variable::variable;
use crate::{ProgramCall, Reason};

/// Rules of one twin: each is judged for each call, twice on the ledger and once by the agent.
pub const MAX_RULES: usize = 64;
/// Variables that a twin's rules may speak of, together: each judgement looks up all that it needs, once.
pub const MAX_VARIABLES: usize = 16;
/// A twin's rules in canonical bytes, together.
pub const MAX_RULES_BYTES: usize = 16 * 1024;
/// Starts of a program that are remembered, and so the most that a [`Condition::MaxRate`] can count.
pub const MAX_STARTS: u32 = 64;

/// The safety rules of a twin, as they stand. Who administers the twin's root sets them, as a whole ([`crate::TwinCall::SetSafetyRules`]).
#[derive(Debug, Clone, PartialEq, Eq, Default, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct SafetyRules {
    /// How often they were set; 0 for a twin that never had any.
    pub version: u64,
    /// The rules. All of them hold; their order says which one a refusal names.
    pub rules: Vec<SafetyRule>,
}

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct SafetyRule {
    /// Its name, once in a twin: what refusals say.
    pub name: Name,
    /// The program whose calls it judges. `None`: every program that has one of the rule's parameters, or, where the rule has none,
    /// every program.
    pub program: Option<ComponentId>,
    /// What must hold.
    pub condition: Condition,
}

/// What must hold for a call.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Condition {
    /// A parameter differs from its last known value ([`super::Facts::values`]) by at most `step`.
    MaxStep {
        /// The parameter.
        parameter: Name,
        /// The largest difference, in the parameter's unit; not negative.
        step: Number,
        /// What counts as the last value as long as there was none. Without it, nothing passes before the device or an agent has told
        /// one ([`crate::TwinCall::ReportValues`]).
        from: Option<Number>,
    },
    /// A program is started at most `starts` times within any `period`; each program for itself.
    MaxRate {
        /// How many starts: 1 to [`MAX_STARTS`].
        starts: u32,
        /// Milliseconds of block time; not 0.
        period: u64,
    },
    /// As long as `when` holds, `then` holds too.
    Interlock {
        /// The occasion.
        when: Comparison,
        /// What it asks for.
        then: Comparison,
    },
    /// A variable has one of these values.
    RequiredMode {
        /// The variable ([`Operand::Variable`]).
        variable: ComponentId,
        /// The values: at least one.
        values: BTreeSet<Text<256>>,
    },
}

/// A comparison. Two numbers are compared exactly; two truth values (where one side is an `xs:boolean`) and all other texts can only be
/// equal or not. What has a numeral's form but no exact number, and what is in another unit than the other side, is not compared at all.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct Comparison {
    /// The left side.
    pub left: Operand,
    /// How it stands to the right side.
    pub relation: Relation,
    /// The right side.
    pub right: Operand,
}

/// How the left side of a comparison stands to the right side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Relation {
    /// It is the same.
    Equal,
    /// It is not the same.
    NotEqual,
    /// It is less.
    Less,
    /// It is less or the same.
    AtMost,
    /// It is more.
    More,
    /// It is more or the same.
    AtLeast,
}

/// A side of a comparison.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Operand {
    /// A parameter of the call.
    Parameter(Name),
    /// The value of an attribute of the specification, by its address (`tank/Attribute[Level]`), or of the attribute `Value` of the
    /// element at this address. What the device reads there, where an agent asks, goes before what the specification says.
    Variable(ComponentId),
    /// A value, in the unit of the other side.
    Constant(Text<256>),
}

/// The sorts of rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RuleKind {
    /// [`Condition::MaxStep`].
    MaxStep,
    /// [`Condition::MaxRate`].
    MaxRate,
    /// [`Condition::Interlock`].
    Interlock,
    /// [`Condition::RequiredMode`].
    RequiredMode,
}

/// What is wrong with a rule, so that it is not taken.
#[derive(Debug, Error, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum RuleFault {
    /// Another rule has its name.
    #[error("another rule has this name")]
    NameTaken,
    /// The specification has no such program.
    #[error("the specification has no program {0}")]
    UnknownProgram(ComponentId),
    /// The program has no such parameter, or several.
    #[error("the program has no one parameter {0}")]
    UnknownParameter(Name),
    /// The specification has no such variable, or several.
    #[error("the specification has no one variable {0}")]
    UnknownVariable(ComponentId),
    /// Only numbers have an order.
    #[error("{0} is not a number")]
    NotANumber(Text<256>),
    /// A number is out of bounds: a negative step, no starts or too many, a period of nothing, no values.
    #[error("a step, a count or a period is out of bounds")]
    OutOfBounds,
}

impl SafetyRules {
    /// The rules that judge `call`, in order.
    pub fn for_call<'a>(&'a self, call: &'a ProgramCall) -> impl Iterator<Item = &'a SafetyRule> {
        self.rules.iter().filter(|rule| rule.judges(call))
    }
}

impl SafetyRule {
    /// Whether it is for calls like this one: of its program, or, if it names none, with any of its parameters.
    #[must_use]
    pub fn judges(&self, call: &ProgramCall) -> bool {
        if let Some(program) = &self.program {
            return *program == call.program;
        }
        let mut parameters = self.condition.parameters().peekable();
        parameters.peek().is_none() || parameters.any(|parameter| call.parameters.contains_key(parameter))
    }

    /// Whether the specification as it is now has what the rule speaks of. It may change later: then calls are refused until rule
    /// and specification agree again. What a rule for every program says of parameters is left to the calls.
    fn check(&self, specification: &Described<'_>) -> Result<(), RuleFault> {
        if let Some(address) = &self.program {
            let unknown = || RuleFault::UnknownProgram(address.clone());
            let program = specification.programs.get(address).and_then(Option::as_ref).ok_or_else(unknown)?;
            let mut parameters = self.condition.parameters();
            if let Some(name) = parameters.find(|name| program.parameter(name.as_str()).is_none()) {
                return Err(RuleFault::UnknownParameter(name.clone()));
            }
        }
        let mut variables = self.condition.variables();
        if let Some(address) = variables.find(|address| !specification.variables.contains(address)) {
            return Err(RuleFault::UnknownVariable(address.clone()));
        }
        self.condition.check()
    }
}

impl Condition {
    /// Its sort.
    #[must_use]
    pub const fn kind(&self) -> RuleKind {
        match self {
            Self::MaxStep { .. } => RuleKind::MaxStep,
            Self::MaxRate { .. } => RuleKind::MaxRate,
            Self::Interlock { .. } => RuleKind::Interlock,
            Self::RequiredMode { .. } => RuleKind::RequiredMode,
        }
    }

    /// The parameters that it speaks of.
    pub fn parameters(&self) -> impl Iterator<Item = &Name> {
        let stepped = if let Self::MaxStep { parameter, .. } = self { Some(parameter) } else { None };
        let compared = self.operands().filter_map(|operand| match operand {
            Operand::Parameter(name) => Some(name),
            _ => None,
        });
        stepped.into_iter().chain(compared)
    }

    /// The variables that it speaks of.
    pub fn variables(&self) -> impl Iterator<Item = &ComponentId> {
        let mode = if let Self::RequiredMode { variable, .. } = self { Some(variable) } else { None };
        let compared = self.operands().filter_map(|operand| match operand {
            Operand::Variable(address) => Some(address),
            _ => None,
        });
        mode.into_iter().chain(compared)
    }

    fn operands(&self) -> impl Iterator<Item = &Operand> {
        let comparisons = if let Self::Interlock { when, then } = self { Some([when, then]) } else { None };
        comparisons.into_iter().flatten().flat_map(|comparison| [&comparison.left, &comparison.right])
    }

    fn check(&self) -> Result<(), RuleFault> {
        let in_bounds = match self {
            Self::MaxStep { step, .. } => !step.is_negative(),
            Self::MaxRate { starts, period } => (1..=MAX_STARTS).contains(starts) && *period > 0,
            Self::Interlock { when, then } => {
                when.check()?;
                then.check()?;
                true
            }
            Self::RequiredMode { values, .. } => !values.is_empty(),
        };
        if in_bounds { Ok(()) } else { Err(RuleFault::OutOfBounds) }
    }
}

impl Comparison {
    /// Constants that are to be less or more than something are numbers.
    fn check(&self) -> Result<(), RuleFault> {
        if matches!(self.relation, Relation::Equal | Relation::NotEqual) {
            return Ok(());
        }
        for side in [&self.left, &self.right] {
            if let Operand::Constant(text) = side
                && text.as_str().parse::<Number>().is_err()
            {
                return Err(RuleFault::NotANumber(text.clone()));
            }
        }
        Ok(())
    }
}

/// What a set of rules speaks of and the specification has; looked up once, however many rules speak of it.
struct Described<'a> {
    programs: BTreeMap<&'a ComponentId, Option<Program>>,
    variables: BTreeSet<&'a ComponentId>,
}

/// Whether `rules` may be a twin's rules under its specification as it is now: few and small enough, each with a name of its own, and
/// each speaking of what there is.
pub(crate) fn check_rules(document: &Document, rules: &[SafetyRule]) -> Result<(), Reason> {
    let mut variables: BTreeSet<_> = rules.iter().flat_map(|rule| rule.condition.variables()).collect();
    let is_large = || codec::encode(rules).len() > MAX_RULES_BYTES;
    if rules.len() > MAX_RULES || variables.len() > MAX_VARIABLES || is_large() {
        return Err(Reason::Full);
    }
    variables.retain(|address| variable(document, address).is_some());
    let named: BTreeSet<_> = rules.iter().filter_map(|rule| rule.program.as_ref()).collect();
    let programs = named.into_iter().map(|address| (address, document.program(address.as_str()))).collect();
    let specification = Described { programs, variables };
    let mut names = BTreeSet::new();
    for rule in rules {
        let fault =
            if names.insert(&rule.name) { rule.check(&specification) } else { Err(RuleFault::NameTaken) };
        fault.map_err(|fault| Reason::BadSafetyRule { rule: rule.name.clone(), fault })?;
    }
    Ok(())
}
