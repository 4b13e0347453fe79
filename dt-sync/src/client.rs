//! The client: what a participant does with twins (paper, section 4.2: the client application, without its face).
//!
//! # Order of writes
//! A write of off-chain data seals, stores, waits for the quorum's certificate, and only then submits the reference to the ledger. What a
//! crash leaves behind is at worst an item that nothing refers to; names of items follow from what they hold, so the same call made again
//! finds it and goes on from there.

use std::sync::{Arc, Mutex, PoisonError};

use dt_acl::{Acl, AclError, AclRef, Floor, Founders, History, ItemId, ItemName, Items};
use dt_dht::Timer;
use dt_ledger::{
    AclAnchor, Call, CreateTwin, Credential, Document, DocumentId, EventKind, Executed, FeedReference,
    ProgramCall, Resource, Snapshot, State as _, TwinCall, TwinEvent, Uri, Version, document_id, twin_id,
};
use dt_model::{ComponentId, ContentHash, DataClass, Digest, Domain, Name, PartyId, Timestamp, TwinId};
use rand_chacha::ChaCha20Rng;
use rand_core::{CryptoRng, SeedableRng as _};

use crate::rights::{Audience, feed_keys};
use crate::{ClientError, Ledger};

const DOCUMENT: Domain = Domain::new("dt/sync/document/v1");

/// One party's access to twins, over its ledger and the DHT.
pub struct Client {
    ledger: Ledger,
    items: Items,
    rng: Mutex<ChaCha20Rng>,
    timer: Option<Arc<dyn Timer>>,
}

/// A document to be shared.
#[derive(Debug, Clone, Copy)]
pub struct Draft<'a> {
    /// The title.
    pub title: &'a Name,
    /// The media type (RFC 6838).
    pub media_type: &'a Name,
    /// What it belongs to; `None` is the twin as a whole.
    pub component: Option<&'a ComponentId>,
    /// The content.
    pub content: &'a [u8],
}

/// A document's version as it was read: decrypted, and equal to what the ledger registered.
#[derive(Debug, Clone)]
pub struct Content {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// Their SHA-256, the same as on the ledger.
    pub hash: ContentHash,
    /// Who registered it.
    pub author: PartyId,
    /// When it was registered, by the block's time.
    pub time: Timestamp,
}

impl Client {
    /// The client of the party of `ledger`, over `dht`. `rng` seeds a random source of the client's own.
    pub fn new(ledger: Ledger, dht: Arc<dt_dht::Client>, rng: &mut (impl CryptoRng + ?Sized)) -> Self {
        let mut seed = [0; 32];
        rng.fill_bytes(&mut seed);
        let (items, rng) = (Items::new(dht), Mutex::new(ChaCha20Rng::from_seed(seed)));
        Self { ledger, items, rng, timer: None }
    }

    /// With `timer`, which lets it wait for nodes that do not answer, such as while they go from one epoch to the next.
    #[must_use]
    pub fn with_timer(mut self, timer: Arc<dyn Timer>) -> Self {
        self.timer = Some(timer);
        self
    }

    /// The ledger.
    #[must_use]
    pub const fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The items on the DHT.
    #[must_use]
    pub const fn items(&self) -> &Items {
        &self.items
    }

    pub(crate) fn timer(&self) -> Option<&dyn Timer> {
        self.timer.as_deref()
    }

    /// The party.
    #[must_use]
    pub fn party(&self) -> PartyId {
        self.ledger.party()
    }

    /// Takes part in the chain, with what an organisation's authority has certified.
    ///
    /// # Errors
    /// [`ClientError::Ledger`].
    pub async fn register(&self, certificate: impl Into<Credential>) -> Result<Executed, ClientError> {
        let certificate = certificate.into();
        Ok(self.ledger.execute(vec![Call::Register { certificate }]).await?)
    }

