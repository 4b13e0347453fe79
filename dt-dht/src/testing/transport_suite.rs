//! The conformance suite of the network seam.
#![expect(clippy::expect_used, reason = "a suite reports by panicking")]

use std::sync::Arc;

use bytes::Bytes;
use dt_model::testing::SeedRng;
use dt_model::{PartyId, Signed, Signer, Timestamp};
use futures_util::future::join_all;

use crate::{Call, Client, Key, Membership, OwnedRecords, ReplyBody, RequestBody, Transport, TransportError};

/// Checks a [`Transport`] against its contract. It needs a running network of replicas that judge [`OwnedRecords`], whose membership is
/// `membership`, and in which `signer` is registered; `stranger` is a party without a node. `now` is the replicas' time.
///
/// # Panics
/// With a sentence, where the transport breaks the contract.
pub async fn transport_suite(
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
        let reply = transport.request(&node.party, Bytes::from_static(b"garbage")).await;
        assert!(!reply.expect("a node refuses garbage with a reply").is_empty(), "replies arrive whole");
    }
    check_many(&*transport, membership, &*signer, now).await;

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
