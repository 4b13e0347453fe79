//! The references pass the suites of their seams, and whatever is broken in one way does not.

use core::future::Future;
use core::task::Poll;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use dt_dht::testing::simulator::{Disk, Durability};
use dt_dht::testing::{Faulty, Setting, Started, Station, store_suite, transport_suite};
use dt_dht::{
    Answer, InProcess, Membership, MemoryStore, Node, RecordStore, RedbStore, Row, StoreError, Transport,
    TransportError,
};
use dt_model::{PartyId, Signer};

#[test]
fn memory_store() {
    store_suite(|closed: Option<MemoryStore>| closed.unwrap_or_default());
}

#[test]
fn redb_store() {
    let folder = tempfile::tempdir().unwrap();
    store_suite(|closed: Option<RedbStore>| {
        drop(closed);
        RedbStore::open(folder.path().join("rows.redb")).unwrap()
    });
}

#[test]
fn simulated_disk() {
    store_suite(|closed: Option<Disk>| match closed {
        None => Disk::new(Durability::OnReturn),
        Some(disk) => {
            disk.cut_power();
            disk.start();
            disk
        }
    });
}

#[tokio::test]
async fn in_process_transport() {
    transport_suite(async |setting| started(&setting, in_process(&setting)), patience(10_000)).await;
}

#[tokio::test]
async fn wrapped_transport() {
    let start = async |setting: Setting| started(&setting, Faulty::new(Arc::new(in_process(&setting))));
    transport_suite(start, patience(10_000)).await;
}

/// In one process nobody needs to be told where a node is.
fn started<T>(setting: &Setting, transport: T) -> Started<T> {
    let node = |node: &Station| Node { party: node.identity.party(), endpoints: Vec::new() };
    Started { transport, nodes: setting.nodes.iter().map(node).collect() }
}

fn in_process(setting: &Setting) -> InProcess {
    let network = InProcess::new([], Arc::new(|| unreachable!("it is given answers, no replicas")));
    for node in &setting.nodes {
        network.add_node(node.identity.party(), node.answer.clone());
    }
    network
}

/// Ends when it has been polled so often. (Nothing here waits for anything else.)
fn patience(mut polls: u32) -> impl Future<Output = ()> {
    core::future::poll_fn(move |context| {
        polls -= 1;
        context.waker().wake_by_ref();
        if polls == 0 { Poll::Ready(()) } else { Poll::Pending }
    })
}

/// What is wrong with a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StoreFault {
    LosesEveryThirdWrite,
    TearsBatches,
    ShowsHalfABatch,
    KeepsTheFirstOfTwoRows,
    KeepsTheFirstWrite,
    DropsEmptyKeys,
    CutsLongValues,
    RemovesByPrefix,
    BringsBackWhatWasRemoved,
    ForgetsWhenClosed,
    ScansUnsorted,
    ScansFromTheGivenKey,
    ScansBeyondThePrefix,
    ScansWithoutLimit,
    ScansOneTooFew,
    StopsAtTheLastByte,
}

/// Each fault, and what the suite says of it.
const STORE_FAULTS: [(StoreFault, &str); 16] = [
    (StoreFault::LosesEveryThirdWrite, "the later stays"),
    (StoreFault::TearsBatches, "whole batches"),
    (StoreFault::ShowsHalfABatch, "whole or not at all"),
    (StoreFault::KeepsTheFirstOfTwoRows, "the later stays"),
    (StoreFault::KeepsTheFirstWrite, "a later write replaces"),
    (StoreFault::DropsEmptyKeys, "may be empty"),
    (StoreFault::CutsLongValues, "as long as shards"),
    (StoreFault::RemovesByPrefix, "touches nothing else"),
    (StoreFault::BringsBackWhatWasRemoved, "after opening again"),
    (StoreFault::ForgetsWhenClosed, "after opening again"),
    (StoreFault::ScansUnsorted, "in order"),
    (StoreFault::ScansFromTheGivenKey, "only keys after the given one"),
    (StoreFault::ScansBeyondThePrefix, "and no others"),
    (StoreFault::ScansWithoutLimit, "no more than the limit"),
    (StoreFault::ScansOneTooFew, "no more than the limit, from the front"),
    (StoreFault::StopsAtTheLastByte, "all keys with the prefix"),
];

