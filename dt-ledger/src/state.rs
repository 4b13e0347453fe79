//! Reading the contracts' state: typed, from a snapshot or from a block that is being applied; and the authorization decision.

use std::collections::BTreeMap;
use std::sync::Arc;

use borsh::{BorshDeserialize, BorshSerialize};
use dt_aml::Document;
use dt_model::{ComponentId, DataClass, Digest, Operation, PartyId, Permission, Timestamp, TwinId, codec};
use thiserror::Error;

use crate::policy::Policy;
use crate::record::{
    AclAnchor, CallRecord, DocumentRecord, Feed, HeadAnchor, NodeRecord, NodesHead, Party, Resource, Roles,
    Source, Specification, StateKey, TraceHead, Twin, VersionRecord,
};
use crate::replica::specification::Specifications;
use crate::safety::{Facts, Observed, ProgramHistory, SafetyRules};
use crate::store::{StoreError, StoreView, Table};
use crate::tree::{self, StateProof};
use crate::{Consortium, DocumentId, FeedReference, OrganisationRecord, ProposalRecord, Reason, Uri};

/// Why a question to the contracts was not answered with yes.
#[derive(Debug, Error)]
pub enum CallError {
    /// The contracts refuse.
    #[error(transparent)]
    Refused(#[from] Reason),
    /// The store did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// No value in the state is longer: the largest is what one transaction brings.
pub(crate) const MAX_VALUE_BYTES: usize = 2 * 1024 * 1024;
/// How many removed elements are followed upwards to one that stands: twice what can be nested. Beyond, nothing is permitted.
const MAX_FORMER: usize = 512;

/// What the state holds at a key.
pub trait Record: BorshSerialize + BorshDeserialize + Clone + 'static {}

impl<T: BorshSerialize + BorshDeserialize + Clone + 'static> Record for T {}

/// The contracts' state at one moment.
pub trait State: Sized {
    /// The bytes at `key`.
    ///
    /// # Errors
    /// [`StoreError`].
    fn raw(&self, key: &StateKey) -> Result<Option<Vec<u8>>, StoreError>;

    /// The specification of `twin`, parsed.
    fn specification(&self, twin: &TwinId) -> Option<&Arc<Document>>;

    /// The value at `key`.
    ///
    /// # Errors
    /// [`StoreError`].
    fn read<T: Record>(&self, key: &StateKey) -> Result<Option<T>, StoreError> {
        let Some(bytes) = self.raw(key)? else { return Ok(None) };
        decode_value(key, &bytes).map(Some)
    }

    /// A registered party, whether or not it still takes part.
    ///
    /// # Errors
    /// [`StoreError`].
    fn party(&self, party: &PartyId) -> Result<Option<Party>, StoreError> {
        self.read(&StateKey::Party(*party))
    }

    /// Whether a party with this record takes part at `now`: its certificate is good, and its organisation is one of the chain's.
    ///
    /// This MUST be the only rule by which anything asks.
    ///
    /// # Errors
    /// [`StoreError`].
    fn is_active(&self, party: &Party, now: Timestamp) -> Result<bool, StoreError> {
        Ok(party.is_certified(now) && self.raw(&StateKey::Organisation(party.authority))?.is_some())
    }

    /// The party, if it takes part at `now`.
    ///
    /// # Errors
    /// [`StoreError`].
    fn active_party(&self, party: &PartyId, now: Timestamp) -> Result<Option<Party>, StoreError> {
        let Some(record) = self.party(party)? else { return Ok(None) };
        Ok(self.is_active(&record, now)?.then_some(record))
    }

    /// The organisation of `authority`.
    ///
    /// # Errors
    /// [`StoreError`].
    fn organisation(&self, authority: &PartyId) -> Result<Option<OrganisationRecord>, StoreError> {
        self.read(&StateKey::Organisation(*authority))
    }

    /// Which organisations there are, and by which rules they decide.
    ///
    /// # Errors
    /// [`StoreError`], also where there is none: every chain begins with one.
    fn consortium(&self) -> Result<Consortium, StoreError> {
        let key = StateKey::Consortium;
        let damaged = || StoreError::Damaged { table: Table::State, key: StateKey::Consortium.to_bytes() };
        self.read(&key)?.ok_or_else(damaged)
    }

    /// A proposal to the organisations that was neither enacted nor withdrawn.
    ///
    /// # Errors
    /// [`StoreError`].
    fn proposal(&self, proposal: &Digest) -> Result<Option<ProposalRecord>, StoreError> {
        self.read(&StateKey::Proposal(*proposal))
    }

    /// How many transactions of `sender` are committed: the nonce of its next one.
    ///
    /// # Errors
    /// [`StoreError`].
    fn nonce(&self, sender: &PartyId) -> Result<u64, StoreError> {
        Ok(self.read(&StateKey::Nonce(*sender))?.unwrap_or(0))
    }

    /// The keys whose votes commit blocks: those of all organisations, sorted.
    ///
    /// # Errors
    /// [`StoreError`].
    fn validators(&self) -> Result<Vec<PartyId>, StoreError> {
        Ok(self.read(&StateKey::Validators)?.unwrap_or_default())
    }

    /// Where the DHT's membership stands.
    ///
    /// # Errors
    /// [`StoreError`].
    fn nodes_head(&self) -> Result<NodesHead, StoreError> {
        Ok(self.read(&StateKey::Nodes)?.unwrap_or_default())
    }

    /// A DHT node.
    ///
    /// # Errors
    /// [`StoreError`].
    fn node(&self, node: &PartyId) -> Result<Option<NodeRecord>, StoreError> {
        self.read(&StateKey::Node(*node))
    }

    /// A twin.
    ///
    /// # Errors
    /// [`Reason::UnknownTwin`] or [`StoreError`].
    fn twin(&self, twin: &TwinId) -> Result<Twin, CallError> {
        Ok(self.read(&StateKey::Twin(*twin))?.ok_or(Reason::UnknownTwin(*twin))?)
    }

    /// The roles of `party` in `twin`.
    ///
    /// # Errors
    /// [`StoreError`].
    fn roles(&self, twin: &TwinId, party: &PartyId) -> Result<Roles, StoreError> {
        Ok(self.read(&StateKey::Roles(*twin, *party))?.unwrap_or_default())
    }

    /// Where the specification of `twin` stands.
    ///
    /// # Errors
    /// [`Reason::UnknownTwin`] or [`StoreError`].
    fn specification_state(&self, twin: &TwinId) -> Result<Specification, CallError> {
        Ok(self.read(&StateKey::Specification(*twin))?.ok_or(Reason::UnknownTwin(*twin))?)
    }

    /// A document, whether or not it is still in use.
    ///
    /// # Errors
    /// [`StoreError`].
    fn document(&self, twin: &TwinId, document: &DocumentId) -> Result<Option<DocumentRecord>, StoreError> {
        self.read(&StateKey::Document(*twin, *document))
    }

    /// A version of a document, counted from 1.
    ///
    /// # Errors
    /// [`StoreError`].
    fn document_version(
        &self,
        twin: &TwinId,
        document: &DocumentId,
        number: u32,
    ) -> Result<Option<VersionRecord>, StoreError> {
        match self.document(twin, document)? {
            Some(record) if record.versions == number => Ok(Some(record.newest)),
            _ => self.read(&StateKey::DocumentVersion(*twin, *document, number)),
        }
    }

    /// An external source.
    ///
    /// # Errors
    /// [`StoreError`].
    fn source(&self, twin: &TwinId, uri: &Uri) -> Result<Option<Source>, StoreError> {
        self.read(&StateKey::Source(*twin, uri.clone()))
    }

    /// The feed of a component.
    ///
    /// # Errors
    /// [`StoreError`].
    fn feed(&self, twin: &TwinId, component: &ComponentId) -> Result<Option<Feed>, StoreError> {
        self.read(&StateKey::Feed(*twin, component.clone()))
    }

    /// A program call.
    ///
    /// # Errors
    /// [`Reason::UnknownCall`] or [`StoreError`].
    fn call(&self, twin: &TwinId, number: u64) -> Result<CallRecord, CallError> {
        Ok(self.read(&StateKey::Call(*twin, number))?.ok_or(Reason::UnknownCall(number))?)
    }

    /// The safety rules of a twin.
    ///
    /// # Errors
    /// [`StoreError`].
    fn safety_rules(&self, twin: &TwinId) -> Result<SafetyRules, StoreError> {
        Ok(self.read(&StateKey::Safety(*twin))?.unwrap_or_default())
    }

    /// What is remembered of a program's starts and parameters.
    ///
    /// # Errors
    /// [`StoreError`].
    fn program_history(&self, twin: &TwinId, program: &ComponentId) -> Result<ProgramHistory, StoreError> {
        Ok(self.read(&StateKey::Program(*twin, program.clone()))?.unwrap_or_default())
    }

    /// What the ledger knows for the judgement of a call of `program` at `now` ([`crate::check_call`]): the values of a call that is under
    /// way count already.
    ///
    /// # Errors
    /// [`CallError::Store`].
    fn safety_facts(&self, twin: &TwinId, program: &ComponentId, now: Timestamp) -> Result<Facts, CallError> {
        let ProgramHistory { starts, mut values, under_way } = self.program_history(twin, program)?;
        if let Some(call) = under_way {
            let asked = self.call(twin, call)?.call.parameters;
            values.extend(asked.into_iter().map(|(name, asked)| (name, Observed::Value(asked))));
        }
        Ok(Facts { now, starts, values, variables: BTreeMap::new() })
    }

    /// The access control list of an item, as `by` has anchored it.
    ///
    /// # Errors
    /// [`StoreError`].
    fn acl_anchor(
        &self,
        twin: &TwinId,
        item: &Digest,
        by: &PartyId,
    ) -> Result<Option<AclAnchor>, StoreError> {
        self.read(&StateKey::AclAnchor(*twin, *item, *by))
    }

    /// The anchored head of a feed.
    ///
    /// # Errors
    /// [`StoreError`].
    fn head_anchor(&self, twin: &TwinId, feed: &FeedReference) -> Result<Option<HeadAnchor>, StoreError> {
        self.read(&StateKey::HeadAnchor(*twin, *feed))
    }

    /// Where the trace of a resource stands.
    ///
    /// # Errors
    /// [`StoreError`].
    fn trace_head(&self, resource: &Resource) -> Result<Option<TraceHead>, StoreError> {
        trace_head_at(self, &resource.head_key(), resource)
    }

    /// The policy that decides at `component` (`None` is the root): the nearest one above or at it.
    ///
    /// # Errors
    /// [`Reason::UnknownTwin`] or [`StoreError`].
    fn deciding_policy(&self, twin: &TwinId, component: Option<&ComponentId>) -> Result<Policy, CallError> {
        deciding_policy(self, twin, component)
    }

    /// The paper's *authorize* (sections 3.2 and 4.4): whether `party` may do `operation` to data of `class` at `component` (`None`
    /// is the root of the specification) of `twin` at `now`.
    ///
    /// The nearest ancestor-or-self of the component that has a policy decides, alone. A component that was removed is judged as
    /// though it still stood under the element that it was removed from, so that what was linked to it does not lose its guard.
    /// The owner may always administer, everywhere: no element can be left without anybody who may.
    ///
    /// # Errors
    /// [`CallError::Refused`] with the rule, or [`CallError::Store`].
    fn authorize(
        &self,
        twin: &TwinId,
        party: &PartyId,
        permission: Permission,
        component: Option<&ComponentId>,
        now: Timestamp,
    ) -> Result<(), CallError> {
        if self.active_party(party, now)?.is_none() {
            return Err(Reason::UnknownParty(*party).into());
        }
        let administers = permission == Permission::new(Operation::Administer, DataClass::Policy);
        if administers && self.twin(twin)?.owner == *party {
            return Ok(());
        }
        if self.deciding_policy(twin, component)?.permits(&self.roles(twin, party)?, permission) {
            return Ok(());
        }
        let Permission { operation, class } = permission;
        Err(Reason::NotPermitted { operation, class, component: component.cloned() }.into())
    }
}

/// How far the trace of `resource` has come, whose [`Resource::head_key`] is `key`.
pub(crate) fn trace_head_at(
    state: &impl State,
    key: &StateKey,
    resource: &Resource,
) -> Result<Option<TraceHead>, StoreError> {
    let head = |value: Vec<u8>| {
        resource.head_in(&value).map_err(|_| StoreError::Damaged { table: Table::State, key: key.to_bytes() })
    };
    state.raw(key)?.map(head).transpose()
}

/// The keys whose votes commit blocks, by the state in `view`.
pub(crate) fn validators_of(view: &dyn StoreView) -> Result<Vec<PartyId>, StoreError> {
    let key = StateKey::Validators;
    let bytes = view.get(Table::State, &key.to_bytes())?;
    bytes.map_or(Ok(Vec::new()), |bytes| decode_value(&key, &bytes))
}

pub(crate) fn decode_value<T: BorshSerialize + BorshDeserialize>(
    key: &StateKey,
    bytes: &[u8],
) -> Result<T, StoreError> {
    codec::decode(bytes, MAX_VALUE_BYTES)
        .map_err(|_| StoreError::Damaged { table: Table::State, key: key.to_bytes() })
}

/// The policy that decides at `component`: the nearest one above or at it.
fn deciding_policy(
    state: &impl State,
    twin: &TwinId,
    component: Option<&ComponentId>,
) -> Result<Policy, CallError> {
    let policy_at = |at| state.read::<Policy>(&StateKey::Policy(*twin, at));
    let mut at = component.cloned();
    let mut former = 0;
    while let Some(removed) = at {
        let document = state.specification(twin).ok_or(Reason::UnknownTwin(*twin))?;
        if let Ok(element) = document.find(removed.as_str()) {
            // By the element, not by what it was called: the same element may answer to an ID and to a path.
            for above in element.ancestors().filter_map(component_of) {
                if let Some(policy) = policy_at(Some(above))? {
                    return Ok(policy);
                }
            }
            break;
        }
        if let Some(policy) = policy_at(Some(removed.clone()))? {
            return Ok(policy);
        }
        if former == MAX_FORMER {
            return Ok(Policy::none());
        }
        former += 1;
        at = state.read::<Option<ComponentId>>(&StateKey::Former(*twin, removed))?.flatten();
    }
    Ok(policy_at(None)?.ok_or(Reason::UnknownTwin(*twin))?)
}

/// What the ledger calls `element`, if it can: its ID, where that is its own alone.
///
/// Policies, documents, sources and feeds hang on IDs only. A path finds an element too, but whoever inserts a sibling of the same
/// name makes it find none, and what stood there would lose its scope.
pub(crate) fn component_of(element: dt_aml::Element<'_>) -> Option<ComponentId> {
    let id = element.id()?;
    let is_its_own = element.address().as_deref() == Some(&*id);
    if is_its_own { ComponentId::new(id.into_owned()).ok() } else { None }
}

/// The nearest component above `element`; `None` is the root.
pub(crate) fn enclosing(element: dt_aml::Element<'_>) -> Option<ComponentId> {
    element.ancestors().skip(1).find_map(component_of)
}

/// The state after a certain block, unmoved by later ones.
pub struct Snapshot {
    pub(crate) view: Box<dyn StoreView>,
    pub(crate) specifications: Arc<Specifications>,
}

impl State for Snapshot {
    fn raw(&self, key: &StateKey) -> Result<Option<Vec<u8>>, StoreError> {
        self.view.get(Table::State, &key.to_bytes())
    }

    fn specification(&self, twin: &TwinId) -> Option<&Arc<Document>> {
        self.specifications.get(twin).map(|specified| &specified.document)
    }
}

impl Snapshot {
    /// Proof of what the state holds at `key`, or that it holds nothing there, under the state's root.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn prove(&self, key: &StateKey) -> Result<StateProof, StoreError> {
        tree::prove(&*self.view, &key.to_bytes())
    }

    /// The Merkle root of the state.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn root(&self) -> Result<Digest, StoreError> {
        tree::root(&*self.view)
    }
}
