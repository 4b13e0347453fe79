//! How content is sealed for its place, and opened: whatever comes out is what the writer committed to.
//!
//! ```text
//!   epoch key ──derive(item, epoch, counter, writer, salt)──▶ content key ─┬─▶ seals the content    (a blob)
//!                                                                          ├─▶ seals the content's hash
//!                                                                          └─▶ blinds the commitment
//! ```
//!
//! The salt is random, so a content key never seals twice, even when a counter is tried again. The commitment binds the content *and*
//! the content key: a ciphertext made to open under two keys is refused under one of them at least.

use borsh::BorshSerialize;
use dt_dht::{BlobRef, seal};
use dt_model::{ContentHash, Digest, Domain, PartyId, Secret, Timestamp, codec};
use rand_core::CryptoRng;
use thiserror::Error;
use zeroize::Zeroizing;

use crate::{Acl, AclRef, DataRecord, DataRef, ItemId, Salt, SealedHash};

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

impl DataRecord {
    /// The hash of the content, without the content: to be compared with a reference from elsewhere before anything is fetched.
    ///
    /// # Errors
    /// [`Corrupt`] if `epoch_key` is not the right one or the record was not made properly.
    pub fn content_hash(&self, writer: PartyId, epoch_key: &Secret) -> Result<ContentHash, Corrupt> {
        let key = self.context(writer).content_key(epoch_key);
        let opened = key
            .derive(CONTENT_HASH, &[])
            .open_once(&[], self.content_hash.as_bytes())
            .map_err(|_| Corrupt)?;
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
            Some(previous) => {
                previous.counter.checked_add(1).filter(|next| *next < u64::MAX).ok_or(Exhausted)?
            }
        };
        let mut salt = [0; 32];
        rng.fill_bytes(&mut salt);
        let context =
            Context { item: acl.item(), epoch: acl.epoch(), counter, writer, salt: Salt::from(salt) };
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
