//! Blobs as streams: any length, any range, resumed after any break, with bounded memory.

use std::collections::BTreeSet;

use dt_dht::testing::{Fault, Network};
use dt_dht::{
    Address, BlobError, BlobRef, Checkpoint, Client, GetError, PutError, RequestBody, Resilience,
    STRIPE_BYTES, STRIPES_IN_FLIGHT, decode_stripe, encode_stripe,
};
use dt_model::{Digest, Signer, Timestamp, codec};
use futures_util::FutureExt;

use crate::spy::{Asked, Spy};
use crate::support::*;

const STRIPE: u64 = STRIPE_BYTES as u64;

/// Bytes without a pattern, so that no stripe is like another.
fn content(length: u64) -> Vec<u8> {
    let mut content = vec![0; usize::try_from(length).unwrap()];
    blake3::Hasher::new().finalize_xof().fill(&mut content);
    content
}

async fn read(client: &Client, blob: &BlobRef, range: core::ops::Range<u64>, now: Timestamp) -> Vec<u8> {
    let (mut reader, mut found) = (client.read_blob(blob, range.clone()).unwrap(), Vec::new());
    while let Some(piece) = reader.next(now).await.unwrap() {
        assert!(!piece.is_empty());
        found.extend_from_slice(&piece);
        assert_eq!(reader.position(), range.start + found.len() as u64);
    }
    found
}

#[tokio::test]
async fn every_length_around_a_stripe_is_read_back() {
    for (max_faulty, lengths) in [
        (0, vec![0, 1, STRIPE, STRIPE + 1]),
        (1, vec![0, 1, 2, STRIPE - 1, STRIPE, STRIPE + 1, STRIPE + 2, 2 * STRIPE, 3 * STRIPE + 12_345]),
        (2, vec![STRIPE - 1, STRIPE, STRIPE + 1, 5 * STRIPE]),
    ] {
        let network = network(max_faulty);
        let (client, now) = (client(&network, WRITER), network.now());
        for length in lengths {
            let whole = content(length);
            let blob = client.put_blob(&whole, now).await.unwrap();
            assert_eq!(blob, BlobRef::of(&whole, network.membership().resilience()).unwrap());
            assert_eq!((blob.length(), blob.is_indexed()), (length, length > STRIPE));
            assert_eq!(blob.stripes(), length.div_ceil(STRIPE).max(1));
            assert!(client.get_blob(&blob, now).await.unwrap() == whole, "{length}");
        }
    }
}

/// It does not matter in what pieces the content comes.
#[tokio::test]
async fn pieces_make_no_difference() {
    let network = network(1);
    let (client, now) = (client(&network, WRITER), network.now());
    let whole = content(2 * STRIPE + 77);
    let expected = BlobRef::of(&whole, network.membership().resilience()).unwrap();
    for size in [1000, 65_537, STRIPE_BYTES - 1, STRIPE_BYTES, STRIPE_BYTES + 1, 3 * STRIPE_BYTES] {
        let mut writer = client.write_blob().unwrap();
        for piece in whole.chunks(size) {
            writer.write(piece, now).await.unwrap();
            let progress = writer.progress();
            assert!(progress.stored <= progress.taken);
        }
        assert_eq!(writer.progress().taken, whole.len() as u64);
        assert_eq!(writer.finish(now).await.unwrap(), expected, "{size}");
        assert_eq!(writer.progress().stored, whole.len() as u64);
        assert!(matches!(writer.write(b"more", now).await, Err(PutError::BrokenOff)));
        assert!(matches!(writer.finish(now).await, Err(PutError::BrokenOff)));
    }
}

/// The addresses of the stripes that nodes were asked for.
fn asked_for(spy: &Spy) -> BTreeSet<Address> {
    let address = |(_, asked)| match asked {
        Asked::GetShard(address, _) => Some(address),
        _ => None,
    };
    spy.take_log().into_iter().filter_map(address).collect()
}