    /// Creates a twin (section 4.5), whose owner the party becomes.
    ///
    /// # Errors
    /// [`ClientError::Ledger`].
    pub async fn create_twin(&self, create: CreateTwin) -> Result<TwinId, ClientError> {
        let twin = twin_id(&self.ledger.replica().chain(), &self.party(), &create.device_id);
        self.ledger.execute(vec![Call::CreateTwin(create)]).await?;
        Ok(twin)
    }

    /// Edits the specification, by the root of it that the party has seen: if somebody was faster, nothing happens.
    ///
    /// # Errors
    /// [`ClientError::Ledger`].
    pub async fn edit_specification(
        &self,
        twin: TwinId,
        edits: Vec<dt_aml::Edit>,
    ) -> Result<Executed, ClientError> {
        let expected = Some(self.ledger.state()?.specification_state(&twin)?.root);
        Ok(self.ledger.execute_on(twin, [TwinCall::EditAml { edits, expected }]).await?)
    }

    /// Registers data that stays with the party.
    ///
    /// # Errors
    /// [`ClientError::Ledger`].
    pub async fn add_source(
        &self,
        twin: TwinId,
        uri: Uri,
        component: Option<ComponentId>,
    ) -> Result<Executed, ClientError> {
        Ok(self.ledger.execute_on(twin, [TwinCall::AddExternalSource { uri, component }]).await?)
    }

