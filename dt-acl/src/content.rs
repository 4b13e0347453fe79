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

use core::ops::Range;

use borsh::BorshSerialize;
use dt_dht::{BlobRef, seal};
use dt_model::{
    ContentHash, ContentHasher, Digest, Domain, DomainHasher, PartyId, Secret, SecretError, Timestamp, codec,
};
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
        let mut opener = self.opener(writer, epoch_key)?;
        let mut content = Zeroizing::new(Vec::with_capacity(ciphertext.len()));
        opener.push(ciphertext, &mut content)?;
        Ok((content, opener.finish()?))
    }

    /// Opens the content piece by piece, or ranges of it. What can be checked before the content is there has been checked.
    ///
    /// # Errors
    /// As [`DataRecord::content_hash`].
    pub fn opener(&self, writer: PartyId, epoch_key: &Secret) -> Result<ContentOpener, Corrupt> {
        let hash = self.content_hash(writer, epoch_key)?;
        let key = self.context(writer).content_key(epoch_key).derive(CONTENT_BLOB, &[]);
        // The record's invariant: the blob has the length that the content's length gives.
        let opener = seal::Opener::new(&key, &[], self.blob.length()).map_err(|_| Corrupt)?;
        let (opened, sealed) = (ContentHasher::default(), CIPHERTEXT.hasher());
        Ok(ContentOpener { opener, opened, sealed, hash, ciphertext: self.ciphertext })
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

/// Opens the content of one [`DataRecord`]: [`DataRecord::opener`].
///
/// What it gives is what the writer sealed at that place of the content. That the whole is what he committed to,
/// [`ContentOpener::finish`] says, and a range cannot: a malicious writer may commit to another content than he sealed, or seal what
/// opens under two keys.
pub struct ContentOpener {
    opener: seal::Opener,
    opened: ContentHasher,
    sealed: DomainHasher,
    hash: ContentHash,
    ciphertext: Digest,
}

impl ContentOpener {
    /// Goes on with the chunk in which byte `start` of the content is: the next bytes to be pushed are those of
    /// [`ContentOpener::sealed_range`] from there on. How many bytes of what is opened next are before `start`.
    ///
    /// The whole cannot be checked any more then: [`ContentOpener::finish`] gives [`Corrupt`], unless `start` is in the first chunk.
    pub fn seek(&mut self, start: u64) -> u64 {
        self.opener.seek(start / seal::CHUNK_BYTES as u64);
        self.opened = ContentHasher::default();
        self.sealed = CIPHERTEXT.hasher();
        start % seal::CHUNK_BYTES as u64
    }

    /// Takes the next bytes of the ciphertext, and appends to `content` what can be opened by now.
    ///
    /// # Errors
    /// [`Corrupt`]; then it is of no further use.
    pub fn push(&mut self, ciphertext: &[u8], content: &mut Vec<u8>) -> Result<(), Corrupt> {
        let before = content.len();
        self.sealed.update(ciphertext);
        self.opener.push(ciphertext, content).map_err(|_| Corrupt)?;
        self.opened.update(&content[before..]);
        Ok(())
    }

    /// Checks the whole, when all of it was pushed: length, ciphertext and content are those of the record.
    ///
    /// # Errors
    /// [`Corrupt`].
    pub fn finish(self) -> Result<ContentHash, Corrupt> {
        self.opener.finish().map_err(|_| Corrupt)?;
        let same = self.sealed.finish() == self.ciphertext && self.opened.finish() == self.hash;
        if same { Ok(self.hash) } else { Err(Corrupt) }
    }

    /// Which bytes of the ciphertext hold the content in `range`.
    #[must_use]
    pub fn sealed_range(&self, range: Range<u64>) -> Range<u64> {
        self.opener.sealed_range(range)
    }

    /// The content in `range`, given exactly the ciphertext of [`ContentOpener::sealed_range`].
    ///
    /// # Errors
    /// [`Corrupt`], also for a range that the content does not have.
    pub fn open_range(&self, range: Range<u64>, ciphertext: &[u8]) -> Result<Zeroizing<Vec<u8>>, Corrupt> {
        self.opener.open_range(range, ciphertext).map_err(|_| Corrupt)
    }
}

/// Content that was sealed for one place, to be stored as a blob and then described by a [`DataRecord`].
#[derive(Debug)]
pub struct SealedContent {
    ciphertext: Vec<u8>,
    draft: ContentDraft,
}

/// Content whose ciphertext is elsewhere: all that a [`DataRecord`] says of it but for the blob.
#[derive(Debug)]
pub struct ContentDraft {
    hash: ContentHash,
    draft: Draft,
}

/// Seals content that comes piece by piece.
pub struct ContentSealer {
    context: Context,
    previous: Digest,
    acl: AclRef,
    key: Secret,
    sealer: seal::Sealer,
    content: ContentHasher,
    ciphertext: DomainHasher,
    length: u64,
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
        let mut sealer = ContentSealer::new(acl, epoch_key, writer, previous, rng)?;
        let mut ciphertext = Vec::with_capacity(content.len() + content.len() / 1024 + seal::TAG_BYTES);
        // The counter of chunks does not run out: no memory holds so many.
        sealer.push(content, &mut ciphertext).map_err(|_| Exhausted)?;
        let draft = sealer.finish(&mut ciphertext).map_err(|_| Exhausted)?;
        Ok(Self { ciphertext, draft })
    }

    /// What is to be stored as a blob.
    #[must_use]
    pub fn ciphertext(&self) -> &[u8] {
        &self.ciphertext
    }

    /// The hash of the content.
    #[must_use]
    pub const fn hash(&self) -> ContentHash {
        self.draft.hash
    }

    /// The record, once the ciphertext is stored as `blob`.
    #[must_use]
    pub fn record(self, blob: BlobRef, time: Timestamp) -> DataRecord {
        self.draft.record(blob, time)
    }
}

