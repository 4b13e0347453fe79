//! The authenticated state: a Merkle map from the keys of the state to their values, updated along the changed paths only.
//!
//! A binary trie over the bits of SHA-256(key); a subtree with one entry is that entry's leaf, so that a path is about log2(n) long.
//! The shape depends on the set of keys alone, hence so does the root. Only the current tree is kept: nothing needs pruning.
//!
//! Written here because the well-kept alternative (jmt) keeps every version of every node until it is pruned, and brings two dozen
//! dependencies of a former generation of the hashing crates; see the crate's documentation.

use std::collections::BTreeMap;

use borsh::{BorshDeserialize, BorshSerialize};
use dt_model::{Digest, Domain, codec};

use crate::store::{Batch, StoreError, StoreView, Table};

const KEY: Domain = Domain::new("dt/ledger/state-key/v1");
const VALUE: Domain = Domain::new("dt/ledger/state-value/v1");
const LEAF: Domain = Domain::new("dt/ledger/state-leaf/v1");
const INNER: Domain = Domain::new("dt/ledger/state-inner/v1");

/// The root of a map without entries.
pub(crate) const EMPTY_ROOT: Digest = Digest::ZERO;
/// Bits in a key's digest: no path is longer.
const MAX_DEPTH: usize = 256;
/// A stored node is a tag and two digests.
const MAX_NODE_BYTES: usize = 65;

#[derive(Debug, Clone, Copy, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
enum Node {
    /// The one entry of this subtree: the digests of its key and value.
    Leaf { key: Digest, value: Digest },
    /// The digests of both halves, at least two entries in all; zero where a half is empty.
    Inner { left: Digest, right: Digest },
}

impl Node {
    fn digest(&self) -> Digest {
        match self {
            Self::Leaf { key, value } => LEAF.sha256(&[key.as_bytes(), value.as_bytes()]),
            Self::Inner { left, right } => INNER.sha256(&[left.as_bytes(), right.as_bytes()]),
        }
    }
}

fn digest_of(node: Option<Node>) -> Digest {
    node.map_or(EMPTY_ROOT, |node| node.digest())
}

/// Whether bit `depth` of `key` is set, from the most significant one on: then its path goes right.
fn goes_right(key: &Digest, depth: usize) -> bool {
    key.as_bytes()[depth / 8] & (0x80 >> (depth % 8)) != 0
}

/// Where a node is stored: its depth, and the bits that lead to it.
fn location(key: &Digest, depth: usize) -> Vec<u8> {
    let mut bits = key.as_bytes()[..depth.div_ceil(8)].to_vec();
    if let (Some(last), used @ 1..) = (bits.last_mut(), depth % 8) {
        *last &= 0xffu8 << (8 - used);
    }
    let mut location = u16::try_from(depth).unwrap_or(u16::MAX).to_be_bytes().to_vec();
    location.append(&mut bits);
    location
}

fn load(view: &dyn StoreView, location: &[u8]) -> Result<Option<Node>, StoreError> {
    let Some(bytes) = view.get(Table::Tree, location)? else { return Ok(None) };
    codec::decode(&bytes, MAX_NODE_BYTES)
        .map(Some)
        .map_err(|_| StoreError::Damaged { table: Table::Tree, key: location.to_vec() })
}

/// The root of the tree that `view` holds.
pub(crate) fn root(view: &dyn StoreView) -> Result<Digest, StoreError> {
    load(view, &location(&Digest::ZERO, 0)).map(digest_of)
}

/// Applies `changes` (of the state: key → value or removal) to the tree in `view`: the new root, and the nodes to write into `batch`.
pub(crate) fn update(
    view: &dyn StoreView,
    changes: &BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    batch: &mut Batch,
) -> Result<Digest, StoreError> {
    if changes.is_empty() {
        return root(view);
    }
    let mut changes: Vec<Change> = changes
        .iter()
        .map(|(key, value)| (KEY.sha256(&[key]), value.as_ref().map(|value| VALUE.sha256(&[value]))))
        .collect();
    changes.sort_unstable();
    let mut update = Update { view, batch };
    update.apply(0, &changes).map(digest_of)
}

type Change = (Digest, Option<Digest>);

struct Update<'a> {
    view: &'a dyn StoreView,
    batch: &'a mut Batch,
}

