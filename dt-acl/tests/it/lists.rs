//! The rules of lists and data as one replica applies them, and the limits.

use dt_acl::testing::{Shelf, acl, data, history, sign_acl, write};
use dt_acl::{
    Acl, AclRecord, Change, ChangeError, Data, DataRecord, Grantee, History, ItemName, KeyError, Keyring,
    MAX_ACL_BYTES, MAX_DATA_BYTES, MAX_ENTRIES, MAX_EPOCHS, Member, Rights,
};
use dt_dht::{Refusal, Validator};
use dt_model::testing::{SeedRng, identity};
use dt_model::{EncryptionKey, Identity, PartyId, Signer, Timestamp, codec};
use proptest::prelude::*;

use crate::common::{at, first, grantee};

/// The next list by `author`, naming `data`.
fn next(acl: &Acl, author: &Identity, change: &Change<'_>, data: Option<&Data>, rng: &mut SeedRng) -> Acl {
    let keys = Keyring::open(acl, author).unwrap();
    let named = data.map(Data::reference);
    let record = acl.change(author, &keys, change, named, at(0), rng).unwrap();
    Acl::open(&sign_acl(&record, author)).unwrap()
}

fn grant(grantees: &[Grantee]) -> Change<'_> {
    Change::Grant { grantees, history: History::Full }
}

#[test]
fn lists_follow_one_another() {
    let (owner, mut rng) = (identity(0), SeedRng::new(1));
    let one = first(&[grantee(1, Rights::READ)], &mut rng);
    let two = next(&one, &owner, &grant(&[grantee(2, Rights::READ)]), None, &mut rng);
    let other_two = next(&one, &owner, &grant(&[grantee(3, Rights::READ)]), None, &mut rng);
    let three = next(&other_two, &owner, &Change::Revoke { party: identity(3).party() }, None, &mut rng);

    let mut shelf = Shelf::default();
    assert_eq!(shelf.offer(one.signed(), at(0)), Ok(()));
    assert_eq!(shelf.offer(two.signed(), at(0)), Ok(()));
    assert_eq!(shelf.offer(one.signed(), at(0)), Err(Refusal::Stale { stored: 2 }));
    assert_eq!(shelf.offer(other_two.signed(), at(0)), Err(Refusal::Conflict));
    assert_eq!(
        shelf.offer(three.signed(), at(0)),
        Err(Refusal::Superseded),
        "it follows on another version 2"
    );
    assert_eq!(shelf.acl().unwrap(), two);
}

#[test]
fn a_replica_that_missed_versions_believes_the_owner_and_no_manager() {
    let (owner, manager, mut rng) = (identity(0), identity(1), SeedRng::new(2));
    let one = first(&[grantee(1, Rights::MANAGE)], &mut rng);
    let two = next(&one, &owner, &grant(&[grantee(2, Rights::READ)]), None, &mut rng);
    let by_manager = next(&two, &manager, &grant(&[grantee(3, Rights::READ)]), None, &mut rng);
    let by_owner = next(&two, &owner, &grant(&[grantee(3, Rights::READ)]), None, &mut rng);
    let mut shelf = Shelf::default();
    assert_eq!(shelf.clone().offer(by_manager.signed(), at(0)), Err(Refusal::NotPermitted));
    assert_eq!(shelf.clone().offer(by_owner.signed(), at(0)), Ok(()));
    assert_eq!(shelf.offer(one.signed(), at(0)), Ok(()));
    assert_eq!(shelf.clone().offer(by_manager.signed(), at(0)), Err(Refusal::Gap { stored: 1 }));
    assert_eq!(shelf.clone().offer(by_owner.signed(), at(0)), Ok(()));
    assert_eq!(shelf.offer(two.signed(), at(0)), Ok(()));
    assert_eq!(shelf.offer(by_manager.signed(), at(0)), Ok(()));
}

