//! Votes on records of order [`Order::Agreed`]: between the wire, the rows, and the rules in [`crate::agreement`]. What is shown of such records
//! stands in `settled.rs`.

use bytes::Bytes;
use dt_model::{Envelope, OpenError, PartyId, Signed, Timestamp};

use super::neighbours::StoredNeighbours;
use super::{Replica, unavailable};
use crate::agreement::{AgreedRow, Attempt, Place};
use crate::rows::{
    PastRow, ProposalRow, RECORDS, RecordRow, agreed_key, history_key, proposal_key, record_key, seal_row,
};
use crate::store::Row;
use crate::{
    Address, AddressState, Ballot, Bid, Key, Kind, LockCertificate, Membership, Order, Phase, Promise,
    Record, Refusal, ReplyBody, SettlementCertificate, Site, Validator, Vote,
};

/// A proposal as it came.
pub(super) struct Proposal {
    pub(super) sequence: u64,
    pub(super) ballot: Option<Ballot>,
    pub(super) record: Envelope<Record>,
    pub(super) promises: Vec<Envelope<Promise>>,
}

impl Replica {
    /// Votes for a record as the next one, if the promises that this node gave allow it, and the validator or a quorum's lock says so.
    pub(super) fn propose(
        &self,
        membership: &Membership,
        proposal: Proposal,
        sender: &PartyId,
        now: Timestamp,
    ) -> Result<ReplyBody, Refusal> {
        let Proposal { sequence, ballot, record, promises } = proposal;
        let (record, validator) = self.open_agreed(membership, record)?;
        let address = record.key.address;
        let _held = self.lock(&address)?;
        let mut row = self.agreed_row(membership, &address, now)?;
        row.require_next(sequence)?;
        row.may_accept(ballot, &record.digest())?;
        let base = row.state(address);
        let state = next_state(&base, &record)?;
        let required = match ballot {
            None if promises.is_empty() => None,
            Some(ballot) if ballot.proposer == *sender => {
                let attempt = Attempt { address, sequence, ballot };
                let is_proof = |lock: &LockCertificate| self.proves(membership, &address, lock).is_some();
                attempt.justify(&promises, membership, is_proof).map_err(|_| Refusal::Unproven)?
            }
            _ => return Err(Refusal::Unproven),
        };
        match required {
            Some(required) if required != state.digest() => return Err(Refusal::Unproven),
            // Of those who accepted it more than can lie are honest, and judged it on this same state.
            Some(_) => {}
            None => self.judge_agreed(validator, &record, now)?,
        }
        let before = row.clone();
        let place = row.accept(ballot, record.digest(), now)?;
        self.write_agreed(&address, &before, &row, place_row(&address, place, &record), now)?;
        self.vote(membership, &state, ballot, Phase::Accept)
    }

    /// Locks on a record that a quorum accepts. If that quorum is of a former epoch, whose lock binds and decides nothing here, the record is
    /// accepted again instead, under the same ballot.
    pub(super) fn commit(
        &self,
        membership: &Membership,
        record: Envelope<Record>,
        certificate: LockCertificate,
        now: Timestamp,
    ) -> Result<ReplyBody, Refusal> {
        let (record, _) = self.open_agreed(membership, record)?;
        let address = record.key.address;
        let claim = certificate.claim().ok_or(Refusal::Unproven)?;
        let _held = self.lock(&address)?;
        let mut row = self.agreed_row(membership, &address, now)?;
        row.require_next(claim.sequence)?;
        let state = next_state(&row.state(address), &record)?;
        if claim.state != state.digest() || self.proves(membership, &address, &certificate).is_none() {
            return Err(Refusal::Unproven);
        }
        let before = row.clone();
        let (phase, place) = if claim.epoch == membership.epoch() {
            (Phase::Commit, row.lock(certificate, claim.ballot, record.digest(), now)?)
        } else {
            (Phase::Accept, row.accept(claim.ballot, record.digest(), now)?)
        };
        self.write_agreed(&address, &before, &row, place_row(&address, place, &record), now)?;
        self.vote(membership, &state, claim.ballot, phase)
    }

