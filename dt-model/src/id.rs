//! Names of things: twins, components, and short texts that people read.

use core::fmt;
use core::str::FromStr;

use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};
use thiserror::Error;

crate::fixed_bytes! {
    /// A digital twin on a ledger. The ledger derives it from chain, owner and device ID, so it names one twin in the world.
    pub struct TwinId(32);
}

/// Why a text was refused as a name.
#[derive(Debug, Error, PartialEq, Eq, Clone, Copy)]
#[non_exhaustive]
pub enum TextError {
    /// A name has at least one character.
    #[error("the text is empty")]
    Empty,
    /// Names are bounded, so that a registry of them is.
    #[error("the text has {size} bytes, more than {limit}")]
    TooLong {
        /// Bytes offered.
        size: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// Control characters, line breaks, and invisible characters that change the direction of writing could forge what a person reads in
    /// a log.
    #[error("the text has a control or invisible character at byte {at}")]
    Control {
        /// Byte offset of the first one.
        at: usize,
    },
}

/// Whether `c` could make a text look like another: control characters, line and paragraph separators, zero-width characters, and the
/// controls of writing direction (Unicode TR 36 and TR 9).
#[must_use]
pub fn is_forbidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{061c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// A text of 1 to `MAX` bytes without control or invisible characters ([`is_forbidden`]). Texts are equal when their bytes are: nothing is
/// normalized.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Text<const MAX: usize>(String);

/// A short name: organisations, roles, titles, media types.
pub type Name = Text<128>;

impl<const MAX: usize> Text<MAX> {
    /// Accepts `text` as a name.
    ///
    /// # Errors
    /// [`TextError`] says which rule it breaks.
    pub fn new(text: impl Into<String>) -> Result<Self, TextError> {
        let text = text.into();
        if text.is_empty() {
            return Err(TextError::Empty);
        }
        if text.len() > MAX {
            return Err(TextError::TooLong { size: text.len(), limit: MAX });
        }
        match text.char_indices().find(|(_, c)| is_forbidden(*c)) {
            Some((at, _)) => Err(TextError::Control { at }),
            None => Ok(Self(text)),
        }
    }

    /// As much of `text` as fits, for messages that must not fail: forbidden characters become spaces, and an empty text a dash.
    #[must_use]
    pub fn abridged(text: &str) -> Self {
        let mut short = String::new();
        for c in text.chars().map(|c| if is_forbidden(c) { ' ' } else { c }) {
            if short.len() + c.len_utf8() > MAX {
                break;
            }
            short.push(c);
        }
        if short.is_empty() {
            short.push('-');
        }
        Self(short)
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<const MAX: usize> BorshDeserialize for Text<MAX> {
    fn deserialize_reader<R: borsh::io::Read>(reader: &mut R) -> borsh::io::Result<Self> {
        Self::new(String::deserialize_reader(reader)?)
            .map_err(|error| borsh::io::Error::new(borsh::io::ErrorKind::InvalidData, error))
    }
}

impl<const MAX: usize> TryFrom<String> for Text<MAX> {
    type Error = TextError;
    fn try_from(text: String) -> Result<Self, TextError> {
        Self::new(text)
    }
}

impl<const MAX: usize> From<Text<MAX>> for String {
    fn from(text: Text<MAX>) -> Self {
        text.0
    }
}

impl<const MAX: usize> FromStr for Text<MAX> {
    type Err = TextError;
    fn from_str(text: &str) -> Result<Self, TextError> {
        Self::new(text)
    }
}

impl<const MAX: usize> fmt::Display for Text<MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl<const MAX: usize> fmt::Debug for Text<MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl<const MAX: usize> core::borrow::Borrow<str> for Text<MAX> {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl<const MAX: usize> AsRef<str> for Text<MAX> {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

/// A component of the asset: the address of an element in the twin's AML specification, its CAEX `ID` as a rule.
///
/// Real files use GUIDs, but also IDs like `[A01] pump`, so any printable text will do.
pub type ComponentId = Text<512>;
