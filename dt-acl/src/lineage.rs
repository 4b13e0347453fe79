//! The past of an item: former versions of its list and its data, verified by the digests that lead down from what is settled.

use core::ops::Range;
use std::collections::BTreeSet;

use dt_dht::{Key, Record, Refusal};
use dt_model::{Digest, PartyId, Signed, Timestamp};

use crate::{Acl, AclError, Data, Floor, ItemId, ItemState, Items, Rights};

/// Versions of an item's list, each made on the one before, the oldest first: who could do what, and when.
#[derive(Debug, Clone)]
pub struct Lineage {
    lists: Vec<Acl>,
    is_current: bool,
}

impl Lineage {
    /// The versions, the oldest first. Each names its author ([`Acl::signer`]) and its time.
    #[must_use]
    pub fn lists(&self) -> &[Acl] {
        &self.lists
    }

    /// The version that counted at `time`; `None` if that is before these versions, or after them.
    #[must_use]
    pub fn at(&self, time: Timestamp) -> Option<&Acl> {
        let after = self.lists.partition_point(|acl| acl.time() <= time);
        let is_last = after == self.lists.len();
        self.lists[..after].last().filter(|_| !is_last || self.is_current)
    }

    /// Everyone to whom one of these versions gave the key of `epoch`: who could open what was written in it, then or later, if he got at
    /// the bytes. Those whose rights had expired are among them, until they were taken off the list.
    #[must_use]
    pub fn key_holders(&self, epoch: u64) -> BTreeSet<PartyId> {
        let has_key = |acl: &&Acl| (acl.oldest_epoch()..=acl.epoch()).contains(&epoch);
        let entries = self.lists.iter().filter(has_key).flat_map(|acl| acl.entries());
        entries.filter(|entry| entry.since <= epoch).map(|entry| entry.party).collect()
    }

    /// What `party` could do at `time`; `None` if nothing, or if that is outside of these versions.
    #[must_use]
    pub fn rights(&self, party: &PartyId, time: Timestamp) -> Option<Rights> {
        self.at(time)?.rights_at(party, time)
    }
}

/// A version of something that names the digest of the version before.
pub(crate) trait Chained: Sized {
    fn open(signed: &Signed<Record>) -> Result<Self, Refusal>;
    fn key(item: ItemId) -> Key;
    fn settled_in(state: ItemState) -> Option<Self>;
    fn signed(&self) -> &Signed<Record>;
    fn previous(&self) -> Digest;
}

impl Chained for Acl {
    fn open(signed: &Signed<Record>) -> Result<Self, Refusal> {
        Self::open(signed)
    }
    fn key(item: ItemId) -> Key {
        item.acl_key()
    }
    fn settled_in(state: ItemState) -> Option<Self> {
        Some(state.acl)
    }
    fn signed(&self) -> &Signed<Record> {
        self.signed()
    }
    fn previous(&self) -> Digest {
        self.record().previous()
    }
}

impl Chained for Data {
    fn open(signed: &Signed<Record>) -> Result<Self, Refusal> {
        Self::open(signed)
    }
    fn key(item: ItemId) -> Key {
        item.data_key()
    }
    fn settled_in(state: ItemState) -> Option<Self> {
        state.data
    }
    fn signed(&self) -> &Signed<Record> {
        self.signed()
    }
    fn previous(&self) -> Digest {
        self.record().previous()
    }
}

impl Items {
    /// The list of `item` as it was in `version`, found down the chain of digests from the settled one: one request for each version on
    /// the way.
    ///
    /// # Errors
    /// Those of [`Items::acl`]; [`AclError::NoSuchVersion`] if there is none yet, or the replicas have forgotten it.
    pub async fn acl_at(&self, item: ItemId, version: u64, now: Timestamp) -> Result<Acl, AclError> {
        let newest = self.state(item, None, now).await?.acl;
        self.descend(item, newest, version, now, |_| ()).await
    }

    /// The data record of `item` with this `counter`, likewise: what it says of its writer, its list and its time. Its content is to be
    /// had by [`Items::open`] as long as nodes keep the blob.
    ///
    /// # Errors
    /// As [`Items::acl_at`]; [`AclError::NoData`].
    pub async fn data_at(&self, item: ItemId, counter: u64, now: Timestamp) -> Result<Data, AclError> {
        let newest = self.state(item, None, now).await?.data.ok_or(AclError::NoData(item))?;
        self.descend(item, newest, counter, now, |_| ()).await
    }

    /// The list's `versions`, as far as there are any yet: who could do what, and when.
    ///
    /// # Errors
    /// As [`Items::acl_at`].
    pub async fn history(
        &self,
        item: ItemId,
        versions: Range<u64>,
        floor: Option<Floor>,
        now: Timestamp,
    ) -> Result<Lineage, AclError> {
        let newest = self.state(item, floor, now).await?.acl;
        let versions = versions.start.max(1)..versions.end.min(newest.version().saturating_add(1));
        let is_current = versions.end == newest.version().saturating_add(1);
        let mut lists = Vec::new();
        if !versions.is_empty() {
            let oldest = self
                .descend(item, newest, versions.start, now, |acl: Acl| {
                    if versions.contains(&acl.version()) {
                        lists.push(acl);
                    }
                })
                .await?;
            lists.push(oldest);
        }
        lists.reverse();
        Ok(Lineage { lists, is_current })
    }

    /// Goes down from `newest` to `version`, and gives what is passed on the way to `pass`.
    pub(crate) async fn descend<T: Chained>(
        &self,
        item: ItemId,
        newest: T,
        version: u64,
        now: Timestamp,
        mut pass: impl FnMut(T),
    ) -> Result<T, AclError> {
        let missing = AclError::NoSuchVersion { item, version };
        let mut at = newest;
        if !(1..=at.signed().version).contains(&version) {
            return Err(missing);
        }
        while at.signed().version > version {
            let (before, digest) = (at.signed().version - 1, at.previous());
            let record = self.client().past(T::key(item), before, digest, now).await;
            let record = record.map_err(|error| AclError::unread(error, self.party()))?;
            let Some(record) = record.filter(|record| record.digest() == digest) else {
                return Err(missing);
            };
            // The digest is the one that the version after names, so what does not open is no lie of a replica's.
            let opened = T::open(&record).map_err(|_| AclError::Inconsistent(item))?;
            pass(std::mem::replace(&mut at, opened));
        }
        Ok(at)
    }

    /// Whether `record` is settled in `state`, or was and has been replaced since.
    pub(crate) async fn is_settled<T: Chained>(
        &self,
        item: ItemId,
        state: &ItemState,
        record: &Signed<Record>,
        now: Timestamp,
    ) -> Result<bool, AclError> {
        let Some(newest) = T::settled_in(state.clone()) else { return Ok(false) };
        if newest.signed().version <= record.version {
            return Ok(newest.signed().digest() == record.digest());
        }
        let after = self.descend(item, newest, record.version.saturating_add(1), now, |_| ()).await?;
        Ok(after.previous() == record.digest())
    }
}
