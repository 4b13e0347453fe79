//! Making lists: the first version of one, and the next.

use std::collections::BTreeMap;

use dt_model::{Digest, EncryptionKey, PartyId, Secret, Signer, SignerError, Timestamp, codec};
use rand_core::CryptoRng;
use thiserror::Error;

use crate::keys::{self, Ephemeral, KeyError, Keyring, Place};
use crate::record::{AclRecord, Entry, Epoch, MAX_ACL_BYTES, MAX_ENTRIES, MAX_EPOCHS, Mandate, Member};
use crate::{Acl, DataRef, Grantee, History, ItemId, ItemName, Rights};

/// An encryption key for which nothing can be wrapped: the shared secret would be the same for everybody (RFC 7748, section 6.1).
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
#[error("nothing can be wrapped for the encryption key {} of {}", key.short(), member.short())]
pub struct EncryptionKeyRefused {
    /// Whose key it is said to be.
    pub member: Member,
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
    OnlyOwnerAppoints(Member),
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

/// A change to a list.
#[derive(Debug, Clone, Copy)]
pub enum Change<'a> {
    /// Puts parties on the list, or changes the rights of those who are.
    Grant {
        /// The parties.
        grantees: &'a [Grantee],
        /// What those who are new may read of the past.
        history: History,
    },
    /// Takes a party off the list, and starts a new epoch.
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

impl AclRecord {
    /// The first version of the list for the item that `owner` calls `name`, with a fresh key.
    ///
    /// # Errors
    /// [`ChangeError::Owner`], [`ChangeError::Repeated`], [`ChangeError::TooLarge`] or [`ChangeError::EncryptionKey`].
    pub fn first(
        owner: &dyn Signer,
        name: ItemName,
        grantees: &[Grantee],
        rng: &mut (impl CryptoRng + ?Sized),
    ) -> Result<Self, ChangeError> {
        let party = owner.party();
        let own = Grantee::new(party, owner.encryption_key(), Rights::ALL);
        let mut draft = Draft {
            item: ItemId::new(party, name),
            entries: BTreeMap::from([(Member::from(party), entry(&own, 1))]),
            data: None,
            oldest: 1,
            epochs: Vec::new(),
            keys: BTreeMap::new(),
        };
        draft.grant(party, grantees, |_| 1)?;
        draft.appoint_by(owner)?;
        draft.begin_epoch(1, None, rng);
        draft.wrap(party, name, 1, Digest::ZERO, rng)
    }
}

impl Acl {
    /// The next version of this list. `keys` is the author's keyring from this version, `data` the item's current data record.
    ///
    /// What the author does not have the right to do is refused by the replicas, not here. Entries that have expired by `now` are
    /// dropped along the way, which starts a new epoch as every removal does; only expired managers stay if a manager is the author.
    ///
    /// # Errors
    /// Every variant of [`ChangeError`].
    pub fn change(
        &self,
        author: &dyn Signer,
        keys: &Keyring,
        change: &Change<'_>,
        data: Option<DataRef>,
        now: Timestamp,
        rng: &mut (impl CryptoRng + ?Sized),
    ) -> Result<AclRecord, ChangeError> {
        let version = self.version().checked_add(1).ok_or(ChangeError::Exhausted)?;
        let next =
            self.epoch().checked_add(1).filter(|next| *next < u64::MAX).ok_or(ChangeError::Exhausted)?;
        let since_owner = self.entry(&self.owner()).map_or(1, |entry| entry.since);
        let mut draft = Draft::of(self);
        draft.data = data;
        draft.drop_expired(now, author.party() == self.owner());
        let mut fence = false;
        match change {
            Change::Grant { grantees, history } => {
                let since = |grantee: &Grantee| match (history, self.entry(&grantee.party)) {
                    (History::Omitted, Some(known)) => known.since,
                    (History::Omitted, None) => next,
                    (History::Full, _) => since_owner,
                };
                fence = grantees.iter().any(|grantee| since(grantee) == next);
                if let Some(new) = grantees.iter().find(|new| new.rights.manage && since(new) != since_owner)
                {
                    return Err(ChangeError::ManagerNeedsHistory(new.party));
                }
                draft.grant(self.owner(), grantees, since)?;
                draft.appoint(author, self)?;
            }
            Change::Revoke { party } if *party == self.owner() => return Err(ChangeError::Owner),
            Change::Revoke { party } => {
                let known = self.entry(party).is_some();
                draft.entries.remove(&Member::from(*party));
                known.then_some(()).ok_or(ChangeError::NotOnList(*party))?;
            }
            Change::Rotate { party, encryption_key } => {
                let entry = draft.entries.get_mut(&Member::from(*party));
                entry.ok_or(ChangeError::NotOnList(*party))?.encryption_key = *encryption_key;
            }
        }
        draft.take_keys(self, keys)?;
        if fence || draft.closes_epoch(self) {
            let before = if fence { None } else { Some(keys.key(self.epoch())?) };
            draft.begin_epoch(version, before, rng);
        }
        draft.wrap(self.owner(), self.name(), version, self.signed().digest(), rng)
    }
}

/// A list in the making: entries without wraps, and the keys that will be wrapped.
struct Draft {
    item: ItemId,
    entries: BTreeMap<Member, Entry>,
    data: Option<DataRef>,
    oldest: u64,
    epochs: Vec<Epoch>,
    keys: BTreeMap<u64, Secret>,
}

impl Draft {
    fn of(acl: &Acl) -> Self {
        Self {
            item: acl.item(),
            entries: acl
                .entries()
                .iter()
                .map(|entry| (entry.member, Entry { wrap: Vec::new(), ..entry.clone() }))
                .collect(),
            data: acl.data(),
            oldest: acl.oldest_epoch(),
            epochs: acl.epochs().to_vec(),
            keys: BTreeMap::new(),
        }
    }

