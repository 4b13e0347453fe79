//! RFC 6962 Merkle trees, held as compact ranges: no more than 64 hashes for a log of any length.
//!
//! A *block* is a perfect subtree, 2^level leaves from a multiple of 2^level on. Any range of leaves [start, end) falls into at most 127
//! maximal blocks, in one way; their hashes are the range's compact form. Those of [0, n) are the *peaks* of the tree of *n* leaves:
//! its root follows from them (RFC 6962, section 2.1), and the peaks of a longer tree follow from them and the hashes of the range that
//! was appended. That makes a compact range a consistency proof (RFC 6962, section 2.1.2) whose hashes anybody can use again.

use borsh::{BorshDeserialize, BorshSerialize};
use dt_model::Digest;
use sha2::{Digest as _, Sha256};

/// The leaf hash of RFC 6962, section 2.1: SHA-256 over 0x00 and the concatenated `parts`.
pub(crate) fn leaf_hash(parts: &[&[u8]]) -> Digest {
    let mut hasher = Sha256::new_with_prefix([0x00]);
    parts.iter().for_each(|part| hasher.update(part));
    Digest::from(<[u8; 32]>::from(hasher.finalize()))
}

/// The node hash of RFC 6962, section 2.1: SHA-256 over 0x01, the left and the right hash.
fn node_hash(left: &Digest, right: &Digest) -> Digest {
    let mut hasher = Sha256::new_with_prefix([0x01]);
    hasher.update(left);
    hasher.update(right);
    Digest::from(<[u8; 32]>::from(hasher.finalize()))
}

/// A perfect subtree: the 2^level leaves from `start` on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Block {
    pub(crate) start: u64,
    pub(crate) level: u32,
}

impl Block {
    /// One past its last leaf; saturating, since the last block of all would end at 2^64.
    pub(crate) const fn end(self) -> u64 {
        self.start.saturating_add(1 << self.level)
    }
}

/// The maximal blocks of [start, end), in order.
pub(crate) fn blocks(start: u64, end: u64) -> impl Iterator<Item = Block> {
    let mut at = start;
    core::iter::from_fn(move || {
        let room = end.checked_sub(at)?.checked_ilog2()?;
        // `trailing_zeros` of 0 is 64: any block may start there.
        let block = Block { start: at, level: room.min(at.trailing_zeros()) };
        at = block.end();
        Some(block)
    })
}

/// The hashes of the maximal blocks of [start, end).
///
/// # Invariant
/// There is one hash for each of [`blocks`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Range {
    start: u64,
    end: u64,
    hashes: Vec<Digest>,
}

impl Range {
    /// The empty range before leaf `start`.
    pub(crate) const fn empty(start: u64) -> Self {
        Self { start, end: start, hashes: Vec::new() }
    }

    /// The range whose blocks have these `hashes`, if that is their number.
    pub(crate) fn new(start: u64, end: u64, hashes: &[Digest]) -> Option<Self> {
        (start <= end && blocks(start, end).count() == hashes.len()).then(|| Self {
            start,
            end,
            hashes: hashes.to_vec(),
        })
    }

    pub(crate) fn into_hashes(self) -> Vec<Digest> {
        self.hashes
    }

    /// Its blocks with their hashes, in order.
    pub(crate) fn parts(&self) -> impl Iterator<Item = (Block, Digest)> + '_ {
        blocks(self.start, self.end).zip(self.hashes.iter().copied())
    }

    /// Appends a block; `None`, and no change, if it does not start where the range ends.
    pub(crate) fn push(&mut self, block: Block, hash: Digest) -> Option<()> {
        if block.start != self.end {
            return None;
        }
        let end = block.start.checked_add(1 << block.level)?;
        let (mut start, mut level, mut hash) = (block.start, block.level, hash);
        // The last block is the sibling of the new one exactly if it has its size and their parent is aligned and inside.
        while level < 63 && start & (1 << level) != 0 && start - (1 << level) >= self.start {
            let Some(left) = self.hashes.pop() else { break };
            hash = node_hash(&left, &hash);
            start -= 1 << level;
            level += 1;
        }
        self.hashes.push(hash);
        self.end = end;
        Some(())
    }

    /// Appends one leaf.
    pub(crate) fn push_leaf(&mut self, hash: Digest) -> Option<()> {
        self.push(Block { start: self.end, level: 0 }, hash)
    }

    /// Appends what follows directly; `None` if it does not, or if there is no room up to leaf 2^64.
    pub(crate) fn extend(&mut self, next: &Self) -> Option<()> {
        if next.start != self.end {
            return None;
        }
        next.parts().try_for_each(|(block, hash)| self.push(block, hash))
    }
}

