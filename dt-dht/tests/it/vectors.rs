//! Golden bytes of everything that travels, is stored or is hashed: a change here is a change of the format.
//!
//! Short values stand here in full, longer ones as the SHA-256 of their bytes.

use std::collections::BTreeSet;

use dt_dht::testing as strategies;
use dt_dht::{
    Call, Equivocation, MAX_MESSAGE_BYTES, Membership, MemoryStore, Node, OwnedRecords, QuorumCertificate,
    Receipt, Record, RecordStore, Replica, Reply, ReplyBody, Request, RequestBody, Resilience, encode_stripe,
    request_digest, seal,
};
use dt_model::testing::identity;
use dt_model::{ContentHash, Digest, Envelope, Secret, Signed, Signer, Timestamp, codec};
use proptest::prelude::*;
use std::sync::Arc;

use crate::support::{WRITER, owned};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[track_caller]
fn golden(bytes: &[u8], expected: &str) {
    let (whole, hash) = (hex(bytes), ContentHash::of(bytes).to_string());
    assert!(whole == expected || hash == expected, "{} bytes, sha256 {hash}: {whole}", bytes.len());
}

fn membership(nodes: u64) -> Membership {
    let node =
        |seed| Node { party: identity(seed).party(), endpoints: vec!["tcp://host:1".parse().unwrap()] };
    let nodes = (100..100 + nodes).map(node).collect();
    let parties = BTreeSet::from([identity(WRITER).party()]);
    Membership::new(Digest::from([0x11; 32]), 7, Resilience::tolerating(1).unwrap(), nodes, parties).unwrap()
}

fn receipt() -> Receipt {
    let record = owned("a", 3, "value");
    Receipt {
        network: Digest::from([0x11; 32]),
        key: record.key,
        version: 3,
        record: record.digest(),
        epoch: 7,
        time: Timestamp::from_millis(1_700_000_000_000),
    }
}

#[test]
fn records_and_receipts() {
    let record = owned("a", 3, "value");
    golden(record.key.address.as_bytes(), ADDRESS);
    golden(&codec::encode(record.value()), RECORD);
    golden(&codec::encode(record.envelope()), RECORD_ENVELOPE);
    golden(&codec::encode(&receipt()), RECEIPT);
    let signed = |seed| Signed::new(receipt(), &identity(seed)).unwrap().into_envelope();
    golden(&codec::encode(&signed(100)), RECEIPT_ENVELOPE);
    golden(&codec::encode(&QuorumCertificate { receipts: vec![signed(100), signed(101)] }), CERTIFICATE);
    let evidence = Equivocation::between(&record, &owned("a", 3, "other")).unwrap();
    golden(&codec::encode(&evidence), EVIDENCE);
}

#[test]
fn requests() {
    let record = owned("a", 3, "value");
    let (blob, shards) = encode_stripe(b"content", Resilience::tolerating(1).unwrap()).unwrap();
    let bodies = [
        RequestBody::Put { record: record.envelope().clone() },
        RequestBody::Get { key: record.key },
        RequestBody::PutShard { blob: blob.clone(), index: 2, bytes: shards[2].clone() },
        RequestBody::GetShard { blob: blob.address(), index: 2 },
        RequestBody::GetEvidence { key: record.key },
    ];
    for (body, expected) in bodies.into_iter().zip(REQUESTS) {
        let time = Timestamp::from_millis(1_700_000_000_000);
        let node = identity(100).party();
        let call = Call::new(&identity(WRITER), &membership(4), node, [0x22; 16], time, body).unwrap();
        golden(call.bytes(), expected);
    }
}

#[test]
fn replies() {
    let record = owned("a", 3, "value");
    let receipt = Signed::new(receipt(), &identity(100)).unwrap().into_envelope();
    let evidence = Equivocation::between(&record, &owned("a", 3, "other"));
    let bodies = [
        ReplyBody::Stored { receipt },
        ReplyBody::Record { record: Some(record.envelope().clone()) },
        ReplyBody::Record { record: None },
        ReplyBody::ShardStored,
        ReplyBody::Shard { bytes: Some((&b"shard"[..]).into()) },
        ReplyBody::Evidence { evidence },
        ReplyBody::Refused { refusal: dt_dht::Refusal::Stale { stored: 9 } },
    ];
    for (body, expected) in bodies.into_iter().zip(REPLIES) {
        let request = request_digest(b"request");
        let reply = Reply { network: Digest::from([0x11; 32]), epoch: 7, request, body };
        golden(&codec::encode(Signed::new(reply, &identity(100)).unwrap().envelope()), expected);
    }
}

