//! Requests and replies: one request-response engine for each peer, so that each reads within its own budget.

use core::ops::Bound;
use core::task::{Context, Poll};
use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::Arc;

use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::request_response::{self, OutboundRequestId, ProtocolSupport, ResponseChannel};
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent, THandlerOutEvent,
    ToSwarm,
};
use libp2p::{Multiaddr, PeerId};

use crate::directory::{Barred, Directory};
use crate::frame::{Frame, Frames, PROTOCOL};

type Exchange = request_response::Behaviour<Frames>;
/// What the engine of a peer reports.
pub(crate) type Event = request_response::Event<Frame, Frame>;

/// The engines of all peers with whom there is something to do.
pub(crate) struct Exchanges {
    directory: Arc<Directory>,
    support: ProtocolSupport,
    timeout: Duration,
    streams: usize,
    peers: BTreeMap<PeerId, Exchange>,
    /// Whose event was reported last: the others are next.
    last: Option<PeerId>,
    /// Whether somebody may be gone for good.
    is_untidy: bool,
}

impl Exchanges {
    /// Engines that take requests if `serves`.
    pub(crate) fn new(directory: Arc<Directory>, serves: bool, timeout: Duration, streams: usize) -> Self {
        let support = if serves { ProtocolSupport::Full } else { ProtocolSupport::Outbound };
        Self { directory, support, timeout, streams, peers: BTreeMap::new(), last: None, is_untidy: false }
    }

    /// Sends a request, or dials first. `None` if `peer` is not registered.
    pub(crate) fn send(&mut self, peer: &PeerId, request: Frame) -> Option<OutboundRequestId> {
        Some(self.exchange(peer)?.send_request(peer, request))
    }

    /// Whether there is a connection.
    pub(crate) fn is_connected(&self, peer: &PeerId) -> bool {
        self.peers.get(peer).is_some_and(|exchange| exchange.is_connected(peer))
    }

    /// Sends a reply, unless nobody waits for it any more.
    pub(crate) fn reply(&mut self, peer: &PeerId, channel: ResponseChannel<Frame>, reply: Frame) -> bool {
        self.peers.get_mut(peer).is_some_and(|exchange| exchange.send_response(channel, reply).is_ok())
    }

    fn exchange(&mut self, peer: &PeerId) -> Option<&mut Exchange> {
        if !self.peers.contains_key(peer) {
            let codec = Frames(self.directory.account(peer)?);
            let config = request_response::Config::default()
                .with_request_timeout(self.timeout)
                .with_max_concurrent_streams(self.streams);
            let protocols = [(PROTOCOL, self.support.clone())];
            self.peers.insert(*peer, Exchange::with_codec(codec, protocols, config));
        }
        self.peers.get_mut(peer)
    }

    fn admitted(&mut self, peer: &PeerId) -> Result<&mut Exchange, ConnectionDenied> {
        self.exchange(peer).ok_or_else(|| ConnectionDenied::new(Barred::Stranger))
    }
}

impl NetworkBehaviour for Exchanges {
    type ConnectionHandler = THandler<Exchange>;
    type ToSwarm = Event;

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.admitted(&peer)?.handle_established_inbound_connection(connection, peer, local, remote)
    }

    fn handle_established_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        role: Endpoint,
        port: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.admitted(&peer)?.handle_established_outbound_connection(connection, peer, address, role, port)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        let peer = match &event {
            FromSwarm::ConnectionEstablished(made) => Some(made.peer_id),
            FromSwarm::ConnectionClosed(closed) => Some(closed.peer_id),
            FromSwarm::AddressChange(change) => Some(change.peer_id),
            FromSwarm::DialFailure(failure) => failure.peer_id,
            _ => None,
        };
        if let Some(exchange) = peer.and_then(|peer| self.peers.get_mut(&peer)) {
            exchange.on_swarm_event(event);
            self.is_untidy = true;
        }
    }

    fn on_connection_handler_event(
        &mut self,
        peer: PeerId,
        connection: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        if let Some(exchange) = self.peers.get_mut(&peer) {
            exchange.on_connection_handler_event(peer, connection, event);
        }
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        let start = self.last.map_or(Bound::Unbounded, Bound::Excluded);
        let end = self.last.map_or(Bound::Unbounded, Bound::Included);
        let next = [(start, Bound::Unbounded), (Bound::Unbounded, end)].into_iter().find_map(|range| {
            self.peers.range_mut(range).find_map(|(peer, exchange)| match exchange.poll(context) {
                Poll::Ready(event) => Some((*peer, event)),
                Poll::Pending => None,
            })
        });
        if let Some((peer, event)) = next {
            self.last = Some(peer);
            return Poll::Ready(event);
        }
        if core::mem::take(&mut self.is_untidy) {
            // Nothing is left to report of those who are gone.
            let directory = &self.directory;
            self.peers
                .retain(|peer, exchange| exchange.is_connected(peer) || directory.party(peer).is_some());
        }
        Poll::Pending
    }
}
