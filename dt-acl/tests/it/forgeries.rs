//! Records that should not exist: counters at their end, squatted addresses, presumptuous managers, broken invariants, odd bytes.

use bytes::Bytes;
use dt_acl::testing::{Shelf, acl, data, sign_acl, write};
use dt_acl::{
    Acl, AclRecord, Change, Data, DataRecord, DataRef, Grant, History, ItemName, Keyring, MAX_ACL_BYTES,
    MAX_DATA_BYTES, Rights,
};
use dt_dht::{Record, Refusal};
use dt_model::testing::{SeedRng, identity};
use dt_model::{DecodeError, Digest, Envelope, Signed, Signer, SignerError, codec};
use proptest::prelude::*;

use crate::common::{at, first, grantee};
use crate::forge::{RawAcl, RawData, opened, raw_next, shelf};

#[test]
fn counters_do_not_run_out() {
    let (owner, mut rng) = (identity(0), SeedRng::new(11));
    let acl = first(&[], &mut rng);
    let (one, _) = write(&acl, &owner, None, b"one", at(0), &mut rng);
    let mut raw = RawData::of(&Data::open(&one).unwrap());
    raw.previous = Digest::from([1; 32]);
    for (counter, verdict) in [
        (0, Err(Refusal::Malformed)),
        (u64::MAX, Err(Refusal::Malformed)),
        (u64::MAX - 1, Err(Refusal::Gap { stored: 0 })),
        (2, Err(Refusal::Gap { stored: 0 })),
    ] {
        raw.counter = counter;
        assert_eq!(shelf(&acl).offer(&raw.sign(&owner), at(0)), verdict, "{counter}");
    }
    let last = DataRef { counter: u64::MAX - 1, digest: Digest::ZERO };
    let key = Keyring::open(&acl, &owner).unwrap().key(1).unwrap();
    let sealed = dt_acl::SealedContent::seal(&acl, &key, owner.party(), Some(last), b"", &mut rng);
    assert!(sealed.is_err());
}

#[test]
fn nobody_squats_an_address() {
    let (owner, stranger, mut rng) = (identity(0), identity(1), SeedRng::new(12));
    let acl = first(&[], &mut rng);
    let mut empty = Shelf::default();
    // The owner's own list, signed by somebody else; the stranger's list, at the owner's address.
    assert_eq!(empty.offer(&sign_acl(acl.record(), &stranger), at(0)), Err(Refusal::NotPermitted));
    let own = AclRecord::first(&stranger, ItemName::from("item"), &[], at(0), &mut rng).unwrap();
    let key = acl.item().acl_key();
    let misplaced = Record { key, version: 1, body: Bytes::from(codec::encode(&own)) };
    let misplaced = Signed::new(misplaced, &stranger).unwrap();
    assert_eq!(empty.offer(&misplaced, at(0)), Err(Refusal::WrongAddress));
    // Another slot of the address, and a version that is not the list's.
    for (index, version) in [(1, 1), (0, 2)] {
        let key = dt_dht::Key::new(acl.item().address(), dt_acl::ACL_KIND, index);
        let odd = Record { key, version, body: acl.signed().body.clone() };
        let odd = Signed::new(odd, &owner).unwrap();
        assert_eq!(empty.offer(&odd, at(0)), Err(Refusal::Malformed));
    }
    // Data of another item.
    let other = AclRecord::first(&owner, ItemName::from("other"), &[], at(0), &mut rng).unwrap();
    let (data, _) = write(&opened(&sign_acl(&other, &owner)), &owner, None, b"x", at(0), &mut rng);
    let misplaced = Record { key: acl.item().data_key(), version: 1, body: data.body.clone() };
    let misplaced = Signed::new(misplaced, &owner).unwrap();
    assert_eq!(shelf(&acl).offer(&misplaced, at(0)), Err(Refusal::WrongAddress));
    // A first list that claims a past, and one from the future.
    let next = raw_next(
        &acl,
        &Change::Rotate { party: owner.party(), encryption_key: stranger.encryption_key() },
        &mut rng,
    );
    assert_eq!(Shelf::default().offer(&next.sign(&owner), at(0)), Err(Refusal::Gap { stored: 0 }));
    let mut raw = RawAcl::of(&acl);
    raw.time = at(dt_dht::MAX_REQUEST_AGE.as_millis() as u64);
    assert_eq!(Shelf::default().offer(&raw.sign(&owner), at(0)), Ok(()));
    raw.time = at(raw.time.as_millis() + 1);
    assert_eq!(Shelf::default().offer(&raw.sign(&owner), at(0)), Err(Refusal::Outdated));
}

