//! What replicas admit and serve: the rules that make a list and its data hold together.
//!
//! List and data of an item move together, one step after the other ([`Order::Agreed`]): every honest replica judges an offered record by
//! the same settled list and data, and whoever judges it, judges it so. Hence a record is either the direct successor of what is settled,
//! by somebody who has the right to it, or refused:
//!
//! - a **list** follows the settled list in version, digest, time and epochs; the owner or a manager made it, whose right holds now; a
//!   removal begins an epoch; managers do not make managers: only the owner appoints, changes and dismisses them;
//! - **data** follows the settled data in counter and digest, and was written under the settled list, in its epoch, by a writer whose
//!   right holds now.
//!
//! A record that lost the race for a step is refused ever after, because its predecessor is no longer the last.

use dt_dht::{Kind, MAX_REQUEST_AGE, Order, Record, Refusal, Site, Validator};
use dt_model::{PartyId, Signed, Timestamp};

use crate::item::ACL_SLOT;
use crate::record::{Entry, Epoch};
use crate::{ACL_KIND, Acl, AclRecord, DATA_KIND, Data, Rights};

/// Judges access control lists.
#[derive(Debug, Clone, Copy, Default)]
pub struct AclValidator;

impl Validator for AclValidator {
    fn kind(&self) -> Kind {
        ACL_KIND
    }

    fn order(&self) -> Order {
        Order::Agreed
    }

    fn admit(&self, site: &Site<'_>, offered: &Signed<Record>) -> Result<(), Refusal> {
        let offered = Acl::open(offered)?;
        match site.stored {
            None => admit_first(&offered, site.now),
            Some(stored) => admit_next(&Acl::open(stored)?, &offered, site.now),
        }
    }

    fn serve(&self, site: &Site<'_>, reader: &PartyId, stored: &Signed<Record>) -> Result<(), Refusal> {
        serve(&Acl::open(stored)?, reader, site.now)
    }

    fn rank(&self, site: &Site<'_>, party: &PartyId) -> Option<u8> {
        rank(site, party)
    }
}

/// Judges data records.
#[derive(Debug, Clone, Copy, Default)]
pub struct DataValidator;

impl Validator for DataValidator {
    fn kind(&self) -> Kind {
        DATA_KIND
    }

    fn order(&self) -> Order {
        Order::Agreed
    }

    fn admit(&self, site: &Site<'_>, offered: &Signed<Record>) -> Result<(), Refusal> {
        let offered = Data::open(offered)?;
        let acl = site.neighbours.record(ACL_SLOT).ok_or(Refusal::Superseded)?;
        let stored = site.stored.map(Data::open).transpose()?;
        admit_data(&Acl::open(&acl)?, stored.as_ref(), &offered, site.now)
    }

    fn serve(&self, site: &Site<'_>, reader: &PartyId, _stored: &Signed<Record>) -> Result<(), Refusal> {
        let acl = site.neighbours.record(ACL_SLOT).ok_or(Refusal::NotPermitted)?;
        serve(&Acl::open(&acl)?, reader, site.now)
    }

    fn rank(&self, site: &Site<'_>, party: &PartyId) -> Option<u8> {
        rank(site, party)
    }
}

/// Only who is on the list now is served: neither outsiders, nor those who were removed, nor those whose rights have expired.
fn serve(acl: &Acl, reader: &PartyId, now: Timestamp) -> Result<(), Refusal> {
    acl.rights_at(reader, now).map(drop).ok_or(Refusal::NotPermitted)
}

/// Who gives way to whom at this item: a writer to the manager who dismisses him, a manager to the owner. Where there is no list yet all
/// are equal, since nobody knows whose address it is; only the owner's list is admitted there anyway.
fn rank(site: &Site<'_>, party: &PartyId) -> Option<u8> {
    let Some(acl) = site.neighbours.record(ACL_SLOT).or_else(|| site.stored.cloned()) else { return Some(0) };
    let acl = Acl::open(&acl).ok()?;
    let rights = acl.rights_at(party, site.now)?;
    Some(match rights {
        _ if *party == acl.owner() => 3,
        Rights { manage: true, .. } => 2,
        Rights { write: true, .. } => 1,
        _ => 0,
    })
}

/// Whether a list of this time can have been made by `now`: clocks agree within [`MAX_REQUEST_AGE`].
fn in_time(offered: &Acl, now: Timestamp) -> Result<(), Refusal> {
    if offered.time() <= now.saturating_add(MAX_REQUEST_AGE) { Ok(()) } else { Err(Refusal::Outdated) }
}

/// A list where there is none.
fn admit_first(offered: &Acl, now: Timestamp) -> Result<(), Refusal> {
    if offered.signer() != offered.owner() {
        return Err(Refusal::NotPermitted);
    }
    if offered.version() != 1 {
        return Err(Refusal::Gap { stored: 0 });
    }
    in_time(offered, now)
}

/// A list after the one that is `stored`.
pub(crate) fn admit_next(stored: &Acl, offered: &Acl, now: Timestamp) -> Result<(), Refusal> {
    let signer = offered.signer();
    let by_owner = signer == stored.owner();
    if !by_owner && !stored.rights_at(&signer, now).is_some_and(|rights| rights.manage) {
        return Err(Refusal::NotPermitted);
    }
    follows(stored.version(), offered.version())?;
    if offered.previous() != stored.signed().digest() {
        return Err(Refusal::Superseded);
    }
    if offered.time() < stored.time() {
        return Err(Refusal::Inconsistent);
    }
    in_time(offered, now)?;
    if !by_owner && !keeps_managers(stored, offered, now) {
        return Err(Refusal::NotPermitted);
    }
    continues_epochs(stored, offered)
}

/// Whether the version or counter `offered` comes directly after `stored`.
fn follows(stored: u64, offered: u64) -> Result<(), Refusal> {
    match offered.checked_sub(stored) {
        Some(1) => Ok(()),
        Some(0) => Err(Refusal::Conflict),
        Some(_) => Err(Refusal::Gap { stored }),
        None => Err(Refusal::Stale { stored }),
    }
}

/// Whether nobody was made, changed or dismissed as a manager, but for those whose time is over; and the owner reads as before.
fn keeps_managers(stored: &Acl, offered: &Acl, now: Timestamp) -> bool {
    let terms = |entry: &Entry| Some((entry.party, entry.management()?, entry.since, entry.mandate));
    let managers = |acl: &AclRecord| -> Vec<_> { acl.entries().iter().filter_map(terms).collect() };
    let remains = |party: &PartyId| offered.entry(party).is_some_and(|entry| entry.management().is_some());
    let mut before = managers(stored.record());
    before.retain(|(party, grant, ..)| now <= grant.not_after || remains(party));
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
    let stays = |entry: &Entry| offered.entry(&entry.party).is_some();
    if !began && !stored.entries().iter().all(stays) {
        return Err(Refusal::Inconsistent);
    }
    Ok(())
}

/// A data record, beside the list `acl` and after `stored`.
pub(crate) fn admit_data(
    acl: &Acl,
    stored: Option<&Data>,
    offered: &Data,
    now: Timestamp,
) -> Result<(), Refusal> {
    if !acl.rights_at(&offered.writer(), now).is_some_and(|rights| rights.write) {
        return Err(Refusal::NotPermitted);
    }
    follows(stored.map_or(0, |stored| stored.counter()), offered.counter())?;
    let follows = stored.is_none_or(|stored| stored.reference().digest == offered.previous());
    if follows && offered.is_under(acl) { Ok(()) } else { Err(Refusal::Superseded) }
}
