//! The task that owns the swarm: it carries commands in, events out, and decides nothing that the parts can decide.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use dt_dht::{Membership, TransportError};
use dt_model::PartyId;
use futures_util::StreamExt as _;
use libp2p::core::transport::ListenerId;
use libp2p::kad::{self, QueryId, QueryResult};
use libp2p::request_response::{InboundRequestId, Message, OutboundFailure};
use libp2p::swarm::SwarmEvent;
use libp2p::{Multiaddr, PeerId, Swarm, identify};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

use crate::desk::{Desk, Inquiry, Ready};
use crate::directory::Directory;
use crate::exchange::Event;
use crate::frame::Frame;
use crate::outbox::{After, Failure, Outbox, Outcome};
use crate::swarm::{Behaviour, BehaviourEvent, FINDING};
use crate::{Config, StartError, Status};

/// What a handle may ask for.
pub(crate) enum Command {
    Request { node: PartyId, request: Bytes, outcome: oneshot::Sender<Outcome> },
    Update(Membership),
    Status(oneshot::Sender<Status>),
    ShutDown(oneshot::Sender<()>),
}

pub(crate) struct Task {
    pub(crate) own: PartyId,
    pub(crate) swarm: Swarm<Behaviour>,
    pub(crate) directory: Arc<Directory>,
    pub(crate) outbox: Outbox,
    pub(crate) desk: Desk,
    /// Members that are looked for.
    searches: Vec<(QueryId, PeerId)>,
    searched: BTreeMap<PeerId, Instant>,
    search_pause: Duration,
    /// Replies that are being sent.
    unsent: BTreeSet<(PeerId, InboundRequestId)>,
    leaving: Option<Leaving>,
    grace: Duration,
}

/// The end, from the moment that it is asked for.
struct Leaving {
    stage: Stage,
    /// When the stage is over, at the latest.
    until: Instant,
    done: oneshot::Sender<()>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// What was begun is finished.
    Finishing,
    /// Replies that were sent are read: with its connection a peer drops what it has not read yet.
    Lingering,
    /// The connections are closed.
    Closing,
}

/// How long peers have to read their replies.
const LINGER: Duration = Duration::from_millis(300);
/// How long connections have to close.
const CLOSE: Duration = Duration::from_secs(1);

impl Task {
    pub(crate) fn new(
        own: PartyId,
        swarm: Swarm<Behaviour>,
        directory: Arc<Directory>,
        desk: Desk,
        config: &Config,
    ) -> Self {
        let limits = &config.limits;
        let outbox = Outbox::new(
            config.request_timeout,
            limits.outgoing_per_peer.max(1),
            limits.queued_per_peer.max(1),
        );
        Self {
            own,
            swarm,
            directory,
            outbox,
            desk,
            searches: Vec::new(),
            searched: BTreeMap::new(),
            search_pause: config.dial_timeout,
            unsent: BTreeSet::new(),
            leaving: None,
            grace: config.request_timeout,
        }
    }

    /// Returns when there is an address for each of `listen`.
    pub(crate) async fn listen(&mut self, listen: &[Multiaddr]) -> Result<(), StartError> {
        let mut pending: Vec<(ListenerId, &Multiaddr)> = Vec::new();
        for address in listen {
            let id = self.swarm.listen_on(address.clone());
            let failed = |error| StartError::Listen { address: address.clone(), source: Box::new(error) };
            pending.push((id.map_err(failed)?, address));
        }
        while !pending.is_empty() {
            let event = self.swarm.select_next_some().await;
            match &event {
                SwarmEvent::NewListenAddr { listener_id, .. } => pending.retain(|(id, _)| id != listener_id),
                SwarmEvent::ListenerClosed { listener_id, reason: Err(error), .. } => {
                    if let Some((_, address)) = pending.iter().find(|(id, _)| id == listener_id) {
                        let source = std::io::Error::new(error.kind(), error.to_string());
                        return Err(StartError::Listen {
                            address: (*address).clone(),
                            source: Box::new(source),
                        });
                    }
                }
                _ => {}
            }
            self.hear(event);
        }
        Ok(())
    }