#[test]
fn blobs_and_sealed_content() {
    let (blob, shards) = encode_stripe(b"content", Resilience::tolerating(1).unwrap()).unwrap();
    golden(&codec::encode(&blob), BLOB);
    golden(blob.address().as_bytes(), BLOB_ADDRESS);
    golden(&shards.concat(), SHARDS);
    let key = Secret::from_bytes([0x33; 32]);
    golden(&seal::seal(&key, b"context", b"pressure log"), SEALED);
    golden(&seal::seal(&key, b"context", &[0x44; 70_000]), SEALED_TWO_CHUNKS);
}

#[test]
fn placement() {
    let replicas = membership(9).replicas(&owned("a", 1, "").key.address);
    let seeds = |party| (100u64..).find(|seed| identity(*seed).party() == party).unwrap();
    assert_eq!(replicas.into_iter().map(seeds).collect::<Vec<_>>(), PLACEMENT);
}

/// The rows of a replica: a record, evidence, a shard, and the totals.
#[test]
fn rows() {
    let membership = membership(4);
    let store = Arc::new(MemoryStore::new());
    let record = owned("a", 3, "value");
    let (blob, shards) = encode_stripe(b"content", membership.resilience()).unwrap();
    let first = membership.replicas(&blob.address())[0];
    let node = (100..104).map(identity).find(|node| node.party() == first).unwrap();
    let replica =
        Replica::new(Arc::new(node), store.clone(), membership.clone(), vec![Arc::new(OwnedRecords)]);
    let now = Timestamp::from_millis(1_700_000_000_000);
    for body in [
        RequestBody::Put { record: record.envelope().clone() },
        RequestBody::Put { record: owned("a", 3, "other").envelope().clone() },
        RequestBody::PutShard { blob, index: 0, bytes: shards[0].clone() },
    ] {
        let call = Call::new(&identity(WRITER), &membership, replica.party(), [0; 16], now, body).unwrap();
        call.read(&replica.handle(call.bytes(), now)).unwrap();
    }
    let rows = store.scan(&[], None, usize::MAX).unwrap();
    assert_eq!(rows.len(), ROWS.len());
    for ((key, value), (expected_key, expected_value)) in rows.iter().zip(ROWS) {
        golden(key, expected_key);
        golden(value, expected_value);
    }
}

