//! How much four validators commit, all in this process, and how fast: real sockets, real disks, real contract execution.
//!
//! ```sh
//! cargo run --release -p dt-ledger-malachite --features bare --example load -- 10
//! ```
//!
//! Prints, for so many seconds each: transactions per second with as many under way as there is room for; the time from handing in to the
//! durable commit at half that load; and, beside it, how fast the same engine agrees on blocks without transactions.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::float_arithmetic,
    clippy::disallowed_methods,
    reason = "a program that measures: it has a clock, and may end with a panic"
)]

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use dt_ledger::testing::Fixture;
use dt_ledger::{
    Call, Consensus as _, CreateTwin, LedgerStore, MemoryStore, MempoolLimits, Policy, RedbStore, Replica,
    State as _, Transaction, TwinCall, Uri, twin_id,
};
use dt_ledger_malachite::{Bare, Config, Keypair, Malachite, Multiaddr, Pace, Peer, Start};
use dt_model::testing::identity;
use dt_model::{Digest, Envelope, Identity, Name, Signed, Signer as _, Timestamp, TwinId};
use tokio::sync::Semaphore;

const VALIDATORS: u8 = 4;
const SENDERS: u64 = 32;
/// Transactions under way at most, where as many as possible are wanted.
const UNDER_WAY: usize = 4_000;
/// What a transaction is filled up to.
const TRANSACTION_BYTES: usize = 1024;

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    Timestamp::from_millis(u64::try_from(since.as_millis()).unwrap())
}

/// How each of the validators is set up.
fn configs(folder: &Path) -> Vec<Config> {
    let sockets: Vec<_> = (0..2 * VALIDATORS).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    let ports: Vec<u16> = sockets.iter().map(|socket| socket.local_addr().unwrap().port()).collect();
    let key = |member: u8| Keypair::ed25519_from_bytes([member + 1; 32]).unwrap();
    let listen = |port: u16| -> Multiaddr { format!("/ip4/127.0.0.1/tcp/{port}").parse().unwrap() };
    let port = |member: u8, which: u8| ports[usize::from(2 * member + which)];
    let peer = |other: u8| {
        let at = |which: u8| -> Multiaddr {
            let peer = key(other).public().to_peer_id();
            format!("/ip4/127.0.0.1/tcp/{}/p2p/{peer}", port(other, which)).parse().unwrap()
        };
        Peer { consensus: at(0), exchange: at(1) }
    };
    let config = |member: u8| Config {
        name: format!("load-{member}-{}", ports[0]),
        folder: folder.join(member.to_string()),
        node_key: key(member),
        consensus: listen(port(member, 0)),
        exchange: listen(port(member, 1)),
        peers: (0..VALIDATORS).filter(|other| *other != member).map(peer).collect(),
        start: Start::First,
        mempool: MempoolLimits::default(),
        pace: Pace::default(),
    };
    (0..VALIDATORS).map(config).collect()
}

fn chain() -> Fixture {
    Fixture::new(Arc::new(MemoryStore::default()), 2, u64::from(VALIDATORS))
}

async fn start(folder: &Path) -> Vec<Arc<Malachite>> {
    let chain = chain();
    let mut nodes = Vec::new();
    for (member, config) in (0..).zip(configs(folder)) {
        std::fs::create_dir_all(&config.folder).unwrap();
        let store: Arc<dyn LedgerStore> = Arc::new(RedbStore::open(&config.folder.join("ledger")).unwrap());
        let replica = Arc::new(Replica::open(store, chain.replica().genesis()).unwrap());
        let keys = Arc::new(chain.validator(member));
        nodes.push(Arc::new(Malachite::start(replica, keys, Arc::new(now), config).await.unwrap()));
    }
    nodes
}

/// How many blocks of so many bytes the engine alone agrees on in a second.
async fn engine_alone(folder: &Path, bytes: usize, seconds: u64) -> f64 {
    let chain = chain();
    let mut nodes = Vec::new();
    for (member, config) in (0..).zip(configs(folder)) {
        let keys = Arc::new(chain.validator(member));
        nodes.push(Bare::start(chain.replica().genesis(), keys, &config, bytes).await.unwrap());
    }
    while nodes[0].height() < 5 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let (begun, before) = (Instant::now(), nodes[0].height());
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    let rate = (nodes[0].height() - before) as f64 / begun.elapsed().as_secs_f64();
    for node in nodes {
        node.shutdown().await;
    }
    rate
}

