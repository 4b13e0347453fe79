//! What attackers try: lying nodes, removed readers and writers, managers who go too far, strangers, and makers of odd bytes.

use borsh::{BorshDeserialize, BorshSerialize};
use bytes::Bytes;
use dt_acl::testing::{Shelf, acl, data, sign_acl, write};
use dt_acl::{
    Acl, AclError, AclRecord, AclRef, Change, ChangeError, Corrupt, Data, DataRecord, DataRef, Entry, Epoch, History,
    ItemId, ItemName, KeyError, Keyring, MAX_ACL_BYTES, MAX_COUNTER_STEP, MAX_DATA_BYTES, Member, Revocation, Rights,
    Salt, SealedHash,
};
use dt_dht::testing::Fault;
use dt_dht::{BlobRef, Record, Refusal};
use dt_model::testing::{SeedRng, identity};
use dt_model::{
    Digest, Domain, EncryptionKey, Envelope, Identity, PartyId, Secret, Signed, Signer, SignerError, Timestamp, codec,
};
use proptest::prelude::*;

use crate::common::{at, first, grantee, items, network};

/// The bytes of a list, field by field, without the checks of [`AclRecord`]: what an attacker can send.
#[derive(Clone, BorshSerialize, BorshDeserialize)]
struct RawAcl {
    owner: PartyId,
    name: ItemName,
    version: u64,
    previous: Digest,
    oldest: u64,
    data: Option<DataRef>,
    epochs: Vec<Epoch>,
    ephemeral: EncryptionKey,
    entries: Vec<Entry>,
}

/// The bytes of a data record, likewise.
#[derive(Clone, BorshSerialize, BorshDeserialize)]
struct RawData {
    item: ItemId,
    counter: u64,
    previous: Digest,
    acl: AclRef,
    epoch: u64,
    salt: Salt,
    blob: BlobRef,
    ciphertext: Digest,
    commitment: Digest,
    content_hash: SealedHash,
    length: u64,
    time: Timestamp,
}

impl RawAcl {
    fn of(acl: &Acl) -> Self {
        codec::decode(&codec::encode(acl.record()), MAX_ACL_BYTES).unwrap()
    }

    fn sign(&self, signer: &Identity) -> Signed<Record> {
        let key = ItemId::new(self.owner, self.name).acl_key();
        Signed::new(Record { key, version: self.version, body: codec::encode(self).into() }, signer).unwrap()
    }

    /// As a typed record, for those forgeries that are well-formed.
    fn record(&self) -> AclRecord {
        codec::decode(&codec::encode(self), MAX_ACL_BYTES).unwrap()
    }

    fn entry(&mut self, party: u64) -> &mut Entry {
        let member = Member::from(identity(party).party());
        self.entries.iter_mut().find(|entry| entry.member == member).unwrap()
    }
}

impl RawData {
    fn of(data: &Data) -> Self {
        codec::decode(&codec::encode(data.record()), MAX_DATA_BYTES).unwrap()
    }

    fn sign(&self, signer: &Identity) -> Signed<Record> {
        let (key, body) = (self.item.data_key(), codec::encode(self).into());
        Signed::new(Record { key, version: self.counter, body }, signer).unwrap()
    }

    fn record(&self) -> DataRecord {
        codec::decode(&codec::encode(self), MAX_DATA_BYTES).unwrap()
    }
}

/// The list after `acl`, by its owner, as raw bytes to be spoilt.
fn raw_next(acl: &Acl, change: &Change<'_>, rng: &mut SeedRng) -> RawAcl {
    let owner = identity(0);
    let keys = Keyring::open(acl, &owner).unwrap();
    let next = acl.change(&owner, &keys, change, acl.data(), at(0), rng).unwrap();
    RawAcl::of(&Acl::open(&sign_acl(&next, &owner)).unwrap())
}

fn opened(signed: &Signed<Record>) -> Acl {
    Acl::open(signed).unwrap()
}

fn shelf(acl: &Acl) -> Shelf {
    let mut shelf = Shelf::default();
    shelf.offer(acl.signed(), at(0)).unwrap();
    shelf
}

