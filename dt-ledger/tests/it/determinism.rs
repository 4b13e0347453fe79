//! Same blocks, same bytes: in every store, after every restart, in every process, on however many threads, by whichever way a block comes in.
//!
//! All of it is tried with the golden chain ([`crate::golden`]), in which everything occurs. Hash seeds, which differ between processes, decide
//! nothing here: `clippy.toml` disallows the types whose order would depend on them.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::process::Command;
use std::sync::Arc;

use dt_ledger::store::{Table, scan_prefix};
use dt_ledger::{CommittedBlock, LedgerStore, MemoryStore, RedbStore, Replica, State as _, StoreView};
use dt_model::Signer as _;
use sha2::{Digest as _, Sha256};

use crate::golden::{golden, story};
use crate::support::*;

pub(crate) fn blocks(replica: &Replica) -> Vec<CommittedBlock> {
    (1..=replica.tip().height).map(|height| replica.block(height).unwrap().unwrap()).collect()
}

type Rows = BTreeMap<&'static str, Vec<dt_ledger::store::Row>>;

fn rows(view: &dyn StoreView) -> Rows {
    Table::ALL.map(|table| (table.name(), scan_prefix(view, table, &[], usize::MAX).unwrap())).into()
}

fn rows_of(store: &dyn LedgerStore) -> Rows {
    rows(&*store.view().unwrap())
}

/// Gives a replica over `store` one block after the other by `way`, and compares all that comes of it with the golden chain's.
fn replay(store: Arc<dyn LedgerStore>, threads: usize, way: impl Fn(&Replica, &CommittedBlock)) {
    let golden = golden();
    let replica = Replica::open(Arc::clone(&store), &golden.genesis).unwrap();
    let replica = replica.on_threads(NonZero::new(threads).unwrap());
    for (block, tip) in golden.blocks.iter().zip(&golden.tips) {
        way(&replica, block);
        let replayed = replica.commit(block.block.clone(), block.certificate.clone()).unwrap();
        assert_eq!(*replayed, *block, "receipts and events are the same too");
        assert_eq!(replica.tip(), *tip);
    }
    assert!(rows_of(&*store) == rows_of(&golden.store), "and every row");
}

fn memory() -> Arc<dyn LedgerStore> {
    Arc::new(MemoryStore::default())
}

fn commit_alone(_: &Replica, _: &CommittedBlock) {}

fn verify(replica: &Replica, block: &CommittedBlock) {
    replica.verify(&block.block, dt_model::Timestamp::MAX).unwrap();
}

/// The proposer of each block, which is offered what it holds and makes the very same one of it.
fn prepare(replica: &Replica, block: &CommittedBlock) {
    let time = block.block.header.time;
    let (made, left) = replica.prepare(0, block.block.transactions.clone(), time).unwrap();
    assert_eq!((made, left.len()), (block.block.clone(), 0));
}

/// Every signature is known before the block comes, and every transaction was judged when it stood alone.
fn with_all_signatures_known(replica: &Replica, block: &CommittedBlock) {
    for transaction in &block.block.transactions {
        replica.authenticate(transaction).unwrap();
        let _ = replica.admit(transaction, block.block.header.time);
    }
}

/// A block of the same height is worked out first, and another one after it: only the last is kept ready.
fn after_others(replica: &Replica, block: &CommittedBlock) {
    replica.verify(&block.block, dt_model::Timestamp::MAX).unwrap();
    let (empty, _) = replica.prepare(7, Vec::new(), block.block.header.time).unwrap();
    assert!(empty.transactions.is_empty());
    let backwards = block.block.transactions.iter().rev().cloned().collect();
    let _ = replica.assemble(backwards, block.block.header.time).unwrap();
}

#[test]
fn every_way_leads_to_the_same_bytes() {
    for threads in [1, 2, 16] {
        replay(memory(), threads, commit_alone);
        replay(memory(), threads, verify);
        replay(memory(), threads, prepare);
        replay(memory(), threads, with_all_signatures_known);
        replay(memory(), threads, after_others);
    }
}

#[test]
fn on_disk_are_the_same_rows_as_in_memory() {
    let directory = tempfile::tempdir().unwrap();
    replay(Arc::new(RedbStore::open(&directory.path().join("ledger")).unwrap()), 2, verify);
}

#[test]
fn a_replica_goes_on_after_a_restart_at_any_height() {
    let golden = golden();
    let store = memory();
    let begun = Replica::open(Arc::clone(&store), &golden.genesis).unwrap().tip();
    let before = std::iter::once(&begun).chain(&golden.tips);
    for ((block, before), after) in golden.blocks.iter().zip(before).zip(&golden.tips) {
        // Nothing of what it knew is left but what is stored.
        let replica = Replica::load(Arc::clone(&store)).unwrap();
        assert_eq!(replica.tip(), *before, "as it was left");
        replica.commit(block.block.clone(), block.certificate.clone()).unwrap();
        assert_eq!(replica.tip(), *after);
    }
    assert!(rows_of(&*store) == rows_of(&golden.store));
}

