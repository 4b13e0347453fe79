//! What this crate ships behind its seams, under the suites that implementers run; and what only these do.

use std::sync::{Arc, Barrier, Once};
use std::time::Duration;

use bytes::Bytes;
use dt_ledger::store::Batch;
use dt_ledger::testing::{Fixture, consensus_suite, store_suite};
use dt_ledger::{
    AdmissionError, Call, Consensus, ConsensusError, CreateTwin, ExecuteError, LedgerStore, MemoryStore,
    Policy, RedbStore, Replica, Solo, StoreError, Transaction, TwinCall, audit, execute,
};
use dt_model::{Digest, Envelope, Signer, Timestamp};

use crate::support::*;

fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(Duration::from_secs(60), test).await.expect("in time") })
}

#[test]
fn the_store_in_memory() {
    store_suite(&|| Arc::new(MemoryStore::default()), &|store| store);
}

#[test]
fn the_store_on_disk() {
    let directory = tempfile::tempdir().unwrap();
    let number = std::sync::atomic::AtomicU32::new(0);
    let last = || directory.path().join(number.load(std::sync::atomic::Ordering::SeqCst).to_string());
    let make = || -> Arc<dyn LedgerStore> {
        number.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        Arc::new(RedbStore::open(&last()).unwrap())
    };
    store_suite(&make, &|store| {
        drop(store);
        Arc::new(RedbStore::open(&last()).unwrap())
    });
}

#[test]
fn a_ledger_that_is_only_read_is_not_changed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ledger");
    let genesis = {
        let plant = Plant::over(Fixture::new(Arc::new(RedbStore::open(&path).unwrap()), 2, 1));
        plant.chain.replica().genesis().clone()
    };
    let before = std::fs::read(&path).unwrap();
    let store = RedbStore::open_read_only(&path).unwrap();
    audit(&store, &genesis, &mut |_| {}).unwrap();
    assert!(matches!(store.commit(Batch::default()), Err(StoreError::Engine(_))));
    drop(store);
    assert!(std::fs::read(&path).unwrap() == before);
    assert!(RedbStore::open_read_only(&directory.path().join("none")).is_err());
    std::fs::write(&path, b"no ledger at all").unwrap();
    assert!(RedbStore::open(&path).is_err() && RedbStore::open_read_only(&path).is_err());
}

#[test]
fn the_embedded_consensus() {
    let make = async |replica: Arc<Replica>, signer: Arc<dyn Signer>| {
        let clock = Arc::new(|| Timestamp::from_millis(1));
        Arc::new(Solo::new(replica, signer, clock)) as Arc<dyn Consensus>
    };
    run(consensus_suite(make));
}

#[test]
fn a_request_is_executed_or_refused_by_name() {
    let plant = Plant::new();
    let solo = plant.chain.solo();
    let replica = plant.chain.replica();
    let calls = |call| vec![plant.on(call)];
    run(async {
        execute(&solo, replica, &plant.owner, calls(add_document(None))).await.unwrap();
        let refused = execute(&solo, replica, &plant.auditor, calls(add_document(None))).await;
        let Err(ExecuteError::Refused(reason)) = refused else { panic!("{refused:?}") };
        assert_eq!(reason.rule(), "authorization.not-permitted");
        let stranger = dt_model::testing::identity(99);
        let refused = execute(&solo, replica, &stranger, calls(TwinCall::Decommission)).await;
        assert!(matches!(
            refused,
            Err(ExecuteError::Consensus(ConsensusError::Admission(AdmissionError::UnknownSender(_))))
        ));
    });
}

/// Polls all submissions once, in order, before the first goes on: so they wait together.
async fn together(
    solo: &Solo,
    transactions: Vec<Envelope<Transaction>>,
) -> Vec<Result<Digest, ConsensusError>> {
    let submissions = transactions.into_iter().map(|transaction| solo.submit(transaction));
    let tasks: Vec<_> = submissions.collect();
    futures(tasks).await
}

