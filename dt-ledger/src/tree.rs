//! The authenticated state: a Merkle map from the keys of the state to their values, updated along the changed paths only.
//!
//! A binary trie over the bits of SHA-256(key); a subtree with one entry is that entry's leaf, so that a path is about log2(n) long.
//! The shape depends on the set of keys alone, hence so does the root. Only the current tree is kept: nothing needs pruning.
//!
//! # Storage
//! A row of [`Table::Tree`] is a page: an inner node whose depth is a multiple of [`PAGE_LEVELS`], with what is below it as far as the
//! tops of the next pages. So a path is a few rows, and a leaf is in the page of its parent. Nodes follow each other in preorder:
//!
//! ```text
//! nothing  0
//! leaf     1, digest of the key, digest of the value
//! inner    2, digest, and unless a page of its own has them: left half, right half
//! ```
//!
//! A page's key is the bits that lead to its top, a one, and zeros up to a whole byte: so pages of one path lie close together. The
//! page at depth 0 alone may be a leaf; it is absent in a map without entries.
//!
//! Written here because the well-kept alternative (jmt) keeps every version of every node until it is pruned, and brings two dozen
//! dependencies of a former generation of the hashing crates; see the crate's documentation.

use std::borrow::Cow;
use std::collections::BTreeMap;

use borsh::{BorshDeserialize, BorshSerialize};
use dt_model::{Digest, Domain};

use crate::parallel::Threads;
use crate::store::{Batch, StoreError, StoreView, Table};

const KEY: Domain = Domain::new("dt/ledger/state-key/v1");
const VALUE: Domain = Domain::new("dt/ledger/state-value/v1");
const LEAF: Domain = Domain::new("dt/ledger/state-leaf/v1");
const INNER: Domain = Domain::new("dt/ledger/state-inner/v1");

/// The root of a map without entries.
pub(crate) const EMPTY_ROOT: Digest = Digest::ZERO;
/// Bits in a key's digest: no path is longer.
const MAX_DEPTH: usize = 256;
/// Levels of inner nodes in a page: measured, as a compromise between the number of rows that a path has and their length.
const PAGE_LEVELS: usize = 5;
/// The bytes of a digest.
const DIGEST: usize = 32;

/// What stands at a place of the tree, as its parent needs to know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Node {
    Empty,
    /// The one entry of this subtree: the digests of its key and value.
    Leaf {
        key: Digest,
        value: Digest,
    },
    /// At least two entries: the digest over both halves.
    Inner(Digest),
}

impl Node {
    fn digest(&self) -> Digest {
        match self {
            Self::Empty => EMPTY_ROOT,
            Self::Leaf { key, value } => LEAF.sha256(&[key.as_bytes(), value.as_bytes()]),
            Self::Inner(digest) => *digest,
        }
    }

    /// Writes the node to the end of a page; an inner one without its halves.
    fn append(&self, page: &mut Vec<u8>) {
        match self {
            Self::Empty => page.push(0),
            Self::Leaf { key, value } => {
                page.push(1);
                page.extend_from_slice(key.as_bytes());
                page.extend_from_slice(value.as_bytes());
            }
            Self::Inner(digest) => {
                page.push(2);
                page.extend_from_slice(digest.as_bytes());
            }
        }
    }

    /// The node that begins `page`, and what comes after it: first its halves, if the page has them.
    fn split_from(page: &[u8]) -> Option<(Self, &[u8])> {
        let (tag, rest) = page.split_first()?;
        let digest = |rest: &[u8], at: usize| {
            let bytes: [u8; DIGEST] = rest.get(at..at + DIGEST)?.try_into().ok()?;
            Some(Digest::from(bytes))
        };
        match tag {
            0 => Some((Self::Empty, rest)),
            1 => Some((
                Self::Leaf { key: digest(rest, 0)?, value: digest(rest, DIGEST)? },
                rest.get(2 * DIGEST..)?,
            )),
            2 => Some((Self::Inner(digest(rest, 0)?), rest.get(DIGEST..)?)),
            _ => None,
        }
    }
}

