//! Parties that hand in transactions, and how long those take.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use dt_ledger::{
    Call, Consensus as _, CreateTwin, Policy, Replica, State as _, Transaction, TwinCall, Uri, twin_id,
};
use dt_ledger_malachite::Malachite;
use dt_model::testing::identity;
use dt_model::{Digest, Envelope, Identity, Name, Signed, Signer as _, TwinId};
use tokio::sync::Semaphore;

use crate::cluster::chain;
use crate::cost::Cpu;
use crate::stages::Way;

const SENDERS: u64 = 32;
/// Transactions under way at most, where as many as possible are wanted.
const UNDER_WAY: usize = 4_000;
/// More than can be committed in a second.
const ENOUGH: f64 = 8_000.0;
/// What a transaction is filled up to.
pub(crate) const TRANSACTION_BYTES: usize = 1024;

/// Waits until a node has committed the transaction.
async fn find(node: &Malachite, digest: Digest) {
    find_at(node, digest, 1).await;
}

/// Waits until a node has committed the transaction, at no lower height than `from`.
pub(crate) async fn find_at(node: &Malachite, digest: Digest, from: u64) {
    for height in from.. {
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
pub(crate) async fn enrol(nodes: &[Arc<Malachite>]) -> Vec<(Identity, TwinId)> {
    let node = &nodes[0];
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
    // All know of them.
    for other in nodes {
        other.committed(node.status().height).await.unwrap();
    }
    twins
}

/// A transaction of 1 KiB that adds an external source to the party's twin.
pub(crate) fn filled(replica: &Replica, party: &Identity, twin: TwinId, nonce: u64) -> Envelope<Transaction> {
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
    ways: Mutex<Vec<Way>>,
}

async fn follow(node: Arc<Malachite>, number: usize, watch: Arc<Watch>, from: u64) {
    for height in from.. {
        let Ok(block) = node.committed(height).await else { return };
        let mut begun = watch.begun[number].lock().unwrap();
        let mut ways = watch.ways.lock().unwrap();
        for receipt in &block.receipts {
            if let Some(begun) = begun.remove(&receipt.transaction) {
                ways.push(Way { node: number, begun, took: begun.elapsed(), height });
                watch.room.add_permits(1);
            }
        }
    }
}

/// What came of handing in transactions.
pub(crate) struct Outcome {
    /// From handing in to the durable commit, each, in order of length.
    pub(crate) times: Vec<Duration>,
    /// The same with what else is known of each.
    pub(crate) ways: Vec<Way>,
    pub(crate) per_second: f64,
    pub(crate) blocks_per_second: f64,
    /// Of each transaction, of all nodes.
    pub(crate) cpu: Cpu,
}

/// The nonce of the party's next transaction, as the node knows it: another one may be behind.
pub(crate) fn next_nonce(node: &Malachite, party: &Identity) -> u64 {
    node.replica().snapshot().unwrap().nonce(&party.party()).unwrap()
}

/// So many transactions of each of the parties.
fn sign_all(
    nodes: &[Arc<Malachite>],
    parties: &[(Identity, TwinId)],
    each: u64,
) -> Vec<Vec<Envelope<Transaction>>> {
    std::thread::scope(|scope| {
        let mut handles = Vec::new();
        for (sender, (party, twin)) in parties.iter().enumerate() {
            let node = &nodes[sender % nodes.len()];
            let nonce = next_nonce(node, party);
            let sign = move || {
                (0..each).map(|number| filled(node.replica(), party, *twin, nonce + number)).collect()
            };
            handles.push(scope.spawn(sign));
        }
        handles.into_iter().map(|handle| handle.join().unwrap()).collect()
    })
}

/// Hands in transactions for so long, as fast as there is room or at a given rate (per second, of all).
pub(crate) async fn load(
    nodes: &[Arc<Malachite>],
    parties: &[(Identity, TwinId)],
    seconds: u64,
    rate: Option<f64>,
) -> Outcome {
    let watch = Arc::new(Watch {
        begun: nodes.iter().map(|_| Mutex::default()).collect(),
        room: Semaphore::new(UNDER_WAY),
        ways: Mutex::default(),
    });
    let followers: Vec<_> = nodes
        .iter()
        .enumerate()
        .map(|(number, node)| {
            let from = node.status().height + 1;
            tokio::spawn(follow(Arc::clone(node), number, Arc::clone(&watch), from))
        })
        .collect();
    // All are signed before the clock starts: whoever hands in has machines of his own.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "some thousands")]
    let each = (rate.unwrap_or(ENOUGH) * seconds as f64 / parties.len() as f64) as u64;
    let signed = sign_all(nodes, parties, each);
    let (begun, cpu, height) = (Instant::now(), Cpu::of_process(), nodes[0].status().height);
    let deadline = begun + Duration::from_secs(seconds);
    let pause = rate.map(|rate| Duration::from_secs_f64(parties.len() as f64 / rate));
    let mut tasks = Vec::new();
    for (sender, transactions) in (0..).zip(signed) {
        let (node, watch) = (Arc::clone(&nodes[sender % nodes.len()]), Arc::clone(&watch));
        // The parties take turns.
        let offset = pause.unwrap_or_default().mul_f64(sender as f64 / parties.len() as f64);
        tasks.push(tokio::spawn(async move {
            for (number, transaction) in (0..).zip(transactions) {
                if let Some(pause) = pause {
                    tokio::time::sleep_until((begun + pause * number + offset).into()).await;
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
    let in_time = watch.ways.lock().unwrap().len();
    let took = begun.elapsed().as_secs_f64();
    let blocks_per_second = (nodes[0].status().height - height) as f64 / took;
    watch.rest(begun + Duration::from_secs(seconds + 60)).await;
    let cpu = Cpu::of_process().since(cpu);
    for follower in followers {
        follower.abort();
    }
    let mut ways = std::mem::take(&mut *watch.ways.lock().unwrap());
    ways.sort_by_key(|way| way.took);
    let times: Vec<Duration> = ways.iter().map(|way| way.took).collect();
    let cpu = cpu.each(times.len() as u64);
    Outcome { per_second: in_time as f64 / took, blocks_per_second, cpu, times, ways }
}

impl Watch {
    /// Waits until all that was handed in is committed.
    async fn rest(&self, deadline: Instant) {
        loop {
            let left: usize = self.begun.iter().map(|begun| begun.lock().unwrap().len()).sum();
            if left == 0 {
                return;
            }
            assert!(Instant::now() < deadline, "{left} transactions were not committed");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
