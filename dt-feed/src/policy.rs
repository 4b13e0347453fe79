//! When a batch is closed, and where the keys of epochs come from.

use core::time::Duration;

use dt_model::Secret;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::entry::{ENTRY_OVERHEAD_BYTES, MAX_PAYLOAD_BYTES};
use crate::segment::{MAX_SEGMENT_BYTES, MAX_SEGMENT_ENTRIES};

/// When a batch is closed: with the first of these limits that it reaches.
///
/// A batch costs three quorum operations and two signatures, however many entries it has; a longer one makes readers wait longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Limits", into = "Limits")]
pub struct BatchPolicy(Limits);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Limits {
    max_entries: u32,
    max_bytes: usize,
    max_delay: Duration,
}

/// Why limits make no policy.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum PolicyError {
    /// A segment has 1 to [`MAX_SEGMENT_ENTRIES`] entries.
    #[error("a batch of {entries} entries is not between 1 and {limit}")]
    Entries {
        /// Entries asked for.
        entries: u32,
        /// The most there can be.
        limit: u32,
    },
    /// A batch has room for the longest entry, and a segment for the batch.
    #[error("a batch of {bytes} bytes is not between {least} and {limit}")]
    Bytes {
        /// Bytes asked for.
        bytes: usize,
        /// The longest entry.
        least: usize,
        /// The longest segment.
        limit: usize,
    },
}

/// What the number of entries in front of a segment's plaintext takes.
const COUNT_BYTES: usize = 4;

impl BatchPolicy {
    /// Closes a batch at `max_entries` entries, before it has more than `max_bytes` bytes, or `max_delay` after its first entry came.
    ///
    /// # Errors
    /// [`PolicyError`].
    pub const fn new(max_entries: u32, max_bytes: usize, max_delay: Duration) -> Result<Self, PolicyError> {
        let (least, limit) = (MAX_PAYLOAD_BYTES + ENTRY_OVERHEAD_BYTES, MAX_SEGMENT_BYTES - COUNT_BYTES);
        if max_entries == 0 || max_entries > MAX_SEGMENT_ENTRIES {
            return Err(PolicyError::Entries { entries: max_entries, limit: MAX_SEGMENT_ENTRIES });
        }
        if max_bytes < least || max_bytes > limit {
            return Err(PolicyError::Bytes { bytes: max_bytes, least, limit });
        }
        Ok(Self(Limits { max_entries, max_bytes, max_delay }))
    }

    /// The most entries in a batch.
    #[must_use]
    pub const fn max_entries(&self) -> u32 {
        self.0.max_entries
    }

    /// The most bytes that a batch's entries encode to.
    #[must_use]
    pub const fn max_bytes(&self) -> usize {
        self.0.max_bytes
    }

    /// How long the first entry of a batch waits for others.
    #[must_use]
    pub const fn max_delay(&self) -> Duration {
        self.0.max_delay
    }
}

impl Default for BatchPolicy {
    /// 256 entries, 1 MiB or 100 ms: a signature for each entry would cost some thirty times as much.
    fn default() -> Self {
        Self(Limits { max_entries: 256, max_bytes: 1024 * 1024, max_delay: Duration::from_millis(100) })
    }
}

impl TryFrom<Limits> for BatchPolicy {
    type Error = PolicyError;
    fn try_from(limits: Limits) -> Result<Self, PolicyError> {
        Self::new(limits.max_entries, limits.max_bytes, limits.max_delay)
    }
}

impl From<BatchPolicy> for Limits {
    fn from(policy: BatchPolicy) -> Self {
        policy.0
    }
}

/// The epoch keys that a reader was given, as a rule through the feed's access control item.
///
/// Any `Fn(u64) -> Option<Secret>` is one.
pub trait Keys: Send + Sync {
    /// The key of `epoch`, if the reader has it.
    fn key(&self, epoch: u64) -> Option<Secret>;
}

impl<F: Fn(u64) -> Option<Secret> + Send + Sync> Keys for F {
    fn key(&self, epoch: u64) -> Option<Secret> {
        self(epoch)
    }
}

/// The current epoch and its key: what a publisher seals under.
#[derive(Debug, Clone)]
pub struct EpochKey {
    /// The epoch. Later keys have higher ones.
    pub epoch: u64,
    /// The key of the epoch: random, and never used for another epoch.
    pub key: Secret,
}

impl EpochKey {
    /// The key of an epoch.
    #[must_use]
    pub const fn new(epoch: u64, key: Secret) -> Self {
        Self { epoch, key }
    }
}
