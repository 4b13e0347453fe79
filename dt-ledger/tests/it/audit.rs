//! An audit finds whatever was tampered with (section 3.2).

use std::sync::Arc;

use dt_ledger::store::{Batch, Row, Table, scan_prefix};
use dt_ledger::testing::Fixture;
use dt_ledger::{
    AuditError, BlockError, Genesis, LedgerStore, MemoryStore, OpenReplicaError, TwinCall, audit,
};
use dt_model::Signer as _;

use crate::support::*;

/// A chain with four validators, a twin, an edit, a document and a refusal; small, for it is audited a thousand times.
fn story() -> (MemoryStore, Genesis) {
    let store = MemoryStore::default();
    let chain = Fixture::new(Arc::new(store.clone()), 1, 4);
    let (owner, auditor) = (chain.enrol(1), chain.enrol(2));
    let twin = chain.twin(&owner, None, &[(&auditor, "auditor")]);
    chain.call(&owner, twin, edit([remove("level"), insert("level-2", "tank")])).unwrap();
    chain.call(&owner, twin, add_document(Some("tank"))).unwrap();
    chain.call(&auditor, twin, add_document(None)).unwrap_err();
    let genesis = chain.replica().genesis().clone();
    (store, genesis)
}

fn check(store: &MemoryStore, genesis: &Genesis) -> Result<dt_ledger::AuditReport, AuditError> {
    audit(store, genesis, &mut |_| {})
}

fn rows(store: &MemoryStore) -> Vec<(Table, Row)> {
    let view = store.view().unwrap();
    let of =
        |table| scan_prefix(&*view, table, &[], usize::MAX).unwrap().into_iter().map(move |row| (table, row));
    Table::ALL.into_iter().flat_map(of).collect()
}

fn put(store: &MemoryStore, table: Table, key: &[u8], value: Option<&[u8]>) {
    let mut batch = Batch::default();
    match value {
        Some(value) => batch.put(table, key, value.to_vec()),
        None => batch.remove(table, key),
    }
    store.commit(batch).unwrap();
}

#[test]
fn an_untouched_chain_passes() {
    let (store, genesis) = story();
    let mut heights = Vec::new();
    let report = audit(&store, &genesis, &mut |height| heights.push(height)).unwrap();
    assert_eq!(heights, [1, 2, 3, 4, 5, 6]);
    assert_eq!((report.tip.height, report.applied, report.rejected), (6, 5, 1));
    assert_eq!(report.rows, rows(&store).len() as u64, "every row was compared");
}

/// Flips one bit in each part of each row, a different one each time.
#[test]
fn no_flipped_bit_goes_unnoticed() {
    let (store, genesis) = story();
    let mut flips = 0usize;
    for (table, (key, value)) in rows(&store) {
        // Long values (blocks, a specification) in sixteen places, others in five; and the key in one.
        let places = if value.len() > 512 { 16 } else { 5 };
        for place in 0..places.min(value.len()) {
            let mut flipped = value.clone();
            let at = (flips * 31 + place * value.len() / places) % value.len();
            flipped[at] ^= 1 << (flips % 8);
            put(&store, table, &key, Some(&flipped));
            let found = check(&store, &genesis);
            assert!(found.is_err(), "{}: byte {at} of the value at {key:02x?}", table.name());
            put(&store, table, &key, Some(&value));
            flips += 1;
        }
        let mut moved = key.clone();
        let at = flips % key.len().max(1);
        if let Some(byte) = moved.get_mut(at) {
            *byte ^= 1 << (flips % 8);
            if rows(&store).iter().all(|(of, (key, _))| *of != table || *key != moved) {
                put(&store, table, &key, None);
                put(&store, table, &moved, Some(&value));
                assert!(check(&store, &genesis).is_err(), "{}: a row moved from {key:02x?}", table.name());
                put(&store, table, &moved, None);
                put(&store, table, &key, Some(&value));
            }
        }
    }
    assert!(flips > 300, "{flips} are too few to say so");
    check(&store, &genesis).expect("all is as it was");
}

