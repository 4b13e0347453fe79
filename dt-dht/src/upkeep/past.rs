//! The past of agreed records, which moves with the address.
//!
//! A record is replaced by a step for which a quorum voted that had settled the one before: so of each group of that time at least k + 1 honest
//! replicas hold the replaced one. Who was behind has a gap. In a joint epoch every node, once it knows its addresses, goes back from what is settled and fetches
//! what it lacks: a state names all that ever lay in its slots ([`Former`]), so one honest holder is enough, and one is among any n − k of the old group.
//! What none of those has is lost, and does not hold up the change.
//!
//! # Limits
//! Of each slot the records are kept whose versions are less than [`MAX_HISTORY`] below the present one.

use dt_model::{Envelope, Timestamp};

use super::link::{upkeep, upkeep_reply};
use super::{FoundPast, UpkeepReply, UpkeepRequest};
use crate::agreement::AgreedRow;
use crate::rows::{MAX_HISTORY, PastRow, RowsError, agreed_key, history_key, seal_row};
use crate::store::Row;
use crate::upkeep::link::Link;
use crate::{Address, Former, Key, Membership, Record, Refusal, Replica, StateEntry};

/// How many records are sent at once, and how many bytes of them before a page ends.
const PAGE_RECORDS: usize = 256;
const PAGE_BYTES: usize = 4 << 20;

impl PastRow {
    /// Whether it is what `former` names in the slot of `key`.
    fn is(&self, key: &Key, former: &Former) -> bool {
        let (slot, version, record) = (key.slot, former.version, self.record.digest());
        StateEntry { slot, version, record, former: self.former }.as_former() == *former
    }
}

/// What came of asking for one page of the past.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Recalled {
    /// Some of it is held now, and there may be more.
    Some,
    /// It is held as far as it is to be had.
    All,
    /// Too few could be asked, or there is no room for it.
    Unresolved,
}

impl Replica {
    /// The slots of an address in which something was replaced.
    pub(super) fn slots_with_past(&self, address: &Address) -> Result<Vec<Key>, Refusal> {
        let entries = self.settled_entries(address)?.into_iter();
        let replaced = entries.filter(|entry| entry.former.is_some());
        Ok(replaced.map(|entry| Key { address: *address, slot: entry.slot }).collect())
    }

    /// The newest former entry of a slot that this node should have and has not.
    pub(super) fn gap(&self, key: &Key) -> Result<Option<Former>, Refusal> {
        let _held = self.lock(&key.address)?;
        let Some(entry) = self.settled_entry(key)? else { return Ok(None) };
        let mut next = entry.former;
        while let Some(former) = next.filter(|former| is_kept(&entry, former)) {
            match self.past_row(key, &former)? {
                Some(row) => next = row.former,
                None => return Ok(Some(former)),
            }
        }
        Ok(None)
    }

    /// What this node has of a slot's past, from `former` on backwards, as much as fits in a page.
    pub(super) fn recall(
        &self,
        membership: &Membership,
        key: &Key,
        former: Former,
    ) -> Result<Vec<FoundPast>, Refusal> {
        let _held = self.lock(&key.address)?;
        let (mut found, mut bytes, mut next) = (Vec::new(), 0, Some(former));
        if !membership.is_replica(&self.party(), &key.address) {
            return Err(Refusal::NotAReplica);
        }
        while let Some(former) = next.filter(|_| found.len() < PAGE_RECORDS && bytes < PAGE_BYTES) {
            let row = match self.past_row(key, &former)? {
                Some(row) => Some(row),
                None => self.present_row(key, &former)?,
            };
            let Some(PastRow { record, former }) = row else { break };
            bytes += record.body().len();
            next = former;
            found.push(FoundPast { record, former });
        }
        Ok(found)
    }