    /// Shares a document with everybody who may read documents there: sealed on the DHT, registered on the ledger.
    ///
    /// Made again after a crash, it finishes what it began and registers the document once.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn write_document(
        &self,
        twin: TwinId,
        draft: Draft<'_>,
        now: Timestamp,
    ) -> Result<DocumentId, ClientError> {
        let item = ItemId::new(self.party(), document_name(twin, &draft));
        if let Some(document) = self.registered(twin, &Digest::from(*item.as_bytes()))? {
            return Ok(document);
        }
        let (version, anchor) = self.following(now, async || self.store(twin, draft, now).await).await?;
        let document = Document {
            title: draft.title.clone(),
            media_type: draft.media_type.clone(),
            component: draft.component.cloned(),
            version,
        };
        // The document comes first, so that it is named by call 0.
        let calls = std::iter::once(TwinCall::AddDocument(document)).chain(anchor);
        let executed = self.ledger.execute_on(twin, calls).await?;
        Ok(document_id(executed.height, &executed.transaction, 0))
    }

    /// Shares a new version of a document.
    ///
    /// Made again, it registers the version once: what the newest version is already is not registered another time.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn write_version(
        &self,
        twin: TwinId,
        document: DocumentId,
        content: &[u8],
        now: Timestamp,
    ) -> Result<Executed, ClientError> {
        let state = self.ledger.state()?;
        let record = state.document(&twin, &document)?.ok_or(ClientError::UnknownDocument(document))?;
        let (title, media_type, component) = (&record.title, &record.media_type, record.component.as_ref());
        let draft = Draft { title, media_type, component, content };
        let item = ItemId::new(self.party(), document_name(twin, &draft));
        if record.newest.version.item.as_bytes() == item.as_bytes() {
            // The document's trace has one entry for each version.
            let trace = self.ledger.history(&Resource::Document(twin, document))?;
            let entry = trace.iter().find(|entry| entry.number == u64::from(record.versions));
            if let Some(executed) = entry.map(|entry| self.ledger.executed(entry)).transpose()? {
                return Ok(executed);
            }
        }
        let (version, anchor) = self.following(now, async || self.store(twin, draft, now).await).await?;
        let calls = std::iter::once(TwinCall::AddDocumentVersion { document, version }).chain(anchor);
        Ok(self.ledger.execute_on(twin, calls).await?)
    }

    /// Writes a remark beside a component: a document of plain text.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn annotate(
        &self,
        twin: TwinId,
        component: &ComponentId,
        remark: &str,
        now: Timestamp,
    ) -> Result<DocumentId, ClientError> {
        let (title, media_type) = (Name::new("annotation")?, Name::new("text/plain;charset=utf-8")?);
        let draft = Draft {
            title: &title,
            media_type: &media_type,
            component: Some(component),
            content: remark.as_bytes(),
        };
        self.write_document(twin, draft, now).await
    }

    /// Reads a version of a document (counted from 1; `None` is the newest) and holds it against the ledger.
    ///
    /// # Errors
    /// [`ClientError::Mismatch`] if the DHT gives anything else than what was registered; [`ClientError::Item`] if the party is no reader.
    pub async fn read_document(
        &self,
        twin: TwinId,
        document: DocumentId,
        number: Option<u32>,
        now: Timestamp,
    ) -> Result<Content, ClientError> {
        let state = self.ledger.state()?;
        let unknown = ClientError::UnknownDocument(document);
        let Some(record) = state.document(&twin, &document)? else { return Err(unknown) };
        let number = number.unwrap_or(record.versions);
        let Some(version) = state.document_version(&twin, &document, number)? else { return Err(unknown) };
        let item = version.version.item;
        let floor = floor(&state, &twin, &item, &version.author)?;
        let id = ItemId::from(*item.as_bytes());
        let opened = self
            .following::<_, ClientError>(now, async || Ok(self.items.read(id, floor, now).await?))
            .await?;
        let (hash, size) = (ContentHash::of(&opened.plaintext), opened.plaintext.len() as u64);
        if hash != version.version.content || size != version.version.size {
            return Err(ClientError::Mismatch(document));
        }
        Ok(Content { bytes: opened.plaintext.to_vec(), hash, author: version.author, time: version.time })
    }

    /// Calls a program of the machine; the call's number, by which its progress is found.
    ///
    /// # Errors
    /// [`ClientError::Ledger`] with [`dt_ledger::ExecuteError::Refused`] names the rule if the contract refuses.
    pub async fn call_program(&self, twin: TwinId, call: ProgramCall) -> Result<u64, ClientError> {
        let executed = self.ledger.execute_on(twin, [TwinCall::CallProgram(call)]).await?;
        let queued = executed.events.iter().find_map(|event| match event {
            EventKind::Twin(_, TwinEvent::CallQueued(number)) => Some(*number),
            _ => None,
        });
        queued.ok_or(ClientError::UnknownTwin(twin))
    }

    /// Puts a list's version under the ledger's protection, unless it is already.
    pub(crate) async fn anchor(&self, twin: TwinId, item: ItemId, list: AclRef) -> Result<(), ClientError> {
        if let Some(call) = anchor_call(&self.ledger.state()?, twin, item, list, &self.party())? {
            self.ledger.execute_on(twin, [call]).await?;
        }
        Ok(())
    }

    /// Stores a document's content off the ledger, or finds it there from an earlier attempt: what to register, and the list to anchor.
    async fn store(
        &self,
        twin: TwinId,
        draft: Draft<'_>,
        now: Timestamp,
    ) -> Result<(Version, Option<TwinCall>), ClientError> {
        let content = ContentHash::of(draft.content);
        let name = document_name(twin, &draft);
        let state = self.ledger.state()?;
        let audience =
            Audience::new(&state, &twin, DataClass::Document, draft.component, &self.party(), now)?;
        let list = self.ensure_item(twin, name, &audience, now).await?;
        let item = list.item();
        let stored = match self.items.read(item, Some(list.reference().into()), now).await {
            Ok(opened) => opened.content_hash == content,
            Err(AclError::NoData(_)) => false,
            Err(error) => return Err(error.into()),
        };
        let mut rng = self.rng();
        if stored {
            // Somebody may have been taken off the list since.
            self.items.reencrypt(item, now, &mut rng).await?;
        } else {
            self.items.write(item, draft.content, now, &mut rng).await?;
        }
        let size = draft.content.len() as u64;
        let version = Version { size, content, item: Digest::from(*item.as_bytes()), provenance: None };
        let anchor = anchor_call(&state, twin, item, list.reference(), &self.party())?;
        Ok((version, anchor))
    }

    /// The list of the party's item `name`, to which nothing on the ledger refers yet: a new one of `audience`, or what an earlier attempt
    /// left, for those who are to read it now.
    pub(crate) async fn ensure_item(
        &self,
        twin: TwinId,
        name: impl Into<ItemName>,
        audience: &Audience,
        now: Timestamp,
    ) -> Result<Acl, ClientError> {
        let (grantees, mut rng) = (audience.named(), self.rng());
        let founders = Founders { grantees: &grantees, groups: &audience.roles };
        match self.items.create(name.into(), founders, now, &mut rng).await {
            Ok(state) => Ok(state.acl),
            Err(AclError::AlreadyExists(item)) => {
                let left = self.items.acl(item, None, now).await?;
                let changed = self.admit_audience(&left, twin, audience, History::Full, now).await?;
                Ok(changed.unwrap_or(left))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The document of the party's own that refers to `item`, if one does that is in use.
    fn registered(&self, twin: TwinId, item: &Digest) -> Result<Option<DocumentId>, ClientError> {
        let (state, party) = (self.ledger.state()?, self.party());
        for document in state.documents_holding(&twin, item, &party, None, usize::MAX)? {
            let record = state.document(&twin, &document)?;
            if record.is_some_and(|record| record.author == party && record.removed.is_none()) {
                return Ok(Some(document));
            }
        }
        Ok(None)
    }

    /// The keys of a feed's epochs that the party has.
    ///
    /// # Errors
    /// [`ClientError::Item`] if it is no reader (any more).
    pub async fn feed_keyring(
        &self,
        twin: &TwinId,
        feed: &FeedReference,
        now: Timestamp,
    ) -> Result<dt_acl::Keyring, ClientError> {
        self.following(now, async || self.feed_keys(twin, feed, now).await).await
    }

    /// One attempt at [`Client::feed_keyring`].
    pub(crate) async fn feed_keys(
        &self,
        twin: &TwinId,
        feed: &FeedReference,
        now: Timestamp,
    ) -> Result<dt_acl::Keyring, ClientError> {
        let item = feed_keys(feed);
        let floor = floor(&self.ledger.state()?, twin, &Digest::from(*item.as_bytes()), &feed.publisher)?;
        Ok(self.items.keys(item, floor, now).await?)
    }

    /// A random source for one operation, so that none is held while the network is waited for.
    pub(crate) fn rng(&self) -> ChaCha20Rng {
        let mut rng = self.rng.lock().unwrap_or_else(PoisonError::into_inner);
        let mut seed = [0; 32];
        rand_core::Rng::fill_bytes(&mut *rng, &mut seed);
        ChaCha20Rng::from_seed(seed)
    }
}

/// What the party calls the item of a document with this content.
fn document_name(twin: TwinId, draft: &Draft<'_>) -> Digest {
    DOCUMENT.blake3_of(&(twin, draft.component, draft.title, ContentHash::of(draft.content)))
}

/// The rollback floor of an item: the newest list that its author or the twin's owner has anchored.
fn floor(
    state: &Snapshot,
    twin: &TwinId,
    item: &Digest,
    author: &PartyId,
) -> Result<Option<Floor>, ClientError> {
    let mut floor: Option<AclRef> = None;
    for by in [*author, state.twin(twin)?.owner] {
        if let Some(AclAnchor { version, digest }) = state.acl_anchor(twin, item, &by)? {
            let newest = floor.map_or(0, |floor| floor.version);
            floor = if version > newest { Some(AclRef { version, digest }) } else { floor };
        }
    }
    Ok(floor.map(Floor::from))
}

/// The call by which `by` anchors `list`, unless it has anchored that version or a later one.
pub(crate) fn anchor_call(
    state: &Snapshot,
    twin: TwinId,
    item: ItemId,
    list: AclRef,
    by: &PartyId,
) -> Result<Option<TwinCall>, ClientError> {
    let item = Digest::from(*item.as_bytes());
    let anchored = state.acl_anchor(&twin, &item, by)?.map_or(0, |anchor| anchor.version);
    let AclRef { version, digest } = list;
    Ok((version > anchored).then_some(TwinCall::AnchorAcl { item, version, digest }))
}
