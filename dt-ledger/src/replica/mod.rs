//! A ledger's replica: what a consensus adapter drives, and what a participant reads.

pub(crate) mod admission;
pub(crate) mod application;
pub(crate) mod authentic;
pub(crate) mod image;
pub(crate) mod opening;
pub(crate) mod proposals;
pub(crate) mod pruning;
pub(crate) mod specification;
pub(crate) mod successor;

use std::num::NonZero;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use borsh::{BorshDeserialize, BorshSerialize};
use bytes::Bytes;
use dt_model::merkle::CompactRange;
use dt_model::{Digest, Envelope, PartyId, Timestamp, codec};

use crate::block::{
    Block, CommitCertificate, CommittedBlock, Header, MAX_BLOCK_BYTES, body_key, load_header,
};
use crate::evidence::checkpoint::Checkpoint;
use crate::evidence::log::{self, LogHead};
use crate::history::transaction_key;
use crate::membership::genesis::Genesis;
use crate::mempool::Candidate;
use crate::parallel::Threads;
use crate::receipt::Receipt;
use crate::replica::admission::AdmissionError;
use crate::replica::application::Applied;
use crate::replica::authentic::{Authentic, Verified};
use crate::replica::image::require_finished;
use crate::replica::opening::{
    GENESIS, MAX_META_BYTES, OpenReplicaError, TIP, begin, read_meta, validators_key,
};
use crate::replica::specification::{Specifications, rebuild};
use crate::replica::successor::{BlockError, check_votes};
use crate::state::Snapshot;
use crate::store::{LedgerStore, StoreError, StoreView, Table};
use crate::{Rest, Transaction};

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
    /// All transactions up to the last block.
    pub log: LogHead,
    /// Whose votes commit the next block: those that the state named *before* the last block. A change takes a block to come into force,
    /// so that a header can tell of it under the votes of those who go.
    pub validators: Vec<PartyId>,
    /// The validators that do not propose for a while, as the last header says.
    pub resting: Vec<Rest>,
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
    verified: Verified,
    /// The block that was made or verified last: its commit need not apply it again.
    ready: Mutex<Option<Applied>>,
    /// Held while a block is committed: one at a time.
    pub(crate) committing: Mutex<()>,
}

#[derive(Clone)]
pub(crate) struct Current {
    pub(crate) tip: Tip,
    /// The maximal subtrees of the log.
    pub(crate) log: CompactRange,
    pub(crate) specifications: Arc<Specifications>,
}

