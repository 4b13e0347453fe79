//! How elements are addressed.
//!
//! ```text
//! address = "/" | id | [id] step+
//! step    = "/" tag ["[" name "]"] ["#" number]
//! ```
//!
//! - An **ID** addresses the element that carries it. Any text is an ID that does not read as one of the other forms.
//! - A **step** goes to the child with that tag and that `Name`; without brackets, to the child with that tag and
//!   no `Name`. Steps start at the element with the ID, or at the root: `/InstanceHierarchy[Plant]`,
//!   `4f1e…/Attribute[Speed]/Attribute[Max]`, `4f1e…/Description`. A `]` in a name is doubled.
//! - Where several children have that tag and that name, a **number** tells which of them, from 1:
//!   `4f1e…/RoleRequirements#2`. It changes when one before it comes or goes, so whoever sends such an address to others
//!   does well to say which version of the document is meant.
//! - `/` is the root element.
//!
//! A step without brackets and number MUST name a kind of CAEX, so that IDs may hold slashes. No address
//! begins with an ID that reads as a path, or would with steps behind it, or is longer than [`MAX_ADDRESS`]; edits
//! refuse to bring such an ID in.

use std::borrow::Cow;
use std::collections::BTreeSet;

use crate::arena::key::Key;

use crate::arena::index;
use crate::arena::tree::{NodeId, Tree};
use crate::document::Document;
use crate::kind::Kind;
use crate::xml;

/// Longest address in bytes: an ID and as many named steps as real nesting needs.
pub const MAX_ADDRESS: usize = 4 << 10;

/// Why an address finds no element.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum FindError {
    /// Empty, or longer than [`MAX_ADDRESS`].
    #[error("not an address: give an ID, or a path such as ID/Attribute[Name] or /InstanceHierarchy[Name]")]
    Malformed,
    /// No element has this address.
    #[error("no element has this address")]
    Unknown,
    /// Several elements have it. None of them is "the first".
    #[error("{count} elements have this address")]
    Ambiguous {
        /// How many.
        count: usize,
    },
}

/// One step of a path.
#[derive(Debug, PartialEq, Eq)]
struct Step<'a> {
    tag: &'a str,
    name: Option<Cow<'a, str>>,
    /// Which of those with this tag and name, from 1; `None`: there is only one.
    number: Option<usize>,
}

pub(crate) fn find(document: &Document, address: &str) -> Result<NodeId, FindError> {
    if address.is_empty() || address.len() > MAX_ADDRESS {
        return Err(FindError::Malformed);
    }
    let tree = &document.tree;
    if address == "/" {
        return Ok(tree.root);
    }
    let (id, steps) = split(address);
    let mut node = match id {
        "" => tree.root,
        id => one(document.index.with_id(&document.tree, id))?,
    };
    for step in steps {
        node = match step.number {
            None => one(alike(document, node, step.tag, step.name.as_deref()))?,
            Some(number) => {
                let mut alike = tree
                    .children(node)
                    .filter(|child| is_alike(tree, *child, step.tag, step.name.as_deref()));
                alike.nth(number - 1).ok_or(FindError::Unknown)?
            }
        };
    }
    Ok(node)
}

/// The address that finds exactly `node`: from the nearest element with an ID of its own. `None` if it would be too long.
pub(crate) fn address_of(document: &Document, node: NodeId) -> Option<String> {
    let tree = &document.tree;
    if node == tree.root {
        return Some("/".to_owned());
    }
    let mut steps = Vec::new();
    let mut length = 0;
    let mut start = String::new();
    for ancestor in tree.ancestors(node) {
        if let Some(id) = own_id(document, ancestor) {
            start = id;
            break;
        }
        let Some(parent) = tree.node(ancestor).parent else { break };
        let step = step_to(document, parent, ancestor);
        length += step.len();
        if length > MAX_ADDRESS {
            return None;
        }
        steps.push(step);
    }
    let mut address = start;
    steps.iter().rev().for_each(|step| address.push_str(step));
    (address.len() <= MAX_ADDRESS).then_some(address)
}

/// True if no address can begin with `id`: it reads as a path, or would with steps behind it, or is too long.
pub(crate) fn is_unusable(id: &str) -> bool {
    let mut reader = Reader::new(id);
    id.len() > MAX_ADDRESS || id == "/" || !reader.all(|(_, reading)| matches!(reading, Reading::Other))
}

/// The ID of an element if it addresses this element and no other.
pub(crate) fn own_id(document: &Document, node: NodeId) -> Option<String> {
    let id = index::id_of(&document.tree, node)?;
    let is_shared = document.index.with_id(&document.tree, &id).nth(1).is_some();
    (!is_shared && !is_unusable(&id)).then(|| id.into_owned())
}

/// The step that leads from `parent` to `child` and to no other.
fn step_to(document: &Document, parent: NodeId, child: NodeId) -> String {
    let tree = &document.tree;
    let head = tree.head(child);
    let tag = xml::split_name(xml::tag_name(head)).1;
    let name = xml::attribute(head, "Name");
    let name = name.as_deref();
    let mut step = format!("/{tag}");
    if let Some(name) = name {
        step.push_str(&format!("[{}]", name.replace(']', "]]")));
    }
    let reads_as_id = name.is_none() && Kind::of_tag(tag) == Kind::Other;
    if reads_as_id || alike(document, parent, tag, name).nth(1).is_some() {
        let before = tree.children(parent).take_while(|sibling| *sibling != child);
        let number = before.filter(|sibling| is_alike(tree, *sibling, tag, name)).count() + 1;
        step.push_str(&format!("#{number}"));
    }
    step
}

