//! The data structures of the contracts as they lie in the state (Listing 1.1), and the keys under which they lie.

mod nodes;

use std::collections::BTreeSet;

use borsh::{BorshDeserialize, BorshSerialize};
use dt_model::{
    ComponentId, ContentHash, Digest, Domain, EncryptionKey, Name, PartyId, Timestamp, TwinId, codec,
};
use serde::{Deserialize, Serialize};

use crate::state::MAX_VALUE_BYTES;
use crate::{CallResult, DocumentId, FeedReference, ProgramCall, Uri, Version};

pub use nodes::{NodeRecord, Nodes, NodesChange, NodesHead};

/// Where something lies in the state. Its canonical encoding is the key; the twin comes first after the tag, so that all of a twin's
/// things of one sort lie together.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, BorshSerialize, BorshDeserialize)]
pub enum StateKey {
    /// An organisation's authority → [`crate::OrganisationRecord`].
    Organisation(PartyId),
    /// The keys whose votes commit blocks: those of all organisations, sorted.
    Validators,
    /// A party → [`Party`].
    Party(PartyId),
    /// A sender → how many of its transactions are committed.
    Nonce(PartyId),
    /// How many DHT nodes there are → [`NodesHead`].
    Nodes,
    /// A twin → [`Twin`].
    Twin(TwinId),
    /// A party's roles in a twin.
    Roles(TwinId, PartyId),
    /// The policy at an element, or at the root.
    Policy(TwinId, Option<ComponentId>),
    /// An element that was removed → the address of the element that it stood under, or `None` for the root.
    Former(TwinId, ComponentId),
    /// The specification's [`Specification`].
    Specification(TwinId),
    /// A document → [`DocumentRecord`].
    Document(TwinId, DocumentId),
    /// A version of a document before its newest, counted from 1 → [`VersionRecord`].
    DocumentVersion(TwinId, DocumentId, u32),
    /// An external source → [`Source`].
    Source(TwinId, Uri),
    /// A component's feed → [`Feed`].
    Feed(TwinId, ComponentId),
    /// A program call → [`CallRecord`].
    Call(TwinId, u64),
    /// An item's access control list, as a party has anchored it → [`AclAnchor`].
    AclAnchor(TwinId, Digest, PartyId),
    /// A feed's head, as its publisher has anchored it → [`HeadAnchor`]. A feed's address under another publisher is another key, so that
    /// nobody can raise the floor of a feed that is not his.
    HeadAnchor(TwinId, FeedReference),
    /// A traced thing other than a document → [`TraceHead`].
    Trace(Digest),
    /// The organisations and their rules → [`crate::Consortium`].
    Consortium,
    /// A proposal to the organisations → [`crate::ProposalRecord`].
    Proposal(Digest),
    /// The twin's [`crate::SafetyRules`].
    Safety(TwinId),
    /// A program that was started → [`crate::safety::ProgramHistory`].
    Program(TwinId, ComponentId),
    /// A DHT node → [`NodeRecord`].
    Node(PartyId),
    /// An authority → those of its parties that have a DHT node.
    NodesOf(PartyId),
    /// The change of DHT nodes that an epoch began with, or the one that waits → [`NodesChange`].
    NodesChange(Option<u64>),
}

/// No key is longer: the longest has a twin and a URI.
const MAX_KEY_BYTES: usize = 64 * 1024;

impl StateKey {
    /// The bytes under which it is stored and proven.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// The key with these bytes, if they are one.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        codec::decode(bytes, MAX_KEY_BYTES).ok()
    }

    /// What the keys of all rows of one sort (of one twin) start with.
    pub(crate) fn prefix(sort: Sort, twin: Option<&TwinId>) -> Vec<u8> {
        let mut prefix = vec![sort as u8];
        prefix.extend(twin.map(TwinId::as_bytes).into_iter().flatten());
        prefix
    }
}

/// The sorts of rows that are listed: the tag of their variant of [`StateKey`].
#[derive(Clone, Copy)]
pub(crate) enum Sort {
    Organisation = 0,
    Party = 2,
    Roles = 6,
    Specification = 9,
    Document = 10,
    Source = 12,
    Feed = 13,
    Proposal = 19,
    Node = 22,
    NodesChange = 24,
}

/// A lifecycle party as the ledger knows it.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct Party {
    /// What people call it.
    pub name: Name,
    /// The authority that certified it.
    pub authority: PartyId,
    /// The key under which items are wrapped for it.
    pub encryption_key: EncryptionKey,
    /// The first moment at which its certificate is no longer valid.
    pub not_after: Timestamp,
    /// When its certificate was revoked, if it was. Only a certificate that begins later enrols it again.
    pub revoked: Option<Timestamp>,
}