    fn drop_expired(&mut self, now: Timestamp, managers_too: bool) {
        self.entries.retain(|_, entry| entry.is_valid_at(now) || (entry.rights.manage && !managers_too));
    }

    fn grant(
        &mut self,
        owner: PartyId,
        grantees: &[Grantee],
        since: impl Fn(&Grantee) -> u64,
    ) -> Result<(), ChangeError> {
        let mut named = std::collections::BTreeSet::new();
        for grantee in grantees {
            if grantee.party == owner {
                return Err(ChangeError::Owner);
            }
            if !named.insert(grantee.party) {
                return Err(ChangeError::Repeated(grantee.party));
            }
            self.entries.insert(Member::from(grantee.party), entry(grantee, since(grantee)));
        }
        Ok(())
    }

    /// Gives every manager a mandate: the one it has in `acl`, as far as that says the same, or else a new one, if `author` is the owner.
    fn appoint(&mut self, author: &dyn Signer, acl: &Acl) -> Result<(), ChangeError> {
        let owner = Member::from(acl.owner());
        for entry in self.entries.values_mut().filter(|entry| entry.rights.manage && entry.member != owner) {
            let at = acl.entries().binary_search_by_key(&entry.member, |known| known.member).ok();
            let known = at.map(|at| &acl.entries()[at]).filter(|known| known.not_after == entry.not_after);
            entry.mandate = known.and_then(|known| known.mandate);
        }
        if author.party() == acl.owner() {
            return self.appoint_by(author);
        }
        match self
            .entries
            .values()
            .find(|entry| entry.rights.manage && entry.member != owner && entry.mandate.is_none())
        {
            Some(entry) => Err(ChangeError::OnlyOwnerAppoints(entry.member)),
            None => Ok(()),
        }
    }

    /// Signs a mandate for every manager without one.
    fn appoint_by(&mut self, owner: &dyn Signer) -> Result<(), ChangeError> {
        let own = Member::from(owner.party());
        for entry in self.entries.values_mut().filter(|entry| entry.rights.manage && entry.member != own) {
            if entry.mandate.is_none() {
                let mandate = Mandate { item: self.item, member: entry.member, not_after: entry.not_after };
                entry.mandate = Some(owner.sign(&mandate.message())?);
            }
        }
        Ok(())
    }

    /// Collects the keys that the wraps of `acl`'s author hold: those of the current epoch and before each fence.
    fn take_keys(&mut self, acl: &Acl, keys: &Keyring) -> Result<(), ChangeError> {
        for epoch in acl.wrapped_epochs(self.entries.values().map(|entry| entry.since).min().unwrap_or(1)) {
            self.keys.insert(epoch, keys.key(epoch)?);
        }
        Ok(())
    }

    /// Whether somebody who could open the wraps of `acl` must not be able to open what comes next.
    fn closes_epoch(&self, acl: &Acl) -> bool {
        acl.entries().iter().any(|old| {
            self.entries.get(&old.member).is_none_or(|entry| entry.encryption_key != old.encryption_key)
        })
    }

    /// Begins the next epoch with a fresh key, linked to the key `before`, or as a fence.
    fn begin_epoch(
        &mut self,
        first_version: u64,
        before: Option<Secret>,
        rng: &mut (impl CryptoRng + ?Sized),
    ) {
        let key = Secret::generate(rng);
        let number = self.oldest + self.epochs.len() as u64;
        self.epochs.push(Epoch {
            first_version,
            commitment: keys::commitment(&key, self.item, number),
            link: before.and_then(|before| keys::link(&key, self.item, number, &before)),
        });
        self.keys.insert(number, key);
        if self.epochs.len() > MAX_EPOCHS {
            self.epochs.remove(0);
            self.oldest += 1;
        }
    }

    /// Wraps the keys for everybody, under a fresh ephemeral key.
    fn wrap(
        self,
        owner: PartyId,
        name: ItemName,
        version: u64,
        previous: Digest,
        rng: &mut (impl CryptoRng + ?Sized),
    ) -> Result<AclRecord, ChangeError> {
        let ephemeral = Ephemeral::generate(rng);
        let mut record = AclRecord {
            owner,
            name,
            version,
            previous,
            data: self.data,
            oldest: self.oldest,
            epochs: self.epochs,
            ephemeral: ephemeral.public(),
            entries: Vec::new(),
        };
        let count = self.entries.len();
        if count > MAX_ENTRIES {
            return Err(ChangeError::TooLarge { size: codec::encode(&record).len(), entries: count });
        }
        let mut entries: Vec<Entry> = self.entries.into_values().collect();
        for entry in &mut entries {
            let place = Place::of(&record, entry.member, entry.encryption_key);
            let mut wrapped = Vec::new();
            for epoch in record.wrapped_epochs(entry.since) {
                wrapped.push(self.keys.get(&epoch).ok_or(KeyError::Corrupt)?);
            }
            entry.wrap = ephemeral.wrap(&place, &wrapped)?;
        }
        record.entries = entries;
        let size = codec::encode(&record).len();
        if size > MAX_ACL_BYTES {
            return Err(ChangeError::TooLarge { size, entries: count });
        }
        debug_assert_eq!(record.check(), Ok(()), "what is made here decodes elsewhere");
        Ok(record)
    }
}

fn entry(grantee: &Grantee, since: u64) -> Entry {
    Entry {
        member: Member::from(grantee.party),
        encryption_key: grantee.encryption_key,
        rights: grantee.rights,
        not_after: grantee.not_after,
        since,
        mandate: None,
        wrap: Vec::new(),
    }
}
