//! What a participant can ask of its node: each verb in the words of the library crates.

use std::time::Duration;

use bytes::Bytes;
use dt_acl::Revocation;
use dt_ledger::{
    Consensus as _, CreateTwin, DocumentId, DocumentRecord, EventCursor, EventFilter, EventPage, Order,
    Place, Policy, ProgramCall, Query, Scope, State as _,
};
use dt_model::{ComponentId, Digest, PartyId, Signer as _, TwinId};
use dt_sync::{Heading, Reading};
use tokio::time::timeout;

use super::Node;
use super::content::Incoming;
use crate::api;
use crate::clock;
use crate::failure::{Failure, Kind};

/// Entries of each list of a twin that are shown.
const SHOWN: usize = 100;
/// A program call may be good for a day.
const MAX_VALID_MS: u64 = 24 * 60 * 60 * 1000;

pub(super) async fn status(node: &Node) -> Result<api::Status, Failure> {
    let (state, tip) = (node.ledger.state()?, node.replica().tip());
    let storage = match node.storage.get() {
        None => None,
        Some(storage) => {
            let status = storage.transport.status().await;
            Some(api::StorageStatus {
                epoch: storage.client.items().client().membership().epoch(),
                serves: storage.replica.is_some(),
                connected: status.as_ref().map_or(0, |status| status.connected.len() as u64),
                refused: status.map_or(0, |status| status.refused),
            })
        }
    };
    Ok(api::Status {
        name: node.settings.name.clone(),
        party: node.party.party(),
        registered: state.party(&node.party.party())?.is_some(),
        chain: node.replica().chain(),
        height: tip.height,
        time: tip.time,
        state_root: tip.state_root,
        pending: node.consensus.status().pending as u64,
        validators: tip.validators.len() as u64,
        nodes: state.nodes_head()?,
        storage,
        device: node.device.as_ref().map(|_| node.board.status().clone()),
        twins: state.twins().take(SHOWN).collect(),
    })
}

/// The party of that key, or the only one of that name.
fn party(node: &Node, text: &str) -> Result<PartyId, Failure> {
    if let Ok(party) = text.parse() {
        return Ok(party);
    }
    let parties = node.ledger.state()?.parties()?;
    let mut named = parties.into_iter().filter(|(_, record)| record.name.as_str() == text);
    match (named.next(), named.next()) {
        (Some((party, _)), None) => Ok(party),
        (None, _) => Err(Failure::not_found(format_args!("no party is called {text}"))),
        _ => Err(Failure::bad_input(format_args!("several parties are called {text}: give its key"))),
    }
}

pub(super) async fn create(node: &Node, create: api::Create, aml: Bytes) -> Result<api::Created, Failure> {
    let agent = create.agent.as_deref().map(|agent| party(node, agent)).transpose()?;
    let client = &node.storage()?.client;
    let create = CreateTwin {
        device_name: create.device_name,
        device_id: create.device_id,
        aml: aml.into(),
        policy: Policy::paper_default(),
        roles: std::collections::BTreeMap::new(),
        agent,
    };
    Ok(api::Created { twin: client.create_twin(create).await? })
}

pub(super) fn show(node: &Node, twin: TwinId) -> Result<api::Twin, Failure> {
    let state = node.ledger.state()?;
    let record = state.twin(&twin)?;
    let specified = state.specification_state(&twin)?;
    let mut participants = Vec::new();
    for (party, roles) in state.participants_page(&twin, None, SHOWN)? {
        let name = state.party(&party)?.map(|record| record.name);
        participants.push(api::Participant { party, name, roles: roles.into_iter().collect() });
    }
    let documents = state.documents_page(&twin, None, SHOWN)?;
    let feeds = state.feeds_page(&twin, None, SHOWN)?;
    Ok(api::Twin {
        twin,
        device_name: record.device_name,
        device_id: record.device_id,
        owner: record.owner,
        agent: record.agent,
        created: record.created,
        decommissioned: record.decommissioned,
        specification_root: specified.root,
        specification_version: specified.version,
        specification_bytes: state.specification(&twin).map_or(0, |document| document.len()),
        calls: record.calls,
        documents: documents.into_iter().map(|(id, record)| shown(id, record)).collect(),
        feeds: feeds.into_iter().map(|(component, _)| component).collect(),
        participants,
    })
}

fn shown(document: DocumentId, record: DocumentRecord) -> api::Document {
    api::Document {
        document,
        title: record.title,
        media_type: record.media_type,
        component: record.component,
        author: record.author,
        versions: record.versions,
        size: record.newest.version.size,
        sha256: record.newest.version.content,
        removed: record.removed,
    }
}

pub(super) async fn element(node: &Node, twin: TwinId, at: api::At) -> Result<api::Element, Failure> {
    let specification = node.ledger.specification(&twin)?;
    let wrong = |error| Failure::not_found(format_args!("{}: {error}", at.address));
    let element = specification.find(&at.address).map_err(wrong)?;
    Ok(api::Element {
        name: element.name().map(std::borrow::Cow::into_owned),
        hash: element.hash().to_string(),
        source: element.source().into_owned(),
        address: element.address().unwrap_or_else(|| at.address.clone()),
    })
}

pub(super) async fn readings(node: &Node, twin: TwinId, at: api::At) -> Result<Vec<Reading>, Failure> {
    let component = ComponentId::new(at.address).map_err(Failure::bad_input)?;
    let (client, now) = (&node.storage()?.client, clock::now());
    let feed = client.feed(&twin, &component)?;
    Ok(client.readings(&twin, &component, &feed, now).await?.latest(now).await?)
}