impl Party {
    /// Whether its certificate is good at `now`. Whether it takes part hangs on its organisation too: ask [`crate::State::is_active`].
    pub(crate) fn is_certified(&self, now: Timestamp) -> bool {
        self.revoked.is_none() && now < self.not_after
    }
}

/// A twin (the metadata of Listing 1.1, and its program call queue).
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct Twin {
    /// `deviceName`.
    pub device_name: Name,
    /// `deviceID`.
    pub device_id: Name,
    /// The owner.
    pub owner: PartyId,
    /// The party that acts for the device.
    pub agent: Option<PartyId>,
    /// When it was created.
    pub created: Timestamp,
    /// When its life ended, if it has.
    pub decommissioned: Option<Timestamp>,
    /// `callProgramQueue`: the calls that have not ended, in the order in which they came.
    pub queue: Vec<u64>,
    /// How many calls there ever were.
    pub calls: u64,
    /// The newest fencing epoch that the present agent claimed.
    pub epoch: u64,
}

/// Where the specification stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct Specification {
    /// The AML document's subtree root.
    pub root: Digest,
    /// How often it was changed.
    pub version: u64,
}

/// A document (struct `Document` of Listing 1.1).
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct DocumentRecord {
    /// The title.
    pub title: Name,
    /// The media type.
    pub media_type: Name,
    /// What it belongs to.
    pub component: Option<ComponentId>,
    /// Who added it.
    pub author: PartyId,
    /// When.
    pub added: Timestamp,
    /// How many versions it has.
    pub versions: u32,
    /// The newest of them. Those before stand in rows of their own.
    pub newest: VersionRecord,
    /// When it was taken out of use, if it was.
    pub removed: Option<Timestamp>,
    /// Where its trace stands.
    pub traced: TraceHead,
}

/// A version of a document.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct VersionRecord {
    /// What was registered.
    pub version: Version,
    /// Who registered it.
    pub author: PartyId,
    /// When.
    pub time: Timestamp,
}

impl VersionRecord {
    /// SHA-256 of the content.
    #[must_use]
    pub const fn content(&self) -> &ContentHash {
        &self.version.content
    }
}

/// An external source (struct `ExternalSource` of Listing 1.1).
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct Source {
    /// Who provides it.
    pub owner: PartyId,
    /// What it belongs to.
    pub component: Option<ComponentId>,
    /// When it was added.
    pub added: Timestamp,
}

/// A component's stream (mapping `sensorFeeds` of Listing 1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct Feed {
    /// Where it lies, and who publishes it.
    pub reference: FeedReference,
    /// Who linked it.
    pub linked_by: PartyId,
    /// When.
    pub linked: Timestamp,
}

/// A call of a program, and how far it has come.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct CallRecord {
    /// What is called.
    pub call: ProgramCall,
    /// By whom.
    pub caller: PartyId,
    /// When it was committed.
    pub committed: Timestamp,
    /// The version of the twin's safety rules under which it was admitted.
    pub admitted_under: u64,
    /// The version of the twin's safety rules under which it was started, if it was.
    pub started_under: Option<u64>,
    /// How far it has come.
    pub status: CallStatus,
    /// When it came so far.
    pub since: Timestamp,
}

/// How far a call has come. A call goes only forward: committed, claimed, started, ended.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CallStatus {
    /// It waits for the agent.
    Committed,
    /// The agent took it under this fencing epoch.
    Claimed(u64),
    /// The agent is about to actuate, or has.
    Started(u64),
    /// It was actuated; this came of it.
    Completed(CallResult),
    /// The agent's own check refused it, by this rule.
    Rejected(Name),
    /// It was taken back.
    Cancelled,
    /// Its time was over before it was started.
    Expired,
}

/// An item's access control list under the ledger's protection, as one party saw it.
///
/// Each party's anchors stand by themselves, so that nobody can raise another's floor beyond what exists. A reader goes by those of the
/// item's author and of the twin's owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct AclAnchor {
    /// The list's version.
    pub version: u64,
    /// The digest of that version.
    pub digest: Digest,
}

/// A feed's head under the ledger's protection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct HeadAnchor {
    /// Entries in the feed.
    pub size: u64,
    /// The root of its tree.
    pub root: Digest,
}

/// The last link of a thing's trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct TraceHead {
    /// How many writes there were.
    pub count: u64,
    /// The digest of the last entry.
    pub last: Digest,
}