#[tokio::test]
async fn any_range_is_read_from_its_stripes_alone() {
    let network = network(1);
    let spy = Spy::new(&network);
    let (client, now) = (spy.client(&network, WRITER), network.now());
    let length = 4 * STRIPE + 100;
    let whole = content(length);
    let blob = client.put_blob(&whole, now).await.unwrap();
    let half = STRIPE / 2;
    let borders =
        [0, 1, half - 1, half, half + 1, STRIPE - 1, STRIPE, STRIPE + 1, 3 * STRIPE, 4 * STRIPE, length];
    for start in borders {
        for end in borders.into_iter().filter(|end| start <= *end) {
            spy.take_log();
            let found = read(&client, &blob, start..end, now).await;
            assert!(found == whole[usize::try_from(start).unwrap()..usize::try_from(end).unwrap()]);
            let stripes = if start == end { 0 } else { end.div_ceil(STRIPE) - start / STRIPE + 1 };
            assert_eq!(asked_for(&spy).len() as u64, stripes, "the index, and the stripes of the range");
        }
    }
    for range in
        [0..length + 1, length + 1..length + 1, u64::MAX..u64::MAX, core::ops::Range { start: 2, end: 1 }]
    {
        let refused = client.read_blob(&blob, range.clone()).err();
        assert!(matches!(refused, Some(GetError::Blob(BlobError::OutOfRange { .. }))), "{range:?}");
    }
}

#[tokio::test]
async fn a_reader_seeks_without_the_index_again() {
    let network = network(1);
    let spy = Spy::new(&network);
    let (client, now) = (spy.client(&network, WRITER), network.now());
    let whole = content(3 * STRIPE);
    let blob = client.put_blob(&whole, now).await.unwrap();
    let mut reader = client.read_blob(&blob, 0..10).unwrap();
    assert_eq!(reader.next(now).await.unwrap().unwrap(), whole[..10]);
    assert_eq!(reader.next(now).await.unwrap(), None);
    spy.take_log();
    reader.seek(2 * STRIPE..2 * STRIPE + 5).unwrap();
    let at = 2 * STRIPE_BYTES;
    assert_eq!(reader.next(now).await.unwrap().unwrap(), whole[at..at + 5]);
    assert_eq!(asked_for(&spy).len(), 1, "one stripe, and no index");
    assert!(reader.seek(0..blob.length() + 1).is_err());
    assert_eq!(reader.position(), 2 * STRIPE + 5);
}

/// Whatever request the network breaks at: the put goes on at its checkpoint, and nothing that a replica took is sent again.
#[tokio::test]
async fn a_put_goes_on_after_a_break_at_every_message() {
    let whole = content(5 * STRIPE + 1000);
    let expected = BlobRef::of(&whole, Resilience::tolerating(1).unwrap()).unwrap();
    let mut breaks = 0;
    loop {
        let network = network(1);
        let spy = Spy::new(&network);
        let (client, now) = (spy.client(&network, WRITER), network.now());
        spy.break_after(breaks);
        let mut writer = client.write_blob().unwrap();
        let mut put = writer.write(&whole, now).await.err();
        if put.is_none() {
            put = writer.finish(now).await.err();
        }
        if put.is_none() {
            break;
        }
        assert!(matches!(put, Some(PutError::NoQuorum { .. })), "{put:?}");
        assert!(matches!(writer.finish(now).await, Err(PutError::BrokenOff)));
        let (checkpoint, progress) = (writer.checkpoint(), writer.progress());
        assert!(checkpoint.length() <= progress.stored);
        drop(writer);
        // As it would be kept on disk.
        let checkpoint: Checkpoint = codec::decode(&codec::encode(&checkpoint), 1 << 20).unwrap();

        spy.break_after(usize::MAX);
        let at = usize::try_from(checkpoint.length()).unwrap();
        let mut writer = client.resume_blob(checkpoint).unwrap();
        writer.write(&whole[at..], now).await.unwrap();
        assert_eq!(writer.finish(now).await.unwrap(), expected, "after {breaks} messages");
        let log = spy.take_log();
        let sent: Vec<_> = log.iter().filter(|(_, asked)| matches!(asked, Asked::PutShard(..))).collect();
        assert_eq!(sent.iter().collect::<BTreeSet<_>>().len(), sent.len(), "after {breaks} messages");
        assert!(client.get_blob(&expected, now).await.unwrap() == whole);
        breaks += 1;
    }
    // Six stripes and the index, four replicas each, of a shard and its proof; the last message may be missing.
    assert_eq!(breaks, 55);
}

