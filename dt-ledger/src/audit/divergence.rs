//! Which transaction, and which key: where a chain went on from another result than its blocks make.
//!
//! The first transaction with another receipt wrote something else, or came out otherwise. A receipt holds a digest of all writes: if the
//! one that the chain has is what comes out when a single value is replaced by the one that is stored, then this is the key.
//! Otherwise all later transactions are applied too, whatever their headers say, and the first row that is still other is named.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use dt_model::Digest;

use super::{AuditError, Audited, rows};
use crate::block::Header;
use crate::receipt::Receipt;
use crate::replica::Current;
use crate::replica::admission::AdmissionError;
use crate::replica::application::Applied;
use crate::replica::authentic::{Authentic, Received, Verified};
use crate::replica::specification::Specifications;
use crate::store::{StoreError, StoreView, Table, Visit, Writes};
use crate::transition::{At, Effects, Transition, writes_digest};

/// Values that are tried in turn: each costs a digest of all that the transaction wrote.
const MAX_TRIED: usize = 256;

/// What was known when results parted.
pub(super) struct Divergence<'a> {
    pub(super) chain: Digest,
    /// Where the auditor stood before.
    pub(super) current: &'a Current,
    pub(super) view: &'a dyn StoreView,
    pub(super) audited: &'a Audited,
}

impl Divergence<'_> {
    /// The finding, when the audited chain went on from another result than the auditor began with. `None` if no row shows it.
    pub(super) fn before(&self) -> Result<Option<AuditError>, AuditError> {
        let height = self.current.tip.height;
        let key = self.scene().first_difference(height + 1, self.audited)?;
        Ok(self.finding(height, None, key))
    }

    /// The finding, when it went on from another result than the block of `header` has: `transaction` is the first whose receipt is not the
    /// one among `receipts`. `None` if neither that nor a row shows it.
    pub(super) fn after(
        &self,
        header: &Header,
        applied: &Applied,
        receipts: &[Receipt],
        transaction: Option<usize>,
    ) -> Result<Option<AuditError>, AuditError> {
        let mut scene = self.scene();
        let (before, rest) =
            applied.transactions.split_at(transaction.unwrap_or(0).min(applied.transactions.len()));
        scene.play(header, before)?;
        if let Some(index) = transaction
            && let (Some(diverging), Some(receipt)) = (rest.first(), receipts.get(index))
        {
            let writes = scene.effects(header, std::slice::from_ref(diverging))?.state;
            if let Some(key) = self.proven(writes, &receipt.writes)? {
                return Ok(self.finding(header.height, transaction, Some(key)));
            }
        }
        scene.play(header, rest)?;
        let key = scene.first_difference(header.height + 1, self.audited)?;
        Ok(self.finding(header.height, transaction, key))
    }

    fn finding(&self, height: u64, transaction: Option<usize>, key: Option<Vec<u8>>) -> Option<AuditError> {
        let is_shown = transaction.is_some() || key.is_some() || height < self.audited.tip.height;
        is_shown.then_some(AuditError::Diverges { height, transaction, key })
    }

    /// The one key among `writes` at which the stored value gives `digest`.
    fn proven(&self, mut writes: Writes, digest: &Digest) -> Result<Option<Vec<u8>>, StoreError> {
        let keys: Vec<Vec<u8>> = writes.keys().take(MAX_TRIED).cloned().collect();
        for key in keys {
            let stored = self.audited.view.get(Table::State, &key)?;
            let ours = writes.insert(key.clone(), stored.clone());
            if ours != Some(stored) && writes_digest(&writes) == *digest {
                return Ok(Some(key));
            }
            writes.extend(ours.map(|ours| (key, ours)));
        }
        Ok(None)
    }

    fn scene(&self) -> Scene<'_> {
        let state = Overlay { view: self.view, rows: BTreeMap::new() };
        let specifications = Specifications::clone(&self.current.specifications);
        Scene { chain: self.chain, state, specifications }
    }
}

