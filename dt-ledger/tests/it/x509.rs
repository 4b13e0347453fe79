//! X.509 certificates: made by two implementations that are not ours, and altered in every way that must not pass.

use bytes::Bytes;
use dt_ledger::testing::Fixture;
use dt_ledger::{AdmissionError, Call, Certificate, Credential, CredentialError, MAX_X509_BYTES, State as _};
use dt_model::testing::identity;
use dt_model::{Identity, Signer as _, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DnType, IsCa, KeyUsagePurpose, PublicKeyData,
    SerialNumber, SignatureAlgorithm, SigningKey, date_time_ymd,
};

use crate::support::*;

/// The certified party.
const PARTY: u64 = 60;
/// Made by OpenSSL 3.0, by the commands of [`openssl_issues_certificates`], for party [`PARTY`] and organisation 0; ends in 2126.
const BY_OPENSSL: &[u8] = include_bytes!("data/openssl.der");

/// A key as rcgen wants it.
struct Key<'a> {
    public: Vec<u8>,
    algorithm: &'static SignatureAlgorithm,
    signer: Option<&'a Identity>,
}

impl<'a> Key<'a> {
    fn of(identity: &'a Identity) -> Self {
        let public = identity.party().as_bytes().to_vec();
        Self { public, algorithm: &rcgen::PKCS_ED25519, signer: Some(identity) }
    }

    fn public(public: Vec<u8>, algorithm: &'static SignatureAlgorithm) -> Self {
        Self { public, algorithm, signer: None }
    }
}

impl PublicKeyData for Key<'_> {
    fn der_bytes(&self) -> &[u8] {
        &self.public
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        self.algorithm
    }
}

impl SigningKey for Key<'_> {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        let signer = self.signer.ok_or(rcgen::Error::RemoteKeyError)?;
        Ok(signer.sign(message).unwrap().as_ref().to_vec())
    }
}

/// A proper certificate's content, valid in 2024 and 2025.
fn proper() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.not_before = date_time_ymd(2024, 1, 1);
    params.not_after = date_time_ymd(2026, 1, 1);
    params.serial_number = Some(SerialNumber::from(vec![7]));
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "Filler GmbH");
    params.distinguished_name.push(DnType::CommonName, "filler maintenance");
    params
}

fn issue(params: &CertificateParams, subject: &Key<'_>, issuer: &Key<'_>) -> Vec<u8> {
    let mut authority = CertificateParams::default();
    authority.distinguished_name.push(DnType::CommonName, "an authority");
    let issuer = rcgen::Issuer::from_params(&authority, issuer);
    params.signed_by(subject, &issuer).unwrap().der().to_vec()
}

fn credential(chain: &Fixture, der: impl Into<Bytes>, party: &Identity) -> Credential {
    let authority = chain.authority(0).party();
    Credential::X509 { authority, certificate: der.into(), encryption_key: party.encryption_key() }
}

/// A chain, a party, and the content of its certificate changed by `change`, issued by organisation 0.
fn issued(change: impl FnOnce(&mut CertificateParams)) -> (Fixture, Identity, Vec<u8>) {
    let (chain, party) = (Fixture::default(), identity(PARTY));
    let mut params = proper();
    change(&mut params);
    let der = issue(&params, &Key::of(&party), &Key::of(&chain.authority(0)));
    (chain, party, der)
}

fn open(chain: &Fixture, der: Vec<u8>) -> Result<Certificate, CredentialError> {
    credential(chain, der, &identity(PARTY)).open(&chain.replica().chain())
}

fn refused(change: impl FnOnce(&mut CertificateParams)) -> CredentialError {
    let (chain, _, der) = issued(change);
    open(&chain, der).expect_err("is refused")
}

fn admitted(chain: &Fixture, party: &Identity, certificate: Credential) -> Option<AdmissionError> {
    let transaction = chain.sign(party, vec![Call::Register { certificate }]);
    chain.admit(&transaction).err()
}

