//! A registered peer with its own idea of the protocol: it sends any bytes, stalls, and answers whatever it likes.

use std::io;

use dt_model::Identity;
use futures_util::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, StreamExt};
use libp2p::identity::Keypair;
use libp2p::request_response::{self, Codec, Message, OutboundFailure, ProtocolSupport};
use libp2p::swarm::SwarmEvent;
use libp2p::{Multiaddr, PeerId, StreamProtocol, Swarm, SwarmBuilder, noise, tcp, yamux};

#[derive(Clone, Default)]
pub(crate) struct Raw;

/// Bytes that end with this are followed by nothing, and the stream stays open.
pub(crate) const STALL: &[u8] = b"...stall";

impl Codec for Raw {
    type Protocol = StreamProtocol;
    type Request = Vec<u8>;
    type Response = Vec<u8>;

    async fn read_request<T: AsyncRead + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
    ) -> io::Result<Vec<u8>> {
        let mut length = [0; 4];
        io.read_exact(&mut length).await?;
        let mut bytes = vec![0; u32::from_le_bytes(length) as usize];
        io.read_exact(&mut bytes).await?;
        Ok(bytes)
    }

    async fn read_response<T: AsyncRead + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
    ) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        io.read_to_end(&mut bytes).await?;
        Ok(bytes)
    }

    async fn write_request<T: AsyncWrite + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        bytes: Vec<u8>,
    ) -> io::Result<()> {
        write(io, &bytes).await
    }

    async fn write_response<T: AsyncWrite + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        bytes: Vec<u8>,
    ) -> io::Result<()> {
        write(io, &bytes).await
    }
}

async fn write<T: AsyncWrite + Unpin>(io: &mut T, bytes: &[u8]) -> io::Result<()> {
    if let Some(bytes) = bytes.strip_suffix(STALL) {
        io.write_all(bytes).await?;
        io.flush().await?;
        return core::future::pending().await;
    }
    io.write_all(bytes).await
}

/// The length of a frame, and its bytes.
pub(crate) fn frame(bytes: &[u8]) -> Vec<u8> {
    [&u32::try_from(bytes.len()).unwrap().to_le_bytes(), bytes].concat()
}

pub(crate) type RawSwarm = Swarm<request_response::Behaviour<Raw>>;

pub(crate) fn peer(identity: &Identity) -> PeerId {
    keypair(identity).public().to_peer_id()
}

fn keypair(identity: &Identity) -> Keypair {
    Keypair::ed25519_from_bytes(*identity.handshake_seed().expose()).unwrap()
}

pub(crate) fn raw(identity: &Identity) -> RawSwarm {
    let protocols = [(StreamProtocol::new("/dt/dht/1"), ProtocolSupport::Full)];
    let config = request_response::Config::default().with_max_concurrent_streams(1000);
    SwarmBuilder::with_existing_identity(keypair(identity))
        .with_tokio()
        .with_tcp(tcp::Config::default().nodelay(true), noise::Config::new, yamux::Config::default)
        .unwrap()
        .with_quic()
        .with_behaviour(|_| request_response::Behaviour::with_codec(Raw, protocols, config))
        .unwrap()
        .build()
}

/// Sends `bytes` to `node` as they are, and returns what comes back.
pub(crate) async fn send(
    swarm: &mut RawSwarm,
    node: PeerId,
    at: &Multiaddr,
    bytes: Vec<u8>,
) -> Result<Vec<u8>, OutboundFailure> {
    let sent = swarm.behaviour_mut().send_request_with_addresses(&node, bytes, vec![at.clone()]);
    loop {
        match swarm.select_next_some().await {
            SwarmEvent::Behaviour(request_response::Event::Message {
                message: Message::Response { request_id, response },
                ..
            }) if request_id == sent => return Ok(response),
            SwarmEvent::Behaviour(request_response::Event::OutboundFailure { request_id, error, .. })
                if request_id == sent =>
            {
                return Err(error);
            }
            _ => {}
        }
    }
}

/// Listens, and answers every request with `bytes` as they are. Returns where.
pub(crate) async fn serve(identity: &Identity, bytes: Vec<u8>) -> Multiaddr {
    let mut swarm = raw(identity);
    swarm.listen_on("/ip4/127.0.0.1/tcp/0".parse().unwrap()).unwrap();
    let at = loop {
        if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
            break address;
        }
    };
    tokio::spawn(async move {
        loop {
            if let SwarmEvent::Behaviour(request_response::Event::Message {
                message: Message::Request { channel, .. },
                ..
            }) = swarm.select_next_some().await
            {
                drop(swarm.behaviour_mut().send_response(channel, bytes.clone()));
            }
        }
    });
    at
}
