//! A node that runs: everything of one party in one process, started in order and stopped in the opposite one.
//!
//! ```text
//! lock ─▶ ledger replica ─▶ consensus ─▶ server ─▶ household: registers, votes ─▶ DHT node and client ─▶ agent
//! ```
//!
//! # Invariants
//! - One process has the folder.
//! - A consensus that has halted ends the process with an exit code of its own; nothing starts it again by itself.
//! - A request that was begun is finished, also if whoever asked is gone, unless the process is killed.

mod agent;
mod audit;
mod content;
mod device;
mod household;
mod ledger;
mod meter;
mod server;
mod storage;
mod verbs;

use std::io::Read as _;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use dt_ledger::Replica;
use dt_ledger_malachite::Malachite;
use dt_model::Identity;
use dt_sync::Ledger;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::{error, info, warn};
use tracing_subscriber::EnvFilter;

use self::agent::AgentBoard;
use self::device::Simulation;
use self::meter::Meter;
use self::storage::Storage;
use crate::api::Readiness;
use crate::failure::{Failure, Kind};
use crate::folder::{Folder, Key, rng};
use crate::founding::Founding;
use crate::settings::Settings;

/// What the parts of a node share.
pub(crate) struct Node {
    settings: Settings,
    founding: Founding,
    folder: Folder,
    party: Arc<Identity>,
    consensus: Arc<Malachite>,
    /// The party's hold on the ledger: one for all, because its transactions have an order.
    ledger: Ledger,
    /// The party's part in the DHT, once the ledger knows one.
    storage: OnceLock<Storage>,
    device: Option<Arc<Simulation>>,
    board: AgentBoard,
    meter: Meter,
    /// Whether it is time to stop.
    stop: watch::Sender<bool>,
}

/// How long a part may take to finish what it is at.
const FINISH: Duration = Duration::from_secs(10);

/// Runs the node of `folder` until it is told to stop.
pub(crate) fn run(folder: &Folder, while_stdin: bool) -> Result<(), Failure> {
    log();
    let settings = Settings::read(&folder.config())?;
    let founding = Founding::read(&folder.founding())?;
    let _lock = folder.lock()?;
    let meter = Meter::install()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::internal(&error))?;
    let ended = runtime.block_on(async {
        let (node, token) = Node::start(folder, settings, founding, meter).await?;
        node.serve(token, while_stdin).await
    });
    runtime.shutdown_timeout(FINISH);
    ended
}

/// Logs to standard error; `RUST_LOG` says what.
fn log() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| {
        EnvFilter::new("warn,twin_node=info,dt_ledger_malachite=info,arc_malachitebft=error,informalsystems_malachitebft=error")
    });
    let ansi = std::io::IsTerminal::is_terminal(&std::io::stderr());
    // A second one in the same process, as in tests, changes nothing.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(ansi)
        .try_init();
}

impl Node {
    /// Opens what lies in the folder and joins the consensus.
    async fn start(
        folder: &Folder,
        settings: Settings,
        founding: Founding,
        meter: Meter,
    ) -> Result<(Arc<Self>, String), Failure> {
        let (party, token) = (folder.key(Key::Party)?, folder.token()?);
        let replica = ledger::open(folder, &founding)?;
        info!(name = %settings.name, party = %dt_model::Signer::party(&*party), chain = %replica.chain(),
            founding = %founding.digest(), height = replica.tip().height, "opened");
        let device = settings.device.clone().map(|device| Simulation::open(&folder.device(), device));
        let device = device.transpose()?.map(Arc::new);
        let consensus = Arc::new(ledger::start(folder, &settings, &founding, Arc::clone(&replica)).await?);
        let signer = Arc::clone(&party) as Arc<dyn dt_model::Signer>;
        let ledger = Ledger::new(Arc::clone(&consensus) as _, replica, signer);
        let node = Self {
            settings,
            founding,
            folder: folder.clone(),
            party,
            consensus,
            ledger,
            storage: OnceLock::new(),
            device,
            board: AgentBoard::default(),
            meter,
            stop: watch::Sender::new(false),
        };
        Ok((Arc::new(node), token))
    }

