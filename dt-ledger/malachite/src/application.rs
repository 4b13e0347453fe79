//! What stands between the engine, which decides on digests, and the replica, which knows blocks.
//!
//! ```text
//! GetValue ─▶ Replica::prepare (durable) ─▶ stream of parts ─▶ others: put together ─▶ Replica::verify, hold (durable) ─▶ "valid"
//! Decided  ─▶ Replica::commit (durable) ─▶ Finalized ─▶ wait for transactions, or the idle time ─▶ the next height
//! behind   ─▶ GetDecidedValues of a peer ─▶ ProcessSyncedValue: certificate, then Replica::verify
//! ```
//!
//! # Invariants
//! - A block is on this disk before this node votes for it, so what has its votes can be committed by whoever voted. So is one that a peer gave it
//!   while it caught up, before the engine hears that it is good: a validator's engine writes that into its journal, and after a crash decides by the
//!   votes alone, without asking for the block again.
//! - Asked twice for the block of a height and round, the proposer gives the same, crash or not ([`dt_ledger::Replica::prepare`]).
//! - What does not follow from our own state, but has the votes of a quorum, ends this node ([`Halt::Diverged`]): it is wrong, or more than a
//!   third of the validators are.

mod proposals;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use dt_ledger::{Block, BlockError, CommitCertificate, Replica, StoreError, Tip, Verifier};
use dt_model::{Digest, Signer, Timestamp, codec};
use malachite::app::engine::host::{Next, SyncedValueOutcome};
use malachite::app::types::ProposedValue;
use malachite::app::types::core::{
    CommitCertificate as EngineCertificate, HeightParams, LinearTimeouts, Round, Validity,
};
use malachite::app::types::sync::RawDecidedValue;
use malachite::{AppMsg, NetworkMsg, Reply};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tracing::{debug, error, info, warn};

use crate::bodies::{MAX_BODY_BYTES, Offered, Streams};
use crate::config::Pace;
use crate::context::{Address, BlockId, Chain, Height, Validators};
use crate::evidence::{Equivocation, equivocations};
use crate::shared::{Halt, Shared};
use crate::signing::{FirstVotes, Signatures};

/// Blocks in one answer to a peer that catches up.
const MAX_ANSWER_BLOCKS: u64 = 64;

/// A block of more transactions than this was made under load: of fewer, each may be somebody's who waits for it to hand in the next one.
const FEW: usize = 4;

/// Contradictions that are remembered: one says enough of a validator.
const MAX_EQUIVOCATIONS: usize = 1024;

/// The driver of one node.
pub(crate) struct Application {
    pub(crate) shared: Arc<Shared>,
    pub(crate) keys: Arc<dyn Signer>,
    pub(crate) pace: Pace,
    pub(crate) network: mpsc::Sender<NetworkMsg<Chain>>,
    /// What this process has voted for, if the key has never voted before.
    pub(crate) first_votes: Option<FirstVotes>,
    signatures: Signatures,
    streams: Streams,
    /// Blocks for the next height that follow from our state.
    blocks: BTreeMap<Digest, Arc<Block>>,
    early: Vec<Offered>,
    /// When the present height was begun.
    begun: Instant,
    /// Transactions in the last block that was committed here.
    last: usize,
}

impl Application {
    pub(crate) fn new(
        shared: Arc<Shared>,
        keys: Arc<dyn Signer>,
        pace: Pace,
        network: mpsc::Sender<NetworkMsg<Chain>>,
        first_votes: Option<FirstVotes>,
    ) -> Self {
        let chain = shared.replica.chain();
        Self {
            shared,
            keys,
            pace,
            network,
            first_votes,
            signatures: Signatures::of(chain),
            streams: Streams::new(chain),
            blocks: BTreeMap::new(),
            early: Vec::new(),
            begun: Instant::now(),
            last: 0,
        }
    }

    /// Answers the engine until one of the two stops.
    pub(crate) async fn run(mut self, mut engine: mpsc::Receiver<AppMsg<Chain>>) {
        let halt = loop {
            let Some(message) = engine.recv().await else { break Halt::Engine };
            if let Err(halt) = self.answer(message).await {
                break halt;
            }
        };
        if self.shared.stopping.load(Ordering::SeqCst) {
            info!("this node is stopped");
        } else {
            error!(%halt, "this node stops");
        }
        self.shared.halted.send_replace(Some(Arc::new(halt)));
        // The engine waits for ever for what is not answered, so nobody hears from this node again.
    }

