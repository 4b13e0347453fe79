//! The transactions that wait for a block: how many, whose, in which order, and who has to go when there are too many.
//!
//! ```text
//! Replica::screen ──Candidate──▶ insert ──▶ queue of each sender (nonces n, n+1, …) ──batch──▶ Replica::prepare
//!                                  │                      ▲
//!                                  └─ full: the tail of    └─ committed, refused, expire: from the front, or all behind what goes
//!                                     the heaviest queue goes, or the newcomer
//! ```
//!
//! # Invariants
//! - A sender's transactions have consecutive nonces: none waits for one that is not here.
//! - A batch has them in the order in which they came, which for each sender is that of its nonces.
//! - Nothing waits beyond the limits. Where there is no room, the last transaction of the *heaviest* sender makes place for one of a
//!   lighter sender (ties: the greater key goes): whoever sends much cannot drive out whoever sends little. Nothing else is driven out, so
//!   the first of a nonce stays; another of the same nonce is refused.
//! - It is a function of what it is told: no clock, no randomness. Two pools that are told the same hold the same.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use dt_model::{Digest, Envelope, PartyId, Timestamp, codec};
use thiserror::Error;

use crate::{AdmissionError, CommittedBlock, Transaction};

/// A transaction that may be committed once those of its sender that come before it are: authentic, for this chain, in time, of somebody
/// who takes part.
///
/// # Invariant
/// Only [`crate::Replica::screen`] makes one.
#[derive(Debug, Clone)]
pub struct Candidate {
    pub(crate) bytes: Bytes,
    pub(crate) digest: Digest,
    pub(crate) sender: PartyId,
    pub(crate) nonce: u64,
    pub(crate) valid_until: u64,
    /// The nonce that the chain expects of the sender next.
    pub(crate) expected: u64,
}

impl Candidate {
    /// The transaction's digest.
    #[must_use]
    pub const fn digest(&self) -> Digest {
        self.digest
    }

    /// Who signed it.
    #[must_use]
    pub const fn sender(&self) -> PartyId {
        self.sender
    }
}

/// How much may wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MempoolLimits {
    /// Transactions.
    pub transactions: usize,
    /// Bytes of transactions.
    pub bytes: usize,
    /// Transactions of one sender.
    pub sender_transactions: usize,
    /// Bytes of one sender's transactions; one transaction may always wait, if it has room at all.
    pub sender_bytes: usize,
    /// How long, by the clock of whoever tells the time here.
    pub wait: Duration,
}

impl Default for MempoolLimits {
    fn default() -> Self {
        Self {
            transactions: 100_000,
            bytes: 256 * 1024 * 1024,
            sender_transactions: 10_000,
            sender_bytes: 32 * 1024 * 1024,
            wait: Duration::from_secs(600),
        }
    }
}

/// Why a transaction does not wait here. Nothing has changed then.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum MempoolError {
    /// It cannot be committed, or one before it is missing.
    #[error(transparent)]
    Admission(#[from] AdmissionError),
    /// It waits already.
    #[error("the transaction waits already")]
    Known,
    /// Another of the same sender and nonce waits.
    #[error("another transaction of the sender has nonce {nonce}")]
    Conflict {
        /// The nonce of both.
        nonce: u64,
    },
    /// Its sender has as many waiting as one may have.
    #[error("the sender has too many transactions waiting")]
    SenderFull,
    /// There is no room, and no sender has more waiting than this one.
    #[error("too many transactions wait")]
    Full,
}

#[derive(Debug)]
struct Waiting {
    bytes: Bytes,
    digest: Digest,
    nonce: u64,
    valid_until: u64,
    since: Timestamp,
    /// The number of its arrival.
    arrival: u64,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Waiting>,
    bytes: usize,
}

/// The transactions that wait.
#[derive(Debug)]
pub struct Mempool {
    limits: MempoolLimits,
    queues: BTreeMap<PartyId, Queue>,
    /// Senders by how many bytes they have waiting: whose turn it is to go.
    weights: BTreeSet<(usize, PartyId)>,
    /// By arrival.
    order: BTreeMap<u64, (PartyId, u64)>,
    /// By the last height at which they can be committed.
    ends: BTreeSet<(u64, u64)>,
    digests: BTreeMap<Digest, (PartyId, u64)>,
    bytes: usize,
    arrivals: u64,
}

