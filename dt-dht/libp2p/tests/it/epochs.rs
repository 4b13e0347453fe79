//! Nodes join and leave while others write and read without a pause, over real sockets: each node follows the membership by itself, hands
//! over, and tells its network who takes part, as it does behind a ledger.

use core::fmt::Debug;
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use dt_dht::{
    Answer, BlobRef, Client, Clock, HandOverCertificate, Membership, Node, OwnedRecords, Pace, Rate, Replica,
    Step, Transport, TransportError, Upkeep,
};
use dt_model::testing::{SeedRng, identity};
use dt_model::{PartyId, Signer};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::support::*;

/// So many seconds of the nodes' time pass in one of ours: a node that does not answer is asked again after ten of them.
const SPEED: u32 = 20;
/// How often an operation is tried, some 50 ms apart.
const ATTEMPTS: usize = 600;
/// As fast as it goes.
const FAST: Pace = Pace {
    requests: Rate { per_second: u32::MAX, burst: u32::MAX },
    bytes: Rate { per_second: u32::MAX, burst: u32::MAX },
    pause: Duration::from_secs(3600),
};

/// The ledger's part: it says who takes part, and nodes tell it that they have taken over.
struct Office {
    membership: watch::Sender<Membership>,
    taken_over: Mutex<BTreeSet<PartyId>>,
    clock: Clock,
}

impl Office {
    fn new(membership: Membership, clock: Clock) -> Arc<Self> {
        Arc::new(Self { membership: watch::Sender::new(membership), taken_over: Mutex::default(), clock })
    }

    fn membership(&self) -> Membership {
        self.membership.borrow().clone()
    }

    /// From now on these are the nodes, once they have taken over.
    fn change(&self, nodes: Vec<Node>) {
        self.taken_over.lock().unwrap().clear();
        let next = self.membership().successor(nodes, self.membership().parties().clone()).unwrap();
        self.membership.send_replace(next);
    }

    /// `node` has taken over in `epoch`. When enough have, the change is complete.
    fn hear(&self, node: PartyId, epoch: u64) {
        let (mut taken_over, present) = (self.taken_over.lock().unwrap(), self.membership());
        if present.is_changing() && present.epoch() == epoch {
            taken_over.insert(node);
            let next = present.next_nodes().iter().filter(|node| taken_over.contains(&node.party));
            if next.count() >= HandOverCertificate::needed(&present) {
                self.membership.send_replace(present.complete().unwrap());
            }
        }
    }

    async fn settled(&self, epoch: u64) {
        until(&format!("epoch {epoch}"), async || self.membership().epoch() == epoch).await;
    }

    /// Runs a node until the office is closed. Nobody but its own upkeep tells its transport of the membership.
    async fn run(self: Arc<Self>, replica: Arc<Replica>, transport: Arc<dyn Transport>) {
        let mut upkeep = Upkeep::new(replica.clone(), transport, SeedRng::new(5), FAST);
        let mut changes = self.membership.subscribe();
        loop {
            let present = changes.borrow_and_update().clone();
            if present != replica.membership() {
                replica.update_membership(present.clone());
            }
            let step = upkeep.step((self.clock)()).await.unwrap();
            if present.is_changing() && upkeep.has_taken_over().unwrap() {
                self.hear(replica.party(), present.epoch());
            }
            match step {
                Step::Worked => tokio::task::yield_now().await,
                Step::Wait(time) => {
                    let pause = sleep(time.min(Duration::from_millis(100)));
                    tokio::select! { _ = changes.changed() => {}, () = pause => {} }
                }
            }
        }
    }
}

/// What was acknowledged.
#[derive(Default)]
struct Acknowledged {
    versions: BTreeMap<&'static str, u64>,
    blobs: Vec<(BlobRef, u8)>,
}

/// Somebody who writes, and somebody who reads what is written.
struct Load {
    office: Arc<Office>,
    writer: Client,
    reader: Client,
    acknowledged: Arc<Mutex<Acknowledged>>,
}

impl Load {
    async fn of(network: &Network, office: &Arc<Office>, acknowledged: &Arc<Mutex<Acknowledged>>) -> Self {
        Self {
            office: office.clone(),
            writer: network.client(WRITER).await,
            reader: network.client(READER).await,
            acknowledged: acknowledged.clone(),
        }
    }

    /// Tries again what meets nodes that are in another epoch.
    async fn insist<T, E: Debug, F: Future<Output = Result<T, E>>>(
        &self,
        what: &str,
        attempt: impl Fn() -> F,
    ) -> T {
        let mut last = None;
        for _ in 0..ATTEMPTS {
            let present = self.office.membership();
            for client in [&self.writer, &self.reader] {
                if client.membership().epoch() < present.epoch() {
                    client.update_membership(present.clone());
                }
            }
            match attempt().await {
                Ok(done) => return done,
                Err(error) => last = Some(error),
            }
            sleep(Duration::from_millis(50)).await;
        }
        panic!("{what}: {last:?}");
    }

    /// One version of one record after the other, each read back.
    async fn records(self, name: &'static str, stop: watch::Receiver<bool>) {
        for version in 1.. {
            if *stop.borrow() {
                return;
            }
            let (record, clock) = (owned(name, version, &[7; 1000]), &self.office.clock);
            self.insist("a put", || self.writer.put(&record, clock())).await;
            self.acknowledged.lock().unwrap().versions.insert(name, version);
            let get = || self.reader.get(record.key, OwnedRecords::check(), clock());
            assert_eq!(self.insist("a get", get).await.as_ref(), Some(&record), "what was acknowledged");
        }
    }

