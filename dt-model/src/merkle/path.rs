//! Which hashes a proof consists of: the ranges of leaves whose tree hashes stand in it, from the leaves up.
//!
//! Each such range is a perfect subtree or reaches the end of the tree; either way, [`CompactRange::root`](super::CompactRange::root)
//! is its hash.

use core::ops::Range;

/// The audit path of leaf `index` in a tree of `size` leaves (RFC 6962, section 2.1.1). Empty if it has no such leaf.
#[must_use]
pub fn inclusion_path(index: u64, size: u64) -> Vec<Range<u64>> {
    let mut path = Vec::new();
    let (mut start, mut end) = (0, size);
    while index < size && end - start > 1 {
        let middle = middle(start, end);
        if index < middle {
            path.push(middle..end);
            end = middle;
        } else {
            path.push(start..middle);
            start = middle;
        }
    }
    path.reverse();
    path
}

/// The consistency proof from the tree of the first `from` leaves to that of `to` (RFC 6962, section 2.1.2). Empty where there is
/// nothing to prove: from the empty tree, to the same tree; and where nothing can be, from more leaves to less.
#[must_use]
pub fn consistency_path(from: u64, to: u64) -> Vec<Range<u64>> {
    let mut path = Vec::new();
    let (mut start, mut end) = (0, to);
    if from == 0 || from >= to {
        return path;
    }
    // The old tree's last leaf lies in [start, end), and its end is beyond `end` never.
    while from < end {
        let middle = middle(start, end);
        if from <= middle {
            path.push(middle..end);
            end = middle;
        } else {
            path.push(start..middle);
            start = middle;
        }
    }
    // Where the old tree ends with a subtree of the new one, that is in the proof, unless it is the old tree itself.
    if start > 0 {
        path.push(start..end);
    }
    path.reverse();
    path
}

/// Where the tree over the leaves [start, end), at least two, divides: after the largest power of two of them that is not all.
const fn middle(start: u64, end: u64) -> u64 {
    start + (1 << (end - start - 1).ilog2())
}
