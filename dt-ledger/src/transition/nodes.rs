//! The DHT's nodes: who runs one, and where it is reached (paper, section 4.2: the DHT is run by the lifecycle parties).
//!
//! Each node has a row of its own, so that a change costs as much in a large membership as in a small one.

use std::collections::BTreeSet;

use dt_model::PartyId;

use super::Transition;
use crate::receipt::EventKind;
use crate::record::{NodesHead, Resource, StateKey};
use crate::state::{CallError, State};
use crate::{Reason, Uri};

/// DHT nodes that a chain may have: whoever places data reads them all.
const MAX_NODES: u32 = 4096;
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
        let mut head = self.nodes_head()?;
        if self.raw(&StateKey::Node(sender))?.is_none() {
            if head.count >= MAX_NODES {
                return Err(Reason::Full.into());
            }
            head.count += 1;
            let mut theirs = self.nodes_of(party.authority)?;
            theirs.insert(sender);
            self.put(&StateKey::NodesOf(party.authority), &theirs);
        }
        self.put(&StateKey::Node(sender), &endpoints.to_vec());
        self.nodes_changed(head)
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
        if theirs.is_empty() {
            self.remove(&StateKey::NodesOf(authority));
        } else {
            self.put(&StateKey::NodesOf(authority), &theirs);
        }
        self.remove(&StateKey::Node(party));
        let mut head = self.nodes_head()?;
        head.count = head.count.saturating_sub(1);
        self.nodes_changed(head).map(|()| true)
    }

    /// Takes the nodes of all parties that `authority` certified out of the membership.
    pub(super) fn retire_nodes_of(&mut self, authority: PartyId) -> Result<(), CallError> {
        let theirs = self.nodes_of(authority)?;
        if theirs.is_empty() {
            return Ok(());
        }
        let mut head = self.nodes_head()?;
        for node in &theirs {
            self.remove(&StateKey::Node(*node));
            head.count = head.count.saturating_sub(1);
        }
        self.remove(&StateKey::NodesOf(authority));
        self.nodes_changed(head)
    }

    fn nodes_of(&self, authority: PartyId) -> Result<BTreeSet<PartyId>, CallError> {
        Ok(self.read(&StateKey::NodesOf(authority))?.unwrap_or_default())
    }

    fn nodes_changed(&mut self, head: NodesHead) -> Result<(), CallError> {
        let head = NodesHead { epoch: head.epoch + 1, ..head };
        self.put(&StateKey::Nodes, &head);
        self.tell_kind(EventKind::MembershipChanged(head.epoch));
        self.trace(Resource::Nodes)
    }
}
