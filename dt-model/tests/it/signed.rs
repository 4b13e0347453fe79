//! What a signature covers: signer, domain and every byte of the body; and what is refused before it is looked at.

use borsh::{BorshDeserialize, BorshSerialize};
use dt_model::{
    DecodeError, Domain, EncryptionKey, Envelope, Identity, Message, OpenError, PartyId, Secret, Signature,
    SignatureError, Signed, Signer, SignerError, decode, encode, testing,
};

use crate::sample::{Note, note};

/// Signer, signature, then the body with its length in four bytes.
const SIGNATURE: core::ops::Range<usize> = 32..96;
const BODY: usize = 100;
const UNSIGNED: Result<(), OpenError> = Err(OpenError::Signature(SignatureError));

/// As [`Note`], for another purpose.
#[derive(Debug, BorshSerialize, BorshDeserialize)]
struct OtherPurpose(Note);

impl Message for OtherPurpose {
    const DOMAIN: Domain = Domain::new("dt/model/test-note/v2");
    const MAX_BYTES: usize = Note::MAX_BYTES;
}

fn signed(seed: u64) -> Signed<Note> {
    Signed::new(note(), &testing::identity(seed)).unwrap()
}

fn open<T: Message>(wire: &[u8]) -> Result<(), OpenError> {
    decode::<Envelope<T>>(wire, wire.len())?.open().map(|_| ())
}

/// The wire form of any body, properly signed for `T`.
fn wire<T: Message>(body: &[u8], signer: &Identity) -> Vec<u8> {
    let preimage = [&T::DOMAIN.prefix(), signer.party().as_bytes().as_slice(), body].concat();
    let signature = signer.sign(&preimage).unwrap();
    encode(&(signer.party(), signature, body.to_vec()))
}

#[test]
fn a_signed_value_opens_to_itself() {
    let signed = signed(1);
    let opened = decode::<Envelope<Note>>(&encode(signed.envelope()), 256).unwrap().open().unwrap();
    assert_eq!(opened.value(), &note());
    assert_eq!(opened.text.as_str(), "sensor replaced", "the value's fields are at hand");
    assert_eq!((opened.signer(), opened.digest()), (testing::identity(1).party(), signed.digest()));
    assert_eq!(opened, signed);
    assert_eq!(opened.clone().into_envelope(), signed.into_envelope());
    assert_eq!(opened.into_value(), note());
}

#[test]
fn no_bit_can_be_changed() {
    let wire = encode(signed(1).envelope());
    assert_eq!(open::<Note>(&wire), Ok(()));
    for bit in 0..wire.len() * 8 {
        let mut changed = wire.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert!(open::<Note>(&changed).is_err(), "bit {bit}");
    }
}

#[test]
fn the_signature_is_judged_before_the_body_is_read() {
    let mut wire = encode(signed(1).envelope());
    wire[BODY..].fill(0xff);
    assert_eq!(open::<Note>(&wire), UNSIGNED);
}

#[test]
fn a_signature_serves_one_domain() {
    let wire = encode(signed(1).envelope());
    assert_eq!(open::<OtherPurpose>(&wire), UNSIGNED);
    let digest = decode::<Envelope<OtherPurpose>>(&wire, 256).unwrap().digest();
    assert_ne!(digest, signed(1).digest());
}

#[test]
fn a_signature_serves_one_signer() {
    let mut wire = encode(signed(1).envelope());
    wire[..32].copy_from_slice(testing::identity(2).party().as_bytes());
    assert_eq!(open::<Note>(&wire), UNSIGNED);
    wire[SIGNATURE].copy_from_slice(signed(2).envelope().signature().as_bytes());
    assert_eq!(open::<Note>(&wire), Ok(()), "which is what the other signer would have sent");
}

/// The signature of a body alone, of a digest, or of the bytes without their domain is none.
#[test]
fn the_whole_preimage_is_signed() {
    let identity = testing::identity(1);
    let body = encode(&note());
    let prefix = Note::DOMAIN.prefix();
    let party = identity.party();
    let preimages = [
        body.clone(),
        [party.as_bytes().as_slice(), &body].concat(),
        [prefix.as_slice(), &body].concat(),
        [Note::DOMAIN.name().as_bytes(), party.as_bytes(), &body].concat(),
        signed(1).digest().as_bytes().to_vec(),
    ];
    for preimage in preimages {
        let signature = identity.sign(&preimage).unwrap();
        assert_eq!(open::<Note>(&encode(&(party, signature, body.clone()))), UNSIGNED);
    }
    assert_eq!(open::<Note>(&wire::<Note>(&body, &identity)), Ok(()));
}

