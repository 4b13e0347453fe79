//! The DHT over loopback: four nodes (k = 1) with stores in memory, in one process, over real sockets. Quorum writes and reads stand beside the
//! bare round trip of the same bytes, which no request can undercut; a blob beside its bytes.
//!
//! Criterion prints medians; below them, from the same samples, stand median and 99th percentile.
#![expect(clippy::expect_used, clippy::unwrap_used, reason = "a benchmark's set-up reports by panicking")]

use core::time::Duration;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use criterion::{Criterion, criterion_group, criterion_main};
use dt_dht::{
    Answer, Client, Membership, MemoryStore, Node, OwnedRecords, Rate, Record, Replica, Resilience, Transport,
};
use dt_dht_libp2p::{Config, Libp2pTransport, Limits};
use dt_model::testing::{SeedRng, identity};
use dt_model::{Digest, Identity, PartyId, Signed, Signer, Timestamp};
use tokio::runtime::Runtime;
use tokio::time::Instant;

const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);
const WRITER: u64 = 1;
const NODES: u64 = 100;
const RECORD_BYTES: usize = 1024;
const BLOB_BYTES: usize = 100_000_000;

struct Network {
    #[expect(dead_code, reason = "they run for as long as it lives")]
    nodes: Vec<Libp2pTransport>,
    transport: Arc<Libp2pTransport>,
    client: Arc<Client>,
    echo: PartyId,
}

/// Four nodes, and one that sends back what it gets.
async fn network(listen: &str) -> Network {
    let identities: Vec<Arc<Identity>> = (NODES..NODES + 5).map(|seed| Arc::new(identity(seed))).collect();
    let echo = identities[4].party();
    let unknown = identities[..4].iter().map(|node| Node { party: node.party(), endpoints: vec![] });
    let membership = Membership::new(
        Digest::from([1; 32]),
        1,
        Resilience::tolerating(1).unwrap(),
        unknown.collect(),
        BTreeSet::from([identity(WRITER).party(), echo]),
    )
    .unwrap();
    // As fast as it goes: one client sends more than a party should.
    let unlimited = Rate { per_second: u32::MAX, burst: u32::MAX };
    let limits = Limits { requests: unlimited, bytes: unlimited, ..Limits::default() };
    let config = Config { listen: vec![listen.parse().unwrap()], limits, ..Config::default() };
    let (mut nodes, mut known) = (Vec::new(), Vec::new());
    for identity in &identities {
        let answer: Answer = if identity.party() == echo {
            Arc::new(|request| Some(Bytes::copy_from_slice(request)))
        } else {
            let (store, validators) = (Arc::new(MemoryStore::new()), vec![Arc::new(OwnedRecords) as _]);
            let replica = Replica::new(identity.clone(), store, membership.clone(), validators);
            Arc::new(replica).answering(Arc::new(|| NOW))
        };
        let node = Libp2pTransport::start(identity, &membership, Some(answer), config.clone()).await.unwrap();
        let addresses = node.status().await.unwrap().addresses;
        let endpoints = addresses.iter().map(|at| at.to_string().parse().unwrap()).collect();
        known.push(Node { party: identity.party(), endpoints });
        nodes.push(node);
    }
    // The echo is a node only to the transport, so that it has an address.
    let dialled = Membership::new(
        membership.network(),
        1,
        membership.resilience(),
        known,
        membership.parties().clone(),
    );
    let writer = Arc::new(identity(WRITER));
    let transport =
        Libp2pTransport::start(&writer, &dialled.unwrap(), None, Config::default()).await.unwrap();
    let transport = Arc::new(transport);
    let client = Arc::new(Client::new(writer, transport.clone(), membership, SeedRng::new(1)));
    Network { nodes, transport, client, echo }
}

fn record(number: u64) -> Signed<Record> {
    let writer = identity(WRITER);
    let name = format!("n{number}").parse().unwrap();
    Signed::new(OwnedRecords::record(writer.party(), name, 1, vec![7; RECORD_BYTES]), &writer).unwrap()
}

/// Runs `work` so often, one after the other, and notes how long each took.
fn measure(
    criterion: &mut Criterion,
    runtime: &Runtime,
    (group, name): (&str, &str),
    mut work: impl AsyncFnMut(),
) {
    let mut taken: Vec<Duration> = Vec::new();
    criterion.benchmark_group(group).bench_function(name, |bencher| {
        bencher.iter_custom(|times| {
            runtime.block_on(async {
                let mut sum = Duration::ZERO;
                for _ in 0..times {
                    let start = Instant::now();
                    work().await;
                    taken.push(start.elapsed());
                    sum += start.elapsed();
                }
                sum
            })
        });
    });
    taken.sort_unstable();
    if let Some(last) = taken.len().checked_sub(1) {
        let at = |percent: usize| taken[last * percent / 100];
        println!("{group}/{name}: median {:?}, p99 {:?} of {}", at(50), at(99), taken.len());
    }
}

fn requests(criterion: &mut Criterion) {
    for (wire, listen) in [("tcp", "/ip4/127.0.0.1/tcp/0"), ("quic", "/ip4/127.0.0.1/udp/0/quic-v1")] {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let network = runtime.block_on(network(listen));
        let group = format!("dht-libp2p/{wire}");
        // It begins as a request of the writer does, or it would not be heard.
        let party = identity(WRITER).party();
        let bytes = Bytes::from([party.as_bytes(), &[7; RECORD_BYTES - 32][..]].concat());
        measure(criterion, &runtime, (&group, "peer: bare round trip, 1 KiB"), async || {
            let reply = network.transport.request(&network.echo, bytes.clone()).await;
            assert_eq!(reply.expect("it answers").len(), RECORD_BYTES);
        });
        let number = AtomicU64::new(0);
        measure(criterion, &runtime, (&group, "ours: quorum put, 1 KiB"), async || {
            let record = record(number.fetch_add(1, Ordering::Relaxed));
            network.client.put(&record, NOW).await.expect("a quorum");
        });
        let key = record(0).key;
        measure(criterion, &runtime, (&group, "ours: quorum get, 1 KiB"), async || {
            let found = network.client.get(key, OwnedRecords::check(), NOW).await.expect("a quorum");
            assert!(found.is_some());
        });
        runtime.block_on(blob(&network, &group));
    }
}

/// A blob, once: it takes seconds.
async fn blob(network: &Network, group: &str) {
    let is_trial = std::env::args().any(|argument| argument == "--test");
    let content: Vec<u8> = (0..=250).cycle().take(if is_trial { 1_000_000 } else { BLOB_BYTES }).collect();
    let start = Instant::now();
    let blob = network.client.put_blob(&content, NOW).await.expect("a quorum");
    let put = start.elapsed();
    let start = Instant::now();
    let found = network.client.get_blob(&blob, NOW).await.expect("a quorum");
    let get = start.elapsed();
    assert!(found == content);
    let speed = |time: Duration| content.len() as u128 / time.as_micros().max(1);
    println!(
        "{group}/blob of {} MB: put {} MB/s, get {} MB/s",
        content.len() / 1_000_000,
        speed(put),
        speed(get)
    );
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(15)
        .measurement_time(Duration::from_secs(3))
        .warm_up_time(Duration::from_millis(500))
        .nresamples(5_000);
    targets = requests
}
criterion_main!(benches);
