//! Class paths, and what a class inherits from.
//!
//! A class path names a library and then class after class, with slashes between: `Lib/Role/SubRole`. A name that
//! holds a slash stands in brackets: `Lib/[I/O]`. A path may begin with the alias of an external file,
//! `Alias@Lib/Role`: its classes are not in this document, so they inherit from nothing here.

use std::borrow::Cow;

use crate::document::Document;
use crate::element::Element;
use crate::key::Key;
use crate::kind::Kind;
use crate::tree::{NodeId, Tree};
use crate::xml;

/// Longest chain of inheritance that is followed; a circle ends here.
const MAX_CHAIN: usize = 64;
/// Longest class path in bytes that is looked up, lengths of its names included.
const MAX_PATH: usize = 2 << 10;

/// The names in a class path, without an alias.
pub(crate) fn segments(path: &str) -> Vec<&str> {
    split(split_alias(path).1).collect()
}

/// The names in the path of a class of this document; an alias is taken for a part of the library's name, so that the classes of another
/// file are none of this one.
pub(crate) fn names(path: &str) -> impl Iterator<Item = &str> {
    split(path)
}

fn split(path: &str) -> impl Iterator<Item = &str> {
    let mut rest = path;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let bracketed = rest.strip_prefix('[').and_then(|inner| inner.split_once(']'));
        let (name, tail) = match bracketed {
            Some((name, tail)) => (name, tail.strip_prefix('/').unwrap_or(tail)),
            None => rest.split_once('/').unwrap_or((rest, "")),
        };
        rest = tail;
        Some(name)
    })
}

/// Splits a path into the alias of an external file, if it has one, and the rest.
fn split_alias(path: &str) -> (Option<&str>, &str) {
    match path.split_once('@') {
        Some((alias, rest)) if !alias.contains(['/', '[']) => (Some(alias), rest),
        _ => (None, path),
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
fn is_at(tree: &Tree, node: NodeId, family: Family, names: &[&str]) -> bool {
    let (lib, class) = family.kinds();
    let mut ancestors = tree.ancestors(node);
    names.iter().enumerate().rev().all(|(level, name)| {
        ancestors.next().is_some_and(|at| {
            tree.node(at).kind == if level == 0 { lib } else { class }
                && xml::attribute(tree.head(at), "Name").is_some_and(|other| other == *name)
        })
    })
}

impl Document {
    /// The class at a path; `None` if there is none, or several.
    pub(crate) fn class(&self, family: Family, path: &str) -> Option<Element<'_>> {
        let (alias, _) = split_alias(path);
        let names = segments(path);
        if alias.is_some() || names.len() < 2 || path.len() > MAX_PATH {
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
        names: &'d [&'d str],
    ) -> impl Iterator<Item = NodeId> + 'd {
        let key = Key::class(family.library(), names.iter().copied());
        let candidates = self.index.candidates(key);
        candidates.filter(move |class| is_at(&self.tree, *class, family, names))
    }

    /// A class path and the paths of all classes it inherits from, nearest first, as written; with the classes as
    /// far as they are in this document.
    pub(crate) fn lineage(&self, family: Family, path: &str) -> Vec<(String, Option<Element<'_>>)> {
        let mut lineage = Vec::new();
        let mut next = Some((path.to_owned(), self.class(family, path)));
        while let Some((path, class)) = next.take().filter(|_| lineage.len() < MAX_CHAIN) {
            let base = class.and_then(|class| class.attribute_value(family.base()).map(Cow::into_owned));
            next = base.map(|base| {
                // Editors write the base of a nested class by its name alone when it nests in that base.
                let outer = class.and_then(|class| class.parent()).filter(|outer| {
                    outer.kind() == family.kinds().1 && outer.name().is_some_and(|name| name == base.as_str())
                });
                let found = self.class(family, &base).or(outer);
                (base, found)
            });
            lineage.push((path, class));
        }
        lineage
    }
}
