//! What stands between the engine, which decides on digests, and the replica, which knows blocks.
//!
//! ```text
//! GetValue ─▶ Replica::prepare (durable) ─▶ stream of parts ─▶ others: put together ─▶ Replica::verify, hold (durable) ─▶ "valid"
//! Decided  ─▶ Replica::commit (durable) ─▶ Finalized ─▶ wait for transactions, or the idle time ─▶ the next height
//! behind   ─▶ GetDecidedValues of a peer ─▶ ProcessSyncedValue: certificate, then Replica::verify
//! ```
//!
//! # Invariants
//! - A block is on this disk before this node votes for it, so what has its votes can be committed by whoever voted.
//! - Asked twice for the block of a height and round, the proposer gives the same, crash or not ([`dt_ledger::Replica::prepare`]).
//! - What does not follow from our own state, but has the votes of a quorum, ends this node ([`Halt::Diverged`]): it is wrong, or more than a
//!   third of the validators are.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use dt_ledger::{
    AdmissionError, Block, BlockError, Clock, CommitCertificate, CommittedBlock, Mempool, Replica,
    StoreError, Tip, Verifier,
};
use dt_model::{Digest, PartyId, Signer, SignerError, Timestamp, codec};
use malachite::app::engine::host::{Next, SyncedValueOutcome};
use malachite::app::types::core::{
    CommitCertificate as EngineCertificate, HeightParams, LinearTimeouts, Round, Validity,
};
use malachite::app::types::streaming::StreamMessage;
use malachite::app::types::sync::RawDecidedValue;
use malachite::app::types::{LocallyProposedValue, PeerId, ProposedValue};
use malachite::{AppMsg, NetworkMsg, Reply};
use tokio::sync::{mpsc, watch};
use tokio::time::{Duration, Instant, sleep_until};
use tracing::{debug, error, info, warn};

use crate::bodies::{Announcement, MAX_BODY_BYTES, Offered, Streams, cut};
use crate::config::Pace;
use crate::context::{Address, BlockId, Chain, Height, Part, Validators};
use crate::evidence::{Equivocation, equivocations};
use crate::signing::Signatures;

/// Proposals for the next height that came before this one was committed.
const MAX_EARLY: usize = 16;
/// Blocks in one answer to a peer that catches up.
const MAX_ANSWER_BLOCKS: u64 = 64;

/// Contradictions that are remembered: one says enough of a validator.
const MAX_EQUIVOCATIONS: usize = 1024;

/// Why a node stopped for good. It must not be started again before somebody has looked into it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Halt {
    /// The validators committed a block that does not follow from our state.
    #[error("block {height} has its votes, but does not follow from our state: {error}")]
    Diverged {
        /// The block's height.
        height: u64,
        /// Why not.
        #[source]
        error: BlockError,
    },
    /// A block was decided that is not here, though nobody votes for what he does not hold.
    #[error("block {height} was decided, and is not here")]
    BlockLost {
        /// Its height.
        height: u64,
    },
    /// The chain has votes of our key that this node did not give: its journal was lost, or the key is used elsewhere.
    #[error("block {height} has a vote of our key, which this node did not give")]
    VotedBefore {
        /// The block's height.
        height: u64,
    },
    /// The disk failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The keys did not sign.
    #[error(transparent)]
    Signer(#[from] SignerError),
    /// The engine has stopped; its log says why.
    #[error("the engine has stopped")]
    Engine,
}

/// What the driver shares with whoever asks.
pub(crate) struct Shared {
    pub(crate) replica: Arc<Replica>,
    pub(crate) clock: Clock,
    pub(crate) mempool: Mutex<Mempool>,
    /// The last height, and its block, if this process has committed it.
    pub(crate) newest: watch::Sender<(u64, Option<Arc<CommittedBlock>>)>,
    pub(crate) halted: watch::Sender<Option<Arc<Halt>>>,
    /// Who was seen to contradict himself.
    pub(crate) equivocations: Mutex<Vec<Equivocation>>,
    /// Changes whenever there is reason for a block.
    pub(crate) stirred: watch::Sender<u64>,
}

