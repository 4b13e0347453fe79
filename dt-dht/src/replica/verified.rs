//! Records that were verified lately: the same one comes with every phase of a decision, and lies in the store when the next one is judged.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use dt_model::{Envelope, OpenError, Signed};

use crate::Record;

/// How many are remembered: what is worked on at the same time, as a rule.
const REMEMBERED: usize = 64;
/// How long their bodies may be in sum.
const REMEMBERED_BYTES: usize = 4 * 1024 * 1024;

/// Opens records, each signature once.
///
/// # Invariant
/// What is remembered is a [`Signed`] record, so its signature held; and it MUST be given for the very same bytes only, signature and all.
#[derive(Default)]
pub(super) struct Verified(Mutex<VecDeque<Signed<Record>>>);

impl Verified {
    /// [`Envelope::open`].
    pub(super) fn open(&self, envelope: Envelope<Record>) -> Result<Signed<Record>, OpenError> {
        let known = |records: &VecDeque<Signed<Record>>| {
            records.iter().find(|record| *record.envelope() == envelope).cloned()
        };
        if let Some(record) = known(&self.records()) {
            return Ok(record);
        }
        let record = envelope.open()?;
        let mut records = self.records();
        records.push_front(record.clone());
        let mut bytes = 0usize;
        let fits = |record: &&Signed<Record>| {
            bytes = bytes.saturating_add(record.envelope().body().len());
            bytes <= REMEMBERED_BYTES
        };
        let kept = records.iter().take(REMEMBERED).take_while(fits).count();
        records.truncate(kept);
        Ok(record)
    }

    fn records(&self) -> std::sync::MutexGuard<'_, VecDeque<Signed<Record>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