const ADDRESS: &str = "93efc4ecf7aa8f3914065ce108f9ec265f1ffb8311a53a4a1f11727da2ea1d15";
const RECORD: &str = "93efc4ecf7aa8f3914065ce108f9ec265f1ffb8311a53a4a1f11727da2ea1d156f776e64000000000000000003000000000000000e00000001000000610500000076616c7565";
const RECORD_ENVELOPE: &str = "6dc48e2ef23d82b0c02ccaf20b7f979d36c300d49b771a507f1704fb8d05d215";
const RECEIPT: &str = "4381051e064b960db3e7e17bb0826b677d161c5b16405f5b45dd3d05532ddd34";
const RECEIPT_ENVELOPE: &str = "a42bc362746217af7fec02fd50043d9570111991ce484e42c4ae4c2614544c70";
const CERTIFICATE: &str = "f08f17a594e473bae2a6438614910bd6e57d0e48a6f07645b06e38737fa93339";
const EVIDENCE: &str = "d7b6cd95c0a092d1f31b52c2fc0d22c6fe32292d73da68a62e24653e727e8176";
const REQUESTS: [&str; 5] = [
    "5cc1b23bdadcc6fd4b92319d315a714f47ed568fd95cddba0900230d63be7a20",
    "e2da94e4464506a08f040fd6093af00f9b9c7aecb98b56fb4350e07f89cc857a",
    "2ec622a66d0f00fa58a013a708a28c96e3dcae8291e8bf6c9dce31d85c7833ae",
    "f2c73f455580ddc77ea62812cae7c09595fb231f051958bc222a1cd704664908",
    "40bca3ec05c51524f92c369ac0504973764931f8fac79c5622345a816c80e7fb",
];
const REPLIES: [&str; 7] = [
    "0c8fb71fa49165132a43ba5987f0b3ed68509c3966bc1990c83df237c4815959",
    "5d09da40a03993b247dc1dfd0fe371a9f91a09e1cb637c2fe46702134e46ccc4",
    "7097ff9f901b1089bd53124a1b9e2dd75665e097472575f47cc935f5b5894b20",
    "cbfc93a2e1f46c348dde02dfa32ec4e1e2e216b47581281566b7727fee48467d",
    "9e555962944933f6a0a61825599af7d351e88de9a3109ee5236cca717027f3fe",
    "39b23ff491afb0c4bca5e624621d6bfbd19e68988981ea4c820ef2aa49fad611",
    "32b10419a9ca7a2f1f3b875cfbfc3d81d772b14ea6eef7a496a00208a0fd49bd",
];
const BLOB: &str = "c50aff1caf897013cd87e7db0efa73544e2447ebef896fa572883a8e92fdc1a0";
const BLOB_ADDRESS: &str = "d2eb3b92396ce321adea6efffd192b9c1b3744060139cb794ea79c6359db504d";
const SHARDS: &str = "636f6e74656e740077a14fd971a055ad";
const SEALED: &str = "7ff21e22b82a111ac8ec734d3939476624fbcecde9e0ec38ea376429";
const SEALED_TWO_CHUNKS: &str = "8aff11614af16addb4a114208ac13caa690b906bd5d95d471823e07b52badc4d";
const PLACEMENT: [u64; 4] = [106, 101, 102, 108];
const ROWS: [(&str, &str); 4] = [
    (
        "6593efc4ecf7aa8f3914065ce108f9ec265f1ffb8311a53a4a1f11727da2ea1d156f776e640000000000000000",
        "3909b0858956d921a0445cee26947a8fcf5b24b0e9decafef2fd0d46da0adb74",
    ),
    (
        "7293efc4ecf7aa8f3914065ce108f9ec265f1ffb8311a53a4a1f11727da2ea1d156f776e640000000000000000",
        "464d8b0fa2ffdf80164000934c5f0f55827b47318921297bf731ddb84c805c88",
    ),
    (
        "73d2eb3b92396ce321adea6efffd192b9c1b3744060139cb794ea79c6359db504d0000",
        "8a71eaac1763f3d385643dc9b51eadd42f0e8b6861c5d6cf5ae97e29379d9762",
    ),
    (
        "74",
        "3a802b81b538066409e2de60258853ba9cebf197da4da4778b02246b2609fd7f03000000000000003b517b45809f9d93137fd9d8b05b41875c53fdfb090ff55bde31c007004ea7e9",
    ),
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever the strategies give is read back as it was, and from no other bytes.
    #[test]
    fn what_is_encoded_is_read_back(
        request in strategies::request(),
        reply in strategies::reply(),
        certificate in strategies::certificate(),
        (blob, _) in strategies::blob(),
        record in strategies::signed_record(),
    ) {
        fn same<T>(value: &T) -> Result<(), TestCaseError>
        where
            T: borsh::BorshSerialize + borsh::BorshDeserialize + PartialEq + core::fmt::Debug,
        {
            let bytes = codec::encode(value);
            prop_assert_eq!(&codec::decode::<T>(&bytes, MAX_MESSAGE_BYTES).unwrap(), value);
            prop_assert!(codec::decode::<T>(&[&bytes[..], &[0]].concat(), MAX_MESSAGE_BYTES).is_err());
            prop_assert!(codec::decode::<T>(&bytes[..bytes.len() - 1], MAX_MESSAGE_BYTES).is_err());
            Ok(())
        }
        same::<Request>(&request)?;
        same::<Reply>(&reply)?;
        same::<QuorumCertificate>(&certificate)?;
        same(&blob)?;
        same::<Record>(record.value())?;
        same::<Envelope<Record>>(record.envelope())?;
    }

    /// Random bytes are no request, and get an answer nevertheless.
    #[test]
    fn garbage_is_answered(garbage in prop::collection::vec(any::<u8>(), 0..400)) {
        let (membership, store) = (membership(4), Arc::new(MemoryStore::new()));
        let replica = Replica::new(Arc::new(identity(100)), store.clone(), membership, vec![]);
        let reply = replica.handle(&garbage, Timestamp::from_millis(0));
        let reply: Envelope<Reply> = codec::decode(&reply, MAX_MESSAGE_BYTES).unwrap();
        let reply = reply.open().unwrap();
        prop_assert_eq!(reply.request, request_digest(&garbage));
        prop_assert!(matches!(reply.body, ReplyBody::Refused { .. }), "{:?}", reply.body);
        prop_assert!(store.scan(&[], None, 10).unwrap().is_empty());
    }
}