#[test]
fn a_certificate_of_a_company_s_pki_enrols() {
    let (chain, party, der) = issued(|params| {
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.is_ca = IsCa::ExplicitNoCa;
        params.subject_alt_names = vec![rcgen::SanType::DnsName("filler.example".try_into().unwrap())];
        params.custom_extensions = vec![CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![5, 0])];
    });
    let certificate = credential(&chain, der, &party);
    chain.apply(&party, vec![Call::Register { certificate: certificate.clone() }]).unwrap();
    let record = chain.state().party(&party.party()).unwrap().unwrap();
    assert_eq!((record.name.as_str(), record.authority), ("filler maintenance", chain.authority(0).party()));
    assert_eq!(record.encryption_key, party.encryption_key());
    // RFC 5280 counts the second of notAfter, 2026-01-01T00:00:00Z, in.
    assert_eq!(record.not_after.to_string(), "2026-01-01T00:00:01.000Z");
    chain.apply(&party, vec![Call::RegisterNode { endpoints: vec![uri("x")] }]).unwrap();
    // The same on another chain with the same authority; with a fresh one it is nobody's.
    let other = Fixture::new(std::sync::Arc::new(dt_ledger::MemoryStore::default()), 1, 1);
    assert!(admitted(&other, &party, certificate.clone()).is_none());
    // Whoever else presents it has nothing of it.
    assert!(admitted(&chain, &identity(61), certificate).is_some());
}

#[test]
fn the_time_is_the_certificate_s_to_the_second() {
    let (chain, party, der) = issued(|params| {
        params.not_before += std::time::Duration::from_secs(10);
        params.not_after = params.not_before + std::time::Duration::from_secs(5);
    });
    let valid = || admitted(&chain, &party, credential(&chain, der.clone(), &party)).is_none();
    chain.wait(9_999);
    assert!(!valid(), "not yet");
    chain.wait(1);
    assert!(valid());
    chain.wait(5_999);
    assert!(valid(), "the last second counts");
    chain.wait(1);
    assert!(!valid(), "expired");

    let (chain, _, der) = issued(|params| params.not_after = date_time_ymd(2050, 1, 1));
    assert_eq!(open(&chain, der).unwrap().not_after.to_string(), "2050-01-01T00:00:01.000Z");
    let end = date_time_ymd(9999, 12, 31) + std::time::Duration::from_secs(86_399);
    let (chain, _, der) = issued(|params| params.not_after = end);
    assert_eq!(open(&chain, der).unwrap().not_after, Timestamp::MAX, "no end (RFC 5280, section 4.1.2.5)");
}

#[test]
fn a_name_is_the_common_name_or_the_key() {
    let named = |names: &[&str]| {
        let (chain, party, der) = issued(|params| {
            params.distinguished_name = rcgen::DistinguishedName::new();
            for name in names {
                params.distinguished_name.push(DnType::CommonName, *name);
            }
        });
        (open(&chain, der).unwrap().name.to_string(), party.party().to_string())
    };
    assert_eq!(named(&["Prüfstand 3"]).0, "Prüfstand 3");
    for names in [vec![], vec![""], vec!["evil\u{202e}live"], vec!["\u{0}"]] {
        let (name, key) = named(&names);
        assert_eq!(name, key, "{names:?}");
    }
    let long = "x".repeat(129);
    let (name, key) = named(&[&long]);
    assert_eq!(name, key);
}

#[test]
fn what_the_profile_does_not_allow_is_refused() {
    let extension = |oid: &[u64], critical| {
        let mut extension = CustomExtension::from_oid_content(oid, vec![5, 0]);
        extension.set_criticality(critical);
        extension
    };
    let ca = refused(|params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained));
    assert_eq!(ca, CredentialError::Authority);
    for usage in [KeyUsagePurpose::KeyAgreement, KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DecipherOnly]
    {
        assert_eq!(refused(|params| params.key_usages = vec![usage]), CredentialError::Usage);
    }
    let unknown = refused(|params| params.custom_extensions = vec![extension(&[1, 2, 3, 4], true)]);
    assert_eq!(unknown, CredentialError::Extension);
    let twice = refused(|params| params.custom_extensions = vec![extension(&[1, 2, 3, 4], false); 2]);
    assert_eq!(twice, CredentialError::Extension);
    // keyUsage and basicConstraints that are none.
    for known in [[2, 5, 29, 15], [2, 5, 29, 19]] {
        let malformed = refused(|params| params.custom_extensions = vec![extension(&known, false)]);
        assert_eq!(malformed, CredentialError::Malformed);
    }
    let large = refused(|params| {
        let content = vec![4; MAX_X509_BYTES];
        params.custom_extensions = vec![CustomExtension::from_oid_content(&[1, 2, 3, 4], content)];
    });
    assert!(matches!(large, CredentialError::TooLarge(_)));
}

