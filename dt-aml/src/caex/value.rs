//! Values as texts: exact decimals, and the data types of XML Schema and IEC 61131-3.
//!
//! A value stays the text it was given as. Where it has to be compared, it becomes an exact decimal of up to 28
//! digits; binary floats, in which 0.1 is not 0.1, do not occur. What has no exact decimal is never let pass.

use borsh::{BorshDeserialize, BorshSerialize};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::constraint::{Verdict, Violation};
use crate::xml::WHITE;

/// Longest number in characters: more than 28 digits, sign, point and exponent need.
pub const MAX_NUMBER: usize = 64;
/// Longest value of any type in bytes that is checked at all.
pub const MAX_VALUE: usize = 64 << 10;

/// The data type of an attribute, as far as values can be held against it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, BorshSerialize, BorshDeserialize)]
pub enum DataType {
    /// `true`, `false`, `1` or `0`.
    Boolean,
    /// A whole number; the bounds are part of the type (`xs:int`: 32 bits with sign).
    Integer {
        /// The least number; `None`: none.
        min: Option<i128>,
        /// The greatest number; `None`: none.
        max: Option<i128>,
    },
    /// A decimal number, without exponent.
    Decimal,
    /// A floating-point number, exponent allowed. Held as an exact decimal; `INF` and `NaN` are refused.
    Float,
    /// Any text.
    String,
    /// A type whose values are not checked, as written.
    Other(String),
}

impl DataType {
    /// The type that an `AttributeDataType` names, such as `xs:decimal`.
    pub fn from_schema(name: &str) -> Self {
        let local = name.rsplit(':').next().unwrap_or(name);
        let bits =
            |bits: u32| Self::Integer { min: Some(-(1 << (bits - 1))), max: Some((1 << (bits - 1)) - 1) };
        let unsigned = |bits: u32| Self::Integer { min: Some(0), max: Some((1 << bits) - 1) };
        match local {
            "boolean" => Self::Boolean,
            "integer" => Self::Integer { min: None, max: None },
            "nonNegativeInteger" => Self::Integer { min: Some(0), max: None },
            "positiveInteger" => Self::Integer { min: Some(1), max: None },
            "nonPositiveInteger" => Self::Integer { min: None, max: Some(0) },
            "negativeInteger" => Self::Integer { min: None, max: Some(-1) },
            "byte" => bits(8),
            "short" => bits(16),
            "int" => bits(32),
            "long" => bits(64),
            "unsignedByte" => unsigned(8),
            "unsignedShort" => unsigned(16),
            "unsignedInt" => unsigned(32),
            "unsignedLong" => unsigned(64),
            "decimal" => Self::Decimal,
            "float" | "double" => Self::Float,
            "string" => Self::String,
            _ => Self::Other(name.to_owned()),
        }
    }

    /// The type that a PLC variable's declaration names, such as `INT` (16 bits, not 32 as in XML Schema).
    pub fn from_plc(name: &str) -> Self {
        let schema = match name.to_ascii_uppercase().as_str() {
            "BOOL" | "BOOLEAN" => "boolean",
            "SINT" => "byte",
            "INT" => "short",
            "DINT" => "int",
            "LINT" => "long",
            "USINT" => "unsignedByte",
            "UINT" => "unsignedShort",
            "UDINT" => "unsignedInt",
            "ULINT" => "unsignedLong",
            "REAL" => "float",
            "LREAL" => "double",
            "STRING" | "WSTRING" => "string",
            _ => name,
        };
        Self::from_schema(schema)
    }

    /// Whether `value` is of this type.
    pub fn check(&self, value: &str) -> Verdict {
        if value.len() > MAX_VALUE {
            return Verdict::Violates(Violation::TooLong);
        }
        let text = value.trim_matches(WHITE);
        let fits = match self {
            Self::Boolean => matches!(text, "true" | "false" | "1" | "0"),
            Self::Integer { min, max } => integer(text).is_some_and(|number| {
                min.is_none_or(|min| number >= min) && max.is_none_or(|max| number <= max)
            }),
            Self::Decimal => is_decimal(text) && decimal(text).is_some(),
            Self::Float => decimal(text).is_some(),
            Self::String => true,
            Self::Other(_) => return Verdict::NotCheckable,
        };
        if fits {
            Verdict::Passes
        } else {
            Verdict::Violates(Violation::NotOfType { data_type: self.clone() })
        }
    }
}

impl std::fmt::Display for DataType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Boolean => f.write_str("boolean"),
            Self::Integer { min: None, max: None } => f.write_str("integer"),
            Self::Integer { min, max } => {
                let bound = |bound: &Option<i128>| bound.map_or("…".to_owned(), |bound| bound.to_string());
                write!(f, "integer {} to {}", bound(min), bound(max))
            }
            Self::Decimal => f.write_str("decimal"),
            Self::Float => f.write_str("float"),
            Self::String => f.write_str("string"),
            Self::Other(name) => f.write_str(name),
        }
    }
}

/// A whole number in XML Schema's notation.
fn integer(text: &str) -> Option<i128> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let plain =
        !digits.is_empty() && digits.len() <= MAX_NUMBER && digits.bytes().all(|b| b.is_ascii_digit());
    if plain { text.parse().ok() } else { None }
}

/// True for `[+-]? digits [. digits]`, digits on at least one side of the point.
fn is_decimal(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    digits(whole) && digits(fraction) && !(whole.is_empty() && fraction.is_empty())
}

/// The exact decimal that a text denotes, exponent allowed; `None` if it denotes none, or none that fits exactly.
///
/// White space around it is ignored, as XML Schema does for numbers.
pub fn decimal(text: &str) -> Option<Decimal> {
    let text = text.trim_matches(WHITE);
    if text.len() > MAX_NUMBER {
        return None;
    }
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, integer(exponent)?),
        None => (text, 0),
    };
    if !is_decimal(mantissa) {
        return None;
    }
    let negative = mantissa.starts_with('-');
    let unsigned = mantissa.trim_start_matches(['+', '-']);
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let digits = [whole, fraction].concat();
    let significant = digits.trim_start_matches('0').trim_end_matches('0');
    if significant.is_empty() {
        return Some(Decimal::ZERO);
    }
    let dropped = digits.trim_start_matches('0').len() - significant.len();
    let point = exponent.checked_sub(fraction.len() as i128)?.checked_add(dropped as i128)?;
    shift(significant, point, negative)
}

/// `digits` × 10^`point`, exactly.
fn shift(digits: &str, point: i128, negative: bool) -> Option<Decimal> {
    let mut number: i128 = digits.parse().ok()?;
    let mut scale = 0;
    if point < 0 {
        scale = u32::try_from(point.checked_neg()?).ok()?;
    } else {
        let power = 10_i128.checked_pow(u32::try_from(point).ok()?)?;
        number = number.checked_mul(power)?;
    }
    Decimal::try_from_i128_with_scale(if negative { -number } else { number }, scale).ok()
}