    /// Keeps what another node has of the past, as far as it leads on from `former`: how many records that were.
    fn keep_past(&self, key: &Key, former: Former, found: &[FoundPast]) -> Result<usize, Refusal> {
        let _held = self.lock(&key.address)?;
        let Some(entry) = self.settled_entry(key)? else { return Ok(0) };
        let (mut rows, mut next): (Vec<Row>, _) = (Vec::new(), Some(former));
        for FoundPast { record, former: before } in found {
            let row = PastRow { record: record.clone(), former: *before };
            let Some(former) = next.filter(|former| is_kept(&entry, former) && row.is(key, former)) else {
                break;
            };
            if !is_record(record, key, former.version) {
                break;
            }
            let place = history_key(key, former.version);
            rows.push((place.clone(), seal_row(&place, &row)));
            next = *before;
        }
        let count = rows.len();
        let change = |rows: Vec<Row>| {
            self.rows().change(|batch| rows.into_iter().try_for_each(|(key, value)| batch.put(key, value)))
        };
        change(rows).map_err(|error: RowsError| error.refusal())?;
        Ok(count)
    }

    fn past_row(&self, key: &Key, former: &Former) -> Result<Option<PastRow>, Refusal> {
        let row = self.rows().read::<PastRow>(&history_key(key, former.version));
        Ok(row.map_err(|error| error.refusal())?.filter(|row| row.is(key, former)))
    }

    /// What `former` names, if it is the present record here: this node is behind.
    fn present_row(&self, key: &Key, former: &Former) -> Result<Option<PastRow>, Refusal> {
        let entry = self.settled_entry(key)?.filter(|entry| entry.as_former() == *former);
        let Some(entry) = entry else { return Ok(None) };
        let record = self.load(key)?.ok_or(Refusal::Unavailable)?;
        Ok(Some(PastRow { record: record.into_envelope(), former: entry.former }))
    }

    fn settled_entry(&self, key: &Key) -> Result<Option<StateEntry>, Refusal> {
        let entries = self.settled_entries(&key.address)?;
        Ok(entries.into_iter().find(|entry| entry.slot == key.slot))
    }

    fn settled_entries(&self, address: &Address) -> Result<Vec<StateEntry>, Refusal> {
        let row: Option<AgreedRow> =
            self.rows().read(&agreed_key(address)).map_err(|error| error.refusal())?;
        let settled = row.and_then(|row| row.settled);
        Ok(settled.map_or_else(Vec::new, |settled| settled.state().entries().to_vec()))
    }
}

/// Whether a replica keeps what `former` names, in a slot where `entry` lies now.
fn is_kept(entry: &StateEntry, former: &Former) -> bool {
    entry.version.saturating_sub(former.version) < MAX_HISTORY
}

/// The digests say so already, unless whoever settled the entry settled what is none.
fn is_record(record: &Envelope<Record>, key: &Key, version: u64) -> bool {
    record.clone().open().is_ok_and(|record| (record.key, record.version) == (*key, version))
}

/// Asks for one page of what `replica` lacks of a slot's past; how many requests that took, and how many bytes.
pub(super) async fn recall(
    replica: &Replica,
    link: &Link,
    membership: &Membership,
    key: Key,
    now: Timestamp,
) -> Result<(Recalled, u64, u64), Refusal> {
    let Some(former) = replica.gap(&key)? else { return Ok((Recalled::All, 0, 0)) };
    let (mut requests, mut bytes) = (0, 0);
    let groups = membership.groups(&key.address);
    let Some(old) = groups.first() else { return Ok((Recalled::All, 0, 0)) };
    let mut silent = old.iter().filter(|node| **node != replica.party()).count();
    let new = groups.iter().skip(1).flatten().filter(|node| !old.contains(node));
    for node in old.iter().chain(new).filter(|node| **node != replica.party()) {
        let request = UpkeepRequest::FetchPast { key, former };
        let answer = link.ask(membership, *node, upkeep(request), now).await;
        requests += 1;
        bytes += answer.as_ref().map_or(0, |answer| answer.bytes);
        let Some(UpkeepReply::Past(found)) = upkeep_reply(answer.as_ref()) else { continue };
        silent -= usize::from(old.contains(node));
        match replica.keep_past(&key, former, found) {
            Ok(0) => {}
            Ok(_) => return Ok((Recalled::Some, requests, bytes)),
            Err(Refusal::QuotaExceeded) => return Ok((Recalled::Unresolved, requests, bytes)),
            Err(refusal) => return Err(refusal),
        }
    }
    let is_lost = silent <= membership.resilience().max_faulty();
    Ok((if is_lost { Recalled::All } else { Recalled::Unresolved }, requests, bytes))
}
