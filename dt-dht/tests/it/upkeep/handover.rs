//! Hand-over from one membership to the next: nodes join, leave, are replaced, crash and lie, while others read and write.

use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use dt_dht::testing::{Fault, Faulty};
use dt_dht::{
    BlobRef, Client, HandOver, HandOverCertificate, HandOverError, InProcess, Step, Upkeep, verify_store,
};
use dt_model::testing::SeedRng;

use super::agreed::Counter;
use super::past::Leaping;
use super::repair::FAST;
use super::*;

/// Eight nodes, of which some take part.
pub(super) struct Cluster {
    pub(super) nodes: Vec<Arc<Identity>>,
    pub(super) stores: Vec<Arc<MemoryStore>>,
    pub(super) replicas: Vec<Arc<Replica>>,
    pub(super) tasks: Vec<Upkeep>,
    pub(super) in_process: Arc<InProcess>,
    pub(super) faulty: Arc<Faulty>,
    pub(super) membership: Membership,
    pub(super) now: Timestamp,
    /// What the nodes go by: see [`Cluster::advance`].
    clock: Arc<AtomicU64>,
    pub(super) writer: Client,
    pub(super) reader: Client,
    /// The highest version of each name that was acknowledged.
    pub(super) floors: BTreeMap<u8, u64>,
    pub(super) blobs: Vec<BlobRef>,
    pub(super) seed: u64,
}

const NODES: usize = 8;

pub(super) fn registered(nodes: &[Arc<Identity>], which: &[usize]) -> Vec<Node> {
    which.iter().map(|at| Node { party: nodes[*at].party(), endpoints: Vec::new() }).collect()
}

pub(super) fn parties() -> BTreeSet<dt_model::PartyId> {
    [WRITER, READER].map(|seed| identity(seed).party()).into()
}

impl Cluster {
    pub(super) fn new(which: &[usize]) -> Self {
        let nodes: Vec<_> = (0..NODES as u64).map(|seed| Arc::new(identity(500 + seed))).collect();
        let resilience = Resilience::tolerating(1).unwrap();
        let membership =
            Membership::new(Digest::from([9; 32]), 1, resilience, registered(&nodes, which), parties())
                .unwrap();
        let now = Timestamp::from_millis(1_700_000_000_000);
        let stores: Vec<_> = (0..NODES).map(|_| Arc::new(MemoryStore::new())).collect();
        let clock = Arc::new(AtomicU64::new(now.as_millis()));
        let shown = clock.clone();
        let shown = move || Timestamp::from_millis(shown.load(Ordering::SeqCst));
        let in_process = Arc::new(InProcess::new([], Arc::new(shown)));
        let faulty = Arc::new(Faulty::new(in_process.clone()));
        let client = |seed: u64| {
            Client::new(Arc::new(identity(seed)), faulty.clone(), membership.clone(), SeedRng::new(seed))
        };
        let (writer, reader) = (client(WRITER), client(READER));
        let (replicas, tasks, floors, blobs) = (Vec::new(), Vec::new(), BTreeMap::new(), Vec::new());
        let mut cluster = Self {
            nodes,
            stores,
            replicas,
            tasks,
            in_process,
            faulty,
            membership,
            now,
            clock,
            writer,
            reader,
            floors,
            blobs,
            seed: 100,
        };
        for at in 0..NODES {
            let (replica, task) = cluster.started(at);
            cluster.replicas.push(replica);
            cluster.tasks.push(task);
        }
        cluster
    }

    /// Node `at` as it is after a start from its store.
    fn started(&mut self, at: usize) -> (Arc<Replica>, Upkeep) {
        let validators = vec![Arc::new(OwnedRecords) as _, Arc::new(Counter) as _, Arc::new(Leaping) as _];
        let store = self.stores[at].clone();
        let replica =
            Arc::new(Replica::new(self.nodes[at].clone(), store, self.membership.clone(), validators));
        self.in_process.add(replica.clone());
        self.seed += 1;
        let task = Upkeep::new(replica.clone(), self.faulty.clone(), SeedRng::new(self.seed), FAST);
        (replica, task)
    }

