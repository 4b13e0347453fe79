//! What parties see, over four nodes in one process.

use core::time::Duration;

use dt_acl::testing::{member, role, write};
use dt_acl::{
    AclError, AclRef, ChangeError, DataRef, Floor, Grantee, Group, History, ItemId, Items, KeyError,
    Revocation, Rights,
};
use dt_model::testing::{SeedRng, identity};
use dt_model::{ContentHash, Digest, EncryptionKey, Signer};

use crate::common::{grantee, items, items_of, network};

#[tokio::test]
async fn who_is_on_the_list_reads_what_was_written() {
    let (net, mut rng) = (network(1, 4), SeedRng::new(1));
    let (owner, reader, outsider) = (items(&net, 0), items(&net, 1), items(&net, 2));
    let state = owner.create("manual", &[grantee(1, Rights::READ)], net.now(), &mut rng).await.unwrap();
    let item = state.acl.item();
    assert_eq!(item, ItemId::new(owner.party(), "manual"));
    assert_eq!(state.certificate.verify(net.membership()), Ok(()));
    assert!(matches!(reader.read(item, None, net.now()).await, Err(AclError::NoData(_))));

    for (counter, content) in [(1, b"" as &[u8]), (2, b"short"), (3, &[7; 200_000])] {
        let written = owner.write(item, content, net.now(), &mut rng).await.unwrap();
        assert_eq!((written.counter, written.content_hash), (counter, ContentHash::of(content)));
        let opened = reader.read(item, Some(Floor::from(&state)), net.now()).await.unwrap();
        assert_eq!(**opened.plaintext, *content);
        assert_eq!(
            (opened.counter, opened.record, opened.content_hash),
            (counter, written.record, written.content_hash)
        );
        assert_eq!((opened.writer, opened.time), (owner.party(), net.now()));
    }
    assert!(matches!(outsider.read(item, None, net.now()).await, Err(AclError::NotAReader(_))));
    assert!(matches!(outsider.acl(item, None, net.now()).await, Err(AclError::NotAReader(_))));
    assert!(matches!(reader.write(item, b"no", net.now(), &mut rng).await, Err(AclError::NotPermitted)));
}

#[tokio::test]
async fn what_is_not_there_is_said_to_be_missing() {
    let (net, mut rng) = (network(1, 4), SeedRng::new(2));
    let owner = items(&net, 0);
    let item = ItemId::new(owner.party(), "none");
    assert!(matches!(owner.read(item, None, net.now()).await, Err(AclError::NoSuchItem(_))));
    assert!(matches!(owner.write(item, b"", net.now(), &mut rng).await, Err(AclError::NoSuchItem(_))));
    let floor = Floor::from(AclRef { version: 1, digest: Digest::ZERO });
    assert!(matches!(owner.read(item, Some(floor), net.now()).await, Err(AclError::Rollback { .. })));
    owner.create("none", &[], net.now(), &mut rng).await.unwrap();
    let again = owner.create("none", &[], net.now(), &mut rng).await;
    assert!(matches!(again, Err(AclError::AlreadyExists(known)) if known == item));
}

#[tokio::test]
async fn a_lazy_revocation_leaves_the_old_data_to_the_others_and_the_new_data_to_them_alone() {
    let (net, mut rng) = (network(1, 4), SeedRng::new(3));
    let (owner, stays, goes) = (items(&net, 0), items(&net, 1), items(&net, 2));
    let readers = [grantee(1, Rights::READ), grantee(2, Rights::WRITE)];
    let item = owner.create("log", &readers, net.now(), &mut rng).await.unwrap().acl.item();
    goes.write(item, b"first", net.now(), &mut rng).await.unwrap();
    let old_key = goes.epoch_key(item, 1, net.now()).await.unwrap();

    let revoked = owner.revoke(item, goes.party(), Revocation::Lazy, net.now(), &mut rng).await.unwrap();
    assert_eq!((revoked.state.acl.version(), revoked.state.acl.epoch()), (2, 2));
    assert!(revoked.rewritten.is_none());
    // The removed writer's record stands: it was settled while he was a writer.
    let opened = stays.read(item, None, net.now()).await.unwrap();
    assert_eq!((&**opened.plaintext, opened.writer), (&b"first"[..], goes.party()));
    assert!(matches!(goes.read(item, None, net.now()).await, Err(AclError::NotAReader(_))));
    assert!(matches!(goes.write(item, b"x", net.now(), &mut rng).await, Err(AclError::NotAReader(_))));

    let written = owner.write(item, b"second", net.now(), &mut rng).await.unwrap();
    assert_eq!((written.counter, written.acl), (2, revoked.state.acl.reference()));
    assert_eq!(&**stays.read(item, None, net.now()).await.unwrap().plaintext, b"second");
    assert!(stays.epoch_key(item, 1, net.now()).await.unwrap() == old_key, "the link leads back");
    assert!(stays.epoch_key(item, 2, net.now()).await.unwrap() != old_key);
}