impl Replica {
    /// The replica of the chain that `genesis` begins, in `store`: as it was left, or from the beginning.
    ///
    /// # Errors
    /// [`OpenReplicaError`]; a store that holds another chain is left alone.
    pub fn open(store: Arc<dyn LedgerStore>, genesis: &Genesis) -> Result<Self, OpenReplicaError> {
        genesis.check()?;
        let view = store.view()?;
        require_finished(&*view)?;
        match read_meta::<Genesis>(&*view, GENESIS)? {
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
        require_finished(&*view)?;
        let genesis: Genesis = read_meta(&*view, GENESIS)?.ok_or(OpenReplicaError::NoChain)?;
        let damaged = || StoreError::Damaged { table: Table::Meta, key: TIP.to_vec() };
        let tip: Tip = read_meta(&*view, TIP)?.ok_or_else(damaged)?;
        let specifications = Arc::new(rebuild(&*view)?);
        let log = log::load(&*view, tip.log)?;
        drop(view);
        let chain = genesis.chain();
        let state = RwLock::new(Current { tip, log, specifications });
        let (verified, ready, committing) = Default::default();
        Ok(Self { store, chain, genesis, state, verified, ready, committing })
    }

    /// This replica, which works on a block on so many threads; else it takes as many as there are cores.
    #[must_use]
    pub fn on_threads(self, threads: NonZero<usize>) -> Self {
        Self { verified: Verified::on(Threads::new(threads)), ..self }
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

    /// What a validator signs of the chain as it stands here ([`Checkpoint::sign`]).
    #[must_use]
    pub fn checkpoint(&self) -> Checkpoint {
        let Tip { height, block, state_root, receipts_root, log, .. } = self.tip();
        Checkpoint { chain: self.chain, log, height, block, state_root, receipts_root }
    }

    /// The state after the last block.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn snapshot(&self) -> Result<Snapshot, StoreError> {
        let (current, view) = self.consistent()?;
        Ok(Snapshot { view, specifications: current.specifications })
    }

    /// Whether the transaction with these bytes may be committed next, at `now`; its digest. Its signature is not verified again when a
    /// block holds it.
    ///
    /// # Errors
    /// [`AdmissionError`].
    pub fn admit(&self, transaction: &Bytes, now: Timestamp) -> Result<Digest, AdmissionError> {
        let (authentic, ()) = self.judge(transaction, now, admission::admit)?;
        Ok(authentic.digest)
    }

    /// Whether the transaction with these bytes may be committed at `now` once those of its sender that come before it are: what a
    /// [`crate::Mempool`] takes. Its signature is not verified again when a block holds it.
    ///
    /// # Errors
    /// [`AdmissionError`].
    pub fn screen(&self, transaction: &Bytes, now: Timestamp) -> Result<Candidate, AdmissionError> {
        let (authentic, expected) = self.judge(transaction, now, admission::screen)?;
        let Transaction { nonce, valid_until, .. } = *authentic.transaction();
        let (bytes, digest, sender) = (transaction.clone(), authentic.digest, authentic.sender());
        Ok(Candidate { bytes, digest, sender, nonce, valid_until, expected })
    }

    /// What `rule` says of a transaction for the next block, at `now`.
    fn judge<T>(
        &self,
        transaction: &Bytes,
        now: Timestamp,
        rule: impl FnOnce(&Snapshot, &Digest, u64, Timestamp, &Authentic) -> Result<T, AdmissionError>,
    ) -> Result<(Arc<Authentic>, T), AdmissionError> {
        let authentic = self.verified.look(transaction)?;
        let tip = self.tip();
        let judged = rule(&self.snapshot()?, &self.chain, tip.height + 1, now.max(tip.time), &authentic)?;
        // Strangers sign as well as parties do: only what somebody answers for is remembered.
        self.verified.remember(&authentic);
        Ok((authentic, judged))
    }

    /// Verifies a transaction's signature and form alone; its digest. What it may do is judged when a block holds it.
    ///
    /// # Errors
    /// [`AdmissionError::Decode`], [`AdmissionError::Open`].
    pub fn authenticate(&self, transaction: &Bytes) -> Result<Digest, AdmissionError> {
        Ok(self.verified.one(transaction)?.digest)
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
        check_votes(&current.tip.validators, &block.header, &certificate)?;
        let view = self.store.view()?;
        let ready = self.ready().take().filter(|ready| ready.is_of(&current.tip, &block));
        let applied = match ready {
            Some(applied) => applied,
            None => self.apply(&current, &*view, &block)?,
        };
        let Applied { mut batch, tip, log, specifications, receipts, events, transactions } = applied;
        // Blocks for later heights may have come already: they stay.
        let later = (block.header.height + 1).to_be_bytes();
        view.scan(Table::Pending, &[], &mut |key, _| {
            if *key >= later[..] {
                return ControlFlow::Break(());
            }
            batch.remove(Table::Pending, key);
            ControlFlow::Continue(())
        })?;
        drop(view);
        let committed = CommittedBlock { block, certificate, receipts, events };
        committed.store(&mut batch);
        batch.put(Table::Meta, TIP, codec::encode(&tip));
        self.store.commit(batch)?;
        *self.state.write().unwrap_or_else(PoisonError::into_inner) = Current { tip, log, specifications };
        self.verified.forget(&transactions);
        Ok(Arc::new(committed))
    }

    /// Whose votes commit the block at `height`: of each block that is committed, and of the next.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn validators(&self, height: u64) -> Result<Option<Vec<PartyId>>, StoreError> {
        let (current, view) = self.consistent()?;
        if height == 0 || height > current.tip.height + 1 {
            return Ok(None);
        }
        let mut found = None;
        view.scan(Table::Index, &validators_key(height), &mut |key, value| {
            found = key.starts_with(b"v").then(|| (key.to_vec(), value.to_vec()));
            ControlFlow::Break(())
        })?;
        let Some((key, value)) = found else { return Ok(None) };
        codec::decode(&value, MAX_META_BYTES)
            .map(Some)
            .map_err(|_| StoreError::Damaged { table: Table::Index, key })
    }

