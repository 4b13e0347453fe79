//! Shards of blobs.

use bytes::Bytes;
use dt_model::{PartyId, Timestamp};

use super::{Replica, unavailable};
use crate::rows::{ShardRow, shard_key};
use crate::{Address, BlobRef, Membership, Refusal, ReplyBody};

impl Replica {
    pub(super) fn put_shard(
        &self,
        membership: &Membership,
        blob: BlobRef,
        index: u16,
        bytes: Bytes,
        now: Timestamp,
    ) -> Result<ReplyBody, Refusal> {
        if !blob.fits(membership.resilience()) {
            return Err(Refusal::Malformed);
        }
        let address = blob.address();
        let is_place = |group: &Vec<PartyId>| group.get(usize::from(index)) == Some(&self.party);
        if !membership.groups(&address).iter().any(is_place) {
            return Err(Refusal::NotAReplica);
        }
        if !blob.has_shard(index, &bytes) {
            return Err(Refusal::Inconsistent);
        }
        let _held = self.lock(&address);
        let row = ShardRow { blob, index, leased: now, bytes };
        self.rows().write(shard_key(&address, index), &row).map_err(unavailable)?;
        Ok(ReplyBody::ShardStored)
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
        Ok(ReplyBody::Shard { bytes: row.map(|row| row.bytes) })
    }
}
