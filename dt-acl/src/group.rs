//! Groups: the members of a role on the ledger, who are put on a list and taken off it together.
//!
//! This crate knows no ledger: whoever changes a list looks a role's members up there and says who they are. The list records which group
//! brought whom, so that a later look-up adds and removes exactly those who came by the group. Who is on the list by name as well, or by
//! another group, stays when the group goes.

use borsh::{BorshDeserialize, BorshSerialize};
use dt_model::{EncryptionKey, Name, PartyId, Timestamp, TwinId};
use serde::{Deserialize, Serialize};

use crate::{Entry, Grantee, Rights};

/// How many groups a list has at most: each is a role of a twin, and an item belongs to few twins.
pub const MAX_GROUPS: usize = 64;

/// A role of a twin, as the ledger knows it.
#[derive(
    Debug,
    Clone,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    BorshSerialize,
    BorshDeserialize,
    Serialize,
    Deserialize,
)]
pub struct Role {
    /// The twin.
    pub twin: TwinId,
    /// What the role is called there.
    pub name: Name,
}

/// A role whose members are on the list, and what the list lets them do.
///
/// # Invariant
/// A group never manages: managers are appointed by the owner, one by one.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct Group {
    /// The role.
    pub role: Role,
    /// What its members may do.
    pub rights: Rights,
}

/// That a party is on the list by a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct GroupGrant {
    /// Which of the list's groups.
    pub group: u8,
    /// The last moment at which this gives the party anything.
    pub not_after: Timestamp,
}

/// A member of a role: whom to put on the list as one of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// The party.
    pub party: PartyId,
    /// The encryption key that it has registered on the ledger.
    pub encryption_key: EncryptionKey,
    /// The last moment at which it is a member, as far as is known: such as the end of its certificate.
    pub not_after: Timestamp,
}

impl From<&Grantee> for Member {
    fn from(grantee: &Grantee) -> Self {
        let Grantee { party, encryption_key, not_after, .. } = *grantee;
        Self { party, encryption_key, not_after }
    }
}

/// Whether groups are sorted, bounded, not managing, and each in use; and every entry is there for a reason.
pub(crate) fn are_sound(groups: &[Group], entries: &[Entry]) -> bool {
    let mut used = [false; MAX_GROUPS];
    let mut is_sound = |entry: &Entry| {
        for by in &entry.groups {
            match used.get_mut(usize::from(by.group)) {
                Some(used) => *used = true,
                None => return false,
            }
        }
        (entry.grant.is_some() || !entry.groups.is_empty())
            && entry.groups.windows(2).all(|pair| pair[0].group < pair[1].group)
    };
    groups.len() <= MAX_GROUPS
        && groups.windows(2).all(|pair| pair[0].role < pair[1].role)
        && groups.iter().all(|group| !group.rights.manage)
        && entries.iter().all(&mut is_sound)
        && (0..MAX_GROUPS).all(|group| used[group] == (group < groups.len()))
}
