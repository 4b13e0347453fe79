//! Carries edits out on the arena, and takes them back if a later one is refused.

use std::collections::BTreeMap;

use crate::address;
use crate::check;
use crate::document::Document;
use crate::edit::{Change, Edit, EditError, MAX_REPORTED, Reference, RemovePolicy};
use crate::grow::Seedling;
use crate::index;
use crate::key::Key;
use crate::kind::Kind;
use crate::limits::{Limit, LimitExceeded, Position};
use crate::place::{self, Lone, Place};
use crate::schema;
use crate::tree::{Node, NodeId, Span, Tree};
use crate::xml::{self, WHITE};
use crate::xml::{Refusal, Shape, XmlFault};

/// Edits under way. MUST be ended by [`Transaction::commit`] or [`Transaction::roll_back`].
pub(crate) struct Transaction<'d> {
    document: &'d mut Document,
    /// The nodes as they were before they were changed, oldest first.
    saved: Vec<(NodeId, Node)>,
    /// What was done to the index, oldest first.
    indexed: Vec<(Indexed, NodeId)>,
    before: Sizes,
}

#[derive(Clone, Copy)]
enum Indexed {
    Added,
    Removed,
}

/// What was there at the beginning.
#[derive(Clone, Copy)]
struct Sizes {
    nodes: usize,
    buffers: usize,
    bytes: u64,
    held: u64,
    elements: u32,
}

impl<'d> Transaction<'d> {
    pub(crate) fn new(document: &'d mut Document) -> Self {
        let tree = &document.tree;
        let before = Sizes {
            nodes: tree.nodes.len(),
            buffers: tree.buffers.len(),
            bytes: tree.bytes,
            held: tree.held,
            elements: tree.elements,
        };
        Self { document, saved: Vec::new(), indexed: Vec::new(), before }
    }

    pub(crate) fn commit(self) {
        self.document.tree.pristine = false;
        self.document.root_hash = self.document.tree.document_hash();
        self.document.compact_if_worthwhile();
    }

    pub(crate) fn roll_back(self) {
        let Document { tree, index, .. } = self.document;
        for (done, node) in self.indexed.into_iter().rev() {
            match done {
                Indexed::Added => index.remove(tree, node),
                Indexed::Removed => index.add(tree, node),
            }
        }
        for (id, node) in self.saved.into_iter().rev() {
            *tree.node_mut(id) = node;
            tree.forget_runs(id);
        }
        tree.nodes.truncate(self.before.nodes);
        tree.buffers.truncate(self.before.buffers);
        tree.bytes = self.before.bytes;
        tree.held = self.before.held;
        tree.elements = self.before.elements;
    }

    pub(crate) fn apply(&mut self, edit: &Edit) -> Result<Change, EditError> {
        match edit {
            Edit::Insert { fragment, parent, after } => self.insert(fragment, parent, after.as_deref()),
            Edit::Remove { address, policy } => self.remove(address, *policy),
        }
    }

    pub(crate) fn insert(
        &mut self,
        fragment: &str,
        parent: &str,
        after: Option<&str>,
    ) -> Result<Change, EditError> {
        let limits = self.document.limits;
        LimitExceeded::unless(fragment.len() as u64, limits.fragment, Limit::Fragment)?;
        let parent_node = self.find(parent)?;
        let after_node = after.map(|address| self.find(address)).transpose()?;
        if let (Some(node), Some(after)) = (after_node, after)
            && self.tree().node(node).parent != Some(parent_node)
        {
            return Err(EditError::NotAChild { after: after.to_owned(), parent: parent.to_owned() });
        }
        let grown = self.grow(fragment.trim_matches(WHITE), parent_node)?;
        check::fragment(&self.document.tree, &self.document.index, parent_node, grown.roots[0])?;
        let place = match after_node {
            Some(after) => Place::after(self.tree(), parent_node, grown.roots[0], after)?,
            None => Place::at_end_of_group(self.tree(), parent_node, grown.roots[0]),
        };
        let inserted = self.ids_in(grown.roots[0]);
        self.attach(grown.roots[0], parent_node, place);
        self.index(grown.roots[0], Indexed::Added);
        self.document.tree.elements += grown.elements;
        LimitExceeded::unless(self.tree().elements.into(), limits.elements.into(), Limit::Elements)?;
        limits.check_bytes(self.tree().bytes)?;
        self.rehash_from(parent_node, place.prev, place.next);
        Ok(Change {
            address: address::address_of(self.document, grown.roots[0]),
            parent: self.canonical(parent_node, parent),
            inserted,
            removed: Vec::new(),
            opened: Vec::new(),
        })
    }

