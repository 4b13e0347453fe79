//! Groups of replicas: one for now.

use dt_model::PartyId;

use crate::{Address, Membership};

impl Membership {
    pub(crate) fn groups(&self, address: &Address) -> Vec<Vec<PartyId>> {
        vec![self.replicas(address)]
    }

    pub(crate) fn is_joint(&self) -> bool {
        false
    }

    pub(crate) fn is_node(&self, party: &PartyId) -> bool {
        self.node(party).is_some()
    }

    pub(crate) fn every_node(&self) -> Vec<PartyId> {
        self.nodes().iter().map(|node| node.party).collect()
    }

    pub(crate) fn node_groups(&self) -> Vec<Vec<PartyId>> {
        vec![self.every_node()]
    }
}
