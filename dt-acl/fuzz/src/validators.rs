//! One item, and whatever its parties and strangers offer to a replica that holds it.

use core::time::Duration;

use dt_acl::testing::Shelf;
use dt_acl::{ACL_KIND, Acl, AclRef, Data, DataRef, KeyError, Keyring};
use dt_dht::{MAX_REQUEST_AGE, Refusal};
use dt_model::testing::{Choices, SeedRng};
use dt_model::{Digest, Signer, Timestamp};

use super::records::{self, Offer, PARTIES, party};

/// How many records a run offers at most.
const STEPS: usize = 12;

struct World {
    shelf: Shelf,
    now: Timestamp,
    /// The lists that were admitted, and whether all of them were made as they should be.
    lists: Vec<Acl>,
    is_honest: bool,
    offered: Vec<Offer>,
}

/// Whatever is offered, both validators judge it the same again, change nothing when they refuse it, and admit nothing but the next list or
/// data of somebody who has the right to it.
pub fn validators(data: &[u8]) {
    let mut choices = Choices::new(data);
    let mut rng = SeedRng::new(u64::from(choices.byte()));
    let (shelf, now) = (Shelf::default(), Timestamp::from_millis(1_700_000_000_000));
    let mut world = World { shelf, now, lists: Vec::new(), is_honest: true, offered: Vec::new() };
    for _ in 0..STEPS {
        if choices.is_empty() {
            break;
        }
        if choices.below(8) == 0 {
            let wait = [Duration::from_millis(choices.number()), Duration::from_secs(600)][choices.below(2)];
            world.now = world.now.saturating_add(wait);
        }
        if let Some(offer) = world.make(&mut choices, &mut rng) {
            world.offer(&offer);
            world.offered.push(offer);
        }
    }
    world.check_readers();
}

impl World {
    fn make(&self, choices: &mut Choices<'_>, rng: &mut SeedRng) -> Option<Offer> {
        if choices.below(8) == 0 && !self.offered.is_empty() {
            let Offer { signed, is_honest } = &self.offered[choices.below(self.offered.len())];
            return Some(Offer { signed: signed.clone(), is_honest: *is_honest });
        }
        // Mostly on the newest list, sometimes on an older one, as somebody does who is late.
        let newest = self.lists.len().checked_sub(1);
        let acl = newest.map(|newest| &self.lists[newest - choices.below(8).saturating_sub(5).min(newest)]);
        let previous = self.shelf.data().map(|data| data.reference()).filter(|_| choices.below(8) > 0);
        let offer = match (acl, choices.below(16)) {
            (None, _) | (_, 0) => records::first(choices, self.now, rng),
            (Some(acl), 1..=8) => records::next(choices, acl, self.now, rng),
            (Some(acl), _) => records::data(choices, acl, previous, self.now, rng),
        }?;
        if choices.below(4) == 0 { records::forged(choices, &offer, self.now) } else { Some(offer) }
    }

    fn holds(&self) -> (Option<AclRef>, Option<DataRef>) {
        (self.shelf.acl().map(|acl| acl.reference()), self.shelf.data().map(|data| data.reference()))
    }

    fn offer(&mut self, offer: &Offer) {
        let (before, held) = (self.shelf.clone(), self.holds());
        let verdict = self.shelf.offer(&offer.signed, self.now);
        assert_eq!(before.clone().offer(&offer.signed, self.now), verdict, "judged again, the same");
        if verdict.is_err() {
            assert_eq!(self.holds(), held, "what is refused changes nothing");
            return;
        }
        let after = self.holds();
        if offer.signed.key.slot.kind == ACL_KIND {
            let acl = Acl::open(&offer.signed).expect("it was admitted");
            assert_eq!((after.1, Some(acl.reference())), (held.1, after.0));
            self.check_list(before.acl().as_ref(), &acl);
            self.is_honest &= offer.is_honest;
            if self.is_honest {
                records::keys_agree(&acl);
            }
            self.lists.push(acl);
        } else {
            let data = Data::open(&offer.signed).expect("it was admitted");
            assert_eq!((after.0, Some(data.reference())), (held.0, after.1));
            self.check_data(&before, &data);
            if self.is_honest && offer.is_honest {
                let acl = before.acl().expect("checked");
                let writer = (0..PARTIES).find(|number| party(*number).party() == data.writer());
                assert!(writer.is_some_and(|writer| records::is_open(&acl, &data, party(writer))));
            }
        }
        self.check_readers();
        let again = self.shelf.offer(&offer.signed, self.now);
        assert!(again.is_err() && self.holds() == after, "nothing is admitted twice");
        assert!(again != Err(Refusal::Malformed) && again != Err(Refusal::WrongAddress));
    }

    fn check_list(&self, before: Option<&Acl>, acl: &Acl) {
        assert!(acl.time() <= self.now.saturating_add(MAX_REQUEST_AGE));
        let Some(before) = before else {
            assert!((acl.version(), acl.previous(), acl.signer()) == (1, Digest::ZERO, acl.owner()));
            return;
        };
        assert_eq!((acl.version(), acl.previous()), (before.version() + 1, before.reference().digest));
        assert_eq!((acl.item(), acl.owner()), (before.item(), before.owner()));
        assert!(acl.time() >= before.time());
        let by_owner = acl.signer() == before.owner();
        let manages = before.rights_at(&acl.signer(), self.now).is_some_and(|rights| rights.manage);
        assert!(by_owner || manages, "somebody who may made it");
        for entry in acl.entries().iter().filter(|entry| entry.management().is_some()) {
            let known = before.entry(&entry.party).and_then(|known| known.management());
            assert!(by_owner || known == entry.management(), "only the owner appoints");
        }
        for entry in before.entries() {
            let dismissed = acl.entry(&entry.party).is_none_or(|entry| entry.management().is_none());
            let lasts = entry.management().is_some_and(|grant| self.now <= grant.not_after);
            assert!(by_owner || !lasts || !dismissed, "only the owner dismisses");
            if acl.entry(&entry.party).is_none() {
                assert_eq!(acl.epoch(), before.epoch() + 1, "a removal begins an epoch");
            }
        }
        for number in before.oldest_epoch().max(acl.oldest_epoch())..=before.epoch() {
            assert_eq!(before.epoch_at(number), acl.epoch_at(number), "epochs stay what they are");
        }
    }

    fn check_data(&self, before: &Shelf, data: &Data) {
        let acl = before.acl().expect("there is a list");
        assert!(acl.rights_at(&data.writer(), self.now).is_some_and(|rights| rights.write));
        assert!(data.is_under(&acl) && data.item() == acl.item());
        let (counter, digest) = before.data().map_or((0, Digest::ZERO), |data| {
            let DataRef { counter, digest } = data.reference();
            (counter, digest)
        });
        assert_eq!((data.counter(), data.previous()), (counter + 1, digest));
    }

    /// Who is on the list now is served and ranked, and nobody else.
    fn check_readers(&self) {
        let Some(acl) = self.shelf.acl() else { return };
        for number in 0..PARTIES {
            let reader = party(number);
            let rights = acl.rights_at(&reader.party(), self.now);
            assert_eq!(self.shelf.serve(&reader.party(), self.now).is_ok(), rights.is_some());
            assert_eq!(self.shelf.rank(&reader.party(), self.now).is_some(), rights.is_some());
            if acl.entry(&reader.party()).is_none() {
                assert!(matches!(Keyring::open(&acl, reader), Err(KeyError::NotAReader(_))));
            }
        }
    }
}
