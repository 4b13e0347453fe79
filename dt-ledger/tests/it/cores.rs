//! A block comes to the same on any number of threads: what it does, why it is refused, and that a refused one leaves nothing.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::sync::Arc;

use bytes::Bytes;
use dt_ledger::store::{Batch, Row, Table, scan_prefix};
use dt_ledger::{
    AdmissionError, Block, BlockError, CommitCertificate, CommittedBlock, LedgerStore, MemoryStore, Replica,
    Tip,
};
use dt_model::{Signer as _, Timestamp};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::attacks::{bytes_of, next_block, votes_for};
use crate::support::*;

const THREADS: [usize; 4] = [1, 2, 3, 8];

type Rows = Vec<Vec<Row>>;

fn rows(store: &dyn LedgerStore) -> Rows {
    let view = store.view().unwrap();
    Table::ALL.map(|table| scan_prefix(&*view, table, &[], usize::MAX).unwrap()).into()
}

/// A replica that stands where the plant's does, and works on so many threads.
fn copy(plant: &Plant, threads: usize) -> Replica {
    let mut batch = Batch::default();
    for (table, rows) in Table::ALL.into_iter().zip(rows(&**plant.chain.replica().store())) {
        batch.extend(table, rows.into_iter().map(|(key, value)| (key, Some(value))));
    }
    let store = MemoryStore::default();
    store.commit(batch).unwrap();
    Replica::load(Arc::new(store)).unwrap().on_threads(NonZero::new(threads).unwrap())
}

/// One transaction of a block to be: whose, of what kind, whether it is known when the block comes, whether its signature is bad.
type Part = (usize, bool, bool, bool);

/// Each party's transactions in the order of its nonces. Who has no right to what it tries is refused by the contracts.
fn transactions(plant: &Plant, parts: &[Part]) -> Vec<Bytes> {
    let parties = [&plant.owner, &plant.maintainer, &plant.auditor, &plant.outsider];
    let mut ahead = BTreeMap::new();
    let sign = |(who, is_edit, _, is_bad): &Part| {
        let who = parties[*who];
        let ahead = ahead.entry(who.party()).or_insert(0);
        let call =
            if *is_edit { edit([insert(&format!("part-{ahead}"), "tank")]) } else { add_document(None) };
        let mut bytes = bytes_of(&plant.chain.sign_ahead(who, vec![plant.on(call)], *ahead)).to_vec();
        *ahead += 1;
        if *is_bad {
            bytes[40] ^= 1;
        }
        bytes.into()
    };
    parts.iter().map(sign).collect()
}

/// Has a copy on so many threads take `block`, of which it knows some transactions already; what comes of it, and what is stored then.
fn take(
    plant: &Plant,
    threads: usize,
    known: &[Bytes],
    block: &Block,
    votes: &CommitCertificate,
) -> (Result<Arc<CommittedBlock>, BlockError>, Tip, Rows) {
    let replica = copy(plant, threads);
    for transaction in known {
        let _ = replica.authenticate(transaction);
    }
    let committed = replica.commit(block.clone(), votes.clone());
    let rows = rows(&**replica.store());
    (committed, replica.tip(), rows)
}

/// That `block` is refused for its transaction `first`, whose signature is bad, and that nothing is left of it but a replica that goes on.
fn assert_refused(plant: &Plant, threads: usize, known: &[Bytes], block: &Block, first: usize) {
    let before = (plant.chain.replica().tip(), rows(&**plant.chain.replica().store()));
    let votes = votes_for(&plant.chain, block);
    let (refused, tip, rows) = take(plant, threads, known, block, &votes);
    let error = refused.unwrap_err();
    assert!(
        matches!(&error, BlockError::Transaction { index, error: AdmissionError::Open(_) } if *index == first),
        "{first} on {threads}: {error:?}"
    );
    assert!((tip, rows) == before, "a refused block leaves nothing");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20))]
    #[test]
    fn a_block_comes_to_the_same_on_any_number_of_threads(
        parts in vec((0..4usize, any::<bool>(), any::<bool>(), prop::bool::weighted(0.04)), 0..70),
    ) {
        let plant = Plant::new();
        let all = transactions(&plant, &parts);
        let known: Vec<Bytes> =
            all.iter().zip(&parts).filter(|(_, (_, _, known, _))| *known).map(|(bytes, _)| bytes.clone()).collect();

        // What a proposer makes of them is the same, and what it leaves out.
        let make = |threads| {
            let (block, left) = copy(&plant, threads).assemble(all.clone(), plant.chain.now()).unwrap();
            (block, left.into_iter().map(|(bytes, error)| (bytes, format!("{error:?}"))).collect::<Vec<_>>())
        };
        let (block, left) = make(1);
        prop_assert_eq!(block.transactions.len() + left.len(), all.len());
        let votes = plant.chain.certify(&block.header);
        let (committed, tip, stored) = take(&plant, 1, &[], &block, &votes);
        let committed = committed.unwrap();
        for threads in THREADS {
            prop_assert_eq!(&make(threads), &(block.clone(), left.clone()));
            let (again, same_tip, same_rows) = take(&plant, threads, &known, &block, &votes);
            prop_assert_eq!(again.unwrap(), Arc::clone(&committed));
            prop_assert_eq!(&same_tip, &tip);
            prop_assert!(same_rows == stored, "every row, on {} threads", threads);
        }

        // All of them together are a block as long as no signature is bad; else the first bad one says why not.
        if let Some(first) = parts.iter().position(|(_, _, _, is_bad)| *is_bad) {
            let block = next_block(&plant.chain, all);
            for threads in THREADS {
                assert_refused(&plant, threads, &known, &block, first);
            }
        }
    }
}

/// All before it were applied already when the last one turns out to be forged.
#[test]
fn one_bad_signature_at_the_end_undoes_all_before_it() {
    let plant = Plant::new();
    let parts: Vec<Part> = (0..60).map(|number| (number % 4, number % 3 == 0, false, number == 59)).collect();
    let all = transactions(&plant, &parts);
    let block = next_block(&plant.chain, all.clone());
    for threads in THREADS {
        assert_refused(&plant, threads, &[], &block, 59);
        assert_refused(&plant, threads, &all, &block, 59);

        // The same replica takes the next good block, as if nothing had been.
        let replica = copy(&plant, threads);
        replica.verify(&block, Timestamp::MAX).unwrap_err();
        let (good, left) = replica.assemble(all.clone(), plant.chain.now()).unwrap();
        assert_eq!((good.transactions.len(), left.len()), (59, 1));
        let (fresh, tip, _) = take(&plant, 1, &[], &good, &plant.chain.certify(&good.header));
        let committed = replica.commit(good.clone(), plant.chain.certify(&good.header)).unwrap();
        assert_eq!((committed, replica.tip()), (fresh.unwrap(), tip));
    }
}
