//! Lying nodes, dishonest owners, strangers.

use std::sync::{Arc, Mutex};

use dt_dht::testing::Fault;
use dt_dht::{BlobError, GetError, Key, Record, RecordStore, Refusal, PutError, Transport, TransportError};
use dt_feed::{
    Contradiction, Floor, Fork, ForkError, Head, MAX_FORK_BYTES, PublishError, Publisher, ReadError, Reader,
    Segment, SignedHead,
};
use dt_model::testing::{SeedRng, identity};
use dt_model::{Digest, Identity, Signed, Signer as _, Timestamp, codec};

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
    let b = steps(Some(trunk[1].head.clone()), &[4, 5, 4], 2);
    let verify = |a: &Step, b: &Step| fork(&a.head, &b.head).verify(&manifest());
    assert_eq!(verify(&a[0], &b[0]), Ok(Contradiction::SameVersion { version: 3 }));
    assert_eq!(verify(&b[0], &a[0]), Ok(Contradiction::SameVersion { version: 3 }));
    assert_eq!(verify(&a[0], &b[1]), Ok(Contradiction::OtherPredecessor { version: 3 }));
    assert_eq!(verify(&a[0], &b[2]), Ok(Contradiction::NotAnExtension { earlier: 3, later: 5 }));
    for (first, second) in [(&trunk[0], &trunk[1]), (&trunk[1], &a[0]), (&a[0], &a[2]), (&trunk[0], &b[2])] {
        assert_eq!(Fork::between(&first.head, &second.head), None, "one log");
        let innocent = Fork {
            a: first.head.record().envelope().clone(),
            b: second.head.record().envelope().clone(),
        };
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
    let old = publisher.head().unwrap().floor();
    let rows: Vec<_> = network.nodes().iter().map(|node| snapshot(&network, node)).collect();
    extend(&network, &owner, &mut publisher, 10..25).await;
    let new = publisher.head().unwrap().floor();
    let mut reader = Reader::open(&owner, publisher.feed(), all_keys, network.now()).await.unwrap();
    reader.head(network.now()).await.unwrap().unwrap();

    for (node, rows) in network.nodes().iter().zip(&rows) {
        let store = network.replica(&node.party()).store().clone();
        restore(&*store, rows);
    }
    let now = network.now();
    let rolled_back = |result: Result<_, ReadError>| match result {
        Err(ReadError::RolledBack { floor, size: 10 }) => floor,
        other => panic!("not refused: {other:?}"),
    };
    assert_eq!(rolled_back(reader.head(now).await), new, "against what the reader saw");
    let fresh = Reader::open(&owner, publisher.feed(), all_keys, now).await.unwrap();
    assert_eq!(rolled_back(fresh.with_floor(new).head(now).await), new, "against what the ledger anchors");
    let fresh = Reader::open(&owner, publisher.feed(), all_keys, now).await.unwrap();
    assert!(fresh.with_floor(old).head(now).await.is_ok());
}

fn snapshot(network: &dt_dht::testing::Network, node: &Arc<Identity>) -> Vec<dt_dht::Row> {
    let store = network.replica(&node.party()).store().clone();
    all_rows(&*store)
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
        for wrong in [Floor { root: Digest::from([3; 32]), ..floor }, Floor { size: floor.size - 1, ..floor }] {
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
        ("count", |s| s.count -= 1),
        ("other hashes", |s| s.added[0] = Digest::from([1; 32])),
        ("other salt", |s| s.salt = [1; 32]),
        ("other times", |s| s.last_time = Timestamp::from_millis(s.last_time.as_millis() + 1)),
    ];
    for (what, change) in cases {
        let network = network();
        let owner = client(&network, OWNER);
        let publisher = published(&network, &owner, 40, 8).await;
        let middle = publisher.feed().segment_key(2);
        let record = stored(&network, middle);
        let mut segment: Segment = codec::decode(&record.body, usize::MAX).unwrap();
        change(&mut segment);
        if what == "count" {
            // Seven entries from 16 on: blocks of 4, 2 and 1.
            segment.added = vec![Digest::ZERO; 3];
        }
        let body = codec::encode(&segment).into();
        let changed = sign(Record { key: middle, version: record.version, body });
        let client = swapped(&network, middle, changed);
        let mut reader = Reader::open(&client, publisher.feed(), all_keys, network.now()).await.unwrap();
        let read = reader.range(0..40, network.now()).await;
        assert!(
            matches!(read, Err(ReadError::Inconsistent | ReadError::Sealed { .. } | ReadError::Get(_))),
            "{what}: {read:?}"
        );
    }
}

