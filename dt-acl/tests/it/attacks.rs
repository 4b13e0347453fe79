//! What attackers try with keys and time on their side: lying nodes, removed readers and writers, keys and wraps out of place.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use dt_acl::testing::{sign_acl, write};
use dt_acl::{
    AclError, AclRecord, Change, ChangeError, Corrupt, Data, DataRef, Entry, Floor, History, ItemId,
    ItemName, Items, KeyError, Keyring, Revocation, Rights,
};
use dt_dht::testing::Fault;
use dt_dht::{Client, Parcel, Refusal, Request, RequestBody, Transport, TransportError};
use dt_model::testing::{SeedRng, identity};
use dt_model::{
    ContentHash, Digest, Domain, EncryptionKey, Identity, PartyId, Secret, Signer, SignerError, codec,
};

use crate::common::{at, first, grantee, items, network};
use crate::forge::{RawAcl, RawData, opened, raw_next, shelf};

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
            let opened = reader.read(item, Some(acl.reference().into()), net.now()).await.unwrap();
            assert_eq!((&**opened.plaintext, opened.counter), (&b"two"[..], written.counter), "{fault:?}");
            let others = [grantee(3, Rights::READ)];
            owner.grant(item, &others, History::Full, net.now(), &mut rng).await.unwrap();
            owner.revoke(item, identity(3).party(), Revocation::Eager, net.now(), &mut rng).await.unwrap();
            assert_eq!(
                reader.read(item, None, net.now()).await.unwrap().counter,
                written.counter + 1,
                "{fault:?}"
            );
            net.faulty().heal(&liar.party());
            // The liar is honest again, and may have missed all this: it is brought up to date by reading.
            owner.read(item, None, net.now()).await.unwrap();
        }
        let revoked = owner.revoke(item, goes.party(), Revocation::Lazy, net.now(), &mut rng).await.unwrap();
        let liar = net.replicas(&item.address())[1].clone();
        net.corrupt(&liar, fault);
        assert!(matches!(goes.read(item, None, net.now()).await, Err(AclError::NotAReader(_))), "{fault:?}");
        let floor = Floor::from(&revoked.state);
        assert!(reader.read(item, Some(floor), net.now()).await.is_ok(), "{fault:?}");
    }
}

/// Nodes that have gone back to what they had before, and learn nothing new: what they are is another network of the same nodes.
struct RolledBack {
    nodes: Vec<PartyId>,
    before: Arc<dyn Transport>,
    now: Arc<dyn Transport>,
}

#[async_trait]
impl Transport for RolledBack {
    async fn request(&self, node: &PartyId, request: Bytes) -> Result<Bytes, TransportError> {
        if !self.nodes.contains(node) {
            return self.now.request(node, request).await;
        }
        let opened = Parcel::<Request>::decode(&request).unwrap().open().unwrap();
        match opened.body {
            RequestBody::Adopt { .. } => Err(TransportError::TimedOut(*node)),
            _ => self.before.request(node, request).await,
        }
    }

    fn update_membership(&self, membership: &dt_dht::Membership) {
        self.now.update_membership(membership);
    }
}

