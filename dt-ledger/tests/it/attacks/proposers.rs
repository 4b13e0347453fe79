//! Proposers, validators and authorities that break the rules, with as many votes as they can get.

use bytes::Bytes;
use dt_ledger::store::{Batch, Table};
use dt_ledger::testing::Fixture;
use dt_ledger::{
    AdmissionError, Block, BlockError, Call, Checkpoint, CheckpointError, Commit, CommitCertificate,
    CreateTwin, LedgerStore as _, LogHead, MAX_AML_BYTES, MAX_BLOCK_BYTES, MemoryStore, Policy, Proposal,
    Replica, SignedNote, State as _, StoreError, TwinCall, proposal_id,
};
use dt_model::testing::identity;
use dt_model::{Identity, Signed, Signer as _, Timestamp, codec};

use super::{barred, bytes_of, next_block, rows, thwarted, votes_for};
use crate::support::*;

fn plant(organisations: u64) -> (MemoryStore, Plant) {
    let store = MemoryStore::default();
    let plant = Plant::over(Fixture::new(std::sync::Arc::new(store.clone()), organisations, 4));
    (store, plant)
}

/// The block that the plant would make next.
fn good(plant: &Plant) -> Block {
    let sign = |who: &Identity| bytes_of(&plant.chain.sign(who, vec![plant.on(add_document(None))]));
    next_block(&plant.chain, vec![sign(&plant.owner), sign(&plant.maintainer)])
}

/// Has all validators vote for what is no block, and says why nobody takes it. Nothing is stored then.
fn rejected(plant: &Plant, block: Block) -> BlockError {
    let before = rows(&plant.chain);
    let votes = votes_for(&plant.chain, &block);
    plant.chain.replica().verify(&block, Timestamp::MAX).expect_err("no honest validator votes for it");
    let error = plant.chain.replica().commit(block, votes).expect_err("nor do votes make it one");
    assert!(rows(&plant.chain) == before);
    error
}

#[test]
fn no_part_of_a_header_is_the_proposers_to_choose() {
    let (_, plant) = plant(2);
    plant.chain.wait(10);
    plant.chain.commit(&[]);
    let changed = |change: &dyn Fn(&mut Block)| {
        let mut block = good(&plant);
        change(&mut block);
        rejected(&plant, block)
    };
    let tip = plant.chain.replica().tip();
    let before = Timestamp::from_millis(tip.time.as_millis() - 1);
    assert!(matches!(changed(&|b| b.header.time = before), BlockError::TimeGoesBack));
    assert!(matches!(changed(&|b| b.header.height += 1), BlockError::WrongHeight { .. }));
    assert!(matches!(changed(&|b| b.header.previous = tip.state_root), BlockError::WrongPredecessor));
    assert!(matches!(changed(&|b| b.header.state_root = tip.block), BlockError::StateDiverges { .. }));
    assert!(matches!(changed(&|b| b.header.receipts_root = tip.block), BlockError::ReceiptsDiverge));
    assert!(matches!(changed(&|b| b.header.log.size += 1), BlockError::LogDiverges));
    let empty = LogHead { size: 0, ..tip.log };
    assert!(matches!(changed(&|b| b.header.log = empty), BlockError::LogDiverges));
    assert!(matches!(changed(&|b| b.header.log.root = tip.block), BlockError::LogDiverges));
    let nobody = dt_ledger::validators_digest(&[]);
    assert!(matches!(changed(&|b| b.header.next_validators = nobody), BlockError::ValidatorsDiverge));
    // All the time there is may pass in one block, and nothing after it goes back behind that.
    let mut last = good(&plant);
    last.header.time = Timestamp::MAX;
    assert!(matches!(
        rejected(&plant, last),
        BlockError::Transaction { index: 0, error: AdmissionError::UnknownSender(_) }
    ));
}

