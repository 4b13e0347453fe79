//! Bids that others carry on: nobody is held up for ever by a proposer who is gone, and nobody gains a power by what he passes on.

use core::time::Duration;
use std::sync::Arc;

use dt_dht::testing::{Fault, Network};
use dt_dht::{
    Ballot, Bid, Kind, MAX_ROUND_STEP, Order, PutError, Record, Refusal, ReplyBody, RequestBody, Resilience,
    Site, Validator,
};
use dt_model::testing::identity;
use dt_model::{Digest, Envelope, PartyId, Signed, Signer, Timestamp};

use crate::agreement::{Shared, ballot, bid, commit, propose, shared, step};
use crate::support::*;

/// Four nodes, of which the last is silent.
fn three_of_four() -> Network {
    let network = shared(Resilience::tolerating(1).unwrap(), 4);
    network.corrupt(&network.nodes()[3], Fault::Silent);
    network
}

/// What is to be settled.
fn his() -> Signed<Record> {
    step(WRITER, 1, "his")
}

fn made(network: &Network, ballot: Ballot) -> Envelope<Bid> {
    bid(network.membership(), &his(), ballot, network.now())
}

/// Somebody asks a node for a promise by this bid, and shows it these titles.
fn bids(
    network: &Network,
    seed: u64,
    node: usize,
    bid: Envelope<Bid>,
    titles: &[Envelope<Bid>],
) -> ReplyBody {
    let body = RequestBody::Promise { bid, titles: titles.to_vec() };
    ask(network, seed, &network.nodes()[node], body)
}

/// What a node has promised, and the title that it shows.
fn shown(network: &Network, node: usize) -> (Option<Ballot>, Option<Ballot>) {
    let body = RequestBody::GetState { address: his().key.address };
    match ask(network, READER, &network.nodes()[node], body) {
        ReplyBody::State { promised, title, .. } => {
            (promised, title.map(|title| title.open().unwrap().ballot))
        }
        other => panic!("{other:?}"),
    }
}

fn is_promised(reply: &ReplyBody) -> bool {
    matches!(reply, ReplyBody::Promised { .. })
}

fn outbid(rank: u8, round: u64) -> ReplyBody {
    refused(Refusal::Outbid { rank, round })
}

/// Somebody of a higher rank has the promise of one honest node, and is gone.
#[tokio::test]
async fn a_lower_rank_goes_on_when_the_higher_one_is_gone() {
    let network = three_of_four();
    assert!(is_promised(&bids(&network, READER, 0, made(&network, ballot(READER, 2, 1)), &[])));
    let writer = client(&network, WRITER);
    let early = writer.settle(&his(), network.now()).await;
    assert!(matches!(early, Err(PutError::Contended { .. })), "he may be there still: {early:?}");
    network.advance(Duration::from_secs(10));
    let settled = writer.settle(&his(), network.now()).await.unwrap();
    assert!(settled.state().contains(&his()));
}

/// The same when something may be decided already, and only a node is left to finish it, which has no rank: as at a hand-over.
#[tokio::test]
async fn a_node_finishes_what_is_locked_when_all_others_are_gone() {
    let network = three_of_four();
    let voted = |node: usize, body| match ask(&network, WRITER, &network.nodes()[node], body) {
        ReplyBody::Voted { vote } => vote,
        other => panic!("{other:?}"),
    };
    let votes = [0, 1, 2].map(|node| voted(node, propose(&his(), 1, None, Vec::new())));
    voted(1, commit(&his(), &votes));
    assert!(is_promised(&bids(&network, READER, 0, made(&network, ballot(READER, 2, 1)), &[])));
    let node = network.client(network.nodes()[2].clone());
    let mut found = None;
    for _ in 0..3 {
        found = found.or(node.state(his().key.address, network.now()).await.ok().flatten());
        network.advance(Duration::from_secs(10));
    }
    assert!(found.is_some_and(|settled| settled.state().contains(&his())));
}

/// Where there is a quorum without that node, nobody waits, nor is anybody told of the bid.
#[tokio::test]
async fn a_promise_of_one_node_delays_nobody_when_all_are_there() {
    let network = shared(Resilience::tolerating(1).unwrap(), 4);
    assert!(is_promised(&bids(&network, READER, 0, made(&network, ballot(READER, 2, 1)), &[])));
    client(&network, WRITER).settle(&his(), network.now()).await.unwrap();
}

