//! Golden bytes. Whoever breaks one of these breaks the wire, the disk, or a signature made earlier.
//!
//! The expected values do not come from the code under test: they are published vectors (RFC 8032, RFC 7748, FIPS 180), or were
//! computed from the formats' descriptions with other implementations (OpenSSL's Ed25519, X25519, Argon2id and
//! ChaCha20-Poly1305; the reference BLAKE3).

use core::fmt::Debug;

use borsh::{BorshDeserialize, BorshSerialize};
use dt_model::{
    ComponentId, ContentHash, DataClass, DataElement, Digest, Domain, EncryptionKey, Envelope, Identity,
    Operation, PartyId, Permission, Protection, Secret, Signature, Signed, Signer as _, SignerError,
    Timestamp, TwinId, codec,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::sample::{
    ALICE, ALICE_PUBLIC, BOB, BOB_PUBLIC, CountingRng, Note, PARTY, SIGNING, hex, identity_of, note,
    owner_only_file, private_file, unhex,
};

const TEST: Domain = Domain::new("dt/model/test/v1");
/// The passphrase of the file below, which holds the keys of the two RFCs under a salt that counts up from zero.
const PASSPHRASE: &str = "correct horse battery staple";
const PASSPHRASE_FILE: &str = "010000010003000000000102030405060708090a0b0c0d0e0f740000009fac43a259e1d24b37cbaaa59c2823fb148944d1ae2de2d21c9590cf1fd8073a0ca32713dab1c15a6e89971ca9b95a867d148cf27cae6175f42a1e5e42d8ba0d428e0877b318dbe07caec193970fab36861775bba452199b356ed748fa29590a9eeb1796ae17e44da14c160041db041288bfd4c1";

#[track_caller]
fn golden_borsh<T: BorshSerialize + BorshDeserialize + PartialEq + Debug>(value: &T, expected: &str) {
    let bytes = codec::encode(value);
    assert_eq!(hex(&bytes), expected);
    assert_eq!(codec::decode::<T>(&bytes, bytes.len()).as_ref(), Ok(value));
}

#[track_caller]
fn golden<T>(value: &T, expected: &str, json: &str)
where
    T: BorshSerialize + BorshDeserialize + Serialize + DeserializeOwned + PartialEq + Debug,
{
    golden_borsh(value, expected);
    assert_eq!(serde_json::to_string(value).unwrap(), json);
    assert_eq!(&serde_json::from_str::<T>(json).unwrap(), value);
}

#[test]
fn names_and_numbers() {
    let (bytes, quoted) = ("ab".repeat(32), format!("\"{}\"", "ab".repeat(32)));
    golden(&Digest::from([0xab; 32]), &bytes, &quoted);
    golden(&ContentHash::from([0xab; 32]), &bytes, &quoted);
    golden(&TwinId::from([0xab; 32]), &bytes, &quoted);
    golden(&EncryptionKey::from([0xab; 32]), &bytes, &quoted);
    golden(&Signature::from([0xcd; 64]), &"cd".repeat(64), &format!("\"{}\"", "cd".repeat(64)));
    golden(&PARTY.parse::<PartyId>().unwrap(), PARTY, &format!("\"{PARTY}\""));
    golden_borsh(&Secret::from_bytes([0xef; 32]), &"ef".repeat(32));
    golden(&Timestamp::from_millis(0x0102_0304), "0403020100000000", "16909060");
    golden(&Timestamp::MAX, "ffffffffffffffff", "18446744073709551615");
    golden(&"Füller".parse::<ComponentId>().unwrap(), "0700000046c3bc6c6c6572", "\"Füller\"");
    assert_eq!(hex(Digest::ZERO.as_bytes()), "00".repeat(32));
}

#[test]
fn formal_basis() {
    let classes = ["specification", "document", "external-source", "sensor", "program", "policy"];
    for ((class, name), tag) in DataClass::ALL.iter().zip(classes).zip(0u8..) {
        golden(class, &hex(&[tag]), &format!("\"{name}\""));
    }
    let operations = [
        (Operation::Read, "read"),
        (Operation::Write, "write"),
        (Operation::Execute, "execute"),
        (Operation::Administer, "administer"),
    ];
    for ((operation, name), tag) in operations.into_iter().zip(0u8..) {
        golden(&operation, &hex(&[tag]), &format!("\"{name}\""));
    }
    golden(
        &Permission::new(Operation::Execute, DataClass::Program),
        "0204",
        r#"{"operation":"execute","class":"program"}"#,
    );
    let twin = "07".repeat(32);
    let mut element = DataElement { twin: TwinId::from([7; 32]), class: DataClass::Sensor, component: None };
    golden(
        &element,
        &format!("{twin}0300"),
        &format!(r#"{{"twin":"{twin}","class":"sensor","component":null}}"#),
    );
    element.component = Some("P1".parse().unwrap());
    golden(
        &element,
        &format!("{twin}0301020000005031"),
        &format!(r#"{{"twin":"{twin}","class":"sensor","component":"P1"}}"#),
    );
}

#[test]
fn domain_hashes() {
    assert_eq!(TEST.prefix(), b"\x10dt/model/test/v1");
    let sha256 = "e00f97987b839617b96ba36c68c7becf87d22bbefcff4c44f37637a0b370c490";
    let blake3 = "118bfec444b99d353cfa3d7fbee10f2ccfea2b54545d7be32a613d429ae5461f";
    for parts in [&[b"abc".as_slice()] as &[&[u8]], &[b"ab", b"c"], &[b"", b"a", b"bc", b""]] {
        assert_eq!(TEST.sha256(parts).to_string(), sha256);
        assert_eq!(TEST.blake3(parts).to_string(), blake3);
    }
    assert_eq!(
        TEST.sha256_of("abc").to_string(),
        "2147f47978e7e890d169306f332d58089d5598ed6cb1f8b6be4fc11bb03e571d"
    );
    assert_eq!(
        TEST.blake3_of("abc").to_string(),
        "5fba63c2f598e27f0a4b3ebd74e847dab407ea5bee17cd3a574fd0cd61b6fcd1"
    );
}

/// A name that goes on where another's payload starts gives another preimage, because the name's length comes first.
#[test]
fn domains_do_not_overlap() {
    let (short, long) = (Domain::new("dt/a"), Domain::new("dt/a/b"));
    assert_ne!(short.sha256(&[b"/b"]), long.sha256(&[]));
    assert_ne!(short.blake3(&[b"/b"]), long.blake3(&[]));
}

/// FIPS 180's "abc" and the empty message: what `sha256sum` prints.
#[test]
fn content_hash_is_plain_sha256() {
    let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    assert_eq!(ContentHash::of(b"abc").to_string(), abc);
    assert_eq!(ContentHash::of(b"").to_string(), empty);
}

#[test]
fn secrets() {
    let secret = Secret::from_bytes([0x42; 32]);
    let derived = "feb4ce160e5ea90467f2b5e31f60a64415ccc132da7c987721d20cacfe9e5f76";
    assert_eq!(hex(secret.derive(TEST, b"item 7").expose()), derived);
    assert_ne!(secret.derive(TEST, b"item 8"), secret.derive(TEST, b"item 7"));
    assert_ne!(secret.derive(Domain::new("dt/model/test/v2"), b"item 7"), secret.derive(TEST, b"item 7"));

    let sealed = secret.seal_once(b"tank 3", b"21.5 degrees");
    assert_eq!(hex(&sealed), "6b57ca1e3dd056aa9ec43147643a16f6e2967fac023cc897b9a53b22");
    assert_eq!(**secret.open_once(b"tank 3", &sealed).unwrap(), *b"21.5 degrees");
    assert!(secret.open_once(b"tank 4", &sealed).is_err(), "another context");
    assert!(Secret::from_bytes([0x43; 32]).open_once(b"tank 3", &sealed).is_err(), "another secret");
    for length in 0..sealed.len() {
        assert!(secret.open_once(b"tank 3", &sealed[..length]).is_err(), "cut to {length} bytes");
    }
    for bit in 0..sealed.len() * 8 {
        let mut damaged = sealed.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert!(secret.open_once(b"tank 3", &damaged).is_err(), "bit {bit} flipped");
    }
    assert_eq!(**secret.open_once(b"", &secret.seal_once(b"", b"")).unwrap(), *b"");
}

#[test]
fn envelope() {
    let signature = "9523b3749917ffd61ff938d1ffdb19e5c8682e52841b11a0db8205eda234f11662fa206aab8772a6777fdaf7918ea1f41a6a381c57ca5dcf6275a9b4408bd705";
    let body = format!("{}7b68e5cf8b0100000f00000073656e736f72207265706c61636564", "11".repeat(32));
    let signed = Signed::new(note(), &identity_of(SIGNING, &[ALICE])).unwrap();
    let wire = codec::encode(signed.envelope());
    assert_eq!(hex(&wire), format!("{PARTY}{signature}3b000000{body}"));
    assert_eq!(
        signed.digest().to_string(),
        "9687cd401faf61d31f5649716d1fbe9ebc90426be66c868ca0aa4ff6dcb27b3f"
    );

    let received: Envelope<Note> = codec::decode(&wire, wire.len()).unwrap();
    assert_eq!(received.signer().to_string(), PARTY);
    assert_eq!(received.signature().to_string(), signature);
    assert_eq!(hex(received.body()), body);
    assert_eq!(received.open().unwrap().into_value(), note());

    let json = serde_json::to_string(signed.envelope()).unwrap();
    let list = serde_json::to_string(&unhex(&body)).unwrap();
    assert_eq!(json, format!(r#"{{"signer":"{PARTY}","signature":"{signature}","body":{list}}}"#));
    let received: Envelope<Note> = serde_json::from_str(&json).unwrap();
    assert_eq!(&received, signed.envelope());
}

/// RFC 8032, section 7.1, tests 1 to 3.
#[test]
fn rfc8032() {
    let vectors = [
        (
            SIGNING,
            PARTY,
            b"".as_slice(),
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
        ),
        (
            "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
            b"\x72",
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
        ),
        (
            "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
            "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
            b"\xaf\x82",
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
        ),
    ];
    for (secret, public, message, signature) in vectors {
        let party: PartyId = public.parse().unwrap();
        assert_eq!(party.verify(message, &signature.parse().unwrap()), Ok(()));
        assert!(party.verify(&[message, b"."].concat(), &signature.parse().unwrap()).is_err());

        let identity = identity_of(secret, &[ALICE]);
        assert_eq!(identity.party(), party);
        assert_eq!(identity.sign(message).unwrap().to_string(), signature);
    }
}

/// RFC 7748, section 6.1.
#[test]
fn rfc7748() {
    let shared = "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742";
    let (alice, bob) = (identity_of(SIGNING, &[ALICE]), identity_of(SIGNING, &[BOB]));
    assert_eq!(alice.encryption_key().to_string(), ALICE_PUBLIC);
    assert_eq!(bob.encryption_key().to_string(), BOB_PUBLIC);
    let agreed = alice.agree(&alice.encryption_key(), &bob.encryption_key()).unwrap();
    assert_eq!(hex(agreed.expose()), shared);
    let agreed = bob.agree(&bob.encryption_key(), &alice.encryption_key()).unwrap();
    assert_eq!(hex(agreed.expose()), shared);
}

/// The points of small order on the curve and its twist, with the other encodings that a decoder takes for them.
#[test]
fn x25519_small_order_keys_are_refused() {
    let small = [
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    ];
    let alice = identity_of(SIGNING, &[ALICE]);
    for key in small {
        let mut bytes: [u8; 32] = unhex(key).try_into().unwrap();
        for top_bit in [0, 0x80] {
            bytes[31] |= top_bit;
            let refused = alice.agree(&alice.encryption_key(), &EncryptionKey::from(bytes));
            assert!(matches!(refused, Err(SignerError::NonContributory)), "{key} with top bit {top_bit}");
        }
    }
}

#[test]
fn owner_only_identity_file() {
    let identity = identity_of(SIGNING, &[ALICE, BOB]);
    let (_folder, path) = private_file(b"");
    identity.save(&path, Protection::OwnerOnly, &mut CountingRng(0)).unwrap();
    let file = std::fs::read(&path).unwrap();
    let checksum = "ea84888f94d268a9834e9ecdac52d398657acfeb1d4811f2368948e19cc2d279";
    assert_eq!(hex(&file), format!("00{SIGNING}02000000{ALICE}{BOB}{checksum}"));
    assert_eq!(file, owner_only_file(SIGNING, &[ALICE, BOB]));
}

/// Tag, Argon2id cost (65536 KiB, 3 passes), salt, and the sealed keys: the whole file follows from keys, passphrase and salt.
#[test]
fn passphrase_identity_file() {
    let identity = identity_of(SIGNING, &[ALICE, BOB]);
    let (_folder, path) = private_file(b"");
    identity.save(&path, Protection::Passphrase(PASSPHRASE), &mut CountingRng(0)).unwrap();
    assert_eq!(hex(&std::fs::read(&path).unwrap()), PASSPHRASE_FILE);

    let loaded = Identity::load(&path, Protection::Passphrase(PASSPHRASE)).unwrap();
    assert_eq!((loaded.party(), loaded.encryption_key()), (identity.party(), identity.encryption_key()));
}