    /// Runs until it is shut down, or nobody has a handle any more.
    pub(crate) async fn run(mut self, mut commands: mpsc::UnboundedReceiver<Command>) {
        loop {
            let leaving = self.leaving.as_ref().map(|leaving| leaving.until);
            let deadline = self.outbox.deadline().into_iter().chain(leaving).min();
            tokio::select! {
                command = commands.recv() => match command {
                    Some(command) => self.obey(command),
                    None => return,
                },
                event = self.swarm.select_next_some() => self.hear(event),
                ready = self.desk.ready() => self.reply(ready),
                () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => self.outbox.expire(),
            }
            if self.has_left() {
                break;
            }
        }
        let left = self.leaving.take();
        // Sockets are closed before anybody is told that they are.
        drop(self);
        if let Some(leaving) = left {
            // Whoever wanted to know may be gone.
            let _ = leaving.done.send(());
        }
    }

    /// Goes on with leaving, and says whether that is over.
    fn has_left(&mut self) -> bool {
        let is_idle = self.is_idle();
        let Some(leaving) = &mut self.leaving else { return false };
        let now = Instant::now();
        let gate = &mut self.swarm.behaviour_mut().gate;
        match leaving.stage {
            Stage::Finishing if is_idle || now >= leaving.until => {
                (leaving.stage, leaving.until) = (Stage::Lingering, now + LINGER);
            }
            Stage::Lingering if now >= leaving.until => {
                (leaving.stage, leaving.until) = (Stage::Closing, now + CLOSE);
                gate.close_all();
                return gate.connected().next().is_none();
            }
            Stage::Closing => return gate.connected().next().is_none() || now >= leaving.until,
            Stage::Finishing | Stage::Lingering => {}
        }
        false
    }