#[test]
fn data_follows_under_the_list_that_is_stored() {
    let (owner, mut rng) = (identity(0), SeedRng::new(3));
    let acl = first(&[grantee(1, Rights::WRITE)], &mut rng);
    let (one, _) = write(&acl, &owner, None, b"one", at(1), &mut rng);
    let one_ref = Data::open(&one).unwrap().reference();
    let (two, _) = write(&acl, &identity(1), Some(one_ref), b"two", at(2), &mut rng);
    let (other_one, _) = write(&acl, &identity(1), None, b"other", at(2), &mut rng);
    let other_ref = Data::open(&other_one).unwrap().reference();
    let (other_two, _) = write(&acl, &owner, Some(other_ref), b"two", at(2), &mut rng);

    let mut shelf = Shelf::default();
    assert_eq!(shelf.offer(&one, at(3)), Err(Refusal::Superseded), "there is no list");
    shelf.offer(acl.signed(), at(3)).unwrap();
    assert_eq!(shelf.clone().offer(&two, at(3)), Ok(()), "a replica that missed the first takes the second");
    assert_eq!(shelf.offer(&one, at(3)), Ok(()));
    assert_eq!(shelf.offer(&other_one, at(3)), Err(Refusal::Conflict));
    assert_eq!(shelf.offer(&other_two, at(3)), Err(Refusal::Superseded), "it follows on something else");
    assert_eq!(shelf.offer(&two, at(3)), Ok(()));
    assert_eq!(shelf.offer(&one, at(3)), Err(Refusal::Stale { stored: 2 }));
}

/// A write that has been certified is never lost to a list whose author did not see it.
#[test]
fn a_list_that_leaves_out_data_is_refused() {
    let (owner, mut rng) = (identity(0), SeedRng::new(4));
    let acl = first(&[grantee(1, Rights::WRITE)], &mut rng);
    let mut shelf = Shelf::default();
    shelf.offer(acl.signed(), at(0)).unwrap();
    let (one, _) = write(&acl, &identity(1), None, b"one", at(0), &mut rng);
    shelf.offer(&one, at(0)).unwrap();
    let one = Data::open(&one).unwrap();
    let revoke = Change::Revoke { party: identity(1).party() };

    let blind = next(&acl, &owner, &revoke, None, &mut rng);
    assert_eq!(shelf.offer(blind.signed(), at(0)), Err(Refusal::Superseded));
    let seeing = next(&acl, &owner, &revoke, Some(&one), &mut rng);
    // A replica that has not got the data yet takes the list, and then the data, and nothing else by that writer.
    let mut laggard = Shelf::default();
    laggard.offer(acl.signed(), at(0)).unwrap();
    laggard.offer(seeing.signed(), at(0)).unwrap();
    let (other, _) = write(&acl, &identity(1), None, b"other", at(0), &mut rng);
    assert_eq!(laggard.offer(&other, at(0)), Err(Refusal::NotPermitted));
    let (stale, _) = write(&acl, &owner, None, b"other", at(0), &mut rng);
    assert_eq!(laggard.offer(&stale, at(0)), Err(Refusal::Superseded));
    assert_eq!(laggard.offer(one.signed(), at(0)), Ok(()));
    assert_eq!(shelf.offer(seeing.signed(), at(0)), Ok(()));
    let (two, _) = write(&seeing, &owner, Some(one.reference()), b"two", at(0), &mut rng);
    assert_eq!(shelf.offer(&two, at(0)), Ok(()));
    assert_eq!(laggard.offer(&two, at(0)), Ok(()));
    // Later lists may not go back behind it either.
    let third = next(&seeing, &owner, &grant(&[grantee(2, Rights::READ)]), Some(&one), &mut rng);
    assert_eq!(shelf.offer(third.signed(), at(0)), Err(Refusal::Superseded));
}

/// A manager's list may not go back behind the data that the list before names, even where that data is not at hand.
#[test]
fn managers_do_not_go_back_behind_the_data() {
    let (owner, manager, mut rng) = (identity(0), identity(1), SeedRng::new(9));
    let acl = first(&[grantee(1, Rights::MANAGE)], &mut rng);
    let (one, _) = write(&acl, &owner, None, b"one", at(0), &mut rng);
    let one = Data::open(&one).unwrap();
    let (two, _) = write(&acl, &owner, Some(one.reference()), b"two", at(0), &mut rng);
    let two = Data::open(&two).unwrap();
    let (other_two, _) = write(&acl, &owner, Some(one.reference()), b"other", at(0), &mut rng);
    let naming = next(&acl, &owner, &grant(&[grantee(2, Rights::READ)]), Some(&two), &mut rng);
    let mut shelf = Shelf::default();
    shelf.offer(acl.signed(), at(0)).unwrap();
    shelf.offer(naming.signed(), at(0)).unwrap();
    let other_two = Data::open(&other_two).unwrap();
    for (data, verdict) in [
        (None, Err(Refusal::Superseded)),
        (Some(&one), Err(Refusal::Superseded)),
        (Some(&other_two), Err(Refusal::Superseded)),
        (Some(&two), Ok(())),
    ] {
        let later = next(&naming, &manager, &grant(&[grantee(3, Rights::READ)]), data, &mut rng);
        assert_eq!(shelf.clone().offer(later.signed(), at(0)), verdict);
    }
}

