//! A participant's hold on the ledger: its own replica to read, the consensus to submit to, its keys to sign with.

use std::sync::Arc;

use dt_aml::Document;
use dt_ledger::{
    Call, Consensus, EventCursor, EventFilter, ExecuteError, Executed, Follower, Replica, Resource, Snapshot,
};
use dt_ledger::{State as _, StoreError, TraceEntry, TwinCall, execute};
use dt_model::{PartyId, Signer, TwinId};
use tokio::sync::Mutex;

use crate::ClientError;

/// The ledger, as one party uses it. Clones are handles to the same: whatever of the party runs side by side MUST share one, because its
/// transactions have an order.
#[derive(Clone)]
pub struct Ledger {
    consensus: Arc<dyn Consensus>,
    replica: Arc<Replica>,
    signer: Arc<dyn Signer>,
    /// A party's transactions have an order: one is committed before the next is signed.
    turn: Arc<Mutex<()>>,
}

impl Ledger {
    /// The ledger that `replica` copies and `consensus` orders, for the party of `signer`.
    #[must_use]
    pub fn new(consensus: Arc<dyn Consensus>, replica: Arc<Replica>, signer: Arc<dyn Signer>) -> Self {
        Self { consensus, replica, signer, turn: Arc::default() }
    }

    /// The party.
    #[must_use]
    pub fn party(&self) -> PartyId {
        self.signer.party()
    }

    /// The party's keys.
    #[must_use]
    pub fn signer(&self) -> &Arc<dyn Signer> {
        &self.signer
    }

    /// The party's copy of the ledger.
    #[must_use]
    pub const fn replica(&self) -> &Arc<Replica> {
        &self.replica
    }

    /// The state after the last block.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn state(&self) -> Result<Snapshot, StoreError> {
        self.replica.snapshot()
    }

    /// Signs `calls` as one transaction, all or none of them, and waits until it is committed.
    ///
    /// # Errors
    /// [`ExecuteError::Refused`] names the rule where the contracts say no.
    pub async fn execute(&self, calls: Vec<Call>) -> Result<Executed, ExecuteError> {
        let _turn = self.turn.lock().await;
        execute(&*self.consensus, &self.replica, &*self.signer, calls).await
    }

    /// As [`Ledger::execute`], for calls on one twin.
    ///
    /// # Errors
    /// As [`Ledger::execute`].
    pub async fn execute_on(
        &self,
        twin: TwinId,
        calls: impl IntoIterator<Item = TwinCall> + Send,
    ) -> Result<Executed, ExecuteError> {
        let calls = calls.into_iter().map(|call| Call::Twin { twin, call }).collect();
        self.execute(calls).await
    }

    /// The specification of `twin`.
    ///
    /// # Errors
    /// [`ClientError::UnknownTwin`] or [`ClientError::Store`].
    pub fn specification(&self, twin: &TwinId) -> Result<Arc<Document>, ClientError> {
        let state = self.state()?;
        state.specification(twin).cloned().ok_or(ClientError::UnknownTwin(*twin))
    }

    /// The paper's *trace*: every write to `resource`, chained.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn history(&self, resource: &Resource) -> Result<Vec<TraceEntry>, StoreError> {
        self.replica.trace(resource)
    }

    /// The transaction of a trace's entry, as it was told to whoever made it.
    pub(crate) fn executed(&self, entry: &TraceEntry) -> Result<Executed, StoreError> {
        let block = self.replica.block(entry.height)?;
        let events = block.into_iter().flat_map(|block| block.events);
        let events = events.filter(|event| event.transaction == entry.transaction);
        let events = events.map(|event| event.kind).collect();
        Ok(Executed { transaction: entry.transaction, height: entry.height, events })
    }

    /// What happens on the ledger, from `from` on, so far as it passes `filter`.
    #[must_use]
    pub fn follow(&self, from: EventCursor, filter: EventFilter) -> Follower {
        Follower::new(Arc::clone(&self.consensus), from, filter)
    }
}
