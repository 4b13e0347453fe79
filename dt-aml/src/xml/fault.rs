//! Why a text is not well-formed.

use crate::limits::LimitExceeded;

/// What is wrong with a text that is not well-formed XML 1.0 with namespaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum XmlFault {
    /// Exactly one root element is expected, with nothing but white space, comments and instructions around it.
    #[error("exactly one root element is expected, and no text beside it")]
    NotOneRoot,
    /// Markup that begins here does not end.
    #[error("markup that begins here does not end")]
    Open,
    /// An end tag without a start tag.
    #[error("this end tag has no start tag")]
    Unopened,
    /// An element without an end tag.
    #[error("this element has no end tag")]
    Unclosed,
    /// An end tag with another name than the start tag.
    #[error("this end tag does not match the element that is open")]
    WrongEnd,
    /// A document type declaration.
    #[error("a document type declaration is not accepted")]
    Dtd,
    /// A name is expected.
    #[error("a name is expected")]
    Name,
    /// A start tag's attribute is expected to be `name="value"`, with white space before it.
    #[error("an attribute is expected to be name=\"value\", with white space before it")]
    Attribute,
    /// An attribute occurs twice on one element.
    #[error("this attribute occurs twice")]
    DuplicateAttribute,
    /// `<` in an attribute's value.
    #[error("< cannot stand in an attribute's value")]
    LessThan,
    /// `&` that begins no reference to a character or to one of the five predefined entities.
    #[error("& begins no reference to a character or to a predefined entity")]
    Reference,
    /// `]]>` in text.
    #[error("]]> cannot stand in text")]
    CdataEnd,
    /// `--` in a comment.
    #[error("-- cannot stand in a comment")]
    Comment,
    /// A processing instruction without a name, or named `xml` elsewhere than at the very beginning.
    #[error("not a processing instruction")]
    Instruction,
    /// An XML declaration that is not one.
    #[error("not an XML declaration")]
    Declaration,
    /// A character that XML does not allow.
    #[error("this character is not allowed")]
    Character,
    /// A prefix without a declaration.
    #[error("this prefix is not declared")]
    Prefix,
    /// A declaration of a namespace that may not be declared so.
    #[error("this namespace cannot be declared so")]
    Namespace,
}

/// A fault, and the offset in bytes where it shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) offset: usize,
    pub(crate) cause: XmlFault,
}

impl Fault {
    pub(crate) fn at(offset: usize, cause: XmlFault) -> Self {
        Self { offset, cause }
    }
}

/// Why a text is not read to its end.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Refusal {
    Fault(Fault),
    Limit(LimitExceeded),
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<LimitExceeded> for Refusal {
    fn from(limit: LimitExceeded) -> Self {
        Self::Limit(limit)
    }
}
