//! The libp2p stack: TCP with Noise and yamux, QUIC, and the behaviours on top.

use core::num::NonZeroU8;
use core::time::Duration;
use std::sync::Arc;

use dt_model::{Identity, Signer as _};
use libp2p::identity::Keypair;
use libp2p::kad::store::{MemoryStore, MemoryStoreConfig};
use libp2p::swarm::NetworkBehaviour;
use libp2p::{StreamProtocol, Swarm, SwarmBuilder, connection_limits, identify, kad, noise, tcp, yamux};
use zeroize::Zeroizing;

use crate::account::Bank;
use crate::directory::Directory;
use crate::exchange::Exchanges;
use crate::gate::Gate;
use crate::{Config, StartError};

/// The protocol by which members find each other's addresses.
pub(crate) const FINDING: StreamProtocol = StreamProtocol::new("/dt/dht/members/1");
/// What members call themselves.
const IDENTIFYING: &str = "/dt/dht/identify/1";

/// What runs on a connection, and who gets one.
///
/// # Invariant
/// The gate MUST come first: what comes after it sees registered parties only. The exchanges MUST come last: they hand waiting requests
/// to a connection as soon as they see it, so nobody after them may refuse it.
#[derive(NetworkBehaviour)]
pub(crate) struct Behaviour {
    pub(crate) gate: Gate,
    limits: connection_limits::Behaviour,
    identify: identify::Behaviour,
    pub(crate) kad: kad::Behaviour<MemoryStore>,
    pub(crate) exchanges: Exchanges,
}

/// The stack of `identity`, not listening yet, in which nobody is registered yet.
pub(crate) fn build(
    identity: &Identity,
    config: &Config,
    serves: bool,
) -> Result<(Swarm<Behaviour>, Arc<Directory>), StartError> {
    let limits = &config.limits;
    let (bank, offences) = Bank::new(limits.clone());
    let directory = Directory::new(identity.party(), bank, limits.malformed, limits.ban);
    let directory = Arc::new(directory);
    let behaviour = |key: &Keypair| Behaviour {
        gate: Gate::new(directory.clone(), offences, limits.handshakes_per_ip, config.dial_timeout),
        limits: connection_limits::Behaviour::new(
            connection_limits::ConnectionLimits::default()
                .with_max_pending_incoming(Some(limits.handshakes))
                .with_max_established(Some(limits.connections))
                .with_max_established_per_peer(Some(CONNECTIONS_PER_PEER)),
        ),
        identify: identify::Behaviour::new(
            identify::Config::new(IDENTIFYING.into(), key.public())
                .with_agent_version(env!("CARGO_PKG_NAME").into())
                .with_push_listen_addr_updates(true),
        ),
        kad: finding(key, config, serves),
        exchanges: Exchanges::new(directory.clone(), serves, config.request_timeout, limits.streams_per_peer),
    };
    let swarm = SwarmBuilder::with_existing_identity(keypair(identity)?)
        .with_tokio()
        .with_tcp(tcp::Config::default().nodelay(true), noise::Config::new, yamux::Config::default)
        .map_err(|error| StartError::Stack(Box::new(error)))?
        .with_quic_config(|mut quic| {
            quic.handshake_timeout = config.dial_timeout;
            quic
        })
        .with_behaviour(behaviour)
        .map_err(|error| StartError::Stack(Box::new(error)))?
        .with_swarm_config(|swarm| {
            swarm
                .with_idle_connection_timeout(config.idle_timeout)
                .with_dial_concurrency_factor(DIALLED_AT_ONCE)
        })
        .with_connection_timeout(config.dial_timeout)
        .build();
    Ok((swarm, directory))
}

/// So many addresses of a peer are tried at once: those of a former start then cost no time.
const DIALLED_AT_ONCE: NonZeroU8 = NonZeroU8::MIN.saturating_add(15);
/// A node shows itself to the others so often: they may not have been there when it came.
const SHOWING: Duration = Duration::from_secs(60);
/// Two peers that dial each other at once have two, and a peer that was restarted has those of his former start for a while.
const CONNECTIONS_PER_PEER: u32 = 6;

fn keypair(identity: &Identity) -> Result<Keypair, StartError> {
    let seed = identity.handshake_seed();
    let mut bytes = Zeroizing::new(*seed.expose());
    Keypair::ed25519_from_bytes(&mut *bytes).map_err(|error| StartError::Stack(Box::new(error)))
}

/// Kademlia that knows where members are, and stores nothing for anybody.
fn finding(key: &Keypair, config: &Config, serves: bool) -> kad::Behaviour<MemoryStore> {
    let own = key.public().to_peer_id();
    let nothing = MemoryStoreConfig {
        max_records: 0,
        max_value_bytes: 0,
        max_providers_per_key: 0,
        max_provided_keys: 0,
    };
    let mut settings = kad::Config::new(FINDING);
    settings
        .set_query_timeout(config.dial_timeout)
        .set_kbucket_inserts(kad::BucketInserts::Manual)
        .set_record_filtering(kad::StoreInserts::FilterBoth)
        .set_caching(kad::Caching::Disabled)
        .set_publication_interval(None)
        .set_replication_interval(None)
        .set_provider_publication_interval(None)
        .set_periodic_bootstrap_interval(Some(SHOWING));
    let mut kad = kad::Behaviour::with_config(own, MemoryStore::with_config(own, nothing), settings);
    kad.set_mode(Some(if serves { kad::Mode::Server } else { kad::Mode::Client }));
    kad
}
