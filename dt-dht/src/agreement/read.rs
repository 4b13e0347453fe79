//! The client's side of a read: what a quorum of replicas says is settled at an address, and what may have been decided after it.

use std::collections::{BTreeMap, BTreeSet};

use dt_model::{Envelope, PartyId, Signed};

use super::{AddressState, Ballot, Bid, LockCertificate, Remembered, Settled, SettlementCertificate};
use crate::operation::{Operation, Outgoing};
use crate::tally::{Answer, Tally, Verdict};
use crate::{Address, GetError, Lock, Membership, Record, Refusal, ReplyBody, RequestBody};

/// A record with proof that a quorum accepted it as the next one: decided, or maybe about to be.
#[derive(Debug, Clone)]
pub(crate) struct Locked {
    pub(crate) record: Signed<Record>,
    pub(crate) ballot: Option<Ballot>,
    pub(crate) certificate: LockCertificate,
}

/// What a read found.
#[derive(Debug, Clone)]
pub(crate) struct Reading {
    /// The state that is settled; the empty one at first.
    pub(crate) base: AddressState,
    /// The same with its records and proof, unless it is empty.
    pub(crate) settled: Option<Settled>,
    /// The newest lock that a replica of that state shows. Without one, nothing later was decided when the read began.
    pub(crate) lock: Option<Locked>,
    /// Replicas that have settled less.
    pub(crate) laggards: Vec<PartyId>,
    /// The reader's standing, as most replicas say.
    pub(crate) rank: Option<u8>,
    /// The ballots that replicas of that state have promised, oldest first. Some may be lies.
    pub(crate) promised: Vec<Option<Ballot>>,
    /// The titles that replicas of that state show, each once. Some may be lies.
    pub(crate) titles: Vec<Envelope<Bid>>,
}

/// How far a claimed round is believed above one that is surely promised: less than honest replicas allow for at once, so that a liar
/// cannot drive the rounds out of their reach.
const BELIEVED_STEP: u64 = 1 << 16;

impl Reading {
    /// After `settled` was decided: nobody has said anything about what follows.
    pub(crate) fn after(&self, settled: Settled) -> Self {
        Self {
            base: settled.state().clone(),
            settled: Some(settled),
            lock: None,
            laggards: Vec::new(),
            rank: self.rank,
            promised: Vec::new(),
            titles: Vec::new(),
        }
    }

    /// Whether more replicas than can lie have promised a ballot, so that coming first is in vain. `liars` is how many can.
    pub(crate) fn is_contended(&self, liars: usize) -> bool {
        self.sure(liars).is_some()
    }

    /// A ballot for the next sequence that honest replicas grant if they may; `None` if the party has no standing here.
    pub(crate) fn ballot(&self, proposer: PartyId, liars: usize) -> Option<Ballot> {
        let sure = self.sure(liars);
        // Somebody of a higher rank left his attempt undone: whoever waited long enough may go on in that rank.
        let rank = sure.map_or(0, |ballot| ballot.rank).max(self.rank?);
        let base = sure.filter(|ballot| ballot.rank == rank).map_or(0, |ballot| ballot.round);
        let limit = base.saturating_add(BELIEVED_STEP);
        let claimed = self.promised.iter().flatten().filter(|ballot| ballot.rank == rank);
        let highest = claimed.map(|ballot| ballot.round).filter(|round| *round <= limit).max();
        let round = highest.unwrap_or(base).max(base).checked_add(1)?;
        Some(Ballot { rank, round, proposer })
    }

    /// The highest ballot that an honest replica has surely promised, if it is any.
    fn sure(&self, liars: usize) -> Option<Ballot> {
        self.promised.iter().rev().nth(liars).copied().flatten()
    }
}

/// What one replica shows.
#[derive(Debug)]
struct Shown {
    settled: Option<SettlementCertificate>,
    records: Vec<Envelope<Record>>,
    lock: Option<Lock>,
    promised: Option<Ballot>,
    title: Option<Envelope<Bid>>,
    rank: Option<u8>,
}

impl Shown {
    fn sequence(&self) -> u64 {
        self.settled.as_ref().map_or(0, |settled| settled.state().sequence())
    }
}

