//! Every operation, as a user meets it.

use core::time::Duration;
use std::collections::BTreeSet;
use std::sync::Arc;

use dt_dht::testing::Fault;
use dt_dht::{
    Client, GetError, Kind, LEASE, Membership, MembershipError, Node, OwnedRecords, PutError, RecordStore,
    Refusal, ReplyBody, RequestBody, Resilience, StoreError, encode_stripe,
};
use dt_model::testing::identity;
use dt_model::{Digest, Identity, Signer};

use crate::support::*;

#[test]
fn clients_are_shared_between_threads() {
    fn is_shared<T: Send + Sync>(_: &T) {}
    fn is_sent<T: Send>(_: T) {}
    let network = network(1);
    let client: Client = client(&network, WRITER);
    is_shared(&client);
    let (record, now) = (owned("a", 1, "x"), network.now());
    is_sent(client.put(&record, now));
    is_sent(client.get(record.key, OwnedRecords::check(), now));
    is_sent(client.put_blob(b"x", now));
    let (mut writer, blob) =
        (client.write_blob().unwrap(), encode_stripe(b"x", network.membership().resilience()).unwrap().0);
    is_sent(client.get_blob(&blob, now));
    is_sent(writer.write(b"x", now));
    is_sent(writer.finish(now));
    is_sent(client.read_blob(&blob, 0..1).unwrap().next(now));
}

#[tokio::test]
async fn what_is_put_is_got_by_another() {
    let network = network(1);
    let (writer, reader) = (client(&network, WRITER), client(&network, READER));
    let record = owned("a", 1, "first");
    let certificate = writer.put(&record, network.now()).await.unwrap();
    certificate.verify_for(network.membership(), &record).unwrap();
    assert_eq!(certificate.receipts.len(), 3);
    let found = reader.get(record.key, OwnedRecords::check(), network.now()).await.unwrap();
    assert_eq!(found, Some(record.clone()));

    let next = owned("a", 2, "second");
    writer.put(&next, network.now()).await.unwrap();
    let found = reader.get(record.key, OwnedRecords::check(), network.now()).await.unwrap().unwrap();
    assert_eq!(OwnedRecords::value(&found).unwrap(), "second");
    let absent = owned("b", 1, "").key;
    assert_eq!(reader.get(absent, OwnedRecords::check(), network.now()).await.unwrap(), None);
}

#[tokio::test]
async fn a_put_reaches_every_replica_that_can_be_reached() {
    let network = network(1);
    let record = owned("a", 1, "x");
    client(&network, WRITER).put(&record, network.now()).await.unwrap();
    for node in network.nodes() {
        assert_eq!(held(&network, node, record.key).as_ref(), Some(&record));
    }
}

#[tokio::test]
async fn nodes_outside_the_replica_set_refuse() {
    let network = with_nodes(Resilience::tolerating(1).unwrap(), 9, &[Arc::new(OwnedRecords)]);
    let record = owned("a", 1, "x");
    client(&network, WRITER).put(&record, network.now()).await.unwrap();
    let replicas = network.membership().replicas(&record.key.address);
    assert_eq!(replicas.len(), 4);
    for node in network.nodes() {
        let stored = report(&network, node).records;
        assert_eq!(stored, u64::from(replicas.contains(&node.party())));
        if stored == 0 {
            let answer = ask(&network, READER, node, RequestBody::Get { key: record.key });
            assert_eq!(answer, refused(Refusal::NotAReplica));
            assert_eq!(ask(&network, WRITER, node, put(&record)), refused(Refusal::NotAReplica));
        }
    }
}

#[tokio::test]
async fn the_same_again_renews_the_lease() {
    let network = network(1);
    let writer = client(&network, WRITER);
    let record = owned("a", 1, "x");
    let first = writer.put(&record, network.now()).await.unwrap();
    // The lease is the address's. It is written once in a period of some days.
    let rows =
        |index: usize| network.replica(&network.nodes()[index].party()).store().scan(b"l", None, 10).unwrap();
    let before = rows(0);
    network.advance(LEASE / 32);
    let second = writer.put(&record, network.now()).await.unwrap();
    assert_ne!(first, second, "the receipts carry the new time");
    second.verify_for(network.membership(), &record).unwrap();
    assert_ne!(rows(0), before, "the lease is kept");
    assert_eq!(report(&network, &network.nodes()[0]).records, 1);
    // Anybody may renew: it is the writer's signature that counts.
    client(&network, READER).put(&record, network.now()).await.unwrap();
}