/// Waits until a node has committed the transaction.
async fn find(node: &Malachite, digest: Digest) {
    for height in 1.. {
        if node.committed(height).await.unwrap().receipts.iter().any(|receipt| receipt.transaction == digest)
        {
            return;
        }
    }
}

fn sign(replica: &Replica, party: &Identity, nonce: u64, calls: Vec<Call>) -> Envelope<Transaction> {
    let transaction = Transaction { chain: replica.chain(), nonce, valid_until: u64::MAX, calls };
    Signed::new(transaction, party).unwrap().into_envelope()
}

/// Parties, each with a twin of its own.
async fn enrol(node: &Malachite) -> Vec<(Identity, TwinId)> {
    let keys = chain();
    let mut parties = Vec::new();
    let mut last = Vec::new();
    for seed in 0..SENDERS {
        let party = identity(1000 + seed);
        let certificate = keys.certificate(seed, &party);
        last.push(
            node.submit(sign(node.replica(), &party, 0, vec![Call::Register { certificate }])).await.unwrap(),
        );
        parties.push(party);
    }
    for digest in last.drain(..) {
        find(node, digest).await;
    }
    let mut twins = Vec::new();
    for party in parties {
        let device_id = Name::new("device").unwrap();
        let twin = twin_id(&node.replica().chain(), &party.party(), &device_id);
        let create = CreateTwin {
            device_name: device_id.clone(),
            device_id,
            aml: dt_ledger::testing::PLANT.into(),
            policy: Policy::paper_default(),
            roles: BTreeMap::new(),
            agent: None,
        };
        last.push(
            node.submit(sign(node.replica(), &party, 1, vec![Call::CreateTwin(create)])).await.unwrap(),
        );
        twins.push((party, twin));
    }
    for digest in last {
        find(node, digest).await;
    }
    twins
}

/// A transaction of 1 KiB that adds an external source to the party's twin.
fn filled(replica: &Replica, party: &Identity, twin: TwinId, nonce: u64) -> Envelope<Transaction> {
    let make = |bytes: usize| {
        let uri = Uri::new(format!("opc.tcp://plant/{nonce:012}/{}", "x".repeat(bytes))).unwrap();
        sign(
            replica,
            party,
            nonce,
            vec![Call::Twin { twin, call: TwinCall::AddExternalSource { uri, component: None } }],
        )
    };
    let short = dt_model::codec::encode(&make(0)).len();
    make(TRANSACTION_BYTES - short)
}

/// What each node follows: when what was handed in there was committed there.
struct Watch {
    /// Of each node.
    begun: Vec<Mutex<BTreeMap<Digest, Instant>>>,
    room: Semaphore,
    times: Mutex<Vec<Duration>>,
}

async fn follow(node: Arc<Malachite>, number: usize, watch: Arc<Watch>, from: u64) {
    for height in from.. {
        let Ok(block) = node.committed(height).await else { return };
        let mut begun = watch.begun[number].lock().unwrap();
        let mut times = watch.times.lock().unwrap();
        for receipt in &block.receipts {
            if let Some(begun) = begun.remove(&receipt.transaction) {
                times.push(begun.elapsed());
                watch.room.add_permits(1);
            }
        }
    }
}