    async fn answer(&mut self, message: AppMsg<Chain>) -> Result<(), Halt> {
        match message {
            AppMsg::ConsensusReady { reply } => {
                for block in self.shared.replica.held()? {
                    self.blocks.insert(block.header.digest(), Arc::new(block));
                }
                let tip = self.shared.replica.tip();
                if !self.blocks.is_empty() {
                    // Others may have decided on one of these, and gone on.
                    self.shared.stir(tip.height + 2);
                }
                send(reply, (Height(tip.height + 1), self.parameters(&tip)));
            }
            AppMsg::StartedRound { height, round, reply_value, .. } => {
                debug!(height = height.0, round = round.as_i64(), "round");
                if round == Round::ZERO {
                    self.begun = Instant::now();
                }
                let next = self.shared.replica.tip().height + 1;
                let early = std::mem::take(&mut self.early).into_iter();
                let (due, early) = early.partition(|offered| offered.announcement.height <= next);
                self.early = early;
                let due: Vec<Offered> = due;
                let mut values = Vec::new();
                for offered in due {
                    values.extend(self.judge(offered).await?);
                }
                send(reply_value, values);
            }
            AppMsg::GetValue { height, round, reply, .. } => self.propose(height, round, reply).await?,
            AppMsg::ReceivedProposalPart { from, published_by, part, reply } => {
                let value = self.receive(published_by.unwrap_or(from), part).await?;
                send(reply, value);
            }
            AppMsg::RestreamProposal { height, round, valid_round, value_id, .. } => {
                if let (Some(block), Some(round)) = (self.blocks.get(&value_id.0).cloned(), round.as_u32()) {
                    self.stream(height.0, round, valid_round.as_u32(), &block).await?;
                }
            }
            AppMsg::Decided { certificate, reply, .. } => {
                debug!(height = certificate.height.0, "decided");
                self.commit(&certificate).await?;
                send(reply, ());
            }
            AppMsg::Finalized { reply, evidence, .. } => {
                self.report(equivocations(&evidence));
                self.go_on(reply);
            }
            AppMsg::GetHistoryMinHeight { reply } => send(reply, Height(self.shared.replica.first_block()?)),
            AppMsg::GetDecidedValues { range, reply } => {
                let (first, last) = (range.start().0, range.end().0);
                let replica = Arc::clone(&self.shared.replica);
                send(reply, blocking(move || decided(&replica, first, last)).await??);
            }
            AppMsg::ProcessSyncedValue { height, round, proposer, value_bytes, reply } => {
                send(reply, self.catch_up(height, round, proposer, &value_bytes).await?);
            }
            // No height has vote extensions.
            AppMsg::ExtendVote { reply, .. } => send(reply, None),
            AppMsg::VerifyVoteExtensions { reply, .. } => send(reply, Vec::new()),
        }
        Ok(())
    }

    /// Who votes on the block after `tip`, and how long they wait for each other.
    fn parameters(&self, tip: &Tip) -> HeightParams<Chain> {
        let Pace { propose, vote, step, .. } = self.pace;
        let timeouts = LinearTimeouts {
            propose,
            propose_delta: step,
            prevote: vote,
            prevote_delta: step,
            precommit: vote,
            precommit_delta: step,
            rebroadcast: propose + vote + vote,
            ..LinearTimeouts::default()
        };
        HeightParams::new(Validators::after(tip), timeouts, None)
    }

    /// Makes what was decided the chain's next block.
    async fn commit(&mut self, decided: &EngineCertificate<Chain>) -> Result<(), Halt> {
        let height = decided.height.0;
        if height <= self.shared.replica.tip().height {
            return Ok(());
        }
        let lost = || Halt::BlockLost { height };
        let block = self.blocks.get(&decided.value_id.0).cloned().ok_or_else(lost)?;
        let certificate = self.signatures.certificate(decided).ok_or_else(lost)?;
        self.check_own_vote(height, &certificate)?;
        let replica = Arc::clone(&self.shared.replica);
        let block = Arc::unwrap_or_clone(block);
        let committed = blocking(move || replica.commit(block, certificate)).await?;
        let committed = committed.map_err(|error| match error {
            BlockError::Store(error) => Halt::Store(error),
            error => Halt::Diverged { height, error },
        })?;
        info!(height, transactions = committed.receipts.len(), round = decided.round.as_i64(), "block");
        self.last = committed.receipts.len();
        self.blocks.clear();
        self.streams.prune(height + 1);
        self.shared.mempool().committed(&committed, (self.shared.clock)());
        self.shared.newest.send_replace((height, Some(committed)));
        Ok(())
    }

