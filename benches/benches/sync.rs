//! What a participant does, end to end in one process, beside the parts that it is made of.
#![expect(clippy::expect_used, reason = "a benchmark reports by panicking")]

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use benches::{Ed25519, Numbers, runtime};
use core::time::Duration;
use criterion::{BatchSize, Criterion, Throughput};
use dt_acl::{AclValidator, DataValidator, Items};
use dt_dht::testing::Network;
use dt_dht::{Resilience, Validator};
use dt_feed::{BatchPolicy, Entry, EpochKey, Manifest, Publisher};
use dt_ledger::testing::Fixture;
use dt_ledger::{Argument, Document, MAINTAINER, MemoryStore, Solo, TwinCall, Version};
use dt_model::testing::{SeedRng, identity};
use dt_model::{ComponentId, ContentHash, Digest, Identity, Name, Secret, Text, Timestamp, TwinId, codec};
use dt_sync::{
    Agent, Client, Device, DeviceError, Draft, Exchange, Journal, Ledger, READING_MEDIA_TYPE, Reading,
    readers,
};
use tokio::runtime::Runtime;

/// A calibration certificate or a data sheet.
const DOCUMENT: usize = 64 * 1024;
/// Documents of a machine after some years.
const MANY: u64 = 1000;
/// Readings of one pull: the default policy's batch.
const BATCH: u64 = 256;
/// A sensor of the fixture's plant.
const SENSOR: &str = "level";

const OWNER: u64 = 1;
const MAINTAINER_SEED: u64 = 2;
const AGENT: u64 = 3;

fn main() {
    let mut criterion = benches::criterion();
    write_document(&mut criterion);
    pull(&mut criterion);
    criterion.final_summary();
}

/// A ledger of one process, four DHT nodes, and a twin with an owner, a maintainer who reads along, and an agent.
struct World {
    solo: Arc<Solo>,
    fixture: Fixture,
    network: Network,
    twin: TwinId,
}

impl World {
    fn new() -> Self {
        let fixture = Fixture::new(Arc::new(MemoryStore::default()), 2, 1);
        let [owner, maintainer, agent] = [OWNER, MAINTAINER_SEED, AGENT].map(|seed| fixture.enrol(seed));
        let twin = fixture.twin(&owner, Some(&agent), &[(&maintainer, MAINTAINER)]);
        let mut validators: Vec<Arc<dyn Validator>> = vec![Arc::new(AclValidator), Arc::new(DataValidator)];
        validators.extend(dt_feed::validators());
        let parties = [&owner, &maintainer, &agent].map(dt_model::Signer::party);
        let resilience = Resilience::tolerating(1).expect("four replicas");
        let network = Network::new(resilience, resilience.replicas(), parties, &validators);
        network.advance(Duration::from_millis(fixture.now().as_millis() - network.now().as_millis()));
        Self { solo: Arc::new(fixture.solo()), fixture, network, twin }
    }

    fn now(&self) -> Timestamp {
        self.network.now()
    }

    fn dht(&self, seed: u64) -> Arc<dt_dht::Client> {
        Arc::new(benches::client(&self.network, Arc::new(identity(seed))))
    }

    fn client(&self, seed: u64) -> Client {
        let signer: Arc<Identity> = Arc::new(identity(seed));
        let ledger = Ledger::new(self.solo.clone(), self.fixture.replica().clone(), signer);
        Client::new(ledger, self.dht(seed), &mut SeedRng::new(seed))
    }

    /// Registers `count` documents that are on the ledger alone.
    fn register(&self, count: u64, numbers: &Numbers) {
        let owner = identity(OWNER);
        let transactions: Vec<_> = (0..count)
            .map(|ahead| {
                let call = dt_ledger::Call::Twin { twin: self.twin, call: add_document(numbers.next()) };
                self.fixture.sign_ahead(&owner, vec![call], ahead)
            })
            .collect();
        self.fixture.commit(&transactions);
    }
}

fn name(text: impl Into<String>) -> Name {
    Name::new(text).expect("a name")
}

fn add_document(number: u64) -> TwinCall {
    let content = ContentHash::of(&number.to_le_bytes());
    let item = Digest::from(*content.as_bytes());
    TwinCall::AddDocument(Document {
        title: name(format!("sheet {number}")),
        media_type: name("application/pdf"),
        component: None,
        version: Version { size: DOCUMENT as u64, content, item, provenance: None },
    })
}

