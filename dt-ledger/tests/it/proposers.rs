//! Who proposes, and who rests after having failed to.

use std::sync::Arc;

use dt_ledger::testing::Fixture;
use dt_ledger::{BlockError, CommitCertificate, MemoryStore, REST_HEIGHTS, Rest, Tip};
use dt_model::{Signed, Signer as _};

fn chain(validators: u64) -> Fixture {
    Fixture::new(Arc::new(MemoryStore::default()), 2, validators)
}

/// Commits the next block, made in `round`.
fn commit_in(chain: &Fixture, round: u32) -> Tip {
    let (block, _) = chain.replica().prepare(round, Vec::new(), chain.now()).unwrap();
    let votes = chain.certify(&block.header).votes.into_iter().map(|vote| {
        let mut commit = vote.clone().open().unwrap().into_value();
        commit.round = round;
        let voter =
            (0..9).map(|number| chain.validator(number)).find(|key| key.party() == vote.signer()).unwrap();
        Signed::new(commit, &voter).unwrap().into_envelope()
    });
    let certificate = CommitCertificate { round, votes: votes.collect() };
    chain.replica().commit(block, certificate).unwrap();
    chain.replica().tip()
}

#[test]
fn whoever_failed_rests_for_a_while_and_comes_back() {
    let chain = chain(4);
    let failed = chain.replica().tip().proposer(0).unwrap();
    let tip = commit_in(&chain, 1);
    assert_eq!(tip.resting, [Rest { validator: failed, until: 1 + REST_HEIGHTS }]);
    for _ in 1..=REST_HEIGHTS {
        let tip = chain.replica().tip();
        assert!((0..8).all(|round| tip.proposer(round) != Some(failed)));
        assert_eq!(tip.turns().len(), 3);
        commit_in(&chain, 0);
    }
    let tip = chain.replica().tip();
    assert!(tip.turns().contains(&failed) && tip.resting_after(0).is_empty());
}

#[test]
fn never_more_than_a_third_rest() {
    let chain = chain(7);
    for round in [1, 3, 100, u32::MAX] {
        let tip = commit_in(&chain, round);
        assert!(tip.resting.len() <= 2 && tip.turns().len() >= 5, "round {round}");
    }
    // Of three, nobody can be spared.
    let small = self::chain(3);
    assert!(commit_in(&small, 2).resting.is_empty());
}

#[test]
fn a_header_that_tells_otherwise_is_refused() {
    let chain = chain(4);
    let (mut block, _) = chain.replica().assemble(Vec::new(), chain.now()).unwrap();
    block.header.resting = vec![Rest { validator: chain.validator(2).party(), until: 9 }];
    assert!(matches!(chain.replica().verify(&block, chain.now()), Err(BlockError::RestingDiverge)));
    block.header.resting.clear();
    block.header.round = 1;
    assert!(matches!(chain.replica().verify(&block, chain.now()), Err(BlockError::RestingDiverge)));
}
