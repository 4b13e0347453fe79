//! A node: the engine, its driver and the exchange, started and stopped together.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use dt_ledger::{
    Clock, CommittedBlock, Consensus, ConsensusError, Mempool, MempoolError, Replica, Status, StoreError,
    Transaction,
};
use dt_model::{Digest, Envelope, PartyId, Signer, codec};
use malachite::app::config::{
    ConsensusConfig, DiscoveryConfig, NodeConfig, P2pConfig, PubSubProtocol, ValueSyncConfig,
};
use malachite::app::types::Keypair;
use malachite::app::types::codec::Codec;
use malachite::{
    ConsensusContext, EngineHandle, NetworkContext, NetworkIdentity, RequestContext, Signer as _,
    SyncContext, WalContext, start_engine,
};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Duration;

use crate::application::{Application, Halt, Shared};
use crate::bodies::MAX_PIECE_BYTES;
use crate::config::{Config, Start};
use crate::context::{Address, Chain};
use crate::exchange::{Exchange, Outbox};
use crate::signing::{FirstVotes, Seal, Signatures};
use crate::wire::{MAX_ANSWER_BYTES, Wire};

/// Why a node did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The validator's journal is not there, but the key may have voted: it must not vote again. Watch, and let the organisation name
    /// a new key on the ledger.
    #[error("{} is not there: without its journal a validator must not vote under the same key", .0.display())]
    JournalLost(PathBuf),
    /// The folder could not be written.
    #[error("{}: {error}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        error: io::Error,
    },
    /// The replica's store did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The keys did not sign.
    #[error("the keys did not sign that this node is the validator's: {0}")]
    Signer(String),
    /// The engine did not start.
    #[error("the engine did not start: {0}")]
    Engine(String),
    /// The exchange could not listen.
    #[error("the exchange did not start: {0}")]
    Exchange(String),
}

/// A replica's consensus with others, by the Malachite engine.
///
/// Whoever hands in a transaction gets it into this node's mempool, from where it goes to all peers at once; a proposer takes it from his own.
/// A node that [halts](Malachite::halted) does not come back by itself.
pub struct Malachite {
    shared: Arc<Shared>,
    outbox: Outbox,
    running: Mutex<Option<Running>>,
}

struct Running {
    engine: EngineHandle,
    driver: JoinHandle<()>,
    exchange: JoinHandle<()>,
}

impl Malachite {
    /// Starts a node over `replica`, which votes with `keys` where the ledger says so. `clock` gives the time of blocks.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(
        replica: Arc<Replica>,
        keys: Arc<dyn Signer>,
        clock: Clock,
        config: Config,
    ) -> Result<Self, StartError> {
        let journal = open_journal(&config, &replica, keys.party())?;
        let first_votes = (journal.is_new && config.start == Start::First).then(FirstVotes::default);
        let chain = replica.chain();
        let seal = Seal::new(chain, Arc::clone(&keys), first_votes.clone());
        let identity = identity(&config, &keys, &seal).await?;
        let consensus = match config.start {
            Start::Watch => {
                ConsensusContext::new_full_node(Address(keys.party()), Box::new(Signatures::of(chain)))
            }
            Start::First | Start::Resume => ConsensusContext::new_validator(
                Address(keys.party()),
                Box::new(Signatures::of(chain)),
                Box::new(seal),
            ),
        };
        let (channels, engine) = start_engine(
            Chain,
            Engine::new(&config),
            WalContext::new(journal.path, Wire),
            NetworkContext::new(identity, Wire),
            consensus,
            SyncContext::new(Wire),
            RequestContext::new(16),
        )
        .await
        .map_err(|error| StartError::Engine(format!("{error:#}")))?;

        let height = watch::Sender::new(replica.tip().height);
        let (mempool, halted, stirred) =
            (Mutex::new(Mempool::new(config.mempool)), watch::Sender::new(None), watch::Sender::new(0));
        let shared = Arc::new(Shared { replica, clock, mempool, height, halted, stirred });
        let exchange = Exchange::listen(&config, Arc::clone(&shared));
        let (exchange, outbox) = match exchange {
            Ok(exchange) => exchange,
            Err(error) => {
                stop(&engine);
                return Err(StartError::Exchange(error.to_string()));
            }
        };
        let exchange = tokio::spawn(exchange.run());
        let driver =
            Application::new(Arc::clone(&shared), keys, config.pace, channels.network.clone(), first_votes);
        let driver = tokio::spawn(driver.run(channels.consensus));
        let running = Mutex::new(Some(Running { engine, driver, exchange }));
        Ok(Self { shared, outbox, running })
    }

    /// The replica.
    #[must_use]
    pub fn replica(&self) -> &Arc<Replica> {
        &self.shared.replica
    }

    /// Waits until the node stops for good, and tells why; the error is [`Halt::Engine`] after a [`Malachite::shutdown`].
    pub async fn halted(&self) -> Arc<Halt> {
        let mut halted = self.shared.halted.subscribe();
        let halt = halted.wait_for(Option::is_some).await.ok().and_then(|halt| halt.clone());
        halt.unwrap_or_else(|| Arc::new(Halt::Engine))
    }

    /// Stops the node; what is committed stays, what waits is forgotten.
    pub async fn shutdown(&self) {
        let running = self.running().take();
        if let Some(Running { engine, driver, exchange }) = running {
            stop(&engine);
            // The engine's parts go one by one; the journal is free for another when all have gone.
            let _ = engine.handle.await;
            driver.abort();
            exchange.abort();
            let _ = driver.await;
            let _ = exchange.await;
        }
        self.shared.halted.send_if_modified(|halted| {
            let runs = halted.is_none();
            halted.get_or_insert_with(|| Arc::new(Halt::Engine));
            runs
        });
    }

    fn running(&self) -> MutexGuard<'_, Option<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Malachite {
    fn drop(&mut self) {
        if let Some(Running { engine, driver, exchange }) = self.running().take() {
            stop(&engine);
            driver.abort();
            exchange.abort();
        }
    }
}

