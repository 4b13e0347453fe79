//! A list in the making: entries without wraps, and the keys that will be wrapped.

use std::collections::{BTreeMap, BTreeSet};

use dt_model::{Digest, EncryptionKey, PartyId, Secret, Signer, Timestamp, codec};
use rand_core::CryptoRng;

use crate::change::ChangeError;
use crate::keys::{self, Ephemeral, KeyError, Keyring, Place};
use crate::record::{AclRecord, Entry, Epoch, MAX_ACL_BYTES, MAX_ENTRIES, MAX_EPOCHS, Mandate};
use crate::{Acl, Grant, Grantee, Group, GroupGrant, ItemId, ItemName, MAX_GROUPS, Member};

pub(crate) struct Draft {
    item: ItemId,
    owner: PartyId,
    entries: BTreeMap<PartyId, Entry>,
    groups: Vec<Group>,
    oldest: u64,
    epochs: Vec<Epoch>,
    keys: BTreeMap<u64, Secret>,
}

/// What a version says of itself.
pub(crate) struct Heading {
    pub(crate) name: ItemName,
    pub(crate) version: u64,
    pub(crate) previous: Digest,
    pub(crate) time: Timestamp,
}

impl Draft {
    /// A list of the owner alone.
    pub(crate) fn new(item: ItemId, owner: PartyId, encryption_key: EncryptionKey) -> Self {
        let entry = Entry { grant: Some(Grant::OWNER), ..entry(owner, encryption_key, 1) };
        let (entries, keys) = (BTreeMap::from([(owner, entry)]), BTreeMap::new());
        Self { item, owner, entries, groups: Vec::new(), oldest: 1, epochs: Vec::new(), keys }
    }

    /// What `acl` says, to be changed.
    pub(crate) fn of(acl: &Acl) -> Self {
        let unwrapped = |entry: &Entry| (entry.party, Entry { wrap: Vec::new(), ..entry.clone() });
        Self {
            item: acl.item(),
            owner: acl.owner(),
            entries: acl.entries().iter().map(unwrapped).collect(),
            groups: acl.groups().to_vec(),
            oldest: acl.oldest_epoch(),
            epochs: acl.epochs().to_vec(),
            keys: BTreeMap::new(),
        }
    }

    /// Takes away what lasts no longer.
    pub(crate) fn drop_expired(&mut self, now: Timestamp, managers_too: bool) {
        for entry in self.entries.values_mut() {
            let stays = |grant: &Grant| now <= grant.not_after || (grant.rights.manage && !managers_too);
            entry.grant = entry.grant.filter(stays);
            entry.groups.retain(|by| now <= by.not_after);
        }
    }

    /// Grants by name.
    pub(crate) fn grant(
        &mut self,
        grantees: &[Grantee],
        since: impl Fn(&PartyId) -> u64,
    ) -> Result<(), ChangeError> {
        let mut named = BTreeSet::new();
        for grantee in grantees {
            if grantee.party == self.owner {
                return Err(ChangeError::Owner);
            }
            if !named.insert(grantee.party) {
                return Err(ChangeError::Repeated(grantee.party));
            }
            let entry = self.place(grantee.party, grantee.encryption_key, since(&grantee.party));
            entry.grant = Some(Grant { rights: grantee.rights, not_after: grantee.not_after });
        }
        Ok(())
    }

    /// Makes `members` the ones who are here by `group`.
    pub(crate) fn sync(
        &mut self,
        group: &Group,
        members: &[Member],
        since: impl Fn(&PartyId) -> u64,
    ) -> Result<(), ChangeError> {
        if group.rights.manage {
            return Err(ChangeError::GroupCannotManage);
        }
        let at = self.place_group(group)?;
        for entry in self.entries.values_mut() {
            entry.groups.retain(|by| by.group != at);
        }
        let (owner, mut named) = (self.owner, BTreeSet::new());
        for member in members.iter().filter(|member| member.party != owner) {
            if !named.insert(member.party) {
                return Err(ChangeError::Repeated(member.party));
            }
            let entry = self.place(member.party, member.encryption_key, since(&member.party));
            let before = entry.groups.partition_point(|by| by.group < at);
            entry.groups.insert(before, GroupGrant { group: at, not_after: member.not_after });
        }
        Ok(())
    }

    /// Takes `party` off the list.
    pub(crate) fn remove(&mut self, party: &PartyId) {
        self.entries.remove(party);
    }

    /// Gives `party` another encryption key.
    pub(crate) fn rotate(&mut self, party: &PartyId, key: EncryptionKey) -> Result<(), ChangeError> {
        let entry = self.entries.get_mut(party).ok_or(ChangeError::NotOnList(*party))?;
        entry.encryption_key = key;
        Ok(())
    }

