//! The access control list as it is stored: who is on it, the key epochs, and the current key wrapped for each party.
//!
//! ```text
//!  AclRecord
//!  ├ owner, name ──BLAKE3──▶ ItemId = address          nobody else's record fits here
//!  ├ version, previous ───────▶ digest of version − 1
//!  ├ epochs   │ 3 │ commitment │ link: key 2 under key 3
//!  │          │ 4 │ commitment │ none: a fence
//!  │          │ 5 │ commitment │ link: key 4 under key 5
//!  ├ ephemeral                                         X25519, fresh for every version
//!  └ entries  │ anna │ rights │ since 1 │ wrap: key 5, key 3      reads epochs 5, 4 and 3, 2 …
//!             │ bert │ rights │ since 4 │ wrap: key 5             reads epochs 5, 4
//! ```

use borsh::{BorshDeserialize, BorshSerialize};
use dt_dht::MAX_RECORD_BYTES;
use dt_model::{Digest, Domain, EncryptionKey, InvalidKey, PartyId, Signature, Timestamp, codec};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{DataRef, ItemId, ItemName, Rights};

/// What a [`Record`] has besides its body: address and slot (44), version (8), the body's length (4).
pub(crate) const RECORD_OVERHEAD: usize = 56;
/// The longest encoded [`AclRecord`]: what a DHT record has room for.
pub const MAX_ACL_BYTES: usize = MAX_RECORD_BYTES - RECORD_OVERHEAD;
/// How many key epochs a list remembers. When there are more the oldest is forgotten: what was sealed in it and is still wanted must
/// have been written again since. A thousand revocations and rotations are decades for most machines, and cost 90 KB.
pub const MAX_EPOCHS: usize = 1024;
/// How many parties fit on a list, together with [`MAX_EPOCHS`] epochs without fences. Every fence takes 32 bytes more for each party
/// that was there before it.
pub const MAX_ENTRIES: usize = (MAX_ACL_BYTES - FIXED_BYTES - MAX_EPOCHS * EPOCH_BYTES) / ENTRY_BYTES;

/// Owner, name, previous, ephemeral; version, oldest epoch; two lengths; the option, counter and digest of the data.
const FIXED_BYTES: usize = 4 * 32 + 2 * 8 + 2 * 4 + 1 + 8 + 32;
/// First version, commitment, tag of the option, link.
const EPOCH_BYTES: usize = 8 + 32 + 1 + SEALED_KEY_BYTES;
/// Member, encryption key, rights, not after, since, tag of the option, length of the wrap, wrap of one key.
const ENTRY_BYTES: usize = 32 + 32 + 2 + 8 + 8 + 1 + 4 + SEALED_KEY_BYTES;
/// One key and the tag of ChaCha20-Poly1305.
const SEALED_KEY_BYTES: usize = KEY_BYTES + TAG_BYTES;
pub(crate) const KEY_BYTES: usize = 32;
pub(crate) const TAG_BYTES: usize = 16;

dt_model::fixed_bytes! {
    /// The bytes of a party's ID, compared but not parsed: to parse a curve point for each of thousands of entries would cost more
    /// than everything else that is done with a list. Bytes that are no party's ID match nobody.
    pub struct Member(32);
}

impl Member {
    /// The party.
    ///
    /// # Errors
    /// [`InvalidKey`] if these bytes are no party's.
    pub fn party(&self) -> Result<PartyId, InvalidKey> {
        PartyId::from_bytes(self.0)
    }
}

impl From<PartyId> for Member {
    fn from(party: PartyId) -> Self {
        Self(*party.as_bytes())
    }
}

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

/// A party on the list.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct Entry {
    /// The party.
    pub member: Member,
    /// The key for which `wrap` was made.
    pub encryption_key: EncryptionKey,
    /// What it may do.
    pub rights: Rights,
    /// The last moment at which it may do it.
    pub not_after: Timestamp,
    /// The first epoch that it can read.
    pub since: u64,
    /// For managers other than the owner: the owner's signature that appoints them, see [`Mandate`].
    pub mandate: Option<Signature>,
    /// The current epoch's key, then the last key before each fence after `since`, newest first, sealed for this party alone.
    pub wrap: Vec<u8>,
}

impl Entry {
    /// Whether the rights still hold at `now`.
    #[must_use]
    pub fn is_valid_at(&self, now: Timestamp) -> bool {
        now <= self.not_after
    }
}

/// What an owner signs to appoint a manager, so that whoever reads a list that a manager made can tell the manager from an impostor
/// without knowing the version before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, BorshSerialize)]
pub struct Mandate {
    /// The item.
    pub item: ItemId,
    /// The manager.
    pub member: Member,
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
/// Versions, epochs and their first versions grow; entries are sorted by member and unique; the owner is on the list with all rights and
/// without an end; `since` lies at a fence or no later than the oldest epoch; managers have a mandate and reach as far back as the owner;
/// every wrap has exactly the length that its keys need. Nothing else decodes.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize)]
pub struct AclRecord {
    pub(crate) owner: PartyId,
    pub(crate) name: ItemName,
    pub(crate) version: u64,
    pub(crate) previous: Digest,
    pub(crate) oldest: u64,
    pub(crate) data: Option<DataRef>,
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

    /// The data record that was current when this version was made, if there was one. Older data is not believed any more; this record
    /// is, whoever wrote it, because the author of the list vouches for it; newer data has to be written under this version.
    #[must_use]
    pub const fn data(&self) -> Option<DataRef> {
        self.data
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

    /// Everyone on the list, sorted by member.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The entry of `party`: a binary search.
    #[must_use]
    pub fn entry(&self, party: &PartyId) -> Option<&Entry> {
        let member = Member::from(*party);
        self.entries.binary_search_by_key(&member, |entry| entry.member).ok().map(|at| &self.entries[at])
    }

    /// The entry of `party`, if its rights hold at `now`.
    #[must_use]
    pub fn entry_at(&self, party: &PartyId, now: Timestamp) -> Option<&Entry> {
        self.entry(party).filter(|entry| entry.is_valid_at(now))
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
        *signer == self.owner
            || self.entry(signer).is_some_and(|entry| {
                let mandate = Mandate { item: self.item(), member: entry.member, not_after: entry.not_after };
                entry.mandate.is_some_and(|by_owner| self.owner.verify(&mandate.message(), &by_owner).is_ok())
            })
    }

    /// Checks the type's invariants, in time proportional to the record's length.
    pub(crate) fn check(&self) -> Result<(), MalformedAcl> {
        let sound = self.has_sound_epochs() && self.has_sound_entries();
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
            since >= 1
                && at_fence
                && (!entry.rights.manage || since == owner.since)
                && entry.mandate.is_some() == (entry.rights.manage && entry.member != owner.member)
                && entry.wrap.len() == self.wrap_bytes(&fences, since)
        };
        self.entries.len() <= MAX_ENTRIES
            && self.entries.windows(2).all(|pair| pair[0].member < pair[1].member)
            && owner.rights == Rights::ALL
            && owner.not_after == Timestamp::MAX
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
            oldest: u64::deserialize_reader(reader)?,
            data: Option::deserialize_reader(reader)?,
            epochs: Vec::deserialize_reader(reader)?,
            ephemeral: EncryptionKey::deserialize_reader(reader)?,
            entries: Vec::deserialize_reader(reader)?,
        };
        record.check().map_err(|error| borsh::io::Error::new(borsh::io::ErrorKind::InvalidData, error))?;
        Ok(record)
    }
}