#[tokio::test]
async fn one_node_lies_in_every_way_it_can() {
    let faults = [
        Fault::Silent,
        Fault::Garbage,
        Fault::Replay,
        Fault::ForgedNewer,
        Fault::NothingStored,
        Fault::Stale,
        Fault::CorruptShards,
        Fault::WithheldShards,
        Fault::Pretend,
        Fault::Refuse(Refusal::NotPermitted),
    ];
    for fault in faults {
        let (net, mut rng) = (network(1, 4), SeedRng::new(1));
        let (owner, reader, goes) = (items(&net, 0), items(&net, 1), items(&net, 2));
        let readers = [grantee(1, Rights::READ), grantee(2, Rights::READ)];
        let acl = owner.create("log", &readers, net.now(), &mut rng).await.unwrap().acl;
        let item = acl.item();
        owner.write(item, b"one", net.now(), &mut rng).await.unwrap();
        for node in [0, 3] {
            let liar = net.replicas(&item.address())[node].clone();
            net.corrupt(&liar, fault);
            let written = owner.write(item, b"two", net.now(), &mut rng).await.unwrap();
            let opened = reader.read(item, Some(acl.reference()), net.now()).await.unwrap();
            assert_eq!((&**opened.plaintext, opened.counter), (&b"two"[..], written.counter), "{fault:?}");
            let others = [grantee(3, Rights::READ)];
            owner.grant(item, &others, History::Full, net.now(), &mut rng).await.unwrap();
            owner.revoke(item, identity(3).party(), Revocation::Eager, net.now(), &mut rng).await.unwrap();
            assert_eq!(reader.read(item, None, net.now()).await.unwrap().counter, written.counter + 1, "{fault:?}");
            net.faulty().heal(&liar.party());
            // The liar is honest again, and may have missed all this: it is brought up to date by reading.
            owner.read(item, None, net.now()).await.unwrap();
        }
        let revoked = owner.revoke(item, goes.party(), Revocation::Lazy, net.now(), &mut rng).await.unwrap();
        let liar = net.replicas(&item.address())[1].clone();
        net.corrupt(&liar, fault);
        assert!(matches!(goes.read(item, None, net.now()).await, Err(AclError::NotAReader(_))), "{fault:?}");
        let floor = revoked.state.acl.reference();
        assert!(reader.read(item, Some(floor), net.now()).await.is_ok(), "{fault:?}");
    }
}

/// Even if all replicas were rolled back, whoever knows of the newer list is not deceived.
#[tokio::test]
async fn a_rollback_of_all_replicas_is_noticed_below_the_floor() {
    let (net, mut rng) = (network(1, 4), SeedRng::new(2));
    let owner = items(&net, 0);
    let item = owner.create("log", &[grantee(1, Rights::READ)], net.now(), &mut rng).await.unwrap().acl.item();
    owner.write(item, b"one", net.now(), &mut rng).await.unwrap();
    let revoked =
        owner.revoke(item, identity(1).party(), Revocation::Lazy, net.now(), &mut rng).await.unwrap();
    net.nodes().iter().for_each(|node| net.corrupt(node, Fault::Stale));
    assert_eq!(owner.read(item, None, net.now()).await.unwrap().acl.version, 1, "four liars deceive");
    let floor = revoked.state.acl.reference();
    let read = owner.read(item, Some(floor), net.now()).await;
    assert!(matches!(read, Err(AclError::Rollback { floor: known }) if known == floor));
}

#[test]
fn a_list_of_one_version_does_not_go_with_data_of_another() {
    let (owner, mut rng) = (identity(0), SeedRng::new(3));
    let acl = first(&[grantee(1, Rights::WRITE)], &mut rng);
    let next = opened(&raw_next(&acl, &Change::Revoke { party: identity(1).party() }, &mut rng).sign(&owner));
    let (old, _) = write(&acl, &owner, None, b"old", at(0), &mut rng);
    let (new, _) = write(&next, &owner, None, b"new", at(0), &mut rng);
    assert_eq!(shelf(&next).offer(&old, at(0)), Err(Refusal::Superseded));
    assert_eq!(shelf(&acl).offer(&new, at(0)), Err(Refusal::Superseded));
    let (old, new) = (Data::open(&old).unwrap(), Data::open(&new).unwrap());
    assert!(old.is_under(&acl) && new.is_under(&next) && !old.is_under(&next) && !new.is_under(&acl));

    // The right version with another digest, and the right list with another epoch.
    let mut raw = RawData::of(&new);
    raw.acl.digest = acl.reference().digest;
    assert_eq!(shelf(&next).offer(&raw.sign(&owner), at(0)), Err(Refusal::Superseded));
    let mut raw = RawData::of(&new);
    raw.epoch = 1;
    assert_eq!(shelf(&next).offer(&raw.sign(&owner), at(0)), Err(Refusal::Superseded));
}

