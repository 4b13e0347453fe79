//! The client: what a participant does with twins (paper, section 4.2: the client application, without its face).
//!
//! # Order of writes
//! A write of off-chain data seals, stores, waits for the quorum's certificate, and only then submits the reference to the ledger. What a
//! crash leaves behind is at worst an item that nothing refers to; names of items follow from what they hold, so the same call made again
//! finds it and goes on from there.

use std::sync::{Arc, Mutex, PoisonError};

use dt_acl::{AclError, AclRef, Grantee, History, ItemId, ItemName, Items, Revocation};
use dt_ledger::{
    AclAnchor, Call, Certificate, CreateTwin, Document, DocumentId, EventKind, Executed, FeedReference,
    ProgramCall, Snapshot, State as _, TwinCall, TwinEvent, Uri, Version, document_id, twin_id,
};
use dt_model::{
    ComponentId, ContentHash, DataClass, Digest, Domain, Envelope, Name, PartyId, Timestamp, TwinId,
};
use rand_chacha::ChaCha20Rng;
use rand_core::{CryptoRng, SeedableRng as _};

use crate::rights::{feed_keys, readers};
use crate::{ClientError, Ledger};

const DOCUMENT: Domain = Domain::new("dt/sync/document/v1");

/// One party's access to twins, over its ledger and the DHT.
pub struct Client {
    ledger: Ledger,
    items: Items,
    rng: Mutex<ChaCha20Rng>,
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
        Self { ledger, items: Items::new(dht), rng: Mutex::new(ChaCha20Rng::from_seed(seed)) }
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

    /// The party.
    #[must_use]
    pub fn party(&self) -> PartyId {
        self.ledger.party()
    }

    /// Takes part in the chain, with what an organisation's authority has certified.
    ///
    /// # Errors
    /// [`ClientError::Ledger`].
    pub async fn register(&self, certificate: Envelope<Certificate>) -> Result<Executed, ClientError> {
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
        let (version, anchor) = self.store(twin, draft, now).await?;
        if let Some(document) = self.registered(twin, &version.item)? {
            return Ok(document);
        }
        let document = Document {
            title: draft.title.clone(),
            media_type: draft.media_type.clone(),
            component: draft.component.cloned(),
            version,
        };
        // The document comes first, so that it is named by call 0.
        let calls = std::iter::once(TwinCall::AddDocument(document)).chain(anchor);
        let executed = self.ledger.execute_on(twin, calls).await?;
        Ok(document_id(&executed.transaction, 0))
    }

    /// Shares a new version of a document.
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
        let (version, anchor) =
            self.store(twin, Draft { title, media_type, component, content }, now).await?;
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
        let floor = floor(&state, &twin, &item, &record.author)?;
        let opened = self.items.read(ItemId::from(*item.as_bytes()), floor, now).await?;
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

    /// Gives `party` a role, and opens to it what the role may read: the items whose lists this party may manage.
    ///
    /// `history` says whether it is given what was written before, too.
    ///
    /// # Errors
    /// [`ClientError`]; made again, it finishes what it began.
    pub async fn grant(
        &self,
        twin: TwinId,
        party: PartyId,
        role: Name,
        history: History,
        now: Timestamp,
    ) -> Result<(), ClientError> {
        if !self.ledger.state()?.roles(&twin, &party)?.contains(&role) {
            self.ledger.execute_on(twin, [TwinCall::AssignRole { party, role }]).await?;
        }
        for shared in self.shared(&twin)? {
            let state = self.ledger.state()?;
            let readers =
                readers(&state, &twin, shared.class, shared.component.as_ref(), &self.party(), now)?;
            let Some(grantee) = readers.into_iter().find(|grantee| grantee.party == party) else { continue };
            let Some(acl) = self.managed(shared.item, now).await? else { continue };
            if acl.entry(&party).is_none() {
                let mut rng = self.rng();
                let state = self.items.grant(shared.item, &[grantee], history, now, &mut rng).await?;
                self.anchor(twin, shared.item, state.acl.reference()).await?;
            }
        }
        Ok(())
    }

    /// Takes all its roles from `party`, and everything out of its reach that this party may manage: each item goes on under a new key,
    /// and its new list is anchored, so that no replica can show the old one.
    ///
    /// What the party has read, or could have read, it keeps: nothing recalls a copy.
    ///
    /// # Errors
    /// [`ClientError`]; made again, it finishes what it began.
    pub async fn revoke(
        &self,
        twin: TwinId,
        party: PartyId,
        revocation: Revocation,
        now: Timestamp,
    ) -> Result<Vec<ItemId>, ClientError> {
        let roles = self.ledger.state()?.roles(&twin, &party)?;
        if !roles.is_empty() {
            let calls: Vec<_> =
                roles.into_iter().map(|role| TwinCall::UnassignRole { party, role }).collect();
            self.ledger.execute_on(twin, calls).await?;
        }
        let mut rekeyed = Vec::new();
        for shared in self.shared(&twin)? {
            let Some(acl) = self.managed(shared.item, now).await? else { continue };
            if acl.owner() == party || acl.entry(&party).is_none() {
                continue;
            }
            let revocation = if shared.class == DataClass::Document { revocation } else { Revocation::Lazy };
            let mut rng = self.rng();
            let revoked = self.items.revoke(shared.item, party, revocation, now, &mut rng).await?;
            self.anchor(twin, shared.item, revoked.state.acl.reference()).await?;
            rekeyed.push(shared.item);
        }
        Ok(rekeyed)
    }

