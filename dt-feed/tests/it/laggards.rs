//! Honest nodes that fell behind, and are needed, since others lie: whoever writes or reads brings them up to date.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use dt_dht::testing::{Fault, Network};
use dt_dht::{Client, Node, PutError, Refusal, ReplyBody, RequestBody, Resilience};
use dt_feed::{PublishError, Publisher, Reader, validators};
use dt_model::testing::{SeedRng, identity};
use dt_model::{Identity, Signer as _};

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
    let answers = AtomicU64::new(0);
    let owner = hearing(&network, OWNER, &nodes[0], move |_| {
        let answer = answers.fetch_add(1, Ordering::Relaxed);
        assert!(answer < 10_000, "the liar is served for ever");
        Some(ReplyBody::Refused { refusal: Refusal::Gap { stored: (1 << 40) - answer } })
    });
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

/// A node is absent, so that nothing can be published, and a liar says that a later attempt was. Nothing is signed by its word.
#[tokio::test]
async fn a_liar_does_not_use_up_the_versions_of_a_segment() {
    for claimed in [u64::MAX, u64::MAX - 1] {
        let network = network();
        let nodes = network.replicas(&manifest().feed().address());
        let owner = hearing(&network, OWNER, &nodes[0], move |request| match request {
            RequestBody::Put { .. } => {
                Some(ReplyBody::Refused { refusal: Refusal::Stale { stored: claimed } })
            }
            _ => None,
        });
        let mut publisher = published(&network, &owner, 10, 10).await;
        network.in_process().stop(&nodes[3].party());
        publisher.append(reading(10), network.now()).unwrap();
        let failed = publisher.flush(&owner, network.now(), &mut SeedRng::new(1)).await;
        assert!(matches!(failed, Err(PublishError::Put(PutError::NoQuorum { .. }))), "{failed:?}");
        network.in_process().start(&nodes[3].party());
        publisher.flush(&owner, network.now(), &mut SeedRng::new(2)).await.unwrap();
        let segment = stored(&owner, publisher.feed().segment_key(1), network.now()).await;
        assert!(segment.version < u64::MAX / 2, "{}", segment.version);
    }
}

/// Three of four replicas are replaced at once. Those that come lack all that was acknowledged: it counts as written nevertheless.
#[tokio::test]
async fn new_nodes_that_lack_everything_are_brought_up_to_date() {
    let parties = [OWNER, STRANGER].map(|seed| identity(seed).party());
    let network = Network::new(Resilience::tolerating(1).unwrap(), 7, parties, &validators());
    let owner = client(&network, OWNER);
    published(&network, &owner, 60, 10).await;
    let old = network.membership();
    let leaving: Vec<_> = network.replicas(&manifest().feed().address())[1..].to_vec();
    let stays = |node: &&Node| leaving.iter().all(|leaving| leaving.party() != node.party);
    let joint = old.successor(old.nodes().iter().filter(stays).cloned().collect(), old.parties().clone());
    let joint = joint.unwrap();
    owner.update_membership(joint.clone());
    let replicas = network.nodes().iter().map(|node| network.replica(&node.party()));
    replicas.for_each(|replica| replica.update_membership(joint.clone()));
    reads_and_writes(&network, &owner).await;
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
        Publisher::resume(owner, manifest(), policy(10), key(1), network.now()).await.unwrap();
    extend(network, owner, &mut publisher, 60..75).await;
    assert_eq!(reader.range(0..75, network.now()).await.unwrap(), all);
}
