//! What happens between the two reads of which a read consists.

use core::future::Future;
use core::pin::Pin;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use dt_acl::{AclError, AclState, DATA_KIND, History, Items, Revocation, Rights};
use dt_dht::testing::Network;
use dt_dht::{Client, Parcel, Request, RequestBody, Transport, TransportError};
use dt_model::testing::{SeedRng, identity};
use dt_model::{PartyId, Signer as _};

use crate::common::{grantee, items, network};

type Deed = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Does something once, just before the first replica is asked for data.
struct Meddler {
    inner: Arc<dyn Transport>,
    deed: Mutex<Option<Deed>>,
}

#[async_trait]
impl Transport for Meddler {
    async fn request(&self, node: &PartyId, request: Bytes) -> Result<Bytes, TransportError> {
        let opened = Parcel::<Request>::decode(&request).unwrap().open().unwrap();
        let is_data = matches!(opened.body, RequestBody::Get { key } if key.slot.kind == DATA_KIND);
        let deed = if is_data { self.deed.lock().unwrap().take() } else { None };
        if let Some(deed) = deed {
            deed.await;
        }
        self.inner.request(node, request).await
    }
}

/// The items of the party with number `seed`, between whose reads `deed` is done.
fn meddled(net: &Network, seed: u64, deed: impl Future<Output = ()> + Send + 'static) -> Items {
    let transport = Meddler { inner: net.faulty().clone(), deed: Mutex::new(Some(Box::pin(deed))) };
    let (signer, rng) = (Arc::new(identity(seed)), SeedRng::new(1_000 + seed));
    Items::new(Arc::new(Client::new(signer, Arc::new(transport), net.membership().clone(), rng)))
}

async fn created(net: &Network, rng: &mut SeedRng) -> (Arc<Items>, AclState) {
    let owner = Arc::new(items(net, 0));
    let readers = [grantee(1, Rights::WRITE), grantee(2, Rights::READ)];
    let state = owner.create("race", &readers, net.now(), rng).await.unwrap();
    owner.write(state.acl.item(), b"old", net.now(), rng).await.unwrap();
    (owner, state)
}

#[tokio::test]
async fn a_reader_that_is_overtaken_reads_the_new_data() {
    let (net, mut rng) = (network(1, 4), SeedRng::new(1));
    let (owner, state) = created(&net, &mut rng).await;
    let (item, now) = (state.acl.item(), net.now());
    let reader = meddled(&net, 1, async move {
        owner.revoke(item, identity(2).party(), Revocation::Lazy, now, &mut rng).await.unwrap();
        owner.write(item, b"new", now, &mut rng).await.unwrap();
    });
    let opened = reader.read(item, None, now).await.unwrap();
    assert_eq!((&**opened.plaintext, opened.counter, opened.acl.version), (&b"new"[..], 2, 2));
}

#[tokio::test]
async fn a_reader_that_is_removed_meanwhile_reads_nothing() {
    let (net, mut rng) = (network(1, 4), SeedRng::new(2));
    let (owner, state) = created(&net, &mut rng).await;
    let (item, now) = (state.acl.item(), net.now());
    let reader = meddled(&net, 1, async move {
        owner.revoke(item, identity(1).party(), Revocation::Eager, now, &mut rng).await.unwrap();
    });
    assert!(matches!(reader.read(item, None, now).await, Err(AclError::NotAReader(_))));
}

#[tokio::test]
async fn a_writer_that_is_overtaken_by_the_list_hears_of_it() {
    let (net, mut rng) = (network(1, 4), SeedRng::new(3));
    let (owner, state) = created(&net, &mut rng).await;
    let (item, now) = (state.acl.item(), net.now());
    let mut own = SeedRng::new(4);
    let other = owner.clone();
    let writer = meddled(&net, 1, async move {
        other.grant(item, &[grantee(3, Rights::READ)], History::Full, now, &mut rng).await.unwrap();
    });
    // The list has changed after the writer has read it: its record is under a list that is no more.
    assert!(matches!(writer.write(item, b"late", now, &mut own).await, Err(AclError::Conflict)));
    assert_eq!(&**owner.read(item, None, now).await.unwrap().plaintext, b"old");
    assert_eq!(writer.write(item, b"again", now, &mut own).await.unwrap().counter, 2);
}

/// Two writers reach half of the replicas each: neither has won, and the next one settles it.
#[tokio::test]
async fn a_split_vote_is_settled_by_the_next_writer() {
    for second in [1, 0] {
        let (net, mut rng) = (network(1, 4), SeedRng::new(6));
        let (owner, state) = created(&net, &mut rng).await;
        let (acl, now) = (state.acl, net.now());
        let (item, replicas) = (acl.item(), net.replicas(&acl.item().address()));
        let old = owner.read(item, None, now).await.unwrap();
        let old = Some(dt_acl::DataRef { counter: old.counter, digest: old.record });
        for (writer, down) in [(0, 0..2), (second, 2..4)] {
            let content = [u8::from(down.start == 0); 4];
            let (record, _) = dt_acl::testing::write(&acl, &identity(writer), old, &content, now, &mut rng);
            replicas[down.clone()].iter().for_each(|node| net.in_process().stop(&node.party()));
            assert!(matches!(owner.resubmit(&record, now).await, Err(AclError::InDoubt { .. })));
            replicas[down].iter().for_each(|node| net.in_process().start(&node.party()));
        }
        assert!(
            matches!(owner.read(item, None, now).await, Err(AclError::Split { after }) if after.counter == 3)
        );
        let written = items(&net, 1).write(item, b"settled", now, &mut rng).await.unwrap();
        assert_eq!(written.counter, 4);
        for reader in 0..3 {
            let opened = items(&net, reader).read(item, None, now).await.unwrap();
            assert_eq!(&**opened.plaintext, b"settled");
        }
    }
}

/// A list whose author did not see the newest data does not become current.
#[tokio::test]
async fn a_list_overtaken_by_data_hears_of_it() {
    let (net, mut rng) = (network(1, 4), SeedRng::new(5));
    let (owner, state) = created(&net, &mut rng).await;
    let (item, now) = (state.acl.item(), net.now());
    let writer = items(&net, 1);
    let (acl, data) = (state.acl, owner.read(item, None, now).await.unwrap());
    writer.write(item, b"newer", now, &mut rng).await.unwrap();
    let keys = owner.keys(item, None, now).await.unwrap();
    let named = dt_acl::DataRef { counter: data.counter, digest: data.record };
    let change = dt_acl::Change::Revoke { party: writer.party() };
    let next = acl.change(&identity(0), &keys, &change, Some(named), now, &mut rng).unwrap();
    let signed = dt_acl::testing::sign_acl(&next, &identity(0));
    assert!(matches!(owner.resubmit(&signed, now).await, Err(AclError::Conflict)));
    assert_eq!(&**owner.read(item, None, now).await.unwrap().plaintext, b"newer");
}