#[tokio::test]
async fn an_eager_revocation_encrypts_anew() {
    let (net, mut rng) = (network(1, 4), SeedRng::new(4));
    let (owner, manager, goes) = (items(&net, 0), items(&net, 1), items(&net, 2));
    let readers = [grantee(1, Rights::MANAGE), grantee(2, Rights::READ)];
    let item = owner.create("log", &readers, net.now(), &mut rng).await.unwrap().acl.item();
    let first = owner.write(item, b"content", net.now(), &mut rng).await.unwrap();

    // Who may not write cannot do it, and then nothing happens at all.
    let refused = manager.revoke(item, goes.party(), Revocation::Eager, net.now(), &mut rng).await;
    assert!(matches!(refused, Err(AclError::NotPermitted)));
    assert_eq!(owner.acl(item, None, net.now()).await.unwrap().version(), 1);

    let revoked = owner.revoke(item, goes.party(), Revocation::Eager, net.now(), &mut rng).await.unwrap();
    let second = revoked.rewritten.unwrap();
    assert_eq!((second.counter, second.content_hash), (2, first.content_hash));
    assert_eq!(second.acl, revoked.state.acl.reference());
    let opened = manager.read(item, Some(second.acl.into()), net.now()).await.unwrap();
    assert_eq!((&**opened.plaintext, opened.counter), (&b"content"[..], 2));
    assert!(owner.reencrypt(item, net.now(), &mut rng).await.unwrap().is_none(), "nothing is left to do");
}

#[tokio::test]
async fn a_later_reader_gets_the_past_or_not() {
    let (net, mut rng) = (network(1, 4), SeedRng::new(5));
    let (owner, all, later) = (items(&net, 0), items(&net, 1), items(&net, 2));
    let item = owner.create("log", &[], net.now(), &mut rng).await.unwrap().acl.item();
    owner.write(item, b"past", net.now(), &mut rng).await.unwrap();

    let state =
        owner.grant(item, &[grantee(1, Rights::READ)], History::Full, net.now(), &mut rng).await.unwrap();
    assert_eq!(state.acl.epoch(), 1, "nobody was removed");
    assert_eq!(&**all.read(item, None, net.now()).await.unwrap().plaintext, b"past");

    let state =
        owner.grant(item, &[grantee(2, Rights::READ)], History::Omitted, net.now(), &mut rng).await.unwrap();
    assert_eq!(state.acl.epoch(), 2);
    let early = later.read(item, None, net.now()).await;
    assert!(matches!(early, Err(AclError::Key(KeyError::BeforeGrant { epoch: 1, since: 2 }))));
    for before in [&owner, &all] {
        assert_eq!(&**before.read(item, None, net.now()).await.unwrap().plaintext, b"past");
    }
    owner.write(item, b"present", net.now(), &mut rng).await.unwrap();
    for reader in [&owner, &all, &later] {
        assert_eq!(&**reader.read(item, None, net.now()).await.unwrap().plaintext, b"present");
    }
}

