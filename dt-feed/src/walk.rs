//! How a reader finds its way: the descriptions of segments, the search among them, and the hashes that they give.

use dt_model::merkle::{Subtree, Tree, gather, subtrees};
use dt_model::{Digest, Timestamp};

use crate::head::{Floor, SignedHead};
use crate::policy::Keys;
use crate::reader::{ReadError, Reader};
use crate::repair::get_segment;
use crate::segment::SignedSegment;

/// How many descriptions a reader remembers: some hundred bytes each, and a search visits few.
const CACHED_SEGMENTS: usize = 1024;

impl<K: Keys> Reader<'_, K> {
    /// Checks that `head` extends `floor`, whose whole tree is `known` if the reader saw the head.
    pub(crate) async fn check_floor(
        &mut self,
        head: &SignedHead,
        floor: Floor,
        known: Option<Tree>,
        now: Timestamp,
    ) -> Result<(), ReadError> {
        if head.size() < floor.size {
            return Err(ReadError::RolledBack { floor, size: head.size() });
        }
        let tree = match known {
            Some(tree) => tree,
            None if floor.size == head.size() => head.tree.clone(),
            // A floor is some head's, so a segment starts where it ends.
            None => self.find(head, floor.size, now).await?.before.clone(),
        };
        let is_floor = tree.size() == floor.size && tree.root() == floor.root;
        if is_floor && self.extends(head, &tree, now).await? {
            return Ok(());
        }
        self.segments.clear();
        Err(ReadError::NotAnExtension { floor })
    }

    /// Whether the tree of `head` is `tree` and what later segments add.
    pub(crate) async fn extends(
        &mut self,
        head: &SignedHead,
        tree: &Tree,
        now: Timestamp,
    ) -> Result<bool, ReadError> {
        let mut range = tree.range();
        for subtree in subtrees(tree.size(), head.size()) {
            let hash = self.subtree(head, subtree, now).await?;
            range.push(subtree, hash).ok_or(ReadError::Inconsistent)?;
        }
        Ok(range == head.tree.range())
    }

    /// The hash of a subtree that is a peak of the head's tree, or ends in a segment that does not hold its sibling as well.
    pub(crate) async fn subtree(
        &mut self,
        head: &SignedHead,
        subtree: Subtree,
        now: Timestamp,
    ) -> Result<Digest, ReadError> {
        if let Some((_, hash)) = head.tree.range().parts().find(|(peak, _)| *peak == subtree) {
            return Ok(hash);
        }
        let segment = self.find(head, subtree.end() - 1, now).await?;
        let added = segment.added_range().ok_or(ReadError::Inconsistent)?;
        match gather(segment.before.range().parts().chain(added.parts()), subtree) {
            Some(hash) => Ok(hash),
            None => Err(self.inconsistent()),
        }
    }

    /// The segment that covers the entry `index`, which `head` covers.
    pub(crate) async fn find(
        &mut self,
        head: &SignedHead,
        index: u64,
        now: Timestamp,
    ) -> Result<SignedSegment, ReadError> {
        let (mut start, mut end) = (0, head.segments);
        // Where batches are of one size the first guess is right.
        let guess = u128::from(index) * u128::from(end) / u128::from(head.size().max(1));
        let mut probe = u64::try_from(guess).unwrap_or(0).min(end.saturating_sub(1));
        while start < end {
            let segment = self.segment(probe, now).await?;
            if index < segment.first() {
                end = probe;
            } else if index >= segment.end() {
                start = probe + 1;
            } else {
                return Ok(segment);
            }
            probe = start + (end.saturating_sub(start)) / 2;
        }
        Err(self.inconsistent())
    }

    /// The number of segments of which `before` holds: those come first.
    pub(crate) async fn partition(
        &mut self,
        head: &SignedHead,
        before: impl Fn(&SignedSegment) -> bool,
        now: Timestamp,
    ) -> Result<u64, ReadError> {
        let (mut start, mut end) = (0, head.segments);
        while start < end {
            let middle = start + (end - start) / 2;
            if before(&self.segment(middle, now).await?) {
                start = middle + 1;
            } else {
                end = middle;
            }
        }
        Ok(start)
    }

    /// The description of a segment that a head covers, which therefore never changes.
    pub(crate) async fn segment(&mut self, index: u64, now: Timestamp) -> Result<SignedSegment, ReadError> {
        if let Some(segment) = self.segments.get(&index) {
            return Ok(segment.clone());
        }
        let segment = get_segment(self.client, &self.manifest, index, now).await?;
        let segment = segment.ok_or(ReadError::Gap { segment: index })?;
        if self.segments.len() >= CACHED_SEGMENTS {
            self.segments.pop_first();
        }
        self.segments.insert(index, segment.clone());
        Ok(segment)
    }

    /// Forgets the descriptions, of which at least one is wrong.
    pub(crate) fn inconsistent(&mut self) -> ReadError {
        self.segments.clear();
        ReadError::Inconsistent
    }
}
