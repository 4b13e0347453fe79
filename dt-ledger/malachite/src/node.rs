//! A node: the engine, its driver and the exchange, started and stopped together.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use dt_ledger::{
    Clock, CommittedBlock, Consensus, ConsensusError, Mempool, Replica, Status, StoreError, Transaction,
};
use dt_model::{Digest, Envelope, PartyId, Signer, codec};
use malachite::EngineHandle;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tracing::{Instrument as _, info_span};

use crate::application::Application;
use crate::config::{Config, Start};
use crate::engine;
use crate::evidence::Equivocation;
use crate::exchange::{Exchange, Outbox};
use crate::shared::{Halt, Shared};
use crate::signing::FirstVotes;

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
        let started = engine::start(&config, replica.chain(), &keys, journal.path, first_votes.clone());
        let (channels, engine) = started.await?;

        let newest = watch::Sender::new((replica.tip().height, None));
        let (mempool, halted, stirred) =
            (Mutex::new(Mempool::new(config.mempool)), watch::Sender::new(None), watch::Sender::new(0));
        let shared = Arc::new(Shared {
            replica,
            clock,
            mempool,
            newest,
            halted,
            stirred,
            stopping: AtomicBool::new(false),
            equivocations: Mutex::default(),
        });
        let exchange = Exchange::listen(&config, Arc::clone(&shared));
        let (exchange, outbox) = match exchange {
            Ok(exchange) => exchange,
            Err(error) => {
                engine::stop(&engine.actor);
                return Err(StartError::Exchange(format!("{error:?}")));
            }
        };
        let exchange = tokio::spawn(exchange.run());
        let driver =
            Application::new(Arc::clone(&shared), keys, config.pace, channels.network.clone(), first_votes);
        let driver =
            tokio::spawn(driver.run(channels.consensus).instrument(info_span!("node", name = config.name)));
        // A node that has halted is silent: nobody counts on it.
        let (mut halted, actor) = (shared.halted.subscribe(), engine.actor.clone());
        tokio::spawn(async move {
            let _ = halted.wait_for(Option::is_some).await;
            engine::stop(&actor);
        });
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

    /// The validators that were seen to contradict themselves since the node was started, with the proof. Nothing is done about them here.
    #[must_use]
    pub fn equivocations(&self) -> Vec<Equivocation> {
        self.shared.equivocations().clone()
    }

    /// Stops the node; what is committed stays, what waits is forgotten.
    pub async fn shutdown(&self) {
        let running = self.running().take();
        if let Some(Running { engine, driver, exchange }) = running {
            self.shared.stopping.store(true, Ordering::SeqCst);
            engine::stop(&engine.actor);
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
            self.shared.stopping.store(true, Ordering::SeqCst);
            engine::stop(&engine.actor);
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
        let room = self.outbox.reserve().ok_or(ConsensusError::Busy)?;
        let digest = self.shared.admit(&bytes)?;
        room.send((digest, bytes));
        Ok(digest)
    }

    async fn committed(&self, height: u64) -> Result<Arc<CommittedBlock>, ConsensusError> {
        let mut newest = self.shared.newest.subscribe();
        tokio::select! {
            biased;
            newest = newest.wait_for(|(reached, _)| *reached >= height) => {
                let (reached, block) = newest.map_err(|_| ConsensusError::Stopped)?.clone();
                // Whoever follows asks for the newest one, and need not read it from the disk.
                if let Some(block) = block.filter(|_| reached == height) {
                    return Ok(block);
                }
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
