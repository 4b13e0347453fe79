//! The 914 edge cases of C2SP/CCTV: replicas MUST give the same verdict on every signature, so each of ours is written down.
//!
//! An upgrade of the signature library that changes one verdict would split a ledger; it fails here first.

use dt_model::{PartyId, Signature};
use ed25519_dalek::VerifyingKey;

use crate::sample::unhex;

const TABLE: &str = include_str!("../vectors/cctv_ed25519.tsv");
/// Rows of the source, none left out.
const CASES: usize = 914;
/// Rows that the strict rule accepts.
const ACCEPTED: usize = 43;

struct Case {
    number: usize,
    key: [u8; 32],
    signature: [u8; 64],
    message: &'static str,
    flags: Vec<&'static str>,
    accepted: bool,
}

impl Case {
    fn read(row: &'static str) -> Self {
        let fields: Vec<&str> = row.split('\t').collect();
        let [number, key, signature, message, flags, verdict] = fields[..] else {
            panic!("six columns, not {}: {row}", fields.len())
        };
        Self {
            number: number.parse().unwrap(),
            key: unhex(key).try_into().unwrap(),
            signature: unhex(signature).try_into().unwrap(),
            message,
            flags: flags.split(',').filter(|flag| *flag != "-").collect(),
            accepted: match verdict {
                "accept" => true,
                "refuse" => false,
                other => panic!("no verdict: {other}"),
            },
        }
    }

    fn has(&self, flag: &str) -> bool {
        self.flags.contains(&flag)
    }
}

fn cases() -> Vec<Case> {
    TABLE.lines().filter(|line| !line.starts_with('#')).map(Case::read).collect()
}

#[test]
fn the_table_is_whole() {
    let cases = cases();
    assert_eq!(cases.len(), CASES);
    assert!(cases.iter().enumerate().all(|(at, case)| case.number == at), "rows in the source's order");
    assert_eq!(cases.iter().filter(|case| case.accepted).count(), ACCEPTED);
    let known = [
        "low_order_A",
        "low_order_R",
        "low_order_component_A",
        "low_order_component_R",
        "low_order_residue",
        "non_canonical_A",
        "non_canonical_R",
        "reencoded_k",
    ];
    for case in &cases {
        assert!(case.flags.iter().all(|flag| known.contains(flag)), "{}: {:?}", case.number, case.flags);
    }
}

#[test]
fn our_verdicts() {
    for case in cases() {
        let ours = PartyId::from_bytes(case.key)
            .is_ok_and(|key| key.verify(case.message.as_bytes(), &Signature::from(case.signature)).is_ok());
        assert_eq!(ours, case.accepted, "case {}, {:?}", case.number, case.flags);
    }
}

/// Our parsing of keys refuses nothing here that `verify_strict` would accept, so the table is also the library's.
#[test]
fn the_librarys_strict_verdicts() {
    for case in cases() {
        let signature = ed25519_dalek::Signature::from_bytes(&case.signature);
        let strict = VerifyingKey::from_bytes(&case.key)
            .is_ok_and(|key| key.verify_strict(case.message.as_bytes(), &signature).is_ok());
        assert_eq!(strict, case.accepted, "case {}, {:?}", case.number, case.flags);
    }
}

/// The strict rule, stated by flags alone: canonical encodings, neither point of small order, and the cofactorless equation.
#[test]
fn the_flags_explain_each_verdict() {
    let refused_for = [
        "low_order_A",
        "low_order_R",
        "low_order_residue",
        "non_canonical_A",
        "non_canonical_R",
        "reencoded_k",
    ];
    for case in cases() {
        let explained = !refused_for.iter().any(|flag| case.has(flag));
        assert_eq!(case.accepted, explained, "case {}, {:?}", case.number, case.flags);
    }
}

