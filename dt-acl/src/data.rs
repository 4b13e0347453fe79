//! An item's data: the record that describes the current version of it, and how its content is sealed.
//!
//! ```text
//!   epoch key ──derive(item, epoch, counter, writer, salt)──▶ content key ─┬─▶ seals the content    (a blob)
//!                                                                          ├─▶ seals the content's hash
//!                                                                          └─▶ blinds the commitment
//! ```
//!
//! The salt is random, so a content key never seals twice, even when a counter is tried again. The commitment binds the content *and*
//! the content key: a ciphertext made to open under two keys is refused under one of them at least.

use borsh::{BorshDeserialize, BorshSerialize};
use dt_dht::{BlobRef, MAX_BLOB_BYTES, Record, Refusal, seal};
use dt_model::{ContentHash, Digest, Domain, PartyId, Secret, Signed, Timestamp, codec};
use rand_core::CryptoRng;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::item::DATA_SLOT;
use crate::record::MAX_ACL_BYTES;
use crate::{Acl, AclRef, ItemId};

/// The longest encoded [`DataRecord`]: what a DHT record has room for.
pub const MAX_DATA_BYTES: usize = MAX_ACL_BYTES;

const CONTENT: Domain = Domain::new("dt/acl/content/v1");
const CONTENT_BLOB: Domain = Domain::new("dt/acl/content-blob/v1");
const CONTENT_HASH: Domain = Domain::new("dt/acl/content-hash/v1");
const BLINDING: Domain = Domain::new("dt/acl/blinding/v1");
const COMMITMENT: Domain = Domain::new("dt/acl/content-commitment/v1");
const CIPHERTEXT: Domain = Domain::new("dt/acl/ciphertext/v1");

