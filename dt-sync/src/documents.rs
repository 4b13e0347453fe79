//! Documents: shared by whoever may write them, read by whoever may read them (paper, section 4.4), in memory or as streams.
//!
//! # Order of writes
//! A write of off-chain data seals, stores, waits for the quorum's certificate, and only then submits the reference to the ledger. What a
//! crash leaves behind is at worst an item that nothing refers to; names of items follow from what they hold, so the same call made again
//! finds it and goes on from there.

use std::io::{Cursor, Error, ErrorKind, Read, Seek};

use dt_acl::{AclError, Floor, ItemId, ItemReader};
use dt_ledger::{Document, DocumentId, Executed, Resource, State as _, TwinCall, Version, document_id};
use dt_model::{
    ComponentId, ContentHash, ContentHasher, DataClass, Digest, Domain, Name, PartyId, Timestamp, TwinId,
};
use zeroize::Zeroizing;

use crate::client::{anchor_call, floor};
use crate::rights::Audience;
use crate::{Client, ClientError};

const DOCUMENT: Domain = Domain::new("dt/sync/document/v1");
/// What is read from a source at once.
const PIECE_BYTES: usize = 64 * 1024;

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

/// A document to be shared, without its content: [`Client::stream_document`].
#[derive(Debug, Clone, Copy)]
pub struct Heading<'a> {
    /// The title.
    pub title: &'a Name,
    /// The media type (RFC 6838).
    pub media_type: &'a Name,
    /// What it belongs to; `None` is the twin as a whole.
    pub component: Option<&'a ComponentId>,
}

/// Where content comes from that is not in memory, such as a file.
///
/// It is read to its end several times, from where the future is polled: first for its hash, which names the item, and then to be sealed; once more
/// when the nodes have changed meanwhile.
pub trait Source: Read + Seek + Send {}

impl<S: Read + Seek + Send + ?Sized> Source for S {}

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

/// What content is, whoever holds it.
#[derive(Clone, Copy)]
struct Print {
    hash: ContentHash,
    size: u64,
}

