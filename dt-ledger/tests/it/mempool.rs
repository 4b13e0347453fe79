//! The mempool against a naive model, and what it promises one by one.

use std::time::Duration;

use bytes::Bytes;
use dt_ledger::testing::Fixture;
use dt_ledger::{
    AdmissionError, Call, Candidate, Mempool, MempoolError, MempoolLimits, State as _, Transaction,
};
use dt_model::{Digest, Envelope, Identity, PartyId, Signed, Signer as _, Timestamp, codec};
use proptest::prelude::*;

const LIMITS: MempoolLimits = MempoolLimits {
    transactions: 8,
    bytes: 2600,
    sender_transactions: 5,
    sender_bytes: 1800,
    wait: Duration::from_millis(50),
};

/// A transaction of `party`, so many ahead of the chain, in one of many forms.
fn transaction(
    chain: &Fixture,
    party: &Identity,
    ahead: u64,
    calls: usize,
    valid_until: u64,
) -> Envelope<Transaction> {
    let nonce = chain.state().nonce(&party.party()).unwrap() + ahead;
    let calls = vec![Call::RotateEncryptionKey { key: party.encryption_key() }; calls];
    let transaction = Transaction { chain: chain.replica().chain(), nonce, valid_until, calls };
    Signed::new(transaction, party).unwrap().into_envelope()
}

fn candidate(chain: &Fixture, transaction: &Envelope<Transaction>) -> Candidate {
    chain.replica().screen(&codec::encode(transaction).into(), chain.now()).unwrap()
}

/// One that waits, in the model.
#[derive(Clone)]
struct Entry {
    sender: PartyId,
    nonce: u64,
    bytes: Bytes,
    digest: Digest,
    valid_until: u64,
    since: Timestamp,
}

/// The same rules over a plain list in the order of arrival.
#[derive(Default)]
struct Model(Vec<Entry>);

impl Model {
    fn weight(&self, sender: PartyId) -> usize {
        self.0.iter().filter(|entry| entry.sender == sender).map(|entry| entry.bytes.len()).sum()
    }

    fn cut(&mut self, sender: PartyId, nonce: u64) {
        self.0.retain(|entry| entry.sender != sender || entry.nonce < nonce);
    }

    /// Whether it is taken.
    fn insert(&mut self, new: Entry, expected: u64) -> bool {
        let own: Vec<Entry> = self.0.iter().filter(|entry| entry.sender == new.sender).cloned().collect();
        let next = own.last().map_or(expected, |last| last.nonce + 1);
        let weight = self.weight(new.sender) + new.bytes.len();
        let crowded =
            !own.is_empty() && (own.len() >= LIMITS.sender_transactions || weight > LIMITS.sender_bytes);
        if new.nonce != next || crowded {
            return false;
        }
        let mut trial = self.0.clone();
        let full = |list: &[Entry]| {
            let bytes: usize = list.iter().map(|entry| entry.bytes.len()).sum();
            list.len() >= LIMITS.transactions || bytes + new.bytes.len() > LIMITS.bytes
        };
        while full(&trial) {
            let rest = Self(trial.clone());
            let heaviest = trial.iter().map(|entry| (rest.weight(entry.sender), entry.sender)).max();
            match heaviest {
                Some((heavy, sender)) if heavy > weight && sender != new.sender => {
                    let last = trial.iter().rposition(|entry| entry.sender == sender).unwrap();
                    trial.remove(last);
                }
                _ => return false,
            }
        }
        trial.push(new);
        self.0 = trial;
        true
    }

    fn expire(&mut self, height: u64, now: Timestamp) {
        while let Some(ended) = self
            .0
            .iter()
            .find(|entry| entry.valid_until < height || entry.since.saturating_add(LIMITS.wait) < now)
        {
            let (sender, nonce) = (ended.sender, ended.nonce);
            self.cut(sender, nonce);
        }
    }

    fn batch(&self, max_bytes: usize) -> Vec<Bytes> {
        let mut sum = 0;
        let fits = self.0.iter().take_while(|entry| {
            sum += entry.bytes.len();
            sum <= max_bytes
        });
        fits.map(|entry| entry.bytes.clone()).collect()
    }
}

