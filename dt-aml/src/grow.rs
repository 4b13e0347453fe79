//! Grows the arena from a text: a whole document, or a fragment in the scope of its parent.

use std::sync::Arc;

use crate::hash::{Preimage, SubtreeHash};
use crate::kind::{Kind, Version};
use crate::limits::{Limit, LimitExceeded, Limits};
use crate::scan::{Fault, Scanner, Tag};
use crate::tree::{Node, NodeId, Span, Tree};
use crate::xml;

/// Namespace declarations in force, innermost last.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scope(Vec<Declaration>);

#[derive(Clone, Debug)]
struct Declaration {
    /// Empty for the default namespace.
    prefix: Box<str>,
    namespace: Box<str>,
    depth: u32,
}

impl Scope {
    /// The declarations in force inside an element of the tree.
    pub(crate) fn inside(tree: &Tree, id: NodeId) -> Self {
        let mut scope = Self::default();
        let path: Vec<_> = tree.ancestors(id).collect();
        for ancestor in path.iter().rev() {
            scope.declare(tree.head(*ancestor), 0);
        }
        scope
    }

    /// Adds the declarations of a start tag; returns the number of all its attributes.
    fn declare(&mut self, head: &str, depth: u32) -> u64 {
        let mut count = 0;
        for (name, raw) in xml::attributes(head) {
            count += 1;
            let prefix = if name == "xmlns" { Some("") } else { name.strip_prefix("xmlns:") };
            if let Some(prefix) = prefix {
                let namespace = xml::attribute_value(raw).into();
                self.0.push(Declaration { prefix: prefix.into(), namespace, depth });
            }
        }
        count
    }

    /// Ends the declarations made at `depth` and below.
    fn leave(&mut self, depth: u32) {
        while self.0.last().is_some_and(|declaration| declaration.depth >= depth) {
            self.0.pop();
        }
    }

    /// The namespace that `prefix` stands for; none is the empty string.
    fn resolve(&self, prefix: &str) -> Option<&str> {
        let found = self.0.iter().rev().find(|declaration| *declaration.prefix == *prefix);
        match found {
            Some(declaration) => Some(&declaration.namespace),
            None => prefix.is_empty().then_some(""),
        }
    }

    /// The declarations in force, each prefix once, as they would stand in a start tag.
    pub(crate) fn to_attributes(&self) -> String {
        let mut out = String::new();
        for (index, declaration) in self.0.iter().enumerate() {
            if self.0[index + 1..].iter().any(|later| later.prefix == declaration.prefix) {
                continue;
            }
            let colon = if declaration.prefix.is_empty() { "" } else { ":" };
            let value = xml::escape(&declaration.namespace);
            out.push_str(&format!(" xmlns{colon}{}=\"{value}\"", declaration.prefix));
        }
        out
    }
}

/// Where a text is grown.
pub(crate) struct Soil {
    /// Namespaces in force around the text.
    pub(crate) scope: Scope,
    /// Levels above the text.
    pub(crate) depth: u32,
    /// The version whose elements are of CAEX; `None`: the root element tells.
    pub(crate) version: Option<Version>,
    /// Below an `AdditionalInformation` everything is free.
    pub(crate) free: bool,
}

/// What grew: one element, and the pieces around it.
pub(crate) struct Grown {
    pub(crate) root: NodeId,
    pub(crate) epilog: Span,
    pub(crate) version: Option<Version>,
    pub(crate) elements: u32,
}

/// Why nothing grew.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Barren {
    Fault(Fault),
    Limit(LimitExceeded),
}

impl From<Fault> for Barren {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<LimitExceeded> for Barren {
    fn from(limit: LimitExceeded) -> Self {
        Self::Limit(limit)
    }
}

/// Appends the elements of buffer number `buffer` to the arena, with their hashes, attached to nothing.
///
/// On error the arena may hold more nodes than before; the caller truncates it.
pub(crate) fn grow(tree: &mut Tree, buffer: u32, soil: Soil, limits: &Limits) -> Result<Grown, Barren> {
    let text = Arc::clone(&tree.buffers[buffer as usize]);
    let mut scanner = Scanner::new(&text);
    let mut gardener = Gardener {
        tree,
        text: &text,
        buffer,
        limits,
        soil,
        open: Vec::new(),
        last_end: 0,
        root: None,
        elements: 0,
        preimage: Preimage::default(),
    };
    while let Some(tag) = scanner.next_tag()? {
        match tag {
            Tag::Start { range, empty } => {
                gardener.start(range.start, range.end)?;
                if empty {
                    gardener.finish(range.end, range.end)?;
                }
            }
            Tag::End { range } => gardener.finish(range.start, range.end)?,
        }
    }
    gardener.harvest()
}

struct Gardener<'a> {
    tree: &'a mut Tree,
    text: &'a str,
    buffer: u32,
    limits: &'a Limits,
    soil: Soil,
    /// The elements that are open, outermost first.
    open: Vec<NodeId>,
    /// Where the last tag ended.
    last_end: usize,
    root: Option<NodeId>,
    elements: u32,
    preimage: Preimage,
}

