//! The conformance suite of the network seam.
#![expect(clippy::expect_used, reason = "a suite reports by panicking")]

use core::future::Future;
use core::pin::pin;
use core::sync::atomic::{AtomicU32, Ordering};
use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use dt_model::testing::{SeedRng, identity};
use dt_model::{Digest, Identity, Signed, Signer, Timestamp};
use futures_util::FutureExt;
use futures_util::future::{Either, join, join_all, select};

use super::probe::{Order, Probe, expected_reply};
use crate::{
    Answer, Call, Client, Key, MAX_MESSAGE_BYTES, Membership, MemoryStore, Node, OwnedRecords, Replica,
    RequestBody, Resilience, Transport, TransportError,
};

/// What is to be started before a transport can be tested.
pub struct Setting {
    /// The nodes, also one that no membership names yet.
    pub nodes: Vec<Station>,
    /// The party that sends through the transport.
    pub party: Arc<Identity>,
    /// The nodes that take part at first, without endpoints, and the party.
    pub membership: Membership,
}

/// What was started.
pub struct Started<T> {
    /// The transport of the party. Where a node is, it is told by a membership, if it does not know it otherwise.
    pub transport: T,
    /// All nodes of the setting, and where they are; without endpoints if that needs no telling.
    pub nodes: Vec<Node>,
}

/// A node that is to be started.
pub struct Station {
    /// Whose it is.
    pub identity: Arc<Identity>,
    /// What it answers: [`Answer`] says how it is to be called.
    pub answer: Answer,
}

/// Where the identities of the suite come from; the first is the party's, and the last a stranger's.
const SEEDS: u64 = 1 << 40;
/// The nodes: those that take part at first, and one that comes later.
const NODES: u64 = 5;
const FIRST: usize = 4;
const STRANGER: u64 = SEEDS + 1 + NODES;
/// The nodes' time.
const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);
/// Requests at once to one node.
const AT_ONCE: u32 = 50;
#[expect(clippy::cast_possible_truncation, reason = "some megabytes")]
const LONGEST: u32 = MAX_MESSAGE_BYTES as u32;

/// Checks a [`Transport`] against its contract. `start` starts what it is given, and returns the transport of the party; dropping it may
/// end the nodes. `patience` ends when the suite should long have ended: some twenty times the transport's own limit for a request.
///
/// The nodes count what reaches them, and do what the suite wants: one that never answers has to be given up, an answer beyond
/// [`MAX_MESSAGE_BYTES`] has to be refused, and nothing may arrive twice. In the end one of them is replaced by another, as memberships tell it.
///
/// What it does not see: whom the nodes let in. Of those who are struck off it checks that the party sends them nothing.
///
/// # Panics
/// With a sentence, where the transport breaks the contract.
pub async fn transport_suite<T: Transport + 'static>(
    start: impl AsyncFnOnce(Setting) -> Started<T>,
    patience: impl Future<Output = ()>,
) {
    let nodes: Vec<Arc<Identity>> = (0..NODES).map(|at| Arc::new(identity(SEEDS + 1 + at))).collect();
    let party = Arc::new(identity(SEEDS));
    let membership = Membership::new(
        Digest::from([0x73; 32]),
        1,
        Resilience::tolerating(1).expect("four replicas tolerate one"),
        nodes.iter().take(FIRST).map(|node| Node { party: node.party(), endpoints: Vec::new() }).collect(),
        BTreeSet::from([party.party()]),
    )
    .expect("as many nodes as replicas");
    let probe = |node: &Arc<Identity>| {
        let store = Arc::new(MemoryStore::new());
        let replica = Replica::new(node.clone(), store, membership.clone(), vec![Arc::new(OwnedRecords)]);
        Arc::new(Probe::new(Arc::new(replica), NOW))
    };
    let mut probes: Vec<Arc<Probe>> = nodes.iter().map(probe).collect();
    let stations = nodes.into_iter().zip(&probes).map(|(identity, probe)| {
        let probe = probe.clone();
        Station { identity, answer: Arc::new(move |request| probe.answer(request)) }
    });
    let setting = Setting { nodes: stations.collect(), party: party.clone(), membership: membership.clone() };
    let newcomer = probes.remove(FIRST);
    let checks = pin!(async {
        let Started { transport, nodes } = start(setting).await;
        let number = AtomicU32::new(0);
        Suite { transport: Arc::new(transport), membership, nodes, party, probes, newcomer, number }
            .check_all()
            .await;
    });
    let is_done = matches!(select(checks, pin!(patience)).await, Either::Left(_));
    assert!(is_done, "every request ends");
}

