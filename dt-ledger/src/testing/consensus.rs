//! The conformance suite of [`Consensus`].

use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use dt_model::{Digest, Envelope, Identity, Signed, Signer, codec};

use super::Fixture;
use crate::{Call, CommittedBlock, Consensus, ConsensusError, Outcome, Replica, State as _, Transaction};

/// Parties that submit at once.
const CROWD: u64 = 8;

/// Checks a [`Consensus`] from outside, against its contract.
///
/// `make` gives a consensus over a replica, for a chain whose only validator has the given keys; it is asked a second time for a replica
/// that has blocks already, as after a restart, when the former consensus is dropped. An engine that does not commit what was submitted
/// makes the suite wait for ever: run it under a timeout.
///
/// # Panics
/// With a sentence, where the consensus breaks the contract.
pub async fn consensus_suite<F>(make: F)
where
    F: AsyncFn(Arc<Replica>, Arc<dyn Signer>) -> Arc<dyn Consensus>,
{
    let chain = Fixture::default();
    let party = chain.enrol(1);
    let crowd: Vec<Identity> = (10..10 + CROWD).map(|seed| chain.enrol(seed)).collect();
    let begun = chain.replica().tip().height;
    let start = || make(Arc::clone(chain.replica()), Arc::new(chain.validator(0)));

    let consensus = start().await;
    let first = submitted_is_committed_once(&chain, &*consensus, &party).await;
    inadmissible_is_refused(&chain, &*consensus, &party).await;
    duplicates_are_committed_once(&chain, &*consensus, &party, &first).await;
    everybody_is_heard(&chain, &*consensus, &crowd).await;
    a_sender_need_not_wait(&chain, &*consensus, &party).await;
    let blocks = follow(&*consensus).await;
    drop(consensus);

    let consensus = start().await;
    let again = follow(&*consensus).await;
    assert!(again.starts_with(&blocks), "a restart neither loses, skips, repeats nor changes a height");
    submitted_is_committed_once(&chain, &*consensus, &party).await;
    assert!(consensus.status().height > begun, "the status tells the height");
    crate::audit(&*chain.replica().store, chain.replica().genesis(), &mut |_| {})
        .expect("what was committed passes an audit");
}

/// A call that is applied whenever its sender takes part.
fn harmless(of: &Identity) -> Vec<Call> {
    vec![Call::RotateEncryptionKey { key: of.encryption_key() }]
}

/// Waits until the chain holds `transaction`, and checks all blocks on the way.
async fn find(consensus: &dyn Consensus, transaction: &Digest) -> Arc<CommittedBlock> {
    for height in 1.. {
        let block = consensus.committed(height).await.expect("each height in turn is committed");
        assert_eq!(block.block.header.height, height, "a height is what it was asked for");
        if block.receipts.iter().any(|receipt| receipt.transaction == *transaction) {
            return block;
        }
    }
    unreachable!("heights do not end")
}

/// All committed blocks, checked to be a chain.
async fn follow(consensus: &dyn Consensus) -> Vec<Arc<CommittedBlock>> {
    let mut blocks: Vec<Arc<CommittedBlock>> = Vec::new();
    for height in 1..=consensus.status().height {
        let block = consensus.committed(height).await.expect("the past can be followed");
        let header = &block.block.header;
        assert_eq!(header.height, height, "no height is skipped or repeated");
        if let Some(before) = blocks.last() {
            assert_eq!(header.previous, before.block.header.digest(), "each block builds on the one before");
            assert!(header.time >= before.block.header.time, "block time never goes back");
        }
        blocks.push(block);
    }
    let mut seen: BTreeMap<Digest, u32> = BTreeMap::new();
    for receipt in blocks.iter().flat_map(|block| &block.receipts) {
        *seen.entry(receipt.transaction).or_default() += 1;
    }
    assert!(seen.values().all(|&times| times == 1), "no transaction is committed twice");
    blocks
}

async fn submitted_is_committed_once(
    chain: &Fixture,
    consensus: &dyn Consensus,
    party: &Identity,
) -> Envelope<Transaction> {
    let transaction = chain.sign(party, harmless(party));
    let digest = consensus.submit(transaction.clone()).await.expect("an admissible transaction is taken");
    assert_eq!(digest, transaction.digest(), "the answer to a submission is the transaction's digest");
    let block = find(consensus, &digest).await;
    let receipt = block.receipts.iter().find(|receipt| receipt.transaction == digest).expect("was found");
    assert_eq!(receipt.outcome, Outcome::Applied, "what the contracts permit is applied");
    assert!(consensus.status().height >= block.block.header.height, "the status tells what is committed");
    let (header, stored, _) =
        chain.replica().transaction(&digest).expect("the store answers").expect("committed means stored");
    assert_eq!(
        (&header, &stored),
        (&block.block.header, &transaction),
        "this node's replica holds the block"
    );
    transaction
}