#[tokio::test]
async fn refusals_say_why() {
    let network = network(1);
    let writer = client(&network, WRITER);
    let now = network.now();
    writer.put(&owned("a", 2, "x"), now).await.unwrap();
    let stale = writer.put(&owned("a", 1, "y"), now).await;
    assert!(matches!(stale, Err(PutError::Refused(Refusal::Stale { stored: 2 }))), "{stale:?}");
    let conflict = writer.put(&owned("a", 2, "y"), now).await;
    assert!(matches!(conflict, Err(PutError::Refused(Refusal::Conflict))), "{conflict:?}");
    let zero = writer.put(&owned("b", 0, "y"), now).await;
    assert!(matches!(zero, Err(PutError::Refused(Refusal::Malformed))), "{zero:?}");
    let unknown = plain(Kind::new(*b"none"), &identity(WRITER), 1, "");
    let refused = writer.put(&unknown, now).await;
    assert!(matches!(refused, Err(PutError::Refused(Refusal::UnknownKind))), "{refused:?}");
    let refused = writer.get(unknown.key, &|_| Ok(()), now).await;
    assert!(matches!(refused, Err(GetError::Refused(Refusal::UnknownKind))), "{refused:?}");
}

#[tokio::test]
async fn replicas_ask_the_validator_who_may_read() {
    let network = with_nodes(Resilience::tolerating(1).unwrap(), 4, &[Arc::new(Private)]);
    let record = plain(Private::KIND, &identity(WRITER), 1, "for my eyes");
    let writer = client(&network, WRITER);
    writer.put(&record, network.now()).await.unwrap();
    assert_eq!(writer.get(record.key, &|_| Ok(()), network.now()).await.unwrap(), Some(record.clone()));
    let refused = client(&network, READER).get(record.key, &|_| Ok(()), network.now()).await;
    assert!(matches!(refused, Err(GetError::Refused(Refusal::NotPermitted))), "{refused:?}");
}

#[tokio::test]
async fn too_few_nodes_are_no_quorum_and_retrying_helps() {
    let network = network(1);
    let writer = client(&network, WRITER);
    let (record, now) = (owned("a", 1, "x"), network.now());
    for node in &network.nodes()[..2] {
        network.in_process().stop(&node.party());
    }
    let lost = writer.put(&record, now).await;
    assert!(matches!(lost, Err(PutError::NoQuorum { receipts: 2, needed: 3, .. })), "{lost:?}");
    let lost = writer.get(record.key, OwnedRecords::check(), now).await;
    assert!(matches!(lost, Err(GetError::NoQuorum { replies: 2, needed: 3, .. })), "{lost:?}");
    network.in_process().start(&network.nodes()[0].party());
    writer.put(&record, now).await.unwrap();
    assert!(writer.get(record.key, OwnedRecords::check(), now).await.unwrap().is_some());
}

/// A write that reached some replicas only, and is then read, is there for every later read.
#[tokio::test]
async fn a_read_brings_laggards_up_to_date() {
    let network = network(1);
    let (writer, now) = (client(&network, WRITER), network.now());
    let key = owned("a", 1, "").key;
    let replicas = network.replicas(&key.address);
    writer.put(&owned("a", 1, "old"), now).await.unwrap();
    replicas[1..].iter().for_each(|node| network.in_process().stop(&node.party()));
    assert!(writer.put(&owned("a", 2, "new"), now).await.is_err());
    replicas.iter().for_each(|node| network.in_process().start(&node.party()));

    let found = client(&network, READER).get(key, OwnedRecords::check(), now).await.unwrap().unwrap();
    assert_eq!(found.version, 2);
    for node in &replicas {
        assert_eq!(held(&network, node, key).unwrap().version, 2);
    }
}

