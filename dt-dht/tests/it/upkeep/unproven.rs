//! What a hand-over waits for: blobs whose storage is proven, and no others, whatever writers and liars do.

use core::ops::Range;
use core::time::Duration;

use dt_dht::testing::Fault;
use dt_dht::{
    BlobRef, Holding, LEASE, Listing, Place, QuorumCertificate, Receipt, Refusal, Shard, UpkeepReply,
    UpkeepRequest, encode_stripe, verify_store,
};
use dt_model::{Envelope, PartyId};

use super::handover::{Cluster, parties, registered};
use super::*;

pub(super) const OLD: [usize; 4] = [0, 1, 2, 3];
pub(super) const NEW: [usize; 4] = [4, 5, 6, 7];
pub(super) const ALL: [usize; 8] = [0, 1, 2, 3, 4, 5, 6, 7];

/// A writer who speaks the protocol with his own hands.
pub(super) struct Blob {
    pub(super) blob: BlobRef,
    shards: Vec<bytes::Bytes>,
}

impl Blob {
    pub(super) fn new(cluster: &Cluster, content: &[u8]) -> Self {
        let (blob, shards) = encode_stripe(content, cluster.membership.resilience()).unwrap();
        Self { blob, shards }
    }

    /// The replicas of the present epoch, first choice first.
    pub(super) fn places(&self, cluster: &Cluster) -> Vec<usize> {
        let place = |party: PartyId| cluster.nodes.iter().position(|node| node.party() == party).unwrap();
        cluster.membership.replicas(&self.blob.address()).into_iter().map(place).collect()
    }

    /// Stores the shards of these replicas: their receipts.
    pub(super) fn put(&self, cluster: &Cluster, which: Range<usize>) -> Vec<Envelope<Receipt>> {
        let mut receipts = Vec::new();
        for (index, at) in (0u16..).zip(self.places(cluster)).take(which.end).skip(which.start) {
            let shard = Shard::from(self.shards[usize::from(index)].clone());
            let body = RequestBody::PutShard { blob: self.blob.clone(), index, shard };
            match tell(cluster, WRITER, at, body) {
                ReplyBody::ShardStored { receipt: Some(receipt) } => receipts.push(receipt),
                other => panic!("{other:?}"),
            }
        }
        receipts.sort_by_key(Envelope::signer);
        receipts
    }

    pub(super) fn hand_certificate(
        &self,
        cluster: &Cluster,
        at: usize,
        certificate: &QuorumCertificate,
    ) -> ReplyBody {
        let (blob, certificate) = (self.blob.address(), certificate.clone());
        tell(cluster, WRITER, at, RequestBody::KeepCertificate { blob, certificate })
    }
}

fn tell(cluster: &Cluster, seed: u64, at: usize, body: RequestBody) -> ReplyBody {
    send(cluster, &identity(seed), at, body)
}

fn send(cluster: &Cluster, from: &Identity, at: usize, body: RequestBody) -> ReplyBody {
    let replica = &cluster.replicas[at];
    let call = Call::new(from, &cluster.membership, replica.party(), [7; 16], cluster.now, body).unwrap();
    call.read(&replica.handle(call.bytes(), cluster.now)).unwrap()
}

pub(super) fn certificate(receipts: Vec<Envelope<Receipt>>) -> QuorumCertificate {
    QuorumCertificate { receipts }
}

pub(super) fn change(cluster: &mut Cluster, to: &[usize]) {
    let joint = cluster.membership.successor(registered(&cluster.nodes, to), parties()).unwrap();
    cluster.enter(joint);
}

/// Lets `who` work until enough new nodes have stated that they hold everything; whether they did, in about ten minutes.
pub(super) async fn ends(cluster: &mut Cluster, who: &[usize]) -> bool {
    for _ in 0..60 {
        cluster.finish(who).await;
        let is_next = |at: &usize| {
            cluster.membership.next_nodes().iter().any(|node| node.party == cluster.nodes[*at].party())
        };
        let asker = who.iter().copied().rfind(is_next).unwrap();
        if let Some(certificate) = cluster.tasks[asker].hand_over(cluster.now).await {
            certificate.verify(&cluster.membership).unwrap();
            let after = cluster.membership.complete().unwrap();
            cluster.enter(after);
            return true;
        }
        cluster.advance(Duration::from_secs(10));
    }
    false
}

pub(super) async fn found(cluster: &Cluster, blob: &BlobRef) -> bool {
    cluster.reader.get_blob(blob, cluster.now).await.is_ok()
}

