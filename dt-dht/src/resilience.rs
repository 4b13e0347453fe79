//! How many replicas there are, and how many must agree.

use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Too few replicas for the faults that are to be survived.
#[derive(Debug, Error, PartialEq, Eq, Clone, Copy)]
#[error("{replicas} replicas cannot survive {max_faulty} faulty ones: {needed} are needed")]
pub struct TooFewReplicas {
    /// Replicas asked for.
    pub replicas: u16,
    /// Faults to survive.
    pub max_faulty: u16,
    /// 3 × `max_faulty` + 1.
    pub needed: u32,
}

/// The paper's *k* (section 4.2): how many malicious replicas are tolerated, out of how many.
///
/// # Invariant
/// `replicas` ≥ 3 × `max_faulty` + 1, so that two quorums always share an honest replica, and the honest ones alone make a quorum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, BorshSerialize, Serialize)]
pub struct Resilience {
    replicas: u16,
    max_faulty: u16,
}

impl Resilience {
    /// The fewest replicas that survive `max_faulty` malicious ones: 3k + 1.
    ///
    /// # Errors
    /// [`TooFewReplicas`] if that is more than 65,535.
    pub fn tolerating(max_faulty: u16) -> Result<Self, TooFewReplicas> {
        let needed = Self::needed(max_faulty);
        let replicas =
            u16::try_from(needed).map_err(|_| TooFewReplicas { replicas: u16::MAX, max_faulty, needed })?;
        Self::new(replicas, max_faulty)
    }

    /// Any number of replicas that is enough for `max_faulty` malicious ones.
    ///
    /// # Errors
    /// [`TooFewReplicas`].
    pub fn new(replicas: u16, max_faulty: u16) -> Result<Self, TooFewReplicas> {
        let needed = Self::needed(max_faulty);
        if u32::from(replicas) < needed {
            return Err(TooFewReplicas { replicas, max_faulty, needed });
        }
        Ok(Self { replicas, max_faulty })
    }

    /// How many malicious replicas are survived: the paper's *k*.
    #[must_use]
    pub const fn max_faulty(self) -> usize {
        self.max_faulty as usize
    }

    /// How many replicas an address has: *n*.
    #[must_use]
    pub const fn replicas(self) -> usize {
        self.replicas as usize
    }

    /// How many replicas must agree on a read or a write: ⌈(n + k + 1) / 2⌉, which is 2k + 1 when n = 3k + 1.
    #[must_use]
    pub const fn quorum(self) -> usize {
        (self.replicas() + self.max_faulty() + 1).div_ceil(2)
    }

    /// How many shards restore a blob: k + 1. A writer holds 2k + 1 receipts, of which at most k are lies.
    #[must_use]
    pub const fn data_shards(self) -> usize {
        self.max_faulty() + 1
    }

    const fn needed(max_faulty: u16) -> u32 {
        3 * max_faulty as u32 + 1
    }
}

impl BorshDeserialize for Resilience {
    fn deserialize_reader<R: borsh::io::Read>(reader: &mut R) -> borsh::io::Result<Self> {
        let (replicas, max_faulty) = <(u16, u16)>::deserialize_reader(reader)?;
        Self::new(replicas, max_faulty)
            .map_err(|error| borsh::io::Error::new(borsh::io::ErrorKind::InvalidData, error))
    }
}

impl<'de> Deserialize<'de> for Resilience {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Raw {
            replicas: u16,
            max_faulty: u16,
        }
        let raw = <Raw as Deserialize>::deserialize(deserializer)?;
        Self::new(raw.replicas, raw.max_faulty).map_err(serde::de::Error::custom)
    }
}
