//! Who takes part: enrolment, key rotation, revocation, DHT nodes (paper, section 4.5).

use dt_model::{EncryptionKey, PartyId};

use super::Transition;
use crate::receipt::EventKind;
use crate::record::{Nodes, Party, Resource, StateKey};
use crate::replica::admission;
use crate::state::{CallError, State};
use crate::{Credential, Reason, Uri};

/// DHT nodes that a chain may have, so that the one record that holds them is bounded.
const MAX_NODES: usize = 4096;
/// Endpoints of one node.
const MAX_ENDPOINTS: usize = 8;
/// Bytes of one node's endpoints: [`MAX_NODES`] of them stay well within what one value of the state may hold.
const MAX_ENDPOINT_BYTES: usize = 1024;

impl Transition<'_> {
    pub(super) fn register(&mut self, sender: PartyId, credential: &Credential) -> Result<(), CallError> {
        let (chain, now) = (self.at.chain, self.at.time);
        let certificate =
            admission::acceptable(self, &chain, now, sender, credential)?.ok_or(Reason::BadCertificate)?;
        let (authority, name, not_after) = (credential.authority(), certificate.name, certificate.not_after);
        let party = match self.active_party(&sender, now)? {
            // Renewed: its encryption key stays, which it may have rotated since the authority saw one.
            Some(party) if party.authority == authority && party.not_after < not_after => {
                self.tell_kind(EventKind::CertificateRenewed(sender, not_after));
                Party { name, not_after, ..party }
            }
            Some(_) => return Err(Reason::AlreadyRegistered.into()),
            None => {
                self.tell_kind(EventKind::PartyRegistered(sender));
                let encryption_key = certificate.encryption_key;
                Party { name, authority, encryption_key, not_after, revoked: None }
            }
        };
        self.put(&StateKey::Party(sender), &party);
        self.trace(Resource::Party(sender))
    }

    pub(super) fn rotate_encryption_key(
        &mut self,
        sender: PartyId,
        key: EncryptionKey,
    ) -> Result<(), CallError> {
        let party = self.active_party(&sender, self.at.time)?.ok_or(Reason::UnknownParty(sender))?;
        self.put(&StateKey::Party(sender), &Party { encryption_key: key, ..party });
        self.tell_kind(EventKind::EncryptionKeyRotated(sender, key));
        self.trace(Resource::Party(sender))
    }

    pub(super) fn revoke_certificate(&mut self, sender: PartyId, revoked: PartyId) -> Result<(), CallError> {
        let party: Party = self.existing(&StateKey::Party(revoked), Reason::UnknownParty(revoked))?;
        if sender != revoked && sender != party.authority {
            return Err(Reason::NotYours.into());
        }
        if party.revoked.is_some() {
            return Err(Reason::UnknownParty(revoked).into());
        }
        self.put(&StateKey::Party(revoked), &Party { revoked: Some(self.at.time), ..party });
        self.tell_kind(EventKind::CertificateRevoked(revoked));
        self.trace(Resource::Party(revoked))?;
        // Its node goes with it: nobody else could retire it, and data would go on being placed there.
        let mut nodes = self.nodes()?;
        if nodes.nodes.remove(&revoked).is_some() { self.change_nodes(nodes) } else { Ok(()) }
    }

    pub(super) fn register_node(&mut self, sender: PartyId, endpoints: &[Uri]) -> Result<(), CallError> {
        self.require_party(sender)?;
        let mut nodes = self.nodes()?;
        let is_new = !nodes.nodes.contains_key(&sender);
        let bytes: usize = endpoints.iter().map(|endpoint| endpoint.as_str().len()).sum();
        if endpoints.is_empty() || endpoints.len() > MAX_ENDPOINTS || bytes > MAX_ENDPOINT_BYTES {
            return Err(Reason::NotCanonical.into());
        }
        if is_new && nodes.nodes.len() >= MAX_NODES {
            return Err(Reason::Full.into());
        }
        nodes.nodes.insert(sender, endpoints.to_vec());
        self.change_nodes(nodes)
    }

    pub(super) fn retire_node(&mut self, sender: PartyId) -> Result<(), CallError> {
        let mut nodes = self.nodes()?;
        nodes.nodes.remove(&sender).ok_or(Reason::UnknownParty(sender))?;
        self.change_nodes(nodes)
    }

    /// Takes the nodes of all parties that `authority` certified out of the membership.
    pub(super) fn retire_nodes_of(&mut self, authority: PartyId) -> Result<(), CallError> {
        let mut nodes = self.nodes()?;
        let mut theirs = Vec::new();
        for node in nodes.nodes.keys() {
            if self.party(node)?.is_some_and(|party| party.authority == authority) {
                theirs.push(*node);
            }
        }
        for node in &theirs {
            nodes.nodes.remove(node);
        }
        if theirs.is_empty() { Ok(()) } else { self.change_nodes(nodes) }
    }

    fn change_nodes(&mut self, mut nodes: Nodes) -> Result<(), CallError> {
        nodes.epoch += 1;
        self.put(&StateKey::Nodes, &nodes);
        self.tell_kind(EventKind::MembershipChanged(nodes.epoch));
        self.trace(Resource::Nodes)
    }

    /// Whether `party` takes part (authorities send transactions, but are no parties).
    pub(super) fn require_party(&self, party: PartyId) -> Result<(), CallError> {
        self.active_party(&party, self.at.time)?.map(drop).ok_or(Reason::UnknownParty(party).into())
    }
}
