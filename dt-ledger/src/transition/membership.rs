//! Who takes part: enrolment, key rotation, revocation (paper, section 4.5).

use dt_model::{EncryptionKey, PartyId};

use super::Transition;
use crate::receipt::EventKind;
use crate::record::{Party, Resource, StateKey};
use crate::replica::admission;
use crate::state::{CallError, State};
use crate::{Credential, Reason};

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
                // A node is its authority's to take away; one that another authority's certificate had stays behind.
                if let Some(former) = self.party(&sender)?.filter(|former| former.authority != authority) {
                    self.retire_node_of(sender, former.authority)?;
                }
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
        self.retire_node_of(revoked, party.authority).map(drop)
    }

    /// Whether `party` takes part (authorities send transactions, but are no parties).
    pub(super) fn require_party(&self, party: PartyId) -> Result<(), CallError> {
        self.active_party(&party, self.at.time)?.map(drop).ok_or(Reason::UnknownParty(party).into())
    }
}
