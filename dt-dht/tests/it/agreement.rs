//! Agreement: what a replica refuses, what a settlement proves, who may take over, and what clients see.

use core::time::Duration;
use std::sync::Arc;

use borsh::{from_slice, to_vec};
use dt_dht::testing::Network;
use dt_dht::{
    AddressState, Ballot, Bid, CertificateError, Kind, LockCertificate, Membership, Node, Order,
    OwnedRecords, Phase, Promise, PutError, Record, Refusal, ReplyBody, RequestBody, Resilience,
    SettlementCertificate, Site, Validator, Vote,
};
use dt_model::testing::identity;
use dt_model::{Digest, Envelope, Identity, PartyId, Signed, Signer, Timestamp};

use crate::support::*;

/// A register that WRITER (rank 1), READER (rank 2) and nobody else may advance, version by version.
pub(crate) struct Shared;

impl Shared {
    pub(crate) const KIND: Kind = Kind::new(*b"shrd");
}

impl Validator for Shared {
    fn kind(&self) -> Kind {
        Self::KIND
    }

    fn order(&self) -> Order {
        Order::Agreed
    }

    fn rank(&self, _: &Site<'_>, party: &PartyId) -> Option<u8> {
        [(WRITER, 1), (READER, 2), (STRANGER, 0)]
            .into_iter()
            .find(|(seed, _)| identity(*seed).party() == *party)
            .map(|(_, rank)| rank)
    }

    fn admit(&self, site: &Site<'_>, offered: &Signed<Record>) -> Result<(), Refusal> {
        let stored = site.stored.map_or(0, |stored| stored.version);
        if self.rank(site, &offered.signer()) < Some(1) {
            return Err(Refusal::NotPermitted);
        }
        if offered.version == stored + 1 { Ok(()) } else { Err(Refusal::Gap { stored }) }
    }
}

/// Nodes of kind [`Shared`], and of owned records.
pub(crate) fn shared(resilience: Resilience, nodes: usize) -> Network {
    let parties = [WRITER, READER, STRANGER].map(|seed| identity(seed).party());
    let validators: [Arc<dyn Validator>; 2] = [Arc::new(Shared), Arc::new(OwnedRecords)];
    Network::new(resilience, nodes, parties, &validators)
}

fn four() -> Network {
    shared(Resilience::tolerating(1).unwrap(), 4)
}

pub(crate) fn step(seed: u64, version: u64, body: &'static str) -> Signed<Record> {
    plain(Shared::KIND, &identity(seed), version, body)
}

pub(crate) fn first(record: &Signed<Record>) -> AddressState {
    AddressState::empty(record.key.address).after(record).unwrap()
}

pub(crate) fn propose(
    record: &Signed<Record>,
    sequence: u64,
    ballot: Option<Ballot>,
    promises: Vec<Envelope<Promise>>,
) -> RequestBody {
    RequestBody::Propose { sequence, ballot, record: record.envelope().clone(), promises }
}

fn sorted(votes: &[Envelope<Vote>]) -> Vec<Envelope<Vote>> {
    let mut votes = votes.to_vec();
    votes.sort_by_key(Envelope::signer);
    votes
}

/// The lock that these votes make; nothing is checked.
pub(crate) fn lock(votes: &[Envelope<Vote>]) -> LockCertificate {
    from_slice(&to_vec(&sorted(votes)).unwrap()).unwrap()
}

/// The settlement that these votes make; nothing is checked.
pub(crate) fn settlement(state: &AddressState, votes: &[Envelope<Vote>]) -> SettlementCertificate {
    from_slice(&to_vec(&(state, sorted(votes))).unwrap()).unwrap()
}

pub(crate) fn commit(record: &Signed<Record>, votes: &[Envelope<Vote>]) -> RequestBody {
    RequestBody::Commit { record: record.envelope().clone(), certificate: lock(votes) }
}

pub(crate) fn ballot(seed: u64, rank: u8, round: u64) -> Ballot {
    Ballot { rank, round, proposer: identity(seed).party() }
}

