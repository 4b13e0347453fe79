//! Transactions whose signature holds: each is verified once in this process, on all cores, while those before are applied in order.
//!
//! A signature's verdict depends on the bytes alone, so it may be reached anywhere and remembered: admission, a proposal and its commit
//! then cost one verification together. What depends on the state (nonce, membership, time) is judged each time, in order.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use dt_model::{Digest, Envelope, PartyId, Signed, codec};

use crate::Transaction;
use crate::block::leaf_hash;
use crate::parallel::Threads;
use crate::replica::admission::AdmissionError;

/// Envelope overhead: signer, signature and a length. No transaction is shorter.
pub(crate) const ENVELOPE_BYTES: usize = 32 + 64 + 4;
/// Bytes of transactions in each of the two generations of the cache. What is read from them takes some ten times as much memory, where
/// somebody means it to.
const GENERATION_BYTES: usize = 16 * 1024 * 1024;
/// Fewer signatures than this are not worth a second thread.
const WORTH_A_THREAD: usize = 8;

/// A transaction as it was received, whose signature holds and whose body is read.
pub(crate) struct Authentic {
    pub(crate) bytes: Bytes,
    /// Its leaf in the log.
    pub(crate) leaf: Digest,
    pub(crate) digest: Digest,
    transaction: Signed<Transaction>,
}

impl Authentic {
    fn open(Received { bytes, leaf }: Received) -> Result<Self, AdmissionError> {
        let limit = <Transaction as dt_model::Message>::MAX_BYTES + ENVELOPE_BYTES;
        let transaction = codec::decode::<Envelope<Transaction>>(&bytes, limit)?.open()?;
        Ok(Self { digest: transaction.digest(), bytes, leaf, transaction })
    }

    pub(crate) const fn sender(&self) -> PartyId {
        self.transaction.signer()
    }

    pub(crate) const fn transaction(&self) -> &Transaction {
        self.transaction.value()
    }

    /// Bytes of the signed body.
    pub(crate) fn body_len(&self) -> usize {
        self.transaction.envelope().body().len()
    }
}

/// A transaction as it was received, of which nothing is verified.
#[derive(Clone)]
pub(crate) struct Received {
    pub(crate) bytes: Bytes,
    /// Its leaf in the log.
    pub(crate) leaf: Digest,
}

impl Received {
    pub(crate) fn new(bytes: Bytes) -> Self {
        Self { leaf: leaf_hash(&bytes), bytes }
    }
}

/// What became of a transaction's verification.
pub(crate) type Verdict = Result<Arc<Authentic>, AdmissionError>;

/// The transactions that were verified of late. Bad ones are not remembered: nobody can fill it with what costs him nothing.
pub(crate) struct Verified {
    threads: Threads,
    generations: Mutex<Generations>,
}

/// When the young generation is full it becomes the old one, and what was old is forgotten.
#[derive(Default)]
struct Generations {
    young: BTreeMap<Digest, Arc<Authentic>>,
    old: BTreeMap<Digest, Arc<Authentic>>,
    young_bytes: usize,
}

impl Default for Verified {
    fn default() -> Self {
        Self::on(Threads::all())
    }
}

impl Verified {
    /// Nothing verified yet; blocks will be, on so many threads.
    pub(crate) fn on(threads: Threads) -> Self {
        Self { threads, generations: Mutex::default() }
    }

    /// On how many threads.
    pub(crate) const fn threads(&self) -> Threads {
        self.threads
    }

    /// Verifies one transaction.
    pub(crate) fn one(&self, bytes: &Bytes) -> Verdict {
        self.look(bytes).inspect(|authentic| self.remember(authentic))
    }

    /// Verifies one transaction, and remembers nothing of it.
    pub(crate) fn look(&self, bytes: &Bytes) -> Verdict {
        let received = Received::new(bytes.clone());
        let known = self.lock().get(&received.leaf);
        known.map_or_else(|| Authentic::open(received).map(Arc::new), Ok)
    }

    /// Remembers a transaction that was verified.
    pub(crate) fn remember(&self, authentic: &Arc<Authentic>) {
        self.lock().insert(authentic);
    }

    /// Verifies `transactions` on all threads, and gives the verdict on each to `take`, in their order, while the others go on.
    ///
    /// # Errors
    /// The first that `take` gives, with which the work ends.
    pub(crate) fn each<E>(
        &self,
        transactions: &[Received],
        take: impl FnMut(usize, Verdict) -> Result<(), E>,
    ) -> Result<(), E> {
        let known: Vec<Option<Arc<Authentic>>> = {
            let generations = self.lock();
            transactions.iter().map(|transaction| generations.get(&transaction.leaf)).collect()
        };
        let unknown = known.iter().filter(|known| known.is_none()).count();
        let judge = |number: usize| match &known[number] {
            Some(known) => Ok(Arc::clone(known)),
            None => {
                let opened = Authentic::open(transactions[number].clone()).map(Arc::new);
                opened.inspect(|authentic| self.remember(authentic))
            }
        };
        self.threads.at_most(unknown, WORTH_A_THREAD).in_order(transactions.len(), judge, take)
    }

    /// Forgets what is committed: its nonce is used.
    pub(crate) fn forget(&self, committed: &[Arc<Authentic>]) {
        let mut generations = self.lock();
        for authentic in committed {
            generations.remove(&authentic.leaf);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Generations> {
        self.generations.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Generations {
    fn get(&self, leaf: &Digest) -> Option<Arc<Authentic>> {
        self.young.get(leaf).or_else(|| self.old.get(leaf)).cloned()
    }

    fn insert(&mut self, authentic: &Arc<Authentic>) {
        if self.young_bytes >= GENERATION_BYTES {
            self.old = std::mem::take(&mut self.young);
            self.young_bytes = 0;
        }
        if self.young.insert(authentic.leaf, Arc::clone(authentic)).is_none() {
            self.young_bytes += authentic.bytes.len();
        }
    }

    fn remove(&mut self, leaf: &Digest) {
        if let Some(gone) = self.young.remove(leaf) {
            self.young_bytes -= gone.bytes.len();
        }
        self.old.remove(leaf);
    }
}
