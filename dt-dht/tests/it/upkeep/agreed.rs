//! Agreed addresses: repair, leases and hand-over of what was decided, also if nobody was told.

use bytes::Bytes;
use dt_dht::{
    Client, Key, Kind, LEASE, Order, Parcel, Refusal, Request, Settled, Site, Transport, TransportError,
    Validator, verify_store,
};
use dt_model::PartyId;
use dt_model::testing::SeedRng;

use super::handover::{Cluster, parties, registered};
use super::repair::{run, start, stop, upkeep_through};
use super::*;

/// A kind of order `Agreed` that anybody may write, one version after the other.
pub(super) struct Counter;

const KIND: Kind = Kind::new(*b"coun");

impl Validator for Counter {
    fn kind(&self) -> Kind {
        KIND
    }

    fn order(&self) -> Order {
        Order::Agreed
    }

    fn admit(&self, site: &Site<'_>, offered: &Signed<Record>) -> Result<(), Refusal> {
        let stored = site.stored.map_or(0, |stored| stored.version);
        if offered.version == stored + 1 { Ok(()) } else { Err(Refusal::Gap { stored }) }
    }
}

fn counter() -> Network {
    with_nodes(Resilience::tolerating(1).unwrap(), 4, &[Arc::new(Counter)])
}

pub(super) fn count(version: u64) -> Signed<Record> {
    counted(WRITER, version)
}

/// The next number, as one of the writers has it.
pub(super) fn counted(seed: u64, version: u64) -> Signed<Record> {
    let key = Key::new([4; 32].into(), KIND, 0);
    Signed::new(Record { key, version, body: "x".into() }, &identity(seed)).unwrap()
}

/// How far it was counted.
pub(super) fn counts_at(settled: &Settled) -> u64 {
    settled.state().entries()[0].version
}

fn sequence(network: &Network, node: &Identity) -> u64 {
    match ask(network, WRITER, node, RequestBody::GetState { address: [4; 32].into() }) {
        ReplyBody::State { settled, .. } => settled.map_or(0, |settled| settled.state().sequence()),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_laggard_takes_over_what_was_agreed() {
    let network = counter();
    let writer = client(&network, WRITER);
    stop(&network, 2);
    for version in 1..=5 {
        writer.settle(&count(version), network.now()).await.unwrap();
    }
    start(&network, 2);
    let node = network.nodes()[2].clone();
    assert_eq!(sequence(&network, &node), 0);
    let mut task = upkeep_through(&network, &node, network.faulty().clone());
    run(&mut task, &network).await;
    assert_eq!(sequence(&network, &node), 5);
    assert!(task.has_taken_over().unwrap());
    // Nothing differs any more.
    network.advance(core::time::Duration::from_secs(3600));
    let before = task.report();
    run(&mut task, &network).await;
    assert_eq!(task.report(), before);
    audit(&network);
}

#[tokio::test]
async fn an_agreed_address_expires_as_a_whole_and_settling_again_renews_it() {
    let network = counter();
    let writer = client(&network, WRITER);
    for version in 1..=3 {
        writer.settle(&count(version), network.now()).await.unwrap();
    }
    network.advance(LEASE / 2);
    writer.settle(&count(3), network.now()).await.unwrap();
    network.advance(LEASE / 2);
    let replica = network.replica(&network.nodes()[0].party()).clone();
    assert_eq!(replica.sweep(None, 1000, network.now()).unwrap().removed, 0);
    network.advance(LEASE / 2);
    assert!(replica.sweep(None, 1000, network.now()).unwrap().removed > 3);
    let report = verify_store(&**replica.store()).unwrap();
    assert_eq!(report.records, 0);
    assert_eq!(replica.store().scan(&[], None, 10).unwrap().len(), 1, "the totals");
}

/// A transport that loses the news of what was decided.
struct Untold(Arc<dyn Transport>);

#[async_trait::async_trait]
impl Transport for Untold {
    async fn request(&self, node: &PartyId, bytes: Bytes) -> Result<Bytes, TransportError> {
        let request = Parcel::<Request>::decode(&bytes).unwrap().open().unwrap();
        if matches!(request.body, RequestBody::Adopt { .. }) {
            return Err(TransportError::TimedOut(*node));
        }
        self.0.request(node, bytes).await
    }

    fn update_membership(&self, membership: &dt_dht::Membership) {
        self.0.update_membership(membership);
    }
}

/// What was decided and nobody was told of outlives all the nodes that decided it.
#[tokio::test]
async fn a_decision_of_which_nobody_was_told_is_handed_over() {
    let mut cluster = Cluster::new(&[0, 1, 2, 3]);
    let untold = Arc::new(Untold(cluster.faulty.clone()));
    let writer = Client::new(Arc::new(identity(WRITER)), untold, cluster.membership.clone(), SeedRng::new(3));
    let decided = writer.settle(&count(1), cluster.now).await.unwrap();
    let joint = cluster.membership.successor(registered(&cluster.nodes, &[4, 5, 6, 7]), parties()).unwrap();
    cluster.enter(joint);
    cluster.finish(&[4, 5, 6]).await;
    assert!(cluster.tasks[4].hand_over(cluster.now).await.is_some());
    let after = cluster.membership.complete().unwrap();
    cluster.enter(after);
    for at in 0..4 {
        cluster.in_process.stop(&cluster.nodes[at].party());
    }
    let state = cluster.reader.state([4; 32].into(), cluster.now).await.unwrap().unwrap();
    assert_eq!(state.state(), decided.state());
}