/// Collects what replicas show. The highest settled sequence wins whose proof holds; a replica whose proof does not is a liar, and counts
/// as one that did not answer.
pub(crate) struct StateQuorum<'a> {
    membership: &'a Membership,
    address: Address,
    tally: Tally,
    shown: BTreeMap<PartyId, Shown>,
    remembered: &'a Remembered,
    /// What was found sound so far: it is not looked through again when another answer comes.
    believed: Option<Settled>,
    /// Replicas that do not serve the reader, and may be behind: by what others show, it may be served.
    withheld: BTreeSet<PartyId>,
    /// Those of them that were told what others show.
    told: BTreeSet<PartyId>,
    outgoing: Vec<Outgoing>,
}

impl<'a> StateQuorum<'a> {
    pub(crate) fn new(membership: &'a Membership, address: Address, remembered: &'a Remembered) -> Self {
        let replicas = membership.replicas(&address).into_iter();
        let outgoing = replicas.map(|node| (node, RequestBody::GetState { address })).collect();
        let tally = Tally::new(membership, &address);
        Self {
            membership,
            address,
            tally,
            shown: BTreeMap::new(),
            remembered,
            believed: None,
            withheld: BTreeSet::new(),
            told: BTreeSet::new(),
            outgoing,
        }
    }

    /// The settled state that `node` shows, if it is to be believed.
    fn believe(&mut self, node: &PartyId) -> Option<Settled> {
        let shown = self.shown.get(node)?;
        let certificate = shown.settled.as_ref()?;
        let is_this = |settled: &&Settled| {
            settled.certificate() == certificate
                && settled.records().iter().map(Signed::envelope).eq(&shown.records)
        };
        if let Some(believed) = self.believed.as_ref().filter(is_this) {
            return Some(believed.clone());
        }
        // What more replicas show than can lie, an honest one has verified.
        let shows = |node: &PartyId| self.shown.get(node).is_some_and(|other| other.settled == shown.settled);
        let holds = self.tally.outnumber_liars(shows)
            || self.remembered.check(certificate, || certificate.verify(self.membership).is_ok());
        if !holds {
            return None;
        }
        let records = shown.records.iter().map(|record| record.clone().open());
        self.believed = Settled::new(certificate.clone(), records.collect::<Result<_, _>>().ok()?);
        self.believed.clone()
    }

    /// The lock that `node` shows as the one after `base`, if its proof holds.
    fn open_lock(&self, lock: &Lock, base: &AddressState) -> Option<Locked> {
        let certificate = &lock.certificate;
        let claim = certificate.claim()?;
        let record = lock.record.clone().open().ok()?;
        let leads = base.after(&record).is_some_and(|state| state.digest() == claim.state);
        let verify = || certificate.verify(self.membership, &self.address).is_ok();
        let holds = leads && claim.address == self.address && self.remembered.check(certificate, verify);
        holds.then(|| Locked { record, ballot: claim.ballot, certificate: certificate.clone() })
    }

    /// Tells those that do not serve the reader what others show: a replica that missed how the reader came to be served takes it over,
    /// and is asked again. A reader who is not served any more is refused once more.
    fn tell_withholders(&mut self) {
        while !self.withheld.is_empty() {
            let highest = self.shown.iter().max_by_key(|(_, shown)| shown.sequence());
            let Some((node, _)) = highest.filter(|(_, shown)| shown.sequence() > 0) else { return };
            let node = *node;
            let Some(settled) = self.believe(&node) else {
                self.convict(node);
                continue;
            };
            let records: Vec<_> = settled.records().iter().map(|record| record.envelope().clone()).collect();
            for node in core::mem::take(&mut self.withheld) {
                let certificate = settled.certificate().clone();
                self.outgoing.push((node, RequestBody::Adopt { certificate, records: records.clone() }));
                self.told.insert(node);
            }
        }
    }

    /// Whether an honest replica withholds the state, and nobody shows one by which it might be behind.
    fn is_refused(&self) -> bool {
        self.shown.values().all(|shown| shown.sequence() == 0)
            && self.tally.outnumber_liars(|node| self.withheld.contains(node))
    }

    fn convict(&mut self, node: PartyId) {
        self.tally.convict(&node);
        self.shown.remove(&node);
    }

