//! Public keys and signatures: a party *is* its Ed25519 key (design rule: one identity).

use core::fmt;
use core::str::FromStr;

use borsh::{BorshDeserialize, BorshSerialize};
use ed25519_dalek::VerifyingKey;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

use crate::{fixed, recent_keys};

/// Bytes that are not a public key we accept.
#[derive(Debug, Error, PartialEq, Eq, Clone, Copy)]
#[error("not an acceptable Ed25519 public key")]
pub struct InvalidKey;

/// A signature that does not hold. Why it does not is deliberately not said.
#[derive(Debug, Error, PartialEq, Eq, Clone, Copy)]
#[error("the signature does not verify")]
pub struct SignatureError;

/// A lifecycle party *n* (paper, section 3.2): its Ed25519 public key.
///
/// # Invariant
/// The bytes are the canonical encoding of a curve point that is not of small order. A key of small order would let one signature
/// verify for many messages; a second encoding of one key would make two parties of one.
///
/// A key with a component of small order beside its own is accepted, as Ed25519 libraries do: its holder can have several such keys, as
/// anybody can have several keys; each is its own party.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize)]
pub struct PartyId([u8; 32]);

impl PartyId {
    /// Accepts `bytes` as a party's key.
    ///
    /// # Errors
    /// [`InvalidKey`] if they do not satisfy the invariant.
    pub fn from_bytes(bytes: [u8; 32]) -> Result<Self, InvalidKey> {
        recent_keys::recall(&bytes, parse)?;
        Ok(Self(bytes))
    }

    /// The bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The first eight hex digits: enough for a person to tell parties apart, never for a decision.
    #[must_use]
    pub fn short(&self) -> String {
        fixed::to_hex(&self.0[..4])
    }

    /// Whether `signature` is this party's over `message`, by the strict rule that gives every replica the same answer
    /// (RFC 8032 with canonical encodings, no small-order points, no batching).
    ///
    /// # Errors
    /// [`SignatureError`], without a reason.
    pub fn verify(&self, message: &[u8], signature: &Signature) -> Result<(), SignatureError> {
        let key = recent_keys::recall(&self.0, parse).map_err(|_| SignatureError)?;
        let signature = ed25519_dalek::Signature::from_bytes(&signature.0);
        key.verify_strict(message, &signature).map_err(|_| SignatureError)
    }
}

/// The point that satisfies the invariant of [`PartyId`].
fn parse(bytes: &[u8; 32]) -> Result<VerifyingKey, InvalidKey> {
    let key = VerifyingKey::from_bytes(bytes).map_err(|_| InvalidKey)?;
    let canonical = key.to_edwards().compress().as_bytes() == bytes;
    if key.is_weak() || !canonical { Err(InvalidKey) } else { Ok(key) }
}

impl fmt::Display for PartyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&fixed::to_hex(&self.0))
    }
}

impl fmt::Debug for PartyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PartyId({self})")
    }
}

impl FromStr for PartyId {
    type Err = InvalidKey;
    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        Self::from_bytes(fixed::from_hex(text).map_err(|_| InvalidKey)?)
    }
}

impl BorshDeserialize for PartyId {
    fn deserialize_reader<R: borsh::io::Read>(reader: &mut R) -> borsh::io::Result<Self> {
        Self::from_bytes(<[u8; 32]>::deserialize_reader(reader)?)
            .map_err(|error| borsh::io::Error::new(borsh::io::ErrorKind::InvalidData, error))
    }
}

impl Serialize for PartyId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PartyId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <String as Deserialize>::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

crate::fixed_bytes! {
    /// An Ed25519 signature (RFC 8032): 64 bytes, judged only by [`PartyId::verify`].
    pub struct Signature(64);
}

crate::fixed_bytes! {
    /// An X25519 public key (RFC 7748) under which item keys are wrapped for a party.
    ///
    /// Any 32 bytes are a key; a key that makes the shared secret predictable is refused where the secret is made
    /// ([`crate::Signer::agree`]).
    pub struct EncryptionKey(32);
}
