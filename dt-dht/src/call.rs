//! One request to one node, and what counts as its reply. Sans-IO: bytes out, bytes in.

use bytes::Bytes;
use dt_model::{DecodeError, Digest, OpenError, PartyId, Signer, SignerError, Timestamp};
use thiserror::Error;

use crate::message::request_digest;
use crate::{Membership, Parcel, Reply, ReplyBody, Request, RequestBody};

/// Why bytes are no reply to a call. The node is then treated as silent.
#[derive(Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReplyError {
    /// The bytes are no parcel.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The parcel does not open.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Somebody else than the node signed.
    #[error("signed by {} instead of the node that was asked", .0.short())]
    WrongNode(PartyId),
    /// It answers another request: a reply that was replayed or mixed up.
    #[error("a reply to another request")]
    OtherRequest,
    /// It is of another network, or of an earlier epoch than the request.
    #[error("a reply from another network or epoch")]
    OtherMembership,
}

/// A request as it goes to one node, with what is needed to judge the reply.
#[derive(Debug, Clone)]
pub struct Call {
    node: PartyId,
    network: Digest,
    epoch: u64,
    bytes: Bytes,
}

impl Call {
    /// Signs `body` as a request to `node`. `nonce` MUST be random and not used again for this node.
    ///
    /// # Errors
    /// [`SignerError`] if the signer does not sign.
    pub fn new(
        signer: &dyn Signer,
        membership: &Membership,
        node: PartyId,
        nonce: [u8; 16],
        time: Timestamp,
        body: RequestBody,
    ) -> Result<Self, SignerError> {
        let (network, epoch) = (membership.network(), membership.epoch());
        let request = Request { network, epoch, node, nonce, time, body };
        Ok(Self { node, network, epoch, bytes: Parcel::new(request, signer)?.encode() })
    }

    /// Whom it is for.
    #[must_use]
    pub const fn node(&self) -> PartyId {
        self.node
    }

    /// What is to be sent.
    #[must_use]
    pub const fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The node's answer, if `reply` is one to this request.
    ///
    /// # Errors
    /// [`ReplyError`].
    pub fn read(&self, reply: &[u8]) -> Result<ReplyBody, ReplyError> {
        let parcel = Parcel::<Reply>::decode(reply)?;
        if parcel.signer() != self.node {
            return Err(ReplyError::WrongNode(parcel.signer()));
        }
        let reply = parcel.open()?;
        if reply.request != request_digest(&self.bytes) {
            return Err(ReplyError::OtherRequest);
        }
        let refused = matches!(reply.body, ReplyBody::Refused { .. });
        if reply.network != self.network || (reply.epoch != self.epoch && !refused) {
            return Err(ReplyError::OtherMembership);
        }
        Ok(reply.body)
    }
}