/// A removed reader has all its old keys and everything that was ever public.
#[test]
fn a_removed_reader_gets_no_further_with_all_that_is_public() {
    let (owner, reader, mut rng) = (identity(0), identity(1), SeedRng::new(4));
    let one = first(&[grantee(1, Rights::READ), grantee(2, Rights::READ)], &mut rng);
    let two = opened(&raw_next(&one, &Change::Revoke { party: reader.party() }, &mut rng).sign(&owner));
    let (signed, ciphertext) = write(&two, &owner, None, b"new", at(0), &mut rng);
    let data = Data::open(&signed).unwrap();
    let right = Keyring::open(&two, &owner).unwrap().key(2).unwrap();
    assert_eq!(&**data.record().open(owner.party(), &right, &ciphertext).unwrap().0, b"new");

    let old_key = Keyring::open(&one, &reader).unwrap().key(1).unwrap();
    assert!(matches!(Keyring::open(&two, &reader), Err(KeyError::NotAReader(_))));
    assert!(matches!(Keyring::open(&one, &reader).unwrap().key(2), Err(KeyError::UnknownEpoch { .. })));
    assert_eq!(data.record().open(owner.party(), &old_key, &ciphertext), Err(Corrupt));
    // The reader puts itself in the place of each entry, with every key that it can derive from the public values.
    for entry in two.entries() {
        let mut raw = RawAcl::of(&two);
        let own = Entry { member: reader.party().into(), encryption_key: reader.encryption_key(), ..entry.clone() };
        *raw.entries.iter_mut().find(|known| known.member == entry.member).unwrap() = own;
        raw.entries.sort_by_key(|entry| entry.member);
        // It need not care for what is well-formed, but the owner's entry has to stay for the bytes to decode.
        if entry.member != Member::from(owner.party()) {
            assert!(matches!(Keyring::open(&raw.record(), &reader), Err(KeyError::Corrupt)));
        }
        for peer in [one.ephemeral(), two.ephemeral(), entry.encryption_key] {
            let shared = reader.agree(&reader.encryption_key(), &peer).unwrap();
            assert!(shared.open_once(&[], &entry.wrap).is_err());
        }
        assert!(old_key.open_once(&[], &entry.wrap).is_err());
    }
    // The link leads back only: the old key does not open it, and what it seals is the old key.
    let link = two.epoch_at(2).unwrap().link.unwrap();
    assert!(old_key.open_once(&[], link.as_bytes()).is_err());
    let under = |key: &Secret, epoch: u64| {
        let domain = Domain::new("dt/acl/link/v1");
        key.derive(domain, &codec::encode(&(two.item(), epoch))).open_once(&[], link.as_bytes())
    };
    assert!(under(&old_key, 1).is_err() && under(&old_key, 2).is_err());
    assert_eq!(under(&right, 2).unwrap().as_slice(), old_key.expose());
}

#[test]
fn a_removed_writer_writes_no_more() {
    let (owner, writer, mut rng) = (identity(0), identity(1), SeedRng::new(5));
    let one = first(&[grantee(1, Rights::WRITE)], &mut rng);
    let two = opened(&raw_next(&one, &Change::Revoke { party: writer.party() }, &mut rng).sign(&owner));
    let mut shelf = shelf(&one);
    shelf.offer(two.signed(), at(0)).unwrap();
    // Under the list that it was on, and under the one that it is not on.
    let (old, _) = write(&one, &writer, None, b"late", at(0), &mut rng);
    assert_eq!(shelf.offer(&old, at(0)), Err(Refusal::NotPermitted));
    let mut raw = RawData::of(&Data::open(&old).unwrap());
    (raw.acl, raw.epoch) = (two.reference(), 2);
    assert_eq!(shelf.offer(&raw.sign(&writer), at(0)), Err(Refusal::NotPermitted));
    // A reader is no writer, and somebody else's record does not become one's own.
    let with_reader = first(&[grantee(1, Rights::READ)], &mut rng);
    let (own, _) = write(&with_reader, &writer, None, b"no", at(0), &mut rng);
    assert_eq!(self::shelf(&with_reader).offer(&own, at(0)), Err(Refusal::NotPermitted));
    assert!(!Data::open(&own).unwrap().is_under(&with_reader));
}

