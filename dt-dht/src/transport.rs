//! The network seam: one request to one node, what a node answers, and the in-process reference.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use dt_model::{PartyId, Timestamp};
use thiserror::Error;

use crate::{MAX_MESSAGE_BYTES, Membership, Replica};

/// Why no reply came.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TransportError {
    /// The transport knows no such node.
    #[error("no node {} is known", .0.short())]
    UnknownNode(PartyId),
    /// The node could not be reached.
    #[error("node {} cannot be reached", .0.short())]
    Unreachable(PartyId),
    /// The node did not reply in time.
    #[error("node {} did not reply in time", .0.short())]
    TimedOut(PartyId),
    /// The reply is longer than [`crate::MAX_MESSAGE_BYTES`].
    #[error("the reply of node {} is too long", .0.short())]
    TooLarge(PartyId),
    /// Something of the transport's own.
    #[error("the transport failed")]
    Other(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Carries a request to a node and its reply back.
///
/// What an implementer may get wrong: every request MUST end, with a reply or an error, within a time that the transport chooses
/// (say ten seconds), since nothing above it has a clock. A request MUST reach its node at most once: after a failure it is for the
/// caller to ask again, who knows what that means. A request that has been polled once SHOULD still be delivered when its
/// future is dropped: a writer that has its quorum does not wait for the rest, which would else fall behind. Replies MUST be limited to
/// [`crate::MAX_MESSAGE_BYTES`] while they are read. A reply belongs to its request and comes from the node that was asked: two at a time
/// must not be mixed up (the client notices, and counts the node as silent). Nothing is trusted to be unread or unaltered on the way:
/// but whoever records a `Get` may replay it for some minutes and read the reply, so use an encrypted channel.
///
/// Who takes part changes while it runs, and whoever sends through a transport tells it: [`Client::update_membership`] does, and
/// [`Upkeep::step`] in every step. So there is nothing that an integrator may forget. Several may tell the same one, and one of them may be
/// behind: an older epoch than the last MUST change nothing, and to be told the same again SHOULD cost nothing.
///
/// [`Client::update_membership`]: crate::Client::update_membership
/// [`Upkeep::step`]: crate::Upkeep::step
#[async_trait]
pub trait Transport: Send + Sync {
    /// Sends `request` to `node` and waits for the reply.
    ///
    /// # Errors
    /// [`TransportError`]. The request may have been carried out nevertheless.
    async fn request(&self, node: &PartyId, request: Bytes) -> Result<Bytes, TransportError>;

    /// From now on those take part whom `membership` names, and its nodes are where it says: whoever is not among them is cut off.
    fn update_membership(&self, membership: &Membership);
}

/// The time that replicas go by.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// What a node answers to the bytes of a request: the other end of a [`Transport`]. `None` is silence: nothing is sent back.
///
/// A transport calls it once for each request, for several at a time, and where it may block, since it waits for the disk.
pub type Answer = Arc<dyn Fn(&[u8]) -> Option<Bytes> + Send + Sync>;

impl Replica {
    /// What this node answers, by the time that `clock` tells.
    #[must_use]
    pub fn answering(self: Arc<Self>, clock: Clock) -> Answer {
        Arc::new(move |request| Some(self.handle(request, clock())))
    }
}

/// All nodes in one process: the reference transport, for tests, examples and single-process networks.
///
/// Before it is told of a membership, all that were added take part.
pub struct InProcess {
    stations: Mutex<BTreeMap<PartyId, Station>>,
    members: Mutex<Option<Members>>,
    clock: Clock,
}

/// The nodes that take part in an epoch.
struct Members {
    epoch: u64,
    nodes: BTreeSet<PartyId>,
}

struct Station {
    answer: Answer,
    running: bool,
}

impl InProcess {
    /// A network of `replicas`, all running, whose time `clock` tells.
    pub fn new(replicas: impl IntoIterator<Item = Arc<Replica>>, clock: Clock) -> Self {
        let network = Self { stations: Mutex::new(BTreeMap::new()), members: Mutex::new(None), clock };
        replicas.into_iter().for_each(|replica| network.add(replica));
        network
    }

    /// Adds `replica`, running, or puts it in the place of the one with the same party.
    pub fn add(&self, replica: Arc<Replica>) {
        let party = replica.party();
        self.add_node(party, replica.answering(self.clock.clone()));
    }

    /// Adds the node of `party`, which gives this answer.
    pub fn add_node(&self, party: PartyId, answer: Answer) {
        self.stations().insert(party, Station { answer, running: true });
    }

    /// Makes a node unreachable; one that is not known stays unknown.
    pub fn stop(&self, node: &PartyId) {
        self.set_running(node, false);
    }

    /// Makes a node reachable again.
    pub fn start(&self, node: &PartyId) {
        self.set_running(node, true);
    }

    fn set_running(&self, node: &PartyId, running: bool) {
        if let Some(station) = self.stations().get_mut(node) {
            station.running = running;
        }
    }

    fn takes_part(&self, node: &PartyId) -> bool {
        self.members().as_ref().is_none_or(|members| members.nodes.contains(node))
    }

    fn members(&self) -> std::sync::MutexGuard<'_, Option<Members>> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stations(&self) -> std::sync::MutexGuard<'_, BTreeMap<PartyId, Station>> {
        self.stations.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Transport for InProcess {
    async fn request(&self, node: &PartyId, request: Bytes) -> Result<Bytes, TransportError> {
        let answer = match self.stations().get(node) {
            Some(_) if !self.takes_part(node) => return Err(TransportError::UnknownNode(*node)),
            None => return Err(TransportError::UnknownNode(*node)),
            Some(station) if !station.running => return Err(TransportError::Unreachable(*node)),
            Some(station) => Arc::clone(&station.answer),
        };
        match answer(&request) {
            // Nobody else could still answer, so there is no use in waiting.
            None => Err(TransportError::TimedOut(*node)),
            Some(reply) if reply.len() > MAX_MESSAGE_BYTES => Err(TransportError::TooLarge(*node)),
            Some(reply) => Ok(reply),
        }
    }

    fn update_membership(&self, membership: &Membership) {
        let mut members = self.members();
        if members.as_ref().is_none_or(|members| members.epoch < membership.epoch()) {
            let nodes = membership.nodes().iter().map(|node| node.party).collect();
            *members = Some(Members { epoch: membership.epoch(), nodes });
        }
    }
}
