//! Class paths, and what a class inherits from.
//!
//! A class path names a library and then class after class, with slashes between: `Lib/Role/SubRole`. A name that
//! holds a slash stands in brackets: `Lib/[I/O]`. A path may begin with the alias of an external file,
//! `Alias@Lib/Role`: its classes are not in this document, so they inherit from nothing here.

use std::borrow::Cow;

use crate::document::Document;
use crate::element::Element;
use crate::kind::Kind;

/// Longest chain of inheritance that is followed; a circle ends here.
const MAX_CHAIN: usize = 64;

/// The names in a class path, without an alias.
pub(crate) fn segments(path: &str) -> Vec<&str> {
    let mut segments = Vec::new();
    let mut rest = split_alias(path).1;
    while !rest.is_empty() {
        let bracketed = rest.strip_prefix('[').and_then(|inner| inner.split_once(']'));
        let (segment, tail) = match bracketed {
            Some((name, tail)) => (name, tail.strip_prefix('/').unwrap_or(tail)),
            None => rest.split_once('/').unwrap_or((rest, "")),
        };
        segments.push(segment);
        rest = tail;
    }
    segments
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

impl Family {
    fn kinds(self) -> (Kind, Kind) {
        match self {
            Self::Role => (Kind::RoleClassLib, Kind::RoleClass),
            Self::Interface => (Kind::InterfaceClassLib, Kind::InterfaceClass),
            Self::Unit => (Kind::SystemUnitClassLib, Kind::SystemUnitClass),
            Self::AttributeType => (Kind::AttributeTypeLib, Kind::AttributeType),
        }
    }

    /// The XML attribute in which a class of the family names its base class.
    fn base(self) -> &'static str {
        if self == Self::AttributeType { "RefAttributeType" } else { "RefBaseClassPath" }
    }
}

impl Document {
    /// The class at a path; `None` if there is none, or several.
    pub(crate) fn class(&self, family: Family, path: &str) -> Option<Element<'_>> {
        let (lib, class) = family.kinds();
        if split_alias(path).0.is_some() {
            return None;
        }
        let mut names = segments(path).into_iter();
        let mut at = only(self.root().children_of(lib), names.next()?)?;
        for name in names {
            at = only(at.children_of(class), name)?;
        }
        (at.kind() == class).then_some(at)
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

/// The only element with this name.
fn only<'d>(mut elements: impl Iterator<Item = Element<'d>>, name: &str) -> Option<Element<'d>> {
    let found = elements.find(|element| element.name().is_some_and(|other| other == name))?;
    let another = elements.any(|element| element.name().is_some_and(|other| other == name));
    (!another).then_some(found)
}