    pub(crate) fn remove(&mut self, address: &str, policy: RemovePolicy) -> Result<Change, EditError> {
        let node = self.find(address)?;
        let parent = self.tree().node(node).parent.ok_or(EditError::Root)?;
        self.check_not_required(parent, node)?;
        let references = self.references_into(node, policy);
        if policy == RemovePolicy::Restrict && !references.is_empty() {
            return Err(EditError::Referenced { by: references });
        }
        let change = Change {
            address: Some(self.canonical(node, address)),
            parent: self.canonical(parent, "/"),
            inserted: Vec::new(),
            removed: self.ids_in(node),
            opened: references,
        };
        self.index(node, Indexed::Removed);
        let elements = self.tree().preorder(node).count();
        self.document.tree.elements -= u32::try_from(elements).unwrap_or(u32::MAX);
        let Node { prev, next, .. } = *self.tree().node(node);
        self.detach(node, parent);
        // The next sibling's gap may have grown.
        let behind = next.and_then(|next| self.tree().node(next).next);
        self.rehash_from(parent, prev, behind);
        Ok(change)
    }

    fn tree(&self) -> &Tree {
        &self.document.tree
    }

    fn find(&self, address: &str) -> Result<NodeId, EditError> {
        address::find(self.document, address)
            .map_err(|cause| EditError::Find { address: address.to_owned(), cause })
    }

    /// The shortest address of an element that was found at `given`.
    fn canonical(&self, node: NodeId, given: &str) -> String {
        address::address_of(self.document, node).unwrap_or_else(|| given.to_owned())
    }

    fn ids_in(&self, top: NodeId) -> Vec<String> {
        let tree = self.tree();
        tree.preorder(top).filter_map(|node| index::id_of(tree, node)).map(|id| id.into_owned()).collect()
    }

    /// Grows a fragment beside the document, in the scope of `parent`.
    fn grow(&mut self, fragment: &str, parent: NodeId) -> Result<Seedling, EditError> {
        let limits = self.document.limits;
        let tree = &mut self.document.tree;
        tree.grow_in(fragment, Shape::Element, parent, &limits).map_err(|refusal| refuse(fragment, refusal))
    }

    /// Refuses to take the last child away that the schema requires.
    fn check_not_required(&self, parent: NodeId, node: NodeId) -> Result<(), EditError> {
        let tree = self.tree();
        let content = schema::content(tree.version, tree.node(parent).kind);
        match content.rank(tree.node(node).kind) {
            Some((_, group)) if group.required => {
                let stays = |child: NodeId| child != node && group.kinds.contains(&tree.node(child).kind);
                let any = tree.children(parent).any(stays);
                if any { Ok(()) } else { Err(check::missing_child(tree, parent, group).into()) }
            }
            _ => Ok(()),
        }
    }

