//! Shards of blobs, and beside them the proof that a quorum holds its shards: a put is acknowledged when a quorum has the proof.

use dt_model::{PartyId, Signed, Timestamp};

use super::{Replica, unavailable};
use crate::proof::ProofRow;
use crate::rows::{ShardRow, shard_key};
use crate::upkeep::own_indexes;
use crate::{
    Address, BlobRef, CertificateError, Membership, QuorumCertificate, Receipt, Refusal, ReplyBody, Shard,
};

impl Replica {
    pub(super) fn put_shard(
        &self,
        membership: &Membership,
        sender: &PartyId,
        (blob, index, shard): (BlobRef, u16, Shard),
        now: Timestamp,
    ) -> Result<ReplyBody, Refusal> {
        if !blob.fits(membership.resilience()) {
            return Err(Refusal::Malformed);
        }
        let address = blob.address();
        let own = self.own_places(membership, &address, index)?;
        if !blob.names(index, &shard) {
            return Err(Refusal::Inconsistent);
        }
        self.keep_shard(&blob, index, shard.into_bytes(), *sender, now)?;
        self.stored(membership, &address, &own, now)
    }

    pub(super) fn renew_shard(
        &self,
        membership: &Membership,
        sender: &PartyId,
        (blob, index): (&Address, u16),
        now: Timestamp,
    ) -> Result<ReplyBody, Refusal> {
        let own = self.own_places(membership, blob, index)?;
        let Some(row) = self.rows().read::<ShardRow>(&shard_key(blob, index)).map_err(unavailable)? else {
            return Ok(ReplyBody::Shard { shard: None });
        };
        self.keep_shard(&row.blob, index, row.bytes, *sender, now)?;
        self.stored(membership, blob, &own, now)
    }

    /// The shards that are this node's own, if `index` is one of them.
    fn own_places(&self, membership: &Membership, blob: &Address, index: u16) -> Result<Vec<u16>, Refusal> {
        let own = own_indexes(membership, blob, &self.party);
        if own.contains(&index) { Ok(own) } else { Err(Refusal::NotAReplica) }
    }

    /// The answer when a shard is stored: with a receipt, if all that are the node's `own` are.
    fn stored(
        &self,
        membership: &Membership,
        blob: &Address,
        own: &[u16],
        now: Timestamp,
    ) -> Result<ReplyBody, Refusal> {
        // One that has one shard has it now.
        if own.len() > 1 && !self.has_shards(blob, own)? {
            return Ok(ReplyBody::ShardStored { receipt: None });
        }
        let receipt = Signed::new(
            Receipt::of_shards(membership.network(), membership.epoch(), blob, now),
            &*self.signer,
        );
        let receipt = receipt.map_err(|_| Refusal::Unavailable)?.into_envelope();
        Ok(ReplyBody::ShardStored { receipt: Some(receipt) })
    }

    /// Keeps the proof that a quorum holds its shards of `blob`. It has to be of the present epoch: an older one says nothing of what hand-overs
    /// since have left.
    pub(super) fn keep_certificate(
        &self,
        membership: &Membership,
        sender: &PartyId,
        (blob, certificate): (&Address, QuorumCertificate),
        now: Timestamp,
    ) -> Result<ReplyBody, Refusal> {
        let own = own_indexes(membership, blob, &self.party);
        if own.is_empty() {
            return Err(Refusal::NotAReplica);
        }
        if certificate.claimed_epoch() != Some(membership.epoch()) {
            return Err(Refusal::Outdated);
        }
        let since = certificate.verify_blob(membership, blob).map_err(|error| match error {
            CertificateError::OtherMembership => Refusal::Outdated,
            CertificateError::OtherRecord => Refusal::WrongAddress,
            _ => Refusal::Unproven,
        })?;
        if self.policy.ends(since) <= now {
            return Err(Refusal::Outdated);
        }
        let _held = self.lock(blob)?;
        if !self.has_shards(blob, &own)? {
            return Err(Refusal::Superseded);
        }
        // As with leases: to put the same again and again costs no writes.
        let is_as_good = |kept: &ProofRow| {
            let is_in_period = self.policy.period(kept.since()) == self.policy.period(since);
            kept.since() >= since || (kept.epoch() == membership.epoch() && is_in_period)
        };
        if !self.proof(blob)?.as_ref().is_some_and(is_as_good) {
            let row = ProofRow::new(&certificate, *sender).ok_or(Refusal::Unproven)?;
            self.write_proof(blob, &row)?;
        }
        Ok(ReplyBody::CertificateKept)
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
