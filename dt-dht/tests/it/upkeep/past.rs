//! The past of agreed records: it goes from replica to replica as the present does.

use bytes::Bytes;
use dt_dht::{
    Client, Former, FoundPast, Key, Kind, Order, Parcel, Refusal, Reply, Request, Site, Transport,
    TransportError, Upkeep, UpkeepReply, UpkeepRequest, Validator, request_digest, verify_store,
};
use dt_model::PartyId;
use dt_model::testing::SeedRng;

use super::agreed::{count, counted};
use super::handover::{Cluster, parties, registered};
use super::repair::FAST;
use super::*;

const OLD: [usize; 4] = [0, 1, 2, 3];
const NEW: [usize; 4] = [4, 5, 6, 7];

/// A kind of order `Agreed` whose versions may leave numbers out.
pub(super) struct Leaping;

impl Leaping {
    const KIND: Kind = Kind::new(*b"leap");
}

impl Validator for Leaping {
    fn kind(&self) -> Kind {
        Self::KIND
    }

    fn order(&self) -> Order {
        Order::Agreed
    }

    fn admit(&self, _: &Site<'_>, _: &Signed<Record>) -> Result<(), Refusal> {
        Ok(())
    }
}

fn leap(version: u64) -> Signed<Record> {
    let key = Key::new([4; 32].into(), Leaping::KIND, 0);
    Signed::new(Record { key, version, body: "x".into() }, &identity(WRITER)).unwrap()
}

/// From the nodes there are to `new`, of which and of the former `absent` are down.
async fn change(cluster: &mut Cluster, new: &[usize], absent: &[usize]) {
    let joint = cluster.membership.successor(registered(&cluster.nodes, new), parties()).unwrap();
    cluster.enter(joint);
    absent.iter().for_each(|at| cluster.in_process.stop(&cluster.nodes[*at].party()));
    let present: Vec<_> = new.iter().copied().filter(|at| !absent.contains(at)).collect();
    cluster.finish(&present).await;
    assert!(cluster.tasks[present[0]].hand_over(cluster.now).await.is_some(), "the hand-over ends");
    let after = cluster.membership.complete().unwrap();
    cluster.enter(after);
    absent.iter().for_each(|at| cluster.in_process.start(&cluster.nodes[*at].party()));
}

async fn has(reader: &Client, cluster: &Cluster, record: &Signed<Record>) -> bool {
    let past = reader.past(record.key, record.version, record.digest(), cluster.now).await.unwrap();
    past.inspect(|past| assert_eq!(past, record)).is_some()
}

/// More than a page of it, by way of nodes that were behind, with one node of each group down.
#[tokio::test]
async fn all_of_it_moves_twice() {
    let mut cluster = Cluster::new(&OLD);
    for version in 1..=280 {
        // Each in turn misses some.
        let (down, up) =
            (&cluster.nodes[(version / 10 % 4) as usize], &cluster.nodes[((version + 39) / 10 % 4) as usize]);
        cluster.in_process.start(&up.party());
        cluster.in_process.stop(&down.party());
        cluster.writer.settle(&count(version), cluster.now).await.unwrap();
    }
    OLD.iter().for_each(|at| cluster.in_process.start(&cluster.nodes[*at].party()));
    change(&mut cluster, &NEW, &[2, 7]).await;
    cluster.writer.settle(&count(281), cluster.now).await.unwrap();
    // Of those that come back one holds nothing any more, and one what is long out of date.
    cluster.finish(&[0]).await;
    assert!(cluster.replicas[0].sweep(None, 1000, cluster.now).unwrap().removed > 100);
    change(&mut cluster, &[2, 3, 0, 7], &[5, 3]).await;
    for at in [0, 2, 7] {
        cluster.nodes.iter().for_each(|node| cluster.in_process.stop(&node.party()));
        cluster.in_process.start(&cluster.nodes[at].party());
        for version in 1..=280 {
            assert!(has(&cluster.reader, &cluster, &count(version)).await, "version {version} at node {at}");
        }
    }
    for store in &cluster.stores {
        verify_store(&**store).unwrap();
    }
}

/// As far back as replicas keep it, whatever the numbers of the versions.
#[tokio::test]
async fn the_newest_versions_move() {
    let mut cluster = Cluster::new(&OLD);
    let versions = [1, 2, 500, 977, 978, 1100, 2000];
    for version in versions {
        cluster.writer.settle(&leap(version), cluster.now).await.unwrap();
    }
    change(&mut cluster, &NEW, &[]).await;
    OLD.iter().for_each(|at| cluster.in_process.stop(&cluster.nodes[*at].party()));
    for version in versions {
        assert_eq!(
            has(&cluster.reader, &cluster, &leap(version)).await,
            version > 2000 - 1024,
            "version {version}"
        );
    }
}