/// Without a checkpoint, too: from the start, but only what is missing is sent.
#[tokio::test]
async fn a_put_without_a_checkpoint_sends_only_what_is_missing() {
    let network = network(1);
    let spy = Spy::new(&network);
    let (client, now) = (spy.client(&network, WRITER), network.now());
    let whole = content(3 * STRIPE);
    let blob = client.put_blob(&whole, now).await.unwrap();
    spy.take_log();
    let mut writer = client.resume_blob(Checkpoint::start(network.membership().resilience())).unwrap();
    writer.write(&whole, now).await.unwrap();
    assert_eq!(writer.finish(now).await.unwrap(), blob);
    let log = spy.take_log();
    let renewed = log.iter().filter(|(_, asked)| matches!(asked, Asked::RenewShard(..))).count();
    let proven = log.iter().filter(|(_, asked)| matches!(asked, Asked::KeepCertificate(..))).count();
    assert_eq!((renewed, proven, log.len()), (16, 16, 32));
}

#[tokio::test]
async fn a_get_goes_on_after_a_break_at_every_message() {
    let network = network(1);
    let spy = Spy::new(&network);
    let (client, now) = (spy.client(&network, WRITER), network.now());
    let whole = content(5 * STRIPE + 1000);
    let blob = client.put_blob(&whole, now).await.unwrap();
    for breaks in 0..28 {
        spy.break_after(breaks);
        let (mut reader, mut found) = (client.read_blob(&blob, 0..blob.length()).unwrap(), Vec::new());
        let mut broken = 0;
        loop {
            match reader.next(now).await {
                Ok(Some(piece)) => found.extend_from_slice(&piece),
                Ok(None) => break,
                Err(GetError::Blob(BlobError::TooFewShards { .. })) => {
                    broken += 1;
                    assert_eq!(reader.position(), found.len() as u64);
                    spy.break_after(usize::MAX);
                }
                Err(other) => panic!("{other:?}"),
            }
        }
        assert!(found == whole && broken <= 1, "after {breaks} messages");
    }
}

#[tokio::test]
async fn checkpoints_are_of_one_resilience() {
    let network = network(1);
    let client = client(&network, WRITER);
    let other = Checkpoint::start(Resilience::tolerating(2).unwrap());
    let refused = client.resume_blob(other).err();
    assert!(matches!(refused, Some(PutError::Blob(BlobError::OtherResilience))), "{refused:?}");
    let read = |digests: usize| {
        let bytes = codec::encode(&(Resilience::tolerating(1).unwrap(), vec![Digest::ZERO; digests]));
        codec::decode::<Checkpoint>(&bytes, 1 << 24).map(|checkpoint| checkpoint.length())
    };
    assert_eq!(read(8), Ok(2 * STRIPE));
    assert!(read(7).is_err());
    assert!(read(4 * 4097).is_err());
}

/// Puts shards made by hand at their replicas.
fn plant(network: &Network, blob: &BlobRef, shards: &[impl AsRef<[u8]>]) {
    for ((node, shard), index) in network.replicas(&blob.address()).iter().zip(shards).zip(0..) {
        let shard = bytes::Bytes::copy_from_slice(shard.as_ref()).into();
        let body = RequestBody::PutShard { blob: blob.clone(), index, shard };
        assert!(is_stored(&ask(network, WRITER, node, body)));
    }
}

