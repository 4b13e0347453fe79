//! The log of a chain: every transaction that was committed, as received, in one RFC 6962 tree from the genesis on.
//!
//! Its hashes lie in [`Table::Log`] as C2SP's tlog-tiles arrange them (<https://c2sp.org/tlog-tiles>): tile n of level l holds the tree
//! hashes of up to 256 neighbouring perfect subtrees of 256^l leaves each, from number 256 n on. The last tile of a level is written
//! again as it grows; all others stay as they are. What lies between two levels is hashed anew when it is asked for.
//!
//! ```text
//!  level 1   ┌ tile 0: hash of 0.0, 0.1, … ┐                 key: level (u8), number (u64, big endian)
//!  level 0   ┌ tile 0 ┐┌ tile 1 ┐┌ tile 2: partial ┐         value: 1 to 256 hashes of 32 bytes
//! ```
//!
//! # Invariants
//! - Appending and proving read O(log n) tiles. Whoever appends again and again keeps the log's maximal subtrees, and hashes what is new.
//! - No root and no proof is derived from tiles that do not lead to the head's root: a tile that was damaged gives
//!   [`StoreError::Damaged`]. Appending copies the last tile of a level without a look at its hashes; [`load`] has looked.

use std::collections::BTreeMap;

use borsh::{BorshDeserialize, BorshSerialize};
use dt_model::Digest;
use dt_model::merkle::{self, CompactRange, ConsistencyProof, InclusionProof, Subtree, subtrees};
use serde::{Deserialize, Serialize};

use crate::store::{Batch, StoreError, StoreView, Table};

/// Levels of the tree from one level of tiles to the next: a tile is 2^8 hashes wide.
const TILE_HEIGHT: u32 = 8;
const TILE_WIDTH: u64 = 1 << TILE_HEIGHT;
/// Levels of tiles that a log of less than 2^64 leaves can have.
const TILE_LEVELS: u32 = u64::BITS / TILE_HEIGHT;
const HASH_BYTES: usize = 32;

/// A log at one moment: what a header, a certificate or a checkpoint says of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct LogHead {
    /// The number of transactions.
    pub size: u64,
    /// The RFC 6962 root (SHA-256) over them. A leaf is a transaction's bytes as they were received.
    pub root: Digest,
}

impl LogHead {
    /// The log of no transactions.
    #[must_use]
    pub fn empty() -> Self {
        Self { size: 0, root: merkle::root([]) }
    }
}

/// The maximal subtrees of the log that `view` holds, whose head is `head`: what [`append`] goes on from.
///
/// # Errors
/// [`StoreError`]; [`StoreError::Damaged`] if the last tiles do not lead to the root of `head`.
pub(crate) fn load(view: &dyn StoreView, head: LogHead) -> Result<CompactRange, StoreError> {
    let log = Log::new(view, head);
    let mut range = CompactRange::empty(0);
    for level in (0..TILE_LEVELS).rev() {
        for hash in log.last_tile(level)?.hashes() {
            let part = Subtree::new(range.end(), level * TILE_HEIGHT);
            part.and_then(|part| range.push(part, hash)).ok_or_else(|| log.damaged(range.end()))?;
        }
    }
    if range.end() == head.size && range.root() == Some(head.root) {
        Ok(range)
    } else {
        Err(log.damaged(head.size))
    }
}

/// Appends leaves to the log that `view` holds, which has the maximal subtrees `range` and then has more; writes into `batch` the tiles
/// that change. The new head.
///
/// # Errors
/// [`StoreError`]; [`StoreError::Damaged`] if a tile is not as long as it should be.
pub(crate) fn append(
    view: &dyn StoreView,
    range: &mut CompactRange,
    leaf_hashes: impl IntoIterator<Item = Digest>,
    batch: &mut Batch,
) -> Result<LogHead, StoreError> {
    let head = LogHead { size: range.end(), root: Digest::ZERO };
    let log = Log::new(view, head);
    let mut open = (0..TILE_LEVELS).map(|level| log.last_tile(level)).collect::<Result<Vec<_>, _>>()?;
    for hash in leaf_hashes {
        let leaf = Subtree::new(range.end(), 0);
        let pushed = leaf.and_then(|leaf| {
            range.push_visiting(leaf, hash, |subtree, hash| {
                if subtree.level().is_multiple_of(TILE_HEIGHT)
                    && let Some(tile) = open.get_mut((subtree.level() / TILE_HEIGHT) as usize)
                {
                    tile.push(hash, batch);
                }
            })
        });
        // No log gets so long; a head that says so does not describe one.
        pushed.ok_or_else(|| log.damaged(head.size))?;
    }
    open.into_iter().for_each(|tile| tile.close(batch));
    let root = range.root().ok_or_else(|| log.damaged(head.size))?;
    Ok(LogHead { size: range.end(), root })
}

