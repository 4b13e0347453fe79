//! What the commands ask of a node, and what it answers: both sides share these types, as JSON, or as a query where a body goes with it.

use std::collections::BTreeMap;

use dt_acl::History as Past;
use dt_ledger::{Argument, CallStatus, DocumentId, NodesHead, Outcome, Page, Place, Resource};
use dt_model::{ComponentId, ContentHash, Digest, Name, PartyId, Timestamp, TwinId};
use serde::{Deserialize, Serialize};

use crate::failure::Failure;

/// How a node stands.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Status {
    pub(crate) name: Name,
    pub(crate) party: PartyId,
    /// Whether the ledger knows the party.
    pub(crate) registered: bool,
    pub(crate) chain: Digest,
    pub(crate) height: u64,
    pub(crate) time: Timestamp,
    pub(crate) state_root: Digest,
    /// Transactions that wait here for a block.
    pub(crate) pending: u64,
    /// How many keys vote on blocks.
    pub(crate) validators: u64,
    /// The DHT, as the ledger has it.
    pub(crate) nodes: NodesHead,
    /// The party's part in the DHT, once it is up.
    pub(crate) storage: Option<StorageStatus>,
    /// The device agent, where there is one.
    pub(crate) device: Option<DeviceStatus>,
    pub(crate) twins: Vec<TwinId>,
}

/// A party's part in the DHT.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct StorageStatus {
    pub(crate) epoch: u64,
    pub(crate) serves: bool,
    pub(crate) connected: u64,
    /// How often somebody was not let in.
    pub(crate) refused: u64,
}

/// A device agent.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct DeviceStatus {
    /// The agent's own party.
    pub(crate) agent: Option<PartyId>,
    /// The twin that it acts for, once that is on the ledger.
    pub(crate) twin: Option<TwinId>,
    pub(crate) readings: u64,
    /// Sensors that left what the specification allows, the rule that they broke, and when.
    pub(crate) anomalies: Vec<Anomaly>,
    /// Calls that were dealt with.
    pub(crate) served: u64,
    /// Components that were exchanged.
    pub(crate) exchanged: u64,
}

/// A reading that the specification does not allow.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Anomaly {
    pub(crate) component: ComponentId,
    pub(crate) time: Timestamp,
    pub(crate) value: String,
    pub(crate) rule: String,
}

/// Whether a node can be used.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Readiness {
    /// All of the others.
    pub(crate) ready: bool,
    /// The last block is not old.
    pub(crate) caught_up: bool,
    /// The ledger knows the party.
    pub(crate) registered: bool,
    /// A quorum of the DHT's nodes answered just now.
    pub(crate) storage: bool,
    pub(crate) height: u64,
}

/// Query: creates a twin of the specification in the body.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Create {
    pub(crate) device_id: Name,
    pub(crate) device_name: Name,
    /// A party's key, or its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) agent: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Created {
    pub(crate) twin: TwinId,
}

/// A twin.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Twin {
    pub(crate) twin: TwinId,
    pub(crate) device_name: Name,
    pub(crate) device_id: Name,
    pub(crate) owner: PartyId,
    pub(crate) agent: Option<PartyId>,
    pub(crate) created: Timestamp,
    pub(crate) decommissioned: Option<Timestamp>,
    pub(crate) specification_root: Digest,
    pub(crate) specification_version: u64,
    pub(crate) specification_bytes: u64,
    pub(crate) calls: u64,
    /// The first hundred.
    pub(crate) documents: Vec<Document>,
    /// The first hundred components with a feed.
    pub(crate) feeds: Vec<ComponentId>,
    /// The first hundred who hold a role.
    pub(crate) participants: Vec<Participant>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Document {
    pub(crate) document: DocumentId,
    pub(crate) title: Name,
    pub(crate) media_type: Name,
    pub(crate) component: Option<ComponentId>,
    pub(crate) author: PartyId,
    pub(crate) versions: u32,
    pub(crate) size: u64,
    pub(crate) sha256: ContentHash,
    pub(crate) removed: Option<Timestamp>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Participant {
    pub(crate) party: PartyId,
    pub(crate) name: Option<Name>,
    pub(crate) roles: Vec<Name>,
}

/// An element of a specification.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Element {
    pub(crate) address: String,
    pub(crate) name: Option<String>,
    pub(crate) hash: String,
    pub(crate) source: String,
}

/// Query: an address in the specification.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct At {
    pub(crate) address: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Edit {
    pub(crate) edits: Vec<dt_aml::Edit>,
}

/// A transaction that was committed and applied.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Committed {
    pub(crate) transaction: Digest,
    pub(crate) height: u64,
}

/// Query: shares the document in the body, as a new one or as a new version of `document`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Put {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) title: Option<Name>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) media_type: Option<Name>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) component: Option<ComponentId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) document: Option<DocumentId>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Stored {
    pub(crate) document: DocumentId,
    pub(crate) version: u32,
    pub(crate) size: u64,
    pub(crate) sha256: ContentHash,
}

