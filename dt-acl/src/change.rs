//! Making lists: the first version of one, and the next.

use dt_model::{Digest, EncryptionKey, PartyId, Signer, SignerError, Timestamp};
use rand_core::CryptoRng;
use thiserror::Error;

use crate::draft::{Draft, Heading};
use crate::keys::{KeyError, Keyring};
use crate::record::{AclRecord, MAX_ACL_BYTES, MAX_ENTRIES};
use crate::{Acl, Grantee, Group, History, ItemId, ItemName, MAX_GROUPS, Member};

/// An encryption key for which nothing can be wrapped: the shared secret would be the same for everybody (RFC 7748, section 6.1).
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
#[error("nothing can be wrapped for the encryption key {} of {}", key.short(), party.short())]
pub struct EncryptionKeyRefused {
    /// Whose key it is said to be.
    pub party: PartyId,
    /// The key.
    pub key: EncryptionKey,
}

/// Why a list cannot be made as asked.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ChangeError {
    /// The owner's entry is always there and always the same; only its encryption key changes, by [`Change::Rotate`].
    #[error("the owner is always on the list, with all rights")]
    Owner,
    /// A party is named twice.
    #[error("{} is named twice", .0.short())]
    Repeated(PartyId),
    /// The party is not on the list.
    #[error("{} is not on the access control list", .0.short())]
    NotOnList(PartyId),
    /// A manager has to hand on the keys of the past, so it cannot be kept from them.
    #[error("{} cannot manage a list whose history it is not given", .0.short())]
    ManagerNeedsHistory(PartyId),
    /// Only the owner makes a party a manager, or changes until when it is one.
    #[error("only the owner can make {} a manager", .0.short())]
    OnlyOwnerAppoints(PartyId),
    /// Managers are appointed by name, never by a group.
    #[error("a group cannot manage a list")]
    GroupCannotManage,
    /// There are as many groups as a list has room for.
    #[error("a list has at most {MAX_GROUPS} groups")]
    TooManyGroups,
    /// The entries, fences or epochs need more room than there is.
    #[error(
        "the list would need {size} bytes for {entries} entries; {} and {} are the limits",
        MAX_ACL_BYTES,
        MAX_ENTRIES
    )]
    TooLarge {
        /// Bytes needed.
        size: usize,
        /// Entries needed.
        entries: usize,
    },
    /// The version or the epoch has reached the end of its range.
    #[error("there is no number for the next version")]
    Exhausted,
    /// Nothing can be wrapped for a key.
    #[error(transparent)]
    EncryptionKey(#[from] EncryptionKeyRefused),
    /// The author's signer failed.
    #[error(transparent)]
    Signer(#[from] SignerError),
    /// Keys that the new version has to hand on are not to be had.
    #[error(transparent)]
    Key(#[from] KeyError),
}

/// A change to a list: whatever it comprises is done in one version.
#[derive(Debug, Clone, Copy)]
pub enum Change<'a> {
    /// Puts parties on the list by name, or changes what they are granted by name.
    Grant {
        /// The parties.
        grantees: &'a [Grantee],
        /// What those who are new may read of the past.
        history: History,
    },
    /// Makes `members` the ones who are on the list by `group`: adds those who are new, and takes off those who were on it by this group
    /// and nothing else. Their encryption keys become the ones given here. Without members the group goes.
    SyncGroup {
        /// The role, and what the list lets its members do.
        group: &'a Group,
        /// Who is in that role now. The item's owner may be among them, and stays what it is.
        members: &'a [Member],
        /// What those who are new may read of the past.
        history: History,
    },
    /// Takes a party off the list, by whatever it is on it, and starts a new epoch. It comes back with the next
    /// [`Change::SyncGroup`] that names it.
    Revoke {
        /// The party.
        party: PartyId,
    },
    /// Wraps for a party's new encryption key, and starts a new epoch: whoever got hold of the former secret opens nothing new.
    Rotate {
        /// The party.
        party: PartyId,
        /// Its new key.
        encryption_key: EncryptionKey,
    },
}

/// Who is on the first version of a list besides its owner. All of them may read all that will be written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Founders<'a> {
    /// Those that are on it by name.
    pub grantees: &'a [Grantee],
    /// Those that are on it by their roles. A role without members is left out.
    pub groups: &'a [(Group, Vec<Member>)],
}

