//! An owner with helpers among the nodes, or with time on his side; and readers who should read no more.

use std::collections::BTreeSet;

use dt_dht::testing::{Fault, Network};
use dt_dht::{Client, PutError, QuorumCertificate, Refusal, ReplyBody, RequestBody};
use dt_feed::{Contradiction, Fork, Publisher, ReadError, Reader};
use dt_model::{Signer as _, codec};

use crate::common::*;

/// Puts a step's two records, and gives the certificate of its head.
async fn put(owner: &Client, network: &Network, step: &Step) -> Result<QuorumCertificate, PutError> {
    owner.put(step.segment.record(), network.now()).await?;
    owner.put(step.head.record(), network.now()).await
}

/// The owner shows one history to some honest nodes and another one to the rest, and the liar receipts whatever he is sent.
#[tokio::test]
async fn only_one_of_two_histories_gets_a_quorum() {
    let (a, b) = (&steps(None, &[3], 1)[0], &steps(None, &[3], 2)[0]);
    for honest_with_a in 0..=3 {
        let network = network();
        let owner = client(&network, OWNER);
        Publisher::create(&owner, manifest(), policy(10), key(1), network.now()).await.unwrap();
        let nodes = network.replicas(&manifest().feed().address());
        network.corrupt(&nodes[0], Fault::Pretend);
        let (with_a, with_b) = nodes[1..].split_at(honest_with_a);
        let mut certified = BTreeSet::new();
        for (step, shown) in [(a, with_a), (b, with_b)] {
            nodes[1..].iter().for_each(|node| network.in_process().stop(&node.party()));
            shown.iter().for_each(|node| network.in_process().start(&node.party()));
            certified.extend(put(&owner, &network, step).await.map(|_| step.head.record().digest()));
        }
        // Now he turns to everybody: who has seen one history does not take the other.
        nodes.iter().for_each(|node| network.in_process().start(&node.party()));
        for step in [a, b] {
            certified.extend(put(&owner, &network, step).await.map(|_| step.head.record().digest()));
        }
        assert_eq!(certified.len(), 1, "{honest_with_a} of 3 honest nodes have seen the first one");
    }
}

/// One node was absent when a head got its certificate. The owner brings a later one to a single node, which cannot say any longer what it
/// had before, and a liar has seen nothing: it is read all the same.
#[tokio::test]
async fn a_certified_head_is_not_taken_back() {
    let network = network();
    let owner = client(&network, OWNER);
    Publisher::create(&owner, manifest(), policy(10), key(1), network.now()).await.unwrap();
    let nodes = network.replicas(&manifest().feed().address());
    let (liar, absent) = (&nodes[0], &nodes[3]);
    let [first, certified, later] = &steps(None, &[3, 3, 3], 1)[..] else { unreachable!() };
    put(&owner, &network, first).await.unwrap();
    network.in_process().stop(&absent.party());
    put(&owner, &network, certified).await.unwrap();
    [liar, &nodes[2]].iter().for_each(|node| network.in_process().stop(&node.party()));
    for record in [later.segment.record(), later.head.record()] {
        owner.put(record, network.now()).await.unwrap_err();
    }
    nodes.iter().for_each(|node| network.in_process().start(&node.party()));
    let reader = hearing(&network, STRANGER, liar, |request| match request {
        RequestBody::Get { .. } => Some(ReplyBody::Record { record: None }),
        _ => Some(ReplyBody::Refused { refusal: Refusal::Gap { stored: 0 } }),
    });
    let mut reader = Reader::open(&reader, manifest().feed(), all_keys, network.now()).await.unwrap();
    let head = reader.head(network.now()).await.unwrap();
    assert!(head.as_ref().is_some_and(|head| head.segments >= 2), "{head:?}");
}

#[tokio::test]
async fn two_who_were_shown_different_histories_convict_the_owner_when_they_meet() {
    let network = network();
    let owner = client(&network, OWNER);
    published(&network, &owner, 10, 10).await;
    let now = network.now();
    let mut here = Reader::open(&owner, manifest().feed(), all_keys, now).await.unwrap();
    let here = here.head(now).await.unwrap().unwrap();

    // All nodes play along, which is more than k: so this reader cannot know.
    let other = &steps(None, &[10], 2)[0];
    let (lies, client) = lying(&network);
    lies.show(other.segment.record());
    lies.show(other.head.record());
    let mut there = Reader::open(&client, manifest().feed(), all_keys, now).await.unwrap();
    let there = there.head(now).await.unwrap().unwrap();

    let fork = Fork::between(&here, &there).unwrap();
    let fork: Fork = codec::decode(&codec::encode(&fork), dt_feed::MAX_FORK_BYTES).unwrap();
    assert_eq!(fork.verify(&manifest()), Ok(Contradiction::SameVersion { version: 1 }));
}

/// The nodes forget a feed whose lease ended, and then its owner may begin it anew.
#[tokio::test]
async fn a_feed_that_starts_over_after_its_end_is_caught_by_a_floor() {
    let before = network();
    let publisher = published(&before, &client(&before, OWNER), 20, 10).await;
    let floor = publisher.head().unwrap().floor();

    let after = network();
    let owner = client(&after, OWNER);
    Publisher::create(&owner, manifest(), policy(10), key(1), after.now()).await.unwrap();
    let anew = steps(None, &[10, 10, 10], 2);
    for (step, shorter) in anew.iter().zip([true, false, false]) {
        put(&owner, &after, step).await.unwrap();
        let reader = Reader::open(&owner, manifest().feed(), all_keys, after.now()).await.unwrap();
        match reader.with_floor(floor).head(after.now()).await {
            Err(ReadError::RolledBack { size: 10, .. }) if shorter => {}
            Err(ReadError::NotAnExtension { .. }) if !shorter => {}
            other => panic!("not noticed: {other:?}"),
        }
    }
    let mut innocent = Reader::open(&owner, manifest().feed(), all_keys, after.now()).await.unwrap();
    assert!(innocent.head(after.now()).await.is_ok(), "nothing but a floor tells");
}

#[tokio::test]
async fn a_former_reader_reads_nothing_new() {
    let network = network();
    let owner = client(&network, OWNER);
    let mut publisher = published(&network, &owner, 20, 10).await;
    publisher.set_key(key(2)).unwrap();
    extend(&network, &owner, &mut publisher, 20..40).await;
    let now = network.now();
    let stranger = client(&network, STRANGER);
    let former = |epoch: u64| (epoch == 1).then(|| secret(1));
    let mut reader = Reader::open(&stranger, manifest().feed(), former, now).await.unwrap();
    assert_eq!(reader.range(0..20, now).await.unwrap().len(), 20, "what it could read it can still read");
    assert!(matches!(reader.latest(now).await, Err(ReadError::Unreadable { epoch: 2 })));
    // Nor does the old key open the new epoch's segments.
    let stubborn = |_: u64| Some(secret(1));
    let mut reader = Reader::open(&stranger, manifest().feed(), stubborn, now).await.unwrap();
    assert!(matches!(reader.range(20..30, now).await, Err(ReadError::Sealed { segment: 2 })));
}

#[test]
fn a_hash_does_not_tell_a_reading() {
    // The same readings under the same epoch key: whoever guesses a reading cannot try it against a public hash.
    let (a, b) = (&steps(None, &[4], 1)[0].segment, &steps(None, &[4], 2)[0].segment);
    assert_eq!((a.count, a.first_time, a.last_time), (b.count, b.first_time, b.last_time));
    assert_ne!(a.added, b.added);
}
