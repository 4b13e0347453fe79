//! How requests and replies travel: a signed envelope, and a shard behind it, of which the envelope has the digest.
//!
//! A signature hashes what it signs with SHA-512, twice for whoever signs. For a shard that costs ten times what everything else does
//! to it, and buys nothing: the digest names the same bytes, and every shard is compared with its digest anyway.

use borsh::{BorshDeserialize, BorshSerialize};
use bytes::Bytes;
use dt_model::{
    DecodeError, Digest, Envelope, Message, OpenError, PartyId, Signed, Signer, SignerError, codec,
};

use crate::blob::shard_digest;
use crate::{MAX_MESSAGE_BYTES, Reply, ReplyBody, Request, RequestBody, UpkeepReply};

/// The bytes of a shard, with their digest. Encoded, and so signed, is the digest alone; the bytes travel in the [`Parcel`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shard {
    digest: Digest,
    bytes: Bytes,
}

impl Shard {
    /// `digest` MUST be that of `bytes`.
    pub(crate) fn known(digest: Digest, bytes: Bytes) -> Self {
        debug_assert_eq!(digest, shard_digest(&bytes), "the digest of other bytes");
        Self { digest, bytes }
    }

    /// The digest, as a [`crate::BlobRef`] has it.
    #[must_use]
    pub const fn digest(&self) -> Digest {
        self.digest
    }

    /// The bytes.
    #[must_use]
    pub const fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The bytes.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        self.bytes
    }
}

impl From<Bytes> for Shard {
    fn from(bytes: Bytes) -> Self {
        Self { digest: shard_digest(&bytes), bytes }
    }
}

impl BorshSerialize for Shard {
    fn serialize<W: borsh::io::Write>(&self, writer: &mut W) -> borsh::io::Result<()> {
        self.digest.serialize(writer)
    }
}

impl BorshDeserialize for Shard {
    /// Without its bytes, which [`Parcel::open`] adds.
    fn deserialize_reader<R: borsh::io::Read>(reader: &mut R) -> borsh::io::Result<Self> {
        Ok(Self { digest: Digest::deserialize_reader(reader)?, bytes: Bytes::new() })
    }
}

/// A message that may have a shard.
pub trait Carries: Message {
    /// The shard, if this value has one.
    fn shard(&mut self) -> Option<&mut Shard>;
}

impl Carries for Request {
    fn shard(&mut self) -> Option<&mut Shard> {
        match &mut self.body {
            RequestBody::PutShard { shard, .. } => Some(shard),
            _ => None,
        }
    }
}

impl Carries for Reply {
    fn shard(&mut self) -> Option<&mut Shard> {
        match &mut self.body {
            ReplyBody::Shard { shard } => shard.as_mut(),
            ReplyBody::Upkeep { reply: UpkeepReply::Shard(Some(found)) } => Some(&mut found.shard),
            _ => None,
        }
    }
}

/// What travels. Nothing about it is verified.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Parcel<T: Message> {
    envelope: Envelope<T>,
    /// The bytes of the shard; nothing if there is none.
    attachment: Bytes,
}

impl<T: Carries> Parcel<T> {
    /// Signs `value`.
    ///
    /// # Errors
    /// [`SignerError`] if the signer does not sign.
    pub fn new(mut value: T, signer: &dyn Signer) -> Result<Self, SignerError> {
        let attachment = value.shard().map(|shard| core::mem::take(&mut shard.bytes)).unwrap_or_default();
        Ok(Self { envelope: Signed::new(value, signer)?.into_envelope(), attachment })
    }

    /// What travels.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        codec::encode(self).into()
    }

    /// Reads what has travelled.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        codec::decode(bytes, MAX_MESSAGE_BYTES)
    }

    /// Who is said to have signed.
    #[must_use]
    pub const fn signer(&self) -> PartyId {
        self.envelope.signer()
    }

    /// Who is said to have signed what these bytes encode: read before the rest is, so that a node may refuse it at less cost.
    #[must_use]
    pub fn claimed_signer(bytes: &[u8]) -> Option<PartyId> {
        // The envelope comes first, and in it the signer.
        PartyId::from_bytes(*bytes.first_chunk()?).ok()
    }

    /// Verifies the signature, reads the value, and compares the shard with its digest: whoever signed the value, has sent this shard.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(self) -> Result<T, OpenError> {
        let mut value = self.envelope.open()?.into_value();
        let sound = match value.shard() {
            None => self.attachment.is_empty(),
            Some(shard) => {
                shard.bytes = self.attachment;
                shard.digest == shard_digest(&shard.bytes)
            }
        };
        let expected = core::any::type_name::<T>();
        if sound { Ok(value) } else { Err(DecodeError::Malformed { expected }.into()) }
    }
}