/// What was verified is committed, to the byte: a right header and right votes do not let other transactions in.
#[test]
fn transactions_are_not_exchanged_between_verify_and_commit() {
    let (_, plant) = plant(2);
    let other = bytes_of(&plant.chain.sign(&plant.auditor, vec![plant.on(add_document(None))]));
    type Change<'a> = (&'a str, &'a dyn Fn(&mut Vec<Bytes>));
    let changes: [Change<'_>; 5] = [
        ("swapped", &|all| all.swap(0, 1)),
        ("one less", &|all| drop(all.pop())),
        ("one more", &|all| all.push(other.clone())),
        ("another", &|all| all[1] = other.clone()),
        ("none", &|all| all.clear()),
    ];
    for (what, change) in changes {
        let block = good(&plant);
        plant.chain.replica().verify(&block, Timestamp::MAX).unwrap();
        let mut exchanged = block.clone();
        change(&mut exchanged.transactions);
        let before = rows(&plant.chain);
        let votes = votes_for(&plant.chain, &block);
        let error = plant.chain.replica().commit(exchanged, votes).unwrap_err();
        assert!(matches!(error, BlockError::WrongTransactions), "{what}: {error:?}");
        assert!(rows(&plant.chain) == before, "{what}");
    }
    let block = good(&plant);
    let votes = votes_for(&plant.chain, &block);
    plant.chain.replica().commit(block, votes).expect("what was verified");
}

/// A proposal that lies on disk and is damaged is an error; one that is whole and wrong goes to nobody's chain, and costs one round.
#[test]
fn a_poisoned_proposal_reaches_no_chain() {
    let (store, plant) = plant(2);
    let Plant { chain, owner, .. } = &plant;
    let height = chain.replica().tip().height + 1;
    let row = |round: u32| [&height.to_be_bytes()[..], &round.to_be_bytes()].concat();
    let poison = |round, bytes: Vec<u8>| {
        let mut batch = Batch::default();
        batch.put(Table::Pending, row(round), bytes);
        store.commit(batch).unwrap();
    };
    let whole = codec::encode(&good(&plant));
    let longer = [whole.as_slice(), &[0]].concat();
    for (round, bytes) in (0..).zip([Vec::new(), vec![0xff; 50], whole[..whole.len() - 1].to_vec(), longer]) {
        poison(round, bytes);
        let prepared = chain.replica().prepare(round, Vec::new(), chain.now());
        let damaged = matches!(&prepared, Err(StoreError::Damaged { table: Table::Pending, key }) if *key == row(round));
        assert!(damaged, "{prepared:?}");
    }
    // Whole, but of another height, or with a transaction that is not admissible.
    let mut ahead = good(&plant);
    ahead.header.height += 1;
    let stranger = bytes_of(&chain.sign(&identity(99), vec![Call::RetireNode]));
    for (round, block) in (10..).zip([ahead, next_block(chain, vec![stranger])]) {
        poison(round, codec::encode(&block));
        let (proposed, _) = chain.replica().prepare(round, Vec::new(), chain.now()).unwrap();
        assert_eq!(proposed, block, "it says what it said, whatever that was");
        let before = chain.replica().tip();
        let votes = votes_for(chain, &proposed);
        chain.replica().verify(&proposed, Timestamp::MAX).unwrap_err();
        chain.replica().commit(proposed, votes).unwrap_err();
        assert_eq!(chain.replica().tip(), before);
    }
    let transaction = bytes_of(&chain.sign(owner, vec![plant.on(add_document(None))]));
    let (block, left) = chain.replica().prepare(20, vec![transaction], chain.now()).unwrap();
    assert_eq!((block.transactions.len(), left.len()), (1, 0));
    let votes = votes_for(chain, &block);
    chain.replica().commit(block, votes).expect("another round has another block");
}