#[tokio::test]
async fn an_item_without_data_serves_keys() {
    let (net, mut rng) = (network(1, 4), SeedRng::new(6));
    let (owner, early, late, last) = (items(&net, 0), items(&net, 1), items(&net, 2), items(&net, 3));
    let item = owner.create("feed", &[], net.now(), &mut rng).await.unwrap().acl.item();
    for (seed, history) in [(1, History::Full), (4, History::Full), (2, History::Omitted)] {
        owner.grant(item, &[grantee(seed, Rights::READ)], history, net.now(), &mut rng).await.unwrap();
    }
    owner.revoke(item, identity(4).party(), Revocation::Lazy, net.now(), &mut rng).await.unwrap();
    owner.grant(item, &[grantee(3, Rights::READ)], History::Omitted, net.now(), &mut rng).await.unwrap();
    // Epochs: 1; 2 is a fence for the party 2; 3 is the revocation; 4 is a fence for the party 3.
    let keys = owner.keys(item, None, net.now()).await.unwrap();
    assert_eq!((keys.epoch(), keys.since()), (4, 1));
    for (reader, since) in [(&owner, 1), (&early, 1), (&late, 2), (&last, 4)] {
        let own = reader.keys(item, None, net.now()).await.unwrap();
        assert_eq!(own.since(), since);
        for epoch in 1..=4 {
            match own.key(epoch) {
                Ok(key) => assert!(epoch >= since && key == keys.key(epoch).unwrap()),
                Err(error) => assert!(epoch < since && matches!(error, KeyError::BeforeGrant { .. })),
            }
        }
        assert!(matches!(own.key(0), Err(KeyError::UnknownEpoch { .. })));
        assert!(matches!(own.key(5), Err(KeyError::UnknownEpoch { .. })));
    }
}

#[tokio::test]
async fn a_reader_rotates_its_encryption_key() {
    let (net, mut rng) = (network(1, 4), SeedRng::new(7));
    let owner = items(&net, 0);
    let item =
        owner.create("log", &[grantee(1, Rights::READ)], net.now(), &mut rng).await.unwrap().acl.item();
    owner.write(item, b"content", net.now(), &mut rng).await.unwrap();
    let mut rotated = identity(1);
    let key = rotated.rotate_encryption_key(&mut rng);
    let state = owner.rotate(item, rotated.party(), key, net.now(), &mut rng).await.unwrap();
    assert_eq!((state.acl.epoch(), state.acl.entry(&rotated.party()).unwrap().encryption_key), (2, key));

    assert_eq!(&**items_of(&net, rotated).read(item, None, net.now()).await.unwrap().plaintext, b"content");
    // Whoever has only the former secret has nothing in the new epoch.
    let former = items(&net, 1).read(item, None, net.now()).await;
    assert!(matches!(former, Err(AclError::Key(KeyError::Signer(_)))));
    // The owner can rotate too, and is still the owner.
    let mut rotated = identity(0);
    let key = rotated.rotate_encryption_key(&mut rng);
    owner.rotate(item, owner.party(), key, net.now(), &mut rng).await.unwrap();
    assert_eq!(&**items_of(&net, rotated).read(item, None, net.now()).await.unwrap().plaintext, b"content");
}

#[tokio::test]
async fn managers_manage_readers_but_not_managers() {
    let (net, mut rng) = (network(1, 4), SeedRng::new(8));
    let (owner, manager, writer) = (items(&net, 0), items(&net, 1), items(&net, 3));
    let readers = [grantee(1, Rights::MANAGE), grantee(2, Rights::ALL)];
    let item = owner.create("log", &readers, net.now(), &mut rng).await.unwrap().acl.item();
    let state =
        manager.grant(item, &[grantee(3, Rights::WRITE)], History::Full, net.now(), &mut rng).await.unwrap();
    assert_eq!(state.acl.signer(), manager.party());
    writer.write(item, b"by leave of the manager", net.now(), &mut rng).await.unwrap();
    assert_eq!(owner.read(item, None, net.now()).await.unwrap().writer, writer.party());

    let appoint =
        manager.grant(item, &[grantee(4, Rights::MANAGE)], History::Full, net.now(), &mut rng).await;
    assert!(matches!(appoint, Err(AclError::Change(ChangeError::OnlyOwnerAppoints(_)))));
    let dismiss = manager.revoke(item, identity(2).party(), Revocation::Lazy, net.now(), &mut rng).await;
    assert!(matches!(dismiss, Err(AclError::NotPermitted)));
    let depose = manager.revoke(item, owner.party(), Revocation::Lazy, net.now(), &mut rng).await;
    assert!(matches!(depose, Err(AclError::Change(ChangeError::Owner))));
    let by_writer = writer.grant(item, &[grantee(4, Rights::READ)], History::Full, net.now(), &mut rng).await;
    assert!(matches!(by_writer, Err(AclError::NotPermitted)));

    manager.revoke(item, writer.party(), Revocation::Lazy, net.now(), &mut rng).await.unwrap();
    assert!(matches!(writer.read(item, None, net.now()).await, Err(AclError::NotAReader(_))));
    owner.revoke(item, manager.party(), Revocation::Lazy, net.now(), &mut rng).await.unwrap();
    let dismissed =
        manager.grant(item, &[grantee(4, Rights::READ)], History::Full, net.now(), &mut rng).await;
    assert!(matches!(dismissed, Err(AclError::NotAReader(_))));
}

