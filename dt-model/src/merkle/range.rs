//! Compact ranges: neighbouring leaves, by the hashes of their maximal perfect subtrees.

use super::{fold, node_hash};
use crate::Digest;

/// A perfect subtree: 2^level leaves from `start` on.
///
/// # Invariant
/// `start` is a multiple of 2^level, and the end is at most 2^64 - 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subtree {
    start: u64,
    level: u32,
}

impl Subtree {
    /// The subtree of 2^`level` leaves from `start` on, if there is one.
    #[must_use]
    pub const fn new(start: u64, level: u32) -> Option<Self> {
        // Up to level 63 the shift does not overflow; whatever starts behind 0 at level 63 ends at 2^64.
        if level >= u64::BITS || start & ((1 << level) - 1) != 0 || start.checked_add(1 << level).is_none() {
            return None;
        }
        Some(Self { start, level })
    }

    /// The index of its first leaf.
    #[must_use]
    pub const fn start(self) -> u64 {
        self.start
    }

    /// The logarithm of its number of leaves: 0 for one leaf.
    #[must_use]
    pub const fn level(self) -> u32 {
        self.level
    }

    /// One past the index of its last leaf.
    #[must_use]
    pub const fn end(self) -> u64 {
        self.start + (1 << self.level)
    }

    /// The left half of the tree whose right half this is, if it is one.
    const fn left_sibling(self) -> Option<Self> {
        let size = 1 << self.level;
        if self.start & size == 0 { None } else { Some(Self { start: self.start - size, level: self.level }) }
    }
}

/// The maximal perfect subtrees of the leaves [start, end), in order: at most 126.
pub fn subtrees(start: u64, end: u64) -> impl Iterator<Item = Subtree> {
    let mut at = start;
    core::iter::from_fn(move || {
        let room = end.checked_sub(at)?.checked_ilog2()?;
        // `trailing_zeros` of 0 is 64: any subtree may start there.
        let subtree = Subtree { start: at, level: room.min(at.trailing_zeros()) };
        at = subtree.end();
        Some(subtree)
    })
}

/// The hashes of the maximal perfect subtrees of the leaves [start, end).
///
/// # Invariant
/// There is one hash for each of [`subtrees`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompactRange {
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) hashes: Vec<Digest>,
}

impl CompactRange {
    /// The empty range before leaf `start`.
    #[must_use]
    pub const fn empty(start: u64) -> Self {
        Self { start, end: start, hashes: Vec::new() }
    }

    /// The range whose maximal subtrees have these `hashes`, if that is their number.
    #[must_use]
    pub fn new(start: u64, end: u64, hashes: Vec<Digest>) -> Option<Self> {
        let fits = start <= end && subtrees(start, end).count() == hashes.len();
        fits.then_some(Self { start, end, hashes })
    }

    /// The index of its first leaf.
    #[must_use]
    pub const fn start(&self) -> u64 {
        self.start
    }

    /// One past the index of its last leaf.
    #[must_use]
    pub const fn end(&self) -> u64 {
        self.end
    }

    /// The hashes of its maximal subtrees, in order.
    #[must_use]
    pub fn hashes(&self) -> &[Digest] {
        &self.hashes
    }

    /// The hashes of its maximal subtrees, in order.
    #[must_use]
    pub fn into_hashes(self) -> Vec<Digest> {
        self.hashes
    }

    /// Its maximal subtrees with their hashes, in order.
    pub fn parts(&self) -> impl Iterator<Item = (Subtree, Digest)> + '_ {
        subtrees(self.start, self.end).zip(self.hashes.iter().copied())
    }

    /// The RFC 6962 tree hash of its leaves, if they lie where such a hash is part of a tree: from a multiple of a power of two that is
    /// not less than their number.
    #[must_use]
    pub fn root(&self) -> Option<Digest> {
        let levels = subtrees(self.start, self.end).map(Subtree::level);
        // From there on the subtrees only get smaller, as in a tree that starts at 0.
        levels.is_sorted_by(|a, b| a > b).then(|| fold(&self.hashes))
    }

    /// Appends a subtree; `None`, and no change, if it does not start where the range ends.
    #[must_use = "a subtree that does not follow is not appended"]
    pub fn push(&mut self, subtree: Subtree, hash: Digest) -> Option<()> {
        self.push_visiting(subtree, hash, |_, _| ())
    }

    /// Appends one leaf; `None`, and no change, if there are 2^64 - 1 already.
    #[must_use = "a leaf for which there is no room is not appended"]
    pub fn push_leaf(&mut self, hash: Digest) -> Option<()> {
        self.push(Subtree::new(self.end, 0)?, hash)
    }

    /// Appends a subtree, and shows it and each larger one that it completes to `visit`, from the smallest up; otherwise as
    /// [`CompactRange::push`].
    #[must_use = "a subtree that does not follow is not appended"]
    pub fn push_visiting(
        &mut self,
        subtree: Subtree,
        hash: Digest,
        mut visit: impl FnMut(Subtree, Digest),
    ) -> Option<()> {
        if subtree.start != self.end {
            return None;
        }
        let (mut whole, mut hash) = (subtree, hash);
        visit(whole, hash);
        // The last maximal subtree is the sibling of the new one exactly if it has its size and lies inside.
        while let Some(left) = whole.left_sibling()
            && left.start >= self.start
            && let Some(left_hash) = self.hashes.pop()
        {
            hash = node_hash(&left_hash, &hash);
            whole = Subtree { start: left.start, level: left.level + 1 };
            visit(whole, hash);
        }
        self.hashes.push(hash);
        self.end = subtree.end();
        Some(())
    }

    /// Appends what follows directly; `None`, and no change, if it does not.
    #[must_use = "a range that does not follow is not appended"]
    pub fn extend(&mut self, next: &Self) -> Option<()> {
        if next.start != self.end {
            return None;
        }
        next.parts().try_for_each(|(subtree, hash)| self.push(subtree, hash))
    }
}

/// The hash of `wanted`, put together from those of the `parts` that lie in it, if they fill it in order.
#[must_use]
pub fn gather(parts: impl IntoIterator<Item = (Subtree, Digest)>, wanted: Subtree) -> Option<Digest> {
    let inside = |part: &Subtree| part.start >= wanted.start && part.end() <= wanted.end();
    let mut range = CompactRange::empty(wanted.start);
    for (part, hash) in parts.into_iter().filter(|(part, _)| inside(part)) {
        range.push(part, hash)?;
    }
    match range.hashes[..] {
        [hash] if range.end == wanted.end() => Some(hash),
        _ => None,
    }
}