/// As many nodes as may lie show the list of before a revocation, with its certificate: nobody believes them. All of them together are
/// believed, but not by whoever knows of the newer list or the newer data.
#[tokio::test]
async fn what_was_rolled_back_is_not_believed() {
    for (max_faulty, nodes) in [(1, 4), (2, 7)] {
        let (net, before, mut rng) =
            (network(max_faulty, nodes), network(max_faulty, nodes), SeedRng::new(2));
        let readers = [grantee(1, Rights::READ), grantee(2, Rights::READ)];
        let first = items(&net, 0).create("log", &readers, net.now(), &mut rng).await.unwrap();
        let item = first.acl.item();
        items(&before, 0).resubmit(first.acl.signed(), net.now()).await.unwrap();
        items(&net, 0).write(item, b"one", net.now(), &mut rng).await.unwrap();
        let one = items(&net, 0).state(item, None, net.now()).await.unwrap();
        items(&before, 0).resubmit(one.data.as_ref().unwrap().signed(), net.now()).await.unwrap();
        let gone = identity(1).party();
        let revoked = items(&net, 0).revoke(item, gone, Revocation::Lazy, net.now(), &mut rng).await.unwrap();
        items(&net, 0).write(item, b"two", net.now(), &mut rng).await.unwrap();

        let replicas: Vec<_> = net.replicas(&item.address()).iter().map(|node| node.party()).collect();
        let reader = |party: u64, rolled_back: &[PartyId]| {
            let transport = RolledBack {
                nodes: rolled_back.to_vec(),
                before: before.faulty().clone(),
                now: net.faulty().clone(),
            };
            let (signer, membership) = (Arc::new(identity(party)), net.membership().clone());
            Items::new(Arc::new(Client::new(signer, Arc::new(transport), membership, SeedRng::new(party))))
        };
        for at in 0..replicas.len() {
            let liars: Vec<_> = replicas.iter().cycle().skip(at).take(max_faulty.into()).copied().collect();
            let opened = reader(2, &liars).read(item, None, net.now()).await.unwrap();
            assert_eq!((&**opened.plaintext, opened.acl.version), (&b"two"[..], 2));
            let refused = reader(1, &liars).read(item, None, net.now()).await;
            assert!(matches!(refused, Err(AclError::NotAReader(_))), "{refused:?}");
        }
        let deceived = reader(2, &replicas);
        assert_eq!(deceived.acl(item, None, net.now()).await.unwrap(), first.acl);
        let list = Floor::from(revoked.state.acl.reference());
        let data = Floor { data: Some(DataRef { counter: 2, digest: Digest::ZERO }), ..Floor::from(&one) };
        for floor in [list, data] {
            let read = deceived.read(item, Some(floor), net.now()).await;
            assert!(matches!(read, Err(AclError::Rollback { floor: known }) if known == floor));
        }
        assert!(deceived.state(item, Some(Floor::from(&one)), net.now()).await.is_ok());
    }
}

