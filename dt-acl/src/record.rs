//! The access control list as it is stored: who is on it, the key epochs, and the current key wrapped for each party.
//!
//! ```text
//!  AclRecord
//!  ├ owner, name ──BLAKE3──▶ ItemId = address          nobody else's record fits here
//!  ├ version, time, previous ─▶ digest of version − 1
//!  ├ groups   │ 0 │ role of a twin │ rights            whose members are put on the list together
//!  ├ epochs   │ 3 │ commitment │ link: key 2 under key 3
//!  │          │ 4 │ commitment │ none: a fence
//!  │          │ 5 │ commitment │ link: key 4 under key 5
//!  ├ ephemeral                                         X25519, fresh for every version
//!  └ entries  │ anna │ grant      │ since 1 │ wrap: key 5, key 3   reads epochs 5, 4 and 3, 2 …
//!             │ bert │ by group 0 │ since 4 │ wrap: key 5          reads epochs 5, 4
//! ```

use borsh::{BorshDeserialize, BorshSerialize};
use dt_dht::MAX_RECORD_BYTES;
use dt_model::{Digest, Domain, EncryptionKey, PartyId, Signature, Timestamp, codec};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::group::are_sound;
use crate::{Grant, Group, GroupGrant, ItemId, ItemName, Rights};

/// What a [`Record`](dt_dht::Record) has besides its body: address and slot (44), version (8), the body's length (4).
pub(crate) const RECORD_OVERHEAD: usize = 56;
/// The longest encoded [`AclRecord`]: what a DHT record has room for.
pub const MAX_ACL_BYTES: usize = MAX_RECORD_BYTES - RECORD_OVERHEAD;
/// How many key epochs a list remembers. When there are more the oldest is forgotten: what was sealed in it and is still wanted must
/// have been written again since. A thousand revocations and rotations are decades for most machines, and cost 90 KB.
pub const MAX_EPOCHS: usize = 1024;
/// How many parties fit on a list, each with one grant, together with [`MAX_EPOCHS`] epochs without fences: more than ten thousand.
/// Every fence takes 32 bytes more for each party that was there before it, every further grant nine.
pub const MAX_ENTRIES: usize = (MAX_ACL_BYTES - FIXED_BYTES - MAX_EPOCHS * EPOCH_BYTES) / ENTRY_BYTES;

/// Owner, name, previous, ephemeral; version, time, oldest epoch; three lengths.
const FIXED_BYTES: usize = 4 * 32 + 3 * 8 + 3 * 4;
/// First version, commitment, tag of the option, link.
const EPOCH_BYTES: usize = 8 + 32 + 1 + SEALED_KEY_BYTES;
/// Party, encryption key, a grant (tag, rights, not after), number of groups, since, tag of the mandate, length of the wrap, wrap of one
/// key.
const ENTRY_BYTES: usize = 32 + 32 + (1 + 2 + 8) + 4 + 8 + 1 + 4 + SEALED_KEY_BYTES;
/// One key and the tag of ChaCha20-Poly1305.
const SEALED_KEY_BYTES: usize = KEY_BYTES + TAG_BYTES;
pub(crate) const KEY_BYTES: usize = 32;
pub(crate) const TAG_BYTES: usize = 16;

dt_model::fixed_bytes! {
    /// One epoch key, sealed under the key of the epoch after it.
    pub struct Link(48);
}

/// A key epoch: as long as nobody is removed, data is sealed under keys derived from one epoch key.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct Epoch {
    /// The version of the list with which it began.
    pub first_version: u64,
    /// Binds item, epoch and epoch key. Whoever obtains a key MUST check it before use: ChaCha20-Poly1305 opens one ciphertext under
    /// two keys if its maker wants that.
    pub commitment: Digest,
    /// The key of the epoch before, for whoever has this epoch's. Absent in the very first epoch, and at a *fence*: an epoch begun
    /// for parties who are not to see what came before. Those who were there get the key before the fence in their own wrap.
    pub link: Option<Link>,
}

/// A party on the list: by name, by groups, or both.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct Entry {
    /// The party.
    pub party: PartyId,
    /// The key for which `wrap` was made.
    pub encryption_key: EncryptionKey,
    /// What it was granted by name.
    pub grant: Option<Grant>,
    /// By which groups it is on the list too, in the order of [`AclRecord::groups`].
    pub groups: Vec<GroupGrant>,
    /// The first epoch that it can read.
    pub since: u64,
    /// For managers other than the owner: the owner's signature that appoints them, see [`Mandate`].
    pub mandate: Option<Signature>,
    /// The current epoch's key, then the last key before each fence after `since`, newest first, sealed for this party alone.
    pub wrap: Vec<u8>,
}

impl Entry {
    /// The right to manage, which is granted by name only, and how long it lasts.
    #[must_use]
    pub fn management(&self) -> Option<Grant> {
        self.grant.filter(|grant| grant.rights.manage)
    }
}

