//! A read-only handle on one element.

use std::borrow::Cow;

use crate::address;
use crate::arena::hash::SubtreeHash;
use crate::arena::index;
use crate::arena::tree::{NodeId, Visit};
use crate::document::Document;
use crate::kind::Kind;
use crate::limits::Position;
use crate::xml;

/// An element of a [`Document`]. Cheap to copy; borrows the document, so it never outlives an edit.
#[derive(Clone, Copy)]
pub struct Element<'d> {
    pub(crate) document: &'d Document,
    pub(crate) node: NodeId,
}

impl<'d> Element<'d> {
    /// The `ID` of a CAEX element, if it has one that is not empty.
    pub fn id(&self) -> Option<Cow<'d, str>> {
        index::id_of(&self.document.tree, self.node)
    }

    /// The `Name`, if it has one.
    pub fn name(&self) -> Option<Cow<'d, str>> {
        self.attribute_value("Name")
    }

    /// The element's name in XML, without a namespace prefix.
    pub fn tag(&self) -> &'d str {
        xml::split_name(xml::tag_name(self.head())).1
    }

    /// What CAEX makes of it.
    pub fn kind(&self) -> Kind {
        self.document.tree.node(self.node).kind
    }

    /// The address that [`Document::find`] leads from back to this element; `None` if it shares its ID or its
    /// name with others, or has neither.
    pub fn address(&self) -> Option<String> {
        address::address_of(self.document, self.node)
    }

    /// The value of an XML attribute, references resolved. For CAEX attributes see [`Element::attributes`].
    pub fn attribute_value(&self, name: &str) -> Option<Cow<'d, str>> {
        xml::attribute(self.head(), name)
    }

    /// The text directly in the element: character data and CDATA, without that of its children.
    pub fn text(&self) -> String {
        let tree = &self.document.tree;
        let mut text = String::new();
        for child in tree.children(self.node) {
            xml::push_text(tree.text(tree.node(child).gap), &mut text);
        }
        xml::push_text(tree.text(tree.node(self.node).tail), &mut text);
        text
    }

    /// The element it stands in; `None` for the root element.
    pub fn parent(&self) -> Option<Self> {
        self.at(self.document.tree.node(self.node).parent)
    }

    /// The element before it in the same parent.
    pub fn previous_sibling(&self) -> Option<Self> {
        self.at(self.document.tree.node(self.node).prev)
    }

    /// The element after it in the same parent.
    pub fn next_sibling(&self) -> Option<Self> {
        self.at(self.document.tree.node(self.node).next)
    }

    /// The elements directly in it, in document order.
    pub fn children(&self) -> impl Iterator<Item = Self> + use<'d> {
        let document = self.document;
        document.tree.children(self.node).map(|node| document.element(node))
    }

    /// The elements directly in it of one kind.
    pub fn children_of(&self, kind: Kind) -> impl Iterator<Item = Self> + use<'d> {
        self.children().filter(move |child| child.kind() == kind)
    }

    /// Itself, its parent, and so on up to the root element.
    pub fn ancestors(&self) -> impl Iterator<Item = Self> + use<'d> {
        let document = self.document;
        document.tree.ancestors(self.node).map(|node| document.element(node))
    }

    /// Itself and everything in it, in document order.
    pub fn descendants(&self) -> impl Iterator<Item = Self> + use<'d> {
        let document = self.document;
        document.tree.preorder(self.node).map(|node| document.element(node))
    }

    /// Its bytes, from its start tag to its end tag.
    pub fn source(&self) -> Cow<'d, str> {
        self.document.tree.source(self.node)
    }

    /// The hash of its bytes, as a Merkle tree over the elements in it.
    pub fn hash(&self) -> SubtreeHash {
        self.document.tree.hash(self.node)
    }

    /// Where its start tag begins in the document's present bytes. Reads the document up to there.
    pub fn position(&self) -> Position {
        let tree = &self.document.tree;
        let mut position = Position { line: 1, column: 1 };
        for visit in tree.walk(tree.root) {
            let (first, second) = match visit {
                Visit::Enter(id) => (tree.node(id).gap, tree.node(id).head),
                Visit::Leave(id) => (tree.node(id).tail, tree.node(id).end),
            };
            position.advance(tree.text(first));
            if matches!(visit, Visit::Enter(id) if id == self.node) {
                break;
            }
            position.advance(tree.text(second));
        }
        position
    }

    fn at(&self, node: Option<NodeId>) -> Option<Self> {
        node.map(|node| self.document.element(node))
    }

    pub(crate) fn head(&self) -> &'d str {
        self.document.tree.head(self.node)
    }
}

impl std::fmt::Debug for Element<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.head())
    }
}

/// The same element of the same document.
impl PartialEq for Element<'_> {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self.document, other.document) && self.node == other.node
    }
}

impl Eq for Element<'_> {}
