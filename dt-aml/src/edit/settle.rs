//! What becomes of references to what an edit took away.

use std::collections::BTreeMap;

use super::error::{EditError, MAX_REPORTED};
use super::model::{Change, Reference, RemovePolicy};
use super::transaction::Transaction;
use crate::arena::tree::NodeId;
use crate::caex::reference::{self, Pointer, Target};
use crate::kind::Kind;
use crate::xml;

/// A reference to something that is gone.
struct Dangling {
    pointer: Pointer,
    /// It named an element by its ID, not a class or a part.
    by_id: bool,
}

impl Transaction<'_> {
    /// What can be referred to of an element and everything in it.
    pub(crate) fn targets_in(&self, top: NodeId) -> Vec<Target> {
        self.targets_of(&self.tree().preorder(top).collect::<Vec<_>>())
    }

    /// What can be referred to of these elements themselves.
    pub(crate) fn targets_of(&self, nodes: &[NodeId]) -> Vec<Target> {
        let mut targets = Vec::new();
        if self.is_strict() {
            nodes.iter().for_each(|node| Target::of(self.tree(), *node, &mut |target| targets.push(target)));
        }
        targets
    }

    /// Refuses, reports or removes the references to those of `targets` that are gone; returns all changes, that of the edit first.
    pub(crate) fn settle(
        &mut self,
        targets: Vec<Target>,
        policy: RemovePolicy,
        mut change: Change,
    ) -> Result<Vec<Change>, EditError> {
        let dangling = self.dangling(&targets);
        match policy {
            RemovePolicy::Restrict if dangling.is_empty() => Ok(vec![change]),
            RemovePolicy::Restrict => {
                let by = dangling.iter().take(MAX_REPORTED).map(|one| self.reference(one));
                Err(EditError::Referenced { by: by.collect::<Result<_, _>>()? })
            }
            RemovePolicy::OpenLinks => {
                change.opened = dangling.iter().map(|one| self.reference(one)).collect::<Result<_, _>>()?;
                Ok(vec![change])
            }
            RemovePolicy::Cascade => {
                let mut changes = vec![change];
                self.cascade(dangling, &mut changes)?;
                Ok(changes)
            }
        }
    }

    /// Removes references, and those to what goes with them, until none is left.
    fn cascade(&mut self, dangling: Vec<Dangling>, changes: &mut Vec<Change>) -> Result<(), EditError> {
        let mut dangling = dangling;
        while !dangling.is_empty() {
            let mut targets = Vec::new();
            for Dangling { pointer, by_id } in dangling {
                let from = pointer.from;
                let is_there = self.tree().is_within(from, self.tree().root);
                if !is_there || !reference::pointers(self.tree(), from).contains(&pointer) {
                    continue;
                }
                let kind = self.tree().node(from).kind;
                let is_mirror = by_id && matches!(kind, Kind::InternalElement | Kind::ExternalInterface);
                if is_mirror || reference::is_only_a_reference(kind) {
                    targets.extend(self.targets_in(from));
                    changes.push(self.remove_node(from)?);
                } else {
                    changes.push(self.drop_attribute(from, pointer.attribute())?);
                }
            }
            dangling = self.dangling(&targets);
        }
        Ok(())
    }

    /// Takes an XML attribute away, with the white space before it.
    fn drop_attribute(&mut self, node: NodeId, attribute: &str) -> Result<Change, EditError> {
        let within = self.within(node);
        let end = self.tree().text(self.tree().node(node).end).to_owned();
        let start = xml::without_attribute(self.tree().head(node), attribute);
        let node = self.retag(node, &start, &end)?;
        self.change_at(node, within)
    }

    /// The references to those of `targets` that are gone, each once, in document order.
    fn dangling(&self, targets: &[Target]) -> Vec<Dangling> {
        let mut found: BTreeMap<NodeId, Vec<Dangling>> = BTreeMap::new();
        for target in targets {
            let by_id = matches!(target, Target::Id(_));
            for pointer in target.dangling(self.document) {
                let of_node = found.entry(pointer.from).or_default();
                if of_node.iter().all(|other| other.pointer != pointer) {
                    of_node.push(Dangling { pointer, by_id });
                }
            }
        }
        found.values_mut().for_each(|of_node| of_node.sort_by_key(|one| one.pointer.field.attribute));
        let order = self.tree().in_document_order(&found.keys().copied().collect());
        order.into_iter().filter_map(|node| found.remove(&node)).flatten().collect()
    }

    fn reference(&self, dangling: &Dangling) -> Result<Reference, EditError> {
        let Pointer { from, value, .. } = &dangling.pointer;
        let attribute = dangling.pointer.attribute().to_owned();
        Ok(Reference { from: self.address(*from)?, attribute, target: value.clone() })
    }
}
