//! The engine's messages as plain fields, which is what is encoded.

use borsh::{BorshDeserialize, BorshSerialize};
use bytes::Bytes;
use dt_model::{Digest, PartyId, Signature};
use malachite::app::consensus::LivenessMsg;
use malachite::app::streaming::StreamContent;
use malachite::app::types::core::{
    ExtendedCommitCertificate, ExtendedCommitSignature, NilOrVal, PolkaCertificate, PolkaSignature,
    RoundCertificate, RoundCertificateType, RoundSignature, SignedMessage, ValidatorProof, Validity,
    VoteType,
};
use malachite::app::types::streaming::{StreamId, StreamMessage};
use malachite::app::types::{ProposedValue, SignedConsensusMsg};

use crate::context::{Address, BlockId, Chain, Height, Part, Proposal, Vote};

#[derive(BorshSerialize, BorshDeserialize)]
pub(super) struct VoteForm {
    is_precommit: bool,
    height: u64,
    round: Option<u32>,
    block: Option<Digest>,
    voter: PartyId,
    signature: Signature,
}

#[derive(BorshSerialize, BorshDeserialize)]
pub(super) struct ProposalForm {
    height: u64,
    round: Option<u32>,
    block: Digest,
    pol_round: Option<u32>,
    proposer: PartyId,
    signature: Signature,
}

#[derive(BorshSerialize, BorshDeserialize)]
pub(super) enum ConsensusForm {
    Vote(VoteForm),
    Proposal(ProposalForm),
}

/// Votes of several validators for one block.
#[derive(BorshSerialize, BorshDeserialize)]
pub(super) struct CertificateForm {
    height: u64,
    round: Option<u32>,
    block: Digest,
    votes: Vec<(PartyId, Signature)>,
}

#[derive(BorshSerialize, BorshDeserialize)]
pub(super) struct RoundVoteForm {
    is_precommit: bool,
    block: Option<Digest>,
    voter: PartyId,
    signature: Signature,
}

#[derive(BorshSerialize, BorshDeserialize)]
pub(super) struct RoundForm {
    height: u64,
    round: Option<u32>,
    is_precommit: bool,
    votes: Vec<RoundVoteForm>,
}

#[derive(BorshSerialize, BorshDeserialize)]
pub(super) enum LivenessForm {
    Vote(VoteForm),
    Polka(CertificateForm),
    Round(RoundForm),
}

#[derive(BorshSerialize, BorshDeserialize)]
pub(super) struct StreamForm {
    stream: Bytes,
    sequence: u64,
    /// `None` at the end.
    part: Option<Part>,
}

#[derive(BorshSerialize, BorshDeserialize)]
pub(super) struct ProofForm {
    validator: Vec<u8>,
    peer: Vec<u8>,
    signature: Signature,
}

#[derive(BorshSerialize, BorshDeserialize)]
pub(super) struct ProposedForm {
    height: u64,
    round: Option<u32>,
    valid_round: Option<u32>,
    proposer: PartyId,
    block: Digest,
    is_valid: bool,
}

#[derive(BorshSerialize, BorshDeserialize)]
pub(super) struct StatusForm {
    pub(super) peer: Vec<u8>,
    pub(super) tip: u64,
    pub(super) first: u64,
}

#[derive(BorshSerialize, BorshDeserialize)]
pub(super) struct AnswerForm {
    pub(super) start: u64,
    pub(super) blocks: Vec<(Bytes, CertificateForm)>,
}

fn nil_or(block: Option<Digest>) -> NilOrVal<BlockId> {
    block.map_or(NilOrVal::Nil, |block| NilOrVal::Val(BlockId(block)))
}

const fn some_of(block: &NilOrVal<BlockId>) -> Option<Digest> {
    match block {
        NilOrVal::Nil => None,
        NilOrVal::Val(block) => Some(block.0),
    }
}

