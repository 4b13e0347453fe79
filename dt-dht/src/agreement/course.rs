//! One client's way to a decision at one address: which polls follow each other.
//!
//! Each step is a state machine of its own; here stands only what comes next, and nothing about time but what was given.

use std::collections::BTreeMap;

use dt_model::{Envelope, PartyId, Signed, SignerError, Timestamp};

use super::poll::{Defeat, Poll, PromiseOf, Promised, VoteOn};
use super::read::{Locked, Reading, StateQuorum};
use super::{AddressState, Ballot, Bid, LockCertificate, Phase, Settled, SettlementCertificate, Vote};
use crate::{Address, Client, GetError, Membership, Record, RequestBody};

/// The client, and what it works on.
pub(super) struct Course<'a> {
    pub(super) client: &'a Client,
    pub(super) membership: &'a Membership,
    pub(super) address: Address,
    pub(super) now: Timestamp,
}

/// Why an attempt came to nothing.
#[derive(Debug)]
pub(super) enum Setback {
    /// Too few replicas said yes.
    Defeat(Defeat),
    /// The party has no standing at the address, so it cannot take over.
    NoRank,
    /// The record cannot be one of the address, whatever is settled there.
    Unfit,
    Signer(SignerError),
}

impl From<Defeat> for Setback {
    fn from(defeat: Defeat) -> Self {
        Self::Defeat(defeat)
    }
}

impl From<SignerError> for Setback {
    fn from(error: SignerError) -> Self {
        Self::Signer(error)
    }
}

