//! What nodes give each other beside the engine: transactions that wait, and images of the state for whoever is far behind.
//!
//! One protocol of requests and answers over TCP, Noise and yamux, among the configured peers alone: whoever is not one of them is cut off. A
//! transaction goes from the node that it was handed in at to each of that node's peers, in the order in which it was handed in, and no further: so it costs each
//! link once, nobody can be made to shout for others, and a sender's nonces arrive in order. Under load they go many
//! together. What was lost on the way is said again as long as it waits.
//!
//! # Invariant
//! A node has one request of transactions under way with each peer; the next goes when that is answered. Whoever asks more has eight at a
//! time, and that is all the pressure that it can make.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::Arc;

use async_trait::async_trait;
use borsh::{BorshDeserialize, BorshSerialize};
use bytes::Bytes;
use dt_ledger::{CommitCertificate, Header, MAX_CALL_BYTES};
use dt_model::{Digest, PartyId, codec};
use libp2p::futures::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, StreamExt as _};
use libp2p::multiaddr::Protocol;
use libp2p::request_response::{self, Event, Message, OutboundRequestId, ProtocolSupport, ResponseChannel};
use libp2p::swarm::SwarmEvent;
use libp2p::swarm::dial_opts::DialOpts;
use libp2p::{Multiaddr, PeerId, StreamProtocol, Swarm, SwarmBuilder, noise, tcp, yamux};
use tokio::sync::mpsc;
use tokio::time::{Duration, Instant, interval, sleep_until};
use tracing::{debug, warn};

use crate::config::Config;
use crate::images::Images;
use crate::shared::Shared;

const PROTOCOL: StreamProtocol = StreamProtocol::new("/dt/ledger-malachite/exchange/1");
/// Bytes of transactions in one request. A longer transaction goes alone.
const MAX_BATCH_BYTES: usize = 512 * 1024;
/// The longest request: one transaction that creates a twin.
const MAX_REQUEST_BYTES: usize = dt_ledger::MAX_AML_BYTES + 2 * MAX_CALL_BYTES;
/// The longest answer: a piece of an image, or a list of headers.
const MAX_ANSWER_BYTES: usize = 4 * 1024 * 1024;
/// Transactions that wait to be sent to a peer; what is more is sent again later.
const MAX_OUTBOX: usize = 64 * 1024;
/// After so long, what waits still is said again.
const RESEND: Duration = Duration::from_secs(3);
/// How often a peer that is not there is dialled.
const REDIAL: Duration = Duration::from_secs(1);
/// How long an answer may take: an image may have to be written first.
const PATIENCE: Duration = Duration::from_secs(60);

/// What one node asks another.
#[derive(Debug, Clone, BorshSerialize, BorshDeserialize)]
pub(crate) enum Ask {
    /// Let these wait.
    Transactions(Vec<Bytes>),
    /// Where are you?
    Standing,
    /// The headers from this height on that name other validators, and who those are.
    Changes { from: u64 },
    /// The header at this height.
    Header { height: u64 },
    /// A part of an image: of the one at `height`, or of any.
    Image { height: Option<u64>, offset: u64 },
}

/// What it answers.
#[derive(Debug, Clone, BorshSerialize, BorshDeserialize)]
pub(crate) enum Answer {
    /// It did what it could, or has nothing to give.
    Done,
    /// Its last height, and the first whose block it has.
    Standing { height: u64, first: u64 },
    /// Headers that name other validators than they had.
    Changes(Vec<(Header, CommitCertificate, Vec<PartyId>)>),
    /// A header.
    Header(Box<(Header, CommitCertificate)>),
    /// Bytes of the image at `height`, which has so many.
    Image { height: u64, length: u64, bytes: Bytes },
}

/// How requests and answers lie in a stream: the whole stream is one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Frames;

async fn read<T: BorshSerialize + BorshDeserialize>(
    io: &mut (impl AsyncRead + Unpin + Send),
    limit: usize,
) -> io::Result<T> {
    let mut bytes = Vec::new();
    io.take(limit as u64 + 1).read_to_end(&mut bytes).await?;
    codec::decode(&bytes, limit).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

async fn write(
    io: &mut (impl AsyncWrite + Unpin + Send),
    value: &(impl BorshSerialize + Sync),
) -> io::Result<()> {
    io.write_all(&codec::encode(value)).await?;
    io.close().await
}

#[async_trait]
impl request_response::Codec for Frames {
    type Protocol = StreamProtocol;
    type Request = Ask;
    type Response = Answer;

    async fn read_request<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Ask>
    where
        T: AsyncRead + Unpin + Send,
    {
        read(io, MAX_REQUEST_BYTES).await
    }

    async fn read_response<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Answer>
    where
        T: AsyncRead + Unpin + Send,
    {
        read(io, MAX_ANSWER_BYTES).await
    }

    async fn write_request<T>(&mut self, _: &StreamProtocol, io: &mut T, ask: Ask) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        write(io, &ask).await
    }

    async fn write_response<T>(&mut self, _: &StreamProtocol, io: &mut T, answer: Answer) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        write(io, &answer).await
    }
}

