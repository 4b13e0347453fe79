//! A sorted map of rows whose copies share what they have in common: a B-tree with copy on write.
//!
//! Copying one takes a reference. A batch copies the nodes on its paths that somebody else still holds, and changes the others in place;
//! so it takes O(batch · log n), whoever looks at a former state meanwhile.

use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;

use crate::store::{Visit, Writes};

/// Most children of a node; a fuller one is split. Few in this file's tests, so that a small tree is deep.
const MAX_CHILDREN: usize = if cfg!(test) { 8 } else { 64 };
/// A node with fewer children after a removal is joined with a neighbour, if both have room in one.
const FEW_CHILDREN: usize = MAX_CHILDREN / 4;

/// Rows in the order of their keys.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rows(Arc<Node>);

/// A row: key and value in one piece of memory.
#[derive(Debug, Clone)]
struct Row {
    bytes: Bytes,
    key: usize,
}

impl Row {
    fn new(key: &[u8], value: &[u8]) -> Self {
        Self { bytes: [key, value].concat().into(), key: key.len() }
    }

    fn key(&self) -> &[u8] {
        &self.bytes[..self.key]
    }

    fn value(&self) -> &[u8] {
        &self.bytes[self.key..]
    }
}

/// All leaves are equally deep.
#[derive(Debug, Clone)]
enum Node {
    Leaf(Vec<Row>),
    /// Each child holds the keys from its bound to the next child's. The first child's bound is not looked at.
    Inner(Vec<(Arc<[u8]>, Arc<Node>)>),
}

impl Default for Node {
    fn default() -> Self {
        Self::Leaf(Vec::new())
    }
}

type Write = (Vec<u8>, Option<Vec<u8>>);

impl Rows {
    /// The value at `key`.
    pub(crate) fn get(&self, key: &[u8]) -> Option<&[u8]> {
        let mut node = &*self.0;
        loop {
            match node {
                Node::Leaf(rows) => {
                    let at = rows.binary_search_by(|row| row.key().cmp(key)).ok()?;
                    return rows.get(at).map(Row::value);
                }
                Node::Inner(children) => node = &children.get(child_of(children, key))?.1,
            }
        }
    }

    /// Shows the rows from key `from` on, in order.
    pub(crate) fn scan(&self, from: &[u8], visit: Visit<'_>) {
        // Broken off or at the end: nothing follows either way.
        let _ = self.0.scan(from, visit);
    }

    /// Shows the rows from key `to` backwards, in falling order.
    pub(crate) fn scan_back(&self, to: &[u8], visit: Visit<'_>) {
        let _ = self.0.scan_back(to, visit);
    }

    /// Carries out `writes`.
    pub(crate) fn apply(&mut self, writes: Writes) {
        let writes: Vec<Write> = writes.into_iter().collect();
        let root = Arc::make_mut(&mut self.0);
        root.apply(&writes);
        while root.len() > MAX_CHILDREN {
            let mut children = vec![(Arc::from([]), Arc::new(std::mem::take(root)))];
            split(&mut children, 0);
            *root = Node::Inner(children);
        }
        while let Node::Inner(children) = root
            && children.len() <= 1
        {
            *root = children.pop().map(|(_, only)| Arc::unwrap_or_clone(only)).unwrap_or_default();
        }
    }
}

/// The child that holds `key`, if any does.
fn child_of(children: &[(Arc<[u8]>, Arc<Node>)], key: &[u8]) -> usize {
    children.partition_point(|(bound, _)| **bound <= *key).saturating_sub(1)
}

impl Node {
    fn len(&self) -> usize {
        match self {
            Self::Leaf(rows) => rows.len(),
            Self::Inner(children) => children.len(),
        }
    }

    fn scan(&self, from: &[u8], visit: Visit<'_>) -> ControlFlow<()> {
        match self {
            Self::Leaf(rows) => {
                let first = rows.partition_point(|row| row.key() < from);
                rows.iter().skip(first).try_for_each(|row| visit(row.key(), row.value()))
            }
            Self::Inner(children) => {
                let first = child_of(children, from);
                children.iter().skip(first).try_for_each(|(_, child)| child.scan(from, &mut *visit))
            }
        }
    }

    fn scan_back(&self, to: &[u8], visit: Visit<'_>) -> ControlFlow<()> {
        match self {
            Self::Leaf(rows) => {
                let end = rows.partition_point(|row| row.key() <= to);
                rows.iter().take(end).rev().try_for_each(|row| visit(row.key(), row.value()))
            }
            Self::Inner(children) => {
                let last = child_of(children, to);
                children
                    .iter()
                    .take(last + 1)
                    .rev()
                    .try_for_each(|(_, child)| child.scan_back(to, &mut *visit))
            }
        }
    }

