//! What a replica takes in when it repairs itself, and what it remembers of that.

use bytes::Bytes;
use dt_model::{PartyId, Signed, Timestamp};

use super::books::{AddressRow, BAD_BLOBS, address_key};
use super::visit::{CursorRow, cursor_key};
use super::{FoundShard, HandOver};
use crate::agreement::AgreedRow;
use crate::proof::ProofRow;
use crate::rows::{RowsError, SHARDS, ShardRow, agreed_key, open_row, proof_key, seal_row, shard_key};
use crate::{Address, BlobRef, Equivocation, Key, Membership, Record, Refusal, Replica, Shard};

/// How many rows are read to find one that is no tombstone.
const ANY_ROWS: usize = 4;

/// Which shards of a blob are `party`'s own: one for each group that it is in.
pub(crate) fn own_indexes(membership: &Membership, blob: &Address, party: &PartyId) -> Vec<u16> {
    let index =
        |group: Vec<PartyId>| (0u16..).zip(group).find(|(_, node)| node == party).map(|(index, _)| index);
    let mut indexes: Vec<u16> = membership.groups(blob).into_iter().filter_map(index).collect();
    indexes.sort_unstable();
    indexes.dedup();
    indexes
}

impl Replica {
    pub(crate) fn address_row(&self, address: &Address) -> Result<Option<AddressRow>, Refusal> {
        self.rows().read(&address_key(address)).map_err(unavailable)
    }

    /// Extends the lease of an address to what another node has, if anything lies there: whether that was later.
    pub(crate) fn renew(&self, address: &Address, leased: Timestamp) -> Result<bool, Refusal> {
        let _held = self.lock(address)?;
        self.renew_held(address, leased)
    }

