//! An editable AutomationML (CAEX 2.15 and 3.0) document that parses, queries, edits by ID, diffs, hashes by subtree and writes back the bytes it was given.
//!
//! ```text
//!             parse                                    find, query, links, programs
//!   bytes ────────────► ┌──────────────────────────┐ ───────────────────────────► Element, Link, Attribute, Program
//!         ◄──────────── │         Document         │
//!            to_bytes   │ arena of spans into      │ ───────────────────────────► SubtreeHash, Proof, SemanticHash
//!                       │ shared, immutable texts  │   root_hash, prove, semantic_hash
//!   Edit  ────────────► │ IDs, references, hashes  │
//!             apply     └──────────────────────────┘ ───────────────────────────► Outcome: changes, inverse | EditError
//!   Patch ────────────►      ▲              │
//!         apply_patch        └── clone ─────┘ diff ──────────────────────────────► Patch
//! ```
//!
//! - **Bytes.** What was not edited is written back as it was read: byte-order mark, line ends, comments.
//! - **Edits** follow from the document's bytes and the edit alone, all or none, and keep the content model of CAEX.
//!   So parties that hold the same bytes and apply the same edits hold the same bytes again. Every edit yields what takes it back.
//! - **Addresses** are IDs, and paths from one: any element has one, and none ever means "the first of several". See [`address`].
//! - **Hashes** depend on the bytes alone and are kept up to date along the path from an edit to the root. What a document
//!   says, however it is written, has a hash of its own: [`semantic`].
//! - **Snapshots** are clones: they cost nothing until one of both is edited.
//! - **Differences** of two documents are edits, found by descending where hashes differ: [`Document::diff`].
//! - **Bad input** is a typed error, and costs no more than the [`Limits`] allow. Parsing is lenient where real files are
//!   broken, and lists what it found: [`Document::issues`]. Editing is strict.
//! - **Packages** (`.amlx`, `.mtp`, zip) are read with feature `packages`.
//!
//! # What is refused
//!
//! Parsing refuses: more than the [`Limits`]; anything but UTF-8; a document type declaration, hence all entities but the five
//! predefined ones; whatever is not well-formed by XML 1.0 and Namespaces in XML 1.0; a root element that is not a `CAEXFile`. Edits refuse
//! the same of what they bring, and what would make the document worse: [`EditError`] lists it.
//!
//! ```
//! use dt_aml::{Document, Limits};
//!
//! let aml = r#"<CAEXFile SchemaVersion="2.15">
//!   <InstanceHierarchy Name="Plant">
//!     <InternalElement Name="Conveyor" ID="c1">
//!       <Attribute Name="Speed" AttributeDataType="xs:decimal" Unit="m/min"><Value>30</Value></Attribute>
//!     </InternalElement>
//!   </InstanceHierarchy>
//! </CAEXFile>"#;
//! let mut document = Document::parse(aml, &Limits::default())?;
//! assert_eq!(document.find("c1/Attribute[Speed]/Value")?.text(), "30");
//!
//! let before = document.root_hash();
//! document.insert(r#"<InternalElement Name="Motor" ID="m1"/>"#, "c1", None)?;
//! assert_ne!(document.root_hash(), before);
//! document.remove("m1")?;
//! assert_eq!(document.root_hash(), before);
//! assert_eq!(document.to_bytes(), aml.as_bytes());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

// The document: bytes to tree and back.
pub mod address;
mod document;
mod element;
pub mod limits;

// Its inside.
mod arena;
mod kind;
mod xml;

// Changing it.
mod edit;

// Asking it.
mod caex;
#[cfg(feature = "packages")]
pub mod package;
mod proof;
pub mod semantic;

pub use address::FindError;
pub use arena::SubtreeHash;
pub use caex::{
    Attribute, Bound, Constraint, DataType, End, InterfaceMatches, InterfaceQuery, Issue, Link, Matches,
    Parameter, PathError, Problem, Program, Query, Requirement, Target, Verdict, Violation, path, value,
};
pub use document::{Document, ParseError};
pub use edit::{
    Change, Edit, EditError, MAX_REPORTED, Outcome, Patch, PatchError, Reference, RemovePolicy, SchemaError,
};
pub use element::Element;
pub use kind::{CAEX_3_NAMESPACE, Kind, Version};
pub use limits::{Limit, LimitExceeded, Limits, Position};
#[cfg(feature = "packages")]
pub use package::{Package, PackageError, PackageLimit, PackageLimits};
pub use proof::{Proof, ProofError};
pub use semantic::SemanticHash;
pub use xml::XmlFault;
