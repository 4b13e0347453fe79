//! Lying nodes, dishonest owners, strangers.

use dt_dht::testing::Fault;
use dt_dht::{BlobError, GetError, PutError, Record, Refusal};
use dt_feed::{
    Contradiction, Floor, Fork, ForkError, Head, MAX_FORK_BYTES, PublishError, Publisher, ReadError, Reader,
    Segment, SignedHead,
};
use dt_model::testing::{SeedRng, identity};
use dt_model::{Digest, Signer as _, Timestamp, codec};

use crate::common::*;

fn fork(a: &SignedHead, b: &SignedHead) -> Fork {
    let fork = Fork::between(a, b).expect("they contradict each other");
    let wire = codec::encode(&fork);
    codec::decode(&wire, MAX_FORK_BYTES).unwrap()
}

#[test]
fn a_fork_is_evidence_for_anybody() {
    let trunk = steps(None, &[3, 3], 0);
    let a = steps(Some(trunk[1].head.clone()), &[4, 4, 4], 1);
    let b = steps(Some(trunk[1].head.clone()), &[4, 1, 1], 2);
    let verify = |a: &Step, b: &Step| fork(&a.head, &b.head).verify(&manifest());
    assert_eq!(verify(&a[0], &b[0]), Ok(Contradiction::SameVersion { version: 3 }));
    assert_eq!(verify(&b[0], &a[0]), Ok(Contradiction::SameVersion { version: 3 }));
    assert_eq!(verify(&a[0], &b[1]), Ok(Contradiction::OtherPredecessor { version: 3 }));
    assert_eq!(verify(&a[0], &b[2]), Ok(Contradiction::NotAnExtension { earlier: 3, later: 5 }));
    for (first, second) in [(&trunk[0], &trunk[1]), (&trunk[1], &a[0]), (&a[0], &a[2]), (&trunk[0], &b[2])] {
        assert_eq!(Fork::between(&first.head, &second.head), None, "one log");
        let innocent =
            Fork { a: first.head.record().envelope().clone(), b: second.head.record().envelope().clone() };
        assert_eq!(innocent.verify(&manifest()), Err(ForkError::NoContradiction));
    }
    let same = Fork { a: a[0].head.record().envelope().clone(), b: a[0].head.record().envelope().clone() };
    assert_eq!(same.verify(&manifest()), Err(ForkError::NoContradiction));
    // Nobody can frame the owner with a head of his own making.
    let forged = sign_as(b[0].head.record().value().clone(), &identity(STRANGER)).into_envelope();
    let framed = Fork { a: a[0].head.record().envelope().clone(), b: forged };
    assert!(matches!(framed.verify(&manifest()), Err(ForkError::Head(_))));
    let mut other = manifest();
    other.topic = "flow".parse().unwrap();
    assert!(matches!(fork(&a[0].head, &b[0].head).verify(&other), Err(ForkError::Head(_))));
}

#[tokio::test]
async fn an_owner_who_forks_is_convicted_by_a_reader() {
    let network = network();
    let owner = client(&network, OWNER);
    Publisher::create(&owner, manifest(), policy(10), key(1), network.now()).await.unwrap();
    let (a, b) = (steps(None, &[3], 1), steps(None, &[3], 2));
    let nodes = network.replicas(&manifest().feed().address());
    for (history, half) in [(&a, &nodes[..2]), (&b, &nodes[2..])] {
        nodes.iter().for_each(|node| network.in_process().stop(&node.party()));
        half.iter().for_each(|node| network.in_process().start(&node.party()));
        for record in [history[0].segment.record(), history[0].head.record()] {
            assert!(matches!(owner.put(record, network.now()).await, Err(PutError::NoQuorum { .. })));
        }
    }
    nodes.iter().for_each(|node| network.in_process().start(&node.party()));
    let reader = client(&network, STRANGER);
    let mut reader = Reader::open(&reader, manifest().feed(), all_keys, network.now()).await.unwrap();
    match reader.head(network.now()).await {
        Err(ReadError::Forked(fork)) => {
            assert_eq!(fork.verify(&manifest()), Ok(Contradiction::SameVersion { version: 1 }));
        }
        other => panic!("the fork is hidden: {other:?}"),
    }
}

