//! What peers that mean no good may try, registered or not. A client beside them must not notice.

use core::time::Duration;
use std::sync::Arc;

use bytes::Bytes;
use dt_dht::{Call, Client, MAX_MESSAGE_BYTES, OwnedRecords, RequestBody, Transport, TransportError};
use dt_dht_libp2p::{Config, Libp2pTransport};
use dt_model::testing::identity;
use dt_model::{Identity, PartyId, Signer};
use futures_util::StreamExt;
use libp2p::request_response;
use libp2p::swarm::SwarmEvent;
use tokio::time::timeout;

use crate::raw::{RawSwarm, STALL, frame, peer, raw, send, serve};
use crate::support::*;

/// A call of the party with this seed to `node`, with a nonce that nobody else has.
fn call(seed: u64, network: &Network, node: PartyId, nonce: u8) -> Call {
    let body = RequestBody::Get { key: owned("a", 1, b"x").key };
    Call::new(&identity(seed), &network.membership, node, [nonce; 16], NOW, body).unwrap()
}

async fn works(client: &Client, version: u64) {
    let record = owned("beside", version, b"not disturbed");
    client.put(&record, NOW).await.unwrap();
    assert_eq!(client.get(record.key, OwnedRecords::check(), NOW).await.unwrap(), Some(record));
}