    /// Runs everything until it is told to stop, or cannot go on.
    async fn serve(self: Arc<Self>, token: String, while_stdin: bool) -> Result<(), Failure> {
        let listener = match server::listen(&self.settings.api).await {
            Ok(listener) => listener,
            Err(failure) => {
                self.consensus.shutdown().await;
                return Err(failure);
            }
        };
        let mut tasks = JoinSet::new();
        tasks.spawn(server::serve(Arc::clone(&self), listener, token));
        tasks.spawn(meter::watch_blocks(Arc::clone(&self)));
        tasks.spawn(household::run(Arc::clone(&self)));
        tasks.spawn(storage::run(Arc::clone(&self)));
        let node = Arc::clone(&self);
        tasks.spawn(async move { drop(on_a_thread(move || agent::run(node)).await) });
        let ended = tokio::select! {
            halt = self.consensus.halted() => {
                error!(%halt, "the consensus has stopped for good: look into it before you start the node again");
                Err(Failure::new(Kind::Halted, format_args!("the consensus has stopped: {halt}")))
            }
            why = told_to_stop(while_stdin) => {
                info!(why, "stopping");
                Ok(())
            }
        };
        self.shut_down(tasks).await;
        ended
    }

    /// Stops taking requests, lets every part finish, then closes the networks. The stores close with the last who holds them.
    async fn shut_down(&self, mut tasks: JoinSet<()>) {
        self.stop.send_replace(true);
        let finished = timeout(FINISH, async { while tasks.join_next().await.is_some() {} }).await;
        if finished.is_err() {
            warn!("not everything has finished in time");
            tasks.shutdown().await;
        }
        if let Some(storage) = self.storage.get() {
            storage.shut_down().await;
        }
        if timeout(FINISH, self.consensus.shutdown()).await.is_err() {
            warn!("the consensus has not stopped in time");
        }
        info!(height = self.replica().tip().height, "stopped");
    }

    fn replica(&self) -> &Arc<Replica> {
        self.ledger.replica()
    }

    /// The party's part in the DHT.
    fn storage(&self) -> Result<&Storage, Failure> {
        let not_yet = || Failure::unreachable("the DHT is not up yet: too few organisations have founded it");
        self.storage.get().ok_or_else(not_yet)
    }

    /// Waits, at most for `time`; whether the node is to go on.
    async fn pause(&self, time: Duration) -> bool {
        let mut stop = self.stop.subscribe();
        timeout(time, stop.wait_for(|stop| *stop)).await.is_err()
    }

    fn is_stopping(&self) -> bool {
        *self.stop.borrow()
    }

    /// Whether the node can be used.
    async fn readiness(&self) -> Result<Readiness, Failure> {
        let tip = self.replica().tip();
        let age = crate::clock::now().since(tip.time);
        let patience = Duration::from_millis(self.settings.ledger.idle_ms) + ledger::OLD;
        let caught_up = tip.height > 0 && age < patience;
        let registered = dt_ledger::State::party(&self.ledger.state()?, &self.ledger.party())?.is_some();
        let storage = match self.storage.get() {
            Some(storage) => storage.answers().await,
            None => false,
        };
        let ready = caught_up && registered && storage && !self.is_stopping();
        Ok(Readiness { ready, caught_up, registered, storage, height: tip.height })
    }
}

/// Waits for a signal, or the end of standard input where that counts.
async fn told_to_stop(while_stdin: bool) -> &'static str {
    let stdin = async {
        if !while_stdin {
            return std::future::pending().await;
        }
        let (tell, ended) = tokio::sync::oneshot::channel();
        // A thread of its own: reading cannot be called off, and must not hold up the runtime's end.
        std::thread::spawn(move || {
            let mut buffer = [0; 64];
            while std::io::stdin().read(&mut buffer).is_ok_and(|read| read > 0) {}
            let _ = tell.send(());
        });
        let _ = ended.await;
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => "SIGINT",
        () = terminated() => "SIGTERM",
        () = stdin => "standard input has ended",
    }
}

#[cfg(unix)]
async fn terminated() {
    use tokio::signal::unix::{SignalKind, signal};
    match signal(SignalKind::terminate()) {
        Ok(mut signal) => {
            signal.recv().await;
        }
        Err(_) => std::future::pending().await,
    }
}

#[cfg(not(unix))]
async fn terminated() {
    std::future::pending().await
}

/// Runs `work` on a thread of its own. A client's futures borrow in a way of which the compiler cannot tell that they may change threads
/// (async closures), so they stay on one.
fn on_a_thread<T: Send + 'static, F: Future<Output = T>>(
    work: impl FnOnce() -> F + Send + 'static,
) -> tokio::task::JoinHandle<T> {
    let runtime = tokio::runtime::Handle::current();
    tokio::task::spawn_blocking(move || runtime.block_on(work()))
}

/// A random source for a part.
fn random() -> Result<rand_chacha::ChaCha20Rng, Failure> {
    rng()
}
