//! Holds a fragment against the content model: strict where parsing is lenient.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::error::EditError;
use super::region::Region;
use super::schema::{self, Content};
use crate::arena::index;
use crate::arena::tree::{NodeId, Span, Tree};
use crate::caex::reference;
use crate::document::Document;
use crate::kind::{Kind, Version};
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

/// Checks everything that now stands in a region, of which nothing stood there before: its place among the children, and, if it came from
/// outside, what is in it.
pub(crate) fn arrivals(document: &Document, region: Region, from_outside: bool) -> Result<(), EditError> {
    let tree = &document.tree;
    let content = schema::content(tree.version, tree.node(region.parent).kind);
    for node in region.nodes(tree) {
        as_child(document, content, region.parent, node)?;
    }
    order(tree, content, region)?;
    if from_outside {
        region.nodes(tree).try_for_each(|node| subtree(document, node))?;
    }
    Ok(())
}

/// Checks that a region of an element that holds elements only holds no text.
pub(crate) fn text_between(tree: &Tree, region: Region) -> Result<(), SchemaError> {
    match schema::content(tree.version, tree.node(region.parent).kind) {
        Content::Groups { .. } => {
            let gaps = region.nodes(tree).map(|node| tree.node(node).gap).chain([region.closing(tree)]);
            no_text(tree, region.parent, gaps)
        }
        Content::Text | Content::Free => Ok(()),
    }
}

/// What is wrong with an element in its place, what stands in it apart.
pub(crate) fn faults(document: &Document, node: NodeId) -> Vec<EditError> {
    let own: [Result<(), EditError>; 3] =
        [has_name(&document.tree, node).map_err(Into::into), identity(document, node), link(document, node)];
    in_place(document, node).into_iter().chain(own).filter_map(Result::err).collect()
}

/// Checks an element that was read anew in its place, with everything in it.
pub(crate) fn read_anew(document: &Document, node: NodeId) -> Result<(), EditError> {
    in_place(document, node).into_iter().collect::<Result<(), _>>()?;
    subtree(document, node)
}

/// Whether an element may stand in its parent, and where it stands.
fn in_place(document: &Document, node: NodeId) -> [Result<(), EditError>; 2] {
    let tree = &document.tree;
    let Some(parent) = tree.node(node).parent else { return [Ok(()), Ok(())] };
    let region = Region::around(tree, parent, node);
    let content = schema::content(tree.version, tree.node(parent).kind);
    let results = [as_child(document, content, parent, node), order(tree, content, region)];
    results.map(|result| result.map_err(Into::into))
}

/// Checks an element and everything in it.
fn subtree(document: &Document, top: NodeId) -> Result<(), EditError> {
    let tree = &document.tree;
    tree.preorder(top).try_for_each(|node| content(tree, node))?;
    tree.preorder(top).try_for_each(|node| {
        identity(document, node)?;
        link(document, node)
    })
}

/// Checks that of each of these kinds that the schema requires there is still an element.
pub(crate) fn required(
    tree: &Tree,
    parent: NodeId,
    kinds: impl IntoIterator<Item = Kind>,
) -> Result<(), SchemaError> {
    let content = schema::content(tree.version, tree.node(parent).kind);
    for kind in kinds {
        if let Some((_, group)) = content.rank(kind).filter(|(_, group)| group.required)
            && !tree.children(parent).any(|child| group.kinds.contains(&tree.node(child).kind))
        {
            return Err(missing_child(tree, parent, group));
        }
    }
    Ok(())
}

/// The name of an element as written, for messages.
pub(crate) fn tag(tree: &Tree, node: NodeId) -> String {
    xml::tag_name(tree.head(node)).to_owned()
}

/// Checks that an element may be a child of this parent, its place apart.
fn as_child(document: &Document, content: Content, parent: NodeId, child: NodeId) -> Result<(), SchemaError> {
    let Document { tree, index, .. } = document;
    if matches!(content, Content::Free) {
        return Ok(());
    }
    let kind = tree.node(child).kind;
    let Some((_, group)) = content.rank(kind) else {
        return Err(SchemaError::NotAllowedHere { tag: tag(tree, child), parent: tag(tree, parent) });
    };
    let in_group = |sibling: &NodeId| group.kinds.contains(&tree.node(*sibling).kind);
    if group.single && tree.children(parent).filter(in_group).nth(1).is_some() {
        return Err(SchemaError::TooMany { tag: tag(tree, child), parent: tag(tree, parent) });
    }
    if let Some(name) = xml::attribute(tree.head(child), "Name").filter(|_| kind.is_named_uniquely())
        && index.named_children(tree, parent, kind, &name).nth(1).is_some()
    {
        return Err(SchemaError::DuplicateName { tag: tag(tree, child), name: name.into_owned() });
    }
    Ok(())
}