/// A record that reached only this replica before the list changed does not block it.
#[test]
fn what_never_got_its_quorum_is_passed_over() {
    let (owner, mut rng) = (identity(0), SeedRng::new(5));
    let acl = first(&[grantee(1, Rights::WRITE)], &mut rng);
    let (lost, _) = write(&acl, &identity(1), None, b"lost", at(0), &mut rng);
    let two = next(&acl, &owner, &Change::Revoke { party: identity(1).party() }, None, &mut rng);
    let three = next(&two, &owner, &grant(&[grantee(2, Rights::READ)]), None, &mut rng);
    let (one, _) = write(&three, &owner, None, b"one", at(0), &mut rng);
    let one_ref = Data::open(&one).unwrap().reference();
    let (then, _) = write(&three, &owner, Some(one_ref), b"two", at(0), &mut rng);
    let named = next(
        &three,
        &owner,
        &grant(&[grantee(3, Rights::READ)]),
        Some(&Data::open(&then).unwrap()),
        &mut rng,
    );

    let mut shelf = Shelf::default();
    shelf.offer(acl.signed(), at(0)).unwrap();
    shelf.offer(&lost, at(0)).unwrap();
    assert_eq!(
        shelf.offer(two.signed(), at(0)),
        Err(Refusal::Superseded),
        "here it might have been certified"
    );
    assert_eq!(shelf.offer(named.signed(), at(0)), Ok(()), "this list knows of later data");
    assert_eq!(shelf.offer(&then, at(0)), Ok(()));
}

#[test]
fn as_many_entries_and_epochs_as_promised_fit_and_no_more() {
    let (owner, mut rng) = (identity(0), SeedRng::new(6));
    let others: Vec<Grantee> = (1..MAX_ENTRIES as u64).map(|seed| grantee(seed, Rights::READ)).collect();
    let full = AclRecord::first(&owner, ItemName::from("crowd"), &others, &mut rng).unwrap();
    assert_eq!(full.entries().len(), MAX_ENTRIES);
    let size = codec::encode(&full).len();
    let epoch = codec::encode(&full.epochs()[0]).len() + 48;
    assert!(size + MAX_EPOCHS * epoch <= MAX_ACL_BYTES + epoch, "with all epochs it fits too");
    assert!(size + MAX_EPOCHS * epoch + 200 > MAX_ACL_BYTES, "and there is no room for another entry");
    let acl = Acl::open(&sign_acl(&full, &owner)).unwrap();
    let last = identity(MAX_ENTRIES as u64 - 1);
    assert!(Keyring::open(&acl, &last).unwrap().key(1).is_ok());

    let more: Vec<Grantee> = others.into_iter().chain([grantee(MAX_ENTRIES as u64, Rights::READ)]).collect();
    let refused = AclRecord::first(&owner, ItemName::from("crowd"), &more, &mut rng);
    assert!(matches!(refused, Err(ChangeError::TooLarge { .. })));
    // A crowd is evicted for want of room only if it is not one that shrinks the list.
    let keys = Keyring::open(&acl, &owner).unwrap();
    let revoke = Change::Revoke { party: last.party() };
    assert!(acl.change(&owner, &keys, &revoke, None, at(0), &mut rng).is_ok());
}

