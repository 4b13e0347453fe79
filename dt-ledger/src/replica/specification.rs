//! How specifications are kept: a base document and the edits since then, never written anew for one edit (paper, section 4.3).
//!
//! ```text
//! twin ‖ 0  Base  ─▶ twin ‖ 1  Edits ─▶ twin ‖ 2  Edits ─▶ …   when the edits outweigh the base:  twin ‖ n  Base
//! ```
//!
//! The state holds a specification's version and its subtree root, which binds every byte of the document. These rows lie outside the state:
//! each says which root it leads to, so that whoever reads them knows at the first wrong byte.

use std::collections::BTreeMap;
use std::sync::Arc;

use borsh::{BorshDeserialize, BorshSerialize};
use dt_aml::{Document, Edit};
use dt_model::{Digest, TwinId, codec};

use crate::record::{Sort, Specification, StateKey};
use crate::replica::opening::{MAX_META_BYTES, OpenReplicaError};
use crate::state::decode_value;
use crate::store::{Row, StoreError, StoreView, Table, Writes, scan_prefix};
use crate::transaction::{AML_LIMITS, MAX_AML_BYTES, MAX_CALL_BYTES};

/// The specifications of all twins.
pub(crate) type Specifications = BTreeMap<TwinId, Specified>;

/// A specification, and how far its rows are from their base.
#[derive(Clone)]
pub(crate) struct Specified {
    pub(crate) document: Arc<Document>,
    /// The version of the base.
    base: u64,
    /// Bytes of the edits since.
    since: u64,
}

/// A row of [`Table::Specifications`].
#[derive(BorshSerialize, BorshDeserialize)]
enum Stored {
    /// The document at this version.
    Base(Vec<u8>),
    /// The edits that led to this version, and its root.
    Edits(Vec<Edit>, Digest),
}

/// Versions between two bases: so many sets of edits are applied in some tenths of a second when a replica comes up.
const MAX_VERSIONS: u64 = 4096;
/// Below so many bytes of edits a small document is not written anew.
const MIN_EDIT_BYTES: u64 = 64 * 1024;
/// No row is longer.
const MAX_ROW_BYTES: usize = MAX_AML_BYTES + MAX_CALL_BYTES;

impl Specified {
    /// A new specification, as it was parsed from `aml`, and its first row.
    pub(crate) fn first(twin: TwinId, document: Document, aml: &[u8], rows: &mut Writes) -> Self {
        let (key, value) = base_row(twin, 0, aml.to_vec());
        rows.insert(key, Some(value));
        Self { document: Arc::new(document), base: 0, since: 0 }
    }

    /// What `edits` have made of it at `version`, and the rows that say so.
    pub(crate) fn edited(
        &self,
        twin: TwinId,
        version: u64,
        document: Document,
        edits: &[Edit],
        rows: &mut Writes,
    ) -> Self {
        let stored = codec::encode(&Stored::Edits(edits.to_vec(), root_of(&document)));
        let since = self.since + stored.len() as u64;
        let outweighed = since > document.len().max(MIN_EDIT_BYTES) || version - self.base >= MAX_VERSIONS;
        if !outweighed {
            rows.insert(row(twin, version), Some(stored));
            return Self { document: Arc::new(document), base: self.base, since };
        }
        rows.extend((self.base..version).map(|former| (row(twin, former), None)));
        Self { document: Arc::new(document), base: version, since: 0 }.written(twin, rows)
    }

    fn written(self, twin: TwinId, rows: &mut Writes) -> Self {
        let (key, value) = base_row(twin, self.base, self.document.to_bytes());
        rows.insert(key, Some(value));
        self
    }
}

/// The root of a specification as the ledger writes it.
pub(crate) fn root_of(document: &Document) -> Digest {
    Digest::from(*document.root_hash().as_bytes())
}

/// The row that holds the whole document at `version`.
pub(crate) fn base_row(twin: TwinId, version: u64, aml: Vec<u8>) -> Row {
    (row(twin, version), codec::encode(&Stored::Base(aml)))
}

fn row(twin: TwinId, version: u64) -> Vec<u8> {
    [twin.as_bytes().as_slice(), &version.to_be_bytes()].concat()
}

/// Parses every twin's base, applies its edits, and checks each step against the root that it says, and the last one against the state.
/// A row that belongs to no twin is damage, too.
pub(crate) fn rebuild(view: &dyn StoreView) -> Result<Specifications, OpenReplicaError> {
    let mut specifications = Specifications::new();
    let mut used = 0;
    for (key, value) in
        scan_prefix(view, Table::State, &StateKey::prefix(Sort::Specification, None), usize::MAX)?
    {
        let damaged = |_| StoreError::Damaged { table: Table::State, key: key.clone() };
        let key = codec::decode(&key, MAX_META_BYTES).map_err(damaged)?;
        let StateKey::Specification(twin) = key else { continue };
        let stands: Specification = decode_value(&key, &value)?;
        let rows = scan_prefix(view, Table::Specifications, twin.as_bytes(), usize::MAX)?;
        used += rows.len() as u64;
        let specified = rebuild_one(twin, &stands, &rows).ok_or(OpenReplicaError::Specification(twin))?;
        specifications.insert(twin, specified);
    }
    let mut found = 0u64;
    let mut last = Vec::new();
    view.scan(Table::Specifications, &[], &mut |key, _| {
        found += 1;
        last = key.to_vec();
        std::ops::ControlFlow::Continue(())
    })?;
    if found != used {
        return Err(StoreError::Damaged { table: Table::Specifications, key: last }.into());
    }
    Ok(specifications)
}

fn rebuild_one(twin: TwinId, stands: &Specification, rows: &[Row]) -> Option<Specified> {
    let [(first, base), edits @ ..] = rows else { return None };
    let Stored::Base(aml) = codec::decode(base, MAX_ROW_BYTES).ok()? else { return None };
    let base = stands.version.checked_sub(edits.len() as u64)?;
    if *first != row(twin, base) {
        return None;
    }
    let mut document = Document::parse(&aml, &AML_LIMITS).ok()?;
    let mut since = 0;
    for (version, (key, value)) in (base + 1..).zip(edits) {
        let Stored::Edits(edits, root) = codec::decode(value, MAX_ROW_BYTES).ok()? else { return None };
        document.apply(&edits).ok()?;
        if *key != row(twin, version) || root_of(&document) != root {
            return None;
        }
        since += value.len() as u64;
    }
    (root_of(&document) == stands.root).then(|| Specified { document: Arc::new(document), base, since })
}