#[tokio::test]
async fn rights_expire_and_the_next_change_clears_them_away() {
    let (net, mut rng) = (network(1, 4), SeedRng::new(9));
    let (owner, writer) = (items(&net, 0), items(&net, 1));
    let until = net.now().saturating_add(Duration::from_secs(60));
    let readers = [grantee(1, Rights::WRITE).until(until), grantee(2, Rights::READ)];
    let item = owner.create("log", &readers, net.now(), &mut rng).await.unwrap().acl.item();
    net.advance(Duration::from_secs(60));
    writer.write(item, b"at the last moment", net.now(), &mut rng).await.unwrap();
    net.advance(Duration::from_millis(1));
    assert!(matches!(writer.write(item, b"late", net.now(), &mut rng).await, Err(AclError::NotAReader(_))));
    assert!(matches!(writer.read(item, None, net.now()).await, Err(AclError::NotAReader(_))));
    assert_eq!(&**owner.read(item, None, net.now()).await.unwrap().plaintext, b"at the last moment");

    let state =
        owner.grant(item, &[grantee(3, Rights::READ)], History::Full, net.now(), &mut rng).await.unwrap();
    assert!(state.acl.entry(&writer.party()).is_none());
    assert_eq!(state.acl.epoch(), 2, "a removal begins an epoch");
}

/// Who could do what, and when: the list remembers, and its versions vouch for those before.
#[tokio::test]
async fn the_past_of_a_list_is_known() {
    let (net, mut rng) = (network(1, 4), SeedRng::new(17));
    let (owner, manager) = (items(&net, 0), items(&net, 1));
    let readers = [grantee(1, Rights::MANAGE)];
    let first = owner.create("log", &readers, net.now(), &mut rng).await.unwrap().acl;
    let item = first.item();
    let mut times = vec![net.now()];
    let reader = identity(2).party();
    for by in [&owner, &manager] {
        net.advance(Duration::from_secs(60));
        times.push(net.now());
        by.grant(item, &[grantee(2, Rights::WRITE)], History::Full, net.now(), &mut rng).await.unwrap();
        items(&net, 2).write(item, b"note", net.now(), &mut rng).await.unwrap();
        net.advance(Duration::from_secs(60));
        times.push(net.now());
        by.revoke(item, reader, Revocation::Lazy, net.now(), &mut rng).await.unwrap();
    }
    assert_eq!(owner.acl_at(item, 1, net.now()).await.unwrap(), first);
    let past = manager.history(item, 0..9, None, net.now()).await.unwrap();
    let authors: Vec<_> = past.lists().iter().map(|acl| (acl.version(), acl.signer(), acl.time())).collect();
    let by = [&owner, &owner, &owner, &manager, &manager].map(|items| items.party());
    let expected: Vec<_> =
        (1..).zip(by).zip(&times).map(|((version, by), time)| (version, by, *time)).collect();
    assert_eq!(authors, expected);
    for (version, time) in (1..).zip(&times) {
        assert_eq!(past.at(*time).unwrap().version(), version);
        let just_before = dt_model::Timestamp::from_millis(time.as_millis() - 1);
        assert_eq!(
            past.at(just_before).map(|acl| acl.version()),
            version.checked_sub(1).filter(|of| *of > 0)
        );
        let could = past.rights(&reader, *time);
        assert_eq!(could, if version % 2 == 0 { Some(Rights::WRITE) } else { None });
    }
    // He was there in epochs 1 (which began before him, and which he was given) and 2, and never got the key of the third.
    for (epoch, had) in [(1, true), (2, true), (3, false)] {
        let holders = past.key_holders(epoch);
        assert_eq!((holders.contains(&reader), holders.contains(&manager.party())), (had, true));
    }
    // A part of it says nothing of the rest.
    let part = owner.history(item, 2..4, None, net.now()).await.unwrap();
    assert_eq!(part.lists().iter().map(|acl| acl.version()).collect::<Vec<_>>(), [2, 3]);
    assert!(part.at(times[0]).is_none() && part.at(times[1]).is_some() && part.at(times[4]).is_none());
    assert!(owner.history(item, 7..9, None, net.now()).await.unwrap().lists().is_empty());
    // So does the data's past.
    let note = owner.data_at(item, 1, net.now()).await.unwrap();
    assert_eq!((note.writer(), note.acl().version), (reader, 2));
    assert_eq!(
        &**owner.open(past.lists().last().unwrap(), &note, net.now()).await.unwrap().plaintext,
        b"note"
    );
    for version in [0, 6] {
        let none = owner.acl_at(item, version, net.now()).await;
        assert!(matches!(none, Err(AclError::NoSuchVersion { .. })));
    }
    let outsider = items(&net, 2).acl_at(item, 1, net.now()).await;
    assert!(matches!(outsider, Err(AclError::NotAReader(_))));
}

