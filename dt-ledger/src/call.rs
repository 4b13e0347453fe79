//! What a transaction asks for: the function interfaces of the specification contract (Listing 1.2) and of the authorization contract,
//! plus what practice forces.

use std::collections::BTreeMap;

use borsh::{BorshDeserialize, BorshSerialize};
use dt_aml::Edit;
use dt_model::{ComponentId, ContentHash, Digest, EncryptionKey, Name, PartyId, Text, Timestamp, TwinId};
use serde::{Deserialize, Serialize};

use crate::safety::SafetyRule;
use crate::{Credential, Policy, Proposal};

dt_model::fixed_bytes! {
    /// A document of a twin. Derived from the block and the transaction that added it, so that it names one document in the world, and that
    /// those of a twin are in the order in which they came.
    pub struct DocumentId(32);
}

/// A reference to data outside: RFC 3986, at most 1 KiB. Nothing here fetches it.
pub type Uri = Text<1024>;

/// One request to the contracts.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub enum Call {
    /// Enrols the sender, whom an organisation has certified; or renews the certificate of one that takes part, if the same authority
    /// signed one that ends later.
    Register {
        /// The certificate, signed by the organisation's authority.
        certificate: Credential,
    },
    /// Makes a new encryption key the sender's.
    RotateEncryptionKey {
        /// The new key.
        key: EncryptionKey,
    },
    /// Ends a party's membership: by the authority that certified it, or by the party itself.
    RevokeCertificate {
        /// Whose.
        party: PartyId,
    },
    /// Registers the sender's DHT node, or changes where it is reached. It holds data with the next change of nodes.
    RegisterNode {
        /// Where it is reached.
        endpoints: Vec<Uri>,
    },
    /// Takes the sender's DHT node out of the membership, with the next change of nodes: it MUST run on until that is complete.
    RetireNode,
    /// States that the sender's DHT node holds everything that is its own in a joint epoch. When all new nodes but *k* have, the epoch ends,
    /// and the nodes that were to leave are asked no more.
    HandOver {
        /// Which epoch.
        epoch: u64,
    },
    /// Names the validators of the sender's organisation; by its authority.
    SetValidators {
        /// All of them, each once; none takes the organisation out of the making of blocks.
        validators: Vec<PartyId>,
    },
    /// Proposes a change to the organisations, and votes for it; by an authority. Where one vote is enough, it is enacted at once.
    Propose {
        /// The change.
        proposal: Proposal,
        /// For how many milliseconds it can be voted on: at least 1, at most [`crate::MAX_PROPOSAL_MILLIS`].
        millis: u64,
    },
    /// Agrees to a proposal; by an authority. The vote that makes up the number enacts it.
    Vote {
        /// Which: [`crate::proposal_id`].
        proposal: Digest,
    },
    /// Takes back a proposal; by the authority that made it.
    Withdraw {
        /// Which.
        proposal: Digest,
    },
    /// Creates a twin, owned by the sender (section 4.5).
    CreateTwin(CreateTwin),
    /// Does something to a twin that exists.
    Twin {
        /// Which twin.
        twin: TwinId,
        /// What.
        call: TwinCall,
    },
}

/// A twin to be created: the metadata and specification of Listing 1.1 and the rights of section 4.5.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct CreateTwin {
    /// `deviceName`.
    pub device_name: Name,
    /// `deviceID`: the owner's name for the device, unique among the owner's twins.
    pub device_id: Name,
    /// `deviceAML`: the specification, as the bytes of its file.
    pub aml: Vec<u8>,
    /// The policy at the root of the specification.
    pub policy: Policy,
    /// Who holds which roles from the beginning. The sender becomes [`crate::OWNER`] besides.
    pub roles: BTreeMap<PartyId, Vec<Name>>,
    /// The party that acts for the device, which becomes [`crate::AGENT`] besides.
    pub agent: Option<PartyId>,
}

