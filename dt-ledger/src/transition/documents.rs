//! Descriptive data beside the specification, and links to sensor data (Listing 1.2): documents, external sources, feeds, anchors.

use dt_model::{ComponentId, DataClass, Digest, Domain, Operation, PartyId, TwinId};

use super::Transition;
use crate::call::{Document, FeedReference, Version};
use crate::history::lookup::{belonging_key, version_key};
use crate::history::trace_list;
use crate::receipt::TwinEvent;
use crate::record::{
    AclAnchor, DocumentRecord, Feed, HeadAnchor, Resource, Source, StateKey, TraceHead, VersionRecord,
};
use crate::state::{CallError, State};
use crate::{DocumentId, Reason, Uri};

const DOCUMENT: Domain = Domain::new("dt/ledger/document/v1");
/// Feeds that one analysis result may be made from.
const MAX_PROVENANCE_FEEDS: usize = 64;

/// The document that call number `call` of `transaction` adds in the block at `height`.
///
/// The height comes first: what is registered together lies together, in the state and in every list, however many others there are. The
/// other 24 bytes are of a digest.
#[must_use]
pub fn document_id(height: u64, transaction: &Digest, call: u32) -> DocumentId {
    let mut id = *DOCUMENT.sha256_of(&(transaction, call)).as_bytes();
    id[..size_of::<u64>()].copy_from_slice(&height.to_be_bytes());
    DocumentId::from(id)
}

