//! The ways in which a feed is used, over four nodes in one process.

use core::time::Duration;

use dt_feed::{
    AppendError, BatchPolicy, Entry, EpochError, MAX_AHEAD, MAX_PAYLOAD_BYTES, MAX_PENDING_BYTES,
    MAX_PENDING_ENTRIES, PublishError, Publisher, ReadError, Reader, repair,
};
use dt_model::testing::SeedRng;
use dt_model::{Secret, Signer as _, Timestamp, codec};

use crate::common::*;

#[tokio::test]
async fn twenty_thousand_readings_come_back() {
    let network = network();
    let owner = client(&network, OWNER);
    let publisher = published(&network, &owner, 20_000, 256).await;
    let head = publisher.head().unwrap();
    assert_eq!(
        (head.size(), head.segments),
        (20_000, 79),
        "256 readings a batch, three quorum operations each"
    );

    let other = client(&network, STRANGER);
    let now = network.now();
    let mut reader = Reader::open(&other, publisher.feed(), all_keys, now).await.unwrap();
    assert_eq!(*reader.manifest(), manifest());
    let latest = reader.latest(now).await.unwrap().unwrap();
    assert_eq!(latest.head.root(), head.root());
    assert_eq!(latest.run.first, 78 * 256);
    assert_eq!(latest.run.entries, (78 * 256..20_000).map(reading).collect::<Vec<_>>());

    let everything = reader.range(0..20_000, now).await.unwrap();
    assert!(everything.iter().eq((0..20_000).map(reading).collect::<Vec<_>>().iter()));
    for range in [0..1, 255..257, 10_000..10_000, 12_345..12_900, 19_999..20_000] {
        let expected: Vec<Entry> = range.clone().map(reading).collect();
        assert_eq!(reader.range(range, now).await.unwrap(), expected);
    }
    assert!(matches!(reader.range(5..20_001, now).await, Err(ReadError::OutOfRange { size: 20_000, .. })));
}

#[tokio::test]
async fn history_is_found_by_time() {
    let network = network();
    let owner = client(&network, OWNER);
    let publisher = published(&network, &owner, 1000, 100).await;
    let now = network.now();
    let mut reader = Reader::open(&owner, publisher.feed(), all_keys, now).await.unwrap();
    let at = |millis| Timestamp::from_millis(START + millis);
    for (from, to) in [(0, 20), (0, 21), (1, 20), (1980, 4000), (2000, 2001), (9_980, 50_000), (7, 7)] {
        let expected: Vec<(u64, Entry)> = (0..1000)
            .map(|index| (index, reading(index)))
            .filter(|(_, entry)| (at(from)..at(to)).contains(&entry.timestamp))
            .collect();
        let run = reader.history(at(from)..at(to), now).await.unwrap();
        assert_eq!((run.first..).zip(run.entries).collect::<Vec<_>>(), expected, "{from}..{to}");
    }
    assert!(reader.history(at(60_000)..Timestamp::MAX, now).await.unwrap().entries.is_empty());
    let backwards = Timestamp::MAX..Timestamp::default();
    assert!(reader.history(backwards, now).await.unwrap().entries.is_empty());
}