#[test]
fn keys_and_signatures_of_other_kinds_are_refused() {
    let (chain, party) = (Fixture::default(), identity(PARTY));
    let authority = chain.authority(0);
    let of =
        |subject: &Key<'_>, issuer: &Key<'_>| open(&chain, issue(&proper(), subject, issuer)).unwrap_err();
    let by = Key::of(&authority);
    let p256 = Key::public([vec![4], vec![7; 64]].concat(), &rcgen::PKCS_ECDSA_P256_SHA256);
    assert_eq!(of(&p256, &by), CredentialError::Algorithm);
    let rsa = Key::public(vec![7; 270], &rcgen::PKCS_RSA_SHA256);
    assert_eq!(of(&rsa, &by), CredentialError::Algorithm);
    // Of small order, not on the curve, of another length.
    let neutral: Vec<u8> = [vec![1], vec![0; 31]].concat();
    for key in [vec![0; 32], neutral, vec![0xff; 32], vec![2; 31], vec![2; 33], vec![]] {
        assert_eq!(of(&Key::public(key, &rcgen::PKCS_ED25519), &by), CredentialError::Key);
    }
    // An Ed25519 signature that is called another.
    let called = Key { algorithm: &rcgen::PKCS_ECDSA_P256_SHA256, ..Key::of(&authority) };
    assert_eq!(of(&Key::of(&party), &called), CredentialError::Algorithm);
    // By another organisation, by the party itself, by a stranger.
    for other in [chain.authority(1), identity(PARTY), identity(62)] {
        let der = issue(&proper(), &Key::of(&party), &Key::of(&other));
        assert!(matches!(open(&chain, der.clone()), Err(CredentialError::Open(_))));
        let (authority, encryption_key) = (other.party(), party.encryption_key());
        let claimed = Credential::X509 { authority, certificate: der.into(), encryption_key };
        claimed.open(&chain.replica().chain()).expect("they did sign it");
        let admitted = admitted(&chain, &party, claimed).is_none();
        assert_eq!(admitted, other.party() == chain.authority(1).party(), "but only an authority counts");
    }
}

#[test]
fn no_other_bytes_than_those_signed_pass() {
    let (chain, _, der) = issued(|params| params.key_usages = vec![KeyUsagePurpose::DigitalSignature]);
    open(&chain, der.clone()).unwrap();
    for at in 0..der.len() {
        for bit in 0..8 {
            let mut altered = der.clone();
            altered[at] ^= 1 << bit;
            open(&chain, altered).expect_err("one bit is another");
        }
        assert_eq!(open(&chain, der[..at].to_vec()), Err(CredentialError::Malformed), "cut at {at}");
    }
    for more in [vec![0], vec![5, 0], der.clone()] {
        assert_eq!(open(&chain, [der.clone(), more].concat()), Err(CredentialError::Malformed));
    }
    // The same in BER: a length in three bytes where two are enough; an indefinite length.
    let (body, long) = (&der[4..], [&[0x30, 0x83, 0], &der[2..]].concat());
    assert_eq!(open(&chain, long), Err(CredentialError::Malformed));
    let indefinite = [&[0x30, 0x80], body, &[0, 0]].concat();
    assert_eq!(open(&chain, indefinite), Err(CredentialError::Malformed));
}

/// An element of DER.
fn element(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let length = u16::try_from(content.len()).unwrap();
    let [high, low] = length.to_be_bytes();
    let length = match length {
        0..128 => vec![low],
        128..256 => vec![0x81, low],
        _ => vec![0x82, high, low],
    };
    [vec![tag], length, content].concat()
}

/// What the authority signs as it is told: even what is no certificate.
fn signed(authority: &Identity, tbs: &[u8]) -> Vec<u8> {
    let algorithm = [0x30, 5, 6, 3, 0x2b, 0x65, 0x70];
    let signature = authority.sign(tbs).unwrap();
    element(0x30, &[tbs, &algorithm, &element(3, &[&[0], signature.as_ref()])])
}