    /// One blob after the other, each read back.
    async fn blobs(self, stop: watch::Receiver<bool>) {
        for fill in 1..=u8::MAX {
            if *stop.borrow() {
                return;
            }
            let (content, clock) = (content(fill), &self.office.clock);
            let blob = self.insist("a blob's put", || self.writer.put_blob(&content, clock())).await;
            self.acknowledged.lock().unwrap().blobs.push((blob.clone(), fill));
            let get = || self.reader.get_blob(&blob, clock());
            assert!(self.insist("a blob's get", get).await == content, "what was acknowledged");
            sleep(Duration::from_millis(200)).await;
        }
    }
}

/// More than a stripe.
fn content(fill: u8) -> Vec<u8> {
    vec![fill; 1_200_000]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_join_and_leave_under_load_over_tcp() {
    nodes_join_and_leave_under_load(Wire::Tcp).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_join_and_leave_under_load_over_quic() {
    nodes_join_and_leave_under_load(Wire::Quic).await;
}

async fn nodes_join_and_leave_under_load(wire: Wire) {
    let start = Instant::now();
    let clock: Clock = Arc::new(move || NOW.saturating_add(start.elapsed() * SPEED));
    let timely = |_: usize, replica: Arc<Replica>, _: Answer| replica.answering(clock.clone());
    let mut network = Network::with_conduct(wire, 1, &timely).await;
    let office = Office::new(network.membership.clone(), clock.clone());
    let (acknowledged, stop) = (Arc::default(), watch::Sender::new(false));
    let mut nodes = JoinSet::new();
    for node in &network.nodes {
        nodes.spawn(office.clone().run(node.replica.clone(), Arc::new(node.transport.clone())));
    }
    let mut load = JoinSet::new();
    for name in ["a", "b", "c"] {
        load.spawn(Load::of(&network, &office, &acknowledged).await.records(name, stop.subscribe()));
    }
    load.spawn(Load::of(&network, &office, &acknowledged).await.blobs(stop.subscribe()));
    let is_written = |count: usize| acknowledged.lock().unwrap().blobs.len() >= count;
    until("there is load", async || is_written(2)).await;

    // A fifth node joins, of which nobody has heard before.
    let joining = Arc::new(identity(NODES + 4));
    let joined = start_node(node_config(wire), 4, joining.clone(), &network.membership, &timely).await;
    let listening = addresses(&joined.transport).await;
    let endpoints = listening.iter().map(|at| at.to_string().parse().unwrap());
    let mut members = network.membership.nodes().to_vec();
    members.push(Node { party: joining.party(), endpoints: endpoints.collect() });
    nodes.spawn(office.clone().run(joined.replica.clone(), Arc::new(joined.transport.clone())));
    network.nodes.push(joined);
    office.change(members.clone());
    office.settled(3).await;
    let so_far = acknowledged.lock().unwrap().blobs.len();
    until("there is load", async || is_written(so_far + 1)).await;

    // One of the first leaves.
    let gone = network.nodes.remove(0);
    let leaving = gone.identity.party();
    members.retain(|node| node.party != leaving);
    office.change(members);
    office.settled(5).await;
    let so_far = acknowledged.lock().unwrap().blobs.len();
    until("there is load", async || is_written(so_far + 1)).await;
    stop.send_replace(true);
    while let Some(ended) = load.join_next().await {
        ended.unwrap();
    }
    nobody_knows(&gone, &network).await;

    // Without the one that is gone, and one more of the old ones: whoever comes anew finds everything.
    gone.transport.shut_down().await;
    network.nodes.remove(0).transport.shut_down().await;
    network.membership = office.membership();
    let auditor = Load::of(&network, &office, &Arc::default()).await;
    let acknowledged = core::mem::take(&mut *acknowledged.lock().unwrap());
    for (name, version) in &acknowledged.versions {
        let key = owned(name, 1, b"").key;
        let get = || auditor.reader.get(key, OwnedRecords::check(), (office.clock)());
        assert_eq!(auditor.insist("a get", get).await.map(|found| found.version), Some(*version));
    }
    for (blob, fill) in &acknowledged.blobs {
        let get = || auditor.reader.get_blob(blob, (office.clock)());
        assert!(auditor.insist("a blob's get", get).await == content(*fill));
    }
}

/// Nobody is connected with the node that has gone, lets it in, or can be made to ask it.
async fn nobody_knows(gone: &Running, network: &Network) {
    let left = gone.identity.party();
    for node in &network.nodes {
        until("its connections are closed", async || {
            !node.transport.status().await.unwrap().connected.contains(&left)
        })
        .await;
        let before = node.transport.status().await.unwrap().refused;
        let answer = gone.transport.request(&node.identity.party(), Bytes::from_static(b"hello")).await;
        assert!(matches!(answer, Err(TransportError::Unreachable(_))), "{answer:?}");
        let status = node.transport.status().await.unwrap();
        assert!(status.refused > before && !status.connected.contains(&left), "{status:?}");
        let answer = node.transport.request(&left, Bytes::from_static(b"hello")).await;
        assert!(matches!(answer, Err(TransportError::UnknownNode(_))), "{answer:?}");
    }
}
