//! The rules of lists and data as one replica applies them, and the limits.

use core::sync::atomic::{AtomicUsize, Ordering};

use dt_acl::testing::{Shelf, acl, data, history, sign_acl, write};
use dt_acl::{
    Acl, AclRecord, Change, ChangeError, Data, DataRecord, Grantee, History, ItemName, KeyError, Keyring,
    MAX_ACL_BYTES, MAX_DATA_BYTES, MAX_ENTRIES, MAX_EPOCHS, Rights,
};
use dt_dht::{Refusal, Validator};
use dt_model::testing::{SeedRng, identity};
use dt_model::{EncryptionKey, Identity, PartyId, Secret, Signature, Signer, SignerError, Timestamp, codec};
use proptest::prelude::*;

use crate::common::{at, first, grantee};
use crate::forge::{RawAcl, raw_next};

/// The next list by `author`.
pub(crate) fn next(acl: &Acl, author: &Identity, change: &Change<'_>, rng: &mut SeedRng) -> Acl {
    let keys = Keyring::open(acl, author).unwrap();
    let record = acl.change(author, &keys, change, at(0), rng).unwrap();
    Acl::open(&sign_acl(&record, author)).unwrap()
}

fn grant(grantees: &[Grantee]) -> Change<'_> {
    Change::Grant { grantees, history: History::Full }
}

