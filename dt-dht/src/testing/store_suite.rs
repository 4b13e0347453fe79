//! The conformance suite of the storage seam.
#![expect(clippy::expect_used, reason = "a suite reports by panicking")]

use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;

use crate::{RecordStore, Row};

/// Checks a [`RecordStore`] against its contract. `open` opens the one empty store under test, and again after it was closed: to a store
/// that does not persist it gives the same value again.
///
/// What it cannot check is that a write survives a power cut: for that the machine has to be cut off.
///
/// # Panics
/// With a sentence, where the store breaks the contract.
pub fn store_suite<S: RecordStore>(mut open: impl FnMut(Option<S>) -> S) {
    let store = open(None);
    assert!(keys(&store, b"", None, 10).is_empty(), "the suite starts from an empty store");
    check_rows(&store);
    check_scan(&store);
    check_pages(&store);
    check_threads(&store);
    let before = rows(&store);
    let store = open(Some(store));
    assert!(rows(&store) == before, "what was written is there after opening again");
    let batch: Vec<Row> = (0u8..100).map(|at| (bytes(&[b'y', at]), bytes(&[at; 40]))).collect();
    store.put(&batch).expect("a working store writes");
    let (gone, kept) = batch.split_at(50);
    let gone: Vec<Bytes> = gone.iter().map(|(key, _)| key.clone()).collect();
    store.remove(&gone).expect("a working store removes");
    let store = open(Some(store));
    assert!(
        rows(&store) == [&before, kept].concat(),
        "after opening again: whole batches, and nothing that was removed"
    );
}

fn bytes(of: &[u8]) -> Bytes {
    Bytes::copy_from_slice(of)
}

