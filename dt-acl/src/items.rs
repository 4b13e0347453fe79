//! The party's side: create, write, read, grant, revoke. Thin: it fetches records, calls the pure parts, and stores what they give.

use core::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

use bytes::Bytes;
use dt_dht::{Client, Key, MAX_BLOB_BYTES, PutError, QuorumCertificate, Record, Refusal, seal};
use dt_model::{ContentHash, Digest, EncryptionKey, PartyId, Secret, Signed, Timestamp, codec};
use rand_core::CryptoRng;
use zeroize::Zeroizing;

use crate::validator::admit_next;
use crate::{
    Acl, AclError, AclRecord, AclRef, Change, Data, DataRef, Grantee, History, ItemId, ItemName, Keyring,
    Rights, SealedContent,
};

/// A version of a list that a quorum has stored.
#[derive(Debug, Clone)]
pub struct AclState {
    /// The list.
    pub acl: Acl,
    /// The proof that it is stored.
    pub certificate: QuorumCertificate,
}

/// A version of an item's data that a quorum has stored.
#[derive(Debug, Clone)]
pub struct Written {
    /// The item.
    pub item: ItemId,
    /// Which version of the data it is.
    pub counter: u64,
    /// The digest of the signed data record.
    pub record: Digest,
    /// The plain SHA-256 of the content: what a reference on the ledger holds.
    pub content_hash: ContentHash,
    /// The list under which it was written.
    pub acl: AclRef,
    /// The proof that it is stored.
    pub certificate: QuorumCertificate,
}

/// An item's data, opened and checked.
#[derive(Debug, Clone)]
pub struct Opened {
    /// The content; wiped from memory when dropped.
    pub plaintext: Zeroizing<Vec<u8>>,
    /// Who wrote it.
    pub writer: PartyId,
    /// When the writer says that it was written.
    pub time: Timestamp,
    /// Which version of the data it is.
    pub counter: u64,
    /// The digest of the signed data record.
    pub record: Digest,
    /// The plain SHA-256 of the content.
    pub content_hash: ContentHash,
    /// The list that was current when it was read.
    pub acl: AclRef,
}

/// What a revocation does about what is stored already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Revocation {
    /// Nothing: the new key is for what is written from now on. The party still holds the key of the current data, though honest replicas
    /// no longer serve it the record that says where the data is.
    Lazy,
    /// The current data is encrypted anew under the new key, by whoever revokes, who thereby becomes its writer and needs the right to
    /// write. The old shards are not renewed any more and go when their lease ends.
    Eager,
}

/// A revocation that was carried out.
#[derive(Debug, Clone)]
pub struct Revoked {
    /// The list without the party.
    pub state: AclState,
    /// The data under the new key, if it was encrypted anew.
    pub rewritten: Option<Written>,
}

/// How often a read starts over because the list changes under it, before it gives up.
const MAX_ATTEMPTS: usize = 4;

/// Reads and changes items as one party.
///
/// Its state is that of the DHT; two values for one party see the same. A `floor` is a version of the list that the caller knows to exist,
/// from the ledger or from an earlier read: nothing older is believed.
pub struct Items {
    client: Arc<Client>,
}

impl Items {
    /// Works through `client`, as its party.
    #[must_use]
    pub const fn new(client: Arc<Client>) -> Self {
        Self { client }
    }

    /// The client that it works through.
    #[must_use]
    pub const fn client(&self) -> &Arc<Client> {
        &self.client
    }

    /// Whose items these are, or by whom they are read.
    #[must_use]
    pub fn party(&self) -> PartyId {
        self.client.signer().party()
    }

    /// Creates the item that the party calls `name`, with a list of itself and `grantees`. It has no data yet.
    ///
    /// # Errors
    /// [`AclError::AlreadyExists`], [`AclError::Change`], and what comes from the DHT.
    pub async fn create(
        &self,
        name: impl Into<ItemName> + Send,
        grantees: &[Grantee],
        now: Timestamp,
        rng: &mut (impl CryptoRng + Send + ?Sized),
    ) -> Result<AclState, AclError> {
        let record = AclRecord::first(self.client.signer(), name.into(), grantees, rng)?;
        let item = record.item();
        match self.acl(item, None, now).await {
            Err(AclError::NoSuchItem(_)) => self.put_acl(record, now).await,
            Ok(_) => Err(AclError::AlreadyExists(item)),
            Err(error) => Err(error),
        }
    }

