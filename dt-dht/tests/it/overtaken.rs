//! What a party is told while others are faster: of one version one record, of what is settled the latest, and never nothing.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use dt_dht::testing::{Fault, Network};
use dt_dht::{
    Client, GetError, Kind, Membership, Node, Order, OwnedRecords, Parcel, PutError, Record, Refusal,
    ReplyBody, Request, RequestBody, Resilience, Site, Transport, TransportError, Validator,
};
use dt_model::testing::{SeedRng, identity};
use dt_model::{PartyId, Signed, Signer};

use crate::agreement::{ballot, commit, promise, propose, shared, step};
use crate::support::*;

/// A transport on which something happens before one of the requests is delivered.
struct Meanwhile<F> {
    inner: Arc<dyn Transport>,
    left: AtomicUsize,
    happens: Mutex<Option<F>>,
}

#[async_trait]
impl<F: FnOnce() + Send> Transport for Meanwhile<F> {
    async fn request(&self, node: &PartyId, request: Bytes) -> Result<Bytes, TransportError> {
        if self.left.fetch_sub(1, Ordering::SeqCst) == 0
            && let Some(happens) = self.happens.lock().unwrap().take()
        {
            happens();
        }
        self.inner.request(node, request).await
    }

    fn update_membership(&self, membership: &Membership) {
        self.inner.update_membership(membership);
    }
}

/// The writer signs two records of version 2. One is with a single node when the reader finds it; before he can write it back, a quorum
/// has acknowledged the other, and then version 3. That the nodes have something newer says nothing of which one they had.
#[tokio::test]
async fn a_record_is_not_returned_of_which_another_was_acknowledged() {
    let network = Arc::new(network(1));
    let first = owned("a", 1, "first");
    let nodes = network.replicas(&first.key.address);
    nodes.iter().for_each(|node| drop(ask(&network, WRITER, node, put(&first))));
    let (one, others) = nodes.split_first().unwrap();
    ask(&network, WRITER, one, put(&owned("a", 2, "shown")));
    let (there, others) = (network.clone(), others.to_vec());
    let happens = move || {
        for record in [owned("a", 2, "acknowledged"), owned("a", 3, "third")] {
            for node in &others {
                assert!(matches!(ask(&there, WRITER, node, put(&record)), ReplyBody::Stored { .. }));
            }
        }
    };
    let (inner, left, happens) =
        (network.in_process().clone(), AtomicUsize::new(4), Mutex::new(Some(happens)));
    let transport = Arc::new(Meanwhile { inner, left, happens });
    let reader =
        Client::new(Arc::new(identity(READER)), transport, network.membership().clone(), SeedRng::new(1));
    let found = reader.get(first.key, OwnedRecords::check(), network.now()).await.unwrap();
    assert_eq!(found, Some(owned("a", 3, "third")));
}

/// A transport on which one node is slow, and another says to every put that it has something newer.
struct Hasty {
    network: Network,
    slow: PartyId,
    liar: PartyId,
}

#[async_trait]
impl Transport for Hasty {
    async fn request(&self, node: &PartyId, request: Bytes) -> Result<Bytes, TransportError> {
        let body = Parcel::<Request>::decode(&request).unwrap().open().unwrap().body;
        if *node == self.liar && matches!(body, RequestBody::Put { .. }) {
            return self.network.faulty().request(node, request).await;
        }
        if *node == self.slow {
            for _ in 0..50 {
                tokio::task::yield_now().await;
            }
        }
        self.network.in_process().request(node, request).await
    }

    fn update_membership(&self, _: &Membership) {}
}

/// Two honest nodes hold the last record, a third one is slow. A liar shows an older one, and is the first to say that it has something
/// newer, each time: the reader waits for the slow one.
#[tokio::test]
async fn a_liar_does_not_send_the_reader_back_for_ever() {
    let network = network(1);
    let (first, second) = (owned("a", 1, "first"), owned("a", 2, "second"));
    let nodes = network.replicas(&first.key.address);
    nodes.iter().for_each(|node| drop(ask(&network, WRITER, node, put(&first))));
    nodes[..2].iter().for_each(|node| drop(ask(&network, WRITER, node, put(&second))));
    network.corrupt(&nodes[3], Fault::Refuse(Refusal::Stale { stored: 99 }));
    let (membership, now) = (network.membership().clone(), network.now());
    let transport = Hasty { network, slow: nodes[2].party(), liar: nodes[3].party() };
    let reader = Client::new(Arc::new(identity(READER)), Arc::new(transport), membership, SeedRng::new(1));
    let found = reader.get(first.key, OwnedRecords::check(), now).await.unwrap();
    assert_eq!(found, Some(second));
}

