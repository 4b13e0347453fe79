//! The conformance suite of [`LedgerStore`].

use std::ops::ControlFlow;
use std::sync::Arc;

use crate::store::{Batch, LedgerStore, Row, StoreView, Table, scan_prefix};

/// As long as a large specification with its transaction.
const BIG: usize = 17 * 1024 * 1024;

/// Checks a [`LedgerStore`] against its contract, but for the power failure.
///
/// `make` gives an empty store each time. `reopen` closes the store that it is given and opens it anew: what was committed is there
/// again. (For a store that lives in memory alone it returns what it is given.)
///
/// # Panics
/// With a sentence, where the store breaks the contract.
pub fn store_suite(
    make: &dyn Fn() -> Arc<dyn LedgerStore>,
    reopen: &dyn Fn(Arc<dyn LedgerStore>) -> Arc<dyn LedgerStore>,
) {
    an_empty_store_is_empty(&*make());
    a_batch_is_seen_as_a_whole(&*make());
    a_view_stands_still(&*make());
    rows_come_in_order(&*make());
    rows_come_in_reverse(&*make());
    tables_are_apart(&*make());
    removal_removes(&*make());
    anything_can_be_stored(&*make());
    readers_see_whole_batches(make());
    many_rows_come_and_go(&*make());
    views_of_many_moments_stand_still(&*make());
    a_scan_holds_while_rows_change(&*make());
    let store = make();
    store.commit(batch([(Table::State, "kept", Some("value"))])).expect("commits");
    let store = reopen(store);
    assert_eq!(
        get(&*view(&*store), Table::State, "kept").as_deref(),
        Some("value"),
        "what is committed stays"
    );
    store.commit(batch([(Table::State, "kept", None)])).expect("a reopened store commits");
    let store = reopen(store);
    assert_eq!(get(&*view(&*store), Table::State, "kept"), None, "what is removed stays away");
}

fn batch<'a>(writes: impl IntoIterator<Item = (Table, &'a str, Option<&'a str>)>) -> Batch {
    let mut batch = Batch::default();
    for (table, key, value) in writes {
        match value {
            Some(value) => batch.put(table, key, value.into()),
            None => batch.remove(table, key),
        }
    }
    batch
}

fn view(store: &dyn LedgerStore) -> Box<dyn StoreView> {
    store.view().expect("gives a view")
}

fn get(view: &dyn StoreView, table: Table, key: &str) -> Option<String> {
    let value = view.get(table, key.as_bytes()).expect("answers");
    value.map(|value| String::from_utf8(value).expect("what was written"))
}

fn rows(view: &dyn StoreView, table: Table, from: &[u8]) -> Vec<Row> {
    let mut rows = Vec::new();
    view.scan(table, from, &mut |key, value| {
        rows.push((key.to_vec(), value.to_vec()));
        ControlFlow::Continue(())
    })
    .expect("scans");
    rows
}

fn an_empty_store_is_empty(store: &dyn LedgerStore) {
    let view = view(store);
    for table in Table::ALL {
        assert_eq!(rows(&*view, table, b""), [], "an empty store has no rows");
        assert_eq!(get(&*view, table, "key"), None, "an empty store has no values");
    }
    store.commit(Batch::default()).expect("a batch of nothing is a batch");
}

fn a_batch_is_seen_as_a_whole(store: &dyn LedgerStore) {
    let writes = Table::ALL.map(|table| (table, "key", Some(table.name())));
    store.commit(batch(writes)).expect("commits");
    let view = view(store);
    for table in Table::ALL {
        assert_eq!(get(&*view, table, "key").as_deref(), Some(table.name()), "each table has its write");
    }
}

fn a_view_stands_still(store: &dyn LedgerStore) {
    store.commit(batch([(Table::State, "a", Some("1")), (Table::State, "b", Some("1"))])).expect("commits");
    let before = view(store);
    let again = view(store);
    let writes = [(Table::State, "a", Some("2")), (Table::State, "b", None), (Table::State, "c", Some("2"))];
    store.commit(batch(writes)).expect("commits while views are open");
    for view in [&before, &again] {
        assert_eq!(
            get(&**view, Table::State, "a").as_deref(),
            Some("1"),
            "a view does not see later changes"
        );
        assert_eq!(get(&**view, Table::State, "b").as_deref(), Some("1"), "nor later removals");
        assert_eq!(get(&**view, Table::State, "c"), None, "nor later rows");
        assert_eq!(rows(&**view, Table::State, b"").len(), 2, "nor does its scan");
    }
    let after = view(store);
    assert_eq!(get(&*after, Table::State, "a").as_deref(), Some("2"), "a later view does");
    assert_eq!(rows(&*after, Table::State, b"").len(), 2, "and so does its scan");
}