pub(super) fn stop(cluster: &Cluster, which: &[usize]) {
    which.iter().for_each(|at| cluster.in_process.stop(&cluster.nodes[*at].party()));
}

/// A party that stores single shards, which restore nothing, at one node or at every one, holds up nothing.
#[tokio::test]
async fn a_shard_stored_alone() {
    for (count, new) in [(1, NEW), (4, NEW), (1, [1, 2, 3, 4]), (4, [1, 2, 3, 4])] {
        let mut cluster = Cluster::new(&OLD);
        let blobs: Vec<_> = (0..count).map(|number| Blob::new(&cluster, &[7, number])).collect();
        for (at, blob) in blobs.iter().enumerate() {
            blob.put(&cluster, at..at + 1);
        }
        change(&mut cluster, &new);
        assert!(ends(&mut cluster, &ALL).await, "{count} shards, {new:?}");
        for blob in &blobs {
            assert!(!found(&cluster, &blob.blob).await);
        }
    }
}

/// Nobody was given a promise; the new nodes take the blob over nevertheless, as far as they can.
#[tokio::test]
async fn a_certificate_kept_back() {
    let mut cluster = Cluster::new(&OLD);
    let (had, lost) = (Blob::new(&cluster, b"a"), Blob::new(&cluster, b"b"));
    let proof = certificate(had.put(&cluster, 0..4));
    proof.verify_blob(&cluster.membership, &had.blob.address()).unwrap();
    let receipts = lost.put(&cluster, 0..3);
    // One lies, and one has lost what it has receipted.
    let places = lost.places(&cluster);
    cluster.faulty.corrupt(cluster.nodes[places[0]].clone(), Fault::WithheldShards);
    cluster.in_process.stop(&cluster.nodes[places[1]].party());
    change(&mut cluster, &NEW);
    let who: Vec<usize> = ALL.into_iter().filter(|at| *at != places[1]).collect();
    assert!(ends(&mut cluster, &who).await);
    assert!(found(&cluster, &had.blob).await);

    // He comes with it when others hold the addresses: it is of an epoch that is over.
    let proof = certificate(receipts);
    proof.verify_blob(&cluster.membership, &lost.blob.address()).unwrap();
    for at in lost.places(&cluster) {
        let answer = lost.hand_certificate(&cluster, at, &proof);
        assert_eq!(answer, refused(Refusal::Outdated), "node {at}");
    }
    assert!(!found(&cluster, &lost.blob).await);
    stop(&cluster, &OLD);
    change(&mut cluster, &[3, 4, 5, 6, 7]);
    assert!(ends(&mut cluster, &NEW).await);
}

/// The writer breaks off with the certificate at one node: it is a proof as good as any, and is waited for while it leads anywhere.
#[tokio::test]
async fn a_certificate_at_one_node() {
    let mut cluster = Cluster::new(&OLD);
    let blob = Blob::new(&cluster, b"certified");
    let proof = certificate(blob.put(&cluster, 0..3));
    let places = blob.places(&cluster);
    assert_eq!(blob.hand_certificate(&cluster, places[0], &proof), ReplyBody::CertificateKept);
    cluster.faulty.corrupt(cluster.nodes[places[1]].clone(), Fault::WithheldShards);
    change(&mut cluster, &NEW);
    assert!(ends(&mut cluster, &ALL).await);
    for at in blob.places(&cluster) {
        assert_eq!(listed(&cluster, at, &blob.blob), Some(cluster_start(&proof)), "node {at}");
    }
    stop(&cluster, &OLD);
    assert!(found(&cluster, &blob.blob).await);
}

pub(super) fn cluster_start(proof: &QuorumCertificate) -> u64 {
    proof.receipts[0].clone().open().unwrap().time.as_millis()
}

/// Since when node `at` says that the blob is proven to be stored; `None` if it does not list it.
pub(super) fn listed(cluster: &Cluster, at: usize, blob: &BlobRef) -> Option<u64> {
    let other = cluster
        .membership
        .replicas(&blob.address())
        .into_iter()
        .find(|party| *party != cluster.nodes[at].party())
        .unwrap();
    let other = cluster.nodes.iter().find(|node| node.party() == other).unwrap();
    let request = UpkeepRequest::List { after: None, until: None };
    match send(cluster, other, at, RequestBody::Upkeep { request }) {
        ReplyBody::Upkeep { reply: UpkeepReply::Listing(Listing { holdings, .. }) } => holdings
            .iter()
            .find(|held| held.address == blob.address() && held.place == Place::Shard)
            .map(|held: &Holding| held.version),
        other => panic!("{other:?}"),
    }
}

