//! The arena: elements as nodes whose text is spans into shared, immutable buffers.
//!
//! ```text
//!   gap      head        gap    child  gap    child  tail   end
//! ┌──────┬────────────┬───────┬──────┬───────┬─────┬──────┬──────┐
//! │ "\n " │ <Element …> │ "\n  " │ …    │ "\n  " │ …   │ "\n " │ </…> │
//! └──────┴────────────┴───────┴──────┴───────┴─────┴──────┴──────┘
//! ```
//!
//! # Invariants
//!
//! - Every byte of a document MUST belong to exactly one span: the pieces in document order are the document.
//! - Spans MUST be cut where the scanner would cut them, so that the tree of an edited document and the tree of its
//!   bytes parsed anew have equal pieces, and hence equal hashes.
//! - A node's length and its hash, if it has one, MUST be those of its present pieces, and what is said to be whole MUST be:
//!   after a change all elements around it are renewed.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::sync::Arc;

use super::hash::SubtreeHash;
use super::pages::Pages;
use super::rehash::{Renewal, Runs};
use crate::kind::{Kind, Version};

/// A node's place in the arena.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct NodeId(NonZeroU32);

impl NodeId {
    /// The least ID.
    pub(crate) const FIRST: Self = Self(NonZeroU32::MIN);

    /// The ID of the node that is pushed as number `index`; the element limit keeps it in range.
    pub(crate) fn from_index(index: usize) -> Self {
        let number = u32::try_from(index).unwrap_or(u32::MAX - 1);
        Self(NonZeroU32::MIN.saturating_add(number))
    }

    pub(crate) fn index(self) -> usize {
        self.0.get() as usize - 1
    }
}

/// A piece of text in one of the buffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct Span {
    pub(crate) buffer: u32,
    pub(crate) start: u32,
    pub(crate) end: u32,
}

impl Span {
    /// The bytes `start..end` of `buffer`. Buffers are at most `u32::MAX` bytes long.
    pub(crate) fn new(buffer: u32, start: usize, end: usize) -> Self {
        let narrow = |offset: usize| u32::try_from(offset).unwrap_or(u32::MAX);
        Self { buffer, start: narrow(start), end: narrow(end) }
    }

    pub(crate) fn len(self) -> u64 {
        u64::from(self.end - self.start)
    }

    pub(crate) fn is_empty(self) -> bool {
        self.start == self.end
    }

    /// The last `length` bytes.
    pub(crate) fn suffix(self, length: usize) -> Self {
        let length = u32::try_from(length).unwrap_or(u32::MAX).min(self.end - self.start);
        Self { start: self.end - length, ..self }
    }
}

/// An element.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Node {
    pub(crate) kind: Kind,
    pub(crate) parent: Option<NodeId>,
    pub(crate) first: Option<NodeId>,
    pub(crate) last: Option<NodeId>,
    pub(crate) prev: Option<NodeId>,
    pub(crate) next: Option<NodeId>,
    /// What stands before the start tag: white space, comments, text.
    pub(crate) gap: Span,
    /// The start tag.
    pub(crate) head: Span,
    /// What stands before the end tag, after the last child.
    pub(crate) tail: Span,
    /// The end tag; empty if the start tag closes itself.
    pub(crate) end: Span,
    /// The length of the element, from its start tag to its end tag.
    pub(crate) bytes: u32,
    /// The element lies in one buffer from its start tag to its end tag, as it grew.
    pub(crate) is_whole: bool,
    /// Its hash, if it was needed so far.
    pub(crate) hash: SubtreeHash,
}

impl Node {
    /// Bytes that are the node's own, its children's apart.
    pub(crate) fn own_bytes(&self) -> u64 {
        self.gap.len() + self.head.len() + self.tail.len() + self.end.len()
    }

    /// Takes over what is known of the element after a change in it.
    pub(crate) fn renew(&mut self, Renewal { bytes, hash }: Renewal) {
        self.bytes = bytes;
        self.hash = hash;
        self.is_whole = false;
    }