    fn is_idle(&self) -> bool {
        self.desk.is_idle() && self.unsent.is_empty() && self.outbox.is_idle()
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Request { node, request, outcome } if node == self.own => {
                self.desk.take_own(request, outcome);
            }
            Command::Request { node, request, outcome } => match self.directory.peer(&node) {
                // Whoever asked may not wait any more.
                None => drop(outcome.send(Err(TransportError::UnknownNode(node)))),
                Some(peer) => {
                    self.outbox.add(node, peer, request, outcome);
                    self.send_queued(&peer);
                }
            },
            Command::Update(membership) => self.update(&membership),
            Command::Status(reply) => drop(reply.send(self.status())),
            Command::ShutDown(left) => {
                self.swarm.behaviour_mut().gate.shut();
                let until = Instant::now() + self.grace;
                self.leaving = Some(Leaving { stage: Stage::Finishing, until, done: left });
            }
        }
    }

    pub(crate) fn update(&mut self, membership: &Membership) {
        let gone = self.directory.update(membership);
        for peer in &gone {
            let behaviour = self.swarm.behaviour_mut();
            behaviour.gate.close(*peer);
            behaviour.kad.remove_peer(peer);
            self.outbox.forget(peer);
            self.searched.remove(peer);
        }
        for (peer, addresses) in self.directory.registered() {
            for address in addresses {
                self.swarm.behaviour_mut().kad.add_address(&peer, address);
            }
        }
        // A node that came back at another address shows itself to the others. Where nobody is known, there is nobody to show it to.
        if self.desk.serves() {
            let _ = self.swarm.behaviour_mut().kad.bootstrap();
        }
    }

    fn status(&self) -> Status {
        let connected = self.swarm.behaviour().gate.connected();
        Status {
            addresses: self.swarm.listeners().cloned().collect(),
            connected: connected.filter_map(|peer| self.directory.party(peer)).collect(),
            banned: self.directory.banned(),
            refused: self.directory.refused(),
        }
    }

    fn hear(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::Behaviour(BehaviourEvent::Exchanges(event)) => self.hear_exchange(event),
            SwarmEvent::Behaviour(BehaviourEvent::Kad(kad::Event::OutboundQueryProgressed {
                id,
                result: QueryResult::GetClosestPeers(result),
                step,
                ..
            })) => {
                let found = match result {
                    Ok(found) => found.peers,
                    Err(kad::GetClosestPeersError::Timeout { peers, .. }) => peers,
                };
                self.note_found(id, found, step.last);
            }
            SwarmEvent::Behaviour(BehaviourEvent::Identify(identify::Event::Received {
                peer_id,
                info,
                ..
            })) => {
                self.directory.learn(&peer_id, &info.listen_addrs);
                if info.protocols.contains(&FINDING) {
                    for address in self.directory.addresses(&peer_id) {
                        self.swarm.behaviour_mut().kad.add_address(&peer_id, address);
                    }
                }
            }
            _ => {}
        }
    }

    fn hear_exchange(&mut self, event: Event) {
        match event {
            Event::Message { peer, message: Message::Request { request_id, request, channel }, .. } => {
                let known = self.directory.party(&peer).zip(self.directory.account(&peer));
                self.outbox.heard(&peer);
                if let Some((party, account)) = known.filter(|_| self.leaving.is_none()) {
                    self.desk.take(Inquiry { peer, id: request_id, party, account, request, channel });
                }
            }
            Event::Message { peer, message: Message::Response { request_id, response }, .. } => {
                self.outbox.replied(&peer, request_id, response.bytes);
                self.send_queued(&peer);
            }
            Event::OutboundFailure { peer, request_id, error, .. } => {
                let failure = match error {
                    OutboundFailure::DialFailure => Failure::NotConnected,
                    OutboundFailure::Timeout => Failure::TimedOut,
                    OutboundFailure::Io(error) if error.kind() == std::io::ErrorKind::FileTooLarge => {
                        Failure::TooLarge
                    }
                    _ => Failure::Lost,
                };
                match self.outbox.failed(&peer, request_id, failure) {
                    After::Nothing => {}
                    After::Search => self.search(peer),
                    After::Disconnect => self.swarm.behaviour_mut().gate.close(peer),
                }
                self.send_queued(&peer);
            }
            Event::ResponseSent { peer, request_id, .. } | Event::InboundFailure { peer, request_id, .. } => {
                self.unsent.remove(&(peer, request_id));
            }
        }
    }

    fn reply(&mut self, ready: Ready) {
        let Ready { peer, id, channel, reply } = ready;
        if self.swarm.behaviour_mut().exchanges.reply(&peer, channel, reply) {
            self.unsent.insert((peer, id));
        }
    }

    fn send_queued(&mut self, peer: &PeerId) {
        while let Some((ticket, request)) = self.outbox.next(peer) {
            match self.swarm.behaviour_mut().exchanges.send(peer, Frame::new(request)) {
                Some(id) => self.outbox.sent(peer, ticket, id),
                None => return self.outbox.forget(peer),
            }
        }
    }

    /// Asks other members where `peer` is, unless they were asked a moment ago.
    fn search(&mut self, peer: PeerId) {
        let now = Instant::now();
        if self.searched.get(&peer).is_some_and(|last| *last + self.search_pause > now) {
            self.outbox.found(&peer, false);
            return;
        }
        self.searched.insert(peer, now);
        let kad = &mut self.swarm.behaviour_mut().kad;
        // Without what we know ourselves: the search would try that first, and be done with the peer when it fails.
        kad.remove_peer(&peer);
        let query = kad.get_closest_peers(peer);
        self.searches.push((query, peer));
    }

    fn note_found(&mut self, query: QueryId, found: Vec<kad::PeerInfo>, is_last: bool) {
        let Some(at) = self.searches.iter().position(|(id, _)| *id == query) else { return };
        let peer = self.searches[at].1;
        let mut is_new = false;
        for info in found {
            let new = self.directory.learn(&info.peer_id, &info.addrs);
            is_new |= info.peer_id == peer && !new.is_empty();
        }
        if is_last || is_new {
            self.searches.remove(at);
            let is_connected = self.swarm.behaviour().exchanges.is_connected(&peer);
            self.outbox.found(&peer, is_new || is_connected);
            self.send_queued(&peer);
        }
    }
}
