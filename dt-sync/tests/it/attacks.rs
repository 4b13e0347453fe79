//! Parties without rights, nodes that lie, writers who change their mind, and data that is none.

use dt_acl::{AclError, History, Revocation};
use dt_dht::testing::Fault;
use dt_dht::{GetError, Refusal};
use dt_feed::{BatchPolicy, Entry, EpochKey, Manifest, Publisher};
use dt_ledger::{Document, State as _, TwinCall, Version};
use dt_model::testing::SeedRng;
use dt_model::{ContentHash, DataClass, Digest, Timestamp, codec};
use dt_sync::{ClientError, READING_MEDIA_TYPE, Reading};

use crate::world::Who::*;
use crate::world::{LIFECYCLE, World, component, name, party, press};

#[tokio::test]
async fn an_outsider_is_refused_by_every_replica() {
    let world = World::new().await;
    let mut agent = world.connected().await;
    world.measure(&mut agent, "20").await;
    let document = world.share(&world.client(Maintainer), "manual", "text").await.unwrap();
    let is_unknown = |error: &ClientError| {
        matches!(error, ClientError::Item(AclError::Get(GetError::Refused(Refusal::UnknownParty))))
    };
    let read = world.read(Outsider, document).await.unwrap_err();
    assert!(is_unknown(&read), "{read:?}");
    let measured = world.temperatures(Outsider).await.unwrap_err();
    assert!(is_unknown(&measured), "{measured:?}");
    assert!(world.share(&world.client(Outsider), "fake", "text").await.is_err());
    assert!(world.client(Outsider).call_program(world.twin, world.force("7")).await.is_err());
}

#[tokio::test]
async fn a_party_of_the_chain_without_part_in_the_twin_reads_nothing() {
    let world = World::new().await;
    let mut agent = world.connected().await;
    world.measure(&mut agent, "20").await;
    let document = world.share(&world.client(Maintainer), "manual", "text").await.unwrap();
    let is_no_reader = |error: ClientError| matches!(error, ClientError::Item(AclError::NotAReader(of)) if of == party(Stranger));
    assert!(is_no_reader(world.read(Stranger, document).await.unwrap_err()));
    assert!(is_no_reader(world.temperatures(Stranger).await.unwrap_err()));
    let stranger = world.client(Stranger);
    let refused = stranger.call_program(world.twin, world.force("7")).await.unwrap_err();
    assert!(matches!(refused, ClientError::Ledger(_)), "{refused}");
    // The lists name the lifecycle parties and nobody else.
    let readers =
        dt_sync::readers(&world.state(), &world.twin, DataClass::Sensor, None, &party(Agent), world.now());
    let mut readers: Vec<_> = readers.unwrap().into_iter().map(|reader| reader.party).collect();
    let mut expected: Vec<_> = LIFECYCLE.into_iter().filter(|who| *who != Agent).map(party).collect();
    readers.sort();
    expected.sort();
    assert_eq!(readers, expected);
}

/// One node at a time misbehaves, in every way there is, during all of it.
#[tokio::test]
async fn one_lying_or_silent_node_changes_nothing() {
    let faults = [
        Fault::Silent,
        Fault::Garbage,
        Fault::Zeros,
        Fault::Replay,
        Fault::ForgedNewer,
        Fault::NothingStored,
        Fault::Stale,
        Fault::CorruptShards,
        Fault::WithheldShards,
        Fault::Pretend,
        Fault::Refuse(Refusal::NotPermitted),
        Fault::Refuse(Refusal::Unavailable),
    ];
    for (number, fault) in (0..).zip(faults) {
        let world = World::new().await;
        world.corrupt(number % 4, fault);
        let mut agent = world.connected().await;
        let first = world.measure(&mut agent, "20").await;
        let document = world.share(&world.client(Maintainer), "manual", "text").await.unwrap();
        // What it did not store before, it lacks now; and another one stops.
        world.heal(number % 4);
        world.corrupt((number + 1) % 4, Fault::Silent);
        let second = world.measure(&mut agent, "21").await;
        for who in LIFECYCLE {
            let all = world.temperatures(who).await.unwrap();
            assert_eq!(all, [first.clone(), second.clone()], "{fault:?}, {who:?}");
            assert_eq!(world.read(who, document).await.unwrap(), "text", "{fault:?}, {who:?}");
        }
        // It is back, and somebody is revoked while the first one lies again.
        world.heal((number + 1) % 4);
        world.corrupt(number % 4, fault);
        let owner = world.client(Owner);
        owner.revoke(world.twin, party(Auditor), Revocation::Eager, world.now()).await.unwrap();
        let third = world.measure(&mut agent, "22").await;
        let all = [first, second, third];
        for who in [Owner, Manufacturer, Maintainer] {
            assert_eq!(world.temperatures(who).await.unwrap(), all, "{fault:?}, {who:?}");
            assert_eq!(world.read(who, document).await.unwrap(), "text", "{fault:?}, {who:?}");
        }
        assert!(world.read(Auditor, document).await.is_err(), "{fault:?}");
        assert!(world.temperatures(Auditor).await.is_err(), "{fault:?}");
    }
}

