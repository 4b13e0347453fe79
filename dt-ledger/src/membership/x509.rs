//! X.509 certificates (RFC 5280) with Ed25519 keys (RFC 8410), by the profile that [`crate::Credential::open`] states.
//!
//! The signature is checked first, over the bytes as they came: what is parsed after it is what an authority of the chain has signed. Only the
//! frame (three elements of the outermost sequence) is read before.

use std::collections::BTreeSet;

use dt_model::{Name, PartyId, Signature, Timestamp};
use x509_cert::der::asn1::{AnyRef, BitStringRef, ObjectIdentifier, PrintableStringRef, Utf8StringRef};
use x509_cert::der::{Decode, Encode, Reader, SliceReader};
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::{BasicConstraints, KeyUsage};
use x509_cert::spki::AlgorithmIdentifierRef;
use x509_cert::time::Validity;
use x509_cert::{TbsCertificate, Version};

use crate::CredentialError;
use crate::membership::certificate::MAX_X509_BYTES;

/// What an X.509 certificate says about its subject.
pub(crate) struct Subject {
    pub(crate) party: PartyId,
    pub(crate) name: Name,
    pub(crate) not_before: Timestamp,
    pub(crate) not_after: Timestamp,
}

/// id-Ed25519 (RFC 8410, section 3).
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
/// id-at-commonName (RFC 5280, appendix A.1).
const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");
/// id-ce-keyUsage and id-ce-basicConstraints (RFC 5280, sections 4.2.1.3 and 4.2.1.9).
const KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.15");
const BASIC_CONSTRAINTS: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.19");
/// 9999-12-31T23:59:59Z, which means that a certificate has no end (RFC 5280, section 4.1.2.5).
const NO_END: u64 = 253_402_300_799;

/// Verifies that `authority` signed the certificate `der`, and reads it.
pub(crate) fn open(authority: &PartyId, der: &[u8]) -> Result<Subject, CredentialError> {
    if der.len() > MAX_X509_BYTES {
        return Err(CredentialError::TooLarge(der.len()));
    }
    let frame = Frame::read(der).map_err(|_| CredentialError::Malformed)?;
    if !is_ed25519(&frame.algorithm) {
        return Err(CredentialError::Algorithm);
    }
    let signature: [u8; 64] = frame
        .signature
        .as_bytes()
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or(CredentialError::Algorithm)?;
    authority
        .verify(frame.signed, &Signature::from(signature))
        .map_err(|error| CredentialError::Open(error.into()))?;
    let certificate = TbsCertificate::from_der(frame.signed).map_err(|_| CredentialError::Malformed)?;
    // What parses and would be written otherwise is not DER: a default that is spelled out, a date before 2050 as GeneralizedTime.
    if certificate.to_der().ok().as_deref() != Some(frame.signed) || certificate.version() != Version::V3 {
        return Err(CredentialError::Malformed);
    }
    if !is_ed25519(&AlgorithmIdentifierRef::from(certificate.signature())) {
        return Err(CredentialError::Algorithm);
    }
    check_extensions(certificate.extensions().map_or(&[], Vec::as_slice))?;
    let party = subject_key(&certificate)?;
    let (not_before, not_after) = times(certificate.validity());
    Ok(Subject {
        party,
        name: common_name(&certificate).unwrap_or_else(|| hex_name(&party)),
        not_before,
        not_after,
    })
}

/// A certificate's three parts (RFC 5280, section 4.1), the first unread.
struct Frame<'a> {
    signed: &'a [u8],
    algorithm: AlgorithmIdentifierRef<'a>,
    signature: BitStringRef<'a>,
}

impl<'a> Frame<'a> {
    fn read(der: &'a [u8]) -> x509_cert::der::Result<Self> {
        let mut reader = SliceReader::new(der)?;
        let frame = reader.sequence(|parts| {
            Ok::<_, x509_cert::der::Error>(Self {
                signed: parts.tlv_bytes()?,
                algorithm: parts.decode()?,
                signature: parts.decode()?,
            })
        })?;
        reader.finish()?;
        Ok(frame)
    }
}

/// RFC 8410, section 3: the parameters MUST be absent.
fn is_ed25519(algorithm: &AlgorithmIdentifierRef<'_>) -> bool {
    algorithm.oid == ED25519 && algorithm.parameters.is_none()
}

fn check_extensions(extensions: &[Extension]) -> Result<(), CredentialError> {
    let mut seen = BTreeSet::new();
    for extension in extensions {
        if !seen.insert(extension.extn_id) {
            return Err(CredentialError::Extension);
        }
        let value = extension.extn_value.as_bytes();
        match extension.extn_id {
            BASIC_CONSTRAINTS => {
                let read = BasicConstraints::from_der(value).map_err(|_| CredentialError::Malformed)?;
                if read.ca {
                    return Err(CredentialError::Authority);
                }
            }
            KEY_USAGE => {
                let read = KeyUsage::from_der(value).map_err(|_| CredentialError::Malformed)?;
                if !read.digital_signature() {
                    return Err(CredentialError::Usage);
                }
            }
            _ if extension.critical => return Err(CredentialError::Extension),
            _ => {}
        }
    }
    Ok(())
}

fn subject_key(certificate: &TbsCertificate) -> Result<PartyId, CredentialError> {
    let key = certificate.subject_public_key_info();
    if !is_ed25519(&AlgorithmIdentifierRef::from(&key.algorithm)) {
        return Err(CredentialError::Algorithm);
    }
    let bytes = key.subject_public_key.as_bytes().and_then(|bytes| bytes.try_into().ok());
    PartyId::from_bytes(bytes.ok_or(CredentialError::Key)?).map_err(|_| CredentialError::Key)
}

/// The first moment of a certificate's time, and the first after it.
fn times(validity: &Validity) -> (Timestamp, Timestamp) {
    let millis = |seconds: u64| Timestamp::from_millis(seconds.saturating_mul(1000));
    let last = validity.not_after.to_unix_duration().as_secs();
    let end = if last >= NO_END { Timestamp::MAX } else { millis(last + 1) };
    (millis(validity.not_before.to_unix_duration().as_secs()), end)
}

/// The subject's common name, where it has one and no two.
fn common_name(certificate: &TbsCertificate) -> Option<Name> {
    let mut names = certificate.subject().iter().filter(|attribute| attribute.oid == COMMON_NAME);
    let (Some(name), None) = (names.next(), names.next()) else { return None };
    let value = AnyRef::from(&name.value);
    let text = match value.decode_as::<Utf8StringRef<'_>>() {
        Ok(text) => text.as_str().to_owned(),
        Err(_) => value.decode_as::<PrintableStringRef<'_>>().ok()?.as_str().to_owned(),
    };
    Name::new(text).ok()
}

fn hex_name(party: &PartyId) -> Name {
    Name::abridged(&party.to_string())
}
