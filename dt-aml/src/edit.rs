//! Edits of a document: what can be asked for, what came of it, and why it may be refused.
//!
//! Paper: `insertAML` and `removeAML`, Listing 1.2.

use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};

use crate::address::FindError;
use crate::check::SchemaError;
use crate::document::Document;
use crate::limits::{LimitExceeded, Position};
use crate::patch::Patch;
use crate::transaction::{Rules, Transaction};
use crate::xml::XmlFault;

/// A change to a document.
///
/// The first five are for people and programs that mean something by it: they find the right place, keep the indentation, and
/// return what they did. The last two say to the byte what becomes of the document; they are what the inverse of an edit and the
/// difference of two documents are made of. All keep the rules of CAEX: see [`Document::apply`].
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
    /// Puts one element in the place of another.
    Replace {
        /// The address of the element that goes.
        address: String,
        /// The element that comes, as AML code, as for [`Edit::Insert`]. It may bring the IDs that go.
        fragment: String,
        /// What happens if something refers to what goes and does not come back.
        policy: RemovePolicy,
    },
    /// Sets the `Value` of a CAEX attribute, which gets one if it has none.
    SetValue {
        /// The attribute's address.
        address: String,
        /// The value as text; markup in it stands for itself.
        value: String,
    },
    /// Moves an element with everything in it. Refused if something refers to it in a way that no longer holds elsewhere.
    Move {
        /// The element's address.
        address: String,
        /// The address of the element to move it to.
        parent: String,
        /// The address of the child of `parent` to move it behind; `None` for the end of its schema group.
        after: Option<String>,
    },
    /// Puts other content between two neighbours: elements, and the white space, comments and text between them.
    Splice {
        /// The address of the element whose content it is. Empty for the document itself, whose only child is `/`.
        parent: String,
        /// The address of the child behind whose end tag it begins; `None`: behind the start tag of `parent`.
        after: Option<String>,
        /// The address of the child before whose start tag it ends; `None`: before the end tag of `parent`.
        before: Option<String>,
        /// What stands there then, to the byte.
        content: String,
        /// What happens if something refers to what goes and does not come back.
        policy: RemovePolicy,
    },
    /// Gives an element another start tag, hence other XML attributes.
    Retag {
        /// The element's address.
        address: String,
        /// The start tag; if the element is empty it may close itself.
        start: String,
        /// The end tag; empty if the start tag closes itself.
        end: String,
        /// What happens if something refers to an ID or a name that the element no longer has.
        policy: RemovePolicy,
    },
}

impl Edit {
    /// The addresses of the elements in which it changes something, before it: who may write in all of them may make this edit, unless
    /// its policy is [`RemovePolicy::Cascade`], which reaches further. An empty one stands for the document.
    pub fn targets(&self) -> impl Iterator<Item = &str> {
        let (first, second) = match self {
            Self::Insert { parent, .. } | Self::Splice { parent, .. } => (parent, None),
            Self::Remove { address, .. }
            | Self::Replace { address, .. }
            | Self::SetValue { address, .. }
            | Self::Retag { address, .. } => (address, None),
            Self::Move { address, parent, .. } => (address, Some(parent)),
        };
        std::iter::once(first).chain(second).map(String::as_str)
    }
}

/// What becomes of references from outside to something that is to go: to an element, to an element in it, to a class by its path, or to
/// an attribute or interface by its name.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, BorshSerialize, BorshDeserialize,
)]
pub enum RemovePolicy {
    /// The edit is refused: [`EditError::Referenced`].
    #[default]
    Restrict,
    /// The references stay, pointing nowhere: [`Change::opened`].
    OpenLinks,
    /// The references go too. What is nothing but a reference goes as a whole: an InternalLink, RoleRequirements, a SupportedRoleClass, a
    /// mapping, a value of type `xs:IDREF`, and a mirror of what goes, with everything that refers to the mirror in turn. Elsewhere only
    /// the XML attribute goes: an element does not go with its class.
    Cascade,
}

