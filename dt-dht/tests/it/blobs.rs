//! Blobs: any k + 1 shards restore them, and nothing else does.

use bytes::Bytes;
use dt_dht::testing::Fault;
use dt_dht::{
    BlobError, BlobRef, GetError, MAX_BLOB_BYTES, Parcel, PutError, Refusal, Reply, ReplyBody, RequestBody,
    Resilience, decode_stripe, encode_stripe, request_digest,
};
use dt_model::{Digest, Domain, Signer, codec};
use proptest::prelude::*;

use crate::support::*;

fn content(length: usize) -> Vec<u8> {
    (0u8..=250).cycle().take(length).collect()
}

/// Calls `visit` with every choice of `count` out of `total`.
fn choices(total: u16, count: usize, visit: &mut impl FnMut(&[u16])) {
    fn go(from: u16, total: u16, left: usize, chosen: &mut Vec<u16>, visit: &mut impl FnMut(&[u16])) {
        if left == 0 {
            return visit(chosen);
        }
        for next in from..total {
            chosen.push(next);
            go(next + 1, total, left - 1, chosen, visit);
            chosen.pop();
        }
    }
    go(0, total, count, &mut Vec::new(), visit);
}

#[test]
fn any_sufficient_shards_restore_the_content() {
    for (replicas, max_faulty) in [(1, 0), (2, 0), (4, 1), (5, 1), (7, 2), (10, 3)] {
        let resilience = Resilience::new(replicas, max_faulty).unwrap();
        for length in [0, 1, 2, 3, 7, 64, 1000, 65_537] {
            let whole = content(length);
            let (blob, shards) = encode_stripe(&whole, resilience).unwrap();
            assert_eq!(blob.length(), length as u64);
            assert!(shards.iter().all(|shard| shard.len() == blob.shard_bytes()));
            choices(replicas, resilience.data_shards(), &mut |chosen| {
                let given = chosen.iter().map(|index| (*index, &shards[usize::from(*index)][..]));
                assert_eq!(decode_stripe(&blob, given).unwrap(), whole);
            });
            let too_few = shards.iter().take(resilience.data_shards() - 1).map(|shard| &shard[..]);
            assert_eq!(
                decode_stripe(&blob, (0..).zip(too_few)),
                Err(BlobError::TooFewShards {
                    found: resilience.data_shards() - 1,
                    needed: resilience.data_shards()
                })
            );
        }
    }
}

#[test]
fn wrong_repeated_and_swapped_shards_do_not_count() {
    let (blob, shards) = encode_stripe(&content(100), Resilience::tolerating(1).unwrap()).unwrap();
    let mut wrong = shards[1].to_vec();
    wrong[0] ^= 1;
    let few = BlobError::TooFewShards { found: 1, needed: 2 };
    assert_eq!(decode_stripe(&blob, [(0, &shards[0][..]), (1, &wrong)]), Err(few));
    assert_eq!(decode_stripe(&blob, [(0, &shards[0][..]), (0, &shards[0])]), Err(few));
    assert_eq!(decode_stripe(&blob, [(0, &shards[0][..]), (2, &shards[1])]), Err(few));
    assert_eq!(decode_stripe(&blob, [(0, &shards[0][..]), (1, &shards[1][1..])]), Err(few));
    assert_eq!(decode_stripe(&blob, [(0, &shards[0][..]), (9, &shards[1])]), Err(few));
    assert!(decode_stripe(&blob, [(0, &shards[0][..]), (1, &wrong), (3, &shards[3])]).is_ok());
}

/// What a malicious writer can make of a reference: any digests at all.
fn reference(length: u64, data_shards: u16, shards: &[Bytes]) -> BlobRef {
    let digest = |shard: &Bytes| Domain::new("dt/dht/shard/v1").blake3(&[blake3::hash(shard).as_bytes()]);
    let digests: Vec<Digest> = shards.iter().map(digest).collect();
    codec::decode(&codec::encode(&(length, data_shards, digests)), 1 << 20).unwrap()
}

