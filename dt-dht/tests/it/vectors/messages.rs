//! Every request, every reply, every refusal.

use core::fmt::Debug;

use dt_dht::{
    Carries, Equivocation, Lock, MAX_MESSAGE_BYTES, Parcel, Phase, Refusal, Reply, ReplyBody, Request,
    RequestBody, Shard, encode_stripe, request_digest,
};
use dt_model::Signer;
use dt_model::testing::{Golden, identity};

use super::agreement::{bid, locked, promised, settled, state, title, votes};
use super::{EPOCH, NOW, certificate, evidence, network, one_fault, record, signed_receipt, upkeep};
use crate::agreement::{ballot, step};
use crate::support::{READER, WRITER};

fn request(body: RequestBody) -> Request {
    Request {
        network: network(),
        epoch: EPOCH,
        node: identity(100).party(),
        nonce: [0x22; 16],
        time: NOW,
        body,
    }
}

fn reply(body: ReplyBody) -> Reply {
    Reply { network: network(), epoch: EPOCH, request: request_digest(b"request"), body }
}

/// The message as it travels, which is read back as it was; not one altered byte is accepted.
fn parcel<T: Carries + Clone + PartialEq + Debug>(golden: &mut Golden, name: &str, message: &T, signer: u64) {
    let bytes = Parcel::new(message.clone(), &identity(signer)).unwrap().encode();
    golden.add(name, &bytes);
    let read = |bytes: &[u8]| Parcel::<T>::decode(bytes).ok()?.open().ok();
    assert_eq!(read(&bytes).as_ref(), Some(message), "{name}");
    for at in 0..bytes.len() {
        let mut near = bytes.to_vec();
        near[at] ^= 1;
        assert_eq!(read(&near), None, "{name}: byte {at}");
        assert_eq!(read(&bytes[..at]), None, "{name}: {at} bytes");
    }
    assert_eq!(read(&[&bytes[..], &[0]].concat()), None, "{name}: a trailing byte");
}

fn shard() -> (dt_dht::BlobRef, Shard) {
    let (blob, shards) = encode_stripe(b"content", one_fault()).unwrap();
    (blob, shards[2].clone().into())
}

/// The requests but for a shard, of which only the digest is in the signed bytes.
fn requests() -> Vec<(&'static str, RequestBody)> {
    let (record, blob) = (record(), shard().0);
    let (next, address) = (step(WRITER, 1, "a").into_envelope(), state().address());
    let promises = vec![promised(None), promised(Some(locked()))];
    let ballot = ballot(WRITER, 1, 6);
    vec![
        ("put", RequestBody::Put { record: record.envelope().clone() }),
        ("get", RequestBody::Get { key: record.key }),
        ("get shard", RequestBody::GetShard { blob: blob.address(), index: 2 }),
        ("get evidence", RequestBody::GetEvidence { key: record.key }),
        ("renew shard", RequestBody::RenewShard { blob: blob.address(), index: 2 }),
        (
            "keep certificate",
            RequestBody::KeepCertificate { blob: blob.address(), certificate: certificate() },
        ),
        ("get state", RequestBody::GetState { address }),
        (
            "propose, as whoever comes first",
            RequestBody::Propose { sequence: 1, ballot: None, record: next.clone(), promises: Vec::new() },
        ),
        (
            "propose, under a ballot",
            RequestBody::Propose { sequence: 1, ballot: Some(ballot), record: next.clone(), promises },
        ),
        ("commit", RequestBody::Commit { record: next.clone(), certificate: locked() }),
        ("adopt", RequestBody::Adopt { certificate: settled(), records: vec![next] }),
        ("promise", RequestBody::Promise { bid: bid(), titles: Vec::new() }),
        ("promise, with a title", RequestBody::Promise { bid: bid(), titles: vec![title()] }),
        ("get past", RequestBody::GetPast { key: record.key, version: 2 }),
    ]
}

