//! Who gains and who loses access: by the ledger's roles and by the items' lists, one after the other.

use std::sync::Arc;
use std::time::Duration;

use dt_acl::{AclError, AclRecord, Grantee, History, ItemName, Revocation, Rights};
use dt_dht::Record;
use dt_feed::{FeedId, ReadError, Reader};
use dt_ledger::{Call, Document, TwinCall, Version};
use dt_model::testing::SeedRng;
use dt_model::{ContentHash, Digest, Signed, codec};
use dt_sync::{ClientError, Journal};

use crate::api::SPARE;
use crate::world::Who::*;
use crate::world::{World, component, key, name, party};

#[tokio::test]
async fn a_revoked_party_reads_nothing_that_is_written_afterwards() {
    let world = World::new().await;
    let mut agent = world.connected().await;
    let before = world.measure(&mut agent, "20").await;
    let manual =
        world.share(&world.client(manufacturer_who_maintains(&world).await), "manual", "old").await.unwrap();
    let (client, sensor) = (world.client(Maintainer), component("temperature"));
    let feed = client.feed(&world.twin, &sensor).unwrap();
    let kept = client.feed_keyring(&world.twin, &feed, world.now()).await.unwrap();
    assert_eq!(world.read(Maintainer, manual).await.unwrap(), "old");

    let owner = world.client(Owner);
    let mut rekeyed =
        owner.revoke(world.twin, party(Maintainer), Revocation::Lazy, world.now()).await.unwrap();
    let mut expected = vec![world.keys_item(), world.item(manual)];
    rekeyed.sort();
    expected.sort();
    assert_eq!(rekeyed, expected);
    for item in rekeyed {
        assert_eq!(world.list(Owner, item).await.version(), 2);
        assert_eq!(world.anchored(Owner, item), 2, "the new list is under the ledger's protection");
    }
    let after = world.measure(&mut agent, "21").await;
    let note = world.share(&world.client(Owner), "note", "new").await.unwrap();

    assert!(matches!(world.temperatures(Maintainer).await, Err(ClientError::Item(AclError::NotAReader(_)))));
    for document in [manual, note] {
        let read = world.read(Maintainer, document).await;
        assert!(matches!(read, Err(ClientError::Item(AclError::NotAReader(_)))), "{read:?}");
    }
    for who in [Owner, Manufacturer, Auditor, Agent] {
        assert_eq!(world.temperatures(who).await.unwrap(), [before.clone(), after.clone()], "{who:?}");
        assert_eq!(world.read(who, note).await.unwrap(), "new", "{who:?}");
        assert_eq!(world.read(who, manual).await.unwrap(), "old", "{who:?}");
    }

    // The key that it kept opens what it opened before, and nothing else.
    let keys = |epoch| kept.key(epoch).ok();
    let dht = client.items().client();
    let mut reader = Reader::open(dht, FeedId::from(*feed.feed.as_bytes()), keys, world.now()).await.unwrap();
    assert_eq!(reader.range(0..1, world.now()).await.unwrap().len(), 1);
    let new = reader.range(1..2, world.now()).await;
    assert!(matches!(new, Err(ReadError::Unreadable { epoch: 2 })), "{new:?}");
}

/// Makes the manufacturer a maintainer as well.
async fn manufacturer_who_maintains(world: &World) -> crate::world::Who {
    let role = name(dt_ledger::MAINTAINER);
    world.call(Owner, TwinCall::AssignRole { party: party(Manufacturer), role }).await.unwrap();
    Manufacturer
}

