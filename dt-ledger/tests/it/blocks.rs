//! What a replica does not take for the chain's next block.

use bytes::Bytes;
use dt_ledger::store::{Table, scan_prefix};
use dt_ledger::testing::Fixture;
use dt_ledger::{
    AdmissionError, Block, BlockError, Call, Commit, CommitCertificate, LedgerStore as _, MemoryStore,
    Replica, TwinCall, vote_quorum,
};
use dt_model::testing::identity;
use dt_model::{Identity, Signed, Signer as _, Timestamp, codec};

use crate::support::*;

fn plant() -> Plant {
    Plant::over(Fixture::new(std::sync::Arc::new(MemoryStore::default()), 2, 4))
}

/// A block that would be accepted.
fn good(plant: &Plant) -> Block {
    plant.chain.block(&[plant.chain.sign(&plant.owner, vec![plant.on(add_document(None))])])
}

/// Commits `block` under all votes there can be, and checks that a refusal leaves everything as it was.
fn refused(plant: &Plant, block: Block) -> BlockError {
    let before = plant.chain.replica().tip();
    let certificate = plant.chain.certify(&block.header);
    plant.chain.replica().verify(&block, Timestamp::MAX).expect_err("refused before the vote");
    let error = plant.chain.replica().commit(block, certificate).expect_err("refused in spite of all votes");
    assert_eq!(plant.chain.replica().tip(), before);
    error
}

fn changed(plant: &Plant, change: impl FnOnce(&mut Block)) -> BlockError {
    let mut block = good(plant);
    change(&mut block);
    refused(plant, block)
}

#[test]
fn a_header_that_does_not_follow_is_refused() {
    let plant = plant();
    plant.chain.wait(5);
    plant.call(&plant.owner, add_document(None)).unwrap();
    let next = plant.chain.replica().tip().height + 1;
    assert!(matches!(changed(&plant, |b| b.header.chain = digest(1)), BlockError::WrongChain));
    for found in [0, next - 1, next + 1, u64::MAX] {
        let error = changed(&plant, |b| b.header.height = found);
        assert!(
            matches!(error, BlockError::WrongHeight { expected, found: f } if expected == next && f == found)
        );
    }
    assert!(matches!(changed(&plant, |b| b.header.previous = digest(1)), BlockError::WrongPredecessor));
    let back = Timestamp::from_millis(plant.chain.now().as_millis() - 1);
    assert!(matches!(changed(&plant, |b| b.header.time = back), BlockError::TimeGoesBack));
    assert!(matches!(changed(&plant, |b| b.header.state_root = digest(1)), BlockError::StateDiverges { .. }));
    assert!(matches!(changed(&plant, |b| b.header.receipts_root = digest(1)), BlockError::ReceiptsDiverge));
    let error = changed(&plant, |b| b.header.transactions_root = digest(1));
    assert!(matches!(error, BlockError::WrongTransactions));
    let block = good(&plant);
    plant.chain.commit(&[]);
    assert!(matches!(refused(&plant, block), BlockError::WrongHeight { .. }), "a block is committed once");
}

#[test]
fn a_block_from_the_future_gets_no_vote() {
    let plant = plant();
    let block = good(&plant);
    let (replica, time) = (plant.chain.replica(), block.header.time);
    replica.verify(&block, time).unwrap();
    let earlier = Timestamp::from_millis(time.as_millis() - 1);
    let refused = replica.verify(&block, earlier).unwrap_err();
    assert!(matches!(refused, BlockError::TimeAhead { latest } if latest == earlier));
}

#[test]
fn other_transactions_than_the_header_s_are_refused() {
    let plant = plant();
    let other =
        Bytes::from(codec::encode(&plant.chain.sign(&plant.maintainer, vec![plant.on(add_document(None))])));
    assert!(matches!(changed(&plant, |b| b.transactions.push(other.clone())), BlockError::WrongTransactions));
    assert!(matches!(
        changed(&plant, |b| b.transactions = vec![other.clone()]),
        BlockError::WrongTransactions
    ));
    assert!(matches!(changed(&plant, |b| b.transactions.clear()), BlockError::WrongTransactions));
    let owner = || plant.chain.sign(&plant.owner, vec![plant.on(add_document(None))]);
    let maintainer = plant.chain.sign(&plant.maintainer, vec![plant.on(add_document(None))]);
    let mut swapped = plant.chain.block(&[owner(), maintainer]);
    swapped.transactions.swap(0, 1);
    assert!(matches!(refused(&plant, swapped), BlockError::WrongTransactions));
}