impl ContentSealer {
    /// Starts what `writer` writes after `previous`, under the current epoch of `acl`, whose key is `epoch_key`.
    ///
    /// # Errors
    /// [`Exhausted`] if there is no next counter.
    pub fn new(
        acl: &Acl,
        epoch_key: &Secret,
        writer: PartyId,
        previous: Option<DataRef>,
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
        Ok(Self {
            context,
            previous: previous.map_or(Digest::ZERO, |previous| previous.digest),
            acl: acl.reference(),
            sealer: seal::Sealer::new(&key.derive(CONTENT_BLOB, &[]), &[]),
            key,
            content: ContentHasher::default(),
            ciphertext: CIPHERTEXT.hasher(),
            length: 0,
        })
    }

    /// Takes the next bytes of the content, and appends to `ciphertext` what can be sealed by now.
    ///
    /// # Errors
    /// [`SecretError`] if the content is too long to be sealed.
    pub fn push(&mut self, content: &[u8], ciphertext: &mut Vec<u8>) -> Result<(), SecretError> {
        let before = ciphertext.len();
        self.content.update(content);
        self.length += content.len() as u64;
        self.sealer.push(content, ciphertext)?;
        self.ciphertext.update(&ciphertext[before..]);
        Ok(())
    }

    /// Ends the content, and appends the rest to `ciphertext`.
    ///
    /// # Errors
    /// [`SecretError`] if the content is too long to be sealed.
    pub fn finish(mut self, ciphertext: &mut Vec<u8>) -> Result<ContentDraft, SecretError> {
        let before = ciphertext.len();
        self.sealer.finish(ciphertext)?;
        self.ciphertext.update(&ciphertext[before..]);
        let hash = self.content.finish();
        let sealed = self.key.derive(CONTENT_HASH, &[]).seal_once(&[], hash.as_bytes());
        let mut content_hash = [0; 48];
        content_hash.copy_from_slice(&sealed);
        let Context { item, epoch, counter, salt, .. } = self.context;
        let draft = Draft {
            item,
            counter,
            previous: self.previous,
            acl: self.acl,
            epoch,
            salt,
            ciphertext: self.ciphertext.finish(),
            commitment: commit(&self.key, &hash, self.length),
            content_hash: SealedHash::from(content_hash),
            length: self.length,
        };
        Ok(ContentDraft { hash, draft })
    }
}

impl ContentDraft {
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