#[test]
fn an_inconsistent_encoding_is_refused_whichever_shards_a_reader_gets() {
    let resilience = Resilience::tolerating(1).unwrap();
    let (_, one) = encode_stripe(&content(100), resilience).unwrap();
    let (_, other) = encode_stripe(&[3; 100], resilience).unwrap();
    let mixed = [one[0].clone(), one[1].clone(), other[2].clone(), other[3].clone()];
    let blob = reference(100, 2, &mixed);
    choices(4, 2, &mut |chosen| {
        let given = chosen.iter().map(|index| (*index, &mixed[usize::from(*index)][..]));
        assert_eq!(decode_stripe(&blob, given), Err(BlobError::BadEncoding), "{chosen:?}");
    });
    // A sound code word whose padding is not zero: the length hides bytes.
    let blob = reference(99, 2, &one);
    choices(4, 2, &mut |chosen| {
        let given = chosen.iter().map(|index| (*index, &one[usize::from(*index)][..]));
        assert_eq!(decode_stripe(&blob, given), Err(BlobError::BadEncoding), "{chosen:?}");
    });
}

#[test]
fn references_that_break_the_invariant_are_not_read() {
    let digests = |count: usize| vec![Digest::ZERO; count];
    let read = |length: u64, data: u16, count: usize| {
        codec::decode::<BlobRef>(&codec::encode(&(length, data, digests(count))), 1 << 20)
    };
    assert!(read(10, 2, 4).is_ok());
    assert!(read(10, 0, 4).is_err());
    assert!(read(10, 5, 4).is_err());
    assert!(read(10, 1, 0).is_err());
    assert!(read(MAX_BLOB_BYTES, 2, 4).is_ok());
    assert!(read(MAX_BLOB_BYTES + 1, 2, 4).is_err());
    assert!(read(u64::MAX, 2, 4).is_err());
}

#[tokio::test]
async fn a_blob_survives_all_that_k_nodes_can_do() {
    for max_faulty in [1u16, 2] {
        let network = network(max_faulty);
        let (writer, now) = (client(&network, WRITER), network.now());
        for length in [0, 1, 100_000] {
            let whole = content(length);
            let blob = writer.put_blob(&whole, now).await.unwrap();
            let replicas = network.replicas(&blob.address());
            for fault in [
                Fault::Silent,
                Fault::Garbage,
                Fault::Zeros,
                Fault::Replay,
                Fault::CorruptShards,
                Fault::WithheldShards,
                Fault::Refuse(Refusal::NotPermitted),
            ] {
                let liars = &replicas[..usize::from(max_faulty)];
                liars.iter().for_each(|node| network.corrupt(node, fault));
                let found = client(&network, READER).get_blob(&blob, now).await.unwrap();
                assert_eq!(found, whole, "{fault:?}");
                liars.iter().for_each(|node| network.faulty().heal(&node.party()));
            }
        }
    }
}

/// Of the q acknowledgements k were lies, and the k nodes that were not reached in time are gone: still k + 1 shards are left.
#[tokio::test]
async fn lying_acknowledgements_lose_nothing() {
    let network = network(1);
    let (writer, now) = (client(&network, WRITER), network.now());
    let probe = encode_stripe(b"sealed", network.membership().resilience()).unwrap().0;
    let replicas = network.replicas(&probe.address());
    network.corrupt(&replicas[0], Fault::Pretend);
    network.in_process().stop(&replicas[1].party());
    let blob = writer.put_blob(b"sealed", now).await.unwrap();
    assert_eq!(blob, probe);
    assert_eq!(report(&network, &replicas[0]).shards, 0);
    assert_eq!(writer.get_blob(&blob, now).await.unwrap(), "sealed");
    network.in_process().stop(&replicas[2].party());
    let lost = writer.get_blob(&blob, now).await;
    let few = BlobError::TooFewShards { found: 1, needed: 2 };
    assert!(matches!(lost, Err(GetError::Blob(error)) if error == few), "{lost:?}");
}