pub(super) fn add_requests(golden: &mut Golden) {
    golden.section("Requests: what is asked");
    for (name, body) in requests() {
        golden.value(name, &body, MAX_MESSAGE_BYTES);
    }
    for (name, request) in upkeep::requests() {
        golden.value(&format!("upkeep, {name}"), &RequestBody::Upkeep { request }, MAX_MESSAGE_BYTES);
    }
    golden.section("Requests as they travel, signed by the writer");
    let (blob, shard) = shard();
    let put_shard = RequestBody::PutShard { blob, index: 2, shard };
    parcel(golden, "put shard", &request(put_shard), WRITER);
    parcel(golden, "get", &request(RequestBody::Get { key: record().key }), WRITER);
    golden.value("get, without its signature", &request(RequestBody::Get { key: record().key }), 1024);
}

fn replies() -> Vec<(&'static str, ReplyBody)> {
    let (record, next) = (record().into_envelope(), step(WRITER, 1, "a").into_envelope());
    let lock = Lock { record: next.clone(), certificate: locked() };
    let state = |settled, records, lock, promised, title, rank| ReplyBody::State {
        settled,
        records,
        lock,
        promised,
        title,
        rank,
    };
    let found: fn(Equivocation) -> ReplyBody = |evidence| ReplyBody::Evidence { evidence: Some(evidence) };
    vec![
        ("stored", ReplyBody::Stored { receipt: signed_receipt(100) }),
        ("record", ReplyBody::Record { record: Some(record.clone()) }),
        ("no record", ReplyBody::Record { record: None }),
        ("shard stored", ReplyBody::ShardStored { receipt: Some(signed_receipt(100)) }),
        ("shard stored, another missing", ReplyBody::ShardStored { receipt: None }),
        ("certificate kept", ReplyBody::CertificateKept),
        ("no shard", ReplyBody::Shard { shard: None }),
        ("evidence", found(evidence())),
        ("no evidence", ReplyBody::Evidence { evidence: None }),
        ("nothing settled", state(None, Vec::new(), None, None, None, None)),
        (
            "state",
            state(
                Some(settled()),
                vec![next.clone()],
                Some(lock),
                Some(ballot(READER, 2, 5)),
                Some(title()),
                Some(1),
            ),
        ),
        ("voted", ReplyBody::Voted { vote: votes(Phase::Accept)[0].clone() }),
        ("promised", ReplyBody::Promised { promise: promised(None), record: None }),
        (
            "promised, with a lock",
            ReplyBody::Promised { promise: promised(Some(locked())), record: Some(next) },
        ),
        ("adopted", ReplyBody::Adopted { sequence: 9 }),
    ]
}

pub(super) fn add_replies(golden: &mut Golden) {
    golden.section("Replies: what is answered");
    for (name, body) in replies() {
        golden.value(name, &body, MAX_MESSAGE_BYTES);
    }
    for (name, reply) in upkeep::replies() {
        golden.value(&format!("upkeep, {name}"), &ReplyBody::Upkeep { reply }, MAX_MESSAGE_BYTES);
    }
    golden.section("Replies as they travel, signed by the first node");
    parcel(golden, "shard", &reply(ReplyBody::Shard { shard: Some(shard().1) }), 100);
    parcel(golden, "upkeep, shard", &reply(ReplyBody::Upkeep { reply: upkeep::shard() }), 100);
    let stored = || reply(ReplyBody::ShardStored { receipt: None });
    parcel(golden, "shard stored", &stored(), 100);
    golden.value("shard stored, without its signature", &stored(), 1024);
    golden.add("digest of the request's bytes", request_digest(b"request").as_bytes());
}

pub(super) fn add_refusals(golden: &mut Golden) {
    golden.section("Refusals");
    for refusal in [
        Refusal::Malformed,
        Refusal::WrongAddress,
        Refusal::NotPermitted,
        Refusal::Stale { stored: 9 },
        Refusal::Gap { stored: 9 },
        Refusal::Conflict,
        Refusal::Superseded,
        Refusal::Inconsistent,
        Refusal::UnknownKind,
        Refusal::UnknownParty,
        Refusal::NotAReplica,
        Refusal::Outdated,
        Refusal::OtherOrder,
        Refusal::Settled { sequence: 9 },
        Refusal::Behind { sequence: 9 },
        Refusal::Outbid { rank: 2, round: 5 },
        Refusal::Rank,
        Refusal::Unproven,
        Refusal::QuotaExceeded,
        Refusal::Busy { retry_after_millis: 50 },
        Refusal::Unavailable,
    ] {
        golden.value(&refusal.to_string(), &ReplyBody::Refused { refusal }, 32);
    }
}
