//! What replicas admit and serve: the rules that make a list and its data hold together.
//!
//! A replica judges from what it has stored and nothing else. Three rules go beyond "the next version, by somebody who may":
//!
//! - **A replica that missed something catches up.** It takes a later list if the *owner* signed it, and a later data record within
//!   [`MAX_COUNTER_STEP`]. If it insisted on every version, one lost message would shut it out of an item for good.
//!   A writer that finds two competing records writes above both, for the same reason.
//! - **Data goes with the list.** A list names the data record that was current when it was made. That record is admitted under the new
//!   list too, though it was written under an older one; everything else has to be written under the version that is stored. A list that
//!   would leave out data that the replica holds is refused: its author has to read again.
//! - **Managers do not make managers.** Only the owner appoints, changes and dismisses them.

use dt_dht::{Kind, Record, Refusal, Site, Validator};
use dt_model::{PartyId, Signed, Timestamp};

use crate::item::{ACL_SLOT, DATA_SLOT};
use crate::record::{Entry, Epoch, Member};
use crate::{ACL_KIND, Acl, AclRecord, DATA_KIND, Data, DataRef};

/// How far a data record's counter may be ahead of what a replica holds: more than any replica misses, and so little that a malicious
/// writer needs four billion writes to use up the counter.
pub const MAX_COUNTER_STEP: u64 = 1 << 32;

/// Judges access control lists.
#[derive(Debug, Clone, Copy, Default)]
pub struct AclValidator;

impl Validator for AclValidator {
    fn kind(&self) -> Kind {
        ACL_KIND
    }

    fn admit(&self, site: &Site<'_>, offered: &Signed<Record>) -> Result<(), Refusal> {
        let offered = Acl::open(offered)?;
        let Some(stored) = site.stored else {
            return admit_first(&offered);
        };
        let stored = Acl::open(stored)?;
        let data = site.neighbours.record(DATA_SLOT).and_then(|data| Data::open(&data).ok());
        admit_next(&stored, &offered, data.as_ref(), site.now)
    }

    fn serve(&self, site: &Site<'_>, reader: &PartyId, stored: &Signed<Record>) -> Result<(), Refusal> {
        serve(&Acl::open(stored)?, reader, site.now)
    }
}

/// Judges data records.
#[derive(Debug, Clone, Copy, Default)]
pub struct DataValidator;

impl Validator for DataValidator {
    fn kind(&self) -> Kind {
        DATA_KIND
    }

    fn admit(&self, site: &Site<'_>, offered: &Signed<Record>) -> Result<(), Refusal> {
        let offered = Data::open(offered)?;
        let acl = site.neighbours.record(ACL_SLOT).ok_or(Refusal::Superseded)?;
        let acl = Acl::open(&acl)?;
        let stored = site.stored.map(Data::open).transpose()?;
        admit_data(&acl, stored.as_ref(), &offered, site.now)
    }

    fn serve(&self, site: &Site<'_>, reader: &PartyId, _stored: &Signed<Record>) -> Result<(), Refusal> {
        let acl = site.neighbours.record(ACL_SLOT).ok_or(Refusal::NotPermitted)?;
        serve(&Acl::open(&acl)?, reader, site.now)
    }
}

/// Only who is on the list now is served: neither outsiders, nor those who were removed, nor those whose rights have expired.
fn serve(acl: &Acl, reader: &PartyId, now: Timestamp) -> Result<(), Refusal> {
    acl.entry_at(reader, now).map(drop).ok_or(Refusal::NotPermitted)
}

/// A list where there is none.
fn admit_first(offered: &Acl) -> Result<(), Refusal> {
    if offered.signer() != offered.owner() {
        return Err(Refusal::NotPermitted);
    }
    if offered.version() == 1 && (offered.epoch() != 1 || offered.data().is_some()) {
        return Err(Refusal::Malformed);
    }
    Ok(())
}

/// A list after the one that is `stored` beside `data`.
pub(crate) fn admit_next(
    stored: &Acl,
    offered: &Acl,
    data: Option<&Data>,
    now: Timestamp,
) -> Result<(), Refusal> {
    let version = stored.version();
    let signer = offered.signer();
    let by_owner = signer == stored.owner();
    if !by_owner && !stored.entry_at(&signer, now).is_some_and(|entry| entry.rights.manage) {
        return Err(Refusal::NotPermitted);
    }
    if offered.version() < version {
        return Err(Refusal::Stale { stored: version });
    }
    if offered.version() == version {
        return Err(Refusal::Conflict);
    }
    let goes_back = !by_owner && !follows_data(stored.data(), offered.data());
    if goes_back || data.is_some_and(|data| leaves_out(stored, offered, data)) {
        return Err(Refusal::Superseded);
    }
    if offered.version() - version > 1 {
        // What lies between is not here to judge by. The owner's word is enough, a manager's is not.
        return if by_owner && offered.epoch() >= stored.epoch() {
            Ok(())
        } else {
            Err(Refusal::Gap { stored: version })
        };
    }
    if offered.previous() != stored.signed().digest() {
        return Err(Refusal::Superseded);
    }
    if !by_owner && !keeps_managers(stored, offered, now) {
        return Err(Refusal::NotPermitted);
    }
    continues_epochs(stored, offered)
}