impl Mempool {
    /// Nothing waits yet.
    #[must_use]
    pub const fn new(limits: MempoolLimits) -> Self {
        Self {
            limits,
            queues: BTreeMap::new(),
            weights: BTreeSet::new(),
            order: BTreeMap::new(),
            ends: BTreeSet::new(),
            digests: BTreeMap::new(),
            bytes: 0,
            arrivals: 0,
        }
    }

    /// How many wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// Bytes of those that wait.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether the transaction waits.
    #[must_use]
    pub fn contains(&self, transaction: &Digest) -> bool {
        self.digests.contains_key(transaction)
    }

    /// The nonce that the next transaction of `sender` must have, if any of his waits.
    #[must_use]
    pub fn next_nonce(&self, sender: &PartyId) -> Option<u64> {
        self.queues
            .get(sender)
            .and_then(|queue| queue.waiting.back())
            .map(|last| last.nonce.saturating_add(1))
    }

    /// Lets a transaction wait, from `now` on; its digest.
    ///
    /// # Errors
    /// [`MempoolError`].
    pub fn insert(&mut self, candidate: Candidate, now: Timestamp) -> Result<Digest, MempoolError> {
        let Candidate { bytes, digest, sender, nonce, valid_until, expected } = candidate;
        if self.contains(&digest) {
            return Err(MempoolError::Known);
        }
        // What the chain has come past is gone, whoever told of it.
        self.pass(&sender, expected);
        let next = self.next_nonce(&sender).unwrap_or(expected);
        if (expected..next).contains(&nonce) {
            return Err(MempoolError::Conflict { nonce });
        }
        if nonce != next {
            return Err(AdmissionError::Nonce { expected: next, found: nonce }.into());
        }
        let weight = self.check_sender(&sender, bytes.len())?;
        self.make_room(sender, weight, bytes.len())?;
        let arrival = self.arrivals;
        self.arrivals += 1;
        self.push(sender, Waiting { bytes, digest, nonce, valid_until, since: now, arrival });
        Ok(digest)
    }

    /// The transactions that came first, as many as have `max_bytes` together: the order in which a block may hold them.
    #[must_use]
    pub fn batch(&self, max_bytes: usize) -> Vec<Bytes> {
        let mut left = max_bytes;
        let waiting = self.order.values().filter_map(|(sender, nonce)| self.get(sender, *nonce));
        let fits = waiting.map_while(|waiting| {
            left = left.checked_sub(waiting.bytes.len())?;
            Some(waiting.bytes.clone())
        });
        fits.collect()
    }

    /// A block was committed: what is in it waits no longer, nor does what its height or `now` ends.
    pub fn committed(&mut self, block: &CommittedBlock, now: Timestamp) {
        for receipt in &block.receipts {
            if let Some((sender, nonce)) = self.digests.get(&receipt.transaction).copied() {
                self.pass(&sender, nonce.saturating_add(1));
            }
        }
        self.expire(block.block.header.height.saturating_add(1), now);
    }

    /// [`crate::Replica::prepare`] made no use of a transaction, for this reason. Where that is for good it goes, and with it all of its
    /// sender that come after it; what comes too early or has no room in this block stays.
    pub fn refused(&mut self, transaction: &Bytes, reason: &AdmissionError) {
        let envelope = codec::decode::<Envelope<Transaction>>(transaction, transaction.len());
        let place = envelope.ok().and_then(|envelope| self.digests.get(&envelope.digest())).copied();
        let Some((sender, nonce)) = place else { return };
        match reason {
            AdmissionError::Nonce { expected, found } if found > expected => {}
            AdmissionError::Nonce { expected, .. } => self.pass(&sender, *expected),
            AdmissionError::BlockFull | AdmissionError::Store(_) => {}
            _ => self.cut(&sender, nonce),
        }
    }

    /// What may not be committed at `height` any more, or has waited too long at `now`, goes, and all of the same sender that come after.
    pub fn expire(&mut self, height: u64, now: Timestamp) {
        while let Some((valid_until, arrival)) = self.ends.first().copied()
            && valid_until < height
        {
            self.cut_at(arrival);
        }
        // Who came first has waited longest, as far as the clock goes forward.
        while let Some((&arrival, (sender, nonce))) = self.order.first_key_value()
            && self.get(sender, *nonce).is_none_or(|first| first.since.saturating_add(self.limits.wait) < now)
        {
            self.cut_at(arrival);
        }
    }

