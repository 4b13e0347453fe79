//! Blocks on their way to a vote: made here, or by others and judged.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dt_ledger::{AdmissionError, Block, BlockError, Tip};
use dt_model::{Digest, PartyId, Timestamp, codec};
use malachite::app::types::core::{Round, Validity};
use malachite::app::types::streaming::StreamMessage;
use malachite::app::types::{LocallyProposedValue, PeerId, ProposedValue};
use malachite::{NetworkMsg, Reply};
use tracing::{debug, warn};

use crate::application::{Application, blocking, send};
use crate::bodies::{Announcement, Offered, cut};
use crate::context::{Address, BlockId, Chain, Height, Part};
use crate::shared::Halt;

/// Proposals for the next height that came before this one was committed.
const MAX_EARLY: usize = 16;

impl Application {
    /// Proposes a block of what waits here.
    pub(super) async fn propose(
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
        debug!(height = height.0, round = number, transactions = block.transactions.len(), "proposed");
        self.blocks.insert(block.header.digest(), Arc::clone(&block));
        send(reply, LocallyProposedValue::new(height, round, BlockId(block.header.digest())));
        self.stream(height.0, number, None, &block).await?;
        debug!(height = height.0, "sent");
        Ok(())
    }

    pub(super) async fn stream(
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
    pub(super) async fn receive(
        &mut self,
        publisher: PeerId,
        part: StreamMessage<Part>,
    ) -> Result<Option<ProposedValue<Chain>>, Halt> {
        let tip = self.shared.replica.tip();
        let (next, blocks) = (tip.height + 1, &self.blocks);
        let known = |block: &Digest| blocks.get(block).cloned();
        let votes = |party: &PartyId| tip.validators.contains(party);
        let Some(offered) = self.streams.take(publisher, part, next, known, votes) else { return Ok(None) };
        debug!(height = offered.announcement.height, round = offered.announcement.round, "received");
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
    pub(super) async fn judge(&mut self, offered: Offered) -> Result<Option<ProposedValue<Chain>>, Halt> {
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

    /// Verifies a block for the next height and remembers it, if it is good; durably, if the engine may come back to it after a crash.
    pub(super) async fn accept(
        &mut self,
        tip: &Tip,
        block: &Arc<Block>,
        latest: Timestamp,
        hold: bool,
    ) -> Result<Result<(), BlockError>, Halt> {
        if block.header.time <= tip.time {
            return Ok(Err(BlockError::TimeGoesBack));
        }
        let height = block.header.height;
        let (replica, body) = (Arc::clone(&self.shared.replica), Arc::clone(block));
        let mut verdict = blocking(move || replica.verify(&body, latest)).await?;
        debug!(height, "verified");
        if hold && verdict.is_ok() {
            let (replica, body) = (Arc::clone(&self.shared.replica), Arc::clone(block));
            verdict = blocking(move || replica.hold(&body).map_err(BlockError::Store)).await?;
            debug!(height, "held");
        }
        match verdict {
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
}