/// Hands in transactions for so long, as fast as there is room or at a given rate (per second, of all); the times to commit, and how many
/// were committed per second.
async fn load(
    nodes: &[Arc<Malachite>],
    parties: &[(Identity, TwinId)],
    seconds: u64,
    rate: Option<f64>,
) -> (Vec<Duration>, f64) {
    let watch = Arc::new(Watch {
        begun: nodes.iter().map(|_| Mutex::default()).collect(),
        room: Semaphore::new(UNDER_WAY),
        times: Mutex::default(),
    });
    let followers: Vec<_> = nodes
        .iter()
        .enumerate()
        .map(|(number, node)| {
            let from = node.status().height + 1;
            tokio::spawn(follow(Arc::clone(node), number, Arc::clone(&watch), from))
        })
        .collect();
    // Each as the node knows it at which the party hands in: another one may be behind.
    let nonce = |(sender, (party, _)): (usize, &(Identity, TwinId))| {
        nodes[sender % nodes.len()].replica().snapshot().unwrap().nonce(&party.party()).unwrap()
    };
    let nonces: Vec<u64> = parties.iter().enumerate().map(nonce).collect();
    // All are signed before the clock starts: whoever hands in has machines of his own.
    let each = rate.map_or(6_000.0, |rate| rate) * seconds as f64 / parties.len() as f64;
    let replica = nodes[0].replica();
    let signed: Vec<Vec<_>> = std::thread::scope(|scope| {
        let handles: Vec<_> = parties
            .iter()
            .zip(&nonces)
            .map(|((party, twin), nonce)| {
                scope.spawn(move || {
                    (0..each as u64)
                        .map(|number| filled(replica, party, *twin, nonce + number))
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        handles.into_iter().map(|handle| handle.join().unwrap()).collect()
    });
    let begun = Instant::now();
    let deadline = begun + Duration::from_secs(seconds);
    let mut tasks = Vec::new();
    for (sender, transactions) in signed.into_iter().enumerate() {
        let (node, watch) = (Arc::clone(&nodes[sender % nodes.len()]), Arc::clone(&watch));
        let pause = rate.map(|rate| Duration::from_secs_f64(parties.len() as f64 / rate));
        tasks.push(tokio::spawn(async move {
            for (number, transaction) in transactions.into_iter().enumerate() {
                if let Some(pause) = pause {
                    let due = begun
                        + pause * u32::try_from(number).unwrap()
                        + pause * u32::try_from(sender).unwrap() / 32;
                    tokio::time::sleep_until(due.into()).await;
                }
                watch.room.acquire().await.unwrap().forget();
                if Instant::now() >= deadline {
                    return;
                }
                let digest = transaction.digest();
                watch.begun[sender % watch.begun.len()].lock().unwrap().insert(digest, Instant::now());
                node.submit(transaction).await.expect("it is taken");
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    let in_time = watch.times.lock().unwrap().len();
    let per_second = in_time as f64 / begun.elapsed().as_secs_f64();
    // The rest of them.
    let mut left = usize::MAX;
    while left > 0 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        left = watch.begun.iter().map(|begun| begun.lock().unwrap().len()).sum();
        assert!(
            begun.elapsed() < Duration::from_secs(seconds + 60),
            "{left} transactions were not committed"
        );
    }
    for follower in followers {
        follower.abort();
    }
    let mut times = std::mem::take(&mut *watch.times.lock().unwrap());
    times.sort_unstable();
    (times, per_second)
}

fn millis(times: &[Duration], per_mille: usize) -> f64 {
    times.get(times.len().saturating_sub(1) * per_mille / 1000).map_or(0.0, |time| time.as_secs_f64() * 1e3)
}

#[tokio::main]
async fn main() {
    let seconds = std::env::args().nth(1).and_then(|seconds| seconds.parse().ok()).unwrap_or(10);
    let folder = tempfile::tempdir().unwrap();
    let nodes = start(&folder.path().join("full")).await;
    let parties = enrol(&nodes[0]).await;
    let before = nodes[0].status().height;
    let (times, most) = load(&nodes, &parties, seconds, None).await;
    let blocks = nodes[0].status().height - before;
    let each = times.len() / usize::try_from(blocks.max(1)).unwrap();
    println!("four validators, {TRANSACTION_BYTES} bytes a transaction, {seconds} s each");
    println!(
        "  most:      {most:7.0} transactions/s in {blocks} blocks of {each}, p50 {:.0} ms, p99 {:.0} ms",
        millis(&times, 500),
        millis(&times, 990)
    );
    let (times, half) = load(&nodes, &parties, seconds, Some(most / 2.0)).await;
    println!(
        "  half load: {half:7.0} transactions/s, p50 {:.0} ms, p99 {:.0} ms",
        millis(&times, 500),
        millis(&times, 990)
    );
    for node in &nodes {
        node.shutdown().await;
    }
    let rate = engine_alone(&folder.path().join("bare"), each * TRANSACTION_BYTES, seconds).await;
    println!(
        "  engine:    {:7.0} transactions/s if blocks of {each} meant nothing: {rate:.0} blocks/s",
        rate * each as f64
    );
    println!(
        "  engine:    {:7.0} blocks/s without anything in them",
        engine_alone(&folder.path().join("empty"), 0, seconds).await
    );
}
