//! Edits under way: two primitive steps on the arena, what takes them back, and the log to undo all if one is refused.
//!
//! - [`Transaction::fill`] puts other content between two children of an element;
//! - [`Transaction::retag`] gives an element other tags.
//!
//! Everything that an edit does to a document is done by these two, so that they are the only ones that have to keep index, hashes
//! and counts, and the only ones that have to know their inverse.

use super::error::EditError;
use super::model::{Edit, RemovePolicy};
use super::patch::Patch;
use super::region::Region;
use crate::address;
use crate::arena::grow::Seedling;
use crate::arena::hash::SubtreeHash;
use crate::arena::index;
use crate::arena::postings::Posting;
use crate::arena::tree::{Node, NodeId, Span, Tree};
use crate::caex::reference;
use crate::document::Document;
use crate::kind::Version;
use crate::limits::{Limit, LimitExceeded};
use crate::xml::Shape;

/// How strictly edits are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rules {
    /// What an edit brings MUST keep the rules of CAEX.
    Strict,
    /// What comes of the edits is known to be wanted: whatever is well-formed may come.
    WellFormed,
}

/// Edits under way. MUST be ended by [`Transaction::commit`] or [`Transaction::roll_back`].
pub(crate) struct Transaction<'d> {
    pub(crate) document: &'d mut Document,
    pub(crate) rules: Rules,
    /// What takes back what was done, oldest first, if somebody wants to know.
    undo: Option<Vec<Edit>>,
    /// The nodes as they were before they were changed, oldest first.
    saved: Vec<(NodeId, Node)>,
    /// What was done to the index, oldest first.
    indexed: Vec<(Indexed, Posting)>,
    before: Before,
}

#[derive(Clone, Copy)]
enum Indexed {
    Added,
    Removed,
}

/// What was there at the beginning, nodes apart.
#[derive(Clone, Copy)]
struct Before {
    root: NodeId,
    version: Version,
    epilog: Span,
    hash: SubtreeHash,
    nodes: usize,
    buffers: usize,
    bytes: u64,
    held: u64,
    elements: u32,
}

impl<'d> Transaction<'d> {
    pub(crate) fn new(document: &'d mut Document, rules: Rules) -> Self {
        let tree = &document.tree;
        let before = Before {
            root: tree.root,
            version: tree.version,
            epilog: tree.epilog,
            hash: document.root_hash,
            nodes: tree.nodes.len(),
            buffers: tree.buffers.len(),
            bytes: tree.bytes,
            held: tree.held,
            elements: tree.elements,
        };
        let (undo, saved, indexed) = (Some(Vec::new()), Vec::new(), Vec::new());
        Self { document, rules, undo, saved, indexed, before }
    }

    /// For edits that nobody will take back.
    pub(crate) fn without_undo(self) -> Self {
        Self { undo: None, ..self }
    }

    /// Whether anybody wants to know how to take back what is done.
    pub(super) fn remembers(&self) -> bool {
        self.undo.is_some()
    }

    /// Takes note of what takes back what was just done.
    pub(super) fn remember(&mut self, undo: Edit) {
        self.undo.get_or_insert_default().push(undo);
    }

    /// The hash of the document as it would be if this were all.
    pub(crate) fn root_hash(&self) -> SubtreeHash {
        self.document.tree.document_hash()
    }

    /// Makes everything that was done hold; returns what takes it back.
    pub(crate) fn commit(self) -> Patch {
        let Self { document, undo, before, .. } = self;
        document.root_hash = document.tree.document_hash();
        document.compact_if_worthwhile();
        let edits = undo.into_iter().flatten().rev().collect();
        Patch { from: document.root_hash, to: before.hash, edits }
    }

    /// Takes everything back.
    pub(crate) fn roll_back(self) {
        let Document { tree, index, .. } = self.document;
        for (done, posting) in self.indexed.into_iter().rev() {
            match done {
                Indexed::Added => index.remove(&posting),
                Indexed::Removed => index.insert(posting),
            }
        }
        for (id, node) in self.saved.into_iter().rev() {
            *tree.node_mut(id) = node;
            tree.forget_runs(id);
        }
        let Before { root, version, epilog, hash: _, nodes, buffers, bytes, held, elements } = self.before;
        tree.nodes.truncate(nodes);
        tree.buffers.truncate(buffers);
        (tree.root, tree.version, tree.epilog) = (root, version, epilog);
        (tree.bytes, tree.held, tree.elements) = (bytes, held, elements);
    }