const fn kind(is_precommit: bool) -> VoteType {
    if is_precommit { VoteType::Precommit } else { VoteType::Prevote }
}

impl From<&SignedMessage<Chain, Vote>> for VoteForm {
    fn from(SignedMessage { message: vote, signature }: &SignedMessage<Chain, Vote>) -> Self {
        Self {
            is_precommit: vote.kind == VoteType::Precommit,
            height: vote.height.0,
            round: vote.round.as_u32(),
            block: some_of(&vote.block),
            voter: vote.voter.0,
            signature: *signature,
        }
    }
}

impl From<VoteForm> for SignedMessage<Chain, Vote> {
    fn from(form: VoteForm) -> Self {
        let vote = Vote {
            kind: kind(form.is_precommit),
            height: Height(form.height),
            round: form.round.into(),
            block: nil_or(form.block),
            voter: Address(form.voter),
        };
        Self::new(vote, form.signature)
    }
}

impl From<&SignedMessage<Chain, Proposal>> for ProposalForm {
    fn from(SignedMessage { message: proposal, signature }: &SignedMessage<Chain, Proposal>) -> Self {
        Self {
            height: proposal.height.0,
            round: proposal.round.as_u32(),
            block: proposal.block.0,
            pol_round: proposal.pol_round.as_u32(),
            proposer: proposal.proposer.0,
            signature: *signature,
        }
    }
}

impl From<ProposalForm> for SignedMessage<Chain, Proposal> {
    fn from(form: ProposalForm) -> Self {
        let proposal = Proposal {
            height: Height(form.height),
            round: form.round.into(),
            block: BlockId(form.block),
            pol_round: form.pol_round.into(),
            proposer: Address(form.proposer),
        };
        Self::new(proposal, form.signature)
    }
}

impl From<&SignedConsensusMsg<Chain>> for ConsensusForm {
    fn from(message: &SignedConsensusMsg<Chain>) -> Self {
        match message {
            SignedConsensusMsg::Vote(vote) => Self::Vote(vote.into()),
            SignedConsensusMsg::Proposal(proposal) => Self::Proposal(proposal.into()),
        }
    }
}

impl From<ConsensusForm> for SignedConsensusMsg<Chain> {
    fn from(form: ConsensusForm) -> Self {
        match form {
            ConsensusForm::Vote(vote) => Self::Vote(vote.into()),
            ConsensusForm::Proposal(proposal) => Self::Proposal(proposal.into()),
        }
    }
}

impl From<&PolkaCertificate<Chain>> for CertificateForm {
    fn from(polka: &PolkaCertificate<Chain>) -> Self {
        let votes = polka.polka_signatures.iter().map(|vote| (vote.address.0, vote.signature)).collect();
        Self { height: polka.height.0, round: polka.round.as_u32(), block: polka.value_id.0, votes }
    }
}

impl From<CertificateForm> for PolkaCertificate<Chain> {
    fn from(form: CertificateForm) -> Self {
        let votes = form.votes.into_iter();
        Self {
            height: Height(form.height),
            round: form.round.into(),
            value_id: BlockId(form.block),
            polka_signatures: votes.map(|(voter, vote)| PolkaSignature::new(Address(voter), vote)).collect(),
        }
    }
}

impl From<&ExtendedCommitCertificate<Chain>> for CertificateForm {
    fn from(commit: &ExtendedCommitCertificate<Chain>) -> Self {
        let votes = commit.commit_signatures.iter().map(|vote| (vote.address.0, vote.signature)).collect();
        Self { height: commit.height.0, round: commit.round.as_u32(), block: commit.value_id.0, votes }
    }
}

impl From<CertificateForm> for ExtendedCommitCertificate<Chain> {
    fn from(form: CertificateForm) -> Self {
        let votes = form.votes.into_iter();
        let vote = |(voter, vote)| ExtendedCommitSignature::new(Address(voter), vote, None);
        Self {
            height: Height(form.height),
            round: form.round.into(),
            value_id: BlockId(form.block),
            commit_signatures: votes.map(vote).collect(),
        }
    }
}

