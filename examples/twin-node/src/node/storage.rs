//! The DHT's part: the party's node, its network, and its client, from the moment on at which the ledger knows a DHT.

use std::sync::Arc;
use std::time::Duration;

use dt_acl::{AclError, ItemId};
use dt_dht::{Membership, Policy, RecordStore, RedbStore, Replica, Step, Upkeep, Validator};
use dt_dht_libp2p::{Config, Libp2pTransport};
use dt_model::{Identity, Signer};
use dt_sync::{Client, ClientError, DhtNode, Ledger};
use tokio::time::timeout;
use tracing::{debug, info, warn};

use super::{Node, random};
use crate::clock::{self, TokioTimer};
use crate::failure::{Failure, at};

/// Between two looks whether there is a DHT, and after something failed.
const PAUSE: Duration = Duration::from_millis(500);
/// How long the nodes have to show that a quorum of them is there.
const PROBE: Duration = Duration::from_secs(5);

/// A party's part in the DHT.
pub(super) struct Storage {
    pub(super) client: Client,
    pub(super) transport: Libp2pTransport,
    /// The party's own node, if it has one.
    pub(super) replica: Option<Arc<Replica>>,
}

/// Brings the party's part up once the ledger knows a DHT, and keeps it in step with the ledger.
pub(super) async fn run(node: Arc<Node>) {
    let (membership, upkeep) = loop {
        match start(&node).await {
            Ok(Some(started)) => break started,
            Ok(None) => {}
            Err(failure) => warn!(%failure, "the DHT is not up yet"),
        }
        if !node.pause(PAUSE).await {
            return;
        }
    };
    // Where the party has no node, its client follows the ledger by itself.
    if let Some(upkeep) = upkeep {
        keep(&node, upkeep, membership).await;
    }
}

/// The rules by which the DHT's nodes go.
fn validators() -> Vec<Arc<dyn Validator>> {
    let mut validators = dt_feed::validators();
    validators.push(Arc::new(dt_acl::AclValidator));
    validators.push(Arc::new(dt_acl::DataValidator));
    validators
}

/// The DHT's membership by the ledger as it is now; `None` if there is none yet.
pub(super) fn membership(node: &Node) -> Result<Option<Membership>, Failure> {
    match dt_sync::membership(&node.ledger.state()?, node.replica().chain(), clock::now()) {
        Ok(membership) => Ok(Some(membership)),
        Err(ClientError::NoStorage | ClientError::Membership(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Starts node and client, if there is a DHT.
async fn start(node: &Node) -> Result<Option<(Membership, Option<Upkeep>)>, Failure> {
    let Some(membership) = membership(node)? else { return Ok(None) };
    let (replica, answer) = if node.settings.storage.serve {
        let path = node.folder.storage();
        let store = RedbStore::open(&path).map_err(|error| at(&path, error))?;
        let store: Arc<dyn RecordStore> = Arc::new(node.meter.counted(store));
        let signer = Arc::clone(&node.party) as Arc<dyn Signer>;
        let policy = Policy::recommended();
        let replica = Replica::with_policy(signer, store, membership.clone(), validators(), policy);
        let replica = Arc::new(replica);
        let answer = node.meter.answering(Arc::clone(&replica).answering(clock::clock()));
        (Some(replica), Some(answer))
    } else {
        (None, None)
    };
    let mut config = network();
    if answer.is_some() {
        let listen = node.settings.storage.listen.as_str();
        let listen = listen.parse().map_err(|error| Failure::bad_input(format_args!("{listen}: {error}")))?;
        config.listen = vec![listen];
    }
    let transport = Libp2pTransport::start(&node.party, &membership, answer, config);
    let transport = transport.await.map_err(|error| Failure::internal(&error))?;
    let upkeep = match &replica {
        Some(replica) => {
            let network = Arc::new(transport.clone());
            Some(Upkeep::new(Arc::clone(replica), network, random()?, dt_dht::Pace::default()))
        }
        None => None,
    };
    let client = client(node.ledger.clone(), Arc::clone(&node.party), &transport, &membership)?;
    info!(
        epoch = membership.epoch(),
        nodes = membership.nodes().len(),
        serves = replica.is_some(),
        "the DHT is up"
    );
    // Only this task sets it, and only once.
    let _ = node.storage.set(Storage { client, transport, replica });
    Ok(Some((membership, upkeep)))
}

/// How the parties of this process take part in the network: they listen nowhere, unless somebody says so.
pub(super) fn network() -> Config {
    Config { dial_timeout: Duration::from_secs(3), ..Config::default() }
}

/// A client of one party of this process.
pub(super) fn client(
    ledger: Ledger,
    party: Arc<Identity>,
    transport: &Libp2pTransport,
    membership: &Membership,
) -> Result<Client, Failure> {
    let timer = TokioTimer::start();
    let dht = dt_dht::Client::new(party, Arc::new(transport.clone()), membership.clone(), random()?);
    let dht = dht.with_timer(Arc::clone(&timer) as _);
    Ok(Client::new(ledger, Arc::new(dht), &mut random()?).with_timer(timer))
}

/// Runs the node of the party: it follows the ledger, and so does its network.
async fn keep(node: &Node, upkeep: Upkeep, mut known: Membership) {
    let Some(Storage { replica: Some(replica), .. }) = node.storage.get() else { return };
    let mut dht = DhtNode::new(node.ledger.clone(), Arc::clone(replica), upkeep);
    while !node.is_stopping() {
        let stepped = dht.step(clock::now()).await;
        let present = dht.replica().membership();
        if present != known {
            info!(
                epoch = present.epoch(),
                changing = present.is_changing(),
                "the DHT's membership has changed"
            );
            known = present;
        }
        node.meter.note_upkeep(&dht.upkeep().report());
        match stepped {
            Ok(Step::Worked) => {}
            Ok(Step::Wait(time)) => drop(node.pause(time).await),
            Err(error) => {
                debug!(%error, "the node's step is made again");
                node.pause(PAUSE).await;
            }
        }
    }
}

impl Storage {
    /// Whether a quorum of the nodes answers: they are asked for an item that nobody has.
    pub(super) async fn answers(&self) -> bool {
        let (nobodys, now) = (ItemId::from([0; 32]), clock::now());
        // Where it has not asked for anything for long, the nodes may be others by now.
        if self.client.follow_membership(now).is_err() {
            return false;
        }
        let asked = self.client.items().acl(nobodys, None, now);
        matches!(timeout(PROBE, asked).await, Ok(Err(AclError::NoSuchItem(_)) | Ok(_)))
    }

    /// Finishes what was begun, and takes part no longer.
    pub(super) async fn shut_down(&self) {
        self.transport.shut_down().await;
    }
}
