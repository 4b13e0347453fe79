//! What can be asked of a document, and what came of it.

use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};

use super::patch::Patch;
#[cfg(doc)]
use crate::{Document, EditError};

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
    /// Puts other text before the root element, or behind it, whatever refers to what.
    pub(crate) fn around_root(is_prolog: bool, content: String) -> Self {
        let root = |is_there: bool| is_there.then(|| "/".to_owned());
        let (after, before) = (root(!is_prolog), root(is_prolog));
        Self::Splice { parent: String::new(), after, before, content, policy: RemovePolicy::OpenLinks }
    }

    /// What becomes of references; `None` if it is none of those edits that are asked.
    pub fn policy(&self) -> Option<RemovePolicy> {
        match self {
            Self::Remove { policy, .. }
            | Self::Replace { policy, .. }
            | Self::Splice { policy, .. }
            | Self::Retag { policy, .. } => Some(*policy),
            Self::Insert { .. } | Self::SetValue { .. } | Self::Move { .. } => None,
        }
    }

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