/// Checks that the elements of a region keep the order of groups with each other and with their neighbours.
fn order(tree: &Tree, content: Content, region: Region) -> Result<(), SchemaError> {
    let rank = |node: NodeId| content.rank(tree.node(node).kind).map(|(rank, _)| rank);
    let before = std::iter::successors(region.prev, |node| tree.node(*node).prev).find_map(rank);
    let behind = std::iter::successors(region.next, |node| tree.node(*node).next).find_map(rank);
    let mut reached = before;
    for node in region.nodes(tree) {
        let own = rank(node);
        let too_far = behind.is_some() && own > behind;
        if own.is_some() && (own < reached || too_far) {
            return Err(SchemaError::OutOfOrder { tag: tag(tree, node), parent: tag(tree, region.parent) });
        }
        reached = own.max(reached);
    }
    Ok(())
}

fn has_name(tree: &Tree, node: NodeId) -> Result<(), SchemaError> {
    let name = xml::attribute(tree.head(node), "Name");
    if tree.node(node).kind.needs_name() && name.is_none_or(|name| name.is_empty()) {
        return Err(SchemaError::Unnamed { tag: tag(tree, node) });
    }
    Ok(())
}

/// Checks what one element holds: the first thing that is wrong with it.
pub(crate) fn content(tree: &Tree, node: NodeId) -> Result<(), SchemaError> {
    has_name(tree, node)?;
    let content = schema::content(tree.version, tree.node(node).kind);
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
            let gaps = tree.children(node).map(|child| tree.node(child).gap).chain([tree.node(node).tail]);
            no_text(tree, node, gaps)
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
fn no_text(tree: &Tree, node: NodeId, gaps: impl Iterator<Item = Span>) -> Result<(), SchemaError> {
    let mut text = String::new();
    for gap in gaps {
        let piece = tree.text(gap);
        if !xml::is_white(piece) {
            xml::push_text(piece, &mut text);
        }
    }
    if xml::is_white(&text) { Ok(()) } else { Err(SchemaError::StrayText { tag: tag(tree, node) }) }
}

/// Checks that an element's ID is its own and can be used as an address.
fn identity(document: &Document, node: NodeId) -> Result<(), EditError> {
    let Document { tree, index, .. } = document;
    let Some(id) = index::id_of(tree, node) else { return Ok(()) };
    if crate::address::is_unusable(&id) {
        return Err(EditError::UnusableId { id: id.into_owned() });
    }
    if index.with_id(tree, &id).nth(1).is_some() {
        return Err(EditError::DuplicateId { id: id.into_owned() });
    }
    Ok(())
}

/// Checks that the ends of a link are written as the document's version writes them.
fn link(document: &Document, node: NodeId) -> Result<(), EditError> {
    let tree = &document.tree;
    if tree.node(node).kind != Kind::InternalLink {
        return Ok(());
    }
    for pointer in reference::pointers(tree, node) {
        if !pointer.value.is_empty() && !is_in_format(document, &pointer.value) {
            return Err(EditError::LinkFormat { target: pointer.value });
        }
    }
    Ok(())
}

/// Whether the end of a link is written as the document's version writes it: `GUID:name` in CAEX 2.15, an ID in CAEX 3.0. An ID may hold a
/// colon too, so what is an ID is one.
fn is_in_format(document: &Document, value: &str) -> bool {
    let Document { tree, index, .. } = document;
    match tree.version {
        Version::Caex215 => value.contains(':'),
        Version::Caex30 => {
            let names_an_owner = |(id, interface): (&str, Option<&str>)| {
                interface.is_some() && (index.with_id(tree, id).next().is_some() || id.starts_with('{'))
            };
            index.with_id(tree, value).next().is_some() || !reference::readings(value).any(names_an_owner)
        }
    }
}