    /// The whole element, if it is of one piece.
    pub(crate) fn whole(&self) -> Option<Span> {
        self.is_whole.then_some(Span { end: self.head.start + self.bytes, ..self.head })
    }
}

/// All nodes of a document, attached or not, and the buffers they point into. A clone shares them until it changes.
#[derive(Clone, Debug)]
pub(crate) struct Tree {
    pub(crate) buffers: Pages<Arc<str>>,
    pub(crate) nodes: Pages<Node>,
    /// The runs among the children of elements that have many; one that is missing is found again.
    pub(crate) runs: Arc<BTreeMap<NodeId, Arc<Runs>>>,
    pub(crate) root: NodeId,
    pub(crate) version: Version,
    /// What stands after the root element. What stands before it is the root's gap.
    pub(crate) epilog: Span,
    /// Bytes of the document.
    pub(crate) bytes: u64,
    /// Bytes of all buffers, also of those that nothing points into any more.
    pub(crate) held: u64,
    /// Elements of the document; `nodes` also holds those that were removed.
    pub(crate) elements: u32,
}

impl Tree {
    pub(crate) fn node(&self, id: NodeId) -> &Node {
        self.nodes.get(id.index())
    }

    pub(crate) fn node_mut(&mut self, id: NodeId) -> &mut Node {
        self.nodes.get_mut(id.index())
    }

    pub(crate) fn remember_runs(&mut self, parent: NodeId, runs: Arc<Runs>) {
        Arc::make_mut(&mut self.runs).insert(parent, runs);
    }

    pub(crate) fn runs_mut(&mut self, parent: NodeId) -> &mut Runs {
        Arc::make_mut(Arc::make_mut(&mut self.runs).entry(parent).or_default())
    }

    /// Forgets the runs of an element, which costs the next edit in it a walk over its children.
    pub(crate) fn forget_runs(&mut self, parent: NodeId) {
        if self.runs.contains_key(&parent) {
            Arc::make_mut(&mut self.runs).remove(&parent);
        }
    }

    pub(crate) fn text(&self, span: Span) -> &str {
        &self.buffers.get(span.buffer as usize)[span.start as usize..span.end as usize]
    }

    pub(crate) fn head(&self, id: NodeId) -> &str {
        self.text(self.node(id).head)
    }

    /// Adds a buffer that holds `text` and returns the span of all of it.
    pub(crate) fn add_buffer(&mut self, text: &str) -> Span {
        let number = u32::try_from(self.buffers.len()).unwrap_or(u32::MAX);
        self.buffers.push(Arc::from(text));
        self.held += text.len() as u64;
        Span::new(number, 0, text.len())
    }

    /// Two pieces as one; copies only if neither is empty.
    pub(crate) fn join(&mut self, left: Span, right: Span) -> Span {
        if left.is_empty() {
            right
        } else if right.is_empty() {
            left
        } else {
            let text = [self.text(left), self.text(right)].concat();
            self.add_buffer(&text)
        }
    }

