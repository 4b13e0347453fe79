//! One value, one encoding: whatever bytes are accepted are the bytes that would be written.

use core::fmt::Debug;
use std::collections::{BTreeMap, BTreeSet};

use borsh::{BorshDeserialize, BorshSerialize};
use bytes::Bytes;
use dt_model::{
    DataClass, DataElement, DecodeError, Digest, EncryptionKey, Envelope, Name, Operation, PartyId, Secret,
    Signature, Signed, Signer as _, Text, Timestamp, TwinId, decode, encode, testing,
};
use proptest::prelude::*;

use crate::sample::Note;

/// Holds for each value of each type; the offending bytes are in the panic.
#[track_caller]
fn check<T: BorshSerialize + BorshDeserialize + PartialEq + Debug>(value: &T) {
    let bytes = encode(value);
    assert_eq!(decode::<T>(&bytes, bytes.len()).as_ref(), Ok(value), "round trip");
    if let Some(limit) = bytes.len().checked_sub(1) {
        assert_eq!(decode::<T>(&bytes, limit), Err(DecodeError::TooLarge { size: bytes.len(), limit }));
    }
    for length in 0..bytes.len() {
        let cut = decode::<T>(&bytes[..length], usize::MAX);
        assert!(matches!(cut, Err(DecodeError::Malformed { .. })), "cut to {length}: {cut:?}");
    }
    for extra in [0, 1, 0xff] {
        let longer = [bytes.as_slice(), &[extra]].concat();
        let extended = decode::<T>(&longer, usize::MAX);
        assert!(matches!(extended, Err(DecodeError::NotCanonical { .. })), "and {extra}: {extended:?}");
    }
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        if let Ok(other) = decode::<T>(&flipped, flipped.len()) {
            assert_eq!(encode(&other), flipped, "bit {bit}: accepted, so it must be canonical");
            assert_ne!(&other, value, "bit {bit}: two encodings of one value");
        }
    }
}

fn element() -> impl Strategy<Value = DataElement> {
    let class = prop::sample::select(DataClass::ALL.to_vec());
    (testing::twin(), class, prop::option::of(testing::component()))
        .prop_map(|(twin, class, component)| DataElement { twin, class, component })
}