#[tokio::test]
async fn a_role_of_the_ledger_is_on_the_list_as_a_group() {
    let (net, mut rng) = (network(1, 4), SeedRng::new(18));
    let owner = items(&net, 0);
    let by_name = [grantee(1, Rights::READ)];
    let item = owner.create("log", &by_name, net.now(), &mut rng).await.unwrap().acl.item();
    owner.write(item, b"content", net.now(), &mut rng).await.unwrap();
    let group = Group { role: role(1), rights: Rights::WRITE };
    let mut version = 1;
    for now_in in [&[1, 2][..], &[2, 3], &[3], &[]] {
        let members: Vec<_> = now_in.iter().map(|seed| member(&identity(*seed))).collect();
        let state =
            owner.sync_group(item, &group, &members, History::Full, net.now(), &mut rng).await.unwrap();
        version += 1;
        assert_eq!(state.acl.version(), version);
        for party in 1..4 {
            let read = items(&net, party).read(item, None, net.now()).await;
            assert_eq!(read.is_ok(), party == 1 || now_in.contains(&party), "{party}: {read:?}");
        }
    }
}

#[tokio::test]
async fn changes_that_make_no_sense_are_refused_and_change_nothing() {
    let (net, mut rng) = (network(1, 4), SeedRng::new(10));
    let owner = items(&net, 0);
    let item = owner.create("log", &[], net.now(), &mut rng).await.unwrap().acl.item();
    let twice = [grantee(1, Rights::READ), grantee(1, Rights::WRITE)];
    let (own, party) = ([grantee(0, Rights::READ)], identity(1).party());
    let hidden = [grantee(1, Rights::MANAGE)];
    let now = net.now();
    let results = [
        owner.grant(item, &twice, History::Full, now, &mut rng).await.unwrap_err(),
        owner.grant(item, &own, History::Full, now, &mut rng).await.unwrap_err(),
        owner.grant(item, &hidden, History::Omitted, now, &mut rng).await.unwrap_err(),
        owner.revoke(item, party, Revocation::Lazy, now, &mut rng).await.unwrap_err(),
        owner.rotate(item, party, EncryptionKey::from([9; 32]), now, &mut rng).await.unwrap_err(),
    ];
    assert!(matches!(
        results.each_ref().map(|error| match error {
            AclError::Change(error) => error,
            other => panic!("{other:?}"),
        }),
        [
            ChangeError::Repeated(_),
            ChangeError::Owner,
            ChangeError::ManagerNeedsHistory(_),
            ChangeError::NotOnList(_),
            ChangeError::NotOnList(_),
        ]
    ));
    assert_eq!(owner.acl(item, None, net.now()).await.unwrap().version(), 1);
    // The system gives it without its pages: nothing is read.
    let long = vec![0; usize::try_from(dt_dht::MAX_BLOB_BYTES).unwrap()];
    let refused = owner.write(item, &long, net.now(), &mut rng).await;
    assert!(matches!(refused, Err(AclError::Put(dt_dht::PutError::TooLarge { .. }))));
}

