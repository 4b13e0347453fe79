//! The conformance suite of the network seam.
#![expect(clippy::expect_used, reason = "a suite reports by panicking")]

use core::future::Future;
use core::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use dt_model::testing::SeedRng;
use dt_model::{PartyId, Signed, Signer, Timestamp};
use futures_util::FutureExt;
use futures_util::future::{Either, join_all, select};

use crate::{Call, Client, Key, Membership, OwnedRecords, ReplyBody, RequestBody, Transport, TransportError};

/// Checks a [`Transport`] against its contract. It needs a running network of replicas that judge [`OwnedRecords`], whose membership is
/// `membership`, and in which `signer` is registered; `stranger` is a party without a node. `now` is the replicas' time. `patience`
/// ends when the suite should long have ended: some twenty times the transport's own limit for a request.
///
/// What it cannot check, since its nodes mean well: that a node which never answers is given up, and that an endless reply is cut off.
///
/// # Panics
/// With a sentence, where the transport breaks the contract.
pub async fn transport_suite(
    transport: Arc<dyn Transport>,
    membership: &Membership,
    signer: Arc<dyn Signer>,
    stranger: &PartyId,
    now: Timestamp,
    patience: impl Future<Output = ()>,
) {
    let checks = pin!(check_all(transport, membership, signer, stranger, now));
    let is_done = matches!(select(checks, pin!(patience)).await, Either::Left(_));
    assert!(is_done, "every request ends");
}

async fn check_all(
    transport: Arc<dyn Transport>,
    membership: &Membership,
    signer: Arc<dyn Signer>,
    stranger: &PartyId,
    now: Timestamp,
) {
    let unknown = transport.request(stranger, Bytes::from_static(b"anybody there?")).await;
    let said_so = matches!(
        unknown,
        Err(TransportError::UnknownNode(node) | TransportError::Unreachable(node)) if node == *stranger
    );
    assert!(said_so, "a node that nobody knows is an error");

    for node in membership.nodes() {
        for garbage in [&b""[..], b"garbage", &[0xff; 3000]] {
            let reply = transport.request(&node.party, Bytes::from_static(garbage)).await;
            assert!(!reply.expect("a node refuses garbage with a reply").is_empty(), "replies arrive whole");
        }
        check_own_reply(&*transport, membership, &*signer, node.party, now).await;
    }
    check_many(&*transport, membership, &*signer, now).await;
    check_dropped(&*transport, membership, &*signer, now).await;

    let client = Client::new(signer.clone(), transport, membership.clone(), SeedRng::new(11));
    let record = owned(&*signer, "suite", 64 * 1024);
    let certificate = client.put(&record, now).await.expect("a quorum of running nodes");
    assert_eq!(certificate.verify_for(membership, &record), Ok(()));
    let found = client.get(record.key, OwnedRecords::check(), now).await.expect("a quorum of running nodes");
    assert_eq!(found.as_ref(), Some(&record), "a record arrives as it was sent");
    let content: Vec<u8> = (0u8..=250).cycle().take(3 << 20).collect();
    let blob = client.put_blob(&content, now).await.expect("a quorum of running nodes");
    let restored = client.get_blob(&blob, now).await.expect("a quorum of running nodes");
    assert!(restored == content, "messages of megabytes arrive as they were sent");
}

/// A request reaches the node that it is for, and the reply is that node's.
async fn check_own_reply(
    transport: &dyn Transport,
    membership: &Membership,
    signer: &dyn Signer,
    node: PartyId,
    now: Timestamp,
) {
    let body = RequestBody::Get { key: Key::new([0; 32].into(), OwnedRecords::KIND, 0) };
    let call = Call::new(signer, membership, node, [0; 16], now, body).expect("a working signer signs");
    let reply = transport.request(&node, call.bytes().clone()).await.expect("a running node replies");
    assert!(call.read(&reply).is_ok(), "the reply is that of the node that was asked");
}

/// A request that was polled once is delivered although nobody waits for the reply any more.
async fn check_dropped(
    transport: &dyn Transport,
    membership: &Membership,
    signer: &dyn Signer,
    now: Timestamp,
) {
    let record = owned(signer, "dropped", 10);
    let Some(node) = membership.replicas(&record.key.address).first().copied() else { return };
    let call =
        |nonce, body| Call::new(signer, membership, node, nonce, now, body).expect("a working signer signs");
    let put = call([1; 16], RequestBody::Put { record: record.envelope().clone() });
    drop(transport.request(&node, put.bytes().clone()).now_or_never());
    let mut is_delivered = false;
    for attempt in 0u32..1000 {
        let mut nonce = [2; 16];
        nonce[..4].copy_from_slice(&attempt.to_le_bytes());
        let get = call(nonce, RequestBody::Get { key: record.key });
        let reply = transport.request(&node, get.bytes().clone()).await.expect("a running node replies");
        is_delivered = matches!(get.read(&reply), Ok(ReplyBody::Record { record: Some(_) }));
        if is_delivered {
            break;
        }
    }
    assert!(is_delivered, "a request that was begun is delivered although nobody waits for the reply");
}

/// Many requests at once to one node: each gets its own reply.
async fn check_many(transport: &dyn Transport, membership: &Membership, signer: &dyn Signer, now: Timestamp) {
    let Some(node) = membership.nodes().first() else { return };
    let key = |index: u8| Key::new([index; 32].into(), OwnedRecords::KIND, 0);
    let calls = (0u8..50).map(|index| {
        let body = RequestBody::Get { key: key(index) };
        Call::new(signer, membership, node.party, [index; 16], now, body).expect("a working signer signs")
    });
    let calls: Vec<Call> = calls.collect();
    let replies =
        join_all(calls.iter().map(|call| transport.request(&node.party, call.bytes().clone()))).await;
    for (call, reply) in calls.iter().zip(replies) {
        let body = call.read(&reply.expect("a running node replies"));
        let body = body.expect("a reply belongs to its request, whatever else is under way");
        assert!(matches!(body, ReplyBody::Record { .. } | ReplyBody::Refused { .. }), "a get's reply");
    }
}

fn owned(signer: &dyn Signer, name: &str, bytes: usize) -> Signed<crate::Record> {
    let name = name.parse().expect("a valid name");
    let record = OwnedRecords::record(signer.party(), name, 1, vec![7; bytes]);
    Signed::new(record, signer).expect("a working signer signs")
}
