//! The handle that an integrator holds.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use dt_dht::{Answer, MAX_MESSAGE_BYTES, Membership, Transport, TransportError};
use dt_model::{Identity, PartyId, Signer as _};
use libp2p::Multiaddr;
use thiserror::Error;
use tokio::sync::{mpsc, oneshot};

use crate::Config;
use crate::desk::Desk;
use crate::swarm::build;
use crate::task::{Command, Task};

/// Why a party could not take part.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StartError {
    /// An address cannot be listened at.
    #[error("cannot listen at {address}")]
    Listen {
        /// The address.
        address: Multiaddr,
        /// What the system said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The network stack could not be set up.
    #[error("the network stack cannot be set up")]
    Stack(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// The transport has been shut down.
#[derive(Debug, Error)]
#[error("the transport has been shut down")]
struct ShutDown;

/// The request is longer than anybody would read.
#[derive(Debug, Error)]
#[error("a request of {0} bytes is more than the limit of {MAX_MESSAGE_BYTES}")]
struct TooLong(usize);

/// How things stand.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Status {
    /// Where we listen.
    pub addresses: Vec<Multiaddr>,
    /// Who is connected.
    pub connected: Vec<PartyId>,
    /// Who is banned for a while.
    pub banned: Vec<PartyId>,
    /// How often somebody was not let in, or not dialled, since he is not registered or is banned.
    pub refused: u64,
}

/// A party's part in the network: it sends the party's requests, and if the party has a node, answers those of others.
///
/// Clones are handles to the same. When the last one is dropped, everything ends at once; [`Libp2pTransport::shut_down`] first finishes
/// what was begun.
///
/// # Invariant
/// A party MUST have one of these at a time: to the others it is *one* peer, and a second process with the same key would take the place of the
/// first.
#[derive(Debug, Clone)]
pub struct Libp2pTransport {
    commands: mpsc::UnboundedSender<Command>,
    /// What it was told last.
    membership: Arc<Mutex<Membership>>,
}

impl Libp2pTransport {
    /// Takes part as `identity`, among those that `membership` names. `answer` is what the party's node answers, if it has one.
    ///
    /// When this returns, all addresses of [`Config::listen`] are open.
    ///
    /// # Errors
    /// [`StartError`].
    ///
    /// # Panics
    /// Outside a tokio runtime with I/O and time.
    pub async fn start(
        identity: &Identity,
        membership: &Membership,
        answer: Option<Answer>,
        config: Config,
    ) -> Result<Self, StartError> {
        let (swarm, directory) = build(identity, &config, answer.is_some())?;
        let own = identity.party();
        let desk = Desk::new(answer, own, config.request_timeout, config.limits.working);
        let mut task = Task::new(own, swarm, directory, desk, &config);
        task.listen(&config.listen).await?;
        task.update(membership);
        let (commands, orders) = mpsc::unbounded_channel();
        tokio::spawn(task.run(orders));
        Ok(Self { commands, membership: Arc::new(Mutex::new(membership.clone())) })
    }

    /// How things stand; `None` after it was shut down.
    pub async fn status(&self) -> Option<Status> {
        let (reply, status) = oneshot::channel();
        self.tell(Command::Status(reply));
        status.await.ok()
    }

    /// Takes no more requests of others, finishes what was begun, within [`Config::request_timeout`], and closes everything.
    pub async fn shut_down(&self) {
        let (reply, done) = oneshot::channel();
        self.tell(Command::ShutDown(reply));
        // It fails only if all is closed already.
        drop(done.await);
    }

    fn tell(&self, command: Command) {
        // Nobody listens after the end, and then what was asked for has an end too.
        drop(self.commands.send(command));
    }
}

#[async_trait]
impl Transport for Libp2pTransport {
    async fn request(&self, node: &PartyId, request: Bytes) -> Result<Bytes, TransportError> {
        if request.len() > MAX_MESSAGE_BYTES {
            return Err(TransportError::Other(Box::new(TooLong(request.len()))));
        }
        let (reply, outcome) = oneshot::channel();
        self.tell(Command::Request { node: *node, request, outcome: reply });
        outcome.await.unwrap_or_else(|_| Err(TransportError::Other(Box::new(ShutDown))))
    }

    fn update_membership(&self, membership: &Membership) {
        // Held until the task is told, so that it is told in this order.
        let mut told = self.membership.lock().unwrap_or_else(PoisonError::into_inner);
        if membership.epoch() >= told.epoch() && *told != *membership {
            *told = membership.clone();
            self.tell(Command::Update(membership.clone()));
        }
    }
}