#[test]
fn what_an_authority_signs_must_still_be_der_and_of_version_3() {
    let (chain, _, der) = issued(|params| params.is_ca = IsCa::ExplicitNoCa);
    let authority = chain.authority(0);
    assert!(der.starts_with(&[0x30, 0x82]) && der[4..].starts_with(&[0x30, 0x81]), "the lengths that follow");
    let tbs = &der[4..4 + 3 + usize::from(der[6])];
    assert_eq!(signed(&authority, tbs), der, "our own frame is rcgen's");
    let verdict = |tbs: Vec<u8>| open(&chain, signed(&authority, &tbs)).map(drop);
    verdict(tbs.to_vec()).unwrap();
    let content = &tbs[3..];
    let replaced = |from: &[u8], to: &[u8]| {
        let at = content.windows(from.len()).position(|window| window == from).expect("is there");
        element(0x30, &[&content[..at], to, &content[at + from.len()..]])
    };
    let malformed = Err(CredentialError::Malformed);
    let long = [&[0x30, 0x82, 0], &tbs[2..]].concat();
    assert_eq!(verdict(long), malformed, "a length in two bytes where one is enough");
    let twice = [tbs, &[0]].concat();
    assert_eq!(verdict(twice), Err(CredentialError::Malformed), "more after it");
    assert_eq!(verdict(replaced(&[0xa0, 3, 2, 1, 2], &[])), malformed, "version 1");
    assert_eq!(verdict(replaced(&[0xa0, 3, 2, 1, 2], &[0xa0, 3, 2, 1, 1])), malformed, "version 2");
    assert_eq!(verdict(replaced(&[0xa0, 3, 2, 1, 2], &[0xa0, 3, 2, 1, 3])), malformed, "version 4");
    let (utc, general) = (element(0x17, &[b"260101000000Z"]), element(0x18, &[b"20260101000000Z"]));
    let at = content.windows(utc.len()).position(|window| window == utc).unwrap();
    let not_before = &content[at - utc.len()..at];
    let (both, times) = (element(0x30, &[not_before, &utc]), element(0x30, &[not_before, &general]));
    assert_eq!(verdict(replaced(&both, &times)), malformed, "a date before 2050 is a UTCTime");
    let algorithm = [0x30, 5, 6, 3, 0x2b, 0x65, 0x70];
    let with_null = [0x30, 7, 6, 3, 0x2b, 0x65, 0x70, 5, 0];
    assert_eq!(verdict(replaced(&algorithm, &with_null)), Err(CredentialError::Algorithm), "parameters");
    assert_eq!(
        verdict(replaced(&algorithm, &[0x30, 5, 6, 3, 0x2b, 0x65, 0x71])),
        Err(CredentialError::Algorithm)
    );
    assert_eq!(verdict(vec![]), malformed);
    assert_eq!(verdict(b"no certificate".to_vec()), malformed);
    assert_eq!(open(&chain, vec![]).map(drop), malformed);
}

#[test]
fn whatever_an_authority_signs_there_is_a_verdict() {
    let (chain, _, der) = issued(|params| {
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    });
    let authority = chain.authority(0);
    let tbs = &der[4..4 + 3 + usize::from(der[6])];
    let good = open(&chain, signed(&authority, tbs)).unwrap();
    let mut passed = 0;
    for at in 0..tbs.len() {
        for bit in 0..8 {
            let mut altered = tbs.to_vec();
            altered[at] ^= 1 << bit;
            // Another name, time, serial number or key is another certificate; most are none.
            if let Ok(certificate) = open(&chain, signed(&authority, &altered)) {
                passed += 1;
                assert_eq!(
                    (certificate.chain, certificate.encryption_key),
                    (good.chain, good.encryption_key)
                );
            }
        }
        open(&chain, signed(&authority, &tbs[..at])).expect_err("it is cut");
    }
    assert!(passed > 0, "a letter of the issuer's name is not looked at");
}