    /// Remembers who contradicted himself, for whoever asks.
    fn report(&self, found: Vec<Equivocation>) {
        let mut known = self.shared.equivocations();
        for equivocation in found {
            let Equivocation { validator, height, round, act, .. } = equivocation;
            if known.len() < MAX_EQUIVOCATIONS && !known.contains(&equivocation) {
                warn!(validator = %validator.short(), height, round, ?act, "a validator contradicts itself");
                known.push(equivocation);
            }
        }
    }

    /// Starts the next height when others have, when there is reason for a block, or the idle time is over.
    fn go_on(&self, reply: Reply<Next<Chain>>) {
        let tip = self.shared.replica.tip();
        let (next, parameters) = (tip.height + 1, self.parameters(&tip));
        let (shared, now, idle) = (Arc::clone(&self.shared), Instant::now(), self.pace.idle);
        let Pace { block, gather, .. } = self.pace;
        let due = self.begun + if self.last > FEW { gather.max(block) } else { block };
        tokio::spawn(async move {
            let (mut ahead, mut waiting) = (shared.stirred.subscribe(), shared.stirred.subscribe());
            let reason = async {
                sleep_until(due).await;
                let _ = waiting.wait_for(|_| !shared.mempool().is_empty()).await;
            };
            let mut halted = shared.halted.subscribe();
            tokio::select! {
                _ = ahead.wait_for(|height| *height >= next) => {}
                () = reason => {}
                () = sleep_until(now + idle) => {}
                _ = halted.wait_for(Option::is_some) => return,
            }
            send(reply, Next::Start(Height(next), parameters));
        });
    }

    /// Takes a block of the past that a peer gave us.
    async fn catch_up(
        &mut self,
        height: Height,
        round: Round,
        proposer: Address,
        bytes: &Bytes,
    ) -> Result<SyncedValueOutcome<Chain>, Halt> {
        let tip = self.shared.replica.tip();
        if height.0 != tip.height + 1 {
            return Ok(SyncedValueOutcome::LocalTransientError);
        }
        let Ok((block, certificate)) = codec::decode::<(Block, CommitCertificate)>(bytes, MAX_BODY_BYTES)
        else {
            return Ok(SyncedValueOutcome::PeerFault);
        };
        let voters = Verifier::trusting(self.shared.replica.chain(), tip.validators.clone());
        if block.header.height != height.0 || voters.header(&block.header, &certificate).is_err() {
            return Ok(SyncedValueOutcome::PeerFault);
        }
        self.check_own_vote(height.0, &certificate)?;
        let block = Arc::new(block);
        // Its votes say that its time was right. The engine of somebody who does not vote remembers nothing of it.
        let remembers = tip.validators.contains(&self.keys.party());
        let verdict = self.accept(&tip, &block, Timestamp::MAX, remembers).await?;
        verdict.map_err(|error| Halt::Diverged { height: height.0, error })?;
        // Others may have come further: no time is lost before the next one.
        self.shared.stir(height.0 + 1);
        Ok(SyncedValueOutcome::Verdict(ProposedValue {
            height,
            round,
            valid_round: Round::Nil,
            proposer,
            value: BlockId(block.header.digest()),
            validity: Validity::Valid,
        }))
    }

    /// Whoever votes for the first time has not voted before.
    fn check_own_vote(&self, height: u64, certificate: &CommitCertificate) -> Result<(), Halt> {
        let Some(first) = &self.first_votes else { return Ok(()) };
        let own = self.keys.party();
        let voted = certificate.votes.iter().any(|vote| vote.signer() == own);
        if voted && !first.contains(height) { Err(Halt::VotedBefore { height }) } else { Ok(()) }
    }
}

/// Committed blocks from `first` to `last`, or as many as go into an answer.
fn decided(replica: &Replica, first: u64, last: u64) -> Result<Vec<RawDecidedValue<Chain>>, StoreError> {
    let mut values = Vec::new();
    for height in (first..=last).take(usize::try_from(MAX_ANSWER_BLOCKS).unwrap_or(usize::MAX)) {
        let Some(committed) = replica.block(height)? else { break };
        let (block, certificate) = (committed.block, committed.certificate);
        let engine = Signatures::engine_certificate(height, block.header.digest(), &certificate);
        values.push(RawDecidedValue::new(codec::encode(&(block, certificate)).into(), engine));
    }
    Ok(values)
}

/// Does what waits for the disk, or works long, where it holds up nobody.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Halt> {
    tokio::task::spawn_blocking(work).await.map_err(|_| Halt::Engine)
}

/// Nobody listens where the engine has gone.
fn send<T>(reply: Reply<T>, value: T) {
    let _ = reply.send(value);
}
