//! The log of a chain: its tiles, its proofs, against another crate and against a script that knows the specifications alone.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Write as _};
use std::process::{Command, Stdio};
use std::sync::Arc;

use ct_merkle::mem_backed_tree::MemoryBackedTree;
use dt_ledger::store::{Batch, Row, Table, scan_prefix};
use dt_ledger::testing::StoredLog;
use dt_ledger::{Checkpoint, LedgerStore, LogHead, MemoryStore, RedbStore, SignedNote, StoreError};
use dt_model::merkle::{ConsistencyProof, InclusionProof, leaf_hash, root};
use dt_model::testing::identity;
use dt_model::{Digest, Signer as _};
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Value, json};
use sha2::Sha256;

use crate::support::digest;

/// Whoever keeps a log and proves things of it.
trait Prover {
    fn head(&self) -> LogHead;
    fn inclusion(&self, index: u64, size: u64) -> Option<InclusionProof>;
    fn consistency(&self, from: u64, to: u64) -> Option<ConsistencyProof>;
}

impl Prover for StoredLog {
    fn head(&self) -> LogHead {
        Self::head(self)
    }
    fn inclusion(&self, index: u64, size: u64) -> Option<InclusionProof> {
        Self::inclusion(self, index, size).unwrap()
    }
    fn consistency(&self, from: u64, to: u64) -> Option<ConsistencyProof> {
        Self::consistency(self, from, to).unwrap()
    }
}

type Leaves = Vec<Vec<u8>>;

fn leaves(count: u64) -> Leaves {
    (0..count).map(|index| format!("transaction {index}").into_bytes()).collect()
}

fn root_of(leaves: &[Vec<u8>]) -> Digest {
    root(leaves.iter().map(|leaf| leaf_hash(&[leaf])))
}

/// A log in memory with these leaves.
fn stored(leaves: &[Vec<u8>]) -> (MemoryStore, StoredLog) {
    let store = MemoryStore::default();
    let mut log = StoredLog::open(Arc::new(store.clone()), LogHead::empty());
    log.append(leaves).unwrap();
    (store, log)
}

fn tiles(store: &dyn LedgerStore) -> Vec<Row> {
    scan_prefix(&*store.view().unwrap(), Table::Log, &[], usize::MAX).unwrap()
}

/// The tiles as c2sp.org/tlog-tiles defines them.
fn tiles_by_definition(leaves: &[Vec<u8>]) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut hashes: Vec<Digest> = leaves.iter().map(|leaf| leaf_hash(&[leaf])).collect();
    for level in 0u8..8 {
        for (number, tile) in (0u64..).zip(hashes.chunks(256)) {
            let key = [&[level][..], &number.to_be_bytes()].concat();
            rows.push((key, tile.iter().flat_map(|hash| *hash.as_bytes()).collect()));
        }
        hashes = hashes.chunks_exact(256).map(|tile| root(tile.iter().copied())).collect();
    }
    rows
}

