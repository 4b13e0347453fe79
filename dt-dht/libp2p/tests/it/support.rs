//! What several tests need.

use core::time::Duration;
use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use dt_dht::{
    Answer, Client, Key, Kind, Membership, MemoryStore, Node, Order, OwnedRecords, Record, Refusal, Replica,
    Resilience, Site, Transport, TransportError, Validator,
};
use dt_dht_libp2p::{Config, Libp2pTransport, Multiaddr};
use dt_model::testing::{SeedRng, identity};
use dt_model::{Digest, Identity, PartyId, Signed, Signer, Timestamp};

pub(crate) const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);
/// The seeds of identities.
pub(crate) const WRITER: u64 = 1;
pub(crate) const READER: u64 = 2;
pub(crate) const STRANGER: u64 = 3;
/// The first node's; the others follow.
pub(crate) const NODES: u64 = 100;

/// What connections are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wire {
    Tcp,
    Quic,
}

impl Wire {
    pub(crate) fn listen(self) -> Multiaddr {
        match self {
            Self::Tcp => "/ip4/127.0.0.1/tcp/0".parse().unwrap(),
            Self::Quic => "/ip4/127.0.0.1/udp/0/quic-v1".parse().unwrap(),
        }
    }
}

/// A client's configuration: quick to give up.
pub(crate) fn client_config() -> Config {
    Config {
        request_timeout: Duration::from_secs(4),
        dial_timeout: Duration::from_secs(2),
        ..Config::default()
    }
}

pub(crate) fn node_config(wire: Wire) -> Config {
    Config { listen: vec![wire.listen()], ..client_config() }
}

/// The membership of `nodes`, each with the addresses of its transport, and `parties`.
pub(crate) fn membership(
    max_faulty: u16,
    nodes: impl IntoIterator<Item = (PartyId, Vec<Multiaddr>)>,
    parties: impl IntoIterator<Item = u64>,
) -> Membership {
    let node = |(party, addresses): (PartyId, Vec<Multiaddr>)| Node {
        party,
        endpoints: addresses.iter().map(|address| address.to_string().parse().unwrap()).collect(),
    };
    let resilience = Resilience::tolerating(max_faulty).unwrap();
    let parties: BTreeSet<PartyId> = parties.into_iter().map(|seed| identity(seed).party()).collect();
    Membership::new(Digest::from([0x6c; 32]), 1, resilience, nodes.into_iter().map(node).collect(), parties)
        .unwrap()
}

pub(crate) async fn addresses(transport: &Libp2pTransport) -> Vec<Multiaddr> {
    transport.status().await.unwrap().addresses
}

/// A register that writer and reader advance in turn, version by version: its replicas agree on each.
pub(crate) struct Shared;

impl Shared {
    pub(crate) const KIND: Kind = Kind::new(*b"shrd");

    /// The version that the party with this seed would have next.
    pub(crate) fn record(seed: u64, version: u64) -> Signed<Record> {
        let body = format!("{version} by {seed}").into_bytes();
        let key = Key::new([9; 32].into(), Self::KIND, 0);
        Signed::new(Record { key, version, body: body.into() }, &identity(seed)).unwrap()
    }
}

impl Validator for Shared {
    fn kind(&self) -> Kind {
        Self::KIND
    }

    fn order(&self) -> Order {
        Order::Agreed
    }

    fn rank(&self, _: &Site<'_>, party: &PartyId) -> Option<u8> {
        [WRITER, READER].iter().any(|seed| identity(*seed).party() == *party).then_some(1)
    }

    fn admit(&self, site: &Site<'_>, offered: &Signed<Record>) -> Result<(), Refusal> {
        let stored = site.stored.map_or(0, |stored| stored.version);
        if offered.version == stored + 1 { Ok(()) } else { Err(Refusal::Gap { stored }) }
    }
}

/// What the nodes judge by.
pub(crate) fn validators() -> Vec<Arc<dyn Validator>> {
    vec![Arc::new(OwnedRecords), Arc::new(Shared)]
}

/// A node of a [`Network`].
pub(crate) struct Running {
    pub(crate) identity: Arc<Identity>,
    pub(crate) replica: Arc<Replica>,
    pub(crate) transport: Libp2pTransport,
}

/// Nodes with stores in memory over real sockets.
pub(crate) struct Network {
    pub(crate) max_faulty: u16,
    pub(crate) nodes: Vec<Running>,
    pub(crate) membership: Membership,
}