fn inner_digest(left: &Digest, right: &Digest) -> Digest {
    INNER.sha256(&[left.as_bytes(), right.as_bytes()])
}

/// Whether bit `depth` of `key` is set, from the most significant one on: then its path goes right.
fn goes_right(key: &Digest, depth: usize) -> bool {
    key.as_bytes()[depth / 8] & (0x80 >> (depth % 8)) != 0
}

/// Whether an inner node at `depth` is the top of a page.
const fn is_top(depth: usize) -> bool {
    depth.is_multiple_of(PAGE_LEVELS)
}

/// The key of the page whose top is at `depth`, below [`MAX_DEPTH`], on the path of `key`.
fn page_key(key: &Digest, depth: usize) -> Vec<u8> {
    let mut bits = key.as_bytes()[..=depth / 8].to_vec();
    if let Some(last) = bits.last_mut() {
        let used = depth % 8;
        *last = *last & !(0xff >> used) | 0x80 >> used;
    }
    bits
}

fn damaged(page: Vec<u8>) -> StoreError {
    StoreError::Damaged { table: Table::Tree, key: page }
}

/// The bytes of the first node of `page`, at `depth` but not its top, with its halves if the page has them; and the rest.
fn split_subtree(page: &[u8], depth: usize) -> Option<(&[u8], &[u8])> {
    let (node, mut rest) = Node::split_from(page)?;
    if matches!(node, Node::Inner(_)) && !is_top(depth) {
        rest = split_subtree(rest, depth + 1)?.1;
        rest = split_subtree(rest, depth + 1)?.1;
    }
    page.split_at_checked(page.len() - rest.len())
}

/// Both halves of the inner node at `depth` whose bytes go on with `rest`.
fn split_halves(rest: &[u8], depth: usize) -> Option<(&[u8], &[u8])> {
    let (left, rest) = split_subtree(rest, depth + 1)?;
    let (right, rest) = split_subtree(rest, depth + 1)?;
    rest.is_empty().then_some((left, right))
}

/// The page whose top is an inner node of this digest, at `depth` on the path of `key`: its bytes behind the top.
fn load(view: &dyn StoreView, key: &Digest, depth: usize, digest: &Digest) -> Result<Vec<u8>, StoreError> {
    let at = page_key(key, depth);
    let page = view.get(Table::Tree, &at)?;
    match page {
        Some(page) if Node::split_from(&page).is_some_and(|(node, _)| node == Node::Inner(*digest)) => {
            Ok(page)
        }
        _ => Err(damaged(at)),
    }
}

/// The page at depth 0.
fn load_first(view: &dyn StoreView) -> Result<Vec<u8>, StoreError> {
    let page = view.get(Table::Tree, &page_key(&Digest::ZERO, 0))?;
    Ok(page.unwrap_or_else(|| vec![0]))
}

/// The root of the tree that `view` holds.
pub(crate) fn root(view: &dyn StoreView) -> Result<Digest, StoreError> {
    match Node::split_from(&load_first(view)?) {
        Some((node, _)) => Ok(node.digest()),
        None => Err(damaged(page_key(&Digest::ZERO, 0))),
    }
}

/// Applies `changes` (of the state: key → value or removal) to the tree in `view`: the new root, and the pages to write into `batch`.
pub(crate) fn update(
    view: &dyn StoreView,
    changes: &BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    batch: &mut Batch,
    threads: Threads,
) -> Result<Digest, StoreError> {
    if changes.is_empty() {
        return root(view);
    }
    let threads = threads.at_most(changes.len(), WORTH_A_THREAD);
    let changes = digests(changes, threads);
    let mut update = Update { view, pages: Vec::new(), threads };
    let (stored, mut page) = (load_first(view)?, Vec::new());
    let top = update.subtree(0, &stored, &changes, &mut page)?;
    update.pages.push((page_key(&Digest::ZERO, 0), (top != Node::Empty).then_some(page)));
    batch.extend(Table::Tree, update.pages);
    Ok(top.digest())
}

