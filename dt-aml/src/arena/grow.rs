//! Grows nodes from a text: a whole document, or a fragment in the scope of its parent.

use super::hash::SubtreeHash;
use super::index;
use super::pages::PagesBuilder;
use super::postings::Posting;
use super::tree::{Node, NodeId, Span, Tree};
use crate::caex::reference;
use crate::kind::{Kind, Version};
use crate::limits::Limits;
use crate::xml::{Fault, Reader, Refusal, Scope, Shape, Tag, XmlFault};

/// Where a text is grown.
pub(crate) struct Soil {
    /// What the text has to be.
    pub(crate) shape: Shape,
    /// Namespaces in force around it.
    pub(crate) scope: Scope,
    /// Levels above it.
    pub(crate) depth: u32,
    /// The version whose elements are of CAEX; `None`: the root element tells.
    pub(crate) version: Option<Version>,
    /// Below an `AdditionalInformation` everything is free.
    pub(crate) free: bool,
    /// The number of the buffer that holds the text.
    pub(crate) buffer: u32,
    /// The number of the first node that grows.
    pub(crate) first: usize,
}

impl Soil {
    /// Where nothing stands around a text.
    pub(crate) fn bare(shape: Shape) -> Self {
        Self { shape, scope: Scope::default(), depth: 0, version: None, free: false, buffer: 0, first: 0 }
    }
}

/// What grew.
pub(crate) struct Grown {
    /// The nodes, in document order; the first has the number that the soil asked for.
    pub(crate) nodes: PagesBuilder<Node>,
    /// Those that have no parent among them.
    pub(crate) roots: Vec<NodeId>,
    /// What stands behind the last root; what stands before a root is its gap.
    pub(crate) epilog: Span,
    pub(crate) version: Option<Version>,
    /// What the elements are looked up by, as far as their attributes tell.
    pub(crate) keys: Vec<Posting>,
    /// The elements that may have keys besides.
    pub(crate) keyed_in_context: Vec<NodeId>,
}

/// Nodes for the elements of `text`, without hashes, attached to nothing.
pub(crate) fn grow(text: &str, soil: Soil, limits: &Limits) -> Result<Grown, Refusal> {
    let mut reader = Reader::new(text, soil.shape, soil.scope, soil.depth, limits)?;
    let mut gardener = Gardener {
        text,
        buffer: soil.buffer,
        first: soil.first,
        version: soil.version,
        free: soil.free,
        nodes: PagesBuilder::new(),
        open: Vec::new(),
        last_end: 0,
        roots: Vec::new(),
        keys: Vec::new(),
        keyed_in_context: Vec::new(),
    };
    while let Some(tag) = reader.next_tag()? {
        match tag {
            Tag::Start { range, local, version, empty } => {
                gardener.start(range.start, range.end, local, version, reader.attributes());
                if empty {
                    gardener.finish(range.end, range.end)?;
                }
            }
            Tag::End { range } => gardener.finish(range.start, range.end)?,
        }
    }
    Ok(gardener.harvest())
}

struct Gardener<'a> {
    text: &'a str,
    buffer: u32,
    first: usize,
    version: Option<Version>,
    free: bool,
    nodes: PagesBuilder<Node>,
    /// The elements that are open, outermost first.
    open: Vec<NodeId>,
    /// Where the last tag ended.
    last_end: usize,
    roots: Vec<NodeId>,
    keys: Vec<Posting>,
    keyed_in_context: Vec<NodeId>,
}