#[tokio::test]
async fn replicas_check_shards() {
    let network = network(1);
    let resilience = network.membership().resilience();
    let (blob, shards) = encode_stripe(&content(100), resilience).unwrap();
    let replicas = network.replicas(&blob.address());
    let put = |node: usize, blob: &BlobRef, index: u16, shard: &[u8]| {
        let body =
            RequestBody::PutShard { blob: blob.clone(), index, shard: Bytes::copy_from_slice(shard).into() };
        ask(&network, WRITER, &replicas[node], body)
    };
    assert_eq!(put(0, &blob, 0, &shards[1]), refused(Refusal::Inconsistent));
    assert_eq!(put(0, &blob, 1, &shards[1]), refused(Refusal::NotAReplica));
    assert_eq!(put(0, &blob, 9, &shards[1]), refused(Refusal::NotAReplica));
    let other = encode_stripe(&content(100), Resilience::tolerating(2).unwrap()).unwrap();
    assert_eq!(put(0, &other.0, 0, &other.1[0]), refused(Refusal::Malformed));
    let get = RequestBody::GetShard { blob: blob.address(), index: 0 };
    assert_eq!(ask(&network, READER, &replicas[0], get.clone()), ReplyBody::Shard { shard: None });
    assert!(is_stored(&put(0, &blob, 0, &shards[0])));
    assert!(is_stored(&put(0, &blob, 0, &shards[0])));
    let stored = ReplyBody::Shard { shard: Some(shards[0].clone().into()) };
    assert_eq!(ask(&network, READER, &replicas[0], get), stored);
    assert_eq!(report(&network, &replicas[0]).shards, 1);
}

#[tokio::test]
async fn limits_and_mismatches_are_typed() {
    let network = network(1);
    let (writer, now) = (client(&network, WRITER), network.now());
    // The system gives it without its pages: nothing is read.
    let long = vec![0; usize::try_from(MAX_BLOB_BYTES + 1).unwrap()];
    let error = writer.put_blob(&long, now).await;
    assert!(matches!(error, Err(PutError::TooLarge { limit: MAX_BLOB_BYTES, .. })), "{error:?}");
    let (other, _) = encode_stripe(b"x", Resilience::tolerating(2).unwrap()).unwrap();
    let error = writer.get_blob(&other, now).await;
    assert!(matches!(error, Err(GetError::OtherResilience { shards: 7, replicas: 4 })), "{error:?}");
    let (absent, _) = encode_stripe(b"never put", Resilience::tolerating(1).unwrap()).unwrap();
    let error = writer.get_blob(&absent, now).await;
    assert!(matches!(error, Err(GetError::Blob(BlobError::TooFewShards { found: 0, .. }))), "{error:?}");
    let error = client(&network, STRANGER).get_blob(&absent, now).await;
    assert!(matches!(error, Err(GetError::Refused(Refusal::UnknownParty))), "{error:?}");
    let error = client(&network, STRANGER).put_blob(b"x", now).await;
    assert!(matches!(error, Err(PutError::Refused(Refusal::UnknownParty))), "{error:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn random_contents_and_losses(
        whole in prop::collection::vec(any::<u8>(), 0..3000),
        max_faulty in 0u16..4,
        more in 0u16..3,
        order in any::<prop::sample::Index>(),
    ) {
        let resilience = Resilience::new(3 * max_faulty + 1 + more, max_faulty).unwrap();
        let (blob, shards) = encode_stripe(&whole, resilience).unwrap();
        let start = order.index(shards.len());
        let given = (0..shards.len()).map(|at| (at + start) % shards.len()).take(resilience.data_shards());
        let given = given.map(|at| (u16::try_from(at).unwrap(), &shards[at][..]));
        prop_assert_eq!(decode_stripe(&blob, given).unwrap(), whole);
    }
}

