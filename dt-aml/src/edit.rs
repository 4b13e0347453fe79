//! Edits of a document: what can be asked for, what came of it, and why it may be refused.
//!
//! Paper: `insertAML` and `removeAML`, Listing 1.2.

use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};

use crate::address::FindError;
use crate::apply::Transaction;
use crate::check::SchemaError;
use crate::document::Document;
use crate::limits::{LimitExceeded, Position};
use crate::xml::XmlFault;

/// A change to a document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, BorshSerialize, BorshDeserialize)]
pub enum Edit {
    /// Inserts one element with everything in it. Paper: `insertAML`.
    Insert {
        /// The element as AML code; white space around it is ignored, all else is taken over as given.
        fragment: String,
        /// The address of the element to insert it in.
        parent: String,
        /// The address of the child of `parent` to insert it behind; `None` for the end of its schema group.
        after: Option<String>,
    },
    /// Removes an element with everything in it. Paper: `removeAML`.
    Remove {
        /// The element's address.
        address: String,
        /// What happens if something refers to it.
        policy: RemovePolicy,
    },
}

/// What becomes of references from outside to an element that is to be removed, or to an element in it.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, BorshSerialize, BorshDeserialize,
)]
pub enum RemovePolicy {
    /// The removal is refused: [`EditError::Referenced`].
    #[default]
    Restrict,
    /// The element is removed and the references stay, pointing nowhere: [`Change::opened`].
    OpenLinks,
}

/// What an edit touched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, BorshSerialize, BorshDeserialize)]
pub struct Change {
    /// The address of the element that was inserted (as it is after this edit) or removed (as it was before).
    /// `None` if an inserted element cannot be addressed on its own, such as the second of two RoleRequirements.
    pub address: Option<String>,
    /// The address of the element it was inserted in or removed from.
    pub parent: String,
    /// The IDs that came into the document, in document order.
    pub inserted: Vec<String>,
    /// The IDs that left the document, in document order.
    pub removed: Vec<String>,
    /// The references that point nowhere since: only under [`RemovePolicy::OpenLinks`].
    pub opened: Vec<Reference>,
}

/// A reference from one element to another: an end of an InternalLink, or a mirror's master.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, BorshSerialize, BorshDeserialize)]
pub struct Reference {
    /// The address of the referring element, if it has one.
    pub from: Option<String>,
    /// The XML attribute that holds the reference.
    pub attribute: String,
    /// The attribute's value.
    pub target: String,
}

/// Why an edit was refused. The document is as it was before.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EditError {
    /// An address finds no element to edit.
    #[error("{address}: {cause}")]
    Find {
        /// The address.
        address: String,
        /// Why it finds none.
        cause: FindError,
    },
    /// The element to insert behind is not a child of the parent.
    #[error("{after} is not a child of {parent}")]
    NotAChild {
        /// The address that was given as `after`.
        after: String,
        /// The address that was given as `parent`.
        parent: String,
    },
    /// The root element cannot be removed.
    #[error("the root element cannot be removed")]
    Root,
    /// The fragment or the edited document exceeds a limit.
    #[error(transparent)]
    Limit(#[from] LimitExceeded),
    /// The fragment is not one element: it is empty, or has several, or holds something beside it.
    #[error("a fragment is exactly one element")]
    NotOneRoot,
    /// The fragment holds a document type declaration.
    #[error("a document type declaration is not accepted")]
    Dtd,
    /// The fragment is not well-formed, seen with the namespaces of its parent.
    #[error("fragment, {position}: {cause}")]
    NotWellFormed {
        /// Where it shows, counted in the fragment.
        position: Position,
        /// What is wrong.
        cause: XmlFault,
    },
    /// The fragment does not fit the content model of CAEX in its place, or the document would not without the
    /// element that is to be removed.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// An ID exists already, in the document or twice in the fragment.
    #[error("the ID {id} exists already")]
    DuplicateId {
        /// The ID.
        id: String,
    },
    /// An ID reads as a path or is too long, so it could not address its element. See [`address`](crate::address).
    #[error("the ID {id} reads as a path or is too long")]
    UnusableId {
        /// The ID.
        id: String,
    },
    /// Something else refers to the element that is to be removed.
    #[error("{} references point to it", by.len())]
    Referenced {
        /// The references, at most [`MAX_REPORTED`].
        by: Vec<Reference>,
    },
}

/// Most references that [`EditError::Referenced`] reports.
pub const MAX_REPORTED: usize = 64;

