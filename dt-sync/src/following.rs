//! What a client does when the DHT's nodes change under its hands, or somebody else changes what it changes: it looks, and tries again.
//!
//! # Invariant
//! Only what may be done twice is tried again: each operation here begins by reading what is there.

use core::time::Duration;

use dt_acl::AclError;
use dt_dht::{GetError, PutError, Refusal};
use dt_feed::{PublishError, ReadError};
use dt_ledger::State as _;
use dt_model::Timestamp;

use crate::{AgentError, Client, ClientError, membership};

/// How often an operation is tried.
const ATTEMPTS: u32 = 8;
/// How long a client with a timer waits the first time for nodes that are in another epoch; then twice as long, up to some three seconds.
const FIRST_WAIT: Duration = Duration::from_millis(50);

/// What may become of a failed operation when it is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outlook {
    /// The same.
    Hopeless,
    /// Somebody else was faster: now it may succeed.
    Conflict,
    /// It may succeed under another membership, or somewhat later.
    Unreached,
}

/// An error that tells what may become of trying again.
pub(crate) trait Failure: From<ClientError> {
    fn outlook(&self) -> Outlook;
}

impl Client {
    /// Takes the ledger's membership of the DHT over, if it is in another epoch than the client's; whether it was. Before each of its own
    /// operations a client does this by itself.
    ///
    /// Where the ledger knows no DHT, the client goes on under the membership that it was made with.
    ///
    /// # Errors
    /// As [`membership`].
    pub fn follow_membership(&self, now: Timestamp) -> Result<bool, ClientError> {
        let state = self.ledger().state()?;
        let (dht, epoch) = (self.items().client(), state.nodes_head()?.epoch);
        if epoch == 0 || epoch <= dht.membership().epoch() {
            return Ok(false);
        }
        dht.update_membership(membership(&state, self.ledger().replica().chain(), now)?);
        Ok(true)
    }

    /// Carries out `operation` under the ledger's membership; again, a bounded number of times, if somebody else was faster or the nodes
    /// changed meanwhile.
    pub(crate) async fn following<T, E: Failure>(
        &self,
        now: Timestamp,
        mut operation: impl AsyncFnMut() -> Result<T, E>,
    ) -> Result<T, E> {
        let mut wait = FIRST_WAIT;
        for _ in 1..ATTEMPTS {
            self.follow_membership(now)?;
            let error = match operation().await {
                Ok(done) => return Ok(done),
                Err(error) => error,
            };
            match (error.outlook(), self.timer()) {
                (Outlook::Hopeless, _) => return Err(error),
                (Outlook::Conflict, _) => {}
                (Outlook::Unreached, timer) => {
                    if self.follow_membership(now)? {
                        continue;
                    }
                    // The nodes may be ahead of this party's copy of the ledger, or behind it.
                    let Some(timer) = timer else { return Err(error) };
                    timer.sleep(wait).await;
                    wait *= 2;
                }
            }
        }
        self.follow_membership(now)?;
        operation().await
    }
}

impl Failure for ClientError {
    fn outlook(&self) -> Outlook {
        match self {
            Self::Item(error) => of_item(error),
            Self::Get(error) | Self::Feed(ReadError::Get(error)) => of_get(error),
            Self::Put(error) => of_put(error),
            _ => Outlook::Hopeless,
        }
    }
}

impl Failure for AgentError {
    fn outlook(&self) -> Outlook {
        match self {
            Self::Client(error) => error.outlook(),
            Self::Publish(PublishError::Put(error)) => of_put(error),
            Self::Publish(PublishError::Get(error)) => of_get(error),
            _ => Outlook::Hopeless,
        }
    }
}

fn of_item(error: &AclError) -> Outlook {
    match error {
        // What is in doubt is settled by whoever comes next, so that it is found when it is looked for again.
        AclError::Conflict => Outlook::Conflict,
        AclError::InDoubt { source, .. } | AclError::Put(source) => of_put(source),
        AclError::Get(error) => of_get(error),
        _ => Outlook::Hopeless,
    }
}

fn of_get(error: &GetError) -> Outlook {
    match error {
        GetError::NoQuorum { .. } | GetError::Contended { .. } | GetError::Refused(Refusal::Outdated) => {
            Outlook::Unreached
        }
        _ => Outlook::Hopeless,
    }
}

fn of_put(error: &PutError) -> Outlook {
    match error {
        PutError::NoQuorum { .. } | PutError::Contended { .. } | PutError::Refused(Refusal::Outdated) => {
            Outlook::Unreached
        }
        _ => Outlook::Hopeless,
    }
}
