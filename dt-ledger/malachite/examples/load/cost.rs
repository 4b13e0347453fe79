//! What things cost: CPU time, which does not depend on what else this machine does, as time on the clock would.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dt_ledger::store::{Batch, Table};
use dt_ledger::{LedgerStore, RedbStore, Replica, StoreError, StoreView};
use dt_model::Timestamp;

use crate::cluster::chain;

/// The kernel counts the time of a process in these.
const TICK: Duration = Duration::from_millis(10);

/// CPU time.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Cpu {
    pub(crate) user: Duration,
    pub(crate) system: Duration,
}

impl Cpu {
    /// What this process has used, with all of its threads, also those that have ended.
    pub(crate) fn of_process() -> Self {
        let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
        // The second field is a name in parentheses; user and system time are the 14th and 15th.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        let ticks = |field: &str| TICK * field.parse().unwrap();
        Self { user: ticks(fields[11]), system: ticks(fields[12]) }
    }

    pub(crate) fn since(self, before: Self) -> Self {
        Self { user: self.user - before.user, system: self.system - before.system }
    }

    pub(crate) fn total(self) -> Duration {
        self.user + self.system
    }

    /// The share of each of `count` things.
    pub(crate) fn each(self, count: u64) -> Self {
        let share = |all: Duration| Duration::from_secs_f64(all.as_secs_f64() / count.max(1) as f64);
        Self { user: share(self.user), system: share(self.system) }
    }
}

/// What this thread has used.
fn of_thread() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(stat.split(' ').next().unwrap().parse().unwrap())
}

/// A store that counts what is written to it.
struct Counted {
    store: RedbStore,
    written: Mutex<Written>,
}

/// Rows and bytes, of each table.
type Written = BTreeMap<Table, (u64, u64)>;

impl LedgerStore for Counted {
    fn view(&self) -> Result<Box<dyn StoreView>, StoreError> {
        self.store.view()
    }

    fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        for (table, writes) in batch.tables() {
            let bytes =
                |(key, value): (&Vec<u8>, &Option<Vec<u8>>)| key.len() + value.as_ref().map_or(0, Vec::len);
            let mut written = self.written.lock().unwrap();
            let (all_rows, all_bytes) = written.entry(table).or_default();
            *all_rows += writes.len() as u64;
            *all_bytes += writes.iter().map(bytes).sum::<usize>() as u64;
        }
        self.store.commit(batch)
    }
}

/// What a transaction costs one validator of what it cannot do without, on one thread.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// Its signature, and reading it.
    pub(crate) signature: Duration,
    /// The contracts, the state's root and the rows to be stored.
    pub(crate) apply: Duration,
    /// Keeping the proposal, and then the block, durably; also what is done for that behind the back of whoever commits.
    pub(crate) store: Duration,
    /// What that writes: rows and bytes, in each table.
    pub(crate) written: Vec<(Table, f64, f64)>,
}

/// Does once more what a validator did with its blocks from `first` on: on one thread, with nobody else, into a store of its own.
pub(crate) fn of_ledger(folder: &Path, done: &Replica, first: u64) -> Ledger {
    let store = RedbStore::open(folder).unwrap();
    let store = Arc::new(Counted { store, written: Mutex::default() });
    let genesis = chain().replica().genesis().clone();
    let replica = Replica::open(Arc::clone(&store) as Arc<dyn LedgerStore>, &genesis).unwrap();
    let replica = replica.on_threads(NonZero::<usize>::MIN);
    let (mut cost, mut transactions, mut before) = (Ledger::default(), 0, Written::new());
    let (mut process, mut thread) = (Cpu::default(), Duration::ZERO);
    for height in 1..=done.tip().height {
        if height == first {
            before = store.written.lock().unwrap().clone();
            (process, thread) = (Cpu::of_process(), of_thread());
        }
        let committed = done.block(height).unwrap().unwrap();
        let begun = of_thread();
        for transaction in &committed.block.transactions {
            replica.authenticate(transaction).unwrap();
        }
        let signed = of_thread();
        replica.verify(&committed.block, Timestamp::MAX).unwrap();
        let applied = of_thread();
        replica.hold(&committed.block).unwrap();
        let count = committed.block.transactions.len();
        replica.commit(committed.block, committed.certificate).unwrap();
        if height >= first {
            transactions += u32::try_from(count).unwrap();
            cost.signature += signed - begun;
            cost.apply += applied - signed;
            cost.store += of_thread() - applied;
        }
    }
    let written = store.written.lock().unwrap().clone();
    // What is closed is done; and what another thread did meanwhile, it did for the store.
    let closing = of_thread();
    drop((replica, store));
    cost.store += of_thread() - closing;
    cost.store += (Cpu::of_process().since(process).total() + thread).saturating_sub(of_thread());
    let each = |all: Duration| all / transactions.max(1);
    let share = |all: u64| all as f64 / f64::from(transactions.max(1));
    Ledger {
        signature: each(cost.signature),
        apply: each(cost.apply),
        store: each(cost.store),
        written: written
            .into_iter()
            .map(|(table, (rows, bytes))| {
                let (rows_before, bytes_before) = before.get(&table).copied().unwrap_or_default();
                (table, share(rows - rows_before), share(bytes - bytes_before))
            })
            .collect(),
    }
}

/// How busy the machine is: without it, times on the clock say nothing.
pub(crate) fn load_average() -> String {
    let loads = std::fs::read_to_string("/proc/loadavg").unwrap();
    loads.split(' ').next().unwrap().to_owned()
}
