//! Roles and policies: what the authorization contract decides by (paper, sections 4.4 and 4.5).

use std::collections::{BTreeMap, BTreeSet};

use borsh::{BorshDeserialize, BorshSerialize};
use dt_model::{DataClass, Name, Operation, Permission};
use serde::{Deserialize, Serialize};

/// To whom a policy gives permissions.
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, BorshSerialize, BorshDeserialize, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Subject {
    /// Whoever holds this role in the twin.
    Role(Name),
    /// Whoever holds any role in the twin: its lifecycle parties. Parties of the chain that have no part in the twin are not among
    /// them.
    Everyone,
}

/// Who may do what, at one element of the specification and below it, as far as no nearer policy stands.
///
/// There are no deny rules: what is not permitted is refused.
#[derive(Debug, Clone, PartialEq, Eq, Default, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct Policy {
    grants: Vec<Grant>,
}

#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
struct Grant {
    subject: Subject,
    permissions: BTreeSet<Permission>,
}

/// The role of the party that owns the device and the twin.
pub const OWNER: &str = "owner";
/// The role of the party that maintains the device.
pub const MAINTAINER: &str = "maintainer";
/// The role of the device agent.
pub const AGENT: &str = "device-agent";

impl Policy {
    /// Grants that one policy may hold; more roles than this are a sign of a missing one.
    pub const MAX_GRANTS: usize = 64;

    /// A policy that permits nothing.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// This policy, which besides permits `permissions` to `subject`.
    #[must_use]
    pub fn allow(mut self, subject: Subject, permissions: impl IntoIterator<Item = Permission>) -> Self {
        match self.grants.binary_search_by(|grant| grant.subject.cmp(&subject)) {
            Ok(at) => self.grants[at].permissions.extend(permissions),
            Err(at) => {
                self.grants.insert(at, Grant { subject, permissions: permissions.into_iter().collect() });
            }
        }
        self
    }

    /// The defaults of section 4.5: write by owner and maintainer, read by everyone else.
    ///
    /// Owner and maintainer may also execute programs; the owner administers; the device agent writes what it observes of the asset:
    /// the specification and the links to feeds.
    #[must_use]
    pub fn paper_default() -> Self {
        use DataClass::{Document, ExternalSource, Program, Sensor, Specification};
        let role = |name: &str| Name::new(name).map(Subject::Role);
        let write = [Specification, Document, ExternalSource, Sensor]
            .map(|class| Permission::new(Operation::Write, class));
        let execute = Permission::new(Operation::Execute, Program);
        let administer = Permission::new(Operation::Administer, DataClass::Policy);
        let mut policy = Self::none().allow(Subject::Everyone, Permission::read_all());
        let grants: [(&str, BTreeSet<Permission>); 3] = [
            (OWNER, write.into_iter().chain([execute, administer]).collect()),
            (MAINTAINER, write.into_iter().chain([execute]).collect()),
            (AGENT, [Specification, Sensor].map(|class| Permission::new(Operation::Write, class)).into()),
        ];
        for (name, permissions) in grants {
            if let Ok(subject) = role(name) {
                policy = policy.allow(subject, permissions);
            }
        }
        policy
    }

    /// Whether a holder of `roles` may exercise `permission`.
    #[must_use]
    pub fn permits(&self, roles: &BTreeSet<Name>, permission: Permission) -> bool {
        self.grants.iter().any(|grant| {
            grant.permissions.contains(&permission)
                && match &grant.subject {
                    Subject::Role(name) => roles.contains(name),
                    Subject::Everyone => !roles.is_empty(),
                }
        })
    }

    /// Who is permitted what.
    #[must_use]
    pub fn grants(&self) -> BTreeMap<&Subject, &BTreeSet<Permission>> {
        self.grants.iter().map(|grant| (&grant.subject, &grant.permissions)).collect()
    }

    /// Whether the grants are few enough, sorted, and each subject has one: the form in which a policy is accepted.
    #[must_use]
    pub fn is_canonical(&self) -> bool {
        self.grants.len() <= Self::MAX_GRANTS && self.grants.is_sorted_by(|a, b| a.subject < b.subject)
    }
}
