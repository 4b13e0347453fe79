//! Namespace declarations in force, and what they allow (Namespaces in XML 1.0).

use super::fault::XmlFault;
use super::text;
use crate::arena::tree::{NodeId, Tree};
use crate::kind::Version;

/// The namespace of the prefix `xml`, which is bound everywhere.
const XML: &str = "http://www.w3.org/XML/1998/namespace";
/// The namespace of declarations, which nothing may be bound to.
const XMLNS: &str = "http://www.w3.org/2000/xmlns/";

/// Namespace declarations in force, innermost last.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scope(Vec<Declaration>);

#[derive(Clone, Debug)]
struct Declaration {
    /// Empty for the default namespace.
    prefix: Box<str>,
    namespace: Box<str>,
    version: Option<Version>,
    depth: u32,
}

/// What a prefix stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Namespace<'s> {
    pub(crate) name: &'s str,
    /// The version of CAEX that lives in it.
    pub(crate) version: Option<Version>,
}

/// Equal if the same declarations were made in the same order, at whatever depths.
impl PartialEq for Scope {
    fn eq(&self, other: &Self) -> bool {
        let declared = |scope: &Self| {
            scope.0.iter().map(|one| (one.prefix.clone(), one.namespace.clone())).collect::<Vec<_>>()
        };
        declared(self) == declared(other)
    }
}

impl Scope {
    /// The declarations in force inside an element of the tree.
    pub(crate) fn inside(tree: &Tree, id: NodeId) -> Self {
        let path: Vec<_> = tree.ancestors(id).collect();
        Self::of_heads(path.iter().rev().map(|ancestor| tree.head(*ancestor)))
    }

    /// The declarations in force below elements with these start tags, the outermost first.
    pub(crate) fn of_heads<'h>(heads: impl Iterator<Item = &'h str>) -> Self {
        let mut scope = Self::default();
        for (name, raw) in heads.flat_map(text::attributes) {
            if let Some(prefix) = declared_prefix(name) {
                // They were judged when they were read; what a forger writes into a proof is judged by its hash.
                let _sound = scope.declare(prefix, raw, 0);
            }
        }
        scope
    }

    /// How many declarations are in force, hidden ones included.
    pub(crate) fn len(&self) -> u64 {
        self.0.len() as u64
    }

    /// Takes the declaration of `prefix` (empty: the default namespace) with this raw value into force.
    pub(super) fn declare(&mut self, prefix: &str, raw: &str, depth: u32) -> Result<(), XmlFault> {
        let namespace = text::attribute_value(raw);
        let reserved = namespace == XML || namespace == XMLNS;
        match prefix {
            "xml" if namespace == XML => return Ok(()),
            "xml" | "xmlns" => return Err(XmlFault::Namespace),
            _ if reserved || (namespace.is_empty() && !prefix.is_empty()) => return Err(XmlFault::Namespace),
            _ => {}
        }
        let version = Version::of_namespace(&namespace);
        self.0.push(Declaration { prefix: prefix.into(), namespace: namespace.into(), version, depth });
        Ok(())
    }

    /// Ends the declarations made at `depth` and below.
    pub(super) fn leave(&mut self, depth: u32) {
        while self.0.last().is_some_and(|declaration| declaration.depth >= depth) {
            self.0.pop();
        }
    }

    /// What `prefix` stands for; `None` if it is not declared.
    pub(crate) fn resolve(&self, prefix: &str) -> Option<Namespace<'_>> {
        let found = self.0.iter().rev().find(|declaration| {
            // Nearly all names have no prefix; comparing two empty texts by their bytes costs more than all the rest here.
            declaration.prefix.len() == prefix.len() && (prefix.is_empty() || *declaration.prefix == *prefix)
        });
        match (found, prefix) {
            (Some(declaration), _) => {
                Some(Namespace { name: &declaration.namespace, version: declaration.version })
            }
            (None, "") => Some(Namespace { name: "", version: Version::of_namespace("") }),
            (None, "xml") => Some(Namespace { name: XML, version: None }),
            (None, _) => None,
        }
    }
}

/// The prefix that an attribute of this name declares; empty for the default namespace.
pub(super) fn declared_prefix(name: &str) -> Option<&str> {
    match name.strip_prefix("xmlns")? {
        "" => Some(""),
        rest => rest.strip_prefix(':'),
    }
}