/// What waited when the maintainer was revoked is sealed under the new key, however it comes to be published.
#[tokio::test]
async fn readings_that_wait_go_out_under_the_new_key() {
    for by_exchange in [false, true] {
        let world = World::new().await;
        let (client, journal) = (world.client(Agent), Journal::in_memory(world.twin, 0));
        let mut agent = world.agent_with(client, journal, Duration::from_secs(3600)).await;
        agent.connect(&[component("temperature")], world.now()).await.unwrap();
        world.measure(&mut agent, "20").await;
        assert_eq!(agent.published(&component("temperature")), Some(0), "it waits");
        let feed = agent.client().feed(&world.twin, &component("temperature")).unwrap();
        let owner = world.client(Owner);
        owner.revoke(world.twin, party(Maintainer), Revocation::Lazy, world.now()).await.unwrap();
        if by_exchange {
            world.asset.is_exchanged("temperature", "temperature-2", SPARE);
            agent.follow_exchanges(world.now()).await.unwrap();
        } else {
            agent.flush(world.now()).await.unwrap();
        }
        let sensor = component("temperature");
        let mut readings = owner.readings(&world.twin, &sensor, &feed, world.now()).await.unwrap();
        let head = readings.head(world.now()).await.unwrap().unwrap();
        assert_eq!((head.size(), head.epoch), (1, 2), "exchange: {by_exchange}");
    }
}

#[tokio::test]
async fn an_eager_revocation_encrypts_what_is_there_anew() {
    let world = World::new().await;
    let document = world.share(&world.client(Maintainer), "manual", "text").await.unwrap();
    let owner = world.client(Owner);
    owner.revoke(world.twin, party(Auditor), Revocation::Eager, world.now()).await.unwrap();
    let opened = owner.items().read(world.item(document), None, world.now()).await.unwrap();
    assert_eq!((opened.writer, opened.counter), (party(Owner), 2));
    assert_eq!(world.read(Manufacturer, document).await.unwrap(), "text");
    assert!(world.read(Auditor, document).await.is_err());
}

#[tokio::test]
async fn to_grant_and_to_revoke_twice_is_to_do_it_once() {
    let world = World::new().await;
    let mut agent = world.connected().await;
    world.measure(&mut agent, "20").await;
    world.share(&world.client(Maintainer), "manual", "text").await.unwrap();
    let owner = world.client(Owner);
    let grant = || owner.grant(world.twin, party(Stranger), name("auditor"), History::Full, world.now());
    grant().await.unwrap();
    let height = world.height();
    grant().await.unwrap();
    assert_eq!(world.height(), height);
    for revocation in [Revocation::Lazy, Revocation::Eager] {
        let revoke = || owner.revoke(world.twin, party(Stranger), revocation, world.now());
        assert_eq!(revoke().await.unwrap().len(), 2);
        let height = world.height();
        assert_eq!(revoke().await.unwrap(), []);
        assert_eq!(world.height(), height);
        grant().await.unwrap();
    }
}

#[tokio::test]
async fn a_newcomer_is_given_the_past_or_not() {
    for history in [History::Full, History::Omitted] {
        let world = World::new().await;
        let mut agent = world.connected().await;
        let before = world.measure(&mut agent, "20").await;
        let document = world.share(&world.client(Maintainer), "manual", "text").await.unwrap();
        let owner = world.client(Owner);
        owner.grant(world.twin, party(Stranger), name("auditor"), history, world.now()).await.unwrap();
        let after = world.measure(&mut agent, "21").await;
        let (all, text) = (world.temperatures(Stranger).await, world.read(Stranger, document).await);
        match history {
            History::Full => {
                assert_eq!(all.unwrap(), [before.clone(), after.clone()]);
                assert_eq!(text.unwrap(), "text");
            }
            History::Omitted => {
                let unreadable = ReadError::Unreadable { epoch: 1 }.to_string();
                assert_eq!(all.unwrap_err().to_string(), unreadable);
                assert!(matches!(text, Err(ClientError::Item(AclError::Key(_)))), "{text:?}");
                let (client, sensor) = (world.client(Stranger), component("temperature"));
                let feed = client.feed(&world.twin, &sensor).unwrap();
                let mut readings = client.readings(&world.twin, &sensor, &feed, world.now()).await.unwrap();
                assert_eq!(readings.range(1..2, world.now()).await.unwrap(), std::slice::from_ref(&after));
            }
        }
        assert_eq!(world.temperatures(Auditor).await.unwrap(), [before, after], "the others lose nothing");
        let later = world.share(&world.client(Maintainer), "report", "new").await.unwrap();
        assert_eq!(world.read(Stranger, later).await.unwrap(), "new");
    }
}

