//! A ledger's replica: what a consensus adapter drives, and what a participant reads.

use std::sync::{Arc, PoisonError, RwLock};

use borsh::{BorshDeserialize, BorshSerialize};
use bytes::Bytes;
use dt_model::{Digest, Envelope, Signed, Timestamp, codec};

use crate::admission::{self, AdmissionError};
use crate::block::{Block, CommitCertificate, CommittedBlock, Header, MAX_BLOCK_BYTES, log_root};
use crate::genesis::Genesis;
use crate::opening::{GENESIS, MAX_META_BYTES, OpenReplicaError, TIP, begin, read_meta, rebuild};
use crate::receipt::Receipt;
use crate::record::{Resource, TraceEntry};
use crate::state::{Snapshot, Specifications, State};
use crate::store::{Batch, LedgerStore, StoreError, StoreView, Table, scan_prefix};
use crate::successor::{BlockError, check_header, check_votes};
use crate::transition::{At, Transition, trace_key, transaction_key};
use crate::{Event, Transaction, tree};

/// Where the chain stands.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Tip {
    /// The last block's height; 0 is the genesis.
    pub height: u64,
    /// The last block's digest; the chain's own after the genesis.
    pub block: Digest,
    /// The last block's time.
    pub time: Timestamp,
    /// The state's root after the last block.
    pub state_root: Digest,
    /// The RFC 6962 root over the last block's receipts.
    pub receipts_root: Digest,
}

/// One copy of the ledger.
///
/// # Invariants
/// What is stored is a function of the genesis and the committed blocks. A block is applied entirely or not at all, and durably before
/// anybody is told. Reading never waits for the disk of a commit.
pub struct Replica {
    pub(crate) store: Arc<dyn LedgerStore>,
    chain: Digest,
    genesis: Genesis,
    state: RwLock<Current>,
    /// Held while a block is committed: one at a time.
    committing: std::sync::Mutex<()>,
}

#[derive(Clone)]
struct Current {
    tip: Tip,
    specifications: Arc<Specifications>,
}

/// A block as it would be, with what it would do.
struct Applied {
    batch: Batch,
    tip: Tip,
    specifications: Arc<Specifications>,
    receipts: Vec<Receipt>,
    events: Vec<Event>,
}

impl Replica {
    /// The replica of the chain that `genesis` begins, in `store`: as it was left, or from the beginning.
    ///
    /// # Errors
    /// [`OpenReplicaError`]; a store that holds another chain is left alone.
    pub fn open(store: Arc<dyn LedgerStore>, genesis: &Genesis) -> Result<Self, OpenReplicaError> {
        genesis.check()?;
        match read_meta::<Genesis>(&*store.view()?, GENESIS)? {
            Some(found) if found != *genesis => Err(OpenReplicaError::OtherChain { found: found.chain() }),
            Some(_) => Self::load(store),
            None => {
                begin(&*store, genesis)?;
                Self::load(store)
            }
        }
    }

    /// The replica that `store` holds, whatever chain that is: for a reader who compares [`Replica::chain`] with what he trusts.
    ///
    /// # Errors
    /// [`OpenReplicaError`].
    pub fn load(store: Arc<dyn LedgerStore>) -> Result<Self, OpenReplicaError> {
        let view = store.view()?;
        let genesis: Genesis = read_meta(&*view, GENESIS)?.ok_or(OpenReplicaError::NoChain)?;
        let damaged = || StoreError::Damaged { table: Table::Meta, key: TIP.to_vec() };
        let tip: Tip = read_meta(&*view, TIP)?.ok_or_else(damaged)?;
        let specifications = Arc::new(rebuild(&*view)?);
        drop(view);
        let chain = genesis.chain();
        let state = RwLock::new(Current { tip, specifications });
        Ok(Self { store, chain, genesis, state, committing: std::sync::Mutex::new(()) })
    }

    /// The chain.
    #[must_use]
    pub const fn chain(&self) -> Digest {
        self.chain
    }

    /// Where it is stored: for an [`crate::audit`], or a copy.
    #[must_use]
    pub const fn store(&self) -> &Arc<dyn LedgerStore> {
        &self.store
    }

    /// What the chain began with.
    #[must_use]
    pub const fn genesis(&self) -> &Genesis {
        &self.genesis
    }