fn rows_come_in_order(store: &dyn LedgerStore) {
    let keys: [&[u8]; 8] = [b"", b"\0", b"\0\xff", b"\x01", b"a", b"a\0", b"ab", b"\xff\xff"];
    let mut writes = Batch::default();
    for key in keys.iter().rev() {
        writes.put(Table::Index, *key, key.to_vec());
    }
    store.commit(writes).expect("commits");
    let view = view(store);
    let found: Vec<Vec<u8>> = rows(&*view, Table::Index, b"").into_iter().map(|(key, _)| key).collect();
    assert_eq!(found, keys, "keys are ordered as bytes, the shorter first");
    for (at, key) in keys.iter().enumerate() {
        assert_eq!(rows(&*view, Table::Index, key).len(), keys.len() - at, "a scan begins at its key");
    }
    assert_eq!(rows(&*view, Table::Index, b"a\0\0").len(), 2, "or at the next, where there is none");
    assert_eq!(rows(&*view, Table::Index, b"\xff\xff\xff"), [], "and beyond the last there is nothing");
    let prefixed = scan_prefix(&*view, Table::Index, b"a", usize::MAX).expect("scans");
    assert_eq!(prefixed.len(), 3, "rows with a prefix lie together");
    let mut seen = 0;
    view.scan(Table::Index, b"", &mut |_, _| {
        seen += 1;
        if seen == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })
    .expect("scans");
    assert_eq!(seen, 3, "a scan ends when told");
}