impl Shared {
    pub(crate) fn mempool(&self) -> MutexGuard<'_, Mempool> {
        self.mempool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn equivocations(&self) -> MutexGuard<'_, Vec<Equivocation>> {
        self.equivocations.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// There is reason for a block at `height`.
    pub(crate) fn stir(&self, height: u64) {
        self.stirred.send_modify(|stirred| *stirred = height.max(*stirred));
    }
}

/// The driver of one node.
pub(crate) struct Application {
    pub(crate) shared: Arc<Shared>,
    pub(crate) keys: Arc<dyn Signer>,
    pub(crate) pace: Pace,
    pub(crate) network: mpsc::Sender<NetworkMsg<Chain>>,
    /// What this process has voted for, if the key has never voted before.
    pub(crate) first_votes: Option<crate::signing::FirstVotes>,
    signatures: Signatures,
    streams: Streams,
    /// Blocks for the next height that follow from our state.
    blocks: BTreeMap<Digest, Arc<Block>>,
    early: Vec<Offered>,
    /// When the present height was begun.
    begun: Instant,
}

impl Application {
    pub(crate) fn new(
        shared: Arc<Shared>,
        keys: Arc<dyn Signer>,
        pace: Pace,
        network: mpsc::Sender<NetworkMsg<Chain>>,
        first_votes: Option<crate::signing::FirstVotes>,
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
        error!(%halt, "this node stops");
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
                send(reply, (Height(tip.height + 1), self.parameters(&tip)));
            }
            AppMsg::StartedRound { height, round, reply_value, .. } => {
                debug!(%height, %round, "round");
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

    /// Proposes a block of what waits here.
    async fn propose(
        &mut self,
        height: Height,
        round: Round,
        reply: Reply<LocallyProposedValue<Chain>>,
    ) -> Result<(), Halt> {
        let tip = self.shared.replica.tip();
        let Some(number) = round.as_u32().filter(|_| height.0 == tip.height + 1) else { return Ok(()) };
        let time = (self.shared.clock)().max(tip.time.saturating_add(Duration::from_millis(1)));
        let batch = self.shared.mempool().batch(self.pace.block_bytes);
        let replica = Arc::clone(&self.shared.replica);
        let (block, refused) = blocking(move || replica.prepare(number, batch, time)).await??;
        for (transaction, reason) in &refused {
            debug!(%reason, "a transaction is not in our block");
            self.shared.mempool().refused(transaction, reason);
        }
        let block = Arc::new(block);
        self.blocks.insert(block.header.digest(), Arc::clone(&block));
        send(reply, LocallyProposedValue::new(height, round, BlockId(block.header.digest())));
        self.stream(height.0, number, None, &block).await
    }

    async fn stream(
        &self,
        height: u64,
        round: u32,
        valid_round: Option<u32>,
        block: &Block,
    ) -> Result<(), Halt> {
        let body = Bytes::from(codec::encode(block));
        let announcement = Announcement {
            chain: self.shared.replica.chain(),
            height,
            round,
            valid_round,
            block: block.header.digest(),
            length: u32::try_from(body.len()).unwrap_or(u32::MAX),
        };
        for part in cut(announcement, &body, &*self.keys)? {
            self.network.send(NetworkMsg::PublishProposalPart(part)).await.map_err(|_| Halt::Engine)?;
        }
        Ok(())
    }

    /// Takes a part of a proposal; what the engine may vote on, if that makes it whole.
    async fn receive(
        &mut self,
        publisher: PeerId,
        part: StreamMessage<Part>,
    ) -> Result<Option<ProposedValue<Chain>>, Halt> {
        let tip = self.shared.replica.tip();
        let (next, blocks) = (tip.height + 1, &self.blocks);
        let known = |block: &Digest| blocks.get(block).cloned();
        let votes = |party: &PartyId| tip.validators.contains(party);
        let Some(offered) = self.streams.take(publisher, part, next, known, votes) else { return Ok(None) };
        self.shared.stir(offered.announcement.height);
        if offered.announcement.height == next {
            return self.judge(offered).await;
        }
        if self.early.len() < MAX_EARLY {
            self.early.push(offered);
        }
        Ok(None)
    }

    /// What we think of a proposal for the next height; nothing, if it is for another or by somebody whose turn it is not.
    async fn judge(&mut self, offered: Offered) -> Result<Option<ProposedValue<Chain>>, Halt> {
        let Offered { announcement, proposer, block } = offered;
        let tip = self.shared.replica.tip();
        if announcement.height != tip.height + 1 || tip.proposer(announcement.round) != Some(proposer) {
            return Ok(None);
        }
        // A new block names its round, or its proposer would let others rest who have not failed.
        let names_round = match announcement.valid_round {
            None => block.header.round == announcement.round,
            Some(valid_round) => block.header.round <= valid_round,
        };
        let is_known = self.blocks.contains_key(&announcement.block);
        let is_valid = names_round
            && (is_known || {
                let latest = (self.shared.clock)().saturating_add(self.pace.drift);
                let verdict = self.accept(&tip, &block, latest, true).await?;
                verdict
                    .inspect_err(|error| {
                        warn!(%proposer, height = announcement.height, %error, "a proposal is no good");
                    })
                    .is_ok()
            });
        Ok(Some(ProposedValue {
            height: Height(announcement.height),
            round: Round::new(announcement.round),
            valid_round: announcement.valid_round.into(),
            proposer: Address(proposer),
            value: BlockId(announcement.block),
            validity: Validity::from_bool(is_valid),
        }))
    }

    /// Verifies a block for the next height and remembers it, if it is good; durably, if it is to be voted on.
    async fn accept(
        &mut self,
        tip: &Tip,
        block: &Arc<Block>,
        latest: Timestamp,
        hold: bool,
    ) -> Result<Result<(), BlockError>, Halt> {
        if block.header.time <= tip.time {
            return Ok(Err(BlockError::TimeGoesBack));
        }
        let (replica, body) = (Arc::clone(&self.shared.replica), Arc::clone(block));
        let verdict = blocking(move || {
            replica.verify(&body, latest)?;
            if hold { replica.hold(&body).map_err(BlockError::Store) } else { Ok(()) }
        });
        match verdict.await? {
            Err(
                BlockError::Store(error)
                | BlockError::Transaction { error: AdmissionError::Store(error), .. },
            ) => Err(error.into()),
            Ok(()) => {
                self.blocks.insert(block.header.digest(), Arc::clone(block));
                Ok(Ok(()))
            }
            Err(error) => Ok(Err(error)),
        }
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

    /// Starts the next height when there is reason for a block, or the idle time is over.
    fn go_on(&self, reply: Reply<Next<Chain>>) {
        let tip = self.shared.replica.tip();
        let (next, parameters) = (tip.height + 1, self.parameters(&tip));
        let (shared, pace, last, now) = (Arc::clone(&self.shared), self.pace, self.begun, Instant::now());
        tokio::spawn(async move {
            sleep_until(last + pace.block).await;
            let mut stirred = shared.stirred.subscribe();
            let reason = stirred.wait_for(|height| *height >= next || !shared.mempool().is_empty());
            let mut halted = shared.halted.subscribe();
            tokio::select! {
                _ = reason => {}
                () = sleep_until(now + pace.idle) => {}
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
        // Its votes say that its time was right.
        let verdict = self.accept(&tip, &block, Timestamp::MAX, false).await?;
        verdict.map_err(|error| Halt::Diverged { height: height.0, error })?;
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