impl Transition<'_> {
    pub(super) fn add_document(
        &mut self,
        sender: PartyId,
        id: TwinId,
        new: &Document,
    ) -> Result<(), CallError> {
        self.require(sender, &id, Operation::Write, DataClass::Document, new.component.as_ref())?;
        self.require_component(&id, new.component.as_ref())?;
        let document = self.present.map_or(DocumentId::from([0; 32]), |present| {
            document_id(self.at.height, &present.transaction, present.call)
        });
        let newest = self.version(sender, id, document, &new.version)?;
        self.tell(id, TwinEvent::DocumentAdded(document));
        let traced = self.document_changed(id, document, TraceHead::BEGINNING, new.component.as_ref())?;
        let record = DocumentRecord {
            title: new.title.clone(),
            media_type: new.media_type.clone(),
            component: new.component.clone(),
            author: sender,
            added: self.at.time,
            versions: 1,
            newest,
            removed: None,
            traced,
        };
        if let Some(component) = &new.component {
            self.index(belonging_key(&id, &document, component), Vec::new());
        }
        self.put(&StateKey::Document(id, document), &record);
        Ok(())
    }

    pub(super) fn add_document_version(
        &mut self,
        sender: PartyId,
        id: TwinId,
        document: DocumentId,
        version: &Version,
    ) -> Result<(), CallError> {
        let record = self.document_in_use(id, document)?;
        let component = record.component.clone();
        self.require(sender, &id, Operation::Write, DataClass::Document, component.as_ref())?;
        let versions = record.versions.checked_add(1).ok_or(Reason::Full)?;
        let newest = self.version(sender, id, document, version)?;
        self.tell(id, TwinEvent::DocumentVersionAdded(document, versions));
        let traced = self.document_changed(id, document, record.traced, component.as_ref())?;
        self.put(&StateKey::DocumentVersion(id, document, record.versions), &record.newest);
        self.put(&StateKey::Document(id, document), &DocumentRecord { versions, newest, traced, ..record });
        Ok(())
    }

    pub(super) fn remove_document(
        &mut self,
        sender: PartyId,
        id: TwinId,
        document: DocumentId,
    ) -> Result<(), CallError> {
        let record = self.document_in_use(id, document)?;
        let component = record.component.clone();
        self.require(sender, &id, Operation::Write, DataClass::Document, component.as_ref())?;
        self.tell(id, TwinEvent::DocumentRemoved(document));
        let traced = self.document_changed(id, document, record.traced, component.as_ref())?;
        let removed = Some(self.at.time);
        self.put(&StateKey::Document(id, document), &DocumentRecord { removed, traced, ..record });
        Ok(())
    }

    fn document_in_use(&self, id: TwinId, document: DocumentId) -> Result<DocumentRecord, CallError> {
        let unknown = Reason::UnknownDocument(document);
        let record: DocumentRecord = self.existing(&StateKey::Document(id, document), unknown.clone())?;
        if record.removed.is_some() { Err(unknown.into()) } else { Ok(record) }
    }

    /// A version that is registered now, to be found by its item.
    fn version(
        &mut self,
        author: PartyId,
        id: TwinId,
        document: DocumentId,
        version: &Version,
    ) -> Result<VersionRecord, CallError> {
        if version.provenance.as_ref().is_some_and(|from| from.feeds.len() > MAX_PROVENANCE_FEEDS) {
            return Err(Reason::Full.into());
        }
        let record = VersionRecord { version: version.clone(), author, time: self.at.time };
        self.index(version_key(&id, &document, &record), Vec::new());
        Ok(record)
    }

    /// A document is traced, and so is the element that it belongs to (section 5.2, step 4). Where the document's trace stands now, its
    /// record MUST say.
    fn document_changed(
        &mut self,
        id: TwinId,
        document: DocumentId,
        before: TraceHead,
        component: Option<&ComponentId>,
    ) -> Result<TraceHead, CallError> {
        let resource = Resource::Document(id, document);
        let list = trace_list(&resource);
        let traced = self.chain(resource, &list, before)?;
        self.trace_element(id, component)?;
        Ok(traced)
    }

    pub(super) fn add_source(
        &mut self,
        sender: PartyId,
        id: TwinId,
        uri: &Uri,
        component: Option<&ComponentId>,
    ) -> Result<(), CallError> {
        self.require(sender, &id, Operation::Write, DataClass::ExternalSource, component)?;
        self.require_component(&id, component)?;
        let key = StateKey::Source(id, uri.clone());
        if self.raw(&key)?.is_some() {
            return Err(Reason::SourceExists.into());
        }
        self.put(&key, &Source { owner: sender, component: component.cloned(), added: self.at.time });
        self.tell(id, TwinEvent::SourceAdded(uri.clone()));
        self.trace(Resource::Source(id, uri.clone()))?;
        self.trace_element(id, component)
    }

    /// Removes a source: by its owner, or by whoever administers the rights there.
    pub(super) fn remove_source(&mut self, sender: PartyId, id: TwinId, uri: &Uri) -> Result<(), CallError> {
        let key = StateKey::Source(id, uri.clone());
        let source: Source = self.existing(&key, Reason::UnknownSource)?;
        self.require(sender, &id, Operation::Write, DataClass::ExternalSource, source.component.as_ref())?;
        if source.owner != sender {
            self.require(sender, &id, Operation::Administer, DataClass::Policy, source.component.as_ref())
                .map_err(|error| match error {
                    CallError::Refused(_) => Reason::NotYours.into(),
                    store @ CallError::Store(_) => store,
                })?;
        }
        self.remove(&key);
        self.tell(id, TwinEvent::SourceRemoved(uri.clone()));
        self.trace(Resource::Source(id, uri.clone()))?;
        self.trace_element(id, source.component.as_ref())
    }

    pub(super) fn add_feed(
        &mut self,
        sender: PartyId,
        id: TwinId,
        component: &ComponentId,
        reference: FeedReference,
    ) -> Result<(), CallError> {
        self.require(sender, &id, Operation::Write, DataClass::Sensor, Some(component))?;
        self.require_component(&id, Some(component))?;
        self.require_party(reference.publisher)?;
        let key = StateKey::Feed(id, component.clone());
        if self.raw(&key)?.is_some() {
            return Err(Reason::FeedExists(component.clone()).into());
        }
        self.put(&key, &Feed { reference, linked_by: sender, linked: self.at.time });
        self.tell(id, TwinEvent::FeedAdded(component.clone(), reference));
        self.trace(Resource::Feed(id, component.clone()))?;
        self.trace_element(id, Some(component))
    }

    pub(super) fn remove_feed(
        &mut self,
        sender: PartyId,
        id: TwinId,
        component: &ComponentId,
    ) -> Result<(), CallError> {
        self.require(sender, &id, Operation::Write, DataClass::Sensor, Some(component))?;
        let key = StateKey::Feed(id, component.clone());
        let feed: Feed = self.existing(&key, Reason::NoFeed(component.clone()))?;
        self.remove(&key);
        self.tell(id, TwinEvent::FeedRemoved(component.clone(), feed.reference));
        self.trace(Resource::Feed(id, component.clone()))?;
        self.trace_element(id, Some(component))
    }

    pub(super) fn anchor_acl(
        &mut self,
        sender: PartyId,
        id: TwinId,
        item: Digest,
        version: u64,
        digest: Digest,
    ) -> Result<(), CallError> {
        if self.roles(&id, &sender)?.is_empty() {
            let (operation, class) = (Operation::Write, DataClass::Document);
            return Err(Reason::NotPermitted { operation, class, component: None }.into());
        }
        if let Some(anchor) = self.acl_anchor(&id, &item, &sender)?.filter(|anchor| version <= anchor.version)
        {
            return Err(Reason::AnchorGoesBack { current: anchor.version }.into());
        }
        self.put(&StateKey::AclAnchor(id, item, sender), &AclAnchor { version, digest });
        self.tell(id, TwinEvent::AclAnchored(item, version));
        self.trace(Resource::Item(id, item))
    }

    pub(super) fn anchor_head(
        &mut self,
        sender: PartyId,
        id: TwinId,
        component: &ComponentId,
        size: u64,
        root: Digest,
    ) -> Result<(), CallError> {
        let key = StateKey::Feed(id, component.clone());
        let feed: Feed = self.existing(&key, Reason::NoFeed(component.clone()))?;
        if feed.reference.publisher != sender {
            return Err(Reason::NotYours.into());
        }
        let feed = feed.reference;
        if let Some(anchor) = self.head_anchor(&id, &feed)?.filter(|anchor| size <= anchor.size) {
            return Err(Reason::AnchorGoesBack { current: anchor.size }.into());
        }
        self.put(&StateKey::HeadAnchor(id, feed), &HeadAnchor { size, root });
        self.tell(id, TwinEvent::HeadAnchored(component.clone(), size));
        self.trace(Resource::Feed(id, component.clone()))
    }

    fn trace_element(&mut self, id: TwinId, component: Option<&ComponentId>) -> Result<(), CallError> {
        component.map_or(Ok(()), |component| self.trace(Resource::Element(id, component.clone())))
    }
}