/// The bid for a ballot at the first step of the record's address, by the hand of its proposer.
pub(crate) fn bid(
    membership: &Membership,
    record: &Signed<Record>,
    ballot: Ballot,
    time: Timestamp,
) -> Envelope<Bid> {
    let bid = Bid { network: membership.network(), address: record.key.address, sequence: 1, ballot, time };
    let mut parties = [WRITER, READER, STRANGER].map(identity).into_iter();
    let proposer = parties.find(|party| party.party() == ballot.proposer).unwrap();
    Signed::new(bid, &proposer).unwrap().into_envelope()
}

pub(crate) fn promise(
    membership: &Membership,
    record: &Signed<Record>,
    ballot: Ballot,
    time: Timestamp,
) -> RequestBody {
    RequestBody::Promise { bid: bid(membership, record, ballot, time), titles: Vec::new() }
}

/// Asks for a promise, in the present.
fn attempt(network: &Network, record: &Signed<Record>, ballot: Ballot) -> RequestBody {
    promise(network.membership(), record, ballot, network.now())
}

fn voted(reply: ReplyBody) -> Envelope<Vote> {
    match reply {
        ReplyBody::Voted { vote } => vote,
        other => panic!("{other:?}"),
    }
}

fn promised(reply: ReplyBody) -> Envelope<Promise> {
    match reply {
        ReplyBody::Promised { promise, .. } => promise,
        other => panic!("{other:?}"),
    }
}

/// A quorum's votes to accept `record` as the first, first come.
fn accepted(network: &Network, record: &Signed<Record>) -> Vec<Envelope<Vote>> {
    let ask = |node| voted(ask(network, WRITER, node, propose(record, 1, None, vec![])));
    network.nodes()[..3].iter().map(|node| ask(node)).collect()
}

#[tokio::test]
async fn settles_and_reads_and_proves() {
    let network = four();
    let (one, two) = (step(WRITER, 1, "one"), step(READER, 2, "two"));
    let settled = client(&network, WRITER).settle(&one, network.now()).await.unwrap();
    assert_eq!(settled.state(), &first(&one));
    settled.certificate().verify(network.membership()).unwrap();
    client(&network, READER).settle(&two, network.now()).await.unwrap();
    let again = client(&network, READER).settle(&two, network.now()).await.unwrap();
    let read = client(&network, WRITER).state(one.key.address, network.now()).await.unwrap().unwrap();
    assert_eq!((again.sequence(), read.sequence()), (2, 2));
    assert_eq!(read.record(two.key.slot), Some(&two));
    let reader = client(&network, READER);
    let past = reader.past(one.key, 1, one.digest(), network.now()).await.unwrap();
    assert_eq!(past, Some(one.clone()));
    let wrong = reader.past(one.key, 1, Digest::from([1; 32]), network.now()).await;
    assert!(!matches!(wrong, Ok(Some(_))));
}

#[tokio::test]
async fn the_second_of_two_first_records_is_refused() {
    let network = four();
    client(&network, WRITER).settle(&step(WRITER, 1, "his"), network.now()).await.unwrap();
    let lost = client(&network, READER).settle(&step(READER, 1, "hers"), network.now()).await;
    assert!(matches!(lost, Err(PutError::Refused { .. })), "{lost:?}");
}

#[tokio::test]
async fn who_left_after_accept_is_gone_over_and_who_left_after_commit_is_finished() {
    let (his, hers) = (step(WRITER, 1, "his"), step(READER, 1, "hers"));
    let network = four();
    accepted(&network, &his);
    let settled = client(&network, READER).settle(&hers, network.now()).await.unwrap();
    assert!(settled.state().contains(&hers), "a higher rank is not held up");

    let network = four();
    let votes = accepted(&network, &his);
    for node in &network.nodes()[..3] {
        voted(ask(&network, WRITER, node, commit(&his, &votes)));
    }
    assert!(client(&network, READER).settle(&hers, network.now()).await.is_err());
    let read = client(&network, READER).state(his.key.address, network.now()).await.unwrap().unwrap();
    assert!(read.state().contains(&his), "what may be decided is finished");
}

#[tokio::test]
async fn laggards_adopt() {
    let network = four();
    let node = network.nodes()[3].party();
    network.in_process().stop(&node);
    client(&network, WRITER).settle(&step(WRITER, 1, "one"), network.now()).await.unwrap();
    network.in_process().start(&node);
    network.in_process().stop(&network.nodes()[0].party());
    let settled = client(&network, WRITER).settle(&step(WRITER, 2, "two"), network.now()).await.unwrap();
    assert_eq!(settled.sequence(), 2);
}

