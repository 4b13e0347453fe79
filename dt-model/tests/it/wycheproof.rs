//! Project Wycheproof's vectors against what this crate exposes: signatures, key agreement, sealing. Where we are stricter, it is said why.

use std::convert::Infallible;

use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{ChaCha20Poly1305, Nonce};
use dt_model::{EncryptionKey, Identity, PartyId, Secret, Signature, Signer as _, SignerError};
use rand_core::{TryCryptoRng, TryRng};
use wycheproof::{TestResult, aead, eddsa, xdh};

#[test]
fn signatures() {
    let set = eddsa::TestSet::load(eddsa::TestName::Ed25519).unwrap();
    let (mut valid, mut invalid) = (0, 0);
    for group in &set.test_groups {
        let key = PartyId::from_bytes(group.key.pk.as_slice().try_into().unwrap());
        for test in &group.tests {
            // What is no signature by its length alone cannot even be put into the type.
            let signature = <[u8; 64]>::try_from(test.sig.as_slice()).map(Signature::from);
            let holds = key
                .as_ref()
                .is_ok_and(|key| signature.is_ok_and(|signature| key.verify(&test.msg, &signature).is_ok()));
            // No deviation: the strict rule refuses nothing that these vectors call valid.
            assert_eq!(holds, test.result == TestResult::Valid, "{}: {}", test.tc_id, test.comment);
            if holds { valid += 1 } else { invalid += 1 }
        }
    }
    assert_eq!((valid, invalid), (88, 63), "all of them");
}

/// Gives the bytes that it was told, so that an identity has the secret of a vector.
struct Scripted<'a>(&'a [u8]);

impl TryRng for Scripted<'_> {
    type Error = Infallible;
    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }
    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }
    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        let (now, later) = self.0.split_at(bytes.len());
        bytes.copy_from_slice(now);
        self.0 = later;
        Ok(())
    }
}

impl TryCryptoRng for Scripted<'_> {}

#[test]
fn agreements() {
    let set = xdh::TestSet::load(xdh::TestName::X25519).unwrap();
    let (mut agreed, mut refused) = (0, 0);
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        let Ok(public) = <[u8; 32]>::try_from(test.public_key.as_slice()) else {
            assert_ne!(test.result, TestResult::Valid);
            continue;
        };
        let script = [&[7; 32], test.private_key.as_slice()].concat();
        let identity = Identity::generate(&mut Scripted(&script));
        let result = identity.agree(&identity.encryption_key(), &EncryptionKey::from(public));
        // Stricter: a shared secret that does not hang on our own key is refused (RFC 7748, section 6.1), as are all public keys of low
        // order. The vectors leave that open ("acceptable").
        if test.shared_secret.iter().all(|byte| *byte == 0) {
            assert!(matches!(result, Err(SignerError::NonContributory)), "{}: {}", test.tc_id, test.comment);
            assert_ne!(test.result, TestResult::Valid);
            refused += 1;
        } else {
            let shared = result.unwrap_or_else(|error| panic!("{}: {error}", test.tc_id));
            assert_eq!(shared.expose()[..], test.shared_secret[..], "{}: {}", test.tc_id, test.comment);
            assert_ne!(test.result, TestResult::Invalid);
            agreed += 1;
        }
    }
    assert_eq!((agreed, refused), (487, 31), "all of them");
}

#[test]
fn sealing() {
    let set = aead::TestSet::load(aead::TestName::ChaCha20Poly1305).unwrap();
    let (mut opened, mut refused) = (0, 0);
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        let Ok(nonce) = <[u8; 12]>::try_from(test.nonce.as_slice()) else {
            assert_eq!(test.result, TestResult::Invalid, "another length is no nonce");
            continue;
        };
        let key: [u8; 32] = test.key.as_slice().try_into().unwrap();
        let sealed = [test.ct.as_slice(), test.tag.as_slice()].concat();
        let payload = Payload { msg: &sealed, aad: &test.aad };
        // The cipher that everything is sealed with.
        let result = ChaCha20Poly1305::new((&key).into()).decrypt(&Nonce::from(nonce), payload);
        assert_eq!(result.is_ok(), test.result == TestResult::Valid, "{}: {}", test.tc_id, test.comment);
        if let Ok(plaintext) = &result {
            assert_eq!(plaintext[..], test.pt[..]);
            opened += 1;
        } else {
            refused += 1;
        }
        // What we expose is that cipher under the zero nonce, which no vector has.
        let (secret, cipher) = (Secret::from_bytes(key), ChaCha20Poly1305::new((&key).into()));
        let ours = secret.seal_once(&test.aad, &test.pt);
        let payload = Payload { msg: &test.pt, aad: &test.aad };
        assert_eq!(ours, cipher.encrypt(&Nonce::default(), payload).unwrap());
        assert_eq!(secret.open_once(&test.aad, &ours).unwrap()[..], test.pt[..]);
    }
    assert_eq!((opened, refused), (256, 60), "all of them");
}
