//! Who gets a connection: registered parties that are not banned, and of those whose handshake is not finished only so many from one IP
//! address.

use core::convert::Infallible;
use core::task::{Context, Poll};
use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;

use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::{
    CloseConnection, ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent,
    THandlerOutEvent, ToSwarm, dummy,
};
use libp2p::{Multiaddr, PeerId};
use thiserror::Error;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::account::Offence;
use crate::directory::Directory;

/// Too many unfinished handshakes come from one address, or nobody is let in any more.
#[derive(Debug, Error)]
#[error("no place")]
struct Crowded;

/// Nobody is dialled without knowing whom.
#[derive(Debug, Error)]
#[error("nobody is named")]
struct Nameless;

pub(crate) struct Gate {
    directory: Arc<Directory>,
    handshakes_per_ip: u32,
    /// Within this time two peers that dial each other at once have done so.
    dial_timeout: Duration,
    handshakes: BTreeMap<ConnectionId, Option<IpAddr>>,
    connections: BTreeMap<PeerId, Vec<(ConnectionId, Instant)>>,
    closing: VecDeque<(PeerId, CloseConnection)>,
    offences: mpsc::Receiver<(PeerId, Offence)>,
    is_shut: bool,
}

impl Gate {
    pub(crate) fn new(
        directory: Arc<Directory>,
        offences: mpsc::Receiver<(PeerId, Offence)>,
        handshakes_per_ip: u32,
        dial_timeout: Duration,
    ) -> Self {
        let (handshakes, connections, closing) = (BTreeMap::new(), BTreeMap::new(), VecDeque::new());
        let is_shut = false;
        Self {
            directory,
            handshakes_per_ip,
            dial_timeout,
            handshakes,
            connections,
            closing,
            offences,
            is_shut,
        }
    }

    /// Lets nobody in any more; who is connected stays so.
    pub(crate) const fn shut(&mut self) {
        self.is_shut = true;
    }

    /// Ends all connections of `peer`.
    pub(crate) fn close(&mut self, peer: PeerId) {
        self.closing.push_back((peer, CloseConnection::All));
    }

    /// Ends all connections.
    pub(crate) fn close_all(&mut self) {
        self.closing.extend(self.connections.keys().map(|peer| (*peer, CloseConnection::All)));
    }

    /// Who is connected.
    pub(crate) fn connected(&self) -> impl Iterator<Item = &PeerId> {
        self.connections.keys()
    }

    /// Who dials has no connection, as far as he knows: older ones are of a process that is no more, or of a network that is cut.
    fn note_connection(&mut self, peer: PeerId, connection: ConnectionId, is_inbound: bool) {
        let now = Instant::now();
        let known = self.connections.entry(peer).or_default();
        if is_inbound {
            let stale = known.iter().filter(|(_, since)| *since + self.dial_timeout < now);
            self.closing.extend(stale.map(|(id, _)| (peer, CloseConnection::One(*id))));
        }
        known.push((connection, now));
    }
}

impl NetworkBehaviour for Gate {
    type ConnectionHandler = dummy::ConnectionHandler;
    /// A peer that is banned from now on.
    type ToSwarm = (PeerId, Offence);

    fn handle_pending_inbound_connection(
        &mut self,
        connection: ConnectionId,
        _: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        let ip = ip_of(remote);
        let others = self.handshakes.values().filter(|other| **other == ip).count();
        if self.is_shut || others >= self.handshakes_per_ip as usize {
            return Err(ConnectionDenied::new(Crowded));
        }
        self.handshakes.insert(connection, ip);
        Ok(())
    }

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.handshakes.remove(&connection);
        self.directory.admit(&peer).map_err(ConnectionDenied::new)?;
        Ok(dummy::ConnectionHandler)
    }

    fn handle_pending_outbound_connection(
        &mut self,
        _: ConnectionId,
        peer: Option<PeerId>,
        _: &[Multiaddr],
        _: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        let peer = peer.ok_or_else(|| ConnectionDenied::new(Nameless))?;
        self.directory.admit(&peer).map_err(ConnectionDenied::new)?;
        Ok(self.directory.addresses(&peer))
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.directory.admit(&peer).map_err(ConnectionDenied::new)?;
        Ok(dummy::ConnectionHandler)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ListenFailure(failure) => {
                self.handshakes.remove(&failure.connection_id);
            }
            FromSwarm::ConnectionEstablished(made) => {
                self.note_connection(made.peer_id, made.connection_id, made.endpoint.is_listener());
            }
            FromSwarm::ConnectionClosed(closed) => {
                if let Some(known) = self.connections.get_mut(&closed.peer_id) {
                    known.retain(|(id, _)| *id != closed.connection_id);
                    if known.is_empty() {
                        self.connections.remove(&closed.peer_id);
                    }
                }
            }
            _ => {}
        }
    }

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        let never: Infallible = event;
        match never {}
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        while let Poll::Ready(Some((peer, offence))) = self.offences.poll_recv(context) {
            if self.directory.offend(&peer, offence) {
                self.close(peer);
                return Poll::Ready(ToSwarm::GenerateEvent((peer, offence)));
            }
        }
        match self.closing.pop_front() {
            Some((peer_id, connection)) => Poll::Ready(ToSwarm::CloseConnection { peer_id, connection }),
            None => Poll::Pending,
        }
    }
}

fn ip_of(address: &Multiaddr) -> Option<IpAddr> {
    match address.iter().next() {
        Some(Protocol::Ip4(ip)) => Some(ip.into()),
        Some(Protocol::Ip6(ip)) => Some(ip.into()),
        _ => None,
    }
}
