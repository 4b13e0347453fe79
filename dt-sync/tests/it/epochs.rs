//! Nodes join, leave and are replaced by transactions, while clients go on writing: what was acknowledged is never out of reach.

use std::sync::Arc;
use std::time::Duration;

use dt_acl::{AclError, History, Revocation};
use dt_dht::Timer;
use dt_ledger::{Call, DocumentId, State as _};
use dt_model::Signer as _;
use dt_sync::{Agent, Client, ClientError, DhtNode, Journal};
use tokio::sync::Mutex;

use crate::world::Who::{self, *};
use crate::world::{World, component, name, party, uri};

/// The nodes that run. Whoever waits gives them time: each does one step.
struct Running(Mutex<Vec<DhtNode>>, Arc<dyn Fn() -> dt_model::Timestamp + Send + Sync>);

#[async_trait::async_trait]
impl Timer for Running {
    fn elapsed(&self) -> Duration {
        Duration::ZERO
    }

    async fn sleep(&self, _: Duration) {
        self.step().await;
    }
}

impl Running {
    async fn step(&self) {
        for node in self.0.lock().await.iter_mut() {
            node.step((self.1)()).await.unwrap();
        }
    }
}

/// A twin with documents, lists and a feed, on nodes that follow the ledger.
struct Site {
    world: World,
    running: Arc<Running>,
    agent: Agent,
    documents: Vec<(DocumentId, String)>,
    readings: Vec<String>,
}

impl Site {
    async fn new() -> Self {
        let world = World::new().await;
        let nodes = (0..4).map(|at| world.run(at)).collect();
        let running = Arc::new(Running(Mutex::new(nodes), world.clock()));
        let client = world.client(Who::Agent).with_timer(running.clone());
        let mut agent = world.agent_as(client, Journal::in_memory(world.twin, 0)).await;
        agent.connect(&[component("temperature")], world.now()).await.unwrap();
        let mut site = Self { world, running, agent, documents: Vec::new(), readings: Vec::new() };
        for _ in 0..3 {
            site.write().await;
        }
        site
    }

    fn client(&self, who: Who) -> Client {
        self.world.client(who).with_timer(self.running.clone())
    }

    /// Somebody writes a document, and the machine measures something: both are acknowledged.
    async fn write(&mut self) {
        let number = self.documents.len();
        let who = [Owner, Maintainer][number % 2];
        let (title, content) = (format!("report {number}"), format!("content {number}"));
        let document = self.world.share(&self.client(who), &title, &content).await.unwrap();
        self.documents.push((document, content));
        let value = number.to_string();
        self.world.measure(&mut self.agent, &value).await;
        self.readings.push(value);
    }

    /// What was acknowledged is there, as a party that had no part in the writing gets it.
    async fn check(&self) {
        let (auditor, now) = (self.client(Auditor), self.world.now());
        for (document, content) in &self.documents {
            let read = auditor.read_document(self.world.twin, *document, None, now).await.unwrap();
            assert_eq!(read.bytes, content.as_bytes());
        }
        let sensor = component("temperature");
        let feed = auditor.feed(&self.world.twin, &sensor).unwrap();
        let mut readings = auditor.readings(&self.world.twin, &sensor, &feed, now).await.unwrap();
        let size = readings.head(now).await.unwrap().map_or(0, |head| head.size());
        let readings = readings.range(0..size, now).await.unwrap();
        assert_eq!(readings.iter().map(|of| of.value.as_str()).collect::<Vec<_>>(), self.readings);
    }

    async fn call(&self, at: usize, call: Call) {
        self.world.ledger_of(at).execute(vec![call]).await.unwrap();
    }

    /// A further party's node runs, and is registered.
    async fn join(&mut self) -> usize {
        let at = self.world.enrol_node().await;
        let node = self.world.run(at);
        self.running.0.lock().await.push(node);
        self.call(at, Call::RegisterNode { endpoints: vec![uri(&format!("test://node/{at}"))] }).await;
        at
    }

    fn epoch(&self) -> (u64, bool) {
        let head = self.world.state().nodes_head().unwrap();
        (head.epoch, head.changing)
    }

    /// Clients write and read until the nodes have changed.
    async fn settle(&mut self) {
        for round in 0..2000 {
            if !self.epoch().1 {
                return;
            }
            // One node after the other, so that some are ahead and some behind.
            let count = self.running.0.lock().await.len();
            let now = self.world.wait(1);
            self.running.0.lock().await[round % count].step(now).await.unwrap();
            match round % 61 {
                7 => self.write().await,
                40 => self.check().await,
                _ => {}
            }
        }
        panic!("the change of nodes never ends: {:?}", self.world.state().nodes().unwrap().head);
    }