/// What travels behind the signature is bound to it: a shard that was altered, cut, added or exchanged on the way is nobody's.
#[test]
fn a_shard_travels_unaltered_or_not_at_all() {
    let network = network(1);
    let resilience = network.membership().resilience();
    let (blob, shards) = encode_stripe(&content(100), resilience).unwrap();
    let node = network.replicas(&blob.address())[0].clone();
    let replica = network.replica(&node.party());
    let body = RequestBody::PutShard { blob: blob.clone(), index: 0, shard: shards[0].clone().into() };
    let put = call(&network, WRITER, &node, body);
    let get = call(&network, READER, &node, RequestBody::GetShard { blob: blob.address(), index: 0 });
    let length = shards[0].len();
    let altered = |whole: &[u8]| {
        let at = whole.len() - length;
        let mut forms =
            vec![whole[..at].to_vec(), [whole, &[0]].concat(), [&whole[..at], &shards[1]].concat()];
        forms.extend((at * 8..whole.len() * 8).map(|bit| {
            let mut flipped = whole.to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            flipped
        }));
        // A parcel that is well-formed, but has no shard, or a longer one.
        let parcel = |shard: &[u8]| [&whole[..at - 4], &codec::encode(&shard.to_vec())].concat();
        forms.extend([parcel(&[]), parcel(&[&shards[0][..], &[0]].concat()), parcel(&shards[1])]);
        forms
    };
    for form in altered(put.bytes()) {
        let reply = put_reply(&form, replica.handle(&form, network.now()));
        assert_eq!(reply, refused(Refusal::Malformed));
    }
    assert_eq!(report(&network, &node).shards, 0);
    assert!(is_stored(&put.read(&replica.handle(put.bytes(), network.now())).unwrap()));

    let reply = replica.handle(get.bytes(), network.now());
    for form in altered(&reply) {
        assert!(get.read(&form).is_err());
    }
    assert_eq!(get.read(&reply), Ok(ReplyBody::Shard { shard: Some(shards[0].clone().into()) }));
    // Nothing may hide behind a message that has no shard.
    let hidden = [&get.bytes()[..get.bytes().len() - 4], &codec::encode(&b"hidden".to_vec())].concat();
    assert_eq!(put_reply(&hidden, replica.handle(&hidden, network.now())), refused(Refusal::Malformed));
}

/// A node's answer to bytes that nobody signed as they are.
fn put_reply(request: &[u8], reply: Bytes) -> ReplyBody {
    let reply = Parcel::<Reply>::decode(&reply).unwrap().open().unwrap();
    assert_eq!(reply.request, request_digest(request));
    reply.body
}

#[test]
fn a_lease_is_renewed_without_the_shard() {
    let network = network(1);
    let (blob, shards) = encode_stripe(&content(100), network.membership().resilience()).unwrap();
    let replicas = network.replicas(&blob.address());
    let renew = |node: usize, index| {
        let body = RequestBody::RenewShard { blob: blob.address(), index };
        ask(&network, WRITER, &replicas[node], body)
    };
    assert_eq!(renew(0, 0), ReplyBody::Shard { shard: None });
    let body = RequestBody::PutShard { blob: blob.clone(), index: 0, shard: shards[0].clone().into() };
    assert!(is_stored(&ask(&network, WRITER, &replicas[0], body)));
    let rows =
        |node: &dt_model::Identity| network.replica(&node.party()).store().scan(b"l", None, 9).unwrap();
    let before = rows(&replicas[0]);
    assert!(is_stored(&renew(0, 0)));
    assert_eq!(rows(&replicas[0]), before, "the clock stood still");
    network.advance(dt_dht::LEASE / 32);
    assert!(is_stored(&renew(0, 0)));
    assert_ne!(rows(&replicas[0]), before);
    assert_eq!(renew(0, 1), refused(Refusal::NotAReplica));
    assert_eq!(renew(1, 0), refused(Refusal::NotAReplica));
    assert_eq!(report(&network, &replicas[0]).shards, 1);
}
