//! Why a participant's operation failed.

use dt_acl::AclError;
use dt_dht::{GetError, MembershipError, PutError, TooFewReplicas};
use dt_ledger::{CallError, DocumentId, ExecuteError, Reason, StoreError};
use dt_model::{ComponentId, TextError, TwinId};
use thiserror::Error;

/// Why an operation of [`crate::Client`] failed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The ledger refused, or did not commit.
    #[error(transparent)]
    Ledger(#[from] ExecuteError),
    /// The contracts' state answers with no.
    #[error(transparent)]
    Refused(#[from] Reason),
    /// The ledger's store did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An item on the DHT was not read or written.
    #[error(transparent)]
    Item(#[from] AclError),
    /// The DHT did not give a record.
    #[error(transparent)]
    Get(#[from] GetError),
    /// The DHT did not store a record.
    #[error(transparent)]
    Put(#[from] PutError),
    /// A feed was not read or written.
    #[error(transparent)]
    Feed(#[from] dt_feed::ReadError),
    /// The twin is not on the ledger.
    #[error("there is no twin {}", .0.short())]
    UnknownTwin(TwinId),
    /// The ledger has no such document, or no such version of it.
    #[error("there is no document {}, or not in this version", .0.short())]
    UnknownDocument(DocumentId),
    /// The component has no feed.
    #[error("{0} has no feed")]
    NoFeed(ComponentId),
    /// The feed that is linked to the component says that it is another's: what another sensor has measured, or another party says.
    #[error("the feed that is linked to {0} is another's")]
    ForeignFeed(ComponentId),
    /// What the DHT gave is not what the ledger says that it is. It is not believed.
    #[error("the content of document {} is not what the ledger registered", .0.short())]
    Mismatch(DocumentId),
    /// The content that is to be shared cannot be read.
    #[error("the content cannot be read")]
    Source(#[source] std::io::Error),
    /// A payload of a feed is no reading.
    #[error("entry {entry} of the feed of {component} is not a reading")]
    NotAReading {
        /// The component.
        component: ComponentId,
        /// The entry's number in the feed.
        entry: u64,
    },
    /// The organisations have not founded the DHT, or it has too few nodes yet.
    #[error("the ledger knows no DHT yet")]
    NoStorage,
    /// The ledger's nodes do not make a DHT.
    #[error(transparent)]
    Membership(#[from] MembershipError),
    /// A resilience that cannot be.
    #[error(transparent)]
    Resilience(#[from] TooFewReplicas),
    /// A text that is no name.
    #[error(transparent)]
    Text(#[from] TextError),
}

impl From<CallError> for ClientError {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Refused(Reason::UnknownTwin(twin)) => Self::UnknownTwin(twin),
            CallError::Refused(reason) => Self::Refused(reason),
            CallError::Store(error) => Self::Store(error),
        }
    }
}
