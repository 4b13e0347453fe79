//! What the state lists: parties, and of each twin its participants, documents, sources and feeds; as a whole, or in pages.

use borsh::{BorshDeserialize, BorshSerialize};
use dt_model::{ComponentId, Digest, PartyId, TwinId, codec};

use crate::record::{DocumentRecord, Feed, Party, Roles, Sort, Source, StateKey};
use crate::state::{MAX_VALUE_BYTES, Snapshot, State, decode_value};
use crate::store::{StoreError, Table, scan_after};
use crate::{DocumentId, Nodes, OrganisationRecord, ProposalRecord, Uri};

impl Snapshot {
    /// The keys and values whose key starts like `prefix` (an encoded [`StateKey`], cut where the rows may differ) and comes after
    /// `after`, `limit` of them at most.
    fn rows<T: BorshSerialize + BorshDeserialize>(
        &self,
        prefix: &[u8],
        after: Option<&StateKey>,
        limit: usize,
    ) -> Result<Vec<(StateKey, T)>, StoreError> {
        let decode = |(key, value): (Vec<u8>, Vec<u8>)| {
            let damaged = |_| StoreError::Damaged { table: Table::State, key: key.clone() };
            let decoded = codec::decode(&key, MAX_VALUE_BYTES).map_err(damaged)?;
            let value = decode_value(&decoded, &value)?;
            Ok((decoded, value))
        };
        let after = after.map(StateKey::to_bytes);
        let rows = scan_after(&*self.view, Table::State, prefix, after.as_deref(), limit)?;
        rows.into_iter().map(decode).collect()
    }