fn note() -> impl Strategy<Value = Note> {
    (testing::twin(), testing::timestamp(), "[a-zß ]{1,8}").prop_map(|(twin, at, text)| Note {
        twin,
        at,
        text: text.parse().unwrap(),
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn fixed_bytes(
        digest in testing::digest(),
        content in testing::content_hash(),
        twin in testing::twin(),
        key in any::<[u8; 32]>().prop_map(EncryptionKey::from),
        halves in any::<([u8; 32], [u8; 32])>(),
        secret in any::<[u8; 32]>().prop_map(Secret::from_bytes),
    ) {
        let signature: [u8; 64] = [halves.0, halves.1].concat().try_into().unwrap();
        let signature = Signature::from(signature);
        check(&digest);
        check(&content);
        check(&twin);
        check(&key);
        check(&signature);
        check(&secret);
        // What people read is the same value.
        prop_assert_eq!(digest.to_string().parse(), Ok(digest));
        prop_assert_eq!(content.to_string().parse(), Ok(content));
        prop_assert_eq!(twin.to_string().parse(), Ok(twin));
        prop_assert_eq!(key.to_string().parse(), Ok(key));
        prop_assert_eq!(signature.to_string().parse(), Ok(signature));
    }

    #[test]
    fn party(party in testing::party()) {
        check(&party);
        prop_assert_eq!(party.to_string().parse(), Ok(party));
    }

    #[test]
    fn words_and_times(
        name in testing::text::<128>(),
        component in testing::component(),
        time in testing::timestamp(),
        permission in testing::permission(),
        element in element(),
    ) {
        check(&name);
        check(&component);
        check(&time);
        check(&permission);
        check(&permission.class);
        check(&permission.operation);
        check(&element);
    }

    #[test]
    fn envelope(note in note(), seed in 0u64..1000) {
        check(&note);
        check(Signed::new(note, &testing::identity(seed)).unwrap().envelope());
    }

    #[test]
    fn collections(
        map in prop::collection::btree_map(testing::text::<8>(), any::<u16>(), 0..4),
        set in prop::collection::btree_set(any::<u16>(), 0..6),
        list in prop::collection::vec(prop::option::of(testing::timestamp()), 0..6),
        bytes in prop::collection::vec(any::<u8>(), 0..40).prop_map(Bytes::from),
    ) {
        check(&map);
        check(&set);
        check(&list);
        check(&bytes);
    }

    /// Bytes that nobody made: refused, or canonical.
    #[test]
    fn noise(bytes in prop::collection::vec(prop_oneof![Just(0u8), Just(1), any::<u8>()], 0..120)) {
        fn canonical<T: BorshSerialize + BorshDeserialize>(bytes: &[u8]) -> bool {
            decode::<T>(bytes, bytes.len()).map_or(true, |value| encode(&value) == bytes)
        }
        prop_assert!(canonical::<Name>(&bytes));
        prop_assert!(canonical::<PartyId>(&bytes));
        prop_assert!(canonical::<DataElement>(&bytes));
        prop_assert!(canonical::<Envelope<Note>>(&bytes));
        prop_assert!(canonical::<BTreeMap<u8, bool>>(&bytes));
        prop_assert!(canonical::<BTreeSet<Option<u8>>>(&bytes));
    }
}

#[test]
fn the_limit_is_judged_before_the_content() {
    let too_large = Err(DecodeError::TooLarge { size: 3, limit: 2 });
    assert_eq!(decode::<bool>(&[7, 7, 7], 2), too_large);
    assert!(matches!(decode::<bool>(&[7, 7, 7], 3), Err(DecodeError::Malformed { .. })));
    assert_eq!(decode::<bool>(&[1], 1), Ok(true));
    assert!(matches!(decode::<bool>(&[], 0), Err(DecodeError::Malformed { .. })));
    assert_eq!(decode::<()>(&[], 0), Ok(()), "the empty encoding is of size zero");
}

#[test]
fn errors_name_the_type() {
    let malformed = decode::<TwinId>(&[1], 32).unwrap_err();
    assert_eq!(malformed, DecodeError::Malformed { expected: "dt_model::id::TwinId" });
    let trailing = decode::<u8>(&[1, 2], 32).unwrap_err();
    assert_eq!(trailing.to_string(), "not the canonical encoding of u8");
}

#[test]
fn unknown_tags_are_refused() {
    assert!(decode::<DataClass>(&[5], 1).is_ok());
    for tag in 6..=u8::MAX {
        assert!(decode::<DataClass>(&[tag], 1).is_err(), "class {tag}");
    }
    for tag in 4..=u8::MAX {
        assert!(decode::<Operation>(&[tag], 1).is_err(), "operation {tag}");
    }
    for tag in 2..=u8::MAX {
        assert!(decode::<bool>(&[tag], 1).is_err(), "bool {tag}");
        assert!(decode::<Option<()>>(&[tag], 1).is_err(), "option {tag}");
    }
}

/// Keys out of order, and a key twice: each would be a second encoding of a map that could also be written properly.
#[test]
fn unsorted_and_repeated_keys_are_refused() {
    type Map = BTreeMap<u8, bool>;
    type Set = BTreeSet<u8>;
    assert_eq!(decode::<Map>(&[2, 0, 0, 0, 1, 0, 2, 1], 8), Ok(Map::from([(1, false), (2, true)])));
    assert!(decode::<Map>(&[2, 0, 0, 0, 2, 1, 1, 0], 8).is_err(), "unsorted");
    assert!(decode::<Map>(&[2, 0, 0, 0, 1, 0, 1, 0], 8).is_err(), "twice the same");
    assert!(decode::<Map>(&[2, 0, 0, 0, 1, 0, 1, 1], 8).is_err(), "twice, with two values");
    assert_eq!(decode::<Set>(&[2, 0, 0, 0, 1, 2], 6), Ok(Set::from([1, 2])));
    assert!(decode::<Set>(&[2, 0, 0, 0, 2, 1], 6).is_err(), "unsorted");
    assert!(decode::<Set>(&[2, 0, 0, 0, 1, 1], 6).is_err(), "twice the same");
}

#[test]
fn texts_are_checked_when_decoded() {
    let bytes = |text: &str| encode(text);
    assert!(decode::<Text<4>>(&bytes("pump"), 64).is_ok());
    for refused in ["", "pumps", "a\nb", "\u{7f}", "\u{2028}", "ßßß"] {
        let refused = decode::<Text<4>>(&bytes(refused), 64);
        assert!(matches!(refused, Err(DecodeError::Malformed { .. })), "{refused:?}");
    }
    assert!(decode::<Text<4>>(&[1, 0, 0, 0, 0xff], 64).is_err(), "not UTF-8");
    assert!(decode::<Text<4>>(&[2, 0, 0, 0, 0xc1, 0x81], 64).is_err(), "overlong UTF-8");
}

/// A length that the bytes do not bear out is refused, and nothing of that length is allocated on the way.
#[test]
fn hostile_lengths() {
    fn refuse<T: BorshSerialize + BorshDeserialize + Debug>(before: &[u8]) {
        for length in [u32::MAX, u32::MAX / 2, 1 << 24] {
            for after in [0, 1, 64] {
                let bytes = [before, &length.to_le_bytes(), &vec![0x20; after]].concat();
                let refused = decode::<T>(&bytes, usize::MAX);
                assert!(matches!(refused, Err(DecodeError::Malformed { .. })), "{length}: {refused:?}");
            }
        }
    }
    let before = peak_of_address_space();
    refuse::<Vec<u8>>(&[]);
    refuse::<Vec<u64>>(&[]);
    refuse::<Vec<Digest>>(&[]);
    refuse::<Vec<Vec<u8>>>(&[1, 0, 0, 0]);
    refuse::<Vec<[[u64; 8]; 8]>>(&[]);
    refuse::<String>(&[]);
    refuse::<Name>(&[]);
    refuse::<Bytes>(&[]);
    refuse::<BTreeMap<u64, u64>>(&[]);
    refuse::<BTreeSet<Name>>(&[]);
    refuse::<Envelope<Note>>(&encode(&(testing::identity(1).party(), Signature::from([0; 64]))));
    refuse::<DataElement>(&[&[7; 32], [0, 1].as_slice()].concat());
    // Four GiB for the shortest of these; other tests run meanwhile, with no more than some hundred MiB.
    if let (Some(before), Some(after)) = (before, peak_of_address_space()) {
        assert!(after - before < 2 * 1024 * 1024, "{} KiB more of address space", after - before);
    }
}

/// A list of values without bytes would be a loop of four billion turns for four bytes.
#[test]
fn lists_of_nothing_are_refused() {
    assert!(decode::<Vec<()>>(&u32::MAX.to_le_bytes(), 4).is_err());
    assert!(decode::<Vec<[u8; 0]>>(&u32::MAX.to_le_bytes(), 4).is_err());
}

/// In KiB; `None` where the system does not say.
fn peak_of_address_space() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    status
        .lines()
        .find_map(|line| line.strip_prefix("VmPeak:")?.trim().strip_suffix(" kB")?.trim().parse().ok())
}

/// A type whose reader is more tolerant than its writer: the codec MUST notice on the type's behalf.
#[derive(Debug, PartialEq)]
struct Tolerant(Vec<u8>);

impl BorshSerialize for Tolerant {
    fn serialize<W: borsh::io::Write>(&self, writer: &mut W) -> borsh::io::Result<()> {
        self.0.iter().try_for_each(|byte| writer.write_all(&[*byte]))
    }
}

impl BorshDeserialize for Tolerant {
    /// Reads two bytes; keeps no zero, takes 9 for 1, and writes 7 twice.
    fn deserialize_reader<R: borsh::io::Read>(reader: &mut R) -> borsh::io::Result<Self> {
        let read = <[u8; 2]>::deserialize_reader(reader)?;
        let kept = read.into_iter().flat_map(|byte| match byte {
            0 => vec![],
            9 => vec![1],
            7 => vec![7, 7],
            other => vec![other],
        });
        Ok(Self(kept.collect()))
    }
}

#[test]
fn a_tolerant_type_is_held_to_its_own_encoding() {
    assert_eq!(decode::<Tolerant>(&[1, 2], 2), Ok(Tolerant(vec![1, 2])));
    for (bytes, why) in
        [([9, 2], "another byte"), ([1, 0], "shorter"), ([1, 7], "longer"), ([0, 0], "nothing")]
    {
        let refused = decode::<Tolerant>(&bytes, 2);
        assert!(matches!(refused, Err(DecodeError::NotCanonical { .. })), "{why}: {refused:?}");
    }
}

/// Order of times and digests on the wire is not asked for, but their order in memory decides how maps are written.
#[test]
fn maps_are_written_in_the_order_of_their_keys() {
    let map: BTreeMap<Timestamp, u8> =
        [(256, 1), (1, 2), (255, 3)].map(|(millis, value)| (Timestamp::from_millis(millis), value)).into();
    let bytes = encode(&map);
    assert_eq!([bytes[4], bytes[13], bytes[22]], [1, 255, 0], "by number, not by little-endian bytes");
    check(&map);
}
