//! Records of order [`Order::Newest`]: put, get, and the evidence against writers who contradict themselves.

use dt_model::{Envelope, OpenError, PartyId, Signed, Timestamp};

use super::neighbours::StoredNeighbours;
use super::{Replica, unavailable};
use crate::equivocation::contradict;
use crate::rows::{EVIDENCE, RECORDS, RecordRow, record_key};
use crate::{Equivocation, Key, Membership, Order, Receipt, Record, Refusal, ReplyBody, Site, Validator};

impl Replica {
    pub(super) fn put(
        &self,
        membership: &Membership,
        record: Envelope<Record>,
        now: Timestamp,
    ) -> Result<ReplyBody, Refusal> {
        let offered = record.open().map_err(|error| match error {
            OpenError::Signature(_) => Refusal::NotPermitted,
            _ => Refusal::Malformed,
        })?;
        self.require_replica(membership, &offered.key.address)?;
        let validator = self.validators.get(&offered.key.slot.kind).ok_or(Refusal::UnknownKind)?;
        if validator.order() != Order::Newest {
            return Err(Refusal::OtherOrder);
        }
        if offered.version == 0 {
            return Err(Refusal::Malformed);
        }
        let _held = self.lock(&offered.key.address);
        let stored = self.load(&offered.key)?;
        let leased = match &stored {
            Some((stored, leased)) if stored.digest() == offered.digest() => now.max(*leased),
            _ => {
                let stored = stored.as_ref().map(|(stored, _)| stored);
                self.judge(&**validator, stored, &offered, now)?;
                now
            }
        };
        let row = RecordRow { record: offered.envelope().clone(), leased };
        self.rows().write(record_key(RECORDS, &offered.key), &row).map_err(unavailable)?;
        self.receipt(membership, &offered, now)
    }

    /// Whether `offered` may take the place of `stored`; evidence against its writer is kept.
    pub(super) fn judge(
        &self,
        validator: &dyn Validator,
        stored: Option<&Signed<Record>>,
        offered: &Signed<Record>,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        if let Some(stored) = stored {
            if offered.version < stored.version {
                return Err(Refusal::Stale { stored: stored.version });
            }
            if contradict(stored, offered) {
                if let Some(evidence) = Equivocation::between(stored, offered) {
                    self.keep(&offered.key, &evidence)?;
                }
                return Err(Refusal::Conflict);
            }
        }
        let neighbours = StoredNeighbours::new(self, offered.key.address);
        let verdict = validator.admit(&Site { now, stored, neighbours: &neighbours }, offered);
        neighbours.finish()?;
        verdict
    }

    /// Keeps the first evidence at a key; one is enough.
    pub(super) fn keep(&self, key: &Key, evidence: &Equivocation) -> Result<(), Refusal> {
        if self.rows().evidence(key).map_err(unavailable)?.is_none() {
            self.rows().write(record_key(EVIDENCE, key), evidence).map_err(unavailable)?;
        }
        Ok(())
    }

    pub(super) fn receipt(
        &self,
        membership: &Membership,
        stored: &Signed<Record>,
        now: Timestamp,
    ) -> Result<ReplyBody, Refusal> {
        let receipt = Receipt {
            network: membership.network(),
            key: stored.key,
            version: stored.version,
            record: stored.digest(),
            epoch: membership.epoch(),
            time: now,
        };
        let receipt = Signed::new(receipt, &*self.signer).map_err(|_| Refusal::Unavailable)?;
        Ok(ReplyBody::Stored { receipt: receipt.into_envelope() })
    }

    pub(super) fn get(
        &self,
        membership: &Membership,
        key: &Key,
        reader: &PartyId,
        now: Timestamp,
    ) -> Result<ReplyBody, Refusal> {
        self.require_replica(membership, &key.address)?;
        let validator = self.validators.get(&key.slot.kind).ok_or(Refusal::UnknownKind)?;
        if validator.order() != Order::Newest {
            return Err(Refusal::OtherOrder);
        }
        let _held = self.lock(&key.address);
        let Some((stored, _)) = self.load(key)? else {
            return Ok(ReplyBody::Record { record: None });
        };
        // Another replica of the address may hold it anyway, and needs it to catch up.
        if !membership.is_replica(reader, &key.address) {
            let neighbours = StoredNeighbours::new(self, key.address);
            let site = Site { now, stored: Some(&stored), neighbours: &neighbours };
            let verdict = validator.serve(&site, reader, &stored);
            neighbours.finish()?;
            verdict?;
        }
        Ok(ReplyBody::Record { record: Some(stored.into_envelope()) })
    }
}