#[test]
fn renewed_by_x509_what_was_enrolled_in_our_own_form() {
    let (chain, party, der) = issued(|_| {});
    let short = Certificate {
        chain: chain.replica().chain(),
        party: party.party(),
        name: name("short"),
        encryption_key: party.encryption_key(),
        not_before: chain.now(),
        not_after: Timestamp::from_millis(chain.now().as_millis() + 1000),
    };
    let short = dt_model::Signed::new(short, &chain.authority(0)).unwrap().into_envelope().into();
    chain.apply(&party, vec![Call::Register { certificate: short }]).unwrap();
    chain.wait(999);
    let other_key = Credential::X509 {
        authority: chain.authority(0).party(),
        certificate: der.into(),
        encryption_key: identity(63).encryption_key(),
    };
    chain.apply(&party, vec![Call::Register { certificate: other_key }]).unwrap();
    chain.wait(1);
    let record = chain.state().active_party(&party.party(), chain.now()).unwrap().expect("takes part on");
    assert_eq!((record.name.as_str(), record.encryption_key), ("filler maintenance", party.encryption_key()));
}

/// Enrols the party of `certificate`, made by openssl, as soon as it is valid.
fn enrols(certificate: Vec<u8>) {
    let (chain, party) = (Fixture::default(), identity(PARTY));
    let opened = open(&chain, certificate.clone()).expect("a certificate that openssl made");
    chain.wait(opened.not_before.since(chain.now()).as_millis().try_into().unwrap());
    let certificate = credential(&chain, certificate, &party);
    chain.apply(&party, vec![Call::Register { certificate }]).unwrap();
    assert_eq!(chain.state().party(&party.party()).unwrap().unwrap().name.as_str(), "Filler Maintenance");
}

#[test]
fn a_certificate_that_openssl_made_enrols() {
    enrols(BY_OPENSSL.to_vec());
}

#[test]
fn openssl_issues_certificates() {
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &str| {
        let output = std::process::Command::new("openssl")
            // A tilde is a space that does not part arguments.
            .args(arguments.split(' ').map(|argument| argument.replace('~', " ")))
            .current_dir(folder.path())
            .output();
        output.map(|output| assert!(output.status.success(), "{arguments}: {output:?}"))
    };
    if run("version").is_err() {
        eprintln!("openssl is not installed: only the certificate that it made once is tested");
        return;
    }
    // PKCS #8 of an Ed25519 key (RFC 8410, section 7). The fixture's keys follow from numbers.
    let secret = |file: &str, seed: u64| {
        let mut key = vec![0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
        key.extend(blake3::hash(&seed.to_le_bytes()).as_bytes());
        std::fs::write(folder.path().join(file), key).unwrap();
    };
    secret("authority.key", 1 << 40);
    secret("party.key", PARTY);
    std::fs::write(
        folder.path().join("party.ext"),
        "basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n",
    )
    .unwrap();
    let issue = |subject: &str| {
        run("req -new -x509 -key authority.key -keyform DER -subj /O=Owner/CN=Authority -days 9 -out ca.pem")
            .unwrap();
        run(&format!(
            "req -new -key {subject} -keyform DER -subj /O=Filler/CN=Filler~Maintenance -out party.csr"
        ))
        .unwrap();
        run("x509 -req -in party.csr -CA ca.pem -CAkey authority.key -CAkeyform DER -CAcreateserial -days 36500 -extfile party.ext -outform DER -out party.der").unwrap();
        std::fs::read(folder.path().join("party.der")).unwrap()
    };
    enrols(issue("party.key"));
    // Keys of other kinds.
    let chain = Fixture::default();
    run("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -outform DER -out p256.key").unwrap();
    run("genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -outform DER -out rsa.key").unwrap();
    run("genpkey -algorithm ED448 -outform DER -out ed448.key").unwrap();
    for key in ["p256.key", "rsa.key", "ed448.key"] {
        assert_eq!(open(&chain, issue(key)), Err(CredentialError::Algorithm), "{key}");
    }
    // The authority's own certificate is no party's.
    run("x509 -in ca.pem -outform DER -out ca.der").unwrap();
    let own = std::fs::read(folder.path().join("ca.der")).unwrap();
    assert_eq!(open(&chain, own), Err(CredentialError::Authority));
}
