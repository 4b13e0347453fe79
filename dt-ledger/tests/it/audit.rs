//! An audit finds whatever was tampered with (section 3.2).

use std::sync::Arc;

use borsh::{BorshDeserialize, BorshSerialize};
use dt_ledger::store::{Batch, Row, Table, scan_prefix};
use dt_ledger::testing::Fixture;
use dt_ledger::{
    AuditError, AuditReport, BlockError, Call, Checkpoint, Genesis, ImportError, LedgerStore, MemoryStore,
    OpenReplicaError, Party, Replica, Roles, State as _, StateKey, TwinCall, audit,
};
use dt_model::testing::identity;
use dt_model::{Signer as _, codec};

use crate::images::{copy, export, import, trusted};
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

fn check(store: &MemoryStore, genesis: &Genesis) -> Result<AuditReport, AuditError> {
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

/// A chain with a party's row altered behind the replica's back at height 6, which then goes on under the votes of its own validators:
/// block 7 has a document, then the altered party's key rotation, then another document. Block 8 is empty.
fn faulty(alter: impl FnOnce(&Plant, &MemoryStore)) -> (MemoryStore, Plant) {
    let store = MemoryStore::default();
    let plant = Plant::over(Fixture::new(Arc::new(store.clone()), 1, 4));
    alter(&plant, &store);
    let Plant { chain, owner, maintainer, auditor, .. } = &plant;
    let block = [
        chain.sign(owner, vec![plant.on(add_document(None))]),
        chain.sign(auditor, vec![Call::RotateEncryptionKey { key: owner.encryption_key() }]),
        chain.sign(maintainer, vec![plant.on(add_document(Some("tank")))]),
    ];
    chain.commit(&block);
    (store, plant)
}

fn alter<T: BorshSerialize + BorshDeserialize>(
    store: &MemoryStore,
    key: &StateKey,
    change: impl FnOnce(&mut T),
) {
    let bytes = store.view().unwrap().get(Table::State, &key.to_bytes()).unwrap().unwrap();
    let mut value = codec::decode(&bytes, usize::MAX).unwrap();
    change(&mut value);
    put(store, Table::State, &key.to_bytes(), Some(&codec::encode(&value)));
}

fn diverges(found: &Result<AuditReport, AuditError>) -> (u64, Option<usize>, Option<StateKey>) {
    match found {
        Err(error @ AuditError::Diverges { height, transaction, .. }) => {
            (*height, *transaction, error.state_key())
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_altered_row_is_found_by_the_transaction_that_wrote_it_on() {
    let key_of = |plant: &Plant| StateKey::Party(plant.auditor.party());
    let (store, plant) = faulty(|plant, store| {
        alter(store, &key_of(plant), |party: &mut Party| party.name = name("somebody else"));
    });
    let genesis = plant.chain.replica().genesis();
    let expected = (7, Some(1), Some(key_of(&plant)));
    assert_eq!(diverges(&check(&store, genesis)), expected, "while the store stands there");
    plant.chain.commit(&[]);
    assert_eq!(diverges(&check(&store, genesis)), expected, "by the next header");
    for _ in 0..3 {
        plant.call(&plant.auditor, add_document(None)).unwrap_err();
        plant.call(&plant.owner, add_document(None)).unwrap();
    }
    assert_eq!(diverges(&check(&store, genesis)), expected, "and later");
    let said = check(&store, genesis).unwrap_err().to_string();
    assert!(
        said.starts_with("block 7: ") && said.contains("transaction 1") && said.contains("Party"),
        "{said}"
    );

    // The auditor goes as far as all is in order, and stays there.
    let auditor = Replica::open(Arc::new(MemoryStore::default()), genesis).unwrap();
    let report = auditor.audit(&store, 6, &mut |_| {}).unwrap();
    assert_eq!((report.tip.height, report.applied, report.rows), (6, 6, 0));
    assert_eq!(diverges(&auditor.audit(&store, 7, &mut |_| {})), expected);
    assert_eq!(auditor.tip().height, 6);
    // Once the altered row has been replaced, the transaction is still named.
    let rotate = Call::RotateEncryptionKey { key: plant.auditor.encryption_key() };
    plant.chain.apply(&plant.auditor, vec![rotate]).unwrap();
    assert_eq!(diverges(&check(&store, genesis)), expected);
}

#[test]
fn an_altered_right_is_found_by_what_it_permits() {
    let key_of = |plant: &Plant| StateKey::Roles(plant.twin, plant.maintainer.party());
    let (store, plant) = faulty(|plant, store| {
        alter(store, &key_of(plant), |roles: &mut Roles| roles.clear());
    });
    let genesis = plant.chain.replica().genesis();
    for _ in 0..3 {
        assert_eq!(diverges(&check(&store, genesis)), (7, Some(2), Some(key_of(&plant))));
        let _ = plant.call(&plant.maintainer, add_document(None));
    }
}

/// The state itself was exchanged, tree and all, beside any transaction: its validators agreed on another image.
#[test]
fn an_altered_state_is_found_by_its_root() {
    let plant = Plant::over(Fixture::new(Arc::new(MemoryStore::default()), 1, 4));
    let replica = plant.chain.replica();
    let key = StateKey::Party(plant.owner.party());
    let party: Party = plant.chain.state().read(&key).unwrap().unwrap();
    let altered = Party { name: name(&"x".repeat(party.name.as_str().len())), ..party.clone() };
    let mut image = export(replica);
    let (from, to) = (codec::encode(&party), codec::encode(&altered));
    let at = image.windows(from.len()).position(|window| window == from).unwrap();
    image[at..at + to.len()].copy_from_slice(&to);
    let trusted = trusted(replica.chain(), &replica.tip());
    let Err(ImportError::OtherState { found, .. }) = import(&image, &trusted).map(drop) else {
        panic!("it is another state");
    };
    let store = import(&image, &Checkpoint { state_root: found, ..trusted }).unwrap();
    let chain = Fixture::new(Arc::new(store.clone()), 1, 4);
    let honest = copy(replica);
    let expected = (6, None, Some(key));
    assert_eq!(diverges(&honest.audit(&store, u64::MAX, &mut |_| {})), expected);
    chain.commit(&[]);
    chain.call(&plant.owner, plant.twin, add_document(None)).unwrap();
    chain.call(&plant.auditor, plant.twin, add_document(None)).unwrap_err();
    assert_eq!(diverges(&honest.audit(&store, u64::MAX, &mut |_| {})), expected, "whatever came later");
}

#[test]
fn an_audit_goes_on_where_the_last_one_ended() {
    let (store, genesis) = story();
    let whole = check(&store, &genesis).unwrap();
    let chain = Fixture::new(Arc::new(store.clone()), 1, 4);
    let auditor = Replica::open(Arc::new(MemoryStore::default()), &genesis).unwrap();
    let report = auditor.audit(&store, 2, &mut |_| {}).unwrap();
    assert_eq!((report.tip.height, report.applied, report.rejected, report.rows), (2, 2, 0, 0));
    let report = auditor.audit(&store, u64::MAX, &mut |_| {}).unwrap();
    assert_eq!((report.tip.clone(), report.applied, report.rejected), (whole.tip, 3, 1));
    assert_eq!(auditor.audit(&store, u64::MAX, &mut |_| {}).unwrap().rows, report.rows);
    let _ = chain.enrol(3);
    assert_eq!(auditor.audit(&store, u64::MAX, &mut |_| {}).unwrap().applied, 1);
    let behind = MemoryStore::default();
    let _ = Replica::open(Arc::new(behind.clone()), &genesis).unwrap();
    let found = auditor.audit(&behind, u64::MAX, &mut |_| {});
    assert!(matches!(found, Err(AuditError::Behind { height: 0 })));
}

/// An auditor that begins at height 4 does not see what was done to the blocks before; but to headers, validators, state and traces he does.
#[test]
fn no_row_of_the_state_goes_unnoticed_from_an_image() {
    let (store, genesis) = story();
    let start = Replica::open(Arc::new(MemoryStore::default()), &genesis).unwrap();
    start.audit(&store, 4, &mut |_| {}).unwrap();
    let image = export(&start);
    let auditor = || {
        let store = import(&image, &trusted(start.chain(), &start.tip())).unwrap();
        Replica::load(Arc::new(store)).unwrap()
    };
    auditor().audit(&store, u64::MAX, &mut |_| {}).expect("all is in order");
    for (table, (key, value)) in rows(&store) {
        let is_before = match table {
            Table::Blocks => key.len() == 9 && key[..8] <= 4u64.to_be_bytes()[..],
            Table::Index => b"tepwc".contains(&key[0]),
            _ => false,
        };
        if !is_before {
            put(&store, table, &key, None);
            assert!(
                auditor().audit(&store, u64::MAX, &mut |_| {}).is_err(),
                "{}: {key:02x?} is gone",
                table.name()
            );
        }
        put(&store, table, &key, Some(&value));
    }
    let first = [&b"v"[..], &(!1u64).to_be_bytes()].concat();
    let validators = store.view().unwrap().get(Table::Index, &first).unwrap();
    put(&store, Table::Index, &first, Some(&codec::encode(&vec![identity(9).party()])));
    assert!(auditor().audit(&store, u64::MAX, &mut |_| {}).is_err(), "other validators are named");
    put(&store, Table::Index, &first, validators.as_deref());
    for height in 1..=4u64 {
        let (key, other) = (height.to_be_bytes(), (height % 4 + 1).to_be_bytes());
        let [header, another] =
            [key, other].map(|key| store.view().unwrap().get(Table::Blocks, &key).unwrap());
        put(&store, Table::Blocks, &key, another.as_deref());
        let found = auditor().audit(&store, u64::MAX, &mut |_| {});
        assert!(
            matches!(found, Err(AuditError::Row { table: Table::Blocks, .. })),
            "header {height}: {found:?}"
        );
        put(&store, Table::Blocks, &key, header.as_deref());
    }
    for table in Table::ALL {
        for key in [&b""[..], b"zzz", &[0xff; 40]] {
            // Beyond the edge of the log an auditor of a part knows nothing.
            if table != Table::Log {
                put(&store, table, key, Some(b"added"));
                let found = auditor().audit(&store, u64::MAX, &mut |_| {});
                assert!(matches!(found, Err(AuditError::Row { table: of, .. }) if of == table), "{found:?}");
                put(&store, table, key, None);
            }
        }
    }
    auditor().audit(&store, u64::MAX, &mut |_| {}).expect("all is as it was");
}

#[test]
fn a_replica_that_came_from_an_image_is_audited() {
    let (store, genesis) = story();
    let start = Replica::open(Arc::new(MemoryStore::default()), &genesis).unwrap();
    start.audit(&store, 2, &mut |_| {}).unwrap();
    let original = Replica::load(Arc::new(store.clone())).unwrap();
    let copied = import(&export(&start), &trusted(start.chain(), &start.tip())).unwrap();
    let replica = Replica::load(Arc::new(copied.clone())).unwrap();
    let found = check(&copied, &genesis);
    replica.audit(&copied, u64::MAX, &mut |_| {}).expect("as it came");
    for height in 3..=6 {
        let block = original.block(height).unwrap().unwrap();
        replica.commit(block.block, block.certificate).unwrap();
    }
    assert!(matches!(found, Err(AuditError::Pruned { first: 3 })) || found.is_err());
    let report = copy(&start).audit(&copied, u64::MAX, &mut |_| {}).unwrap();
    assert_eq!(report.tip, original.tip());
    let report = original.audit(&copied, u64::MAX, &mut |_| {}).unwrap();
    assert_eq!(report.tip, original.tip());
    let found = check(&copied, &genesis);
    assert!(matches!(found, Err(AuditError::Pruned { first: 3 })), "{found:?}");
}

#[test]
fn a_proposal_that_waits_is_no_fault() {
    let (store, genesis) = story();
    let chain = Fixture::new(Arc::new(store.clone()), 1, 4);
    let (block, _) = chain.replica().prepare(3, Vec::new(), chain.now()).unwrap();
    check(&store, &genesis).expect("a proposal for the next height");
    let of_another_height = [&3u64.to_be_bytes()[..], &[0; 4]].concat();
    put(&store, Table::Pending, &of_another_height, Some(&codec::encode(&block)));
    assert!(matches!(check(&store, &genesis), Err(AuditError::Row { table: Table::Pending, .. })));
}
