//! What a replica remembers of an address while records are agreed on, and the rules by which it changes: pure, without a store or a wire.
//!
//! Every change here is on disk before the vote or the promise about it is signed.

use core::time::Duration;

use borsh::{BorshDeserialize, BorshSerialize};
use dt_model::{Digest, Envelope, Signed, Timestamp};

use super::{AddressState, Ballot, Bid, LockCertificate, MAX_ROUND_STEP, SettlementCertificate};
use crate::{Address, Refusal};

/// How long a proposal has to stand, by the replica's clock, before those may take it over whose rank does not entitle them to: longer than
/// a proposer needs who is still there, and short enough to wait for.
pub(crate) const TAKEOVER: Duration = Duration::from_secs(10);

/// One address, as a replica has it.
///
/// # Invariants
/// - The settled sequence never goes down; at one sequence, the promised ballot never does.
/// - At one sequence and ballot, at most one record is accepted, and at most one is locked.
/// - A lock is given up for one of a newer ballot only, or when its sequence is settled.
/// - A title is of the next sequence, and of no higher rank than the promised ballot.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(crate) struct AgreedRow {
    /// The state that was decided last; `None` at sequence 0.
    pub(crate) settled: Option<SettlementCertificate>,
    /// Older ballots than this are refused. `None`: whoever comes first.
    pub(crate) promised: Option<Ballot>,
    /// The last bid of somebody who had its rank by right: others are shown it, so that they, too, let its rank be taken over.
    pub(crate) title: Option<Envelope<Bid>>,
    /// The record that was voted for last at the next sequence.
    pub(crate) accepted: Option<Accepted>,
    /// The record that a quorum is known to have accepted at the next sequence.
    pub(crate) lock: Option<Locked>,
    /// When somebody voted, locked, or promised to one who had the rank by right: what stands since then for long may be taken over. Those who
    /// take it over do not begin that time anew, or several of them would for ever keep each other waiting at one replica after the other.
    pub(crate) since: Timestamp,
}

/// A vote that was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(crate) struct Accepted {
    pub(crate) ballot: Option<Ballot>,
    /// The record's digest.
    pub(crate) record: Digest,
    /// Where the record lies: 0 or 1.
    pub(crate) place: u8,
}

/// A record with its proof.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(crate) struct Locked {
    pub(crate) certificate: LockCertificate,
    pub(crate) ballot: Option<Ballot>,
    pub(crate) record: Digest,
    pub(crate) place: u8,
}

/// Where a record is to be written, or that it lies there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Has(u8),
    Write(u8),
}

impl Place {
    pub(crate) const fn number(self) -> u8 {
        match self {
            Self::Has(place) | Self::Write(place) => place,
        }
    }
}

impl AgreedRow {
    /// An address at which nothing happened yet.
    pub(crate) const fn new(now: Timestamp) -> Self {
        Self { settled: None, promised: None, title: None, accepted: None, lock: None, since: now }
    }

    /// The settled sequence.
    pub(crate) fn sequence(&self) -> u64 {
        self.settled.as_ref().map_or(0, |settled| settled.state().sequence())
    }

    /// The settled state of `address`, whose row this is.
    pub(crate) fn state(&self, address: Address) -> AddressState {
        self.settled.as_ref().map_or_else(|| AddressState::empty(address), |settled| settled.state().clone())
    }

    /// Whether `sequence` is the one that is to be settled next.
    pub(crate) fn require_next(&self, sequence: u64) -> Result<(), Refusal> {
        let settled = self.sequence();
        if sequence <= settled {
            Err(Refusal::Settled { sequence: settled })
        } else if sequence - settled > 1 {
            Err(Refusal::Behind { sequence: settled })
        } else {
            Ok(())
        }
    }

    fn outbid(&self) -> Refusal {
        self.promised.map_or(Refusal::Outbid { rank: 0, round: 0 }, |promised| Refusal::Outbid {
            rank: promised.rank,
            round: promised.round,
        })
    }

    /// Votes for `record` under `ballot`. The caller has seen the justification, and the validator's word.
    pub(crate) fn accept(
        &mut self,
        ballot: Option<Ballot>,
        record: Digest,
        now: Timestamp,
    ) -> Result<Place, Refusal> {
        self.may_accept(ballot, &record)?;
        let place = self.place_for(&record, self.lock.as_ref().map(|lock| lock.place));
        let accepted = Accepted { ballot, record, place: place.number() };
        if self.accepted != Some(accepted) {
            (self.accepted, self.promised, self.since) = (Some(accepted), ballot, now);
        }
        Ok(place)
    }

    /// Whether a vote for `record` under `ballot` would keep all promises.
    pub(crate) fn may_accept(&self, ballot: Option<Ballot>, record: &Digest) -> Result<(), Refusal> {
        let another = |voted: &Accepted| voted.ballot == ballot && voted.record != *record;
        let locked = |lock: &Locked| lock.ballot >= ballot && lock.record != *record;
        if ballot < self.promised
            || self.accepted.as_ref().is_some_and(another)
            || self.lock.as_ref().is_some_and(locked)
        {
            return Err(self.outbid());
        }
        Ok(())
    }

