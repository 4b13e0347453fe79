//! Blocks in memory, of documents and of anchored heads of feeds, by a follower and by the proposer.

use std::num::NonZero;
use std::sync::Arc;

use benches::{Chain, Ed25519, MEMBERS, encoded};
use criterion::{BatchSize, Criterion, Throughput};
use dt_ledger::{MemoryStore, Replica};

/// Transactions of a full block.
const BLOCK: u64 = 1_000;

pub(crate) fn bench(criterion: &mut Criterion) {
    // All chains of one shape are the same: what is made on one is good on every other.
    let chain = Chain::default();
    let transactions = chain.mixed(BLOCK);
    let (block, certificate) = chain.block(&transactions);
    let bytes = encoded(&transactions);
    let bare = Ed25519::over(transactions.first().expect("a transaction").body());
    let mut group = criterion.benchmark_group("ledger/block of 1,000 in memory");
    group.throughput(Throughput::Elements(BLOCK));
    group.bench_function("peer: ed25519 verify_strict, 1,000 times", |b| {
        b.iter(|| bare.verify(transactions.len()))
    });
    let mut follower = |name: &str, threads: NonZero<usize>, admitted: bool| {
        group.bench_function(format!("ours: Replica::commit (a follower{name})"), |b| {
            let replica = || {
                let replica = replica(threads);
                for transaction in bytes.iter().filter(|_| admitted) {
                    replica.authenticate(transaction).expect("it is authentic");
                }
                (replica, block.clone(), certificate.clone())
            };
            let commit = |(replica, block, certificate): (Replica, _, _)| {
                let committed = replica.commit(block, certificate).expect("the next block");
                (replica, committed)
            };
            b.iter_batched(replica, commit, BatchSize::PerIteration);
        });
    };
    follower(", on one thread", NonZero::<usize>::MIN, false);
    follower(", on two threads", NonZero::<usize>::MIN.saturating_add(1), false);
    follower(", signatures verified at admission", NonZero::<usize>::MIN, true);
    group.bench_function("ours: Replica::assemble and commit (the proposer, on one thread)", |b| {
        b.iter_batched(
            || (replica(NonZero::<usize>::MIN), bytes.clone()),
            |(replica, bytes)| {
                let (block, left) = replica.assemble(bytes, chain.fixture.now()).expect("the store answers");
                assert!(left.is_empty(), "all are admissible");
                let certificate = chain.fixture.certify(&block.header);
                let committed = replica.commit(block, certificate).expect("the next block");
                (replica, committed)
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

/// A fresh replica that stands where the next block is the first of many.
fn replica(threads: NonZero<usize>) -> Replica {
    let store = MemoryStore::default();
    drop(Chain::new(Arc::new(store.clone()), MEMBERS));
    Replica::load(Arc::new(store)).expect("a chain").on_threads(threads)
}