async fn banned(node: &Running) -> Vec<PartyId> {
    node.transport.status().await.unwrap().banned
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_are_refused_both_ways() {
    for wire in [Wire::Tcp, Wire::Quic] {
        let network = Network::start(wire, 1).await;
        let node = &network.nodes[0];
        let (party, at) = (node.identity.party(), addresses(&node.transport).await[0].clone());

        // A stranger is not let in, whatever he sends.
        let mut stranger = raw(&identity(STRANGER));
        let request = frame(call(WRITER, &network, party, 1).bytes());
        assert!(send(&mut stranger, peer(&node.identity), &at, request).await.is_err());
        assert_ne!(node.transport.status().await.unwrap().refused, 0);

        // Nor is a stranger at a node's address taken for the node.
        let impostor = serve(&identity(STRANGER), frame(b"welcome")).await;
        let fooled = membership(
            1,
            network.nodes.iter().map(|node| (node.identity.party(), vec![impostor.clone()])),
            [WRITER],
        );
        let transport =
            Libp2pTransport::start(&identity(WRITER), &fooled, None, client_config()).await.unwrap();
        let answer = transport.request(&party, Bytes::from_static(b"hello")).await;
        assert!(matches!(answer, Err(TransportError::Unreachable(node)) if node == party), "{answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_struck_off_is_cut_off() {
    let network = Network::start(Wire::Tcp, 1).await;
    let (reader, writer) = (network.client(READER).await, network.client(WRITER).await);
    works(&writer, 1).await;
    let key = owned("beside", 1, b"").key;
    assert!(reader.get(key, OwnedRecords::check(), NOW).await.unwrap().is_some());

    let parties = [identity(WRITER).party()].into();
    let without = network.membership.clone().with_parties(parties);
    network.nodes.iter().for_each(|node| node.transport.update_membership(&without));
    let reader_party = identity(READER).party();
    until("the reader is cut off", async || {
        let status = network.nodes[0].transport.status().await.unwrap();
        !status.connected.contains(&reader_party)
    })
    .await;
    assert!(reader.get(key, OwnedRecords::check(), NOW).await.is_err());
    works(&writer, 2).await;
}

/// Client and upkeep of one party tell the same transport: whichever is behind brings nobody back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_epoch_brings_nobody_back() {
    let network = Network::start(Wire::Quic, 1).await;
    let reader = network.transport(READER).await;
    let node = &network.nodes[0];
    let (party, hello) = (node.identity.party(), Bytes::from_static(b"hello"));
    assert!(reader.request(&party, hello.clone()).await.is_ok());
    let parties = [identity(WRITER).party()].into();
    let next = network.membership.successor(network.membership.nodes().to_vec(), parties).unwrap();
    node.transport.update_membership(&next);
    node.transport.update_membership(&network.membership);
    until("the reader is cut off", async || reader.request(&party, hello.clone()).await.is_err()).await;
    assert!(reader.request(&party, hello.clone()).await.is_err());
    // Of the same epoch, what comes last counts.
    let again = next.clone().with_parties(network.membership.parties().clone());
    node.transport.update_membership(&again);
    until("the reader is let in", async || reader.request(&party, hello.clone()).await.is_ok()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn oversized_messages_cost_the_sender_his_place() {
    let network = Network::start(Wire::Tcp, 1).await;
    let writer = network.client(WRITER).await;
    let node = &network.nodes[0];
    let at = addresses(&node.transport).await[0].clone();
    let mut reader = raw(&identity(READER));
    let too_long = u32::try_from(MAX_MESSAGE_BYTES + 1).unwrap().to_le_bytes();
    let answer = send(&mut reader, peer(&node.identity), &at, [&too_long, &[0; 1000][..]].concat()).await;
    assert!(answer.is_err() || answer.unwrap().is_empty());
    until("the reader is banned", async || banned(node).await == [identity(READER).party()]).await;
    // He is heard no more, not even with what is right, and nobody else is concerned.
    let right = frame(call(READER, &network, node.identity.party(), 1).bytes());
    assert!(send(&mut reader, peer(&node.identity), &at, right).await.is_err());
    works(&writer, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_heard_in_anothers_name() {
    let network = Network::start(Wire::Quic, 1).await;
    let node = &network.nodes[0];
    let at = addresses(&node.transport).await[0].clone();
    let mut reader = raw(&identity(READER));
    let own = call(READER, &network, node.identity.party(), 1);
    let answer = send(&mut reader, peer(&node.identity), &at, frame(own.bytes())).await.unwrap();
    assert!(own.read(&answer[4..]).is_ok());
    // The writer's request, as somebody may have recorded it.
    let recorded = call(WRITER, &network, node.identity.party(), 2);
    let answer = send(&mut reader, peer(&node.identity), &at, frame(recorded.bytes())).await;
    assert!(answer.is_err(), "it is not answered: {answer:?}");
    assert_eq!(banned(node).await, [identity(READER).party()]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn malformed_requests_are_borne_for_a_while() {
    let network = Network::start(Wire::Tcp, 1).await;
    let writer = network.client(WRITER).await;
    let node = &network.nodes[0];
    let at = addresses(&node.transport).await[0].clone();
    let mut reader = raw(&identity(READER));
    for _ in 0..20 {
        let answer = send(&mut reader, peer(&node.identity), &at, frame(b"no request")).await.unwrap();
        assert!(answer.len() > 4, "it is told so");
    }
    assert_eq!(banned(node).await, []);
    // It may be answered before the connection is closed, or not.
    drop(send(&mut reader, peer(&node.identity), &at, frame(b"no request")).await);
    until("the reader is banned", async || banned(node).await == [identity(READER).party()]).await;
    works(&writer, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_peers_cost_nothing() {
    for wire in [Wire::Tcp, Wire::Quic] {
        // Nodes are patient, and a client is not: whatever slow peers hold up, fails.
        let config = Config { request_timeout: Duration::from_secs(60), ..node_config(wire) };
        let network = Network::with_config(1, &|_, _, honest| honest, config).await;
        let writer = network.client(WRITER).await;
        works(&writer, 1).await;
        let mut slow = Vec::new();
        for node in &network.nodes {
            let at = addresses(&node.transport).await[0].clone();
            let mut reader = raw(&identity(READER));
            // Nothing but a piece of the length; the longest request, of which little comes; nothing at all.
            let long = u32::try_from(MAX_MESSAGE_BYTES).unwrap().to_le_bytes();
            let kinds =
                [[&long[..2], STALL].concat(), [&long, &[7; 5000][..], STALL].concat(), STALL.to_vec()];
            let node = peer(&node.identity);
            let slow_request = move |reader: &mut RawSwarm, kind: usize| {
                let (bytes, addresses) = (kinds[kind % 3].clone(), vec![at.clone()]);
                reader.behaviour_mut().send_request_with_addresses(&node, bytes, addresses);
            };
            (0..150).for_each(|kind| slow_request(&mut reader, kind));
            slow.push(tokio::spawn(async move {
                for kind in 0.. {
                    // Whenever one is given up, another is begun.
                    while !matches!(
                        reader.select_next_some().await,
                        SwarmEvent::Behaviour(request_response::Event::OutboundFailure { .. })
                    ) {}
                    slow_request(&mut reader, kind);
                }
            }));
        }
        // Connections that never shake hands, from another address than the writer's: more than may be under way at all.
        let mut mute = Vec::new();
        for node in network.nodes.iter().filter(|_| wire == Wire::Tcp) {
            let text = addresses(&node.transport).await[0].to_string();
            let port: u16 = text.rsplit('/').next().unwrap().parse().unwrap();
            for _ in 0..80 {
                let socket = tokio::net::TcpSocket::new_v4().unwrap();
                socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
                mute.push(socket.connect(([127, 0, 0, 1], port).into()).await.unwrap());
            }
        }
        let reader_party = identity(READER).party();
        until("the slow peer is there", async || {
            network.nodes[0].transport.status().await.unwrap().connected.contains(&reader_party)
        })
        .await;
        for version in 2..12 {
            works(&writer, version).await;
        }
        // Whoever comes anew gets in as well.
        works(&network.client(WRITER).await, 12).await;
        slow.iter().for_each(|task| task.abort());
    }
}

/// A client that knows one node, which always answers `bytes`.
async fn with_node_that_says(bytes: Vec<u8>) -> (Libp2pTransport, Arc<Identity>) {
    let node = Arc::new(identity(77));
    let at = serve(&node, bytes).await;
    let membership = membership(0, [(node.party(), vec![at])], [WRITER]);
    let transport = Libp2pTransport::start(&identity(WRITER), &membership, None, client_config()).await;
    (transport.unwrap(), node)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_answer_badly_are_given_up() {
    let endless = [&[0xff; 4][..], &[0; 100_000]].concat();
    let (transport, node) = with_node_that_says(endless).await;
    let answer = transport.request(&node.party(), Bytes::from_static(b"hello")).await;
    assert!(matches!(answer, Err(TransportError::TooLarge(_))), "{answer:?}");

    for slow in [STALL.to_vec(), [&[9, 0, 0, 0, 1][..], STALL].concat()] {
        let (transport, node) = with_node_that_says(slow).await;
        let party = node.party();
        let request = transport.request(&party, Bytes::from_static(b"hello"));
        let answer = timeout(Duration::from_secs(20), request).await.unwrap();
        assert!(matches!(answer, Err(TransportError::TimedOut(_))), "{answer:?}");
    }

    let (transport, node) = with_node_that_says(vec![9, 0, 0, 0, 1]).await;
    let answer = transport.request(&node.party(), Bytes::from_static(b"hello")).await;
    assert!(matches!(answer, Err(TransportError::Unreachable(_))), "half a reply is none: {answer:?}");
}
