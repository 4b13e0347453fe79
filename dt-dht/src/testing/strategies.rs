//! Proptest strategies for what travels.
#![expect(clippy::expect_used, reason = "identities from seeds always sign")]

use bytes::Bytes;
use dt_model::testing::{digest, identity, party, timestamp};
use dt_model::{Message, Signed};
use proptest::prelude::*;

use crate::{
    Address, BlobRef, Equivocation, Key, Kind, QuorumCertificate, Receipt, Record, Refusal, Reply, ReplyBody,
    Request, RequestBody, Resilience, encode_stripe,
};

/// Any address.
pub fn address() -> impl Strategy<Value = Address> {
    any::<[u8; 32]>().prop_map(Address::from)
}

/// Any key.
pub fn key() -> impl Strategy<Value = Key> {
    (address(), any::<[u8; 4]>(), any::<u64>())
        .prop_map(|(address, kind, index)| Key::new(address, Kind::new(kind), index))
}

/// Any record with a short body.
pub fn record() -> impl Strategy<Value = Record> {
    (key(), 1u64.., body()).prop_map(|(key, version, body)| Record { key, version, body })
}

/// Any record with a short body, signed by one of ten parties.
pub fn signed_record() -> impl Strategy<Value = Signed<Record>> {
    signed(record())
}

/// Any receipt.
pub fn receipt() -> impl Strategy<Value = Receipt> {
    (digest(), key(), 1u64.., digest(), any::<u64>(), timestamp()).prop_map(
        |(network, key, version, record, epoch, time)| Receipt { network, key, version, record, epoch, time },
    )
}

/// Receipts that are well-formed, but need not agree.
pub fn certificate() -> impl Strategy<Value = QuorumCertificate> {
    prop::collection::vec(signed(receipt()).prop_map(Signed::into_envelope), 0..5)
        .prop_map(|receipts| QuorumCertificate { receipts })
}

/// A blob's reference and its shards.
///
/// # Panics
/// Never: the numbers it draws make a resilience.
pub fn blob() -> impl Strategy<Value = (BlobRef, Vec<Bytes>)> {
    (body(), 0u16..3, 0u16..3).prop_map(|(content, faulty, more)| {
        let resilience = Resilience::new(3 * faulty + 1 + more, faulty).expect("enough replicas");
        encode_stripe(&content, resilience).expect("short content")
    })
}

/// Any request.
pub fn request() -> impl Strategy<Value = Request> {
    let put = signed_record().prop_map(|record| RequestBody::Put { record: record.into_envelope() });
    let put_shard = (blob(), any::<u16>(), body())
        .prop_map(|((blob, _), index, bytes)| RequestBody::PutShard { blob, index, shard: bytes.into() });
    let body = prop_oneof![
        put,
        key().prop_map(|key| RequestBody::Get { key }),
        put_shard,
        (address(), any::<u16>()).prop_map(|(blob, index)| RequestBody::RenewShard { blob, index }),
        (address(), any::<u16>()).prop_map(|(blob, index)| RequestBody::GetShard { blob, index }),
        key().prop_map(|key| RequestBody::GetEvidence { key }),
        (address(), certificate())
            .prop_map(|(blob, certificate)| RequestBody::KeepCertificate { blob, certificate }),
    ];
    (digest(), any::<u64>(), party(), any::<[u8; 16]>(), timestamp(), body).prop_map(
        |(network, epoch, node, nonce, time, body)| Request { network, epoch, node, nonce, time, body },
    )
}

/// Any reply.
pub fn reply() -> impl Strategy<Value = Reply> {
    let record = || signed_record().prop_map(Signed::into_envelope);
    let evidence = (record(), record()).prop_map(|(first, second)| Equivocation { first, second });
    let body = prop_oneof![
        signed(receipt()).prop_map(|receipt| ReplyBody::Stored { receipt: receipt.into_envelope() }),
        prop::option::of(record()).prop_map(|record| ReplyBody::Record { record }),
        prop::option::of(signed(receipt()))
            .prop_map(|receipt| ReplyBody::ShardStored { receipt: receipt.map(Signed::into_envelope) }),
        Just(ReplyBody::CertificateKept),
        prop::option::of(body()).prop_map(|bytes| ReplyBody::Shard { shard: bytes.map(Into::into) }),
        prop::option::of(evidence).prop_map(|evidence| ReplyBody::Evidence { evidence }),
        refusal().prop_map(|refusal| ReplyBody::Refused { refusal }),
    ];
    (digest(), any::<u64>(), digest(), body).prop_map(|(network, epoch, request, body)| Reply {
        network,
        epoch,
        request,
        body,
    })
}

fn refusal() -> impl Strategy<Value = Refusal> {
    prop_oneof![
        Just(Refusal::Malformed),
        any::<u64>().prop_map(|stored| Refusal::Stale { stored }),
        any::<u64>().prop_map(|stored| Refusal::Gap { stored }),
        Just(Refusal::Unavailable),
    ]
}

fn body() -> impl Strategy<Value = Bytes> {
    prop::collection::vec(any::<u8>(), 0..100).prop_map(Bytes::from)
}

fn signed<T: Message + core::fmt::Debug>(
    value: impl Strategy<Value = T>,
) -> impl Strategy<Value = Signed<T>> {
    (value, 0u64..10).prop_map(|(value, seed)| Signed::new(value, &identity(seed)).expect("it signs"))
}