/// Author and owner can replace an item's data on the DHT: the hash on the ledger says that it is not what was registered.
#[tokio::test]
async fn content_that_was_replaced_after_its_registration_is_not_believed() {
    let world = World::new().await;
    let document = world.share(&world.client(Maintainer), "manual", "50 kN").await.unwrap();
    for (who, content) in [(Maintainer, "90 kN"), (Owner, "10 kN"), (Maintainer, "50 kN ")] {
        let items = world.client(who);
        let item = world.item(document);
        items.items().write(item, content.as_bytes(), world.now(), &mut SeedRng::new(1)).await.unwrap();
        let read = world.read(Auditor, document).await;
        assert!(matches!(read, Err(ClientError::Mismatch(of)) if of == document), "{who:?}: {read:?}");
    }
    let (client, item) = (world.client(Maintainer), world.item(document));
    client.items().write(item, b"50 kN", world.now(), &mut SeedRng::new(2)).await.unwrap();
    assert_eq!(world.read(Auditor, document).await.unwrap(), "50 kN");
}

/// All nodes together show the lists as they were first: nobody goes below what the ledger has.
#[tokio::test]
async fn lists_below_the_anchor_are_refused() {
    let world = World::new().await;
    let mut agent = world.connected().await;
    world.measure(&mut agent, "20").await;
    let document = world.share(&world.client(Maintainer), "manual", "text").await.unwrap();
    let owner = world.client(Owner);
    let before = world.stored();
    owner.revoke(world.twin, party(Auditor), Revocation::Lazy, world.now()).await.unwrap();
    let after = world.stored();
    world.go_on_with(before);
    let is_rollback = |error: ClientError| matches!(error, ClientError::Item(AclError::Rollback { floor }) if floor.acl.version == 2);
    for who in [Owner, Maintainer, Manufacturer, Auditor] {
        assert!(is_rollback(world.read(who, document).await.unwrap_err()), "{who:?}");
        assert!(is_rollback(world.temperatures(who).await.unwrap_err()), "{who:?}");
    }
    world.go_on_with(after);
    assert_eq!(world.read(Maintainer, document).await.unwrap(), "text");
}

/// All nodes together show a feed as it was first: what the ledger has anchored of it is missed.
#[tokio::test]
async fn heads_below_the_anchor_are_refused() {
    let world = World::new().await;
    let mut agent = world.connected().await;
    world.measure(&mut agent, "20").await;
    world.measure(&mut agent, "21").await;
    (0..4).for_each(|node| world.corrupt(node, Fault::Stale));
    assert_eq!(world.temperatures(Auditor).await.unwrap().len(), 1, "without an anchor nobody can tell");
    (0..4).for_each(|node| world.heal(node));
    agent.anchor().await.unwrap();
    (0..4).for_each(|node| world.corrupt(node, Fault::Stale));
    let read = world.temperatures(Auditor).await;
    let is_rollback = matches!(&read, Err(ClientError::Feed(dt_feed::ReadError::RolledBack { size: 1, .. })));
    assert!(is_rollback, "{read:?}");
}

/// A version's item belongs to whoever wrote that version, and so does the anchor that protects it.
#[tokio::test]
async fn a_version_is_protected_by_its_own_authors_anchor() {
    let world = World::new().await;
    let role = name(dt_ledger::MAINTAINER);
    world.call(Owner, TwinCall::AssignRole { party: party(Manufacturer), role }).await.unwrap();
    let document = world.share(&world.client(Maintainer), "manual", "first").await.unwrap();
    let author = world.client(Manufacturer);
    author.write_version(world.twin, document, b"second", world.now()).await.unwrap();
    let item = world.item(document);
    let (now, mut rng, before) = (world.now(), SeedRng::new(1), world.stored());
    let revoked = author.items().revoke(item, party(Auditor), Revocation::Lazy, now, &mut rng).await.unwrap();
    let list = revoked.state.acl.reference();
    let item = Digest::from(*item.as_bytes());
    let anchor = TwinCall::AnchorAcl { item, version: list.version, digest: list.digest };
    world.call(Manufacturer, anchor).await.unwrap();
    world.go_on_with(before);
    let read = world.read(Auditor, document).await;
    assert!(matches!(read, Err(ClientError::Item(AclError::Rollback { .. }))), "{read:?}");
}