#[async_trait]
impl Consensus for Malachite {
    async fn submit(&self, transaction: Envelope<Transaction>) -> Result<Digest, ConsensusError> {
        if self.shared.halted.borrow().is_some() {
            return Err(ConsensusError::Stopped);
        }
        let bytes = Bytes::from(codec::encode(&transaction));
        let digest = self.shared.admit(&bytes)?;
        self.outbox.push(bytes);
        Ok(digest)
    }

    async fn committed(&self, height: u64) -> Result<Arc<CommittedBlock>, ConsensusError> {
        let mut reached = self.shared.height.subscribe();
        tokio::select! {
            biased;
            reached = reached.wait_for(|reached| *reached >= height) => {
                reached.map_err(|_| ConsensusError::Stopped)?;
            }
            _ = self.halted() => return Err(ConsensusError::Stopped),
        }
        let pruned = ConsensusError::Pruned { first: self.shared.replica.first_block()? };
        self.shared.replica.block(height)?.map(Arc::new).ok_or(pruned)
    }

    fn status(&self) -> Status {
        Status { height: self.shared.replica.tip().height, pending: self.shared.mempool().len() }
    }
}

impl Shared {
    /// Lets a transaction wait for a block; its digest, also if it waits already.
    pub(crate) fn admit(&self, bytes: &Bytes) -> Result<Digest, ConsensusError> {
        let now = (self.clock)();
        let candidate = self.replica.screen(bytes, now)?;
        let digest = candidate.digest();
        let admitted = self.mempool().insert(candidate, now);
        match admitted {
            Ok(_) => self.stir(0),
            Err(MempoolError::Known) => {}
            Err(MempoolError::Admission(error)) => return Err(error.into()),
            Err(MempoolError::Conflict { nonce }) => return Err(ConsensusError::Conflict { nonce }),
            Err(_) => return Err(ConsensusError::Busy),
        }
        Ok(digest)
    }
}

struct Journal {
    path: PathBuf,
    is_new: bool,
}

/// The engine's journal; it must be there, unless the key has never voted.
fn open_journal(config: &Config, replica: &Replica, party: PartyId) -> Result<Journal, StartError> {
    let folder = config.folder.join("journal");
    let error = |error| StartError::Folder { path: folder.clone(), error };
    let path = folder.join("wal");
    let is_new = !path.try_exists().map_err(error)?;
    let may_be_new = match config.start {
        Start::First => !voted_lately(replica, &party)?,
        Start::Resume => false,
        Start::Watch => true,
    };
    if is_new && !may_be_new {
        return Err(StartError::JournalLost(path));
    }
    std::fs::create_dir_all(&folder).map_err(error)?;
    Ok(Journal { path, is_new })
}

/// Blocks that are searched for votes of a key that is said to be new: a validator that is there votes for most of them.
const LATELY: u64 = 128;

/// Whether one of the last blocks has a vote of `party`.
fn voted_lately(replica: &Replica, party: &PartyId) -> Result<bool, StoreError> {
    let tip = replica.tip().height;
    for height in (tip.saturating_sub(LATELY) + 1)..=tip {
        if let Some((_, certificate)) = replica.header(height)?
            && certificate.votes.iter().any(|vote| vote.signer() == *party)
        {
            return Ok(true);
        }
    }
    Ok(false)
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

fn stop(engine: &EngineHandle) {
    engine.actor.get_cell().stop_children(None);
    engine.actor.stop(None);
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
                ..DiscoveryConfig::default()
            },
            protocol: PubSubProtocol::default(),
            pubsub_max_size: mib(4 * MAX_PIECE_BYTES),
            rpc_max_size: mib(MAX_ANSWER_BYTES),
            ..P2pConfig::default()
        };
        let sync = ValueSyncConfig {
            status_update_interval: Duration::from_secs(1),
            max_response_size: mib(MAX_ANSWER_BYTES),
            ..ValueSyncConfig::default()
        };
        let consensus = ConsensusConfig { p2p, ..ConsensusConfig::default() };
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