/// The children of `parent` with this tag and this name, or with this tag and no name; in no order that means anything.
fn alike<'d>(
    document: &'d Document,
    parent: NodeId,
    tag: &'d str,
    name: Option<&'d str>,
) -> impl Iterator<Item = NodeId> + 'd {
    let tree = &document.tree;
    let named = name.map(|name| {
        let kind = Kind::of_tag(tag);
        // An element of another namespace, or in free content, may have the tag of a CAEX element.
        let kinds = [kind, Kind::Other].into_iter().take(if kind == Kind::Other { 1 } else { 2 });
        kinds.flat_map(move |kind| document.index.candidates(Key::child(parent, kind, name)))
    });
    let unnamed = name.is_none().then(|| tree.children(parent));
    let candidates = named.into_iter().flatten().chain(unnamed.into_iter().flatten());
    candidates
        .filter(move |child| tree.node(*child).parent == Some(parent) && is_alike(tree, *child, tag, name))
}

fn is_alike(tree: &Tree, node: NodeId, tag: &str, name: Option<&str>) -> bool {
    let head = tree.head(node);
    xml::split_name(xml::tag_name(head)).1 == tag && xml::attribute(head, "Name").as_deref() == name
}

fn one(mut found: impl Iterator<Item = NodeId>) -> Result<NodeId, FindError> {
    let first = found.next().ok_or(FindError::Unknown)?;
    match found.count() {
        0 => Ok(first),
        others => Err(FindError::Ambiguous { count: others + 1 }),
    }
}

/// Splits an address into the ID it begins with and the steps after it. The ID is as short as the grammar allows.
fn split(address: &str) -> (&str, Vec<Step<'_>>) {
    let found = Reader::new(address).find_map(|(start, reading)| match reading {
        Reading::Steps(steps) => Some((&address[..start], steps)),
        Reading::Open | Reading::Other => None,
    });
    found.unwrap_or((address, Vec::new()))
}

/// How the rest of a text reads from a slash on.
enum Reading<'a> {
    /// As steps, all of it.
    Steps(Vec<Step<'a>>),
    /// As steps, the last of which lacks its closing bracket: what is appended may supply it.
    Open,
    /// As something else, whatever is appended.
    Other,
}

/// Reads a text from each of its slashes on, first to last.
struct Reader<'a> {
    text: &'a str,
    slashes: std::str::MatchIndices<'a, char>,
    /// Slashes from which the rest is known not to read as steps: none is tried twice.
    dead: BTreeSet<usize>,
}

impl<'a> Reader<'a> {
    fn new(text: &'a str) -> Self {
        Self { text, slashes: text.match_indices('/'), dead: BTreeSet::new() }
    }

    fn read(&mut self, start: usize) -> Reading<'a> {
        let mut steps = Vec::new();
        let mut at = start;
        while at < self.text.len() {
            if !self.dead.insert(at) {
                return Reading::Other;
            }
            match step(&self.text[at..]) {
                Some(Some((step, length))) => {
                    steps.push(step);
                    at += length;
                }
                Some(None) => return Reading::Open,
                None => return Reading::Other,
            }
        }
        Reading::Steps(steps)
    }
}

impl<'a> Iterator for Reader<'a> {
    type Item = (usize, Reading<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let (start, _) = self.slashes.next()?;
        Some((start, self.read(start)))
    }
}

/// The step that `text` begins with, and its length; `Some(None)` if only its closing bracket is missing.
fn step(text: &str) -> Option<Option<(Step<'_>, usize)>> {
    let after = text.strip_prefix('/')?;
    let (tag, rest) = after.split_at(after.find(['/', '[', '#']).unwrap_or(after.len()));
    if !is_tag(tag) {
        return None;
    }
    let (name, named) = match rest.strip_prefix('[') {
        None => (None, 1 + tag.len()),
        Some(inner) => {
            let Some(close) = closing(inner) else { return Some(None) };
            (Some(unbracket(&inner[..close])), 1 + tag.len() + 1 + close + 1)
        }
    };
    let (number, length) = match text[named..].strip_prefix('#') {
        None => (None, named),
        Some(rest) => {
            let digits = rest.split('/').next().unwrap_or(rest);
            (Some(number(digits)?), named + 1 + digits.len())
        }
    };
    let reads_as_id = name.is_none() && number.is_none() && Kind::of_tag(tag) == Kind::Other;
    (!reads_as_id).then_some(Some((Step { tag, name, number }, length)))
}

/// A number from 1 in its one spelling.
fn number(digits: &str) -> Option<usize> {
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit()) && !digits.starts_with('0');
    digits.parse::<u32>().ok().filter(|_| plain).and_then(|number| usize::try_from(number).ok())
}

/// Where the bracket closes that `inner` stands in: at the first `]` that is not doubled.
fn closing(inner: &str) -> Option<usize> {
    let mut at = 0;
    loop {
        at += inner.get(at..)?.find(']')?;
        if !inner[at + 1..].starts_with(']') {
            return Some(at);
        }
        at += 2;
    }
}

fn unbracket(name: &str) -> Cow<'_, str> {
    if name.contains(']') { Cow::Owned(name.replace("]]", "]")) } else { Cow::Borrowed(name) }
}

/// A local name, near enough: what XML forbids in a name finds nothing.
fn is_tag(tag: &str) -> bool {
    !tag.is_empty() && !tag.contains(|c: char| c.is_whitespace() || "<>&\"'[]{}:".contains(c))
}