    /// The references from outside the subtree into it. To refuse, the first few are enough.
    fn references_into(&self, top: NodeId, policy: RemovePolicy) -> Vec<Reference> {
        let limit = if policy == RemovePolicy::Restrict { MAX_REPORTED } else { usize::MAX };
        let tree = self.tree();
        let mut found: Vec<(NodeId, index::Pointer)> = Vec::new();
        for node in tree.preorder(top) {
            let Some(id) = index::id_of(tree, node) else { continue };
            for from in
                self.document.index.candidates(Key::reference(&id)).filter(|from| !tree.is_within(*from, top))
            {
                let meant = index::pointers(tree, from).into_iter().filter(|pointer| pointer.may_mean(&id));
                found.extend(meant.map(|pointer| (from, pointer)));
            }
        }
        found.extend(self.references_to_interface(top));
        found.sort_by(|a, b| (a.0, a.1.attribute).cmp(&(b.0, b.1.attribute)));
        found.dedup_by(|a, b| (a.0, a.1.attribute) == (b.0, b.1.attribute));
        let found = self.in_document_order(found);
        let reference = |(from, pointer): (NodeId, index::Pointer)| Reference {
            from: address::address_of(self.document, from),
            attribute: pointer.attribute.to_owned(),
            target: pointer.value,
        };
        found.into_iter().take(limit).map(reference).collect()
    }

    /// What was found, in the order of the document: the numbers of nodes tell what happened before, which a replica that has just parsed
    /// the bytes does not know.
    fn in_document_order(&self, found: Vec<(NodeId, index::Pointer)>) -> Vec<(NodeId, index::Pointer)> {
        if found.len() < 2 {
            return found;
        }
        let mut by_node: BTreeMap<NodeId, Vec<index::Pointer>> = BTreeMap::new();
        for (node, pointer) in found {
            by_node.entry(node).or_default().push(pointer);
        }
        let tree = self.tree();
        let ordered = tree.preorder(tree.root).filter_map(|node| Some((node, by_node.remove(&node)?)));
        ordered
            .flat_map(|(node, pointers)| pointers.into_iter().map(move |pointer| (node, pointer)))
            .collect()
    }

    /// The references to an interface by its name and its owner's ID, `{ID}:name`.
    fn references_to_interface(&self, node: NodeId) -> Vec<(NodeId, index::Pointer)> {
        let tree = self.tree();
        let interface = tree.node(node);
        let name = xml::attribute(tree.head(node), "Name");
        let owner = interface.parent.and_then(|parent| index::id_of(tree, parent));
        let (Kind::ExternalInterface, Some(name), Some(owner)) = (interface.kind, name, owner) else {
            return Vec::new();
        };
        let mut found = Vec::new();
        for from in self.document.index.candidates(Key::reference(&owner)) {
            let pointers = index::pointers(tree, from).into_iter();
            found.extend(
                pointers
                    .filter(|pointer| pointer.may_mean_interface(&owner, &name))
                    .map(|pointer| (from, pointer)),
            );
        }
        found
    }

    fn index(&mut self, top: NodeId, what: Indexed) {
        let Document { tree, index, .. } = &mut *self.document;
        for node in tree.preorder(top) {
            match what {
                Indexed::Added => index.add(tree, node),
                Indexed::Removed => index.remove(tree, node),
            }
            self.indexed.push((what, node));
        }
    }

    /// Changes a node, remembering what it was and keeping count of the document's bytes.
    fn change(&mut self, id: NodeId, change: impl FnOnce(&mut Node)) {
        let tree = &mut self.document.tree;
        let node = tree.node_mut(id);
        let former = *node;
        change(node);
        let bytes = node.own_bytes();
        tree.bytes = tree.bytes - former.own_bytes() + bytes;
        self.saved.push((id, former));
    }

    /// The bytes of an element with the gap before it.
    fn bytes_of(&self, top: NodeId) -> u64 {
        let tree = self.tree();
        tree.preorder(top).map(|node| tree.node(node).own_bytes()).sum()
    }

