//! A DHT node as its party runs it: beside the replica a task that follows the ledger, keeps the node's rows complete, and says on the ledger
//! when it has taken over what a change of nodes makes its own.

use core::time::Duration;
use std::sync::Arc;

use dt_dht::{Refusal, Replica, Step, Upkeep};
use dt_ledger::{Call, ExecuteError, Reason, State as _, StoreError};
use dt_model::Timestamp;
use thiserror::Error;

use crate::{ClientError, Ledger, membership};

/// How often at least the ledger is looked at.
const LOOK: Duration = Duration::from_secs(1);
/// How often the parties that are served are looked up: who has registered meanwhile, and whose certificate has ended.
const PARTIES: Duration = Duration::from_secs(10);

/// Why a node did not do its next step. To try again later is safe.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum NodeError {
    /// The ledger's membership is not to be had.
    #[error(transparent)]
    Membership(#[from] ClientError),
    /// The party's copy of the ledger does not answer.
    #[error(transparent)]
    Ledger(#[from] StoreError),
    /// The node's statement did not get on the ledger.
    #[error(transparent)]
    Statement(#[from] ExecuteError),
    /// The node's own store fails.
    #[error("the node's store: {0}")]
    Upkeep(#[from] Refusal),
}

/// Runs one node of the DHT.
///
/// # Invariants
/// - The replica's epoch never goes back.
/// - The node says that it has taken over only when it has, in this epoch. A node that has been retired MUST be run on until the ledger is
///   an epoch further: others may still lack what it holds.
///
/// # Examples
/// ```no_run
/// # async fn run(mut node: dt_sync::DhtNode, clock: impl Fn() -> dt_model::Timestamp, sleep: impl AsyncFn(core::time::Duration)) {
/// use dt_dht::Step;
/// loop {
///     match node.step(clock()).await {
///         Ok(Step::Worked) => {}
///         Ok(Step::Wait(time)) => sleep(time).await,
///         Err(_) => sleep(core::time::Duration::from_secs(10)).await, // the ledger or the store does not answer
///     }
/// }
/// # }
/// ```
pub struct DhtNode {
    ledger: Ledger,
    replica: Arc<Replica>,
    upkeep: Upkeep,
    looked_up: Option<Timestamp>,
}

impl DhtNode {
    /// The node of `replica`, whose party is that of `ledger`, and which `upkeep` is of.
    #[must_use]
    pub const fn new(ledger: Ledger, replica: Arc<Replica>, upkeep: Upkeep) -> Self {
        Self { ledger, replica, upkeep, looked_up: None }
    }

    /// The replica.
    #[must_use]
    pub const fn replica(&self) -> &Arc<Replica> {
        &self.replica
    }

    /// The task that keeps its rows complete.
    #[must_use]
    pub const fn upkeep(&self) -> &Upkeep {
        &self.upkeep
    }

    /// Follows the ledger, and does the next piece of work. The network follows with it: [`Upkeep::step`] tells the transport who takes part.
    ///
    /// # Errors
    /// [`NodeError`].
    pub async fn step(&mut self, now: Timestamp) -> Result<Step, NodeError> {
        self.follow(now)?;
        let step = self.upkeep.step(now).await?;
        self.hand_over().await?;
        Ok(match step {
            Step::Wait(time) => Step::Wait(time.min(LOOK)),
            worked => worked,
        })
    }

    /// Takes the ledger's membership over.
    fn follow(&mut self, now: Timestamp) -> Result<(), NodeError> {
        let state = self.ledger.state()?;
        let (present, epoch) = (self.replica.membership(), state.nodes_head()?.epoch);
        let is_due = self.looked_up.is_none_or(|last| now.since(last) >= PARTIES);
        if epoch < present.epoch() || (epoch == present.epoch() && !is_due) {
            return Ok(());
        }
        let next = membership(&state, self.ledger.replica().chain(), now)?;
        if next != present {
            self.replica.update_membership(next);
        }
        self.looked_up = Some(now);
        Ok(())
    }

    /// Says on the ledger that this node has taken over, once it has.
    async fn hand_over(&self) -> Result<(), NodeError> {
        let (membership, state) = (self.replica.membership(), self.ledger.state()?);
        let (epoch, head) = (membership.epoch(), state.nodes_head()?);
        if !head.changing || head.epoch != epoch || !self.upkeep.has_taken_over()? {
            return Ok(());
        }
        let is_due = |node: &dt_ledger::NodeRecord| node.placed && node.taken_over < epoch;
        if !state.node(&self.ledger.party())?.as_ref().is_some_and(is_due) {
            return Ok(());
        }
        match self.ledger.execute(vec![Call::HandOver { epoch }]).await {
            // The others were enough.
            Ok(_) | Err(ExecuteError::Refused(Reason::NothingToHandOver { .. })) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}