impl Document {
    /// Applies edits in order, all or none; each sees what the ones before it did.
    ///
    /// # Errors
    /// [`EditError`] of the first edit that is refused. On error the document is unchanged.
    ///
    /// # Examples
    /// A sensor is exchanged in one step:
    /// ```
    /// use dt_aml::{Document, Edit, Limits, RemovePolicy};
    ///
    /// let aml = r#"<CAEXFile><InstanceHierarchy Name="Plant">
    ///   <InternalElement Name="Sensor" ID="old"/>
    /// </InstanceHierarchy></CAEXFile>"#;
    /// let mut document = Document::parse(aml, &Limits::default())?;
    /// let changes = document.apply(&[
    ///     Edit::Remove { address: "old".into(), policy: RemovePolicy::Restrict },
    ///     Edit::Insert {
    ///         fragment: r#"<InternalElement Name="Sensor" ID="new"/>"#.into(),
    ///         parent: "/InstanceHierarchy[Plant]".into(),
    ///         after: None,
    ///     },
    /// ])?;
    /// assert_eq!(changes[0].removed, ["old"]);
    /// assert_eq!(changes[1].inserted, ["new"]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn apply(&mut self, edits: &[Edit]) -> Result<Vec<Change>, EditError> {
        let mut transaction = Transaction::new(self);
        let changes = edits.iter().map(|edit| transaction.apply(edit)).collect();
        match changes {
            Ok(_) => transaction.commit(),
            Err(_) => transaction.roll_back(),
        }
        changes
    }

    /// Inserts `fragment` in the element at `parent`, directly behind the one at `after`.
    ///
    /// With `after: None` the fragment goes to the end of its CAEX schema group. It gets a line of its own, indented
    /// like its siblings, where its siblings have one. Paper: `insertAML`, Listing 1.2.
    ///
    /// # Invariant
    /// An ID names at most one element, so a fragment MUST NOT bring one that exists.
    ///
    /// # Errors
    /// [`EditError`]. On error the document is unchanged.
    ///
    /// # Examples
    /// ```
    /// use dt_aml::{Document, Limits};
    ///
    /// let aml = r#"<CAEXFile><InstanceHierarchy Name="Plant">
    ///   <InternalElement Name="Motor" ID="m1"/>
    /// </InstanceHierarchy></CAEXFile>"#;
    /// let mut document = Document::parse(aml, &Limits::default())?;
    /// document.insert(r#"<InternalElement Name="Valve" ID="v1"/>"#, "/InstanceHierarchy[Plant]", Some("m1"))?;
    /// assert_eq!(document.find("v1")?.previous_sibling(), Some(document.find("m1")?));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn insert(&mut self, fragment: &str, parent: &str, after: Option<&str>) -> Result<Change, EditError> {
        self.transact(|transaction| transaction.insert(fragment, parent, after))
    }

    /// Removes the element at `address`, unless something outside it refers to it or into it.
    ///
    /// The white space before it goes too, so that removing what was just inserted restores the former bytes.
    /// Paper: `removeAML`, Listing 1.2.
    ///
    /// # Errors
    /// [`EditError`]. On error the document is unchanged.
    ///
    /// # Examples
    /// ```
    /// use dt_aml::{Document, EditError, Limits};
    ///
    /// let aml = r#"<CAEXFile><InstanceHierarchy Name="Plant">
    ///   <InternalElement Name="Motor" ID="m1"/>
    /// </InstanceHierarchy></CAEXFile>"#;
    /// let mut document = Document::parse(aml, &Limits::default())?;
    /// document.insert(r#"<InternalElement Name="Valve" ID="v1"/>"#, "m1", None)?;
    /// document.remove("v1")?;
    /// assert_eq!(document.to_bytes(), aml.as_bytes());
    /// assert!(matches!(document.remove("v1"), Err(EditError::Find { .. })));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn remove(&mut self, address: &str) -> Result<Change, EditError> {
        self.transact(|transaction| transaction.remove(address, RemovePolicy::Restrict))
    }

    fn transact(
        &mut self,
        edit: impl FnOnce(&mut Transaction<'_>) -> Result<Change, EditError>,
    ) -> Result<Change, EditError> {
        let mut transaction = Transaction::new(self);
        let change = edit(&mut transaction);
        match change {
            Ok(_) => transaction.commit(),
            Err(_) => transaction.roll_back(),
        }
        change
    }
}
