//! Proofs of one blob that are old, or of which one lapses before the other, while nodes change: nothing is waited for without end, and
//! nothing whose lease goes on is lost.

use core::time::Duration;

use dt_dht::testing::Fault;
use dt_dht::{LEASE, QuorumCertificate, ReplyBody};

use dt_model::Signer;

use super::handover::Cluster;
use super::unproven::{ALL, Blob, NEW, OLD, certificate, change, cluster_start, ends, found, listed, stop};

/// One node alone comes with the proof of an epoch whose replicas have left. It may have kept it back, so it is no proof to others.
#[tokio::test]
async fn an_old_proof_at_one_node_is_none() {
    let mut cluster = Cluster::new(&OLD);
    let blob = Blob::new(&cluster, b"passed by");
    let proof = certificate(blob.put(&cluster, 0..4));
    let keeper = blob.places(&cluster)[0];
    assert_eq!(blob.hand_certificate(&cluster, keeper, &proof), ReplyBody::CertificateKept);
    // The change passes by without him; the blob is taken over, since it is to be had.
    stop(&cluster, &[keeper]);
    let others: Vec<usize> = ALL.into_iter().filter(|at| *at != keeper).collect();
    change(&mut cluster, &[keeper, 4, 5, 6]);
    assert!(ends(&mut cluster, &others).await);
    assert!(cluster.membership.binding_since() > 1, "the first group has left");

    cluster.in_process.start(&cluster.nodes[keeper].party());
    cluster.advance(Duration::from_secs(2 * 3600));
    cluster.finish(&ALL).await;
    assert_eq!(listed(&cluster, keeper, &blob.blob), Some(cluster_start(&proof)));
    for at in [4, 5, 6] {
        assert_eq!(listed(&cluster, at, &blob.blob), Some(0), "node {at}");
    }
    // Nor in the next change, which he does not hold up.
    change(&mut cluster, &[4, 5, 6, 7]);
    assert!(ends(&mut cluster, &ALL).await);
    for at in [4, 5, 6, 7] {
        assert_eq!(listed(&cluster, at, &blob.blob), Some(0), "node {at}");
    }
    stop(&cluster, &OLD);
    assert!(found(&cluster, &blob.blob).await);
}

/// The blob's shards are stored twice, half a lease apart: the proofs of both times. Then it is so long before the first one lapses.
fn twice_proven(
    cluster: &mut Cluster,
    blob: &Blob,
    left: Duration,
) -> (QuorumCertificate, QuorumCertificate) {
    let first = certificate(blob.put(cluster, 0..4));
    cluster.advance(LEASE / 2);
    let second = certificate(blob.put(cluster, 0..4));
    assert!(cluster_start(&first) < cluster_start(&second));
    cluster.advance(LEASE / 2 - left);
    (first, second)
}

/// The one with the longer lease lies at one node alone; the other, at all others, lapses in the middle of the change.
#[tokio::test]
async fn the_proof_of_most_nodes_lapses_during_a_change() {
    for at_once in [true, false] {
        let mut cluster = Cluster::new(&OLD);
        let blob = Blob::new(&cluster, b"leased twice");
        let (short, long) = twice_proven(&mut cluster, &blob, Duration::from_secs(15));
        let places = blob.places(&cluster);
        for (at, place) in places.iter().enumerate() {
            let proof = if at == 0 { &long } else { &short };
            assert_eq!(blob.hand_certificate(&cluster, *place, proof), ReplyBody::CertificateKept);
        }
        change(&mut cluster, &NEW);
        if !at_once {
            // Some begin before it lapses, and take over what there is; others begin afterwards.
            cluster.finish(&[0, 1, 2, 3, 4, 5]).await;
        }
        cluster.advance(Duration::from_secs(60));
        assert!(has_lapsed(&cluster, &short) && !has_lapsed(&cluster, &long));
        assert!(ends(&mut cluster, &ALL).await, "at once: {at_once}");
        for at in NEW {
            assert_eq!(listed(&cluster, at, &blob.blob), Some(cluster_start(&long)), "node {at}");
        }
        stop(&cluster, &OLD);
        assert!(found(&cluster, &blob.blob).await, "at once: {at_once}");
    }
}

fn has_lapsed(cluster: &Cluster, proof: &QuorumCertificate) -> bool {
    Duration::from_millis(cluster.now.as_millis() - cluster_start(proof)) >= LEASE
}

/// Too few shards are left, and more nodes have a proof than may be passed by. The change waits as long as the proofs last. Where two are about,
/// nodes that have the shorter one take the longer, if they hear of it; if they do not, they give up before.
#[tokio::test]
async fn what_is_lost_is_waited_for_until_the_proofs_lapse() {
    for is_heard in [true, false] {
        let mut cluster = Cluster::new(&OLD);
        let blob = Blob::new(&cluster, b"lost");
        let hour = Duration::from_secs(3600);
        let (short, long) = twice_proven(&mut cluster, &blob, hour);
        let places = blob.places(&cluster);
        for at in &places[1..] {
            cluster.faulty.corrupt(cluster.nodes[*at].clone(), Fault::WithheldShards);
        }
        for (place, proof) in places.iter().zip([&short, &long]) {
            assert_eq!(blob.hand_certificate(&cluster, *place, proof), ReplyBody::CertificateKept);
        }
        change(&mut cluster, &NEW);
        let who: Vec<usize> = if is_heard { ALL.into() } else { NEW.into() };
        assert!(!ends(&mut cluster, &who).await, "two nodes say that it was acknowledged");
        cluster.advance(hour);
        assert!(has_lapsed(&cluster, &short) && !has_lapsed(&cluster, &long));
        assert_eq!(ends(&mut cluster, &who).await, !is_heard);
        cluster.advance(LEASE / 2);
        assert!(has_lapsed(&cluster, &long));
        assert!(!is_heard || ends(&mut cluster, &who).await);
    }
}
