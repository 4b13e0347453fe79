//! Signed envelopes: a signature is checked over the bytes as they came, and only then is a value read from them.

use core::fmt;
use core::marker::PhantomData;
use core::ops::Deref;

use borsh::{BorshDeserialize, BorshSerialize};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{DecodeError, Digest, Domain, PartyId, Signature, Signer, SignerError, codec};

/// A type whose values are signed.
///
/// The chain or twin that a value belongs to SHOULD be its first field, so that a signature for one cannot serve in another.
pub trait Message: BorshSerialize + BorshDeserialize {
    /// What the signature is for.
    const DOMAIN: Domain;
    /// The longest body that is decoded.
    const MAX_BYTES: usize;
}

/// Why an envelope was not opened.
#[derive(Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum OpenError {
    /// The signature does not hold for signer, domain and body.
    #[error(transparent)]
    Signature(#[from] crate::SignatureError),
    /// The signed body is not a canonical value of the expected type.
    #[error(transparent)]
    Decode(#[from] DecodeError),
}

/// A value's bytes, who signed them, and the signature: what travels and what is stored. Nothing about it is verified.
#[derive(BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
#[serde(bound = "")]
pub struct Envelope<T> {
    signer: PartyId,
    signature: Signature,
    body: Bytes,
    #[borsh(skip)]
    #[serde(skip)]
    of: PhantomData<fn() -> T>,
}

impl<T: Message> Envelope<T> {
    /// The envelope of what is said to be signed, where it came in parts: as an engine keeps votes, which has its own form for them.
    #[must_use]
    pub const fn unverified(signer: PartyId, signature: Signature, body: Bytes) -> Self {
        Self { signer, signature, body, of: PhantomData }
    }

    /// Who is said to have signed.
    #[must_use]
    pub const fn signer(&self) -> PartyId {
        self.signer
    }

    /// The signed bytes, unread.
    #[must_use]
    pub const fn body(&self) -> &Bytes {
        &self.body
    }

    /// The signature, unverified.
    #[must_use]
    pub const fn signature(&self) -> &Signature {
        &self.signature
    }

    /// What this envelope says and who says it: SHA-256 over domain, signer and body, without the signature.
    #[must_use]
    pub fn digest(&self) -> Digest {
        T::DOMAIN.sha256(&[self.signer.as_bytes(), &self.body])
    }

    /// Verifies the signature, then reads the value.
    ///
    /// # Errors
    /// [`OpenError`]; a body beyond [`Message::MAX_BYTES`] is refused before any work.
    pub fn open(self) -> Result<Signed<T>, OpenError> {
        if self.body.len() > T::MAX_BYTES {
            return Err(DecodeError::TooLarge { size: self.body.len(), limit: T::MAX_BYTES }.into());
        }
        self.signer.verify(&preimage::<T>(self.signer, &self.body), &self.signature)?;
        let value = codec::decode(&self.body, T::MAX_BYTES)?;
        Ok(Signed { envelope: self, value })
    }
}

/// A value that its signer did sign.
///
/// # Invariant
/// The signature of [`Signed::envelope`] verifies, and its body is the canonical encoding of the value: there is no other way to
/// make one than [`Signed::new`], which trusts its [`Signer`], and [`Envelope::open`], which trusts nobody.
pub struct Signed<T> {
    envelope: Envelope<T>,
    value: T,
}

impl<T: Message> Signed<T> {
    /// Signs `value`.
    ///
    /// # Errors
    /// [`SignerError`] if the signer does not sign, or if the value is longer than a reader would accept.
    pub fn new(value: T, signer: &(impl Signer + ?Sized)) -> Result<Self, SignerError> {
        let party = signer.party();
        let body = Bytes::from(codec::encode(&value));
        if body.len() > T::MAX_BYTES {
            return Err(SignerError::TooLarge { size: body.len(), limit: T::MAX_BYTES });
        }
        let signature = signer.sign(&preimage::<T>(party, &body))?;
        Ok(Self { envelope: Envelope { signer: party, signature, body, of: PhantomData }, value })
    }

    /// Who signed.
    #[must_use]
    pub const fn signer(&self) -> PartyId {
        self.envelope.signer
    }

    /// The value.
    #[must_use]
    pub const fn value(&self) -> &T {
        &self.value
    }

    /// The value, without its proof.
    #[must_use]
    pub fn into_value(self) -> T {
        self.value
    }

    /// What was received or is to be sent.
    #[must_use]
    pub const fn envelope(&self) -> &Envelope<T> {
        &self.envelope
    }

    /// What was received or is to be sent.
    #[must_use]
    pub fn into_envelope(self) -> Envelope<T> {
        self.envelope
    }

    /// See [`Envelope::digest`].
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.envelope.digest()
    }
}

/// Domain, signer, body: what is signed, and what the digest is taken of.
fn preimage<T: Message>(signer: PartyId, body: &[u8]) -> Vec<u8> {
    let mut preimage = T::DOMAIN.prefix();
    preimage.extend_from_slice(signer.as_bytes());
    preimage.extend_from_slice(body);
    preimage
}

impl<T> Clone for Envelope<T> {
    fn clone(&self) -> Self {
        Self { signer: self.signer, signature: self.signature, body: self.body.clone(), of: PhantomData }
    }
}

impl<T> PartialEq for Envelope<T> {
    fn eq(&self, other: &Self) -> bool {
        self.signer == other.signer && self.signature == other.signature && self.body == other.body
    }
}

impl<T> Eq for Envelope<T> {}

impl<T: Message> fmt::Debug for Envelope<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Envelope({}, {} bytes by {})", T::DOMAIN.name(), self.body.len(), self.signer.short())
    }
}

impl<T: Clone> Clone for Signed<T> {
    fn clone(&self) -> Self {
        Self { envelope: self.envelope.clone(), value: self.value.clone() }
    }
}

impl<T> PartialEq for Signed<T> {
    fn eq(&self, other: &Self) -> bool {
        self.envelope == other.envelope
    }
}

impl<T> Eq for Signed<T> {}

impl<T> Deref for Signed<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: fmt::Debug> fmt::Debug for Signed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signed").field("signer", &self.envelope.signer).field("value", &self.value).finish()
    }
}
