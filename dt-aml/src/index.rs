//! Which elements carry an ID, which refer to one, and which are the class at a path.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use crate::class;
use crate::kind::Kind;
use crate::tree::{NodeId, Tree};
use crate::xml;

/// The attributes of an InternalLink that name its ends.
pub(crate) const LINK_ENDS: [&str; 2] = ["RefPartnerSideA", "RefPartnerSideB"];
/// The attribute of an InternalElement that names its class, or the element that it mirrors.
pub(crate) const UNIT: &str = "RefBaseSystemUnitPath";
/// Elements by ID, referring elements by the ID they may mean, and classes by their path.
#[derive(Clone, Debug, Default)]
pub(crate) struct Index {
    ids: Multimap,
    references: Multimap,
    classes: Multimap,
}

impl Index {
    /// The index of all attached elements.
    pub(crate) fn of(tree: &Tree) -> Self {
        let mut index = Self::default();
        for id in tree.preorder(tree.root) {
            index.add(tree, id);
        }
        index
    }

    pub(crate) fn add(&mut self, tree: &Tree, node: NodeId) {
        if let Some(id) = id_of(tree, node) {
            self.ids.insert(&id, node);
        }
        for target in targets(tree, node) {
            self.references.insert(&target, node);
        }
        if let Some(key) = class::key_of(tree, node) {
            self.classes.insert(&key, node);
        }
    }

    pub(crate) fn remove(&mut self, tree: &Tree, node: NodeId) {
        if let Some(id) = id_of(tree, node) {
            self.ids.remove(&id, node);
        }
        for target in targets(tree, node) {
            self.references.remove(&target, node);
        }
        if let Some(key) = class::key_of(tree, node) {
            self.classes.remove(&key, node);
        }
    }

    /// The elements with this ID.
    pub(crate) fn with_id(&self, id: &str) -> impl Iterator<Item = NodeId> + '_ {
        self.ids.get(id)
    }

    /// The classes whose path has this key.
    pub(crate) fn with_class_key(&self, key: &str) -> impl Iterator<Item = NodeId> + '_ {
        self.classes.get(key)
    }

    /// The links and mirrors that may refer to this ID.
    pub(crate) fn referring_to(&self, id: &str) -> impl Iterator<Item = NodeId> + '_ {
        self.references.get(id)
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
    ///
    /// CAEX 3.0 writes the interface's ID, CAEX 2.15 writes `{ID}:name` or `ID:name`. IDs need not be GUIDs, and both
    /// may hold colons, so it can be split at the first and at the last one.
    pub(crate) fn readings(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        let value = self.value.as_str();
        let (first, last) = (value.find(':'), value.rfind(':').filter(|last| value.find(':') != Some(*last)));
        let colons = first.into_iter().chain(last);
        let split = colons.map(move |at| (&value[..at], Some(&value[at + 1..])));
        std::iter::once((value, None)).chain(split).flat_map(|(target, name)| {
            let bare = target.strip_prefix('{').and_then(|inner| inner.strip_suffix('}'));
            std::iter::once((target, name)).chain(bare.map(|bare| (bare, name)))
        })
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

/// The references that an element holds: the ends of an InternalLink, the master of a mirror.
pub(crate) fn pointers(tree: &Tree, node: NodeId) -> Vec<Pointer> {
    let attributes: &[&'static str] = match tree.node(node).kind {
        Kind::InternalLink => &LINK_ENDS,
        Kind::InternalElement => &[UNIT],
        _ => &[],
    };
    let value = |name: &&'static str| Some((*name, xml::attribute(tree.head(node), name)?.into_owned()));
    attributes.iter().filter_map(value).map(|(attribute, value)| Pointer { attribute, value }).collect()
}

/// The IDs that an element may refer to, each once.
fn targets(tree: &Tree, node: NodeId) -> Vec<String> {
    let mut targets: Vec<String> = Vec::new();
    for pointer in pointers(tree, node) {
        targets.extend(pointer.readings().map(|(target, _)| target.to_owned()));
    }
    targets.sort_unstable();
    targets.dedup();
    targets
}

/// Several nodes per key; most keys have one.
#[derive(Clone, Debug, Default)]
struct Multimap(BTreeMap<Box<str>, Few>);

#[derive(Clone, Debug)]
enum Few {
    One(NodeId),
    Many(BTreeSet<NodeId>),
}

impl Few {
    fn iter(&self) -> impl Iterator<Item = NodeId> + '_ {
        let (one, many) = match self {
            Self::One(node) => (Some(*node), None),
            Self::Many(nodes) => (None, Some(nodes)),
        };
        one.into_iter().chain(many.into_iter().flatten().copied())
    }
}

impl Multimap {
    fn get(&self, key: &str) -> impl Iterator<Item = NodeId> + '_ {
        self.0.get(key).into_iter().flat_map(Few::iter)
    }

    fn insert(&mut self, key: &str, node: NodeId) {
        match self.0.get_mut(key) {
            None => {
                self.0.insert(key.into(), Few::One(node));
            }
            Some(Few::Many(nodes)) => {
                nodes.insert(node);
            }
            Some(few) => *few = Few::Many(few.iter().chain([node]).collect()),
        }
    }

    fn remove(&mut self, key: &str, node: NodeId) {
        match self.0.get_mut(key) {
            Some(Few::Many(nodes)) => {
                nodes.remove(&node);
                if nodes.is_empty() {
                    self.0.remove(key);
                }
            }
            Some(Few::One(only)) if *only == node => {
                self.0.remove(key);
            }
            _ => {}
        }
    }
}