impl Update<'_> {
    /// Applies `changes`, which all lie under one node at `depth`, and returns what that node becomes.
    fn apply(&mut self, depth: usize, changes: &[Change]) -> Result<Option<Node>, StoreError> {
        let Some((any, _)) = changes.first() else { return Ok(None) };
        let here = location(any, depth);
        let node = match load(self.view, &here)? {
            Some(Node::Inner { .. }) if depth >= MAX_DEPTH => {
                return Err(StoreError::Damaged { table: Table::Tree, key: here });
            }
            Some(Node::Inner { left, right }) => self.descend(depth, any, (left, right), changes)?,
            leaf => {
                let mut leaves: BTreeMap<Digest, Digest> = BTreeMap::new();
                if let Some(Node::Leaf { key, value }) = leaf {
                    leaves.insert(key, value);
                }
                for (key, value) in changes {
                    match value {
                        Some(value) => leaves.insert(*key, *value),
                        None => leaves.remove(key),
                    };
                }
                self.build(depth, &leaves.into_iter().collect::<Vec<_>>())
            }
        };
        self.write(here, node);
        Ok(node)
    }

    /// Applies `changes` to the halves of an inner node and joins what they become.
    fn descend(
        &mut self,
        depth: usize,
        any: &Digest,
        halves: (Digest, Digest),
        changes: &[Change],
    ) -> Result<Option<Node>, StoreError> {
        let (left_changes, right_changes) =
            changes.split_at(changes.partition_point(|(key, _)| !goes_right(key, depth)));
        let (left_at, right_at) = children(any, depth);
        let left = self.half(depth + 1, halves.0, left_changes)?;
        let right = self.half(depth + 1, halves.1, right_changes)?;
        Ok(match (left, right) {
            (Digest::ZERO, Digest::ZERO) => None,
            (left, Digest::ZERO) => self.lift(&left_at, left, true)?,
            (Digest::ZERO, right) => self.lift(&right_at, right, false)?,
            (left, right) => Some(Node::Inner { left, right }),
        })
    }

    fn half(&mut self, depth: usize, digest: Digest, changes: &[Change]) -> Result<Digest, StoreError> {
        if changes.is_empty() { Ok(digest) } else { self.apply(depth, changes).map(digest_of) }
    }

    /// What an inner node becomes whose other half is empty: its only leaf moves up; an inner half stays below.
    fn lift(&mut self, at: &[u8], digest: Digest, is_left: bool) -> Result<Option<Node>, StoreError> {
        match self.current(at)? {
            Some(leaf @ Node::Leaf { .. }) => {
                self.write(at.to_vec(), None);
                Ok(Some(leaf))
            }
            _ if is_left => Ok(Some(Node::Inner { left: digest, right: Digest::ZERO })),
            _ => Ok(Some(Node::Inner { left: Digest::ZERO, right: digest })),
        }
    }

    /// Builds the subtree of these sorted leaves from nothing; its root node is written by the caller.
    fn build(&mut self, depth: usize, leaves: &[(Digest, Digest)]) -> Option<Node> {
        match leaves {
            [] => None,
            [(key, value)] => Some(Node::Leaf { key: *key, value: *value }),
            [(any, _), ..] => {
                debug_assert!(depth < MAX_DEPTH, "two keys have one digest");
                let (left_at, right_at) = children(any, depth);
                let (left, right) =
                    leaves.split_at(leaves.partition_point(|(key, _)| !goes_right(key, depth)));
                let left = self.build(depth + 1, left);
                let right = self.build(depth + 1, right);
                self.write(left_at, left);
                self.write(right_at, right);
                Some(Node::Inner { left: digest_of(left), right: digest_of(right) })
            }
        }
    }

    fn write(&mut self, at: Vec<u8>, node: Option<Node>) {
        match node {
            Some(node) => self.batch.put(Table::Tree, at, codec::encode(&node)),
            None => self.batch.remove(Table::Tree, at),
        }
    }

    /// The node at `at`, as this update leaves it.
    fn current(&self, at: &[u8]) -> Result<Option<Node>, StoreError> {
        match self.batch.writes.get(&(Table::Tree, at.to_vec())) {
            Some(None) => Ok(None),
            Some(Some(bytes)) => codec::decode(bytes, MAX_NODE_BYTES)
                .map(Some)
                .map_err(|_| StoreError::Damaged { table: Table::Tree, key: at.to_vec() }),
            None => load(self.view, at),
        }
    }
}