/// A world with a feed that has an entry, and a document of the maintainer's.
async fn furnished() -> (World, dt_sync::Agent, dt_ledger::DocumentId) {
    let world = World::new().await;
    let mut agent = world.connected().await;
    world.measure(&mut agent, "20").await;
    let document = world.share(&world.client(Maintainer), "manual", "text").await.unwrap();
    (world, agent, document)
}

/// The owner dies at each step of a revocation; the same call made again finishes it.
#[tokio::test]
async fn a_revocation_that_was_cut_off_is_finished_by_repeating_it() {
    for steps in 0.. {
        let (world, mut agent, document) = furnished().await;
        let items = [world.keys_item(), world.item(document)];
        let (mortal, fuse) = world.mortal(Owner, steps);
        let outcome = mortal.revoke(world.twin, party(Auditor), Revocation::Eager, world.now()).await;
        let owner = world.client(Owner);
        owner.revoke(world.twin, party(Auditor), Revocation::Eager, world.now()).await.unwrap();
        for item in items {
            let list = world.list(Owner, item).await;
            assert!(list.entry(&party(Auditor)).is_none(), "after {steps} steps");
            assert_eq!(world.anchored(Owner, item), list.version(), "after {steps} steps");
        }
        let again = owner.items().reencrypt(items[1], world.now(), &mut SeedRng::new(steps)).await.unwrap();
        assert!(again.is_none(), "after {steps} steps the document is still under the old key");
        world.measure(&mut agent, "21").await;
        let sensor = component("temperature");
        let feed = owner.feed(&world.twin, &sensor).unwrap();
        let mut readings = owner.readings(&world.twin, &sensor, &feed, world.now()).await.unwrap();
        let head = readings.head(world.now()).await.unwrap().unwrap();
        assert_eq!(head.epoch, 2, "after {steps} steps");
        assert!(world.read(Auditor, document).await.is_err() && world.temperatures(Auditor).await.is_err());
        if fuse.left() > 0 {
            outcome.unwrap();
            return assert!(steps > 30, "a revocation has more steps than {steps}");
        }
    }
}

/// The owner dies at each step of a grant; the same call made again finishes it.
#[tokio::test]
async fn a_grant_that_was_cut_off_is_finished_by_repeating_it() {
    for steps in 0.. {
        let (world, _, document) = furnished().await;
        let items = [world.keys_item(), world.item(document)];
        let (mortal, fuse) = world.mortal(Owner, steps);
        let grant = |client| {
            let (twin, now) = (world.twin, world.now());
            async move {
                dt_sync::Client::grant(client, twin, party(Stranger), name("auditor"), History::Full, now)
                    .await
            }
        };
        let outcome = grant(&mortal).await;
        grant(&world.client(Owner)).await.unwrap();
        for item in items {
            let list = world.list(Stranger, item).await;
            assert_eq!(world.anchored(Owner, item), list.version(), "after {steps} steps");
        }
        assert_eq!(world.temperatures(Stranger).await.unwrap().len(), 1, "after {steps} steps");
        assert_eq!(world.read(Stranger, document).await.unwrap(), "text", "after {steps} steps");
        if fuse.left() > 0 {
            outcome.unwrap();
            return assert!(steps > 20, "a grant has more steps than {steps}");
        }
    }
}

/// Between a write that was cut off and its repetition, the auditor is revoked, and the stranger is let in.
#[tokio::test]
async fn a_write_goes_by_the_rights_at_the_time_when_it_is_finished() {
    for steps in 4.. {
        let world = World::new().await;
        let (mortal, _) = world.mortal(Maintainer, steps);
        let outcome = world.share(&mortal, "report", "figures").await;
        if !world.state().documents(&world.twin).unwrap().is_empty() {
            return assert!(steps > 20, "to write has more steps than {steps}: {outcome:?}");
        }
        let owner = world.client(Owner);
        owner.revoke(world.twin, party(Auditor), Revocation::Lazy, world.now()).await.unwrap();
        owner.grant(world.twin, party(Stranger), name("guest"), History::Full, world.now()).await.unwrap();
        let document = world.share(&world.client(Maintainer), "report", "figures").await.unwrap();
        assert!(world.read(Auditor, document).await.is_err(), "after {steps} steps");
        assert_eq!(world.read(Stranger, document).await.unwrap(), "figures", "after {steps} steps");
        let item = world.item(document);
        let mut rng = SeedRng::new(steps);
        let left = world.client(Maintainer).items().reencrypt(item, world.now(), &mut rng).await.unwrap();
        assert!(left.is_none(), "after {steps} steps it is under a key that the auditor had");
    }
}

