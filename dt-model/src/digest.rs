//! Digests with domain separation, and the plain content hash that anybody can check with `sha256sum`.

use borsh::BorshSerialize;
use sha2::{Digest as _, Sha256};

use crate::codec;

crate::fixed_bytes! {
    /// A 32-byte digest of something of ours, always made under a [`Domain`].
    pub struct Digest(32);
}

impl Digest {
    /// The digest that stands where there is nothing before: the first link of a chain.
    pub const ZERO: Self = Self([0; 32]);
}

crate::fixed_bytes! {
    /// The plain SHA-256 of a document's content: the paper's hash reference (section 4.3), checkable with `sha256sum`.
    pub struct ContentHash(32);
}

impl ContentHash {
    /// Hashes `content` as it is.
    #[must_use]
    pub fn of(content: &[u8]) -> Self {
        Self(Sha256::digest(content).into())
    }
}

/// Hashes content that comes piece by piece: [`ContentHash::of`] the whole.
#[derive(Debug, Clone, Default)]
pub struct ContentHasher(Sha256);

impl ContentHasher {
    /// Takes the next bytes of the content.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The hash of all that was taken.
    #[must_use]
    pub fn finish(self) -> ContentHash {
        ContentHash(self.0.finalize().into())
    }
}

/// Hashes a payload that comes piece by piece: [`Domain::blake3`] of the pieces.
#[derive(Debug, Clone)]
pub struct DomainHasher(blake3::Hasher);

impl DomainHasher {
    /// Takes the next bytes of the payload.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of all that was taken.
    #[must_use]
    pub fn finish(&self) -> Digest {
        Digest(*self.0.finalize().as_bytes())
    }
}

/// Hashes what is written to it, so that an encoding that is only hashed is nowhere kept.
struct Hashing<'a>(&'a mut Sha256);

impl borsh::io::Write for Hashing<'_> {
    fn write(&mut self, bytes: &[u8]) -> borsh::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> borsh::io::Result<()> {
        Ok(())
    }
}

/// The name under which bytes are hashed or signed, such as `dt/ledger/transaction/v1`.
///
/// # Invariant
/// A preimage starts with the length of the domain's name in one byte, then the name, then the payload. Since no name is a
/// prefix-with-length of another, bytes made for one purpose MUST NOT pass for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Domain(&'static str);

impl Domain {
    /// A domain name: `dt/<crate>/<type>/v<version>`.
    ///
    /// # Panics
    /// At compile time, when used in a constant, if the name does not begin with `dt/`, or is longer than 255 bytes.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        assert!(name.len() <= u8::MAX as usize, "a domain's name has at most 255 bytes");
        let bytes = name.as_bytes();
        let is_ours = bytes.len() > 3 && bytes[0] == b'd' && bytes[1] == b't' && bytes[2] == b'/';
        assert!(is_ours, "a domain's name begins with dt/");
        Self(name)
    }

    /// The name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.0
    }

    /// Length byte and name: what every preimage of this domain starts with.
    #[must_use]
    pub fn prefix(&self) -> Vec<u8> {
        let mut prefix = Vec::with_capacity(1 + self.0.len());
        #[expect(clippy::cast_possible_truncation, reason = "checked in `new`")]
        prefix.push(self.0.len() as u8);
        prefix.extend_from_slice(self.0.as_bytes());
        prefix
    }

    /// SHA-256 of the domain's prefix and the concatenated `parts`, whose lengths the caller's format must make unambiguous.
    #[must_use]
    pub fn sha256(&self, parts: &[&[u8]]) -> Digest {
        let mut hasher = self.sha256_hasher();
        for part in parts {
            hasher.update(part);
        }
        Digest(hasher.finalize().into())
    }

    fn sha256_hasher(&self) -> Sha256 {
        let name = self.0.as_bytes();
        // The prefix without a vector for it: the state's map hashes by the thousand.
        #[expect(clippy::cast_possible_truncation, reason = "checked in `new`")]
        let mut hasher = Sha256::new_with_prefix([name.len() as u8]);
        hasher.update(name);
        hasher
    }

    /// BLAKE3 of the domain's prefix and the concatenated `parts`, whose lengths the caller's format must make unambiguous.
    #[must_use]
    pub fn blake3(&self, parts: &[&[u8]]) -> Digest {
        let mut hasher = self.hasher();
        parts.iter().for_each(|part| hasher.update(part));
        hasher.finish()
    }

    /// [`Domain::blake3`], piece by piece.
    #[must_use]
    pub fn hasher(&self) -> DomainHasher {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.prefix());
        DomainHasher(hasher)
    }

    /// SHA-256 over the canonical encoding of `value`.
    ///
    /// # Panics
    /// As [`codec::encode`].
    #[must_use]
    pub fn sha256_of<T: BorshSerialize + ?Sized>(&self, value: &T) -> Digest {
        let mut hasher = self.sha256_hasher();
        #[expect(clippy::expect_used, reason = "hashing is infallible; see Panics")]
        value.serialize(&mut Hashing(&mut hasher)).expect("hashing");
        Digest(hasher.finalize().into())
    }

    /// BLAKE3 over the canonical encoding of `value`.
    #[must_use]
    pub fn blake3_of<T: BorshSerialize + ?Sized>(&self, value: &T) -> Digest {
        self.blake3(&[&codec::encode(value)])
    }
}