/// What can be done to a twin.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub enum TwinCall {
    /// Hands the twin to another registered party; by the owner.
    TransferOwnership {
        /// The new owner.
        to: PartyId,
    },
    /// Ends the twin's life: it stays readable and auditable, and nothing changes any more; by the owner.
    Decommission,
    /// Names the party that acts for the device, or none; by the owner. Calls that the former agent claimed are open again.
    SetAgent {
        /// The new agent.
        agent: Option<PartyId>,
    },

    /// Gives a party a role; by whoever administers the root.
    AssignRole {
        /// The party.
        party: PartyId,
        /// The role.
        role: Name,
    },
    /// Takes a role from a party; by whoever administers the root.
    UnassignRole {
        /// The party.
        party: PartyId,
        /// The role.
        role: Name,
    },
    /// Sets the policy at an element, or at the root; by whoever administers that element so far.
    SetPolicy {
        /// The element; `None` is the root.
        component: Option<ComponentId>,
        /// The policy.
        policy: Policy,
    },
    /// Removes the policy at an element, so that the next one above decides.
    RemovePolicy {
        /// The element.
        component: ComponentId,
    },
    /// Sets the safety rules of the twin's programs, all of them at once; by whoever administers the root.
    SetSafetyRules {
        /// The rules.
        rules: Vec<SafetyRule>,
        /// The version of the rules before (optimistic locking): 0 where there were none.
        expected: u64,
    },

    /// `addDocument`: registers a document that lies on the DHT.
    AddDocument(Document),
    /// `addDocumentVersion`: registers a new version of a document.
    AddDocumentVersion {
        /// Which document.
        document: DocumentId,
        /// The new version.
        version: Version,
    },
    /// `removeDocument`: takes a document out of use. Its versions stay in history.
    RemoveDocument {
        /// Which document.
        document: DocumentId,
    },
    /// `addExternalSource`: registers data that stays with its owner, the sender.
    AddExternalSource {
        /// Where it is.
        uri: Uri,
        /// What it belongs to; `None` is the twin as a whole.
        component: Option<ComponentId>,
    },
    /// `removeExternalSource`.
    RemoveExternalSource {
        /// Where it is.
        uri: Uri,
    },
    /// `addSensorFeed`: links a component to its stream on the DHT.
    AddSensorFeed {
        /// The component.
        component: ComponentId,
        /// The stream.
        feed: FeedReference,
    },
    /// `removeSensorFeed`: ends that link. The stream stays where it is, and the link in history.
    RemoveSensorFeed {
        /// The component.
        component: ComponentId,
    },
    /// `insertAML` and `removeAML`, and the other edits of [`dt_aml`]: edits of the specification, all or none of them. Whoever makes one
    /// needs the right to write wherever it reaches.
    EditAml {
        /// The edits, in order.
        edits: Vec<Edit>,
        /// If given, the specification's subtree root before the edits: else they are refused (optimistic locking).
        expected: Option<Digest>,
    },

    /// `callProgram`: queues a call for the device agent.
    CallProgram(ProgramCall),
    /// Takes back a call that has not been started; by its caller, or by the owner.
    CancelCall {
        /// Its number.
        call: u64,
    },
    /// The agent takes the waiting calls under a new fencing epoch; whoever held an earlier epoch can no longer act on them.
    ClaimCalls {
        /// Greater than every earlier epoch of this agent.
        epoch: u64,
    },
    /// The agent is about to actuate; from here on the call is not taken back.
    StartCall {
        /// Its number.
        call: u64,
        /// The epoch under which it was claimed.
        epoch: u64,
    },
    /// The agent says how a started call ended.
    CompleteCall {
        /// Its number.
        call: u64,
        /// The epoch under which it was claimed.
        epoch: u64,
        /// How it ended.
        result: CallResult,
    },
    /// The agent refuses a claimed call that its own check does not pass.
    RejectCall {
        /// Its number.
        call: u64,
        /// The epoch under which it was claimed.
        epoch: u64,
        /// The rule that it breaks.
        rule: Name,
    },
    /// The agent says what the device shows of a program's parameters. These are their last values then, for the rules that limit steps.
    ReportValues {
        /// The program; none of its calls is under way.
        program: ComponentId,
        /// The newest epoch.
        epoch: u64,
        /// The values of some or all of its parameters, in the units of the specification.
        values: BTreeMap<Name, Argument>,
    },

    /// Puts an item's access control list under the protection of the ledger: whoever trusts the sender with the item (its author, the
    /// twin's owner) refuses older ones from now on.
    AnchorAcl {
        /// The item on the DHT.
        item: Digest,
        /// The version of its list.
        version: u64,
        /// The digest of that version.
        digest: Digest,
    },
    /// Puts a feed's head under the protection of the ledger: shorter or other histories are refused from now on. By the feed's
    /// publisher, for a component whose feed it is.
    AnchorHead {
        /// The component.
        component: ComponentId,
        /// Entries in the feed.
        size: u64,
        /// The root of its tree of entries.
        root: Digest,
    },
}

/// A document to be registered (struct `Document` of Listing 1.1; author and time are the transaction's).
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct Document {
    /// The title.
    pub title: Name,
    /// The media type (RFC 6838), such as `application/pdf`.
    pub media_type: Name,
    /// What it belongs to; `None` is the twin as a whole.
    pub component: Option<ComponentId>,
    /// Its first version.
    pub version: Version,
}

/// One version of a document.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct Version {
    /// Bytes of the content.
    pub size: u64,
    /// SHA-256 of the content.
    pub content: ContentHash,
    /// The item on the DHT that holds it.
    pub item: Digest,
    /// For results of monitoring, simulation or analysis: what they were made from, so that others can repeat them (section 4.4).
    pub provenance: Option<Provenance>,
}

/// What an analysis result was made from.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct Provenance {
    /// The specification's subtree root.
    pub specification: Digest,
    /// Ranges of feeds: the feed, its first entry, and the entry after its last.
    pub feeds: Vec<(Digest, u64, u64)>,
    /// The program or method that made it.
    pub method: Name,
}

/// Where a sensor's stream lies.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    BorshSerialize,
    BorshDeserialize,
    Serialize,
    Deserialize,
)]
pub struct FeedReference {
    /// The feed's address on the DHT.
    pub feed: Digest,
    /// The only party that can extend it.
    pub publisher: PartyId,
}

/// A call of one of the machine's programs.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct ProgramCall {
    /// The program: an element of the specification.
    pub program: ComponentId,
    /// Its parameters by name.
    pub parameters: BTreeMap<Name, Argument>,
    /// From this moment on the call is void, unless it was started.
    pub valid_until: Timestamp,
    /// If given, the call holds only while the specification has this subtree root: what the caller saw is what is acted upon.
    pub guard: Option<Digest>,
}

/// A parameter's value, in the notation of its data type (XML Schema part 2), and its unit.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct Argument {
    /// The value; numbers in decimal notation.
    pub value: Text<256>,
    /// The unit, which MUST be the specification's: nothing is converted.
    pub unit: Option<Name>,
}

/// How a started call ended.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CallResult {
    /// The machine did it; what it said.
    Succeeded(Text<1024>),
    /// The machine refused or failed; what it said.
    Failed(Text<1024>),
    /// The agent lost sight of it: it may or may not have happened, and must not be repeated blindly.
    Unknown,
}