#[tokio::test]
async fn below_the_floor_nothing_is_believed() {
    let (net, mut rng) = (network(1, 4), SeedRng::new(11));
    let owner = items(&net, 0);
    let state = owner.create("log", &[], net.now(), &mut rng).await.unwrap();
    let item = state.acl.item();
    let written = owner.write(item, b"content", net.now(), &mut rng).await.unwrap();
    let current = state.acl.reference();
    let data = DataRef { counter: 1, digest: written.record };
    for floor in [Floor::from(current), Floor { acl: current, data: Some(data) }] {
        assert!(owner.read(item, Some(floor), net.now()).await.is_ok());
    }
    let fork = Digest::from([1; 32]);
    for (acl, data) in [
        (AclRef { version: 2, ..current }, None),
        (AclRef { digest: fork, ..current }, None),
        (current, Some(DataRef { counter: 2, ..data })),
        (current, Some(DataRef { digest: fork, ..data })),
    ] {
        let floor = Floor { acl, data };
        let read = owner.read(item, Some(floor), net.now()).await;
        assert!(matches!(read, Err(AclError::Rollback { floor: known }) if known == floor));
    }
    // What comes later is above the floor, whatever it says of the past.
    owner.write(item, b"more", net.now(), &mut rng).await.unwrap();
    owner.grant(item, &[grantee(1, Rights::READ)], History::Full, net.now(), &mut rng).await.unwrap();
    let floor = Floor { acl: current, data: Some(data) };
    assert_eq!(owner.read(item, Some(floor), net.now()).await.unwrap().counter, 2);
}

/// One node after the other misses everything for a while. None of them is shut out by what it missed.
#[tokio::test]
async fn nodes_that_missed_something_catch_up() {
    let (net, mut rng) = (network(1, 4), SeedRng::new(12));
    let (owner, writer) = (items(&net, 0), items(&net, 1));
    let item =
        owner.create("log", &[grantee(1, Rights::WRITE)], net.now(), &mut rng).await.unwrap().acl.item();
    for (round, node) in net.replicas(&item.address()).iter().cycle().take(8).enumerate() {
        net.in_process().stop(&node.party());
        for write in 0..3 {
            let content = format!("{round} {write}");
            writer.write(item, content.as_bytes(), net.now(), &mut rng).await.unwrap();
        }
        let seed = 2 + round as u64 % 2;
        owner.grant(item, &[grantee(seed, Rights::READ)], History::Full, net.now(), &mut rng).await.unwrap();
        owner.revoke(item, identity(seed).party(), Revocation::Lazy, net.now(), &mut rng).await.unwrap();
        assert_eq!(
            **writer.read(item, None, net.now()).await.unwrap().plaintext,
            *format!("{round} 2").as_bytes()
        );
        net.in_process().start(&node.party());
    }
    assert_eq!(writer.read(item, None, net.now()).await.unwrap().counter, 24);
}

/// What a lagging node missed was written under a list that has been replaced since. It takes over both.
#[tokio::test]
async fn a_laggard_takes_over_list_and_data_together() {
    let (net, mut rng) = (network(1, 4), SeedRng::new(13));
    let (owner, reader) = (items(&net, 0), items(&net, 1));
    let item =
        owner.create("log", &[grantee(1, Rights::READ)], net.now(), &mut rng).await.unwrap().acl.item();
    owner.write(item, b"one", net.now(), &mut rng).await.unwrap();
    let replicas = net.replicas(&item.address());
    net.in_process().stop(&replicas[0].party());
    owner.write(item, b"two", net.now(), &mut rng).await.unwrap();
    net.in_process().stop(&replicas[0].party());
    owner.grant(item, &[grantee(2, Rights::READ)], History::Full, net.now(), &mut rng).await.unwrap();
    // Now the laggard is needed for a quorum.
    net.in_process().start(&replicas[0].party());
    net.in_process().stop(&replicas[1].party());
    assert_eq!(&**owner.read(item, None, net.now()).await.unwrap().plaintext, b"two");
    assert_eq!(&**reader.read(item, None, net.now()).await.unwrap().plaintext, b"two");
}