    /// The organisations, by their authorities.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn organisations(&self) -> Result<Vec<(PartyId, OrganisationRecord)>, StoreError> {
        let rows = self.rows(&StateKey::prefix(Sort::Organisation, None), None, usize::MAX)?;
        let authority =
            |key| if let StateKey::Organisation(authority) = key { Some(authority) } else { None };
        Ok(select(rows, authority))
    }

    /// The proposals to the organisations that are open, and some that expired.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn proposals(&self) -> Result<Vec<(Digest, ProposalRecord)>, StoreError> {
        let rows = self.rows(&StateKey::prefix(Sort::Proposal, None), None, usize::MAX)?;
        Ok(select(rows, |key| if let StateKey::Proposal(proposal) = key { Some(proposal) } else { None }))
    }

    /// The DHT's nodes, and how they have changed.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn nodes(&self) -> Result<Nodes, StoreError> {
        let rows = self.rows(&StateKey::prefix(Sort::Node, None), None, usize::MAX)?;
        let nodes = select(rows, |key| if let StateKey::Node(node) = key { Some(node) } else { None });
        let changes = self.rows(&StateKey::prefix(Sort::NodesChange, None), None, usize::MAX)?;
        let changes =
            select(changes, |key| if let StateKey::NodesChange(epoch) = key { epoch } else { None });
        let (nodes, changes) = (nodes.into_iter().collect(), changes.into_iter().collect());
        Ok(Nodes { head: self.nodes_head()?, nodes, changes })
    }

    /// Every registered party.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn parties(&self) -> Result<Vec<(PartyId, Party)>, StoreError> {
        self.parties_page(None, usize::MAX)
    }

    /// Of the registered parties by their keys: those after `after`, `limit` of them at most.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn parties_page(
        &self,
        after: Option<&PartyId>,
        limit: usize,
    ) -> Result<Vec<(PartyId, Party)>, StoreError> {
        let after = after.map(|after| StateKey::Party(*after));
        let rows = self.rows(&StateKey::prefix(Sort::Party, None), after.as_ref(), limit)?;
        Ok(select(rows, |key| if let StateKey::Party(party) = key { Some(party) } else { None }))
    }

    /// Every twin of the ledger.
    pub fn twins(&self) -> impl Iterator<Item = TwinId> + '_ {
        self.specifications.keys().copied()
    }

    /// The parties that have a part in `twin`, with their roles.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn participants(&self, twin: &TwinId) -> Result<Vec<(PartyId, Roles)>, StoreError> {
        self.participants_page(twin, None, usize::MAX)
    }

    /// Of the parties that have a part in `twin` by their keys: those after `after`, `limit` of them at most.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn participants_page(
        &self,
        twin: &TwinId,
        after: Option<&PartyId>,
        limit: usize,
    ) -> Result<Vec<(PartyId, Roles)>, StoreError> {
        let after = after.map(|after| StateKey::Roles(*twin, *after));
        let rows = self.rows(&StateKey::prefix(Sort::Roles, Some(twin)), after.as_ref(), limit)?;
        Ok(select(rows, |key| if let StateKey::Roles(_, party) = key { Some(party) } else { None }))
    }

    /// The documents of `twin`, those out of use among them (mapping `documents` of Listing 1.1): in the order of the blocks that added them.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn documents(&self, twin: &TwinId) -> Result<Vec<(DocumentId, DocumentRecord)>, StoreError> {
        self.documents_page(twin, None, usize::MAX)
    }

    /// Of the documents of `twin` by their IDs, which is the order of the blocks that added them: those after `after`, `limit` of them at most.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn documents_page(
        &self,
        twin: &TwinId,
        after: Option<&DocumentId>,
        limit: usize,
    ) -> Result<Vec<(DocumentId, DocumentRecord)>, StoreError> {
        let after = after.map(|after| StateKey::Document(*twin, *after));
        let rows = self.rows(&StateKey::prefix(Sort::Document, Some(twin)), after.as_ref(), limit)?;
        Ok(select(rows, |key| if let StateKey::Document(_, document) = key { Some(document) } else { None }))
    }

    /// The external sources of `twin` (array `externalSources` of Listing 1.1).
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn sources(&self, twin: &TwinId) -> Result<Vec<(Uri, Source)>, StoreError> {
        self.sources_page(twin, None, usize::MAX)
    }

    /// Of the external sources of `twin` by their URIs, shorter ones first: those after `after`, `limit` of them at most.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn sources_page(
        &self,
        twin: &TwinId,
        after: Option<&Uri>,
        limit: usize,
    ) -> Result<Vec<(Uri, Source)>, StoreError> {
        let after = after.map(|after| StateKey::Source(*twin, after.clone()));
        let rows = self.rows(&StateKey::prefix(Sort::Source, Some(twin)), after.as_ref(), limit)?;
        Ok(select(rows, |key| if let StateKey::Source(_, uri) = key { Some(uri) } else { None }))
    }

    /// The feeds of `twin` by component (mapping `sensorFeeds` of Listing 1.1).
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn feeds(&self, twin: &TwinId) -> Result<Vec<(ComponentId, Feed)>, StoreError> {
        self.feeds_page(twin, None, usize::MAX)
    }

    /// Of the feeds of `twin` by their components, shorter IDs first: those after `after`, `limit` of them at most.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn feeds_page(
        &self,
        twin: &TwinId,
        after: Option<&ComponentId>,
        limit: usize,
    ) -> Result<Vec<(ComponentId, Feed)>, StoreError> {
        let after = after.map(|after| StateKey::Feed(*twin, after.clone()));
        let rows = self.rows(&StateKey::prefix(Sort::Feed, Some(twin)), after.as_ref(), limit)?;
        Ok(select(rows, |key| if let StateKey::Feed(_, component) = key { Some(component) } else { None }))
    }
}

/// The rows, named by what `name` takes from their keys.
fn select<T, N>(rows: Vec<(StateKey, T)>, name: impl Fn(StateKey) -> Option<N>) -> Vec<(N, T)> {
    rows.into_iter().filter_map(|(key, value)| Some((name(key)?, value))).collect()
}
