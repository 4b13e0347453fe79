//! The conformance suite of the storage seam.
#![expect(clippy::expect_used, reason = "a suite reports by panicking")]

use bytes::Bytes;

use crate::RecordStore;

/// Checks a [`RecordStore`] against its contract. `open` opens the one empty store under test, and again after it was closed: to a store
/// that does not persist it gives the same value again.
///
/// What it cannot check is that a write survives a power cut.
///
/// # Panics
/// With a sentence, where the store breaks the contract.
pub fn store_suite<S: RecordStore>(mut open: impl FnMut(Option<S>) -> S) {
    let store = open(None);
    assert!(scan(&store, b"", None, 10).is_empty(), "the suite starts from an empty store");
    check_rows(&store);
    check_scan(&store);
    check_threads(&store);
    let before = scan(&store, b"", None, usize::MAX);
    let store = open(Some(store));
    assert_eq!(scan(&store, b"", None, usize::MAX), before, "what was written is there after opening again");
}

fn bytes(of: &[u8]) -> Bytes {
    Bytes::copy_from_slice(of)
}

fn scan(store: &dyn RecordStore, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Vec<Bytes> {
    let rows = store.scan(prefix, after, limit).expect("a working store scans");
    rows.into_iter().map(|(key, _)| key).collect()
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
    put(&[(b"", b""), (&[0, 255], &[0; 3])]);
    assert_eq!(get(b""), Some(bytes(b"")), "keys and values may be empty");
    assert_eq!(get(&[0, 255]), Some(bytes(&[0; 3])), "keys are any bytes");
    let large = vec![0x5a; 3 << 20];
    put(&[(b"large", &large)]);
    assert_eq!(get(b"large").as_deref(), Some(&large[..]), "rows may be as long as shards");
    store.remove(&[bytes(b"a"), bytes(b"never"), bytes(b"large")]).expect("absent keys are no error");
    assert_eq!(get(b"a"), None, "what was removed is not there");
    assert_eq!(get(b"b"), Some(bytes(b"2")), "removing touches nothing else");
    store.remove(&[bytes(b""), bytes(&[0, 255]), bytes(b"b")]).expect("a working store removes");
}

fn check_scan(store: &dyn RecordStore) {
    let keys: [&[u8]; 7] = [b"p", b"p\0", b"pa", b"pb", b"p\xff", b"p\xff\xff", b"q"];
    let rows: Vec<_> = keys.iter().rev().map(|key| (bytes(key), bytes(key))).collect();
    store.put(&rows).expect("a working store writes");
    store.put(&[(bytes(b"o\xff"), Bytes::new())]).expect("a working store writes");
    let under_p: Vec<Bytes> = keys[..6].iter().map(|key| bytes(key)).collect();
    assert_eq!(scan(store, b"p", None, 100), under_p, "all keys with the prefix, in order, and no others");
    assert_eq!(scan(store, b"p", None, 2), under_p[..2], "no more than the limit, from the front");
    assert_eq!(scan(store, b"p", None, 0), Vec::<Bytes>::new(), "a limit of zero");
    assert_eq!(scan(store, b"p", Some(b"pa"), 100), under_p[3..], "only keys after the given one");
    assert_eq!(scan(store, b"p", Some(b"pab"), 100), under_p[3..], "the given key need not be there");
    assert_eq!(scan(store, b"p", Some(b"a"), 100), under_p, "a start before the prefix changes nothing");
    assert_eq!(scan(store, b"p", Some(b"z"), 100), Vec::<Bytes>::new(), "a start behind the prefix");
    assert_eq!(scan(store, b"\xff", None, 100), Vec::<Bytes>::new(), "a prefix that nothing has");
    assert_eq!(scan(store, b"", None, 100).len(), 8, "the empty prefix is everything");
}

/// Writers and readers at once: batches stay whole.
fn check_threads(store: &(impl RecordStore + ?Sized)) {
    std::thread::scope(|scope| {
        for writer in 0u8..3 {
            scope.spawn(move || {
                for round in 0u8..10 {
                    let value = bytes(&[writer, round]);
                    let rows = [(bytes(b"x1"), value.clone()), (bytes(b"x2"), value)];
                    store.put(&rows).expect("a working store writes");
                }
            });
        }
        scope.spawn(move || {
            for _ in 0..50 {
                let rows = store.scan(b"x", None, 10).expect("a working store scans");
                let values: Vec<_> = rows.into_iter().map(|(_, value)| value).collect();
                assert!(
                    values.windows(2).all(|pair| pair[0] == pair[1]),
                    "a batch is seen whole or not at all"
                );
                assert!(values.len() != 1, "a batch is seen whole or not at all");
            }
        });
    });
}
