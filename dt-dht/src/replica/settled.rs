//! What a replica has of agreed records and shows of them: to readers, and to those who are about to vote.

use dt_model::{Envelope, PartyId, Signed, Timestamp};

use super::neighbours::StoredNeighbours;
use super::{Replica, unavailable};
use crate::agreement::AgreedRow;
use crate::rows::{PastRow, ProposalRow, agreed_key, history_key, proposal_key};
use crate::{Address, Key, Lock, Membership, Neighbours, Order, Record, Refusal, ReplyBody, Site, Slot};

impl Replica {
    /// What is settled at an address, and what this node is locked on as the next.
    pub(super) fn state(
        &self,
        membership: &Membership,
        address: &Address,
        reader: &PartyId,
        now: Timestamp,
    ) -> Result<ReplyBody, Refusal> {
        self.require_replica(membership, address)?;
        let _held = self.lock(address)?;
        let row = self.agreed_row(membership, address, now)?;
        let records = self.settled_records(address, &row)?;
        let locked = match &row.lock {
            Some(lock) => Some((self.proposal(address, lock.place)?, lock.certificate.clone())),
            None => None,
        };
        if !membership.is_replica(reader, address) {
            self.serve_agreed(address, &records, None, reader, now)?;
            if let Some((record, _)) = &locked {
                self.serve_agreed(address, &records, Some(record), reader, now)?;
            }
        }
        let lock = locked.map(|(record, certificate)| Lock { record: record.into_envelope(), certificate });
        Ok(ReplyBody::State {
            records: records.into_iter().map(Signed::into_envelope).collect(),
            lock,
            promised: row.promised,
            rank: self.rank(membership, address, &row, reader, now)?,
            title: row.title,
            settled: row.settled,
        })
    }

    /// A record that is or was settled, for those who are served the present ones.
    pub(super) fn past(
        &self,
        membership: &Membership,
        key: &Key,
        version: u64,
        reader: &PartyId,
        now: Timestamp,
    ) -> Result<ReplyBody, Refusal> {
        self.require_replica(membership, &key.address)?;
        let _held = self.lock(&key.address)?;
        let row = self.agreed_row(membership, &key.address, now)?;
        let records = self.settled_records(&key.address, &row)?;
        if !membership.is_replica(reader, &key.address) {
            self.serve_agreed(&key.address, &records, None, reader, now)?;
        }
        let present = records.into_iter().find(|record| record.key == *key && record.version == version);
        let record = match present {
            Some(record) => Some(record.into_envelope()),
            None => self.history(key, version)?,
        };
        Ok(ReplyBody::Record { record })
    }

    fn history(&self, key: &Key, version: u64) -> Result<Option<Envelope<Record>>, Refusal> {
        let row: Option<PastRow> = self.rows().read(&history_key(key, version)).map_err(unavailable)?;
        let record = row.map(|row| self.verified.open(row.record)).transpose();
        let record = record.map_err(|_| Refusal::Unavailable)?;
        Ok(record.filter(|record| record.version == version).map(Signed::into_envelope))
    }

    /// Whether `reader` is served every record of the settled state, or of the one that it would be with `next`.
    fn serve_agreed(
        &self,
        address: &Address,
        records: &[Signed<Record>],
        next: Option<&Signed<Record>>,
        reader: &PartyId,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let stored = StoredNeighbours::agreed(self, *address);
        let neighbours = WithNext { next, stored: &stored };
        let replaced = |record: &&Signed<Record>| next.is_none_or(|next| next.key != record.key);
        for record in records.iter().filter(replaced).chain(next) {
            let validator = self.validators.get(&record.key.slot.kind).ok_or(Refusal::UnknownKind)?;
            let site = Site { now, stored: Some(record), neighbours: &neighbours };
            let verdict = validator.serve(&site, reader, record);
            stored.finish()?;
            verdict?;
        }
        Ok(())
    }

    /// The highest standing that a kind gives `party` at an address; a replica of it may at least take over what was left undone.
    pub(super) fn rank(
        &self,
        membership: &Membership,
        address: &Address,
        row: &AgreedRow,
        party: &PartyId,
        now: Timestamp,
    ) -> Result<Option<u8>, Refusal> {
        let neighbours = StoredNeighbours::agreed(self, *address);
        let mut highest = membership.is_replica(party, address).then_some(0);
        for place in row.places() {
            // Its own record stands here, which the validator took: where nobody has rights yet, a creation that was cut off is repeated.
            if self.proposal(address, place)?.signer() == *party {
                highest = highest.max(Some(1));
            }
        }
        for (kind, validator) in &self.validators {
            if validator.order() != Order::Agreed {
                continue;
            }
            let stored = self.load(&Key::new(*address, *kind, 0))?;
            let site = Site { now, stored: stored.as_ref(), neighbours: &neighbours };
            highest = highest.max(validator.rank(&site, party));
        }
        neighbours.finish()?;
        Ok(highest)
    }

    /// What is stored about an address, but for a lock that does not bind this epoch any more.
    pub(crate) fn agreed_row(
        &self,
        membership: &Membership,
        address: &Address,
        now: Timestamp,
    ) -> Result<AgreedRow, Refusal> {
        let row: Option<AgreedRow> = self.rows().read(&agreed_key(address)).map_err(unavailable)?;
        let mut row = row.unwrap_or_else(|| AgreedRow::new(now));
        row.lock = row.lock.filter(|lock| lock.certificate.is_current(membership));
        Ok(row)
    }

    /// The record that this node is locked on.
    pub(crate) fn locked_record(
        &self,
        membership: &Membership,
        address: &Address,
        now: Timestamp,
    ) -> Result<Option<Signed<Record>>, Refusal> {
        let row = self.agreed_row(membership, address, now)?;
        row.lock.map(|lock| self.proposal(address, lock.place)).transpose()
    }

    /// The proposed record that lies at `place`.
    pub(super) fn proposal(&self, address: &Address, place: u8) -> Result<Signed<Record>, Refusal> {
        let row: Option<ProposalRow> =
            self.rows().read(&proposal_key(address, place)).map_err(unavailable)?;
        let record = row.and_then(|row| row.record).ok_or(Refusal::Unavailable)?;
        self.verified.open(record).map_err(|_| Refusal::Unavailable)
    }

    pub(super) fn settled_records(
        &self,
        address: &Address,
        row: &AgreedRow,
    ) -> Result<Vec<Signed<Record>>, Refusal> {
        let slots = row.settled.iter().flat_map(|settled| settled.state().entries());
        let load = |slot: Slot| {
            let stored = self.load(&Key { address: *address, slot })?;
            stored.ok_or(Refusal::Unavailable)
        };
        slots.map(|entry| load(entry.slot)).collect()
    }
}

/// The settled records of an address as they would be with one more.
struct WithNext<'a> {
    next: Option<&'a Signed<Record>>,
    stored: &'a StoredNeighbours<'a>,
}

impl Neighbours for WithNext<'_> {
    fn record(&self, slot: Slot) -> Option<Signed<Record>> {
        match self.next {
            Some(next) if next.key.slot == slot => Some(next.clone()),
            _ => self.stored.record(slot),
        }
    }
}