    pub(super) fn advance(&mut self, time: Duration) {
        self.now = self.now.saturating_add(time);
        self.clock.store(self.now.as_millis(), Ordering::SeqCst);
    }

    fn restart(&mut self, at: usize) {
        let (replica, task) = self.started(at);
        self.replicas[at] = replica;
        self.tasks[at] = task;
    }

    pub(super) fn enter(&mut self, membership: Membership) {
        self.replicas.iter().for_each(|replica| replica.update_membership(membership.clone()));
        self.writer.update_membership(membership.clone());
        self.reader.update_membership(membership.clone());
        self.membership = membership;
    }

    /// A write and a read: what was acknowledged is found, at any time. Few names are used, since a read brings laggards up to date.
    async fn use_it(&mut self, name: u8) {
        let version = self.floors.get(&name).map_or(1, |floor| floor + 1);
        self.writer.put(&sized(WRITER, &format!("n{name}"), version, 2), self.now).await.unwrap();
        self.floors.insert(name, version);
        self.read(name).await;
    }

    async fn read(&self, name: u8) {
        let key = sized(WRITER, &format!("n{name}"), 1, 2).key;
        let found = self.reader.get(key, OwnedRecords::check(), self.now).await.unwrap();
        assert_eq!(found.map(|record| record.version), self.floors.get(&name).copied(), "n{name}");
    }

    async fn check(&self) {
        for name in self.floors.keys() {
            self.read(*name).await;
        }
        for blob in &self.blobs {
            let found = self.reader.get_blob(blob, self.now).await.unwrap();
            assert_eq!(found.len() as u64, blob.length());
        }
    }

    /// Steps of all tasks, each of them once; whether any of them did something.
    async fn step(&mut self, which: &[usize]) -> bool {
        let mut worked = false;
        for at in which {
            worked |= self.tasks[*at].step(self.now).await.unwrap() == Step::Worked;
        }
        worked
    }

    pub(super) async fn finish(&mut self, which: &[usize]) {
        for _ in 0..10_000 {
            if !self.step(which).await {
                return;
            }
        }
        panic!("the tasks never rest");
    }

    /// Fills the network with records and blobs.
    async fn fill(&mut self) {
        for name in 0..12 {
            self.use_it(name).await;
        }
        for length in [10usize, 5_000] {
            self.blobs.push(self.writer.put_blob(&vec![7; length], self.now).await.unwrap());
        }
    }

    /// Every new replica of every record holds the newest version.
    fn assert_complete(&self, but: &[usize]) {
        for (name, floor) in &self.floors {
            let key = sized(WRITER, &format!("n{name}"), 1, 2).key;
            for party in self.membership.replicas(&key.address) {
                let at = self.nodes.iter().position(|node| node.party() == party).unwrap();
                if but.contains(&at) {
                    continue;
                }
                let call = Call::new(
                    &identity(READER),
                    &self.membership,
                    party,
                    [3; 16],
                    self.now,
                    RequestBody::Get { key },
                )
                .unwrap();
                match call.read(&self.replicas[at].handle(call.bytes(), self.now)).unwrap() {
                    ReplyBody::Record { record: Some(record) } => {
                        assert_eq!(record.open().unwrap().version, *floor, "n{name} at node {at}");
                    }
                    other => panic!("n{name} at node {at}: {other:?}"),
                }
            }
        }
        for (node, store) in self.nodes.iter().zip(&self.stores) {
            verify_store(&**store).unwrap();
            // Of each blob a node keeps its own shard, and no other.
            for blob in &self.blobs {
                let group = self.membership.replicas(&blob.address());
                let held = store.scan(&[b"s", &blob.address().as_bytes()[..]].concat(), None, 9).unwrap();
                let expected = (0u16..).zip(&group).find(|(_, party)| **party == node.party());
                let index = held.first().map(|(key, _)| u16::from_be_bytes([key[33], key[34]]));
                let is_new =
                    expected.is_some() && !but.iter().any(|at| self.nodes[*at].party() == node.party());
                assert!(held.len() <= 1 || !is_new, "{} shards", held.len());
                assert!(!is_new || index == expected.map(|(index, _)| index), "{index:?} of {expected:?}");
            }
        }
    }
}

