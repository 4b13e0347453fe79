//! A 32-byte symmetric secret, wiped when dropped, from which further secrets are derived.

use borsh::{BorshDeserialize, BorshSerialize};
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{ChaCha20Poly1305, Nonce};
use rand_core::CryptoRng;
use subtle::ConstantTimeEq as _;
use thiserror::Error;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::Domain;

/// Opening failed. Whether key, context or ciphertext was wrong is deliberately not said.
#[derive(Debug, Error, PartialEq, Eq, Clone, Copy)]
#[error("the sealed bytes do not open")]
pub struct SecretError;

/// A symmetric secret.
///
/// It has no `Display`, no serde form, and a `Debug` that shows nothing; it reaches the wire only inside something sealed.
#[derive(Clone, Zeroize, ZeroizeOnDrop, BorshSerialize, BorshDeserialize)]
pub struct Secret([u8; 32]);

impl Secret {
    /// A fresh secret.
    pub fn generate(rng: &mut (impl CryptoRng + ?Sized)) -> Self {
        let mut bytes = [0; 32];
        rng.fill_bytes(&mut bytes);
        Self(bytes)
    }

    /// The secret with these bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes, for a primitive that needs them.
    #[must_use]
    pub const fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// A secret for one purpose: BLAKE3's key derivation over this secret, `context` and `domain`.
    ///
    /// Different domains or contexts give independent secrets; none of them reveals this one.
    #[must_use]
    pub fn derive(&self, domain: Domain, context: &[u8]) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key(domain.name());
        hasher.update(&self.0);
        hasher.update(context);
        Self(*hasher.finalize().as_bytes())
    }

    /// Seals `plaintext` with ChaCha20-Poly1305 (RFC 8439) under the all-zero nonce, binding it to `context`.
    ///
    /// # Invariant
    /// A secret MUST seal at most one plaintext this way: derive one secret for each. The cipher does not commit to its key, so
    /// whoever opens checks a commitment to the key or to the plaintext besides.
    ///
    /// # Panics
    /// For a plaintext beyond 256 GiB, the cipher's limit.
    #[must_use]
    #[expect(clippy::expect_used, reason = "see Panics: no caller's limit admits that much")]
    pub fn seal_once(&self, context: &[u8], plaintext: &[u8]) -> Vec<u8> {
        let payload = Payload { msg: plaintext, aad: context };
        self.cipher().encrypt(&Nonce::default(), payload).expect("below the cipher's limit")
    }

    /// Opens what [`Secret::seal_once`] sealed under the same secret and context.
    ///
    /// # Errors
    /// [`SecretError`], without a reason.
    pub fn open_once(&self, context: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SecretError> {
        let payload = Payload { msg: sealed, aad: context };
        self.cipher().decrypt(&Nonce::default(), payload).map(Zeroizing::new).map_err(|_| SecretError)
    }

    fn cipher(&self) -> ChaCha20Poly1305 {
        ChaCha20Poly1305::new((&self.0).into())
    }
}

impl PartialEq for Secret {
    /// Takes the same time wherever the first difference lies.
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for Secret {}

impl core::fmt::Debug for Secret {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Secret(..)")
    }
}