#[test]
fn nothing_is_deleted_or_added_unnoticed() {
    let (store, genesis) = story();
    for (table, (key, value)) in rows(&store) {
        put(&store, table, &key, None);
        assert!(check(&store, &genesis).is_err(), "{}: {key:02x?} is gone", table.name());
        put(&store, table, &key, Some(&value));
        let mut longer = value.clone();
        longer.push(0);
        put(&store, table, &key, Some(&longer));
        assert!(check(&store, &genesis).is_err(), "{}: {key:02x?} is longer", table.name());
        put(&store, table, &key, Some(&value));
    }
    for table in Table::ALL {
        for key in [&b""[..], b"zzz", &[0xff; 40]] {
            put(&store, table, key, Some(b"added"));
            let found = check(&store, &genesis);
            assert!(matches!(found, Err(AuditError::Row { table: of, .. }) if of == table), "{found:?}");
            put(&store, table, key, None);
        }
    }
    check(&store, &genesis).expect("all is as it was");
}

fn body_at(height: u64) -> Vec<u8> {
    [&height.to_be_bytes()[..], b"b"].concat()
}

#[test]
fn a_finding_says_what_and_where() {
    let (store, genesis) = story();
    let view = store.view().unwrap();
    let header_at = |height: u64| height.to_be_bytes();
    let at = body_at(5);
    let block = view.get(Table::Blocks, &at).unwrap().unwrap();
    put(&store, Table::Blocks, &at, Some(&block[..block.len() - 1]));
    assert!(matches!(check(&store, &genesis), Err(AuditError::BlockUnreadable { height: 5 })));

    // The last byte of a block's body is in its events: a document was added.
    let mut other = block.clone();
    *other.last_mut().unwrap() ^= 1;
    put(&store, Table::Blocks, &at, Some(&other));
    assert!(matches!(check(&store, &genesis), Err(AuditError::Outcome { height: 5, transaction: 1 })));

    put(&store, Table::Blocks, &at, Some(&block));
    let earlier = view.get(Table::Blocks, &header_at(4)).unwrap().unwrap();
    put(&store, Table::Blocks, &header_at(5), Some(&earlier));
    let found = check(&store, &genesis);
    assert!(
        matches!(
            found,
            Err(AuditError::Block { height: 5, error: BlockError::WrongHeight { expected: 5, found: 4 } })
        ),
        "{found:?}"
    );
}

#[test]
fn another_chain_is_refused_at_once() {
    let (store, genesis) = story();
    let other = Fixture::genesis(2, 4);
    let found = check(&store, &other);
    assert!(
        matches!(found, Err(AuditError::Chain(OpenReplicaError::OtherChain { found })) if found == genesis.chain())
    );
    let empty = check(&MemoryStore::default(), &genesis);
    assert!(matches!(empty, Err(AuditError::Chain(OpenReplicaError::NoChain))));
    let opened = dt_ledger::Replica::open(Arc::new(store), &other).map(drop);
    assert!(matches!(opened, Err(OpenReplicaError::OtherChain { .. })));
}

/// Rewrites history from block 4 on with all keys that one organisation has: only the validators' votes stand in the way.
#[test]
fn history_cannot_be_rewritten_without_the_validators() {
    let (store, genesis) = story();
    let forged = MemoryStore::default();
    let chain = Fixture::new(Arc::new(forged.clone()), 1, 4);
    let honest = dt_ledger::Replica::open(Arc::new(store.clone()), &genesis).unwrap();
    let committed = |height: u64| honest.block(height).unwrap().unwrap();
    for height in 1..=3 {
        let block = committed(height);
        chain.replica().commit(block.block, block.certificate).unwrap();
    }
    let owner = dt_model::testing::identity(1);
    let twin = chain.state().twins().next().unwrap();
    let call = dt_ledger::Call::Twin { twin, call: TwinCall::TransferOwnership { to: owner.party() } };
    let block = chain.block(&[chain.sign(&owner, vec![call])]);
    let votes_of_another_block = committed(4).certificate;
    let refused = chain.replica().commit(block.clone(), votes_of_another_block);
    assert!(matches!(refused, Err(BlockError::Uncommitted { votes: 0, needed: 3 })));
    let dt_ledger::CommittedBlock { certificate, receipts, events, .. } = committed(4);
    let header = dt_model::codec::encode(&(block.header, certificate));
    let body = dt_model::codec::encode(&(block.transactions, receipts, events));
    put(&store, Table::Blocks, &4u64.to_be_bytes(), Some(&header));
    put(&store, Table::Blocks, &body_at(4), Some(&body));
    assert!(matches!(
        check(&store, &genesis),
        Err(AuditError::Block { height: 4, error: BlockError::Uncommitted { .. } })
    ));
}
