//! The DHT's nodes: who runs one, where it is reached, and which of them hold the data in which membership epoch (paper, section 4.2: the
//! DHT is run by the lifecycle parties).
//!
//! ```text
//!  FoundStorage ─▶ epoch 1: all nodes registered by then
//!  RegisterNode, RetireNode ─▶ waits ─▶ epoch e, joint: old and new nodes hold everything ─▶ epoch e + 1: the new ones alone
//!                                └── while a change is under way, or too few nodes would be left     ▲
//!                                       HandOver by all new nodes but k ─────────────────────────────┘
//! ```
//!
//! So everybody finds the same membership in the state, and no node is asked no more before others have taken over what it held. What
//! waits begins, all of it together, as soon as the change before is complete.
//!
//! Each node has a row of its own, so that registering costs as much in a large membership as in a small one. The changes stay in the state,
//! one row each: what a node signed in a former epoch is checked against the nodes of that epoch.

use std::collections::BTreeSet;

use dt_model::PartyId;

use super::Transition;
use crate::receipt::EventKind;
use crate::record::{NodeRecord, NodesChange, NodesHead, Resource, StateKey};
use crate::state::{CallError, State};
use crate::{Reason, Uri};

/// DHT nodes that a chain may have: whoever places data reads them all.
const MAX_NODES: u32 = 4096;
/// Nodes that may wait to join: they stand in one row.
const MAX_WAITING: usize = 256;
/// Endpoints of one node.
const MAX_ENDPOINTS: usize = 8;
/// Bytes of one node's endpoints.
const MAX_ENDPOINT_BYTES: usize = 1024;

