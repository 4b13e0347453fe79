//! Blocks of the ledger: applied in memory beside their signatures alone, made durable beside the store and the disk alone.
#![expect(clippy::expect_used, reason = "a benchmark reports by panicking")]

use std::fs::File;
use std::io::Write as _;
use std::sync::{Arc, Mutex};

use benches::{Ed25519, Numbers, runtime};
use bytes::Bytes;
use criterion::{BatchSize, Criterion, Throughput};
use dt_ledger::store::{Batch, StoreView};
use dt_ledger::testing::Fixture;
use dt_ledger::{
    Call, Consensus as _, Document, LedgerStore, MemoryStore, RedbStore, StoreError, Transaction, TwinCall,
    Version,
};
use dt_model::{ContentHash, Digest, Envelope, Identity, Name, TwinId, codec};
use redb::{Database, TableDefinition};

/// Transactions of a full block; in practice what arrives during one flush to disk.
const BLOCK: u64 = 100;
const ROWS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("rows");

fn main() {
    let mut criterion = benches::criterion();
    in_memory(&mut criterion);
    for transactions in [1, BLOCK] {
        durable(&mut criterion, transactions);
    }
    criterion.final_summary();
}

/// A chain with one twin, and its owner.
struct Chain {
    fixture: Fixture,
    owner: Identity,
    twin: TwinId,
}

impl Chain {
    fn new(store: Arc<dyn LedgerStore>) -> Self {
        let fixture = Fixture::new(store, 2, 1);
        let owner = fixture.enrol(1);
        let twin = fixture.twin(&owner, None, &[]);
        Self { fixture, owner, twin }
    }

    /// The owner's next transactions, each of which registers a document.
    fn transactions(&self, count: u64, numbers: &Numbers) -> Vec<Envelope<Transaction>> {
        let document = |ahead| {
            let call = TwinCall::AddDocument(document(numbers.next()));
            self.fixture.sign_ahead(&self.owner, vec![Call::Twin { twin: self.twin, call }], ahead)
        };
        (0..count).map(document).collect()
    }
}

/// One document among many.
fn document(number: u64) -> Document {
    let content = ContentHash::of(&number.to_le_bytes());
    Document {
        title: Name::new(format!("calibration sheet {number}")).expect("a name"),
        media_type: Name::new("application/pdf").expect("a name"),
        component: None,
        version: Version {
            size: 120_000,
            content,
            item: Digest::from(*content.as_bytes()),
            provenance: None,
        },
    }
}

fn in_memory(criterion: &mut Criterion) {
    let in_memory = || Chain::new(Arc::new(MemoryStore::default()));
    // The fixture's keys follow from numbers: what is signed for one chain is good on every other.
    let transactions = in_memory().transactions(BLOCK, &Numbers::default());
    let bytes: Vec<Bytes> =
        transactions.iter().map(|transaction| codec::encode(transaction).into()).collect();
    let bare = Ed25519::over(transactions.first().expect("a transaction").body());
    let mut group = criterion.benchmark_group("ledger/block of 100 in memory");
    group.throughput(Throughput::Elements(BLOCK));
    group.bench_function("peer: ed25519 verify_strict, 100 times", |b| {
        b.iter(|| bare.verify(transactions.len()))
    });
    group.bench_function("ours: Replica::commit (a follower)", |b| {
        b.iter_batched(
            || {
                let chain = in_memory();
                let block = chain.fixture.block(&transactions);
                let certificate = chain.fixture.certify(&block.header);
                (chain, block, certificate)
            },
            |(chain, block, certificate)| {
                let committed = chain.fixture.replica().commit(block, certificate).expect("the next block");
                (chain, committed)
            },
            BatchSize::PerIteration,
        );
    });
    group.bench_function("ours: Replica::assemble and commit (the proposer)", |b| {
        b.iter_batched(
            || (in_memory(), bytes.clone()),
            |(chain, bytes)| {
                let replica = chain.fixture.replica();
                let (block, left) = replica.assemble(bytes, chain.fixture.now()).expect("the store answers");
                assert!(left.is_empty(), "all are admissible");
                let certificate = chain.fixture.certify(&block.header);
                let committed = replica.commit(block, certificate).expect("the next block");
                (chain, committed)
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

fn durable(criterion: &mut Criterion, count: u64) {
    let folder = tempfile::tempdir().expect("a folder");
    let rows = rows_of_a_block(count);
    let length: usize = rows.iter().map(|(key, value)| key.len() + value.len()).sum();
    let (runtime, numbers) = (runtime(), Numbers::default());

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

    let database = Database::create(folder.path().join("raw.redb")).expect("a database");
    group.bench_function("peer: redb commit of the same rows", |b| {
        b.iter(|| {
            let write = database.begin_write().expect("begins");
            {
                let mut table = write.open_table(ROWS).expect("a table");
                // As in the ledger's store, most of what a block writes is new.
                let number = numbers.next().to_be_bytes();
                for (key, value) in &rows {
                    let key = [key.as_slice(), &number].concat();
                    table.insert(key.as_slice(), value.as_slice()).expect("inserts");
                }
            }
            write.commit().expect("commits");
        });
    });

    let chain = Chain::new(Arc::new(RedbStore::open(&folder.path().join("chain.redb")).expect("a store")));
    if count == 1 {
        let solo = chain.fixture.solo();
        group.bench_function("ours: Solo::submit", |b| {
            b.iter_batched(
                || chain.transactions(1, &numbers).pop().expect("one"),
                |transaction| runtime.block_on(solo.submit(transaction)).expect("committed"),
                BatchSize::PerIteration,
            );
        });
    } else {
        group.bench_function("ours: Replica::assemble and commit", |b| {
            b.iter_batched(
                || chain.transactions(count, &numbers),
                |transactions| chain.fixture.commit(&transactions),
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

/// The rows that a block of `count` transactions writes, each under its table's name and its key.
fn rows_of_a_block(count: u64) -> Vec<(Vec<u8>, Vec<u8>)> {
    let recorder = Arc::new(Recorder::default());
    let chain = Chain::new(recorder.clone());
    chain.fixture.commit(&chain.transactions(count, &Numbers::default()));
    let last = recorder.last.lock().expect("not poisoned").clone();
    last.tables()
        .flat_map(|(table, writes)| writes.iter().map(move |(key, value)| (table, key, value)))
        .filter_map(|(table, key, value)| {
            Some(([table.name().as_bytes(), key.as_slice()].concat(), value.clone()?))
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
