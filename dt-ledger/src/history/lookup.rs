//! Documents by what they hold and where they belong: rows of the index that follow from the state.
//!
//! ```text
//! Table::Index, for each document of the state:
//!   i ‖ digest of (twin, item, author) ‖ document   → nothing; for each version that `author` registered
//!   o ‖ digest of the element ‖ document            → nothing; where it belongs to an element
//! ```
//!
//! Documents and their versions are never removed from the state, and neither are these rows. Whoever takes over a state without the blocks
//! that led to it makes them anew from its rows.

use dt_model::{ComponentId, Digest, Domain, PartyId, TwinId};

use crate::DocumentId;
use crate::record::{DocumentRecord, Resource, StateKey, VersionRecord};
use crate::state::{Snapshot, decode_value};
use crate::store::{StoreError, Table, scan_after};

const HOLDING: Domain = Domain::new("dt/ledger/holding/v1");

impl Snapshot {
    /// The documents of `twin` of which `author` registered a version that lies in `item`, those out of use among them: by their IDs after
    /// `after`, `limit` of them at most.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn documents_holding(
        &self,
        twin: &TwinId,
        item: &Digest,
        author: &PartyId,
        after: Option<&DocumentId>,
        limit: usize,
    ) -> Result<Vec<DocumentId>, StoreError> {
        self.listed(&holding_list(twin, item, author), after, limit)
    }

    /// The documents that belong to an element, those out of use among them: by their IDs after `after`, `limit` of them at most.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn documents_of(
        &self,
        twin: &TwinId,
        component: &ComponentId,
        after: Option<&DocumentId>,
        limit: usize,
    ) -> Result<Vec<DocumentId>, StoreError> {
        self.listed(&belonging_list(twin, component), after, limit)
    }

    fn listed(
        &self,
        list: &[u8],
        after: Option<&DocumentId>,
        limit: usize,
    ) -> Result<Vec<DocumentId>, StoreError> {
        let after = after.map(|after| listed_in(list, after));
        let rows = scan_after(&*self.view, Table::Index, list, after.as_deref(), limit)?;
        let document = |key: Vec<u8>| {
            let id = key.get(list.len()..).and_then(|id| <[u8; 32]>::try_from(id).ok());
            id.map(DocumentId::from).ok_or(StoreError::Damaged { table: Table::Index, key })
        };
        rows.into_iter().map(|(key, _)| document(key)).collect()
    }
}

/// The row by which a document is found by its element.
pub(crate) fn belonging_key(twin: &TwinId, document: &DocumentId, component: &ComponentId) -> Vec<u8> {
    listed_in(&belonging_list(twin, component), document)
}

/// The rows that follow from a row of the state.
pub(crate) fn derived_keys(key: &StateKey, value: &[u8]) -> Result<Vec<Vec<u8>>, StoreError> {
    match key {
        StateKey::Document(twin, document) => {
            let record: DocumentRecord = decode_value(key, value)?;
            let belonging = record.component.map(|component| belonging_key(twin, document, &component));
            Ok([version_key(twin, document, &record.newest)].into_iter().chain(belonging).collect())
        }
        StateKey::DocumentVersion(twin, document, _) => {
            Ok(vec![version_key(twin, document, &decode_value(key, value)?)])
        }
        _ => Ok(Vec::new()),
    }
}

/// The row by which a version's document is found by its item.
pub(crate) fn version_key(twin: &TwinId, document: &DocumentId, record: &VersionRecord) -> Vec<u8> {
    listed_in(&holding_list(twin, &record.version.item, &record.author), document)
}

fn holding_list(twin: &TwinId, item: &Digest, author: &PartyId) -> Vec<u8> {
    [b"i".as_slice(), HOLDING.sha256_of(&(twin, item, author)).as_bytes()].concat()
}

fn belonging_list(twin: &TwinId, component: &ComponentId) -> Vec<u8> {
    [b"o".as_slice(), Resource::Element(*twin, component.clone()).digest().as_bytes()].concat()
}

fn listed_in(list: &[u8], document: &DocumentId) -> Vec<u8> {
    [list, document.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::scan_prefix;
    use crate::testing::Fixture;
    use crate::{Document, TwinCall, Version, document_id};
    use dt_model::{ContentHash, Name, codec};

    #[test]
    fn the_rows_follow_from_the_state() {
        let chain = Fixture::default();
        let owner = chain.enrol(1);
        let twin = chain.twin(&owner, None, &[]);
        let version = |byte: u8| Version {
            size: 1,
            content: ContentHash::of(&[byte]),
            item: Digest::from([byte; 32]),
            provenance: None,
        };
        for (byte, at) in [(1, None), (2, Some("tank")), (3, Some("tank")), (4, Some("valve"))] {
            let component = at.map(|at| ComponentId::new(at).unwrap());
            let name = |text| Name::new(text).unwrap();
            let new = Document { title: name("t"), media_type: name("m"), component, version: version(byte) };
            let receipt = chain.call(&owner, twin, TwinCall::AddDocument(new)).unwrap();
            let document = document_id(chain.replica().tip().height, &receipt.transaction, 0);
            let more = TwinCall::AddDocumentVersion { document, version: version(byte + 1) };
            chain.call(&owner, twin, more).unwrap();
            chain.call(&owner, twin, TwinCall::RemoveDocument { document }).unwrap();
        }
        let view = chain.replica().store().view().unwrap();
        let rows = scan_prefix(&*view, Table::State, &[], usize::MAX).unwrap();
        let derived = |(key, value): &(Vec<u8>, Vec<u8>)| {
            derived_keys(&codec::decode(key, usize::MAX).unwrap(), value).unwrap()
        };
        let mut derived: Vec<Vec<u8>> = rows.iter().flat_map(derived).collect();
        derived.sort();
        let stored = [b"i", b"o"].map(|list| scan_prefix(&*view, Table::Index, list, usize::MAX).unwrap());
        let stored: Vec<Vec<u8>> = stored.into_iter().flatten().map(|(key, _)| key).collect();
        assert_eq!(derived, stored);
        assert_eq!(stored.len(), 8 + 3);
    }
}