/// What came of edits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, BorshSerialize, BorshDeserialize)]
pub struct Outcome {
    /// What was touched, in order: one change for each edit, and behind that of an edit with [`RemovePolicy::Cascade`] one for each
    /// reference that went with it.
    pub changes: Vec<Change>,
    /// What takes it all back.
    pub inverse: Patch,
}

/// What an edit touched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, BorshSerialize, BorshDeserialize)]
pub struct Change {
    /// The address of the element: as it is after this edit, or, if that removed it, as it was before.
    pub address: String,
    /// The address of the element it stands in, or stood in; empty for the root element and the document.
    pub parent: String,
    /// The nearest element at or above the place that has an ID of its own, before this edit; `None` if there is none.
    pub within: Option<String>,
    /// The IDs that came into the document, in document order.
    pub inserted: Vec<String>,
    /// The IDs that left the document, in document order.
    pub removed: Vec<String>,
    /// The IDs of elements that were touched and are still there, in document order: what was moved, or was replaced and came back.
    pub kept: Vec<String>,
    /// The references that point nowhere since: only under [`RemovePolicy::OpenLinks`].
    pub opened: Vec<Reference>,
}

/// A reference from one element to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, BorshSerialize, BorshDeserialize)]
pub struct Reference {
    /// The address of the referring element.
    pub from: String,
    /// The XML attribute that holds the reference; `Value` for the text of one.
    pub attribute: String,
    /// What is written there.
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
    /// The root element cannot be removed, replaced or moved, and stays a CAEXFile.
    #[error("the root element stays what and where it is")]
    Root,
    /// An element cannot be moved into itself, or behind itself.
    #[error("{address} cannot be moved into or behind itself")]
    IntoItself {
        /// The element's address.
        address: String,
    },
    /// Only a CAEX attribute has a value to set, and only if it has one at most.
    #[error("{address} is not a CAEX attribute with one value at most")]
    NotAnAttribute {
        /// The element's address.
        address: String,
    },
    /// The places to put content between are not children of the parent, the first before the second.
    #[error("the places are not two children of {parent} in their order")]
    NotARegion {
        /// The address of the parent.
        parent: String,
    },
    /// What should be a start tag and its end tag is something else, or the tag of an element with content closes itself.
    #[error("not a start tag and its end tag, or it closes itself though the element has content")]
    NotTags,
    /// A link is not written as the document's version of CAEX writes links: `GUID:name` in 2.15, the interface's ID in 3.0.
    #[error("{target} is not how a link is written in this version of CAEX")]
    LinkFormat {
        /// What is written.
        target: String,
    },
    /// No address is short enough to tell what was touched: see [`address`](crate::address).
    #[error("no address of {} bytes reaches what would be touched", crate::address::MAX_ADDRESS)]
    Unaddressable,
    /// The fragment or the edited document exceeds a limit.
    #[error(transparent)]
    Limit(#[from] LimitExceeded),
    /// The fragment is not one element: it is empty, or has several, or holds something beside it.
    #[error("a fragment is exactly one element")]
    NotOneRoot,
    /// The fragment holds a document type declaration.
    #[error("a document type declaration is not accepted")]
    Dtd,
    /// An XML declaration names another encoding than UTF-8.
    #[error("only UTF-8 is accepted")]
    Encoding,
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
    /// # Invariant
    /// Edits MUST NOT make a document worse: what they bring fits the content model of CAEX in its place, order included, is written in
    /// the document's namespace and in its version's format of links, and brings no ID that exists. What was wrong before may stay.
    ///
    /// # Errors
    /// [`EditError`] of the first edit that is refused. On error the document is unchanged.
    ///
    /// # Examples
    /// A sensor is exchanged in one step, and that is taken back:
    /// ```
    /// use dt_aml::{Document, Edit, Limits, RemovePolicy};
    ///
    /// let aml = r#"<CAEXFile><InstanceHierarchy Name="Plant">
    ///   <InternalElement Name="Sensor" ID="old"/>
    /// </InstanceHierarchy></CAEXFile>"#;
    /// let mut document = Document::parse(aml, &Limits::default())?;
    /// let outcome = document.apply(&[
    ///     Edit::Remove { address: "old".into(), policy: RemovePolicy::Restrict },
    ///     Edit::Insert {
    ///         fragment: r#"<InternalElement Name="Sensor" ID="new"/>"#.into(),
    ///         parent: "/InstanceHierarchy[Plant]".into(),
    ///         after: None,
    ///     },
    /// ])?;
    /// assert_eq!(outcome.changes[0].removed, ["old"]);
    /// assert_eq!(outcome.changes[1].inserted, ["new"]);
    ///
    /// document.apply_patch(&outcome.inverse)?;
    /// assert_eq!(document.to_bytes(), aml.as_bytes());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn apply(&mut self, edits: &[Edit]) -> Result<Outcome, EditError> {
        self.transact(|transaction| transaction.apply_all(edits))
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
    pub fn insert(
        &mut self,
        fragment: &str,
        parent: &str,
        after: Option<&str>,
    ) -> Result<Outcome, EditError> {
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
    pub fn remove(&mut self, address: &str) -> Result<Outcome, EditError> {
        self.transact(|transaction| transaction.remove(address, RemovePolicy::Restrict))
    }

    /// Puts `fragment` in the place of the element at `address`, unless something refers to what goes and does not come back.
    ///
    /// # Errors
    /// [`EditError`]. On error the document is unchanged.
    pub fn replace(&mut self, address: &str, fragment: &str) -> Result<Outcome, EditError> {
        self.transact(|transaction| transaction.replace(address, fragment, RemovePolicy::Restrict))
    }

    /// Sets the `Value` of the CAEX attribute at `address`.
    ///
    /// The value is not held against data type and constraints: ask [`Attribute::check`](crate::Attribute::check) before.
    ///
    /// # Errors
    /// [`EditError`]. On error the document is unchanged.
    ///
    /// # Examples
    /// ```
    /// use dt_aml::{Document, Limits};
    ///
    /// let aml = r#"<CAEXFile><InstanceHierarchy Name="Plant"><InternalElement Name="Motor" ID="m1">
    ///   <Attribute Name="Speed" Unit="m/min"/>
    /// </InternalElement></InstanceHierarchy></CAEXFile>"#;
    /// let mut document = Document::parse(aml, &Limits::default())?;
    /// document.set_value("m1/Attribute[Speed]", "30")?;
    /// assert_eq!(document.find("m1/Attribute[Speed]/Value")?.text(), "30");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn set_value(&mut self, address: &str, value: &str) -> Result<Outcome, EditError> {
        self.transact(|transaction| transaction.set_value(address, value))
    }

    /// Moves the element at `address` into the one at `parent`, directly behind the one at `after`; with `after: None` to the end of its
    /// CAEX schema group.
    ///
    /// # Errors
    /// [`EditError`]. On error the document is unchanged.
    pub fn move_to(
        &mut self,
        address: &str,
        parent: &str,
        after: Option<&str>,
    ) -> Result<Outcome, EditError> {
        self.transact(|transaction| transaction.move_to(address, parent, after))
    }

    fn transact(
        &mut self,
        edit: impl FnOnce(&mut Transaction<'_>) -> Result<Vec<Change>, EditError>,
    ) -> Result<Outcome, EditError> {
        let mut transaction = Transaction::new(self, Rules::Strict);
        match edit(&mut transaction) {
            Ok(changes) => Ok(Outcome { changes, inverse: transaction.commit() }),
            Err(error) => {
                transaction.roll_back();
                Err(error)
            }
        }
    }
}