#[tokio::test]
async fn a_lying_node_changes_nothing() {
    for fault in [
        Fault::Silent,
        Fault::Garbage,
        Fault::Replay,
        Fault::ForgedNewer,
        Fault::NothingStored,
        Fault::Stale,
        Fault::CorruptShards,
        Fault::WithheldShards,
        Fault::Pretend,
        Fault::Refuse(Refusal::Gap { stored: 0 }),
    ] {
        let network = network();
        let owner = client(&network, OWNER);
        let liar = network.replicas(&manifest().feed().address())[0].clone();
        network.corrupt(&liar, fault);
        let mut publisher = published(&network, &owner, 45, 10).await;
        extend(&network, &owner, &mut publisher, 45..60).await;
        let client = client(&network, STRANGER);
        let mut reader = Reader::open(&client, publisher.feed(), all_keys, network.now()).await.unwrap();
        let entries = reader.range(0..60, network.now()).await.unwrap();
        assert_eq!(entries, (0..60).map(reading).collect::<Vec<_>>(), "{fault:?}");
    }
}

#[tokio::test]
async fn an_old_head_is_a_rollback_even_if_all_nodes_show_it() {
    let network = network();
    let owner = client(&network, OWNER);
    let mut publisher = published(&network, &owner, 10, 10).await;
    let old = publisher.head().unwrap().clone();
    extend(&network, &owner, &mut publisher, 10..25).await;
    let new = publisher.head().unwrap().floor();
    let (lies, client) = lying(&network);
    let now = network.now();
    let mut reader = Reader::open(&client, publisher.feed(), all_keys, now).await.unwrap();
    reader.head(now).await.unwrap().unwrap();

    lies.show(old.record());
    let rolled_back = |result: Result<_, ReadError>| match result {
        Err(ReadError::RolledBack { floor, size: 10 }) => floor,
        other => panic!("not refused: {other:?}"),
    };
    assert_eq!(rolled_back(reader.head(now).await), new, "against what the reader saw");
    assert!(reader.range(0..5, now).await.is_err());
    let fresh = Reader::open(&client, publisher.feed(), all_keys, now).await.unwrap();
    assert_eq!(rolled_back(fresh.with_floor(new).head(now).await), new, "against what the ledger anchors");
    let fresh = Reader::open(&client, publisher.feed(), all_keys, now).await.unwrap();
    assert!(fresh.with_floor(old.floor()).head(now).await.is_ok());

    lies.hide(publisher.feed().head_key());
    assert!(matches!(reader.head(now).await, Err(ReadError::RolledBack { size: 0, .. })));
}

#[tokio::test]
async fn a_floor_must_be_extended() {
    let network = network();
    let owner = client(&network, OWNER);
    let mut publisher = published(&network, &owner, 10, 10).await;
    let mut floors = vec![publisher.head().unwrap().floor()];
    for end in [17u64, 23, 61, 64, 100] {
        let size = publisher.size();
        extend(&network, &owner, &mut publisher, size..end).await;
        floors.push(publisher.head().unwrap().floor());
    }
    let now = network.now();
    for floor in floors {
        let reader = Reader::open(&owner, publisher.feed(), all_keys, now).await.unwrap();
        assert!(reader.with_floor(floor).head(now).await.is_ok(), "{floor:?}");
        for wrong in [Floor { root: Digest::from([3; 32]), ..floor }, Floor { size: floor.size - 1, ..floor }]
        {
            let reader = Reader::open(&owner, publisher.feed(), all_keys, now).await.unwrap();
            let head = reader.with_floor(wrong).head(now).await;
            assert!(matches!(head, Err(ReadError::NotAnExtension { .. })), "{wrong:?} {head:?}");
        }
    }
    let never = Floor { size: u64::MAX, root: Digest::ZERO };
    let reader = Reader::open(&owner, publisher.feed(), all_keys, now).await.unwrap();
    assert!(matches!(reader.with_floor(never).head(now).await, Err(ReadError::RolledBack { size: 100, .. })));
}

#[tokio::test]
async fn only_the_owner_appends() {
    let network = network();
    let (owner, stranger) = (client(&network, OWNER), client(&network, STRANGER));
    published(&network, &owner, 10, 10).await;
    let now = network.now();
    let created = Publisher::create(&stranger, manifest(), policy(10), key(1), now).await;
    assert!(matches!(created, Err(PublishError::NotOwner)));
    let resumed = Publisher::resume(&stranger, manifest(), policy(10), key(1), now).await;
    assert!(matches!(resumed, Err(PublishError::NotOwner)));

    let head = Publisher::resume(&owner, manifest(), policy(10), key(1), now).await.unwrap().head().cloned();
    let step = &steps(head, &[3], 1)[0];
    for record in [step.segment.record(), step.head.record()] {
        let forged = sign_as(record.value().clone(), &identity(STRANGER));
        let put = stranger.put(&forged, now).await;
        assert!(matches!(put, Err(PutError::Refused(Refusal::NotPermitted))), "{put:?}");
    }
    // Anybody may carry what the owner signed.
    stranger.put(step.segment.record(), now).await.unwrap();
}