    fn get(&self, sender: &PartyId, nonce: u64) -> Option<&Waiting> {
        let queue = &self.queues.get(sender)?.waiting;
        let place = nonce.checked_sub(queue.front()?.nonce)?;
        queue.get(usize::try_from(place).ok()?)
    }

    /// What the sender would weigh with `len` bytes more.
    fn check_sender(&self, sender: &PartyId, len: usize) -> Result<usize, MempoolError> {
        let Some(queue) = self.queues.get(sender) else { return Ok(len) };
        let weight = queue.bytes.saturating_add(len);
        if queue.waiting.len() >= self.limits.sender_transactions || weight > self.limits.sender_bytes {
            return Err(MempoolError::SenderFull);
        }
        Ok(weight)
    }

    /// Drives out heavier senders' last transactions until `len` bytes of `sender`, who will weigh `weight`, have room.
    fn make_room(&mut self, sender: PartyId, weight: usize, len: usize) -> Result<(), MempoolError> {
        let mut driven_out = Vec::new();
        while self.len() >= self.limits.transactions || self.bytes.saturating_add(len) > self.limits.bytes {
            let heaviest = self
                .weights
                .last()
                .copied()
                .filter(|(heaviest, party)| *heaviest > weight && *party != sender);
            let Some((party, last)) = heaviest.and_then(|(_, party)| Some((party, self.pop_last(&party)?)))
            else {
                for (party, waiting) in driven_out.into_iter().rev() {
                    self.push(party, waiting);
                }
                return Err(MempoolError::Full);
            };
            driven_out.push((party, last));
        }
        Ok(())
    }

    fn push(&mut self, sender: PartyId, waiting: Waiting) {
        self.order.insert(waiting.arrival, (sender, waiting.nonce));
        self.ends.insert((waiting.valid_until, waiting.arrival));
        self.digests.insert(waiting.digest, (sender, waiting.nonce));
        self.bytes += waiting.bytes.len();
        let queue = self.queues.entry(sender).or_default();
        self.weights.remove(&(queue.bytes, sender));
        queue.bytes += waiting.bytes.len();
        self.weights.insert((queue.bytes, sender));
        queue.waiting.push_back(waiting);
    }

    fn pop_last(&mut self, sender: &PartyId) -> Option<Waiting> {
        let last = self.queues.get_mut(sender)?.waiting.pop_back()?;
        self.forget(sender, &last);
        Some(last)
    }

    /// The sender's transactions before `nonce` go.
    fn pass(&mut self, sender: &PartyId, nonce: u64) {
        while let Some(queue) = self.queues.get_mut(sender)
            && queue.waiting.front().is_some_and(|first| first.nonce < nonce)
            && let Some(first) = queue.waiting.pop_front()
        {
            self.forget(sender, &first);
        }
    }

    /// The sender's transactions from `nonce` on go.
    fn cut(&mut self, sender: &PartyId, nonce: u64) {
        while self
            .queues
            .get(sender)
            .and_then(|queue| queue.waiting.back())
            .is_some_and(|last| last.nonce >= nonce)
        {
            self.pop_last(sender);
        }
    }

    /// What arrived as number `arrival` goes, and all of the same sender that come after it.
    fn cut_at(&mut self, arrival: u64) {
        if let Some((sender, nonce)) = self.order.get(&arrival).copied() {
            self.cut(&sender, nonce);
        }
    }

    /// Takes what left a queue off the books.
    fn forget(&mut self, sender: &PartyId, gone: &Waiting) {
        self.order.remove(&gone.arrival);
        self.ends.remove(&(gone.valid_until, gone.arrival));
        self.digests.remove(&gone.digest);
        self.bytes -= gone.bytes.len();
        if let Some(queue) = self.queues.get_mut(sender) {
            self.weights.remove(&(queue.bytes, *sender));
            queue.bytes -= gone.bytes.len();
            if queue.waiting.is_empty() {
                self.queues.remove(sender);
            } else {
                self.weights.insert((queue.bytes, *sender));
            }
        }
    }
}
