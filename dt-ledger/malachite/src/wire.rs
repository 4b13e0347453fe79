//! The bytes that validators send each other and write to their journals: the engine's messages in the ledger's canonical codec.
//!
//! Each message has a form of plain fields here, which is what is encoded: [`dt_model::codec`] takes one encoding per value, within a limit,
//! and nothing behind it.

use borsh::{BorshDeserialize, BorshSerialize};
use bytes::Bytes;
use dt_ledger::MAX_BLOCK_BYTES;
use dt_model::codec::DecodeError;
use dt_model::{Digest, PartyId, Signature, codec};
use malachite::app::consensus::LivenessMsg;
use malachite::app::streaming::StreamContent;
use malachite::app::types::codec::{Codec, HasEncodedLen};
use malachite::app::types::core::{
    ExtendedCommitCertificate, ExtendedCommitSignature, NilOrVal, PolkaCertificate, PolkaSignature,
    RoundCertificate, RoundCertificateType, RoundSignature, SignedMessage, ValidatorProof, Validity,
    VoteType,
};
use malachite::app::types::streaming::{StreamId, StreamMessage};
use malachite::app::types::sync::{RawDecidedValue, Request, Response, Status};
use malachite::app::types::{PeerId, ProposedValue, SignedConsensusMsg};

use crate::context::{Address, BlockId, Chain, Height, Part, Proposal, Vote};

/// No message is longer, but for answers that hold blocks: a certificate of [`dt_ledger::MAX_MEMBERS`] votes has 40 KB.
const MAX_MESSAGE_BYTES: usize = 256 * 1024;
/// The longest piece of a block, and what goes around it.
const MAX_PART_BYTES: usize = crate::bodies::MAX_PIECE_BYTES + 1024;
/// The longest answer of a peer that helps us catch up: one block at its largest, whose votes and envelopes come on top.
pub(crate) const MAX_ANSWER_BYTES: usize = 2 * MAX_BLOCK_BYTES;

/// The codec.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wire;

/// Bytes are not what they should be.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum WireError {
    /// They do not decode.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// They name no peer.
    #[error("malformed peer id")]
    Peer,
}

#[derive(BorshSerialize, BorshDeserialize)]
struct VoteForm {
    is_precommit: bool,
    height: u64,
    round: Option<u32>,
    block: Option<Digest>,
    voter: PartyId,
    signature: Signature,
}

#[derive(BorshSerialize, BorshDeserialize)]
struct ProposalForm {
    height: u64,
    round: Option<u32>,
    block: Digest,
    pol_round: Option<u32>,
    proposer: PartyId,
    signature: Signature,
}

#[derive(BorshSerialize, BorshDeserialize)]
enum ConsensusForm {
    Vote(VoteForm),
    Proposal(ProposalForm),
}

/// Votes of several validators for one block.
#[derive(BorshSerialize, BorshDeserialize)]
struct CertificateForm {
    height: u64,
    round: Option<u32>,
    block: Digest,
    votes: Vec<(PartyId, Signature)>,
}

#[derive(BorshSerialize, BorshDeserialize)]
struct RoundVoteForm {
    is_precommit: bool,
    block: Option<Digest>,
    voter: PartyId,
    signature: Signature,
}

#[derive(BorshSerialize, BorshDeserialize)]
struct RoundForm {
    height: u64,
    round: Option<u32>,
    is_precommit: bool,
    votes: Vec<RoundVoteForm>,
}

#[derive(BorshSerialize, BorshDeserialize)]
enum LivenessForm {
    Vote(VoteForm),
    Polka(CertificateForm),
    Round(RoundForm),
}

#[derive(BorshSerialize, BorshDeserialize)]
struct StreamForm {
    stream: Bytes,
    sequence: u64,
    /// `None` at the end.
    part: Option<Part>,
}

#[derive(BorshSerialize, BorshDeserialize)]
struct ProofForm {
    validator: Vec<u8>,
    peer: Vec<u8>,
    signature: Signature,
}

#[derive(BorshSerialize, BorshDeserialize)]
struct ProposedForm {
    height: u64,
    round: Option<u32>,
    valid_round: Option<u32>,
    proposer: PartyId,
    block: Digest,
    is_valid: bool,
}

#[derive(BorshSerialize, BorshDeserialize)]
struct StatusForm {
    peer: Vec<u8>,
    tip: u64,
    first: u64,
}

