//! A twin's life: creation, ownership, its device agent, its end (paper, sections 4.3 and 4.5).

use std::collections::BTreeSet;

use dt_aml::Document;
use dt_model::{Digest, Domain, Name, PartyId, Text, TwinId};

use super::Transition;
use super::authorization::MAX_ROLES;
use crate::call::CreateTwin;
use crate::policy::{AGENT, OWNER};
use crate::receipt::{EventKind, TwinEvent};
use crate::record::{CallStatus, Resource, Specification, StateKey, Twin};
use crate::replica::specification::{Specified, root_of};
use crate::state::{CallError, State};
use crate::transaction::{AML_LIMITS, MAX_AML_BYTES};
use crate::{CallRecord, Reason};

const TWIN: Domain = Domain::new("dt/ledger/twin/v1");

/// The twin that `owner` would create on `chain` for `device_id`.
#[must_use]
pub fn twin_id(chain: &Digest, owner: &PartyId, device_id: &Name) -> TwinId {
    TwinId::from(*TWIN.sha256_of(&(chain, owner, device_id)).as_bytes())
}

impl Transition<'_> {
    pub(super) fn create_twin(&mut self, sender: PartyId, create: &CreateTwin) -> Result<(), CallError> {
        self.require_party(sender)?;
        let id = twin_id(&self.at.chain, &sender, &create.device_id);
        if self.raw(&StateKey::Twin(id))?.is_some() {
            return Err(Reason::TwinExists.into());
        }
        if !create.policy.is_canonical() {
            return Err(Reason::NotCanonical.into());
        }
        if create.aml.len() > MAX_AML_BYTES {
            return Err(Reason::Full.into());
        }
        let document = Document::parse(&create.aml, &AML_LIMITS)
            .map_err(|error| Reason::BadSpecification(Text::abridged(&error.to_string())))?;
        let twin = Twin {
            device_name: create.device_name.clone(),
            device_id: create.device_id.clone(),
            owner: sender,
            agent: create.agent,
            created: self.at.time,
            decommissioned: None,
            queue: Vec::new(),
            calls: 0,
            epoch: 0,
        };
        self.put(&StateKey::Twin(id), &twin);
        self.put(&StateKey::Policy(id, None), &create.policy);
        let root = root_of(&document);
        self.put(&StateKey::Specification(id), &Specification { root, version: 0 });
        let first = Specified::first(id, document, &create.aml, &mut self.staged.specification_rows);
        self.staged.specifications.insert(id, first);
        self.first_roles(sender, id, create)?;
        self.tell_kind(EventKind::TwinCreated(id));
        self.trace(Resource::Policy(id, None))?;
        self.trace(Resource::Twin(id))
    }

    fn first_roles(&mut self, sender: PartyId, id: TwinId, create: &CreateTwin) -> Result<(), CallError> {
        for (party, names) in &create.roles {
            let roles: BTreeSet<Name> = names.iter().cloned().collect();
            if roles.is_empty() || roles.len() != names.len() || roles.len() > MAX_ROLES {
                return Err(Reason::NotCanonical.into());
            }
            if *party != sender && roles.contains(OWNER) {
                return Err(Reason::OwnerRole.into());
            }
            self.require_party(*party)?;
            self.put(&StateKey::Roles(id, *party), &roles);
        }
        self.give_role(id, sender, OWNER)?;
        if let Some(agent) = create.agent {
            self.require_party(agent)?;
            self.give_role(id, agent, AGENT)?;
        }
        Ok(())
    }

    pub(super) fn transfer_ownership(
        &mut self,
        sender: PartyId,
        id: TwinId,
        twin: Twin,
        to: PartyId,
    ) -> Result<(), CallError> {
        require_owner(sender, &twin)?;
        self.require_party(to)?;
        self.take_role(id, sender, OWNER)?;
        self.give_role(id, to, OWNER)?;
        self.put(&StateKey::Twin(id), &Twin { owner: to, ..twin });
        self.tell(id, TwinEvent::OwnershipTransferred(to));
        self.trace(Resource::Policy(id, None))?;
        self.trace(Resource::Twin(id))
    }

    pub(super) fn decommission(&mut self, sender: PartyId, id: TwinId, twin: Twin) -> Result<(), CallError> {
        require_owner(sender, &twin)?;
        self.put(&StateKey::Twin(id), &Twin { decommissioned: Some(self.at.time), ..twin });
        self.tell(id, TwinEvent::Decommissioned);
        self.trace(Resource::Twin(id))
    }

    pub(super) fn set_agent(
        &mut self,
        sender: PartyId,
        id: TwinId,
        twin: Twin,
        agent: Option<PartyId>,
    ) -> Result<(), CallError> {
        require_owner(sender, &twin)?;
        if let Some(former) = twin.agent {
            self.take_role(id, former, AGENT)?;
        }
        if let Some(agent) = agent {
            self.require_party(agent)?;
            self.give_role(id, agent, AGENT)?;
        }
        // What the former agent claimed and did not start is open again; what it started is the next claim's to settle.
        for &number in &twin.queue {
            let record = self.call(&id, number)?;
            if matches!(record.status, CallStatus::Claimed(_)) {
                let open = CallRecord { status: CallStatus::Committed, since: self.at.time, ..record };
                self.put(&StateKey::Call(id, number), &open);
                self.trace(Resource::Call(id, number))?;
            }
        }
        // Epochs fence an agent's own processes from each other. Another party counts anew, or else the former agent could have
        // claimed the last epoch there is, and left the twin without any agent for ever.
        let epoch = if agent == twin.agent { twin.epoch } else { 0 };
        self.put(&StateKey::Twin(id), &Twin { agent, epoch, ..twin });
        self.tell(id, TwinEvent::AgentChanged(agent));
        self.trace(Resource::Twin(id))
    }
}

pub(super) fn require_owner(sender: PartyId, twin: &Twin) -> Result<(), CallError> {
    if sender == twin.owner { Ok(()) } else { Err(Reason::NotTheOwner.into()) }
}
