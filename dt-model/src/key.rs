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
/// The bytes are a canonical encoding, and of no point of small order. A key of small order would let one signature verify for many
/// messages; a second encoding of one key would make two parties of one.
///
/// Bytes that are on no point of the curve have no holder, like a key whose secret nobody knows: [`PartyId::verify`] finds no signature
/// good for them. To look for the point whenever a key is read would cost a tenth of a signature each time, and keys stand in most records.
///
/// A key with a component of small order beside its own is accepted, as Ed25519 libraries do: its holder can have several such keys, as
/// anybody can have several keys; each is its own party.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize)]
pub struct PartyId([u8; 32]);

/// The order of the field, 2^255 - 19, little-endian as all that follows.
const FIELD: [u8; 32] = {
    let mut field = [0xff; 32];
    field[0] = 0xed;
    field[31] = 0x7f;
    field
};

/// The y of all points of small order: 1 (the neutral point), -1 (order 2), 0 (order 4), and two of order 8; with either sign of x.
const SMALL_ORDER: [[u8; 32]; 5] = {
    let mut one = [0; 32];
    one[0] = 1;
    let mut minus_one = FIELD;
    minus_one[0] -= 1;
    [
        one,
        minus_one,
        [0; 32],
        [
            0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0,
            0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
        ],
        [
            0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f,
            0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
        ],
    ]
};

impl PartyId {
    /// Accepts `bytes` as a party's key.
    ///
    /// # Errors
    /// [`InvalidKey`] if they do not satisfy the invariant.
    pub fn from_bytes(bytes: [u8; 32]) -> Result<Self, InvalidKey> {
        let mut y = bytes;
        y[31] &= 0x7f;
        let is_reduced = y.iter().rev().lt(FIELD.iter().rev());
        if is_reduced && !SMALL_ORDER.contains(&y) { Ok(Self(bytes)) } else { Err(InvalidKey) }
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
        #[cfg(feature = "testing")]
        {
            crate::testing::note_verification();
            if crate::testing::is_own_signature(self, message, signature) {
                return Ok(());
            }
        }
        let key = recent_keys::recall(&self.0, VerifyingKey::from_bytes).map_err(|_| SignatureError)?;
        let signature = ed25519_dalek::Signature::from_bytes(&signature.0);
        key.verify_strict(message, &signature).map_err(|_| SignatureError)
    }
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