    /// Locks on `record`, which `certificate` proves to be accepted by a quorum under `ballot`.
    pub(crate) fn lock(
        &mut self,
        certificate: LockCertificate,
        ballot: Option<Ballot>,
        record: Digest,
        now: Timestamp,
    ) -> Result<Place, Refusal> {
        let another = |lock: &Locked| lock.ballot >= ballot && lock.record != record;
        if ballot < self.promised || self.lock.as_ref().is_some_and(another) {
            return Err(self.outbid());
        }
        let place = self.place_for(&record, self.accepted.as_ref().map(|accepted| accepted.place));
        // Of two locks under one ballot, which are on one record, that of the later epoch binds longer.
        let is_older =
            |lock: &Locked| (lock.ballot, lock.certificate.epoch()) < (ballot, certificate.epoch());
        if self.lock.as_ref().is_none_or(is_older) {
            self.lock = Some(Locked { certificate, ballot, record, place: place.number() });
            (self.promised, self.since) = (ballot, now);
        }
        Ok(place)
    }

    /// Promises to vote under no ballot older than the one of `bid`, whose proposer has this `rank`.
    pub(crate) fn promise(
        &mut self,
        bid: &Signed<Bid>,
        rank: Option<u8>,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let (rank, ballot) = (rank.ok_or(Refusal::NotPermitted)?, bid.ballot);
        if self.promised == Some(ballot) {
            return Ok(());
        }
        if self.promised > Some(ballot) {
            return Err(self.outbid());
        }
        let before = self.promised.filter(|promised| promised.rank == ballot.rank);
        let base = before.map_or(0, |promised| promised.round);
        if ballot.round == 0 || ballot.round.saturating_sub(base) > MAX_ROUND_STEP {
            return Err(Refusal::Rank);
        }
        let stands = self.promised.is_some() || self.accepted.is_some() || self.lock.is_some();
        let deserted = stands && now.since(self.since) >= TAKEOVER;
        let highest = self.promised.map_or(0, |promised| promised.rank).max(rank);
        let by_right = rank > 0 && ballot.rank <= rank;
        let by_desertion = deserted && ballot.rank <= highest;
        if !(by_right || by_desertion) {
            return Err(Refusal::Rank);
        }
        if by_right {
            (self.title, self.since) = (Some(bid.envelope().clone()), now);
        }
        self.promised = Some(ballot);
        Ok(())
    }

    /// Heeds a bid that somebody else shows, whose proposer had this `rank`, as if it had been promised: only if its rank is above all that
    /// was promised here. So each rank is heeded once, and whoever shows old bids again holds up nobody any longer.
    pub(crate) fn heed(&mut self, bid: &Signed<Bid>, rank: Option<u8>, now: Timestamp) {
        let ballot = bid.ballot;
        let is_due = rank >= Some(ballot.rank) && (1..=MAX_ROUND_STEP).contains(&ballot.round);
        if is_due && self.is_outranked_by(&ballot) {
            (self.promised, self.since) = (Some(ballot), now);
            self.title = Some(bid.envelope().clone());
        }
    }

    /// Whether a ballot is of a higher rank than all that was promised.
    pub(crate) fn is_outranked_by(&self, ballot: &Ballot) -> bool {
        ballot.rank > self.promised.map_or(0, |promised| promised.rank)
    }

    /// Takes over what was decided: whatever was about to be is void.
    pub(crate) fn settle(&mut self, certificate: SettlementCertificate, now: Timestamp) {
        *self = Self { settled: Some(certificate), ..Self::new(now) };
    }

    /// Where `record` lies if it is accepted or locked.
    pub(crate) fn place_of(&self, record: &Digest) -> Option<u8> {
        let accepted = self.accepted.as_ref().filter(|accepted| accepted.record == *record);
        let locked = self.lock.as_ref().filter(|lock| lock.record == *record);
        accepted.map(|accepted| accepted.place).or(locked.map(|lock| lock.place))
    }

    /// The places that hold something.
    pub(crate) fn places(&self) -> impl Iterator<Item = u8> {
        let accepted = self.accepted.as_ref().map(|accepted| accepted.place);
        let locked = self.lock.as_ref().map(|lock| lock.place).filter(|place| Some(*place) != accepted);
        accepted.into_iter().chain(locked)
    }

    /// Where `record` may be written, so that what lies at `taken` stays.
    fn place_for(&self, record: &Digest, taken: Option<u8>) -> Place {
        match self.place_of(record) {
            Some(place) => Place::Has(place),
            None => Place::Write(taken.map_or(0, |taken| 1 - taken.min(1))),
        }
    }
}