/// The hash of the subtree over neighbouring peaks, of which each is smaller than the one before; of none, the hash of nothing.
fn fold<'a>(hashes: impl DoubleEndedIterator<Item = &'a Digest>) -> Digest {
    let root = hashes.rev().copied().reduce(|right, left| node_hash(&left, &right));
    root.unwrap_or_else(|| Digest::from(<[u8; 32]>::from(Sha256::digest([]))))
}

/// The hash of `wanted`, put together from the `parts` that lie in it, if they fill it.
pub(crate) fn gather(parts: impl IntoIterator<Item = (Block, Digest)>, wanted: Block) -> Option<Digest> {
    let inside = |block: &Block| block.start >= wanted.start && block.end() <= wanted.end();
    let mut range = Range::empty(wanted.start);
    for (block, hash) in parts.into_iter().filter(|(block, _)| inside(block)) {
        range.push(block, hash)?;
    }
    match range.hashes[..] {
        [hash] if range.end == wanted.end() => Some(hash),
        _ => None,
    }
}

/// The hash of the leaves [start, n) of a tree with the given `peaks`, for a `start` where one of its peaks starts.
pub(crate) fn tail(peaks: &Range, start: u64) -> Option<Digest> {
    let first = peaks.parts().position(|(block, _)| block.start == start)?;
    Some(fold(peaks.hashes[first..].iter()))
}

/// A sibling on the way from a leaf to the root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sibling {
    /// A perfect subtree.
    Block(Block),
    /// All leaves from here to the end of the tree.
    Tail(u64),
}

/// The audit path of leaf `index` in a tree of `size` leaves, from the leaf up (RFC 6962, section 2.1.1). Empty if it has no such leaf.
pub(crate) fn audit_path(index: u64, size: u64) -> Vec<Sibling> {
    let mut path = Vec::new();
    let (mut start, mut end) = (0, size);
    while index < size && end - start > 1 {
        let level = (end - start - 1).ilog2();
        let middle = start + (1 << level);
        if index < middle {
            // The halves of a perfect subtree are perfect; any other one reaches the end of the tree, and so does its right part.
            let perfect = (end - start).is_power_of_two();
            path.push(if perfect {
                Sibling::Block(Block { start: middle, level })
            } else {
                Sibling::Tail(middle)
            });
            end = middle;
        } else {
            path.push(Sibling::Block(Block { start, level }));
            start = middle;
        }
    }
    path.reverse();
    path
}

/// The root that `leaf` at `index` and its audit path give in a tree of `size` leaves (RFC 9162, section 2.1.3.2); `None` if the
/// path has the wrong length.
pub(crate) fn root_from_path(index: u64, size: u64, leaf: Digest, path: &[Digest]) -> Option<Digest> {
    let siblings = audit_path(index, size);
    if index >= size || siblings.len() != path.len() {
        return None;
    }
    Some(siblings.iter().zip(path).fold(leaf, |hash, (sibling, other)| match sibling {
        Sibling::Block(block) if block.start < index && block.end() <= index => node_hash(other, &hash),
        _ => node_hash(&hash, other),
    }))
}

/// A log at one moment: how many entries it has, and the root and peaks of its tree.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize)]
pub struct Tree {
    size: u64,
    peaks: Vec<Digest>,
}

impl Tree {
    /// The tree of no entries.
    #[must_use]
    pub const fn empty() -> Self {
        Self { size: 0, peaks: Vec::new() }
    }

    /// The number of entries.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The hashes of its maximal perfect subtrees, largest first: one for each bit that is set in the size.
    #[must_use]
    pub fn peaks(&self) -> &[Digest] {
        &self.peaks
    }

    /// The root hash of RFC 6962, section 2.1.
    #[must_use]
    pub fn root(&self) -> Digest {
        fold(self.peaks.iter())
    }