    /// What those say who answered; `Err` names one that lies.
    fn weigh(&mut self) -> Result<Reading, PartyId> {
        let mut settled = None;
        let highest = self.shown.values().map(Shown::sequence).max().unwrap_or(0);
        if highest > 0 {
            let first = self.shown.iter().find(|(_, shown)| shown.sequence() == highest);
            let node = first.map(|(node, _)| *node);
            if let Some(node) = node {
                settled = Some(self.believe(&node).ok_or(node)?);
            }
        }
        let base = settled
            .as_ref()
            .map_or_else(|| AddressState::empty(self.address), |settled| settled.state().clone());
        let mut lock: Option<Locked> = None;
        let (mut promised, mut titles) = (Vec::new(), Vec::new());
        let mut ranks = BTreeMap::<Option<u8>, usize>::new();
        for (node, shown) in self.shown.iter().filter(|(_, shown)| shown.sequence() == highest) {
            if let Some(shown) = &shown.lock {
                let shown = self.open_lock(shown, &base).ok_or(*node)?;
                if lock.as_ref().is_none_or(|lock| lock.ballot < shown.ballot) {
                    lock = Some(shown);
                }
            }
            promised.push(shown.promised);
            titles.extend(shown.title.clone().filter(|title| !titles.contains(title)));
            *ranks.entry(shown.rank).or_default() += 1;
        }
        promised.sort_unstable();
        let rank = ranks.into_iter().max_by_key(|(rank, count)| (*count, *rank)).and_then(|(rank, _)| rank);
        let laggards = self.shown.iter().filter(|(_, shown)| shown.sequence() < highest);
        let laggards = laggards.map(|(node, _)| *node).collect();
        Ok(Reading { base, settled, lock, laggards, rank, promised, titles })
    }
}

impl Operation for StateQuorum<'_> {
    type Outcome = Result<Reading, GetError>;

    fn requests(&mut self) -> Vec<Outgoing> {
        core::mem::take(&mut self.outgoing)
    }

    fn answer(&mut self, node: PartyId, reply: Option<ReplyBody>) {
        if !self.tally.awaits(&node) {
            return;
        }
        let answer = match reply {
            Some(ReplyBody::State { settled, records, lock, promised, title, rank }) => {
                let here = |settled: &SettlementCertificate| settled.state().address() == self.address;
                if settled.as_ref().is_none_or(here) {
                    self.shown.insert(node, Shown { settled, records, lock, promised, title, rank });
                    self.tally.answer(node, Answer::Good);
                    return self.tell_withholders();
                } else {
                    Answer::Failed
                }
            }
            Some(ReplyBody::Refused { refusal: Refusal::NotPermitted }) if !self.told.contains(&node) => {
                self.withheld.insert(node);
                return self.tell_withholders();
            }
            Some(ReplyBody::Adopted { .. }) if self.told.contains(&node) => {
                return self.outgoing.push((node, RequestBody::GetState { address: self.address }));
            }
            Some(ReplyBody::Refused { refusal }) => Answer::Refused(refusal),
            _ => Answer::Failed,
        };
        self.tally.answer(node, answer);
    }

    fn outcome(&mut self) -> Option<Self::Outcome> {
        loop {
            match self.tally.verdict() {
                Verdict::Pending if self.is_refused() => {
                    return Some(Err(GetError::Refused(Refusal::NotPermitted)));
                }
                Verdict::Pending => return None,
                Verdict::Reached => match self.weigh() {
                    Ok(reading) => return Some(Ok(reading)),
                    Err(liar) => self.convict(liar),
                },
                Verdict::Refused(refusal) => return Some(Err(GetError::Refused(refusal))),
                Verdict::Failed => return Some(self.unfinished()),
            }
        }
    }

    fn unfinished(&mut self) -> Self::Outcome {
        for node in core::mem::take(&mut self.withheld) {
            self.tally.answer(node, Answer::Refused(Refusal::NotPermitted));
        }
        match self.tally.common_refusal() {
            Some(refusal) => Err(GetError::Refused(refusal)),
            None => Err(GetError::no_quorum(&self.tally)),
        }
    }
}