/// Checks the proofs between these sizes and indices, and that there are none beyond.
fn check(prover: &dyn Prover, leaves: &[Vec<u8>], sizes: &[u64]) {
    let present = prover.head().size;
    assert_eq!(prover.head().root, root_of(&leaves[..present as usize]));
    let within = sizes.iter().filter(|size| **size <= present);
    let roots: BTreeMap<u64, Digest> =
        within.map(|size| (*size, root_of(&leaves[..*size as usize]))).collect();
    for (&size, root) in &roots {
        for index in sizes.iter().flat_map(|size| [size.saturating_sub(1), *size]) {
            let proof = prover.inclusion(index, size);
            assert_eq!(proof.is_some(), index < size, "leaf {index} of {size}");
            let Some(proof) = proof else { continue };
            assert_eq!((proof.index, proof.size), (index, size));
            assert!(proof.verify(&leaf_hash(&[&leaves[index as usize]]), root), "leaf {index} of {size}");
        }
        for &from in sizes {
            let proof = prover.consistency(from, size);
            assert_eq!(proof.is_some(), from <= size, "{from} to {size}");
            let Some(proof) = proof else { continue };
            assert_eq!((proof.from, proof.to), (from, size));
            assert!(proof.verify(&roots[&from], root), "{from} to {size}");
        }
    }
    assert_eq!(prover.inclusion(0, present + 1), None);
    assert_eq!(prover.inclusion(u64::MAX - 1, u64::MAX), None);
    assert_eq!(prover.consistency(0, present + 1), None);
    assert_eq!(prover.consistency(u64::MAX, u64::MAX), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn a_log_is_that_of_its_leaves_however_it_came_about(
        batches in vec(prop_oneof![0u64..5, 200u64..300, 500u64..520], 1..8),
        picks in vec(any::<prop::sample::Index>(), 6)
    ) {
        let all = leaves(batches.iter().sum());
        let store = MemoryStore::default();
        let mut log = StoredLog::open(Arc::new(store.clone()), LogHead::empty());
        let mut at = 0;
        for batch in batches {
            let end = at + batch as usize;
            log.append(&all[at..end]).unwrap();
            prop_assert_eq!(log.head(), LogHead { size: end as u64, root: root_of(&all[..end]) });
            prop_assert!(tiles(&store) == tiles_by_definition(&all[..end]), "the tiles of {} leaves", end);
            at = end;
        }
        let sizes: Vec<u64> = picks.iter().map(|pick| pick.index(all.len() + 1) as u64).collect();
        check(&log, &all, &sizes);
    }

    #[test]
    fn another_implementation_makes_the_same_proofs(size in 1usize..600, a: prop::sample::Index, b: prop::sample::Index) {
        let all = leaves(600);
        let (_, log) = stored(&all);
        let mut tree = MemoryBackedTree::<Sha256, &[u8]>::new();
        all[..size].iter().for_each(|leaf| tree.push(leaf));
        let (index, from) = (a.index(size), 1 + b.index(size));
        let bytes = |hashes: &[Digest]| hashes.iter().flat_map(|hash| *hash.as_bytes()).collect::<Vec<u8>>();
        let ours = log.inclusion(index as u64, size as u64).unwrap().unwrap();
        prop_assert_eq!(bytes(&ours.hashes), tree.prove_inclusion(index).as_bytes().to_vec());
        let ours = log.consistency(from as u64, size as u64).unwrap().unwrap();
        if from < size {
            prop_assert_eq!(bytes(&ours.hashes), tree.prove_consistency(size - from).as_bytes().to_vec());
        }
        let theirs: [u8; 32] = (*tree.root().as_bytes()).into();
        prop_assert_eq!(root_of(&all[..size]), Digest::from(theirs));
    }
}

#[test]
fn tiles_are_right_where_they_end() {
    let sizes: [u64; 12] = [0, 1, 2, 255, 256, 257, 511, 512, 513, 65_535, 65_536, 65_537];
    let all = leaves(65_537);
    let store = MemoryStore::default();
    let mut log = StoredLog::open(Arc::new(store.clone()), LogHead::empty());
    for (start, end) in sizes.iter().zip(&sizes[1..]) {
        log.append(&all[*start as usize..*end as usize]).unwrap();
        assert!(tiles(&store) == tiles_by_definition(&all[..*end as usize]), "{end} leaves");
        let from = end.saturating_sub(2);
        let near = [0, 1, 254, 255, 256, 257, from, from + 1, *end].map(|size| size.min(*end));
        check(&log, &all, &near);
    }
    assert_eq!(tiles(&store).len(), 257 + 1 + 1, "nothing is left over");
}

#[test]
fn only_the_last_tiles_are_written_again() {
    let all = leaves(70_000);
    let (_, mut log) = stored(&all);
    let keys = |batch: &Batch| {
        let writes = batch.tables().flat_map(|(_, writes)| writes.keys());
        writes.map(|key| (key[0], key[8])).collect::<Vec<_>>()
    };
    let batch = log.append(&leaves(1)).unwrap();
    assert_eq!(keys(&batch), [(0, (70_000 / 256 % 256) as u8)], "one tile for one leaf");
    let batch = log.append(&leaves(255)).unwrap();
    let last = 70_000 / 256 % 256;
    assert_eq!(keys(&batch), [(0, last as u8), (0, last as u8 + 1), (1, 1)]);
    assert!(keys(&log.append(&leaves(0)).unwrap()).is_empty(), "nothing for none");
}

#[test]
fn a_log_goes_on_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let all = leaves(900);
    let mut head = LogHead::empty();
    for (start, end) in [(0, 300), (300, 301), (301, 900)] {
        let store = Arc::new(RedbStore::open(&directory.path().join("log")).unwrap());
        let mut log = StoredLog::open(store, head);
        log.append(&all[start..end]).unwrap();
        head = log.head();
        check(&log, &all, &[1, 256, 299, 300, end as u64]);
    }
}

