//! Who may take part: certificates by which an organisation's authority enrols a party (paper, sections 4.4 and 4.5).
//!
//! A certificate comes in one of two forms, [`Credential`]: our own, of some 200 bytes, or X.509, which a company's PKI issues already.

use borsh::{BorshDeserialize, BorshSerialize};
use bytes::Bytes;
use dt_model::{Digest, Domain, EncryptionKey, Envelope, Message, Name, OpenError, PartyId, Timestamp};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::membership::x509;

/// An organisation's statement that a key belongs to one of its parties, signed by the organisation's authority.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct Certificate {
    /// The chain on which it is good.
    pub chain: Digest,
    /// The party.
    pub party: PartyId,
    /// What people call it.
    pub name: Name,
    /// The key under which items are wrapped for it at first; the party may rotate it.
    pub encryption_key: EncryptionKey,
    /// The first moment at which it is valid.
    pub not_before: Timestamp,
    /// The first moment at which it is no longer valid.
    pub not_after: Timestamp,
}

impl Certificate {
    /// Whether `now` lies in its time.
    #[must_use]
    pub fn is_valid_at(&self, now: Timestamp) -> bool {
        self.not_before <= now && now < self.not_after
    }
}

impl Message for Certificate {
    const DOMAIN: Domain = Domain::new("dt/ledger/certificate/v1");
    const MAX_BYTES: usize = 1024;
}

/// The longest X.509 certificate that is read. With an Ed25519 key and signature they have some 300 to 1500 bytes.
pub const MAX_X509_BYTES: usize = 4096;

/// A certificate in the form in which the authority issued it. Nothing about it is verified.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Credential {
    /// Our own form. It names the chain, so it is good on no other.
    Compact(Envelope<Certificate>),
    /// An X.509 certificate, by the profile that [`Credential::open`] states.
    X509 {
        /// The authority that signed it. A certificate names its issuer by words only; the chain knows the key.
        authority: PartyId,
        /// Its DER encoding.
        certificate: Bytes,
        /// The key under which items are wrapped for the party, which X.509 has no place for. The party vouches for it: it signs the
        /// transaction in which this stands, and only the party whose key is certified can.
        encryption_key: EncryptionKey,
    },
}

/// Why a credential is not good. On the chain all of these are [`crate::Reason::BadCertificate`].
#[derive(Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum CredentialError {
    /// The signature does not hold, or the body is no certificate.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// It is for another chain.
    #[error("the certificate is for another chain")]
    WrongChain,
    /// It is longer than [`MAX_X509_BYTES`].
    #[error("the certificate has {0} bytes, more than {MAX_X509_BYTES}")]
    TooLarge(usize),
    /// It is no X.509 certificate of version 3 in DER, or goes on after its end.
    #[error("not an X.509 certificate of version 3 in DER")]
    Malformed,
    /// Its key or its signature is of another algorithm than Ed25519.
    #[error("the certificate's key and signature must be Ed25519 (RFC 8410)")]
    Algorithm,
    /// Its subject's key is none that a party can have: of small order, for example.
    #[error("the certificate's key is not acceptable")]
    Key,
    /// It is a certificate authority's.
    #[error("the certificate is an authority's, not a party's")]
    Authority,
    /// Its key is not for signing.
    #[error("the certificate's key is not for digital signatures")]
    Usage,
    /// It has an extension that must be understood and is not, or has one twice.
    #[error("the certificate has a critical extension that is not known, or one twice")]
    Extension,
}

impl From<Envelope<Certificate>> for Credential {
    fn from(certificate: Envelope<Certificate>) -> Self {
        Self::Compact(certificate)
    }
}

impl Credential {
    /// Who is said to have signed the certificate.
    #[must_use]
    pub const fn authority(&self) -> PartyId {
        match self {
            Self::Compact(envelope) => envelope.signer(),
            Self::X509 { authority, .. } => *authority,
        }
    }

    /// Verifies the certificate and reads it. Whether its authority is one of `chain`, and whether it is valid now, is for the caller to
    /// ask: the chain does when it is presented, and a party can beforehand, for this says what is wrong and the chain does not.
    ///
    /// # X.509
    /// The profile is a narrow one of RFC 5280 and RFC 8410, so that every replica comes to the same verdict:
    /// - DER without a byte more, at most [`MAX_X509_BYTES`], version 3;
    /// - the subject's key and the signature are Ed25519 (OID 1.3.101.112, no parameters). The signature is the authority's, strictly, over
    ///   the bytes of the TBSCertificate as received;
    /// - *basicConstraints*, if there, does not say CA; *keyUsage*, if there, has digitalSignature; no other extension is critical; none
    ///   stands twice;
    /// - the path is one link long: the authority's key is the trust anchor. Issuer, serial number and other extensions say nothing here.
    ///   There are no intermediate authorities, and no CRL or OCSP: a certificate is revoked by [`crate::Call::RevokeCertificate`].
    ///
    /// What it becomes: RFC 5280 counts the second of *notAfter* in, so [`Certificate::not_after`] is one second later, and
    /// 99991231235959Z, which stands for no end, is [`Timestamp::MAX`]. The name is the subject's common name, if there is one, as
    /// UTF8String or PrintableString, and it can be a [`Name`]; else it is the key in hex.
    ///
    /// An X.509 certificate names no chain: it is good on each that has its authority. What is signed there is signed by the party's own key
    /// for one chain, so nobody else gains by that; an authority that wants it otherwise has another key for another chain.
    ///
    /// # Errors
    /// [`CredentialError`].
    pub fn open(&self, chain: &Digest) -> Result<Certificate, CredentialError> {
        match self {
            Self::Compact(envelope) => {
                let certificate = envelope.clone().open()?.into_value();
                if certificate.chain == *chain { Ok(certificate) } else { Err(CredentialError::WrongChain) }
            }
            Self::X509 { authority, certificate, encryption_key } => {
                let read = x509::open(authority, certificate)?;
                let x509::Subject { party, name, not_before, not_after } = read;
                let encryption_key = *encryption_key;
                Ok(Certificate { chain: *chain, party, name, encryption_key, not_before, not_after })
            }
        }
    }
}