#[tokio::test]
async fn a_dishonest_owner_cannot_show_other_entries_than_he_signed() {
    // Each case: what the owner describes or seals differently from what his head commits to.
    type Change = fn(&mut Segment);
    let cases: [(&str, Change); 4] = [
        // Seven entries from 16 on: blocks of 4, 2 and 1.
        ("count", |s| (s.count, s.added) = (7, vec![Digest::ZERO; 3])),
        ("other hashes", |s| s.added[0] = Digest::from([1; 32])),
        ("other salt", |s| s.salt = [1; 32]),
        ("other times", |s| s.last_time = Timestamp::from_millis(s.last_time.as_millis() + 1)),
    ];
    for (what, change) in cases {
        let network = network();
        let owner = client(&network, OWNER);
        let publisher = published(&network, &owner, 40, 8).await;
        let key = publisher.feed().segment_key(2);
        let record = stored(&owner, key, network.now()).await;
        let mut segment: Segment = codec::decode(&record.body, 4096).unwrap();
        change(&mut segment);
        let body = codec::encode(&segment).into();
        let (lies, client) = lying(&network);
        lies.show(&sign(Record { key, version: record.version, body }));
        let now = network.now();
        let mut reader = Reader::open(&client, publisher.feed(), all_keys, now).await.unwrap();
        for range in [0..40, 16..24] {
            let read = reader.range(range, now).await;
            let refused = matches!(read, Err(ReadError::Inconsistent | ReadError::Sealed { segment: 2 }));
            assert!(refused, "{what}: {read:?}");
        }
    }
}

#[tokio::test]
async fn entries_that_are_sealed_but_not_signed_are_refused() {
    let network = network();
    let owner = client(&network, OWNER);
    let first = published(&network, &owner, 10, 10).await.head().cloned();
    let (now, resilience) = (network.now(), network.membership().resilience());
    // The same salt and so the same key, the same times and lengths, and other readings.
    let batch = |shift: u64| {
        let mut publisher = Publisher::new(manifest(), policy(10), key(1), first.clone()).unwrap();
        for index in 10..14 {
            let entry = dt_feed::Entry::new(reading(index).timestamp, reading(index + shift).payload);
            publisher.append(entry, now).unwrap();
        }
        publisher.batch(resilience, now, owner.signer(), &mut SeedRng::new(6)).unwrap().unwrap().clone()
    };
    let (signed, other) = (batch(0), batch(1));
    for batch in [&signed, &other] {
        owner.put_blob(batch.sealed(), now).await.unwrap();
    }
    owner.put(signed.segment().record(), now).await.unwrap();
    owner.put(signed.head().record(), now).await.unwrap();
    let mut segment: Segment = (**signed.segment()).clone();
    segment.blob = other.blob().clone();
    let (lies, client) = lying(&network);
    let record = signed.segment().record().value().clone();
    lies.show(&sign(Record { body: codec::encode(&segment).into(), ..record }));
    let mut reader = Reader::open(&client, manifest().feed(), all_keys, now).await.unwrap();
    assert!(matches!(reader.range(10..14, now).await, Err(ReadError::Sealed { segment: 1 })));
    assert!(matches!(reader.prove(11, now).await, Err(ReadError::Sealed { segment: 1 })));
    let mut reader = Reader::open(&owner, manifest().feed(), all_keys, now).await.unwrap();
    assert_eq!(reader.range(10..14, now).await.unwrap().len(), 4);
}

