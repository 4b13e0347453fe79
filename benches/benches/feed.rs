//! A batch of readings, made, published to four replicas, and read back, beside a signature for each reading.
#![expect(clippy::expect_used, reason = "a benchmark reports by panicking")]

use core::time::Duration;
use std::cell::RefCell;
use std::sync::Arc;

use benches::{Ed25519, Numbers, runtime};
use criterion::{BatchSize, Criterion, Throughput};
use dt_dht::Resilience;
use dt_dht::testing::Network;
use dt_feed::{BatchPolicy, Entry, EpochKey, Manifest, Publisher, Reader, validators};
use dt_model::testing::{Ed25519Count, SeedRng, count_ed25519, identity};
use dt_model::{Identity, Secret, Signer as _, Timestamp, TwinId, codec};

/// Readings in a batch: the default policy's.
const BATCH: u64 = 256;
/// Time between two readings in milliseconds.
const PERIOD: u64 = 10;

fn main() {
    let mut criterion = benches::criterion();
    publish(&mut criterion);
    read(&mut criterion);
    criterion.final_summary();
}

fn resilience() -> Resilience {
    Resilience::tolerating(1).expect("four replicas")
}

fn network(owner: &Identity) -> Network {
    Network::new(resilience(), resilience().replicas(), [owner.party()], &validators())
}

fn manifest(owner: &Identity) -> Manifest {
    Manifest {
        twin: TwinId::from([7; 32]),
        component: "pressure-transmitter".parse().expect("a component"),
        owner: owner.party(),
        topic: "pressure".parse().expect("a name"),
        media_type: "application/json".parse().expect("a name"),
    }
}

fn key() -> EpochKey {
    EpochKey::new(1, Secret::from_bytes([7; 32]))
}

fn reading(start: Timestamp, number: u64) -> Entry {
    let time = start.saturating_add(Duration::from_millis(number * PERIOD));
    Entry::new(time, format!("{{\"value\":\"{}.{}\",\"unit\":\"bar\"}}", number % 7, number % 10))
}

fn publish(criterion: &mut Criterion) {
    let owner = Arc::new(identity(1));
    let network = network(&owner);
    let (client, runtime, numbers) =
        (benches::client(&network, owner.clone()), runtime(), Numbers::default());
    let start = network.now();
    let bare = Ed25519::over(&codec::encode(&reading(start, 0)));
    let empty = || Publisher::new(manifest(&owner), BatchPolicy::default(), key(), None).expect("a key");
    let created = Publisher::create(&client, manifest(&owner), BatchPolicy::default(), key(), network.now());
    let publisher = RefCell::new(runtime.block_on(created).expect("created"));
    // The network's clock follows the readings.
    let batch = || -> Vec<Entry> {
        network.advance(Duration::from_millis(BATCH * PERIOD));
        (0..BATCH).map(|_| reading(start, numbers.next())).collect()
    };
    let rng = RefCell::new(SeedRng::new(8));
    let publish = |entries: Vec<Entry>| {
        let (mut publisher, mut rng, now) = (publisher.borrow_mut(), rng.borrow_mut(), network.now());
        for entry in entries {
            publisher.append(entry, now).expect("taken");
        }
        let published = publisher.publish(&client, now, &mut *rng);
        runtime.block_on(published).expect("published").expect("due")
    };

    let mut group = criterion.benchmark_group("feed/publish 256 readings");
    group.throughput(Throughput::Elements(BATCH));
    group.bench_function("peer: ed25519 sign, each reading", |b| b.iter(|| bare.sign(256)));
    // A blob and two records, each at four replicas: counted when there is a batch before it.
    drop(publish(batch()));
    let Ed25519Count { signatures, verifications } = count_ed25519(|| publish(batch())).1;
    let peer = format!(
        "peer: {signatures} signatures and {verifications} verifications, of its three quorum writes"
    );
    group.bench_function(peer, |b| {
        b.iter(|| {
            bare.sign(signatures);
            bare.verify(verifications);
        });
    });
    group.bench_function("ours: Publisher::batch (sealed, signed, not sent)", |b| {
        b.iter_batched(
            || {
                (
                    empty(),
                    SeedRng::new(7),
                    (0..BATCH).map(|number| reading(start, number)).collect::<Vec<_>>(),
                )
            },
            |(mut publisher, mut rng, entries)| {
                let now = network.now();
                for entry in entries {
                    publisher.append(entry, now).expect("taken");
                }
                publisher.batch(resilience(), now, &*owner, &mut rng).expect("made");
                publisher
            },
            BatchSize::SmallInput,
        );
    });
    group.bench_function("ours: Publisher::publish (held by a quorum)", |b| {
        b.iter_batched(batch, &publish, BatchSize::PerIteration);
    });
    group.finish();
}

fn read(criterion: &mut Criterion) {
    /// Batches in the feed that is read.
    const BATCHES: u64 = 16;
    let owner = Arc::new(identity(1));
    let network = network(&owner);
    let (client, runtime, mut rng) = (benches::client(&network, owner.clone()), runtime(), SeedRng::new(9));
    let start = network.now();
    let bare = Ed25519::over(&codec::encode(&reading(start, 0)));
    let mut publisher = runtime
        .block_on(Publisher::create(&client, manifest(&owner), BatchPolicy::default(), key(), start))
        .expect("created");
    network.advance(Duration::from_millis(BATCHES * BATCH * PERIOD));
    let now = network.now();
    for number in 0..BATCHES * BATCH {
        publisher.append(reading(start, number), now).expect("taken");
    }
    runtime.block_on(publisher.flush(&client, now, &mut rng)).expect("published");
    let feed = publisher.feed();
    let secret = |_: u64| Some(Secret::from_bytes([7; 32]));
    let open = || runtime.block_on(Reader::open(&client, feed, secret, now)).expect("opened");

    let mut group = criterion.benchmark_group("feed/read 256 readings of 4096");
    group.throughput(Throughput::Elements(BATCH));
    group.bench_function("peer: ed25519 verify_strict, each reading", |b| b.iter(|| bare.verify(256)));
    let middle = BATCHES / 2 * BATCH;
    group.bench_function("ours: Reader::range, a fresh reader", |b| {
        b.iter_batched(
            open,
            |mut reader| {
                let read = runtime.block_on(reader.range(middle..middle + BATCH, now)).expect("read");
                assert_eq!(read.len(), 256, "all of them");
                read
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
}