    fn attach(&mut self, node: NodeId, parent: NodeId, place: Place) {
        self.document.tree.bytes += self.bytes_of(node);
        let gap = match place.prev.or(place.next) {
            Some(sibling) => place::last_line(self.tree(), self.tree().node(sibling).gap),
            None => self.make_room(parent),
        };
        self.change(node, |node| {
            node.parent = Some(parent);
            node.prev = place.prev;
            node.next = place.next;
            node.gap = gap;
        });
        self.link(parent, place.prev, Some(node));
        self.link(parent, Some(node), place.next);
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

    /// Prepares a childless element for its first child and returns the gap before the child.
    fn make_room(&mut self, parent: NodeId) -> Span {
        let lone = Lone::of(self.tree(), parent);
        let Node { head, tail, end, .. } = *self.tree().node(parent);
        let tree = &mut self.document.tree;
        if !end.is_empty() {
            let open = tree.text(tail) == lone.behind;
            return tree.add_buffer(&if open { lone.before_if_open() } else { lone.before });
        }
        let start = tree.text(head);
        let opened = format!("{}>", start.strip_suffix("/>").unwrap_or(start));
        let end = format!("</{}>", xml::tag_name(start));
        let pieces = [opened, lone.before, lone.behind, end].map(|piece| tree.add_buffer(&piece));
        let [head, gap, tail, end] = pieces;
        self.change(parent, |node| {
            node.head = head;
            node.tail = tail;
            node.end = end;
        });
        gap
    }

    /// Takes a node out of its parent, with the white space that belongs to it.
    fn detach(&mut self, node: NodeId, parent: NodeId) {
        self.document.tree.bytes -= self.bytes_of(node);
        let Node { prev, next, gap, .. } = *self.tree().node(node);
        if prev.is_none() && next.is_none() {
            self.close_up(parent, gap);
        } else {
            let rest = self.without_trailing_white(gap);
            match next {
                Some(next) => {
                    let gap = self.tree().node(next).gap;
                    let joined = self.document.tree.join(rest, gap);
                    self.change(next, |node| node.gap = joined);
                }
                None => self.prepend_to_tail(parent, rest),
            }
        }
        self.link(parent, prev, next);
    }

    /// Undoes [`Transaction::make_room`] for a parent whose only child, behind `gap`, goes.
    fn close_up(&mut self, parent: NodeId, gap: Span) {
        let tree = &self.document.tree;
        let lone = Lone::of(tree, parent);
        let Node { head, tail, .. } = *tree.node(parent);
        let made = tree.text(tail) == lone.behind;
        if made && tree.text(gap) == lone.before {
            let start = tree.text(head);
            let closed = format!("{}/>", start.strip_suffix('>').unwrap_or(start));
            let head = self.document.tree.add_buffer(&closed);
            self.change(parent, |node| {
                node.head = head;
                node.tail = Span::default();
                node.end = Span::default();
            });
        } else {
            let rest = self.without_trailing_white(gap);
            self.prepend_to_tail(parent, rest);
        }
    }

    fn prepend_to_tail(&mut self, parent: NodeId, text: Span) {
        let tail = self.tree().node(parent).tail;
        let joined = self.document.tree.join(text, tail);
        self.change(parent, |node| node.tail = joined);
    }

    fn without_trailing_white(&self, gap: Span) -> Span {
        let white = place::trailing_white(self.tree(), gap);
        Span { end: white.start, ..gap }
    }

    /// Hashes an element and its ancestors anew; all other hashes stay.
    fn rehash_from(&mut self, node: NodeId, left: Option<NodeId>, right: Option<NodeId>) {
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

fn refuse(fragment: &str, refusal: Refusal) -> EditError {
    match refusal {
        Refusal::Limit(limit) => EditError::Limit(limit),
        Refusal::Fault(fault) => match fault.cause {
            XmlFault::Dtd => EditError::Dtd,
            XmlFault::NotOneRoot => EditError::NotOneRoot,
            cause => EditError::NotWellFormed { position: Position::at(fragment, fault.offset), cause },
        },
    }
}