#[derive(BorshSerialize, BorshDeserialize)]
struct AnswerForm {
    start: u64,
    blocks: Vec<(Bytes, CertificateForm)>,
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

fn read<F: BorshSerialize + BorshDeserialize>(bytes: &[u8], limit: usize) -> Result<F, WireError> {
    Ok(codec::decode(bytes, limit)?)
}

fn write(form: &impl BorshSerialize) -> Bytes {
    codec::encode(form).into()
}

/// The codec of an engine's message that has a form here.
macro_rules! forms {
    ($($message:ty as $form:ty, $limit:expr;)*) => {$(
        impl Codec<$message> for Wire {
            type Error = WireError;

            fn decode(&self, bytes: Bytes) -> Result<$message, WireError> {
                read::<$form>(&bytes, $limit).map(Into::into)
            }

            fn encode(&self, message: &$message) -> Result<Bytes, WireError> {
                Ok(write(&<$form>::from(message)))
            }
        }
    )*};
}

forms! {
    SignedConsensusMsg<Chain> as ConsensusForm, MAX_MESSAGE_BYTES;
    PolkaCertificate<Chain> as CertificateForm, MAX_MESSAGE_BYTES;
    LivenessMsg<Chain> as LivenessForm, MAX_MESSAGE_BYTES;
    StreamMessage<Part> as StreamForm, MAX_PART_BYTES;
    ValidatorProof<Chain> as ProofForm, MAX_MESSAGE_BYTES;
    ProposedValue<Chain> as ProposedForm, MAX_MESSAGE_BYTES;
}

impl Codec<Part> for Wire {
    type Error = WireError;

    fn decode(&self, bytes: Bytes) -> Result<Part, WireError> {
        read(&bytes, MAX_PART_BYTES)
    }

    fn encode(&self, part: &Part) -> Result<Bytes, WireError> {
        Ok(write(part))
    }
}

impl Codec<Status<Chain>> for Wire {
    type Error = WireError;

    fn decode(&self, bytes: Bytes) -> Result<Status<Chain>, WireError> {
        let StatusForm { peer, tip, first } = read(&bytes, MAX_MESSAGE_BYTES)?;
        let peer_id = PeerId::from_bytes(&peer).map_err(|_| WireError::Peer)?;
        Ok(Status { peer_id, tip_height: Height(tip), history_min_height: Height(first) })
    }

    fn encode(&self, status: &Status<Chain>) -> Result<Bytes, WireError> {
        let (tip, first) = (status.tip_height.0, status.history_min_height.0);
        Ok(write(&StatusForm { peer: status.peer_id.to_bytes(), tip, first }))
    }
}

impl Codec<Request<Chain>> for Wire {
    type Error = WireError;

    fn decode(&self, bytes: Bytes) -> Result<Request<Chain>, WireError> {
        let (first, last): (u64, u64) = read(&bytes, MAX_MESSAGE_BYTES)?;
        let range = Height(first)..=Height(last);
        Ok(Request::ValueRequest(malachite_sync::ValueRequest::new(range)))
    }

    fn encode(&self, request: &Request<Chain>) -> Result<Bytes, WireError> {
        let Request::ValueRequest(request) = request;
        Ok(write(&(request.range.start().0, request.range.end().0)))
    }
}

impl Codec<Response<Chain>> for Wire {
    type Error = WireError;

    fn decode(&self, bytes: Bytes) -> Result<Response<Chain>, WireError> {
        let AnswerForm { start, blocks } = read(&bytes, MAX_ANSWER_BYTES)?;
        let blocks = blocks.into_iter().map(|(block, votes)| RawDecidedValue::new(block, votes.into()));
        let answer = malachite_sync::ValueResponse::new(Height(start), blocks.collect());
        Ok(Response::ValueResponse(answer))
    }

    fn encode(&self, response: &Response<Chain>) -> Result<Bytes, WireError> {
        let Response::ValueResponse(answer) = response;
        let blocks = answer.values.iter();
        let blocks = blocks.map(|block| (block.value_bytes.clone(), (&block.certificate).into())).collect();
        Ok(write(&AnswerForm { start: answer.start_height.0, blocks }))
    }
}

impl HasEncodedLen<Response<Chain>> for Wire {
    fn encoded_len(&self, response: &Response<Chain>) -> Result<usize, WireError> {
        Ok(self.encode(response)?.len())
    }
}