    /// Takes over a state that was decided.
    pub(crate) fn adopt(
        &self,
        membership: &Membership,
        certificate: SettlementCertificate,
        records: Vec<Envelope<Record>>,
        now: Timestamp,
    ) -> Result<ReplyBody, Refusal> {
        let address = certificate.state().address();
        self.require_replica(membership, &address)?;
        let _held = self.lock(&address)?;
        let row = self.agreed_row(membership, &address, now)?;
        if certificate.state().sequence() <= row.sequence() {
            // Who sends again what is settled renews its lease.
            self.renew_held(&address, now)?;
            return Ok(ReplyBody::Adopted { sequence: row.sequence() });
        }
        if !self.remembered.check(&certificate, || certificate.verify(membership).is_ok()) {
            return Err(Refusal::Unproven);
        }
        let mut rows = self.settled_rows(&address, &row, &certificate, records)?;
        for place in row.places() {
            let key = proposal_key(&address, place);
            rows.push((key.clone(), seal_row(&key, &ProposalRow { record: None })));
        }
        let mut next = row;
        next.settle(certificate, now);
        let key = agreed_key(&address);
        rows.push((key.clone(), seal_row(&key, &next)));
        self.rows().write_all(rows, now).map_err(unavailable)?;
        Ok(ReplyBody::Adopted { sequence: next.sequence() })
    }

    /// The rows of what changes from one settled state to a later one: the new records, and the old ones as history.
    fn settled_rows(
        &self,
        address: &Address,
        row: &AgreedRow,
        certificate: &SettlementCertificate,
        offered: Vec<Envelope<Record>>,
    ) -> Result<Vec<Row>, Refusal> {
        let (base, mut rows) = (row.state(*address), Vec::new());
        for entry in certificate.state().entries() {
            if base.entry(entry.slot) == Some(entry) {
                continue;
            }
            let key = Key { address: *address, slot: entry.slot };
            let offered = offered.iter().find(|record| record.digest() == entry.record);
            let record = match (offered, row.place_of(&entry.record)) {
                (Some(record), _) => self.verified.open(record.clone()).map_err(|_| Refusal::Malformed)?,
                (None, Some(place)) => self.proposal(address, place)?,
                (None, None) => return Err(Refusal::Behind { sequence: row.sequence() }),
            };
            if (record.key, record.version) != (key, entry.version) {
                return Err(Refusal::Malformed);
            }
            if let Some(replaced) = self.load(&key)? {
                let history = history_key(&key, replaced.version);
                let former = base.entry(entry.slot).and_then(|entry| entry.former);
                let row = PastRow { record: replaced.into_envelope(), former };
                rows.push((history.clone(), seal_row(&history, &row)));
            }
            let row = RecordRow { record: record.into_envelope() };
            rows.push((record_key(RECORDS, &key), seal_row(&record_key(RECORDS, &key), &row)));
        }
        Ok(rows)
    }

    /// Promises to vote for nothing older than the ballot of `bid`. The `titles` are heeded whatever comes of it.
    pub(super) fn promise(
        &self,
        membership: &Membership,
        bid: Envelope<Bid>,
        titles: &[Envelope<Bid>],
        sender: &PartyId,
        now: Timestamp,
    ) -> Result<ReplyBody, Refusal> {
        let bid = open_bid(bid, membership)?;
        let Bid { address, sequence, ballot, time, .. } = *bid;
        self.require_replica(membership, &address)?;
        if ballot.proposer != *sender {
            return Err(Refusal::NotPermitted);
        }
        if titles.len() > membership.replicas(&address).len() {
            return Err(Refusal::Malformed);
        }
        let _held = self.lock(&address)?;
        let mut row = self.agreed_row(membership, &address, now)?;
        row.require_next(sequence)?;
        let before = row.clone();
        for title in titles {
            self.heed(membership, (&address, &mut row), title, now)?;
        }
        // By what entitles him, others who judge the bid later have to be convinced as well.
        let rank = |time| self.rank(membership, &address, &row, sender, time);
        let rank = rank(now)?.min(rank(time)?);
        let promised = row.promise(&bid, rank, now);
        self.write_agreed(&address, &before, &row, None, now)?;
        promised?;
        let (record, lock) = match row.lock {
            Some(lock) => {
                (Some(self.proposal(&address, lock.place)?.into_envelope()), Some(lock.certificate))
            }
            None => (None, None),
        };
        let (network, epoch) = (membership.network(), membership.epoch());
        let promise = Promise { network, epoch, address, sequence, ballot, lock };
        let promise = Signed::new(promise, &*self.signer).map_err(|_| Refusal::Unavailable)?;
        Ok(ReplyBody::Promised { promise: promise.into_envelope(), record })
    }

