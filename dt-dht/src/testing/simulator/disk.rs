//! A store that knows what would survive a power cut, and can suffer one at any write.

use std::collections::BTreeMap;
use std::io;
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use crate::store::scan_start;
use crate::{RecordStore, Row, StoreError};

/// What a disk holds.
pub(super) type Image = BTreeMap<Bytes, Bytes>;

/// When a write is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// When it returns: what the contract of [`RecordStore`] asks for.
    OnReturn,
    /// At some later write: a store that breaks the contract, and loses what it said was written.
    Late,
}

/// Rows in memory, with power cuts.
///
/// A cut loses the batches that were not durable, but no part of a batch: what is left is what was there between two writes.
pub struct Disk {
    durability: Durability,
    platter: Mutex<Platter>,
}

#[derive(Default)]
struct Platter {
    rows: Image,
    /// For each batch that is not durable yet: what its rows held before.
    unsynced: Vec<Vec<(Bytes, Option<Bytes>)>>,
    /// A power cut at a write to come.
    cut: Option<Cut>,
    /// Whether the power is off: nothing works until the next start.
    off: bool,
}

/// A power cut to come.
#[derive(Clone, Copy)]
struct Cut {
    /// How many writes succeed before it.
    after: u64,
    /// Whether the write that it hits is on the disk nevertheless.
    written: bool,
}

/// How many batches a store that syncs late collects.
const LATE_BATCHES: usize = 8;

impl Disk {
    /// An empty disk.
    #[must_use]
    pub fn new(durability: Durability) -> Self {
        Self { durability, platter: Mutex::default() }
    }

    pub(super) fn with(image: Image) -> Self {
        let platter = Mutex::new(Platter { rows: image, ..Platter::default() });
        Self { durability: Durability::OnReturn, platter }
    }

    /// Cuts the power at the write after the next `after` ones; `written` says whether that write is on the disk nevertheless.
    pub fn cut_power_at(&self, after: u64, written: bool) {
        self.platter().cut = Some(Cut { after, written });
    }

    /// Cuts the power now.
    pub fn cut_power(&self) {
        self.platter().turn_off();
    }

    /// Whether the power is off.
    #[must_use]
    pub fn is_off(&self) -> bool {
        self.platter().off
    }

    /// Starts again with what was durable.
    pub fn start(&self) {
        let mut platter = self.platter();
        platter.off = false;
        platter.cut = None;
    }

    pub(super) fn image(&self) -> Image {
        self.platter().rows.clone()
    }

    pub(super) fn restore(&self, image: Image) {
        self.platter().rows = image;
    }

    fn platter(&self) -> MutexGuard<'_, Platter> {
        self.platter.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes one batch; `None` removes a row.
    fn write(&self, batch: impl Iterator<Item = (Bytes, Option<Bytes>)>) -> Result<(), StoreError> {
        let mut platter = self.platter();
        platter.require_power()?;
        let hit = match &mut platter.cut {
            Some(Cut { after: 0, written }) => Some(*written),
            Some(cut) => {
                cut.after -= 1;
                None
            }
            None => None,
        };
        if hit != Some(false) {
            let undo = batch.map(|(key, value)| (key.clone(), platter.set(key, value))).collect();
            platter.unsynced.push(undo);
        }
        let is_late = self.durability == Durability::Late && platter.unsynced.len() < LATE_BATCHES;
        if !is_late {
            platter.unsynced.clear();
        }
        match hit {
            None => Ok(()),
            Some(_) => {
                platter.turn_off();
                platter.require_power()
            }
        }
    }
}

impl Platter {
    fn set(&mut self, key: Bytes, value: Option<Bytes>) -> Option<Bytes> {
        match value {
            Some(value) => self.rows.insert(key, value),
            None => self.rows.remove(&key),
        }
    }

    fn require_power(&self) -> Result<(), StoreError> {
        if self.off { Err(StoreError::Io(io::Error::other("the power is off"))) } else { Ok(()) }
    }

    fn turn_off(&mut self) {
        self.off = true;
        while let Some(batch) = self.unsynced.pop() {
            for (key, before) in batch.into_iter().rev() {
                self.set(key, before);
            }
        }
    }
}

impl RecordStore for Disk {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        let platter = self.platter();
        platter.require_power()?;
        Ok(platter.rows.get(key).cloned())
    }

    fn put(&self, rows: &[Row]) -> Result<(), StoreError> {
        self.write(rows.iter().map(|(key, value)| (key.clone(), Some(value.clone()))))
    }

    fn remove(&self, keys: &[Bytes]) -> Result<(), StoreError> {
        self.write(keys.iter().map(|key| (key.clone(), None)))
    }

    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Row>, StoreError> {
        let platter = self.platter();
        platter.require_power()?;
        Ok(platter
            .rows
            .range::<[u8], _>((scan_start(prefix, after), Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(prefix))
            .take(limit)
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect())
    }
}