/// The digest of a key, and the digest of its value or `None` if the key is removed.
type Change = (Digest, Option<Digest>);

/// Fewer changes than this are not worth another thread.
const WORTH_A_THREAD: usize = 128;

/// The changes by the digests of their keys, sorted.
fn digests(changes: &BTreeMap<Vec<u8>, Option<Vec<u8>>>, threads: Threads) -> Vec<Change> {
    let digest = |(key, value): (&Vec<u8>, &Option<Vec<u8>>)| {
        (KEY.sha256(&[key]), value.as_ref().map(|value| VALUE.sha256(&[value])))
    };
    let half = if threads.is_one() { 0 } else { changes.len() / 2 };
    let (mut all, others) = threads.both(
        || changes.iter().skip(half).map(digest).collect::<Vec<_>>(),
        || changes.iter().take(half).map(digest).collect::<Vec<_>>(),
    );
    all.extend(others);
    all.sort_unstable();
    all
}

struct Update<'a> {
    view: &'a dyn StoreView,
    /// The pages that changed.
    pages: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    /// How many threads may work on what is below.
    threads: Threads,
}

impl Update<'_> {
    /// Applies sorted `changes`, which all lie below `depth`, to what is `stored` there; appends to `page` what comes of it, but for
    /// what belongs to pages below, and returns it.
    fn apply(
        &mut self,
        depth: usize,
        stored: &[u8],
        changes: &[Change],
        page: &mut Vec<u8>,
    ) -> Result<Node, StoreError> {
        let Some((any, _)) = changes.first() else {
            page.extend_from_slice(stored);
            return Node::split_from(stored).map(|(node, _)| node).ok_or_else(|| damaged(Vec::new()));
        };
        if !is_top(depth) || depth >= MAX_DEPTH {
            return self.subtree(depth, stored, changes, page);
        }
        let before = match Node::split_from(stored) {
            Some((Node::Inner(digest), _)) => Cow::Owned(load(self.view, any, depth, &digest)?),
            _ => Cow::Borrowed(stored),
        };
        let mut after = Vec::with_capacity(before.len() + SPARE);
        let node = self.subtree(depth, &before, changes, &mut after)?;
        if matches!(node, Node::Inner(_)) {
            self.pages.push((page_key(any, depth), Some(after)));
        } else if matches!(before, Cow::Owned(_)) {
            self.pages.push((page_key(any, depth), None));
        }
        node.append(page);
        Ok(node)
    }

    /// The same where the page has the halves of an inner node.
    fn subtree(
        &mut self,
        depth: usize,
        stored: &[u8],
        changes: &[Change],
        page: &mut Vec<u8>,
    ) -> Result<Node, StoreError> {
        let here = || {
            damaged(changes.first().map_or(Vec::new(), |(key, _)| page_key(key, depth.min(MAX_DEPTH - 1))))
        };
        let (node, rest) = Node::split_from(stored).ok_or_else(here)?;
        let (left, right) = match (node, changes) {
            (Node::Leaf { key: there, .. }, [(key, None)]) if there != *key => {
                node.append(page);
                return Ok(node);
            }
            (Node::Empty, [(key, value)]) => return Ok(entry(key, value, page)),
            (Node::Leaf { key: there, .. }, [(key, value)]) if there == *key => {
                return Ok(entry(key, value, page));
            }
            _ if depth >= MAX_DEPTH => return Err(here()),
            (Node::Empty, _) => (NOTHING, NOTHING),
            (Node::Leaf { key, .. }, _) if goes_right(&key, depth) => (NOTHING, stored),
            (Node::Leaf { .. }, _) => (stored, NOTHING),
            (Node::Inner(_), _) => split_halves(rest, depth).ok_or_else(here)?,
        };
        let start = page.len();
        Node::Inner(EMPTY_ROOT).append(page);
        let (left_changes, right_changes) =
            changes.split_at(changes.partition_point(|(key, _)| !goes_right(key, depth)));
        let [left, right] = self.halves(depth + 1, [(left, left_changes), (right, right_changes)], page)?;
        let node = match (left, right) {
            // One entry alone is its leaf, wherever it stood; an inner half stays below.
            (Node::Empty, leaf @ (Node::Leaf { .. } | Node::Empty))
            | (leaf @ Node::Leaf { .. }, Node::Empty) => {
                page.truncate(start);
                leaf.append(page);
                leaf
            }
            (left, right) => {
                let digest = inner_digest(&left.digest(), &right.digest());
                page[start + 1..=start + DIGEST].copy_from_slice(digest.as_bytes());
                Node::Inner(digest)
            }
        };
        Ok(node)
    }

    /// Applies changes to both halves, `depth` deep, of a node, each to what is stored there: on two threads, if there are so many.
    fn halves(
        &mut self,
        depth: usize,
        [(left, left_changes), (right, right_changes)]: [(&[u8], &[Change]); 2],
        page: &mut Vec<u8>,
    ) -> Result<[Node; 2], StoreError> {
        if self.threads.is_one() {
            return Ok([
                self.apply(depth, left, left_changes, page)?,
                self.apply(depth, right, right_changes, page)?,
            ]);
        }
        let (both, view) = (self.threads, self.view);
        let [ours, theirs] = both.halves();
        self.threads = ours;
        let (left, right) = both.both(
            || self.apply(depth, left, left_changes, page),
            || {
                let mut other = Update { view, pages: Vec::new(), threads: theirs };
                let mut page = Vec::new();
                let node = other.apply(depth, right, right_changes, &mut page)?;
                Ok((node, page, other.pages))
            },
        );
        let (left, (right, end, pages)) = (left?, right?);
        page.extend(end);
        self.pages.extend(pages);
        Ok([left, right])
    }
}

