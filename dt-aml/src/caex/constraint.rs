//! Constraints on attribute values, and their verdict on a value.
//!
//! A verdict has three outcomes, because "nobody can tell" MUST NOT be taken for "is allowed".

use borsh::{BorshDeserialize, BorshSerialize};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::value::{DataType, MAX_VALUE, decimal};
use crate::element::Element;
use crate::kind::Kind;

/// A CAEX `Constraint`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, BorshSerialize, BorshDeserialize)]
pub struct Constraint {
    /// Its `Name`.
    pub name: String,
    /// What it asks for.
    pub requirement: Requirement,
}

/// What a constraint asks of a value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, BorshSerialize, BorshDeserialize)]
pub enum Requirement {
    /// `OrdinalScaledType`: a number between bounds, which are allowed values themselves.
    ///
    /// `required` beside a bound is the target within them and is not checked; alone, it is the one allowed number.
    Ordinal {
        /// `RequiredMinValue`.
        min: Option<Bound>,
        /// `RequiredValue`.
        required: Option<Bound>,
        /// `RequiredMaxValue`.
        max: Option<Bound>,
    },
    /// `NominalScaledType`: one of these texts, character by character.
    Nominal {
        /// The `RequiredValue`s.
        values: Vec<String>,
    },
    /// `UnknownType`, or a constraint without any type: not checkable by a program.
    Unknown {
        /// The `Requirements`, for people.
        requirements: String,
    },
}

/// A bound, as written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, BorshSerialize, BorshDeserialize)]
pub struct Bound(pub String);

impl Bound {
    /// The exact number; `None` if the text is not one (a date, for example) or has too many digits.
    pub fn decimal(&self) -> Option<Decimal> {
        decimal(&self.0)
    }
}

/// What came of checking a value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, BorshSerialize, BorshDeserialize)]
#[must_use]
pub enum Verdict {
    /// Everything that is asked for is met.
    Passes,
    /// Something is not met.
    Violates(Violation),
    /// A program cannot tell. This is not a pass.
    NotCheckable,
}

impl Verdict {
    /// True for [`Verdict::Passes`] alone.
    pub fn passes(&self) -> bool {
        *self == Self::Passes
    }

    /// Both verdicts as one: a violation outweighs what is not checkable, which outweighs a pass.
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Violates(violation), _) | (_, Self::Violates(violation)) => Self::Violates(violation),
            (Self::NotCheckable, _) | (_, Self::NotCheckable) => Self::NotCheckable,
            (Self::Passes, Self::Passes) => Self::Passes,
        }
    }
}

/// How a value fails.
#[derive(
    Clone, Debug, PartialEq, Eq, Serialize, Deserialize, BorshSerialize, BorshDeserialize, thiserror::Error,
)]
pub enum Violation {
    /// Not a value of the data type.
    #[error("not of type {data_type}")]
    NotOfType {
        /// The type.
        data_type: DataType,
    },
    /// Not a number that can be compared exactly.
    #[error("not a number of up to 28 digits")]
    NotANumber,
    /// Below the lower bound.
    #[error("below {min}")]
    BelowMin {
        /// The bound as written.
        min: String,
    },
    /// Above the upper bound.
    #[error("above {max}")]
    AboveMax {
        /// The bound as written.
        max: String,
    },
    /// Not the one number that is allowed.
    #[error("not {required}")]
    NotRequired {
        /// The number as written.
        required: String,
    },
    /// Not among the listed texts.
    #[error("not one of the allowed values")]
    NotListed,
    /// Longer than [`MAX_VALUE`].
    #[error("too long")]
    TooLong,
}

impl Constraint {
    /// Whether `value` meets the constraint.
    ///
    /// # Examples
    /// ```
    /// use dt_aml::{Bound, Constraint, Requirement, Verdict};
    ///
    /// let max = Some(Bound("60".into()));
    /// let limit = Constraint {
    ///     name: "Safety".into(),
    ///     requirement: Requirement::Ordinal { min: None, required: None, max },
    /// };
    /// assert!(limit.check("60.0").passes());
    /// assert!(matches!(limit.check("60.000000000000000000001"), Verdict::Violates(_)));
    /// assert!(matches!(limit.check("NaN"), Verdict::Violates(_)));
    /// ```
    pub fn check(&self, value: &str) -> Verdict {
        if value.len() > MAX_VALUE {
            return Verdict::Violates(Violation::TooLong);
        }
        match &self.requirement {
            Requirement::Ordinal { min, required, max } => {
                ordinal(value, min.as_ref(), required.as_ref(), max.as_ref())
            }
            Requirement::Nominal { values } if values.iter().any(|allowed| allowed == value) => {
                Verdict::Passes
            }
            Requirement::Nominal { .. } => Verdict::Violates(Violation::NotListed),
            Requirement::Unknown { .. } => Verdict::NotCheckable,
        }
    }

    /// Reads a `Constraint` element.
    pub(crate) fn read(element: Element<'_>) -> Self {
        let name = element.name().unwrap_or_default().into_owned();
        let requirement = element.children().find_map(|child| requirement(child));
        let unknown = Requirement::Unknown { requirements: String::new() };
        Self { name, requirement: requirement.unwrap_or(unknown) }
    }
}

fn requirement(element: Element<'_>) -> Option<Requirement> {
    let bound = |kind: Kind| element.children_of(kind).next().map(|child| Bound(child.text()));
    match element.kind() {
        Kind::OrdinalScaledType => Some(Requirement::Ordinal {
            min: bound(Kind::RequiredMinValue),
            required: bound(Kind::RequiredValue),
            max: bound(Kind::RequiredMaxValue),
        }),
        Kind::NominalScaledType => {
            let values = element.children_of(Kind::RequiredValue).map(|child| child.text()).collect();
            Some(Requirement::Nominal { values })
        }
        Kind::UnknownType => {
            let words = element.children_of(Kind::Requirements).next();
            Some(Requirement::Unknown { requirements: words.map(|words| words.text()).unwrap_or_default() })
        }
        _ => None,
    }
}

fn ordinal(value: &str, min: Option<&Bound>, required: Option<&Bound>, max: Option<&Bound>) -> Verdict {
    let exact = |bound: Option<&Bound>| bound.map(Bound::decimal);
    let (low, high, target) = (exact(min), exact(max), exact(required));
    if low.is_none() && high.is_none() && target.is_none() || [low, high, target].contains(&Some(None)) {
        return Verdict::NotCheckable;
    }
    let Some(number) = decimal(value) else { return Verdict::Violates(Violation::NotANumber) };
    let text = |bound: Option<&Bound>| bound.map(|bound| bound.0.clone()).unwrap_or_default();
    if low.flatten().is_some_and(|low| number < low) {
        return Verdict::Violates(Violation::BelowMin { min: text(min) });
    }
    if high.flatten().is_some_and(|high| number > high) {
        return Verdict::Violates(Violation::AboveMax { max: text(max) });
    }
    if low.is_none() && high.is_none() && target.flatten() != Some(number) {
        return Verdict::Violates(Violation::NotRequired { required: text(required) });
    }
    Verdict::Passes
}
