//! The one place where wire, storage and hashing bytes are made and read: canonical borsh.
//!
//! Every value has exactly one encoding, and [`decode`] accepts nothing else. It MUST be the only decoder of bytes that come from
//! outside: a second way to read is a second opinion on what was signed.
//!
//! Types that are decoded MUST NOT be recursive: nothing bounds the depth of one that is.
//!
//! What it refuses, in this order: more bytes than the caller's limit, a malformed value (bad tag, bad UTF-8, unsorted or repeated
//! map keys, a value its type's own invariant forbids), bytes after the value, and an encoding that differs from the one we would
//! write.

use borsh::{BorshDeserialize, BorshSerialize};
use thiserror::Error;

/// Why bytes were not accepted as the encoding of a value.
#[derive(Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum DecodeError {
    /// The input is larger than the caller allows; nothing of it was read.
    #[error("{size} bytes are more than the limit of {limit}")]
    TooLarge {
        /// Bytes offered.
        size: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// The bytes are no encoding of the expected type.
    #[error("malformed {expected}")]
    Malformed {
        /// The Rust name of the expected type.
        expected: &'static str,
    },
    /// The bytes hold the value in another form than the canonical one, or go on after it.
    #[error("not the canonical encoding of {expected}")]
    NotCanonical {
        /// The Rust name of the expected type.
        expected: &'static str,
    },
}

/// The canonical bytes of `value`.
///
/// # Panics
/// Only when a collection has more than `u32::MAX` elements, which does not fit in memory beside its encoding on any target that we
/// support, or a hand-written `BorshSerialize` fails: writing to memory cannot.
#[must_use]
pub fn encode<T: BorshSerialize + ?Sized>(value: &T) -> Vec<u8> {
    // As much memory as it takes: most values are kept, in great numbers, and a block's is too long to be moved while it grows.
    let mut bytes = Vec::with_capacity(encoded_len(value));
    #[expect(clippy::expect_used, reason = "writing to a Vec is infallible; see Panics")]
    value.serialize(&mut bytes).expect("encoding to memory");
    bytes
}

/// How long the canonical bytes of `value` are: passes all of it, and makes no copy.
///
/// # Panics
/// As [`encode`].
#[must_use]
pub fn encoded_len<T: BorshSerialize + ?Sized>(value: &T) -> usize {
    #[expect(clippy::expect_used, reason = "counting is infallible; see Panics of `encode`")]
    borsh::object_length(value).expect("encoding to memory")
}

/// Reads the one value that `bytes` encode, provided they are at most `limit` bytes long.
///
/// # Errors
/// See [`DecodeError`] and the module's list of what is refused. Memory use is proportional to `bytes`, but for one buffer of at
/// most 1 MiB that a false length can ask for.
///
/// # Examples
/// ```
/// use dt_model::codec::{DecodeError, decode, encode};
///
/// let bytes = encode(&(7u16, "filler"));
/// assert_eq!(decode::<(u16, String)>(&bytes, 64)?, (7, "filler".to_owned()));
/// assert_eq!(decode::<(u16, String)>(&bytes, 4), Err(DecodeError::TooLarge { size: 12, limit: 4 }));
/// # Ok::<(), DecodeError>(())
/// ```
pub fn decode<T: BorshSerialize + BorshDeserialize>(bytes: &[u8], limit: usize) -> Result<T, DecodeError> {
    if bytes.len() > limit {
        return Err(DecodeError::TooLarge { size: bytes.len(), limit });
    }
    let expected = core::any::type_name::<T>();
    let mut rest = bytes;
    let value = T::deserialize(&mut rest).map_err(|_| DecodeError::Malformed { expected })?;
    if !rest.is_empty() || !is_encoding_of(bytes, &value) {
        return Err(DecodeError::NotCanonical { expected });
    }
    Ok(value)
}

/// Compares `bytes` with the encoding of `value` without building a second copy of it.
fn is_encoding_of<T: BorshSerialize>(bytes: &[u8], value: &T) -> bool {
    struct Compare<'a>(&'a [u8]);
    impl borsh::io::Write for Compare<'_> {
        fn write(&mut self, written: &[u8]) -> borsh::io::Result<usize> {
            match self.0.strip_prefix(written) {
                Some(rest) => {
                    self.0 = rest;
                    Ok(written.len())
                }
                None => Err(borsh::io::ErrorKind::InvalidData.into()),
            }
        }
        fn flush(&mut self) -> borsh::io::Result<()> {
            Ok(())
        }
    }
    let mut compare = Compare(bytes);
    value.serialize(&mut compare).is_ok() && compare.0.is_empty()
}
