//! An item's data: the record that describes the current version of it, signed by whoever wrote it.

use borsh::{BorshDeserialize, BorshSerialize};
use dt_dht::{BlobRef, Record, Refusal, seal};
use dt_model::{Digest, PartyId, Signed, Timestamp, codec};
use serde::{Deserialize, Serialize};

use crate::item::DATA_SLOT;
use crate::{Acl, AclRef, ItemId, MAX_ACL_BYTES};

/// The longest encoded [`DataRecord`]: what a DHT record has room for.
pub const MAX_DATA_BYTES: usize = MAX_ACL_BYTES;

/// A version of an item's data.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    BorshSerialize,
    BorshDeserialize,
    Serialize,
    Deserialize,
)]
pub struct DataRef {
    /// The counter.
    pub counter: u64,
    /// The digest of the signed record.
    pub digest: Digest,
}

dt_model::fixed_bytes! {
    /// A random value that makes a content key unique.
    pub struct Salt(32);
}

dt_model::fixed_bytes! {
    /// The plain SHA-256 of the content, sealed under a key derived from the content key: in the clear it would tell a guesser that the
    /// guess is right.
    pub struct SealedHash(48);
}

/// What an item's data is: the body of a signed [`Record`] whose signer is the writer and whose version is the counter.
///
/// # Invariant
/// The counter is from 1 to `u64::MAX` − 1; only the first has no predecessor; the blob has the length that the content's length gives.
/// Nothing else decodes.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize)]
pub struct DataRecord {
    pub(crate) item: ItemId,
    pub(crate) counter: u64,
    pub(crate) previous: Digest,
    pub(crate) acl: AclRef,
    pub(crate) epoch: u64,
    pub(crate) salt: Salt,
    pub(crate) blob: BlobRef,
    pub(crate) ciphertext: Digest,
    pub(crate) commitment: Digest,
    pub(crate) content_hash: SealedHash,
    pub(crate) length: u64,
    pub(crate) time: Timestamp,
}

impl DataRecord {
    /// The item.
    #[must_use]
    pub const fn item(&self) -> ItemId {
        self.item
    }

    /// Which version of the data this is, from 1.
    #[must_use]
    pub const fn counter(&self) -> u64 {
        self.counter
    }

    /// The digest of the version before; [`Digest::ZERO`] in the first.
    #[must_use]
    pub const fn previous(&self) -> Digest {
        self.previous
    }

    /// The list under which it was written.
    #[must_use]
    pub const fn acl(&self) -> AclRef {
        self.acl
    }

    /// The key epoch in which it is sealed.
    #[must_use]
    pub const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Where the ciphertext is, with the digest of every shard.
    #[must_use]
    pub const fn blob(&self) -> &BlobRef {
        &self.blob
    }

    /// The digest of the ciphertext.
    #[must_use]
    pub const fn ciphertext(&self) -> Digest {
        self.ciphertext
    }

    /// The blinded commitment to content and content key.
    #[must_use]
    pub const fn commitment(&self) -> Digest {
        self.commitment
    }

    /// The length of the content in bytes.
    #[must_use]
    pub const fn length(&self) -> u64 {
        self.length
    }

    /// When the writer says that it was written.
    #[must_use]
    pub const fn time(&self) -> Timestamp {
        self.time
    }

    fn is_sound(&self) -> bool {
        (1..u64::MAX).contains(&self.counter)
            && (self.counter == 1) == (self.previous == Digest::ZERO)
            && seal::sealed_bytes(self.length) == self.blob.length()
    }
}

impl BorshDeserialize for DataRecord {
    fn deserialize_reader<R: borsh::io::Read>(reader: &mut R) -> borsh::io::Result<Self> {
        let record = Self {
            item: ItemId::deserialize_reader(reader)?,
            counter: u64::deserialize_reader(reader)?,
            previous: Digest::deserialize_reader(reader)?,
            acl: AclRef::deserialize_reader(reader)?,
            epoch: u64::deserialize_reader(reader)?,
            salt: Salt::deserialize_reader(reader)?,
            blob: BlobRef::deserialize_reader(reader)?,
            ciphertext: Digest::deserialize_reader(reader)?,
            commitment: Digest::deserialize_reader(reader)?,
            content_hash: SealedHash::deserialize_reader(reader)?,
            length: u64::deserialize_reader(reader)?,
            time: Timestamp::deserialize_reader(reader)?,
        };
        if record.is_sound() { Ok(record) } else { Err(borsh::io::ErrorKind::InvalidData.into()) }
    }
}

/// A data record that is well-formed and lies at its item's address. Whether its writer was entitled to it, the list under which it was
/// written tells: [`Data::is_under`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Data {
    signed: Signed<Record>,
    record: DataRecord,
}

impl Data {
    /// Reads the data record in `signed`.
    ///
    /// # Errors
    /// [`Refusal::Malformed`] or [`Refusal::WrongAddress`].
    pub fn open(signed: &Signed<Record>) -> Result<Self, Refusal> {
        let record: DataRecord =
            codec::decode(&signed.body, MAX_DATA_BYTES).map_err(|_| Refusal::Malformed)?;
        if signed.key.slot != DATA_SLOT || signed.version != record.counter {
            return Err(Refusal::Malformed);
        }
        if signed.key.address != record.item.address() {
            return Err(Refusal::WrongAddress);
        }
        Ok(Self { signed: signed.clone(), record })
    }

    /// The signed record.
    #[must_use]
    pub const fn signed(&self) -> &Signed<Record> {
        &self.signed
    }

    /// The record itself.
    #[must_use]
    pub const fn record(&self) -> &DataRecord {
        &self.record
    }

    /// Who wrote it.
    #[must_use]
    pub const fn writer(&self) -> PartyId {
        self.signed.signer()
    }

    /// Its counter and digest.
    #[must_use]
    pub fn reference(&self) -> DataRef {
        DataRef { counter: self.record.counter, digest: self.signed.digest() }
    }

    /// Whether it was written under this very version of the list, in its epoch, by somebody whom it lets write. When a writer's right
    /// ends is for the replicas to watch, at the time of writing.
    #[must_use]
    pub fn is_under(&self, acl: &Acl) -> bool {
        self.record.acl == acl.reference()
            && self.record.epoch == acl.epoch()
            && acl.entry(&self.writer()).is_some_and(|entry| acl.rights_of(entry).write)
    }
}

impl core::ops::Deref for Data {
    type Target = DataRecord;
    fn deref(&self) -> &DataRecord {
        &self.record
    }
}