/// A reference with any digests, as only a malicious writer makes it.
fn forge(length: u64, shards: &[impl AsRef<[u8]>]) -> BlobRef {
    let digest =
        |shard: &[u8]| dt_model::Domain::new("dt/dht/shard/v1").blake3(&[blake3::hash(shard).as_bytes()]);
    let digests: Vec<Digest> = shards.iter().map(|shard| digest(shard.as_ref())).collect();
    codec::decode(&codec::encode(&(length, 2u16, digests)), 1 << 20).unwrap()
}

fn index_of(stripes: &[&BlobRef]) -> Vec<u8> {
    let digests = stripes.iter().flat_map(|stripe| stripe.shards());
    digests.flat_map(|digest| *digest.as_bytes()).collect()
}

/// Any two of four nodes may be those that answer; the verdict is always the same.
async fn verdicts(network: &Network, blob: &BlobRef) -> BTreeSet<String> {
    let mut verdicts = BTreeSet::new();
    for first in 0..4 {
        for second in 0..first {
            let stopped: Vec<_> = [first, second].map(|at: usize| network.nodes()[at].party()).into();
            stopped.iter().for_each(|node| network.in_process().stop(node));
            let found = client(network, READER).get_blob(blob, network.now()).await;
            verdicts.insert(format!("{found:?}"));
            stopped.iter().for_each(|node| network.in_process().start(node));
        }
    }
    verdicts
}

#[tokio::test]
async fn an_inconsistent_stripe_or_index_has_one_verdict() {
    let network = network(1);
    let (resilience, whole) = (network.membership().resilience(), content(2 * STRIPE));
    let (one, one_shards) = encode_stripe(&whole[..STRIPE_BYTES], resilience).unwrap();
    let (two, two_shards) = encode_stripe(&whole[STRIPE_BYTES..], resilience).unwrap();
    let bad = BTreeSet::from(["Err(Blob(BadEncoding))".to_owned()]);

    // One stripe is of two contents.
    let mixed = [one_shards[0].clone(), one_shards[1].clone(), two_shards[2].clone(), two_shards[3].clone()];
    let stripe = forge(STRIPE, &mixed);
    let (_, index) = encode_stripe(&index_of(&[&one, &stripe]), resilience).unwrap();
    let blob = forge(2 * STRIPE, &index);
    plant(&network, &one, &one_shards);
    plant(&network, &stripe, &mixed);
    plant(&network, &blob, &index);
    assert_eq!(verdicts(&network, &blob).await, bad);
    let sound = read(&client(&network, READER), &blob, 0..STRIPE, network.now()).await;
    assert!(sound == whole[..STRIPE_BYTES], "other stripes are none the worse");

    // The index is two indexes.
    plant(&network, &two, &two_shards);
    let (_, a) = encode_stripe(&index_of(&[&one, &two]), resilience).unwrap();
    let (_, b) = encode_stripe(&index_of(&[&two, &one]), resilience).unwrap();
    let mixed = [a[0].clone(), a[1].clone(), b[2].clone(), b[3].clone()];
    let blob = forge(2 * STRIPE, &mixed);
    plant(&network, &blob, &mixed);
    assert_eq!(verdicts(&network, &blob).await, bad);
}