impl Transition<'_> {
    pub(super) fn register_node(&mut self, sender: PartyId, endpoints: &[Uri]) -> Result<(), CallError> {
        let party = self.active_party(&sender, self.at.time)?.ok_or(Reason::UnknownParty(sender))?;
        let bytes: usize = endpoints.iter().map(|endpoint| endpoint.as_str().len()).sum();
        if endpoints.is_empty() || endpoints.len() > MAX_ENDPOINTS || bytes > MAX_ENDPOINT_BYTES {
            return Err(Reason::NotCanonical.into());
        }
        let (mut head, mut waiting) = (self.nodes_head()?, self.waiting_nodes()?);
        let mut record = self.node(&sender)?.unwrap_or_default();
        if !record.registered {
            if !record.placed && waiting.joining.len() >= MAX_WAITING || head.registered >= MAX_NODES {
                return Err(Reason::Full.into());
            }
            head.registered += 1;
            // A node that was to leave stays.
            if !waiting.leaving.remove(&sender) {
                waiting.joining.insert(sender);
            }
            let mut theirs = self.nodes_of(party.authority)?;
            theirs.insert(sender);
            self.put(&StateKey::NodesOf(party.authority), &theirs);
        }
        (record.registered, record.endpoints) = (true, endpoints.to_vec());
        self.put(&StateKey::Node(sender), &record);
        self.tell_kind(EventKind::NodeRegistered(sender));
        self.nodes_changed(head, waiting)
    }

    pub(super) fn retire_node(&mut self, sender: PartyId) -> Result<(), CallError> {
        let authority = self.party(&sender)?.ok_or(Reason::UnknownParty(sender))?.authority;
        if self.retire_node_of(sender, authority)? {
            Ok(())
        } else {
            Err(Reason::UnknownParty(sender).into())
        }
    }

    /// Takes the node of `party`, whom `authority` certified, out of the membership; whether there was one.
    pub(super) fn retire_node_of(&mut self, party: PartyId, authority: PartyId) -> Result<bool, CallError> {
        let mut theirs = self.nodes_of(authority)?;
        if !theirs.remove(&party) {
            return Ok(false);
        }
        self.put_or_remove(&StateKey::NodesOf(authority), &theirs, theirs.is_empty());
        self.retire_all([party].into()).map(|()| true)
    }

    /// Takes the nodes of all parties that `authority` certified out of the membership.
    pub(super) fn retire_nodes_of(&mut self, authority: PartyId) -> Result<(), CallError> {
        let theirs = self.nodes_of(authority)?;
        if theirs.is_empty() {
            return Ok(());
        }
        self.remove(&StateKey::NodesOf(authority));
        self.retire_all(theirs)
    }

    /// Notes that the sender's node has taken over what is its own in joint `epoch`. The note that makes up the number completes the change.
    pub(super) fn hand_over(&mut self, sender: PartyId, epoch: u64) -> Result<(), CallError> {
        let mut head = self.nodes_head()?;
        let record = self.node(&sender)?.filter(|node| node.placed && node.taken_over < head.epoch);
        let (Some(record), true, true) = (record, head.changing, head.epoch == epoch) else {
            return Err(Reason::NothingToHandOver { epoch: head.epoch }.into());
        };
        self.put(&StateKey::Node(sender), &NodeRecord { taken_over: epoch, ..record });
        head.taken_over += 1;
        self.tell_kind(EventKind::NodeTookOver(sender));
        if head.taken_over.saturating_add(head.max_faulty.into()) >= head.placed {
            let change: Option<NodesChange> = self.read(&StateKey::NodesChange(Some(epoch)))?;
            for left in change.unwrap_or_default().leaving {
                if self.node(&left)?.is_some_and(|node| !node.registered) {
                    self.remove(&StateKey::Node(left));
                }
            }
            (head.epoch, head.changing) = (epoch + 1, false);
            self.tell_kind(EventKind::MembershipChanged(head.epoch));
        }
        let waiting = self.waiting_nodes()?;
        self.nodes_changed(head, waiting)
    }

    /// Founds the DHT with the nodes that there are, or will be when there are enough.
    pub(super) fn found_storage(&mut self, replicas: u16, max_faulty: u16) -> Result<(), CallError> {
        let (head, waiting) = (self.nodes_head()?, self.waiting_nodes()?);
        self.nodes_changed(NodesHead { replicas, max_faulty, ..head }, waiting)
    }

    /// Whether the DHT can be founded with these numbers.
    pub(super) fn check_founding(&self, replicas: u16, max_faulty: u16) -> Result<(), CallError> {
        if self.nodes_head()?.is_founded() {
            return Err(Reason::StorageFounded.into());
        }
        let enough = u32::from(replicas) > 3 * u32::from(max_faulty);
        if enough { Ok(()) } else { Err(Reason::NotCanonical.into()) }
    }

    /// Takes registered nodes out of the membership. They hold on until others have taken over.
    fn retire_all(&mut self, nodes: BTreeSet<PartyId>) -> Result<(), CallError> {
        let (mut head, mut waiting) = (self.nodes_head()?, self.waiting_nodes()?);
        let present: Option<NodesChange> = match head.changing {
            true => self.read(&StateKey::NodesChange(Some(head.epoch)))?,
            false => None,
        };
        for node in nodes {
            let record = self.node(&node)?.unwrap_or_default();
            let hands_over = present.as_ref().is_some_and(|change| change.leaving.contains(&node));
            if record.placed {
                waiting.leaving.insert(node);
            } else {
                waiting.joining.remove(&node);
            }
            let is_needed = record.placed || hands_over;
            self.put_or_remove(
                &StateKey::Node(node),
                &NodeRecord { registered: false, ..record },
                !is_needed,
            );
            head.registered = head.registered.saturating_sub(1);
            self.tell_kind(EventKind::NodeRetired(node));
        }
        self.nodes_changed(head, waiting)
    }

    /// Writes where the nodes stand, and begins the change that waits if it can begin.
    fn nodes_changed(&mut self, mut head: NodesHead, mut waiting: NodesChange) -> Result<(), CallError> {
        let placed = (u64::from(head.placed) + waiting.joining.len() as u64)
            .saturating_sub(waiting.leaving.len() as u64);
        let is_due = head.is_founded() && !head.changing && !waiting.is_empty();
        if is_due && placed >= head.replicas.into() {
            let change = std::mem::take(&mut waiting);
            for (node, placed) in change.placements() {
                let record = self.node(&node)?.unwrap_or_default();
                self.put(&StateKey::Node(node), &NodeRecord { placed, ..record });
            }
            // The first nodes have nothing to take over.
            (head.epoch, head.changing) = (head.epoch + 1, head.placed > 0);
            (head.placed, head.taken_over) = (u32::try_from(placed).unwrap_or(u32::MAX), 0);
            self.put(&StateKey::NodesChange(Some(head.epoch)), &change);
            self.tell_kind(EventKind::MembershipChanged(head.epoch));
        }
        self.put_or_remove(&StateKey::NodesChange(None), &waiting, waiting.is_empty());
        self.put(&StateKey::Nodes, &head);
        self.trace(Resource::Nodes)
    }

    fn waiting_nodes(&self) -> Result<NodesChange, CallError> {
        Ok(self.read(&StateKey::NodesChange(None))?.unwrap_or_default())
    }

    fn nodes_of(&self, authority: PartyId) -> Result<BTreeSet<PartyId>, CallError> {
        Ok(self.read(&StateKey::NodesOf(authority))?.unwrap_or_default())
    }

    fn put_or_remove<T: borsh::BorshSerialize>(&mut self, key: &StateKey, value: &T, is_gone: bool) {
        if is_gone { self.remove(key) } else { self.put(key, value) }
    }
}