/// From the nodes `old` to the nodes `new`, with writes and reads between every two steps.
async fn changes(old: &[usize], new: &[usize]) -> Cluster {
    let mut cluster = Cluster::new(old);
    cluster.fill().await;
    let joint = cluster.membership.successor(registered(&cluster.nodes, new), parties()).unwrap();
    cluster.enter(joint);
    let all: Vec<usize> = (0..NODES).filter(|at| old.contains(at) || new.contains(at)).collect();
    let mut name = 0;
    let mut handed_over = None;
    for _ in 0..60 {
        for at in &all {
            cluster.step(&[*at]).await;
            // A write of one name, reads of two others.
            name = (name + 1) % 3;
            match name {
                0 => cluster.use_it(0).await,
                name => cluster.read(name).await,
            }
        }
        handed_over = cluster.tasks[new[0]].hand_over(cluster.now).await;
        if handed_over.is_some() {
            break;
        }
    }
    handed_over.expect("the hand-over ends").verify(&cluster.membership).unwrap();
    let repaired: u64 = new.iter().map(|at| cluster.tasks[*at].report().repaired).sum();
    assert!(repaired > 0 || new.iter().any(|at| old.contains(at)), "the hand-over did something");
    let after = cluster.membership.complete().unwrap();
    cluster.enter(after);
    cluster.check().await;
    cluster.use_it(3).await;
    cluster.finish(&all).await;
    cluster.assert_complete(&[]);
    // The old nodes are not needed any more.
    for at in (0..NODES).filter(|at| !new.contains(at)) {
        cluster.in_process.stop(&cluster.nodes[at].party());
    }
    cluster.in_process.stop(&cluster.nodes[new[0]].party());
    cluster.check().await;
    cluster
}

#[tokio::test]
async fn a_node_joins() {
    changes(&[0, 1, 2, 3], &[0, 1, 2, 3, 4]).await;
}

#[tokio::test]
async fn a_node_leaves() {
    changes(&[0, 1, 2, 3, 4], &[1, 2, 3, 4]).await;
}

#[tokio::test]
async fn a_node_is_replaced() {
    changes(&[0, 1, 2, 3], &[1, 2, 3, 4]).await;
}

/// And those that left keep nothing.
#[tokio::test]
async fn all_nodes_are_replaced() {
    let cluster = changes(&[0, 1, 2, 3], &[4, 5, 6, 7]).await;
    for at in 0..4 {
        let mut after = None;
        loop {
            let swept = cluster.replicas[at].sweep(after, 1000, cluster.now).unwrap();
            if swept.is_over {
                break;
            }
            after = swept.next;
        }
        let report = verify_store(&*cluster.stores[at]).unwrap();
        assert_eq!((report.records, report.shards), (0, 0), "node {at}");
    }
}

/// Nodes crash and start again in the middle, at every third step.
#[tokio::test]
async fn crashes_in_the_middle() {
    let mut cluster = Cluster::new(&[0, 1, 2, 3]);
    cluster.fill().await;
    let joint = cluster.membership.successor(registered(&cluster.nodes, &[2, 3, 4, 5]), parties()).unwrap();
    cluster.enter(joint);
    let mut handed_over = None;
    for round in 0..100usize {
        cluster.step(&[0, 1, 2, 3, 4, 5]).await;
        if round % 3 == 0 && round < 60 {
            cluster.restart(round % 6);
            cluster.use_it(u8::try_from(round % 2).unwrap()).await;
        }
        handed_over = cluster.tasks[4].hand_over(cluster.now).await;
        if handed_over.is_some() {
            break;
        }
    }
    handed_over.expect("the hand-over ends");
    cluster.finish(&[0, 1, 2, 3, 4, 5]).await;
    let after = cluster.membership.complete().unwrap();
    cluster.enter(after);
    cluster.finish(&[0, 1, 2, 3, 4, 5]).await;
    cluster.assert_complete(&[]);
    cluster.check().await;
}