/// What was stored does not open to what was committed to. What exactly did not fit is deliberately not said.
#[derive(Debug, Error, PartialEq, Eq, Clone, Copy)]
#[error("the stored content does not open")]
pub struct Corrupt;

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

    /// The hash of the content, without the content: to be compared with a reference from elsewhere before anything is fetched.
    ///
    /// # Errors
    /// [`Corrupt`] if `epoch_key` is not the right one or the record was not made properly.
    pub fn content_hash(&self, writer: PartyId, epoch_key: &Secret) -> Result<ContentHash, Corrupt> {
        let key = self.context(writer).content_key(epoch_key);
        let opened =
            key.derive(CONTENT_HASH, &[]).open_once(&[], self.content_hash.as_bytes()).map_err(|_| Corrupt)?;
        let hash = ContentHash::from(<[u8; 32]>::try_from(opened.as_slice()).map_err(|_| Corrupt)?);
        if commit(&key, &hash, self.length) == self.commitment { Ok(hash) } else { Err(Corrupt) }
    }

    /// The content, given the ciphertext that [`DataRecord::blob`] restores. Every digest and commitment is checked.
    ///
    /// # Errors
    /// [`Corrupt`].
    pub fn open(
        &self,
        writer: PartyId,
        epoch_key: &Secret,
        ciphertext: &[u8],
    ) -> Result<(Zeroizing<Vec<u8>>, ContentHash), Corrupt> {
        if CIPHERTEXT.blake3(&[ciphertext]) != self.ciphertext {
            return Err(Corrupt);
        }
        let hash = self.content_hash(writer, epoch_key)?;
        let key = self.context(writer).content_key(epoch_key).derive(CONTENT_BLOB, &[]);
        let content = seal::open(&key, &[], ciphertext).map_err(|_| Corrupt)?;
        let same = content.len() as u64 == self.length && ContentHash::of(&content) == hash;
        if same { Ok((content, hash)) } else { Err(Corrupt) }
    }

    fn context(&self, writer: PartyId) -> Context {
        Context { item: self.item, epoch: self.epoch, counter: self.counter, writer, salt: self.salt }
    }

    fn is_sound(&self) -> bool {
        let sealed = usize::try_from(self.length).ok().filter(|length| *length <= MAX_BLOB_BYTES);
        (1..u64::MAX).contains(&self.counter)
            && (self.counter == 1) == (self.previous == Digest::ZERO)
            && sealed.is_some_and(|length| seal::sealed_bytes(length) as u64 == self.blob.length())
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

/// What a content key depends on besides the epoch key.
#[derive(BorshSerialize)]
struct Context {
    item: ItemId,
    epoch: u64,
    counter: u64,
    writer: PartyId,
    salt: Salt,
}

impl Context {
    fn content_key(&self, epoch_key: &Secret) -> Secret {
        epoch_key.derive(CONTENT, &codec::encode(self))
    }
}

fn commit(content_key: &Secret, hash: &ContentHash, length: u64) -> Digest {
    let blinding = content_key.derive(BLINDING, &[]);
    COMMITMENT.blake3(&[blinding.expose(), hash.as_bytes(), &length.to_le_bytes()])
}

/// Content that was sealed for one place, to be stored as a blob and then described by a [`DataRecord`].
#[derive(Debug)]
pub struct SealedContent {
    ciphertext: Vec<u8>,
    hash: ContentHash,
    draft: Draft,
}

/// What will be in the record, but for the blob.
#[derive(Debug)]
struct Draft {
    item: ItemId,
    counter: u64,
    previous: Digest,
    acl: AclRef,
    epoch: u64,
    salt: Salt,
    ciphertext: Digest,
    commitment: Digest,
    content_hash: SealedHash,
    length: u64,
}

impl SealedContent {
    /// Seals `content` as what `writer` writes after `previous`, under the current epoch of `acl`, whose key is `epoch_key`.
    ///
    /// # Errors
    /// [`Exhausted`] if there is no next counter.
    pub fn seal(
        acl: &Acl,
        epoch_key: &Secret,
        writer: PartyId,
        previous: Option<DataRef>,
        content: &[u8],
        rng: &mut (impl CryptoRng + ?Sized),
    ) -> Result<Self, Exhausted> {
        let counter = match previous {
            None => 1,
            Some(previous) => previous.counter.checked_add(1).filter(|next| *next < u64::MAX).ok_or(Exhausted)?,
        };
        let mut salt = [0; 32];
        rng.fill_bytes(&mut salt);
        let context = Context { item: acl.item(), epoch: acl.epoch(), counter, writer, salt: Salt::from(salt) };
        let key = context.content_key(epoch_key);
        let hash = ContentHash::of(content);
        let length = content.len() as u64;
        let ciphertext = seal::seal(&key.derive(CONTENT_BLOB, &[]), &[], content);
        let sealed = key.derive(CONTENT_HASH, &[]).seal_once(&[], hash.as_bytes());
        let mut content_hash = [0; 48];
        content_hash.copy_from_slice(&sealed);
        let draft = Draft {
            item: context.item,
            counter,
            previous: previous.map_or(Digest::ZERO, |previous| previous.digest),
            acl: acl.reference(),
            epoch: context.epoch,
            salt: context.salt,
            ciphertext: CIPHERTEXT.blake3(&[&ciphertext]),
            commitment: commit(&key, &hash, length),
            content_hash: SealedHash::from(content_hash),
            length,
        };
        Ok(Self { ciphertext, hash, draft })
    }

    /// What is to be stored as a blob.
    #[must_use]
    pub fn ciphertext(&self) -> &[u8] {
        &self.ciphertext
    }

    /// The hash of the content.
    #[must_use]
    pub const fn hash(&self) -> ContentHash {
        self.hash
    }

    /// The record, once the ciphertext is stored as `blob`.
    #[must_use]
    pub fn record(self, blob: BlobRef, time: Timestamp) -> DataRecord {
        let Draft { item, counter, previous, acl, epoch, salt, ciphertext, commitment, content_hash, length } =
            self.draft;
        DataRecord {
            item,
            counter,
            previous,
            acl,
            epoch,
            salt,
            blob,
            ciphertext,
            commitment,
            content_hash,
            length,
            time,
        }
    }
}

/// The counter has reached the end of its range.
#[derive(Debug, Error, PartialEq, Eq, Clone, Copy)]
#[error("there is no number for the next version of the data")]
pub struct Exhausted;

/// A data record that is well-formed and lies at its item's address. Whether its writer was entitled to it, an [`Acl`] tells:
/// [`Data::is_under`].
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

    /// Whether `acl` stands behind this record: the author of the list vouches for it, or it was written under this very version, in its
    /// epoch, by a writer who is on it. When a writer's right ends is for the replicas to watch, at the time of writing.
    #[must_use]
    pub fn is_under(&self, acl: &Acl) -> bool {
        acl.data() == Some(self.reference())
            || (self.record.acl == acl.reference()
                && self.record.epoch == acl.epoch()
                && acl.data().is_none_or(|floor| floor.counter < self.record.counter)
                && acl.entry(&self.writer()).is_some_and(|entry| entry.rights.write))
    }
}

impl core::ops::Deref for Data {
    type Target = DataRecord;
    fn deref(&self) -> &DataRecord {
        &self.record
    }
}
