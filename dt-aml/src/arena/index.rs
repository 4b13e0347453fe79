//! What the elements of a document are looked up by.

use std::borrow::Cow;

use super::key::Key;
use super::postings::{Posting, Postings};
use super::tree::{Node, NodeId, Tree};
use crate::caex::class;
use crate::caex::reference;
use crate::kind::Kind;
use crate::xml;

/// Elements by ID, referring elements by what they may refer to, classes by their path, and children by their name.
///
/// Keys are hashes, so what is found is a candidate: whoever asks MUST compare.
#[derive(Clone, Debug)]
pub(crate) struct Index(Postings);

impl Index {
    /// The index of a whole tree, of whose elements `entries` are the keys that follow from attributes alone, and of which `rest` have
    /// others besides.
    pub(crate) fn of(tree: &Tree, mut entries: Vec<Posting>, rest: &[NodeId]) -> Self {
        for node in rest {
            keys_in_context(tree, *node, &mut |key| entries.push((key, *node)));
        }
        Self(Postings::of(entries))
    }

    pub(crate) fn insert(&mut self, posting: Posting) {
        self.0.insert(posting);
    }

    pub(crate) fn remove(&mut self, posting: &Posting) {
        self.0.remove(posting);
    }

    /// The elements that may have this key, in no order that means anything.
    pub(crate) fn candidates(&self, key: Key) -> impl Iterator<Item = NodeId> + '_ {
        self.0.get(key)
    }

    /// The elements with this ID, in no order that means anything.
    pub(crate) fn with_id<'i>(&'i self, tree: &'i Tree, id: &'i str) -> impl Iterator<Item = NodeId> + 'i {
        self.candidates(Key::id(id)).filter(move |node| id_of(tree, *node).is_some_and(|other| other == id))
    }

    /// The children of `parent` of this kind with this `Name`, in no order that means anything.
    pub(crate) fn named_children<'i>(
        &'i self,
        tree: &'i Tree,
        parent: NodeId,
        kind: Kind,
        name: &'i str,
    ) -> impl Iterator<Item = NodeId> + 'i {
        self.candidates(Key::child(parent, kind, name)).filter(move |child| {
            let node = tree.node(*child);
            node.parent == Some(parent)
                && node.kind == kind
                && xml::attribute(tree.head(*child), "Name").is_some_and(|other| other == name)
        })
    }
}

/// Calls `tell` with every key that an element is looked up by.
pub(crate) fn each_key(tree: &Tree, node: NodeId, tell: &mut impl FnMut(Key)) {
    let Node { kind, parent, .. } = *tree.node(node);
    attribute_keys(kind, parent, xml::attributes(tree.head(node)), tell);
    if needs_context(kind) {
        keys_in_context(tree, node, tell);
    }
}

/// Whether an element of this kind may have keys that do not follow from its attributes alone.
pub(crate) fn needs_context(kind: Kind) -> bool {
    class::is_class(kind) || reference::is_mapping(kind) || reference::holds_value(kind)
}

/// Calls `tell` with the keys of an element that do not follow from its attributes alone: the path of a class, what a mapping between
/// names maps, and what a value of type `xs:IDREF` names.
fn keys_in_context(tree: &Tree, node: NodeId, tell: &mut impl FnMut(Key)) {
    if let Some(key) = class::key_of(tree, node) {
        tell(key);
    }
    if let Some((owner, name)) = reference::mapped(tree, node) {
        tell(Key::mapped(owner, &name));
    }
    if reference::is_idref(tree, node) {
        reference::value_of(tree, node).split(xml::WHITE).for_each(|id| tell(Key::reference(id)));
    }
}

/// Calls `tell` with the keys that follow from the attributes of an element, given as names and raw values.
pub(crate) fn attribute_keys<'a>(
    kind: Kind,
    parent: Option<NodeId>,
    attributes: impl Iterator<Item = (&'a str, &'a str)>,
    tell: &mut impl FnMut(Key),
) {
    for (name, raw) in attributes {
        match (name, parent) {
            ("Name", Some(parent)) => tell(Key::child(parent, kind, &xml::attribute_value(raw))),
            ("ID", _) if kind != Kind::Other && !raw.is_empty() => tell(Key::id(&xml::attribute_value(raw))),
            _ => {
                if let Some(field) = reference::field(kind, name) {
                    reference::keys(field, &xml::attribute_value(raw), tell);
                }
            }
        }
    }
}

/// The ID of a CAEX element. What other namespaces and free content call `ID` is not one.
pub(crate) fn id_of(tree: &Tree, node: NodeId) -> Option<Cow<'_, str>> {
    if tree.node(node).kind == Kind::Other {
        return None;
    }
    xml::attribute(tree.head(node), "ID").filter(|id| !id.is_empty())
}
