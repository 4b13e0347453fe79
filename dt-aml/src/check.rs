//! Holds a fragment against the content model: strict where parsing is lenient.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::edit::EditError;
use crate::index::{self, Index};
use crate::schema::{self, Content};
use crate::tree::{NodeId, Tree};
use crate::xml;

/// How an element departs from the content model of CAEX.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum SchemaError {
    /// An element stands where CAEX does not have it, or not in the document's namespace.
    #[error("{tag} is not allowed in {parent}")]
    NotAllowedHere {
        /// The element's name as written.
        tag: String,
        /// The name of the element it stands in.
        parent: String,
    },
    /// An element stands in the wrong place among its siblings.
    #[error("{tag} is out of order in {parent}")]
    OutOfOrder {
        /// The element's name.
        tag: String,
        /// The name of the element it stands in.
        parent: String,
    },
    /// An element of which there can be one is there already.
    #[error("there can be only one {tag} in {parent}")]
    TooMany {
        /// The element's name.
        tag: String,
        /// The name of the element it stands in.
        parent: String,
    },
    /// An element lacks a child that the schema requires, or would lose its last one.
    #[error("{parent} needs a {tag}")]
    Missing {
        /// The name of the child.
        tag: String,
        /// The name of the element that needs it.
        parent: String,
    },
    /// An element lacks the `Name` that the schema requires.
    #[error("{tag} needs a Name")]
    Unnamed {
        /// The element's name in XML.
        tag: String,
    },
    /// Text stands in an element that holds elements only.
    #[error("{tag} cannot hold text")]
    StrayText {
        /// The element's name.
        tag: String,
    },
    /// A sibling of the same kind, which is addressed by its name, has this name already.
    #[error("a {tag} named {name} exists already")]
    DuplicateName {
        /// The element's name in XML.
        tag: String,
        /// Its `Name`.
        name: String,
    },
}

/// Checks that `fragment`, which is not attached yet, may become a child of `parent`, its place among the children
/// apart.
pub(crate) fn fragment(
    tree: &Tree,
    index: &Index,
    parent: NodeId,
    fragment: NodeId,
) -> Result<(), EditError> {
    as_child(tree, parent, fragment)?;
    tree.preorder(fragment).try_for_each(|node| content(tree, node))?;
    ids(tree, index, fragment)
}

/// The name of an element as written, for messages.
pub(crate) fn tag(tree: &Tree, node: NodeId) -> String {
    xml::tag_name(tree.head(node)).to_owned()
}

fn as_child(tree: &Tree, parent: NodeId, child: NodeId) -> Result<(), SchemaError> {
    let (parent_kind, kind) = (tree.node(parent).kind, tree.node(child).kind);
    let content = schema::content(tree.version, parent_kind);
    if matches!(content, Content::Free) {
        return Ok(());
    }
    let Some((_, group)) = content.rank(kind) else {
        return Err(SchemaError::NotAllowedHere { tag: tag(tree, child), parent: tag(tree, parent) });
    };
    if group.single && tree.children(parent).any(|sibling| group.kinds.contains(&tree.node(sibling).kind)) {
        return Err(SchemaError::TooMany { tag: tag(tree, child), parent: tag(tree, parent) });
    }
    let name = xml::attribute(tree.head(child), "Name");
    if let Some(name) = name.filter(|_| kind.is_named_uniquely()) {
        let same = |sibling: NodeId| {
            tree.node(sibling).kind == kind
                && xml::attribute(tree.head(sibling), "Name").is_some_and(|other| other == name)
        };
        if tree.children(parent).any(same) {
            return Err(SchemaError::DuplicateName { tag: tag(tree, child), name: name.into_owned() });
        }
    }
    Ok(())
}

/// Checks what one element holds: the first thing that is wrong with it.
pub(crate) fn content(tree: &Tree, node: NodeId) -> Result<(), SchemaError> {
    let kind = tree.node(node).kind;
    let name = xml::attribute(tree.head(node), "Name");
    if kind.needs_name() && name.is_none_or(|name| name.is_empty()) {
        return Err(SchemaError::Unnamed { tag: tag(tree, node) });
    }
    let content = schema::content(tree.version, kind);
    match content {
        Content::Free => Ok(()),
        Content::Text => match tree.node(node).first {
            Some(child) => {
                Err(SchemaError::NotAllowedHere { tag: tag(tree, child), parent: tag(tree, node) })
            }
            None => Ok(()),
        },
        Content::Groups { .. } => {
            children(tree, node, content)?;
            no_text(tree, node)
        }
    }
}

/// Checks order, number and names of an element's children.
fn children(tree: &Tree, parent: NodeId, content: Content) -> Result<(), SchemaError> {
    let mut reached = None;
    let mut present = BTreeSet::new();
    let mut names = BTreeSet::new();
    for child in tree.children(parent) {
        let names_of = || (tag(tree, child), tag(tree, parent));
        let kind = tree.node(child).kind;
        let Some((rank, group)) = content.rank(kind) else {
            let (tag, parent) = names_of();
            return Err(SchemaError::NotAllowedHere { tag, parent });
        };
        if reached > Some(rank) {
            let (tag, parent) = names_of();
            return Err(SchemaError::OutOfOrder { tag, parent });
        }
        reached = Some(rank);
        if !present.insert(rank) && group.single {
            let (tag, parent) = names_of();
            return Err(SchemaError::TooMany { tag, parent });
        }
        let name = xml::attribute(tree.head(child), "Name").filter(|_| kind.is_named_uniquely());
        if let Some(name) = name
            && !names.insert((kind, name.clone()))
        {
            return Err(SchemaError::DuplicateName { tag: tag(tree, child), name: name.into_owned() });
        }
    }
    let missing =
        content.groups().enumerate().find(|(rank, group)| group.required && !present.contains(rank));
    match missing {
        Some((_, group)) => Err(missing_child(tree, parent, group)),
        None => Ok(()),
    }
}

/// The error for a required group that is empty.
pub(crate) fn missing_child(tree: &Tree, parent: NodeId, group: &schema::Group) -> SchemaError {
    let tags: Vec<_> = group.kinds.iter().filter_map(|kind| kind.tag()).collect();
    SchemaError::Missing { tag: tags.join(" or "), parent: tag(tree, parent) }
}

/// Checks that only white space, comments and instructions stand between an element's children.
fn no_text(tree: &Tree, node: NodeId) -> Result<(), SchemaError> {
    let mut text = String::new();
    for gap in tree.children(node).map(|child| tree.node(child).gap).chain([tree.node(node).tail]) {
        let piece = tree.text(gap);
        if !xml::is_white(piece) {
            xml::push_text(piece, &mut text);
        }
    }
    if xml::is_white(&text) { Ok(()) } else { Err(SchemaError::StrayText { tag: tag(tree, node) }) }
}

/// Checks that a fragment's IDs are new and can be used as addresses.
fn ids(tree: &Tree, index: &Index, fragment: NodeId) -> Result<(), EditError> {
    let mut seen = BTreeSet::new();
    for node in tree.preorder(fragment) {
        let Some(id) = index::id_of(tree, node) else { continue };
        if crate::address::is_unusable(&id) {
            return Err(EditError::UnusableId { id: id.into_owned() });
        }
        if index.with_id(tree, &id).next().is_some() || seen.contains(&id) {
            return Err(EditError::DuplicateId { id: id.into_owned() });
        }
        seen.insert(id);
    }
    Ok(())
}
