//! What a peer may send to the exchange, and what becomes of it: frames that are none, too long, sent again and again, or from a stranger.

use std::io;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use dt_ledger::{Call, Consensus as _, MAX_AML_BYTES, MAX_CALL_BYTES};
use dt_ledger_malachite::{Keypair, Malachite, Start};
use dt_model::codec;
use dt_model::testing::identity;
use libp2p::futures::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, StreamExt as _};
use libp2p::request_response::{self, Event, Message, ProtocolSupport};
use libp2p::swarm::SwarmEvent;
use libp2p::swarm::dial_opts::DialOpts;
use libp2p::{PeerId, StreamProtocol, Swarm, SwarmBuilder, noise, tcp, yamux};
use tokio::time::sleep;

use crate::cluster::{Plan, harmless, node_key, nonce, run, sign};

/// Bytes as they are.
#[derive(Clone)]
struct Raw;

#[async_trait]
impl request_response::Codec for Raw {
    type Protocol = StreamProtocol;
    type Request = Vec<u8>;
    type Response = Vec<u8>;

    async fn read_request<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Vec<u8>>
    where
        T: AsyncRead + Unpin + Send,
    {
        let mut bytes = Vec::new();
        io.read_to_end(&mut bytes).await?;
        Ok(bytes)
    }

    async fn read_response<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Vec<u8>>
    where
        T: AsyncRead + Unpin + Send,
    {
        let mut bytes = Vec::new();
        io.read_to_end(&mut bytes).await?;
        if bytes.is_empty() { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(bytes) }
    }

    async fn write_request<T>(&mut self, _: &StreamProtocol, io: &mut T, bytes: Vec<u8>) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        io.write_all(&bytes).await?;
        io.close().await
    }

    async fn write_response<T>(&mut self, _: &StreamProtocol, io: &mut T, bytes: Vec<u8>) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        io.write_all(&bytes).await?;
        io.close().await
    }
}

/// Somebody who sends what he likes, and hears what he is told.
struct Peer {
    swarm: Swarm<request_response::Behaviour<Raw>>,
    node: PeerId,
}

impl Peer {
    fn new(plan: &Plan, key: Keypair) -> Self {
        Self::who(plan, key, ProtocolSupport::Outbound)
    }

    fn who(plan: &Plan, key: Keypair, support: ProtocolSupport) -> Self {
        let protocol = StreamProtocol::new("/dt/ledger-malachite/exchange/1");
        let support = std::iter::once((protocol, support));
        let config = request_response::Config::default().with_request_timeout(Duration::from_secs(60));
        let behaviour = request_response::Behaviour::with_codec(Raw, support, config);
        let mut swarm = SwarmBuilder::with_existing_identity(key)
            .with_tokio()
            .with_tcp(tcp::Config::default().nodelay(true), noise::Config::new, yamux::Config::default)
            .unwrap()
            .with_behaviour(|_| behaviour)
            .unwrap()
            .with_swarm_config(|swarm| swarm.with_idle_connection_timeout(Duration::from_secs(60)))
            .build();
        let node = node_key(0).public().to_peer_id();
        let address = format!("/ip4/127.0.0.1/tcp/{}", plan.ports[0].1).parse().unwrap();
        swarm.dial(DialOpts::peer_id(node).addresses(vec![address]).build()).unwrap();
        Self { swarm, node }
    }

    /// Sends all of them at once; the answers, or none where there was none.
    async fn send(&mut self, requests: Vec<Vec<u8>>) -> Vec<Option<Vec<u8>>> {
        let ids: Vec<_> = requests
            .into_iter()
            .map(|request| self.swarm.behaviour_mut().send_request(&self.node, request))
            .collect();
        let mut answers = vec![None; ids.len()];
        let mut left = ids.len();
        while left > 0 {
            let (id, answer) = match self.swarm.select_next_some().await {
                SwarmEvent::Behaviour(Event::Message {
                    message: Message::Response { request_id, response },
                    ..
                }) => (request_id, Some(response)),
                SwarmEvent::Behaviour(Event::OutboundFailure { request_id, .. }) => (request_id, None),
                _ => continue,
            };
            answers[ids.iter().position(|sent| *sent == id).unwrap()] = answer;
            left -= 1;
        }
        answers
    }

    /// Listens, and answers at once, until it was told so many transactions; how many each request had.
    async fn hear(&mut self, transactions: usize) -> Vec<usize> {
        let mut told = Vec::new();
        while told.iter().sum::<usize>() < transactions {
            let SwarmEvent::Behaviour(Event::Message {
                message: Message::Request { request, channel, .. },
                ..
            }) = self.swarm.select_next_some().await
            else {
                continue;
            };
            let (_, offered): (u8, Vec<Bytes>) = codec::decode(&request, request.len()).unwrap();
            told.push(offered.len());
            self.swarm.behaviour_mut().send_response(channel, vec![0]).unwrap();
        }
        told
    }

    async fn ask(&mut self, request: Vec<u8>) -> Option<Vec<u8>> {
        self.send(vec![request]).await.remove(0)
    }
}

/// A request that offers transactions.
fn offer(transactions: &[Bytes]) -> Vec<u8> {
    codec::encode(&(0_u8, transactions))
}

/// A request for where the node stands, and whether the answer is one.
const STANDING: [u8; 1] = [1];

fn stands(answer: Option<Vec<u8>>) -> bool {
    answer.is_some_and(|answer| answer.first() == Some(&1) && answer.len() == 17)
}

const DONE: Option<&[u8]> = Some(&[0]);