    pub(crate) fn tree(&self) -> &Tree {
        &self.document.tree
    }

    pub(crate) fn is_strict(&self) -> bool {
        self.rules == Rules::Strict
    }

    pub(crate) fn find(&self, address: &str) -> Result<NodeId, EditError> {
        address::find(self.document, address)
            .map_err(|cause| EditError::Find { address: address.to_owned(), cause })
    }

    pub(crate) fn address(&self, node: NodeId) -> Result<String, EditError> {
        address::address_of(self.document, node).ok_or(EditError::Unaddressable)
    }

    /// Grows a text beside the document, in the scope of `parent`; `None`: as its root.
    pub(crate) fn grow(
        &mut self,
        text: &str,
        shape: Shape,
        parent: Option<NodeId>,
    ) -> Result<Seedling, EditError> {
        let limits = self.document.limits;
        let grown = self.document.tree.grow_in(text, shape, parent, &limits);
        grown.map_err(|refusal| EditError::of(text, refusal))
    }

    /// Puts `nodes`, each behind a gap, and then `closing` in the place of everything in `region`.
    ///
    /// The former nodes are detached, but stay what they are, so that they can be put elsewhere.
    pub(crate) fn fill(
        &mut self,
        region: Region,
        nodes: &[(NodeId, Span)],
        closing: Span,
    ) -> Result<(), EditError> {
        let former = self.remembers().then(|| region.text(self.tree()));
        self.refill(region, nodes, closing)?;
        if let Some(content) = former {
            let undo = self.splice_of(region, content)?;
            self.remember(undo);
        }
        Ok(())
    }

    /// The edit that puts `content` in a region, as it is addressed now, whatever refers to what.
    pub(super) fn splice_of(&self, region: Region, content: String) -> Result<Edit, EditError> {
        let anchor = |node: Option<NodeId>| node.map(|node| self.address(node)).transpose();
        let (parent, policy) = (self.address(region.parent)?, RemovePolicy::OpenLinks);
        let (after, before) = (anchor(region.prev)?, anchor(region.next)?);
        Ok(Edit::Splice { parent, after, before, content, policy })
    }

    /// The same without its inverse.
    pub(crate) fn refill(
        &mut self,
        region: Region,
        nodes: &[(NodeId, Span)],
        closing: Span,
    ) -> Result<(), EditError> {
        let Region { parent, prev, next } = region;
        let former: Vec<NodeId> = region.nodes(self.tree()).collect();
        let is_same_closing = region.closing(self.tree()) == closing;
        let is_value = reference::holds_value(self.tree().node(parent).kind);
        if is_value {
            self.unindex(parent);
        }
        for node in former {
            self.count(node, Indexed::Removed);
            self.unindex_all(node);
            self.change(node, |node| (node.parent, node.prev, node.next) = (None, None, None));
        }
        let mut left = prev;
        for (node, gap) in nodes {
            self.change(*node, |node| (node.parent, node.gap) = (Some(parent), *gap));
            self.link(parent, left, Some(*node));
            left = Some(*node);
        }
        self.link(parent, left, next);
        match next {
            Some(next) => self.change_counted(next, |node| node.gap = closing),
            None => self.change_counted(parent, |node| node.tail = closing),
        }
        for (node, _) in nodes {
            self.count(*node, Indexed::Added);
            self.index_all(*node);
        }
        if is_value {
            self.index(parent);
        }
        self.check_size()?;
        let right =
            next.and_then(|next| if is_same_closing { Some(next) } else { self.tree().node(next).next });
        self.rehash_from(parent, prev, right);
        Ok(())
    }