#[test]
fn a_list_of_one_version_does_not_go_with_data_of_another() {
    let (owner, mut rng) = (identity(0), SeedRng::new(3));
    let acl = first(&[grantee(1, Rights::WRITE)], &mut rng);
    let next = opened(&raw_next(&acl, &Change::Revoke { party: identity(1).party() }, &mut rng).sign(&owner));
    let mut later = shelf(&acl);
    later.offer(next.signed(), at(0)).unwrap();
    let (old, _) = write(&acl, &owner, None, b"old", at(0), &mut rng);
    let (new, _) = write(&next, &owner, None, b"new", at(0), &mut rng);
    assert_eq!(later.offer(&old, at(0)), Err(Refusal::Superseded));
    assert_eq!(shelf(&acl).offer(&new, at(0)), Err(Refusal::Superseded));
    let (old, new) = (Data::open(&old).unwrap(), Data::open(&new).unwrap());
    assert!(old.is_under(&acl) && new.is_under(&next) && !old.is_under(&next) && !new.is_under(&acl));

    // The right version with another digest, and the right list with another epoch.
    let mut raw = RawData::of(&new);
    raw.acl.digest = acl.reference().digest;
    assert_eq!(later.offer(&raw.sign(&owner), at(0)), Err(Refusal::Superseded));
    let mut raw = RawData::of(&new);
    raw.epoch = 1;
    assert_eq!(later.offer(&raw.sign(&owner), at(0)), Err(Refusal::Superseded));
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
        let own = Entry { party: reader.party(), encryption_key: reader.encryption_key(), ..entry.clone() };
        *raw.entries.iter_mut().find(|known| known.party == entry.party).unwrap() = own;
        raw.entries.sort_by_key(|entry| entry.party);
        // It need not care for what is well-formed, but the owner's entry has to stay for the bytes to decode.
        if entry.party != owner.party() {
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
    let acl =
        first(&[grantee(1, Rights::WRITE).until(until), grantee(2, Rights::MANAGE).until(until)], &mut rng);
    let (record, _) = write(&acl, &identity(1), None, b"content", at(0), &mut rng);
    assert_eq!(shelf(&acl).offer(&record, at(100)), Ok(()));
    assert_eq!(shelf(&acl).offer(&record, at(101)), Err(Refusal::NotPermitted));
    let manager = identity(2);
    let keys = Keyring::open(&acl, &manager).unwrap();
    let change = Change::Revoke { party: identity(1).party() };
    let next = acl.change(&manager, &keys, &change, at(100), &mut rng).unwrap();
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
    fails(&|raw| raw.ciphertext = wrong.ciphertext, &ciphertext);
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
        let made = AclRecord::first(&owner, ItemName::from("x"), &[weak], at(0), &mut rng);
        assert!(matches!(made, Err(ChangeError::EncryptionKey(refused)) if refused.key == key));
        let keys = Keyring::open(&acl, &owner).unwrap();
        let change = Change::Rotate { party: reader.party(), encryption_key: key };
        let made = acl.change(&owner, &keys, &change, at(0), &mut rng);
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
    let later = raw_next(
        &acl,
        &Change::Grant { grantees: &[grantee(3, Rights::READ)], history: History::Full },
        &mut rng,
    );
    let mut replayed = later.clone();
    replayed.entry(1).wrap = original.clone().entry(1).wrap.clone();
    assert!(Keyring::open(&later.record(), &reader).is_ok());
    assert!(matches!(Keyring::open(&replayed.record(), &reader), Err(KeyError::Corrupt)));
    replayed.ephemeral = original.ephemeral;
    assert!(matches!(Keyring::open(&replayed.record(), &reader), Err(KeyError::Corrupt)));
    // A link of another item or epoch.
    let two = raw_next(&acl, &Change::Revoke { party: identity(2).party() }, &mut rng);
    let three = raw_next(
        &opened(&two.sign(&owner)),
        &Change::Rotate { party: reader.party(), encryption_key: reader.encryption_key() },
        &mut rng,
    );
    assert_eq!(three.epochs.len(), 2, "the same key is no rotation");
    let mut swapped = two.clone();
    let foreign =
        AclRecord::first(&owner, ItemName::from("other"), &[grantee(2, Rights::READ)], at(0), &mut rng)
            .unwrap();
    let foreign = opened(&sign_acl(&foreign, &owner));
    swapped.epochs[1].link =
        raw_next(&foreign, &Change::Revoke { party: identity(2).party() }, &mut rng).epochs[1].link;
    assert!(Keyring::open(&two.record(), &reader).unwrap().key(1).is_ok());
    assert!(matches!(Keyring::open(&swapped.record(), &reader).unwrap().key(1), Err(KeyError::Corrupt)));
}

/// A writer has every key, and says that the content is another than it is.
#[test]
fn a_writer_cannot_commit_to_one_content_and_store_another() {
    let (owner, mut rng) = (identity(0), SeedRng::new(16));
    let acl = first(&[], &mut rng);
    let key = Keyring::open(&acl, &owner).unwrap().key(1).unwrap();
    let (signed, ciphertext) = write(&acl, &owner, None, b"stored", at(0), &mut rng);
    let mut raw = RawData::of(&Data::open(&signed).unwrap());
    let claimed = ContentHash::of(b"claims");
    let context = codec::encode(&(raw.item, raw.epoch, raw.counter, owner.party(), raw.salt));
    let content_key = key.derive(Domain::new("dt/acl/content/v1"), &context);
    let sealing = content_key.derive(Domain::new("dt/acl/content-hash/v1"), &[]);
    let sealed = sealing.seal_once(&[], claimed.as_bytes());
    raw.content_hash = <[u8; 48]>::try_from(sealed.as_slice()).unwrap().into();
    let blinding = content_key.derive(Domain::new("dt/acl/blinding/v1"), &[]);
    let parts: [&[u8]; 3] = [blinding.expose(), claimed.as_bytes(), &6u64.to_le_bytes()];
    raw.commitment = Domain::new("dt/acl/content-commitment/v1").blake3(&parts);
    assert_eq!(raw.record().content_hash(owner.party(), &key), Ok(claimed), "the claim itself is well made");
    assert_eq!(raw.record().open(owner.party(), &key, &ciphertext), Err(Corrupt));
}