/// Three of four replicas are replaced at once. Those that come have nothing yet and refuse a gap: that says nothing of what was acknowledged
/// before, which is not to be had for a while, but is not taken for unwritten.
#[tokio::test]
async fn what_new_nodes_lack_is_not_taken_for_unwritten() {
    let network =
        with_nodes(Resilience::tolerating(1).unwrap(), 7, &[Arc::new(Chained) as Arc<dyn Validator>]);
    let (writer, now) = (client(&network, WRITER), network.now());
    let records = [1, 2].map(|version| plain(Chained::KIND, &identity(WRITER), version, "acknowledged"));
    for record in &records {
        writer.put(record, now).await.unwrap();
    }
    let old = network.membership();
    let leaving = &network.replicas(&records[0].key.address)[1..];
    let stays = |node: &&Node| leaving.iter().all(|leaving| leaving.party() != node.party);
    let staying = old.nodes().iter().filter(stays).cloned().collect();
    let joint = old.successor(staying, old.parties().clone()).unwrap();
    writer.update_membership(joint.clone());
    let replicas = network.nodes().iter().map(|node| network.replica(&node.party()));
    replicas.for_each(|replica| replica.update_membership(joint.clone()));
    let found = writer.get(records[0].key, &|_| Ok(()), now).await;
    assert!(matches!(found, Err(GetError::NoQuorum { .. })), "{found:?}");
}

/// A quorum has decided the second record, and no replica has settled it yet, when the first one is settled once more: the answer must
/// not be the state from before.
#[tokio::test]
async fn who_settles_again_hears_of_what_was_decided_since() {
    let network = shared(Resilience::tolerating(1).unwrap(), 4);
    let (writer, now) = (client(&network, WRITER), network.now());
    let (first, second) = (step(WRITER, 1, "first"), step(WRITER, 2, "second"));
    writer.settle(&first, now).await.unwrap();
    let nodes = network.replicas(&first.key.address);
    let votes = |body: RequestBody| -> Vec<_> {
        let replies = nodes.iter().map(|node| ask(&network, WRITER, node, body.clone()));
        replies
            .map(|reply| match reply {
                ReplyBody::Voted { vote } => vote,
                other => panic!("{other:?}"),
            })
            .collect()
    };
    let accepted = votes(propose(&second, 2, None, Vec::new()));
    votes(commit(&second, &accepted[..3]));
    let again = writer.settle(&first, now).await;
    assert!(matches!(again, Err(PutError::Refused(Refusal::Stale { stored: 2 }))), "{again:?}");
    assert!(writer.settle(&second, now).await.unwrap().state().contains(&second));
}

/// Whoever comes first is its writer, as with an item that is not there yet: until then everybody has this rank.
struct Unclaimed(Option<u8>);

impl Unclaimed {
    const KIND: Kind = Kind::new(*b"uncl");
}

impl Validator for Unclaimed {
    fn kind(&self) -> Kind {
        Self::KIND
    }

    fn order(&self) -> Order {
        Order::Agreed
    }

    fn rank(&self, site: &Site<'_>, party: &PartyId) -> Option<u8> {
        match site.stored {
            Some(stored) => (stored.signer() == *party).then_some(1),
            None => self.0,
        }
    }

    fn admit(&self, site: &Site<'_>, offered: &Signed<Record>) -> Result<(), Refusal> {
        let is_his = offered.signer() == identity(WRITER).party();
        if is_his && site.stored.is_none() { Ok(()) } else { Err(Refusal::NotPermitted) }
    }
}

/// Two attempts to create something broke off, each at another node, where their ballots stand; a third node has seen neither, and owes
/// nobody a promise; the fourth is silent. The creator has nobody else.
#[tokio::test]
async fn what_is_not_there_yet_can_be_created_after_attempts_that_broke_off() {
    for rank in [None, Some(0)] {
        create_after_attempts(rank).await;
    }
}

async fn create_after_attempts(rank: Option<u8>) {
    let validators = [Arc::new(Unclaimed(rank)) as Arc<dyn Validator>];
    let network = with_nodes(Resilience::tolerating(1).unwrap(), 4, &validators);
    let create = |body| plain(Unclaimed::KIND, &identity(WRITER), 1, body);
    let record = create("third");
    let nodes = network.replicas(&record.key.address);
    for (node, body) in nodes.iter().zip(["first", "second"]) {
        let voted = ask(&network, WRITER, node, propose(&create(body), 1, None, Vec::new()));
        assert!(matches!(voted, ReplyBody::Voted { .. }));
        let promised = ask(
            &network,
            WRITER,
            node,
            promise(network.membership(), &record, ballot(WRITER, 1, 1), network.now()),
        );
        assert!(matches!(promised, ReplyBody::Promised { .. }));
    }
    network.corrupt(&nodes[3], Fault::Silent);
    let settled = client(&network, WRITER).settle(&record, network.now()).await.unwrap();
    assert!(settled.state().contains(&record));
    // Of the others nobody gets a right by trying.
    let stranger = plain(Unclaimed::KIND, &identity(READER), 1, "mine");
    let refused = client(&network, READER).settle(&stranger, network.now()).await;
    assert!(matches!(refused, Err(PutError::Refused(_))), "{refused:?}");
}