/// What an owner signs to appoint a manager, so that whoever reads a list that a manager made can tell the manager from an impostor
/// without knowing the version before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, BorshSerialize)]
pub struct Mandate {
    /// The item.
    pub item: ItemId,
    /// The manager.
    pub manager: PartyId,
    /// The last moment at which it may manage.
    pub not_after: Timestamp,
}

impl Mandate {
    const DOMAIN: Domain = Domain::new("dt/acl/mandate/v1");

    /// The bytes that the owner signs.
    #[must_use]
    pub fn message(&self) -> Vec<u8> {
        let mut message = Self::DOMAIN.prefix();
        message.extend_from_slice(&codec::encode(self));
        message
    }
}

/// A list that breaks one of the invariants of [`AclRecord`].
#[derive(Debug, Error, PartialEq, Eq, Clone, Copy)]
#[error("not a well-formed access control list")]
pub struct MalformedAcl;

/// An item's access control list: the body of a signed [`dt_dht::Record`].
///
/// # Invariant
/// Versions, epochs and their first versions grow; entries are sorted by party and unique; the owner is on the list by name, with all
/// rights and without an end; whoever else is on it has a grant or is in a group, and every group has somebody in it; `since` lies at a
/// fence or no later than the oldest epoch; managers have a mandate and reach as far back as the owner; every wrap has exactly the length
/// that its keys need. Nothing else decodes.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize)]
pub struct AclRecord {
    pub(crate) owner: PartyId,
    pub(crate) name: ItemName,
    pub(crate) version: u64,
    pub(crate) previous: Digest,
    pub(crate) time: Timestamp,
    pub(crate) groups: Vec<Group>,
    pub(crate) oldest: u64,
    pub(crate) epochs: Vec<Epoch>,
    pub(crate) ephemeral: EncryptionKey,
    pub(crate) entries: Vec<Entry>,
}

impl AclRecord {
    /// The item that it guards.
    #[must_use]
    pub fn item(&self) -> ItemId {
        ItemId::new(self.owner, self.name)
    }

    /// Whose item it is.
    #[must_use]
    pub const fn owner(&self) -> PartyId {
        self.owner
    }

    /// What the owner calls it.
    #[must_use]
    pub const fn name(&self) -> ItemName {
        self.name
    }

    /// Which version of the list this is, from 1.
    #[must_use]
    pub const fn version(&self) -> u64 {
        self.version
    }

    /// The digest of the version before; [`Digest::ZERO`] in the first.
    #[must_use]
    pub const fn previous(&self) -> Digest {
        self.previous
    }

    /// When its author says that it was made: no earlier than the version before and, by the replicas' clocks, not in the future.
    #[must_use]
    pub const fn time(&self) -> Timestamp {
        self.time
    }

    /// The groups that are on the list, sorted by role.
    #[must_use]
    pub fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// The number of the current key epoch, from 1.
    #[must_use]
    pub const fn epoch(&self) -> u64 {
        self.oldest + (self.epochs.len() as u64 - 1)
    }

    /// The number of the oldest epoch that is remembered.
    #[must_use]
    pub const fn oldest_epoch(&self) -> u64 {
        self.oldest
    }

    /// The epochs that are remembered, the oldest first.
    #[must_use]
    pub fn epochs(&self) -> &[Epoch] {
        &self.epochs
    }

    /// The epoch with this number.
    #[must_use]
    pub fn epoch_at(&self, epoch: u64) -> Option<&Epoch> {
        self.epochs.get(usize::try_from(epoch.checked_sub(self.oldest)?).ok()?)
    }

    /// The public half of the X25519 secret with which this version's wraps were made.
    #[must_use]
    pub const fn ephemeral(&self) -> EncryptionKey {
        self.ephemeral
    }

    /// Everyone on the list, sorted by party.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The entry of `party`: a binary search.
    #[must_use]
    pub fn entry(&self, party: &PartyId) -> Option<&Entry> {
        self.entries.binary_search_by_key(party, |entry| entry.party).ok().map(|at| &self.entries[at])
    }

    /// Everything that `entry`, which is one of this list's, gives, whether or not it has expired.
    #[must_use]
    pub fn rights_of(&self, entry: &Entry) -> Rights {
        let granted = self.grants(entry).map(|grant| grant.rights);
        granted.reduce(Rights::union).unwrap_or(Rights::READ)
    }

    /// What `party` may do at `now`; `None` if it is not on the list, or nothing that it was granted lasts so long.
    #[must_use]
    pub fn rights_at(&self, party: &PartyId, now: Timestamp) -> Option<Rights> {
        let valid = self.grants(self.entry(party)?).filter(|grant| now <= grant.not_after);
        valid.map(|grant| grant.rights).reduce(Rights::union)
    }