#[test]
fn a_replica_on_disk_goes_on_after_a_restart() {
    let golden = golden();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ledger");
    let mut tip = None;
    // Often enough to meet each part of the story, and never at a round number.
    for part in golden.blocks.chunks(13) {
        let replica = Replica::open(Arc::new(RedbStore::open(&path).unwrap()), &golden.genesis).unwrap();
        if let Some(tip) = tip {
            assert_eq!(replica.tip(), tip, "as it was left");
        }
        for block in part {
            replica.commit(block.block.clone(), block.certificate.clone()).unwrap();
        }
        tip = Some(replica.tip());
    }
    let loaded = Replica::load(Arc::new(RedbStore::open(&path).unwrap())).unwrap();
    assert_eq!((loaded.chain(), Some(&loaded.tip())), (golden.genesis.chain(), golden.tips.last()));
    assert!(rows_of(&**loaded.store()) == rows_of(&golden.store));
}

/// Set in the other process.
const TELL: &str = "DT_LEDGER_TELLS_THE_STORY";

/// SHA-256 over all rows, and their tables.
fn rows_digest(rows: &Rows) -> String {
    let mut hash = Sha256::new();
    for (table, rows) in rows {
        for (key, value) in rows {
            for part in [table.as_bytes(), key, value] {
                hash.update(part.len().to_le_bytes());
                hash.update(part);
            }
        }
    }
    data_hex(&hash.finalize())
}

fn data_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The other process: tells the story from its beginning, and says what came of it. Without the variable there is nothing to do.
#[test]
fn tells_the_story() {
    if std::env::var_os(TELL).is_none() {
        return;
    }
    let store = MemoryStore::default();
    drop(story(Arc::new(store.clone())));
    println!("\nrows {}", rows_digest(&rows_of(&store)));
}

#[test]
fn another_process_comes_to_the_same() {
    let ours = format!("rows {}", rows_digest(&rows_of(&golden().store)));
    let directory = tempfile::tempdir().unwrap();
    for (zone, locale) in [("Pacific/Kiritimati", "tr_TR.UTF-8"), ("America/St_Johns", "C")] {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "determinism::tells_the_story", "--nocapture", "--test-threads=1"])
            .env_clear()
            .envs([(TELL, "1"), ("TZ", zone), ("LC_ALL", locale), ("HOME", "/nowhere")])
            .current_dir(directory.path())
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.lines().any(|line| line == ours), "{ours}\n{text}");
    }
}

/// Two that are after the same thing: whoever comes first has it, and each order is as deterministic as the other.
#[test]
fn the_order_decides_and_is_decided_by_nothing_else() {
    let run = |is_swapped: bool, is_conflict: bool| {
        let plant = Plant::new();
        let other = if is_conflict { "level" } else { "valve" };
        let mut both = vec![
            plant.chain.sign(&plant.agent, vec![plant.on(add_feed("level", &plant.agent))]),
            plant.chain.sign(&plant.owner, vec![plant.on(add_feed(other, &plant.agent))]),
        ];
        if is_swapped {
            both.reverse();
        }
        let committed = plant.chain.commit(&both);
        let outcomes: Vec<_> = committed.receipts.iter().map(|receipt| receipt.result().is_ok()).collect();
        let linked = plant.chain.state().feed(&plant.twin, &component("level")).unwrap().unwrap().linked_by;
        (outcomes, linked == plant.agent.party(), plant.chain.replica().tip())
    };
    for (is_swapped, is_conflict) in [(false, false), (true, false), (false, true), (true, true)] {
        assert_eq!(run(is_swapped, is_conflict), run(is_swapped, is_conflict));
    }
    let ((first, is_agents, one), (second, is_owners, other)) = (run(false, true), run(true, true));
    assert_eq!((first, is_agents), (vec![true, false], true));
    assert_eq!((second, is_owners), (vec![true, false], false));
    assert_ne!(one.state_root, other.state_root);
    // Where they do not meet, the order is in the log alone.
    let ((_, _, one), (_, _, other)) = (run(false, false), run(true, false));
    assert_ne!((one.block, one.log.root), (other.block, other.log.root));
}

#[test]
fn the_grouping_into_blocks_does_not_change_what_each_transaction_does() {
    let (one, many) = (Plant::new(), Plant::new());
    let work = |plant: &Plant| {
        [
            (&plant.owner, edit([insert("pump", "tank")])),
            (&plant.maintainer, add_document(Some("pump"))),
            (&plant.auditor, add_document(Some("pump"))),
            (&plant.owner, edit([remove("pump")])),
            (&plant.maintainer, add_document(Some("pump"))),
        ]
        .map(|(who, call)| (who.party(), call))
    };
    let by = |plant: &Plant, party| -> u64 {
        let all = [&plant.owner, &plant.maintainer, &plant.auditor];
        all.iter().position(|who| who.party() == party).unwrap() as u64
    };
    let mut ahead = [0; 3];
    let mut together = Vec::new();
    for (party, call) in work(&many) {
        let who = by(&many, party) as usize;
        let signer = [&many.owner, &many.maintainer, &many.auditor][who];
        together.push(many.chain.sign_ahead(signer, vec![many.on(call)], ahead[who]));
        ahead[who] += 1;
    }
    many.chain.commit(&together);
    for (party, call) in work(&one) {
        let who = by(&one, party) as usize;
        let _ = one.call([&one.owner, &one.maintainer, &one.auditor][who], call);
    }
    let outcomes = |plant: &Plant| -> Vec<_> {
        let all = blocks(plant.chain.replica());
        // What is written tells the height (in the traces), so that it does differ.
        let receipts = all.into_iter().flat_map(|block| block.receipts);
        receipts.map(|receipt| (receipt.transaction, receipt.outcome)).collect()
    };
    assert_eq!(outcomes(&one), outcomes(&many));
    assert_eq!(one.specification_root(), many.specification_root());
}