struct Suite {
    transport: Arc<dyn Transport>,
    /// The first one.
    membership: Membership,
    /// Where the nodes are.
    nodes: Vec<Node>,
    party: Arc<Identity>,
    /// The nodes of the first membership.
    probes: Vec<Arc<Probe>>,
    /// A node that a later one names.
    newcomer: Arc<Probe>,
    number: AtomicU32,
}

impl Suite {
    async fn check_all(&self) {
        self.check_stranger().await;
        for probe in &self.probes {
            self.check_garbage(probe).await;
            self.check_reply(probe, 100).await;
        }
        self.check_many().await;
        self.check_dropped(&self.probes[0]).await;
        self.check_lengths(&self.probes[1]).await;
        self.check_silence(&self.probes[2]).await;
        self.check_client().await;
        self.check_memberships().await;
    }

    async fn check_stranger(&self) {
        let stranger = identity(STRANGER).party();
        let unknown = self.transport.request(&stranger, Bytes::from_static(b"anybody there?")).await;
        let said_so = matches!(
            unknown,
            Err(TransportError::UnknownNode(node) | TransportError::Unreachable(node)) if node == stranger
        );
        assert!(said_so, "a node that nobody knows is an error");
    }

    async fn check_garbage(&self, probe: &Probe) {
        for garbage in [&b""[..], b"garbage", &[0xff; 3000]] {
            let reply = self.transport.request(&probe.party(), Bytes::from_static(garbage)).await;
            assert!(!reply.expect("a node refuses garbage with a reply").is_empty(), "replies arrive whole");
            assert_ne!(probe.seen(garbage), 0, "what arrives is what was sent");
        }
    }

    /// A request reaches the node that it is for, once, and the reply is that node's, as it was sent.
    async fn check_reply(&self, probe: &Probe, bytes: u32) {
        let request = self.order(probe, Order::Reply(bytes));
        let reply = self.transport.request(&probe.party(), request.clone()).await;
        self.check_arrived(probe, &request, bytes, reply);
    }

    fn check_arrived(&self, probe: &Probe, request: &[u8], bytes: u32, reply: Result<Bytes, TransportError>) {
        let reply = reply.expect("a running node replies");
        let is_own = reply == expected_reply(&probe.party(), request, bytes);
        assert!(is_own, "the reply is that of the node that was asked, to this request, as it was sent");
        assert_eq!(self.count(request), 1, "a request arrives once, and at its node alone");
    }

    /// Many requests at once to each node: each gets its own reply.
    async fn check_many(&self) {
        let wanted = (0..AT_ONCE).flat_map(|at| self.probes.iter().map(move |probe| (probe, at * 1000)));
        join_all(wanted.map(|(probe, bytes)| self.check_reply(probe, bytes))).await;
    }

    /// A request that was polled once is delivered, once, although nobody waits for the reply any more.
    async fn check_dropped(&self, probe: &Probe) {
        let dropped = self.order(probe, Order::Reply(10));
        drop(self.transport.request(&probe.party(), dropped.clone()).now_or_never());
        for _ in 0..1000 {
            if probe.seen(&dropped) > 0 {
                break;
            }
            self.check_reply(probe, 10).await;
        }
        assert_ne!(
            probe.seen(&dropped),
            0,
            "a request that was begun is delivered although nobody waits for the reply"
        );
        assert_eq!(self.count(&dropped), 1, "a request arrives once, and at its node alone");
    }

    /// Messages up to the limit arrive, and longer replies are refused without harm to others.
    async fn check_lengths(&self, probe: &Probe) {
        for bytes in [0, 1, 65_535, 65_536, 1 << 20, LONGEST] {
            self.check_reply(probe, bytes).await;
        }
        let longest = Bytes::from(vec![0xff; MAX_MESSAGE_BYTES]);
        let reply = self.transport.request(&probe.party(), longest.clone()).await;
        assert!(!reply.expect("a running node replies").is_empty(), "replies arrive whole");
        assert_eq!(self.count(&longest), 1, "a request arrives once, and at its node alone");

        let too_long = self.order(probe, Order::Reply(LONGEST + 1));
        let node = probe.party();
        let reply = self.transport.request(&node, too_long.clone());
        let (reply, ()) = join(reply, self.check_reply(probe, 10)).await;
        assert!(reply.is_err(), "a reply beyond the limit is refused");
        assert!(self.count(&too_long) <= 1, "a request arrives once, and at its node alone");
        self.check_reply(probe, 10).await;
    }