    /// What `entry` was granted, by name and by groups.
    fn grants(&self, entry: &Entry) -> impl Iterator<Item = Grant> {
        let by_group = entry.groups.iter().filter_map(|by| {
            let group = self.groups.get(usize::from(by.group))?;
            Some(Grant { rights: group.rights, not_after: by.not_after })
        });
        entry.grant.into_iter().chain(by_group)
    }

    /// Which epochs' keys a wrap holds, newest first, for a party that reads from `since` on. The other keys follow by links.
    pub(crate) fn wrapped_epochs(&self, since: u64) -> Vec<u64> {
        let from = since.max(self.oldest);
        let fences = self.fences().into_iter().rev().take_while(|fence| *fence > from);
        core::iter::once(self.epoch()).chain(fences.map(|fence| fence - 1)).collect()
    }

    /// The epochs without a link, the oldest remembered one not counted: what was before that is forgotten anyway.
    fn fences(&self) -> Vec<u64> {
        (self.oldest..)
            .zip(&self.epochs)
            .skip(1)
            .filter(|(_, epoch)| epoch.link.is_none())
            .map(|(n, _)| n)
            .collect()
    }

    /// The length of the wrap that [`AclRecord::wrapped_epochs`] asks for, given the fences.
    fn wrap_bytes(&self, fences: &[u64], since: u64) -> usize {
        let from = since.max(self.oldest);
        let after = fences.len() - fences.partition_point(|fence| *fence <= from);
        TAG_BYTES + KEY_BYTES * (1 + after)
    }

    /// Whether `signer` is the owner or holds the owner's mandate on this very list.
    pub(crate) fn is_signed_by_authority(&self, signer: &PartyId) -> bool {
        let appointed = || {
            let entry = self.entry(signer)?;
            let not_after = entry.management()?.not_after;
            let mandate = Mandate { item: self.item(), manager: *signer, not_after };
            self.owner.verify(&mandate.message(), &entry.mandate?).ok()
        };
        *signer == self.owner || appointed().is_some()
    }

    /// Checks the type's invariants, in time proportional to the record's length.
    pub(crate) fn check(&self) -> Result<(), MalformedAcl> {
        let sound =
            self.has_sound_epochs() && are_sound(&self.groups, &self.entries) && self.has_sound_entries();
        let first = self.version == 1;
        if sound && first == (self.previous == Digest::ZERO) { Ok(()) } else { Err(MalformedAcl) }
    }

    fn has_sound_epochs(&self) -> bool {
        let (Some(first), Some(last)) = (self.epochs.first(), self.epochs.last()) else { return false };
        let beginning = self.oldest != 1 || (first.first_version == 1 && first.link.is_none());
        (1..=MAX_EPOCHS).contains(&self.epochs.len())
            && self.oldest >= 1
            && self.oldest.checked_add(self.epochs.len() as u64).is_some()
            && beginning
            // Each epoch begins with a version of its own.
            && first.first_version >= self.oldest
            && self.epochs.windows(2).all(|pair| pair[0].first_version < pair[1].first_version)
            && last.first_version <= self.version
    }

    fn has_sound_entries(&self) -> bool {
        let Some(owner) = self.entry(&self.owner) else { return false };
        let fences = self.fences();
        let is_sound = |entry: &Entry| {
            let since = entry.since;
            let at_fence = since <= self.oldest || fences.binary_search(&since).is_ok();
            let manages = entry.management().is_some();
            since >= 1
                && at_fence
                && (!manages || since == owner.since)
                && entry.mandate.is_some() == (manages && entry.party != self.owner)
                && entry.wrap.len() == self.wrap_bytes(&fences, since)
        };
        self.entries.len() <= MAX_ENTRIES
            && self.entries.windows(2).all(|pair| pair[0].party < pair[1].party)
            && owner.grant == Some(Grant::OWNER)
            && owner.groups.is_empty()
            && self.entries.iter().all(is_sound)
    }
}

impl BorshDeserialize for AclRecord {
    fn deserialize_reader<R: borsh::io::Read>(reader: &mut R) -> borsh::io::Result<Self> {
        let record = Self {
            owner: PartyId::deserialize_reader(reader)?,
            name: ItemName::deserialize_reader(reader)?,
            version: u64::deserialize_reader(reader)?,
            previous: Digest::deserialize_reader(reader)?,
            time: Timestamp::deserialize_reader(reader)?,
            groups: Vec::deserialize_reader(reader)?,
            oldest: u64::deserialize_reader(reader)?,
            epochs: Vec::deserialize_reader(reader)?,
            ephemeral: EncryptionKey::deserialize_reader(reader)?,
            entries: Vec::deserialize_reader(reader)?,
        };
        record.check().map_err(|error| borsh::io::Error::new(borsh::io::ErrorKind::InvalidData, error))?;
        Ok(record)
    }
}
