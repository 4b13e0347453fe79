//! The party's side: create, write, read, grant, revoke. Thin: it fetches records, calls the pure parts, and stores what they give.

use std::sync::Arc;

use bytes::Bytes;
use dt_dht::{Client, Key, MAX_BLOB_BYTES, PutError, Record, SettlementCertificate, seal};
use dt_model::{ContentHash, Digest, EncryptionKey, PartyId, Secret, Signed, Timestamp, codec};
use rand_core::CryptoRng;
use zeroize::Zeroizing;

use crate::item::ACL_SLOT;
use crate::lineage::Chained;
use crate::validator::admit_next;
use crate::{
    Acl, AclError, AclRecord, AclRef, Change, Data, Floor, Founders, Grantee, Group, History, ItemId,
    ItemName, ItemState, Keyring, Member, Rights, SealedContent,
};

/// A version of an item's data that a quorum has settled.
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
    /// The proof that it is settled, or something that follows it.
    pub certificate: SettlementCertificate,
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
    pub state: ItemState,
    /// The data under the new key, if it was encrypted anew.
    pub rewritten: Option<Written>,
}

/// Reads and changes items as one party.
///
/// Its state is that of the DHT; two values for one party see the same. What is read is list and data of one moment.
///
/// Who changes an item competes with everybody else who does: of two who start from the same list and the same data one wins, and the
/// other is told [`AclError::Conflict`] and succeeds, unless somebody is faster again, when it tries again from reading on. That holds
/// between two managers, between two writers, and between a writer and a manager. Nothing of a conflicting change is done.
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

    /// Creates the item that the party calls `name`, with a list of itself and `founders`. It has no data yet.
    ///
    /// # Errors
    /// [`AclError::AlreadyExists`], [`AclError::Change`], and what comes from the DHT.
    pub async fn create<'a>(
        &self,
        name: impl Into<ItemName> + Send,
        founders: impl Into<Founders<'a>> + Send,
        now: Timestamp,
        rng: &mut (impl CryptoRng + Send + ?Sized),
    ) -> Result<ItemState, AclError> {
        let record = AclRecord::first(self.client.signer(), name.into(), founders, now, rng)?;
        let item = record.item();
        match self.state(item, None, now).await {
            Err(AclError::NoSuchItem(_)) => {}
            Ok(_) => return Err(AclError::AlreadyExists(item)),
            Err(error) => return Err(error),
        }
        let signed = self.sign(item.acl_key(), record.version(), codec::encode(&record))?;
        match self.settle::<Acl>(item, &signed, now).await {
            Err(AclError::Conflict) => Err(AclError::AlreadyExists(item)),
            settled => settled,
        }
    }

    /// List and data of `item` as they are settled, by one quorum read.
    ///
    /// # Errors
    /// [`AclError::NoSuchItem`], [`AclError::NotAReader`], [`AclError::Rollback`], and what comes from the DHT.
    pub async fn state(
        &self,
        item: ItemId,
        floor: Option<Floor>,
        now: Timestamp,
    ) -> Result<ItemState, AclError> {
        let settled = self.client.state(item.address(), now).await;
        match (settled.map_err(|error| AclError::unread(error, self.party()))?, floor) {
            (Some(settled), floor) => ItemState::of(item, &settled, floor),
            (None, Some(floor)) => Err(AclError::Rollback { floor }),
            (None, None) => Err(AclError::NoSuchItem(item)),
        }
    }

    /// The current list of `item`.
    ///
    /// # Errors
    /// As [`Items::state`].
    pub async fn acl(&self, item: ItemId, floor: Option<Floor>, now: Timestamp) -> Result<Acl, AclError> {
        Ok(self.state(item, floor, now).await?.acl)
    }

    /// The epoch keys that the party has of `item`, whether or not the item has data: feeds take theirs from here.
    ///
    /// # Errors
    /// As [`Items::acl`]; [`AclError::Corrupt`] or [`AclError::Key`] if the keys are not to be had.
    pub async fn keys(
        &self,
        item: ItemId,
        floor: Option<Floor>,
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
        let state = self.state(item, None, now).await?;
        self.write_after(&state, content, now, rng).await
    }

    /// The data of `item`, verified from the owner's name down to the last byte.
    ///
    /// # Errors
    /// [`AclError::NoSuchItem`], [`AclError::NoData`], [`AclError::NotAReader`], [`AclError::Rollback`], [`AclError::Corrupt`],
    /// [`AclError::Key`], and what comes from the DHT.
    pub async fn read(&self, item: ItemId, floor: Option<Floor>, now: Timestamp) -> Result<Opened, AclError> {
        let state = self.state(item, floor, now).await?;
        let data = state.data.ok_or(AclError::NoData(item))?;
        self.open(&state.acl, &data, now).await
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
    ) -> Result<ItemState, AclError> {
        self.change(item, &Change::Grant { grantees, history }, now, rng).await
    }

    /// Makes `members` the ones who are on the list of `item` by `group`, in one version: see [`Change::SyncGroup`].
    ///
    /// # Errors
    /// As [`Items::grant`].
    pub async fn sync_group(
        &self,
        item: ItemId,
        group: &Group,
        members: &[Member],
        history: History,
        now: Timestamp,
        rng: &mut (impl CryptoRng + Send + ?Sized),
    ) -> Result<ItemState, AclError> {
        self.change(item, &Change::SyncGroup { group, members, history }, now, rng).await
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
    ) -> Result<ItemState, AclError> {
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
        let state = self.state(item, None, now).await?;
        let Some(data) = state.data.as_ref().filter(|data| data.epoch() != state.acl.epoch()) else {
            return Ok(None);
        };
        let opened = self.open(&state.acl, data, now).await?;
        Ok(Some(self.write_after(&state, &opened.plaintext, now, rng).await?))
    }

    /// Settles a record that is in doubt, unless it is already.
    ///
    /// # Errors
    /// [`AclError::InDoubt`] again, or [`AclError::Conflict`] if it has lost.
    pub async fn resubmit(&self, record: &Signed<Record>, now: Timestamp) -> Result<ItemState, AclError> {
        let item = ItemId::from(*record.key.address.as_bytes());
        if record.key.slot == ACL_SLOT {
            self.settle::<Acl>(item, record, now).await
        } else {
            self.settle::<Data>(item, record, now).await
        }
    }

    /// Opens `data`, with the party's keys from `acl`: any version of the item's data, as long as nodes keep its blob.
    ///
    /// # Errors
    /// [`AclError::NotAReader`], [`AclError::Key`], [`AclError::Corrupt`], and what comes from the DHT.
    pub async fn open(&self, acl: &Acl, data: &Data, now: Timestamp) -> Result<Opened, AclError> {
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
        state: &ItemState,
        content: &[u8],
        now: Timestamp,
        rng: &mut (impl CryptoRng + Send + ?Sized),
    ) -> Result<Written, AclError> {
        let (acl, item) = (&state.acl, state.acl.item());
        self.require(acl, now, |rights| rights.write)?;
        let key = Keyring::open(acl, self.client.signer())?.key(acl.epoch())?;
        let previous = state.data.as_ref().map(Data::reference);
        let sealed = SealedContent::seal(acl, &key, self.party(), previous, content, rng)?;
        let content_hash = sealed.hash();
        let blob = self.client.put_blob(sealed.ciphertext(), now).await.map_err(|error| match error {
            PutError::Refused(refusal) => AclError::refused(refusal),
            other => other.into(),
        })?;
        let record = sealed.record(blob, now);
        let counter = record.counter();
        let signed = self.sign(item.data_key(), counter, codec::encode(&record))?;
        let certificate = self.settle::<Data>(item, &signed, now).await?.certificate;
        Ok(Written {
            item,
            counter,
            record: signed.digest(),
            content_hash,
            acl: acl.reference(),
            certificate,
        })
    }

    async fn change(
        &self,
        item: ItemId,
        change: &Change<'_>,
        now: Timestamp,
        rng: &mut (impl CryptoRng + Send + ?Sized),
    ) -> Result<ItemState, AclError> {
        let acl = self.state(item, None, now).await?.acl;
        self.require(&acl, now, |rights| rights.manage)?;
        let keys = Keyring::open(&acl, self.client.signer())?;
        let next = acl.change(self.client.signer(), &keys, change, now, rng)?;
        let signed = self.sign(item.acl_key(), next.version(), codec::encode(&next))?;
        // What the replicas would refuse is not worth sending.
        let offered = Acl::open(&signed).map_err(AclError::refused)?;
        admit_next(&acl, &offered, now).map_err(AclError::refused)?;
        self.settle::<Acl>(item, &signed, now).await
    }

    /// Settles `record`, or finds that it was settled: somebody may have finished it for this party, and gone on from there.
    pub(crate) async fn settle<T: Chained>(
        &self,
        item: ItemId,
        record: &Signed<Record>,
        now: Timestamp,
    ) -> Result<ItemState, AclError> {
        let refusal = match self.client.settle(record, now).await {
            Ok(settled) => return ItemState::of(item, &settled, None),
            Err(PutError::Refused(refusal)) => refusal,
            Err(source @ (PutError::NoQuorum { .. } | PutError::Contended { .. })) => {
                return Err(AclError::InDoubt { record: Box::new(record.clone()), source });
            }
            Err(other) => return Err(other.into()),
        };
        if let Ok(state) = self.state(item, None, now).await
            && let Ok(true) = self.is_settled::<T>(item, &state, record, now).await
        {
            return Ok(state);
        }
        Err(AclError::refused(refusal))
    }

    pub(crate) fn sign(&self, key: Key, version: u64, body: Vec<u8>) -> Result<Signed<Record>, AclError> {
        Ok(Signed::new(Record { key, version, body: Bytes::from(body) }, self.client.signer())?)
    }

    /// Fails early where the replicas would refuse.
    pub(crate) fn require(
        &self,
        acl: &Acl,
        now: Timestamp,
        right: impl Fn(Rights) -> bool,
    ) -> Result<(), AclError> {
        acl.entry(&self.party()).ok_or(AclError::NotAReader(self.party()))?;
        if acl.rights_at(&self.party(), now).is_some_and(right) {
            Ok(())
        } else {
            Err(AclError::NotPermitted)
        }
    }
}