impl Gardener<'_> {
    fn node_mut(&mut self, id: NodeId) -> &mut Node {
        self.nodes.get_mut(id.index() - self.first)
    }

    fn start<'t>(
        &mut self,
        start: usize,
        end: usize,
        local: &str,
        version: Option<Version>,
        attributes: impl Iterator<Item = (&'t str, &'t str)>,
    ) {
        let parent = self.open.last().copied();
        let kind = self.kind(local, version, parent);
        let id = NodeId::from_index(self.first + self.nodes.len());
        let prev = parent.and_then(|parent| self.node_mut(parent).last.replace(id));
        self.nodes.push(Node {
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
            bytes: 0,
            is_whole: true,
            hash: SubtreeHash::UNSET,
        });
        match (prev, parent) {
            (Some(prev), _) => self.node_mut(prev).next = Some(id),
            (None, Some(parent)) => self.node_mut(parent).first = Some(id),
            (None, None) => self.roots.push(id),
        }
        index::attribute_keys(kind, parent, attributes, &mut |key| self.keys.push((key, id)));
        if self.needs_context(kind, parent) {
            self.keyed_in_context.push(id);
        }
        self.open.push(id);
        self.last_end = end;
    }

    /// The kind of the element below `parent` with this name in the namespace of this version.
    fn kind(&mut self, local: &str, version: Option<Version>, parent: Option<NodeId>) -> Kind {
        let free = match parent {
            Some(parent) => is_free(self.node_mut(parent).kind),
            None => self.free,
        };
        if parent.is_none() {
            self.version = self.version.or(version);
        }
        if free || version.is_none() || version != self.version { Kind::Other } else { Kind::of_tag(local) }
    }

    /// Whether an element has keys that do not follow from its attributes alone. There is a value in nearly each attribute, and nearly
    /// none is a reference.
    fn needs_context(&mut self, kind: Kind, parent: Option<NodeId>) -> bool {
        match parent {
            Some(parent) if reference::holds_value(kind) => {
                let Span { start, end, .. } = self.node_mut(parent).head;
                self.text[start as usize..end as usize].contains("IDREF")
            }
            _ => index::needs_context(kind),
        }
    }

    /// Ends the innermost open element with the end tag `start..end`, which is empty if the start tag closed itself.
    fn finish(&mut self, start: usize, end: usize) -> Result<(), Fault> {
        let id = self.open.pop().ok_or(Fault::at(start, XmlFault::Unopened))?;
        let (buffer, tail) = (self.buffer, self.last_end);
        let node = self.node_mut(id);
        node.tail = Span::new(buffer, tail, start);
        node.end = Span::new(buffer, start, end);
        node.bytes = node.end.end - node.head.start;
        self.last_end = end;
        Ok(())
    }

    fn harvest(self) -> Grown {
        let epilog = Span::new(self.buffer, self.last_end, self.text.len());
        let Self { nodes, roots, version, keys, keyed_in_context, .. } = self;
        Grown { nodes, roots, epilog, version, keys, keyed_in_context }
    }
}

/// What grew beside a document, attached to nothing yet.
#[derive(Clone, Debug)]
pub(crate) struct Seedling {
    /// The elements at the top, in order, each with what stands before it as its gap.
    pub(crate) roots: Vec<NodeId>,
    /// What stands behind the last of them.
    pub(crate) epilog: Span,
    /// The version of CAEX that the first of them is in the namespace of.
    pub(crate) version: Option<Version>,
}

impl Tree {
    /// Grows `text` beside the document, in the scope of `parent`; `None`: as a root element.
    pub(crate) fn grow_in(
        &mut self,
        text: &str,
        shape: Shape,
        parent: Option<NodeId>,
        limits: &Limits,
    ) -> Result<Seedling, Refusal> {
        let depth = parent.map_or(0, |parent| self.ancestors(parent).count());
        let soil = Soil {
            shape,
            scope: parent.map_or_else(Scope::default, |parent| Scope::inside(self, parent)),
            depth: u32::try_from(depth).unwrap_or(u32::MAX),
            version: parent.map(|_| self.version),
            free: parent.is_some_and(|parent| is_free(self.node(parent).kind)),
            buffer: u32::try_from(self.buffers.len()).unwrap_or(u32::MAX),
            first: self.nodes.len(),
        };
        let grown = grow(text, soil, limits)?;
        self.add_buffer(text);
        grown.nodes.into_items().for_each(|node| self.nodes.push(node));
        grown.roots.iter().for_each(|root| self.hash_grown(*root));
        Ok(Seedling { roots: grown.roots, epilog: grown.epilog, version: grown.version })
    }
}

/// The element with these bytes, in the scope of these namespaces and free of the rules of CAEX, as a tree of its own.
pub(crate) fn grow_element(source: &str, scope: Scope, limits: &Limits) -> Result<Tree, Refusal> {
    let soil = Soil { scope, free: true, ..Soil::bare(Shape::Element) };
    let mut tree = Tree::of(source, grow(source, soil, limits)?);
    tree.hash_grown(tree.root);
    Ok(tree)
}

/// True if what stands below an element of this kind is not for CAEX to judge.
pub(crate) fn is_free(kind: Kind) -> bool {
    matches!(kind, Kind::AdditionalInformation | Kind::Other)
}
