//! Some validators on this machine, each with a folder and two ports of its own.

use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use dt_ledger::testing::Fixture;
use dt_ledger::{
    Call, Clock, Consensus as _, Genesis, LedgerStore, MemoryStore, MempoolLimits, RedbStore, Replica,
    State as _, Transaction, audit,
};
use dt_ledger_malachite::{Config, Keypair, Malachite, Multiaddr, Pace, Peer, Start, StartError};
use dt_model::testing::identity;
use dt_model::{Digest, Envelope, Identity, Signed, Signer as _, Timestamp};
use tempfile::TempDir;

/// The time of this machine.
pub(crate) fn clock() -> Clock {
    Arc::new(|| {
        #[expect(
            clippy::disallowed_methods,
            reason = "a node has a clock; what it does with it is given the time"
        )]
        let now = std::time::SystemTime::now();
        let since = now.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    })
}

/// What every member of a cluster knows.
pub(crate) struct Plan {
    pub(crate) folder: PathBuf,
    /// Validators that the chain begins with; further members watch or are named later.
    pub(crate) validators: u64,
    pub(crate) ports: Vec<(u16, u16)>,
    /// By which ports each member reaches each other one, if not by that one's own.
    pub(crate) links: Vec<Vec<(u16, u16)>>,
    pub(crate) pace: Pace,
}

/// A pace for tests.
pub(crate) fn quick() -> Pace {
    Pace {
        block: Duration::from_millis(20),
        idle: Duration::from_millis(500),
        propose: Duration::from_millis(1500),
        ..Pace::default()
    }
}

/// Pairs of ports that nobody listens on: below those that the system gives to outgoing connections, one of which might take a port
/// while a member that is to listen there is away; and none twice.
fn free_ports(count: usize) -> Vec<(u16, u16)> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = u16::try_from(std::process::id() % 150).unwrap() * 100;
    let mut free = std::iter::repeat_with(|| 12_000 + (first + NEXT.fetch_add(1, Ordering::SeqCst)) % 20_000)
        .filter(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok());
    std::iter::repeat_with(|| (free.next().unwrap(), free.next().unwrap())).take(count).collect()
}

pub(crate) fn node_key(member: usize) -> Keypair {
    Keypair::ed25519_from_bytes([u8::try_from(member).unwrap() + 1; 32]).unwrap()
}

impl Plan {
    pub(crate) fn new(folder: PathBuf, validators: u64, members: usize) -> Self {
        Self { folder, validators, ports: free_ports(members), links: Vec::new(), pace: quick() }
    }

    pub(crate) fn genesis(&self) -> Genesis {
        Fixture::genesis(2, self.validators)
    }

    /// The keys of everybody, and certificates for whoever asks.
    pub(crate) fn keys(&self) -> Fixture {
        Fixture::new(Arc::new(MemoryStore::default()), 2, self.validators)
    }

    pub(crate) fn folder(&self, member: usize) -> PathBuf {
        self.folder.join(format!("member-{member}"))
    }

    pub(crate) fn config(&self, member: usize, start: Start) -> Config {
        let address = |member: usize, port: u16| -> Multiaddr {
            let peer = node_key(member).public().to_peer_id();
            format!("/ip4/127.0.0.1/tcp/{port}/p2p/{peer}").parse().unwrap()
        };
        let listen = |port: u16| -> Multiaddr { format!("/ip4/127.0.0.1/tcp/{port}").parse().unwrap() };
        let ways = self.links.get(member).unwrap_or(&self.ports);
        let others = ways.iter().enumerate().filter(|(other, _)| *other != member);
        Config {
            name: format!("member-{member}"),
            folder: self.folder(member),
            node_key: node_key(member),
            consensus: listen(self.ports[member].0),
            exchange: listen(self.ports[member].1),
            peers: others
                .map(|(other, (consensus, exchange))| Peer {
                    consensus: address(other, *consensus),
                    exchange: address(other, *exchange),
                })
                .collect(),
            start,
            mempool: MempoolLimits::default(),
            pace: self.pace,
        }
    }

    pub(crate) fn store(&self, member: usize) -> RedbStore {
        std::fs::create_dir_all(self.folder(member)).unwrap();
        let path = self.folder(member).join("ledger");
        // A node that was stopped in this process lets go of its store when its last task has ended.
        for _ in 0..100 {
            match RedbStore::open(&path) {
                Ok(store) => return store,
                Err(_) => std::thread::sleep(Duration::from_millis(50)),
            }
        }
        RedbStore::open(&path).unwrap()
    }

    /// Starts a member over its store.
    pub(crate) async fn start(&self, member: usize, start: Start) -> Result<Malachite, StartError> {
        self.start_over(member, start, Arc::new(self.store(member))).await
    }