#[tokio::test]
async fn segments_cannot_be_swapped_dropped_or_taken_from_elsewhere() {
    let network = network();
    let owner = client(&network, OWNER);
    let publisher = published(&network, &owner, 40, 8).await;
    let (second, third) = (publisher.feed().segment_key(2), publisher.feed().segment_key(3));
    // All nodes show segment 3 in the place of segment 2: its key says otherwise.
    let client = swapped(&network, second, stored(&network, third));
    let mut reader = Reader::open(&client, publisher.feed(), all_keys, network.now()).await.unwrap();
    assert!(matches!(reader.range(0..40, network.now()).await, Err(ReadError::Get(GetError::NoQuorum { .. }))));

    // The owner's own entries in another order: sealed and described as segment 2, but not what the head commits to.
    let swap = steps(None, &[8, 8, 8], 77).remove(2);
    let client = swapped(&network, second, swap.segment.record().clone());
    let mut reader = Reader::open(&client, publisher.feed(), all_keys, network.now()).await.unwrap();
    assert!(matches!(reader.range(0..40, network.now()).await, Err(ReadError::Inconsistent)));
    assert!(matches!(reader.range(16..17, network.now()).await, Err(ReadError::Inconsistent)));

    // All nodes lose it.
    for node in network.nodes() {
        let store = network.replica(&node.party()).store().clone();
        let rows = all_rows(&*store);
        let kept: Vec<_> = rows.into_iter().filter(|row| !holds(row, &third)).collect();
        restore(&*store, &kept);
    }
    let mut reader = Reader::open(&owner, publisher.feed(), all_keys, network.now()).await.unwrap();
    assert!(matches!(reader.range(0..40, network.now()).await, Err(ReadError::Gap { segment: 3 })));
    let entries = reader.range(0..8, network.now()).await;
    assert!(matches!(entries, Ok(_) | Err(ReadError::Gap { segment: 3 })));
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
    for (at, expected) in [(2usize, "same version"), (3, "next"), (4, "later")] {
        let swap = Swap::new(&network);
        let client = dt_dht::Client::new(
            Arc::new(identity(STRANGER)),
            swap.clone(),
            network.membership().clone(),
            SeedRng::new(4),
        );
        let mut reader = Reader::open(&client, publisher.feed(), all_keys, now).await.unwrap();
        assert_eq!(reader.head(now).await.unwrap().as_ref(), Some(&head));
        other.iter().for_each(|step| swap.show(step.segment.record()));
        swap.show(other[at].head.record());
        match reader.head(now).await {
            Err(ReadError::Forked(fork)) => assert!(fork.verify(&manifest()).is_ok(), "{expected}"),
            other => panic!("{expected}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn numbers_at_the_end_of_their_range_are_refused() {
    let network = network();
    let owner = client(&network, OWNER);
    let publisher = published(&network, &owner, 8, 8).await;
    let head: Head = (**publisher.head().unwrap()).clone();
    let huge = codec::decode::<dt_feed::Tree>(&codec::encode(&(u64::MAX, vec![Digest::ZERO; 64])), 4096).unwrap();
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
        let client = swapped(&network, publisher.feed().head_key(), record);
        let mut reader = Reader::open(&client, publisher.feed(), all_keys, now).await.unwrap();
        assert!(reader.range(0..8, now).await.is_err());
        assert!(reader.latest(now).await.is_err());
        assert!(reader.range(u64::MAX - 1..u64::MAX, now).await.is_err());
    }
}

/// A transport on which every node shows certain records, whatever it holds: more liars than the network survives.
struct Swap {
    inner: Arc<dyn Transport>,
    nodes: Vec<Arc<Identity>>,
    shown: Mutex<Vec<Signed<Record>>>,
}

impl Swap {
    fn new(network: &dt_dht::testing::Network) -> Arc<Self> {
        let inner = network.in_process().clone();
        Arc::new(Self { inner, nodes: network.nodes().to_vec(), shown: Mutex::default() })
    }

    fn show(&self, record: &Signed<Record>) {
        self.shown.lock().unwrap().push(record.clone());
    }
}

fn swapped(network: &dt_dht::testing::Network, key: Key, record: Signed<Record>) -> dt_dht::Client {
    let swap = Swap::new(network);
    swap.shown.lock().unwrap().push(record);
    swap.shown.lock().unwrap().iter().for_each(|shown| assert!(shown.key.address == key.address));
    *swap.at.lock().unwrap() = Some(key);
    dt_dht::Client::new(Arc::new(identity(STRANGER)), swap, network.membership().clone(), SeedRng::new(8))
}