/// Where the two halves of the node at `depth` on the path of `any` are stored.
fn children(any: &Digest, depth: usize) -> (Vec<u8>, Vec<u8>) {
    let mut bytes = *any.as_bytes();
    let bit = 0x80 >> (depth % 8);
    bytes[depth / 8] &= !bit;
    let left = location(&Digest::from(bytes), depth + 1);
    bytes[depth / 8] |= bit;
    (left, location(&Digest::from(bytes), depth + 1))
}

/// Proof that a key of the state has a certain value, or none, under a certain root. It needs no store and no network.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct StateProof {
    /// The digests beside the path, from the root down.
    siblings: Vec<Digest>,
    /// The entry at the end of the path (its key's and value's digests): the key's own, or another's that shows its absence.
    end: Option<(Digest, Digest)>,
}

impl StateProof {
    /// Whether, under `root`, `key` has `value` (or is absent, for `None`).
    #[must_use]
    pub fn verify(&self, root: &Digest, key: &[u8], value: Option<&[u8]>) -> bool {
        let path = KEY.sha256(&[key]);
        if self.siblings.len() > MAX_DEPTH {
            return false;
        }
        let claim = match (self.end, value) {
            (Some((at, stored)), Some(value)) => at == path && stored == VALUE.sha256(&[value]),
            (Some((at, _)), None) => at != path && shares_path(&at, &path, self.siblings.len()),
            (None, None) => true,
            (None, Some(_)) => false,
        };
        let end = digest_of(self.end.map(|(key, value)| Node::Leaf { key, value }));
        let found = self.siblings.iter().enumerate().rev().fold(end, |below, (depth, sibling)| {
            let (left, right) = if goes_right(&path, depth) { (*sibling, below) } else { (below, *sibling) };
            Node::Inner { left, right }.digest()
        });
        claim && found == *root
    }
}

fn shares_path(a: &Digest, b: &Digest, depth: usize) -> bool {
    (0..depth).all(|bit| goes_right(a, bit) == goes_right(b, bit))
}

/// The proof for `key` in the tree that `view` holds.
pub(crate) fn prove(view: &dyn StoreView, key: &[u8]) -> Result<StateProof, StoreError> {
    let path = KEY.sha256(&[key]);
    let mut siblings = Vec::new();
    for depth in 0..=MAX_DEPTH {
        match load(view, &location(&path, depth))? {
            None => return Ok(StateProof { siblings, end: None }),
            Some(Node::Leaf { key, value }) => return Ok(StateProof { siblings, end: Some((key, value)) }),
            Some(Node::Inner { .. }) if depth == MAX_DEPTH => break,
            Some(Node::Inner { left, right }) => {
                siblings.push(if goes_right(&path, depth) { left } else { right })
            }
        }
    }
    Err(StoreError::Damaged { table: Table::Tree, key: location(&path, MAX_DEPTH) })
}

#[cfg(test)]
mod tests {
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
                let (right, left): (Vec<_>, Vec<_>) = entries
                    .iter()
                    .partition(|(key, _)| key.as_bytes()[depth / 8] >> (7 - depth % 8) & 1 == 1);
                INNER.sha256(&[naive(&left, depth + 1).as_bytes(), naive(&right, depth + 1).as_bytes()])
            }
        }
    }

    fn apply(store: &MemoryStore, changes: &Changes) -> Digest {
        let mut batch = Batch::default();
        let root = update(&*store.view().unwrap(), changes, &mut batch).unwrap();
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

    #[test]
    fn a_path_without_end_is_damage() {
        let store = MemoryStore::default();
        let mut batch = Batch::default();
        let path = KEY.sha256(&[b"key"]);
        let endless = Node::Inner { left: digest_of(None), right: digest_of(None) };
        for depth in 0..=MAX_DEPTH {
            batch.put(Table::Tree, location(&path, depth), codec::encode(&endless));
        }
        store.commit(batch).unwrap();
        let view = store.view().unwrap();
        let changes: Changes = [(b"key".to_vec(), Some(vec![]))].into();
        let damaged = |error| matches!(error, StoreError::Damaged { table: Table::Tree, .. });
        assert!(damaged(prove(&*view, b"key").unwrap_err()));
        assert!(damaged(update(&*view, &changes, &mut Batch::default()).unwrap_err()));
    }
}
