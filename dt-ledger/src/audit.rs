//! The paper's *audit* (section 3.2): everything a replica holds is recomputed from its blocks, by somebody who trusts none of its nodes.
//!
//! ```text
//! the auditor's replica ──applies──▶ block h ─▶ roots after h  ≟  header h+1     other: which transaction, which key (divergence.rs)
//! (from the genesis,                         ─▶ outcomes       ≟  body of h
//!  or a verified image)     at the tip       ─▶ all rows       ≟  all rows                                          (rows.rs)
//! ```

mod divergence;
mod rows;

use std::sync::Arc;

use thiserror::Error;

use self::divergence::Divergence;
use crate::block::{CommittedBlock, load_header};
use crate::membership::genesis::Genesis;
use crate::record::StateKey;
use crate::replica::image::{Head, ORIGIN, require_finished};
use crate::replica::opening::{GENESIS, OpenReplicaError, TIP, read_meta};
use crate::replica::pruning::first_block;
use crate::replica::successor::{BlockError, check_votes};
use crate::replica::{Replica, Tip};
use crate::store::{LedgerStore, MemoryStore, StoreError, StoreView, Table, hex};

/// What an audit found in order.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AuditReport {
    /// How far it came.
    pub tip: Tip,
    /// Transactions that were applied.
    pub applied: u64,
    /// Transactions that were refused, each with the rule's name on the chain.
    pub rejected: u64,
    /// Rows of the store that were compared with what they must be: none, where the audit ends before the chain does.
    pub rows: u64,
}

/// The first thing that an audit found out of order.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AuditError {
    /// The store holds another chain than the one that is audited, or none.
    #[error(transparent)]
    Chain(#[from] OpenReplicaError),
    /// The store's chain ends before the audit begins.
    #[error("the chain ends at height {height}, before the audit begins")]
    Behind {
        /// Where it ends.
        height: u64,
    },
    /// Blocks that the audit needs were pruned: it can begin from an image at or after the height before `first`.
    #[error("the blocks before height {first} were pruned")]
    Pruned {
        /// The first block that is there.
        first: u64,
    },
    /// A block is not what its validators committed, or cannot follow on the one before.
    #[error("block {height}: {error}")]
    Block {
        /// Its height.
        height: u64,
        /// What is wrong with it.
        #[source]
        error: BlockError,
    },
    /// A block is missing, or its bytes are damaged.
    #[error("block {height} is missing or damaged")]
    BlockUnreadable {
        /// Its height.
        height: u64,
    },
    /// After this block the chain went on with another state, or other outcomes, than its blocks make: a majority of its validators broke
    /// the rules, or run on damaged rows.
    #[error("block {height}: {}", diverges(transaction.as_ref(), key.as_deref()))]
    Diverges {
        /// The first such block.
        height: u64,
        /// The first transaction whose outcome or writes are others, counted from 0; `None` where a row changed beside all transactions.
        transaction: Option<usize>,
        /// The key in the state ([`StateKey::from_bytes`]): the one that this transaction wrote otherwise, where its receipt proves that.
        /// Else the first whose value is not what all blocks together make it, which may be a consequence. `None` if there is none by now.
        key: Option<Vec<u8>>,
    },
    /// What is stored about a block's results is not what the block does, and not what the chain went on with.
    #[error("block {height}: transaction {transaction} had another outcome than is stored")]
    Outcome {
        /// Its height.
        height: u64,
        /// The first transaction with another receipt, counted from 0; beyond the last, the events differ.
        transaction: usize,
    },
    /// A row is not what the blocks make it.
    #[error("table {}: a row is not what the blocks make it (key {})", table.name(), shown(*table, key))]
    Row {
        /// The table.
        table: Table,
        /// The first such key.
        key: Vec<u8>,
    },
    /// The store did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl AuditError {
    /// The key of the state that is out of order, if that is what was found.
    #[must_use]
    pub fn state_key(&self) -> Option<StateKey> {
        match self {
            Self::Row { table: Table::State, key } | Self::Diverges { key: Some(key), .. } => {
                StateKey::from_bytes(key)
            }
            _ => None,
        }
    }
}

fn diverges(transaction: Option<&usize>, key: Option<&[u8]>) -> String {
    let by = transaction.map_or("no transaction".to_owned(), |index| format!("transaction {index}"));
    let key = key.map_or("no key that still tells".to_owned(), |key| shown(Table::State, key));
    format!("the chain went on from another result; by {by}, at {key}")
}

fn shown(table: Table, key: &[u8]) -> String {
    match StateKey::from_bytes(key) {
        Some(key) if table == Table::State => format!("{key:?}"),
        _ => hex(key),
    }
}

/// Replays the chain that `store` holds from `genesis`, the one thing that the auditor trusts, and compares all that is stored with what
/// comes out: blocks and their votes, outcomes, every value of the state, every node of its Merkle map, every trace.
///
/// `progress` is told each height when it is done. [`Replica::audit`] is the same from elsewhere, up to elsewhere, or on disk.
///
/// # Errors
/// [`AuditError`] names the first divergence.
pub fn audit(
    store: &dyn LedgerStore,
    genesis: &Genesis,
    progress: &mut dyn FnMut(u64),
) -> Result<AuditReport, AuditError> {
    Replica::open(Arc::new(MemoryStore::default()), genesis)?.audit(store, u64::MAX, progress)
}