    /// Makes `fresh`, which has grown beside the document, its root element.
    pub(super) fn exchange_root(&mut self, fresh: NodeId, version: Option<Version>) -> Result<(), EditError> {
        let former = self.tree().root;
        let gap = self.tree().node(former).gap;
        self.count(former, Indexed::Removed);
        self.unindex_all(former);
        self.document.tree.root = fresh;
        self.document.tree.version = version.ok_or(EditError::Root)?;
        self.change(fresh, |node| node.gap = gap);
        self.count(fresh, Indexed::Added);
        self.index_all(fresh);
        self.check_size()
    }

    pub(super) fn check_size(&self) -> Result<(), EditError> {
        let (tree, limits) = (self.tree(), self.document.limits);
        LimitExceeded::unless(tree.elements.into(), limits.elements.into(), Limit::Elements)?;
        Ok(limits.check_bytes(tree.bytes)?)
    }

    pub(super) fn index(&mut self, node: NodeId) {
        let Document { tree, index, .. } = &mut *self.document;
        index::each_key(tree, node, &mut |key| {
            index.insert((key, node));
            self.indexed.push((Indexed::Added, (key, node)));
        });
    }

    pub(super) fn unindex(&mut self, node: NodeId) {
        let Document { tree, index, .. } = &mut *self.document;
        index::each_key(tree, node, &mut |key| {
            index.remove(&(key, node));
            self.indexed.push((Indexed::Removed, (key, node)));
        });
    }

    pub(super) fn index_all(&mut self, top: NodeId) {
        self.each_within(top, Self::index);
    }

    pub(super) fn unindex_all(&mut self, top: NodeId) {
        self.each_within(top, Self::unindex);
    }

    fn each_within(&mut self, top: NodeId, act: impl Fn(&mut Self, NodeId)) {
        let nodes: Vec<NodeId> = self.tree().preorder(top).collect();
        nodes.into_iter().for_each(|node| act(self, node));
    }

    /// Counts the bytes and elements of a subtree in or out.
    fn count(&mut self, top: NodeId, what: Indexed) {
        let tree = &mut self.document.tree;
        let sizes = tree.preorder(top).map(|node| tree.node(node).own_bytes());
        let (bytes, elements) = sizes.fold((0, 0_u32), |(bytes, elements), own| (bytes + own, elements + 1));
        match what {
            Indexed::Added => {
                tree.bytes += bytes;
                tree.elements = tree.elements.saturating_add(elements);
            }
            Indexed::Removed => {
                tree.bytes -= bytes;
                tree.elements -= elements;
            }
        }
    }

    /// Changes a node, remembering what it was.
    pub(super) fn change(&mut self, id: NodeId, change: impl FnOnce(&mut Node)) {
        let node = self.document.tree.node_mut(id);
        self.saved.push((id, *node));
        change(node);
    }

    /// Changes a node that is counted, and keeps count.
    pub(super) fn change_counted(&mut self, id: NodeId, change: impl FnOnce(&mut Node)) {
        let former = self.tree().node(id).own_bytes();
        self.change(id, change);
        let bytes = self.tree().node(id).own_bytes();
        self.document.tree.bytes = self.document.tree.bytes - former + bytes;
    }

    /// Makes two nodes neighbours; none means the end of the parent's list.
    fn link(&mut self, parent: NodeId, left: Option<NodeId>, right: Option<NodeId>) {
        match left {
            Some(left) => self.change(left, |node| node.next = right),
            None => self.change(parent, |node| node.first = right),
        }
        match right {
            Some(right) => self.change(right, |node| node.prev = left),
            None => self.change(parent, |node| node.last = left),
        }
    }

    /// Hashes an element, whose children changed between `left` and `right`, and its ancestors anew.
    pub(super) fn rehash_from(&mut self, node: NodeId, left: Option<NodeId>, right: Option<NodeId>) {
        let (mut left, mut right) = (left, right);
        let mut next = Some(node);
        while let Some(ancestor) = next {
            let renewal = self.document.tree.renewal(ancestor, left, right);
            self.change(ancestor, |node| node.renew(renewal));
            let node = self.tree().node(ancestor);
            (left, right, next) = (node.prev, node.next, node.parent);
        }
    }
}
