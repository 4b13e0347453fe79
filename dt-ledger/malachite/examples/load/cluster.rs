//! Four validators in this process, on loopback and on disk; and the same engines with nothing behind them.

use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use dt_ledger::testing::Fixture;
use dt_ledger::{LedgerStore, MemoryStore, MempoolLimits, RedbStore, Replica};
use dt_ledger_malachite::{Bare, Config, Keypair, Malachite, Multiaddr, Pace, Peer, Start};
use dt_model::Timestamp;

use crate::cost::Cpu;

const VALIDATORS: u8 = 4;

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

/// The chain's genesis, and whoever's keys are needed.
pub(crate) fn chain() -> Fixture {
    Fixture::new(Arc::new(MemoryStore::default()), 2, u64::from(VALIDATORS))
}

/// Four nodes that agree on blocks.
pub(crate) async fn start(folder: &Path) -> Vec<Arc<Malachite>> {
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

pub(crate) async fn stop(nodes: &[Arc<Malachite>]) {
    for node in nodes {
        node.shutdown().await;
    }
}

/// What the engine alone does with blocks of so many bytes.
pub(crate) struct Alone {
    pub(crate) blocks_per_second: f64,
    /// What one block costs all four.
    pub(crate) cpu: Cpu,
}

/// How many blocks of so many bytes the engine alone agrees on in a second, and for how much.
pub(crate) async fn engine_alone(folder: &Path, bytes: usize, seconds: u64) -> Alone {
    let chain = chain();
    let mut nodes = Vec::new();
    for (member, config) in (0..).zip(configs(folder)) {
        let keys = Arc::new(chain.validator(member));
        nodes.push(Bare::start(chain.replica().genesis(), keys, &config, bytes).await.unwrap());
    }
    while nodes[0].height() < 5 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let (begun, before, cpu) = (Instant::now(), nodes[0].height(), Cpu::of_process());
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    let blocks = nodes[0].height() - before;
    let cpu = Cpu::of_process().since(cpu).each(blocks);
    let blocks_per_second = blocks as f64 / begun.elapsed().as_secs_f64();
    for node in nodes {
        node.shutdown().await;
    }
    Alone { blocks_per_second, cpu }
}
