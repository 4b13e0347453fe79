//! What was committed lately and is not in the engine's file yet, in memory: rows that lie over the engine's, and hide them.
//!
//! ```text
//! get, scan ─▶ young (the journal's present segment) ─▶ old (the full one, on its way into the engine) ─▶ the engine
//! ```

use std::ops::ControlFlow;

use crate::store::rows::Rows;
use crate::store::{Batch, StoreError, StoreView, Table, Visit};

/// Marks, behind a value, that there is a row. What was removed has an empty value.
const HERE: u8 = 1;

/// Who is shown rows and what was removed, until he breaks off.
pub(crate) type VisitWrites<'a> = &'a mut dyn FnMut(&[u8], Option<&[u8]>) -> ControlFlow<()>;

/// Some batches, each row as the last of them left it.
#[derive(Clone, Default)]
pub(crate) struct Layer([Rows; Table::ALL.len()]);

/// A row, or that it was removed.
fn content(marked: &[u8]) -> Option<&[u8]> {
    marked.split_last().map(|(_, value)| value)
}

impl Layer {
    pub(crate) fn apply(&mut self, batch: Batch) {
        for (table, writes) in batch.into_tables() {
            let marked = |value: Option<Vec<u8>>| {
                let mut value = value?;
                // A long value is not moved for one byte more.
                value.reserve_exact(1);
                value.push(HERE);
                Some(value)
            };
            let writes =
                writes.into_iter().map(|(key, value)| (key, Some(marked(value).unwrap_or_default())));
            self.0[table as usize].apply(writes.collect());
        }
    }

    /// Shows the rows of a table from key `from` on, with their values or `None` where they were removed, until `visit` breaks off.
    pub(crate) fn each(&self, of: Table, from: &[u8], visit: VisitWrites<'_>) {
        self.0[of as usize].scan(from, &mut |key, marked| visit(key, content(marked)));
    }

    /// What it has to say of a row.
    fn get(&self, of: Table, key: &[u8]) -> Option<Option<&[u8]>> {
        self.0[of as usize].get(key).map(content)
    }

    /// The first key that is at `from` or comes after it; not `from` itself, if `beyond`.
    fn next(&self, of: Table, from: &[u8], beyond: bool, order: Order) -> Option<Vec<u8>> {
        let mut found = None;
        let visit: Visit<'_> = &mut |key, _| {
            if beyond && key == from {
                return ControlFlow::Continue(());
            }
            found = Some(key.to_vec());
            ControlFlow::Break(())
        };
        match order {
            Order::Rising => self.0[of as usize].scan(from, visit),
            Order::Falling => self.0[of as usize].scan_back(from, visit),
        }
        found
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    Rising,
    Falling,
}

impl Order {
    fn is_before(self, one: &[u8], other: &[u8]) -> bool {
        match self {
            Self::Rising => one < other,
            Self::Falling => one > other,
        }
    }
}

/// The layers over the engine.
#[derive(Clone, Default)]
pub(crate) struct Recent {
    pub(crate) young: Layer,
    pub(crate) old: Layer,
}

impl Recent {
    fn get(&self, of: Table, key: &[u8]) -> Option<Option<&[u8]>> {
        self.young.get(of, key).or_else(|| self.old.get(of, key))
    }

    fn next(&self, of: Table, from: &[u8], beyond: bool, order: Order) -> Option<Vec<u8>> {
        let [young, old] = [&self.young, &self.old].map(|layer| layer.next(of, from, beyond, order));
        match (young, old) {
            (Some(young), Some(old)) => Some(if order.is_before(&old, &young) { old } else { young }),
            (young, old) => young.or(old),
        }
    }
}

/// A view of an engine, and of what lies over it.
pub(crate) struct RecentView {
    pub(crate) recent: Recent,
    pub(crate) engine: Box<dyn StoreView>,
}

impl RecentView {
    /// Shows `visit` the rows of both, in order.
    fn merge(&self, of: Table, from: &[u8], order: Order, visit: Visit<'_>) -> Result<(), StoreError> {
        let mut next = self.recent.next(of, from, false, order);
        // Shows what lies over the engine before `end`, or to the end.
        let mut ahead = |end: Option<&[u8]>, visit: Visit<'_>| {
            while let Some(key) = next.take_if(|key| end.is_none_or(|end| !order.is_before(end, key))) {
                let is_end = end.is_some_and(|end| end == key);
                next = self.recent.next(of, &key, true, order);
                if let Some(Some(value)) = self.recent.get(of, &key) {
                    visit(&key, value)?;
                }
                if is_end {
                    // The engine's row is hidden.
                    return ControlFlow::Continue(true);
                }
            }
            ControlFlow::Continue(false)
        };
        let mut is_over = false;
        let mut merged = |key: &[u8], value: &[u8]| {
            let step = match ahead(Some(key), &mut *visit) {
                ControlFlow::Continue(false) => visit(key, value),
                ControlFlow::Continue(true) => ControlFlow::Continue(()),
                ControlFlow::Break(()) => ControlFlow::Break(()),
            };
            is_over = step.is_break();
            step
        };
        match order {
            Order::Rising => self.engine.scan(of, from, &mut merged)?,
            Order::Falling => self.engine.scan_back(of, from, &mut merged)?,
        }
        if !is_over {
            let _ = ahead(None, visit);
        }
        Ok(())
    }
}

impl StoreView for RecentView {
    fn get(&self, of: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        match self.recent.get(of, key) {
            Some(found) => Ok(found.map(<[u8]>::to_vec)),
            None => self.engine.get(of, key),
        }
    }

    fn scan(&self, of: Table, from: &[u8], visit: Visit<'_>) -> Result<(), StoreError> {
        self.merge(of, from, Order::Rising, visit)
    }

    fn scan_back(&self, of: Table, to: &[u8], visit: Visit<'_>) -> Result<(), StoreError> {
        self.merge(of, to, Order::Falling, visit)
    }
}
