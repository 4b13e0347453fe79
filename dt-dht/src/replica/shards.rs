//! Shards of blobs.

use dt_model::{PartyId, Timestamp};

use super::{Replica, unavailable};
use crate::rows::{ShardRow, shard_key};
use crate::{Address, BlobRef, Membership, Refusal, ReplyBody, Shard};

impl Replica {
    pub(super) fn put_shard(
        &self,
        membership: &Membership,
        blob: BlobRef,
        index: u16,
        shard: Shard,
        now: Timestamp,
    ) -> Result<ReplyBody, Refusal> {
        if !blob.fits(membership.resilience()) {
            return Err(Refusal::Malformed);
        }
        let address = blob.address();
        self.require_place(membership, &address, index)?;
        if !blob.names(index, &shard) {
            return Err(Refusal::Inconsistent);
        }
        let _held = self.lock(&address);
        let row = ShardRow { blob, index, leased: now, bytes: shard.into_bytes() };
        self.rows().write(shard_key(&address, index), &row).map_err(unavailable)?;
        Ok(ReplyBody::ShardStored)
    }

    pub(super) fn renew_shard(
        &self,
        membership: &Membership,
        blob: &Address,
        index: u16,
        now: Timestamp,
    ) -> Result<ReplyBody, Refusal> {
        self.require_place(membership, blob, index)?;
        let _held = self.lock(blob);
        let key = shard_key(blob, index);
        let Some(row) = self.rows().read::<ShardRow>(&key).map_err(unavailable)? else {
            return Ok(ReplyBody::Shard { shard: None });
        };
        let row = ShardRow { leased: now.max(row.leased), ..row };
        self.rows().write(key, &row).map_err(unavailable)?;
        Ok(ReplyBody::ShardStored)
    }

    /// Shard `index` is for this node.
    fn require_place(&self, membership: &Membership, blob: &Address, index: u16) -> Result<(), Refusal> {
        let is_place = |group: &Vec<PartyId>| group.get(usize::from(index)) == Some(&self.party);
        let is_here = membership.groups(blob).iter().any(is_place);
        if is_here { Ok(()) } else { Err(Refusal::NotAReplica) }
    }

    pub(super) fn get_shard(
        &self,
        membership: &Membership,
        blob: &Address,
        index: u16,
    ) -> Result<ReplyBody, Refusal> {
        let row: Option<ShardRow> = self.rows().read(&shard_key(blob, index)).map_err(unavailable)?;
        if row.is_none() {
            self.require_replica(membership, blob)?;
        }
        let shard = row.and_then(|row| {
            let digest = row.blob.shards().get(usize::from(row.index))?;
            Some(Shard::known(*digest, row.bytes))
        });
        Ok(ReplyBody::Shard { shard })
    }
}