/// A proposer that is offered too much leaves some of it out; one that does not is refused, whatever it is.
#[test]
fn no_block_is_too_large() {
    let (_, plant) = plant(2);
    let Plant { chain, owner, .. } = &plant;
    let create = |number: u64| {
        let create = CreateTwin {
            device_name: name("press"),
            device_id: name(&format!("press {number}")),
            aml: vec![b' '; MAX_AML_BYTES],
            policy: Policy::none(),
            roles: [].into(),
            agent: None,
        };
        bytes_of(&chain.sign_ahead(owner, vec![Call::CreateTwin(create)], number))
    };
    let all: Vec<Bytes> = (0..4).map(create).collect();
    let (block, left) = chain.replica().prepare(0, all.clone(), chain.now()).unwrap();
    assert!(block.transactions.iter().map(Bytes::len).sum::<usize>() <= MAX_BLOCK_BYTES);
    assert_eq!(block.transactions, all[..3]);
    assert!(matches!(&left[..], [(bytes, AdmissionError::Size)] if *bytes == all[3]));
    assert!(matches!(rejected(&plant, next_block(chain, all)), BlockError::TooLarge));
    // As many as would take gigabytes to say what is wrong with each, in a block of 2 MB.
    let empty = next_block(chain, vec![Bytes::new(); 700_000]);
    assert!(matches!(rejected(&plant, empty), BlockError::TooLarge));
    let votes = votes_for(chain, &block);
    let committed = chain.replica().commit(block, votes).unwrap();
    assert!(
        committed
            .receipts
            .iter()
            .all(|receipt| receipt.result().unwrap_err().rule() == "specification.malformed")
    );
}

/// What a validator has signed in one place does not count in another.
#[test]
fn votes_count_once_in_their_round_for_their_block() {
    let (_, plant) = plant(2);
    let chain = &plant.chain;
    let block = good(&plant);
    let vote = |validator: u64, round: u32| {
        let (height, block) = (block.header.height, block.header.digest());
        let commit = Commit { chain: chain.replica().chain(), height, round, block };
        Signed::new(commit, &chain.validator(validator)).unwrap().into_envelope()
    };
    // Each of them alone is a good vote; there are never three of one round.
    let rounds = [(0, 0), (1, 0), (2, 1), (3, 1)].map(|(validator, round)| vote(validator, round));
    let before = rows(chain);
    for round in 0..3 {
        let certificate = CommitCertificate { round, votes: rounds.to_vec() };
        assert!(matches!(
            chain.replica().commit(block.clone(), certificate),
            Err(BlockError::Uncommitted { .. })
        ));
    }
    // A validator's own checkpoint, and its vote with another's name over it.
    let mut renamed = codec::encode(&vote(0, 0));
    renamed[..32].copy_from_slice(chain.validator(3).party().as_bytes());
    let renamed = codec::decode(&renamed, 1024).unwrap();
    let certificate = CommitCertificate { round: 0, votes: vec![vote(0, 0), vote(1, 0), renamed] };
    assert!(matches!(
        chain.replica().commit(block.clone(), certificate),
        Err(BlockError::Uncommitted { votes: 2, needed: 3 })
    ));
    assert!(rows(chain) == before);
    let certificate = CommitCertificate { round: 5, votes: [0, 1, 3].map(|number| vote(number, 5)).into() };
    chain.replica().commit(block, certificate).expect("any round will do, if it is one");
}

fn agree(chain: &Fixture, by: &[u64], proposal: Proposal) {
    let propose = Call::Propose { proposal, millis: 1000 };
    let receipt = chain.apply(&chain.authority(by[0]), vec![propose]).unwrap();
    let proposal = proposal_id(&receipt.transaction, 0);
    for number in &by[1..] {
        chain.apply(&chain.authority(*number), vec![Call::Vote { proposal }]).unwrap();
    }
}

#[test]
fn the_validators_of_who_was_put_out_commit_nothing_more() {
    let (_, plant) = plant(4);
    let chain = &plant.chain;
    let (gone, authority) = (chain.validator(3), chain.authority(3));
    agree(chain, &[0, 1, 2], Proposal::RemoveOrganisation(authority.party()));
    // The block that tells of it is committed by those who were there, and it is the last.
    assert!(chain.replica().tip().validators.contains(&gone.party()));
    chain.commit(&[]);
    let block = next_block(chain, Vec::new());
    let mut votes = votes_for(chain, &block);
    assert_eq!(votes.votes.len(), 3);
    let own = Commit {
        chain: chain.replica().chain(),
        height: block.header.height,
        round: 0,
        block: block.header.digest(),
    };
    let theirs = Signed::new(own, &gone).unwrap().into_envelope();
    let before = rows(chain);
    for at in [2, 3] {
        let mut beside = votes.clone();
        beside.votes.truncate(at);
        beside.votes.push(theirs.clone());
        let refused = chain.replica().commit(block.clone(), beside);
        assert!(matches!(refused, Err(BlockError::Uncommitted { needed: 3, .. })), "beside {at}");
    }
    assert!(rows(chain) == before);
    let again = Call::SetValidators { validators: vec![gone.party()] };
    let refused = barred(chain, bytes_of(&chain.sign(&authority, vec![again])));
    assert!(matches!(refused, AdmissionError::UnknownSender(_)));
    votes.votes.reverse();
    chain.replica().commit(block, votes).expect("those who stay");
}

