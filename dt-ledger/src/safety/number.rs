//! Exact decimals in which safety rules are written: no binary floats, no rounding.

use core::cmp::Ordering;
use core::fmt;
use core::str::FromStr;

use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The text is no number, or none that is exact within 28 digits.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
#[error("not a number that is exact within 28 digits")]
pub struct NotANumber;

/// An exact decimal, `mantissa` × 10^-`scale`: what [`dt_aml::value::decimal`] makes of a text.
///
/// # Invariant
/// One form per value: the mantissa is below 2^96, the scale at most 28, and a mantissa with a scale does not end in 0. In JSON it is
/// its text.
///
/// # Examples
/// ```
/// use dt_ledger::safety::Number;
///
/// let tenth: Number = "0.1".parse()?;
/// assert_eq!("1e-1".parse(), Ok(tenth));
/// assert!("0.3".parse::<Number>()?.is_within(tenth, "0.2".parse()?));
/// assert!("one".parse::<Number>().is_err());
/// # Ok::<(), dt_ledger::safety::NotANumber>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, BorshSerialize, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Number {
    mantissa: i128,
    scale: u8,
}

const MAX_SCALE: u8 = 28;
const MAX_MANTISSA: u128 = 1 << 96;
/// What a fraction is a fraction of, so that all of them are whole numbers.
const ONE: i128 = 10_i128.pow(MAX_SCALE as u32);

impl Number {
    /// Whether this lies below zero.
    #[must_use]
    pub const fn is_negative(self) -> bool {
        self.mantissa < 0
    }

    /// Whether this differs from `other` by at most `step`. Exact: no difference is rounded away.
    #[must_use]
    pub fn is_within(self, step: Self, other: Self) -> bool {
        let (high, low) = if self >= other { (self, other) } else { (other, self) };
        let ((high, above), (low, below)) = (high.parts(), low.parts());
        let distance =
            if above >= below { (high - low, above - below) } else { (high - low - 1, above - below + ONE) };
        distance <= step.parts()
    }

    /// The whole number below or at it, and how much is left, in units of 10^-28. Both are below 2^96, so that differences fit.
    const fn parts(self) -> (i128, i128) {
        let unit = 10_i128.pow(self.scale as u32);
        (self.mantissa.div_euclid(unit), self.mantissa.rem_euclid(unit) * (ONE / unit))
    }

    const fn is_canonical(self) -> bool {
        self.mantissa.unsigned_abs() < MAX_MANTISSA
            && self.scale <= MAX_SCALE
            && (self.scale == 0 || self.mantissa % 10 != 0)
    }
}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Number {
    /// By value.
    fn cmp(&self, other: &Self) -> Ordering {
        self.parts().cmp(&other.parts())
    }
}

impl BorshDeserialize for Number {
    fn deserialize_reader<R: borsh::io::Read>(reader: &mut R) -> borsh::io::Result<Self> {
        let (mantissa, scale) = BorshDeserialize::deserialize_reader(reader)?;
        let number = Self { mantissa, scale };
        let refusal = || borsh::io::Error::new(borsh::io::ErrorKind::InvalidData, NotANumber);
        if number.is_canonical() { Ok(number) } else { Err(refusal()) }
    }
}

impl FromStr for Number {
    type Err = NotANumber;
    fn from_str(text: &str) -> Result<Self, NotANumber> {
        let decimal = dt_aml::value::decimal(text).ok_or(NotANumber)?;
        let (mut mantissa, mut scale) = (decimal.mantissa(), decimal.scale());
        while scale > 0 && mantissa % 10 == 0 {
            (mantissa, scale) = (mantissa / 10, scale - 1);
        }
        let number = Self { mantissa, scale: u8::try_from(scale).map_err(|_| NotANumber)? };
        if number.is_canonical() { Ok(number) } else { Err(NotANumber) }
    }
}

impl From<i64> for Number {
    fn from(number: i64) -> Self {
        Self { mantissa: i128::from(number), scale: 0 }
    }
}

impl TryFrom<String> for Number {
    type Error = NotANumber;
    fn try_from(text: String) -> Result<Self, NotANumber> {
        text.parse()
    }
}

impl From<Number> for String {
    fn from(number: Number) -> Self {
        number.to_string()
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scale = usize::from(self.scale);
        let digits = format!("{:0>width$}", self.mantissa.unsigned_abs(), width = scale + 1);
        let (whole, fraction) = digits.split_at(digits.len() - scale);
        let text = if scale == 0 { whole.to_owned() } else { format!("{whole}.{fraction}") };
        f.pad_integral(!self.is_negative(), "", &text)
    }
}

impl fmt::Debug for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
