//! Honest nodes that fell behind, and are needed, since others lie: whoever writes or reads brings them up to date.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use dt_dht::testing::{Fault, Network};
use dt_dht::{Client, Membership, Refusal, ReplyBody, Resilience, Transport, TransportError};
use dt_feed::{Reader, validators};
use dt_model::testing::{SeedRng, identity};
use dt_model::{Identity, PartyId, Signer as _};

use crate::common::*;

#[tokio::test]
async fn a_liar_does_not_keep_a_laggard_behind() {
    // It says that it lacks everything, or that it has something newer.
    for lie in [Refusal::Gap { stored: 0 }, Refusal::Stale { stored: u64::MAX }] {
        let network = network();
        let nodes = network.replicas(&manifest().feed().address());
        let owner = client(&network, OWNER);
        leave_behind(&network, &owner, &[&nodes[3]]).await;
        network.corrupt(&nodes[0], Fault::Refuse(lie));
        reads_and_writes(&network, &owner).await;
    }
}

#[tokio::test]
async fn a_liar_that_always_has_another_excuse_is_served_once() {
    let network = network();
    let nodes = network.replicas(&manifest().feed().address());
    leave_behind(&network, &client(&network, OWNER), &[&nodes[3]]).await;
    let transport = Excuses {
        inner: network.in_process().clone(),
        liar: nodes[0].clone(),
        left: AtomicU64::new(1 << 40),
        asked: AtomicU64::new(0),
    };
    let (signer, membership) = (Arc::new(identity(OWNER)), network.membership().clone());
    let owner = Client::new(signer, Arc::new(transport), membership, SeedRng::new(8));
    reads_and_writes(&network, &owner).await;
}

#[tokio::test]
async fn two_laggards_that_got_less_and_less_far_are_both_needed() {
    for lie in [Refusal::Gap { stored: 0 }, Refusal::Stale { stored: u64::MAX }] {
        let parties = [OWNER, STRANGER].map(|seed| identity(seed).party());
        let network = Network::new(Resilience::tolerating(2).unwrap(), 7, parties, &validators());
        let nodes = network.replicas(&manifest().feed().address());
        let owner = client(&network, OWNER);
        leave_behind(&network, &owner, &[&nodes[5], &nodes[6]]).await;
        nodes[..2].iter().for_each(|liar| network.corrupt(liar, Fault::Refuse(lie)));
        reads_and_writes(&network, &owner).await;
    }
}

/// Publishes 60 readings, of which each of `laggards` misses ten more than the next one.
async fn leave_behind(network: &Network, owner: &Client, laggards: &[&Arc<Identity>]) {
    let mut publisher = published(network, owner, 30, 10).await;
    for laggard in laggards {
        network.in_process().stop(&laggard.party());
        let size = publisher.size();
        extend(network, owner, &mut publisher, size..size + 10).await;
    }
    let size = publisher.size();
    extend(network, owner, &mut publisher, size..60).await;
    laggards.iter().for_each(|laggard| network.in_process().start(&laggard.party()));
}

async fn reads_and_writes(network: &Network, owner: &Client) {
    let feed = manifest().feed();
    let mut reader = Reader::open(owner, feed, all_keys, network.now()).await.unwrap();
    let all: Vec<_> = (0..75).map(reading).collect();
    assert_eq!(reader.range(0..60, network.now()).await.unwrap(), all[..60]);
    let mut publisher =
        dt_feed::Publisher::resume(owner, manifest(), policy(10), key(1), network.now()).await.unwrap();
    extend(network, owner, &mut publisher, 60..75).await;
    assert_eq!(reader.range(0..75, network.now()).await.unwrap(), all);
}

/// A transport on which a liar lacks something each time, and each time something else.
struct Excuses {
    inner: Arc<dyn Transport>,
    liar: Arc<Identity>,
    left: AtomicU64,
    asked: AtomicU64,
}

#[async_trait::async_trait]
impl Transport for Excuses {
    async fn request(&self, node: &PartyId, bytes: Bytes) -> Result<Bytes, TransportError> {
        if *node != self.liar.party() {
            return self.inner.request(node, bytes).await;
        }
        assert!(self.asked.fetch_add(1, Ordering::Relaxed) < 10_000, "the liar is served for ever");
        let refusal = Refusal::Gap { stored: self.left.fetch_sub(1, Ordering::Relaxed) };
        Ok(reply_as(&self.liar, &bytes, ReplyBody::Refused { refusal }))
    }

    fn update_membership(&self, membership: &Membership) {
        self.inner.update_membership(membership);
    }
}