impl Replica {
    /// Audits what `store` holds of this chain, from where this replica stands up to height `until`, or to the end of the store's chain.
    ///
    /// This is the auditor's own replica, in a store of his: fresh, from an image that he has verified ([`crate::Image::import`]), or as an
    /// earlier audit has left it. It follows the audited chain as far as that is in order. What lies before is not looked into, but for the
    /// chain of headers; the blocks after `until` only for what their headers say.
    ///
    /// # Errors
    /// [`AuditError`] names the first divergence.
    pub fn audit(
        &self,
        store: &dyn LedgerStore,
        until: u64,
        progress: &mut dyn FnMut(u64),
    ) -> Result<AuditReport, AuditError> {
        let audited = Audited::of(store.view()?, self.genesis())?;
        let start = self.tip();
        if audited.tip.height < start.height {
            return Err(AuditError::Behind { height: audited.tip.height });
        }
        if audited.tip.height > start.height && audited.first > start.height + 1 {
            return Err(AuditError::Pruned { first: audited.first });
        }
        self.check_start(&audited)?;
        let (mut applied, mut rejected) = (0, 0);
        let until = until.clamp(start.height, audited.tip.height);
        for height in start.height + 1..=until {
            let (all, refused) = self.replay(&audited, height)?;
            (applied, rejected) = (applied + all - refused, rejected + refused);
            progress(height);
        }
        let replayed = self.store().view()?;
        let at_the_end = until == audited.tip.height;
        let rows = if at_the_end { rows::compare(&audited, &*replayed, &start)? } else { 0 };
        Ok(AuditReport { tip: self.tip(), applied, rejected, rows })
    }

    /// Whether the audited chain goes on from where this replica stands.
    fn check_start(&self, audited: &Audited) -> Result<(), AuditError> {
        let (current, view) = self.consistent()?;
        if audited.went_on_from(&current.tip)? {
            return Ok(());
        }
        let divergence = Divergence { chain: self.chain(), current: &current, view: &*view, audited };
        divergence.before()?.map_or(Ok(()), Err)
    }

    /// Replays one block of the audited chain: how many transactions it has, and how many of them were refused.
    fn replay(&self, audited: &Audited, height: u64) -> Result<(u64, u64), AuditError> {
        let of_block = |error| AuditError::Block { height, error };
        let CommittedBlock { block, certificate, receipts, events } = audited.block(height)?;
        let (current, view) = self.consistent()?;
        let votes = || check_votes(&current.tip.validators, &block.header, &certificate).map_err(of_block);
        let applied = match self.apply(&current, &*view, &block) {
            Ok(applied) => applied,
            Err(error) => return votes().and(Err(of_block(error))),
        };
        let differs = first_difference(&applied.receipts, &receipts);
        if !audited.went_on_from(&applied.tip)? {
            votes()?;
            let divergence = Divergence { chain: self.chain(), current: &current, view: &*view, audited };
            let found = divergence.after(&block.header, &applied, &receipts, differs)?;
            found.map_or(Ok(()), Err)?;
        }
        if differs.is_some() || applied.events != events {
            votes()?;
            let transaction = differs.unwrap_or(applied.receipts.len());
            return Err(AuditError::Outcome { height, transaction });
        }
        let refused = receipts.iter().filter(|receipt| receipt.result().is_err()).count() as u64;
        self.keep(applied);
        drop(view);
        self.commit(block, certificate).map_err(of_block)?;
        Ok((receipts.len() as u64, refused))
    }
}

fn first_difference<T: PartialEq>(ours: &[T], theirs: &[T]) -> Option<usize> {
    let differs = ours.iter().zip(theirs).position(|(ours, theirs)| ours != theirs);
    differs.or_else(|| (ours.len() != theirs.len()).then(|| ours.len().min(theirs.len())))
}

/// The store that is audited, as it was when the audit began.
struct Audited {
    view: Box<dyn StoreView>,
    tip: Tip,
    /// The first block that is there whole.
    first: u64,
    /// The first header that is there.
    first_header: u64,
}

impl Audited {
    fn of(view: Box<dyn StoreView>, genesis: &Genesis) -> Result<Self, AuditError> {
        require_finished(&*view)?;
        match read_meta::<Genesis>(&*view, GENESIS)? {
            None => return Err(OpenReplicaError::NoChain.into()),
            Some(found) if found != *genesis => {
                return Err(OpenReplicaError::OtherChain { found: found.chain() }.into());
            }
            Some(_) => {}
        }
        let tip = read_meta(&*view, TIP)?;
        let tip = tip.ok_or_else(|| AuditError::Row { table: Table::Meta, key: TIP.to_vec() })?;
        let origin: Option<Head> = read_meta(&*view, ORIGIN)?;
        let first_header = origin.map_or(1, |origin| origin.header.height);
        let first = first_block(&*view)?;
        Ok(Self { view, tip, first, first_header })
    }

    fn block(&self, height: u64) -> Result<CommittedBlock, AuditError> {
        match CommittedBlock::load(&*self.view, height) {
            Ok(Some(committed)) => Ok(committed),
            Ok(None) | Err(StoreError::Damaged { table: Table::Blocks, .. }) => {
                Err(AuditError::BlockUnreadable { height })
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Whether the chain goes on from the results that `tip` has. A next header that cannot be read, or that is not the validators',
    /// says nothing about it: it is found when its turn comes.
    fn went_on_from(&self, tip: &Tip) -> Result<bool, AuditError> {
        let ours = (tip.state_root, tip.receipts_root);
        if tip.height == self.tip.height {
            return Ok(ours == (self.tip.state_root, self.tip.receipts_root));
        }
        let (header, certificate) = match load_header(&*self.view, tip.height + 1) {
            Ok(Some(found)) => found,
            Ok(None) | Err(StoreError::Damaged { table: Table::Blocks, .. }) => return Ok(true),
            Err(error) => return Err(error.into()),
        };
        let follows = header.height == tip.height + 1 && header.previous == tip.block;
        Ok(ours == (header.state_root, header.receipts_root)
            || !follows
            || check_votes(&tip.validators, &header, &certificate).is_err())
    }
}