/// Whoever took over and is gone as well has left the title behind.
#[test]
fn a_title_stays_when_its_rank_is_taken_over() {
    let network = three_of_four();
    let (right, taken_over) = (ballot(READER, 2, 1), ballot(WRITER, 2, 2));
    let title = made(&network, right);
    assert!(is_promised(&bids(&network, READER, 0, title.clone(), &[])));
    network.advance(Duration::from_secs(10));
    assert!(is_promised(&bids(&network, WRITER, 0, made(&network, taken_over), &[])));
    assert_eq!(shown(&network, 0), (Some(taken_over), Some(right)));
    // Others are not convinced by the bid of one who had no right, but by the title.
    let own = made(&network, ballot(STRANGER, 0, 1));
    bids(&network, STRANGER, 1, own.clone(), &[made(&network, taken_over)]);
    assert_eq!(shown(&network, 1), (None, None));
    assert_eq!(bids(&network, STRANGER, 1, own, &[title]), outbid(2, 1));
    assert_eq!(shown(&network, 1), (Some(right), Some(right)));
    network.advance(Duration::from_secs(10));
    assert!(is_promised(&bids(&network, STRANGER, 1, made(&network, ballot(STRANGER, 2, 3)), &[])));
}

/// What a node does not heed, whoever shows it; nor does it refuse for that what it is asked.
#[test]
fn what_is_no_title_is_not_heeded() {
    let network = three_of_four();
    let (right, own) = (ballot(READER, 2, 1), ballot(WRITER, 1, 1));
    let good = made(&network, right).open().unwrap().into_value();
    let by = |seed: u64, bid: Bid| Signed::new(bid, &identity(seed)).unwrap().into_envelope();
    let other = [10; 32];
    let no_bid = Envelope::unverified(right.proposer, *by(READER, good).signature(), vec![7].into());
    let unsound = [
        ("by another hand", by(WRITER, good)),
        ("of a rank that he has not", made(&network, ballot(READER, 3, 1))),
        ("of somebody who has no rank", made(&network, ballot(STRANGER, 2, 1))),
        ("of another network", by(READER, Bid { network: Digest::from(other), ..good })),
        ("of another address", by(READER, Bid { address: other.into(), ..good })),
        ("of a step that is past", by(READER, Bid { sequence: 0, ..good })),
        ("of a step to come", by(READER, Bid { sequence: 2, ..good })),
        ("of no round", made(&network, ballot(READER, 2, 0))),
        ("of a round out of reach", made(&network, ballot(READER, 2, MAX_ROUND_STEP + 1))),
        ("no bid", no_bid),
        ("of no higher rank", made(&network, ballot(READER, 1, 9))),
    ];
    assert!(is_promised(&bids(&network, WRITER, 0, made(&network, own), &[])));
    for (what, title) in unsound {
        assert!(is_promised(&bids(&network, WRITER, 0, made(&network, own), &[title])), "{what}");
        assert_eq!(shown(&network, 0), (Some(own), Some(own)), "{what}");
    }
    let many = vec![made(&network, right); 5];
    assert_eq!(bids(&network, WRITER, 0, made(&network, own), &many), refused(Refusal::Malformed));
    assert_eq!(bids(&network, WRITER, 0, made(&network, own), &many[..4]), outbid(2, 1));
    // Nor does anybody get a promise by a bid that is not his.
    assert_eq!(bids(&network, WRITER, 0, made(&network, right), &[]), refused(Refusal::NotPermitted));
    assert_eq!(bids(&network, READER, 0, by(WRITER, good), &[]), refused(Refusal::Malformed));
    let elsewhere = by(READER, Bid { network: Digest::from(other), ..good });
    assert_eq!(bids(&network, READER, 0, elsewhere, &[]), refused(Refusal::Malformed));
}