#[test]
fn a_replica_refuses() {
    let network = four();
    let node: &Identity = &network.nodes()[0];
    let (his, hers) = (step(WRITER, 1, "his"), step(READER, 1, "hers"));
    let refuses = |seed, body, refusal| assert_eq!(ask(&network, seed, node, body), refused(refusal));
    let higher = ballot(READER, 2, 1);
    let far = propose(&his, 2, None, vec![]);
    refuses(WRITER, far, Refusal::Behind { sequence: 0 });
    refuses(WRITER, propose(&his, 0, None, vec![]), Refusal::Settled { sequence: 0 });
    refuses(WRITER, propose(&step(STRANGER, 1, "no"), 1, None, vec![]), Refusal::NotPermitted);
    refuses(READER, propose(&hers, 1, Some(higher), vec![]), Refusal::Unproven);
    refuses(WRITER, put(&his), Refusal::OtherOrder);
    refuses(WRITER, propose(&owned("a", 1, "v"), 1, None, vec![]), Refusal::OtherOrder);
    refuses(WRITER, commit(&his, &[]), Refusal::Unproven);

    // What was voted for stands.
    voted(ask(&network, WRITER, node, propose(&his, 1, None, vec![])));
    refuses(READER, propose(&hers, 1, None, vec![]), Refusal::Outbid { rank: 0, round: 0 });
    // Nobody promises for another, nor beyond his rank or round.
    refuses(WRITER, attempt(&network, &his, higher), Refusal::NotPermitted);
    refuses(WRITER, attempt(&network, &his, ballot(WRITER, 2, 1)), Refusal::Rank);
    refuses(WRITER, attempt(&network, &his, ballot(WRITER, 1, 0)), Refusal::Rank);
    refuses(WRITER, attempt(&network, &his, ballot(WRITER, 1, u64::MAX)), Refusal::Rank);
    promised(ask(&network, READER, node, attempt(&network, &hers, higher)));
    let outbid = Refusal::Outbid { rank: 2, round: 1 };
    refuses(WRITER, attempt(&network, &his, ballot(WRITER, 1, 9)), outbid);
    refuses(WRITER, propose(&his, 1, None, vec![]), outbid);
}

/// A node that has voted for nothing, and is locked on what the others accepted.
#[test]
fn a_lock_is_shown_and_not_voted_against() {
    let network = four();
    let node: &Identity = &network.nodes()[0];
    let (his, hers) = (step(WRITER, 1, "his"), step(READER, 1, "hers"));
    let vote = |node| voted(ask(&network, WRITER, node, propose(&his, 1, None, vec![])));
    let votes: Vec<_> = network.nodes()[1..].iter().map(|node| vote(node)).collect();
    voted(ask(&network, WRITER, node, commit(&his, &votes)));
    let outbid = refused(Refusal::Outbid { rank: 0, round: 0 });
    assert_eq!(ask(&network, READER, node, propose(&hers, 1, None, vec![])), outbid);
    let shown = ask(&network, READER, node, attempt(&network, &hers, ballot(READER, 2, 1)));
    let ReplyBody::Promised { promise, record } = shown else { panic!("{shown:?}") };
    assert_eq!(promise.open().unwrap().lock, Some(lock(&votes)));
    assert_eq!(record.as_ref(), Some(his.envelope()));
}

/// A node that votes under a ballot which it has not promised is bound by it as if it had.
#[test]
fn a_vote_is_a_promise() {
    let network = four();
    let node: &Identity = &network.nodes()[0];
    let (his, hers) = (step(WRITER, 1, "his"), step(READER, 1, "hers"));
    let higher = ballot(READER, 2, 1);
    let promised = |node| promised(ask(&network, READER, node, attempt(&network, &hers, higher)));
    let mut promises: Vec<_> = network.nodes()[1..].iter().map(|node| promised(node)).collect();
    promises.sort_by_key(Envelope::signer);
    voted(ask(&network, READER, node, propose(&hers, 1, Some(higher), promises)));
    let outbid = refused(Refusal::Outbid { rank: 2, round: 1 });
    assert_eq!(ask(&network, WRITER, node, propose(&his, 1, None, vec![])), outbid);
    assert_eq!(ask(&network, WRITER, node, attempt(&network, &his, ballot(WRITER, 1, 9))), outbid);
}

