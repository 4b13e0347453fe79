//! What keys start with, in place.

use std::ops::Deref;

/// Most bytes that are told apart from the rest: the keys' longest lists begin with a letter and a digest.
const MAX_PREFIX: usize = 47;

/// The first bytes of some keys. In place: searching goes through it first.
#[derive(Debug, Clone, Copy)]
pub(super) struct Prefix {
    bytes: [u8; MAX_PREFIX],
    len: u8,
}

impl Default for Prefix {
    fn default() -> Self {
        Self { bytes: [0; MAX_PREFIX], len: 0 }
    }
}

impl Prefix {
    /// What two keys share, or the first bytes of it.
    pub(super) fn common(one: &[u8], other: &[u8]) -> Self {
        let mut prefix = Self::default();
        for ((byte, place), other) in one.iter().zip(&mut prefix.bytes).zip(other) {
            if byte != other {
                break;
            }
            *place = *byte;
            prefix.len += 1;
        }
        prefix
    }
}

impl Deref for Prefix {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}