    /// The heights from `from` on at which others vote than at the height before, in order: who looks for whom to trust need not read the
    /// headers between. The validators of such a height are named by the header before it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn validator_changes(&self, from: u64) -> Result<Vec<u64>, StoreError> {
        let mut heights = Vec::new();
        self.store.view()?.scan(Table::Index, b"v", &mut |key, _| {
            // The latest stands first.
            let height = key.strip_prefix(b"v").and_then(|rest| <[u8; 8]>::try_from(rest).ok());
            match height.map(|inverse| !u64::from_be_bytes(inverse)).filter(|height| *height >= from) {
                Some(height) => heights.push(height),
                None => return ControlFlow::Break(()),
            }
            ControlFlow::Continue(())
        })?;
        heights.reverse();
        Ok(heights)
    }

    /// The block at `height`, counted from 1; `None` also where it was pruned, that is, below [`Replica::first_block`].
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn block(&self, height: u64) -> Result<Option<CommittedBlock>, StoreError> {
        CommittedBlock::load(&*self.store.view()?, height)
    }

    /// The header of the block at `height`, counted from 1, and the votes for it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn header(&self, height: u64) -> Result<Option<(Header, CommitCertificate)>, StoreError> {
        load_header(&*self.store.view()?, height)
    }

    /// A committed transaction, what became of it, and the header of its block; `None` also where its block was pruned.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn transaction(
        &self,
        transaction: &Digest,
    ) -> Result<Option<(Header, Envelope<Transaction>, Receipt)>, StoreError> {
        let Some((block, index)) = self.find_transaction(transaction)? else { return Ok(None) };
        let header = block.block.header;
        let damaged = || StoreError::Damaged { table: Table::Blocks, key: body_key(header.height) };
        let bytes = block.block.transactions.get(index).ok_or_else(damaged)?;
        let receipt = block.receipts.get(index).ok_or_else(damaged)?.clone();
        let envelope = codec::decode(bytes, MAX_BLOCK_BYTES).map_err(|_| damaged())?;
        Ok(Some((header, envelope, receipt)))
    }

    /// The block that holds a transaction, and which of its transactions that is.
    pub(crate) fn find_transaction(
        &self,
        transaction: &Digest,
    ) -> Result<Option<(CommittedBlock, usize)>, StoreError> {
        let view = self.store.view()?;
        let Some((height, index)) = place_in(&*view, transaction)? else { return Ok(None) };
        let damaged = || StoreError::Damaged { table: Table::Index, key: transaction_key(transaction) };
        let block = CommittedBlock::load(&*view, height)?.ok_or_else(damaged)?;
        Ok(Some((block, index)))
    }

    /// The header of the block that holds a transaction, and which of its transactions that is.
    pub(crate) fn place_of(&self, transaction: &Digest) -> Result<Option<(Header, usize)>, StoreError> {
        let view = self.store.view()?;
        let Some((height, index)) = place_in(&*view, transaction)? else { return Ok(None) };
        let damaged = || StoreError::Damaged { table: Table::Index, key: transaction_key(transaction) };
        let (header, _) = load_header(&*view, height)?.ok_or_else(damaged)?;
        Ok(Some((header, index)))
    }

    fn current(&self) -> Current {
        self.state.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The tip, and what is stored at it.
    pub(crate) fn standing(&self) -> Result<(Tip, Box<dyn StoreView>), StoreError> {
        let (current, view) = self.consistent()?;
        Ok((current.tip, view))
    }

    /// What is known and what is stored, both of one block.
    ///
    /// Between the flush of a commit and its announcement the store is one block ahead; whoever looks just then waits for the
    /// announcement, not for a flush.
    pub(crate) fn consistent(&self) -> Result<(Current, Box<dyn StoreView>), StoreError> {
        let current = self.current();
        let view = self.store.view()?;
        if view.get(Table::Meta, TIP)?.is_some_and(|stored| stored == codec::encode(&current.tip)) {
            return Ok((current, view));
        }
        let _no_commit_is_under_way = self.committing.lock().unwrap_or_else(PoisonError::into_inner);
        Ok((self.current(), self.store.view()?))
    }

    pub(crate) fn apply(
        &self,
        current: &Current,
        view: &dyn StoreView,
        block: &Block,
    ) -> Result<Applied, BlockError> {
        application::apply(current, view, self.chain, block, &self.verified)
    }

    pub(crate) fn keep(&self, applied: Applied) {
        *self.ready() = Some(applied);
    }

    fn ready(&self) -> MutexGuard<'_, Option<Applied>> {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The height and number of a transaction, by the index.
fn place_in(view: &dyn StoreView, transaction: &Digest) -> Result<Option<(u64, usize)>, StoreError> {
    let key = transaction_key(transaction);
    let Some(place) = view.get(Table::Index, &key)? else { return Ok(None) };
    let (height, index): (u64, u32) = codec::decode(&place, MAX_META_BYTES)
        .map_err(|_| StoreError::Damaged { table: Table::Index, key })?;
    Ok(Some((height, index as usize)))
}