#[tokio::test]
async fn a_restarted_publisher_goes_on() {
    let network = network();
    let owner = client(&network, OWNER);
    let before = published(&network, &owner, 300, 100).await;
    drop(before);
    let mut publisher =
        Publisher::resume(&owner, manifest(), policy(100), key(1), network.now()).await.unwrap();
    assert_eq!((publisher.size(), publisher.unpublished()), (300, 0));
    let late = Entry::new(Timestamp::from_millis(START), "old");
    assert!(matches!(publisher.append(late, network.now()), Err(AppendError::TimeWentBack { .. })));
    extend(&network, &owner, &mut publisher, 300..450).await;

    let mut reader = Reader::open(&owner, publisher.feed(), all_keys, network.now()).await.unwrap();
    let entries = reader.range(0..450, network.now()).await.unwrap();
    assert_eq!(entries, (0..450).map(reading).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_crash_between_segment_and_head_loses_and_forks_nothing() {
    for crash_after in ["blob", "one segment", "segment", "one head"] {
        let network = network();
        let owner = client(&network, OWNER);
        let mut publisher = published(&network, &owner, 10, 10).await;
        let mut rng = SeedRng::new(9);
        (10..15).for_each(|index| publisher.append(reading(index), network.now()).unwrap());
        let now = network.now();
        let batch = publisher
            .batch(network.membership().resilience(), now, owner.signer(), &mut rng)
            .unwrap()
            .unwrap()
            .clone();
        owner.put_blob(batch.sealed(), now).await.unwrap();
        // Three of four nodes do not hear of it: too few for a quorum, and the rest may be missed by a quorum's read.
        let nodes = network.replicas(&publisher.feed().address());
        let others = || nodes[1..].iter();
        match crash_after {
            "blob" => {}
            "one segment" => {
                others().for_each(|node| network.in_process().stop(&node.party()));
                assert!(owner.put(batch.segment().record(), now).await.is_err());
                others().for_each(|node| network.in_process().start(&node.party()));
                network.in_process().stop(&nodes[0].party());
            }
            _ => {
                owner.put(batch.segment().record(), now).await.unwrap();
            }
        }
        if crash_after == "one head" {
            others().for_each(|node| network.in_process().stop(&node.party()));
            assert!(owner.put(batch.head().record(), now).await.is_err());
            others().for_each(|node| network.in_process().start(&node.party()));
            network.in_process().stop(&nodes[0].party());
        }
        drop(publisher);
        network.advance(Duration::from_secs(1));

        // After the restart the batch is cut elsewhere: six readings instead of five.
        let mut publisher =
            Publisher::resume(&owner, manifest(), policy(10), key(1), network.now()).await.unwrap();
        let finished = crash_after == "segment" || crash_after == "one head";
        assert_eq!(publisher.size(), if finished { 15 } else { 10 }, "{crash_after}");
        if finished {
            assert_eq!(publisher.head().unwrap().record(), batch.head().record(), "the same head again");
        }
        let size = publisher.size();
        extend(&network, &owner, &mut publisher, size..size + 6).await;
        network.in_process().start(&nodes[0].party());
        network.in_process().stop(&nodes[1].party());
        extend(&network, &owner, &mut publisher, size + 6..size + 9).await;

        let reader = client(&network, STRANGER);
        let mut reader = Reader::open(&reader, publisher.feed(), all_keys, network.now()).await.unwrap();
        let entries = reader.range(0..size + 9, network.now()).await.unwrap();
        assert_eq!(entries, (0..size + 9).map(reading).collect::<Vec<_>>(), "{crash_after}");
    }
}

#[tokio::test]
async fn a_clock_that_went_back_between_attempts_is_survived() {
    let network = network();
    let owner = client(&network, OWNER);
    let publisher = published(&network, &owner, 10, 10).await;
    let nodes = network.replicas(&publisher.feed().address());
    let ahead = network.now().saturating_add(Duration::from_secs(100));
    let mut first = Publisher::resume(&owner, manifest(), policy(10), key(1), network.now()).await.unwrap();
    first.append(reading(10), ahead).unwrap();
    let resilience = network.membership().resilience();
    let batch =
        first.batch(resilience, ahead, owner.signer(), &mut SeedRng::new(1)).unwrap().unwrap().clone();
    nodes[1..].iter().for_each(|node| network.in_process().stop(&node.party()));
    assert!(owner.put(batch.segment().record(), network.now()).await.is_err());
    nodes[1..].iter().for_each(|node| network.in_process().start(&node.party()));
    network.in_process().stop(&nodes[0].party());

    let mut publisher =
        Publisher::resume(&owner, manifest(), policy(10), key(1), network.now()).await.unwrap();
    network.in_process().start(&nodes[0].party());
    network.in_process().stop(&nodes[1].party());
    extend(&network, &owner, &mut publisher, 10..14).await;
    let mut reader = Reader::open(&owner, publisher.feed(), all_keys, network.now()).await.unwrap();
    assert_eq!(reader.range(0..14, network.now()).await.unwrap().len(), 14);
}

#[tokio::test]
async fn keys_rotate_and_a_late_reader_sees_what_comes_later() {
    let network = network();
    let owner = client(&network, OWNER);
    let mut publisher = published(&network, &owner, 250, 100).await;
    publisher.set_key(key(2)).unwrap();
    assert_eq!(publisher.set_key(key(2)), Err(EpochError { current: 2, offered: 2 }));
    assert_eq!(publisher.set_key(key(1)), Err(EpochError { current: 2, offered: 1 }));
    extend(&network, &owner, &mut publisher, 250..400).await;
    let now = network.now();
    let resumed = Publisher::resume(&owner, manifest(), policy(100), key(1), now).await;
    assert!(matches!(resumed, Err(PublishError::Epoch(EpochError { current: 2, offered: 1 }))));

    let late = |epoch: u64| (epoch >= 2).then(|| secret(epoch));
    let client = client(&network, STRANGER);
    let mut reader = Reader::open(&client, publisher.feed(), late, now).await.unwrap();
    assert_eq!(reader.range(250..400, now).await.unwrap(), (250..400).map(reading).collect::<Vec<_>>());
    assert!(matches!(reader.range(249..251, now).await, Err(ReadError::Unreadable { epoch: 1 })));
    // The proof of an entry needs hashes of entries that the late reader cannot read.
    let (proof, head) = reader.prove(300, now).await.unwrap();
    assert_eq!(proof.verify(&manifest(), head.record()), Ok(()));

    let wrong = |_: u64| Some(Secret::from_bytes([99; 32]));
    let mut reader = Reader::open(&client, publisher.feed(), wrong, now).await.unwrap();
    assert!(matches!(reader.latest(now).await, Err(ReadError::Sealed { segment: 4 })));
}

#[tokio::test]
async fn any_entry_is_proven_to_somebody_without_keys() {
    let network = network();
    let owner = client(&network, OWNER);
    let publisher = published(&network, &owner, 523, 37).await;
    let now = network.now();
    let mut reader = Reader::open(&owner, publisher.feed(), all_keys, now).await.unwrap();
    for index in (0..523).step_by(29).chain([36, 37, 511, 512, 522]) {
        let (proof, head) = reader.prove(index, now).await.unwrap();
        let wire = codec::encode(&proof);
        let proof: dt_feed::EntryProof = codec::decode(&wire, dt_feed::MAX_PROOF_BYTES).unwrap();
        assert_eq!(proof.verify(&manifest(), head.record()), Ok(()));
        assert_eq!((proof.index, &proof.entry), (index, &reading(index)));
        let mut other = proof.clone();
        other.entry = reading(index + 2);
        assert!(other.verify(&manifest(), head.record()).is_err());
        let mut other = proof;
        other.index ^= 1;
        assert!(other.verify(&manifest(), head.record()).is_err());
    }
    assert!(matches!(reader.prove(523, now).await, Err(ReadError::OutOfRange { .. })));
    assert!(matches!(reader.prove(u64::MAX, now).await, Err(ReadError::OutOfRange { .. })));
}

#[tokio::test]
async fn one_silent_node_does_not_matter_and_is_brought_up_to_date() {
    let network = network();
    let owner = client(&network, OWNER);
    let mut publisher = published(&network, &owner, 20, 10).await;
    let nodes = network.replicas(&publisher.feed().address());
    network.in_process().stop(&nodes[3].party());
    extend(&network, &owner, &mut publisher, 20..60).await;
    network.in_process().start(&nodes[3].party());
    network.in_process().stop(&nodes[0].party());
    // The laggard is needed now: the publisher brings it what it lacks.
    extend(&network, &owner, &mut publisher, 60..70).await;
    assert_eq!(publisher.size(), 70);

    network.in_process().start(&nodes[0].party());
    repair(&client(&network, STRANGER), &manifest(), 0..u64::MAX, network.now()).await.unwrap();
    network.in_process().stop(&nodes[2].party());
    let mut reader = Reader::open(&owner, publisher.feed(), all_keys, network.now()).await.unwrap();
    assert_eq!(reader.range(0..70, network.now()).await.unwrap(), (0..70).map(reading).collect::<Vec<_>>());
}

#[tokio::test]
async fn an_outage_delays_and_loses_nothing() {
    let network = network();
    let owner = client(&network, OWNER);
    let mut publisher = published(&network, &owner, 10, 10).await;
    let nodes = network.replicas(&publisher.feed().address());
    nodes[..2].iter().for_each(|node| network.in_process().stop(&node.party()));
    let mut rng = SeedRng::new(3);
    (10..25).for_each(|index| publisher.append(reading(index), network.now()).unwrap());
    assert!(publisher.flush(&owner, network.now(), &mut rng).await.is_err());
    assert_eq!((publisher.size(), publisher.unpublished()), (10, 15));
    nodes[..2].iter().for_each(|node| network.in_process().start(&node.party()));
    publisher.flush(&owner, network.now(), &mut rng).await.unwrap();
    assert_eq!((publisher.size(), publisher.unpublished()), (25, 0));
    let mut reader = Reader::open(&owner, publisher.feed(), all_keys, network.now()).await.unwrap();
    assert_eq!(reader.range(0..25, network.now()).await.unwrap(), (0..25).map(reading).collect::<Vec<_>>());
}

#[tokio::test]
async fn an_empty_feed_has_no_head() {
    let network = network();
    let owner = client(&network, OWNER);
    let now = network.now();
    let feed = manifest().feed();
    assert!(matches!(Reader::open(&owner, feed, all_keys, now).await, Err(ReadError::UnknownFeed(_))));
    Publisher::create(&owner, manifest(), policy(10), key(1), now).await.unwrap();
    let mut again = Publisher::create(&owner, manifest(), policy(10), key(1), now).await.unwrap();
    assert!(again.flush(&owner, now, &mut SeedRng::new(1)).await.unwrap().is_none());
    let mut reader = Reader::open(&owner, feed, all_keys, now).await.unwrap();
    assert!(reader.latest(now).await.unwrap().is_none());
    assert!(reader.range(0..0, now).await.unwrap().is_empty());
    assert!(matches!(reader.range(0..1, now).await, Err(ReadError::OutOfRange { size: 0, .. })));
}

#[test]
fn a_batch_is_due_when_it_is_full_or_old() {
    let mut publisher = Publisher::new(manifest(), policy(3), key(1), None).unwrap();
    let at = |millis| Timestamp::from_millis(START + millis);
    assert!(!publisher.is_due(at(0)));
    publisher.append(reading(0), at(0)).unwrap();
    assert_eq!(publisher.due_at(), Some(at(100)));
    assert!(!publisher.is_due(at(99)) && publisher.is_due(at(100)));
    publisher.append(reading(1), at(50)).unwrap();
    publisher.append(reading(2), at(50)).unwrap();
    assert!(publisher.is_due(at(50)), "three of three");
}

#[test]
fn what_cannot_be_appended_changes_nothing() {
    let mut publisher = Publisher::new(manifest(), BatchPolicy::default(), key(1), None).unwrap();
    let now = Timestamp::from_millis(START);
    let long = Entry::new(now, vec![0; MAX_PAYLOAD_BYTES + 1]);
    let (size, limit) = (MAX_PAYLOAD_BYTES + 1, MAX_PAYLOAD_BYTES);
    assert_eq!(publisher.append(long, now), Err(AppendError::TooLarge { size, limit }));
    let far = Entry::new(Timestamp::MAX, "x");
    assert_eq!(publisher.append(far, now), Err(AppendError::Ahead { now, offered: Timestamp::MAX }));
    assert!(publisher.append(Entry::new(now.saturating_add(MAX_AHEAD), ""), now).is_ok());
    let last = now.saturating_add(MAX_AHEAD);
    let back = Entry::new(now, "x");
    assert_eq!(publisher.append(back, now), Err(AppendError::TimeWentBack { last, offered: now }));
    let mut taken = 1;
    let full = loop {
        match publisher.append(Entry::new(last, vec![0; MAX_PAYLOAD_BYTES]), now) {
            Ok(()) => taken += 1,
            Err(error) => break error,
        }
    };
    let AppendError::Full { entries, bytes } = full else { panic!("not full: {full}") };
    assert!(
        entries == taken && bytes <= MAX_PENDING_BYTES && bytes + MAX_PAYLOAD_BYTES + 12 > MAX_PENDING_BYTES
    );
    assert_eq!(publisher.unpublished(), taken);

    let mut publisher = Publisher::new(manifest(), BatchPolicy::default(), key(1), None).unwrap();
    (0..MAX_PENDING_ENTRIES).for_each(|_| publisher.append(Entry::new(now, ""), now).unwrap());
    let full = publisher.append(Entry::new(now, ""), now);
    assert_eq!(
        full,
        Err(AppendError::Full { entries: MAX_PENDING_ENTRIES, bytes: 12 * MAX_PENDING_ENTRIES })
    );
}

#[test]
fn futures_can_be_spawned() {
    fn sendable<T: Send>(_: &T) {}
    let network = network();
    let owner = client(&network, OWNER);
    let now = network.now();
    let mut publisher = Publisher::new(manifest(), policy(3), key(1), None).unwrap();
    let mut rng = SeedRng::new(1);
    sendable(&Publisher::create(&owner, manifest(), policy(3), key(1), now));
    sendable(&publisher.flush(&owner, now, &mut rng));
    sendable(&repair(&owner, &manifest(), 0..1, now));
    sendable(&async {
        let mut reader = Reader::open(&owner, manifest().feed(), all_keys, now).await.unwrap();
        let _ = (reader.latest(now).await, reader.range(0..1, now).await, reader.prove(0, now).await);
        let _ = reader.history(now..now, now).await;
    });
}
