//! The map beside a recomputation of its root in so many words, its proofs, and damaged pages.

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

use super::*;
use crate::store::{LedgerStore, MemoryStore, scan_prefix};

type Changes = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// The root in so many words: a half without entries is zero, with one entry its leaf, else both halves.
fn naive(entries: &[(Digest, Digest)], depth: usize) -> Digest {
    match entries {
        [] => Digest::ZERO,
        [(key, value)] => LEAF.sha256(&[key.as_bytes(), value.as_bytes()]),
        _ => {
            let (right, left): (Vec<_>, Vec<_>) =
                entries.iter().partition(|(key, _)| key.as_bytes()[depth / 8] >> (7 - depth % 8) & 1 == 1);
            INNER.sha256(&[naive(&left, depth + 1).as_bytes(), naive(&right, depth + 1).as_bytes()])
        }
    }
}

fn apply(store: &MemoryStore, changes: &Changes) -> Digest {
    let mut batch = Batch::default();
    let root = update(&*store.view().unwrap(), changes, &mut batch, Threads::ONE).unwrap();
    store.commit(batch).unwrap();
    root
}

fn nodes(store: &MemoryStore) -> Vec<crate::store::Row> {
    scan_prefix(&*store.view().unwrap(), Table::Tree, &[], usize::MAX).unwrap()
}

/// Few keys, so that they are changed and removed again and again.
fn changes() -> impl Strategy<Value = Changes> {
    let value = prop::option::weighted(0.6, vec(any::<u8>(), 0..3));
    btree_map((0..40u8).prop_map(|key| vec![key]), value, 0..20)
}

proptest! {
    #[test]
    fn the_tree_is_that_of_its_entries_however_it_came_about(batches in vec(changes(), 1..8)) {
        let store = MemoryStore::default();
        let mut model = BTreeMap::new();
        for batch in &batches {
            let found = apply(&store, batch);
            for (key, value) in batch {
                match value {
                    Some(value) => model.insert(key.clone(), value.clone()),
                    None => model.remove(key),
                };
            }
            let entries = model.iter().map(|(key, value)| (KEY.sha256(&[key]), VALUE.sha256(&[value])));
            prop_assert_eq!(found, naive(&entries.collect::<Vec<_>>(), 0));
            prop_assert_eq!(found, root(&*store.view().unwrap()).unwrap());
        }
        let scratch = MemoryStore::default();
        let all = model.iter().map(|(key, value)| (key.clone(), Some(value.clone()))).collect();
        apply(&scratch, &all);
        prop_assert_eq!(nodes(&scratch), nodes(&store), "no node is left over or missing");

        let view = store.view().unwrap();
        let top = root(&*view).unwrap();
        for key in (0..50u8).map(|key| vec![key]) {
            let proof = prove(&*view, &key).unwrap();
            let value = model.get(&key).map(Vec::as_slice);
            prop_assert!(proof.verify(&top, &key, value));
            let other = if value.is_some() { None } else { Some(&b""[..]) };
            prop_assert!(!proof.verify(&top, &key, other));
        }
        let before = nodes(&store);
        let one: Changes = [(b"one more".to_vec(), Some(vec![]))].into();
        prop_assert_ne!(apply(&store, &one), top);
        let gone: Changes = [(b"one more".to_vec(), None)].into();
        prop_assert_eq!(apply(&store, &gone), top);
        prop_assert_eq!(nodes(&store), before, "insertion and removal leave nothing behind");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]
    #[test]
    fn any_number_of_threads_writes_the_same_pages(batches in vec(btree_map(0..1500u16, prop::option::weighted(0.7, 0..3u8), 0..900), 1..4)) {
        let store = MemoryStore::default();
        for batch in batches {
            let changes: Changes = batch
                .into_iter()
                .map(|(key, value)| (key.to_be_bytes().to_vec(), value.map(|value| vec![value])))
                .collect();
            let updated = [1, 2, 3, 8].map(|threads| {
                let (mut batch, threads) = (Batch::default(), Threads::new(threads.try_into().unwrap()));
                (update(&*store.view().unwrap(), &changes, &mut batch, threads).unwrap(), batch)
            });
            prop_assert!(updated.iter().all(|other| *other == updated[0]));
            let [(_, batch), ..] = updated;
            store.commit(batch).unwrap();
        }
    }
}

#[test]
fn a_path_without_end_is_damage() {
    let store = MemoryStore::default();
    let mut batch = Batch::default();
    let path = KEY.sha256(&[b"key"]);
    // Every half of every page is an inner node again, under the digest that is asked for.
    let inner = Node::Inner(Digest::ZERO);
    for depth in (0..MAX_DEPTH).step_by(PAGE_LEVELS) {
        let mut page = Vec::new();
        endless(depth, depth, &mut page, inner);
        batch.put(Table::Tree, page_key(&path, depth), page);
    }
    store.commit(batch).unwrap();
    let view = store.view().unwrap();
    let changes: Changes = [(b"key".to_vec(), Some(vec![]))].into();
    assert!(is_damage(prove(&*view, b"key").unwrap_err()));
    assert!(is_damage(update(&*view, &changes, &mut Batch::default(), Threads::ONE).unwrap_err()));
}

fn endless(top: usize, depth: usize, page: &mut Vec<u8>, inner: Node) {
    inner.append(page);
    if depth == top || !is_top(depth) {
        endless(top, depth + 1, page, inner);
        endless(top, depth + 1, page, inner);
    }
}

fn is_damage(error: StoreError) -> bool {
    matches!(error, StoreError::Damaged { table: Table::Tree, .. })
}

#[test]
fn a_page_that_is_cut_missing_or_another_is_damage() {
    let store = MemoryStore::default();
    let all: Changes = (0..200u8).map(|key| (vec![key], Some(vec![key]))).collect();
    let root = apply(&store, &all);
    for (key, page) in nodes(&store) {
        let at_all = |page: Option<Vec<u8>>| {
            let mut batch = Batch::default();
            batch.extend(Table::Tree, [(key.clone(), page)]);
            store.commit(batch).unwrap();
            let view = store.view().unwrap();
            let proofs: Result<Vec<_>, _> = all.keys().map(|key| prove(&*view, key)).collect();
            let updated = update(&*view, &all, &mut Batch::default(), Threads::ONE);
            (proofs.map(drop), updated)
        };
        let mut other = page.clone();
        other[1] ^= 1;
        let first = key == page_key(&Digest::ZERO, 0);
        for wrong in [Some(page[..page.len() - 1].to_vec()), Some(page[..1].to_vec()), None, Some(other)] {
            let (proofs, updated) = at_all(wrong.clone());
            if first && wrong.is_none_or(|wrong| wrong.len() == page.len()) {
                continue; // An empty map, or one whose root is another: its header tells.
            }
            assert!(is_damage(proofs.unwrap_err()) && is_damage(updated.unwrap_err()));
        }
        let (proofs, updated) = at_all(Some(page));
        assert!(proofs.is_ok() && updated.unwrap() == root);
    }
}
