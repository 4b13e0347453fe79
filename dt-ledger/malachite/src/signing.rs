//! What a validator signs, and how it is checked.
//!
//! The precommit for a block is nothing else than the ledger's [`Commit`], signed as the ledger signs: so the signatures that the engine
//! collects are the block's certificate, which everybody verifies who knows the ledger and not the engine. All else that the engine has
//! signed (prevotes, votes for no block, proposals) is under domains of its own, so that none can serve as the other.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use borsh::{BorshDeserialize, BorshSerialize};
use bytes::Bytes;
use dt_ledger::{Commit, CommitCertificate};
use dt_model::{Digest, Domain, Envelope, Message, PartyId, Signature, Signed, codec};
use malachite::app::types::core::{
    CommitCertificate as EngineCertificate, ExtendedCommitCertificate, ExtendedCommitSignature, NilOrVal,
    Round, SignedMessage, ValidatorProof, VoteExtensionScope, VoteType,
};
use malachite::{Signer, Verifier};
use malachite_signing::{Error, VerificationResult};

use crate::context::{Address, BlockId, Chain, Height, Proposal, Vote};

/// A vote that is not a [`Commit`].
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
struct Ballot {
    chain: Digest,
    height: u64,
    round: u32,
    is_precommit: bool,
    block: Option<Digest>,
}

impl Message for Ballot {
    const DOMAIN: Domain = Domain::new("dt/ledger-malachite/ballot/v1");
    const MAX_BYTES: usize = 128;
}

/// A proposal.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
struct Offer {
    chain: Digest,
    height: u64,
    round: u32,
    pol_round: Option<u32>,
    block: Digest,
}

impl Message for Offer {
    const DOMAIN: Domain = Domain::new("dt/ledger-malachite/offer/v1");
    const MAX_BYTES: usize = 128;
}

/// That a node of the network is a validator's.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
struct Node {
    chain: Digest,
    peer: Vec<u8>,
}

impl Message for Node {
    const DOMAIN: Domain = Domain::new("dt/ledger-malachite/node/v1");
    const MAX_BYTES: usize = 256;
}

/// Checks signatures of one chain's validators.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Signatures {
    chain: Digest,
}

/// Signs for one validator of one chain.
pub(crate) struct Seal {
    chain: Digest,
    keys: Arc<dyn dt_model::Signer>,
    first_votes: Option<FirstVotes>,
}

/// The heights of blocks that a key has voted for since it began to vote.
#[derive(Debug, Clone, Default)]
pub(crate) struct FirstVotes(Arc<Mutex<BTreeSet<u64>>>);

/// More need not be remembered: a block is certified soon or not at all.
const MAX_FIRST_VOTES: usize = 1024;

impl FirstVotes {
    fn insert(&self, height: u64) {
        let mut heights = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        heights.insert(height);
        if heights.len() > MAX_FIRST_VOTES {
            heights.pop_first();
        }
    }

    pub(crate) fn contains(&self, height: u64) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(&height)
    }
}

impl Signatures {
    pub(crate) const fn of(chain: Digest) -> Self {
        Self { chain }
    }

    fn commit(&self, height: Height, round: Round, block: BlockId) -> Option<Commit> {
        Some(Commit { chain: self.chain, height: height.0, round: round.as_u32()?, block: block.0 })
    }

    fn ballot(&self, vote: &Vote) -> Option<Ballot> {
        Some(Ballot {
            chain: self.chain,
            height: vote.height.0,
            round: vote.round.as_u32()?,
            is_precommit: vote.kind == VoteType::Precommit,
            block: match vote.block {
                NilOrVal::Nil => None,
                NilOrVal::Val(block) => Some(block.0),
            },
        })
    }

    fn offer(&self, proposal: &Proposal) -> Option<Offer> {
        Some(Offer {
            chain: self.chain,
            height: proposal.height.0,
            round: proposal.round.as_u32()?,
            pol_round: proposal.pol_round.as_u32(),
            block: proposal.block.0,
        })
    }

    /// Whether the voter signed the vote.
    pub(crate) fn holds_vote(&self, vote: &Vote, signature: &Signature, voter: &PartyId) -> bool {
        match (vote.kind, vote.block) {
            (VoteType::Precommit, NilOrVal::Val(block)) => {
                holds(self.commit(vote.height, vote.round, block), signature, voter)
            }
            _ => holds(self.ballot(vote), signature, voter),
        }
    }

    /// Whether the proposer signed the proposal.
    pub(crate) fn holds_proposal(
        &self,
        proposal: &Proposal,
        signature: &Signature,
        proposer: &PartyId,
    ) -> bool {
        holds(self.offer(proposal), signature, proposer)
    }

    fn node(&self, peer: &[u8]) -> Node {
        Node { chain: self.chain, peer: peer.to_vec() }
    }