    /// Where the chain stands.
    #[must_use]
    pub fn tip(&self) -> Tip {
        self.current().tip
    }

    /// The state after the last block.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn snapshot(&self) -> Result<Snapshot, StoreError> {
        let (current, view) = self.consistent()?;
        Ok(Snapshot { view, specifications: current.specifications })
    }

    /// Whether `transaction` may be committed next, at `now`.
    ///
    /// # Errors
    /// [`AdmissionError`].
    pub fn admit(&self, transaction: &Signed<Transaction>, now: Timestamp) -> Result<(), AdmissionError> {
        let tip = self.tip();
        admission::admit(&self.snapshot()?, &self.chain, tip.height + 1, now.max(tip.time), transaction)
    }

    /// The next block, at `time` (or the last block's time, if that is later), of as many of `transactions` as are admissible, in their
    /// order; and the others with why they are not.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn prepare(
        &self,
        transactions: Vec<Bytes>,
        time: Timestamp,
    ) -> Result<(Block, Vec<(Bytes, AdmissionError)>), StoreError> {
        let (current, view) = self.consistent()?;
        let at = At { chain: self.chain, height: current.tip.height + 1, time: time.max(current.tip.time) };
        let mut transition = Transition::new(&*view, &current.specifications, at);
        let (mut taken, mut left, mut bytes) = (Vec::new(), Vec::new(), 0);
        for transaction in transactions {
            if bytes + transaction.len() > MAX_BLOCK_BYTES {
                left.push((transaction, AdmissionError::Size));
                continue;
            }
            match transition.apply(&transaction) {
                Ok(()) => {
                    bytes += transaction.len();
                    taken.push(transaction);
                }
                Err(AdmissionError::Store(error)) => return Err(error),
                Err(error) => left.push((transaction, error)),
            }
        }
        let header = Header {
            chain: self.chain,
            height: at.height,
            time: at.time,
            previous: current.tip.block,
            transactions_root: log_root(taken.iter().map(AsRef::as_ref)),
            state_root: current.tip.state_root,
            receipts_root: current.tip.receipts_root,
        };
        Ok((Block { header, transactions: taken }, left))
    }

    /// Whether `block` can be the chain's next, all but its votes: what a validator asks before it votes.
    ///
    /// # Errors
    /// [`BlockError`].
    pub fn verify(&self, block: &Block) -> Result<(), BlockError> {
        let (current, view) = self.consistent()?;
        self.apply(&current, &*view, block).map(drop)
    }

    /// Makes `block` the chain's next, durably, in one step.
    ///
    /// # Errors
    /// [`BlockError`]; nothing has changed then.
    pub fn commit(
        &self,
        block: Block,
        certificate: CommitCertificate,
    ) -> Result<Arc<CommittedBlock>, BlockError> {
        let _one_at_a_time = self.committing.lock().unwrap_or_else(PoisonError::into_inner);
        let current = self.current();
        check_votes(&self.genesis.validators(), &block.header, &certificate)?;
        let view = self.store.view()?;
        let Applied { mut batch, tip, specifications, receipts, events } =
            self.apply(&current, &*view, &block)?;
        drop(view);
        let committed = CommittedBlock { block, certificate, receipts, events };
        batch.put(Table::Blocks, tip.height.to_be_bytes(), codec::encode(&committed));
        batch.put(Table::Meta, TIP, codec::encode(&tip));
        self.store.commit(batch)?;
        *self.state.write().unwrap_or_else(PoisonError::into_inner) = Current { tip, specifications };
        Ok(Arc::new(committed))
    }

    /// The block at `height`, counted from 1.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn block(&self, height: u64) -> Result<Option<CommittedBlock>, StoreError> {
        let key = height.to_be_bytes();
        let Some(bytes) = self.store.view()?.get(Table::Blocks, &key)? else { return Ok(None) };
        // No limit: these are our own bytes, with receipts and events that may be many times as long as the transactions.
        codec::decode(&bytes, usize::MAX)
            .map(Some)
            .map_err(|_| StoreError::Damaged { table: Table::Blocks, key: key.to_vec() })
    }

    /// A committed transaction, what became of it, and the header of its block.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn transaction(
        &self,
        transaction: &Digest,
    ) -> Result<Option<(Header, Envelope<Transaction>, Receipt)>, StoreError> {
        let key = transaction_key(transaction);
        let damaged = || StoreError::Damaged { table: Table::Index, key: key.clone() };
        let Some(place) = self.store.view()?.get(Table::Index, &key)? else { return Ok(None) };
        let (height, index): (u64, u32) = codec::decode(&place, MAX_META_BYTES).map_err(|_| damaged())?;
        let block = self.block(height)?.ok_or_else(damaged)?;
        let index = index as usize;
        let bytes = block.block.transactions.get(index).ok_or_else(damaged)?;
        let receipt = block.receipts.get(index).ok_or_else(damaged)?.clone();
        let envelope = codec::decode(bytes, MAX_BLOCK_BYTES).map_err(|_| damaged())?;
        Ok(Some((block.block.header, envelope, receipt)))
    }

    /// The paper's *trace* (section 3.2): every write to `resource`, in order, each chained to the one before. The chain is checked up
    /// to its head in the state, which a [`crate::StateProof`] ties to a certified header.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] where the chain does not hold.
    pub fn trace(&self, resource: &Resource) -> Result<Vec<TraceEntry>, StoreError> {
        let snapshot = self.snapshot()?;
        let digest = resource.digest();
        let Some(head) = snapshot.trace_head(&digest)? else { return Ok(Vec::new()) };
        let first = trace_key(&digest, 0);
        let rows = scan_prefix(&*snapshot.view, Table::Index, &first[..first.len() - 8], usize::MAX)?;
        let mut entries: Vec<TraceEntry> = Vec::with_capacity(rows.len());
        let mut last = Digest::ZERO;
        for (key, value) in rows {
            let damaged = || StoreError::Damaged { table: Table::Index, key: key.clone() };
            let entry: TraceEntry = codec::decode(&value, MAX_META_BYTES).map_err(|_| damaged())?;
            if entry.previous != last || entry.resource != *resource {
                return Err(damaged());
            }
            last = entry.digest();
            entries.push(entry);
        }
        if last != head.last || entries.len() as u64 != head.count {
            return Err(StoreError::Damaged { table: Table::Index, key: first });
        }
        Ok(entries)
    }

    fn current(&self) -> Current {
        self.state.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What is known and what is stored, both of one block.
    ///
    /// Between the flush of a commit and its announcement the store is one block ahead; whoever looks just then waits for the
    /// announcement, not for a flush.
    fn consistent(&self) -> Result<(Current, Box<dyn StoreView>), StoreError> {
        let current = self.current();
        let view = self.store.view()?;
        if view.get(Table::Meta, TIP)?.is_some_and(|stored| stored == codec::encode(&current.tip)) {
            return Ok((current, view));
        }
        let _no_commit_is_under_way = self.committing.lock().unwrap_or_else(PoisonError::into_inner);
        Ok((self.current(), self.store.view()?))
    }

    /// Applies `block` to what `current` and `view` hold, without changing it.
    fn apply(&self, current: &Current, view: &dyn StoreView, block: &Block) -> Result<Applied, BlockError> {
        let Block { header, transactions } = block;
        check_header(self.chain, &current.tip, block)?;
        let at = At { chain: self.chain, height: header.height, time: header.time };
        let mut transition = Transition::new(view, &current.specifications, at);
        for (index, transaction) in transactions.iter().enumerate() {
            transition.apply(transaction).map_err(|error| BlockError::Transaction { index, error })?;
        }
        let effects = transition.finish();
        let mut batch = Batch::default();
        let state_root = tree::update(view, &effects.state, &mut batch)?;
        let state = effects.state.into_iter().map(|(key, value)| ((Table::State, key), value));
        let index = effects.index.into_iter().map(|(key, value)| ((Table::Index, key), Some(value)));
        batch.writes.extend(state.chain(index));
        let mut specifications = Arc::clone(&current.specifications);
        if !effects.specifications.is_empty() {
            Arc::make_mut(&mut specifications).extend(effects.specifications);
        }
        let receipts: Vec<Vec<u8>> = effects.receipts.iter().map(codec::encode).collect();
        let tip = Tip {
            height: header.height,
            block: header.digest(),
            time: header.time,
            state_root,
            receipts_root: log_root(receipts.iter().map(Vec::as_slice)),
        };
        Ok(Applied { batch, tip, specifications, receipts: effects.receipts, events: effects.events })
    }
}