/// A key is refused when it is parsed, before any signature is looked at, for what the flags say of the key alone.
#[test]
fn keys_are_judged_when_parsed() {
    let (mut parsed, mut refused) = (0, 0);
    for case in cases() {
        let improper = case.has("low_order_A") || case.has("non_canonical_A");
        assert_eq!(
            PartyId::from_bytes(case.key).is_err(),
            improper,
            "case {}, {:?}",
            case.number,
            case.flags
        );
        *if improper { &mut refused } else { &mut parsed } += 1;
    }
    assert!(parsed > 0 && refused > 0, "{parsed} and {refused}");
}

/// The points of small order are all on the curve and would decompress: the refusal is ours, in every way a key can come in.
#[test]
fn small_order_and_second_encodings_are_no_party() {
    // y = 1, -1 and 0 (orders 1, 2, 4; the last with either sign), those of order 8; p and p + 1, the second encodings of 0 and 1;
    // p + 2, which is on no point; the identity and the point of order 2 with the sign of their zero x set.
    let keys = [
        "0100000000000000000000000000000000000000000000000000000000000000",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0000000000000000000000000000000000000000000000000000000000000080",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "efffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "0100000000000000000000000000000000000000000000000000000000000080",
    ];
    for key in keys {
        assert!(key.parse::<PartyId>().is_err(), "from text: {key}");
        assert!(PartyId::from_bytes(unhex(key).try_into().unwrap()).is_err(), "from bytes: {key}");
        assert!(dt_model::decode::<PartyId>(&unhex(key), 32).is_err(), "from the wire: {key}");
        assert!(serde_json::from_str::<PartyId>(&format!("\"{key}\"")).is_err(), "from JSON: {key}");
    }
}

/// p + 3 encodes y = 3, which is on the curve and of large order: the one kind of key that only the comparison of encodings stops.
#[test]
fn a_second_encoding_of_a_proper_key_is_refused() {
    let is_proper = |y: &u8| VerifyingKey::from_bytes(&small_y(*y)).is_ok_and(|key| !key.is_weak());
    let proper: Vec<u8> = (0..=18u8).filter(is_proper).collect();
    assert!(proper.contains(&3), "{proper:?}");
    for y in proper {
        let mut second = [0xff; 32];
        second[0] = 0xed + y;
        second[31] = 0x7f;
        assert!(PartyId::from_bytes(small_y(y)).is_ok(), "y = {y}");
        let key = VerifyingKey::from_bytes(&second).expect("the library takes it");
        assert!(!key.is_weak(), "y = {y}");
        assert!(PartyId::from_bytes(second).is_err(), "p + {y}");
    }
}

/// Half of all strings of 32 bytes are on no point. They are found out when a signature is to be verified.
#[test]
fn bytes_on_no_point_are_a_party_without_signatures() {
    let nobody = PartyId::from_bytes(small_y(2)).expect("canonical, and of no small order");
    assert!(VerifyingKey::from_bytes(nobody.as_bytes()).is_err());
    for case in cases().iter().filter(|case| case.accepted) {
        assert!(nobody.verify(case.message.as_bytes(), &Signature::from(case.signature)).is_err());
    }
}

fn small_y(y: u8) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes[0] = y;
    bytes
}

/// The group order added to S gives the same scalar; RFC 8032, section 5.1.7, demands S below the order.
#[test]
fn a_scalar_beyond_the_group_order_is_refused() {
    // The order, 2^252 + 27742317777372353535851937790883648493, little-endian.
    let order = unhex("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010");
    let case = cases().into_iter().find(|case| case.accepted && case.flags.is_empty()).unwrap();
    let party = PartyId::from_bytes(case.key).unwrap();
    let mut signature = case.signature;
    assert!(party.verify(case.message.as_bytes(), &Signature::from(signature)).is_ok());
    let mut carry = 0;
    for (byte, add) in signature[32..].iter_mut().zip(order) {
        let sum = u16::from(*byte) + u16::from(add) + carry;
        (*byte, carry) = (sum.to_le_bytes()[0], sum >> 8);
    }
    assert_eq!(carry, 0, "the sum has 32 bytes");
    assert!(party.verify(case.message.as_bytes(), &Signature::from(signature)).is_err());
}