/// Nothing waits for what no old replica has.
#[tokio::test]
async fn what_is_lost_holds_nobody_up() {
    let mut cluster = Cluster::new(&OLD);
    for version in 1..=5 {
        cluster.writer.settle(&count(version), cluster.now).await.unwrap();
    }
    let lost = cluster.stores[0].scan(b"h", None, 9).unwrap().into_iter().map(|(key, _)| key).nth(2).unwrap();
    cluster.stores.iter().for_each(|store| store.remove(core::slice::from_ref(&lost)).unwrap());
    change(&mut cluster, &NEW, &[1]).await;
    OLD.iter().for_each(|at| cluster.in_process.stop(&cluster.nodes[*at].party()));
    let mut found = Vec::new();
    for version in 1..=5 {
        found.push(has(&cluster.reader, &cluster, &count(version)).await);
    }
    assert_eq!(found, [false, false, false, true, true], "down to the gap");
}

/// A node gives the past to replicas of the address alone, and takes nothing that the present does not name.
#[tokio::test]
async fn only_what_the_present_names_is_taken() {
    let mut cluster = Cluster::new(&OLD);
    for version in 1..=3 {
        cluster.writer.settle(&count(version), cluster.now).await.unwrap();
    }
    let state = cluster.reader.state([4; 32].into(), cluster.now).await.unwrap().unwrap();
    let former = state.state().entries()[0].former.unwrap();
    assert_eq!(former.version, 2);
    let key = count(1).key;
    let joint = cluster.membership.successor(registered(&cluster.nodes, &NEW), parties()).unwrap();
    cluster.enter(joint);
    let ask = |signer: &Identity, former: Former| {
        let body = RequestBody::Upkeep { request: UpkeepRequest::FetchPast { key, former } };
        let replica = &cluster.replicas[0];
        let call =
            Call::new(signer, &cluster.membership, replica.party(), [3; 16], cluster.now, body).unwrap();
        call.read(&replica.handle(call.bytes(), cluster.now)).unwrap()
    };
    let found = |reply| match reply {
        ReplyBody::Upkeep { reply: UpkeepReply::Past(found) } => found,
        other => panic!("{other:?}"),
    };
    assert_eq!(ask(&identity(WRITER), former), refused(Refusal::NotPermitted));
    let past: Vec<FoundPast> = found(ask(&cluster.nodes[4], former));
    let digests: Vec<_> = past.iter().map(|found| found.record.digest()).collect();
    assert_eq!(digests, [count(2).digest(), count(1).digest()]);
    assert_eq!(past[1].former, None);
    assert_eq!(found(ask(&cluster.nodes[4], Former { version: 1, ..former })), []);

    // The node that is asked first gives another record of that version, or says that there was none before.
    let first = cluster.membership.groups(&key.address)[0][0];
    let liar = cluster.nodes.iter().find(|node| node.party() == first).unwrap().clone();
    let another = FoundPast { record: counted(READER, 2).into_envelope(), former: past[0].former };
    for (at, lie) in [(4, another), (5, FoundPast { former: None, ..past[0].clone() })] {
        let forging = Arc::new(Forging { inner: cluster.faulty.clone(), liar: liar.clone(), lie });
        cluster.tasks[at] = Upkeep::new(cluster.replicas[at].clone(), forging, SeedRng::new(9), FAST);
    }
    cluster.finish(&NEW).await;
    let after = cluster.membership.complete().unwrap();
    cluster.enter(after);
    for at in NEW {
        cluster.nodes.iter().for_each(|node| cluster.in_process.stop(&node.party()));
        cluster.in_process.start(&cluster.nodes[at].party());
        for version in 1..=2 {
            assert!(has(&cluster.reader, &cluster, &count(version)).await, "version {version} at node {at}");
        }
    }
}

/// A transport on which one node lies about the past.
struct Forging {
    inner: Arc<dyn Transport>,
    liar: Arc<Identity>,
    lie: FoundPast,
}

#[async_trait::async_trait]
impl Transport for Forging {
    async fn request(&self, node: &PartyId, bytes: Bytes) -> Result<Bytes, TransportError> {
        let request = Parcel::<Request>::decode(&bytes).unwrap().open().unwrap();
        match request.body {
            RequestBody::Upkeep { request: UpkeepRequest::FetchPast { former, .. } }
                if *node == self.liar.party() && former.version == self.lie_version() =>
            {
                let reply = UpkeepReply::Past(vec![self.lie.clone()]);
                let (network, epoch, body) = (request.network, request.epoch, ReplyBody::Upkeep { reply });
                let reply = Reply { network, epoch, request: request_digest(&bytes), body };
                Ok(Parcel::new(reply, &*self.liar).unwrap().encode())
            }
            _ => self.inner.request(node, bytes).await,
        }
    }

    fn update_membership(&self, membership: &dt_dht::Membership) {
        self.inner.update_membership(membership);
    }
}

impl Forging {
    fn lie_version(&self) -> u64 {
        self.lie.record.clone().open().unwrap().version
    }
}
