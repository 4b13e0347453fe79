//! Which elements carry an ID, which refer to one, and which are the class at a path.

use std::borrow::Cow;

use crate::class;
use crate::key::Key;
use crate::kind::Kind;
use crate::postings::{Posting, Postings};
use crate::tree::{Node, NodeId, Tree};
use crate::xml;

/// The attributes of an InternalLink that name its ends.
pub(crate) const LINK_ENDS: [&str; 2] = ["RefPartnerSideA", "RefPartnerSideB"];
/// The attribute of an InternalElement that names its class, or the element that it mirrors.
pub(crate) const UNIT: &str = "RefBaseSystemUnitPath";

/// Elements by ID, referring elements by what they may refer to, classes by their path, and children by their name.
///
/// Keys are hashes, so what is found is a candidate: whoever asks MUST compare.
#[derive(Clone, Debug)]
pub(crate) struct Index(Postings);

impl Index {
    /// The index of a whole tree, of whose elements `entries` are the keys that follow from attributes, and of which
    /// these are classes.
    pub(crate) fn of(tree: &Tree, mut entries: Vec<Posting>, classes: &[NodeId]) -> Self {
        entries.extend(classes.iter().filter_map(|class| Some((class::key_of(tree, *class)?, *class))));
        Self(Postings::of(entries))
    }

    pub(crate) fn add(&mut self, tree: &Tree, node: NodeId) {
        each_key(tree, node, &mut |key| self.0.insert((key, node)));
    }

    pub(crate) fn remove(&mut self, tree: &Tree, node: NodeId) {
        each_key(tree, node, &mut |key| self.0.remove(&(key, node)));
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
fn each_key(tree: &Tree, node: NodeId, tell: &mut impl FnMut(Key)) {
    let Node { kind, parent, .. } = *tree.node(node);
    attribute_keys(kind, parent, xml::attributes(tree.head(node)), tell);
    if let Some(key) = class::key_of(tree, node) {
        tell(key);
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
            _ if name.starts_with("Ref") && referring(kind).contains(&name) => {
                let value = xml::attribute_value(raw);
                readings(&value).for_each(|(target, _)| tell(Key::reference(target)));
            }
            _ => {}
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

/// A reference from one element to another, as written.
pub(crate) struct Pointer {
    /// The XML attribute that holds it.
    pub(crate) attribute: &'static str,
    /// Its value.
    pub(crate) value: String,
}

impl Pointer {
    /// How it can be read, as ID and interface name.
    pub(crate) fn readings(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        readings(&self.value)
    }

    /// True if this may mean the element with this ID.
    pub(crate) fn may_mean(&self, id: &str) -> bool {
        self.readings().any(|(target, _)| target == id)
    }

    /// True if this may mean the interface `name` of the element with this ID: `{ID}:name`.
    pub(crate) fn may_mean_interface(&self, id: &str, name: &str) -> bool {
        self.readings().any(|(target, interface)| target == id && interface == Some(name))
    }
}

/// How a reference can be read, as ID and interface name.
///
/// CAEX 3.0 writes the interface's ID, CAEX 2.15 writes `{ID}:name` or `ID:name`. IDs need not be GUIDs, and both
/// may hold colons, so it can be split at the first and at the last one.
fn readings(value: &str) -> impl Iterator<Item = (&str, Option<&str>)> {
    let (first, last) = (value.find(':'), value.rfind(':').filter(|last| value.find(':') != Some(*last)));
    let colons = first.into_iter().chain(last);
    let split = colons.map(move |at| (&value[..at], Some(&value[at + 1..])));
    std::iter::once((value, None)).chain(split).flat_map(|(target, name)| {
        let bare = target.strip_prefix('{').and_then(|inner| inner.strip_suffix('}'));
        std::iter::once((target, name)).chain(bare.map(|bare| (bare, name)))
    })
}

/// The XML attributes in which an element of this kind refers to others.
fn referring(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::InternalLink => &LINK_ENDS,
        Kind::InternalElement => &[UNIT],
        _ => &[],
    }
}

/// The references that an element holds: the ends of an InternalLink, the master of a mirror.
pub(crate) fn pointers(tree: &Tree, node: NodeId) -> Vec<Pointer> {
    let attributes = referring(tree.node(node).kind);
    let value = |name: &&'static str| Some((*name, xml::attribute(tree.head(node), name)?.into_owned()));
    attributes.iter().filter_map(value).map(|(attribute, value)| Pointer { attribute, value }).collect()
}