/// Whoever is being dismissed spreads what his superior bid, again and again: he cannot go on in that rank while the superior does, and
/// holds up others no longer than the superior himself would.
#[test]
fn who_shows_old_bids_wins_no_time() {
    let network = three_of_four();
    let own = made(&network, ballot(WRITER, 1, 1));
    let old = [1, 2].map(|round| made(&network, ballot(READER, 2, round)));
    bids(&network, WRITER, 0, own.clone(), &old[..1]);
    network.advance(Duration::from_secs(9));
    bids(&network, WRITER, 0, own, &old[1..]);
    assert_eq!(shown(&network, 0).0, Some(ballot(READER, 2, 1)), "a rank is heeded once");
    network.advance(Duration::from_secs(1));
    assert!(is_promised(&bids(&network, STRANGER, 0, made(&network, ballot(STRANGER, 2, 2)), &old)));
    // The superior is there: nobody else may go on in his rank for ten seconds.
    assert!(is_promised(&bids(&network, READER, 0, made(&network, ballot(READER, 2, 3)), &[])));
    network.advance(Duration::from_millis(9_999));
    let taking_over = made(&network, ballot(WRITER, 2, 4));
    assert_eq!(bids(&network, WRITER, 0, taking_over.clone(), &old), refused(Refusal::Rank));
    network.advance(Duration::from_millis(1));
    assert!(is_promised(&bids(&network, WRITER, 0, taking_over, &old)));
}

/// Where one may take over, another may as well, at once: if each had to wait for the one before, at each node for another, none would ever have
/// a quorum. Whoever has the rank by right still ends it.
#[test]
fn who_takes_over_keeps_nobody_waiting() {
    let network = three_of_four();
    assert!(is_promised(&bids(&network, READER, 0, made(&network, ballot(READER, 2, 1)), &[])));
    network.advance(Duration::from_secs(10));
    for (seed, round) in [(WRITER, 2), (STRANGER, 3), (WRITER, 4)] {
        assert!(is_promised(&bids(&network, seed, 0, made(&network, ballot(seed, 2, round)), &[])));
    }
    assert!(is_promised(&bids(&network, READER, 0, made(&network, ballot(READER, 2, 5)), &[])));
    let late = bids(&network, WRITER, 0, made(&network, ballot(WRITER, 2, 6)), &[]);
    assert_eq!(late, refused(Refusal::Rank));
}

/// A register in which READER has rank 2 until some time, and everybody else rank 1 for ever.
struct Fading(Timestamp);

impl Validator for Fading {
    fn kind(&self) -> Kind {
        Shared::KIND
    }

    fn order(&self) -> Order {
        Order::Agreed
    }

    fn rank(&self, site: &Site<'_>, party: &PartyId) -> Option<u8> {
        let is_reader = *party == identity(READER).party();
        Some(if is_reader && site.now < self.0 { 2 } else { u8::from(!is_reader) })
    }

    fn admit(&self, _: &Site<'_>, _: &Signed<Record>) -> Result<(), Refusal> {
        Ok(())
    }
}

/// A right that has ended entitles to nothing any more; but what was bid by it binds those who missed it as it binds those who did not.
#[test]
fn a_rank_is_judged_at_the_time_of_the_bid() {
    let one_fault = Resilience::tolerating(1).unwrap();
    let start = with_nodes(one_fault, 4, &[]).now();
    let end = start.saturating_add(Duration::from_secs(60));
    let network = with_nodes(one_fault, 4, &[Arc::new(Fading(end))]);
    let (right, own) = (ballot(READER, 2, 1), ballot(WRITER, 1, 1));
    let at = |time| bid(network.membership(), &his(), right, time);
    // His clock is ahead: what he bids convinces nobody later, so it does not now.
    assert_eq!(bids(&network, READER, 0, at(end), &[]), refused(Refusal::Rank));
    assert!(is_promised(&bids(&network, READER, 0, at(start), &[])));
    network.advance(Duration::from_secs(60));
    assert_eq!(bids(&network, READER, 1, at(start), &[]), refused(Refusal::Rank));
    bids(&network, WRITER, 1, made(&network, own), &[at(end)]);
    assert_eq!(shown(&network, 1).0, Some(own));
    bids(&network, WRITER, 1, made(&network, own), &[at(start)]);
    assert_eq!(shown(&network, 1).0, Some(right));
}