async fn futures<F: Future + Unpin>(mut tasks: Vec<F>) -> Vec<F::Output> {
    let mut done: Vec<Option<F::Output>> = tasks.iter().map(|_| None).collect();
    std::future::poll_fn(|context| {
        for (task, done) in tasks.iter_mut().zip(&mut done) {
            if done.is_none()
                && let std::task::Poll::Ready(output) = std::pin::Pin::new(task).poll(context)
            {
                *done = Some(output);
            }
        }
        if done.iter().all(Option::is_some) { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    done.into_iter().flatten().collect()
}

/// Submits `waiting` while the block of `first` is being made, so that they wait together; what became of them.
fn while_a_block_is_made(
    plant: &Plant,
    first: Envelope<Transaction>,
    waiting: Vec<Envelope<Transaction>>,
) -> Vec<Result<Digest, ConsensusError>> {
    // A clock that holds the first block back until all others wait.
    let gate = Arc::new(Barrier::new(2));
    let (once, clock) = (Once::new(), Arc::clone(&gate));
    let clock = Arc::new(move || {
        once.call_once(|| {
            clock.wait();
            clock.wait();
        });
        Timestamp::from_millis(0)
    });
    let chain = &plant.chain;
    let solo = Solo::new(Arc::clone(chain.replica()), Arc::new(chain.validator(0)), clock);
    std::thread::scope(|scope| {
        let leader = scope.spawn(|| run(solo.submit(first)));
        gate.wait();
        let count = waiting.len();
        let others = scope.spawn(|| run(together(&solo, waiting)));
        while solo.status().pending < count {
            std::thread::yield_now();
        }
        gate.wait();
        leader.join().unwrap().unwrap();
        others.join().unwrap()
    })
}

#[test]
fn each_of_many_submitters_learns_his_own_fate() {
    let plant = Plant::new();
    let Plant { chain, owner, maintainer, .. } = &plant;
    let call = |at| vec![plant.on(add_document(Some(at)))];
    let first = chain.sign(owner, call("tank"));
    let later = chain.sign_ahead(owner, call("motor"), 1);
    let good = chain.sign(maintainer, call("tank"));
    let early = chain.sign_ahead(maintainer, call("motor"), 5);
    let height = chain.replica().tip().height;
    let answers = while_a_block_is_made(&plant, first, vec![later.clone(), good.clone(), early]);
    assert_eq!(answers[0].as_ref().unwrap(), &later.digest());
    assert_eq!(answers[1].as_ref().unwrap(), &good.digest());
    let refused = &answers[2];
    assert!(matches!(refused, Err(ConsensusError::Admission(AdmissionError::Nonce { .. }))), "{refused:?}");
    assert_eq!(chain.replica().tip().height, height + 2, "those who waited share a block");
    assert_eq!(chain.replica().block(height + 2).unwrap().unwrap().receipts.len(), 2);
}

#[test]
fn what_does_not_fit_into_one_block_waits_for_the_next() {
    let plant = Plant::new();
    let Plant { chain, owner, maintainer, .. } = &plant;
    let create = |number: u64| {
        let create = CreateTwin {
            device_name: name("press"),
            device_id: name(&format!("press {number}")),
            // No specification, but as many bytes as one may have.
            aml: vec![b' '; dt_ledger::MAX_AML_BYTES],
            policy: Policy::none(),
            roles: [].into(),
            agent: None,
        };
        chain.sign_ahead(owner, vec![Call::CreateTwin(create)], number)
    };
    let height = chain.replica().tip().height;
    let first = chain.sign(maintainer, vec![plant.on(add_document(None))]);
    let answers = while_a_block_is_made(&plant, first, (0..5).map(create).collect());
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    let receipts: Vec<usize> = (height + 1..=chain.replica().tip().height)
        .map(|height| chain.replica().block(height).unwrap().unwrap().receipts.len())
        .collect();
    assert_eq!(receipts, [1, 3, 2]);
}

/// A store that can be told to fail.
struct Failing {
    store: MemoryStore,
    fails: std::sync::atomic::AtomicBool,
}

impl LedgerStore for Failing {
    fn view(&self) -> Result<Box<dyn dt_ledger::StoreView>, StoreError> {
        self.store.view()
    }

    fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        if self.fails.load(std::sync::atomic::Ordering::SeqCst) {
            return Err(StoreError::Engine("the disk is full".into()));
        }
        self.store.commit(batch)
    }
}

#[test]
fn a_store_that_does_not_write_changes_nothing() {
    let store = Arc::new(Failing { store: MemoryStore::default(), fails: false.into() });
    let plant = Plant::over(Fixture::new(Arc::clone(&store) as Arc<dyn LedgerStore>, 2, 1));
    let Plant { chain, owner, .. } = &plant;
    let (tip, root) = (chain.replica().tip(), plant.specification_root());
    let block = chain.block(&[chain.sign(owner, vec![plant.on(edit([remove("tank")]))])]);
    let certificate = chain.certify(&block.header);
    store.fails.store(true, std::sync::atomic::Ordering::SeqCst);
    assert!(chain.replica().commit(block.clone(), certificate.clone()).is_err());
    let solo = chain.solo();
    let transaction = chain.sign(owner, vec![plant.on(add_document(None))]);
    assert!(matches!(run(solo.submit(transaction)), Err(ConsensusError::Block(_))));
    assert_eq!((chain.replica().tip(), plant.specification_root()), (tip, root));
    store.fails.store(false, std::sync::atomic::Ordering::SeqCst);
    chain.replica().commit(block, certificate).expect("the same block, once the disk has room again");
    audit(&*store, chain.replica().genesis(), &mut |_| {}).unwrap();
}

#[test]
fn readers_see_one_block_while_another_is_committed() {
    let plant = Plant::new();
    let Plant { chain, owner, twin, .. } = &plant;
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0..40 {
                plant.call(owner, edit([insert(&format!("x{number}"), "tank")])).unwrap();
            }
            done.store(true, std::sync::atomic::Ordering::SeqCst);
        });
        scope.spawn(|| {
            use dt_ledger::State as _;
            while !done.load(std::sync::atomic::Ordering::SeqCst) {
                let state = chain.state();
                let stored = state.specification_state(twin).unwrap().root;
                let parsed = state.specification(twin).unwrap().root_hash();
                assert_eq!(stored.as_bytes(), parsed.as_bytes(), "view and specifications are of one block");
                let (block, _) = chain.replica().assemble(Vec::<Bytes>::new(), chain.now()).unwrap();
                assert!(block.header.height > 0);
            }
        });
    });
}