    /// The current list of `item`, by one quorum read.
    ///
    /// # Errors
    /// [`AclError::NoSuchItem`], [`AclError::NotAReader`], [`AclError::Rollback`], and what comes from the DHT.
    pub async fn acl(&self, item: ItemId, floor: Option<AclRef>, now: Timestamp) -> Result<Acl, AclError> {
        let check = |record: &Signed<Record>| above(&Acl::open(record)?, floor);
        let record = self.client.get(item.acl_key(), &check, now).await;
        let record = record.map_err(|error| AclError::unread(error, self.party(), floor))?;
        match (record, floor) {
            (Some(record), _) => Acl::open(&record).map_err(|_| AclError::Conflict),
            (None, Some(floor)) => Err(AclError::Rollback { floor }),
            (None, None) => Err(AclError::NoSuchItem(item)),
        }
    }

    /// The epoch keys that the party has of `item`, whether or not the item has data: feeds take theirs from here.
    ///
    /// # Errors
    /// As [`Items::acl`]; [`AclError::Corrupt`] or [`AclError::Key`] if the keys are not to be had.
    pub async fn keys(
        &self,
        item: ItemId,
        floor: Option<AclRef>,
        now: Timestamp,
    ) -> Result<Keyring, AclError> {
        let acl = self.acl(item, floor, now).await?;
        Ok(Keyring::open(&acl, self.client.signer())?)
    }

    /// The key of one epoch of `item`.
    ///
    /// # Errors
    /// As [`Items::keys`].
    pub async fn epoch_key(&self, item: ItemId, epoch: u64, now: Timestamp) -> Result<Secret, AclError> {
        Ok(self.keys(item, None, now).await?.key(epoch)?)
    }

    /// Replaces the data of `item` by `content`.
    ///
    /// # Errors
    /// [`AclError::NotPermitted`], [`AclError::Conflict`], [`AclError::InDoubt`], those of reading, and what comes from the DHT.
    pub async fn write(
        &self,
        item: ItemId,
        content: &[u8],
        now: Timestamp,
        rng: &mut (impl CryptoRng + Send + ?Sized),
    ) -> Result<Written, AclError> {
        let size = seal::sealed_bytes(content.len() as u64);
        if size > MAX_BLOB_BYTES {
            return Err(PutError::TooLarge { size, limit: MAX_BLOB_BYTES }.into());
        }
        let (acl, after) = match self.view(item, None, now).await {
            Ok((acl, data)) => (acl, data.as_ref().map(Data::reference)),
            Err(AclError::Split { after }) => (self.acl(item, None, now).await?, Some(after)),
            Err(error) => return Err(error),
        };
        self.write_after(&acl, after, content, now, rng).await
    }

    /// The data of `item`, verified from the owner's name down to the last byte.
    ///
    /// # Errors
    /// [`AclError::NoSuchItem`], [`AclError::NoData`], [`AclError::NotAReader`], [`AclError::Rollback`], [`AclError::Corrupt`],
    /// [`AclError::Key`], [`AclError::Conflict`] if the list keeps changing, and what comes from the DHT.
    pub async fn read(
        &self,
        item: ItemId,
        floor: Option<AclRef>,
        now: Timestamp,
    ) -> Result<Opened, AclError> {
        let (acl, data) = self.view(item, floor, now).await?;
        let data = data.ok_or(AclError::NoData(item))?;
        self.open(&acl, &data, now).await
    }

    /// Puts parties on the list of `item`, or changes their rights.
    ///
    /// # Errors
    /// [`AclError::NotPermitted`], [`AclError::Change`], [`AclError::Conflict`], [`AclError::InDoubt`], and those of reading.
    pub async fn grant(
        &self,
        item: ItemId,
        grantees: &[Grantee],
        history: History,
        now: Timestamp,
        rng: &mut (impl CryptoRng + Send + ?Sized),
    ) -> Result<AclState, AclError> {
        self.change(item, &Change::Grant { grantees, history }, now, rng).await
    }