/// A reader whose secret may have leaked registers a new key, and the owner of the twin has everything wrapped for it.
#[tokio::test]
async fn a_new_encryption_key_is_wrapped_for_everywhere() {
    let (world, mut agent, document) = furnished().await;
    let mut rotated = Arc::new(dt_model::testing::identity(Auditor as u64));
    let encryption_key = Arc::get_mut(&mut rotated).unwrap().rotate_encryption_key(&mut SeedRng::new(1));
    let owner = world.client(Owner);
    assert_eq!(owner.align(world.twin, History::Full, world.now()).await.unwrap(), [], "nothing to do");
    let call = Call::RotateEncryptionKey { key: encryption_key };
    world.client(Auditor).ledger().execute(vec![call]).await.unwrap();
    let mut rewrapped = owner.align(world.twin, History::Full, world.now()).await.unwrap();
    let mut expected = vec![world.keys_item(), world.item(document)];
    rewrapped.sort();
    expected.sort();
    assert_eq!(rewrapped, expected);
    for item in expected {
        let list = world.list(Owner, item).await;
        assert_eq!(list.entry(&party(Auditor)).unwrap().encryption_key, encryption_key);
        assert_eq!((list.epoch(), world.anchored(Owner, item)), (2, list.version()));
    }
    world.measure(&mut agent, "21").await;
    assert_eq!(world.temperatures(Maintainer).await.unwrap().len(), 2);
    let former = world.temperatures(Auditor).await;
    assert!(former.is_err(), "the former secret opens nothing: {former:?}");
}

/// One party's broken items do not keep another in.
#[tokio::test]
async fn a_revocation_goes_on_past_items_that_cannot_be_read() {
    let world = World::new().await;
    let maintainer = world.client(Maintainer);
    let mut good = Vec::new();
    for number in 0..4u64 {
        good.push(world.share(&world.client(Owner), &format!("good {number}"), "text").await.unwrap());
        // The maintainer's list holds no key that the owner could use.
        let owner = Grantee::new(party(Owner), dt_model::Signer::encryption_key(&*key(Owner)), Rights::ALL);
        let item = dt_acl::ItemId::new(party(Maintainer), ItemName::from("broken"));
        let (name_of_it, mut rng) = (ItemName::from("broken"), SeedRng::new(number));
        let auditor = dt_model::Signer::encryption_key(&*key(Auditor));
        let grantees = [owner, Grantee::new(party(Auditor), auditor, Rights::READ)];
        let first =
            AclRecord::first(&*key(Maintainer), name_of_it, &grantees, world.now(), &mut rng).unwrap();
        let wrap = first.entry(&party(Owner)).unwrap().wrap.clone();
        let mut body = codec::encode(&first);
        let at = body.windows(wrap.len()).position(|bytes| bytes == wrap).unwrap();
        body[at] ^= 1;
        let record = Record { key: item.acl_key(), version: 1, body: body.into() };
        let signed = Signed::new(record, &*key(Maintainer)).unwrap();
        if number == 0 {
            maintainer.items().resubmit(&signed, world.now()).await.unwrap();
        }
        let version = Version {
            size: 1,
            content: ContentHash::of(&[number as u8]),
            item: Digest::from(*item.as_bytes()),
            provenance: None,
        };
        let (title, media_type) = (name("broken"), name("text/plain"));
        let document = Document { title, media_type, component: None, version };
        world.call(Maintainer, TwinCall::AddDocument(document)).await.unwrap();
    }
    let owner = world.client(Owner);
    let outcome = owner.revoke(world.twin, party(Auditor), Revocation::Lazy, world.now()).await;
    assert!(matches!(outcome, Err(ClientError::Item(AclError::Corrupt(_)))), "{outcome:?}");
    for document in good {
        assert!(world.list(Owner, world.item(document)).await.entry(&party(Auditor)).is_none());
        assert!(world.read(Auditor, document).await.is_err());
    }
}