fn rows_come_in_reverse(store: &dyn LedgerStore) {
    let keys: [&[u8]; 6] = [b"", b"\0", b"\x01", b"a", b"a\0", b"\xff\xff"];
    let mut writes = Batch::default();
    for (table, key) in
        [Table::State, Table::Index].into_iter().flat_map(|table| keys.map(|key| (table, key)))
    {
        writes.put(table, key, key.to_vec());
    }
    store.commit(writes).expect("commits");
    let view = view(store);
    let back = |to: &[u8], limit: usize| {
        let mut found = Vec::new();
        view.scan_back(Table::Index, to, &mut |key, value| {
            assert_eq!(key, value, "a row keeps its value");
            found.push(key.to_vec());
            if found.len() == limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
        .expect("scans");
        found
    };
    for (at, key) in keys.iter().enumerate() {
        let expected: Vec<&[u8]> = keys.iter().take(at + 1).rev().copied().collect();
        assert_eq!(back(key, usize::MAX), expected, "a scan back begins at its key");
    }
    assert_eq!(
        back(b"a\0\0", 2),
        [b"a\0".to_vec(), b"a".to_vec()],
        "or at the one before, and ends when told"
    );
    assert_eq!(back(b"\xff\xff\xff", usize::MAX).len(), keys.len(), "a scan back stays in its table");
}

fn tables_are_apart(store: &dyn LedgerStore) {
    store
        .commit(batch([(Table::State, "key", Some("state")), (Table::Tree, "key", Some("tree"))]))
        .expect("commits");
    store.commit(batch([(Table::State, "key", None)])).expect("commits");
    let view = view(store);
    assert_eq!(get(&*view, Table::State, "key"), None, "a removal reaches its table");
    assert_eq!(get(&*view, Table::Tree, "key").as_deref(), Some("tree"), "and no other");
    assert_eq!(rows(&*view, Table::State, b""), [], "a scan stays in its table");
}

fn removal_removes(store: &dyn LedgerStore) {
    store.commit(batch([(Table::Meta, "absent", None)])).expect("what is not there can be removed");
    store.commit(batch([(Table::Meta, "key", Some("1"))])).expect("commits");
    store.commit(batch([(Table::Meta, "key", Some("2"))])).expect("overwrites");
    assert_eq!(get(&*view(store), Table::Meta, "key").as_deref(), Some("2"), "the last write counts");
    store.commit(batch([(Table::Meta, "key", None)])).expect("removes");
    assert_eq!(get(&*view(store), Table::Meta, "key"), None, "what is removed is gone");
}

fn anything_can_be_stored(store: &dyn LedgerStore) {
    let big: Vec<u8> = (0..BIG).map(|at| (at % 251).to_le_bytes()[0]).collect();
    let mut writes = Batch::default();
    writes.put(Table::Blocks, "", Vec::new());
    writes.put(Table::Blocks, "empty", Vec::new());
    writes.put(Table::Blocks, "big", big.clone());
    store.commit(writes).expect("commits");
    let view = view(store);
    assert_eq!(get(&*view, Table::Blocks, "").as_deref(), Some(""), "the empty key is a key");
    assert_eq!(
        get(&*view, Table::Blocks, "empty").as_deref(),
        Some(""),
        "an empty value is not an absent one"
    );
    assert!(view.get(Table::Blocks, b"big").expect("answers") == Some(big), "a big value comes back whole");
}

/// One thread writes the same number into two tables, again and again, while others look.
fn readers_see_whole_batches(store: Arc<dyn LedgerStore>) {
    const ROUNDS: u32 = 40;
    std::thread::scope(|scope| {
        let writer = Arc::clone(&store);
        scope.spawn(move || {
            for round in 0..ROUNDS {
                let mut writes = Batch::default();
                writes.put(Table::State, "round", round.to_be_bytes().to_vec());
                writes.put(Table::Meta, "round", round.to_be_bytes().to_vec());
                writer.commit(writes).expect("commits");
            }
        });
        for _ in 0..2 {
            scope.spawn(|| {
                let last = (ROUNDS - 1).to_be_bytes().to_vec();
                loop {
                    let view = view(&*store);
                    let state = view.get(Table::State, b"round").expect("answers");
                    let meta = view.get(Table::Meta, b"round").expect("answers");
                    assert_eq!(state, meta, "a batch shows whole or not at all");
                    if meta.as_ref() == Some(&last) {
                        break;
                    }
                }
            });
        }
    });
}

/// The keys of [`many_rows_come_and_go`], in an order that is neither theirs nor its reverse.
const MANY: u64 = 5_003;

fn scattered(number: u64) -> u64 {
    // Without a common divisor with `MANY`: each number comes once.
    number * 2_741 % MANY
}

/// Many rows in one batch, then changes all over them in another, beside what they must be.
fn many_rows_come_and_go(store: &dyn LedgerStore) {
    let key = |number: u64| number.to_be_bytes().to_vec();
    let mut model = std::collections::BTreeMap::new();
    let mut writes = Batch::default();
    for number in (0..MANY).map(scattered) {
        let value = vec![number.to_le_bytes()[0]; usize::try_from(number % 700).unwrap_or_default()];
        writes.put(Table::Tree, key(number), value.clone());
        model.insert(key(number), value);
    }
    store.commit(writes).expect("commits a big batch");
    let all = |model: &std::collections::BTreeMap<Vec<u8>, Vec<u8>>| -> Vec<Row> {
        model.iter().map(|(key, value)| (key.clone(), value.clone())).collect()
    };
    assert!(rows(&*view(store), Table::Tree, b"") == all(&model), "a big batch is there, in order");
    for of in [3, 2] {
        let mut writes = Batch::default();
        for number in (0..MANY).map(scattered).filter(|number| number % of != 0) {
            writes.remove(Table::Tree, key(number));
            model.remove(&key(number));
            if number % 7 == 0 {
                writes.put(Table::Tree, key(number), b"again".to_vec());
                model.insert(key(number), b"again".to_vec());
            }
        }
        store.commit(writes).expect("commits a big batch of removals");
        let view = view(store);
        assert!(
            rows(&*view, Table::Tree, b"") == all(&model),
            "what a big batch removes is gone, the rest is not"
        );
        let middle = key(MANY / 2);
        let expected: Vec<Row> = all(&model).split_off(model.range(..middle.clone()).count());
        assert!(rows(&*view, Table::Tree, &middle) == expected, "a scan from the middle begins there");
    }
}

/// Each view shows the moment at which it was taken, however many commits come after it.
fn views_of_many_moments_stand_still(store: &dyn LedgerStore) {
    const MOMENTS: u64 = 50;
    let mut views = Vec::new();
    for moment in 0..MOMENTS {
        let mut writes = Batch::default();
        writes.put(Table::State, "changes", moment.to_be_bytes().to_vec());
        writes.put(Table::State, moment.to_be_bytes(), Vec::new());
        if let Some(before) = moment.checked_sub(3) {
            writes.remove(Table::State, before.to_be_bytes());
        }
        store.commit(writes).expect("commits while views are open");
        views.push(view(store));
    }
    for (moment, view) in (0..MOMENTS).zip(&views) {
        let value = view.get(Table::State, b"changes").expect("answers");
        assert_eq!(value, Some(moment.to_be_bytes().to_vec()), "an old view shows the old value");
        let keys: Vec<Vec<u8>> = rows(&**view, Table::State, b"").into_iter().map(|(key, _)| key).collect();
        let expected = (moment.saturating_sub(2)..=moment).map(|number| number.to_be_bytes().to_vec());
        assert_eq!(
            keys,
            expected.chain([b"changes".to_vec()]).collect::<Vec<_>>(),
            "and the rows of its time"
        );
    }
}

/// A scan goes on over what its view shows while others commit; even its own visitor may.
fn a_scan_holds_while_rows_change(store: &dyn LedgerStore) {
    const ROWS: u32 = 300;
    let put_all = |value: &[u8]| {
        let mut writes = Batch::default();
        for number in 0..ROWS {
            writes.put(Table::Index, number.to_be_bytes(), value.to_vec());
        }
        store.commit(writes).expect("commits");
    };
    put_all(b"before");
    let mut seen = 0;
    view(store)
        .scan(Table::Index, b"", &mut |_, value| {
            assert_eq!(value, b"before", "a scan does not see what comes after its view");
            if seen == ROWS / 2 {
                put_all(b"after");
                let now = view(store).get(Table::Index, &[0; 4]).expect("answers");
                assert_eq!(
                    now.as_deref(),
                    Some(&b"after"[..]),
                    "a new view does, while the old one is scanned"
                );
            }
            seen += 1;
            ControlFlow::Continue(())
        })
        .expect("scans");
    assert_eq!(seen, ROWS, "a scan shows all rows of its view");
}
