//! A block applied to the state before it: what would be stored, if it were committed.

use std::sync::Arc;

use bytes::Bytes;
use dt_model::merkle::CompactRange;
use dt_model::{Digest, PartyId, Timestamp, codec};

use crate::Event;
use crate::block::{Block, Header, MAX_BLOCK_BYTES, leaf_hash, log_root, validators_digest};
use crate::evidence::log;
use crate::parallel::Threads;
use crate::receipt::Receipt;
use crate::replica::admission::AdmissionError;
use crate::replica::authentic::{Authentic, ENVELOPE_BYTES, Received, Verified};
use crate::replica::opening::validators_key;
use crate::replica::specification::Specifications;
use crate::replica::successor::{BlockError, check_header};
use crate::replica::{Current, Tip};
use crate::state::validators_of;
use crate::store::{Batch, StoreError, StoreView, Table};
use crate::transition::{At, Effects, Transition};
use crate::tree;

/// A block as it would be, with what it would do.
pub(crate) struct Applied {
    pub(crate) batch: Batch,
    pub(crate) tip: Tip,
    pub(crate) log: CompactRange,
    pub(crate) specifications: Arc<Specifications>,
    pub(crate) receipts: Vec<Receipt>,
    pub(crate) events: Vec<Event>,
    pub(crate) transactions: Vec<Arc<Authentic>>,
}

/// What a block is made of.
pub(crate) struct Making {
    pub(crate) round: u32,
    pub(crate) time: Timestamp,
    pub(crate) transactions: Vec<Bytes>,
}

/// A transaction that a block was not made of, and why.
pub type Refused = (Bytes, AdmissionError);

impl Applied {
    /// Whether this is `block`, byte for byte, applied to what `tip` is the tip of.
    pub(crate) fn is_of(&self, tip: &Tip, block: &Block) -> bool {
        block.header.previous == tip.block
            && block.header.digest() == self.tip.block
            && self.transactions.iter().map(|transaction| &transaction.bytes).eq(&block.transactions)
    }
}

/// Applies `block` to what `current` and `view` hold, without changing it. Signatures are verified only under a header that fits.
pub(crate) fn apply(
    current: &Current,
    view: &dyn StoreView,
    chain: Digest,
    block: &Block,
    verified: &Verified,
) -> Result<Applied, BlockError> {
    let Block { header, transactions } = block;
    let next = validators_of(view)?;
    check_header(chain, &current.tip, &next, header)?;
    // What is too short to be a transaction counts as one, else there could be millions of them.
    let bytes = transactions.iter().map(|transaction| transaction.len().max(ENVELOPE_BYTES));
    if bytes.sum::<usize>() > MAX_BLOCK_BYTES {
        return Err(BlockError::TooLarge);
    }
    let received: Vec<Received> = transactions.iter().cloned().map(Received::new).collect();
    let leaves: Vec<Digest> = received.iter().map(|transaction| transaction.leaf).collect();
    if header.transactions_root != log_root(&leaves) {
        return Err(BlockError::WrongTransactions);
    }
    let at = At { chain, height: header.height, time: header.time };
    let mut transition = Transition::new(view, &current.specifications, at);
    let mut taken = Vec::with_capacity(received.len());
    verified.each(&received, |index, verdict| {
        let apply = |authentic: Arc<Authentic>| transition.apply(&authentic).map(|()| authentic);
        let applied = verdict.and_then(apply);
        taken.push(applied.map_err(|error| BlockError::Transaction { index, error })?);
        Ok::<_, BlockError>(())
    })?;
    Ok(conclude(current, view, header, transition.finish(), taken, next, verified.threads())?)
}

/// Makes the next block of as many of `transactions` as are admissible, in their order; and the others with why they are not.
pub(crate) fn assemble(
    current: &Current,
    view: &dyn StoreView,
    chain: Digest,
    Making { round, time, transactions }: Making,
    verified: &Verified,
) -> Result<(Block, Applied, Vec<Refused>), StoreError> {
    let tip = &current.tip;
    let at = At { chain, height: tip.height + 1, time: time.max(tip.time) };
    let mut transition = Transition::new(view, &current.specifications, at);
    let (mut taken, mut left, mut bytes) = (Vec::new(), Vec::new(), 0);
    let received: Vec<Received> = transactions.into_iter().map(Received::new).collect();
    verified.each(&received, |index, verdict| {
        let transaction = &received[index].bytes;
        let apply = |authentic: Arc<Authentic>| {
            if bytes + transaction.len() > MAX_BLOCK_BYTES {
                return Err(AdmissionError::Size);
            }
            transition.apply(&authentic).map(|()| authentic)
        };
        match verdict.and_then(apply) {
            Ok(authentic) => {
                bytes += transaction.len();
                taken.push(authentic);
            }
            Err(AdmissionError::Store(error)) => return Err(error),
            Err(error) => left.push((transaction.clone(), error)),
        }
        Ok(())
    })?;
    let leaves: Vec<Digest> = taken.iter().map(|authentic| authentic.leaf).collect();
    let next = validators_of(view)?;
    let header = Header {
        chain,
        height: at.height,
        time: at.time,
        previous: tip.block,
        transactions_root: log_root(&leaves),
        state_root: tip.state_root,
        receipts_root: tip.receipts_root,
        log: tip.log,
        next_validators: validators_digest(&next),
        round,
        resting: tip.resting_after(round),
    };
    let block =
        Block { transactions: taken.iter().map(|authentic| authentic.bytes.clone()).collect(), header };
    let applied =
        conclude(current, view, &block.header, transition.finish(), taken, next, verified.threads())?;
    Ok((block, applied, left))
}

/// What there is to store once the transactions of the block of `header` have had these `effects`, and `validators` vote on the one after.
fn conclude(
    current: &Current,
    view: &dyn StoreView,
    header: &Header,
    effects: Effects,
    transactions: Vec<Arc<Authentic>>,
    validators: Vec<PartyId>,
    threads: Threads,
) -> Result<Applied, StoreError> {
    let mut batch = Batch::default();
    let state_root = tree::update(view, &effects.state, &mut batch, threads)?;
    batch.extend(Table::State, effects.state);
    batch.extend(Table::Index, effects.index.into_iter().map(|(key, value)| (key, Some(value))));
    batch.extend(Table::Specifications, effects.specification_rows);
    if validators != current.tip.validators {
        batch.put(Table::Index, validators_key(header.height + 1), codec::encode(&validators));
    }
    let leaves = transactions.iter().map(|authentic| authentic.leaf);
    let mut log = current.log.clone();
    let log_head = log::append(view, &mut log, leaves, &mut batch)?;
    let mut specifications = Arc::clone(&current.specifications);
    if !effects.specifications.is_empty() {
        Arc::make_mut(&mut specifications).extend(effects.specifications);
    }
    let leaves: Vec<Digest> =
        effects.receipts.iter().map(|receipt| leaf_hash(&codec::encode(receipt))).collect();
    let tip = Tip {
        height: header.height,
        block: header.digest(),
        time: header.time,
        state_root,
        receipts_root: log_root(&leaves),
        log: log_head,
        validators,
        resting: header.resting.clone(),
    };
    let Effects { receipts, events, .. } = effects;
    Ok(Applied { batch, tip, log, specifications, receipts, events, transactions })
}
