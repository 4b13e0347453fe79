//! Records of order [`Order::Newest`]: put, get, and the evidence against writers who contradict themselves.

use dt_model::{Envelope, OpenError, PartyId, Signed, Timestamp};

use super::neighbours::StoredNeighbours;
use super::{Replica, unavailable};
use crate::equivocation::contradict;
use crate::rows::{EVIDENCE, RECORDS, RecordRow, RowsError, record_key, seal_row};
use crate::{Equivocation, Key, Membership, Order, Receipt, Record, Refusal, ReplyBody, Site, Validator};

impl Replica {
    pub(super) fn put(
        &self,
        membership: &Membership,
        record: Envelope<Record>,
        now: Timestamp,
    ) -> Result<ReplyBody, Refusal> {
        let offered = self.verified.open(record).map_err(|error| match error {
            OpenError::Signature(_) => Refusal::NotPermitted,
            _ => Refusal::Malformed,
        })?;
        self.require_replica(membership, &offered.key.address)?;
        self.store_record(&offered, now, now)?;
        self.receipt(membership, &offered, now)
    }

    /// Judges and stores a record, and leases its address from `leased` on.
    pub(crate) fn store_record(
        &self,
        offered: &Signed<Record>,
        leased: Timestamp,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let validator = self.validators.get(&offered.key.slot.kind).ok_or(Refusal::UnknownKind)?;
        if validator.order() != Order::Newest {
            return Err(Refusal::OtherOrder);
        }
        if offered.version == 0 {
            return Err(Refusal::Malformed);
        }
        let _held = self.lock(&offered.key.address)?;
        let stored = self.load(&offered.key)?;
        if stored.as_ref().is_some_and(|stored| stored.digest() == offered.digest()) {
            return self.renew_held(&offered.key.address, leased).map(drop);
        }
        self.judge(&**validator, stored.as_ref(), offered, now)?;
        self.write_record(offered, leased)
    }

    /// Stores a newer record that honest replicas have judged.
    pub(crate) fn store_judged(&self, record: &Signed<Record>, leased: Timestamp) -> Result<(), Refusal> {
        if self.order(&record.key.slot.kind) != Some(Order::Newest) {
            return Err(Refusal::OtherOrder);
        }
        let _held = self.lock(&record.key.address)?;
        match self.load(&record.key)? {
            Some(stored) if stored.version >= record.version => {
                Err(Refusal::Stale { stored: stored.version })
            }
            _ => self.write_record(record, leased),
        }
    }

    fn write_record(&self, record: &Signed<Record>, leased: Timestamp) -> Result<(), Refusal> {
        let row = RecordRow { record: record.envelope().clone() };
        self.rows().write(record_key(RECORDS, &record.key), &row, leased).map_err(unavailable)
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

    /// Keeps the first evidence at a key; one is enough. Of whom there is enough evidence, no more is kept.
    pub(crate) fn keep(&self, key: &Key, evidence: &Equivocation) -> Result<(), Refusal> {
        if self.rows().evidence(key).map_err(unavailable)?.is_some() {
            return Ok(());
        }
        let (key, rows) = (record_key(EVIDENCE, key), self.rows());
        let kept = rows.change(|batch| batch.put(key.clone(), seal_row(&key, evidence)));
        match kept {
            Ok(()) | Err(RowsError::Quota) => Ok(()),
            Err(error) => Err(unavailable(error)),
        }
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
        let _held = self.lock(&key.address)?;
        let Some(stored) = self.load(key)? else {
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
