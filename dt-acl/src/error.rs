//! Why an operation on an item failed.

use dt_dht::{GetError, PutError, Record, Refusal};
use dt_model::{PartyId, Signed, SignerError};
use thiserror::Error;

use crate::{ChangeError, Corrupt, Exhausted, Floor, ItemId, ItemState, KeyError};

/// Why an operation of [`crate::Items`] failed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AclError {
    /// A quorum of replicas has no list for it.
    #[error("there is no item {}", .0.short())]
    NoSuchItem(ItemId),
    /// There is a list for it already.
    #[error("the item {} exists already", .0.short())]
    AlreadyExists(ItemId),
    /// The item has a list, but nothing has been written.
    #[error("nothing has been written to the item {}", .0.short())]
    NoData(ItemId),
    /// The party is not on the list, or not any more.
    #[error("{} is not on the access control list", .0.short())]
    NotAReader(PartyId),
    /// The party is on the list, but may not do this.
    #[error("not permitted by the access control list")]
    NotPermitted,
    /// The replicas show something older than, or something else than, what is known to exist. It is not believed.
    #[error("what the replicas show is not what follows from version {} of the list", floor.acl.version)]
    Rollback {
        /// The caller's floor.
        floor: Floor,
    },
    /// What a quorum has settled cannot be: more nodes lie than are tolerated. It is not believed.
    #[error("the replicas agree on what cannot be of the item {}", .0.short())]
    Inconsistent(ItemId),
    /// There is no such version yet, or the replicas do not remember it any more.
    #[error("there is no version {version} of the item {}, or no longer", item.short())]
    NoSuchVersion {
        /// The item.
        item: ItemId,
        /// The version, or the counter, asked for.
        version: u64,
    },
    /// Somebody else was faster, and nothing of this was done: to be tried again, from reading on.
    #[error("somebody else changed the item in the meantime")]
    Conflict,
    /// Some replicas may have taken the record, but a quorum has not said so. It may be settled yet, by whoever comes next:
    /// [`crate::Items::resubmit`] settles it, or tells that something else was.
    #[error("not confirmed by a quorum")]
    InDoubt {
        /// What was to be stored.
        record: Box<Signed<Record>>,
        /// Why it is not known to be.
        source: PutError,
    },
    /// The revocation is done and stands; only the current data is still sealed under the old key. To be finished with
    /// [`crate::Items::reencrypt`].
    #[error("revoked, but the current data was not encrypted anew")]
    NotReencrypted {
        /// The list without the party.
        state: Box<ItemState>,
        /// Why not.
        source: Box<AclError>,
    },
    /// What is stored does not open. Why is deliberately not said.
    #[error(transparent)]
    Corrupt(#[from] Corrupt),
    /// A key was not obtained.
    #[error(transparent)]
    Key(KeyError),
    /// The list cannot be made as asked.
    #[error(transparent)]
    Change(ChangeError),
    /// The counter of the data has reached its end.
    #[error(transparent)]
    Exhausted(#[from] Exhausted),
    /// The DHT did not store something.
    #[error(transparent)]
    Put(#[from] PutError),
    /// The DHT did not give something.
    #[error(transparent)]
    Get(#[from] GetError),
    /// The party's own signer failed.
    #[error(transparent)]
    Signer(#[from] SignerError),
}

impl From<KeyError> for AclError {
    fn from(error: KeyError) -> Self {
        match error {
            KeyError::NotAReader(party) => Self::NotAReader(party),
            KeyError::Corrupt => Self::Corrupt(Corrupt),
            other => Self::Key(other),
        }
    }
}

impl From<ChangeError> for AclError {
    fn from(error: ChangeError) -> Self {
        match error {
            ChangeError::Key(error) => error.into(),
            other => Self::Change(other),
        }
    }
}

impl AclError {
    /// What a refusal to store means.
    pub(crate) fn refused(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NotPermitted => Self::NotPermitted,
            Refusal::Stale { .. } | Refusal::Gap { .. } | Refusal::Conflict | Refusal::Superseded => {
                Self::Conflict
            }
            other => Self::Put(PutError::Refused(other)),
        }
    }

    /// What a failure to read means.
    pub(crate) fn unread(error: GetError, reader: PartyId) -> Self {
        match error {
            GetError::Refused(Refusal::NotPermitted) => Self::NotAReader(reader),
            other => Self::Get(other),
        }
    }
}