pub(crate) type Behaviour = request_response::Behaviour<Frames>;

/// A way into the network of requests and answers.
pub(crate) fn swarm(config: &Config) -> Result<Swarm<Behaviour>, Box<dyn std::error::Error + Send + Sync>> {
    let support = std::iter::once((PROTOCOL, ProtocolSupport::Full));
    let protocol =
        request_response::Config::default().with_request_timeout(PATIENCE).with_max_concurrent_streams(8);
    let behaviour = request_response::Behaviour::with_codec(Frames, support, protocol);
    Ok(SwarmBuilder::with_existing_identity(config.node_key.clone())
        .with_tokio()
        .with_tcp(tcp::Config::default().nodelay(true), noise::Config::new, yamux::Config::default)?
        .with_behaviour(|_| behaviour)?
        .with_swarm_config(|swarm| swarm.with_idle_connection_timeout(Duration::from_secs(600)))
        .build())
}

/// The configured peers, by who they are.
pub(crate) fn peers(config: &Config) -> BTreeMap<PeerId, Multiaddr> {
    let named = config.peers.iter().filter_map(|peer| {
        let id = peer.exchange.iter().find_map(|part| match part {
            Protocol::P2p(id) => Some(id),
            _ => None,
        })?;
        Some((id, peer.exchange.clone()))
    });
    named.collect()
}

/// Transactions to be told to the peers.
#[derive(Debug, Clone)]
pub(crate) struct Outbox(mpsc::Sender<(Digest, Bytes)>);

impl Outbox {
    /// Room for one transaction, if there is any: what is let in without it would never be told.
    pub(crate) fn reserve(&self) -> Option<mpsc::Permit<'_, (Digest, Bytes)>> {
        self.0.try_reserve().ok()
    }
}

#[derive(Default)]
struct Link {
    is_connected: bool,
    queue: VecDeque<Bytes>,
    under_way: Option<OutboundRequestId>,
}

/// The exchange of one node.
pub(crate) struct Exchange {
    shared: Arc<Shared>,
    images: Arc<Images>,
    swarm: Swarm<Behaviour>,
    addresses: BTreeMap<PeerId, Multiaddr>,
    links: BTreeMap<PeerId, Link>,
    outbox: mpsc::Receiver<(Digest, Bytes)>,
    /// What was handed in here and may wait still, and since when: as much as the mempool holds, and what was committed in the last seconds.
    own: VecDeque<(Instant, Digest, Bytes)>,
    /// How long transactions are gathered.
    tell: Duration,
    /// When the peers are told of those that are gathered, if there are any; and not before when of those that come next.
    due: Option<Instant>,
    next: Instant,
}

impl Exchange {
    pub(crate) fn listen(
        config: &Config,
        shared: Arc<Shared>,
    ) -> Result<(Self, Outbox), Box<dyn std::error::Error + Send + Sync>> {
        let mut swarm = swarm(config)?;
        swarm.listen_on(config.exchange.clone())?;
        let (sender, outbox) = mpsc::channel(MAX_OUTBOX);
        let addresses = peers(config);
        let links = addresses.keys().map(|peer| (*peer, Link::default())).collect();
        let images = Arc::new(Images::new(config.folder.join("images"), Arc::clone(&shared.replica)));
        let (own, tell, due, next) = (VecDeque::new(), config.pace.tell, None, Instant::now());
        let exchange = Self { shared, images, swarm, addresses, links, outbox, own, tell, due, next };
        Ok((exchange, Outbox(sender)))
    }

    pub(crate) async fn run(mut self) {
        let (answers, mut ready) = mpsc::unbounded_channel::<(ResponseChannel<Answer>, Answer)>();
        let (mut redial, mut resend) = (interval(REDIAL), interval(RESEND));
        loop {
            let due = self.due;
            tokio::select! {
                event = self.swarm.select_next_some() => self.on(event, &answers),
                Some((channel, answer)) = ready.recv() => {
                    // Whoever asked may have gone.
                    let _ = self.swarm.behaviour_mut().send_response(channel, answer);
                }
                Some((digest, transaction)) = self.outbox.recv() => self.queue(digest, transaction),
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => self.tell(),
                _ = redial.tick() => self.dial(),
                _ = resend.tick() => self.say_again(),
            }
        }
    }