/// Kinds that refuse a gap are brought up to date version by version, as far as replicas still show them.
#[tokio::test]
async fn a_laggard_gets_the_versions_between() {
    let network = with_nodes(Resilience::tolerating(1).unwrap(), 4, &[Arc::new(Chained)]);
    let (writer, now) = (identity(WRITER), network.now());
    let record = |version| plain(Chained::KIND, &writer, version, "link");
    let replicas = network.replicas(&record(1).key.address);
    for (version, reached) in [(1, 4), (2, 3), (3, 2)] {
        for node in &replicas[..reached] {
            let stored = ask(&network, WRITER, node, put(&record(version)));
            assert!(matches!(stored, ReplyBody::Stored { .. }), "{stored:?}");
        }
    }
    assert_eq!(ask(&network, WRITER, &replicas[3], put(&record(3))), refused(Refusal::Gap { stored: 1 }));
    let found = client(&network, READER).get(record(1).key, &|_| Ok(()), now).await.unwrap();
    assert_eq!(found, Some(record(3)));
    for node in &replicas {
        assert_eq!(held(&network, node, record(1).key), Some(record(3)));
    }
}

#[tokio::test]
async fn a_node_that_hangs_is_not_waited_for() {
    let network = network(1);
    let (writer, now) = (client(&network, WRITER), network.now());
    network.corrupt(&network.nodes()[0], Fault::Hanging);
    let record = owned("a", 1, "x");
    writer.put(&record, now).await.unwrap();
    assert_eq!(writer.get(record.key, OwnedRecords::check(), now).await.unwrap(), Some(record));
    let blob = writer.put_blob(b"sealed", now).await.unwrap();
    assert_eq!(writer.get_blob(&blob, now).await.unwrap(), "sealed");
}

/// An honest laggard shows a version below the reader's floor: it has answered, and does not keep the reader from a quorum.
#[tokio::test]
async fn a_laggard_below_the_floor_does_not_block() {
    let network = network(1);
    let (writer, now) = (client(&network, WRITER), network.now());
    let record = owned("a", 2, "new");
    let replicas = network.replicas(&record.key.address);
    writer.put(&owned("a", 1, "old"), now).await.unwrap();
    network.in_process().stop(&replicas[3].party());
    writer.put(&record, now).await.unwrap();
    network.in_process().start(&replicas[3].party());
    network.in_process().stop(&replicas[0].party());
    let floor = |found: &dt_model::Signed<dt_dht::Record>| {
        if found.version >= 2 { Ok(()) } else { Err(Refusal::Superseded) }
    };
    assert_eq!(writer.get(record.key, &floor, now).await.unwrap(), Some(record.clone()));
    let above = |_: &dt_model::Signed<dt_dht::Record>| Err(Refusal::Superseded);
    let rolled_back = writer.get(record.key, &above, now).await;
    assert!(matches!(rolled_back, Err(GetError::Unacceptable(Refusal::Superseded))), "{rolled_back:?}");
}

#[tokio::test]
async fn five_nodes_for_one_fault_need_four() {
    let network = with_nodes(Resilience::new(5, 1).unwrap(), 5, &[Arc::new(OwnedRecords)]);
    let (writer, now) = (client(&network, WRITER), network.now());
    let record = owned("a", 1, "x");
    network.in_process().stop(&network.nodes()[4].party());
    let certificate = writer.put(&record, now).await.unwrap();
    assert_eq!(certificate.receipts.len(), 4);
    certificate.verify(network.membership()).unwrap();
    let blob = writer.put_blob(b"sealed", now).await.unwrap();
    assert_eq!((blob.data_shards(), blob.shards().len()), (2, 5));
    network.in_process().stop(&network.nodes()[3].party());
    assert!(matches!(
        writer.put(&owned("a", 2, "y"), now).await,
        Err(PutError::NoQuorum { receipts: 3, needed: 4, .. })
    ));
}

#[tokio::test]
async fn epochs_change_together() {
    let network = network(1);
    let (writer, now) = (client(&network, WRITER), network.now());
    let old = network.membership();
    let next =
        Membership::new(old.network(), 2, old.resilience(), old.nodes().to_vec(), old.parties().clone())
            .unwrap();
    let record = owned("a", 1, "x");
    let certificate = writer.put(&record, now).await.unwrap();
    writer.update_membership(next.clone());
    let outdated = writer.put(&record, now).await;
    assert!(matches!(outdated, Err(PutError::Refused(Refusal::Outdated))), "{outdated:?}");
    for node in network.nodes() {
        network.replica(&node.party()).update_membership(next.clone());
    }
    let renewed = writer.put(&record, now).await.unwrap();
    renewed.verify(&next).unwrap();
    certificate.verify(old).unwrap();
    assert!(certificate.verify(&next).is_err());
    assert_eq!(writer.membership(), next);
}

