//! A log at one moment, in the form in which it can go on.

use borsh::{BorshDeserialize, BorshSerialize};

use super::{CompactRange, fold, subtrees};
use crate::Digest;

/// A log at one moment: how many leaves it has, and the root and peaks of its tree.
///
/// # Invariant
/// There is one peak for each bit that is set in the size.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize)]
pub struct Tree {
    size: u64,
    peaks: Vec<Digest>,
}

impl Tree {
    /// The tree of no leaves.
    #[must_use]
    pub const fn empty() -> Self {
        Self { size: 0, peaks: Vec::new() }
    }

    /// The tree of `size` leaves with these `peaks`, if that is their number.
    #[must_use]
    pub fn new(size: u64, peaks: Vec<Digest>) -> Option<Self> {
        (peaks.len() == size.count_ones() as usize).then_some(Self { size, peaks })
    }

    /// The number of leaves.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The hashes of its maximal perfect subtrees, largest first.
    #[must_use]
    pub fn peaks(&self) -> &[Digest] {
        &self.peaks
    }

    /// The root hash of RFC 6962, section 2.1.
    #[must_use]
    pub fn root(&self) -> Digest {
        fold(&self.peaks)
    }

    /// Whether `self` and `other` agree in the perfect subtrees that both have; where they do not, neither extends the other.
    #[must_use]
    pub fn agrees_with(&self, other: &Self) -> bool {
        let mine = subtrees(0, self.size).zip(&self.peaks);
        let theirs = subtrees(0, other.size).zip(&other.peaks);
        mine.zip(theirs).take_while(|(a, b)| a.0 == b.0).all(|(a, b)| a.1 == b.1)
    }

    /// All its leaves.
    #[must_use]
    pub fn range(&self) -> CompactRange {
        self.clone().into()
    }

    /// The tree after `added` was appended; `None` if that does not follow directly.
    #[must_use]
    pub fn extended(&self, added: &CompactRange) -> Option<Self> {
        let mut range = self.range();
        range.extend(added)?;
        Self::new(range.end(), range.into_hashes())
    }
}

impl From<Tree> for CompactRange {
    fn from(tree: Tree) -> Self {
        Self { start: 0, end: tree.size, hashes: tree.peaks }
    }
}

impl BorshDeserialize for Tree {
    fn deserialize_reader<R: borsh::io::Read>(reader: &mut R) -> borsh::io::Result<Self> {
        let (size, peaks) = <(u64, Vec<Digest>)>::deserialize_reader(reader)?;
        Self::new(size, peaks).ok_or_else(|| borsh::io::ErrorKind::InvalidData.into())
    }
}