    /// Carries out `writes`, which are sorted and all belong here. The node may become too full, or empty.
    fn apply(&mut self, writes: &[Write]) {
        match self {
            Self::Leaf(rows) => merge(rows, writes),
            Self::Inner(children) => {
                // From the last child to the first, so that splitting one moves none that is still to be done.
                let mut left = writes;
                while let Some((last, _)) = left.last() {
                    let at = child_of(children, last);
                    let Some((bound, child)) = children.get_mut(at) else { return };
                    // Few of many writes belong to one child: counted from the end, each is looked at once.
                    let is_here = |(key, _): &&Write| at == 0 || **key >= **bound;
                    let here = left.iter().rev().take_while(is_here).count();
                    let (before, here) = left.split_at(left.len() - here);
                    Arc::make_mut(child).apply(here);
                    settle(children, at);
                    left = before;
                }
            }
        }
    }
}

/// With fewer writes than one for so many rows, searching takes fewer comparisons than passing all rows.
const SPARSE: usize = 6;

/// Carries out sorted `writes` in sorted `rows`.
fn merge(rows: &mut Vec<Row>, writes: &[Write]) {
    if let [(key, value)] = writes {
        match (rows.binary_search_by(|row| row.key().cmp(key)), value) {
            (Ok(at), Some(value)) => rows[at] = Row::new(key, value),
            (Ok(at), None) => drop(rows.remove(at)),
            (Err(at), Some(value)) => rows.insert(at, Row::new(key, value)),
            (Err(_), None) => {}
        }
        return;
    }
    let sparse = writes.len() < rows.len() / SPARSE;
    let mut old = std::mem::take(rows).into_iter();
    rows.reserve(old.len() + writes.len());
    for (key, value) in writes {
        let is_before = |row: &Row| row.key() < key.as_slice();
        let before = match old.as_slice() {
            // Sparse writes are searched for; dense ones are found in passing.
            rest if sparse => rest.partition_point(is_before),
            rest => rest.iter().take_while(|row| is_before(row)).count(),
        };
        rows.extend(old.by_ref().take(before));
        if old.as_slice().first().is_some_and(|row| row.key() == key) {
            old.next();
        }
        rows.extend(value.as_ref().map(|value| Row::new(key, value)));
    }
    rows.extend(old);
}

/// Splits child `at` if it is too full, drops it if it is empty, and joins it with a neighbour if it has few children.
fn settle(children: &mut Vec<(Arc<[u8]>, Arc<Node>)>, at: usize) {
    let len = |children: &[(_, Arc<Node>)], at: usize| children.get(at).map(|(_, child)| child.len());
    match len(children, at) {
        Some(0) => drop(children.remove(at)),
        Some(many) if many > MAX_CHILDREN => split(children, at),
        Some(few) if few < FEW_CHILDREN => {
            let fits = |other: usize| len(children, other).is_some_and(|len| len + few <= MAX_CHILDREN / 2);
            if fits(at + 1) {
                join(children, at);
            } else if at > 0 && fits(at - 1) {
                join(children, at - 1);
            }
        }
        _ => {}
    }
}

/// Replaces child `at` by children of at most `MAX_CHILDREN`, about equally full.
fn split(children: &mut Vec<(Arc<[u8]>, Arc<Node>)>, at: usize) {
    let Some((bound, node)) = children.get_mut(at) else { return };
    let bound = Arc::clone(bound);
    let node = Arc::make_mut(node);
    // Rows often come in order: the last piece takes what is left over, and has room.
    let pieces = node.len().div_ceil(MAX_CHILDREN).max(1);
    let size = node.len().div_ceil(pieces);
    let mut replacement: Vec<(Arc<[u8]>, Arc<Node>)> = match std::mem::take(node) {
        Node::Leaf(rows) => {
            let bound_of = |piece: &[Row]| piece.first().map_or_else(Arc::default, |row| row.key().into());
            pieces_of(rows, size).map(|piece| (bound_of(&piece), Arc::new(Node::Leaf(piece)))).collect()
        }
        Node::Inner(inner) => {
            let bound_of = |piece: &[(Arc<[u8]>, _)]| piece.first().map(|(bound, _)| Arc::clone(bound));
            pieces_of(inner, size)
                .map(|piece| (bound_of(&piece).unwrap_or_default(), Arc::new(Node::Inner(piece))))
                .collect()
        }
    };
    if let Some(first) = replacement.first_mut() {
        first.0 = bound;
    }
    children.splice(at..=at, replacement);
}

fn pieces_of<T>(items: Vec<T>, size: usize) -> impl Iterator<Item = Vec<T>> {
    let mut items = items.into_iter();
    std::iter::from_fn(move || {
        let piece: Vec<T> = items.by_ref().take(size).collect();
        (!piece.is_empty()).then_some(piece)
    })
}