/// A garbage signature over too large a body is reported as too large: the signature was not looked at.
#[test]
fn an_oversized_body_is_refused_before_any_work() {
    let forged =
        |size: usize| encode(&(testing::identity(1).party(), Signature::from([0xff; 64]), vec![0u8; size]));
    let limit = Note::MAX_BYTES;
    let too_large = |size| Err(OpenError::Decode(DecodeError::TooLarge { size, limit }));
    assert_eq!(open::<Note>(&forged(limit)), UNSIGNED);
    assert_eq!(open::<Note>(&forged(limit + 1)), too_large(limit + 1));
    assert_eq!(open::<Note>(&forged(1 << 20)), too_large(1 << 20));
}

#[test]
fn the_limit_itself_is_within_it() {
    let with_text = |length: usize| Note { text: "x".repeat(length).parse().unwrap(), ..note() };
    let fits = Signed::new(with_text(20), &testing::identity(1)).unwrap().into_envelope();
    assert_eq!(fits.body().len(), Note::MAX_BYTES);
    assert!(fits.open().is_ok());
    // An author is told before any reader refuses it.
    let exceeds = Signed::new(with_text(21), &testing::identity(1)).map(drop);
    let limit = Note::MAX_BYTES;
    assert!(
        matches!(exceeds, Err(SignerError::TooLarge { size, limit: found }) if size == limit + 1 && found == limit)
    );
}

/// Whoever holds a key can sign anything, so a proper signature does not make a body canonical.
#[test]
fn a_signed_body_must_still_be_canonical() {
    let identity = testing::identity(1);
    let body = encode(&note());
    let longer = [body.as_slice(), &[0]].concat();
    let refused = open::<Note>(&wire::<Note>(&longer, &identity));
    assert!(matches!(refused, Err(OpenError::Decode(DecodeError::NotCanonical { .. }))), "{refused:?}");
    for malformed in [&body[1..], &body[..body.len() - 1], &[]] {
        let refused = open::<Note>(&wire::<Note>(malformed, &identity));
        assert!(matches!(refused, Err(OpenError::Decode(DecodeError::Malformed { .. }))), "{refused:?}");
    }
}

#[test]
fn the_digest_is_of_domain_signer_and_body() {
    let wire = encode(signed(1).envelope());
    let digest = |wire: &[u8]| decode::<Envelope<Note>>(wire, 256).unwrap().digest();
    assert_eq!(digest(&wire), signed(1).digest());

    let mut other_signature = wire.clone();
    other_signature[SIGNATURE].fill(0);
    assert_eq!(digest(&other_signature), digest(&wire), "not of the signature");

    let mut other_signer = wire.clone();
    other_signer[..32].copy_from_slice(testing::identity(2).party().as_bytes());
    assert_ne!(digest(&other_signer), digest(&wire), "of the signer");

    for at in BODY..wire.len() {
        let mut other_body = wire.clone();
        other_body[at] ^= 1;
        assert_ne!(digest(&other_body), digest(&wire), "of byte {at}");
    }
}

#[test]
fn envelopes_differ_where_any_part_does() {
    let (one, two) = (signed(1), signed(2));
    assert_ne!(one, two);
    let mut wire = encode(one.envelope());
    wire[SIGNATURE].fill(0);
    assert_ne!(&decode::<Envelope<Note>>(&wire, 256).unwrap(), one.envelope());
}

#[test]
fn debug_tells_what_and_who() {
    let signed = signed(1);
    let who = signed.signer().short();
    let envelope = format!("{:?}", signed.envelope());
    assert_eq!(envelope, format!("Envelope(dt/model/test-note/v1, 59 bytes by {who})"));
    assert!(format!("{signed:?}").contains("sensor replaced"));
}

/// Keys that are out of reach.
struct Unplugged(Identity);

impl Signer for Unplugged {
    fn party(&self) -> PartyId {
        self.0.party()
    }

    fn encryption_key(&self) -> EncryptionKey {
        self.0.encryption_key()
    }

    fn sign(&self, _: &[u8]) -> Result<Signature, SignerError> {
        Err(SignerError::KeyStore("no card in the reader".into()))
    }

    fn agree(&self, own: &EncryptionKey, _: &EncryptionKey) -> Result<Secret, SignerError> {
        Err(SignerError::UnknownEncryptionKey(*own))
    }
}

#[test]
fn a_failing_signer_signs_nothing() {
    let refused = Signed::new(note(), &Unplugged(testing::identity(1)));
    let Err(SignerError::KeyStore(cause)) = refused else { panic!("{refused:?}") };
    assert_eq!(cause.to_string(), "no card in the reader");
}

/// A seam is used through its trait object as well.
#[test]
fn any_signer_will_do() {
    let signer: Box<dyn Signer> = Box::new(testing::identity(1));
    assert_eq!(Signed::new(note(), &*signer).unwrap(), signed(1));
}