/// Whether a list that names the data record `next` may come after one that names `before`.
fn follows_data(before: Option<DataRef>, next: Option<DataRef>) -> bool {
    match (before, next) {
        (None, _) => true,
        (Some(before), Some(next)) => next == before || next.counter > before.counter,
        (Some(_), None) => false,
    }
}

/// Whether `offered` would make the replica give up `data`, which it admitted under `stored`.
fn leaves_out(stored: &Acl, offered: &Acl, data: &Data) -> bool {
    data.is_under(stored)
        && offered.data() != Some(data.reference())
        && offered.data().is_none_or(|named| named.counter <= data.counter())
}

/// Whether nobody was made, changed or dismissed as a manager, but for those whose time is over; and the owner reads as before.
fn keeps_managers(stored: &Acl, offered: &Acl, now: Timestamp) -> bool {
    let terms = |entry: &Entry| (entry.member, entry.rights, entry.not_after, entry.since, entry.mandate);
    let managers = |acl: &AclRecord| -> Vec<_> {
        acl.entries().iter().filter(|entry| entry.rights.manage).map(terms).collect()
    };
    let remaining =
        |member: &Member| offered.entries().binary_search_by_key(member, |entry| entry.member).is_ok();
    let mut before = managers(stored.record());
    before.retain(|(member, _, not_after, ..)| now <= *not_after || remaining(member));
    before == managers(offered.record())
}

/// Whether the epochs go on from where they were, and a removal began a new one.
fn continues_epochs(stored: &Acl, offered: &Acl) -> Result<(), Refusal> {
    let began = match offered.epoch().checked_sub(stored.epoch()) {
        Some(0) => false,
        Some(1) => true,
        _ => return Err(Refusal::Inconsistent),
    };
    let all = stored.epochs();
    let forgotten = offered.oldest_epoch().checked_sub(stored.oldest_epoch()).ok_or(Refusal::Inconsistent)?;
    // Only for want of room, and only the oldest.
    if forgotten > u64::from(began && all.len() == crate::MAX_EPOCHS) {
        return Err(Refusal::Inconsistent);
    }
    let kept = &all[usize::from(forgotten == 1)..];
    let (same, new): (&[Epoch], &[Epoch]) =
        offered.epochs().split_at(offered.epochs().len() - usize::from(began));
    let fresh = new.iter().all(|epoch| {
        epoch.first_version == offered.version() && all.iter().all(|old| old.commitment != epoch.commitment)
    });
    if same != kept || !fresh {
        return Err(Refusal::Inconsistent);
    }
    let stays =
        |entry: &Entry| offered.entries().binary_search_by_key(&entry.member, |entry| entry.member).is_ok();
    if !began && !stored.entries().iter().all(stays) {
        return Err(Refusal::Inconsistent);
    }
    Ok(())
}

/// A data record, beside the list `acl` and after `stored`.
fn admit_data(acl: &Acl, stored: Option<&Data>, offered: &Data, now: Timestamp) -> Result<(), Refusal> {
    let counter = stored.map_or(0, |stored| stored.counter());
    if stored.is_some() && offered.counter() < counter {
        return Err(Refusal::Stale { stored: counter });
    }
    if stored.is_some() && offered.counter() == counter {
        return Err(Refusal::Conflict);
    }
    if acl.data() == Some(offered.reference()) {
        return Ok(());
    }
    if !acl.entry_at(&offered.writer(), now).is_some_and(|entry| entry.rights.write) {
        return Err(Refusal::NotPermitted);
    }
    if !offered.is_under(acl) {
        return Err(Refusal::Superseded);
    }
    // A record that the present list does not stand behind never got its quorum: nothing has to follow it.
    let before: Option<DataRef> =
        stored.filter(|stored| stored.is_under(acl)).map(Data::reference).or(acl.data());
    let base = before.map_or(0, |before| before.counter);
    if offered.counter() - base > MAX_COUNTER_STEP {
        return Err(Refusal::Gap { stored: base });
    }
    let follows = before.is_none_or(|before| before.digest == offered.previous());
    if offered.counter() - base == 1 && !follows { Err(Refusal::Superseded) } else { Ok(()) }
}