/// Whatever is traced: each write to one of these is a link in its chain (paper, section 3.2, *trace*).
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, BorshSerialize, BorshDeserialize, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Resource {
    /// A party.
    Party(PartyId),
    /// The set of DHT nodes.
    Nodes,
    /// A twin as a whole: its owner, agent, end.
    Twin(TwinId),
    /// An element of the specification, with what was linked to it.
    Element(TwinId, ComponentId),
    /// A document.
    Document(TwinId, DocumentId),
    /// An external source.
    Source(TwinId, Uri),
    /// A component's feed.
    Feed(TwinId, ComponentId),
    /// A program call.
    Call(TwinId, u64),
    /// Who may do what: at an element, or (`None`) at the root with the roles.
    Policy(TwinId, Option<ComponentId>),
    /// An item on the DHT whose access control list is anchored.
    Item(TwinId, Digest),
    /// An organisation: that it came, went, or named other validators.
    Organisation(PartyId),
    /// A proposal to the organisations: that it was made, voted on, withdrawn.
    Proposal(Digest),
    /// Which organisations there are, and by which rules they decide.
    Consortium,
    /// The safety rules of a twin.
    Safety(TwinId),
}

const RESOURCE: Domain = Domain::new("dt/ledger/resource/v1");
const TRACE_ENTRY: Domain = Domain::new("dt/ledger/trace-entry/v1");

impl Resource {
    /// Its digest: by this the state and the lists name a thing that is not a document.
    #[must_use]
    pub fn digest(&self) -> Digest {
        RESOURCE.sha256_of(self)
    }

    /// Where the state says how far its trace has come: a document's in its record, since there are many of them, and each of the others
    /// in a row of its own.
    #[must_use]
    pub fn head_key(&self) -> StateKey {
        match self {
            Self::Document(twin, document) => StateKey::Document(*twin, *document),
            _ => StateKey::Trace(self.digest()),
        }
    }

    /// How far its trace has come, by the value that the state holds at [`Resource::head_key`].
    ///
    /// # Errors
    /// [`codec::DecodeError`] where that is no such value.
    pub fn head_in(&self, value: &[u8]) -> Result<TraceHead, codec::DecodeError> {
        match self {
            Self::Document(..) => {
                codec::decode(value, MAX_VALUE_BYTES).map(|record: DocumentRecord| record.traced)
            }
            _ => codec::decode(value, MAX_VALUE_BYTES),
        }
    }

    /// The twin that it belongs to, if it is a twin's.
    #[must_use]
    pub const fn twin(&self) -> Option<TwinId> {
        match self {
            Self::Party(_) | Self::Nodes | Self::Organisation(_) | Self::Proposal(_) | Self::Consortium => {
                None
            }
            Self::Twin(twin)
            | Self::Element(twin, _)
            | Self::Document(twin, _)
            | Self::Source(twin, _)
            | Self::Feed(twin, _)
            | Self::Call(twin, _)
            | Self::Policy(twin, _)
            | Self::Item(twin, _)
            | Self::Safety(twin) => Some(*twin),
        }
    }

    /// The element of the specification that it names, with its twin: an element itself, its feed, its policy.
    #[must_use]
    pub const fn component(&self) -> Option<(TwinId, &ComponentId)> {
        match self {
            Self::Element(twin, component)
            | Self::Feed(twin, component)
            | Self::Policy(twin, Some(component)) => Some((*twin, component)),
            _ => None,
        }
    }
}

/// One write to one thing.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct TraceEntry {
    /// What was written.
    pub resource: Resource,
    /// Which write to it this is, counted from 1.
    pub number: u64,
    /// The block.
    pub height: u64,
    /// The block's time.
    pub time: Timestamp,
    /// The transaction.
    pub transaction: Digest,
    /// The call in that transaction, counted from 0.
    pub call: u32,
    /// Who wrote.
    pub author: PartyId,
    /// The digest of the entry before; zero for the first.
    pub previous: Digest,
}

impl TraceEntry {
    /// The digest that the next entry holds.
    #[must_use]
    pub fn digest(&self) -> Digest {
        TRACE_ENTRY.sha256_of(self)
    }
}

/// A party's roles in a twin.
pub type Roles = BTreeSet<Name>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sort_is_the_tag_of_its_variant() {
        let twin = TwinId::from([7; 32]);
        let component = ComponentId::new("c").unwrap();
        let uri = Uri::new("u").unwrap();
        let party = dt_model::testing::identity(1);
        let party = dt_model::Signer::party(&party);
        let document = DocumentId::from([0; 32]);
        for (sort, key) in [
            (Sort::Roles, StateKey::Roles(twin, party)),
            (Sort::Specification, StateKey::Specification(twin)),
            (Sort::Document, StateKey::Document(twin, document)),
            (Sort::Source, StateKey::Source(twin, uri)),
            (Sort::Feed, StateKey::Feed(twin, component)),
        ] {
            assert!(key.to_bytes().starts_with(&StateKey::prefix(sort, Some(&twin))));
        }
        for (sort, key) in [
            (Sort::Organisation, StateKey::Organisation(party)),
            (Sort::Party, StateKey::Party(party)),
            (Sort::Proposal, StateKey::Proposal(Digest::ZERO)),
        ] {
            assert!(key.to_bytes().starts_with(&StateKey::prefix(sort, None)));
        }
    }
}