#[tokio::test]
async fn lengths_that_disagree_hide_nothing() {
    let network = network(1);
    let (resilience, whole) = (network.membership().resilience(), content(STRIPE + 1000));
    let (one, one_shards) = encode_stripe(&whole[..STRIPE_BYTES], resilience).unwrap();
    let (two, two_shards) = encode_stripe(&whole[STRIPE_BYTES..], resilience).unwrap();
    plant(&network, &one, &one_shards);
    plant(&network, &two, &two_shards);
    let (_, index) = encode_stripe(&index_of(&[&one, &two]), resilience).unwrap();
    let sound = forge(STRIPE + 1000, &index);
    plant(&network, &sound, &index);
    assert!(client(&network, READER).get_blob(&sound, network.now()).await.unwrap() == whole);

    // The blob claims to be shorter or longer than its stripes: those lie at other addresses.
    for length in [STRIPE + 1, STRIPE + 999, STRIPE + 1001, 2 * STRIPE] {
        let blob = forge(length, &index);
        plant(&network, &blob, &index);
        let absent = BTreeSet::from(["Err(Blob(TooFewShards { found: 0, needed: 2 }))".to_owned()]);
        assert_eq!(verdicts(&network, &blob).await, absent, "{length}");
    }
    // Even if they were put there: what is behind the length is no padding.
    let stripe = forge(999, &two_shards);
    plant(&network, &stripe, &two_shards);
    let blob = forge(STRIPE + 999, &index);
    assert_eq!(verdicts(&network, &blob).await, BTreeSet::from(["Err(Blob(BadEncoding))".to_owned()]));

    // The index is of fewer stripes, or of more, than the length says: its shards have another length.
    for length in [STRIPE, 2 * STRIPE + 1] {
        let blob = forge(length, &index);
        let replicas = network.replicas(&blob.address());
        let body = RequestBody::PutShard { blob: blob.clone(), index: 0, shard: index[0].clone().into() };
        assert_eq!(ask(&network, WRITER, &replicas[0], body), refused(dt_dht::Refusal::Inconsistent));
        let given = index.iter().zip(0..).map(|(shard, at)| (at, &shard[..]));
        assert_eq!(decode_stripe(&blob, given), Err(BlobError::TooFewShards { found: 0, needed: 2 }));
    }
}

/// Stripes that are swapped in the index make another blob, and nobody can swap those of a blob that is named.
#[tokio::test]
async fn another_index_is_another_blob() {
    let network = network(1);
    let (client, now) = (client(&network, WRITER), network.now());
    let whole = content(2 * STRIPE);
    let blob = client.put_blob(&whole, now).await.unwrap();
    let swapped =
        client.put_blob(&[&whole[STRIPE_BYTES..], &whole[..STRIPE_BYTES]].concat(), now).await.unwrap();
    assert_ne!(blob.address(), swapped.address());
    assert_eq!(blob.length(), swapped.length());
    for node in network.nodes().iter().take(1) {
        for fault in [Fault::CorruptShards, Fault::WithheldShards, Fault::Replay, Fault::Zeros] {
            network.corrupt(node, fault);
            assert!(client.get_blob(&blob, now).await.unwrap() == whole, "{fault:?}");
        }
    }
}

/// A network that never answers is sent no more than the stated number of stripes.
#[tokio::test]
async fn a_writer_waits_when_nobody_answers() {
    let network = network(1);
    network.nodes().iter().for_each(|node| network.corrupt(node, Fault::Hanging));
    let spy = Spy::new(&network);
    let (client, now) = (spy.client(&network, WRITER), network.now());
    let mut writer = client.write_blob().unwrap();
    let whole = content(10 * STRIPE);
    assert!(writer.write(&whole, now).now_or_never().is_none(), "it waits");
    assert_eq!(spy.take_log().len(), 4 * STRIPES_IN_FLIGHT);
    assert_eq!(writer.progress().stored, 0);
    // The future was dropped, so nobody knows how much of the piece was taken.
    assert!(matches!(writer.write(b"x", now).await, Err(PutError::BrokenOff)));

    let mut reader = client
        .read_blob(&BlobRef::of(&whole[..10], network.membership().resilience()).unwrap(), 0..10)
        .unwrap();
    assert!(reader.next(now).now_or_never().is_none());
}

