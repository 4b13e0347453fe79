//! A ledger's replica: what a consensus adapter drives, and what a participant reads.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use borsh::{BorshDeserialize, BorshSerialize};
use bytes::Bytes;
use dt_aml::{Document, Edit, Limits};
use dt_model::{Digest, Envelope, PartyId, Signed, Timestamp, TwinId, codec};
use thiserror::Error;

use crate::admission::{self, AdmissionError};
use crate::block::{
    Block, Commit, CommitCertificate, CommittedBlock, Header, MAX_BLOCK_BYTES, log_root, vote_quorum,
};
use crate::genesis::{Genesis, GenesisError};
use crate::receipt::Receipt;
use crate::record::{Resource, Specification, StateKey, TraceEntry};
use crate::state::{Snapshot, Specifications, State, decode_value};
use crate::store::{Batch, LedgerStore, StoreError, StoreView, Table, scan_prefix};
use crate::transaction::MAX_AML_BYTES;
use crate::transition::{At, Transition, trace_key, transaction_key};
use crate::{Event, Transaction, tree};

/// Why a block is not the chain's next.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BlockError {
    /// It is for another chain.
    #[error("the block is for another chain")]
    WrongChain,
    /// It is not the next.
    #[error("the next height is {expected}, not {found}")]
    WrongHeight {
        /// The next height.
        expected: u64,
        /// The block's.
        found: u64,
    },
    /// It does not build on our last block.
    #[error("the block builds on another predecessor")]
    WrongPredecessor,
    /// Its time is before the last block's.
    #[error("the block's time goes back")]
    TimeGoesBack,
    /// Its proposer computed another state from the blocks before: one of us is wrong, and must stop.
    #[error("the state before the block is another: its proposer has {found}, we have {expected}")]
    StateDiverges {
        /// Our root.
        expected: Digest,
        /// The block's.
        found: Digest,
    },
    /// Its proposer computed other receipts for the block before.
    #[error("the receipts before the block are others")]
    ReceiptsDiverge,
    /// Its header commits to other transactions.
    #[error("the transactions are not those of the header")]
    WrongTransactions,
    /// It is larger than a block may be.
    #[error("the block is larger than {MAX_BLOCK_BYTES} bytes")]
    TooLarge,
    /// A transaction in it is not admissible.
    #[error("transaction {index}: {error}")]
    Transaction {
        /// Counted from 0.
        index: usize,
        /// Why.
        #[source]
        error: AdmissionError,
    },
    /// Too few validators voted for it, or a vote is not one.
    #[error("{votes} of {needed} votes commit the block")]
    Uncommitted {
        /// Valid votes of distinct validators.
        votes: usize,
        /// Votes needed.
        needed: usize,
    },
    /// The store did not answer, or did not write.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a replica did not come up.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OpenReplicaError {
    /// The genesis cannot begin a chain.
    #[error(transparent)]
    Genesis(#[from] GenesisError),
    /// The store holds another chain.
    #[error("the store holds the chain {}", found.short())]
    OtherChain {
        /// That chain.
        found: Digest,
    },
    /// The store holds no chain.
    #[error("the store holds no chain")]
    NoChain,
    /// The specification of a twin cannot be rebuilt from its base and edits.
    #[error("the specification of twin {} cannot be rebuilt", .0.short())]
    Specification(TwinId),
    /// The store did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

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

/// Rows of [`Table::Meta`].
pub(crate) const GENESIS: &[u8] = b"genesis";
const TIP: &[u8] = b"tip";
/// Neither row is ever longer.
const MAX_META_BYTES: usize = 1024 * 1024;
/// Trace entries that one query returns.
const MAX_TRACE: usize = 100_000;

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
        check_votes(&self.genesis.validators, &block.header, &certificate)?;
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
        let rows = scan_prefix(&*snapshot.view, Table::Index, &first[..first.len() - 8], MAX_TRACE)?;
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

fn check_header(chain: Digest, tip: &Tip, block: &Block) -> Result<(), BlockError> {
    let Block { header, transactions } = block;
    if header.chain != chain {
        return Err(BlockError::WrongChain);
    }
    if header.height != tip.height + 1 {
        return Err(BlockError::WrongHeight { expected: tip.height + 1, found: header.height });
    }
    if header.previous != tip.block {
        return Err(BlockError::WrongPredecessor);
    }
    if header.time < tip.time {
        return Err(BlockError::TimeGoesBack);
    }
    if header.state_root != tip.state_root {
        return Err(BlockError::StateDiverges { expected: tip.state_root, found: header.state_root });
    }
    if header.receipts_root != tip.receipts_root {
        return Err(BlockError::ReceiptsDiverge);
    }
    if transactions.iter().map(Bytes::len).sum::<usize>() > MAX_BLOCK_BYTES {
        return Err(BlockError::TooLarge);
    }
    if header.transactions_root != log_root(transactions.iter().map(AsRef::as_ref)) {
        return Err(BlockError::WrongTransactions);
    }
    Ok(())
}

/// Whether more than two thirds of `validators`, each once and nobody else, voted for the block of `header`.
pub(crate) fn check_votes(
    validators: &[PartyId],
    header: &Header,
    certificate: &CommitCertificate,
) -> Result<(), BlockError> {
    let needed = vote_quorum(validators.len());
    let vote = Commit { chain: header.chain, height: header.height, block: header.digest() };
    let mut voters: Vec<PartyId> = Vec::with_capacity(needed);
    // A vote that is none condemns the certificate: what is stored and audited holds nothing that nobody answers for. The first such
    // vote ends the work, so there are never more signatures to check than validators.
    for envelope in &certificate.votes {
        let is_new = validators.contains(&envelope.signer()) && !voters.contains(&envelope.signer());
        if !is_new || !envelope.clone().open().is_ok_and(|signed| *signed.value() == vote) {
            return Err(BlockError::Uncommitted { votes: voters.len(), needed });
        }
        voters.push(envelope.signer());
    }
    if voters.len() < needed {
        return Err(BlockError::Uncommitted { votes: voters.len(), needed });
    }
    Ok(())
}

/// Writes the state that `genesis` begins with.
fn begin(store: &dyn LedgerStore, genesis: &Genesis) -> Result<(), StoreError> {
    let chain = genesis.chain();
    let mut state = BTreeMap::new();
    for organisation in &genesis.organisations {
        state.insert(
            StateKey::Authority(organisation.authority).to_bytes(),
            Some(codec::encode(&organisation.name)),
        );
    }
    state.insert(StateKey::Validators.to_bytes(), Some(codec::encode(&genesis.validators)));
    let mut batch = Batch::default();
    let state_root = tree::update(&*store.view()?, &state, &mut batch)?;
    batch.writes.extend(state.into_iter().map(|(key, value)| ((Table::State, key), value)));
    let receipts_root = log_root([]);
    let tip = Tip { height: 0, block: chain, time: genesis.time, state_root, receipts_root };
    batch.put(Table::Meta, GENESIS, codec::encode(genesis));
    batch.put(Table::Meta, TIP, codec::encode(&tip));
    store.commit(batch)
}

pub(crate) fn read_meta<T: BorshSerialize + BorshDeserialize>(
    view: &dyn StoreView,
    key: &[u8],
) -> Result<Option<T>, StoreError> {
    let Some(bytes) = view.get(Table::Meta, key)? else { return Ok(None) };
    codec::decode(&bytes, MAX_META_BYTES)
        .map(Some)
        .map_err(|_| StoreError::Damaged { table: Table::Meta, key: key.to_vec() })
}

/// Parses every twin's base, applies its edits, and checks that the result has the root that the state says.
fn rebuild(view: &dyn StoreView) -> Result<Specifications, OpenReplicaError> {
    /// The tag of [`StateKey::Specification`], by which all specifications are found.
    const TAG: [u8; 1] = [9];
    let mut specifications = Specifications::new();
    for (key, value) in scan_prefix(view, Table::State, &TAG, usize::MAX)? {
        let damaged = |_| StoreError::Damaged { table: Table::State, key: key.clone() };
        let key = codec::decode(&key, MAX_META_BYTES).map_err(damaged)?;
        let StateKey::Specification(twin) = key else { continue };
        let stands: Specification = decode_value(&key, &value)?;
        let document =
            rebuild_one(view, twin, stands.version)?.ok_or(OpenReplicaError::Specification(twin))?;
        if document.root_hash().as_bytes() != stands.root.as_bytes() {
            return Err(OpenReplicaError::Specification(twin));
        }
        specifications.insert(twin, Arc::new(document));
    }
    Ok(specifications)
}

fn rebuild_one(view: &dyn StoreView, twin: TwinId, version: u64) -> Result<Option<Document>, StoreError> {
    let read = |key: &StateKey| view.get(Table::State, &key.to_bytes());
    let base = StateKey::SpecificationBase(twin);
    let Some(bytes) = read(&base)? else { return Ok(None) };
    let aml: Vec<u8> = decode_value(&base, &bytes)?;
    debug_assert!(aml.len() <= MAX_AML_BYTES, "checked when it was admitted");
    let Ok(mut document) = Document::parse(&aml, &Limits::default()) else { return Ok(None) };
    for number in 1..=version {
        let key = StateKey::SpecificationEdits(twin, number);
        let Some(bytes) = read(&key)? else { return Ok(None) };
        let edits: Vec<Edit> = decode_value(&key, &bytes)?;
        if document.apply(&edits).is_err() {
            return Ok(None);
        }
    }
    Ok(Some(document))
}
