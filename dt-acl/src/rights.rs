//! Who may do what to an item (paper, section 3.2: *read* and *write*; and the management of the list itself).

use core::fmt;

use borsh::{BorshDeserialize, BorshSerialize};
use dt_model::{EncryptionKey, PartyId, Timestamp};
use serde::{Deserialize, Serialize};

/// What a party on the list may do.
///
/// Whoever is on the list reads: there is one symmetric key, which a writer needs to seal and a manager needs to hand on. A right to
/// write without reading would be a promise that the cipher does not keep, so it cannot be expressed.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Default,
    BorshSerialize,
    BorshDeserialize,
    Serialize,
    Deserialize,
)]
pub struct Rights {
    /// May replace the data.
    pub write: bool,
    /// May admit, change and remove readers and writers. Only the owner appoints and dismisses managers.
    pub manage: bool,
}

impl Rights {
    /// To read.
    pub const READ: Self = Self { write: false, manage: false };
    /// To read and write.
    pub const WRITE: Self = Self { write: true, manage: false };
    /// To read and manage the list.
    pub const MANAGE: Self = Self { write: false, manage: true };
    /// Everything: what the owner has.
    pub const ALL: Self = Self { write: true, manage: true };

    /// What either gives.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self { write: self.write || other.write, manage: self.manage || other.manage }
    }
}

impl fmt::Display for Rights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match (self.write, self.manage) {
            (false, false) => "read",
            (true, false) => "read, write",
            (false, true) => "read, manage",
            (true, true) => "read, write, manage",
        })
    }
}

/// Rights, and how long they last.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, BorshSerialize, BorshDeserialize, Serialize, Deserialize,
)]
pub struct Grant {
    /// What the party may do.
    pub rights: Rights,
    /// The last moment at which it may do it.
    pub not_after: Timestamp,
}

impl Grant {
    /// What the owner of an item has.
    pub const OWNER: Self = Self { rights: Rights::ALL, not_after: Timestamp::MAX };
}

/// Whom to put on the list, and with which rights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grantee {
    /// The party.
    pub party: PartyId,
    /// The encryption key that it has registered on the ledger.
    pub encryption_key: EncryptionKey,
    /// What it may do.
    pub rights: Rights,
    /// The last moment at which it may do it.
    pub not_after: Timestamp,
}

impl Grantee {
    /// `party` with `rights` that do not expire.
    #[must_use]
    pub const fn new(party: PartyId, encryption_key: EncryptionKey, rights: Rights) -> Self {
        Self { party, encryption_key, rights, not_after: Timestamp::MAX }
    }

    /// The same, until `not_after` and no longer.
    #[must_use]
    pub const fn until(mut self, not_after: Timestamp) -> Self {
        self.not_after = not_after;
        self
    }
}

/// How much of an item's past a new party is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum History {
    /// All that the list still has keys for.
    Full,
    /// Only what is written from now on. The grant starts a new key epoch, and a *fence* in the chain of keys: see
    /// [`crate::Epoch::link`].
    Omitted,
}
