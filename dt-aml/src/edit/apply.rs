//! What each edit means, in terms of the two steps of a [`Transaction`].
//!
//! An edit finds its elements, takes note of what can be referred to there, does its steps, holds what came against the rules of
//! CAEX, and settles the references to what is gone. Whatever fails on the way undoes all.

use std::collections::BTreeSet;

use super::check;
use super::error::EditError;
use super::model::{Change, Edit, RemovePolicy};
use super::region::Region;
use super::retag;
use super::transaction::Transaction;
use crate::arena::grow::is_free;
use crate::arena::index;
use crate::arena::tree::{Node, NodeId, Span, Tree, Visit};
use crate::document::Document;
use crate::kind::Kind;
use crate::limits::{Limit, LimitExceeded};
use crate::xml::{self, Scope, Shape, WHITE};

impl Transaction<'_> {
    pub(crate) fn apply_all(&mut self, edits: &[Edit]) -> Result<Vec<Change>, EditError> {
        let mut changes = Vec::with_capacity(edits.len());
        for edit in edits {
            changes.extend(self.apply(edit)?);
        }
        Ok(changes)
    }

    fn apply(&mut self, edit: &Edit) -> Result<Vec<Change>, EditError> {
        match edit {
            Edit::Insert { fragment, parent, after } => self.insert(fragment, parent, after.as_deref()),
            Edit::Remove { address, policy } => self.remove(address, *policy),
            Edit::Replace { address, fragment, policy } => self.replace(address, fragment, *policy),
            Edit::SetValue { address, value } => self.set_value(address, value),
            Edit::Move { address, parent, after } => self.move_to(address, parent, after.as_deref()),
            Edit::Splice { parent, after, before, content, policy } => {
                self.splice(parent, after.as_deref(), before.as_deref(), content, *policy)
            }
            Edit::Retag { address, start, end, policy } => self.give_tags(address, start, end, *policy),
        }
    }

    pub(crate) fn insert(
        &mut self,
        fragment: &str,
        parent: &str,
        after: Option<&str>,
    ) -> Result<Vec<Change>, EditError> {
        self.check_fragment(fragment)?;
        let parent_node = self.find(parent)?;
        let after = self.child_of(parent_node, parent, after)?;
        let within = self.within(parent_node);
        let node = self.bring(fragment.trim_matches(WHITE), parent_node, after)?;
        Ok(vec![Change { inserted: self.ids_in(node), ..self.change_at(node, within)? }])
    }

    pub(crate) fn remove(&mut self, address: &str, policy: RemovePolicy) -> Result<Vec<Change>, EditError> {
        let node = self.find(address)?;
        let targets = self.targets_in(node);
        let change = self.remove_node(node)?;
        self.settle(targets, policy, change)
    }

    /// Removes an element, whatever refers to it.
    pub(crate) fn remove_node(&mut self, node: NodeId) -> Result<Change, EditError> {
        let parent = self.tree().node(node).parent.ok_or(EditError::Root)?;
        let kind = self.tree().node(node).kind;
        let change = Change { removed: self.ids_in(node), ..self.change_at(node, self.within(node))? };
        self.take_out(node, parent)?;
        if self.is_strict() {
            check::required(self.tree(), parent, [kind])?;
        }
        Ok(change)
    }

    pub(crate) fn replace(
        &mut self,
        address: &str,
        fragment: &str,
        policy: RemovePolicy,
    ) -> Result<Vec<Change>, EditError> {
        self.check_fragment(fragment)?;
        let node = self.find(address)?;
        let Node { parent, gap, kind, .. } = *self.tree().node(node);
        let parent = parent.ok_or(EditError::Root)?;
        let (targets, ids, within) = (self.targets_in(node), self.ids_in(node), self.within(node));
        let fresh = self.grow(fragment.trim_matches(WHITE), Shape::Element, Some(parent))?.roots[0];
        let region = Region::around(self.tree(), parent, node);
        self.fill(region, &[(fresh, gap)], region.closing(self.tree()))?;
        if self.is_strict() {
            check::arrivals(self.document, region, true)?;
            check::required(self.tree(), parent, [kind])?;
        }
        let change = self.change_at(fresh, within)?.exchanging(ids, self.ids_in(fresh));
        self.settle(targets, policy, change)
    }

    pub(crate) fn set_value(&mut self, address: &str, value: &str) -> Result<Vec<Change>, EditError> {
        self.check_fragment(value)?;
        let node = self.find(address)?;
        let wrong = || EditError::NotAnAttribute { address: address.to_owned() };
        if !matches!(self.tree().node(node).kind, Kind::Attribute | Kind::AttributeType) {
            return Err(wrong());
        }
        let text = xml::escape_text(value);
        let within = self.within(node);
        let is_value = |child: &NodeId| self.tree().node(*child).kind == Kind::Value;
        let values: Vec<NodeId> = self.tree().children(node).filter(is_value).collect();
        match values.as_slice() {
            [holder] => self.fill_in(Region { parent: *holder, prev: None, next: None }, &text)?,
            [] => {
                let prefix = xml::split_name(xml::tag_name(self.tree().head(node))).0;
                let tag = if prefix.is_empty() { "Value".to_owned() } else { format!("{prefix}:Value") };
                self.bring(&format!("<{tag}>{text}</{tag}>"), node, None)?;
            }
            _ => return Err(wrong()),
        }
        Ok(vec![self.change_at(node, within)?])
    }

    pub(crate) fn move_to(
        &mut self,
        address: &str,
        parent: &str,
        after: Option<&str>,
    ) -> Result<Vec<Change>, EditError> {
        let node = self.find(address)?;
        let Node { parent: former, kind, .. } = *self.tree().node(node);
        let former = former.ok_or(EditError::Root)?;
        let parent_node = self.find(parent)?;
        let after = self.child_of(parent_node, parent, after)?;
        if self.tree().is_within(parent_node, node) || after == Some(node) {
            return Err(EditError::IntoItself { address: address.to_owned() });
        }
        let (targets, within) = (self.targets_in(node), self.within(node));
        let stays_what_it_is = means_the_same(self.tree(), former, parent_node);
        self.take_out(node, former)?;
        let moved = if stays_what_it_is {
            self.check_depth(node, parent_node)?;
            node
        } else {
            let source = self.document.element(node).source().into_owned();
            self.grow(&source, Shape::Element, Some(parent_node))?.roots[0]
        };
        let region = self.put(moved, parent_node, after)?;
        if self.is_strict() {
            check::arrivals(self.document, region, !stays_what_it_is)?;
            check::required(self.tree(), former, [kind])?;
        }
        let change = Change { kept: self.ids_in(moved), ..self.change_at(moved, within)? };
        self.settle(targets, RemovePolicy::Restrict, change)
    }

    fn splice(
        &mut self,
        parent: &str,
        after: Option<&str>,
        before: Option<&str>,
        content: &str,
        policy: RemovePolicy,
    ) -> Result<Vec<Change>, EditError> {
        self.check_fragment(content)?;
        if parent.is_empty() {
            return self.splice_around(after, before, content);
        }
        let node = self.find(parent)?;
        let not_a_region = || EditError::NotARegion { parent: parent.to_owned() };
        let prev = self.child_of(node, parent, after).map_err(|_| not_a_region())?;
        let next = self.child_of(node, parent, before).map_err(|_| not_a_region())?;
        let region = Region { parent: node, prev, next };
        let last = region.nodes(self.tree()).last().or(prev);
        let reached = last.map_or(self.tree().node(node).first, |last| self.tree().node(last).next);
        if reached != next {
            return Err(not_a_region());
        }
        let going: Vec<NodeId> = region.nodes(self.tree()).collect();
        let kinds: BTreeSet<Kind> = going.iter().map(|node| self.tree().node(*node).kind).collect();
        let targets = going.iter().flat_map(|node| self.targets_in(*node)).collect();
        let ids = going.iter().flat_map(|node| self.ids_in(*node)).collect();
        let within = self.within(node);
        self.fill_in(region, content)?;
        if self.is_strict() {
            check::arrivals(self.document, region, true)?;
            check::text_between(self.tree(), region)?;
            check::required(self.tree(), node, kinds)?;
        }
        let arrived: Vec<NodeId> = region.nodes(self.tree()).collect();
        let arrived = arrived.iter().flat_map(|node| self.ids_in(*node)).collect();
        let change = self.change_at(node, within)?.exchanging(ids, arrived);
        self.settle(targets, policy, change)
    }

    /// Puts other text before or behind the root element.
    fn splice_around(
        &mut self,
        after: Option<&str>,
        before: Option<&str>,
        content: &str,
    ) -> Result<Vec<Change>, EditError> {
        let is_prolog = match (after, before) {
            (None, Some("/")) => true,
            (Some("/"), None) => false,
            _ => return Err(EditError::NotARegion { parent: String::new() }),
        };
        // What may stand around a root element is read with one.
        let whole = if is_prolog { format!("{content}<a/>") } else { format!("<a/>{content}") };
        Document::check_surroundings(&whole, &self.document.limits)?;
        self.surround(is_prolog, content)?;
        let root = self.tree().root;
        Ok(vec![self.change_at(root, None)?])
    }

    fn give_tags(
        &mut self,
        address: &str,
        start: &str,
        end: &str,
        policy: RemovePolicy,
    ) -> Result<Vec<Change>, EditError> {
        self.check_fragment(start)?;
        self.check_fragment(end)?;
        let node = self.find(address)?;
        let renamed: Vec<NodeId> = retag::renamed_by(self.tree(), node, start).collect();
        let (targets, ids, within) = (self.targets_of(&renamed), self.ids_of(&renamed), self.within(node));
        let former = if self.is_strict() { check::faults(self.document, node) } else { Vec::new() };
        let fresh = self.retag(node, start, end)?;
        if self.is_strict() && fresh != node {
            check::read_anew(self.document, fresh)?;
        } else if self.is_strict() {
            // What was wrong before may stay.
            let faults = check::faults(self.document, node).into_iter();
            faults.filter(|fault| !former.contains(fault)).try_for_each(Err)?;
        }
        let present = if fresh == node { self.ids_of(&renamed) } else { self.ids_in(fresh) };
        let change = self.change_at(fresh, within)?.exchanging(ids, present);
        self.settle(targets, policy, change)
    }

    /// Grows an element and puts it in its place.
    fn bring(&mut self, fragment: &str, parent: NodeId, after: Option<NodeId>) -> Result<NodeId, EditError> {
        let node = self.grow(fragment, Shape::Element, Some(parent))?.roots[0];
        let region = self.put(node, parent, after)?;
        if self.is_strict() {
            check::arrivals(self.document, region, true)?;
        }
        Ok(node)
    }

    /// Puts other content in a region.
    pub(crate) fn fill_in(&mut self, region: Region, content: &str) -> Result<(), EditError> {
        if self.tree().node(region.parent).end.is_empty() {
            if content.is_empty() {
                return Ok(());
            }
            self.open(region.parent)?;
        }
        let grown = self.grow(content, Shape::Content, Some(region.parent))?;
        let tree = self.tree();
        let nodes: Vec<(NodeId, Span)> =
            grown.roots.iter().map(|node| (*node, tree.node(*node).gap)).collect();
        self.fill(region, &nodes, grown.epilog)
    }

    fn child_of(
        &self,
        parent: NodeId,
        parent_address: &str,
        child: Option<&str>,
    ) -> Result<Option<NodeId>, EditError> {
        let Some(address) = child else { return Ok(None) };
        let node = self.find(address)?;
        if self.tree().node(node).parent == Some(parent) {
            Ok(Some(node))
        } else {
            Err(EditError::NotAChild { after: address.to_owned(), parent: parent_address.to_owned() })
        }
    }

    fn check_fragment(&self, text: &str) -> Result<(), EditError> {
        let max = self.document.limits.fragment;
        if self.is_strict() {
            LimitExceeded::unless(text.len() as u64, max, Limit::Fragment)?;
        }
        Ok(())
    }

    /// Refuses to put a subtree where it would reach too deep.
    fn check_depth(&self, top: NodeId, parent: NodeId) -> Result<(), EditError> {
        let above = self.tree().ancestors(parent).count() as u64;
        let (mut level, mut height) = (0_u64, 0);
        for visit in self.tree().walk(top) {
            match visit {
                Visit::Enter(_) => level += 1,
                Visit::Leave(_) => level -= 1,
            }
            height = height.max(level);
        }
        let max = self.document.limits.depth;
        Ok(LimitExceeded::unless(above + height, max.into(), Limit::Depth)?)
    }

    /// The ID of the nearest element at or above `node` that has one of its own.
    pub(crate) fn within(&self, node: NodeId) -> Option<String> {
        self.tree().ancestors(node).find_map(|ancestor| crate::address::own_id(self.document, ancestor))
    }

    /// A change of `node`, of which only the place is known.
    pub(crate) fn change_at(&self, node: NodeId, within: Option<String>) -> Result<Change, EditError> {
        let parent = self.tree().node(node).parent.map(|parent| self.address(parent)).transpose()?;
        Ok(Change {
            address: self.address(node)?,
            parent: parent.unwrap_or_default(),
            within,
            inserted: Vec::new(),
            removed: Vec::new(),
            kept: Vec::new(),
            opened: Vec::new(),
        })
    }

    fn ids_in(&self, top: NodeId) -> Vec<String> {
        self.ids_of(&self.tree().preorder(top).collect::<Vec<_>>())
    }

    fn ids_of(&self, nodes: &[NodeId]) -> Vec<String> {
        let ids = nodes.iter().filter_map(|node| index::id_of(self.tree(), *node));
        ids.map(|id| id.into_owned()).collect()
    }
}

impl Change {
    /// The change by which these IDs went and those came.
    fn exchanging(self, former: Vec<String>, present: Vec<String>) -> Self {
        let went: BTreeSet<&String> = former.iter().collect();
        let came: BTreeSet<&String> = present.iter().collect();
        let only = |ids: &[String], others: &BTreeSet<&String>| {
            ids.iter().filter(|id| !others.contains(id)).cloned().collect()
        };
        let (removed, inserted) = (only(&former, &came), only(&present, &went));
        let kept = present.iter().filter(|id| went.contains(id)).cloned().collect();
        Self { inserted, removed, kept, ..self }
    }
}

/// Whether the same markup means the same in both elements.
fn means_the_same(tree: &Tree, one: NodeId, other: NodeId) -> bool {
    let is_free = |node: NodeId| is_free(tree.node(node).kind);
    one == other || is_free(one) == is_free(other) && Scope::inside(tree, one) == Scope::inside(tree, other)
}