fn keys(store: &dyn RecordStore, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Vec<Bytes> {
    let rows = store.scan(prefix, after, limit).expect("a working store scans");
    rows.into_iter().map(|(key, _)| key).collect()
}

fn rows(store: &dyn RecordStore) -> Vec<Row> {
    store.scan(b"", None, usize::MAX).expect("a working store scans")
}

fn check_rows(store: &dyn RecordStore) {
    let put = |rows: &[(&[u8], &[u8])]| {
        let rows: Vec<_> = rows.iter().map(|(key, value)| (bytes(key), bytes(value))).collect();
        store.put(&rows).expect("a working store writes");
    };
    let get = |key: &[u8]| store.get(key).expect("a working store reads");
    assert_eq!(get(b"a"), None, "what was not written is not there");
    put(&[(b"a", b"1"), (b"b", b"2")]);
    assert_eq!(get(b"a"), Some(bytes(b"1")), "a batch is written whole");
    assert_eq!(get(b"b"), Some(bytes(b"2")), "a batch is written whole");
    put(&[(b"a", b"3")]);
    assert_eq!(get(b"a"), Some(bytes(b"3")), "a later write replaces");
    put(&[(b"a", b"4"), (b"a", b"5")]);
    assert_eq!(get(b"a"), Some(bytes(b"5")), "of two rows with one key the later stays");
    put(&[]);
    store.remove(&[]).expect("removing nothing is no error");
    put(&[(b"", b""), (&[0, 255], &[0; 3])]);
    assert_eq!(get(b""), Some(bytes(b"")), "keys and values may be empty");
    assert_eq!(get(&[0, 255]), Some(bytes(&[0; 3])), "keys are any bytes");
    let large = vec![0x5a; 3 << 20];
    put(&[(b"large", &large)]);
    assert_eq!(get(b"large").as_deref(), Some(&large[..]), "rows may be as long as shards");
    put(&[(b"ab", b"6")]);
    store.remove(&[bytes(b"a"), bytes(b"never"), bytes(b"large")]).expect("absent keys are no error");
    assert_eq!(get(b"a"), None, "what was removed is not there");
    assert_eq!(get(b"b"), Some(bytes(b"2")), "removing touches nothing else");
    assert_eq!(get(b"ab"), Some(bytes(b"6")), "removing touches nothing else, not even what begins alike");
    store
        .remove(&[bytes(b""), bytes(&[0, 255]), bytes(b"b"), bytes(b"ab")])
        .expect("a working store removes");
}

fn check_scan(store: &dyn RecordStore) {
    let written: [&[u8]; 7] = [b"p", b"p\0", b"pa", b"pb", b"p\xff", b"p\xff\xff", b"q"];
    let rows: Vec<_> = written.iter().rev().map(|key| (bytes(key), bytes(key))).collect();
    store.put(&rows).expect("a working store writes");
    store.put(&[(bytes(b"o\xff"), Bytes::new())]).expect("a working store writes");
    let under_p: Vec<Bytes> = written[..6].iter().map(|key| bytes(key)).collect();
    assert_eq!(keys(store, b"p", None, 100), under_p, "all keys with the prefix, in order, and no others");
    assert_eq!(keys(store, b"p", None, 2), under_p[..2], "no more than the limit, from the front");
    assert_eq!(keys(store, b"p", None, 0), Vec::<Bytes>::new(), "a limit of zero");
    assert_eq!(keys(store, b"p", Some(b"pa"), 100), under_p[3..], "only keys after the given one");
    assert_eq!(keys(store, b"p", Some(b"pab"), 100), under_p[3..], "the given key need not be there");
    assert_eq!(keys(store, b"p", Some(b"a"), 100), under_p, "a start before the prefix changes nothing");
    assert_eq!(keys(store, b"p", Some(b"z"), 100), Vec::<Bytes>::new(), "a start behind the prefix");
    assert_eq!(keys(store, b"\xff", None, 100), Vec::<Bytes>::new(), "a prefix that nothing has");
    assert_eq!(keys(store, b"", None, 100).len(), 8, "the empty prefix is everything");
}

/// Reading page by page, as those do who go through a whole store: every row once, in order.
fn check_pages(store: &dyn RecordStore) {
    let all = keys(store, b"p", None, usize::MAX);
    for limit in 1..4 {
        let mut found: Vec<Bytes> = Vec::new();
        while let page = keys(store, b"p", found.last().map(|key| &**key), limit)
            && !page.is_empty()
        {
            assert!(page.len() <= limit, "no more than the limit");
            assert!(found.len() < all.len(), "a page goes on behind the one before");
            found.extend(page);
        }
        assert_eq!(found, all, "pages of {limit} come to everything");
    }
    let values = store.scan(b"p", None, 100).expect("a working store scans");
    assert!(values.iter().all(|(key, value)| key == value), "a scan gives each key its own value");
}

/// Counts a thread until it ends, also by a panic.
struct Counted<'a>(&'a AtomicUsize);

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Writers and readers at once: batches stay whole.
fn check_threads(store: &(impl RecordStore + ?Sized)) {
    let writing = AtomicUsize::new(3);
    std::thread::scope(|scope| {
        let writing = &writing;
        let mut threads: Vec<_> = (0u8..3)
            .map(|writer| {
                scope.spawn(move || {
                    let _counted = Counted(writing);
                    (0u8..10).for_each(|round| write_and_read(store, writer, round));
                })
            })
            .collect();
        threads.push(scope.spawn(|| {
            while writing.load(Ordering::SeqCst) > 0 {
                let rows = store.scan(b"x", None, 10).expect("a working store scans");
                let values: Vec<_> = rows.into_iter().map(|(_, value)| value).collect();
                let is_whole = values.len() != 1 && values.windows(2).all(|pair| pair[0] == pair[1]);
                assert!(is_whole, "a batch is seen whole or not at all");
            }
        }));
        if let Some(panic) = threads.into_iter().find_map(|thread| thread.join().err()) {
            std::panic::resume_unwind(panic);
        }
    });
}

/// Two rows that all writers share, in one batch, and one that is the writer's own.
fn write_and_read(store: &(impl RecordStore + ?Sized), writer: u8, round: u8) {
    let value = bytes(&[writer, round]);
    let rows = [(bytes(b"x1"), value.clone()), (bytes(b"x2"), value)];
    store.put(&rows).expect("a working store writes");
    let own = bytes(&[b'w', writer, round]);
    store.put(&[(own.clone(), own.clone())]).expect("a working store writes");
    let found = store.get(&own).expect("a working store reads");
    assert_eq!(found, Some(own), "reads see every completed write");
}
