//! Whole networks: nodes that are down, lie, come back elsewhere, or shut down.

use core::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;

use bytes::Bytes;
use dt_dht::testing::{Fault, Faulty};
use dt_dht::{Answer, InProcess, OwnedRecords, Parcel, Replica, Request, Transport, TransportError};
use dt_dht_libp2p::{Config, Libp2pTransport};
use dt_model::testing::identity;
use dt_model::{Identity, Signer};
use futures_util::FutureExt;

use crate::support::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_nodes_of_which_one_is_down() {
    for wire in [Wire::Tcp, Wire::Quic] {
        let network = Network::start(wire, 1).await;
        let (writer, reader) = (network.client(WRITER).await, network.client(READER).await);
        let record = owned("calibration", 1, b"zero at 4.02 mA");
        let certificate = writer.put(&record, NOW).await.unwrap();
        certificate.verify_for(&network.membership, &record).unwrap();
        network.nodes[1].transport.shut_down().await;
        assert_eq!(network.nodes[1].transport.status().await, None);
        let found = reader.get(record.key, OwnedRecords::check(), NOW).await.unwrap();
        assert_eq!(found, Some(record));
        let content: Vec<u8> = (0..=250).cycle().take(5 << 20).collect();
        let blob = writer.put_blob(&content, NOW).await.unwrap();
        assert!(reader.get_blob(&blob, NOW).await.unwrap() == content);
    }
}

/// What a node answers that misbehaves in this way.
fn lying(replica: &Arc<Replica>, identity: &Arc<Identity>, fault: Fault) -> Answer {
    let own = InProcess::new([replica.clone()], Arc::new(|| NOW));
    let liar = Faulty::new(Arc::new(own));
    liar.corrupt(identity.clone(), fault);
    let party = identity.party();
    Arc::new(move |request| {
        // Nothing in one process waits for anything.
        liar.request(&party, Bytes::copy_from_slice(request)).now_or_never()?.ok()
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn seven_nodes_of_which_two_lie() {
    let reader_party = identity(READER).party();
    // Node 0 tells the writer the truth; the reader it shows what it made up, or nothing, in turn. Node 1 receipts, and stores nothing.
    let conduct = |at: usize, replica: Arc<Replica>, honest: Answer| -> Answer {
        let node = Arc::new(identity(100 + at as u64));
        match at {
            0 => {
                let lies = [Fault::ForgedNewer, Fault::NothingStored, Fault::Stale];
                let lies = lies.map(|fault| lying(&replica, &node, fault));
                let turn = AtomicU64::new(0);
                Arc::new(move |request| {
                    if Parcel::<Request>::claimed_signer(request) != Some(reader_party) {
                        return honest(request);
                    }
                    lies[turn.fetch_add(1, Ordering::Relaxed) as usize % lies.len()](request)
                })
            }
            1 => lying(&replica, &node, Fault::Pretend),
            _ => honest,
        }
    };
    for wire in [Wire::Tcp, Wire::Quic] {
        let network = Network::with_conduct(wire, 2, &conduct).await;
        let (writer, reader) = (network.client(WRITER).await, network.client(READER).await);
        for version in 1..=20 {
            let record = owned("level", version, format!("{version} cm").as_bytes());
            writer.put(&record, NOW).await.unwrap();
            let found = reader.get(record.key, OwnedRecords::check(), NOW).await.unwrap();
            assert_eq!(found, Some(record));
        }
        let content: Vec<u8> = (0..=250).cycle().take(2 << 20).collect();
        let blob = writer.put_blob(&content, NOW).await.unwrap();
        assert!(reader.get_blob(&blob, NOW).await.unwrap() == content);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_comes_back_elsewhere_is_found() {
    for wire in [Wire::Tcp, Wire::Quic] {
        let mut network = Network::start(wire, 1).await;
        let writer = network.client(WRITER).await;
        writer.put(&owned("level", 1, b"1"), NOW).await.unwrap();

        // Its address on the ledger is that of its former start, and stays so.
        let former = network.nodes.remove(3);
        let before = addresses(&former.transport).await;
        former.transport.shut_down().await;
        let party = former.identity.party();
        let again = start_node(
            node_config(wire),
            3,
            former.identity.clone(),
            &network.membership,
            &|_, _, honest| honest,
        );
        network.nodes.push(again.await);
        assert_ne!(addresses(&network.nodes[3].transport).await, before);

        // The writer has to look for it; a newcomer as well, who never knew where it was.
        for client in [network.transport(READER).await, network.transport(WRITER).await] {
            until("the node is found", async || {
                match client.request(&party, Bytes::from_static(b"hello")).await {
                    Ok(_) => true,
                    Err(TransportError::Unreachable(_) | TransportError::TimedOut(_)) => false,
                    Err(error) => panic!("{error:?}"),
                }
            })
            .await;
        }
        // With another node down, its vote is needed.
        network.nodes[0].transport.shut_down().await;
        until("there is a quorum", async || writer.put(&owned("level", 2, b"2"), NOW).await.is_ok()).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_party_asks_its_own_node_too() {
    let network = Network::start(Wire::Quic, 1).await;
    let own = &network.nodes[0];
    let answer = own.transport.request(&own.identity.party(), Bytes::from_static(b"hello")).await;
    assert!(!answer.unwrap().is_empty());
    let client = network.transport(WRITER).await;
    let answer = client.request(&identity(WRITER).party(), Bytes::from_static(b"hello")).await;
    assert!(matches!(answer, Err(TransportError::UnknownNode(_))), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shutting_down_finishes_what_was_begun() {
    for wire in [Wire::Tcp, Wire::Quic] {
        shut_down_while_working(wire).await;
    }
}

async fn shut_down_while_working(wire: Wire) {
    let begun = Arc::new(AtomicU64::new(0));
    let slow = |_: usize, _: Arc<Replica>, honest: Answer| -> Answer {
        let begun = begun.clone();
        Arc::new(move |request| {
            begun.fetch_add(1, Ordering::SeqCst);
            std::thread::sleep(core::time::Duration::from_millis(300));
            honest(request)
        })
    };
    let network = Network::with_conduct(wire, 1, &slow).await;
    let node = &network.nodes[0];
    let client = network.transport(WRITER).await;
    let party = node.identity.party();
    let asked = tokio::spawn({
        let client = client.clone();
        async move { client.request(&party, Bytes::from_static(b"hello")).await }
    });
    until("the request is there", async || begun.load(Ordering::SeqCst) > 0).await;
    node.transport.shut_down().await;
    assert!(!asked.await.unwrap().unwrap().is_empty());
    assert!(client.request(&party, Bytes::from_static(b"hello")).await.is_err());
    let after =
        node.transport.request(&network.nodes[1].identity.party(), Bytes::from_static(b"hello")).await;
    assert!(matches!(after, Err(TransportError::Other(_))), "{after:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_cannot_be_listened_at_is_an_error() {
    let membership = membership(0, [(identity(1).party(), vec![])], []);
    for bad in ["/ip4/203.0.113.1/tcp/4001", "/memory/1"] {
        let config = Config { listen: vec![bad.parse().unwrap()], ..Config::default() };
        let started = Libp2pTransport::start(&identity(1), &membership, None, config).await;
        assert!(started.is_err(), "{bad}");
    }
}