/// By name alone.
impl<'a, T: AsRef<[Grantee]> + ?Sized> From<&'a T> for Founders<'a> {
    fn from(grantees: &'a T) -> Self {
        Self { grantees: grantees.as_ref(), groups: &[] }
    }
}

impl AclRecord {
    /// The first version of the list for the item that `owner` calls `name`, with a fresh key.
    ///
    /// # Errors
    /// Those of [`Change::Grant`] and [`Change::SyncGroup`]; [`ChangeError::TooLarge`] or [`ChangeError::EncryptionKey`].
    pub fn first<'a>(
        owner: &dyn Signer,
        name: ItemName,
        founders: impl Into<Founders<'a>>,
        now: Timestamp,
        rng: &mut (impl CryptoRng + ?Sized),
    ) -> Result<Self, ChangeError> {
        let (party, founders) = (owner.party(), founders.into());
        let mut draft = Draft::new(ItemId::new(party, name), party, owner.encryption_key());
        draft.grant(founders.grantees, |_| 1)?;
        for (group, members) in founders.groups {
            draft.sync(group, members, |_| 1)?;
        }
        draft.prune();
        draft.appoint(owner, None)?;
        draft.begin_epoch(1, None, rng);
        draft.wrap(&Heading { name, version: 1, previous: Digest::ZERO, time: now }, rng)
    }
}

impl Acl {
    /// The next version of this list. `keys` is the author's keyring from this version.
    ///
    /// What the author does not have the right to do is refused by the replicas, not here. What has expired by `now` is dropped along
    /// the way, which starts a new epoch if somebody is off the list by that; only expired managers stay if a manager is the author.
    ///
    /// # Errors
    /// Every variant of [`ChangeError`].
    pub fn change(
        &self,
        author: &dyn Signer,
        keys: &Keyring,
        change: &Change<'_>,
        now: Timestamp,
        rng: &mut (impl CryptoRng + ?Sized),
    ) -> Result<AclRecord, ChangeError> {
        let version = self.version().checked_add(1).ok_or(ChangeError::Exhausted)?;
        let next =
            self.epoch().checked_add(1).filter(|next| *next < u64::MAX).ok_or(ChangeError::Exhausted)?;
        let mut draft = Draft::of(self);
        draft.drop_expired(now, author.party() == self.owner());
        let fence = self.apply(change, next, &mut draft)?;
        draft.prune();
        draft.appoint(author, Some(self))?;
        draft.take_keys(self, keys)?;
        if fence || draft.closes_epoch(self) {
            let before = if fence { None } else { Some(keys.key(self.epoch())?) };
            draft.begin_epoch(version, before, rng);
        }
        // The authors' clocks may differ a little, and time does not go back.
        let time = now.max(self.time());
        draft.wrap(&Heading { name: self.name(), version, previous: self.signed().digest(), time }, rng)
    }

    /// Carries out `change` on `draft`; whether the epoch `next` has to begin as a fence.
    fn apply(&self, change: &Change<'_>, next: u64, draft: &mut Draft) -> Result<bool, ChangeError> {
        let since_owner = self.entry(&self.owner()).map_or(1, |entry| entry.since);
        let since = |history: History, party: &PartyId| match (history, self.entry(party)) {
            (History::Omitted, Some(known)) => known.since,
            (History::Omitted, None) => next,
            (History::Full, _) => since_owner,
        };
        match change {
            Change::Grant { grantees, history } => {
                let since = |party: &PartyId| since(*history, party);
                let hidden = |new: &&Grantee| new.rights.manage && since(&new.party) != since_owner;
                if let Some(new) = grantees.iter().find(hidden) {
                    return Err(ChangeError::ManagerNeedsHistory(new.party));
                }
                draft.grant(grantees, since)?;
                Ok(grantees.iter().any(|new| since(&new.party) == next))
            }
            Change::SyncGroup { group, members, history } => {
                let since = |party: &PartyId| since(*history, party);
                draft.sync(group, members, since)?;
                Ok(members.iter().any(|new| since(&new.party) == next))
            }
            Change::Revoke { party } if *party == self.owner() => Err(ChangeError::Owner),
            Change::Revoke { party } => {
                let known = self.entry(party).ok_or(ChangeError::NotOnList(*party))?;
                draft.remove(&known.party);
                Ok(false)
            }
            Change::Rotate { party, encryption_key } => draft.rotate(party, *encryption_key).map(|()| false),
        }
    }
}
