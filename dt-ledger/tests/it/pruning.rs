//! Pruning takes bodies of blocks and nothing else, whatever happens meanwhile.

use std::sync::Arc;

use dt_ledger::store::{Table, scan_prefix};
use dt_ledger::testing::Fixture;
use dt_ledger::{
    AuditError, Consensus as _, ConsensusError, LedgerStore, MemoryStore, RedbStore, Replica, Resource, audit,
};

use crate::determinism::blocks;
use crate::images::{Failing, copy, export};
use crate::support::*;

/// More blocks than go in one step.
const MANY: u64 = 600;

/// A chain of [`MANY`] blocks, some of which have transactions.
fn long(store: MemoryStore) -> Plant {
    let plant = Plant::over(Fixture::new(Arc::new(store), 1, 1));
    while plant.chain.replica().tip().height < MANY {
        match plant.chain.replica().tip().height % 50 {
            0 => drop(plant.document(&plant.owner, Some("tank"))),
            1 => drop(plant.call(&plant.auditor, add_document(None)).unwrap_err()),
            _ => drop(plant.chain.commit(&[])),
        }
    }
    plant
}

/// Replays the chain of `replica` up to `height`.
fn replayed(replica: &Replica, height: u64) -> Replica {
    let other = Replica::open(Arc::new(MemoryStore::default()), replica.genesis()).unwrap();
    for height in 1..=height {
        let block = replica.block(height).unwrap().unwrap();
        other.commit(block.block, block.certificate).unwrap();
    }
    other
}

#[test]
fn bodies_go_and_everything_else_stays() {
    let store = MemoryStore::default();
    let plant = short_story(Arc::new(store.clone()));
    let replica = plant.chain.replica();
    let (blocks, tip) = (blocks(replica), replica.tip());
    let before = replayed(replica, 9);
    let image = export(replica);
    let tank = Resource::Element(plant.twin, component("tank"));
    let trace = replica.trace(&tank).unwrap();
    assert_eq!(
        (replica.first_block().unwrap(), replica.prune(0).unwrap(), replica.prune(1).unwrap()),
        (1, 1, 1)
    );
    assert_eq!(replica.prune(10).unwrap(), 10);
    assert_eq!(replica.prune(4).unwrap(), 10, "what is gone does not come back");
    let again = Replica::load(Arc::new(store.clone())).unwrap();
    for replica in [&**replica, &again] {
        assert_eq!((replica.tip(), replica.first_block().unwrap()), (tip.clone(), 10));
        for (height, block) in (1..).zip(&blocks) {
            assert_eq!(replica.block(height).unwrap().as_ref(), (height >= 10).then_some(block));
            let header = Some((block.block.header.clone(), block.certificate.clone()));
            assert_eq!(replica.header(height).unwrap(), header, "headers and votes stay");
            assert!(replica.validators(height).unwrap().is_some());
            for receipt in &block.receipts {
                let found = replica.transaction(&receipt.transaction).unwrap();
                assert_eq!(found.is_some(), height >= 10);
            }
        }
        assert_eq!(replica.trace(&tank).unwrap(), trace);
        assert!(export(replica) == image, "and the whole state");
    }
    let left: usize = blocks[9..].iter().map(|block| block.receipts.len()).sum();
    for list in [b"t", b"e", b"p"] {
        let rows = scan_prefix(&*store.view().unwrap(), Table::Index, list, usize::MAX).unwrap();
        assert_eq!(rows.len(), left, "no row leads to what is gone");
    }

    assert_eq!(replica.prune(u64::MAX).unwrap(), tip.height, "the last block stays");
    assert_eq!(replica.block(tip.height).unwrap().as_ref(), blocks.last());
    plant.call(&plant.maintainer, add_document(None)).unwrap();
    let follower = copy(&before);
    for block in &blocks[9..] {
        follower.commit(block.block.clone(), block.certificate.clone()).unwrap();
    }
    let last = replica.block(tip.height + 1).unwrap().unwrap();
    follower.commit(last.block, last.certificate).unwrap();
    assert_eq!(follower.tip(), replica.tip(), "it goes on as though nothing had happened");
}

