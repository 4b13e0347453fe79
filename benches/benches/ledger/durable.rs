//! Durable blocks, beside a raw commit of the same rows with the same engine, and beside the disk alone.

use std::fs::File;
use std::io::Write as _;
use std::sync::{Arc, Mutex};

use benches::{Chain, Numbers, runtime};
use criterion::measurement::WallTime;
use criterion::{BatchSize, BenchmarkGroup, Criterion, Throughput};
use dt_ledger::store::{Batch, StoreView};
use dt_ledger::{Consensus as _, LedgerStore, MemoryStore, RedbStore, Solo, StoreError, Transaction};
use dt_model::Envelope;
use redb::{Database, TableDefinition};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;

/// Transactions of a block; in practice what arrives during one flush to disk.
pub(crate) const BLOCK: u64 = 100;
/// Threads on which many submit at once: more than there are cores, since one of them waits for the disk.
const SUBMITTING_THREADS: usize = 4;
const ROWS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("rows");

pub(crate) fn bench(criterion: &mut Criterion, count: u64) {
    let folder = tempfile::tempdir().expect("a folder");
    let rows = rows_of_a_block(count);
    let length: usize = rows.iter().map(|(key, value)| key.len() + value.len()).sum();

    let mut group = criterion.benchmark_group(format!("ledger/durable block of {count}"));
    group.throughput(Throughput::Elements(count));

    let mut file = File::create(folder.path().join("appended")).expect("a file");
    let flat = vec![0x5a; length];
    group.bench_function("peer: append the bytes to a file and sync", |b| {
        b.iter(|| {
            file.write_all(&flat).expect("writes");
            file.sync_data().expect("syncs");
        });
    });
    raw_commits(&mut group, &Database::create(folder.path().join("raw.redb")).expect("a database"), &rows);

    let store = RedbStore::open(&folder.path().join("chain.redb")).expect("a store");
    let chain = Chain::new(Arc::new(store), BLOCK);
    if count > 1 {
        group.bench_function("ours: Replica::assemble and commit", |b| {
            b.iter_batched(
                || chain.documents(count),
                |transactions| chain.fixture.commit(&transactions),
                BatchSize::PerIteration,
            );
        });
    }
    let (blocks, rounds) = submissions(&mut group, &chain, count);
    group.finish();
    if rounds > 0 {
        println!(
            "ledger/durable block of {count}: {} rows of {length} bytes; {blocks} blocks for {rounds} times {count} submitted",
            rows.len()
        );
    }
}

/// The rows of a block, in one table of the engine.
fn raw_commits(group: &mut BenchmarkGroup<'_, WallTime>, database: &Database, rows: &[(Vec<u8>, Vec<u8>)]) {
    let numbers = Numbers::default();
    group.bench_function("peer: redb commit of the same rows", |b| {
        b.iter(|| {
            let write = database.begin_write().expect("begins");
            {
                let mut table = write.open_table(ROWS).expect("a table");
                // As in the ledger's store, most of what a block writes is new.
                let number = numbers.next().to_be_bytes();
                for (key, value) in rows {
                    let key = [key.as_slice(), &number].concat();
                    table.insert(key.as_slice(), value.as_slice()).expect("inserts");
                }
            }
            write.commit().expect("commits");
        });
    });
}

/// One transaction of each of `count` members, all submitted at once; how many blocks that made, and how often it was done.
fn submissions(group: &mut BenchmarkGroup<'_, WallTime>, chain: &Chain, count: u64) -> (u64, u64) {
    let solo = Arc::new(chain.fixture.solo());
    let (name, runtime) = match count {
        1 => ("ours: Solo::submit".into(), runtime()),
        _ => (format!("ours: Solo::submit, {count} at once"), threads()),
    };
    let (before, mut rounds) = (chain.replica().tip().height, 0);
    group.bench_function(name, |b| {
        b.iter_batched(
            || {
                rounds += 1;
                chain.documents(count)
            },
            |transactions| runtime.block_on(submit(&solo, transactions)),
            BatchSize::PerIteration,
        );
    });
    (chain.replica().tip().height - before, rounds)
}

async fn submit(solo: &Arc<Solo>, transactions: Vec<Envelope<Transaction>>) {
    let mut submitted = JoinSet::new();
    for transaction in transactions {
        let solo = Arc::clone(solo);
        submitted.spawn(async move { solo.submit(transaction).await });
    }
    for committed in submitted.join_all().await {
        committed.expect("committed");
    }
}

fn threads() -> Runtime {
    Builder::new_multi_thread().worker_threads(SUBMITTING_THREADS).build().expect("a runtime")
}

/// The rows that a block of `count` transactions writes, each under its table's name and its key. It removes none.
fn rows_of_a_block(count: u64) -> Vec<(Vec<u8>, Vec<u8>)> {
    let recorder = Arc::new(Recorder::default());
    let chain = Chain::new(recorder.clone(), BLOCK);
    chain.fixture.commit(&chain.documents(count));
    let last = recorder.last.lock().expect("not poisoned").clone();
    last.tables()
        .flat_map(|(table, writes)| writes.iter().map(move |(key, value)| (table, key, value)))
        .map(|(table, key, value)| {
            let value = value.clone().expect("a block of documents removes nothing");
            ([table.name().as_bytes(), key.as_slice()].concat(), value)
        })
        .collect()
}

/// A store that remembers the last batch.
#[derive(Default)]
struct Recorder {
    store: MemoryStore,
    last: Mutex<Batch>,
}

impl LedgerStore for Recorder {
    fn view(&self) -> Result<Box<dyn StoreView>, StoreError> {
        self.store.view()
    }

    fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        *self.last.lock().expect("not poisoned") = batch.clone();
        self.store.commit(batch)
    }
}