#[test]
fn only_the_owner_and_managers_change_the_list() {
    let mut rng = SeedRng::new(13);
    let acl =
        first(&[grantee(1, Rights::MANAGE), grantee(2, Rights::ALL), grantee(3, Rights::WRITE)], &mut rng);
    let add = raw_next(
        &acl,
        &Change::Grant { grantees: &[grantee(4, Rights::READ)], history: History::Full },
        &mut rng,
    );
    for (signer, verdict) in [
        (0, Ok(())),
        (1, Ok(())),
        (2, Ok(())),
        (3, Err(Refusal::NotPermitted)), // a writer
        (4, Err(Refusal::NotPermitted)), // whom the list would add
        (5, Err(Refusal::NotPermitted)), // a stranger
    ] {
        assert_eq!(shelf(&acl).offer(&add.sign(&identity(signer)), at(0)), verdict, "{signer}");
    }
    // What a manager may not do, though the owner may.
    let mandate = |raw: &mut RawAcl, from: u64, to: u64| raw.entry(to).mandate = raw.entry(from).mandate;
    let spoils: [&dyn Fn(&mut RawAcl); 4] = [
        &|raw| {
            raw.grant(3).rights = Rights::ALL;
            mandate(raw, 1, 3);
        },
        &|raw| {
            raw.grant(2).rights = Rights::WRITE;
            raw.entry(2).mandate = None;
        },
        &|raw| raw.grant(2).not_after = at(5),
        &|raw| raw.grant(2).rights = Rights::MANAGE,
    ];
    for spoil in spoils {
        let mut raw = add.clone();
        spoil(&mut raw);
        assert_eq!(shelf(&acl).offer(&raw.sign(&identity(1)), at(0)), Err(Refusal::NotPermitted));
        assert_eq!(shelf(&acl).offer(&raw.sign(&identity(0)), at(0)), Ok(()));
    }
    // A stranger who makes itself a manager has no mandate; with one made for another, or by itself, it has none either.
    for forged in [None, add.clone().entry(1).mandate, identity(5).sign(b"mandate").ok()] {
        let mut raw = add.clone();
        let place = raw.entry(4);
        (place.party, place.mandate) = (identity(5).party(), forged);
        place.grant = Some(Grant::OWNER);
        raw.entries.sort_by_key(|entry| entry.party);
        (raw.version, raw.previous) = (1_000, Digest::from([1; 32]));
        let refused = Acl::open(&raw.sign(&identity(5)));
        let expected = if forged.is_some() { Refusal::NotPermitted } else { Refusal::Malformed };
        assert_eq!(refused.err(), Some(expected));
    }
}

#[test]
fn a_removal_without_a_new_key_is_refused() {
    let (owner, mut rng) = (identity(0), SeedRng::new(14));
    let acl = first(&[grantee(1, Rights::READ), grantee(2, Rights::READ)], &mut rng);
    let add = raw_next(
        &acl,
        &Change::Grant { grantees: &[grantee(3, Rights::READ)], history: History::Full },
        &mut rng,
    );
    let remove = raw_next(&acl, &Change::Revoke { party: identity(1).party() }, &mut rng);
    let refused = |spoil: &dyn Fn(&mut RawAcl), raw: &RawAcl| {
        let mut raw = raw.clone();
        spoil(&mut raw);
        let verdict = shelf(&acl).offer(&raw.sign(&owner), at(0));
        assert_eq!(verdict, Err(Refusal::Inconsistent));
    };
    assert_eq!(shelf(&acl).offer(&remove.sign(&owner), at(0)), Ok(()));
    let gone = identity(1).party();
    refused(&|raw| raw.entries.retain(|entry| entry.party != gone), &add);
    // A new epoch in name only, a rewritten past, an epoch that begins elsewhere, epochs that are forgotten too soon.
    refused(&|raw| raw.epochs[1].commitment = raw.epochs[0].commitment, &remove);
    refused(&|raw| raw.epochs[0].commitment = Digest::from([1; 32]), &remove);
    refused(
        &|raw| {
            raw.epochs.remove(0);
            raw.oldest = 2;
        },
        &remove,
    );
}

