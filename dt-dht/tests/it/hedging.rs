//! Reads of shards that prefer good nodes: how many are asked, and what slow, silent and lying ones cost.

use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use dt_dht::testing::{Fault, Network};
use dt_dht::{BlobRef, Client, Refusal, Timer, Transport, TransportError};
use dt_model::testing::{SeedRng, identity};
use dt_model::{Identity, PartyId, Signer};

use crate::spy::Spy;
use crate::support::*;

/// A clock that stands still but for those who sleep or answer late. Who sleeps is woken when nothing else is ready.
#[derive(Default)]
struct Virtual(AtomicU64);

impl Virtual {
    fn advance(&self, time: Duration) {
        self.0.fetch_add(u64::try_from(time.as_micros()).unwrap(), Ordering::SeqCst);
    }
}

#[async_trait]
impl Timer for Virtual {
    fn elapsed(&self) -> Duration {
        Duration::from_micros(self.0.load(Ordering::SeqCst))
    }

    async fn sleep(&self, time: Duration) {
        self.advance(time);
    }
}

/// Adds the latency of each node to the virtual clock, one request after the other.
struct Slow {
    inner: Arc<Spy>,
    clock: Arc<Virtual>,
    latencies: Mutex<BTreeMap<PartyId, Duration>>,
}

#[async_trait]
impl Transport for Slow {
    async fn request(&self, node: &PartyId, request: Bytes) -> Result<Bytes, TransportError> {
        self.clock.advance(self.latencies.lock().unwrap().get(node).copied().unwrap_or_default());
        self.inner.request(node, request).await
    }

    fn update_membership(&self, membership: &dt_dht::Membership) {
        self.inner.update_membership(membership);
    }
}

struct Bench {
    network: Network,
    spy: Arc<Spy>,
    slow: Arc<Slow>,
    clock: Arc<Virtual>,
    client: Client,
}

fn bench(max_faulty: u16) -> Bench {
    let network = network(max_faulty);
    let (spy, clock) = (Spy::new(&network), Arc::new(Virtual::default()));
    let slow = Arc::new(Slow { inner: spy.clone(), clock: clock.clone(), latencies: Mutex::default() });
    let membership = network.membership().clone();
    let client = Client::new(Arc::new(identity(READER)), slow.clone(), membership, SeedRng::new(7));
    let client = client.with_timer(clock.clone());
    Bench { network, spy, slow, clock, client }
}

impl Bench {
    async fn put(&self, number: u64) -> BlobRef {
        client(&self.network, WRITER).put_blob(&number.to_le_bytes(), self.network.now()).await.unwrap()
    }

    /// How often each node was asked, and how long it took.
    async fn get(&self, blob: &BlobRef) -> (BTreeMap<PartyId, usize>, Duration) {
        self.spy.take_log();
        let start = self.clock.elapsed();
        self.client.get_blob(blob, self.network.now()).await.unwrap();
        let mut asked = BTreeMap::new();
        self.spy.take_log().into_iter().for_each(|(node, _)| *asked.entry(node).or_default() += 1);
        (asked, self.clock.elapsed() - start)
    }

    async fn read(&self, number: u64) -> (BTreeMap<PartyId, usize>, Duration) {
        self.get(&self.put(number).await).await
    }

    fn set_latency(&self, nodes: &[Arc<Identity>], millis: u64) {
        let mut latencies = self.slow.latencies.lock().unwrap();
        latencies.extend(nodes.iter().map(|node| (node.party(), Duration::from_millis(millis))));
    }
}

fn requests(asked: &BTreeMap<PartyId, usize>) -> usize {
    asked.values().sum()
}

#[tokio::test]
async fn as_many_nodes_are_asked_as_shards_are_needed() {
    for max_faulty in [0u16, 1, 2, 3] {
        let bench = bench(max_faulty);
        for number in 0..20 {
            let (asked, time) = bench.read(number).await;
            assert_eq!(requests(&asked), usize::from(max_faulty) + 1);
            assert_eq!(time, Duration::ZERO);
        }
    }
}

/// While all are equally quick, the shards that are the content itself are asked for, so that nothing has to be computed.
#[tokio::test]
async fn data_shards_are_preferred() {
    let bench = bench(1);
    for number in 0..20 {
        let blob = bench.put(number).await;
        let asked = bench.get(&blob).await.0;
        let first = bench.network.replicas(&blob.address());
        let first: BTreeMap<_, _> = first[..2].iter().map(|node| (node.party(), 1)).collect();
        assert_eq!(asked, first);
    }
}