    /// The ledger's certificate, of what the engine has collected: the votes in the order of the voters.
    pub(crate) fn certificate(&self, engine: &EngineCertificate<Chain>) -> Option<CommitCertificate> {
        let commit = self.commit(engine.height, engine.round, engine.value_id)?;
        let votes = engine.commit_signatures.iter();
        let mut votes: Vec<_> = votes.map(|vote| envelope(vote.address.0, vote.signature, &commit)).collect();
        votes.sort_by_key(Envelope::signer);
        Some(CommitCertificate { round: commit.round, votes })
    }

    /// What the engine wants to see of the ledger's certificate for the block with this digest.
    pub(crate) fn engine_certificate(
        height: u64,
        block: Digest,
        certificate: &CommitCertificate,
    ) -> ExtendedCommitCertificate<Chain> {
        let signatures = certificate
            .votes
            .iter()
            .map(|vote| ExtendedCommitSignature::new(Address(vote.signer()), *vote.signature(), None));
        ExtendedCommitCertificate {
            height: Height(height),
            round: Round::new(certificate.round),
            value_id: BlockId(block),
            commit_signatures: signatures.collect(),
        }
    }
}

fn envelope<T: Message>(signer: PartyId, signature: Signature, value: &T) -> Envelope<T> {
    Envelope::unverified(signer, signature, Bytes::from(codec::encode(value)))
}

/// Whether `signer` signed the value; it is none where a round is missing.
fn holds<T: Message>(value: Option<T>, signature: &Signature, signer: &PartyId) -> bool {
    value.is_some_and(|value| envelope(*signer, *signature, &value).open().is_ok())
}

#[async_trait]
impl Verifier<Chain> for Signatures {
    async fn verify_signed_vote(
        &self,
        vote: &Vote,
        signature: &Signature,
        voter: &PartyId,
    ) -> Result<VerificationResult, Error> {
        Ok(VerificationResult::from_bool(self.holds_vote(vote, signature, voter)))
    }

    async fn verify_signed_proposal(
        &self,
        proposal: &Proposal,
        signature: &Signature,
        proposer: &PartyId,
    ) -> Result<VerificationResult, Error> {
        Ok(VerificationResult::from_bool(self.holds_proposal(proposal, signature, proposer)))
    }

    async fn verify_signed_vote_extension(
        &self,
        _: &VoteExtensionScope<Chain>,
        (): &(),
        _: &Signature,
        _: &PartyId,
    ) -> Result<VerificationResult, Error> {
        Ok(VerificationResult::Invalid)
    }

    async fn verify_validator_proof(
        &self,
        proof: &ValidatorProof<Chain>,
    ) -> Result<VerificationResult, Error> {
        let validator = proof.decoded_public_key();
        let is_own = |validator| holds(Some(self.node(&proof.peer_id)), &proof.signature, &validator);
        Ok(VerificationResult::from_bool(validator.is_ok_and(is_own)))
    }
}

impl Seal {
    /// Signs with `keys`, and notes what for, if they have never voted before.
    pub(crate) fn new(
        chain: Digest,
        keys: Arc<dyn dt_model::Signer>,
        first_votes: Option<FirstVotes>,
    ) -> Self {
        Self { chain, keys, first_votes }
    }

    fn sign<T: Message>(&self, value: Option<T>) -> Result<Signature, Error> {
        let value = value.ok_or_else(Error::new)?;
        let signed =
            Signed::new(value, &*self.keys).map_err(|error| Error::from_source(Box::new(error) as Box<_>))?;
        Ok(*signed.envelope().signature())
    }
}

#[async_trait]
impl Signer<Chain> for Seal {
    async fn sign_vote(&self, vote: Vote) -> Result<SignedMessage<Chain, Vote>, Error> {
        let signatures = Signatures::of(self.chain);
        let signature = match (vote.kind, vote.block) {
            (VoteType::Precommit, NilOrVal::Val(block)) => {
                if let Some(first) = &self.first_votes {
                    first.insert(vote.height.0);
                }
                self.sign(signatures.commit(vote.height, vote.round, block))
            }
            _ => self.sign(signatures.ballot(&vote)),
        }?;
        Ok(SignedMessage::new(vote, signature))
    }

    async fn sign_proposal(&self, proposal: Proposal) -> Result<SignedMessage<Chain, Proposal>, Error> {
        let signature = self.sign(Signatures::of(self.chain).offer(&proposal))?;
        Ok(SignedMessage::new(proposal, signature))
    }

    async fn sign_vote_extension(
        &self,
        _: VoteExtensionScope<Chain>,
        (): (),
    ) -> Result<SignedMessage<Chain, ()>, Error> {
        Err(Error::new())
    }

    async fn sign_validator_proof(
        &self,
        public_key: Vec<u8>,
        peer: Vec<u8>,
    ) -> Result<ValidatorProof<Chain>, Error> {
        let signature = self.sign(Some(Signatures::of(self.chain).node(&peer)))?;
        Ok(ValidatorProof::new(public_key, peer, signature))
    }
}
