//! Why an operation on an item failed.

use dt_dht::{GetError, PutError, Record, Refusal};
use dt_model::{PartyId, Signed, SignerError};
use thiserror::Error;

use crate::{AclRef, AclState, ChangeError, Corrupt, DataRef, Exhausted, ItemId, KeyError};

/// Why an operation of [`crate::Items`] failed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AclError {
    /// A quorum of replicas has no list for it.
    #[error("there is no item {}", .0.short())]
    NoSuchItem(ItemId),
    /// There is a list for it already; creating it again would look like a contradiction.
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
    #[error("what the replicas show is not what follows from version {} of the list", floor.version)]
    Rollback {
        /// The caller's floor, or the list that the replicas themselves showed.
        floor: AclRef,
    },
    /// Somebody else was faster: to be tried again, from reading on.
    #[error("somebody else changed the item in the meantime")]
    Conflict,
    /// Two data records of one counter compete, neither of which is known to have won: two writers were at it at once, or one signed twice.
    /// [`crate::Items::write`] settles it, by writing with a counter that is above both and follows neither.
    #[error("two records of one version compete: writing anew settles it")]
    Split {
        /// What the settling record is to be written after.
        after: DataRef,
    },
    /// Some replicas may have taken the record, but not a quorum. Until it is settled by [`crate::Items::resubmit`], the party should not
    /// sign another record in its place: two of one version count as evidence against their signer.
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
        state: Box<AclState>,
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

    /// What a failure to read means, when nothing below `floor` is believed.
    pub(crate) fn unread(error: GetError, reader: PartyId, floor: Option<AclRef>) -> Self {
        match (error, floor) {
            (GetError::Refused(Refusal::NotPermitted), _) => Self::NotAReader(reader),
            (GetError::Unacceptable(_), Some(floor)) => Self::Rollback { floor },
            (other, _) => Self::Get(other),
        }
    }

    /// What a failure to read data means.
    pub(crate) fn unread_data(error: GetError, reader: PartyId, floor: AclRef) -> Self {
        let split = match &error {
            GetError::Conflict { first, second } => {
                Some((first.version, first.digest().min(second.digest())))
            }
            GetError::Equivocation(evidence) => {
                let culprit = evidence.verify().ok();
                culprit.map(|by| (by.version, evidence.first.digest().min(evidence.second.digest())))
            }
            _ => None,
        };
        match split {
            // One counter is left out, so that no replica takes the next record for the successor of the wrong one.
            Some((version, digest)) => {
                Self::Split { after: DataRef { counter: version.saturating_add(1), digest } }
            }
            None => Self::unread(error, reader, Some(floor)),
        }
    }
}