/// A store that is flushed, and then takes its time to say so.
#[derive(Default)]
struct Lingering {
    store: MemoryStore,
    /// Two meet here after each flush, and again before it is told; unless nobody waits.
    meeting: std::sync::Mutex<Option<Arc<std::sync::Barrier>>>,
}

impl LedgerStore for Lingering {
    fn view(&self) -> Result<Box<dyn dt_ledger::StoreView>, StoreError> {
        self.store.view()
    }

    fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        self.store.commit(batch)?;
        let meeting = self.meeting.lock().unwrap().take();
        if let Some(meeting) = meeting {
            meeting.wait();
            meeting.wait();
        }
        Ok(())
    }
}

#[test]
fn who_reads_between_the_flush_and_the_announcement_sees_one_block() {
    use dt_ledger::State as _;
    let store = Arc::new(Lingering::default());
    let plant = Plant::over(Fixture::new(Arc::clone(&store) as Arc<dyn LedgerStore>, 2, 1));
    let before = plant.chain.replica().tip();
    let meeting = Arc::new(std::sync::Barrier::new(2));
    *store.meeting.lock().unwrap() = Some(Arc::clone(&meeting));
    std::thread::scope(|scope| {
        scope.spawn(|| plant.call(&plant.owner, edit([insert("pump", "tank")])).unwrap());
        meeting.wait();
        assert_eq!(plant.chain.replica().tip(), before, "not announced yet, and nobody waits to learn that");
        let reader = scope.spawn(|| {
            let state = plant.chain.state();
            let stored = state.specification_state(&plant.twin).unwrap().root;
            let parsed = state.specification(&plant.twin).unwrap().root_hash();
            assert_eq!(stored.as_bytes(), parsed.as_bytes(), "view and specifications are of one block");
        });
        // Long enough for a reader that does not wait to be done.
        std::thread::sleep(Duration::from_millis(100));
        meeting.wait();
        reader.join().unwrap();
    });
}
