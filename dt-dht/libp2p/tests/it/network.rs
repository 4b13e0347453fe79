//! Whole networks: liars, nodes that join, leave and come back elsewhere, while others read and write.

use core::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;

use bytes::Bytes;
use dt_dht::testing::{Fault, Faulty};
use dt_dht::{
    Answer, Client, InProcess, Membership, OwnedRecords, Pace, Parcel, Rate, Replica, Request, Step,
    Transport, TransportError, Upkeep,
};
use dt_dht_libp2p::{Config, Libp2pTransport};
use dt_model::testing::{SeedRng, identity};
use dt_model::{Identity, Signer};
use futures_util::FutureExt;
use tokio::task::JoinHandle;

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

/// Writes one version after the other, and reads each back, until it is stopped; then says which was the last.
fn load(
    writer: Arc<Client>,
    reader: Arc<Client>,
    name: &'static str,
    stop: Arc<AtomicU64>,
) -> JoinHandle<u64> {
    tokio::spawn(async move {
        let mut version = 0;
        while stop.load(Ordering::SeqCst) == 0 {
            let record = owned(name, version + 1, &[7; 1000]);
            // A request that meets a node in another epoch is refused, and made again.
            let mut acknowledged = writer.put(&record, NOW).await;
            for _ in 0..100 {
                if acknowledged.is_ok() {
                    break;
                }
                tokio::time::sleep(core::time::Duration::from_millis(50)).await;
                acknowledged = writer.put(&record, NOW).await;
            }
            acknowledged.expect("it is written in the end");
            version += 1;
            let mut found = reader.get(record.key, OwnedRecords::check(), NOW).await;
            for _ in 0..100 {
                if found.is_ok() {
                    break;
                }
                tokio::time::sleep(core::time::Duration::from_millis(50)).await;
                found = reader.get(record.key, OwnedRecords::check(), NOW).await;
            }
            assert!(
                found.unwrap().is_some_and(|found| found.version >= version),
                "what was acknowledged is found"
            );
        }
        version
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_join_and_leave_under_load() {
    let mut network = Network::start(Wire::Tcp, 1).await;
    let first = network.membership.clone();
    let clients = [Arc::new(network.client(WRITER).await), Arc::new(network.client(READER).await)];
    let stop = Arc::new(AtomicU64::new(0));
    let tasks: Vec<_> = ["a", "b", "c"]
        .into_iter()
        .map(|name| load(clients[0].clone(), clients[1].clone(), name, stop.clone()))
        .collect();
    until("there is load", async || {
        let key = owned("c", 1, b"").key;
        clients[1].get(key, OwnedRecords::check(), NOW).await.is_ok_and(|found| found.is_some())
    })
    .await;

    // One joins and one leaves, in one change.
    let joining = Arc::new(identity(104));
    let joined =
        start_node(node_config(network.wire), 4, joining.clone(), &first, &|_, _, honest| honest).await;
    let at = addresses(&joined.transport).await;
    let mut nodes = first.nodes()[1..].to_vec();
    let leaving = first.nodes()[0].party;
    let endpoints = at.iter().map(|at| at.to_string().parse().unwrap()).collect();
    nodes.push(dt_dht::Node { party: joining.party(), endpoints });
    network.nodes.push(joined);
    let enter = |membership: &Membership| {
        for node in &network.nodes {
            node.transport.update_membership(membership);
            node.replica.update_membership(membership.clone());
        }
        clients.iter().for_each(|client| client.update_membership(membership.clone()));
    };
    let both = first.successor(nodes, first.parties().clone()).unwrap();
    enter(&both);
    let pace = Pace {
        requests: Rate { per_second: u32::MAX, burst: u32::MAX },
        bytes: Rate { per_second: u32::MAX, burst: u32::MAX },
        ..Pace::default()
    };
    for node in &network.nodes {
        let transport = Arc::new(node.transport.clone());
        let mut upkeep = Upkeep::new(node.replica.clone(), transport, SeedRng::new(5), pace);
        while upkeep.step(NOW).await.unwrap() == Step::Worked {}
    }
    enter(&both.complete().unwrap());
    let gone = network.nodes.iter().position(|node| node.identity.party() == leaving).unwrap();
    let gone = network.nodes.remove(gone);
    gone.transport.shut_down().await;

    stop.store(1, Ordering::SeqCst);
    for (task, name) in tasks.into_iter().zip(["a", "b", "c"]) {
        let version = task.await.unwrap();
        let found = clients[1].get(owned(name, 1, b"").key, OwnedRecords::check(), NOW).await.unwrap();
        assert_eq!(found.unwrap().version, version);
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
