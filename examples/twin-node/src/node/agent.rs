//! The device agent's part: a party of its own, which acts for the twin of this node's device.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dt_dht_libp2p::Libp2pTransport;
use dt_feed::BatchPolicy;
use dt_ledger::{State as _, twin_id};
use dt_model::{Signer as _, TwinId};
use dt_sync::{Agent, AgentError, Device, Journal};
use tracing::{info, warn};

use super::{Node, household, storage};
use crate::api::{Anomaly, DeviceStatus};
use crate::clock;
use crate::failure::{Failure, at};
use crate::folder::Key;

/// Between two looks whether the twin is there, and after something failed.
const PAUSE: Duration = Duration::from_millis(500);
/// Anomalies that are remembered here; the readings themselves lie in the feeds.
const MOST_ANOMALIES: usize = 100;

/// What the agent tells of itself.
#[derive(Default)]
pub(super) struct AgentBoard(Mutex<DeviceStatus>);

impl AgentBoard {
    pub(super) fn status(&self) -> MutexGuard<'_, DeviceStatus> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Acts for the device from the moment on at which its twin is on the ledger.
pub(super) async fn run(node: Arc<Node>) {
    let Some(device) = &node.device else { return };
    let period = super::device::pull_period(device.settings());
    let (mut agent, transport) = loop {
        match start(&node).await {
            Ok(Some(started)) => break started,
            Ok(None) => {}
            Err(failure) => warn!(%failure, "the agent has not started yet"),
        }
        if !node.pause(PAUSE).await {
            return;
        }
    };
    loop {
        if let Err(error) = work(&node, &mut agent).await {
            warn!(error = %Failure::internal(&error), "the agent's work is done again");
        }
        if !node.pause(period).await {
            break;
        }
    }
    let _ = agent.flush(clock::now()).await;
    transport.shut_down().await;
}

/// Starts the agent, if DHT and twin are there.
async fn start(node: &Node) -> Result<Option<(Agent, Libp2pTransport)>, Failure> {
    let (Some(device), Some(_)) = (&node.device, node.storage.get()) else { return Ok(None) };
    let party = node.folder.key(Key::Agent)?;
    let twin = twin_id(&node.replica().chain(), &node.ledger.party(), &device.settings().id);
    node.board.status().agent = Some(party.party());
    if !is_agent(node, &twin, &party.party())? {
        return Ok(None);
    }
    let Some(membership) = storage::membership(node)? else { return Ok(None) };
    let transport = Libp2pTransport::start(&party, &membership, None, storage::network()).await;
    let transport = transport.map_err(|error| Failure::internal(&error))?;
    let ledger = household::of(node, Arc::clone(&party));
    let client = storage::client(ledger, party, &transport, &membership)?;
    let path = node.folder.device().join("agent.journal");
    let journal =
        Journal::open(&path, twin, node.replica().tip().height).map_err(|error| at(&path, error))?;
    let device = Arc::clone(device) as Arc<dyn Device>;
    let agent = Agent::start(client, twin, device, journal, BatchPolicy::default(), clock::now()).await;
    let agent = agent.map_err(|error| Failure::internal(&error))?;
    info!(twin = %twin.short(), "the agent acts for its twin");
    node.board.status().twin = Some(twin);
    Ok(Some((agent, transport)))
}

fn is_agent(node: &Node, twin: &TwinId, party: &dt_model::PartyId) -> Result<bool, Failure> {
    match node.ledger.state()?.twin(twin) {
        Ok(record) => Ok(record.agent == Some(*party) && record.decommissioned.is_none()),
        Err(dt_ledger::CallError::Refused(_)) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// One round: exchanges, feeds, readings, calls.
async fn work(node: &Node, agent: &mut Agent) -> Result<(), AgentError> {
    let Some(device) = &node.device else { return Ok(()) };
    let now = clock::now();
    let exchanged = agent.follow_exchanges(now).await?;
    agent.connect(&device.sensors(), now).await?;
    let pulled = agent.pull(now).await?;
    for anomaly in &pulled.anomalies {
        warn!(component = %anomaly.component, value = %anomaly.value, rule = anomaly.rule, "a reading outside the specification");
    }
    if pulled.readings > 0 {
        agent.flush(now).await?;
    }
    let served = agent.serve_calls(now).await?;
    for call in &served {
        info!(call = call.call, status = ?call.status, "a call was dealt with");
    }
    let mut board = node.board.status();
    board.readings += pulled.readings;
    board.served += served.len() as u64;
    board.exchanged += exchanged.len() as u64;
    board.anomalies.extend(pulled.anomalies.into_iter().map(|of| Anomaly {
        component: of.component,
        time: of.time,
        value: of.value.to_string(),
        rule: of.rule,
    }));
    let surplus = board.anomalies.len().saturating_sub(MOST_ANOMALIES);
    board.anomalies.drain(..surplus);
    Ok(())
}