    pub(crate) fn children(&self, id: NodeId) -> Siblings<'_> {
        Siblings { tree: self, next: self.node(id).first }
    }

    /// `id`, its parent, and so on up to the root element.
    pub(crate) fn ancestors(&self, id: NodeId) -> Ancestors<'_> {
        Ancestors { tree: self, next: Some(id) }
    }

    /// Enters and leaves every element of the subtree, in document order.
    pub(crate) fn walk(&self, top: NodeId) -> Walk<'_> {
        Walk { tree: self, top, next: Some(Visit::Enter(top)) }
    }

    /// What is visited behind `id` in the subtree of `top`.
    pub(crate) fn behind(&self, id: NodeId, top: NodeId) -> Option<Visit> {
        let node = self.node(id);
        node.next.map(Visit::Enter).or(node.parent.map(Visit::Leave)).filter(|_| id != top)
    }

    /// The elements of the subtree, in document order.
    pub(crate) fn preorder(&self, top: NodeId) -> impl Iterator<Item = NodeId> + '_ {
        self.walk(top).filter_map(|visit| match visit {
            Visit::Enter(id) => Some(id),
            Visit::Leave(_) => None,
        })
    }

    /// The pieces of an element in document order, without the gap before it. What is whole comes as one piece.
    pub(crate) fn pieces(&self, top: NodeId) -> impl Iterator<Item = Span> + '_ {
        let mut walk = self.walk(top);
        let visits = std::iter::from_fn(move || {
            Some(match walk.next()? {
                Visit::Enter(id) => {
                    let node = self.node(id);
                    let gap = if id == top { Span::default() } else { node.gap };
                    let whole = node.whole().inspect(|_| walk.leave(id));
                    [gap, whole.unwrap_or(node.head)]
                }
                Visit::Leave(id) => [self.node(id).tail, self.node(id).end],
            })
        });
        visits.flatten()
    }

    /// Nodes in document order, which their numbers do not tell. Walks over the children of all elements around them.
    pub(crate) fn in_document_order(&self, nodes: &BTreeSet<NodeId>) -> Vec<NodeId> {
        if nodes.len() < 2 {
            return nodes.iter().copied().collect();
        }
        let mut around = BTreeSet::new();
        for node in nodes {
            // What stands around an element that was seen before was seen then.
            self.ancestors(*node).take_while(|ancestor| around.insert(*ancestor)).for_each(drop);
        }
        let mut ordered = Vec::with_capacity(nodes.len());
        let mut next = Some(self.root);
        while let Some(node) = next {
            if nodes.contains(&node) {
                ordered.push(node);
            }
            let inner = self.node(node).first.filter(|_| around.contains(&node));
            next = inner.or_else(|| self.ancestors(node).find_map(|ancestor| self.node(ancestor).next));
        }
        ordered
    }

    /// The bytes of an element.
    pub(crate) fn source(&self, id: NodeId) -> Cow<'_, str> {
        let node = self.node(id);
        if let Some(whole) = node.whole() {
            return Cow::Borrowed(self.text(whole));
        }
        let mut source = String::with_capacity(node.bytes as usize);
        self.pieces(id).for_each(|piece| source.push_str(self.text(piece)));
        Cow::Owned(source)
    }

    /// True if `id` is `top` or stands below it.
    pub(crate) fn is_within(&self, id: NodeId, top: NodeId) -> bool {
        self.ancestors(id).any(|ancestor| ancestor == top)
    }
}

/// Iterator of [`Tree::children`].
pub(crate) struct Siblings<'t> {
    tree: &'t Tree,
    next: Option<NodeId>,
}

impl Iterator for Siblings<'_> {
    type Item = NodeId;

    fn next(&mut self) -> Option<NodeId> {
        let id = self.next?;
        self.next = self.tree.node(id).next;
        Some(id)
    }
}

/// Iterator of [`Tree::ancestors`].
pub(crate) struct Ancestors<'t> {
    tree: &'t Tree,
    next: Option<NodeId>,
}

impl Iterator for Ancestors<'_> {
    type Item = NodeId;

    fn next(&mut self) -> Option<NodeId> {
        let id = self.next?;
        self.next = self.tree.node(id).parent;
        Some(id)
    }
}

/// A step of [`Tree::walk`].
#[derive(Clone, Copy, Debug)]
pub(crate) enum Visit {
    Enter(NodeId),
    Leave(NodeId),
}

/// Iterator of [`Tree::walk`]: follows the links, so depth costs no memory.
pub(crate) struct Walk<'t> {
    tree: &'t Tree,
    top: NodeId,
    next: Option<Visit>,
}

impl Walk<'_> {
    /// Goes on behind `id`, without what is left of it.
    fn leave(&mut self, id: NodeId) {
        self.next = self.tree.behind(id, self.top);
    }
}

impl Iterator for Walk<'_> {
    type Item = Visit;

    fn next(&mut self) -> Option<Visit> {
        let visit = self.next?;
        match visit {
            Visit::Enter(id) => {
                self.next = Some(self.tree.node(id).first.map_or(Visit::Leave(id), Visit::Enter));
            }
            Visit::Leave(id) => self.leave(id),
        }
        Some(visit)
    }
}
