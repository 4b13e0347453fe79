//! A sorted map of rows whose copies share what they have in common: a B-tree with copy on write.
//!
//! Copying one takes a reference. A batch copies the nodes on its paths that somebody else still holds, and changes the others in place;
//! so it takes O(batch · log n), whoever looks at a former state meanwhile.

use std::ops::ControlFlow;
use std::sync::Arc;

use crate::store::sorted::{Keyed, Sorted};
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
    bytes: Arc<[u8]>,
    key: usize,
}

impl Row {
    fn new(key: &[u8], value: &[u8]) -> Self {
        let mut bytes: Arc<[u8]> = std::iter::repeat_n(0, key.len() + value.len()).collect();
        // It was made just now, so nobody else holds it.
        if let Some(bytes) = Arc::get_mut(&mut bytes) {
            let (key_bytes, value_bytes) = bytes.split_at_mut(key.len());
            key_bytes.copy_from_slice(key);
            value_bytes.copy_from_slice(value);
        }
        Self { bytes, key: key.len() }
    }

    fn value(&self) -> &[u8] {
        &self.bytes[self.key..]
    }
}

impl Keyed for Row {
    fn key(&self) -> &[u8] {
        &self.bytes[..self.key]
    }
}

/// All leaves are equally deep.
#[derive(Debug, Clone)]
enum Node {
    Leaf(Sorted<Row>),
    /// Each child holds the keys from its bound to the next child's.
    Inner(Sorted<Child>),
}

#[derive(Debug, Clone)]
struct Child {
    bound: Arc<[u8]>,
    node: Arc<Node>,
}

impl Keyed for Child {
    fn key(&self) -> &[u8] {
        &self.bound
    }
}

impl Default for Node {
    fn default() -> Self {
        Self::Leaf(Sorted::default())
    }
}

type Write = (Vec<u8>, Option<Vec<u8>>);

impl Rows {
    /// The value at `key`.
    pub(crate) fn get(&self, key: &[u8]) -> Option<&[u8]> {
        let mut node = &*self.0;
        loop {
            match node {
                Node::Leaf(rows) => return rows.as_slice().get(rows.find(key).ok()?).map(Row::value),
                Node::Inner(children) => node = &children.as_slice().get(child_of(children, key))?.node,
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
            *root = Node::Inner(pieces(std::mem::take(root)).into());
        }
        while let Node::Inner(children) = root
            && children.len() <= 1
        {
            let only = children.take().pop();
            *root = only.map(|child| Arc::unwrap_or_clone(child.node)).unwrap_or_default();
        }
    }
}

/// The child that holds `key`, if any does. A key below all bounds belongs to the first.
fn child_of(children: &Sorted<Child>, key: &[u8]) -> usize {
    children.find(key).unwrap_or_else(|after| after.saturating_sub(1))
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
                let (Ok(first) | Err(first)) = rows.find(from);
                rows.as_slice().iter().skip(first).try_for_each(|row| visit(row.key(), row.value()))
            }
            Self::Inner(children) => {
                let first = child_of(children, from);
                let mut children = children.as_slice().iter().skip(first);
                children.try_for_each(|child| child.node.scan(from, &mut *visit))
            }
        }
    }

    fn scan_back(&self, to: &[u8], visit: Visit<'_>) -> ControlFlow<()> {
        match self {
            Self::Leaf(rows) => {
                let end = rows.find(to).map_or_else(|end| end, |at| at + 1);
                rows.as_slice().iter().take(end).rev().try_for_each(|row| visit(row.key(), row.value()))
            }
            Self::Inner(children) => {
                let last = child_of(children, to);
                let mut children = children.as_slice().iter().take(last + 1).rev();
                children.try_for_each(|child| child.node.scan_back(to, &mut *visit))
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
                    // Few of many writes belong to one child.
                    let is_here = |(key, _): &&Write| at == 0 || !children.is_before(key, at);
                    let here = left.iter().rev().skip(1).take_while(is_here).count() + 1;
                    let (before, here) = left.split_at(left.len() - here);
                    let Some(child) = children.get_mut(at) else { return };
                    Arc::make_mut(&mut child.node).apply(here);
                    if at == 0 {
                        lower(children, here);
                    }
                    settle(children, at);
                    left = before;
                }
            }
        }
    }
}

/// Lowers the first child's bound to the first key that was written to it.
fn lower(children: &mut Sorted<Child>, writes: &[Write]) {
    if let (Some(first), Some((key, _))) = (children.as_slice().first(), writes.first())
        && *key.as_slice() < *first.bound
    {
        let Child { node, .. } = children.remove(0);
        children.insert(0, Child { bound: key.as_slice().into(), node });
    }
}

/// With fewer writes than one for so many rows, inserting each takes less than passing all rows.
const SPARSE: usize = 6;

/// Carries out sorted `writes` in sorted `rows`.
fn merge(rows: &mut Sorted<Row>, writes: &[Write]) {
    if writes.len() <= 1.max(rows.len() / SPARSE) {
        writes.iter().for_each(|write| set(rows, write));
    } else {
        rows.merge(writes, Row::new);
    }
}

/// Carries out one write.
fn set(rows: &mut Sorted<Row>, (key, value): &Write) {
    match (rows.find(key), value) {
        (Ok(at), Some(value)) => rows.get_mut(at).into_iter().for_each(|row| *row = Row::new(key, value)),
        (Ok(at), None) => drop(rows.remove(at)),
        (Err(at), Some(value)) => rows.insert(at, Row::new(key, value)),
        (Err(_), None) => {}
    }
}