fn write_document(criterion: &mut Criterion) {
    let (runtime, numbers) = (runtime(), Numbers::default());
    let content = content();
    let world = World::new();
    let (dht, client, now) = (world.dht(OWNER), world.client(OWNER), world.now());
    let items = Items::new(dht.clone());
    let state = world.fixture.state();
    let class = dt_model::DataClass::Document;
    let grantees = readers(&state, &world.twin, class, None, &client.party(), now).expect("known");

    let mut group = criterion.benchmark_group("sync/write_document 64 KiB");
    group.throughput(Throughput::Bytes(DOCUMENT as u64));
    group.bench_function("peer: dt_dht::Client::put_blob alone", |b| {
        b.iter(|| runtime.block_on(dht.put_blob(&content, now)).expect("stored"));
    });
    group.bench_function("peer: dt_ledger::execute alone", |b| {
        b.iter_batched(
            || add_document(numbers.next()),
            |call| runtime.block_on(client.ledger().execute_on(world.twin, [call])).expect("registered"),
            BatchSize::PerIteration,
        );
    });
    let mut rng = SeedRng::new(7);
    group.bench_function("peer: dt_acl::Items::create and write alone", |b| {
        b.iter_batched(
            || format!("item {}", numbers.next()),
            |item| {
                let created = items.create(item.as_str(), &grantees, now, &mut rng);
                let item = runtime.block_on(created).expect("created").acl.item();
                runtime.block_on(items.write(item, &content, now, &mut rng)).expect("written")
            },
            BatchSize::PerIteration,
        );
    });
    group.bench_function("ours: Client::write_document, the twin's first", |b| {
        b.iter_batched(
            || {
                let world = World::new();
                (world.client(OWNER), world)
            },
            |(client, world)| {
                write(&runtime, &client, &world, 0, &content);
                (client, world)
            },
            BatchSize::PerIteration,
        );
    });
    let old = World::new();
    old.register(MANY, &numbers);
    let client = old.client(OWNER);
    group.bench_function("ours: Client::write_document, after 1000 others", |b| {
        b.iter_batched(
            || numbers.next(),
            |number| write(&runtime, &client, &old, number, &content),
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

fn write(runtime: &Runtime, client: &Client, world: &World, number: u64, content: &[u8]) {
    let (title, media_type) = (name(format!("data sheet {number}")), name("application/pdf"));
    let draft = Draft { title: &title, media_type: &media_type, component: None, content };
    runtime.block_on(client.write_document(world.twin, draft, world.now())).expect("written");
}

/// Bytes without a pattern, the same in every run.
fn content() -> Vec<u8> {
    let mut content = vec![0; DOCUMENT];
    blake3::Hasher::new().finalize_xof().fill(&mut content);
    content
}

fn pull(criterion: &mut Criterion) {
    let runtime = runtime();
    let world = World::new();
    let (now, sensor) = (world.now(), ComponentId::new(SENSOR).expect("a component"));
    let (height, client) = (world.fixture.replica().tip().height, world.client(AGENT));
    let journal = Journal::in_memory(world.twin, height);
    let started = Agent::start(client, world.twin, Arc::new(Sensor), journal, BatchPolicy::default(), now);
    let mut agent = runtime.block_on(started).expect("started");
    runtime.block_on(agent.connect(&[sensor], now)).expect("connected");

    let dht = world.dht(AGENT);
    let manifest = Manifest {
        twin: world.twin,
        component: ComponentId::new("another").expect("a component"),
        owner: agent.client().party(),
        topic: name("measured value"),
        media_type: name(READING_MEDIA_TYPE),
    };
    let key = EpochKey::new(1, Secret::from_bytes([7; 32]));
    let created = Publisher::create(&dht, manifest, BatchPolicy::default(), key, now);
    let mut publisher = runtime.block_on(created).expect("created");
    let mut rng = SeedRng::new(7);

    let mut group = criterion.benchmark_group("sync/pull 256 readings");
    group.throughput(Throughput::Elements(BATCH));
    let bare = Ed25519::over(&codec::encode(&reading(now)));
    group.bench_function("peer: ed25519 sign, each reading", |b| b.iter(|| bare.sign(256)));
    group.bench_function("peer: dt_feed::Publisher::publish alone", |b| {
        b.iter(|| {
            for reading in samples(publisher.last_time()) {
                publisher.append(Entry::new(reading.time, codec::encode(&reading)), now).expect("taken");
            }
            runtime.block_on(publisher.publish(&dht, now, &mut rng)).expect("published").expect("due")
        });
    });
    group.bench_function("ours: Agent::pull", |b| {
        b.iter(|| {
            let pulled = runtime.block_on(agent.pull(now)).expect("pulled");
            assert_eq!((pulled.readings, pulled.anomalies.len()), (BATCH, 0), "a full batch");
        });
    });
    group.finish();
}

/// A sensor that has always measured one batch more.
struct Sensor;

fn reading(time: Timestamp) -> Reading {
    let value = Text::new(format!("{}.5", time.as_millis() % 60)).expect("a value");
    Reading { time, value, unit: Some(name("mm")) }
}

fn samples(after: Timestamp) -> Vec<Reading> {
    (1..=BATCH).map(|number| reading(after.saturating_add(Duration::from_millis(number * 10)))).collect()
}

#[async_trait]
impl Device for Sensor {
    async fn read(&self, _: &ComponentId) -> Result<Option<Reading>, DeviceError> {
        Ok(None)
    }

    async fn samples(&self, _: &ComponentId, after: Timestamp) -> Result<Vec<Reading>, DeviceError> {
        Ok(samples(after))
    }

    async fn call(
        &self,
        program: &ComponentId,
        _: &BTreeMap<Name, Argument>,
    ) -> Result<Text<1024>, DeviceError> {
        Err(DeviceError::UnknownProgram(program.clone()))
    }

    async fn exchanges(&self) -> Result<Vec<Exchange>, DeviceError> {
        Ok(Vec::new())
    }
}