#[test]
fn rank_zero_waits_ten_seconds() {
    let network = four();
    let node: &Identity = &network.nodes()[0];
    let his = step(WRITER, 1, "his");
    let body = attempt(&network, &his, ballot(STRANGER, 0, 1));
    assert_eq!(ask(&network, STRANGER, node, body.clone()), refused(Refusal::Rank));
    voted(ask(&network, WRITER, node, propose(&his, 1, None, vec![])));
    network.advance(Duration::from_millis(9_999));
    assert_eq!(ask(&network, STRANGER, node, body.clone()), refused(Refusal::Rank));
    network.advance(Duration::from_millis(1));
    promised(ask(&network, STRANGER, node, body));
}

#[test]
fn a_settlement_is_a_quorum_of_one_vote() {
    let network = four();
    let membership = network.membership();
    let state = first(&step(WRITER, 1, "one"));
    let vote = Vote {
        network: membership.network(),
        epoch: 1,
        address: state.address(),
        sequence: 1,
        ballot: None,
        state: state.digest(),
        phase: Phase::Commit,
    };
    let sign = |vote: Vote, node: usize| Signed::new(vote, &**network.nodes().get(node).unwrap()).unwrap();
    let all = |vote: Vote| (0..3).map(|node| sign(vote, node).into_envelope()).collect::<Vec<_>>();
    let verify = |votes: &[Envelope<Vote>]| settlement(&state, votes).verify(membership);
    let good = all(vote);
    verify(&good).unwrap();
    assert!(matches!(verify(&good[..2]), Err(CertificateError::TooFew { .. })));
    assert!(verify(&[good[0].clone(), good[0].clone(), good[1].clone()]).is_err());
    let other = [9; 32].map(|byte: u8| byte + 1);
    for bad in [
        Vote { phase: Phase::Accept, ..vote },
        Vote { sequence: 2, ..vote },
        Vote { epoch: 2, ..vote },
        Vote { address: other.into(), ..vote },
        Vote { state: Digest::from(other), ..vote },
        Vote { network: Digest::from(other), ..vote },
    ] {
        assert!(verify(&all(bad)).is_err(), "{bad:?}");
        let mixed = [good[0].clone(), good[1].clone(), sign(bad, 2).into_envelope()];
        assert!(matches!(verify(&mixed), Err(CertificateError::Disagreement(_))), "{bad:?}");
    }
    let stranger = Signed::new(vote, &identity(STRANGER)).unwrap().into_envelope();
    assert!(verify(&[good[0].clone(), good[1].clone(), stranger]).is_err());
}

/// What a group accepted two epochs ago, and a liar kept to himself, does not bind replicas that share nothing with that group.
#[test]
fn a_lock_binds_in_its_epoch_and_the_next() {
    let network = four();
    let record = step(WRITER, 1, "kept back");
    let state = first(&record);
    let votes = |membership: &Membership| {
        let vote = Vote {
            network: membership.network(),
            epoch: membership.epoch(),
            address: state.address(),
            sequence: 1,
            ballot: None,
            state: state.digest(),
            phase: Phase::Accept,
        };
        let nodes = network.nodes().iter();
        let votes: Vec<_> = nodes.map(|node| Signed::new(vote, &**node).unwrap().into_envelope()).collect();
        from_slice::<LockCertificate>(&to_vec(&sorted(&votes)).unwrap()).unwrap()
    };
    let before = network.membership();
    let lock = votes(before);
    assert!(lock.verify(before, &state.address()).is_ok());
    let fresh = (500..504).map(|seed| Node { party: identity(seed).party(), endpoints: vec![] }).collect();
    let joint = before.successor(fresh, before.parties().clone()).unwrap();
    assert!(lock.verify(&joint, &state.address()).is_ok());
    let after = joint.complete().unwrap();
    assert_eq!(lock.verify(&after, &state.address()), Err(CertificateError::OtherMembership));
}
