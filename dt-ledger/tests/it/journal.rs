//! The journal of a ledger on disk: what a crash leaves of it, and of which ledger it is.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use dt_ledger::store::{Batch, Table};
use dt_ledger::{LedgerStore as _, RedbStore};

/// Batches that are committed, each of which says its number in a row that all write.
const BATCHES: u8 = 6;

fn batch(number: u8) -> Batch {
    let mut batch = Batch::default();
    batch.put(Table::Meta, b"newest".to_vec(), vec![number]);
    batch.put(Table::Blocks, vec![number], vec![number; 100]);
    batch.put(Table::State, b"gone".to_vec(), vec![]);
    if number > 0 {
        batch.remove(Table::Blocks, vec![number - 1]);
        batch.remove(Table::State, b"gone".to_vec());
    }
    batch
}

fn segments(ledger: &Path) -> [PathBuf; 2] {
    ["ledger.journal", "ledger.journal2"].map(|name| ledger.with_file_name(name))
}

/// The one that is written to first.
fn journal(ledger: &Path) -> PathBuf {
    let [first, _] = segments(ledger);
    first
}

/// How many batches the store holds, if it holds them as they were committed.
fn held(store: &RedbStore) -> u8 {
    let view = store.view().unwrap();
    let Some(newest) = view.get(Table::Meta, b"newest").unwrap() else {
        assert!(view.get(Table::Blocks, &[0]).unwrap().is_none());
        return 0;
    };
    for number in 0..BATCHES {
        let row = view.get(Table::Blocks, &[number]).unwrap();
        assert_eq!(row.is_some(), number == newest[0], "row {number} after batch {newest:?}");
    }
    assert_eq!(view.get(Table::State, b"gone").unwrap().is_some(), newest[0] == 0);
    newest[0] + 1
}

/// What is on disk now: as a process that is killed would leave it.
fn copy(ledger: &Path, to: &Path) -> PathBuf {
    std::fs::create_dir(to).unwrap();
    let copied = to.join("ledger");
    // The journal first: what redb has come to is in it, or was before.
    for (segment, copied) in segments(ledger).iter().zip(segments(&copied)) {
        std::fs::copy(segment, copied).unwrap();
    }
    std::fs::copy(ledger, &copied).unwrap();
    copied
}

#[test]
fn a_crash_leaves_whole_batches_wherever_it_cuts_the_journal() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = folder.path().join("ledger");
    let store = RedbStore::open(&ledger).unwrap();
    let mut ends = vec![0];
    for number in 0..BATCHES {
        store.commit(batch(number)).unwrap();
        ends.push(std::fs::metadata(journal(&ledger)).unwrap().len());
    }
    let length = *ends.last().unwrap();
    for cut in (0..=length).step_by(7).chain(ends.clone()).collect::<BTreeSet<_>>() {
        let killed = copy(&ledger, &folder.path().join(format!("cut-{cut}")));
        // A cut, and a page that was lengthened and never written.
        std::fs::File::options().write(true).open(journal(&killed)).unwrap().set_len(cut).unwrap();
        if cut % 2 == 0 {
            std::fs::File::options().write(true).open(journal(&killed)).unwrap().set_len(cut + 512).unwrap();
        }
        let expected = u8::try_from(ends.iter().filter(|end| **end <= cut).count() - 1).unwrap();
        let reopened = RedbStore::open(&killed).unwrap();
        assert_eq!(held(&reopened), expected, "cut at {cut} of {length}");
        // It goes on from there, and a second crash loses none of it.
        if expected < BATCHES {
            reopened.commit(batch(expected)).unwrap();
            let again = copy(&killed, &folder.path().join(format!("again-{cut}")));
            assert_eq!(held(&RedbStore::open(&again).unwrap()), expected + 1);
            std::fs::remove_dir_all(again.parent().unwrap()).unwrap();
        }
        std::fs::remove_dir_all(killed.parent().unwrap()).unwrap();
    }
}

#[test]
fn a_crash_between_the_flush_and_the_emptying_repeats_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = folder.path().join("ledger");
    let store = RedbStore::open(&ledger).unwrap();
    for number in 0..BATCHES - 1 {
        store.commit(batch(number)).unwrap();
    }
    let full = std::fs::read(journal(&ledger)).unwrap();
    drop(store);
    assert_eq!(std::fs::metadata(journal(&ledger)).unwrap().len(), 0, "a closed ledger is in its file alone");
    std::fs::write(journal(&ledger), full).unwrap();
    let store = RedbStore::open(&ledger).unwrap();
    assert_eq!(held(&store), BATCHES - 1);
    store.commit(batch(BATCHES - 1)).unwrap();
    assert_eq!(held(&store), BATCHES);
}

#[test]
fn a_journal_follows_on_its_own_ledger_alone() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = folder.path().join("ledger");
    let store = RedbStore::open(&ledger).unwrap();
    store.commit(batch(0)).unwrap();
    drop(store);
    let backup = std::fs::read(&ledger).unwrap();
    let store = RedbStore::open(&ledger).unwrap();
    store.commit(batch(1)).unwrap();
    drop(store);
    let store = RedbStore::open(&ledger).unwrap();
    store.commit(batch(2)).unwrap();
    let killed = copy(&ledger, &folder.path().join("killed"));

    // An older file beside a journal that goes on from a newer one: blocks would be left out.
    std::fs::write(&killed, &backup).unwrap();
    let refused = RedbStore::open(&killed).err().expect("the journal follows on another state");
    assert!(format!("{refused:?}").contains("OtherLedger"), "{refused:?}");
    // Without the journal it is what it was.
    std::fs::remove_file(journal(&killed)).unwrap();
    assert_eq!(held(&RedbStore::open(&killed).unwrap()), 1);

    // A ledger that is begun where another one was has nothing of that one.
    let begun = copy(&ledger, &folder.path().join("begun"));
    std::fs::remove_file(&begun).unwrap();
    assert_eq!(held(&RedbStore::open(&begun).unwrap()), 0);
}

#[test]
fn many_batches_are_held_and_the_journal_is_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = folder.path().join("ledger");
    let store = RedbStore::open(&ledger).unwrap();
    let mut lengths = Vec::new();
    for number in 0..30 {
        let mut batch = Batch::default();
        batch.put(Table::Blocks, vec![number], vec![number; 3 << 20]);
        store.commit(batch).unwrap();
        lengths.push(
            segments(&ledger).map(|segment| std::fs::metadata(segment).unwrap().len()).iter().sum::<u64>(),
        );
    }
    assert!(lengths.iter().all(|length| *length <= 64 << 20), "{lengths:?}");
    assert_eq!(lengths[25], lengths[29], "what was full is written over");
    // A file that is copied while somebody writes to it is none that a crash leaves.
    while !segments(&ledger).iter().any(|segment| std::fs::read(segment).unwrap().starts_with(&[0; 40])) {
        std::thread::sleep(Duration::from_millis(10));
    }
    let killed = copy(&ledger, &folder.path().join("killed"));
    drop(store);
    for path in [ledger, killed] {
        let store = RedbStore::open(&path).unwrap();
        let view = store.view().unwrap();
        for number in 0..30 {
            let row = view.get(Table::Blocks, &[number]).unwrap().expect("it was committed");
            assert!(row.len() == 3 << 20 && row.iter().all(|byte| *byte == number));
        }
    }
}