/// k of the old nodes say that they have no proof, k others are silent for long: what was acknowledged is not lost. Twice over, so that
/// the proof of the first epoch is an old one in the second change.
#[tokio::test]
async fn liars_say_that_nothing_is_proven() {
    for fault in [Fault::DeniedProofs, Fault::WithheldShards, Fault::Pretend, Fault::Silent, Fault::Replay] {
        let mut cluster = Cluster::new(&OLD);
        cluster.faulty.corrupt(cluster.nodes[0].clone(), fault);
        let mut blobs = Vec::new();
        // With one down the liar's word is needed; who is silent gives none.
        let is_needed = !matches!(fault, Fault::Silent | Fault::Replay);
        stop(&cluster, if is_needed { &OLD[3..] } else { &[] });
        for length in [0usize, 10, 3000] {
            blobs.push(cluster.writer.put_blob(&vec![5; length], cluster.now).await.unwrap());
        }
        cluster.in_process.add(cluster.replicas[3].clone());
        change(&mut cluster, &NEW);
        // Two nodes of each group do nothing for the new ones: with k = 1 the hand-over has to wait.
        cluster.in_process.stop(&cluster.nodes[1].party());
        let is_over = ends(&mut cluster, &[4, 5, 6]).await;
        assert!(!is_over || !matches!(fault, Fault::WithheldShards | Fault::Pretend), "{fault:?}");
        let replica = cluster.replicas[1].clone();
        cluster.in_process.add(replica);
        assert!(is_over || ends(&mut cluster, &ALL).await, "{fault:?}");
        for blob in &blobs {
            assert!(found(&cluster, blob).await, "{fault:?}");
        }
        cluster.finish(&NEW).await;
        stop(&cluster, &OLD);
        cluster.faulty.corrupt(cluster.nodes[5].clone(), fault);
        change(&mut cluster, &[0, 1, 2, 3]);
        OLD.iter().for_each(|at| cluster.in_process.add(cluster.replicas[*at].clone()));
        cluster.faulty.heal(&cluster.nodes[0].party());
        assert!(ends(&mut cluster, &ALL).await, "{fault:?}");
        stop(&cluster, &NEW);
        for blob in &blobs {
            assert!(found(&cluster, blob).await, "{fault:?}");
        }
        cluster.stores.iter().for_each(|store| assert!(verify_store(&**store).is_ok()));
    }
}

/// What no honest writer hands over is refused, and leaves nothing behind.
#[tokio::test]
async fn certificates_that_prove_nothing() {
    let mut cluster = Cluster::new(&OLD);
    let (blob, other) = (Blob::new(&cluster, b"one"), Blob::new(&cluster, b"other"));
    let receipts = blob.put(&cluster, 0..4);
    let quorum = |receipts: &[Envelope<Receipt>]| certificate(receipts.to_vec());
    let (at, address) = (blob.places(&cluster)[0], blob.blob.address());
    let hand = |cluster: &Cluster, proof| blob.hand_certificate(cluster, at, &proof);
    let refuses = |cluster: &Cluster, proof, refusal| {
        assert_eq!(hand(cluster, proof), refused(refusal));
        assert_eq!(listed(cluster, at, &blob.blob), Some(0));
    };
    let signed = |seed: u64, receipt: Receipt| Signed::new(receipt, &identity(seed)).unwrap().into_envelope();
    let plain = receipts[0].clone().open().unwrap().into_value();
    refuses(&cluster, quorum(&[]), Refusal::Outdated);
    refuses(&cluster, quorum(&receipts[..2]), Refusal::Unproven);
    refuses(&cluster, quorum(&[&receipts[..2], &receipts[1..2]].concat()), Refusal::Unproven);
    let stranger = signed(STRANGER, plain.clone());
    refuses(&cluster, quorum(&[&receipts[..2], &[stranger]].concat()), Refusal::Unproven);
    let many: Vec<_> = (0..1000).map(|seed| signed(seed, plain.clone())).collect();
    refuses(&cluster, quorum(&many), Refusal::Unproven);
    // A signature that is none.
    let mut bytes = dt_model::codec::encode(&receipts[0]);
    bytes[40] ^= 1;
    let forged: Envelope<Receipt> = dt_model::codec::decode(&bytes, 1024).unwrap();
    refuses(&cluster, quorum(&[&[forged], &receipts[1..3]].concat()), Refusal::Unproven);
    // Receipts that were collected over months: the first of these nodes may have swept its shard.
    let at_times = |seed: u64| {
        let time = plain.time.saturating_add(LEASE / 2 * u32::from(seed == 500));
        signed(seed, Receipt { time, ..plain.clone() })
    };
    let mut spread: Vec<_> = (500..504).map(at_times).collect();
    spread.sort_by_key(Envelope::signer);
    refuses(&cluster, quorum(&spread), Refusal::Unproven);
    // Of another address; and at a node that holds no shard.
    let others = certificate(other.put(&cluster, 0..3));
    refuses(&cluster, others.clone(), Refusal::WrongAddress);
    let last = other.places(&cluster)[3];
    assert_eq!(other.hand_certificate(&cluster, last, &others), refused(Refusal::Superseded));
    // Whose lease is over.
    let before = cluster.now;
    cluster.now = before.saturating_add(LEASE);
    refuses(&cluster, quorum(&receipts[..3]), Refusal::Outdated);
    cluster.now = before;
    // Sound; and again, and in the next epoch.
    assert_eq!(hand(&cluster, quorum(&receipts[..3])), ReplyBody::CertificateKept);
    assert_eq!(hand(&cluster, quorum(&receipts[1..])), ReplyBody::CertificateKept);
    change(&mut cluster, &[0, 1, 2, 3, 4]);
    let groups = cluster.membership.groups(&address);
    let answer = hand(&cluster, quorum(&receipts[..3]));
    assert_eq!(answer, refused(Refusal::Outdated), "{groups:?}");
    cluster.stores.iter().for_each(|store| assert!(verify_store(&**store).is_ok()));
}