/// A store that is right but for one thing.
struct BrokenStore {
    fault: StoreFault,
    rows: Mutex<BTreeMap<Bytes, Bytes>>,
    removed: Mutex<Vec<Row>>,
    writes: AtomicU64,
    scans: AtomicU64,
}

impl BrokenStore {
    fn new(fault: StoreFault) -> Self {
        Self {
            fault,
            rows: Mutex::default(),
            removed: Mutex::default(),
            writes: AtomicU64::new(0),
            scans: AtomicU64::new(0),
        }
    }

    fn reopened(self) -> Self {
        let mut rows = self.rows.lock().unwrap();
        match self.fault {
            StoreFault::ForgetsWhenClosed => rows.clear(),
            StoreFault::BringsBackWhatWasRemoved => rows.extend(self.removed.lock().unwrap().drain(..)),
            _ => {}
        }
        drop(rows);
        self
    }

    fn insert(&self, rows: &mut BTreeMap<Bytes, Bytes>, (key, value): Row) {
        match self.fault {
            StoreFault::DropsEmptyKeys if key.is_empty() => {}
            StoreFault::KeepsTheFirstWrite => drop(rows.entry(key).or_insert(value)),
            StoreFault::CutsLongValues => drop(rows.insert(key, value.slice(..value.len().min(1 << 20)))),
            _ => drop(rows.insert(key, value)),
        }
    }

    /// Waits until somebody has looked, or nobody does.
    fn wait_for_a_scan(&self) {
        let seen = self.scans.load(Ordering::SeqCst);
        let is_unseen = |_: &u32| self.scans.load(Ordering::SeqCst) <= seen + 1;
        (0..100_000).take_while(is_unseen).for_each(|_| std::thread::yield_now());
    }
}

impl RecordStore for BrokenStore {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        Ok(self.rows.lock().unwrap().get(key).cloned())
    }

    fn put(&self, rows: &[Row]) -> Result<(), StoreError> {
        let write = self.writes.fetch_add(1, Ordering::SeqCst);
        let mut batch = rows.to_vec();
        match self.fault {
            StoreFault::LosesEveryThirdWrite if write % 3 == 2 => batch.clear(),
            StoreFault::TearsBatches => batch.truncate(50),
            StoreFault::KeepsTheFirstOfTwoRows => batch.reverse(),
            StoreFault::ShowsHalfABatch if rows.iter().all(|(key, _)| key.starts_with(b"x")) => {
                batch
                    .drain(..rows.len() / 2)
                    .for_each(|row| self.insert(&mut self.rows.lock().unwrap(), row));
                self.wait_for_a_scan();
            }
            _ => {}
        }
        let mut held = self.rows.lock().unwrap();
        batch.into_iter().for_each(|row| self.insert(&mut held, row));
        Ok(())
    }

    fn remove(&self, keys: &[Bytes]) -> Result<(), StoreError> {
        let mut rows = self.rows.lock().unwrap();
        let is_meant = |key: &Bytes| match self.fault {
            StoreFault::RemovesByPrefix => keys.iter().any(|meant| key.starts_with(meant)),
            _ => keys.contains(key),
        };
        let gone: Vec<Row> =
            rows.iter().filter(|(key, _)| is_meant(key)).map(|(k, v)| (k.clone(), v.clone())).collect();
        gone.iter().for_each(|(key, _)| drop(rows.remove(key)));
        self.removed.lock().unwrap().extend(gone);
        Ok(())
    }

    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Row>, StoreError> {
        let rows = self.rows.lock().unwrap();
        self.scans.fetch_add(1, Ordering::SeqCst);
        let start = match after {
            Some(after) if after >= prefix && self.fault == StoreFault::ScansFromTheGivenKey => {
                Bound::Included(after)
            }
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let last = match self.fault {
            StoreFault::StopsAtTheLastByte => [prefix, &[0xff]].concat(),
            _ => vec![0xff; 40],
        };
        let limit = match self.fault {
            StoreFault::ScansWithoutLimit => usize::MAX,
            StoreFault::ScansOneTooFew => limit.saturating_sub(1).max(1).min(limit),
            _ => limit,
        };
        let mut found: Vec<Row> = rows
            .range::<[u8], _>((start, Bound::Unbounded))
            .take_while(|(key, _)| self.fault == StoreFault::ScansBeyondThePrefix || key.starts_with(prefix))
            .take_while(|(key, _)| ***key < *last)
            .take(limit)
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        if self.fault == StoreFault::ScansUnsorted {
            found.reverse();
        }
        Ok(found)
    }
}

