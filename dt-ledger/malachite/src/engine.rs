//! The engine: how it is set up for a node, started and stopped.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dt_model::{Digest, Signer};
use malachite::app::config::{
    ConsensusConfig, DiscoveryConfig, NodeConfig, P2pConfig, PubSubProtocol, ValueSyncConfig,
};
use malachite::app::engine::node::NodeRef;
use malachite::app::types::Keypair;
use malachite::app::types::codec::Codec;
use malachite::{
    Channels, ConsensusContext, EngineHandle, NetworkContext, NetworkIdentity, RequestContext, Signer as _,
    SyncContext, WalContext, start_engine,
};
use tokio::time::{Duration, Instant, sleep};

use crate::bodies::MAX_PIECE_BYTES;
use crate::config::{Config, Start};
use crate::context::{Address, Chain};
use crate::node::StartError;
use crate::signing::{FirstVotes, Seal, Signatures};
use crate::wire::{MAX_ANSWER_BYTES, Wire};

/// Starts the engine of a node of `chain`, which keeps its journal at `journal`.
pub(crate) async fn start(
    config: &Config,
    chain: Digest,
    keys: &Arc<dyn Signer>,
    journal: PathBuf,
    first_votes: Option<FirstVotes>,
) -> Result<(Channels<Chain>, EngineHandle), StartError> {
    wait_for(&journal).await?;
    let seal = Seal::new(chain, Arc::clone(keys), first_votes);
    let identity = identity(config, keys, &seal).await?;
    let (address, signatures) = (Address(keys.party()), Box::new(Signatures::of(chain)));
    let consensus = match config.start {
        Start::Watch => ConsensusContext::new_full_node(address, signatures),
        Start::First | Start::Resume => ConsensusContext::new_validator(address, signatures, Box::new(seal)),
    };
    start_engine(
        Chain,
        Engine::new(config),
        WalContext::new(journal, Wire),
        NetworkContext::new(identity, Wire),
        consensus,
        SyncContext::new(Wire),
        RequestContext::new(16),
    )
    .await
    .map_err(|error| StartError::Engine(format!("{error:#}")))
}

/// How long a journal that a former engine of this process holds is waited for: its parts end one by one.
const PATIENCE: Duration = Duration::from_secs(10);

/// Waits until nobody holds the journal.
async fn wait_for(journal: &Path) -> Result<(), StartError> {
    let error = |error| StartError::Folder { path: journal.to_owned(), error };
    let begun = Instant::now();
    loop {
        let file = match File::open(journal) {
            Err(missing) if missing.kind() == io::ErrorKind::NotFound => return Ok(()),
            opened => opened.map_err(error)?,
        };
        match file.try_lock() {
            Ok(()) => return Ok(()),
            Err(_) if begun.elapsed() < PATIENCE => sleep(Duration::from_millis(20)).await,
            Err(locked) => return Err(error(locked.into())),
        }
    }
}

/// Lets all parts of the engine end.
pub(crate) fn stop(engine: &NodeRef) {
    engine.get_cell().stop_children(None);
    engine.stop(None);
}

/// What the node is known by; a validator signs that it is its own.
async fn identity(
    config: &Config,
    keys: &Arc<dyn Signer>,
    seal: &Seal,
) -> Result<NetworkIdentity, StartError> {
    let (name, key): (_, Keypair) = (config.name.clone(), config.node_key.clone());
    if config.start == Start::Watch {
        return Ok(NetworkIdentity::new(name, key, None));
    }
    let signer = |error: malachite_signing::Error| StartError::Signer(error.to_string());
    let peer = key.public().to_peer_id().to_bytes();
    let proof = seal.sign_validator_proof(keys.party().as_bytes().to_vec(), peer).await.map_err(signer)?;
    let proof = Wire.encode(&proof).map_err(|error| StartError::Signer(error.to_string()))?;
    Ok(NetworkIdentity::new_validator(name, key, keys.party().to_string(), proof))
}

/// The engine's configuration.
struct Engine {
    name: String,
    consensus: ConsensusConfig,
    sync: ValueSyncConfig,
}

/// Several nodes may sit behind one address: a plant's firewall, a test's loopback.
const MAX_CONNECTIONS_PER_ADDRESS: usize = 1024;

impl Engine {
    fn new(config: &Config) -> Self {
        let mib = |bytes: usize| format!("{}MiB", bytes.div_ceil(1024 * 1024)).parse().unwrap_or_default();
        let p2p = P2pConfig {
            listen_addr: config.consensus.clone(),
            persistent_peers: config.peers.iter().map(|peer| peer.consensus.clone()).collect(),
            persistent_peers_only: false,
            discovery: DiscoveryConfig {
                enabled: false,
                max_connections_per_ip: MAX_CONNECTIONS_PER_ADDRESS,
                ip_throttle_duration: Duration::ZERO,
                // A peer that is away is dialled again each second or two. With more retries the pauses between them grow, and links that
                // were cut for minutes stay so for as long again.
                dial_max_retries: 1,
                ..DiscoveryConfig::default()
            },
            protocol: PubSubProtocol::default(),
            pubsub_max_size: mib(4 * MAX_PIECE_BYTES),
            rpc_max_size: mib(MAX_ANSWER_BYTES),
            ..P2pConfig::default()
        };
        let sync = ValueSyncConfig {
            status_update_interval: Duration::from_secs(1),
            // A peer that died meanwhile costs no more than this.
            request_timeout: Duration::from_secs(3),
            max_response_size: mib(MAX_ANSWER_BYTES),
            ..ValueSyncConfig::default()
        };
        // Whoever watches does not vote, also where the ledger names its key.
        let enabled = config.start != Start::Watch;
        let consensus = ConsensusConfig { enabled, p2p, ..ConsensusConfig::default() };
        Self { name: config.name.clone(), consensus, sync }
    }
}

impl NodeConfig for Engine {
    fn moniker(&self) -> &str {
        &self.name
    }

    fn consensus(&self) -> &ConsensusConfig {
        &self.consensus
    }

    fn consensus_mut(&mut self) -> &mut ConsensusConfig {
        &mut self.consensus
    }

    fn value_sync(&self) -> &ValueSyncConfig {
        &self.sync
    }

    fn value_sync_mut(&mut self) -> &mut ValueSyncConfig {
        &mut self.sync
    }
}
