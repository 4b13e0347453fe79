//! A participant's hold on the ledger: its own replica to read, the consensus to submit to, its keys to sign with.

use std::sync::Arc;

use dt_aml::Document;
use dt_ledger::{
    Call, Consensus, ConsensusError, EventKind, ExecuteError, Executed, Replica, Resource, Snapshot,
};
use dt_ledger::{State as _, StoreError, TraceEntry, TwinCall, TwinEvent, execute};
use dt_model::{PartyId, Signer, TwinId};
use tokio::sync::Mutex;

use crate::ClientError;

/// The ledger, as one party uses it.
pub struct Ledger {
    consensus: Arc<dyn Consensus>,
    replica: Arc<Replica>,
    signer: Arc<dyn Signer>,
    /// A party's transactions have an order: one is committed before the next is signed.
    turn: Mutex<()>,
}

impl Ledger {
    /// The ledger that `replica` copies and `consensus` orders, for the party of `signer`.
    #[must_use]
    pub fn new(consensus: Arc<dyn Consensus>, replica: Arc<Replica>, signer: Arc<dyn Signer>) -> Self {
        Self { consensus, replica, signer, turn: Mutex::new(()) }
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

    /// What happens to `twin`, from the block after `height` on.
    #[must_use]
    pub fn subscribe(&self, twin: TwinId, height: u64) -> Subscription {
        Subscription { consensus: Arc::clone(&self.consensus), twin, height }
    }
}

/// A place in the chain from which a twin's events are followed. It never skips and never repeats one; [`Subscription::height`] is all
/// there is to remember across a restart.
pub struct Subscription {
    consensus: Arc<dyn Consensus>,
    twin: TwinId,
    height: u64,
}

impl Subscription {
    /// The last block that was followed.
    #[must_use]
    pub const fn height(&self) -> u64 {
        self.height
    }

    /// The twin's events of the next block, as soon as it is committed; often none.
    ///
    /// # Errors
    /// [`ConsensusError`]; the next call asks for the same block again.
    pub async fn next(&mut self) -> Result<Vec<(PartyId, TwinEvent)>, ConsensusError> {
        let block = self.consensus.committed(self.height + 1).await?;
        self.height += 1;
        let of_twin = |event: &dt_ledger::Event| match &event.kind {
            EventKind::Twin(twin, what) if *twin == self.twin => Some((event.by, what.clone())),
            _ => None,
        };
        Ok(block.events.iter().filter_map(of_twin).collect())
    }

    /// The twin's events of all blocks that are committed by now, without waiting for more.
    ///
    /// # Errors
    /// [`ConsensusError`].
    pub async fn catch_up(&mut self) -> Result<Vec<(PartyId, TwinEvent)>, ConsensusError> {
        let mut events = Vec::new();
        while self.height < self.consensus.status().height {
            events.extend(self.next().await?);
        }
        Ok(events)
    }
}