    /// Whether `self` and `other` agree in the perfect subtrees that both have; where they do not, neither extends the other.
    #[must_use]
    pub fn agrees_with(&self, other: &Self) -> bool {
        let mine = blocks(0, self.size).zip(&self.peaks);
        let theirs = blocks(0, other.size).zip(&other.peaks);
        mine.zip(theirs).take_while(|(a, b)| a.0 == b.0).all(|(a, b)| a.1 == b.1)
    }

    /// As many peaks as a tree of this size has, all with the hash `peak`.
    #[cfg(feature = "testing")]
    pub(crate) fn of_shape(size: u64, peak: Digest) -> Self {
        Self { size, peaks: vec![peak; size.count_ones() as usize] }
    }

    pub(crate) fn range(&self) -> Range {
        Range { start: 0, end: self.size, hashes: self.peaks.clone() }
    }

    /// The tree after `added` was appended; `None` if that does not follow directly.
    pub(crate) fn extended(&self, added: &Range) -> Option<Self> {
        let mut range = self.range();
        range.extend(added)?;
        Some(Self { size: range.end, peaks: range.into_hashes() })
    }
}

impl BorshDeserialize for Tree {
    fn deserialize_reader<R: borsh::io::Read>(reader: &mut R) -> borsh::io::Result<Self> {
        let (size, peaks) = <(u64, Vec<Digest>)>::deserialize_reader(reader)?;
        if peaks.len() != size.count_ones() as usize {
            return Err(borsh::io::ErrorKind::InvalidData.into());
        }
        Ok(Self { size, peaks })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn leaf(index: u64) -> Digest {
        leaf_hash(&[&index.to_le_bytes()])
    }

    fn range(start: u64, end: u64) -> Range {
        let mut range = Range::empty(start);
        (start..end).for_each(|index| range.push_leaf(leaf(index)).unwrap());
        range
    }

    /// RFC 6962, section 2.1, word for word.
    fn naive_root(leaves: &[Digest]) -> Digest {
        match leaves {
            [] => Digest::from(<[u8; 32]>::from(Sha256::digest([]))),
            [leaf] => *leaf,
            _ => {
                let half = leaves.len().next_power_of_two() / 2;
                node_hash(&naive_root(&leaves[..half]), &naive_root(&leaves[half..]))
            }
        }
    }

    proptest! {
        #[test]
        fn ranges_join_to_the_rfc_root(cuts in prop::collection::vec(0u64..200, 1..6)) {
            let mut cuts = cuts;
            cuts.sort_unstable();
            let mut joined = Range::empty(0);
            let mut at = 0;
            for cut in cuts {
                let next = range(at, cut);
                prop_assert_eq!(next.hashes.len(), blocks(at, cut).count());
                joined.extend(&next).unwrap();
                at = cut;
            }
            prop_assert_eq!(&joined, &range(0, at));
            prop_assert_eq!(fold(joined.hashes.iter()), naive_root(&(0..at).map(leaf).collect::<Vec<_>>()));
        }

        #[test]
        fn paths_lead_to_the_root(size in 1u64..300, pick in any::<prop::sample::Index>()) {
            let index = pick.index(size as usize) as u64;
            let peaks = range(0, size);
            let path: Vec<Digest> = audit_path(index, size).iter().map(|sibling| match sibling {
                Sibling::Block(block) => gather(range(block.start, block.end()).parts(), *block).unwrap(),
                Sibling::Tail(start) => tail(&peaks, *start).unwrap(),
            }).collect();
            prop_assert_eq!(root_from_path(index, size, leaf(index), &path), Some(fold(peaks.hashes.iter())));
            let other = root_from_path(index, size, leaf(index + 1), &path);
            prop_assert_ne!(other, Some(fold(peaks.hashes.iter())));
        }
    }

    #[test]
    fn the_largest_sizes_do_not_overflow() {
        assert_eq!(blocks(0, u64::MAX).count(), 64);
        assert_eq!(blocks(1, u64::MAX).count(), 126);
        assert_eq!(audit_path(u64::MAX - 1, u64::MAX).len(), 63);
        assert!(audit_path(u64::MAX, u64::MAX).is_empty());
        let mut full = Range::new(0, u64::MAX, &[Digest::ZERO; 64]).unwrap();
        assert_eq!(full.push_leaf(Digest::ZERO), None);
        assert_eq!(full.end, u64::MAX);
        assert_eq!(full.hashes.len(), 64);
    }
}
