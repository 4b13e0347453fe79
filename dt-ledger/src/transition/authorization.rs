//! The authorization contract: roles per twin, and policies on elements of its specification (paper, section 4.4).

use dt_model::{ComponentId, DataClass, Name, Operation, PartyId, TwinId};

use super::Transition;
use crate::Reason;
use crate::policy::{OWNER, Policy};
use crate::receipt::TwinEvent;
use crate::record::{Resource, StateKey, Twin};
use crate::state::{CallError, State};

/// Roles that one party may hold in one twin.
pub(super) const MAX_ROLES: usize = 32;

impl Transition<'_> {
    pub(super) fn assign_role(
        &mut self,
        sender: PartyId,
        id: TwinId,
        party: PartyId,
        role: &Name,
    ) -> Result<(), CallError> {
        self.require(sender, &id, Operation::Administer, DataClass::Policy, None)?;
        if role.as_str() == OWNER {
            return Err(Reason::OwnerRole.into());
        }
        self.require_party(party)?;
        self.give_role(id, party, role.as_str())?;
        self.tell(id, TwinEvent::RoleAssigned(party, role.clone()));
        self.trace(Resource::Policy(id, None))
    }

    pub(super) fn unassign_role(
        &mut self,
        sender: PartyId,
        id: TwinId,
        twin: &Twin,
        party: PartyId,
        role: &Name,
    ) -> Result<(), CallError> {
        self.require(sender, &id, Operation::Administer, DataClass::Policy, None)?;
        if party == twin.owner && role.as_str() == OWNER {
            return Err(Reason::OwnerRole.into());
        }
        if !self.take_role(id, party, role.as_str())? {
            return Err(Reason::RoleNotHeld.into());
        }
        self.tell(id, TwinEvent::RoleUnassigned(party, role.clone()));
        self.trace(Resource::Policy(id, None))
    }

    /// Sets a policy. What may be changed is what may be administered *so far*: nobody widens his own rights above himself.
    pub(super) fn set_policy(
        &mut self,
        sender: PartyId,
        id: TwinId,
        component: Option<&ComponentId>,
        policy: &Policy,
    ) -> Result<(), CallError> {
        self.require(sender, &id, Operation::Administer, DataClass::Policy, component)?;
        self.require_component(&id, component)?;
        if !policy.is_canonical() {
            return Err(Reason::NotCanonical.into());
        }
        self.put(&StateKey::Policy(id, component.cloned()), policy);
        self.policy_changed(id, component)
    }

    pub(super) fn remove_policy(
        &mut self,
        sender: PartyId,
        id: TwinId,
        component: &ComponentId,
    ) -> Result<(), CallError> {
        self.require(sender, &id, Operation::Administer, DataClass::Policy, Some(component))?;
        let key = StateKey::Policy(id, Some(component.clone()));
        if self.raw(&key)?.is_none() {
            return Err(Reason::UnknownComponent(component.clone()).into());
        }
        self.remove(&key);
        self.policy_changed(id, Some(component))
    }

    fn policy_changed(&mut self, id: TwinId, component: Option<&ComponentId>) -> Result<(), CallError> {
        self.tell(id, TwinEvent::PolicyChanged(component.cloned()));
        self.trace(Resource::Policy(id, component.cloned()))
    }

    /// Adds a role to what a party holds.
    pub(super) fn give_role(&mut self, id: TwinId, party: PartyId, role: &str) -> Result<(), CallError> {
        let mut roles = self.roles(&id, &party)?;
        roles.insert(Name::new(role).map_err(|_| Reason::NotCanonical)?);
        if roles.len() > MAX_ROLES {
            return Err(Reason::Full.into());
        }
        self.put(&StateKey::Roles(id, party), &roles);
        Ok(())
    }

    /// Takes a role from what a party holds; whether it held it.
    pub(super) fn take_role(&mut self, id: TwinId, party: PartyId, role: &str) -> Result<bool, CallError> {
        let mut roles = self.roles(&id, &party)?;
        let held = roles.remove(role);
        let key = StateKey::Roles(id, party);
        if roles.is_empty() {
            self.remove(&key)
        } else {
            self.put(&key, &roles)
        }
        Ok(held)
    }
}
