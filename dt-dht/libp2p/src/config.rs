//! What an integrator may choose.

use core::time::Duration;

use dt_dht::Rate;
use libp2p::Multiaddr;

/// How a party takes part in the network.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where to listen: `/ip4/0.0.0.0/tcp/4001`, `/ip4/0.0.0.0/udp/4001/quic-v1`. A client that serves nobody needs none.
    pub listen: Vec<Multiaddr>,
    /// Within this time every request ends, and a peer has to send one and to take the reply.
    pub request_timeout: Duration,
    /// Within this time a connection is made, with its handshakes.
    pub dial_timeout: Duration,
    /// After this time without a request a connection is closed.
    pub idle_timeout: Duration,
    /// What is done for others.
    pub limits: Limits,
}

impl Default for Config {
    /// Listens nowhere; ten seconds for a request, five for a connection, which stays for a minute.
    fn default() -> Self {
        Self {
            listen: Vec::new(),
            request_timeout: Duration::from_secs(10),
            dial_timeout: Duration::from_secs(5),
            idle_timeout: Duration::from_secs(60),
            limits: Limits::default(),
        }
    }
}

/// What is done for others, and what they may cost. What a peer uses up is his own: the others have theirs.
///
/// Memory for requests that are being read or worked on is at most `request_bytes`, for replies under way to one peer
/// `working_per_peer` messages, and for replies that a peer sends `reply_bytes_per_peer`.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Requests of one peer. Faster ones wait, in their own streams.
    pub requests: Rate,
    /// Bytes of one peer's requests. Faster ones wait.
    pub bytes: Rate,
    /// Streams to and from a peer at once; further ones are refused.
    pub streams_per_peer: usize,
    /// Our own requests to a peer at once, at most half of his streams; further ones wait.
    pub outgoing_per_peer: usize,
    /// Our own requests to a peer that may wait; further ones fail.
    pub queued_per_peer: usize,
    /// Requests of a peer that are worked on, or whose reply is being sent, at once.
    pub working_per_peer: usize,
    /// Requests that are worked on at once.
    pub working: usize,
    /// Bytes of a peer's requests that are held at once.
    pub request_bytes_per_peer: usize,
    /// Bytes of all requests that are held at once.
    pub request_bytes: usize,
    /// Bytes of a peer's replies that are held at once while they are read.
    pub reply_bytes_per_peer: usize,
    /// Connections at once. It has to be more than the parties.
    pub connections: u32,
    /// Connections from elsewhere at once whose handshake is not finished.
    pub handshakes: u32,
    /// How many of them may come from one IP address.
    pub handshakes_per_ip: u32,
    /// Malformed requests of a peer that are borne within the time of a ban. What no honest software sends is not borne at all.
    pub malformed: u32,
    /// How long nothing is taken from a peer who went too far.
    pub ban: Duration,
}

impl Default for Limits {
    /// For a small node among some hundred parties.
    fn default() -> Self {
        Self {
            requests: Rate { per_second: 1_000, burst: 5_000 },
            bytes: Rate { per_second: 64 << 20, burst: 256 << 20 },
            streams_per_peer: 192,
            outgoing_per_peer: 64,
            queued_per_peer: 1_024,
            working_per_peer: 16,
            working: 32,
            request_bytes_per_peer: 32 << 20,
            request_bytes: 256 << 20,
            reply_bytes_per_peer: 64 << 20,
            connections: 1_024,
            handshakes: 64,
            handshakes_per_ip: 16,
            malformed: 20,
            ban: Duration::from_secs(60),
        }
    }
}