/// One replica that takes nothing stalls nobody, and what it is sent in vain does not pile up.
#[tokio::test]
async fn a_hanging_replica_does_not_stall_a_writer() {
    let network = network(1);
    let slow = network.nodes()[0].clone();
    network.corrupt(&slow, Fault::Hanging);
    let spy = Spy::new(&network);
    let (client, now) = (spy.client(&network, WRITER), network.now());
    let whole = content(20 * STRIPE);
    let blob = client.put_blob(&whole, now).await.unwrap();
    let log = spy.take_log();
    let sent = log.iter().filter(|(node, _)| *node == slow.party()).count();
    assert!(sent <= STRIPES_IN_FLIGHT + 2, "{sent}");
    // A shard and its proof.
    assert_eq!(log.len() - sent, 2 * 3 * 21);
    network.faulty().heal(&slow.party());
    assert!(client.get_blob(&blob, now).await.unwrap() == whole);
}

/// Two that hang are more than k: then the writer waits for them.
#[tokio::test]
async fn a_quorum_is_never_spared() {
    let network = with_nodes(Resilience::new(5, 1).unwrap(), 5, &[]);
    let (client, now) = (client(&network, WRITER), network.now());
    network.nodes()[..2].iter().for_each(|node| network.corrupt(node, Fault::Hanging));
    assert!(client.put_blob(&content(20 * STRIPE), now).now_or_never().is_none());
}

/// What a blob costs on the nodes' disks, beside keeping it whole at every replica.
#[test]
fn storage_per_byte_written() {
    let whole = content(8 * STRIPE);
    for max_faulty in [1u16, 2, 3] {
        let network = network(max_faulty);
        client(&network, WRITER).put_blob(&whole, network.now()).now_or_never().unwrap().unwrap();
        let rows = |node: &std::sync::Arc<dt_model::Identity>| {
            let rows = network.replica(&node.party()).store().scan(&[], None, usize::MAX).unwrap();
            rows.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>()
        };
        let stored: usize = network.nodes().iter().map(rows).sum();
        let thousandths = stored * 1000 / whole.len();
        let (replicas, data) = (3 * usize::from(max_faulty) + 1, usize::from(max_faulty) + 1);
        println!(
            "k = {max_faulty}: {}.{:03} bytes stored per byte written, {replicas} with full replication",
            thousandths / 1000,
            thousandths % 1000,
        );
        let least = 1000 * replicas / data;
        assert!((least..least + least / 100).contains(&thousandths), "within a hundredth of n / (k + 1)");
    }
}

/// While nodes hand over, a blob is stored for the old and for the new order of replicas, and read from either.
#[tokio::test]
async fn a_blob_outlives_a_change_of_nodes() {
    let network = with_nodes(Resilience::tolerating(1).unwrap(), 6, &[]);
    let old = network.membership().clone();
    let leaving = network.nodes()[0].party();
    let staying = old.nodes().iter().filter(|node| node.party != leaving).cloned().collect();
    let joint = old.successor(staying, old.parties().clone()).unwrap();
    let new = joint.complete().unwrap();
    let client = client(&network, WRITER).with_timer(std::sync::Arc::new(Instant));
    let enter = |membership: &dt_dht::Membership| {
        client.update_membership(membership.clone());
        network.nodes().iter().for_each(|node| {
            network.replica(&node.party()).update_membership(membership.clone());
        });
    };
    let now = network.now();
    for number in 0..20u64 {
        let whole = number.to_be_bytes();
        enter(&old);
        let before = client.put_blob(&whole, now).await.unwrap();
        enter(&joint);
        assert_eq!(client.get_blob(&before, now).await.unwrap(), &whole[..]);
        let blob = client.put_blob(&whole[1..], now).await.unwrap();
        for membership in [&old, &joint, &new] {
            enter(membership);
            for down in network.nodes() {
                network.in_process().stop(&down.party());
                assert_eq!(client.get_blob(&blob, now).await.unwrap(), &whole[1..]);
                network.in_process().start(&down.party());
            }
        }
    }
}

/// Time that does not pass.
struct Instant;

#[async_trait::async_trait]
impl dt_dht::Timer for Instant {
    fn elapsed(&self) -> core::time::Duration {
        core::time::Duration::ZERO
    }

    async fn sleep(&self, _: core::time::Duration) {
        core::future::pending().await
    }
}