/// Naming a key gives no hold on it, and takes nothing from who has it but the chance to name it too.
#[test]
fn naming_anothers_key_gives_nothing() {
    let (_, plant) = plant(2);
    let Plant { chain, owner, maintainer, .. } = &plant;
    let [first, second] = [0, 1].map(|number| chain.authority(number));
    let set =
        |keys: &[&Identity]| Call::SetValidators { validators: keys.iter().map(|key| key.party()).collect() };
    assert_eq!(thwarted(chain, &first, vec![set(&[&chain.validator(1)])]), "membership.validator-exists");
    assert_eq!(thwarted(chain, owner, vec![set(&[owner])]), "membership.not-an-authority");
    assert_eq!(
        thwarted(chain, &first, vec![set(&[owner, maintainer, &second])]),
        "membership.too-many-validators"
    );
    // The owner of the twin is made a validator without having been asked.
    chain.apply(&first, vec![set(&[&chain.validator(0), owner])]).unwrap();
    assert_eq!(thwarted(chain, &second, vec![set(&[owner])]), "membership.validator-exists");
    assert_eq!(
        thwarted(chain, &first, vec![plant.on(TwinCall::Decommission)]),
        "authorization.not-the-owner"
    );
    assert_eq!(thwarted(chain, owner, vec![set(&[])]), "membership.not-an-authority");
    let proposal = Call::Propose { proposal: Proposal::SetSeats(9), millis: 1 };
    assert_eq!(thwarted(chain, owner, vec![proposal]), "membership.not-an-authority");
    plant.call(owner, add_document(None)).expect("a party goes on as before");
    // An authority is no party for being one, and certifies nobody into another's organisation.
    let key = first.encryption_key();
    assert_eq!(thwarted(chain, &first, vec![Call::RotateEncryptionKey { key }]), "membership.unknown-party");
    let revoke = |party: &Identity| Call::RevokeCertificate { party: party.party() };
    assert_eq!(thwarted(chain, &first, vec![revoke(owner)]), "authorization.not-yours");
    chain.apply(&second, vec![revoke(owner)]).expect("its own");
}

#[test]
fn nobody_votes_for_another_or_twice() {
    let (_, plant) = plant(4);
    let chain = &plant.chain;
    let by = |number| chain.authority(number);
    let propose = Call::Propose { proposal: Proposal::SetSeats(9), millis: 1000 };
    let id = proposal_id(&chain.apply(&by(0), vec![propose]).unwrap().transaction, 0);
    let vote = || Call::Vote { proposal: id };
    assert_eq!(thwarted(chain, &by(0), vec![vote()]), "vote.already-voted");
    assert_eq!(thwarted(chain, &by(1), vec![vote(), vote(), vote()]), "vote.already-voted");
    assert_eq!(thwarted(chain, &plant.owner, vec![vote()]), "membership.not-an-authority");
    assert_eq!(thwarted(chain, &by(1), vec![Call::Withdraw { proposal: id }]), "authorization.not-yours");
    let other = Call::Vote { proposal: proposal_id(&id, 0) };
    assert_eq!(thwarted(chain, &by(1), vec![other]), "vote.unknown-proposal");
    let own_end = Proposal::RemoveOrganisation(by(9).party());
    chain.apply(&by(1), vec![vote()]).unwrap();
    assert_eq!(chain.state().consortium().unwrap().seats, 2, "two of four do not decide");
    chain.wait(1000);
    assert_eq!(thwarted(chain, &by(2), vec![vote()]), "vote.expired");
    // 2^64-1 milliseconds, and none.
    for millis in [0, u64::MAX] {
        let call = Call::Propose { proposal: own_end.clone(), millis };
        assert_eq!(thwarted(chain, &by(2), vec![call]), "form.not-canonical");
    }
}