#[test]
fn memberships_are_checked() {
    let node = |seed: u64| Node { party: identity(seed).party(), endpoints: Vec::new() };
    let resilience = Resilience::tolerating(1).unwrap();
    let of = |seeds: &[u64]| {
        let nodes = seeds.iter().map(|seed| node(*seed)).collect();
        Membership::new(Digest::ZERO, 1, resilience, nodes, BTreeSet::new())
    };
    assert_eq!(of(&[1, 2, 3]), Err(MembershipError::TooFewNodes { nodes: 3, needed: 4 }));
    assert_eq!(of(&[1, 2, 3, 4, 2]), Err(MembershipError::DuplicateNode(identity(2).party())));
    let membership = of(&[4, 3, 2, 1]).unwrap();
    assert_eq!(membership, of(&[1, 2, 3, 4]).unwrap());
    assert!(membership.is_registered(&identity(1).party()));
    assert!(!membership.is_registered(&identity(5).party()));
}

/// Every node holds its share, and a new node takes over only what it wins.
#[test]
fn placement_is_balanced_and_stable() {
    let resilience = Resilience::tolerating(1).unwrap();
    let of = |count: u64| {
        let nodes = (0..count).map(|seed| Node { party: identity(seed).party(), endpoints: Vec::new() });
        Membership::new(Digest::ZERO, 1, resilience, nodes.collect(), BTreeSet::new()).unwrap()
    };
    let (before, after) = (of(20), of(21));
    let newcomer = identity(20).party();
    let mut load = std::collections::BTreeMap::new();
    for address in 0u16..2000 {
        let mut bytes = [0; 32];
        bytes[..2].copy_from_slice(&address.to_le_bytes());
        let (old, new) = (before.replicas(&bytes.into()), after.replicas(&bytes.into()));
        let distinct: BTreeSet<_> = new.iter().collect();
        assert_eq!(distinct.len(), 4);
        let stayed: Vec<_> = new.iter().filter(|node| **node != newcomer).collect();
        assert!(stayed.iter().zip(&old).all(|(new, old)| *new == old), "the others keep their order");
        new.into_iter().for_each(|node| *load.entry(node).or_insert(0u32) += 1);
    }
    // 2,000 × 4 / 21 = 381 each; six standard deviations are about 105.
    assert!(load.values().all(|count| (276..=486).contains(count)), "{load:?}");
}

/// A store that always fails.
struct Broken;

impl RecordStore for Broken {
    fn get(&self, _: &[u8]) -> Result<Option<bytes::Bytes>, StoreError> {
        Err(StoreError::Corrupt(None))
    }
    fn put(&self, _: &[dt_dht::Row]) -> Result<(), StoreError> {
        Err(StoreError::ReadOnly)
    }
    fn remove(&self, _: &[bytes::Bytes]) -> Result<(), StoreError> {
        Err(StoreError::ReadOnly)
    }
    fn scan(&self, _: &[u8], _: Option<&[u8]>, _: usize) -> Result<Vec<dt_dht::Row>, StoreError> {
        Err(StoreError::Corrupt(None))
    }
}

#[test]
fn a_replica_whose_store_fails_says_so() {
    let network = network(1);
    let node: &Arc<Identity> = &network.nodes()[0];
    let broken = dt_dht::Replica::new(
        node.clone(),
        Arc::new(Broken),
        network.membership().clone(),
        vec![Arc::new(OwnedRecords)],
    );
    let record = owned("a", 1, "x");
    for body in
        [put(&record), RequestBody::Get { key: record.key }, RequestBody::GetEvidence { key: record.key }]
    {
        let call = call(&network, WRITER, node, body);
        let reply = call.read(&broken.handle(call.bytes(), network.now())).unwrap();
        assert_eq!(reply, refused(Refusal::Unavailable));
    }
    assert!(matches!(
        dt_dht::verify_store(&Broken),
        Err(dt_dht::StoreDamage::Store(StoreError::Corrupt(None)))
    ));
}

