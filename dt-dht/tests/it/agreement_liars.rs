//! Liars that would keep a client busy or block it: what settles nothing has to end, and what was written has to be read.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use dt_dht::testing::{Fault, Network};
use dt_dht::{
    Client, Parcel, PutError, Refusal, Reply, ReplyBody, Request, RequestBody, Resilience, Transport,
    TransportError, request_digest,
};
use dt_model::testing::{SeedRng, identity};
use dt_model::{Identity, PartyId, Signer};

use crate::agreement::{shared, step};
use crate::support::*;

/// A network of which one node says what `lie` makes of a request, if it makes anything of it; it counts all requests.
struct Lying {
    network: Network,
    liar: Arc<Identity>,
    lie: fn(&RequestBody) -> Option<ReplyBody>,
    requests: Arc<AtomicU64>,
    down: Mutex<Option<PartyId>>,
}

#[async_trait]
impl Transport for Lying {
    async fn request(&self, node: &PartyId, bytes: Bytes) -> Result<Bytes, TransportError> {
        let count = self.requests.fetch_add(1, Ordering::SeqCst);
        assert!(count < 5000, "the client goes on for ever");
        if *self.down.lock().unwrap() == Some(*node) {
            return Err(TransportError::Unreachable(*node));
        }
        let request = Parcel::<Request>::decode(&bytes).unwrap().open().unwrap();
        if *node == self.liar.party()
            && let Some(body) = (self.lie)(&request.body)
        {
            let (network, epoch) = (request.network, request.epoch);
            let reply = Reply { network, epoch, request: request_digest(&bytes), body };
            return Ok(Parcel::new(reply, &*self.liar).unwrap().encode());
        }
        self.network.faulty().request(node, bytes).await
    }

    fn update_membership(&self, membership: &dt_dht::Membership) {
        self.network.faulty().update_membership(membership);
    }
}

fn lying(lie: fn(&RequestBody) -> Option<ReplyBody>) -> (Arc<Lying>, Client) {
    lying_in(shared(Resilience::tolerating(1).unwrap(), 4), lie)
}

fn lying_in(network: Network, lie: fn(&RequestBody) -> Option<ReplyBody>) -> (Arc<Lying>, Client) {
    let liar = network.nodes()[0].clone();
    let membership = network.membership().clone();
    let (requests, down) = (Arc::default(), Mutex::new(None));
    let lying = Arc::new(Lying { network, liar, lie, requests, down });
    let client = Client::new(Arc::new(identity(WRITER)), lying.clone(), membership, SeedRng::new(1));
    (lying, client)
}

/// It says that it is behind, and that it has caught up, whatever it is asked.
fn never_ready(body: &RequestBody) -> Option<ReplyBody> {
    match body {
        RequestBody::Propose { sequence: 1, .. } | RequestBody::Commit { .. } => None,
        RequestBody::Propose { .. } => {
            static ASKED: AtomicU64 = AtomicU64::new(0);
            Some(match ASKED.fetch_add(1, Ordering::SeqCst) {
                0 => ReplyBody::Refused { refusal: Refusal::Behind { sequence: 0 } },
                _ => ReplyBody::Adopted { sequence: 1 },
            })
        }
        RequestBody::Adopt { .. } => Some(ReplyBody::Adopted { sequence: 1 }),
        _ => None,
    }
}

#[tokio::test]
async fn a_replica_that_is_never_ready_is_given_up() {
    let (lying, client) = lying(never_ready);
    let now = lying.network.now();
    client.settle(&step(WRITER, 1, "one"), now).await.unwrap();
    *lying.down.lock().unwrap() = Some(lying.network.nodes()[1].party());
    let failed = client.settle(&step(WRITER, 2, "two"), now).await;
    assert!(matches!(failed, Err(PutError::NoQuorum { .. } | PutError::Contended { .. })), "{failed:?}");
}

/// It claims to stand by somebody else's ballot.
fn outbid(body: &RequestBody) -> Option<ReplyBody> {
    let refusal = Refusal::Outbid { rank: 3, round: 1 };
    matches!(body, RequestBody::Propose { .. }).then_some(ReplyBody::Refused { refusal })
}

#[tokio::test]
async fn one_liar_does_not_hide_that_the_record_is_refused() {
    let (lying, client) = lying(outbid);
    let now = lying.network.now();
    let gap = client.settle(&step(WRITER, 2, "too early"), now).await;
    assert!(matches!(gap, Err(PutError::Refused(Refusal::Gap { stored: 0 }))), "{gap:?}");
    let few = lying.requests.load(Ordering::SeqCst);
    assert!(few <= 8, "a read and a proposal: {few}");
}

#[tokio::test]
async fn version_zero_is_refused_at_once() {
    let (lying, client) = lying(|_| None);
    let zero = client.settle(&step(WRITER, 0, "nothing"), lying.network.now()).await;
    assert!(matches!(zero, Err(PutError::Refused(Refusal::Malformed))), "{zero:?}");
    assert!(lying.requests.load(Ordering::SeqCst) <= 8);
}

#[tokio::test]
async fn a_silent_node_and_an_outbidding_one_are_no_quorum() {
    let (lying, client) = lying(outbid);
    let now = lying.network.now();
    lying.network.corrupt(&lying.network.nodes()[1], Fault::Silent);
    let failed = client.settle(&step(WRITER, 1, "one"), now).await;
    assert!(failed.is_err());
    assert!(lying.requests.load(Ordering::SeqCst) < 2000, "it ends");
}

fn phantom() -> dt_model::Signed<dt_dht::Record> {
    plain(Chained::KIND, &identity(WRITER), 5, "never written")
}

/// It shows a record that its writer signed, and that no other replica takes.
fn shows_phantom(body: &RequestBody) -> Option<ReplyBody> {
    let record = Some(phantom().into_envelope());
    matches!(body, RequestBody::Get { .. }).then_some(ReplyBody::Record { record })
}

#[tokio::test]
async fn a_record_that_cannot_have_been_written_blocks_no_read() {
    let resilience = Resilience::tolerating(1).unwrap();
    let (lying, client) = lying_in(with_nodes(resilience, 4, &[Arc::new(Chained)]), shows_phantom);
    let now = lying.network.now();
    let written = plain(Chained::KIND, &identity(WRITER), 1, "written");
    client.put(&written, now).await.unwrap();
    let read = client.get(written.key, &|_| Ok(()), now).await.unwrap();
    assert_eq!(read, Some(written.clone()), "all three others refuse it, so it has no quorum");
    // With one of them down it may have been written: nothing is claimed.
    *lying.down.lock().unwrap() = Some(lying.network.nodes()[1].party());
    let unknown = client.get(written.key, &|_| Ok(()), now).await;
    assert!(unknown.is_err(), "{unknown:?}");
}