/// One of the old nodes lies in each of these ways, and one of the new ones has crashed: k of each group.
#[tokio::test]
async fn liars_among_the_old_and_a_new_one_that_is_down() {
    for fault in [Fault::Silent, Fault::NothingStored, Fault::Garbage, Fault::Replay, Fault::Stale] {
        let mut cluster = Cluster::new(&[0, 1, 2, 3]);
        cluster.fill().await;
        let joint =
            cluster.membership.successor(registered(&cluster.nodes, &[4, 5, 6, 7]), parties()).unwrap();
        cluster.enter(joint);
        cluster.faulty.corrupt(cluster.nodes[1].clone(), fault);
        cluster.in_process.stop(&cluster.nodes[7].party());
        let mut handed_over = None;
        for round in 0..200u32 {
            cluster.step(&[4, 5, 6]).await;
            if round % 50 == 0 {
                cluster.use_it(1).await;
            }
            handed_over = cluster.tasks[4].hand_over(cluster.now).await;
            if handed_over.is_some() {
                break;
            }
        }
        handed_over.unwrap_or_else(|| panic!("{fault:?}: {:?}", cluster.tasks[4].report()));
        let after = cluster.membership.complete().unwrap();
        cluster.enter(after);
        cluster.finish(&[4, 5, 6]).await;
        cluster.assert_complete(&[7]);
        for at in 0..4 {
            cluster.in_process.stop(&cluster.nodes[at].party());
        }
        cluster.check().await;
        cluster.use_it(5).await;
    }
}

/// One that says that it has taken over and has not is no certificate, whatever it says besides.
#[tokio::test]
async fn statements_are_counted_once_and_only_those_of_this_change() {
    let mut cluster = Cluster::new(&[0, 1, 2, 3]);
    cluster.fill().await;
    let joint = cluster.membership.successor(registered(&cluster.nodes, &[4, 5, 6, 7]), parties()).unwrap();
    cluster.enter(joint.clone());
    assert_eq!(cluster.tasks[4].hand_over(cluster.now).await, None);
    let statement = |at: usize, epoch: u64| {
        let value = HandOver { network: joint.network(), epoch, time: cluster.now };
        Signed::new(value, &*cluster.nodes[at]).unwrap().into_envelope()
    };
    let verify = |statements: Vec<_>| HandOverCertificate { statements }.verify(&joint);
    let epoch = joint.epoch();
    let of = |which: &[usize]| which.iter().map(|at| statement(*at, epoch)).collect::<Vec<_>>();
    assert_eq!(verify(of(&[4, 5, 6])), Ok(()));
    assert_eq!(verify(of(&[7, 5, 4, 6])), Ok(()));
    assert_eq!(verify(of(&[4, 5])), Err(HandOverError::TooFew { statements: 2, needed: 3 }));
    let party = |at: usize| cluster.nodes[at].party();
    assert_eq!(verify(of(&[4, 5, 5])), Err(HandOverError::DuplicateNode(party(5))));
    assert_eq!(verify(of(&[4, 5, 0])), Err(HandOverError::NotANode(party(0))));
    let mut stale = of(&[4, 5]);
    stale.push(statement(6, epoch - 1));
    assert_eq!(verify(stale), Err(HandOverError::OtherMembership));
    let mut altered = borsh::to_vec(&of(&[4, 5, 6])).unwrap();
    let last = altered.len() - 1;
    altered[last] ^= 1;
    let altered = borsh::from_slice(&altered).unwrap();
    assert!(matches!(verify(altered), Err(HandOverError::Statement(_))));
}