    /// A node that never answers is given up, and asked once; it may answer other requests meanwhile.
    async fn check_silence(&self, probe: &Probe) {
        let silent: Vec<Bytes> = (0..5).map(|_| self.order(probe, Order::Silence)).collect();
        let node = probe.party();
        let replies = silent.iter().map(|request| self.transport.request(&node, request.clone()));
        let (replies, ()) = join(join_all(replies), self.check_reply(probe, 10)).await;
        for (request, reply) in silent.iter().zip(replies) {
            assert!(reply.is_err(), "silence is an error");
            assert!(self.count(request) <= 1, "a request arrives once, and at its node alone");
        }
        self.check_reply(probe, 10).await;
    }

    /// What all of this is for.
    async fn check_client(&self) {
        let signer = self.party.clone();
        let client = Client::new(signer, self.transport.clone(), self.membership.clone(), SeedRng::new(11));
        let name = "suite".parse().expect("a valid name");
        let record = OwnedRecords::record(self.party.party(), name, 1, vec![7; 64 * 1024]);
        let record = Signed::new(record, &*self.party).expect("a working signer signs");
        let certificate = client.put(&record, NOW).await.expect("a quorum of running nodes");
        assert_eq!(certificate.verify_for(&self.membership, &record), Ok(()));
        let found = client.get(record.key, OwnedRecords::check(), NOW).await;
        let found = found.expect("a quorum of running nodes");
        assert_eq!(found.as_ref(), Some(&record), "a record arrives as it was sent");
        let content: Vec<u8> = (0u8..=250).cycle().take(3 << 20).collect();
        let blob = client.put_blob(&content, NOW).await.expect("a quorum of running nodes");
        let restored = client.get_blob(&blob, NOW).await.expect("a quorum of running nodes");
        assert!(restored == content, "messages of megabytes arrive as they were sent");
    }

    /// Who is new is reached, who is gone is not, and an older membership than the last one changes neither.
    async fn check_memberships(&self) {
        let located = |probes: &[&Arc<Probe>]| -> Vec<Node> {
            let is_one = |node: &&Node| probes.iter().any(|probe| probe.party() == node.party);
            self.nodes.iter().filter(is_one).cloned().collect()
        };
        let (old, new) = (&self.probes, &self.newcomer);
        let (network, epoch, resilience) =
            (self.membership.network(), self.membership.epoch(), self.membership.resilience());
        let parties = self.membership.parties().clone();
        let first = located(&old.iter().collect::<Vec<_>>());
        let first = Membership::new(network, epoch, resilience, first, parties.clone());
        let first = first.expect("the same nodes, and where they are");
        let next = located(&[&old[1], &old[2], &old[3], new]);
        let joint = first.successor(next, parties).expect("as many nodes as replicas");
        let last = joint.complete().expect("it is changing");

        self.transport.update_membership(&first);
        self.check_cut_off(new, "a node that no membership names is not asked").await;
        self.transport.update_membership(&joint);
        self.transport.update_membership(&first);
        for probe in old.iter().chain([new]) {
            self.check_named(probe).await;
        }
        self.transport.update_membership(&last);
        self.transport.update_membership(&last);
        self.transport.update_membership(&joint);
        self.check_cut_off(&old[0], "a node that the last membership does not name is cut off").await;
        for probe in old.iter().skip(1).chain([new]) {
            self.check_named(probe).await;
        }
    }

    async fn check_named(&self, probe: &Probe) {
        let request = self.order(probe, Order::Reply(100));
        let reply = self.transport.request(&probe.party(), request.clone()).await;
        assert!(reply.is_ok(), "a node that the last membership names is reached");
        self.check_arrived(probe, &request, 100, reply);
    }

    async fn check_cut_off(&self, probe: &Probe, rule: &str) {
        let request = self.order(probe, Order::Reply(100));
        let reply = self.transport.request(&probe.party(), request.clone()).await;
        assert!(reply.is_err() && self.count(&request) == 0, "{rule}");
    }

    /// A request, unlike any other, that tells `probe` what to do.
    fn order(&self, probe: &Probe, order: Order) -> Bytes {
        let nonce = order.nonce(self.number.fetch_add(1, Ordering::Relaxed));
        let body = RequestBody::Get { key: Key::new([0; 32].into(), OwnedRecords::KIND, 0) };
        let call = Call::new(&*self.party, &self.membership, probe.party(), nonce, NOW, body);
        call.expect("a working signer signs").bytes().clone()
    }

    /// How often a request has come to any node.
    fn count(&self, request: &[u8]) -> u32 {
        self.probes.iter().chain([&self.newcomer]).map(|probe| probe.seen(request)).sum()
    }
}