async fn inadmissible_is_refused(chain: &Fixture, consensus: &dyn Consensus, party: &Identity) {
    let nonce = chain.state().nonce(&party.party()).expect("the store answers");
    let good =
        Transaction { chain: chain.replica().chain(), nonce, valid_until: u64::MAX, calls: harmless(party) };
    let sign = |transaction: Transaction, signer: &Identity| {
        Signed::new(transaction, signer).expect("signs").into_envelope()
    };
    let stranger = dt_model::testing::identity(u64::MAX);
    let mut forged = codec::encode(&sign(good.clone(), party));
    // The signature stands between the signer and the body.
    forged[40] ^= 1;
    let refused = [
        ("for another chain", sign(Transaction { chain: Digest::ZERO, ..good.clone() }, party)),
        ("expired", sign(Transaction { valid_until: 0, ..good.clone() }, party)),
        ("without calls", sign(Transaction { calls: Vec::new(), ..good.clone() }, party)),
        ("by a stranger", sign(Transaction { nonce: 0, ..good.clone() }, &stranger)),
        ("out of order", sign(Transaction { nonce: nonce - 1, valid_until: u64::MAX - 1, ..good }, party)),
        ("forged", codec::decode(&forged, forged.len()).expect("an envelope still")),
    ];
    for (what, transaction) in refused {
        let digest = transaction.digest();
        let answer = consensus.submit(transaction).await;
        assert!(
            matches!(answer, Err(ConsensusError::Admission(_))),
            "a transaction that is {what} is refused, not {answer:?}"
        );
        let committed = chain.replica().transaction(&digest).expect("the store answers");
        assert!(committed.is_none(), "what is refused is not committed");
    }
}

async fn duplicates_are_committed_once(
    chain: &Fixture,
    consensus: &dyn Consensus,
    party: &Identity,
    first: &Envelope<Transaction>,
) {
    // Whether a repetition is taken or refused is the engine's choice; what counts is what the chain holds then.
    let _ = consensus.submit(first.clone()).await;
    let next = chain.sign(party, harmless(party));
    let twice = vec![consensus.submit(next.clone()), consensus.submit(next.clone())];
    let taken = all(twice).await.into_iter().filter(Result::is_ok).count();
    assert!(taken > 0, "one of two equal transactions is taken");
    find(consensus, &next.digest()).await;
    follow(consensus).await;
}

async fn everybody_is_heard(chain: &Fixture, consensus: &dyn Consensus, crowd: &[Identity]) {
    let transactions: Vec<_> = crowd.iter().map(|party| chain.sign(party, harmless(party))).collect();
    let submissions = transactions.iter().map(|transaction| consensus.submit(transaction.clone())).collect();
    for answer in all(submissions).await {
        let digest = answer.expect("admissible transactions do not drive each other out");
        find(consensus, &digest).await;
    }
    follow(consensus).await;
}

async fn a_sender_need_not_wait(chain: &Fixture, consensus: &dyn Consensus, party: &Identity) {
    let first = chain.state().nonce(&party.party()).expect("the store answers");
    let mut digests = Vec::new();
    for nonce in first..first + 4 {
        let (chain, calls) = (chain.replica().chain(), harmless(party));
        let transaction = Transaction { chain, nonce, valid_until: u64::MAX, calls };
        let transaction = Signed::new(transaction, party).expect("signs").into_envelope();
        digests.push(
            consensus.submit(transaction).await.expect("a sender's next is taken after the one before"),
        );
    }
    for digest in digests {
        find(consensus, &digest).await;
    }
    follow(consensus).await;
}

type Submission<'a> = Pin<Box<dyn Future<Output = Result<Digest, ConsensusError>> + Send + 'a>>;

/// Runs all of them at once.
async fn all(mut running: Vec<Submission<'_>>) -> Vec<Result<Digest, ConsensusError>> {
    let mut done: Vec<Option<_>> = running.iter().map(|_| None).collect();
    poll_fn(|context| {
        for (submission, done) in running.iter_mut().zip(&mut done) {
            if done.is_none()
                && let Poll::Ready(answer) = submission.as_mut().poll(context)
            {
                *done = Some(answer);
            }
        }
        if done.iter().all(Option::is_some) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    done.into_iter().flatten().collect()
}
