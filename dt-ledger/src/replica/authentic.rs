//! Transactions whose signature holds: each is verified once in this process, on all cores, before anything is applied in order.
//!
//! A signature's verdict depends on the bytes alone, so it may be reached anywhere and remembered: admission, a proposal and its commit
//! then cost one verification together. What depends on the state (nonce, membership, time) is judged each time, in order.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use bytes::Bytes;
use dt_model::{Digest, Envelope, PartyId, Signed, codec};

use crate::Transaction;
use crate::block::leaf_hash;
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
    fn open(bytes: Bytes, leaf: Digest) -> Result<Self, AdmissionError> {
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

/// What became of a transaction's verification.
pub(crate) struct Verdict {
    /// Its leaf in the log.
    pub(crate) leaf: Digest,
    pub(crate) outcome: Result<Arc<Authentic>, AdmissionError>,
}

/// The transactions that were verified of late. Bad ones are not remembered: nobody can fill it with what costs him nothing.
pub(crate) struct Verified {
    threads: NonZero<usize>,
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
        Self::on(thread::available_parallelism().unwrap_or(NonZero::<usize>::MIN))
    }
}

impl Verified {
    /// Nothing verified yet; blocks will be, on so many threads.
    pub(crate) fn on(threads: NonZero<usize>) -> Self {
        Self { threads, generations: Mutex::default() }
    }

    /// Verifies one transaction.
    pub(crate) fn one(&self, bytes: &Bytes) -> Result<Arc<Authentic>, AdmissionError> {
        self.verdict(bytes).outcome
    }

    /// Verifies one transaction, and remembers nothing of it.
    pub(crate) fn look(&self, bytes: &Bytes) -> Result<Arc<Authentic>, AdmissionError> {
        let leaf = leaf_hash(bytes);
        self.known(&leaf).map_or_else(|| Authentic::open(bytes.clone(), leaf).map(Arc::new), Ok)
    }

    /// Remembers a transaction that was verified.
    pub(crate) fn remember(&self, authentic: &Arc<Authentic>) {
        self.lock().insert(authentic);
    }

    fn verdict(&self, bytes: &Bytes) -> Verdict {
        let leaf = leaf_hash(bytes);
        let open = || Authentic::open(bytes.clone(), leaf).map(Arc::new);
        let outcome = match self.known(&leaf) {
            Some(known) => Ok(known),
            None => open().inspect(|authentic| self.remember(authentic)),
        };
        Verdict { leaf, outcome }
    }

    fn known(&self, leaf: &Digest) -> Option<Arc<Authentic>> {
        self.lock().get(leaf)
    }

    /// Verifies `transactions` on all threads: a verdict for each, in their order.
    pub(crate) fn all(&self, transactions: &[Bytes]) -> Vec<Verdict> {
        let share = transactions.len().div_ceil(self.threads.get()).max(WORTH_A_THREAD);
        let judge = move |share: &[Bytes]| share.iter().map(|bytes| self.verdict(bytes)).collect::<Vec<_>>();
        let mut shares = transactions.chunks(share);
        let Some(ours) = shares.next() else { return Vec::new() };
        thread::scope(|scope| {
            let others: Vec<_> = shares
                .map(|share| (share, thread::Builder::new().spawn_scoped(scope, move || judge(share))))
                .collect();
            let mut verdicts = judge(ours);
            for (share, other) in others {
                // Where there is no thread to be had, or it broke off, the work is done here.
                match other.ok().and_then(|running| running.join().ok()) {
                    Some(done) => verdicts.extend(done),
                    None => verdicts.extend(judge(share)),
                }
            }
            verdicts
        })
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