#[derive(Debug, Clone)]
enum Step {
    Insert { party: usize, ahead: u64, calls: usize, validity: u64 },
    Commit { max_bytes: usize },
    Wait { millis: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..3usize, 0..6u64, 1..6usize, 0..6u64)
            .prop_map(|(party, ahead, calls, validity)| Step::Insert { party, ahead, calls, validity }),
        1 => (0..2000usize).prop_map(|max_bytes| Step::Commit { max_bytes }),
        1 => (0..40u64).prop_map(|millis| Step::Wait { millis }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn it_does_what_a_naive_one_does(steps in prop::collection::vec(step(), 1..60)) {
        let chain = Fixture::default();
        let parties = [1, 2, 3].map(|seed| chain.enrol(seed));
        let (mut pool, mut model) = (Mempool::new(LIMITS), Model::default());
        for step in steps {
            match step {
                Step::Insert { party, ahead, calls, validity } => {
                    let party = &parties[party];
                    let valid_until = chain.replica().tip().height + 1 + validity;
                    let envelope = transaction(&chain, party, ahead, calls, valid_until);
                    let (nonce, expected) = {
                        let expected = chain.state().nonce(&party.party()).unwrap();
                        (expected + ahead, expected)
                    };
                    let entry = Entry {
                        sender: party.party(),
                        nonce,
                        bytes: codec::encode(&envelope).into(),
                        digest: envelope.digest(),
                        valid_until,
                        since: chain.now(),
                    };
                    let taken = pool.insert(candidate(&chain, &envelope), chain.now()).is_ok();
                    prop_assert_eq!(taken, model.insert(entry, expected));
                }
                Step::Commit { max_bytes } => {
                    let batch = pool.batch(max_bytes);
                    let (block, refused) = chain.replica().assemble(batch, chain.now()).unwrap();
                    prop_assert!(refused.is_empty(), "a batch is in order");
                    let certificate = chain.certify(&block.header);
                    let committed = chain.replica().commit(block, certificate).unwrap();
                    pool.committed(&committed, chain.now());
                    let gone: Vec<Digest> = committed.receipts.iter().map(|receipt| receipt.transaction).collect();
                    model.0.retain(|entry| !gone.contains(&entry.digest));
                    model.expire(committed.block.header.height + 1, chain.now());
                }
                Step::Wait { millis } => {
                    chain.wait(millis);
                    let next = chain.replica().tip().height + 1;
                    pool.expire(next, chain.now());
                    model.expire(next, chain.now());
                }
            }
            prop_assert_eq!(pool.len(), model.0.len());
            prop_assert_eq!(pool.bytes(), model.0.iter().map(|entry| entry.bytes.len()).sum::<usize>());
            prop_assert_eq!(pool.batch(1000), model.batch(1000));
            prop_assert_eq!(pool.batch(usize::MAX), model.batch(usize::MAX));
            prop_assert!(pool.len() <= LIMITS.transactions && pool.bytes() <= LIMITS.bytes);
        }
    }
}

#[test]
fn every_refusal_has_its_name() {
    let chain = Fixture::default();
    let (party, other) = (chain.enrol(1), chain.enrol(2));
    let mut pool = Mempool::new(MempoolLimits { sender_transactions: 2, transactions: 3, ..LIMITS });
    let make =
        |party: &Identity, ahead, calls| candidate(&chain, &transaction(&chain, party, ahead, calls, 99));
    let gap = pool.insert(make(&party, 1, 1), chain.now());
    assert!(matches!(gap, Err(MempoolError::Admission(AdmissionError::Nonce { expected: 1, found: 2 }))));
    pool.insert(make(&party, 0, 1), chain.now()).unwrap();
    assert!(matches!(pool.insert(make(&party, 0, 1), chain.now()), Err(MempoolError::Known)));
    assert!(matches!(pool.insert(make(&party, 0, 2), chain.now()), Err(MempoolError::Conflict { nonce: 1 })));
    pool.insert(make(&party, 1, 1), chain.now()).unwrap();
    assert!(matches!(pool.insert(make(&party, 2, 1), chain.now()), Err(MempoolError::SenderFull)));
    pool.insert(make(&other, 0, 1), chain.now()).unwrap();
    // Both would have two: nobody has to go for that.
    assert!(matches!(pool.insert(make(&other, 1, 1), chain.now()), Err(MempoolError::Full)));
    let third = chain.enrol(3);
    let newcomer = make(&third, 0, 1);
    let digest = pool.insert(newcomer, chain.now()).unwrap();
    assert!(pool.contains(&digest) && pool.len() == 3);
    assert_eq!(pool.next_nonce(&party.party()), Some(2), "the one with two lost his last");
}

#[test]
fn what_the_contracts_would_never_take_goes_with_all_behind_it() {
    let chain = Fixture::default();
    let party = chain.enrol(1);
    let mut pool = Mempool::new(LIMITS);
    for ahead in 0..3 {
        pool.insert(candidate(&chain, &transaction(&chain, &party, ahead, 1, 99)), chain.now()).unwrap();
    }
    let second = pool.batch(usize::MAX)[1].clone();
    pool.refused(&second, &AdmissionError::BlockFull);
    pool.refused(&second, &AdmissionError::Nonce { expected: 1, found: 2 });
    assert_eq!(pool.len(), 3, "what comes too early, or has no room, stays");
    pool.refused(&second, &AdmissionError::UnknownSender(party.party()));
    assert_eq!(pool.len(), 1);
    pool.refused(&pool.batch(usize::MAX)[0].clone(), &AdmissionError::Nonce { expected: 2, found: 1 });
    assert!(pool.is_empty());
}

#[test]
fn who_takes_no_part_does_not_wait() {
    let chain = Fixture::default();
    let stranger = dt_model::testing::identity(77);
    for ahead in 0..2 {
        let bytes = codec::encode(&transaction(&chain, &stranger, ahead, 1, 99)).into();
        assert!(chain.replica().screen(&bytes, chain.now()).is_err());
    }
}