/// The tiles that [`append`] needs of a log: the last, partial one of each level, by its key and its length in bytes.
pub(crate) fn edge(head: &LogHead) -> impl Iterator<Item = (Vec<u8>, usize)> + use<> {
    let size = head.size;
    (0..TILE_LEVELS).filter_map(move |level| {
        let in_level = size >> (level * TILE_HEIGHT);
        // Less than 2^8, whatever `usize` is.
        let width = (in_level % TILE_WIDTH) as usize;
        (width > 0).then(|| (tile_key(level, in_level / TILE_WIDTH), width * HASH_BYTES))
    })
}

/// The last, partial tile of a level while it grows.
struct OpenTile {
    level: u32,
    number: u64,
    bytes: Vec<u8>,
    /// Bytes of it that are stored already.
    stored: usize,
}

impl OpenTile {
    fn hashes(&self) -> impl Iterator<Item = Digest> {
        self.bytes.as_chunks::<HASH_BYTES>().0.iter().map(|hash| Digest::from(*hash))
    }

    fn push(&mut self, hash: Digest, batch: &mut Batch) {
        self.bytes.extend_from_slice(hash.as_bytes());
        if self.bytes.len() == HASH_BYTES << TILE_HEIGHT {
            let bytes = std::mem::take(&mut self.bytes);
            batch.put(Table::Log, tile_key(self.level, self.number), bytes);
            (self.number, self.stored) = (self.number + 1, 0);
        }
    }

    fn close(self, batch: &mut Batch) {
        if self.bytes.len() > self.stored {
            batch.put(Table::Log, tile_key(self.level, self.number), self.bytes);
        }
    }
}

fn tile_key(level: u32, number: u64) -> Vec<u8> {
    // There are eight levels.
    let level = u8::try_from(level).unwrap_or(u8::MAX);
    [&[level][..], &number.to_be_bytes()].concat()
}

/// The log that a view holds, to be read and proven.
///
/// # Invariant
/// `head` MUST be the head of the log at the moment of `view`.
pub(crate) struct Log<'a> {
    view: &'a dyn StoreView,
    head: LogHead,
    /// What was read and hashed already: one proof asks for few tiles and subtrees, each several times.
    tiles: BTreeMap<(u32, u64), Vec<Digest>>,
    hashes: BTreeMap<Subtree, Digest>,
}

impl<'a> Log<'a> {
    pub(crate) const fn new(view: &'a dyn StoreView, head: LogHead) -> Self {
        Self { view, head, tiles: BTreeMap::new(), hashes: BTreeMap::new() }
    }

    /// The root of the first `size` leaves; `None` if there are fewer.
    pub(crate) fn root(&mut self, size: u64) -> Result<Option<Digest>, StoreError> {
        if size > self.head.size {
            return Ok(None);
        }
        let mut range = CompactRange::empty(0);
        self.extend(&mut range, size)?;
        let root = range.root();
        self.extend(&mut range, self.head.size)?;
        if range.root() == Some(self.head.root) { Ok(root) } else { Err(self.damaged(size)) }
    }

    /// The proof of leaf `index` in the log of the first `size` leaves; `None` if there are fewer, or it is not among them.
    pub(crate) fn inclusion(&mut self, index: u64, size: u64) -> Result<Option<InclusionProof>, StoreError> {
        let (Some(root), Some(leaf)) = (self.root(size)?, Subtree::new(index, 0).filter(|_| index < size))
        else {
            return Ok(None);
        };
        let leaf = self.hash(leaf)?;
        match InclusionProof::generate(index, size, |subtree| self.hash(subtree))? {
            Some(proof) if proof.verify(&leaf, &root) => Ok(Some(proof)),
            _ => Err(self.damaged(index)),
        }
    }