/// A proposer that knows the rules puts inadmissible transactions under a header that fits them.
#[test]
fn a_block_with_an_inadmissible_transaction_is_no_block() {
    let plant = plant();
    // A second chain of the same making, where other things are admissible: its proposer's roots are the same.
    let elsewhere = Plant::over(Fixture::new(std::sync::Arc::new(MemoryStore::default()), 2, 4));
    let transaction = elsewhere.chain.sign(&elsewhere.owner, vec![elsewhere.on(add_document(None))]);
    let block = elsewhere.chain.block(&[transaction]);
    plant.chain.replica().verify(&block, Timestamp::MAX).expect("the very same chain");
    let mut flipped = block.clone();
    let mut bytes = flipped.transactions[0].to_vec();
    bytes[50] ^= 1;
    flipped.transactions[0] = bytes.into();
    flipped.header.transactions_root = root_of(&flipped.transactions);
    let error = refused(&plant, flipped);
    assert!(
        matches!(error, BlockError::Transaction { index: 0, error: AdmissionError::Open(_) }),
        "{error:?}"
    );

    let mut twice = block;
    twice.transactions.push(twice.transactions[0].clone());
    twice.header.transactions_root = root_of(&twice.transactions);
    let error = refused(&plant, twice);
    assert!(
        matches!(error, BlockError::Transaction { index: 1, error: AdmissionError::Nonce { .. } }),
        "{error:?}"
    );
}

/// RFC 6962 in so many words, apart from what the crate uses.
fn root_of(leaves: &[Bytes]) -> dt_model::Digest {
    use sha2::{Digest as _, Sha256};
    fn hash(leaves: &[Bytes]) -> [u8; 32] {
        match leaves {
            [] => Sha256::digest([]).into(),
            [leaf] => Sha256::new_with_prefix([0]).chain_update(leaf).finalize().into(),
            _ => {
                let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
                Sha256::new_with_prefix([1])
                    .chain_update(hash(left))
                    .chain_update(hash(right))
                    .finalize()
                    .into()
            }
        }
    }
    hash(leaves).into()
}

#[test]
fn the_transactions_root_is_that_of_rfc_6962() {
    let plant = plant();
    for count in 0..6 {
        let sign = |ahead| plant.chain.sign_ahead(&plant.owner, vec![plant.on(add_document(None))], ahead);
        let block = plant.chain.block(&(0..count).map(sign).collect::<Vec<_>>());
        assert_eq!(block.header.transactions_root, root_of(&block.transactions));
    }
}

#[test]
fn too_few_or_improper_votes_do_not_commit() {
    let plant = plant();
    let chain = &plant.chain;
    let block = good(&plant);
    let all = chain.certify(&block.header).votes;
    let vote = |by: &Identity, of: Commit| Signed::new(of, by).unwrap().into_envelope();
    let own = Commit {
        chain: block.header.chain,
        height: block.header.height,
        round: 0,
        block: block.header.digest(),
    };
    let stranger = vote(&identity(9), own.clone());
    let of = |commit: Commit| vote(&chain.validator(3), commit);
    let with = |last| vec![all[0].clone(), all[1].clone(), all[2].clone(), last];
    let improper = [
        ("none", vec![], 0),
        ("two of four", all[..2].to_vec(), 2),
        ("one three times", vec![all[0].clone(); 3], 1),
        ("a stranger's", vec![all[0].clone(), all[1].clone(), stranger.clone()], 2),
        ("a stranger's beside enough", with(stranger), 3),
        ("one twice beside enough", with(all[0].clone()), 3),
        ("for another block", with(of(Commit { block: digest(1), ..own.clone() })), 3),
        ("for another height", with(of(Commit { height: 1, ..own.clone() })), 3),
        ("for another chain", with(of(Commit { chain: digest(1), ..own.clone() })), 3),
        ("of another round", with(of(Commit { round: 1, ..own.clone() })), 3),
    ];
    for (what, votes, valid) in improper {
        let error = chain.replica().commit(block.clone(), CommitCertificate { round: 0, votes }).unwrap_err();
        assert!(
            matches!(error, BlockError::Uncommitted { votes, needed: 3 } if votes == valid),
            "{what}: {error:?}"
        );
    }
    for left_out in 0..4 {
        let mut votes = all.clone();
        votes.remove(left_out);
        let enough = Fixture::new(std::sync::Arc::new(MemoryStore::default()), 2, 4);
        let again = Plant::over(enough);
        again
            .chain
            .replica()
            .commit(block.clone(), CommitCertificate { round: 0, votes })
            .expect("any three of four");
    }
    chain.replica().commit(block, CommitCertificate { round: 0, votes: all }).expect("all four");
}

