//! The bytes that validators send each other and write to their journals: the engine's messages in the ledger's canonical codec.
//!
//! Each message has a [form](forms) of plain fields, which is what is encoded: [`dt_model::codec`] takes one encoding per value, within a limit,
//! and nothing behind it.

mod forms;

use borsh::{BorshDeserialize, BorshSerialize};
use bytes::Bytes;
use dt_ledger::MAX_BLOCK_BYTES;
use dt_model::codec;
use dt_model::codec::DecodeError;
use malachite::app::consensus::LivenessMsg;
use malachite::app::types::codec::{Codec, HasEncodedLen};
use malachite::app::types::core::{PolkaCertificate, ValidatorProof};
use malachite::app::types::streaming::StreamMessage;
use malachite::app::types::sync::{RawDecidedValue, Request, Response, Status};
use malachite::app::types::{PeerId, ProposedValue, SignedConsensusMsg};

use crate::context::{Chain, Height, Part};
use crate::wire::forms::{
    AnswerForm, CertificateForm, ConsensusForm, LivenessForm, ProofForm, ProposedForm, StatusForm, StreamForm,
};

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