    /// Starts a member over some store.
    pub(crate) async fn start_over(
        &self,
        member: usize,
        start: Start,
        store: Arc<dyn LedgerStore>,
    ) -> Result<Malachite, StartError> {
        let replica = Arc::new(Replica::open(store, &self.genesis()).unwrap());
        let keys = Arc::new(self.keys().validator(member as u64));
        Malachite::start(replica, keys, clock(), self.config(member, start)).await
    }
}

/// A cluster in this process.
pub(crate) struct Cluster {
    pub(crate) plan: Plan,
    pub(crate) members: Vec<Option<Malachite>>,
    pub(crate) _folder: TempDir,
}

impl Cluster {
    pub(crate) async fn start(validators: u64) -> Self {
        Self::paced(validators, quick()).await
    }

    pub(crate) async fn paced(validators: u64, pace: Pace) -> Self {
        let all = usize::try_from(validators).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let mut plan = Plan::new(folder.path().into(), validators, all);
        plan.pace = pace;
        Self::begin(plan, folder, all).await
    }

    /// Validators of which the first `started` are started, and room for `members` in all.
    pub(crate) async fn of(validators: u64, started: usize, members: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let plan = Plan::new(folder.path().into(), validators, members);
        Self::begin(plan, folder, started).await
    }

    async fn begin(plan: Plan, folder: TempDir, started: usize) -> Self {
        let mut members = Vec::new();
        for member in 0..started {
            members.push(Some(plan.start(member, Start::First).await.unwrap()));
        }
        Self { plan, members, _folder: folder }
    }

    pub(crate) fn member(&self, member: usize) -> &Malachite {
        self.members[member].as_ref().unwrap()
    }

    /// Waits until a member has committed the transaction; at which height.
    pub(crate) async fn find(&self, member: usize, transaction: &Digest, from: u64) -> u64 {
        for height in from.. {
            let block = self.member(member).committed(height).await.unwrap();
            if block.receipts.iter().any(|receipt| receipt.transaction == *transaction) {
                return height;
            }
        }
        unreachable!()
    }

    /// Enrols a party by way of a member, and waits until that member has it.
    pub(crate) async fn enrol(&self, member: usize, seed: u64) -> Identity {
        let party = identity(seed);
        let certificate = self.plan.keys().certificate(seed, &party);
        let transaction =
            sign(self.member(member).replica(), &party, 0, vec![Call::Register { certificate }]);
        let digest = self.member(member).submit(transaction).await.unwrap();
        self.find(member, &digest, 1).await;
        party
    }

    /// Waits until every running member has come to `height`; that all have the same blocks and states, and pass an audit.
    pub(crate) async fn agree(&self, height: u64) {
        for member in self.members.iter().flatten() {
            member.committed(height).await.unwrap();
        }
        let replicas: Vec<_> = self.members.iter().flatten().map(Malachite::replica).collect();
        compare(&replicas, height);
        for replica in replicas {
            audit(&**replica.store(), replica.genesis(), &mut |_| {}).unwrap();
        }
    }
}

/// That these replicas have the same blocks up to `height`, byte for byte, and with them (each header names it) the same state.
pub(crate) fn compare(replicas: &[&Arc<Replica>], height: u64) {
    for height in 1..=height {
        let mut blocks = replicas.iter().filter_map(|replica| replica.block(height).unwrap());
        let first = blocks.next().unwrap();
        for other in blocks {
            assert_eq!(first.block, other.block);
            assert_eq!((&first.receipts, &first.events), (&other.receipts, &other.events));
        }
    }
}

/// `calls` as the party's transaction number `nonce`.
pub(crate) fn sign(
    replica: &Replica,
    party: &Identity,
    nonce: u64,
    calls: Vec<Call>,
) -> Envelope<Transaction> {
    let transaction = Transaction { chain: replica.chain(), nonce, valid_until: u64::MAX, calls };
    Signed::new(transaction, party).unwrap().into_envelope()
}

/// The nonce of the party's next transaction.
pub(crate) fn nonce(replica: &Replica, party: &Identity) -> u64 {
    replica.snapshot().unwrap().nonce(&party.party()).unwrap()
}

/// A call that is applied whenever its sender takes part.
pub(crate) fn harmless(party: &Identity) -> Vec<Call> {
    vec![Call::RotateEncryptionKey { key: party.encryption_key() }]
}

/// Runs a test with as many threads as there are cores, in good time.
pub(crate) fn run<T>(seconds: u64, test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime
        .block_on(async { tokio::time::timeout(Duration::from_secs(seconds), test).await.expect("in time") })
}