async fn start(plan: &Plan) -> Malachite {
    plan.start(0, Start::First).await.unwrap()
}

#[test]
fn frames_that_are_none_or_too_long_get_no_answer_and_change_nothing() {
    run(180, async {
        let folder = tempfile::tempdir().unwrap();
        let plan = Plan::new(folder.path().into(), 1, 2);
        let node = start(&plan).await;
        let mut peer = Peer::new(&plan, node_key(1));
        assert!(stands(peer.ask(STANDING.into()).await));

        let longest = MAX_AML_BYTES + 2 * MAX_CALL_BYTES;
        let mut followed = offer(&[]);
        followed.push(0);
        let false_length = [&[0][..], &u32::MAX.to_le_bytes()].concat();
        for (what, frame) in [
            ("nothing", vec![]),
            ("no request", vec![250]),
            ("half a request", offer(&[Bytes::from_static(b"transaction")])[..9].to_vec()),
            ("bytes after it", followed),
            ("a length that is a lie", false_length),
            ("too long", offer(&[vec![7; longest].into()])),
        ] {
            assert_eq!(peer.ask(frame).await, None, "{what}");
            assert!(stands(peer.ask(STANDING.into()).await), "after {what}, who asks rightly is answered");
        }
        // What is no transaction, in a frame that is right, is no fault of whoever passes it on; it does not wait.
        let long = Bytes::from(vec![7; longest - 64]);
        for nonsense in [Bytes::new(), Bytes::from_static(b"nonsense"), long] {
            assert_eq!(peer.ask(offer(&[nonsense])).await.as_deref(), DONE);
        }
        assert_eq!(node.status().pending, 0);
        node.shutdown().await;
    });
}

#[test]
fn the_same_transactions_again_and_again_are_committed_once() {
    run(180, async {
        let folder = tempfile::tempdir().unwrap();
        let plan = Plan::new(folder.path().into(), 1, 2);
        let node = start(&plan).await;
        let mut peer = Peer::new(&plan, node_key(1));
        let party = identity(10);
        let certificate = plan.keys().certificate(10, &party);
        let mut transactions = vec![sign(node.replica(), &party, 0, vec![Call::Register { certificate }])];
        transactions.extend((1..20).map(|number| sign(node.replica(), &party, number, harmless(&party))));
        let encoded: Vec<Bytes> = transactions.iter().map(|one| codec::encode(one).into()).collect();

        // The first one alone, until it is committed: who is no party yet can have no more than that waiting.
        assert_eq!(peer.ask(offer(&vec![encoded[0].clone(); 1000])).await.as_deref(), DONE);
        let mut height = 0;
        while nonce(node.replica(), &party) == 0 {
            height += 1;
            node.committed(height).await.unwrap();
        }
        // Many requests at once: some get no answer, because only so many are served at a time, and none makes a mess.
        let requests = vec![offer(&encoded); 64];
        let answers = peer.send(requests).await;
        assert!(answers.iter().any(Option::is_some) && answers.iter().flatten().all(|answer| answer == &[0]));
        assert!(node.status().pending < transactions.len());
        while nonce(node.replica(), &party) < 20 {
            height += 1;
            let block = node.committed(height).await.unwrap();
            assert!(block.receipts.len() < transactions.len());
        }
        let all = (1..=node.status().height).map(|height| node.replica().block(height).unwrap().unwrap());
        assert_eq!(all.map(|block| block.receipts.len()).sum::<usize>(), transactions.len());
        assert!(stands(peer.ask(STANDING.into()).await));
        node.shutdown().await;
    });
}

#[test]
fn a_stranger_is_cut_off() {
    run(180, async {
        let folder = tempfile::tempdir().unwrap();
        let plan = Plan::new(folder.path().into(), 1, 2);
        let node = start(&plan).await;
        let mut stranger = Peer::new(&plan, Keypair::ed25519_from_bytes([200; 32]).unwrap());
        assert_eq!(stranger.ask(STANDING.into()).await, None);
        let mut peer = Peer::new(&plan, node_key(1));
        assert!(stands(peer.ask(STANDING.into()).await));
        node.shutdown().await;
    });
}

#[test]
fn transactions_that_are_handed_in_together_travel_together() {
    const TRANSACTIONS: usize = 100;
    run(180, async {
        let folder = tempfile::tempdir().unwrap();
        let mut plan = Plan::new(folder.path().into(), 1, 2);
        plan.pace.tell = Duration::from_secs(1);
        let node = start(&plan).await;
        let party = identity(10);
        let certificate = plan.keys().certificate(10, &party);
        node.submit(sign(node.replica(), &party, 0, vec![Call::Register { certificate }])).await.unwrap();
        let mut height = 0;
        while nonce(node.replica(), &party) == 0 {
            height += 1;
            node.committed(height).await.unwrap();
        }

        let mut peer = Peer::who(&plan, node_key(1), ProtocolSupport::Full);
        assert!(stands(peer.ask(STANDING.into()).await));
        let hear = tokio::spawn(async move { peer.hear(TRANSACTIONS).await });
        for number in 1..=TRANSACTIONS {
            let transaction = sign(node.replica(), &party, number as u64, harmless(&party));
            node.submit(transaction).await.unwrap();
            // Longer than an answer takes: a node that waits for nothing would tell of each alone.
            sleep(Duration::from_millis(20)).await;
        }
        let told = hear.await.unwrap();
        // However slowly they are handed in here, many are so in a second.
        assert!(told.len() < TRANSACTIONS / 4, "so many at once: {told:?}");
        node.shutdown().await;
    });
}