/// Runs `check`, which must panic and say `reason`.
fn must_fail(what: &str, reason: &str, check: impl FnOnce()) {
    let Err(panic) = catch_unwind(AssertUnwindSafe(check)) else { panic!("{what} passes the suite") };
    let said = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
    assert!(said.is_some_and(|said| said.contains(reason)), "{what} fails for another reason: {said:?}");
}

#[test]
fn broken_stores_are_caught() {
    for (fault, reason) in STORE_FAULTS {
        must_fail(&format!("{fault:?}"), reason, || {
            store_suite(|closed: Option<BrokenStore>| {
                closed.map_or_else(|| BrokenStore::new(fault), BrokenStore::reopened)
            });
        });
    }
}

/// What is wrong with a transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TransportFault {
    MixesUpReplies,
    RepeatsAnOldReply,
    CutsReplies,
    AsksAnotherNode,
    AnswersForStrangers,
    LosesEveryTenthRequest,
    NeverEndsAtOnce,
    AltersRequests,
    RefusesLongMessages,
    DropsWhatIsNotWaitedFor,
    RefusesTheLongestMessages,
    TakesAnyLength,
    SendsTwice,
    TriesAgain,
    AsksTwoNodes,
    NeverGivesUp,
    InventsReplies,
    IgnoresMemberships,
    KeepsWhoIsGone,
    GoesBackAnEpoch,
    AsksAnybody,
}

/// Each fault, and what the suite says of it.
const TRANSPORT_FAULTS: [(TransportFault, &str); 21] = [
    (TransportFault::MixesUpReplies, "the reply is that of the node"),
    (TransportFault::RepeatsAnOldReply, "the reply is that of the node"),
    (TransportFault::CutsReplies, "the reply is that of the node"),
    (TransportFault::AsksAnotherNode, "what arrives is what was sent"),
    (TransportFault::AnswersForStrangers, "a node that nobody knows"),
    (TransportFault::LosesEveryTenthRequest, "a node refuses garbage with a reply"),
    (TransportFault::NeverEndsAtOnce, "every request ends"),
    (TransportFault::AltersRequests, "what arrives is what was sent"),
    (TransportFault::RefusesLongMessages, "a running node replies"),
    (TransportFault::DropsWhatIsNotWaitedFor, "although nobody waits"),
    (TransportFault::RefusesTheLongestMessages, "a running node replies"),
    (TransportFault::TakesAnyLength, "a reply beyond the limit"),
    (TransportFault::SendsTwice, "a request arrives once"),
    (TransportFault::TriesAgain, "a request arrives once"),
    (TransportFault::AsksTwoNodes, "a request arrives once"),
    (TransportFault::NeverGivesUp, "every request ends"),
    (TransportFault::InventsReplies, "silence is an error"),
    (TransportFault::IgnoresMemberships, "a node that the last membership names is reached"),
    (TransportFault::KeepsWhoIsGone, "does not name is cut off"),
    (TransportFault::GoesBackAnEpoch, "a node that the last membership names is reached"),
    (TransportFault::AsksAnybody, "a node that no membership names is not asked"),
];

/// A transport that is right but for one thing.
struct BrokenTransport {
    fault: TransportFault,
    inner: Arc<dyn Transport>,
    nodes: Vec<PartyId>,
    answers: BTreeMap<PartyId, Answer>,
    requests: AtomicUsize,
    reply: Mutex<Option<Bytes>>,
    /// Whom alone it takes for nodes, if it is wrong about that.
    members: Mutex<Option<BTreeSet<PartyId>>>,
}