/// What a node answers, given its replica.
pub(crate) type Conduct<'a> = &'a dyn Fn(usize, Arc<Replica>, Answer) -> Answer;

impl Network {
    pub(crate) async fn start(wire: Wire, max_faulty: u16) -> Self {
        Self::with_conduct(wire, max_faulty, &|_, _, honest| honest).await
    }

    /// 3k + 1 nodes, which `conduct` makes behave.
    pub(crate) async fn with_conduct(wire: Wire, max_faulty: u16, conduct: Conduct<'_>) -> Self {
        Self::with_config(max_faulty, conduct, node_config(wire)).await
    }

    /// 3k + 1 nodes that are configured in this way.
    pub(crate) async fn with_config(max_faulty: u16, conduct: Conduct<'_>, config: Config) -> Self {
        let count = u64::from(3 * max_faulty + 1);
        let identities: Vec<_> = (NODES..NODES + count).map(|seed| Arc::new(identity(seed))).collect();
        let unknown = identities.iter().map(|node| (node.party(), Vec::new()));
        let membership = membership(max_faulty, unknown, [WRITER, READER]);
        let mut nodes = Vec::new();
        for (at, identity) in identities.into_iter().enumerate() {
            nodes.push(start_node(config.clone(), at, identity, &membership, conduct).await);
        }
        let mut network = Self { max_faulty, nodes, membership };
        network.publish().await;
        network
    }

    /// Tells everybody where everybody is, as the ledger would.
    pub(crate) async fn publish(&mut self) {
        let mut known = Vec::new();
        for node in &self.nodes {
            known.push((node.identity.party(), addresses(&node.transport).await));
        }
        self.membership = membership(self.max_faulty, known, [WRITER, READER]);
        for node in &self.nodes {
            node.transport.update_membership(&self.membership);
            node.replica.update_membership(self.membership.clone());
        }
    }

    /// A transport of the party with this seed.
    pub(crate) async fn transport(&self, seed: u64) -> Libp2pTransport {
        Libp2pTransport::start(&identity(seed), &self.membership, None, client_config()).await.unwrap()
    }

    /// A client of the party with this seed, with a transport of its own.
    pub(crate) async fn client(&self, seed: u64) -> Client {
        client(seed, self.transport(seed).await, &self.membership)
    }
}

pub(crate) async fn start_node(
    config: Config,
    at: usize,
    identity: Arc<Identity>,
    membership: &Membership,
    conduct: Conduct<'_>,
) -> Running {
    let store = Arc::new(MemoryStore::new());
    let replica = Replica::new(identity.clone(), store, membership.clone(), validators());
    let replica = Arc::new(replica);
    let answer = conduct(at, replica.clone(), replica.clone().answering(Arc::new(|| NOW)));
    let transport = Libp2pTransport::start(&identity, membership, Some(answer), config).await.unwrap();
    Running { identity, replica, transport }
}

pub(crate) fn client(seed: u64, transport: Libp2pTransport, membership: &Membership) -> Client {
    Client::new(Arc::new(identity(seed)), Arc::new(transport), membership.clone(), SeedRng::new(seed))
}

/// The writer's record of this name and version.
pub(crate) fn owned(name: &str, version: u64, value: &[u8]) -> Signed<Record> {
    let writer = identity(WRITER);
    let record = OwnedRecords::record(writer.party(), name.parse().unwrap(), version, value.to_vec());
    Signed::new(record, &writer).unwrap()
}

/// A transport together with what it lives on.
pub(crate) struct With<T> {
    pub(crate) transport: Libp2pTransport,
    #[expect(dead_code, reason = "it is for its life")]
    pub(crate) life: T,
}

#[async_trait]
impl<T: Send + Sync> Transport for With<T> {
    async fn request(&self, node: &PartyId, request: Bytes) -> Result<Bytes, TransportError> {
        self.transport.request(node, request).await
    }

    fn update_membership(&self, membership: &dt_dht::Membership) {
        self.transport.update_membership(membership);
    }
}

/// Waits until `is_so`, and panics when that takes too long.
pub(crate) async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    until_some(what, async || is_so().await.then_some(())).await;
}

/// Waits until there is something, and panics when that takes too long.
pub(crate) async fn until_some<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    for _ in 0..600 {
        if let Some(found) = look().await {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("not within half a minute: {what}");
}
