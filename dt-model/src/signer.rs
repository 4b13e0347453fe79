//! The signer seam: where a party's secret keys live.

use thiserror::Error;

use crate::{EncryptionKey, PartyId, Secret, Signature};

/// Why a signer did not do what it was asked.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SignerError {
    /// The signer does not hold the secret of this encryption key (it was rotated out, or is somebody else's).
    #[error("no secret for the encryption key {}", .0.short())]
    UnknownEncryptionKey(EncryptionKey),
    /// The agreed secret would be predictable (RFC 7748, section 6.1: the all-zero result).
    #[error("the peer's encryption key is not acceptable")]
    NonContributory,
    /// What is to be signed is longer than anybody would read ([`crate::Message::MAX_BYTES`]).
    #[error("{size} bytes are more than the limit of {limit}")]
    TooLarge {
        /// Bytes of the encoded value.
        size: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// The device that holds the keys did not answer or refused.
    #[error("the key store failed")]
    KeyStore(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Holds a party's keys and uses them on request: [`crate::Identity`] in memory, or an HSM, a smart card, a cloud key store.
///
/// What an implementer may get wrong: `sign` is plain Ed25519 (RFC 8032) over the message *as given*, neither pre-hashed nor
/// prefixed; `agree` refuses a non-contributory result; `party` and `encryption_key` do not change while the value lives, except
/// that the current encryption key may be rotated, after which secrets of former keys still agree. Calls are synchronous and may
/// block for the time of one signature; none may log its arguments' secrets. [`crate::testing::signer_suite`] checks all this.
pub trait Signer: Send + Sync {
    /// Whose keys these are.
    fn party(&self) -> PartyId;

    /// The current encryption key, the one to be registered on the ledger.
    fn encryption_key(&self) -> EncryptionKey;

    /// The party's signature over `message`.
    ///
    /// # Errors
    /// [`SignerError::KeyStore`] if the keys cannot be reached.
    fn sign(&self, message: &[u8]) -> Result<Signature, SignerError>;

    /// The X25519 secret (RFC 7748) shared between our key `own` and `peer`.
    ///
    /// # Errors
    /// [`SignerError::UnknownEncryptionKey`], [`SignerError::NonContributory`], or [`SignerError::KeyStore`].
    fn agree(&self, own: &EncryptionKey, peer: &EncryptionKey) -> Result<Secret, SignerError>;
}
