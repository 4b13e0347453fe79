//! Nodes that lie about what they hold, with their own keys.

use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use dt_dht::{
    Address, Holding, Listing, Parcel, Place, Refusal, Reply, Request, Slot, Summary, Transport,
    TransportError, UpkeepReply, UpkeepReport, UpkeepRequest, request_digest,
};
use dt_model::PartyId;

use super::repair::{catches_up, start, stop, upkeep_through};
use super::*;

type Lie = dyn Fn(&UpkeepRequest, u64) -> UpkeepReply + Send + Sync;

/// A transport on which one node answers the requests of upkeep as it likes.
struct Lying {
    inner: Arc<dyn Transport>,
    liar: Arc<Identity>,
    lie: Box<Lie>,
    asked: AtomicU64,
}

#[async_trait::async_trait]
impl Transport for Lying {
    async fn request(&self, node: &PartyId, bytes: Bytes) -> Result<Bytes, TransportError> {
        if *node == self.liar.party() {
            let request = Parcel::<Request>::decode(&bytes).unwrap().open().unwrap();
            if let RequestBody::Upkeep { request: asked } = request.body {
                let reply = (self.lie)(&asked, self.asked.fetch_add(1, Ordering::SeqCst));
                let reply = Reply {
                    network: request.network,
                    epoch: request.epoch,
                    request: request_digest(&bytes),
                    body: ReplyBody::Upkeep { reply },
                };
                return Ok(Parcel::new(reply, &*self.liar).unwrap().encode());
            }
        }
        self.inner.request(node, bytes).await
    }

    fn update_membership(&self, membership: &dt_dht::Membership) {
        self.inner.update_membership(membership);
    }
}

/// Node 2 misses some records and repairs itself while node 0 tells `lie`s: it MUST end with what the honest nodes have, in about as
/// many steps as it takes without the liar, times the share of one node.
async fn repairs_beside(lie: Box<Lie>) -> (u64, UpkeepReport) {
    let network = network(1);
    let writer = client(&network, WRITER);
    stop(&network, 2);
    for at in 0..20 {
        writer.put(&sized(WRITER, &format!("n{at}"), 1, 3), network.now()).await.unwrap();
    }
    start(&network, 2);
    let transport = Arc::new(Lying {
        inner: network.faulty().clone(),
        liar: network.nodes()[0].clone(),
        lie,
        asked: AtomicU64::new(0),
    });
    let node = network.nodes()[2].clone();
    let mut task = upkeep_through(&network, &node, transport.clone());
    catches_up(&mut task, &network, &node, 150, "a liar").await;
    (transport.asked.load(Ordering::SeqCst), task.report())
}

fn holding(number: u64, place: Place) -> Holding {
    let mut address = [0; 32];
    address[..8].copy_from_slice(&number.to_be_bytes());
    let (version, digest) = (u64::MAX, Digest::from([6; 32]));
    Holding { address: address.into(), place, version, digest, leased: Timestamp::MAX }
}

fn slot(index: u64) -> Slot {
    Slot { kind: OwnedRecords::KIND, index }
}

#[tokio::test]
async fn a_listing_that_never_ends() {
    let (asked, _) = repairs_beside(Box::new(|request, number| match request {
        UpkeepRequest::Summarise { .. } => {
            UpkeepReply::Summary(Summary { until: None, digest: Digest::ZERO })
        }
        _ => UpkeepReply::Listing(Listing {
            holdings: vec![holding(number, Place::Record(slot(0)))],
            more: true,
        }),
    }))
    .await;
    assert!(asked <= 75, "it took {asked} of 150 steps");
    // The same, a few addresses at a time, in ranges that never end.
    repairs_beside(Box::new(|request, number| match request {
        UpkeepRequest::Summarise { .. } => UpkeepReply::Summary(Summary {
            until: Some(holding(number, Place::Shard).address),
            digest: Digest::ZERO,
        }),
        _ => UpkeepReply::Listing(Listing { holdings: Vec::new(), more: false }),
    }))
    .await;
}

#[tokio::test]
async fn listings_that_no_honest_node_gives() {
    let listings: [fn(u64) -> Listing; 6] = [
        // Nothing, and more of it.
        |_| Listing { holdings: Vec::new(), more: true },
        // The same again and again.
        |_| Listing { holdings: vec![holding(7, Place::Record(slot(0)))], more: true },
        // Out of order, and one thing twice.
        |_| Listing {
            holdings: vec![holding(9, Place::Record(slot(0))), holding(7, Place::Record(slot(0)))],
            more: false,
        },
        |_| Listing { holdings: vec![holding(7, Place::Record(slot(0))); 2], more: false },
        // More than a page.
        |_| Listing { holdings: (0..600).map(|at| holding(at, Place::Shard)).collect(), more: false },
        // Things that do not exist, of every sort.
        |number| Listing {
            holdings: [Place::Agreed, Place::Record(slot(1)), Place::Evidence(slot(2)), Place::Shard]
                .map(|place| holding(number, place))
                .to_vec(),
            more: number < 1000,
        },
    ];
    for listing in listings {
        let (_, report) = repairs_beside(Box::new(move |request, number| match request {
            UpkeepRequest::Summarise { .. } => {
                UpkeepReply::Summary(Summary { until: None, digest: Digest::ZERO })
            }
            _ => UpkeepReply::Listing(listing(number)),
        }))
        .await;
        assert!(report.garbage + report.unresolved > 0, "{report:?}");
    }
}

#[tokio::test]
async fn nothing_held_and_ranges_that_go_back() {
    repairs_beside(Box::new(|request, _| match request {
        UpkeepRequest::Summarise { .. } => {
            UpkeepReply::Summary(Summary { until: None, digest: Digest::ZERO })
        }
        _ => UpkeepReply::Listing(Listing { holdings: Vec::new(), more: false }),
    }))
    .await;
    let (_, report) = repairs_beside(Box::new(|request, _| match request {
        UpkeepRequest::Summarise { .. } => {
            UpkeepReply::Summary(Summary { until: Some(Address::from([1; 32])), digest: Digest::ZERO })
        }
        _ => UpkeepReply::Listing(Listing { holdings: Vec::new(), more: false }),
    }))
    .await;
    assert!(report.garbage > 0);
}

/// What a node holds is shown to nodes that hold the same, and to nobody else.
#[test]
fn only_nodes_may_ask() {
    let network = network(1);
    let node = network.nodes()[0].clone();
    for request in [
        UpkeepRequest::Summarise { after: None },
        UpkeepRequest::List { after: None, until: None },
        UpkeepRequest::FetchShard { blob: Address::from([1; 32]), index: 0 },
    ] {
        assert_eq!(
            ask(&network, READER, &node, RequestBody::Upkeep { request }),
            refused(Refusal::NotPermitted)
        );
    }
    let answer = ask(&network, READER, &node, RequestBody::Upkeep { request: UpkeepRequest::HandOver });
    assert_eq!(answer, ReplyBody::Upkeep { reply: UpkeepReply::HandOver(None) });
}