/// A certificate lapses with the lease that began with it, so that who renews leases at one node alone, of each blob at another one, holds
/// up nothing.
#[tokio::test]
async fn leases_renewed_at_one_node() {
    let mut cluster = Cluster::new(&OLD);
    let blobs: Vec<_> = (0u8..4).map(|number| Blob::new(&cluster, &[number; 99])).collect();
    for blob in &blobs {
        let proof = certificate(blob.put(&cluster, 0..4));
        for at in blob.places(&cluster) {
            assert_eq!(blob.hand_certificate(&cluster, at, &proof), ReplyBody::CertificateKept);
        }
    }
    cluster.advance(LEASE - Duration::from_secs(60));
    for (at, blob) in blobs.iter().enumerate() {
        let index = u16::try_from(at).unwrap();
        let renewal = RequestBody::RenewShard { blob: blob.blob.address(), index };
        assert!(is_stored(&tell(&cluster, WRITER, blob.places(&cluster)[at], renewal)));
    }
    cluster.advance(Duration::from_secs(120));
    for replica in &cluster.replicas {
        assert!(replica.sweep(None, 1000, cluster.now).unwrap().is_over);
    }
    for (at, blob) in blobs.iter().enumerate() {
        let since = listed(&cluster, blob.places(&cluster)[at], &blob.blob);
        assert!(since.is_some_and(|since| since > 0));
    }
    change(&mut cluster, &NEW);
    assert!(ends(&mut cluster, &ALL).await);
}

/// A put, a renewal and a put that was broken off hand the certificate to a quorum.
#[tokio::test]
async fn what_is_acknowledged_is_proven_at_a_quorum() {
    let mut cluster = Cluster::new(&[0, 1, 2, 3, 4]);
    let blob = cluster.writer.put_blob(b"acknowledged", cluster.now).await.unwrap();
    let places: Vec<usize> = {
        let place = |party: PartyId| cluster.nodes.iter().position(|node| node.party() == party).unwrap();
        cluster.membership.replicas(&blob.address()).into_iter().map(place).collect()
    };
    let since =
        |cluster: &Cluster| -> Vec<_> { places.iter().map(|at| listed(cluster, *at, &blob)).collect() };
    let first = cluster.now.as_millis();
    assert_eq!(since(&cluster), [Some(first); 4]);
    // Soon afterwards nothing is written; later the proof is replaced.
    cluster.advance(Duration::from_secs(60));
    let again = cluster.writer.put_blob(b"acknowledged", cluster.now).await.unwrap();
    assert_eq!((again, since(&cluster)), (blob.clone(), vec![Some(first); 4]));
    cluster.advance(LEASE / 2);
    cluster.writer.put_blob(b"acknowledged", cluster.now).await.unwrap();
    assert_eq!(since(&cluster), [Some(cluster.now.as_millis()); 4]);
}
