//! What replicas sign while they agree, and what that proves.

use dt_dht::{
    AddressState, Ballot, Bid, LockCertificate, MAX_CERTIFICATE_BYTES, MAX_MESSAGE_BYTES, Phase, Promise,
    SettlementCertificate, Vote,
};
use dt_model::testing::{Golden, identity};
use dt_model::{Envelope, Message, Signed, Timestamp};

use super::{EPOCH, network};
use crate::agreement::{ballot, first, lock, settlement, step};
use crate::support::{READER, WRITER};

/// The state after one step, and after two of another slot's.
pub(super) fn state() -> AddressState {
    first(&step(WRITER, 1, "a"))
}

pub(super) fn votes(phase: Phase) -> Vec<Envelope<Vote>> {
    let state = state();
    let vote = Vote {
        network: network(),
        epoch: EPOCH,
        address: state.address(),
        sequence: state.sequence(),
        ballot: Some(ballot(READER, 2, 5)),
        state: state.digest(),
        phase,
    };
    [100, 101, 102].map(|node| Signed::new(vote, &identity(node)).unwrap().into_envelope()).to_vec()
}

pub(super) fn locked() -> LockCertificate {
    lock(&votes(Phase::Accept))
}

pub(super) fn settled() -> SettlementCertificate {
    settlement(&state(), &votes(Phase::Commit))
}

pub(super) fn promised(lock: Option<LockCertificate>) -> Envelope<Promise> {
    let (address, ballot) = (state().address(), ballot(WRITER, 1, 6));
    let promise = Promise { network: network(), epoch: EPOCH, address, sequence: 1, ballot, lock };
    Signed::new(promise, &identity(103)).unwrap().into_envelope()
}

/// What the promise is asked for by.
pub(super) fn bid() -> Envelope<Bid> {
    bid_for(WRITER, ballot(WRITER, 1, 6))
}

/// What a higher rank is due by.
pub(super) fn title() -> Envelope<Bid> {
    bid_for(READER, ballot(READER, 2, 5))
}

fn bid_for(seed: u64, ballot: Ballot) -> Envelope<Bid> {
    let (address, time) = (state().address(), Timestamp::from_millis(1_700_000_000_000));
    let bid = Bid { network: network(), address, sequence: 1, ballot, time };
    Signed::new(bid, &identity(seed)).unwrap().into_envelope()
}

pub(super) fn add(golden: &mut Golden) {
    golden.section("Agreement");
    let (state, accept, commit) = (state(), votes(Phase::Accept), votes(Phase::Commit));
    golden.value("empty state", &AddressState::empty(state.address()), 64);
    golden.value("state", &state, MAX_MESSAGE_BYTES);
    golden.add("state's digest", state.digest().as_bytes());
    let later = state.after(&step(WRITER, 3, "b")).unwrap();
    golden.value("state in which a record was replaced", &later, MAX_MESSAGE_BYTES);
    golden.value("former entry", &later.entries()[0].former.unwrap(), 64);
    golden.value("ballot", &ballot(READER, 2, 5), 64);
    golden.value("bid", &title().open().unwrap().into_value(), Bid::MAX_BYTES);
    golden.value("signed bid", &title(), 512);
    let open = |vote: &Envelope<Vote>| vote.clone().open().unwrap().into_value();
    golden.value("vote to accept", &open(&accept[0]), Vote::MAX_BYTES);
    golden.value("vote to accept, of whoever comes first", &Vote { ballot: None, ..open(&accept[0]) }, 256);
    golden.value("vote to commit", &open(&commit[0]), Vote::MAX_BYTES);
    golden.value("signed vote", &accept[0], 512);
    golden.add("vote's digest", accept[0].digest().as_bytes());
    golden.value("lock certificate", &locked(), MAX_CERTIFICATE_BYTES);
    golden.value("settlement certificate", &settled(), MAX_CERTIFICATE_BYTES);
    let promise = |lock| promised(lock).open().unwrap().into_value();
    golden.value("promise", &promise(None), MAX_CERTIFICATE_BYTES);
    golden.value("promise that shows a lock", &promise(Some(locked())), MAX_CERTIFICATE_BYTES);
    golden.value("signed promise", &promised(None), MAX_CERTIFICATE_BYTES);
}