    fn on(
        &mut self,
        event: SwarmEvent<Event<Ask, Answer>>,
        answers: &mpsc::UnboundedSender<(ResponseChannel<Answer>, Answer)>,
    ) {
        match event {
            SwarmEvent::ConnectionEstablished { peer_id, .. } => self.connected(peer_id),
            SwarmEvent::ConnectionClosed { peer_id, num_established: 0, .. } => {
                if let Some(link) = self.links.get_mut(&peer_id) {
                    *link = Link::default();
                }
            }
            SwarmEvent::Behaviour(Event::Message { peer, message, .. }) => match message {
                Message::Request { request, channel, .. } => {
                    if !self.links.contains_key(&peer) {
                        return;
                    }
                    let (shared, images, answers) =
                        (Arc::clone(&self.shared), Arc::clone(&self.images), answers.clone());
                    // Verifying and reading take long: the others go on meanwhile.
                    tokio::task::spawn_blocking(move || {
                        let answer = answer(&shared, &images, request);
                        let _ = answers.send((channel, answer));
                    });
                }
                Message::Response { request_id, .. } => self.done(peer, request_id),
            },
            SwarmEvent::Behaviour(Event::OutboundFailure { peer, request_id, error, .. }) => {
                debug!(%peer, %error, "transactions were not taken");
                self.done(peer, request_id);
            }
            _ => {}
        }
    }

    fn connected(&mut self, peer: PeerId) {
        let Some(link) = self.links.get_mut(&peer) else {
            warn!(%peer, "an unknown node is cut off");
            let _ = self.swarm.disconnect_peer_id(peer);
            return;
        };
        if !link.is_connected {
            link.is_connected = true;
            link.queue = self.own.iter().map(|(_, _, transaction)| transaction.clone()).collect();
            self.send(peer);
        }
    }

    fn done(&mut self, peer: PeerId, request: OutboundRequestId) {
        if let Some(link) = self.links.get_mut(&peer)
            && link.under_way == Some(request)
        {
            link.under_way = None;
            // What has come meanwhile goes when it is due.
            if self.due.is_none() {
                self.send(peer);
            }
        }
    }

    /// Tells a peer the next transactions, unless it has not answered the last ones.
    fn send(&mut self, peer: PeerId) {
        let Some(link) = self.links.get_mut(&peer) else { return };
        if !link.is_connected || link.under_way.is_some() || link.queue.is_empty() {
            return;
        }
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while let Some(transaction) = link.queue.front()
            && (batch.is_empty() || bytes + transaction.len() <= MAX_BATCH_BYTES)
        {
            bytes += transaction.len();
            batch.extend(link.queue.pop_front());
        }
        link.under_way = Some(self.swarm.behaviour_mut().send_request(&peer, Ask::Transactions(batch)));
    }

    fn queue(&mut self, digest: Digest, transaction: Bytes) {
        self.own.push_back((Instant::now(), digest, transaction.clone()));
        for link in self.links.values_mut().filter(|link| link.is_connected && link.queue.len() < MAX_OUTBOX)
        {
            link.queue.push_back(transaction.clone());
        }
        self.due.get_or_insert(self.next);
    }

    /// Tells the peers of what was gathered.
    fn tell(&mut self) {
        self.due = None;
        self.next = Instant::now() + self.tell;
        self.send_all();
    }

    fn send_all(&mut self) {
        let peers: Vec<PeerId> = self.links.keys().copied().collect();
        for peer in peers {
            self.send(peer);
        }
    }

    /// Says again what has waited for long, to whoever has heard of it.
    fn say_again(&mut self) {
        {
            let mempool = self.shared.mempool();
            self.own.retain(|(_, digest, _)| mempool.contains(digest));
        }
        let old = self.own.iter().take_while(|(since, _, _)| since.elapsed() >= RESEND);
        let old: Vec<Bytes> = old.map(|(_, _, transaction)| transaction.clone()).collect();
        let young = self.own.len() - old.len();
        // Whoever has more to hear than what is young hears of what is old for the first time.
        for link in self.links.values_mut().filter(|link| link.is_connected && link.queue.len() <= young) {
            old.iter().rev().for_each(|transaction| link.queue.push_front(transaction.clone()));
        }
        self.send_all();
    }

    fn dial(&mut self) {
        for (peer, address) in &self.addresses {
            if !self.swarm.is_connected(peer) {
                let options = DialOpts::peer_id(*peer).addresses(vec![address.clone()]).build();
                let _ = self.swarm.dial(options);
            }
        }
    }
}

/// What this node answers.
fn answer(shared: &Shared, images: &Images, ask: Ask) -> Answer {
    match ask {
        Ask::Transactions(transactions) => {
            for transaction in &transactions {
                if let Err(error) = shared.admit(transaction) {
                    debug!(%error, "a peer's transaction does not wait here");
                }
            }
            Answer::Done
        }
        ask => images.answer(ask).unwrap_or_else(|error| {
            warn!(%error, "a peer's question has no answer");
            Answer::Done
        }),
    }
}
