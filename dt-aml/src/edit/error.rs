//! Why an edit may be refused.

use super::check::SchemaError;
use super::model::Reference;
use crate::address::FindError;
use crate::limits::{LimitExceeded, Position};
use crate::xml::{Refusal, XmlFault};

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

impl EditError {
    /// Why a text was not grown.
    pub(crate) fn of(text: &str, refusal: Refusal) -> Self {
        match refusal {
            Refusal::Limit(limit) => Self::Limit(limit),
            Refusal::Fault(fault) => match fault.cause {
                XmlFault::Dtd => Self::Dtd,
                XmlFault::NotOneRoot => Self::NotOneRoot,
                cause => Self::NotWellFormed { position: Position::at(text, fault.offset), cause },
            },
        }
    }
}