#[test]
fn damage_is_found_before_anything_follows_from_it() {
    let (store, mut log) = stored(&leaves(600));
    let intact = tiles(&store);
    let damaged = |error: StoreError| matches!(error, StoreError::Damaged { table: Table::Log, .. });
    let put = |row: &Row, value: Option<Vec<u8>>| {
        let mut batch = Batch::default();
        batch.extend(Table::Log, [(row.0.clone(), value)]);
        store.commit(batch).unwrap();
    };
    for row in &intact {
        let (longer, mut flipped) = ([&row.1[..], &[0; 32]].concat(), row.1.clone());
        flipped[17] ^= 1;
        for value in [None, Some(vec![]), Some(row.1[1..].to_vec()), Some(longer), Some(flipped)] {
            put(row, value);
            // Every proof of one leaf looks at its own tile and at all that lead to the root.
            let index = if row.0[0] == 0 { u64::from(row.0[8]) * 256 } else { 0 };
            assert!(damaged(log.inclusion(index, 600).unwrap_err()), "{:?}", row.0);
            // The last tile of each level is what appending goes on from.
            if row.0[0] > 0 || row.0[8] == 2 {
                assert!(damaged(log.append(&leaves(1)).unwrap_err()), "{:?}", row.0);
            }
        }
        put(row, Some(row.1.clone()));
    }
    assert_eq!(tiles(&store), intact);
    assert!(log.inclusion(0, 600).unwrap().is_some());

    // A head that is not that of the tiles.
    for head in [
        LogHead { size: 599, root: log.head().root },
        LogHead { size: 600, root: digest(1) },
        LogHead { size: u64::MAX, root: log.head().root },
        LogHead { size: 0, root: digest(1) },
    ] {
        let mut other = StoredLog::open(Arc::new(store.clone()), head);
        assert!(damaged(other.append(&leaves(1)).unwrap_err()));
        assert_eq!(other.head(), head, "unchanged");
        assert!(damaged(other.consistency(0, head.size).unwrap_err()));
    }
    assert_eq!(tiles(&store), intact, "nothing was written");
}

#[test]
fn python_agrees() {
    let sizes = [0, 1, 2, 3, 7, 8, 100, 255, 256, 257, 600];
    let all = leaves(600);
    let (_, log) = stored(&all);
    let said = vectors(&log, &all, &sizes);
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/rfc6962.py");
    let child = Command::new("python3").arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let mut child = match child {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            println!("NOT CHECKED: there is no python3 to run {script}");
            return;
        }
        child => child.unwrap(),
    };
    // The pipe is closed at the end of the statement.
    child.stdin.take().unwrap().write_all(said.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    println!("{}", String::from_utf8_lossy(&output.stdout));
}

/// What `prover` says of the log of `leaves`, and some things that do not hold, for the script.
fn vectors(prover: &dyn Prover, leaves: &[Vec<u8>], sizes: &[u64]) -> Value {
    let hex = |hashes: &[Digest]| hashes.iter().map(Digest::to_string).collect::<Vec<_>>();
    let (mut inclusion, mut consistency) = (Vec::new(), Vec::new());
    for &size in sizes {
        for index in sizes.iter().copied().filter(|index| *index < size) {
            let proof = prover.inclusion(index, size).unwrap();
            let mut add = |hashes: &[Digest], holds: bool| {
                inclusion.push(json!({"index": index, "size": size, "hashes": hex(hashes), "holds": holds}));
            };
            add(&proof.hashes, true);
            add(&[&proof.hashes[..], &[digest(1)]].concat(), false);
            let proof = prover.consistency(index, size).unwrap();
            let mut add = |hashes: &[Digest], holds: bool| {
                consistency.push(json!({"from": index, "to": size, "hashes": hex(hashes), "holds": holds}));
            };
            add(&proof.hashes, true);
            add(&[&[digest(1)], &proof.hashes[..]].concat(), false);
        }
    }
    let roots: Vec<_> =
        sizes.iter().map(|size| json!([size, root_of(&leaves[..*size as usize]).to_string()])).collect();
    let leaves: Vec<_> = leaves.iter().map(|leaf| data_encoding::HEXLOWER.encode(leaf)).collect();
    json!({
        "leaves": leaves, "roots": roots, "inclusion": inclusion, "consistency": consistency, "notes": notes(prover.head()),
    })
}

/// A checkpoint that three of four validators signed, and one that somebody changed.
fn notes(log: LogHead) -> Vec<Value> {
    let checkpoint = Checkpoint {
        chain: digest(0xc1),
        log,
        height: 56,
        block: digest(0xb1),
        state_root: digest(0x51),
        receipts_root: digest(0x4e),
    };
    let validators = [1, 2, 3, 4].map(identity);
    let keys: Vec<_> = validators
        .iter()
        .map(|validator| Checkpoint::key(&checkpoint.chain, validator.party()).unwrap().to_string())
        .collect();
    let signatures = validators[1..].iter().map(|validator| checkpoint.sign(validator).unwrap()).collect();
    let note = checkpoint.note(signatures).unwrap();
    let fields = BTreeMap::from([
        ("origin", json!(Checkpoint::origin(&checkpoint.chain))),
        ("size", json!(log.size)),
        ("root", json!(log.root.to_string())),
        ("height", json!(56)),
        ("block", json!(checkpoint.block.to_string())),
        ("state", json!(checkpoint.state_root.to_string())),
        ("receipts", json!(checkpoint.receipts_root.to_string())),
    ]);
    let forged = SignedNote::parse(note.to_string().replace("height 56", "height 57").as_bytes()).unwrap();
    vec![
        json!({"note": note.to_string(), "keys": keys, "signers": 3, "checkpoint": fields}),
        json!({"note": forged.to_string(), "keys": keys, "signers": null, "checkpoint": null}),
    ]
}
