//! Who takes part: enrolment, key rotation, revocation, DHT nodes (paper, section 4.5).

use dt_model::{EncryptionKey, Envelope, PartyId};

use super::Transition;
use crate::receipt::EventKind;
use crate::record::{Nodes, Party, Resource, StateKey};
use crate::state::{CallError, State};
use crate::{Certificate, Reason, Uri, admission};

/// DHT nodes that a chain may have, so that the one record that holds them is bounded.
const MAX_NODES: usize = 4096;
/// Endpoints of one node.
const MAX_ENDPOINTS: usize = 8;
/// Bytes of one node's endpoints: [`MAX_NODES`] of them stay well within what one value of the state may hold.
const MAX_ENDPOINT_BYTES: usize = 1024;

impl Transition<'_> {
    pub(super) fn register(
        &mut self,
        sender: PartyId,
        certificate: &Envelope<Certificate>,
    ) -> Result<(), CallError> {
        let (chain, now) = (self.at.chain, self.at.time);
        let certificate =
            admission::acceptable(self, &chain, now, sender, certificate)?.ok_or(Reason::BadCertificate)?;
        if self.party(&sender)?.is_some_and(|party| party.is_active(now)) {
            return Err(Reason::AlreadyRegistered.into());
        }
        let party = Party {
            name: certificate.name.clone(),
            authority: certificate.signer(),
            encryption_key: certificate.encryption_key,
            not_after: certificate.not_after,
            revoked: None,
        };
        self.put(&StateKey::Party(sender), &party);
        self.tell_kind(EventKind::PartyRegistered(sender));
        self.trace(Resource::Party(sender))
    }

    pub(super) fn rotate_encryption_key(
        &mut self,
        sender: PartyId,
        key: EncryptionKey,
    ) -> Result<(), CallError> {
        let party: Party = self.existing(&StateKey::Party(sender), Reason::UnknownParty(sender))?;
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

    fn change_nodes(&mut self, mut nodes: Nodes) -> Result<(), CallError> {
        nodes.epoch += 1;
        self.put(&StateKey::Nodes, &nodes);
        self.tell_kind(EventKind::MembershipChanged(nodes.epoch));
        self.trace(Resource::Nodes)
    }

    /// Whether `party` takes part (authorities send transactions, but are no parties).
    pub(super) fn require_party(&self, party: PartyId) -> Result<(), CallError> {
        let active = self.party(&party)?.is_some_and(|found| found.is_active(self.at.time));
        if active { Ok(()) } else { Err(Reason::UnknownParty(party).into()) }
    }
}
