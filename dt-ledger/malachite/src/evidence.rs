//! Validators that contradict themselves: evidence for people, which the chain does nothing about by itself.

use dt_model::{Digest, PartyId, Signature};
use malachite::app::types::MisbehaviorEvidence;
use malachite::app::types::core::{NilOrVal, Round, SignedMessage, VoteType};

use crate::context::{Address, BlockId, Chain, Height, Proposal, Vote};
use crate::signing::Signatures;

/// What a validator does once in a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Act {
    /// It proposes a block.
    Proposal,
    /// It says whether the block is good.
    Prevote,
    /// It says whether the block has two thirds of the prevotes: for a block, a [`dt_ledger::Commit`].
    Precommit,
}

/// What it said, and signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Said {
    /// The block; `None` for none.
    pub block: Option<Digest>,
    /// For a proposal: the earlier round in which the block had two thirds of the prevotes.
    pub pol_round: Option<u32>,
    /// The signature.
    pub signature: Signature,
}

/// What a validator said twice in one round, and not the same: it is a traitor, or its key is used in two places.
///
/// With no more than a third of such validators the chain bears it. Who sees one tells the organisation that named the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Equivocation {
    /// The validator.
    pub validator: PartyId,
    /// The height.
    pub height: u64,
    /// The round.
    pub round: u32,
    /// What it did twice.
    pub act: Act,
    /// What it said, both times.
    pub said: [Said; 2],
}

impl Equivocation {
    /// Whether the validator signed both, on this chain: whoever is told of it need not believe who tells.
    #[must_use]
    pub fn holds(&self, chain: Digest) -> bool {
        let [first, second] = self.said;
        let differ = (first.block, first.pol_round) != (second.block, second.pol_round);
        differ && self.said.iter().all(|said| self.is_signed(Signatures::of(chain), said))
    }

    fn is_signed(&self, signatures: Signatures, said: &Said) -> bool {
        let (height, round) = (Height(self.height), Round::new(self.round));
        let vote = |kind| Vote {
            kind,
            height,
            round,
            block: said.block.map_or(NilOrVal::Nil, |block| NilOrVal::Val(BlockId(block))),
            voter: Address(self.validator),
        };
        match (self.act, said.block) {
            (Act::Proposal, None) => false,
            (Act::Proposal, Some(block)) => {
                let (block, pol_round) = (BlockId(block), said.pol_round.into());
                let proposal =
                    Proposal { height, round, block, pol_round, proposer: Address(self.validator) };
                signatures.holds_proposal(&proposal, &said.signature, &self.validator)
            }
            (Act::Prevote, _) => {
                signatures.holds_vote(&vote(VoteType::Prevote), &said.signature, &self.validator)
            }
            (Act::Precommit, _) => {
                signatures.holds_vote(&vote(VoteType::Precommit), &said.signature, &self.validator)
            }
        }
    }
}

/// What the engine has seen in a height.
pub(crate) fn equivocations(evidence: &MisbehaviorEvidence<Chain>) -> Vec<Equivocation> {
    let votes =
        evidence.votes.iter().flat_map(|(_, pairs)| pairs).filter_map(|(one, other)| of_votes(one, other));
    let proposals = evidence.proposals.iter().flat_map(|(_, pairs)| pairs);
    votes.chain(proposals.filter_map(|(one, other)| of_proposals(one, other))).collect()
}

fn of_votes(one: &SignedMessage<Chain, Vote>, other: &SignedMessage<Chain, Vote>) -> Option<Equivocation> {
    let said = |vote: &SignedMessage<Chain, Vote>| Said {
        block: match vote.message.block {
            NilOrVal::Nil => None,
            NilOrVal::Val(block) => Some(block.0),
        },
        pol_round: None,
        signature: vote.signature,
    };
    let Vote { kind, height, round, voter, .. } = &one.message;
    Some(Equivocation {
        validator: voter.0,
        height: height.0,
        round: round.as_u32()?,
        act: match kind {
            VoteType::Prevote => Act::Prevote,
            VoteType::Precommit => Act::Precommit,
        },
        said: [said(one), said(other)],
    })
}

fn of_proposals(
    one: &SignedMessage<Chain, Proposal>,
    other: &SignedMessage<Chain, Proposal>,
) -> Option<Equivocation> {
    let said = |proposal: &SignedMessage<Chain, Proposal>| Said {
        block: Some(proposal.message.block.0),
        pol_round: proposal.message.pol_round.as_u32(),
        signature: proposal.signature,
    };
    let Proposal { height, round, proposer, .. } = &one.message;
    Some(Equivocation {
        validator: proposer.0,
        height: height.0,
        round: round.as_u32()?,
        act: Act::Proposal,
        said: [said(one), said(other)],
    })
}