impl Course<'_> {
    /// How many of the replicas may lie.
    pub(super) fn liars(&self) -> usize {
        self.membership.groups(&self.address).len() * self.membership.resilience().max_faulty()
    }

    /// Asks what is settled.
    pub(super) async fn read(&self) -> Result<Reading, GetError> {
        let quorum = StateQuorum::new(self.membership, self.address, &self.client.remembered);
        self.client.drive(self.membership, quorum, self.now).await?
    }

    /// Proposes `record` as whoever comes first.
    pub(super) async fn come_first(
        &self,
        reading: &Reading,
        record: &Signed<Record>,
        state: &AddressState,
    ) -> Result<Settled, Setback> {
        let lock = self.propose(reading, record, state, None, Vec::new()).await?;
        self.finish(reading, &lock).await
    }

    /// Takes over under a ballot: settles what somebody may have decided already, or else `own`. `None` if there is neither.
    pub(super) async fn take_over(
        &self,
        reading: &Reading,
        own: Option<&Signed<Record>>,
    ) -> Result<Option<Settled>, Setback> {
        let proposer = self.client.signer().party();
        let ballot = reading.ballot(proposer, self.liars()).ok_or(Setback::NoRank)?;
        let sequence = reading.base.sequence().saturating_add(1);
        let (network, address, time) = (self.membership.network(), self.address, self.now);
        let bid = Signed::new(Bid { network, address, sequence, ballot, time }, self.client.signer())?;
        let promised = self.promises(reading, &bid).await?;
        let lock = newest_lock(&promised);
        let Some(record) = lock.as_ref().or(own) else { return Ok(None) };
        let state = reading.base.after(record).ok_or(Setback::Unfit)?;
        let promises = promised.into_values().map(|promised| promised.promise).collect();
        let lock = self.propose(reading, record, &state, Some(ballot), promises).await?;
        self.finish(reading, &lock).await.map(Some)
    }

    /// Has a quorum promise to vote for nothing older than the ballot of `bid`.
    async fn promises(
        &self,
        reading: &Reading,
        bid: &Signed<Bid>,
    ) -> Result<BTreeMap<PartyId, Promised>, Setback> {
        let question = PromiseOf { bid, base: &reading.base, membership: self.membership };
        let poll = Poll::new(self.membership, &reading.base, reading.settled.as_ref(), question);
        match self.client.drive(self.membership, poll, self.now).await? {
            Ok(promised) => Ok(promised),
            Err(defeat) => {
                self.carry(reading, bid)?;
                Err(defeat.into())
            }
        }
    }

    /// Has those replicas at which nothing stands yet accept `record` as that of whoever comes first, by which its signer has a standing there:
    /// where nobody has rights yet, and a replica has missed what he proposed before, he has no other. Whether an honest one did.
    pub(super) async fn introduce(
        &self,
        reading: &Reading,
        record: &Signed<Record>,
    ) -> Result<bool, SignerError> {
        let Some(state) = reading.base.after(record) else { return Ok(false) };
        match self.propose(reading, record, &state, None, Vec::new()).await {
            Ok(_) => Ok(true),
            Err(Setback::Defeat(defeat)) => Ok(defeat.tally.good() > self.liars()),
            Err(Setback::Signer(error)) => Err(error),
            Err(Setback::NoRank | Setback::Unfit) => Ok(false),
        }
    }

    /// Has a quorum vote for `record`.
    async fn propose(
        &self,
        reading: &Reading,
        record: &Signed<Record>,
        state: &AddressState,
        ballot: Option<Ballot>,
        promises: Vec<Envelope<super::Promise>>,
    ) -> Result<Locked, Setback> {
        let (sequence, envelope) = (state.sequence(), record.envelope().clone());
        let body = RequestBody::Propose { sequence, ballot, record: envelope, promises };
        let votes = self.vote(reading, state, ballot, Phase::Accept, body).await?;
        let certificate = LockCertificate::new(votes.into_values().collect());
        Ok(Locked { record: record.clone(), ballot, certificate })
    }

    /// Has a quorum lock on a record that a quorum has accepted: then it is decided, and everybody is told. What was accepted in a former
    /// epoch has to be accepted again before.
    pub(super) async fn finish(&self, reading: &Reading, lock: &Locked) -> Result<Settled, Setback> {
        let Locked { record, ballot, certificate } = lock;
        let state = reading.base.after(record).ok_or(Setback::Unfit)?;
        let mut certificate = certificate.clone();
        let commit = |certificate| RequestBody::Commit { record: record.envelope().clone(), certificate };
        if certificate.epoch() != Some(self.membership.epoch()) {
            let votes = self.vote(reading, &state, *ballot, Phase::Accept, commit(certificate)).await?;
            certificate = LockCertificate::new(votes.into_values().collect());
        }
        let votes = self.vote(reading, &state, *ballot, Phase::Commit, commit(certificate)).await?;
        let voters: Vec<PartyId> = votes.keys().copied().collect();
        let certificate = SettlementCertificate::new(state, votes.into_values().collect());
        let replaced = |other: &&Signed<Record>| other.key != record.key;
        let kept = reading.settled.iter().flat_map(Settled::records).filter(replaced);
        let records = kept.chain([record]).cloned().collect();
        let settled = Settled::new(certificate, records).ok_or(Setback::Unfit)?;
        let tell = |node: PartyId| {
            let missing = if voters.contains(&node) { Vec::new() } else { vec![record.envelope().clone()] };
            (node, RequestBody::Adopt { certificate: settled.certificate().clone(), records: missing })
        };
        let replicas = self.membership.replicas(&self.address).into_iter();
        self.client.announce(self.membership, replicas.map(tell).collect(), self.now)?;
        Ok(settled)
    }

    async fn vote(
        &self,
        reading: &Reading,
        state: &AddressState,
        ballot: Option<Ballot>,
        phase: Phase,
        body: RequestBody,
    ) -> Result<BTreeMap<PartyId, Envelope<Vote>>, Setback> {
        let vote = Vote {
            network: self.membership.network(),
            epoch: self.membership.epoch(),
            address: self.address,
            sequence: state.sequence(),
            ballot,
            state: state.digest(),
            phase,
        };
        let question = VoteOn { vote, body };
        let poll = Poll::new(self.membership, &reading.base, reading.settled.as_ref(), question);
        Ok(self.client.drive(self.membership, poll, self.now).await??)
    }

    /// Shows all replicas the titles that outrank the party, whose `bid` found no quorum: maybe for want of those that show them, and the others
    /// have to learn what stands in the way before they let anybody go over it.
    fn carry(&self, reading: &Reading, bid: &Signed<Bid>) -> Result<(), SignerError> {
        let outranks = |title: &&Envelope<Bid>| {
            Bid::claim(title).is_some_and(|title| Some(title.ballot.rank) > reading.rank)
        };
        let titles: Vec<_> = reading.titles.iter().filter(outranks).cloned().collect();
        if titles.is_empty() {
            return Ok(());
        }
        let bid = bid.envelope();
        let tell = |node| (node, RequestBody::Promise { bid: bid.clone(), titles: titles.clone() });
        let replicas = self.membership.replicas(&self.address);
        self.client.announce(self.membership, replicas.into_iter().map(tell).collect(), self.now)
    }

    /// Tells all replicas of what they have settled already: that renews the lease of the address.
    pub(super) fn renew(&self, settled: &Settled) -> Result<(), SignerError> {
        let certificate = settled.certificate();
        let tell =
            |node| (node, RequestBody::Adopt { certificate: certificate.clone(), records: Vec::new() });
        let replicas = self.membership.replicas(&self.address);
        self.client.announce(self.membership, replicas.into_iter().map(tell).collect(), self.now)
    }

    /// Brings those up to date that were found behind, without waiting for them.
    pub(super) fn help(&self, reading: &Reading) -> Result<(), SignerError> {
        let Some(settled) = &reading.settled else { return Ok(()) };
        let records: Vec<_> = settled.records().iter().map(|record| record.envelope().clone()).collect();
        let certificate = settled.certificate();
        let tell = |node: &PartyId| {
            (*node, RequestBody::Adopt { certificate: certificate.clone(), records: records.clone() })
        };
        self.client.announce(self.membership, reading.laggards.iter().map(tell).collect(), self.now)
    }
}

/// The record of the newest lock that promises show.
fn newest_lock(promised: &BTreeMap<PartyId, Promised>) -> Option<Signed<Record>> {
    let locks = promised.values().filter_map(|promised| promised.lock.as_ref());
    locks.max_by_key(|(vote, _)| vote.ballot).map(|(_, record)| record.clone())
}