    /// The lists of the twin's items, as the ledger names them.
    fn shared(&self, twin: &TwinId) -> Result<Vec<Shared>, ClientError> {
        let state = self.ledger.state()?;
        let mut shared = Vec::new();
        for (component, feed) in state.feeds(twin)? {
            let item = feed_keys(&feed.reference);
            shared.push(Shared { item, class: DataClass::Sensor, component: Some(component) });
        }
        for (document, record) in state.documents(twin)? {
            for number in 1..=record.versions {
                let Some(version) = state.document_version(twin, &document, number)? else { continue };
                let item = ItemId::from(*version.version.item.as_bytes());
                shared.push(Shared { item, class: DataClass::Document, component: record.component.clone() });
            }
        }
        Ok(shared)
    }

    /// The list of `item`, if this party may change it.
    async fn managed(&self, item: ItemId, now: Timestamp) -> Result<Option<dt_acl::Acl>, ClientError> {
        match self.items.acl(item, None, now).await {
            Ok(acl) => {
                let manages = acl.entry_at(&self.party(), now).is_some_and(|entry| entry.rights.manage);
                Ok(manages.then_some(acl))
            }
            Err(AclError::NotAReader(_) | AclError::NoSuchItem(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
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
        let name = DOCUMENT.blake3_of(&(twin, draft.component, draft.title, content));
        let state = self.ledger.state()?;
        let grantees = readers(&state, &twin, DataClass::Document, draft.component, &self.party(), now)?;
        let list = self.ensure_item(name, &grantees, now).await?;
        let item = list.item();
        let stored = match self.items.read(item, Some(list.reference()), now).await {
            Ok(opened) => opened.content_hash == content,
            Err(AclError::NoData(_)) => false,
            Err(error) => return Err(error.into()),
        };
        if !stored {
            let mut rng = self.rng();
            self.items.write(item, draft.content, now, &mut rng).await?;
        }
        let size = draft.content.len() as u64;
        let version = Version { size, content, item: Digest::from(*item.as_bytes()), provenance: None };
        let anchor = anchor_call(&state, twin, item, list.reference(), &self.party())?;
        Ok((version, anchor))
    }

    /// The list of the party's item `name`: a new one with `grantees`, or the one that is there.
    pub(crate) async fn ensure_item(
        &self,
        name: impl Into<ItemName>,
        grantees: &[Grantee],
        now: Timestamp,
    ) -> Result<dt_acl::Acl, ClientError> {
        let name = name.into();
        let mut rng = self.rng();
        match self.items.create(name, grantees, now, &mut rng).await {
            Ok(state) => Ok(state.acl),
            Err(AclError::AlreadyExists(item)) => Ok(self.items.acl(item, None, now).await?),
            Err(error) => Err(error.into()),
        }
    }

    /// The document that refers to `item`, if one does.
    fn registered(&self, twin: TwinId, item: &Digest) -> Result<Option<DocumentId>, ClientError> {
        let state = self.ledger.state()?;
        for (document, record) in state.documents(&twin)? {
            if record.author != self.party() || record.removed.is_some() {
                continue;
            }
            for number in 1..=record.versions {
                let version = state.document_version(&twin, &document, number)?;
                if version.is_some_and(|version| version.version.item == *item) {
                    return Ok(Some(document));
                }
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

/// An item of a twin, and what decides who reads it.
struct Shared {
    item: ItemId,
    class: DataClass,
    component: Option<ComponentId>,
}

/// The rollback floor of an item: the newest list that its author or the twin's owner has anchored.
fn floor(
    state: &Snapshot,
    twin: &TwinId,
    item: &Digest,
    author: &PartyId,
) -> Result<Option<AclRef>, ClientError> {
    let mut floor: Option<AclRef> = None;
    for by in [*author, state.twin(twin)?.owner] {
        if let Some(AclAnchor { version, digest }) = state.acl_anchor(twin, item, &by)? {
            let newest = floor.map_or(0, |floor| floor.version);
            floor = if version > newest { Some(AclRef { version, digest }) } else { floor };
        }
    }
    Ok(floor)
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