/// k nodes that hang, answer garbage, or say that they have nothing: they cost at most one wait, and are then asked last.
#[tokio::test]
async fn bad_nodes_are_routed_around() {
    for max_faulty in [1u16, 2, 3] {
        for fault in [
            Fault::Hanging,
            Fault::Silent,
            Fault::Garbage,
            Fault::CorruptShards,
            Fault::WithheldShards,
            Fault::Refuse(Refusal::NotPermitted),
        ] {
            let bench = bench(max_faulty);
            let bad = &bench.network.nodes()[..usize::from(max_faulty)];
            bad.iter().for_each(|node| bench.network.corrupt(node, fault));
            let (mut vain, mut waited) = (0, Duration::ZERO);
            for number in 0..30 {
                let (asked, time) = bench.read(number).await;
                vain += bad.iter().filter_map(|node| asked.get(&node.party())).sum::<usize>();
                waited += time;
            }
            // Each is asked once, and again only after it was left alone for long.
            assert!(vain <= 2 * usize::from(max_faulty), "{fault:?}: {vain}");
            assert!(
                waited <= Duration::from_millis(100) * 2 * u32::from(max_faulty),
                "{fault:?}: {waited:?}"
            );
        }
    }
}

/// Who signed a wrong shard is never asked again while others are enough, however long that is.
#[tokio::test]
async fn a_liar_is_remembered() {
    let bench = bench(1);
    let liar = bench.network.nodes()[0].clone();
    bench.network.corrupt(&liar, Fault::CorruptShards);
    let mut lies = 0;
    for number in 0..300 {
        lies += bench.read(number).await.0.get(&liar.party()).copied().unwrap_or(0);
    }
    assert_eq!(lies, 1);
    // It is asked if need be: its shard may be sound.
    bench.network.faulty().heal(&liar.party());
    let blob = bench.put(300).await;
    bench.network.nodes()[1..3].iter().for_each(|node| bench.network.in_process().stop(&node.party()));
    bench.get(&blob).await;
}

/// A node that is slow, but not late enough to be given up, is left for quicker ones; and taken back when it has recovered.
#[tokio::test]
async fn quick_nodes_are_preferred() {
    let bench = bench(1);
    let slow = bench.network.nodes()[0].party();
    bench.set_latency(bench.network.nodes(), 1);
    bench.set_latency(&bench.network.nodes()[..1], 60);
    let mut asked = 0;
    for number in 0..40 {
        asked += bench.read(number).await.0.get(&slow).copied().unwrap_or(0);
    }
    assert_eq!(asked, 1, "known after the first answer");
    // The others become worse still.
    bench.set_latency(&bench.network.nodes()[1..], 90);
    let mut asked = 0;
    for number in 40..80 {
        asked += bench.read(number).await.0.get(&slow).copied().unwrap_or(0);
    }
    assert!(asked > 20, "{asked}");
}

/// All nodes of a group are sick for a while, more than k: reads wait for them once in a while at most, and use them again afterwards.
#[tokio::test]
async fn a_sick_group_does_not_make_reads_slow_for_ever() {
    let bench = bench(2);
    let mut blobs = Vec::new();
    for number in 0..100 {
        blobs.push(bench.put(number).await);
    }
    let group = bench.network.nodes()[..4].to_vec();
    group.iter().for_each(|node| bench.network.corrupt(node, Fault::Hanging));
    let mut waits = 0;
    for blob in &blobs {
        waits += usize::from(bench.get(blob).await.1 > Duration::ZERO);
    }
    assert!(waits <= 4, "{waits}");
    group.iter().for_each(|node| bench.network.faulty().heal(&node.party()));
    let mut used = 0;
    for blob in blobs.iter().cycle().take(800) {
        let asked = bench.get(blob).await.0;
        used += group.iter().filter(|node| asked.contains_key(&node.party())).count();
    }
    assert!(used > 400, "{used}");
}

/// A refusal that more replicas give than can lie is the outcome; it takes no waiting.
#[tokio::test]
async fn refusals_are_told() {
    let bench = bench(1);
    let now = bench.network.now();
    let blob = client(&bench.network, WRITER).put_blob(b"x", now).await.unwrap();
    bench.network.nodes()[..3].iter().for_each(|node| {
        bench.network.corrupt(node, Fault::Refuse(Refusal::UnknownParty));
    });
    let refused = bench.client.get_blob(&blob, now).await;
    assert!(matches!(refused, Err(dt_dht::GetError::Refused(Refusal::UnknownParty))), "{refused:?}");
    assert_eq!(bench.clock.elapsed(), Duration::ZERO);
}