/// Joins child `at` with the next one.
fn join(children: &mut Vec<(Arc<[u8]>, Arc<Node>)>, at: usize) {
    let (bound, next) = children.remove(at + 1);
    let Some((_, node)) = children.get_mut(at) else { return };
    match (Arc::make_mut(node), Arc::unwrap_or_clone(next)) {
        (Node::Leaf(rows), Node::Leaf(next)) => rows.extend(next),
        (Node::Inner(children), Node::Inner(mut next)) => {
            // It was a first child, whose bound nobody looked at; from now on it counts.
            if let Some(first) = next.first_mut() {
                first.0 = bound;
            }
            children.extend(next);
        }
        // Neighbours are equally deep.
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::collection::{btree_map, vec};
    use proptest::prelude::*;

    use super::*;

    /// Batches over few keys, some long: so that nodes are split, emptied and joined.
    fn batches() -> impl Strategy<Value = Vec<Writes>> {
        let key =
            (0..400u16).prop_map(|key| [&key.to_be_bytes()[..], &vec![0; usize::from(key % 3)]].concat());
        let dense = btree_map(key.clone(), prop::option::weighted(0.9, vec(any::<u8>(), 0..3)), 0..90);
        let sparse = btree_map(key, prop::option::weighted(0.1, vec(any::<u8>(), 0..3)), 0..150);
        vec(prop_oneof![dense, sparse], 1..30)
    }

    /// Depth, and that each node but the root has children, none too many.
    fn depth(node: &Node) -> usize {
        match node {
            Node::Leaf(rows) => {
                assert!(rows.len() <= MAX_CHILDREN);
                1
            }
            Node::Inner(children) => {
                assert!((1..=MAX_CHILDREN).contains(&children.len()));
                let depths: Vec<usize> = children.iter().map(|(_, child)| depth(child)).collect();
                assert!(children.iter().all(|(_, child)| child.len() > 0));
                assert!(depths.iter().all(|depth| Some(depth) == depths.first()), "leaves are equally deep");
                depths.first().map_or(1, |depth| depth + 1)
            }
        }
    }

    fn all(rows: &Rows, from: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut found = Vec::new();
        rows.scan(from, &mut |key, value| {
            found.push((key.to_vec(), value.to_vec()));
            ControlFlow::Continue(())
        });
        found
    }

    fn all_back(rows: &Rows, to: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut found = Vec::new();
        rows.scan_back(to, &mut |key, value| {
            found.push((key.to_vec(), value.to_vec()));
            ControlFlow::Continue(())
        });
        found
    }

    #[test]
    fn a_first_child_below_its_bound_is_found_after_joining() {
        let leaf = |keys: &[&str]| {
            Arc::new(Node::Leaf(keys.iter().map(|key| Row::new(key.as_bytes(), b"")).collect()))
        };
        // A child before `x` is gone, and `n` came after that.
        let before = Node::Inner(vec![(Arc::from([]), leaf(&["a"]))]);
        let behind = Node::Inner(vec![(Arc::from(*b"x"), leaf(&["n", "y"]))]);
        let mut children = vec![(Arc::from([]), Arc::new(before)), (Arc::from(*b"m"), Arc::new(behind))];
        join(&mut children, 0);
        let rows = Rows(Arc::new(Node::Inner(children)));
        assert!(["a", "n", "y"].iter().all(|key| rows.get(key.as_bytes()).is_some()));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]
        #[test]
        fn it_is_a_sorted_map_and_its_copies_stand_still(batches in batches()) {
            let (mut rows, mut model) = (Rows::default(), BTreeMap::new());
            let mut copies = Vec::new();
            for batch in batches {
                copies.push((rows.clone(), model.clone()));
                for (key, value) in batch.clone() {
                    match value {
                        Some(value) => model.insert(key, value),
                        None => model.remove(&key),
                    };
                }
                rows.apply(batch);
                depth(&rows.0);
            }
            copies.push((rows, model));
            for (rows, model) in copies {
                prop_assert_eq!(all(&rows, b""), model.clone().into_iter().collect::<Vec<_>>());
                for (key, value) in &model {
                    prop_assert_eq!(rows.get(key), Some(value.as_slice()));
                }
                for key in (0..400u16).step_by(17).map(u16::to_be_bytes) {
                    prop_assert_eq!(rows.get(&key), model.get(&key[..]).map(Vec::as_slice));
                    let rest = model.range(key.to_vec()..).map(|(key, value)| (key.clone(), value.clone()));
                    prop_assert_eq!(all(&rows, &key), rest.collect::<Vec<_>>());
                    let back = model.range(..=key.to_vec()).rev();
                    let back = back.map(|(key, value)| (key.clone(), value.clone()));
                    prop_assert_eq!(all_back(&rows, &key), back.collect::<Vec<_>>());
                }
            }
        }
    }
}
