//! Fixed-size byte values that people read as lowercase hex: digests, ids, keys.

use thiserror::Error;

/// A text that is not the hex form of a fixed-size value.
#[derive(Debug, Error, PartialEq, Eq, Clone, Copy)]
#[error("expected {expected} lowercase hex digits")]
pub struct FixedParseError {
    /// Number of hex digits that would be right.
    pub expected: usize,
}

/// Reads exactly `N` bytes from lowercase hex.
pub(crate) fn from_hex<const N: usize>(text: &str) -> Result<[u8; N], FixedParseError> {
    let error = FixedParseError { expected: N * 2 };
    if text.len() != N * 2 {
        return Err(error);
    }
    let bytes = data_encoding::HEXLOWER.decode(text.as_bytes()).map_err(|_| error)?;
    bytes.try_into().map_err(|_| error)
}

pub(crate) fn to_hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}

#[doc(hidden)]
pub mod fixed_support {
    //! What [`crate::fixed_bytes!`] expands to calls.
    pub use super::FixedParseError;

    /// See [`super::from_hex`].
    #[doc(hidden)]
    pub fn from_hex<const N: usize>(text: &str) -> Result<[u8; N], FixedParseError> {
        super::from_hex(text)
    }

    /// Lowercase hex.
    #[doc(hidden)]
    pub fn to_hex(bytes: &[u8]) -> String {
        super::to_hex(bytes)
    }
}

/// Declares a newtype over `[u8; N]`: ordered, copyable, hex when displayed, parsed, or in serde; raw bytes in borsh.
///
/// ```
/// dt_model::fixed_bytes! {
///     /// Where an item lives.
///     pub struct Address(32);
/// }
/// let address = Address::from([0xab; 32]);
/// assert_eq!(address.to_string().parse::<Address>().unwrap(), address);
/// ```
#[macro_export]
macro_rules! fixed_bytes {
    ($(#[$meta:meta])* $vis:vis struct $name:ident($len:literal);) => {
        $(#[$meta])*
        #[derive(
            Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash,
            $crate::__private::borsh::BorshSerialize, $crate::__private::borsh::BorshDeserialize,
        )]
        #[borsh(crate = "dt_model::__private::borsh")]
        $vis struct $name([u8; $len]);
        $crate::fixed_bytes!(@impls $name, $len);
    };
    (@impls $name:ident, $len:literal) => {
        impl $name {
            /// The bytes.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; $len] {
                &self.0
            }

            /// The first eight hex digits: enough for a person to tell values apart, never for a decision.
            #[must_use]
            pub fn short(&self) -> String {
                let mut text = self.to_string();
                text.truncate(8);
                text
            }
        }

        impl From<[u8; $len]> for $name {
            fn from(bytes: [u8; $len]) -> Self {
                Self(bytes)
            }
        }

        impl AsRef<[u8]> for $name {
            fn as_ref(&self) -> &[u8] {
                &self.0
            }
        }

        impl core::fmt::Display for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.write_str(&$crate::__fixed::to_hex(&self.0))
            }
        }

        impl core::fmt::Debug for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl core::str::FromStr for $name {
            type Err = $crate::FixedParseError;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                $crate::__fixed::from_hex(text).map(Self)
            }
        }

        impl $crate::__private::serde::Serialize for $name {
            fn serialize<S: $crate::__private::serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }

        impl<'de> $crate::__private::serde::Deserialize<'de> for $name {
            fn deserialize<D: $crate::__private::serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = <String as $crate::__private::serde::Deserialize>::deserialize(d)?;
                text.parse().map_err($crate::__private::serde::de::Error::custom)
            }
        }
    };
}