impl Client {
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
        let Draft { title, media_type, component, content } = draft;
        let heading = Heading { title, media_type, component };
        self.stream_document(twin, heading, &mut Cursor::new(content), now).await
    }

    /// [`Client::write_document`] with bounded memory.
    ///
    /// # Errors
    /// [`ClientError`]; [`ClientError::Source`] if the content cannot be read, or is not the same each time.
    pub async fn stream_document(
        &self,
        twin: TwinId,
        heading: Heading<'_>,
        content: &mut dyn Source,
        now: Timestamp,
    ) -> Result<DocumentId, ClientError> {
        let Heading { title, media_type, component } = heading;
        let print = Print::of(content)?;
        let name = document_name(twin, component, title, print.hash);
        let item = ItemId::new(self.party(), name);
        if let Some(document) = self.registered(twin, &Digest::from(*item.as_bytes()))? {
            return Ok(document);
        }
        let store = async || self.store(twin, (component, name), &mut *content, print, now).await;
        let (version, anchor) = self.following(now, store).await?;
        let (title, media_type, component) = (title.clone(), media_type.clone(), component.cloned());
        let document = Document { title, media_type, component, version };
        // The document comes first, so that it is named by call 0.
        let calls = std::iter::once(TwinCall::AddDocument(document)).chain(anchor);
        let executed = self.ledger().execute_on(twin, calls).await?;
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
        self.stream_version(twin, document, &mut Cursor::new(content), now).await
    }

    /// [`Client::write_version`] with bounded memory.
    ///
    /// # Errors
    /// As [`Client::stream_document`].
    pub async fn stream_version(
        &self,
        twin: TwinId,
        document: DocumentId,
        content: &mut dyn Source,
        now: Timestamp,
    ) -> Result<Executed, ClientError> {
        let state = self.ledger().state()?;
        let record = state.document(&twin, &document)?.ok_or(ClientError::UnknownDocument(document))?;
        let (print, component) = (Print::of(content)?, record.component.as_ref());
        let name = document_name(twin, component, &record.title, print.hash);
        let item = ItemId::new(self.party(), name);
        if record.newest.version.item.as_bytes() == item.as_bytes() {
            // The document's trace has one entry for each version.
            let trace = self.ledger().history(&Resource::Document(twin, document))?;
            let entry = trace.iter().find(|entry| entry.number == u64::from(record.versions));
            if let Some(executed) = entry.map(|entry| self.ledger().executed(entry)).transpose()? {
                return Ok(executed);
            }
        }
        let store = async || self.store(twin, (component, name), &mut *content, print, now).await;
        let (version, anchor) = self.following(now, store).await?;
        let calls = std::iter::once(TwinCall::AddDocumentVersion { document, version }).chain(anchor);
        Ok(self.ledger().execute_on(twin, calls).await?)
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
        let mut reader = self.open_document(twin, document, number, now).await?;
        let mut bytes = Vec::new();
        while let Some(piece) = reader.next(now).await? {
            bytes.extend_from_slice(&piece);
        }
        let DocumentReader { registered, author, time, .. } = reader;
        Ok(Content { bytes, hash: registered.hash, author, time })
    }

    /// [`Client::read_document`] piece by piece, with bounded memory. Nothing of the content is fetched yet.
    ///
    /// # Errors
    /// As [`Client::read_document`].
    pub async fn open_document(
        &self,
        twin: TwinId,
        document: DocumentId,
        number: Option<u32>,
        now: Timestamp,
    ) -> Result<DocumentReader<'_>, ClientError> {
        let state = self.ledger().state()?;
        let unknown = ClientError::UnknownDocument(document);
        let Some(record) = state.document(&twin, &document)? else { return Err(unknown) };
        let number = number.unwrap_or(record.versions);
        let Some(version) = state.document_version(&twin, &document, number)? else { return Err(unknown) };
        let item = version.version.item;
        let floor = floor(&state, &twin, &item, &version.author)?;
        let id = ItemId::from(*item.as_bytes());
        let open = async || Ok::<_, ClientError>(self.items().reader(id, floor, 0, now).await?);
        let content = self.following(now, open).await?;
        let registered = Print { hash: version.version.content, size: version.version.size };
        let (hasher, read) = (ContentHasher::default(), 0);
        let (author, time) = (version.author, version.time);
        Ok(DocumentReader { client: self, document, content, registered, author, time, hasher, read })
    }

    /// Stores a document's content off the ledger as the party's item `name`, or finds it there from an earlier attempt: what to register,
    /// and the list to anchor.
    async fn store(
        &self,
        twin: TwinId,
        (component, name): (Option<&ComponentId>, Digest),
        content: &mut dyn Source,
        print: Print,
        now: Timestamp,
    ) -> Result<(Version, Option<TwinCall>), ClientError> {
        let state = self.ledger().state()?;
        let audience = Audience::new(&state, &twin, DataClass::Document, component, &self.party(), now)?;
        let list = self.ensure_item(twin, name, &audience, now).await?;
        let item = list.item();
        if self.holds(item, list.reference().into(), print.hash, now).await? {
            // Somebody may have been taken off the list since.
            self.items().reencrypt(item, now, &mut self.rng()).await?;
        } else {
            let mut writer = self.items().writer(item, now, &mut self.rng()).await?;
            let (mut hasher, mut buffer) = (ContentHasher::default(), buffer());
            content.rewind().map_err(ClientError::Source)?;
            while let Some(piece) = next_piece(content, &mut buffer)? {
                hasher.update(piece);
                writer.write(piece, now).await?;
            }
            if hasher.finish() != print.hash {
                let changed = Error::new(ErrorKind::InvalidData, "the content has changed");
                return Err(ClientError::Source(changed));
            }
            writer.finish(now).await?;
        }
        let (item, Print { hash, size }) = (Digest::from(*item.as_bytes()), print);
        let version = Version { size, content: hash, item, provenance: None };
        let anchor = anchor_call(&state, twin, list.item(), list.reference(), &self.party())?;
        Ok((version, anchor))
    }

    /// Whether `item` has content of this hash, to its last byte.
    async fn holds(
        &self,
        item: ItemId,
        floor: Floor,
        hash: ContentHash,
        now: Timestamp,
    ) -> Result<bool, AclError> {
        let mut content = match self.items().reader(item, Some(floor), 0, now).await {
            Err(AclError::NoData(_)) => return Ok(false),
            content => content?,
        };
        let mut hasher = ContentHasher::default();
        while let Some(piece) = content.next(now).await? {
            hasher.update(&piece);
        }
        Ok(hasher.finish() == hash)
    }

    /// The document of the party's own that refers to `item`, if one does that is in use.
    fn registered(&self, twin: TwinId, item: &Digest) -> Result<Option<DocumentId>, ClientError> {
        let (state, party) = (self.ledger().state()?, self.party());
        for document in state.documents_holding(&twin, item, &party, None, usize::MAX)? {
            let record = state.document(&twin, &document)?;
            if record.is_some_and(|record| record.author == party && record.removed.is_none()) {
                return Ok(Some(document));
            }
        }
        Ok(None)
    }
}

