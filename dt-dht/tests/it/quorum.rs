//! The quorum decisions by themselves: no transport, no replica, only replies.

use std::collections::BTreeSet;

use dt_dht::{
    GetError, GetQuorum, Membership, Node, OwnedRecords, PutError, PutQuorum, Receipt, Record, Refusal,
    ReplyBody, Resilience,
};
use dt_model::testing::identity;
use dt_model::{Digest, Identity, PartyId, Signed, Signer, Timestamp};

use crate::support::{WRITER, owned};

fn membership(replicas: u16, max_faulty: u16) -> Membership {
    let nodes = (100..).take(usize::from(replicas));
    let nodes = nodes.map(|seed| Node { party: identity(seed).party(), endpoints: Vec::new() }).collect();
    let resilience = Resilience::new(replicas, max_faulty).unwrap();
    Membership::new(Digest::ZERO, 1, resilience, nodes, BTreeSet::new()).unwrap()
}

fn node(party: PartyId) -> Identity {
    (100..).map(identity).find(|node| node.party() == party).unwrap()
}

fn receipt_for(membership: &Membership, record: &Signed<Record>) -> Receipt {
    Receipt {
        network: membership.network(),
        key: record.key,
        version: record.version,
        record: record.digest(),
        epoch: membership.epoch(),
        time: Timestamp::from_millis(1),
    }
}

fn stored(receipt: Receipt, party: PartyId) -> ReplyBody {
    ReplyBody::Stored { receipt: Signed::new(receipt, &node(party)).unwrap().into_envelope() }
}

#[test]
fn a_put_needs_q_good_receipts() {
    for (n, k, q) in [(1, 0, 1), (2, 0, 2), (4, 1, 3), (5, 1, 4), (6, 1, 4), (7, 2, 5), (10, 3, 7)] {
        let membership = membership(n, k);
        let record = owned("a", 1, "x");
        let mut quorum = PutQuorum::new(&membership, &record);
        let replicas = quorum.replicas().to_vec();
        for (at, party) in (1..).zip(&replicas) {
            assert!(quorum.outcome().is_none() == (at <= q));
            let receipt = stored(receipt_for(&membership, &record), *party);
            quorum.answer(*party, Some(&receipt));
            quorum.answer(*party, Some(&receipt));
        }
        let certificate = quorum.outcome().unwrap().unwrap();
        assert_eq!(certificate.receipts.len(), q);
        certificate.verify_for(&membership, &record).unwrap();
    }
}

#[test]
fn receipts_for_something_else_do_not_count() {
    let membership = membership(4, 1);
    let record = owned("a", 1, "x");
    let mut quorum = PutQuorum::new(&membership, &record);
    let replicas = quorum.replicas().to_vec();
    let good = receipt_for(&membership, &record);
    let wrong = [
        stored(Receipt { version: 2, ..good.clone() }, replicas[0]),
        stored(Receipt { record: Digest::from([1; 32]), ..good.clone() }, replicas[0]),
        stored(Receipt { epoch: 2, ..good.clone() }, replicas[0]),
        stored(good.clone(), replicas[1]),
        ReplyBody::ShardStored { receipt: None },
    ];
    for wrong in &wrong {
        let mut quorum = quorum.clone();
        quorum.answer(replicas[0], Some(wrong));
        quorum.answer(replicas[1], Some(&stored(good.clone(), replicas[1])));
        quorum.answer(replicas[2], Some(&stored(good.clone(), replicas[2])));
        assert!(quorum.outcome().is_none(), "{wrong:?} counted");
        quorum.answer(replicas[3], None);
        let outcome = quorum.outcome();
        assert!(
            matches!(outcome, Some(Err(PutError::NoQuorum { receipts: 2, needed: 3, .. }))),
            "{outcome:?}"
        );
    }
    quorum.answer(identity(WRITER).party(), Some(&stored(good, replicas[1])));
    assert!(quorum.outcome().is_none());
}

#[test]
fn k_refusals_decide_nothing_and_one_more_does() {
    let membership = membership(7, 2);
    let record = owned("a", 1, "x");
    let mut quorum = PutQuorum::new(&membership, &record);
    let replicas = quorum.replicas().to_vec();
    let no = ReplyBody::Refused { refusal: Refusal::Conflict };
    quorum.answer(replicas[0], Some(&no));
    quorum.answer(replicas[1], Some(&no));
    assert!(quorum.outcome().is_none());
    quorum.answer(replicas[2], Some(&no));
    assert!(matches!(quorum.outcome(), Some(Err(PutError::Refused(Refusal::Conflict)))));
}