/// Bytes of a page where nothing stands.
const NOTHING: &[u8] = &[0];
/// By so much a page may grow before it moves in memory: two new entries.
const SPARE: usize = 256;

/// Appends what one change makes of nothing, or of its own leaf.
fn entry(key: &Digest, value: &Option<Digest>, page: &mut Vec<u8>) -> Node {
    let node = value.map_or(Node::Empty, |value| Node::Leaf { key: *key, value });
    node.append(page);
    node
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
        let end = self.end.map_or(Node::Empty, |(key, value)| Node::Leaf { key, value }).digest();
        let found = self.siblings.iter().enumerate().rev().fold(end, |below, (depth, sibling)| {
            let (left, right) = if goes_right(&path, depth) { (sibling, &below) } else { (&below, sibling) };
            inner_digest(left, right)
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
    let mut page = load_first(view)?;
    let mut depth = 0;
    loop {
        let top = depth;
        let here = || damaged(page_key(&path, top));
        let mut stored = page.as_slice();
        page = loop {
            let (node, rest) = Node::split_from(stored).ok_or_else(here)?;
            match node {
                Node::Empty => return Ok(StateProof { siblings, end: None }),
                Node::Leaf { key, value } => return Ok(StateProof { siblings, end: Some((key, value)) }),
                Node::Inner(_) if depth >= MAX_DEPTH => return Err(here()),
                Node::Inner(digest) if is_top(depth) && depth > top => {
                    break load(view, &path, depth, &digest)?;
                }
                Node::Inner(_) => {
                    let (left, right) = split_halves(rest, depth).ok_or_else(here)?;
                    let (half, sibling) =
                        if goes_right(&path, depth) { (right, left) } else { (left, right) };
                    let (sibling, _) = Node::split_from(sibling).ok_or_else(here)?;
                    siblings.push(sibling.digest());
                    stored = half;
                    depth += 1;
                }
            }
        };
    }
}

#[cfg(test)]
mod tests;
