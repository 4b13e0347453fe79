//! An item as a quorum has settled it: its list and its data, of one moment.

use dt_dht::{Settled, SettlementCertificate};
use serde::{Deserialize, Serialize};

use crate::item::{ACL_SLOT, DATA_SLOT};
use crate::{Acl, AclError, AclRef, Data, DataRef, ItemId};

/// What is known to exist of an item, from an anchor on the ledger or from an earlier read: nothing older is believed, nor anything else
/// of the same version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Floor {
    /// A version of the list.
    pub acl: AclRef,
    /// A version of the data.
    pub data: Option<DataRef>,
}

impl From<AclRef> for Floor {
    fn from(acl: AclRef) -> Self {
        Self { acl, data: None }
    }
}

impl From<&ItemState> for Floor {
    fn from(state: &ItemState) -> Self {
        Self { acl: state.acl.reference(), data: state.data.as_ref().map(Data::reference) }
    }
}

impl Floor {
    /// Whether the item's list and data are what is known to exist, or later.
    fn is_below(&self, state: &ItemState) -> bool {
        let found = Self::from(state);
        let is_later = |known: (u64, _), found: (u64, _)| found.0 > known.0 || found == known;
        let data = |of: DataRef| (of.counter, of.digest);
        is_later((self.acl.version, self.acl.digest), (found.acl.version, found.acl.digest))
            && self
                .data
                .is_none_or(|known| found.data.is_some_and(|found| is_later(data(known), data(found))))
    }
}

/// List and data of an item as they were settled together, with the proof.
#[derive(Debug, Clone)]
pub struct ItemState {
    /// The list.
    pub acl: Acl,
    /// The data, if anything has been written.
    pub data: Option<Data>,
    /// The proof that a quorum has settled both.
    pub certificate: SettlementCertificate,
}

impl ItemState {
    /// Reads what is settled of `item`, and checks again what a reader can check by itself.
    ///
    /// # Errors
    /// [`AclError::Inconsistent`], [`AclError::Rollback`].
    pub fn of(item: ItemId, settled: &Settled, floor: Option<Floor>) -> Result<Self, AclError> {
        let inconsistent = |_| AclError::Inconsistent(item);
        let acl = settled.record(ACL_SLOT).ok_or(AclError::Inconsistent(item))?;
        let acl = Acl::open(acl).map_err(inconsistent)?;
        let data = settled.record(DATA_SLOT).map(Data::open).transpose().map_err(inconsistent)?;
        let is_sound = acl.item() == item && data.as_ref().is_none_or(|data| go_together(&acl, data));
        let state = Self { acl, data, certificate: settled.certificate().clone() };
        match floor {
            _ if !is_sound => Err(AclError::Inconsistent(item)),
            Some(floor) if !floor.is_below(&state) => Err(AclError::Rollback { floor }),
            _ => Ok(state),
        }
    }
}

/// Whether `data` can have been settled before or under `acl`. That the writer of something older was on the list of that time, only
/// that list tells ([`crate::Items::acl_at`]).
fn go_together(acl: &Acl, data: &Data) -> bool {
    let of_this_version = data.acl().version >= acl.version();
    data.item() == acl.item() && data.epoch() <= acl.epoch() && (!of_this_version || data.is_under(acl))
}