#[test]
fn a_pruned_replica_is_audited_from_an_image() {
    let store = MemoryStore::default();
    let plant = long(store.clone());
    let replica = plant.chain.replica();
    let genesis = replica.genesis().clone();
    let (early, at, late) = (replayed(replica, 99), replayed(replica, 399), replayed(replica, 500));
    let report = audit(&store, &genesis, &mut |_| {}).unwrap();
    assert_eq!(replica.prune(400).unwrap(), 400);
    let found = audit(&store, &genesis, &mut |_| {});
    assert!(matches!(found, Err(AuditError::Pruned { first: 400 })), "{found:?}");
    let found = copy(&early).audit(&store, u64::MAX, &mut |_| {});
    assert!(matches!(found, Err(AuditError::Pruned { first: 400 })), "{found:?}");
    for (auditor, blocks) in [(&at, 201), (&late, 100)] {
        let mut heights = Vec::new();
        let found = copy(auditor).audit(&store, u64::MAX, &mut |height| heights.push(height)).unwrap();
        assert_eq!((found.tip, heights.len()), (report.tip.clone(), blocks));
        assert!(found.rows > 0 && found.rows < report.rows);
    }
    let found = replica.audit(&store, u64::MAX, &mut |_| {}).unwrap();
    assert_eq!(
        (found.applied, found.rejected),
        (0, 0),
        "at the end there is nothing to replay, but rows to compare"
    );
}

#[test]
fn pruning_that_breaks_off_leaves_a_whole_store() {
    let whole = MemoryStore::default();
    let plant = long(whole.clone());
    let at = replayed(plant.chain.replica(), MANY - 10);
    let mut reached = Vec::new();
    for commits in 0.. {
        let store = MemoryStore::default();
        copy_rows(&whole, &store);
        let failing = Failing { store: store.clone(), left: commits.into() };
        let outcome = Replica::load(Arc::new(failing)).unwrap().prune(MANY - 10);
        let replica = Replica::load(Arc::new(store.clone())).unwrap();
        let first = replica.first_block().unwrap();
        reached.push(first);
        assert!(first == 1 || replica.block(first - 1).unwrap().is_none());
        for height in [first, MANY] {
            assert!(replica.block(height).unwrap().is_some());
        }
        copy(&at).audit(&store, u64::MAX, &mut |_| {}).expect("nothing is half removed");
        assert_eq!(replica.prune(MANY - 10).unwrap(), MANY - 10, "it goes on where it broke off");
        if outcome.is_ok() {
            break;
        }
    }
    assert_eq!(reached, [1, 257, 513, MANY - 10]);
}

fn copy_rows(from: &MemoryStore, to: &dyn LedgerStore) {
    let view = from.view().unwrap();
    let mut batch = dt_ledger::store::Batch::default();
    for table in Table::ALL {
        for (key, value) in scan_prefix(&*view, table, &[], usize::MAX).unwrap() {
            batch.put(table, key, value);
        }
    }
    to.commit(batch).unwrap();
}

#[test]
fn blocks_are_committed_meanwhile() {
    let store = MemoryStore::default();
    let plant = long(store.clone());
    let at = replayed(plant.chain.replica(), MANY - 1);
    std::thread::scope(|scope| {
        scope.spawn(|| plant.chain.replica().prune(MANY).unwrap());
        scope.spawn(|| plant.chain.replica().prune(MANY / 2).unwrap());
        for _ in 0..20 {
            let _ = plant.document(&plant.owner, None);
        }
    });
    assert_eq!(plant.chain.replica().first_block().unwrap(), MANY);
    let report = copy(&at).audit(&store, u64::MAX, &mut |_| {}).unwrap();
    assert_eq!(report.tip, plant.chain.replica().tip());
}

#[tokio::test]
async fn who_follows_from_too_early_is_told() {
    let plant = Plant::over(Fixture::new(Arc::new(MemoryStore::default()), 1, 1));
    let consensus = plant.chain.solo();
    let tip = plant.chain.replica().tip().height;
    plant.chain.replica().prune(tip).unwrap();
    let found = consensus.committed(1).await;
    assert!(matches!(found, Err(ConsensusError::Pruned { first }) if first == tip));
    consensus.committed(tip).await.unwrap();
}

#[test]
fn a_pruned_ledger_on_disk_becomes_smaller() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ledger");
    let memory = MemoryStore::default();
    let plant = long(memory.clone());
    let blocks = blocks(plant.chain.replica());
    let store = Arc::new(RedbStore::open(&path).unwrap());
    copy_rows(&memory, &*store);
    // Closed and opened again, it is in its file alone.
    drop(store);
    let store = Arc::new(RedbStore::open(&path).unwrap());
    Replica::load(Arc::clone(&store) as Arc<dyn LedgerStore>).unwrap().prune(MANY).unwrap();
    let mut store = Arc::into_inner(store).expect("nobody else has it");
    let before = std::fs::metadata(&path).unwrap().len();
    store.compact().unwrap();
    let after = std::fs::metadata(&path).unwrap().len();
    assert!(after < before, "{after} of {before} bytes");
    let replica = Replica::load(Arc::new(store)).unwrap();
    assert_eq!(replica.block(MANY).unwrap().as_ref(), blocks.last());
}