/// The maintainer registers an item of the owner's other twin as a document of his own, and waits for a friend to be let in.
#[tokio::test]
async fn an_item_is_not_opened_by_registering_it_elsewhere() {
    let world = World::new().await;
    let owner = world.client(Owner);
    let mut create = press("press 2");
    create.roles.clear();
    let other = owner.create_twin(create).await.unwrap();
    let (title, media_type) = (name("recipe"), name("text/plain"));
    let draft =
        dt_sync::Draft { title: &title, media_type: &media_type, component: None, content: b"secret" };
    let secret = owner.write_document(other, draft, world.now()).await.unwrap();
    let item = world.state().document_version(&other, &secret, 1).unwrap().unwrap().version.item;

    let version = Version { size: 6, content: ContentHash::of(b"secret"), item, provenance: None };
    let bait = Document { title, media_type, component: None, version };
    world.call(Maintainer, TwinCall::AddDocument(bait)).await.unwrap();
    owner.grant(world.twin, party(Stranger), name("auditor"), History::Full, world.now()).await.unwrap();
    let item = dt_acl::ItemId::from(*item.as_bytes());
    assert!(world.list(Owner, item).await.entry(&party(Stranger)).is_none());
    let read = world.client(Stranger).items().read(item, None, world.now()).await;
    assert!(matches!(read, Err(AclError::NotAReader(_))), "{read:?}");
    // Nor is somebody shut out there by being revoked here.
    owner.revoke(world.twin, party(Agent), Revocation::Lazy, world.now()).await.unwrap();
    assert!(world.list(Owner, item).await.entry(&party(Agent)).is_some());
}

/// Publishes `payloads` in a feed that says of itself what `manifest` says, under keys that the twin's parties have.
async fn publish(world: &World, manifest: Manifest, payloads: &[Vec<u8>]) {
    let client = world.client(Agent);
    let feed = dt_ledger::FeedReference {
        feed: Digest::from(*manifest.feed().as_bytes()),
        publisher: manifest.owner,
    };
    let keys = client.feed_keyring(&world.twin, &feed, world.now()).await.unwrap();
    let key = EpochKey::new(keys.epoch(), keys.key(keys.epoch()).unwrap());
    let (dht, now) = (client.items().client(), world.now());
    let mut publisher = Publisher::create(dht, manifest, BatchPolicy::default(), key, now).await.unwrap();
    for payload in payloads {
        publisher.append(Entry::new(now, payload.clone()), now).unwrap();
    }
    publisher.flush(dht, now, &mut SeedRng::new(3)).await.unwrap();
}

fn manifest(world: &World, sensor: &str) -> Manifest {
    Manifest {
        twin: world.twin,
        component: component(sensor),
        owner: party(Agent),
        topic: name("measured value"),
        media_type: name(READING_MEDIA_TYPE),
    }
}

#[tokio::test]
async fn a_payload_that_is_no_reading_is_said_to_be_none() {
    let world = World::new().await;
    let mut agent = world.connected().await;
    let reading = world.measure(&mut agent, "20").await;
    drop(agent);
    let later = world.wait(1);
    let sound = codec::encode(&Reading { time: later, ..reading.clone() });
    let long = [codec::encode(&reading), vec![0]].concat();
    for garbage in [vec![], vec![0xff; 64], long, vec![0; 4096]] {
        publish(&world, manifest(&world, "temperature"), &[sound.clone(), garbage]).await;
        let client = world.client(Auditor);
        let (sensor, now) = (component("temperature"), world.now());
        let feed = client.feed(&world.twin, &sensor).unwrap();
        let mut readings = client.readings(&world.twin, &sensor, &feed, now).await.unwrap();
        let entry = readings.head(now).await.unwrap().unwrap().size() - 1;
        let latest = readings.latest(now).await.unwrap_err();
        let is_told = |error: &ClientError| matches!(error, ClientError::NotAReading { component, entry: of } if *component == sensor && *of == entry);
        assert!(is_told(&latest), "{latest:?}");
        assert!(is_told(&readings.range(entry..entry + 1, now).await.unwrap_err()));
        let times = Timestamp::default()..Timestamp::MAX;
        assert!(matches!(readings.history(times, now).await, Err(ClientError::NotAReading { .. })));
        assert_eq!(
            readings.range(0..1, now).await.unwrap(),
            std::slice::from_ref(&reading),
            "the others can be read"
        );
        assert_eq!(readings.range(entry - 1..entry, now).await.unwrap().len(), 1);
    }
}

/// Whoever may link feeds links a sensor's feed to another sensor: what the one measured is not taken for the other's.
#[tokio::test]
async fn a_feed_that_is_another_sensors_is_not_believed() {
    let world = World::new().await;
    let mut agent = world.connected().await;
    world.measure(&mut agent, "20").await;
    let feed = agent.client().feed(&world.twin, &component("temperature")).unwrap();
    let pressure = component("pressure");
    let link = TwinCall::AddSensorFeed { component: pressure.clone(), feed };
    world.call(Maintainer, link).await.unwrap();
    let client = world.client(Auditor);
    let linked = client.feed(&world.twin, &pressure).unwrap();
    let readings = client.readings(&world.twin, &pressure, &linked, world.now()).await.map(drop);
    assert!(matches!(&readings, Err(ClientError::ForeignFeed(of)) if *of == pressure), "{readings:?}");
    // The agent does not write one feed under two names.
    world.measure(&mut agent, "21").await;
    assert_eq!(agent.published(&pressure), None);
    assert_eq!(world.temperatures(Auditor).await.unwrap().len(), 2);
}