#[test]
fn rights_that_have_expired_are_none() {
    let mut rng = SeedRng::new(6);
    let until = at(100);
    let acl = first(&[grantee(1, Rights::WRITE).until(until), grantee(2, Rights::MANAGE).until(until)], &mut rng);
    let (record, _) = write(&acl, &identity(1), None, b"content", at(0), &mut rng);
    assert_eq!(shelf(&acl).offer(&record, at(100)), Ok(()));
    assert_eq!(shelf(&acl).offer(&record, at(101)), Err(Refusal::NotPermitted));
    let manager = identity(2);
    let keys = Keyring::open(&acl, &manager).unwrap();
    let change = Change::Revoke { party: identity(1).party() };
    let next = acl.change(&manager, &keys, &change, None, at(100), &mut rng).unwrap();
    let next = sign_acl(&next, &manager);
    assert_eq!(shelf(&acl).offer(&next, at(100)), Ok(()));
    assert_eq!(shelf(&acl).offer(&next, at(101)), Err(Refusal::NotPermitted));
}

/// A manager gives each reader another key. Only one of them is the key that was committed to.
#[test]
fn two_keys_for_one_epoch_are_not_believed() {
    let mut rng = SeedRng::new(7);
    let acl = first(&[grantee(1, Rights::READ), grantee(2, Rights::READ)], &mut rng);
    // The attacker makes the wraps itself, with an ephemeral key of which it holds the secret.
    let attacker = Identity::generate(&mut rng);
    let mut raw = RawAcl::of(&acl);
    raw.ephemeral = attacker.encryption_key();
    let honest = Keyring::open(&acl, &identity(0)).unwrap().key(1).unwrap();
    let other = Secret::generate(&mut rng);
    for (party, key) in [(1, &honest), (2, &other)] {
        let reader = identity(party);
        let shared = attacker.agree(&raw.ephemeral, &reader.encryption_key()).unwrap();
        let place = (acl.item(), 1u64, 1u64, reader.party(), reader.encryption_key(), raw.ephemeral);
        let wrap = shared.derive(Domain::new("dt/acl/wrap/v1"), &codec::encode(&place));
        raw.entry(party).wrap = wrap.seal_once(&[], key.expose());
    }
    let record = raw.record();
    assert!(Keyring::open(&record, &identity(1)).unwrap().key(1).unwrap() == honest);
    assert!(matches!(Keyring::open(&record, &identity(2)), Err(KeyError::Corrupt)));
}

#[test]
fn content_opens_only_to_what_was_committed_to() {
    let (owner, mut rng) = (identity(0), SeedRng::new(8));
    let acl = first(&[], &mut rng);
    let key = Keyring::open(&acl, &owner).unwrap().key(1).unwrap();
    let (one, ciphertext) = write(&acl, &owner, None, b"the content", at(0), &mut rng);
    let (other, other_ciphertext) = write(&acl, &owner, None, b"the kontent", at(0), &mut rng);
    let (data, other) = (Data::open(&one).unwrap(), Data::open(&other).unwrap());
    assert!(data.record().open(owner.party(), &key, &ciphertext).is_ok());
    let fails = |spoil: &dyn Fn(&mut RawData), ciphertext: &[u8]| {
        let mut raw = RawData::of(&data);
        spoil(&mut raw);
        assert_eq!(raw.record().open(owner.party(), &key, ciphertext), Err(Corrupt));
    };
    let wrong = RawData::of(&other);
    fails(&|_| (), &other_ciphertext);
    fails(&|raw| raw.ciphertext = wrong.ciphertext, &other_ciphertext);
    fails(&|raw| raw.commitment = wrong.commitment, &ciphertext);
    fails(&|raw| raw.content_hash = wrong.content_hash, &ciphertext);
    fails(&|raw| raw.salt = wrong.salt, &ciphertext);
    fails(&|raw| (raw.counter, raw.previous) = (2, wrong.ciphertext), &ciphertext);
    fails(&|raw| raw.epoch = 2, &ciphertext);
    fails(&|raw| raw.item = ItemId::from([1; 32]), &ciphertext);
    assert_eq!(data.record().open(identity(1).party(), &key, &ciphertext), Err(Corrupt), "another writer");
    assert_eq!(data.record().open(owner.party(), &Secret::from_bytes([1; 32]), &ciphertext), Err(Corrupt));
    // The same content twice looks different, so a guess cannot be confirmed.
    let (again, _) = write(&acl, &owner, None, b"the content", at(0), &mut rng);
    let again = Data::open(&again).unwrap();
    assert!(again.commitment() != data.commitment() && again.ciphertext() != data.ciphertext());
}

