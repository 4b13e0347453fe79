//! Stores that break the contract of [`LedgerStore`], each in one way: the suite must notice.

use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, PoisonError};

use dt_ledger::store::{Batch, Row, Table, Visit, scan_prefix};
use dt_ledger::testing::store_suite;
use dt_ledger::{LedgerStore, MemoryStore, StoreError, StoreView};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    /// A batch is written table by table, each in a commit of its own.
    TearsBatches,
    /// A large batch loses its last row.
    LosesOneOfMany,
    /// A view is no snapshot.
    ViewMoves,
    /// A view is a snapshot that a second later commit breaks.
    ViewMovesInTheEnd,
    /// Rows come in the order of their keys' lengths.
    ShorterKeysFirst,
    /// Rows come backwards.
    Backwards,
    /// A scan leaves out its first key.
    AfterFrom,
    /// A removal is forgotten by reopening.
    NothingIsRemoved,
    /// What is stored is gone with reopening.
    Forgets,
    /// An empty value passes for none.
    EmptyIsAbsent,
    /// A scan backwards leaves out its first key.
    BeforeTo,
    /// A scan backwards goes forwards.
    ForwardsFromTo,
}

#[derive(Clone)]
struct Broken {
    fault: Fault,
    store: MemoryStore,
    /// For faults that look at what was before.
    commits: Arc<Mutex<u64>>,
}

impl Broken {
    fn new(fault: Fault) -> Self {
        Self { fault, store: MemoryStore::default(), commits: Arc::default() }
    }
}

impl LedgerStore for Broken {
    fn view(&self) -> Result<Box<dyn StoreView>, StoreError> {
        let taken = *self.commits.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(Box::new(BrokenView { of: self.clone(), view: self.store.view()?, taken }))
    }

    fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        *self.commits.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        let count: usize = batch.tables().map(|(_, writes)| writes.len()).sum();
        let mut kept = Batch::default();
        for (table, mut writes) in batch.into_tables() {
            if self.fault == Fault::LosesOneOfMany && count > 1_000 {
                writes.pop_last();
            }
            if self.fault == Fault::NothingIsRemoved {
                writes.retain(|_, value| value.is_some());
            }
            kept.extend(table, writes);
            if self.fault == Fault::TearsBatches {
                self.store.commit(std::mem::take(&mut kept))?;
                std::thread::sleep(std::time::Duration::from_millis(1)); // Long enough for a reader to see it.
            }
        }
        self.store.commit(kept)
    }
}

struct BrokenView {
    of: Broken,
    view: Box<dyn StoreView>,
    taken: u64,
}

impl BrokenView {
    fn moves(&self) -> bool {
        let now = *self.of.commits.lock().unwrap_or_else(PoisonError::into_inner);
        match self.of.fault {
            Fault::ViewMoves => true,
            Fault::ViewMovesInTheEnd => now > self.taken + 1,
            _ => false,
        }
    }
}

impl StoreView for BrokenView {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let value =
            if self.moves() { self.of.store.view()?.get(table, key)? } else { self.view.get(table, key)? };
        Ok(value.filter(|value| self.of.fault != Fault::EmptyIsAbsent || !value.is_empty()))
    }

    fn scan(&self, table: Table, from: &[u8], visit: Visit<'_>) -> Result<(), StoreError> {
        let now = self.of.store.view()?;
        let view = if self.moves() { &now } else { &self.view };
        let mut rows: Vec<Row> = scan_prefix(&**view, table, b"", usize::MAX)?;
        rows.retain(|(key, _)| key.as_slice() >= from);
        match self.of.fault {
            Fault::ShorterKeysFirst => rows.sort_by_key(|(key, _)| key.len()),
            Fault::Backwards => rows.reverse(),
            Fault::AfterFrom => rows.retain(|(key, _)| key.as_slice() > from),
            _ => {}
        }
        let _: ControlFlow<()> = rows.iter().try_for_each(|(key, value)| visit(key, value));
        Ok(())
    }

    fn scan_back(&self, table: Table, to: &[u8], visit: Visit<'_>) -> Result<(), StoreError> {
        let now = self.of.store.view()?;
        let view = if self.moves() { &now } else { &self.view };
        let mut rows: Vec<Row> = scan_prefix(&**view, table, b"", usize::MAX)?;
        match self.of.fault {
            Fault::BeforeTo => rows.retain(|(key, _)| key.as_slice() < to),
            _ => rows.retain(|(key, _)| key.as_slice() <= to),
        }
        if self.of.fault != Fault::ForwardsFromTo {
            rows.reverse();
        }
        let _: ControlFlow<()> = rows.iter().try_for_each(|(key, value)| visit(key, value));
        Ok(())
    }
}

fn passes(fault: Fault) -> bool {
    let suite = move || {
        let make = || Arc::new(Broken::new(fault)) as Arc<dyn LedgerStore>;
        store_suite(&make, &|store| if fault == Fault::Forgets { make() } else { store });
    };
    // In a thread of its own, whose panic is the verdict.
    std::thread::spawn(suite).join().is_ok()
}

#[test]
fn the_suite_catches_every_broken_store() {
    assert!(passes(Fault::None), "what is not broken passes");
    for fault in [
        Fault::TearsBatches,
        Fault::LosesOneOfMany,
        Fault::ViewMoves,
        Fault::ViewMovesInTheEnd,
        Fault::ShorterKeysFirst,
        Fault::Backwards,
        Fault::AfterFrom,
        Fault::NothingIsRemoved,
        Fault::Forgets,
        Fault::EmptyIsAbsent,
        Fault::BeforeTo,
        Fault::ForwardsFromTo,
    ] {
        assert!(!passes(fault), "{fault:?} passes");
    }
}