#[async_trait]
impl Transport for BrokenTransport {
    async fn request(&self, node: &PartyId, request: Bytes) -> Result<Bytes, TransportError> {
        let at = self.requests.fetch_add(1, Ordering::SeqCst);
        let is_known = self.nodes.contains(node);
        if self.members.lock().unwrap().as_ref().is_some_and(|members| !members.contains(node)) {
            return Err(TransportError::UnknownNode(*node));
        }
        match self.fault {
            TransportFault::MixesUpReplies => {
                // Whoever is under way gets the reply that came last.
                *self.reply.lock().unwrap() = Some(self.inner.request(node, request).await?);
                yield_once().await;
                Ok(self.reply.lock().unwrap().clone().unwrap_or_default())
            }
            TransportFault::RepeatsAnOldReply => {
                let reply = self.inner.request(node, request).await?;
                Ok(self.reply.lock().unwrap().get_or_insert(reply).clone())
            }
            TransportFault::CutsReplies => {
                let reply = self.inner.request(node, request).await?;
                Ok(reply.slice(..reply.len().min(150)))
            }
            TransportFault::AsksAnotherNode if is_known => self.inner.request(&self.nodes[0], request).await,
            TransportFault::AnswersForStrangers if !is_known => Ok(Bytes::new()),
            TransportFault::LosesEveryTenthRequest if at % 10 == 9 => Err(TransportError::TimedOut(*node)),
            TransportFault::NeverEndsAtOnce if at == 20 => core::future::pending().await,
            TransportFault::AltersRequests => {
                let text = String::from_utf8_lossy(&request).into_owned();
                self.inner.request(node, text.into()).await
            }
            TransportFault::RefusesLongMessages if request.len() > 200_000 => {
                Err(TransportError::TooLarge(*node))
            }
            TransportFault::DropsWhatIsNotWaitedFor => {
                yield_once().await;
                self.inner.request(node, request).await
            }
            TransportFault::RefusesTheLongestMessages if request.len() > 4 << 20 => {
                Err(TransportError::TooLarge(*node))
            }
            TransportFault::TakesAnyLength => match self.answers.get(node) {
                None => Err(TransportError::UnknownNode(*node)),
                Some(answer) => answer(&request).ok_or(TransportError::TimedOut(*node)),
            },
            TransportFault::SendsTwice => {
                drop(self.inner.request(node, request.clone()).await);
                self.inner.request(node, request).await
            }
            TransportFault::TriesAgain => match self.inner.request(node, request.clone()).await {
                Err(_) if is_known => self.inner.request(node, request).await,
                result => result,
            },
            TransportFault::AsksTwoNodes if is_known => {
                // Whichever answers first; all nodes are as quick.
                let other = self.nodes.iter().find(|other| *other != node).unwrap();
                drop(self.inner.request(other, request.clone()).await);
                self.inner.request(node, request).await
            }
            TransportFault::NeverGivesUp => match self.inner.request(node, request).await {
                Err(TransportError::TimedOut(_)) => core::future::pending().await,
                result => result,
            },
            TransportFault::InventsReplies => match self.inner.request(node, request).await {
                Err(TransportError::TimedOut(_)) => Ok(Bytes::from_static(b"sorry")),
                result => result,
            },
            _ => self.inner.request(node, request).await,
        }
    }

    fn update_membership(&self, membership: &Membership) {
        let named = membership.nodes().iter().map(|node| node.party);
        let mut members = self.members.lock().unwrap();
        match self.fault {
            TransportFault::AsksAnybody => {}
            TransportFault::IgnoresMemberships => _ = members.get_or_insert_with(|| named.collect()),
            TransportFault::KeepsWhoIsGone => members.get_or_insert_default().extend(named),
            TransportFault::GoesBackAnEpoch => *members = Some(named.collect()),
            _ => self.inner.update_membership(membership),
        }
    }
}

/// Waits for nothing, once.
async fn yield_once() {
    let mut is_polled = false;
    core::future::poll_fn(|context| {
        context.waker().wake_by_ref();
        if core::mem::replace(&mut is_polled, true) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

#[test]
fn broken_transports_are_caught() {
    for (fault, reason) in TRANSPORT_FAULTS {
        must_fail(&format!("{fault:?}"), reason, || {
            let start = async |setting: Setting| {
                let answer = |node: &Station| (node.identity.party(), node.answer.clone());
                let broken = BrokenTransport {
                    fault,
                    inner: Arc::new(in_process(&setting)),
                    nodes: setting.nodes.iter().map(|node| node.identity.party()).collect(),
                    answers: setting.nodes.iter().map(answer).collect(),
                    requests: AtomicUsize::new(0),
                    reply: Mutex::new(None),
                    members: Mutex::new(None),
                };
                started(&setting, broken)
            };
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(transport_suite(start, patience(10_000)));
        });
    }
}