impl Gardener<'_> {
    fn start(&mut self, start: usize, end: usize) -> Result<(), Barren> {
        if self.open.is_empty() && self.root.is_some() {
            return Err(Fault::NotOneRoot(start).into());
        }
        let head = &self.text[start..end];
        self.enter(head)?;
        let parent = self.open.last().copied();
        let kind = self.kind(head, parent);
        let id = NodeId::from_index(self.tree.nodes.len());
        let prev = parent.and_then(|parent| self.tree.node(parent).last);
        self.tree.nodes.push(Node {
            kind,
            parent,
            first: None,
            last: None,
            prev,
            next: None,
            gap: Span::new(self.buffer, self.last_end, start),
            head: Span::new(self.buffer, start, end),
            tail: Span::default(),
            end: Span::default(),
            hash: SubtreeHash::UNSET,
        });
        if let Some(prev) = prev {
            self.tree.node_mut(prev).next = Some(id);
        }
        if let Some(parent) = parent {
            let parent = self.tree.node_mut(parent);
            parent.first = parent.first.or(Some(id));
            parent.last = Some(id);
        }
        self.open.push(id);
        self.root = self.root.or(Some(id));
        self.last_end = end;
        Ok(())
    }

    /// The level of the innermost open element; the next one to open stands one deeper.
    fn depth(&self) -> u32 {
        self.soil.depth.saturating_add(u32::try_from(self.open.len()).unwrap_or(u32::MAX))
    }

    /// Checks the limits that a start tag can exceed, and takes its namespaces into scope.
    fn enter(&mut self, head: &str) -> Result<(), LimitExceeded> {
        let depth = self.depth().saturating_add(1);
        LimitExceeded::unless(depth.into(), self.limits.depth.into(), Limit::Depth)?;
        self.elements += 1;
        LimitExceeded::unless(self.elements.into(), self.limits.elements.into(), Limit::Elements)?;
        let attributes = self.soil.scope.declare(head, depth);
        LimitExceeded::unless(attributes, self.limits.attributes.into(), Limit::Attributes)?;
        let namespaces = self.soil.scope.0.len() as u64;
        LimitExceeded::unless(namespaces, self.limits.namespaces.into(), Limit::Namespaces)
    }

    /// The kind of the element below `parent` that starts with `head`.
    fn kind(&mut self, head: &str, parent: Option<NodeId>) -> Kind {
        let free = parent.map_or(self.soil.free, |parent| is_free(self.tree.node(parent).kind));
        let (prefix, local) = xml::split_name(xml::tag_name(head));
        let version = self.soil.scope.resolve(prefix).and_then(Version::of_namespace);
        if parent.is_none() {
            self.soil.version = self.soil.version.or(version);
        }
        if free || version.is_none() || version != self.soil.version {
            Kind::Other
        } else {
            Kind::of_tag(local)
        }
    }

    /// Ends the innermost open element with the end tag `start..end`, which is empty if the start tag closed itself.
    fn finish(&mut self, start: usize, end: usize) -> Result<(), Barren> {
        self.soil.scope.leave(self.depth());
        let id = self.open.pop().ok_or(Fault::Unopened(start))?;
        let node = self.tree.node_mut(id);
        node.tail = Span::new(self.buffer, self.last_end, start);
        node.end = Span::new(self.buffer, start, end);
        self.tree.node_mut(id).hash = self.tree.compute_hash(id, &mut self.preimage);
        self.last_end = end;
        Ok(())
    }

    fn harvest(self) -> Result<Grown, Barren> {
        if let Some(open) = self.open.last() {
            return Err(Fault::Unclosed(self.tree.node(*open).head.start as usize).into());
        }
        let root = self.root.ok_or(Fault::NotOneRoot(0))?;
        let epilog = Span::new(self.buffer, self.last_end, self.text.len());
        Ok(Grown { root, epilog, version: self.soil.version, elements: self.elements })
    }
}

/// True if what stands below an element of this kind is not for CAEX to judge.
pub(crate) fn is_free(kind: Kind) -> bool {
    matches!(kind, Kind::AdditionalInformation | Kind::Other)
}