/// What validators sign for one chain's log, or as votes, is no checkpoint of another.
#[test]
fn a_checkpoint_of_another_origin_is_none() {
    let (_, plant) = plant(2);
    let chain = &plant.chain;
    let good = chain.replica().checkpoint();
    let validators: Vec<Identity> = (0..4).map(|number| chain.validator(number)).collect();
    let parties = chain.replica().tip().validators;
    let open = |note: &SignedNote| Checkpoint::open(note, &good.chain, &parties);
    let signed_as = |checkpoint: &Checkpoint, by: &[Identity]| {
        by.iter().map(|who| checkpoint.sign(who).unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(open(&good.note(signed_as(&good, &validators)).unwrap()), Ok(good));
    // Another chain with the same validators: what they sign there is put under our text, and under its own.
    let elsewhere = Checkpoint { chain: digest(7), ..good };
    let grafted = good.note(signed_as(&elsewhere, &validators)).unwrap();
    assert!(matches!(open(&grafted), Err(CheckpointError::Signature(_) | CheckpointError::TooFew { .. })));
    let own = elsewhere.note(signed_as(&elsewhere, &validators)).unwrap();
    assert_eq!(open(&own), Err(CheckpointError::WrongChain { found: digest(7) }));
    // The same text signed under the name of another log, which verifies there.
    let sign = |origin: &str, who: &Identity| {
        dt_ledger::NoteSignature::sign(&good.to_string(), origin, who).unwrap()
    };
    let other = Checkpoint::origin(&digest(7));
    let renamed = good.note(validators.iter().map(|who| sign(&other, who)).collect()).unwrap();
    assert!(matches!(open(&renamed), Err(CheckpointError::Signature(_) | CheckpointError::TooFew { .. })));
    // An earlier height's signatures under a later text.
    chain.commit(&[]);
    let later = chain.replica().checkpoint();
    let stale = later.note(signed_as(&good, &validators)).unwrap();
    assert!(matches!(open(&stale), Err(CheckpointError::Signature(_))));
    let mut signatures = signed_as(&later, &validators[..2]);
    signatures.extend(signed_as(&later, &[identity(50)]));
    let few = later.note(signatures).unwrap();
    assert_eq!(open(&few), Err(CheckpointError::TooFew { signers: 2, needed: 3 }));
}

/// A replica that starts over from what a liar gives it stops at the first block that is not the chain's.
#[test]
fn a_fork_needs_the_votes() {
    let (_, plant) = plant(2);
    let chain = &plant.chain;
    let honest = plant.chain.replica().block(chain.replica().tip().height).unwrap().unwrap();
    let other =
        Replica::open(std::sync::Arc::new(MemoryStore::default()), chain.replica().genesis()).unwrap();
    for height in 1..honest.block.header.height {
        let block = chain.replica().block(height).unwrap().unwrap();
        other.commit(block.block, block.certificate).unwrap();
    }
    let (fork, _) = other.assemble(Vec::new(), Timestamp::from_millis(u64::MAX - 1)).unwrap();
    let refused = other.commit(fork.clone(), honest.certificate.clone());
    assert!(matches!(refused, Err(BlockError::Uncommitted { votes: 0, needed: 3 })));
    let one =
        Commit { chain: other.chain(), height: fork.header.height, round: 0, block: fork.header.digest() };
    let votes =
        [0, 0, 0].map(|number| Signed::new(one.clone(), &chain.validator(number)).unwrap().into_envelope());
    let refused = other.commit(fork, CommitCertificate { round: 0, votes: votes.into() });
    assert!(matches!(refused, Err(BlockError::Uncommitted { votes: 1, needed: 3 })));
    other.commit(honest.block, honest.certificate).unwrap();
    assert_eq!(other.tip(), chain.replica().tip());
}