/// The points of small order on Curve25519 and their other encodings (RFC 7748, section 6.1; Bernstein's list).
const LOW_ORDER: [&str; 7] = [
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
    "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
];

#[test]
fn keys_of_low_order_are_refused() {
    let (owner, reader, mut rng) = (identity(0), identity(1), SeedRng::new(9));
    let acl = first(&[grantee(1, Rights::READ)], &mut rng);
    for key in LOW_ORDER {
        let key: EncryptionKey = key.parse().unwrap();
        let weak = dt_acl::Grantee::new(reader.party(), key, Rights::READ);
        let made = AclRecord::first(&owner, ItemName::from("x"), &[weak], &mut rng);
        assert!(matches!(made, Err(ChangeError::EncryptionKey(refused)) if refused.key == key));
        let keys = Keyring::open(&acl, &owner).unwrap();
        let change = Change::Rotate { party: reader.party(), encryption_key: key };
        let made = acl.change(&owner, &keys, &change, None, at(0), &mut rng);
        assert!(matches!(made, Err(ChangeError::EncryptionKey(_))));
        // As a list's ephemeral key it would make every wrap readable to everybody.
        let mut raw = RawAcl::of(&acl);
        raw.ephemeral = key;
        let opened = Keyring::open(&raw.record(), &reader);
        assert!(matches!(opened, Err(KeyError::Signer(SignerError::NonContributory))));
    }
}

#[test]
fn a_wrap_opens_only_in_its_place() {
    let (owner, reader, mut rng) = (identity(0), identity(1), SeedRng::new(10));
    let acl = first(&[grantee(1, Rights::READ), grantee(2, Rights::READ)], &mut rng);
    let original = RawAcl::of(&acl);
    assert!(Keyring::open(&acl, &reader).is_ok());
    let fails = |spoil: &dyn Fn(&mut RawAcl)| {
        let mut raw = original.clone();
        spoil(&mut raw);
        assert!(matches!(Keyring::open(&raw.record(), &reader), Err(KeyError::Corrupt)));
    };
    // Another item, another version, another epoch, another reader's wrap, another ephemeral key.
    fails(&|raw| raw.name = ItemName::from("another"));
    fails(&|raw| (raw.version, raw.previous) = (2, Digest::from([1; 32])));
    fails(&|raw| {
        (raw.version, raw.previous, raw.oldest) = (2, Digest::from([1; 32]), 2);
        raw.epochs[0].first_version = 2;
    });
    fails(&|raw| raw.entry(1).wrap = original.clone().entry(2).wrap.clone());
    fails(&|raw| raw.ephemeral = identity(3).encryption_key());
    // The same key in another epoch does not pass the commitment, nor does another commitment.
    fails(&|raw| raw.epochs[0].commitment = Digest::from([1; 32]));
    // A wrap of the version before, in the version after, whose epoch key is the same.
    let later = raw_next(&acl, &Change::Grant { grantees: &[grantee(3, Rights::READ)], history: History::Full }, &mut rng);
    let mut replayed = later.clone();
    replayed.entry(1).wrap = original.clone().entry(1).wrap.clone();
    assert!(Keyring::open(&later.record(), &reader).is_ok());
    assert!(matches!(Keyring::open(&replayed.record(), &reader), Err(KeyError::Corrupt)));
    replayed.ephemeral = original.ephemeral;
    assert!(matches!(Keyring::open(&replayed.record(), &reader), Err(KeyError::Corrupt)));
    // A link of another item or epoch.
    let two = raw_next(&acl, &Change::Revoke { party: identity(2).party() }, &mut rng);
    let three = raw_next(&opened(&two.sign(&owner)), &Change::Rotate { party: reader.party(), encryption_key: reader.encryption_key() }, &mut rng);
    assert_eq!(three.epochs.len(), 2, "the same key is no rotation");
    let mut swapped = two.clone();
    let foreign = AclRecord::first(&owner, ItemName::from("other"), &[grantee(2, Rights::READ)], &mut rng).unwrap();
    let foreign = opened(&sign_acl(&foreign, &owner));
    swapped.epochs[1].link = raw_next(&foreign, &Change::Revoke { party: identity(2).party() }, &mut rng).epochs[1].link;
    assert!(Keyring::open(&two.record(), &reader).unwrap().key(1).is_ok());
    assert!(matches!(Keyring::open(&swapped.record(), &reader).unwrap().key(1), Err(KeyError::Corrupt)));
}

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
        (MAX_COUNTER_STEP + 1, Err(Refusal::Gap { stored: 0 })),
        (MAX_COUNTER_STEP, Ok(())),
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
    let own = AclRecord::first(&stranger, ItemName::from("item"), &[], &mut rng).unwrap();
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
    let other = AclRecord::first(&owner, ItemName::from("other"), &[], &mut rng).unwrap();
    let (data, _) = write(&opened(&sign_acl(&other, &owner)), &owner, None, b"x", at(0), &mut rng);
    let misplaced = Record { key: acl.item().data_key(), version: 1, body: data.body.clone() };
    let misplaced = Signed::new(misplaced, &owner).unwrap();
    assert_eq!(shelf(&acl).offer(&misplaced, at(0)), Err(Refusal::WrongAddress));
    // A first list that claims a past.
    let mut raw = RawAcl::of(&acl);
    raw.data = Some(DataRef { counter: 1, digest: Digest::ZERO });
    assert_eq!(Shelf::default().offer(&raw.sign(&owner), at(0)), Err(Refusal::Malformed));
}