    /// [`Replica::renew`] of an address that is held. Within the period of the present lease nothing is written: so renewing again and
    /// again costs the node no writes.
    pub(crate) fn renew_held(&self, address: &Address, leased: Timestamp) -> Result<bool, Refusal> {
        match self.address_row(address)? {
            Some(row) if self.policy().period(leased) > self.policy().period(row.leased) => {
                self.rows().change(|batch| batch.renew(*address, leased)).map_err(unavailable)?;
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    /// The first shard that is stored of a blob.
    pub(crate) fn any_shard(&self, blob: &Address) -> Result<Option<ShardRow>, Refusal> {
        let prefix = [&[SHARDS], &blob.as_bytes()[..]].concat();
        let rows = self.store().scan(&prefix, None, ANY_ROWS).map_err(|_| Refusal::Unavailable)?;
        match rows.iter().find(|(_, value)| !value.is_empty()) {
            Some((key, value)) => Ok(Some(open_row(key, value).map_err(|_| Refusal::Unavailable)?.0)),
            None => Ok(None),
        }
    }

    pub(super) fn find_shard(&self, blob: &Address, index: u16) -> Result<Option<FoundShard>, Refusal> {
        let row: Option<ShardRow> = self.rows().read(&shard_key(blob, index)).map_err(unavailable)?;
        Ok(row.and_then(|row| {
            let digest = row.blob.shards().get(usize::from(row.index))?;
            let shard = Shard::known(*digest, row.bytes);
            Some(FoundShard { payer: row.payer, shard, blob: row.blob })
        }))
    }

    /// Keeps a sound shard of this node's. One that is there already, charged to the same party, is leased anew.
    pub(crate) fn keep_shard(
        &self,
        blob: &BlobRef,
        index: u16,
        bytes: Bytes,
        payer: PartyId,
        leased: Timestamp,
    ) -> Result<(), Refusal> {
        let address = blob.address();
        let _held = self.lock(&address)?;
        let stored = self.rows().read::<ShardRow>(&shard_key(&address, index)).map_err(unavailable)?;
        if stored.is_some_and(|stored| stored.payer == payer) {
            return self.renew_held(&address, leased).map(drop);
        }
        let row = ShardRow { blob: blob.clone(), index, payer, bytes };
        self.rows().write(shard_key(&address, index), &row, leased).map_err(unavailable)
    }

    /// Whether all shards of a blob are here that are the node's `own`.
    pub(crate) fn has_shards(&self, blob: &Address, own: &[u16]) -> Result<bool, Refusal> {
        for index in own {
            let value = self.store().get(&shard_key(blob, *index)).map_err(|_| Refusal::Unavailable)?;
            if value.is_none_or(|value| value.is_empty()) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The proof that a quorum holds its shards of a blob, if there is one here.
    pub(crate) fn proof(&self, blob: &Address) -> Result<Option<ProofRow>, Refusal> {
        self.rows().read(&proof_key(blob)).map_err(unavailable)
    }

    /// Keeps a proof at an address that is held; it is no lease.
    pub(crate) fn write_proof(&self, blob: &Address, row: &ProofRow) -> Result<(), Refusal> {
        let key = proof_key(blob);
        let value = seal_row(&key, row);
        self.rows().change(|batch| batch.put(key, value)).map_err(unavailable)
    }

    /// Keeps a proof that another node has, beside the shards, if it is later than the one that is here.
    pub(crate) fn take_proof(&self, blob: &Address, row: &ProofRow) -> Result<(), Refusal> {
        let _held = self.lock(blob)?;
        if self.proof(blob)?.is_some_and(|kept| kept.since() >= row.since()) {
            return Ok(());
        }
        self.write_proof(blob, row)
    }

    /// Since when a blob is proven to be held by a quorum, as far as this node knows and the proof has not lapsed; in milliseconds, 0 if never.
    pub(crate) fn proven_since(&self, blob: &Address, now: Timestamp) -> Result<u64, Refusal> {
        let proof = self.proof(blob)?.filter(|proof| self.policy().ends(proof.since()) > now);
        Ok(proof.map_or(0, |proof| proof.since().as_millis()))
    }

    /// Remembers that a blob cannot be restored.
    pub(crate) fn remember_bad(&self, blob: &Address, leased: Timestamp) -> Result<(), Refusal> {
        let _held = self.lock(blob)?;
        self.rows().write(bad_key(blob), &(), leased).map_err(unavailable)
    }

    pub(crate) fn is_bad(&self, blob: &Address) -> Result<bool, Refusal> {
        Ok(self.rows().read::<()>(&bad_key(blob)).map_err(unavailable)?.is_some())
    }

    /// Keeps evidence that another node has, if it convicts somebody at this key.
    pub(crate) fn learn(&self, found: &Key, evidence: &Equivocation) -> Result<(), Refusal> {
        let culprit = evidence.verify().map_err(|_| Refusal::Malformed)?;
        if culprit.key != *found {
            return Err(Refusal::WrongAddress);
        }
        let _held = self.lock(&found.address)?;
        self.keep(found, evidence)
    }

    /// Takes in a record that another node has, as if it were put now, but with the lease that it has there.
    pub(crate) fn take_in(
        &self,
        record: &Signed<Record>,
        leased: Timestamp,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        self.store_record(record, leased.min(now), now)
    }

    /// Where the comparison with `node` stood.
    pub(crate) fn cursor(&self, node: &PartyId) -> Result<Option<CursorRow>, Refusal> {
        self.rows().read(&cursor_key(node)).map_err(unavailable)
    }

    pub(crate) fn save_cursor(&self, node: &PartyId, row: CursorRow) -> Result<(), Refusal> {
        self.rows().change(|batch| batch.settle(cursor_key(node), Some(row))).map_err(unavailable)
    }

    /// The sequence at which this node, in a joint epoch, is still locked by votes of a former one. They may have decided there, and count no
    /// longer in a later epoch; that all replicas of an address agree on that they are locked shows nobody that it is to be settled.
    pub(crate) fn left_over(
        &self,
        membership: &Membership,
        address: &Address,
    ) -> Result<Option<u64>, Refusal> {
        if !membership.is_changing() || !membership.is_replica(&self.party(), address) {
            return Ok(None);
        }
        let row: Option<AgreedRow> = self.rows().read(&agreed_key(address)).map_err(unavailable)?;
        let Some(row) = row else { return Ok(None) };
        let lock = row.lock.as_ref().filter(|lock| lock.certificate.is_current(membership));
        let claim = lock.and_then(|lock| lock.certificate.claim());
        Ok(claim.filter(|vote| vote.epoch < membership.epoch()).map(|_| row.sequence().saturating_add(1)))
    }

    /// Whether this node has found that it holds everything that is its own in the present epoch.
    pub(crate) fn has_taken_over(&self, membership: &Membership) -> Result<bool, Refusal> {
        let row = self.cursor(&self.party())?;
        Ok(row.is_some_and(|row| row.complete && row.epoch == membership.epoch()))
    }

    pub(crate) fn has_shard(&self, blob: &Address, index: u16) -> Result<bool, Refusal> {
        Ok(self.rows().read::<ShardRow>(&shard_key(blob, index)).map_err(unavailable)?.is_some())
    }

    pub(super) fn statement(
        &self,
        membership: &Membership,
        now: Timestamp,
    ) -> Result<Option<dt_model::Envelope<HandOver>>, Refusal> {
        if !self.has_taken_over(membership)? {
            return Ok(None);
        }
        let statement = HandOver { network: membership.network(), epoch: membership.epoch(), time: now };
        let statement = Signed::new(statement, self.signer()).map_err(|_| Refusal::Unavailable)?;
        Ok(Some(statement.into_envelope()))
    }
}

pub(crate) fn bad_key(blob: &Address) -> Bytes {
    [&[BAD_BLOBS], &blob.as_bytes()[..]].concat().into()
}

fn unavailable(error: RowsError) -> Refusal {
    error.refusal()
}