impl From<&RoundCertificate<Chain>> for RoundForm {
    fn from(certificate: &RoundCertificate<Chain>) -> Self {
        let votes = certificate.round_signatures.iter().map(|vote| RoundVoteForm {
            is_precommit: vote.vote_type == VoteType::Precommit,
            block: some_of(&vote.value_id),
            voter: vote.address.0,
            signature: vote.signature,
        });
        Self {
            height: certificate.height.0,
            round: certificate.round.as_u32(),
            is_precommit: certificate.cert_type == RoundCertificateType::Precommit,
            votes: votes.collect(),
        }
    }
}

impl From<RoundForm> for RoundCertificate<Chain> {
    fn from(form: RoundForm) -> Self {
        let votes = form.votes.into_iter().map(|vote| {
            RoundSignature::new(
                kind(vote.is_precommit),
                nil_or(vote.block),
                Address(vote.voter),
                vote.signature,
            )
        });
        Self {
            height: Height(form.height),
            round: form.round.into(),
            cert_type: match form.is_precommit {
                true => RoundCertificateType::Precommit,
                false => RoundCertificateType::Skip,
            },
            round_signatures: votes.collect(),
        }
    }
}

impl From<&LivenessMsg<Chain>> for LivenessForm {
    fn from(message: &LivenessMsg<Chain>) -> Self {
        match message {
            LivenessMsg::Vote(vote) => Self::Vote(vote.into()),
            LivenessMsg::PolkaCertificate(polka) => Self::Polka(polka.into()),
            LivenessMsg::SkipRoundCertificate(round) => Self::Round(round.into()),
        }
    }
}

impl From<LivenessForm> for LivenessMsg<Chain> {
    fn from(form: LivenessForm) -> Self {
        match form {
            LivenessForm::Vote(vote) => Self::Vote(vote.into()),
            LivenessForm::Polka(polka) => Self::PolkaCertificate(polka.into()),
            LivenessForm::Round(round) => Self::SkipRoundCertificate(round.into()),
        }
    }
}

impl From<&StreamMessage<Part>> for StreamForm {
    fn from(message: &StreamMessage<Part>) -> Self {
        let (stream, sequence) = (message.stream_id.to_bytes(), message.sequence);
        Self { stream, sequence, part: message.content.as_data().cloned() }
    }
}

impl From<StreamForm> for StreamMessage<Part> {
    fn from(form: StreamForm) -> Self {
        let content = form.part.map_or(StreamContent::Fin, StreamContent::Data);
        Self::new(StreamId::new(form.stream), form.sequence, content)
    }
}

impl From<&ValidatorProof<Chain>> for ProofForm {
    fn from(proof: &ValidatorProof<Chain>) -> Self {
        let ValidatorProof { public_key, peer_id, signature } = proof;
        Self { validator: public_key.clone(), peer: peer_id.clone(), signature: *signature }
    }
}

impl From<ProofForm> for ValidatorProof<Chain> {
    fn from(form: ProofForm) -> Self {
        Self::new(form.validator, form.peer, form.signature)
    }
}

impl From<&ProposedValue<Chain>> for ProposedForm {
    fn from(value: &ProposedValue<Chain>) -> Self {
        Self {
            height: value.height.0,
            round: value.round.as_u32(),
            valid_round: value.valid_round.as_u32(),
            proposer: value.proposer.0,
            block: value.value.0,
            is_valid: value.validity.is_valid(),
        }
    }
}

impl From<ProposedForm> for ProposedValue<Chain> {
    fn from(form: ProposedForm) -> Self {
        Self {
            height: Height(form.height),
            round: form.round.into(),
            valid_round: form.valid_round.into(),
            proposer: Address(form.proposer),
            value: BlockId(form.block),
            validity: Validity::from_bool(form.is_valid),
        }
    }
}
