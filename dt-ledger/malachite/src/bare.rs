//! The engine with an application that does nothing: to measure beside a node, and see what of the time is the engine's.
//!
//! It agrees on blocks of a given size that mean nothing. Nothing is verified, executed or kept, but for the engine's own journal.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use dt_ledger::{Block, Genesis, Header, LogHead, Tip};
use dt_model::{Digest, Signer, codec};
use malachite::app::engine::host::{Next, SyncedValueOutcome};
use malachite::app::types::core::{HeightParams, LinearTimeouts, Round, Validity};
use malachite::app::types::{LocallyProposedValue, ProposedValue};
use malachite::{AppMsg, Channels, EngineHandle, NetworkMsg};
use tokio::task::JoinHandle;

use crate::bodies::{Announcement, Offered, Streams, cut};
use crate::config::Config;
use crate::context::{Address, BlockId, Chain, Height, Validators};
use crate::engine;
use crate::node::StartError;

/// A node that only agrees.
pub struct Bare {
    height: Arc<AtomicU64>,
    engine: EngineHandle,
    driver: JoinHandle<()>,
}

struct Idle {
    keys: Arc<dyn Signer>,
    tip: Tip,
    block_bytes: usize,
    streams: Streams,
    blocks: BTreeMap<Digest, Arc<Block>>,
    height: Arc<AtomicU64>,
}

impl Bare {
    /// Starts a node of the chain of `genesis` that agrees on blocks of so many bytes.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(
        genesis: &Genesis,
        keys: Arc<dyn Signer>,
        config: &Config,
        block_bytes: usize,
    ) -> Result<Self, StartError> {
        let chain = genesis.chain();
        let journal = config.folder.join("bare");
        let (channels, engine) = engine::start(config, chain, &keys, journal, None).await?;
        let tip = Tip {
            height: 0,
            block: chain,
            time: genesis.time,
            state_root: Digest::ZERO,
            receipts_root: Digest::ZERO,
            log: LogHead { size: 0, root: Digest::ZERO },
            validators: genesis.validators(),
            resting: Vec::new(),
        };
        let height = Arc::new(AtomicU64::new(0));
        let (streams, blocks) = (Streams::new(chain), BTreeMap::new());
        let idle = Idle { keys, tip, block_bytes, streams, blocks, height: Arc::clone(&height) };
        let driver = tokio::spawn(idle.run(channels));
        Ok(Self { height, engine, driver })
    }

    /// How many blocks were agreed on.
    #[must_use]
    pub fn height(&self) -> u64 {
        self.height.load(Ordering::SeqCst)
    }

    /// Stops it.
    pub async fn shutdown(self) {
        engine::stop(&self.engine.actor);
        let _ = self.engine.handle.await;
        self.driver.abort();
    }
}

impl Idle {
    async fn run(mut self, mut channels: Channels<Chain>) {
        while let Some(message) = channels.consensus.recv().await {
            match message {
                AppMsg::ConsensusReady { reply } => {
                    let _ = reply.send((Height(1), self.parameters()));
                }
                AppMsg::StartedRound { reply_value, .. } => {
                    let known = self.blocks.values().map(|block| self.value(block, 0)).collect();
                    let _ = reply_value.send(known);
                }
                AppMsg::GetValue { height, round, reply, .. } => {
                    let block = self.block(height.0);
                    let id = BlockId(block.header.digest());
                    let _ = reply.send(LocallyProposedValue::new(height, round, id));
                    for part in self.parts(&block, round) {
                        let _ = channels.network.send(NetworkMsg::PublishProposalPart(part)).await;
                    }
                }
                AppMsg::ReceivedProposalPart { from, published_by, part, reply } => {
                    let (next, publisher) = (self.tip.height + 1, published_by.unwrap_or(from));
                    let offered = self.streams.take(publisher, part, next, |_| None, |_| true);
                    let _ = reply.send(offered.and_then(|offered| self.take(offered)));
                }
                AppMsg::Decided { reply, .. } => {
                    self.tip.height += 1;
                    self.blocks.retain(|_, block| block.header.height > self.tip.height);
                    self.streams.prune(self.tip.height + 1);
                    self.height.store(self.tip.height, Ordering::SeqCst);
                    let _ = reply.send(());
                }
                AppMsg::Finalized { reply, .. } => {
                    let _ = reply.send(Next::Start(Height(self.tip.height + 1), self.parameters()));
                }
                AppMsg::GetHistoryMinHeight { reply } => {
                    let _ = reply.send(Height(self.tip.height + 1));
                }
                AppMsg::GetDecidedValues { reply, .. } => {
                    let _ = reply.send(Vec::new());
                }
                AppMsg::ProcessSyncedValue { reply, .. } => {
                    let _ = reply.send(SyncedValueOutcome::PeerFault);
                }
                AppMsg::RestreamProposal { .. } => {}
                AppMsg::ExtendVote { reply, .. } => {
                    let _ = reply.send(None);
                }
                AppMsg::VerifyVoteExtensions { reply, .. } => {
                    let _ = reply.send(Vec::new());
                }
            }
        }
    }

    fn parameters(&self) -> HeightParams<Chain> {
        HeightParams::new(Validators::after(&self.tip), LinearTimeouts::default(), None)
    }

    fn block(&self, height: u64) -> Block {
        let Tip { block, time, state_root, receipts_root, log, .. } = self.tip.clone();
        let header = Header {
            chain: block,
            height,
            time,
            previous: block,
            transactions_root: Digest::ZERO,
            state_root,
            receipts_root,
            log,
            next_validators: Digest::ZERO,
            round: 0,
            resting: Vec::new(),
        };
        Block { header, transactions: vec![Bytes::from(vec![7; self.block_bytes])] }
    }

    fn parts(
        &self,
        block: &Block,
        round: Round,
    ) -> Vec<malachite::app::streaming::StreamMessage<crate::context::Part>> {
        let body = Bytes::from(codec::encode(block));
        let announcement = Announcement {
            chain: self.tip.block,
            height: block.header.height,
            round: round.as_u32().unwrap_or(0),
            valid_round: None,
            block: block.header.digest(),
            length: u32::try_from(body.len()).unwrap_or(u32::MAX),
        };
        cut(announcement, &body, &*self.keys).unwrap_or_default()
    }

    fn take(&mut self, offered: Offered) -> Option<ProposedValue<Chain>> {
        if offered.announcement.height > self.tip.height + 1 {
            self.blocks.insert(offered.announcement.block, offered.block);
            return None;
        }
        Some(self.value(&offered.block, offered.announcement.round))
    }

    fn value(&self, block: &Block, round: u32) -> ProposedValue<Chain> {
        let height = block.header.height;
        let tip = Tip { height: height - 1, ..self.tip.clone() };
        ProposedValue {
            height: Height(height),
            round: Round::new(round),
            valid_round: Round::Nil,
            proposer: Address(tip.proposer(round).unwrap_or_else(|| self.keys.party())),
            value: BlockId(block.header.digest()),
            validity: Validity::Valid,
        }
    }
}