    /// The entry of `party`, which is made if there is none, with this key and reach.
    fn place(&mut self, party: PartyId, key: EncryptionKey, since: u64) -> &mut Entry {
        let entry = self.entries.entry(party).or_insert_with(|| entry(party, key, since));
        (entry.encryption_key, entry.since) = (key, since);
        entry
    }

    /// The place of `group`, which is made if there is none.
    fn place_group(&mut self, group: &Group) -> Result<u8, ChangeError> {
        let found = self.groups.binary_search_by(|known| known.role.cmp(&group.role));
        let at = u8::try_from(found.unwrap_or_else(|at| at)).map_err(|_| ChangeError::TooManyGroups)?;
        match found {
            Ok(known) => self.groups[known].rights = group.rights,
            Err(_) if self.groups.len() >= MAX_GROUPS => return Err(ChangeError::TooManyGroups),
            Err(new) => {
                self.groups.insert(new, group.clone());
                self.renumber(|of| if of >= at { of + 1 } else { of });
            }
        }
        Ok(at)
    }

    /// Drops entries that nothing keeps here, and groups without members.
    pub(crate) fn prune(&mut self) {
        self.entries.retain(|_, entry| entry.grant.is_some() || !entry.groups.is_empty());
        let used: BTreeSet<u8> =
            self.entries.values().flat_map(|entry| entry.groups.iter().map(|by| by.group)).collect();
        let mut at = 0..;
        self.groups.retain(|_| at.next().is_some_and(|at: u8| used.contains(&at)));
        let places: BTreeMap<u8, u8> = used.into_iter().zip(0..).collect();
        self.renumber(|of| places.get(&of).copied().unwrap_or(of));
    }

    fn renumber(&mut self, place: impl Fn(u8) -> u8) {
        let all = self.entries.values_mut().flat_map(|entry| &mut entry.groups);
        all.for_each(|by| by.group = place(by.group));
    }

    /// Gives every manager a mandate: the one it has in `acl`, as far as that says the same, or else a new one, if `author` is the owner.
    pub(crate) fn appoint(&mut self, author: &dyn Signer, acl: Option<&Acl>) -> Result<(), ChangeError> {
        for entry in self.entries.values_mut() {
            let Some(Grant { not_after, .. }) = entry.management().filter(|_| entry.party != self.owner)
            else {
                entry.mandate = None;
                continue;
            };
            let known = acl.and_then(|acl| acl.entry(&entry.party));
            let known = known.filter(|known| known.management().is_some_and(|of| of.not_after == not_after));
            entry.mandate = known.and_then(|known| known.mandate);
            if entry.mandate.is_none() {
                if author.party() != self.owner {
                    return Err(ChangeError::OnlyOwnerAppoints(entry.party));
                }
                let mandate = Mandate { item: self.item, manager: entry.party, not_after };
                entry.mandate = Some(author.sign(&mandate.message())?);
            }
        }
        Ok(())
    }

    /// Collects the keys that the wraps of `acl`'s author hold: those of the current epoch and before each fence.
    pub(crate) fn take_keys(&mut self, acl: &Acl, keys: &Keyring) -> Result<(), ChangeError> {
        for epoch in acl.wrapped_epochs(self.entries.values().map(|entry| entry.since).min().unwrap_or(1)) {
            self.keys.insert(epoch, keys.key(epoch)?);
        }
        Ok(())
    }

    /// Whether somebody who could open the wraps of `acl` must not be able to open what comes next.
    pub(crate) fn closes_epoch(&self, acl: &Acl) -> bool {
        acl.entries().iter().any(|old| {
            self.entries.get(&old.party).is_none_or(|entry| entry.encryption_key != old.encryption_key)
        })
    }

    /// Begins the next epoch with a fresh key, linked to the key `before`, or as a fence.
    pub(crate) fn begin_epoch(
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
    pub(crate) fn wrap(
        self,
        heading: &Heading,
        rng: &mut (impl CryptoRng + ?Sized),
    ) -> Result<AclRecord, ChangeError> {
        let ephemeral = Ephemeral::generate(rng);
        let mut record = AclRecord {
            owner: self.owner,
            name: heading.name,
            version: heading.version,
            previous: heading.previous,
            time: heading.time,
            groups: self.groups,
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
            let place = Place::of(&record, entry.party, entry.encryption_key);
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

/// An entry that gives nothing yet.
const fn entry(party: PartyId, encryption_key: EncryptionKey, since: u64) -> Entry {
    Entry { party, encryption_key, grant: None, groups: Vec::new(), since, mandate: None, wrap: Vec::new() }
}
