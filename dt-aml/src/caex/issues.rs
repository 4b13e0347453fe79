//! What is wrong with a document that could be loaded all the same.
//!
//! Real files repeat IDs, lack them, and depart from the schema; refusing them would refuse most of them. So parsing
//! takes what is well-formed, and this lists the rest. Edits do not add to it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::link::{Resolver, Target};
use super::reference;
use crate::address;
use crate::arena::tree::Visit;
use crate::document::Document;
use crate::edit::check::{self, SchemaError};
use crate::element::Element;
use crate::kind::{Kind, Version};
use crate::limits::Position;

/// Something wrong with an element.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{position}: {problem}")]
pub struct Issue {
    /// Where the element's start tag begins.
    pub position: Position,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What can be wrong with an element.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// Its ID names other elements too, so it addresses none.
    #[error("the ID {id} names {count} elements")]
    DuplicateId {
        /// The ID.
        id: String,
        /// How many elements carry it.
        count: usize,
    },
    /// It has no ID, though AutomationML wants one for its kind.
    #[error("{tag} has no ID")]
    MissingId {
        /// Its name in XML.
        tag: String,
    },
    /// Its ID does not address it: it reads as a path, or is too long. See [`address`](crate::address).
    #[error("the ID {id} reads as a path or is too long")]
    UnusableId {
        /// The ID.
        id: String,
    },
    /// It departs from the content model of CAEX.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// It refers to an element that is not there.
    #[error("{attribute} refers to {target}, which does not exist")]
    BrokenReference {
        /// The XML attribute that holds the reference.
        attribute: String,
        /// Its value.
        target: String,
    },
    /// The `SchemaVersion` that the root element declares is not that of its namespace.
    #[error("SchemaVersion is {declared}, but the namespace is that of another version")]
    VersionMismatch {
        /// What is declared; empty if nothing is.
        declared: String,
    },
}

impl Document {
    /// What is wrong with the document as it is now, in document order. Reads all of it.
    pub fn issues(&self) -> Vec<Issue> {
        let tree = &self.tree;
        let mut position = Position { line: 1, column: 1 };
        let mut issues = Vec::new();
        let mut examiner = Examiner { resolver: Resolver::new(self), carriers: BTreeMap::new() };
        for visit in tree.walk(tree.root) {
            let (Visit::Enter(id) | Visit::Leave(id)) = visit;
            let node = tree.node(id);
            let (first, second) = match visit {
                Visit::Enter(_) => (node.gap, node.head),
                Visit::Leave(_) => (node.tail, node.end),
            };
            position.advance(tree.text(first));
            if matches!(visit, Visit::Enter(_)) {
                let problems = examiner.problems(self.element(id));
                issues.extend(problems.into_iter().map(|problem| Issue { position, problem }));
            }
            position.advance(tree.text(second));
        }
        issues
    }
}

/// Looks at one element after another, and remembers what many of them share.
struct Examiner<'d> {
    resolver: Resolver<'d>,
    /// How many elements carry an ID that several carry.
    carriers: BTreeMap<String, usize>,
}

impl<'d> Examiner<'d> {
    fn problems(&mut self, element: Element<'d>) -> Vec<Problem> {
        let mut problems = Vec::new();
        if element.kind() == Kind::CaexFile {
            problems.extend(version(element));
        }
        problems.extend(self.identity(element));
        problems.extend(check::content(&element.document.tree, element.node).err().map(Problem::Schema));
        if element.kind() == Kind::InternalLink {
            problems.extend(self.broken_ends(element));
        }
        problems
    }

    fn identity(&mut self, element: Element<'d>) -> Option<Problem> {
        let Some(id) = element.id() else {
            let wants_one = matches!(element.kind(), Kind::InternalElement | Kind::ExternalInterface);
            return wants_one.then(|| Problem::MissingId { tag: element.tag().to_owned() });
        };
        let carriers = || element.document.index.with_id(&element.document.tree, &id);
        if carriers().nth(1).is_some() {
            let count = *self.carriers.entry(id.to_string()).or_insert_with(|| carriers().count());
            Some(Problem::DuplicateId { id: id.into_owned(), count })
        } else if address::is_unusable(&id) {
            Some(Problem::UnusableId { id: id.into_owned() })
        } else {
            None
        }
    }

    /// The ends of an InternalLink that name nothing.
    fn broken_ends(&mut self, link: Element<'d>) -> Vec<Problem> {
        let pointers = reference::pointers(&link.document.tree, link.node).into_iter();
        let broken = pointers.filter(|pointer| self.resolver.resolve(&pointer.value) == Target::Missing);
        let problem = |pointer: reference::Pointer| Problem::BrokenReference {
            attribute: pointer.attribute().to_owned(),
            target: pointer.value,
        };
        broken.map(problem).collect()
    }
}

fn version(root: Element<'_>) -> Option<Problem> {
    let declared = root.attribute_value("SchemaVersion").unwrap_or_default();
    let fits = match root.document.version() {
        Version::Caex215 => declared.starts_with("2."),
        Version::Caex30 => declared.starts_with("3."),
    };
    (!fits).then(|| Problem::VersionMismatch { declared: declared.into_owned() })
}