    /// Takes `party` off the list of `item` and starts a new key epoch. What it has read, or could have read, it keeps.
    ///
    /// # Errors
    /// As [`Items::grant`]; [`AclError::NotReencrypted`] if only the second half of an eager revocation failed.
    pub async fn revoke(
        &self,
        item: ItemId,
        party: PartyId,
        revocation: Revocation,
        now: Timestamp,
        rng: &mut (impl CryptoRng + Send + ?Sized),
    ) -> Result<Revoked, AclError> {
        if revocation == Revocation::Eager {
            self.require(&self.acl(item, None, now).await?, now, |rights| rights.write)?;
        }
        let state = self.change(item, &Change::Revoke { party }, now, rng).await?;
        match revocation {
            Revocation::Lazy => Ok(Revoked { state, rewritten: None }),
            Revocation::Eager => match self.reencrypt(item, now, rng).await {
                Ok(rewritten) => Ok(Revoked { state, rewritten }),
                Err(source) => {
                    Err(AclError::NotReencrypted { state: Box::new(state), source: Box::new(source) })
                }
            },
        }
    }

    /// Wraps for the new `encryption_key` of `party`, and starts a new key epoch.
    ///
    /// # Errors
    /// As [`Items::grant`].
    pub async fn rotate(
        &self,
        item: ItemId,
        party: PartyId,
        encryption_key: EncryptionKey,
        now: Timestamp,
        rng: &mut (impl CryptoRng + Send + ?Sized),
    ) -> Result<AclState, AclError> {
        self.change(item, &Change::Rotate { party, encryption_key }, now, rng).await
    }

    /// Writes the current data of `item` again under the current key, if it is sealed under an older one.
    ///
    /// # Errors
    /// Those of [`Items::read`] and [`Items::write`].
    pub async fn reencrypt(
        &self,
        item: ItemId,
        now: Timestamp,
        rng: &mut (impl CryptoRng + Send + ?Sized),
    ) -> Result<Option<Written>, AclError> {
        let (acl, data) = self.view(item, None, now).await?;
        let Some(data) = data.filter(|data| data.epoch() != acl.epoch()) else {
            return Ok(None);
        };
        let opened = self.open(&acl, &data, now).await?;
        let written = self.write_after(&acl, Some(data.reference()), &opened.plaintext, now, rng).await?;
        Ok(Some(written))
    }

    /// Puts a record that is in doubt once more.
    ///
    /// # Errors
    /// [`AclError::InDoubt`] again, or [`AclError::Conflict`] if it has lost.
    pub async fn resubmit(
        &self,
        record: &Signed<Record>,
        now: Timestamp,
    ) -> Result<QuorumCertificate, AclError> {
        self.client.put(record, now).await.map_err(|error| match error {
            PutError::Refused(refusal) => AclError::refused(refusal),
            source @ PutError::NoQuorum { .. } => {
                AclError::InDoubt { record: Box::new(record.clone()), source }
            }
            other => other.into(),
        })
    }

    /// The list and the data that belong together.
    async fn view(
        &self,
        item: ItemId,
        floor: Option<AclRef>,
        now: Timestamp,
    ) -> Result<(Acl, Option<Data>), AclError> {
        let mut acl = self.acl(item, floor, now).await?;
        for _ in 0..MAX_ATTEMPTS {
            let (data, newer) = self.data(&acl, now).await;
            // Somebody shows data under a list that we do not know: the list has changed since, or else it is a lie.
            let again = if newer { self.acl(item, Some(acl.reference()), now).await? } else { acl.clone() };
            if again.reference() == acl.reference() {
                return data.map(|data| (acl, data));
            }
            acl = again;
        }
        Err(AclError::Conflict)
    }

    /// The data that `acl` stands behind, and whether a replica showed data that refers to a newer list.
    async fn data(&self, acl: &Acl, now: Timestamp) -> (Result<Option<Data>, AclError>, bool) {
        let newer = AtomicBool::new(false);
        let floor = acl.reference();
        let check = |record: &Signed<Record>| {
            let data = Data::open(record)?;
            newer.fetch_or(data.acl().version > floor.version, Ordering::Relaxed);
            if data.is_under(acl) { Ok(()) } else { Err(Refusal::Superseded) }
        };
        let data = match self.client.get(acl.item().data_key(), &check, now).await {
            Ok(Some(record)) => Data::open(&record).map(Some).map_err(|_| AclError::Conflict),
            // The list says that there was data.
            Ok(None) if acl.data().is_some() => Err(AclError::Rollback { floor }),
            Ok(None) => Ok(None),
            Err(error) => Err(AclError::unread_data(error, self.party(), floor)),
        };
        (data, newer.into_inner())
    }