    /// Heeds a bid for the next step that somebody else shows, if it is sound, of a higher rank than all that was promised, and its proposer
    /// had that rank when he made it. Whoever shows another is not to blame: it was shown to him.
    fn heed(
        &self,
        membership: &Membership,
        (address, row): (&Address, &mut AgreedRow),
        title: &Envelope<Bid>,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let is_news = |bid: &Bid| {
            (bid.address, bid.sequence.checked_sub(1)) == (*address, Some(row.sequence()))
                && row.is_outranked_by(&bid.ballot)
        };
        if Bid::claim(title).is_some_and(|bid| is_news(&bid))
            && let Ok(bid) = open_bid(title.clone(), membership)
        {
            let rank = self.rank(membership, address, row, &bid.ballot.proposer, bid.time)?;
            row.heed(&bid, rank, now);
        }
        Ok(())
    }

    /// The order of records of `kind`, if somebody judges it here.
    pub(crate) fn order(&self, kind: &Kind) -> Option<Order> {
        self.validators.get(kind).map(|validator| validator.order())
    }

    /// A record of order [`Order::Agreed`] for an address of this node, and who judges it.
    fn open_agreed(
        &self,
        membership: &Membership,
        record: Envelope<Record>,
    ) -> Result<(Signed<Record>, &dyn Validator), Refusal> {
        let record = self.verified.open(record).map_err(|error| match error {
            OpenError::Signature(_) => Refusal::NotPermitted,
            _ => Refusal::Malformed,
        })?;
        self.require_replica(membership, &record.key.address)?;
        let validator = self.validators.get(&record.key.slot.kind).ok_or(Refusal::UnknownKind)?;
        match validator.order() {
            Order::Agreed => Ok((record, &**validator)),
            Order::Newest => Err(Refusal::OtherOrder),
        }
    }

    /// Whether the validator takes `offered` as the next record, judging by what is settled.
    fn judge_agreed(
        &self,
        validator: &dyn Validator,
        offered: &Signed<Record>,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let stored = self.load(&offered.key)?;
        let neighbours = StoredNeighbours::agreed(self, offered.key.address);
        let site = Site { now, stored: stored.as_ref(), neighbours: &neighbours };
        let verdict = validator.admit(&site, offered);
        neighbours.finish()?;
        verdict
    }

    /// What a lock's certificate says, if it holds.
    fn proves(&self, membership: &Membership, address: &Address, lock: &LockCertificate) -> Option<Vote> {
        let claim = lock.claim().filter(|claim| claim.address == *address)?;
        self.remembered.check(lock, || lock.verify(membership, address).is_ok()).then_some(claim)
    }

    /// Signs a vote, for what is on disk by now.
    fn vote(
        &self,
        membership: &Membership,
        state: &AddressState,
        ballot: Option<Ballot>,
        phase: Phase,
    ) -> Result<ReplyBody, Refusal> {
        let vote = Vote {
            network: membership.network(),
            epoch: membership.epoch(),
            address: state.address(),
            sequence: state.sequence(),
            ballot,
            state: state.digest(),
            phase,
        };
        let vote = Signed::new(vote, &*self.signer).map_err(|_| Refusal::Unavailable)?;
        Ok(ReplyBody::Voted { vote: vote.into_envelope() })
    }

    /// Writes what changed, durably, before anything is signed about it.
    fn write_agreed(
        &self,
        address: &Address,
        before: &AgreedRow,
        row: &AgreedRow,
        proposal: Option<Row>,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let key = agreed_key(address);
        let changed = (before != row).then(|| (key.clone(), seal_row(&key, row)));
        let rows: Vec<Row> = proposal.into_iter().chain(changed).collect();
        if rows.is_empty() { Ok(()) } else { self.rows().write_all(rows, now).map_err(unavailable) }
    }
}

/// A bid by the hand of its proposer, for this network.
fn open_bid(bid: Envelope<Bid>, membership: &Membership) -> Result<Signed<Bid>, Refusal> {
    let bid = bid.open().map_err(|_| Refusal::Malformed)?;
    let is_own = bid.signer() == bid.ballot.proposer && bid.network == membership.network();
    if is_own { Ok(bid) } else { Err(Refusal::Malformed) }
}

/// The state that `record` leads to.
fn next_state(base: &AddressState, record: &Signed<Record>) -> Result<AddressState, Refusal> {
    base.after(record).ok_or_else(|| match base.entry(record.key.slot) {
        Some(stored) if record.version < stored.version => Refusal::Stale { stored: stored.version },
        Some(stored) if record.version == stored.version => Refusal::Conflict,
        _ => Refusal::Malformed,
    })
}

fn place_row(address: &Address, place: Place, record: &Signed<Record>) -> Option<Row> {
    let Place::Write(place) = place else { return None };
    let key: Bytes = proposal_key(address, place);
    let row = ProposalRow { record: Some(record.envelope().clone()) };
    Some((key.clone(), seal_row(&key, &row)))
}