#[test]
fn the_oldest_epoch_is_forgotten_when_there_are_too_many() {
    let (owner, reader, mut rng) = (identity(0), identity(1), SeedRng::new(7));
    let mut acl = first(&[grantee(1, Rights::READ)], &mut rng);
    let mut shelf = Shelf::default();
    shelf.offer(acl.signed(), at(0)).unwrap();
    let key = reader.encryption_key();
    let mut other = identity(1_000);
    for round in 0..MAX_EPOCHS as u64 + 5 {
        // A rotation of the owner's key begins an epoch; one in a hundred is for somebody who is not to see the past.
        let late = [grantee(2 + round, Rights::READ)];
        let change = match round % 100 {
            99 => Change::Grant { grantees: &late, history: History::Omitted },
            _ => Change::Rotate {
                party: reader.party(),
                encryption_key: if round % 2 == 1 { key } else { other.rotate_encryption_key(&mut rng) },
            },
        };
        acl = next(&acl, &owner, &change, None, &mut rng);
        assert_eq!(shelf.offer(acl.signed(), at(0)), Ok(()), "round {round}");
    }
    assert_eq!((acl.epochs().len(), acl.oldest_epoch()), (MAX_EPOCHS, 7));
    let keys = Keyring::open(&acl, &owner).unwrap();
    assert!(matches!(keys.key(6), Err(KeyError::UnknownEpoch { oldest: 7, .. })));
    assert!((7..=acl.epoch()).all(|epoch| keys.key(epoch).is_ok()));
    let late = Keyring::open(&acl, &identity(2 + 99)).unwrap();
    assert_eq!(late.since(), 101);
    assert!(late.key(101).is_ok() && late.key(100).is_err());
}

#[test]
fn the_kinds_are_what_they_are_called() {
    assert_eq!(dt_acl::AclValidator.kind().to_string(), "acl ");
    assert_eq!(dt_acl::DataValidator.kind().to_string(), "data");
}

#[test]
fn only_the_list_is_served() {
    let mut rng = SeedRng::new(8);
    let acl = first(&[grantee(1, Rights::READ).until(at(10))], &mut rng);
    let mut shelf = Shelf::default();
    shelf.offer(acl.signed(), at(0)).unwrap();
    let (one, _) = write(&acl, &identity(0), None, b"one", at(0), &mut rng);
    shelf.offer(&one, at(0)).unwrap();
    let party = |seed| -> PartyId { identity(seed).party() };
    assert_eq!(shelf.serve(&party(0), Timestamp::MAX), Ok(()));
    assert_eq!(shelf.serve(&party(1), at(10)), Ok(()));
    assert_eq!(shelf.serve(&party(1), at(11)), Err(Refusal::NotPermitted));
    assert_eq!(shelf.serve(&party(2), at(0)), Err(Refusal::NotPermitted));
}

#[test]
fn a_member_need_not_be_a_party() {
    assert_eq!(Member::from(identity(1).party()).party(), Ok(identity(1).party()));
    assert!(Member::from([0; 32]).party().is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn lists_and_data_survive_the_codec(acl in acl(), data in data()) {
        let bytes = codec::encode(acl.record());
        prop_assert_eq!(&codec::decode::<AclRecord>(&bytes, MAX_ACL_BYTES).unwrap(), acl.record());
        let bytes = codec::encode(data.record());
        prop_assert_eq!(&codec::decode::<DataRecord>(&bytes, MAX_DATA_BYTES).unwrap(), data.record());
    }

    #[test]
    fn every_history_is_admitted(history in history()) {
        let mut shelf = Shelf::default();
        for acl in &history {
            prop_assert_eq!(shelf.offer(acl.signed(), at(0)), Ok(()));
        }
        // And each version also by a replica that missed some, since the owner signed it.
        for skipped in history.windows(2) {
            let mut shelf = Shelf::default();
            shelf.offer(history[0].signed(), at(0)).unwrap();
            let jumped = shelf.offer(skipped[1].signed(), at(0));
            prop_assert_eq!(jumped, Ok(()));
        }
    }

    #[test]
    fn keys_of_strangers_do_not_matter(key in any::<[u8; 32]>()) {
        // Any 32 bytes are an encryption key: they are wrapped for, or refused, but nothing else.
        let (owner, mut rng) = (identity(0), SeedRng::new(1));
        let strange = Grantee::new(identity(1).party(), EncryptionKey::from(key), Rights::READ);
        prop_assert!(AclRecord::first(&owner, ItemName::from("x"), &[strange], &mut rng).is_ok());
    }
}