    /// Everything is there without the nodes that left and, in turn, without one more.
    async fn check_without(&mut self, left: &[usize]) {
        for node in left {
            self.world.in_process.stop(&self.world.nodes[*node].party());
        }
        for at in (0..self.world.nodes.len()).filter(|at| !left.contains(at)) {
            let node = self.world.nodes[at].party();
            self.world.in_process.stop(&node);
            self.check().await;
            self.world.in_process.start(&node);
        }
        self.write().await;
        self.check().await;
    }
}

#[tokio::test]
async fn a_node_joins_while_clients_write() {
    let mut site = Site::new().await;
    assert_eq!(site.epoch(), (1, false));
    site.join().await;
    assert_eq!(site.epoch(), (2, true));
    site.write().await;
    site.settle().await;
    assert_eq!(site.epoch(), (3, false));
    site.check_without(&[]).await;
}

#[tokio::test]
async fn a_node_leaves_while_clients_write() {
    let mut site = Site::new().await;
    site.join().await;
    site.settle().await;
    site.call(1, Call::RetireNode).await;
    assert_eq!(site.epoch(), (4, true));
    site.write().await;
    site.settle().await;
    assert_eq!(site.epoch(), (5, false));
    site.check_without(&[1]).await;
}

/// Until another has come, a node that leaves holds on: with it down, and k besides, nothing could be read.
#[tokio::test]
async fn a_node_is_replaced_while_clients_write() {
    let mut site = Site::new().await;
    site.call(0, Call::RetireNode).await;
    assert_eq!(site.epoch(), (1, false), "too few would be left");
    site.join().await;
    assert_eq!(site.epoch(), (2, true));
    // The newcomer has nothing yet, and one of the old ones is down: both groups have a quorum.
    site.world.in_process.stop(&site.world.nodes[2].party());
    site.write().await;
    site.check().await;
    site.world.in_process.start(&site.world.nodes[2].party());
    site.settle().await;
    site.check_without(&[0]).await;
}

/// All four are replaced, one after the other; and a party that slept through it finds everything, and goes on.
#[tokio::test]
async fn a_client_that_slept_through_it_follows() {
    let mut site = Site::new().await;
    let sleeper = site.client(Maintainer);
    for old in 0..4 {
        site.join().await;
        site.settle().await;
        site.call(old, Call::RetireNode).await;
        site.settle().await;
        site.world.in_process.stop(&site.world.nodes[old].party());
    }
    assert_eq!(site.epoch(), (17, false));
    assert_eq!(sleeper.items().client().membership().epoch(), 1);
    for (document, content) in &site.documents {
        let read = sleeper.read_document(site.world.twin, *document, None, site.world.now()).await.unwrap();
        assert_eq!(read.bytes, content.as_bytes());
    }
    assert_eq!(sleeper.items().client().membership().epoch(), 17);
    let document = site.world.share(&sleeper, "late", "but there").await.unwrap();
    site.documents.push((document, "but there".to_owned()));
    site.check_without(&[0, 1, 2, 3]).await;
}

/// Rights change with the nodes: who was let in reads, who was shut out does not, whichever nodes answer.
#[tokio::test]
async fn lists_change_while_nodes_do() {
    let mut site = Site::new().await;
    let (twin, owner) = (site.world.twin, site.client(Owner));
    site.join().await;
    let role = name(dt_ledger::MAINTAINER);
    owner.grant(twin, party(Stranger), role, History::Full, site.world.now()).await.unwrap();
    let (document, content) = site.documents[0].clone();
    let read = site.client(Stranger).read_document(twin, document, None, site.world.now()).await.unwrap();
    assert_eq!(read.bytes, content.as_bytes());
    owner.revoke(twin, party(Stranger), Revocation::Lazy, site.world.now()).await.unwrap();
    site.settle().await;
    for who in 0..5 {
        let node = site.world.nodes[who].party();
        site.world.in_process.stop(&node);
        let refused = site.client(Stranger).read_document(twin, document, None, site.world.now()).await;
        assert!(
            matches!(refused, Err(ClientError::Item(AclError::NotAReader(_) | AclError::Rollback { .. }))),
            "{refused:?}"
        );
        site.world.in_process.start(&node);
    }
    site.check_without(&[]).await;
}

/// A node that lies through the hand-over, and one of the new group that never answers, hold nothing up and hide nothing.
#[tokio::test]
async fn a_liar_and_one_that_is_down_hold_nothing_up() {
    use dt_dht::testing::Fault;
    for fault in [Fault::NothingStored, Fault::Stale, Fault::Garbage] {
        let mut site = Site::new().await;
        site.call(1, Call::RetireNode).await;
        site.world.corrupt(1, fault);
        let down = site.join().await;
        site.world.in_process.stop(&site.world.nodes[down].party());
        site.running.0.lock().await.remove(down);
        site.settle().await;
        assert_eq!(site.epoch(), (3, false));
        site.world.in_process.stop(&site.world.nodes[1].party());
        site.check().await;
        site.write().await;
    }
}