type Spoil<'a> = &'a dyn Fn(&mut RawAcl);

#[test]
fn lists_that_break_an_invariant_do_not_decode() {
    let (owner, mut rng) = (identity(0), SeedRng::new(15));
    let acl = first(&[grantee(1, Rights::MANAGE), grantee(2, Rights::READ)], &mut rng);
    let two = raw_next(
        &acl,
        &Change::Grant { grantees: &[grantee(3, Rights::READ)], history: History::Omitted },
        &mut rng,
    );
    assert!(Acl::open(&two.sign(&owner)).is_ok());
    let spoils: [(&str, Spoil<'_>); 19] = [
        ("version 0", &|raw| raw.version = 0),
        ("a first version with a predecessor", &|raw| raw.version = 1),
        ("no predecessor", &|raw| raw.previous = Digest::ZERO),
        ("no epochs", &|raw| raw.epochs.clear()),
        ("epoch 0", &|raw| raw.oldest = 0),
        ("epochs without end", &|raw| raw.oldest = u64::MAX - 1),
        ("a link from nowhere", &|raw| raw.epochs[0].link = Some([1; 48].into())),
        ("epochs out of order", &|raw| raw.epochs.swap(0, 1)),
        ("an epoch from the future", &|raw| raw.epochs[1].first_version = 3),
        ("no entries", &|raw| raw.entries.clear()),
        ("unsorted", &|raw| raw.entries.swap(0, 1)),
        ("repeated", &|raw| raw.entries.push(raw.entries[3].clone())),
        ("an owner of less", &|raw| raw.grant(0).rights = Rights::WRITE),
        ("an owner for a time", &|raw| raw.grant(0).not_after = at(1)),
        ("an owner with a mandate", &|raw| raw.entry(0).mandate = raw.entry(1).mandate),
        ("a manager without", &|raw| raw.entry(1).mandate = None),
        ("a wrap too short", &|raw| raw.entry(2).wrap.truncate(47)),
        ("a claim to the past", &|raw| raw.entry(3).since = 1),
        ("since nowhere", &|raw| raw.entry(3).since = 0),
    ];
    for (what, spoil) in spoils {
        let mut raw = two.clone();
        spoil(&mut raw);
        assert_eq!(Acl::open(&raw.sign(&owner)).err(), Some(Refusal::Malformed), "{what}");
    }
    // Without the fence the newcomer's place in time is none.
    let mut raw = two.clone();
    raw.epochs[1].link = Some([1; 48].into());
    raw.entries.iter_mut().for_each(|entry| entry.wrap.truncate(48));
    assert_eq!(Acl::open(&raw.sign(&owner)).err(), Some(Refusal::Malformed));
}

/// Points of small order and other encodings of a point are nobody's key, and a list with one is none.
#[test]
fn nobody_is_on_a_list_under_a_key_that_is_none() {
    let (owner, reader, mut rng) = (identity(0), identity(1).party(), SeedRng::new(16));
    let acl = first(&[grantee(1, Rights::READ)], &mut rng);
    let body = codec::encode(acl.record());
    let at = body.windows(32).position(|bytes| bytes == reader.as_bytes()).unwrap();
    let neutral = [&[1u8][..], &[0; 31]].concat();
    for bytes in [&neutral[..], &[0; 32], &[0xff; 32]] {
        let body = [&body[..at], bytes, &body[at + 32..]].concat();
        let record = Record { body: body.into(), ..acl.signed().value().clone() };
        let signed = Signed::new(record, &owner).unwrap();
        assert_eq!(Acl::open(&signed).err(), Some(Refusal::Malformed));
    }
}

#[test]
fn what_is_too_long_is_not_even_read() {
    let (owner, mut rng) = (identity(0), SeedRng::new(17));
    let acl = first(&[], &mut rng);
    let long = vec![0; MAX_ACL_BYTES + 1];
    assert!(matches!(codec::decode::<AclRecord>(&long, MAX_ACL_BYTES), Err(DecodeError::TooLarge { .. })));
    assert!(matches!(codec::decode::<DataRecord>(&long, MAX_DATA_BYTES), Err(DecodeError::TooLarge { .. })));
    let record = Record { body: long.into(), ..acl.signed().value().clone() };
    assert!(matches!(Signed::new(record, &owner), Err(SignerError::TooLarge { .. })));
    // A list that says that it has four billion entries costs no memory.
    let mut body = codec::encode(acl.record());
    let entries = 32 + 32 + 8 + 32 + 8 + 4 + 8 + 4 + codec::encode(&acl.epochs()[0]).len() + 32;
    assert_eq!(body[entries..entries + 4], 1u32.to_le_bytes());
    body[entries..entries + 4].copy_from_slice(&u32::MAX.to_le_bytes());
    assert!(codec::decode::<AclRecord>(&body, MAX_ACL_BYTES).is_err());
}

/// Every wire type, and bytes that are nearly right.
fn samples() -> impl Strategy<Value = (Acl, Data)> {
    (acl(), data())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn what_is_cut_off_or_goes_on_does_not_decode((acl, data) in samples(), cut in any::<prop::sample::Index>(), more in 1usize..40) {
        let bytes = codec::encode(acl.record());
        prop_assert!(codec::decode::<AclRecord>(&bytes[..cut.index(bytes.len())], MAX_ACL_BYTES).is_err());
        prop_assert!(codec::decode::<AclRecord>(&[bytes, vec![0; more]].concat(), MAX_ACL_BYTES).is_err());
        let bytes = codec::encode(data.record());
        prop_assert!(codec::decode::<DataRecord>(&bytes[..cut.index(bytes.len())], MAX_DATA_BYTES).is_err());
        prop_assert!(codec::decode::<DataRecord>(&[bytes, vec![0; more]].concat(), MAX_DATA_BYTES).is_err());
    }

    #[test]
    fn a_flipped_bit_is_noticed((acl, data) in samples(), bit in any::<prop::sample::Index>()) {
        for signed in [acl.signed(), data.signed()] {
            let mut bytes = codec::encode(signed.envelope());
            let at = bit.index(bytes.len() * 8);
            bytes[at / 8] ^= 1 << (at % 8);
            let opened = codec::decode::<Envelope<Record>>(&bytes, MAX_ACL_BYTES + 1024).ok().map(Envelope::open);
            prop_assert!(opened.is_none_or(|opened| opened.is_err()));
        }
    }

    /// The attacker is the owner, and signs whatever it likes: there is a verdict, nobody panics, and what is admitted is canonical.
    #[test]
    fn whatever_is_signed_gets_a_verdict((acl, data) in samples(), flips in prop::collection::vec(any::<prop::sample::Index>(), 1..4), by in 0u64..3) {
        for signed in [acl.signed(), data.signed()] {
            let mut body = signed.body.to_vec();
            for flip in &flips {
                let at = flip.index(body.len() * 8);
                body[at / 8] ^= 1 << (at % 8);
            }
            let record = Record { body: body.clone().into(), ..signed.value().clone() };
            let record = Signed::new(record, &identity(by)).unwrap();
            let mut after = Shelf::default();
            let first = RawAcl { version: 1, previous: Digest::ZERO, ..RawAcl::of(&acl) };
            let _ = after.offer(&first.sign(&identity(by)), at(0));
            for mut shelf in [Shelf::default(), after] {
                if shelf.offer(&record, at(0)) == Ok(()) && record.key.slot.kind == dt_acl::ACL_KIND {
                    prop_assert_eq!(codec::encode(shelf.acl().unwrap().record()), body.clone());
                }
            }
            if let Ok(acl) = Acl::open(&record) {
                // An unlucky party finds its wrap spoilt, and hears of it.
                let _ = Keyring::open(&acl, &identity(by)).map(|keys| keys.key(1));
            }
        }
    }

    #[test]
    fn random_bytes_are_no_records(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        prop_assert!(codec::decode::<AclRecord>(&bytes, MAX_ACL_BYTES).is_err());
        prop_assert!(codec::decode::<DataRecord>(&bytes, MAX_DATA_BYTES).is_err());
    }
}
