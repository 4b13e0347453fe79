//! Golden bytes of everything that travels, is stored or is hashed: a change here is a change of the format.
//!
//! Short values stand here in full, longer ones as the SHA-256 of their bytes.

use std::collections::BTreeSet;

use bytes::Bytes;
use dt_dht::testing as strategies;
use dt_dht::{
    Call, Equivocation, MAX_MESSAGE_BYTES, Membership, MemoryStore, Node, OwnedRecords, Parcel,
    QuorumCertificate, Receipt, Record, RecordStore, Replica, Reply, ReplyBody, RequestBody, Resilience,
    encode_stripe, request_digest, seal,
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
        RequestBody::PutShard { blob: blob.clone(), index: 2, shard: shards[2].clone().into() },
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
        ReplyBody::Shard { shard: Some(Bytes::from_static(b"shard").into()) },
        ReplyBody::Evidence { evidence },
        ReplyBody::Refused { refusal: dt_dht::Refusal::Stale { stored: 9 } },
    ];
    for (body, expected) in bodies.into_iter().zip(REPLIES) {
        let request = request_digest(b"request");
        let reply = Reply { network: Digest::from([0x11; 32]), epoch: 7, request, body };
        golden(&Parcel::new(reply, &identity(100)).unwrap().encode(), expected);
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
        RequestBody::PutShard { blob, index: 0, shard: shards[0].clone().into() },
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
    "ec8db2b826c911d9af57186aef0426bdd40add9765576fa6e30eec5273397de4",
    "28ad0bf20c22e7052fdd2dc9384827be74be9b3139704fe75ab1500ba7a7dd88",
    "b430d90942c674ed13ab06908ef138526bc974a015a8d9f79de475a2ef3a2e7b",
    "5c01cfce6df0679279ff3a97d1fad984a95b789ba580bb91c0b98546a06b660d",
    "b13905ff40dd431c16259b89d08d9939d8eaed89942a5bb17b8fec321ce42a5f",
];
const REPLIES: [&str; 7] = [
    "735bcace74613da1a6dd7c9de272dafdab203c8007a8ee0e4f874c88cdfb6b36",
    "50e398746c2d859cabbde1fd4512312d72898db3b9d4dc4d30ce429cb24c321b",
    "a07e988a199318063277e6ece041c18553ac8ef325cf89f4b4961113be7f8c40",
    "17a4b01229ef4acecd01125cf71c21e7e7adc6c43cf7a452d3c6c1e237e22fd1",
    "a7b02dd1395a1ab50eb774cd3daaf37799bba6b9f526bb8ce426cda19311ed2c",
    "e7fd78e7cdb5c65acf4898a7db509b7c02adb26103b4d43102596a603a2fad45",
    "9fb07f475fcf75a380b32d5db7d978a86317d776fd5bcae823437740b5e71883",
];
const BLOB: &str = "9c2d978c82a9ff374104ed280e0b97c324b9174027b306c938b173a952c228f8";
const BLOB_ADDRESS: &str = "0f067a5a224a692c07b375416e3041237c65b0b9bc40b11bba0090e017ae8890";
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
        "73698fad79b0b06b0be7f8775332f8e4df01c59cedbff5989476de206f8f9d24380000",
        "c5e0a8129772209d335ae974eabc24d142a80915cdbf80acc547935453c3a921",
    ),
    (
        "74",
        "7d2ec9cdbc37c4e479dc5c0b5c75d2551cb23f03050b282b351f67dc42b32fb4030000000000000021d1580c5571a7b5edec571acdea5704a3712ae3b6bcdbc32c56017efd903d43",
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
        let parcel = Parcel::new(request.clone(), &identity(1)).unwrap();
        same(&parcel)?;
        prop_assert_eq!(parcel.open().unwrap(), request);
        let parcel = Parcel::new(reply.clone(), &identity(1)).unwrap();
        same(&parcel)?;
        prop_assert_eq!(parcel.open().unwrap(), reply);
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
        let reply = Parcel::<Reply>::decode(&reply).unwrap().open().unwrap();
        prop_assert_eq!(reply.request, request_digest(&garbage));
        prop_assert!(matches!(reply.body, ReplyBody::Refused { .. }), "{:?}", reply.body);
        prop_assert!(store.scan(&[], None, 10).unwrap().is_empty());
    }
}