    async fn open(&self, acl: &Acl, data: &Data, now: Timestamp) -> Result<Opened, AclError> {
        let key = Keyring::open(acl, self.client.signer())?.key(data.epoch())?;
        // What does not fit the key is not worth fetching.
        data.content_hash(data.writer(), &key)?;
        let ciphertext = self.client.get_blob(data.blob(), now).await?;
        let (plaintext, content_hash) = data.record().open(data.writer(), &key, &ciphertext)?;
        Ok(Opened {
            plaintext,
            writer: data.writer(),
            time: data.time(),
            counter: data.counter(),
            record: data.reference().digest,
            content_hash,
            acl: acl.reference(),
        })
    }

    async fn write_after(
        &self,
        acl: &Acl,
        previous: Option<DataRef>,
        content: &[u8],
        now: Timestamp,
        rng: &mut (impl CryptoRng + Send + ?Sized),
    ) -> Result<Written, AclError> {
        self.require(acl, now, |rights| rights.write)?;
        let key = Keyring::open(acl, self.client.signer())?.key(acl.epoch())?;
        let sealed = SealedContent::seal(acl, &key, self.party(), previous, content, rng)?;
        let content_hash = sealed.hash();
        let blob = self.client.put_blob(sealed.ciphertext(), now).await.map_err(|error| match error {
            PutError::Refused(refusal) => AclError::refused(refusal),
            other => other.into(),
        })?;
        let record = sealed.record(blob, now);
        let counter = record.counter();
        let signed = self.sign(acl.item().data_key(), counter, codec::encode(&record))?;
        let certificate = self.resubmit(&signed, now).await?;
        let (item, record, acl) = (acl.item(), signed.digest(), acl.reference());
        Ok(Written { item, counter, record, content_hash, acl, certificate })
    }

    async fn change(
        &self,
        item: ItemId,
        change: &Change<'_>,
        now: Timestamp,
        rng: &mut (impl CryptoRng + Send + ?Sized),
    ) -> Result<AclState, AclError> {
        let (acl, data) = self.view(item, None, now).await?;
        self.require(&acl, now, |rights| rights.manage)?;
        let keys = Keyring::open(&acl, self.client.signer())?;
        let named = data.as_ref().map(Data::reference);
        let next = acl.change(self.client.signer(), &keys, change, named, now, rng)?;
        let signed = self.sign(item.acl_key(), next.version(), codec::encode(&next))?;
        // What the replicas would refuse is not worth sending, and must not be left lying about.
        let offered = Acl::open(&signed).map_err(AclError::refused)?;
        admit_next(&acl, &offered, data.as_ref(), now).map_err(AclError::refused)?;
        let certificate = self.resubmit(&signed, now).await?;
        Ok(AclState { acl: offered, certificate })
    }

    async fn put_acl(&self, record: AclRecord, now: Timestamp) -> Result<AclState, AclError> {
        let signed = self.sign(record.item().acl_key(), record.version(), codec::encode(&record))?;
        let certificate = self.resubmit(&signed, now).await?;
        let acl = Acl::open(&signed).map_err(AclError::refused)?;
        Ok(AclState { acl, certificate })
    }

    fn sign(&self, key: Key, version: u64, body: Vec<u8>) -> Result<Signed<Record>, AclError> {
        Ok(Signed::new(Record { key, version, body: Bytes::from(body) }, self.client.signer())?)
    }

    /// Fails early where the replicas would refuse.
    fn require(&self, acl: &Acl, now: Timestamp, right: impl Fn(Rights) -> bool) -> Result<(), AclError> {
        let entry = acl.entry(&self.party()).ok_or(AclError::NotAReader(self.party()))?;
        if right(entry.rights) && entry.is_valid_at(now) { Ok(()) } else { Err(AclError::NotPermitted) }
    }
}

/// Whether `acl` is what the caller knows to exist, or later.
fn above(acl: &Acl, floor: Option<AclRef>) -> Result<(), Refusal> {
    match floor {
        Some(floor) if acl.version() < floor.version => Err(Refusal::Stale { stored: floor.version }),
        Some(floor) if acl.version() == floor.version && acl.reference() != floor => {
            Err(Refusal::Inconsistent)
        }
        _ => Ok(()),
    }
}