/// Gives a document's content piece by piece: [`Client::open_document`].
///
/// Each piece is what a writer sealed at this place. Whether the whole is what the ledger registered, only its end can tell: who gets an
/// error instead of the end MUST NOT believe the pieces either.
pub struct DocumentReader<'a> {
    client: &'a Client,
    document: DocumentId,
    content: ItemReader<'a>,
    registered: Print,
    author: PartyId,
    time: Timestamp,
    hasher: ContentHasher,
    read: u64,
}

impl DocumentReader<'_> {
    /// The SHA-256 that the ledger registered.
    #[must_use]
    pub const fn hash(&self) -> ContentHash {
        self.registered.hash
    }

    /// The length in bytes that the ledger registered.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.registered.size
    }

    /// The next piece; `None` at the end of what was registered.
    ///
    /// # Errors
    /// [`ClientError::Mismatch`] and [`AclError::Corrupt`] are final; after others a later call tries again.
    pub async fn next(&mut self, now: Timestamp) -> Result<Option<Zeroizing<Vec<u8>>>, ClientError> {
        let (client, content) = (self.client, &mut self.content);
        let next = async || Ok::<_, ClientError>(content.next(now).await?);
        let piece = client.following(now, next).await?;
        if let Some(piece) = &piece {
            self.read += piece.len() as u64;
            self.hasher.update(piece);
        }
        let Print { hash, size } = self.registered;
        let fits = match piece {
            Some(_) => self.read <= size,
            None => self.read == size && self.hasher.clone().finish() == hash,
        };
        if fits { Ok(piece) } else { Err(ClientError::Mismatch(self.document)) }
    }
}

impl Print {
    fn of(content: &mut dyn Source) -> Result<Self, ClientError> {
        let (mut hasher, mut size, mut buffer) = (ContentHasher::default(), 0, buffer());
        content.rewind().map_err(ClientError::Source)?;
        while let Some(piece) = next_piece(content, &mut buffer)? {
            hasher.update(piece);
            size += piece.len() as u64;
        }
        Ok(Self { hash: hasher.finish(), size })
    }
}

fn buffer() -> Zeroizing<Vec<u8>> {
    Zeroizing::new(vec![0; PIECE_BYTES])
}

/// The next bytes of `content`, if there are any.
fn next_piece<'a>(content: &mut dyn Source, buffer: &'a mut [u8]) -> Result<Option<&'a [u8]>, ClientError> {
    loop {
        match content.read(buffer) {
            Ok(0) => return Ok(None),
            Ok(length) => return Ok(Some(&buffer[..length])),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(ClientError::Source(error)),
        }
    }
}

/// What the party calls the item of a document with this content.
fn document_name(twin: TwinId, component: Option<&ComponentId>, title: &Name, hash: ContentHash) -> Digest {
    DOCUMENT.blake3_of(&(twin, component, title, hash))
}