#[test]
fn lists_follow_one_another() {
    let (owner, mut rng) = (identity(0), SeedRng::new(1));
    let one = first(&[grantee(1, Rights::READ)], &mut rng);
    let two = next(&one, &owner, &grant(&[grantee(2, Rights::READ)]), &mut rng);
    let other_two = next(&one, &owner, &grant(&[grantee(3, Rights::READ)]), &mut rng);
    let three = next(&other_two, &owner, &Change::Revoke { party: identity(3).party() }, &mut rng);

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

/// Nothing but the direct successor is admitted, whoever signed it: what a replica missed it adopts, and does not judge.
#[test]
fn nobody_leaves_out_a_version() {
    let (owner, manager, mut rng) = (identity(0), identity(1), SeedRng::new(2));
    let one = first(&[grantee(1, Rights::MANAGE)], &mut rng);
    let two = next(&one, &owner, &grant(&[grantee(2, Rights::READ)]), &mut rng);
    let mut shelf = Shelf::default();
    for (author, refusal) in [(&owner, Refusal::Gap { stored: 0 }), (&manager, Refusal::NotPermitted)] {
        let three = next(&two, author, &grant(&[grantee(3, Rights::READ)]), &mut rng);
        assert_eq!(shelf.offer(three.signed(), at(0)), Err(refusal));
        let mut behind = Shelf::default();
        behind.offer(one.signed(), at(0)).unwrap();
        assert_eq!(behind.offer(three.signed(), at(0)), Err(Refusal::Gap { stored: 1 }));
        assert_eq!(behind.offer(two.signed(), at(0)), Ok(()));
        assert_eq!(behind.offer(three.signed(), at(0)), Ok(()));
    }
    assert_eq!(shelf.offer(one.signed(), at(0)), Ok(()));
}

#[test]
fn time_does_not_go_back() {
    let (owner, mut rng) = (identity(0), SeedRng::new(4));
    let acl = first(&[], &mut rng);
    let mut raw = raw_next(&acl, &grant(&[grantee(1, Rights::READ)]), &mut rng);
    raw.time = at(5);
    let mut shelf = Shelf::default();
    shelf.offer(acl.signed(), at(5)).unwrap();
    shelf.offer(&raw.sign(&owner), at(5)).unwrap();
    let two = shelf.acl().unwrap();
    // An author whose clock is behind takes the time of the version before.
    let three = next(&two, &owner, &grant(&[grantee(2, Rights::READ)]), &mut rng);
    assert_eq!((two.time(), three.time()), (at(5), at(5)));
    let mut earlier = RawAcl::of(&three);
    earlier.time = at(4);
    assert_eq!(shelf.offer(&earlier.sign(&owner), at(5)), Err(Refusal::Inconsistent));
    let mut future = RawAcl::of(&three);
    future.time = at(6).saturating_add(dt_dht::MAX_REQUEST_AGE);
    assert_eq!(shelf.offer(&future.sign(&owner), at(5)), Err(Refusal::Outdated));
    assert_eq!(shelf.clone().offer(&future.sign(&owner), at(6)), Ok(()));
    assert_eq!(shelf.offer(three.signed(), at(5)), Ok(()));
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
    assert_eq!(shelf.offer(&two, at(3)), Err(Refusal::Gap { stored: 0 }));
    assert_eq!(shelf.offer(&one, at(3)), Ok(()));
    assert_eq!(shelf.offer(&other_one, at(3)), Err(Refusal::Conflict));
    assert_eq!(shelf.offer(&other_two, at(3)), Err(Refusal::Superseded), "it follows on something else");
    assert_eq!(shelf.offer(&two, at(3)), Ok(()));
    assert_eq!(shelf.offer(&one, at(3)), Err(Refusal::Stale { stored: 2 }));

    // The list goes on, and the data stays as it is: the next follows on it, under the new list.
    let later = next(&acl, &owner, &Change::Revoke { party: identity(1).party() }, &mut rng);
    assert_eq!(shelf.offer(later.signed(), at(3)), Ok(()));
    let two_ref = shelf.data().unwrap().reference();
    let (under_old, _) = write(&acl, &owner, Some(two_ref), b"three", at(3), &mut rng);
    assert_eq!(shelf.offer(&under_old, at(3)), Err(Refusal::Superseded));
    let (three, _) = write(&later, &owner, Some(two_ref), b"three", at(3), &mut rng);
    assert_eq!(shelf.offer(&three, at(3)), Ok(()));
}

/// Who can hold up whom.
#[test]
fn ranks_follow_rights() {
    let mut rng = SeedRng::new(5);
    let acl = first(
        &[
            grantee(1, Rights::MANAGE).until(at(10)),
            grantee(2, Rights::ALL),
            grantee(3, Rights::WRITE),
            grantee(4, Rights::READ),
        ],
        &mut rng,
    );
    let mut shelf = Shelf::default();
    assert_eq!(shelf.rank(&identity(5).party(), at(0)), Some(0), "whose address it is, nobody knows yet");
    shelf.offer(acl.signed(), at(0)).unwrap();
    for (party, rank) in [(0, Some(3)), (1, Some(2)), (2, Some(2)), (3, Some(1)), (4, Some(0)), (5, None)] {
        assert_eq!(shelf.rank(&identity(party).party(), at(10)), rank, "{party}");
    }
    assert_eq!(shelf.rank(&identity(1).party(), at(11)), None);
    let (data, _) = write(&acl, &identity(0), None, b"one", at(0), &mut rng);
    shelf.offer(&data, at(0)).unwrap();
    assert_eq!(shelf.rank(&identity(3).party(), at(11)), Some(1));
}

/// Counts how often it agrees on a secret.
struct Counting {
    identity: Identity,
    agreements: AtomicUsize,
}

impl Signer for Counting {
    fn party(&self) -> PartyId {
        self.identity.party()
    }
    fn encryption_key(&self) -> EncryptionKey {
        self.identity.encryption_key()
    }
    fn sign(&self, message: &[u8]) -> Result<Signature, SignerError> {
        self.identity.sign(message)
    }
    fn agree(&self, own: &EncryptionKey, peer: &EncryptionKey) -> Result<Secret, SignerError> {
        self.agreements.fetch_add(1, Ordering::Relaxed);
        self.identity.agree(own, peer)
    }
}

#[test]
fn as_many_entries_and_epochs_as_promised_fit_and_no_more() {
    let (owner, mut rng) = (identity(0), SeedRng::new(6));
    let others: Vec<Grantee> = (1..MAX_ENTRIES as u64).map(|seed| grantee(seed, Rights::READ)).collect();
    let full = AclRecord::first(&owner, ItemName::from("crowd"), &others, at(0), &mut rng).unwrap();
    assert_eq!(full.entries().len(), MAX_ENTRIES);
    const { assert!(MAX_ENTRIES >= 10_000) };
    let size = codec::encode(&full).len();
    let epoch = codec::encode(&full.epochs()[0]).len() + 48;
    assert!(size + MAX_EPOCHS * epoch <= MAX_ACL_BYTES + epoch, "with all epochs it fits too");
    assert!(size + MAX_EPOCHS * epoch + 200 > MAX_ACL_BYTES, "and there is no room for another entry");
    let acl = Acl::open(&sign_acl(&full, &owner)).unwrap();
    let last = Counting { identity: identity(MAX_ENTRIES as u64 - 1), agreements: AtomicUsize::new(0) };
    assert!(Keyring::open(&acl, &last).unwrap().key(1).is_ok());
    assert_eq!(last.agreements.into_inner(), 1, "one of more than ten thousand readers agrees once");
    let last = last.identity;

    let more: Vec<Grantee> = others.into_iter().chain([grantee(MAX_ENTRIES as u64, Rights::READ)]).collect();
    let refused = AclRecord::first(&owner, ItemName::from("crowd"), &more, at(0), &mut rng);
    assert!(matches!(refused, Err(ChangeError::TooLarge { .. })));
    // A crowd is evicted for want of room only if it is not one that shrinks the list.
    let keys = Keyring::open(&acl, &owner).unwrap();
    let revoke = Change::Revoke { party: last.party() };
    assert!(acl.change(&owner, &keys, &revoke, at(0), &mut rng).is_ok());
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
        acl = next(&acl, &owner, &change, &mut rng);
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
        // But none by a replica that missed the one before.
        for skipped in history.windows(3) {
            let mut shelf = Shelf::default();
            for acl in history.iter().take_while(|acl| acl.version() <= skipped[0].version()) {
                shelf.offer(acl.signed(), at(0)).unwrap();
            }
            let stored = skipped[0].version();
            prop_assert_eq!(shelf.offer(skipped[2].signed(), at(0)), Err(Refusal::Gap { stored }));
        }
    }

    #[test]
    fn keys_of_strangers_do_not_matter(key in any::<[u8; 32]>()) {
        // Any 32 bytes are an encryption key: they are wrapped for, or refused, but nothing else.
        let (owner, mut rng) = (identity(0), SeedRng::new(1));
        let strange = Grantee::new(identity(1).party(), EncryptionKey::from(key), Rights::READ);
        prop_assert!(AclRecord::first(&owner, ItemName::from("x"), &[strange], at(0), &mut rng).is_ok());
    }
}
