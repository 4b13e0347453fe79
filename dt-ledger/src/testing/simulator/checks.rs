//! What a simulation checks while it runs, and how it reports a violation.

use core::fmt;
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use dt_model::Digest;
use thiserror::Error;

use super::prototype::Stop;
use crate::{AuditError, Replica, StoreError, Tip};

/// A promise that the prototype did not keep.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Violation {
    /// Two honest nodes committed different blocks at one height.
    #[error("safety: node {node} has another block at height {height} than the rest")]
    Fork {
        /// The node that came later.
        node: usize,
        /// The height.
        height: u64,
    },
    /// Two honest nodes committed the same blocks, and have different states.
    #[error("safety: node {node} has another state after height {height} than the rest")]
    OtherState {
        /// The node that came later.
        node: usize,
        /// The height.
        height: u64,
    },
    /// A transaction is committed twice.
    #[error("safety: the transaction {} is committed at height {height} again", transaction.short())]
    Twice {
        /// The transaction.
        transaction: Digest,
        /// The second height.
        height: u64,
    },
    /// A transaction is committed that nobody submitted.
    #[error("safety: nobody submitted the transaction {} of height {height}", transaction.short())]
    Uninvited {
        /// The transaction.
        transaction: Digest,
        /// The height.
        height: u64,
    },
    /// An honest node let two votes for one height and round out, as a traitor does.
    #[error("safety: node {node} voted twice at height {height} in round {round}")]
    VotedTwice {
        /// The node.
        node: usize,
        /// The height.
        height: u64,
        /// The round.
        round: u32,
    },
    /// An honest node stopped.
    #[error("node {node} stopped: {}", reasons(reason))]
    Stopped {
        /// The node.
        node: usize,
        /// Why.
        reason: Stop,
    },
    /// What an honest node holds does not pass an audit.
    #[error("node {node} does not pass an audit")]
    Audit {
        /// The node.
        node: usize,
        /// What was found.
        #[source]
        error: AuditError,
    },
    /// Long after the unrest not everything that was submitted is committed everywhere.
    #[error("liveness: {missing} transactions are not committed; the nodes are at heights {heights:?}")]
    Stalled {
        /// How many transactions no honest node has committed.
        missing: usize,
        /// The height of each node.
        heights: Vec<u64>,
    },
    /// More happens than can be of use: a prototype that answers each message with two never ends.
    #[error("liveness: {events} events, and no end")]
    Runaway {
        /// How many things have happened.
        events: u64,
    },
    /// A node's store did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// An error and what it comes from, in one line.
fn reasons(error: &(dyn std::error::Error + 'static)) -> String {
    let chain = std::iter::successors(Some(error), |error| error.source());
    chain.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// A simulation that found a violation: the seed that finds it again, and what happened last.
#[derive(Error)]
pub struct Failure {
    /// The seed.
    pub seed: u64,
    /// When, counted from the beginning.
    pub at: Duration,
    /// What was violated.
    #[source]
    pub violation: Box<Violation>,
    /// What happened last, the newest at the end.
    pub last: Vec<String>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.last {
            writeln!(f, "{line}")?;
        }
        write!(f, "seed {}, after {} ms: {}", self.seed, self.at.as_millis(), reasons(&*self.violation))
    }
}

impl fmt::Debug for Failure {
    /// As it is displayed, so that a test that unwraps a simulation tells all of it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\n{self}")
    }
}

/// What all honest nodes agree on so far.
#[derive(Default)]
pub(super) struct Checks {
    /// The transactions that were submitted and are admissible, and are to be committed.
    expected: BTreeSet<Digest>,
    /// Those of them that are committed.
    committed: BTreeSet<Digest>,
    /// Each height's block, and the round in which it was decided.
    blocks: Vec<(Digest, u32)>,
    tips: BTreeMap<u64, Tip>,
    /// The height at which the last of what is expected was committed.
    complete_at: Option<u64>,
}

impl Checks {
    pub(super) fn expecting(expected: impl IntoIterator<Item = Digest>) -> Self {
        Self { expected: expected.into_iter().collect(), ..Self::default() }
    }

    /// Compares what `node` has committed beyond height `known` with what others have; its height.
    pub(super) fn compare(&mut self, node: usize, replica: &Replica, known: u64) -> Result<u64, Violation> {
        let tip = replica.tip();
        for height in known + 1..=tip.height {
            self.compare_block(node, replica, height)?;
        }
        if tip.height > known && *self.tips.entry(tip.height).or_insert_with(|| tip.clone()) != tip {
            return Err(Violation::OtherState { node, height: tip.height });
        }
        Ok(tip.height)
    }

    fn compare_block(&mut self, node: usize, replica: &Replica, height: u64) -> Result<(), Violation> {
        let fork = || Violation::Fork { node, height };
        let (header, certificate) = replica.header(height)?.ok_or_else(fork)?;
        let block = header.digest();
        let place = usize::try_from(height - 1).map_err(|_| fork())?;
        match self.blocks.get(place) {
            Some((known, _)) if *known == block => return Ok(()),
            Some(_) => return Err(fork()),
            // Heights come one by one: each node's first is 1.
            None => self.blocks.push((block, certificate.round)),
        }
        for receipt in replica.block(height)?.ok_or_else(fork)?.receipts {
            let transaction = receipt.transaction;
            if !self.expected.contains(&transaction) {
                return Err(Violation::Uninvited { transaction, height });
            }
            if !self.committed.insert(transaction) {
                return Err(Violation::Twice { transaction, height });
            }
        }
        if self.complete_at.is_none() && self.missing() == 0 {
            self.complete_at = Some(height);
        }
        Ok(())
    }

    /// Whether `transaction` is still to be committed.
    pub(super) fn awaits(&self, transaction: &Digest) -> bool {
        self.expected.contains(transaction) && !self.committed.contains(transaction)
    }

    pub(super) fn missing(&self) -> usize {
        self.expected.len() - self.committed.len()
    }

    /// Whether a node at `height` has all that is expected.
    pub(super) fn is_complete_at(&self, height: u64) -> bool {
        self.complete_at.is_some_and(|complete| complete <= height)
    }

    /// The round in which each height was decided.
    pub(super) fn rounds(&self) -> Vec<u32> {
        self.blocks.iter().map(|(_, round)| *round).collect()
    }
}