#[test]
fn only_the_owner_and_managers_change_the_list() {
    let mut rng = SeedRng::new(13);
    let acl = first(&[grantee(1, Rights::MANAGE), grantee(2, Rights::ALL), grantee(3, Rights::WRITE)], &mut rng);
    let add = raw_next(&acl, &Change::Grant { grantees: &[grantee(4, Rights::READ)], history: History::Full }, &mut rng);
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
            raw.entry(3).rights = Rights::ALL;
            mandate(raw, 1, 3);
        },
        &|raw| {
            raw.entry(2).rights = Rights::WRITE;
            raw.entry(2).mandate = None;
        },
        &|raw| raw.entry(2).not_after = at(5),
        &|raw| raw.entry(2).rights = Rights::MANAGE,
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
        (place.member, place.rights, place.mandate) = (identity(5).party().into(), Rights::ALL, forged);
        raw.entries.sort_by_key(|entry| entry.member);
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
    let add = raw_next(&acl, &Change::Grant { grantees: &[grantee(3, Rights::READ)], history: History::Full }, &mut rng);
    let remove = raw_next(&acl, &Change::Revoke { party: identity(1).party() }, &mut rng);
    let refused = |spoil: &dyn Fn(&mut RawAcl), raw: &RawAcl| {
        let mut raw = raw.clone();
        spoil(&mut raw);
        let verdict = shelf(&acl).offer(&raw.sign(&owner), at(0));
        assert_eq!(verdict, Err(Refusal::Inconsistent));
    };
    assert_eq!(shelf(&acl).offer(&remove.sign(&owner), at(0)), Ok(()));
    let gone = Member::from(identity(1).party());
    refused(&|raw| raw.entries.retain(|entry| entry.member != gone), &add);
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

#[test]
fn lists_that_break_an_invariant_do_not_decode() {
    let (owner, mut rng) = (identity(0), SeedRng::new(15));
    let acl = first(&[grantee(1, Rights::MANAGE), grantee(2, Rights::READ)], &mut rng);
    let two = raw_next(&acl, &Change::Grant { grantees: &[grantee(3, Rights::READ)], history: History::Omitted }, &mut rng);
    assert!(Acl::open(&two.sign(&owner)).is_ok());
    let spoils: [(&str, &dyn Fn(&mut RawAcl)); 19] = [
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
        ("an owner of less", &|raw| raw.entry(0).rights = Rights::WRITE),
        ("an owner for a time", &|raw| raw.entry(0).not_after = at(1)),
        ("an owner with a mandate", &|raw| raw.entry(0).mandate = raw.entry(1).mandate),
        ("a manager without", &|raw| raw.entry(1).mandate = None),
        ("a wrap too short", &|raw| drop(raw.entry(2).wrap.pop())),
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
            let first = RawAcl { version: 1, previous: Digest::ZERO, data: None, ..RawAcl::of(&acl) };
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