/// Query: a version of a document, counted from 1; the newest without it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Get {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) version: Option<u32>,
}

/// The header that says what the ledger registered of the document in the body.
pub(crate) const SHA256_HEADER: &str = "x-content-sha256";

/// Gives a party a role.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Grant {
    /// A party's key, or its name.
    pub(crate) party: String,
    pub(crate) role: Name,
    pub(crate) history: Past,
}

/// Takes all its roles from a party.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Revoke {
    /// A party's key, or its name.
    pub(crate) party: String,
    /// Whether what is stored is encrypted anew at once.
    pub(crate) eager: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Granted {
    pub(crate) party: PartyId,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Revoked {
    pub(crate) party: PartyId,
    /// Items that go on under another key.
    pub(crate) items: u64,
}

/// Calls a program of the machine.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CallProgram {
    pub(crate) program: ComponentId,
    pub(crate) parameters: BTreeMap<Name, Argument>,
    /// From so many milliseconds on the call is void, unless it was started.
    pub(crate) valid_ms: u64,
    /// Whether the call holds only while the specification is as it is now.
    pub(crate) guarded: bool,
}

/// A call, and how far it has come.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Call {
    pub(crate) call: u64,
    pub(crate) status: CallStatus,
}

impl Call {
    /// Whether nothing will become of it any more than what has.
    pub(crate) const fn has_ended(&self) -> bool {
        !matches!(self.status, CallStatus::Committed | CallStatus::Claimed(_) | CallStatus::Started(_))
    }
}

/// Query: a part of the chain's history.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HistoryOf {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) twin: Option<TwinId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) component: Option<ComponentId>,
    /// A party's key, or its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) party: Option<String>,
    /// `HEIGHT.INDEX`: what the page before ended with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) after: Option<String>,
    #[serde(default)]
    pub(crate) newest_first: bool,
    pub(crate) limit: u32,
}

/// A part of the chain's history.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct History {
    pub(crate) entries: Vec<Entry>,
    /// `HEIGHT.INDEX`: after which to go on, if there may be more.
    pub(crate) next: Option<String>,
}

/// A transaction, and what became of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// `HEIGHT.INDEX`.
    pub(crate) place: String,
    pub(crate) time: Timestamp,
    pub(crate) transaction: Digest,
    pub(crate) sender: PartyId,
    pub(crate) outcome: Outcome,
    /// What it touched.
    pub(crate) resources: Vec<Resource>,
}

impl From<Page> for History {
    fn from(page: Page) -> Self {
        let entries = page.entries.into_iter().map(|entry| Entry {
            place: shown(entry.place),
            time: entry.time,
            transaction: entry.transaction,
            sender: entry.sender,
            outcome: entry.outcome,
            resources: entry.resources.into_keys().collect(),
        });
        Self { entries: entries.collect(), next: page.next.map(shown) }
    }
}

/// `HEIGHT.INDEX`, as pages and cursors are written.
pub(crate) fn point(text: &str) -> Option<(u64, u32)> {
    let (height, index) = text.split_once('.')?;
    Some((height.parse().ok()?, index.parse().ok()?))
}

/// A place as [`point`] reads it.
fn shown(place: Place) -> String {
    format!("{}.{}", place.height, place.index)
}

/// A line of an audit's answer: how far it is, and at last what came of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum AuditNews {
    /// Everything up to this block is in order.
    Height(u64),
    /// Everything is.
    Done(Audited),
    /// Something is not, or could not be looked at.
    Failed(Failure),
}

/// What an audit found in order.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Audited {
    pub(crate) height: u64,
    pub(crate) block: Digest,
    pub(crate) state_root: Digest,
    pub(crate) applied: u64,
    pub(crate) rejected: u64,
    pub(crate) rows: u64,
}

/// A block, in short.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Block {
    pub(crate) height: u64,
    pub(crate) digest: Digest,
    pub(crate) time: Timestamp,
    /// The state's root before it.
    pub(crate) state_root: Digest,
    pub(crate) votes: u64,
}

/// Query: what happened on the ledger after a cursor.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Follow {
    /// `HEIGHT.INDEX`: where the page before ended.
    pub(crate) from: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) twin: Option<TwinId>,
    pub(crate) limit: u32,
    /// How long to wait for the first event.
    pub(crate) wait_ms: u64,
}

/// What is done to the simulated device: by somebody who stands beside it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Intervention {
    /// A sensor fails, and shows this from now on.
    Break { sensor: ComponentId, shows: i64 },
    /// A sensor is exchanged for another, which says this of itself.
    Exchange { old: ComponentId, new: ComponentId, fragment: String },
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Done {
    pub(crate) done: bool,
}