    /// The proof that the log of `to` leaves begins with that of `from`; `None` if there are fewer than `to`, or `from` is more.
    pub(crate) fn consistency(&mut self, from: u64, to: u64) -> Result<Option<ConsistencyProof>, StoreError> {
        let (Some(old), Some(new)) = (self.root(from.min(to))?, self.root(to)?) else { return Ok(None) };
        match ConsistencyProof::generate(from, to, |subtree| self.hash(subtree))? {
            None => Ok(None),
            Some(proof) if proof.verify(&old, &new) => Ok(Some(proof)),
            Some(_) => Err(self.damaged(from)),
        }
    }

    /// Appends to `range`, which starts at 0, the leaves up to `end`.
    fn extend(&mut self, range: &mut CompactRange, end: u64) -> Result<(), StoreError> {
        for subtree in subtrees(range.end(), end) {
            let hash = self.hash(subtree)?;
            range.push(subtree, hash).ok_or_else(|| self.damaged(subtree.start()))?;
        }
        Ok(())
    }

    /// The hash of a perfect subtree, which lies in one tile: from the hashes that make it up there.
    fn hash(&mut self, subtree: Subtree) -> Result<Digest, StoreError> {
        if let Some(hash) = self.hashes.get(&subtree) {
            return Ok(*hash);
        }
        let level = subtree.level() / TILE_HEIGHT;
        let first = subtree.start() >> (level * TILE_HEIGHT);
        let count = 1 << (subtree.level() % TILE_HEIGHT);
        let tile = self.tile(level, first / TILE_WIDTH)?;
        // Less than 2^8, whatever `usize` is.
        let first_in_tile = (first % TILE_WIDTH) as usize;
        let Some(hashes) = tile.get(first_in_tile..first_in_tile + count) else {
            return Err(self.damaged(subtree.start()));
        };
        let hash = merkle::root(hashes.iter().copied());
        self.hashes.insert(subtree, hash);
        Ok(hash)
    }

    /// The hashes of a tile, as many as the size of the log asks for.
    fn tile(&mut self, level: u32, number: u64) -> Result<&[Digest], StoreError> {
        if !self.tiles.contains_key(&(level, number)) {
            let bytes = self.read(level, number)?;
            let (hashes, _) = bytes.as_chunks::<HASH_BYTES>();
            self.tiles.insert((level, number), hashes.iter().map(|hash| Digest::from(*hash)).collect());
        }
        Ok(self.tiles.get(&(level, number)).map_or(&[], Vec::as_slice))
    }

    /// The bytes of a tile, as many as the size of the log asks for.
    fn read(&self, level: u32, number: u64) -> Result<Vec<u8>, StoreError> {
        let in_level = self.head.size >> (level * TILE_HEIGHT);
        let width = in_level.saturating_sub(number.saturating_mul(TILE_WIDTH)).min(TILE_WIDTH);
        let key = tile_key(level, number);
        let bytes = self.view.get(Table::Log, &key)?.unwrap_or_default();
        if bytes.len() as u64 == width * HASH_BYTES as u64 {
            Ok(bytes)
        } else {
            Err(StoreError::Damaged { table: Table::Log, key })
        }
    }

    /// The tile at the end of a level: partial, or not begun.
    fn last_tile(&self, level: u32) -> Result<OpenTile, StoreError> {
        let in_level = self.head.size >> (level * TILE_HEIGHT);
        let number = in_level / TILE_WIDTH;
        let is_begun = !in_level.is_multiple_of(TILE_WIDTH);
        let bytes = if is_begun { self.read(level, number)? } else { Vec::new() };
        Ok(OpenTile { level, number, stored: bytes.len(), bytes })
    }

    /// Some tile on the way from leaf `index` to the root is not what was written; which one, nobody can tell.
    fn damaged(&self, index: u64) -> StoreError {
        StoreError::Damaged { table: Table::Log, key: tile_key(0, index / TILE_WIDTH) }
    }
}