/// The state as transactions make it that are applied come what may.
struct Scene<'a> {
    chain: Digest,
    state: Overlay<'a>,
    specifications: Specifications,
}

impl Scene<'_> {
    /// What these transactions do now, in the block of `header`; those that are not admissible do nothing.
    fn effects(&self, header: &Header, transactions: &[Arc<Authentic>]) -> Result<Effects, StoreError> {
        let at = At { chain: self.chain, height: header.height, time: header.time };
        let mut transition = Transition::new(&self.state, &self.specifications, at);
        for transaction in transactions {
            if let Err(AdmissionError::Store(error)) = transition.apply(transaction) {
                return Err(error);
            }
        }
        Ok(transition.finish())
    }

    fn play(&mut self, header: &Header, transactions: &[Arc<Authentic>]) -> Result<(), StoreError> {
        let effects = self.effects(header, transactions)?;
        self.state.rows.extend(effects.state);
        self.specifications.extend(effects.specifications);
        Ok(())
    }

    /// The first key whose stored value is not what it is here once the blocks from `height` on are applied too. `None` also where these
    /// cannot be read.
    fn first_difference(mut self, height: u64, audited: &Audited) -> Result<Option<Vec<u8>>, AuditError> {
        for height in height..=audited.tip.height {
            let Ok(committed) = audited.block(height) else { return Ok(None) };
            let received: Vec<_> = committed.block.transactions.iter().cloned().map(Received::new).collect();
            let mut authentic = Vec::with_capacity(received.len());
            Verified::default().each(&received, |_, verdict| {
                authentic.extend(verdict);
                Ok::<_, StoreError>(())
            })?;
            self.play(&committed.block.header, &authentic)?;
        }
        let (_, key) = rows::first_difference(&*audited.view, &self.state, Table::State, &mut |_| false)?;
        Ok(key)
    }
}

/// A state with some rows changed.
struct Overlay<'a> {
    view: &'a dyn StoreView,
    rows: Writes,
}

impl StoreView for Overlay<'_> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        match self.rows.get(key) {
            Some(changed) if table == Table::State => Ok(changed.clone()),
            _ => self.view.get(table, key),
        }
    }

    fn scan(&self, table: Table, from: &[u8], visit: Visit<'_>) -> Result<(), StoreError> {
        let scan = |each: Visit<'_>| self.view.scan(table, from, each);
        self.merge(table, self.rows.range(from.to_vec()..), |changed, key| changed <= key, scan, visit)
    }

    fn scan_back(&self, table: Table, to: &[u8], visit: Visit<'_>) -> Result<(), StoreError> {
        let scan = |each: Visit<'_>| self.view.scan_back(table, to, each);
        let changed = self.rows.range(..=to.to_vec()).rev();
        self.merge(table, changed, |changed, key| changed >= key, scan, visit)
    }
}

impl Overlay<'_> {
    /// Shows the rows that `scan` gives, with those that changed in their places: each before or in place of the first that it `leads`.
    fn merge<'a>(
        &self,
        table: Table,
        changed: impl Iterator<Item = (&'a Vec<u8>, &'a Option<Vec<u8>>)>,
        leads: impl Fn(&[u8], &[u8]) -> bool,
        scan: impl FnOnce(Visit<'_>) -> Result<(), StoreError>,
        visit: Visit<'_>,
    ) -> Result<(), StoreError> {
        if table != Table::State {
            return scan(visit);
        }
        let mut changed = changed.peekable();
        let mut flow = ControlFlow::Continue(());
        scan(&mut |key, value| {
            let mut replaced = false;
            while let Some((at, new)) = changed.next_if(|(at, _)| leads(at, key)) {
                replaced = at.as_slice() == key;
                if let Some(new) = new {
                    flow = visit(at, new);
                }
                if flow.is_break() {
                    return flow;
                }
            }
            if !replaced {
                flow = visit(key, value);
            }
            flow
        })?;
        for (at, new) in changed {
            let Some(new) = new.as_ref().filter(|_| flow.is_continue()) else { continue };
            flow = visit(at, new);
        }
        Ok(())
    }
}