/// Splits child `at` if it is too full, drops it if it is empty, and joins it with a neighbour if it has few children.
fn settle(children: &mut Sorted<Child>, at: usize) {
    let len = |at: usize| children.as_slice().get(at).map(|child| child.node.len());
    match len(at) {
        Some(0) => drop(children.remove(at)),
        Some(many) if many > MAX_CHILDREN => split(children, at),
        Some(few) if few < FEW_CHILDREN => {
            let fits = |other: usize| len(other).is_some_and(|len| len + few <= MAX_CHILDREN / 2);
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
fn split(children: &mut Sorted<Child>, at: usize) {
    let Child { bound, node } = children.remove(at);
    let mut pieces = pieces(Arc::unwrap_or_clone(node));
    if let Some(first) = pieces.first_mut() {
        first.bound = bound;
    }
    for (number, piece) in (at..).zip(pieces) {
        children.insert(number, piece);
    }
}

/// The children, about equally full, that `node` is split into.
fn pieces(node: Node) -> Vec<Child> {
    // Rows often come in order: the last piece takes what is left over, and has room.
    let pieces = node.len().div_ceil(MAX_CHILDREN).max(1);
    let size = node.len().div_ceil(pieces);
    match node {
        Node::Leaf(rows) => children_of(rows.split(size), Node::Leaf),
        Node::Inner(children) => children_of(children.split(size), Node::Inner),
    }
}

fn children_of<T: Keyed>(pieces: Vec<Sorted<T>>, node: impl Fn(Sorted<T>) -> Node) -> Vec<Child> {
    let child = |piece: Sorted<T>| {
        let bound = piece.as_slice().first()?.key().into();
        Some(Child { bound, node: Arc::new(node(piece)) })
    };
    pieces.into_iter().filter_map(child).collect()
}

/// Joins child `at` with the next one.
fn join(children: &mut Sorted<Child>, at: usize) {
    let next = children.remove(at + 1);
    let Some(child) = children.get_mut(at) else { return };
    match (Arc::make_mut(&mut child.node), Arc::unwrap_or_clone(next.node)) {
        (Node::Leaf(rows), Node::Leaf(mut next)) => *rows = joined(rows, &mut next),
        (Node::Inner(children), Node::Inner(mut next)) => *children = joined(children, &mut next),
        // Neighbours are equally deep.
        _ => {}
    }
}

fn joined<T: Keyed>(first: &mut Sorted<T>, second: &mut Sorted<T>) -> Sorted<T> {
    [first.take(), second.take()].into_iter().flatten().collect::<Vec<T>>().into()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::collection::{btree_map, vec};
    use proptest::prelude::*;

    use super::*;

    /// Batches over few keys, so that nodes are split, emptied and joined. Some begin alike, and some differ in nothing but zeros.
    fn batches() -> impl Strategy<Value = Vec<Writes>> {
        let list = prop::sample::select(vec![0, 0, 33, 80]);
        let key = (list, 0..200u16).prop_map(|(list, key)| {
            [vec![0; list], key.to_be_bytes().to_vec(), vec![0; usize::from(key % 3)]].concat()
        });
        let dense = btree_map(key.clone(), prop::option::weighted(0.9, vec(any::<u8>(), 0..3)), 0..90);
        let sparse = btree_map(key, prop::option::weighted(0.1, vec(any::<u8>(), 0..3)), 0..150);
        vec(prop_oneof![dense, sparse], 1..30)
    }

    /// Depth, and that each node but the root has children, none too many, whose keys lie between the bounds.
    fn depth(node: &Node) -> usize {
        match node {
            Node::Leaf(rows) => {
                assert!(rows.len() <= MAX_CHILDREN);
                assert!(rows.as_slice().is_sorted_by(|row, next| row.key() < next.key()));
                1
            }
            Node::Inner(children) => {
                assert!((1..=MAX_CHILDREN).contains(&children.len()));
                let children = children.as_slice();
                assert!(children.iter().all(|child| child.node.len() > 0));
                assert!(children.iter().all(|child| *child.bound <= *keys(&child.node)[0]));
                assert!(children.windows(2).all(|two| keys(&two[0].node).last().unwrap() < &&*two[1].bound));
                let depths: Vec<usize> = children.iter().map(|child| depth(&child.node)).collect();
                assert!(depths.iter().all(|depth| Some(depth) == depths.first()), "leaves are equally deep");
                depths.first().map_or(1, |depth| depth + 1)
            }
        }
    }

    fn keys(node: &Node) -> Vec<&[u8]> {
        match node {
            Node::Leaf(rows) => rows.as_slice().iter().map(Row::key).collect(),
            Node::Inner(children) => children.as_slice().iter().flat_map(|child| keys(&child.node)).collect(),
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
    fn what_comes_before_all_bounds_is_found_after_joining() {
        let leaf = |keys: &[&str]| {
            let rows: Vec<Row> = keys.iter().map(|key| Row::new(key.as_bytes(), b"")).collect();
            Arc::new(Node::Leaf(rows.into()))
        };
        let inner = |bound: &str, node| {
            let children = vec![Child { bound: bound.as_bytes().into(), node }];
            Arc::new(Node::Inner(children.into()))
        };
        // A child before `x` is gone; `n` comes after that.
        let (before, mut behind) = (inner("a", leaf(&["a"])), inner("x", leaf(&["y"])));
        Arc::make_mut(&mut behind).apply(&[(b"n".to_vec(), Some(Vec::new()))]);
        let [before, behind] =
            [("", before), ("m", behind)].map(|(bound, node)| Child { bound: bound.as_bytes().into(), node });
        let mut children = vec![before, behind].into();
        join(&mut children, 0);
        let node = Arc::new(Node::Inner(children));
        depth(&node);
        assert!(["a", "n", "y"].iter().all(|key| Rows(Arc::clone(&node)).get(key.as_bytes()).is_some()));
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