pub(super) async fn edit(node: &Node, twin: TwinId, edit: api::Edit) -> Result<api::Committed, Failure> {
    let executed = node.storage()?.client.edit_specification(twin, edit.edits).await?;
    Ok(api::Committed { transaction: executed.transaction, height: executed.height })
}

pub(super) async fn put(
    node: &Node,
    twin: TwinId,
    put: api::Put,
    content: Incoming,
) -> Result<api::Stored, Failure> {
    let (client, now) = (&node.storage()?.client, clock::now());
    let Incoming { mut file, size, hash } = content;
    let document = match (put.document, put.title, put.media_type) {
        (Some(document), None, None) => {
            client.stream_version(twin, document, &mut file, now).await?;
            document
        }
        (None, Some(title), Some(media_type)) => {
            let component = put.component.as_ref();
            let heading = Heading { title: &title, media_type: &media_type, component };
            client.stream_document(twin, heading, &mut file, now).await?
        }
        _ => {
            return Err(Failure::bad_input("a new document has title and media type, a new version neither"));
        }
    };
    let record = node.ledger.state()?.document(&twin, &document)?;
    let record =
        record.ok_or_else(|| Failure::new(Kind::Internal, "the document is not where it was put"))?;
    Ok(api::Stored { document, version: record.versions, size, sha256: hash })
}

pub(super) async fn grant(node: &Node, twin: TwinId, grant: api::Grant) -> Result<api::Granted, Failure> {
    let api::Grant { party: named, role, history } = grant;
    let party = party(node, &named)?;
    node.storage()?.client.grant(twin, party, role, history, clock::now()).await?;
    Ok(api::Granted { party })
}

pub(super) async fn revoke(node: &Node, twin: TwinId, revoke: api::Revoke) -> Result<api::Revoked, Failure> {
    let party = party(node, &revoke.party)?;
    let how = if revoke.eager { Revocation::Eager } else { Revocation::Lazy };
    let items = node.storage()?.client.revoke(twin, party, how, clock::now()).await?;
    Ok(api::Revoked { party, items: items.len() as u64 })
}

pub(super) async fn call(node: &Node, twin: TwinId, call: api::CallProgram) -> Result<api::Call, Failure> {
    let guard = match call.guarded {
        true => Some(Digest::from(*node.ledger.specification(&twin)?.root_hash().as_bytes())),
        false => None,
    };
    let valid = Duration::from_millis(call.valid_ms.min(MAX_VALID_MS));
    let program = ProgramCall {
        program: call.program,
        parameters: call.parameters,
        valid_until: clock::now().saturating_add(valid),
        guard,
    };
    let number = node.storage()?.client.call_program(twin, program).await?;
    call_state(node, twin, number)
}

pub(super) fn call_state(node: &Node, twin: TwinId, call: u64) -> Result<api::Call, Failure> {
    Ok(api::Call { call, status: node.ledger.state()?.call(&twin, call)?.status })
}

pub(super) fn history(node: &Node, of: api::HistoryOf) -> Result<api::History, Failure> {
    let scope = match (of.twin, of.component) {
        (Some(twin), Some(component)) => Some(Scope::Component(twin, component)),
        (Some(twin), None) => Some(Scope::Twin(twin)),
        (None, None) => None,
        (None, Some(_)) => return Err(Failure::bad_input("an element is one of a twin")),
    };
    let after = of.after.as_deref().map(point).transpose()?.map(|(height, index)| Place { height, index });
    let query = Query {
        party: of.party.as_deref().map(|text| party(node, text)).transpose()?,
        scope,
        order: if of.newest_first { Order::NewestFirst } else { Order::OldestFirst },
        after,
        limit: of.limit,
        ..Query::default()
    };
    Ok(node.replica().query(&query)?.into())
}

fn point(text: &str) -> Result<(u64, u32), Failure> {
    api::point(text).ok_or_else(|| Failure::bad_input(format_args!("{text}: a point is HEIGHT.INDEX")))
}

pub(super) fn block(node: &Node, height: u64) -> Result<api::Block, Failure> {
    let missing = || Failure::not_found(format_args!("there is no block {height} here"));
    let (header, certificate) = node.replica().header(height)?.ok_or_else(missing)?;
    Ok(api::Block {
        height,
        digest: header.digest(),
        time: header.time,
        state_root: header.state_root,
        votes: certificate.votes.len() as u64,
    })
}

/// The next events; if there are none yet, those of the next block that has any, if it comes in time.
pub(super) async fn events(node: &Node, follow: api::Follow) -> Result<EventPage, Failure> {
    let (height, index) = point(&follow.from)?;
    let (mut from, filter) = (EventCursor { height, index }, EventFilter::default().twins(follow.twin));
    let wait = async {
        loop {
            let page = node.replica().events(from, &filter, follow.limit).map_err(|error| match error {
                dt_ledger::EventsError::Store(error) => Failure::from(error),
                error => Failure::not_found(error),
            })?;
            if !page.events.is_empty() || node.is_stopping() {
                return Ok(page);
            }
            if page.next == from {
                let mut stop = node.stop.subscribe();
                tokio::select! {
                    _ = node.consensus.committed(from.height.max(node.replica().tip().height + 1)) => {}
                    _ = stop.wait_for(|stop| *stop) => {}
                }
            }
            from = page.next;
        }
    };
    match timeout(Duration::from_millis(follow.wait_ms), wait).await {
        Ok(page) => page,
        Err(_) => Ok(EventPage { events: Vec::new(), next: from }),
    }
}

pub(super) fn intervene(node: &Node, intervention: api::Intervention) -> Result<api::Done, Failure> {
    let device = node.device.as_ref();
    let device = device.ok_or_else(|| Failure::not_found("this node simulates no device"))?;
    device.intervene(intervention)?;
    Ok(api::Done { done: true })
}