#[tokio::test]
async fn of_two_writers_one_wins_and_the_other_hears_of_it() {
    let (net, mut rng) = (network(1, 4), SeedRng::new(14));
    let (owner, writer) = (items(&net, 0), items(&net, 1));
    let acl = owner.create("log", &[grantee(1, Rights::WRITE)], net.now(), &mut rng).await.unwrap().acl;
    let (slow, _) = write(&acl, &identity(1), None, b"slow", net.now(), &mut rng);
    owner.write(acl.item(), b"fast", net.now(), &mut rng).await.unwrap();
    assert!(matches!(writer.resubmit(&slow, net.now()).await, Err(AclError::Conflict)));
    let written = writer.write(acl.item(), b"again", net.now(), &mut rng).await.unwrap();
    assert_eq!(written.counter, 2);
}

#[tokio::test]
async fn a_write_without_a_quorum_is_in_doubt_and_can_be_settled() {
    let (net, mut rng) = (network(1, 4), SeedRng::new(15));
    let owner = items(&net, 0);
    let acl = owner.create("log", &[], net.now(), &mut rng).await.unwrap().acl;
    let (record, _) = write(&acl, &identity(0), None, b"content", net.now(), &mut rng);
    let replicas = net.replicas(&acl.item().address());
    replicas[..2].iter().for_each(|node| net.in_process().stop(&node.party()));
    let Err(AclError::InDoubt { record: doubtful, .. }) = owner.resubmit(&record, net.now()).await else {
        panic!("two of four are no quorum");
    };
    assert_eq!(*doubtful, record);
    replicas[..2].iter().for_each(|node| net.in_process().start(&node.party()));
    let settled = owner.resubmit(&doubtful, net.now()).await.unwrap();
    assert_eq!(settled.certificate.verify(net.membership()), Ok(()));
    assert_eq!(*settled.data.unwrap().signed(), record);
    // To settle it again is to find it settled, even when something else has come after it.
    owner.write(acl.item(), b"next", net.now(), &mut rng).await.unwrap();
    assert_eq!(owner.resubmit(&doubtful, net.now()).await.unwrap().data.unwrap().counter(), 2);
}

/// Nothing depends on four nodes.
#[tokio::test]
async fn more_faults_need_more_nodes() {
    for (max_faulty, nodes) in [(0, 1), (2, 7), (3, 12)] {
        let (net, mut rng) = (network(max_faulty, nodes), SeedRng::new(16));
        let (owner, reader) = (items(&net, 0), items(&net, 1));
        let item =
            owner.create("log", &[grantee(1, Rights::READ)], net.now(), &mut rng).await.unwrap().acl.item();
        owner.write(item, b"content", net.now(), &mut rng).await.unwrap();
        assert_eq!(&**reader.read(item, None, net.now()).await.unwrap().plaintext, b"content");
    }
}

/// Every future can move between threads, as the next floor needs.
#[test]
fn futures_are_send() {
    fn is_send<T: Send>(_: T) {}
    fn check(items: &Items, item: ItemId, grantee: &[Grantee], rng: &mut (dyn rand_core::CryptoRng + Send)) {
        let now = dt_model::Timestamp::default();
        is_send(items.create("log", grantee, now, rng));
        is_send(items.write(item, b"", now, rng));
        is_send(items.read(item, None, now));
        is_send(items.grant(item, grantee, History::Full, now, rng));
        is_send(items.revoke(item, items.party(), Revocation::Eager, now, rng));
        is_send(items.rotate(item, items.party(), EncryptionKey::from([0; 32]), now, rng));
        is_send(items.epoch_key(item, 1, now));
    }
    let net = network(1, 4);
    check(&items(&net, 0), ItemId::from([0; 32]), &[], &mut SeedRng::new(0));
}