/// Whatever a validator admits, a replica never goes back.
#[test]
fn versions_only_grow_even_where_the_validator_does_not_care() {
    let network = with_nodes(Resilience::tolerating(1).unwrap(), 4, &[Arc::new(Private)]);
    let node = &network.nodes()[0];
    let record = |version| plain(Private::KIND, &identity(WRITER), version, "x");
    assert!(matches!(ask(&network, WRITER, node, put(&record(5))), ReplyBody::Stored { .. }));
    assert_eq!(ask(&network, WRITER, node, put(&record(4))), refused(Refusal::Stale { stored: 5 }));
    assert!(matches!(ask(&network, WRITER, node, put(&record(u64::MAX))), ReplyBody::Stored { .. }));
}

#[test]
fn validators_see_the_other_slots_of_the_address() {
    let validators: [Arc<dyn dt_dht::Validator>; 2] = [Arc::new(Private), Arc::new(Dependent)];
    let network = with_nodes(Resilience::tolerating(1).unwrap(), 4, &validators);
    let node = &network.nodes()[0];
    let (first, second) = (
        plain(Private::KIND, &identity(WRITER), 1, "first"),
        plain(Dependent::KIND, &identity(WRITER), 1, "second"),
    );
    assert_eq!(ask(&network, WRITER, node, put(&second)), refused(Refusal::Superseded));
    assert!(matches!(ask(&network, WRITER, node, put(&first)), ReplyBody::Stored { .. }));
    assert!(matches!(ask(&network, WRITER, node, put(&second)), ReplyBody::Stored { .. }));

    // A neighbour that cannot be read is not an absent one: the replica gives no verdict.
    let store = network.replica(&node.party()).store();
    let rows = store.scan(b"r", None, 10).unwrap();
    let (key, value) = rows.into_iter().find(|(key, _)| key.windows(4).any(|part| part == b"priv")).unwrap();
    let mut altered = value.to_vec();
    altered[40] ^= 1;
    store.put(&[(key, altered.into())]).unwrap();
    let third = plain(Dependent::KIND, &identity(WRITER), 2, "third");
    assert_eq!(ask(&network, WRITER, node, put(&third)), refused(Refusal::Unavailable));
}

/// A store whose reads take so long that whoever does not hold a lock is overtaken.
#[derive(Default)]
struct Slow(dt_dht::MemoryStore);

impl RecordStore for Slow {
    fn get(&self, key: &[u8]) -> Result<Option<bytes::Bytes>, StoreError> {
        let value = self.0.get(key);
        std::thread::sleep(Duration::from_millis(1));
        value
    }
    fn put(&self, rows: &[dt_dht::Row]) -> Result<(), StoreError> {
        self.0.put(rows)
    }
    fn remove(&self, keys: &[bytes::Bytes]) -> Result<(), StoreError> {
        self.0.remove(keys)
    }
    fn scan(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<dt_dht::Row>, StoreError> {
        self.0.scan(prefix, after, limit)
    }
}

/// Eight threads, one slot and many versions of it: one record for each version at most, and a sound store.
#[test]
fn a_replica_serves_threads() {
    let stores = (0..4).map(|_| Arc::new(Slow::default()) as _).collect();
    let network = dt_dht::testing::Network::with_stores(
        Resilience::tolerating(1).unwrap(),
        stores,
        [identity(WRITER).party(), identity(READER).party()],
        &[Arc::new(Chained), Arc::new(OwnedRecords)],
    );
    let node = &network.nodes()[0];
    let stored: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = (10u64..18)
            .map(|seed| {
                let network = &network;
                scope.spawn(move || {
                    let is_stored = |version: &u64| {
                        let record = plain(Chained::KIND, &identity(seed), *version, "x");
                        matches!(ask(network, WRITER, node, put(&record)), ReplyBody::Stored { .. })
                    };
                    let own = format!("own {seed}");
                    let own = |version| owned(&own, version, "at another address");
                    (1..=20)
                        .inspect(|version| drop(ask(network, WRITER, node, put(&own(*version)))))
                        .filter(is_stored)
                        .count()
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    let newest = held(&network, node, plain(Chained::KIND, &identity(10), 1, "x").key).unwrap();
    assert_eq!(newest.version, stored as u64, "each version was stored by one thread");
    assert_eq!(report(&network, node).records, 1 + 8);
}