#[test]
fn more_than_two_thirds_commit() {
    let quorums: Vec<usize> = (1..=10).map(vote_quorum).collect();
    assert_eq!(quorums, [1, 2, 3, 3, 4, 5, 5, 6, 7, 7]);
    for validators in 1..300 {
        let quorum = vote_quorum(validators);
        assert!(3 * quorum > 2 * validators && 3 * (quorum - 1) <= 2 * validators);
    }
}

#[test]
fn no_flipped_bit_or_cut_of_a_block_passes() {
    let plant = plant();
    let block = good(&plant);
    let votes = plant.chain.certify(&block.header);
    let bytes = codec::encode(&block);
    let before = plant.chain.replica().tip();
    for at in 0..bytes.len() {
        assert!(codec::decode::<Block>(&bytes[..at], bytes.len()).is_err(), "cut at {at}");
        let mut flipped = bytes.clone();
        flipped[at] ^= 1 << (at % 8);
        if let Ok(other) = codec::decode::<Block>(&flipped, bytes.len()) {
            assert!(plant.chain.replica().commit(other, votes.clone()).is_err(), "byte {at}");
        }
    }
    assert_eq!(plant.chain.replica().tip(), before);
    plant.chain.replica().commit(block, votes).unwrap();
}

#[test]
fn an_oversized_block_is_refused_before_its_work() {
    let plant = plant();
    let large = Bytes::from(vec![0; 33 << 20]);
    let error = changed(&plant, |b| b.transactions = vec![large.clone(), large]);
    assert!(matches!(error, BlockError::TooLarge), "{error:?}");
}

#[test]
fn preparing_leaves_out_what_is_not_admissible() {
    let plant = plant();
    let Plant { chain, owner, .. } = &plant;
    let good = |ahead| {
        Bytes::from(codec::encode(&chain.sign_ahead(owner, vec![plant.on(add_document(None))], ahead)))
    };
    let stranger =
        chain.sign(&identity(99), vec![Call::Twin { twin: plant.twin, call: TwinCall::Decommission }]);
    let offered = vec![
        Bytes::new(),
        good(0),
        good(0),
        Bytes::from(codec::encode(&stranger)),
        good(2),
        good(1),
        Bytes::from_static(b"rubbish"),
    ];
    let (block, left) = chain.replica().assemble(offered.clone(), chain.now()).unwrap();
    assert_eq!(block.transactions, [offered[1].clone(), offered[5].clone()]);
    let errors: Vec<&AdmissionError> = left.iter().map(|(_, error)| error).collect();
    assert!(
        matches!(
            errors[..],
            [
                AdmissionError::Decode(_),
                AdmissionError::Nonce { .. },
                AdmissionError::UnknownSender(_),
                AdmissionError::Nonce { .. },
                AdmissionError::Decode(_)
            ]
        ),
        "{errors:?}"
    );
    let (again, _) = chain.replica().assemble(offered, chain.now()).unwrap();
    assert_eq!(again, block, "the same answer again");
    assert_eq!(owner.party(), plant.owner.party());
}

#[test]
fn a_proposal_is_the_same_again_after_a_crash_and_gone_once_its_height_is_committed() {
    let store = MemoryStore::default();
    let plant = Plant::over(Fixture::new(std::sync::Arc::new(store.clone()), 2, 4));
    let chain = &plant.chain;
    let sign = |call| Bytes::from(codec::encode(&chain.sign(&plant.owner, vec![plant.on(call)])));
    let (first, second) = (sign(add_document(None)), sign(add_document(Some("tank"))));
    let (proposed, left) = chain.replica().prepare(0, vec![first.clone()], chain.now()).unwrap();
    assert_eq!((proposed.transactions.clone(), left.len()), (vec![first], 0));
    assert!(rows(&store, Table::Pending) == 1, "it is kept before anybody hears of it");

    let again = Replica::open(std::sync::Arc::new(store.clone()), chain.replica().genesis()).unwrap();
    chain.wait(1000);
    let (same, _) = again.prepare(0, vec![second.clone()], chain.now()).unwrap();
    assert_eq!(same, proposed, "the same height and round, the same block");
    let (other, _) = again.prepare(1, vec![second.clone()], chain.now()).unwrap();
    assert_eq!(other.transactions, [second], "another round may have another block");

    again.commit(other.clone(), chain.certify(&other.header)).unwrap();
    assert_eq!(rows(&store, Table::Pending), 0, "what is over is forgotten");
    let (next, _) = again.prepare(0, Vec::new(), chain.now()).unwrap();
    assert_eq!(next.header.height, other.header.height + 1);
}

fn rows(store: &MemoryStore, table: Table) -> usize {
    scan_prefix(&*store.view().unwrap(), table, &[], usize::MAX).unwrap().len()
}