/// Refusals that differ: the outcome waits for those that may settle the reason, and then says who said what.
#[test]
fn differing_refusals_are_listed() {
    let membership = membership(4, 1);
    let record = owned("a", 1, "x");
    let mut quorum = PutQuorum::new(&membership, &record);
    let replicas = quorum.replicas().to_vec();
    let refuse = |stored| ReplyBody::Refused { refusal: Refusal::Stale { stored } };
    quorum.answer(replicas[0], Some(&refuse(5)));
    quorum.answer(replicas[1], Some(&refuse(6)));
    assert!(quorum.outcome().is_none(), "two more may agree with one of them");
    let mut agreed = quorum.clone();
    agreed.answer(replicas[2], Some(&refuse(6)));
    assert!(matches!(agreed.outcome(), Some(Err(PutError::Refused(Refusal::Stale { stored: 6 })))));
    quorum.answer(replicas[2], None);
    quorum.answer(replicas[3], None);
    match quorum.outcome() {
        Some(Err(PutError::NoQuorum { receipts: 0, needed: 3, refusals })) => assert_eq!(refusals.len(), 2),
        other => panic!("{other:?}"),
    }
}

fn show(record: Option<&Signed<Record>>) -> Option<ReplyBody> {
    Some(ReplyBody::Record { record: record.map(|record| record.envelope().clone()) })
}

#[test]
fn the_highest_acceptable_version_wins_and_is_written_back() {
    let membership = membership(4, 1);
    let (old, new) = (owned("a", 1, "old"), owned("a", 2, "new"));
    let mut quorum = GetQuorum::new(&membership, new.key);
    let replicas = quorum.replicas().to_vec();
    quorum.answer(replicas[0], show(None), OwnedRecords::check());
    quorum.answer(replicas[1], show(Some(&new)), OwnedRecords::check());
    assert!(!quorum.is_decided());
    assert!(matches!(quorum.winner(), Err(GetError::NoQuorum { replies: 2, needed: 3, .. })));
    quorum.answer(replicas[2], show(Some(&old)), OwnedRecords::check());
    assert!(quorum.is_decided());
    assert_eq!(quorum.winner().unwrap(), Some(new.clone()));
    let sent: Vec<_> = quorum.write_backs(&new).into_iter().map(|back| (back.node, back.records)).collect();
    let expected = vec![
        (replicas[0], vec![old.clone(), new.clone()]),
        (replicas[2], vec![new.clone()]),
        (replicas[3], vec![old, new]),
    ];
    assert_eq!(sent, expected, "to all that lack it, since too few have it");
}

#[test]
fn nothing_is_written_back_to_those_that_have_it() {
    let membership = membership(4, 1);
    let record = owned("a", 1, "x");
    let mut quorum = GetQuorum::new(&membership, record.key);
    let replicas = quorum.replicas().to_vec();
    for replica in &replicas[..3] {
        quorum.answer(*replica, show(Some(&record)), OwnedRecords::check());
    }
    assert!(quorum.write_backs(&record).is_empty());
}

#[test]
fn refusals_to_serve_need_more_than_k() {
    let membership = membership(4, 1);
    let key = owned("a", 1, "x").key;
    let mut quorum = GetQuorum::new(&membership, key);
    let replicas = quorum.replicas().to_vec();
    let no = || Some(ReplyBody::Refused { refusal: Refusal::NotPermitted });
    quorum.answer(replicas[0], no(), OwnedRecords::check());
    assert!(!quorum.is_decided());
    quorum.answer(replicas[0], no(), OwnedRecords::check());
    assert!(!quorum.is_decided(), "a node counts once");
    quorum.answer(replicas[1], no(), OwnedRecords::check());
    assert!(matches!(quorum.winner(), Err(GetError::Refused(Refusal::NotPermitted))));
}

#[test]
fn version_zero_and_wrong_signatures_convict_the_node() {
    let membership = membership(4, 1);
    let record = owned("a", 1, "x");
    let mut bytes = dt_model::codec::encode(record.envelope());
    bytes[40] ^= 1;
    let forged = dt_model::codec::decode(&bytes, 1 << 20).unwrap();
    let bad = [
        Some(ReplyBody::Record { record: Some(forged) }),
        show(Some(&owned("a", 0, "x"))),
        Some(ReplyBody::ShardStored { receipt: None }),
        None,
    ];
    for bad in bad {
        let mut quorum = GetQuorum::new(&membership, record.key);
        let replicas = quorum.replicas().to_vec();
        quorum.answer(replicas[0], bad, &|_| Ok(()));
        quorum.answer(replicas[1], show(None), &|_| Ok(()));
        quorum.answer(replicas[2], show(None), &|_| Ok(()));
        assert!(!quorum.is_decided());
    }
}
