//! Class paths, and what a class inherits from.
//!
//! How a class path is written: see [`path`](crate::path). The classes of an external file are not in this document, so
//! they inherit from nothing here.

use std::borrow::Cow;

use super::path::CaexPath;
use crate::arena::key::Key;
use crate::arena::tree::{NodeId, Tree};
use crate::document::Document;
use crate::element::Element;
use crate::kind::Kind;
use crate::xml;

/// Longest chain of inheritance that is followed for one attribute or program.
const MAX_CHAIN: usize = 64;
/// Longest class path in bytes that is looked up, lengths of its names included.
const MAX_PATH: usize = 2 << 10;

/// The names in a class path, library first, without an alias; none if the path is malformed.
pub(crate) fn segments(path: &str) -> Vec<Cow<'_, str>> {
    CaexPath::parse(path).ok().and_then(CaexPath::into_names).unwrap_or_default()
}

/// The names in the path of a class of this document; none if the path is malformed or leads to another file.
pub(crate) fn names(path: &str) -> Vec<Cow<'_, str>> {
    let path = CaexPath::parse(path).ok().filter(|path| path.alias.is_none());
    path.and_then(CaexPath::into_names).unwrap_or_default()
}

/// The key of references with this path.
pub(crate) fn reference_key(family: Family, path: &str) -> Key {
    // Nearly all paths have nothing in them that would have to be taken apart first.
    if path.contains(['[', '@']) {
        Key::class_reference(family.library(), names(path).iter().map(|name| &**name))
    } else {
        Key::class_reference(family.library(), path.split('/'))
    }
}

/// The library and class kind that a path attribute refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    Role,
    Interface,
    Unit,
    AttributeType,
}

const FAMILIES: [Family; 4] = [Family::Role, Family::Interface, Family::Unit, Family::AttributeType];

impl Family {
    /// The kinds of the family's libraries and classes.
    fn kinds(self) -> (Kind, Kind) {
        match self {
            Self::Role => (Kind::RoleClassLib, Kind::RoleClass),
            Self::Interface => (Kind::InterfaceClassLib, Kind::InterfaceClass),
            Self::Unit => (Kind::SystemUnitClassLib, Kind::SystemUnitClass),
            Self::AttributeType => (Kind::AttributeTypeLib, Kind::AttributeType),
        }
    }

    /// The kind of the family's libraries.
    pub(crate) fn library(self) -> Kind {
        self.kinds().0
    }

    /// The XML attribute in which a class of the family names its base class.
    fn base(self) -> &'static str {
        if self == Self::AttributeType { "RefAttributeType" } else { "RefBaseClassPath" }
    }
}

/// Whether elements of this kind are classes in a library.
pub(crate) fn is_class(kind: Kind) -> bool {
    FAMILIES.into_iter().any(|family| family.kinds().1 == kind)
}

/// Whether elements of this kind are classes, or libraries of classes.
pub(crate) fn is_class_or_library(kind: Kind) -> bool {
    FAMILIES.into_iter().any(|family| family.kinds().0 == kind || family.kinds().1 == kind)
}

/// The key of a class in a library of the document; `None` if the node is something else.
pub(crate) fn key_of(tree: &Tree, node: NodeId) -> Option<Key> {
    let (family, names) = path_of(tree, node)?;
    Some(Key::class(family.library(), names.iter().map(String::as_str)))
}

/// The path of names of a class in a library of the document; `None` if the node is something else.
pub(crate) fn path_of(tree: &Tree, node: NodeId) -> Option<(Family, Vec<String>)> {
    let class = tree.node(node).kind;
    let family = FAMILIES.into_iter().find(|family| family.kinds().1 == class)?;
    let mut names = Vec::new();
    let mut length = 0;
    for ancestor in tree.ancestors(node) {
        let name = xml::attribute(tree.head(ancestor), "Name")?;
        length += name.len();
        names.push(name.into_owned());
        match tree.node(ancestor).kind {
            kind if kind == family.library() => {
                names.reverse();
                return Some((family, names));
            }
            kind if kind == class && length <= MAX_PATH => {}
            _ => return None,
        }
    }
    None
}

/// Whether `node` is the class with this path of names, library first.
fn is_at(tree: &Tree, node: NodeId, family: Family, names: &[impl AsRef<str>]) -> bool {
    let (lib, class) = family.kinds();
    let mut ancestors = tree.ancestors(node);
    names.iter().enumerate().rev().all(|(level, name)| {
        ancestors.next().is_some_and(|at| {
            tree.node(at).kind == if level == 0 { lib } else { class }
                && xml::attribute(tree.head(at), "Name").is_some_and(|other| other == name.as_ref())
        })
    })
}

impl Document {
    /// The class at a path; `None` if there is none, or several.
    pub(crate) fn class(&self, family: Family, path: &str) -> Option<Element<'_>> {
        let names = names(Some(path).filter(|path| path.len() <= MAX_PATH)?);
        if names.len() < 2 {
            return None;
        }
        let mut found = self.classes(family, &names);
        let class = found.next().filter(|_| found.next().is_none())?;
        Some(self.element(class))
    }

    /// The classes with this path of names, library first.
    pub(crate) fn classes<'d>(
        &'d self,
        family: Family,
        names: &'d [impl AsRef<str>],
    ) -> impl Iterator<Item = NodeId> + 'd {
        let key = Key::class(family.library(), names.iter().map(AsRef::as_ref));
        let candidates = self.index.candidates(key);
        candidates.filter(move |class| is_at(&self.tree, *class, family, names))
    }

    /// The class that `class` inherits from: its path as written, and the class itself if it is in this document.
    pub(crate) fn base<'d>(
        &'d self,
        family: Family,
        class: Element<'d>,
    ) -> Option<(String, Option<Element<'d>>)> {
        let base = class.attribute_value(family.base())?.into_owned();
        // Editors write the base of a nested class by its name alone when it nests in that base.
        let is_base = |outer: &Element<'_>| {
            outer.kind() == family.kinds().1 && outer.name().is_some_and(|name| name == base.as_str())
        };
        let found = self.class(family, &base).or_else(|| class.parent().filter(is_base));
        Some((base, found))
    }

    /// A class path and the paths of all classes it inherits from, nearest first, as written; with the classes as
    /// far as they are in this document. Where a circle closes, or at [`MAX_CHAIN`], it ends.
    pub(crate) fn lineage(&self, family: Family, path: &str) -> Vec<(String, Option<Element<'_>>)> {
        let mut lineage: Vec<(String, Option<Element<'_>>)> = Vec::new();
        let mut next = Some((path.to_owned(), self.class(family, path)));
        while let Some((path, class)) = next.take().filter(|_| lineage.len() < MAX_CHAIN) {
            if class.is_some() && lineage.iter().any(|(_, seen)| *seen == class) {
                break;
            }
            next = class.and_then(|class| self.base(family, class));
            lineage.push((path, class));
        }
        lineage
    }
}