#[tokio::test]
async fn segments_cannot_be_swapped_dropped_or_reordered() {
    let network = network();
    let owner = client(&network, OWNER);
    let publisher = published(&network, &owner, 40, 8).await;
    let now = network.now();
    let (second, third) = (publisher.feed().segment_key(2), publisher.feed().segment_key(3));

    // All nodes show segment 3 in the place of segment 2: its key says otherwise.
    let (lies, client) = lying(&network);
    lies.show_at(second, &stored(&owner, third, now).await);
    let mut reader = Reader::open(&client, publisher.feed(), all_keys, now).await.unwrap();
    assert!(matches!(reader.range(0..40, now).await, Err(ReadError::Get(GetError::NoQuorum { .. }))));

    // Properly signed, sealed and chained, but with two entries of equal time in the other order.
    let head =
        SignedHead::verify(&manifest(), stored(&owner, publisher.feed().head_key(), now).await).unwrap();
    let mut entries: Vec<_> = (0..40).map(reading).collect();
    entries.swap(18, 19);
    assert_ne!(entries[18], reading(18));
    let mut forger = Publisher::new(manifest(), policy(8), key(1), None).unwrap();
    let mut rng = SeedRng::new(1);
    entries.into_iter().for_each(|entry| forger.append(entry, now).unwrap());
    let (lies, client) = lying(&network);
    let resilience = network.membership().resilience();
    while let Some(batch) = forger.batch(resilience, now, owner.signer(), &mut rng).unwrap().cloned() {
        owner.put_blob(batch.sealed(), now).await.unwrap();
        lies.show(batch.segment().record());
        forger.confirm();
    }
    assert_eq!(forger.size(), head.size());
    let mut reader = Reader::open(&client, publisher.feed(), all_keys, now).await.unwrap();
    assert!(matches!(reader.range(0..40, now).await, Err(ReadError::Inconsistent)));
    assert!(matches!(reader.range(16..17, now).await, Err(ReadError::Inconsistent)));
    assert!(matches!(reader.prove(18, now).await, Err(ReadError::Inconsistent)));

    // All nodes say that they have no segment 3.
    let (lies, client) = lying(&network);
    lies.hide(third);
    let mut reader = Reader::open(&client, publisher.feed(), all_keys, now).await.unwrap();
    assert!(matches!(reader.range(0..40, now).await, Err(ReadError::Gap { segment: 3 })));
    assert_eq!(reader.latest(now).await.unwrap().unwrap().run.entries.len(), 8);
}

#[tokio::test]
async fn shards_that_two_nodes_tamper_with_are_lost_and_not_believed() {
    let network = network();
    let owner = client(&network, OWNER);
    let publisher = published(&network, &owner, 20, 10).await;
    for (liars, fault) in [(1, Fault::CorruptShards), (3, Fault::CorruptShards), (3, Fault::WithheldShards)] {
        network.nodes()[..liars].iter().for_each(|node| network.corrupt(node, fault));
        let mut reader = Reader::open(&owner, publisher.feed(), all_keys, network.now()).await.unwrap();
        let read = reader.range(0..20, network.now()).await;
        match liars {
            1 => assert_eq!(read.unwrap().len(), 20),
            _ => assert!(matches!(
                read,
                Err(ReadError::Lost { segment: 0, source: BlobError::TooFewShards { .. } })
            )),
        }
    }
}

#[tokio::test]
async fn a_reader_sees_that_a_later_head_is_of_another_history() {
    let network = network();
    let owner = client(&network, OWNER);
    let publisher = published(&network, &owner, 24, 8).await;
    let now = network.now();
    let head = publisher.head().unwrap().clone();
    let other = steps(None, &[8, 8, 8, 8, 8], 50);
    for at in [2usize, 3, 4] {
        let (lies, client) = lying(&network);
        let mut reader = Reader::open(&client, publisher.feed(), all_keys, now).await.unwrap();
        assert_eq!(reader.head(now).await.unwrap().as_ref(), Some(&head));
        other.iter().for_each(|step| lies.show(step.segment.record()));
        lies.show(other[at].head.record());
        match reader.head(now).await {
            Err(ReadError::Forked(fork)) if at < 4 => assert!(fork.verify(&manifest()).is_ok(), "{at}"),
            // 24 entries are peaks of 16 and 8, 40 are peaks of 32 and 8: only what lies between tells.
            Err(ReadError::NotAnExtension { .. }) if at == 4 => {}
            other => panic!("{at}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn numbers_at_the_end_of_their_range_are_refused() {
    let network = network();
    let owner = client(&network, OWNER);
    let publisher = published(&network, &owner, 8, 8).await;
    let head: Head = (**publisher.head().unwrap()).clone();
    let huge =
        codec::decode::<dt_feed::Tree>(&codec::encode(&(u64::MAX, vec![Digest::ZERO; 64])), 4096).unwrap();
    let now = network.now();
    for change in [
        Head { segments: u64::MAX, tree: huge.clone(), ..head.clone() },
        Head { segments: 2, tree: huge, time: Timestamp::MAX, last_time: Timestamp::MAX, ..head.clone() },
    ] {
        let record = sign(Record {
            key: publisher.feed().head_key(),
            version: change.segments,
            body: codec::encode(&change).into(),
        });
        assert!(owner.put(&record, now).await.is_err());
        let (lies, client) = lying(&network);
        lies.show(&record);
        let mut reader = Reader::open(&client, publisher.feed(), all_keys, now).await.unwrap();
        assert!(reader.range(0..8, now).await.is_err());
        assert!(reader.latest(now).await.is_err());
        assert!(reader.range(u64::MAX - 1..u64::MAX, now).await.is_err());
    }
}
