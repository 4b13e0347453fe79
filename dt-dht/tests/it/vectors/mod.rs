//! Golden bytes of everything that travels, is stored or is hashed: a change here is a change of the format. They are kept in
//! `tests/golden/wire.txt`; each value is read back from its bytes, and from none near them ([`Golden::value`]).

mod agreement;
mod formats;
mod messages;
mod near_misses;
mod rows;
mod upkeep;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use dt_dht::testing as strategies;
use dt_dht::{
    Checkpoint, Equivocation, MAX_CERTIFICATE_BYTES, MAX_MESSAGE_BYTES, MAX_RECORD_BYTES, Membership,
    MemoryStore, Node, Parcel, QuorumCertificate, Receipt, Record, RecordStore, Replica, Reply, ReplyBody,
    Resilience, encode_stripe, request_digest, seal,
};
use dt_model::testing::{Golden, identity};
use dt_model::{Digest, Envelope, Secret, Signed, Signer, Timestamp, codec};
use proptest::prelude::*;

use crate::support::{WRITER, owned};

const HEAD: &str = "\
# Golden bytes of dt-dht. Made by tests/it/vectors; do not edit.
#
# One line is one value: its canonical (borsh) bytes in hex, or the SHA-256 of them where they are many. Parties, keys and signatures come
# from the seeds of dt_model::testing::identity: the writer is 1, the reader 2, the nodes are 100 to 103.
";

const EPOCH: u64 = 7;
const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

fn network() -> Digest {
    Digest::from([0x11; 32])
}

fn one_fault() -> Resilience {
    Resilience::tolerating(1).unwrap()
}

fn membership(nodes: u64) -> Membership {
    let node =
        |seed| Node { party: identity(seed).party(), endpoints: vec!["tcp://host:1".parse().unwrap()] };
    let nodes = (100..100 + nodes).map(node).collect();
    let parties = BTreeSet::from([identity(WRITER).party()]);
    Membership::new(network(), EPOCH, one_fault(), nodes, parties).unwrap()
}

fn record() -> Signed<Record> {
    owned("a", 3, "value")
}

fn receipt() -> Receipt {
    let record = record();
    let (key, version, record) = (record.key, record.version, record.digest());
    Receipt { network: network(), key, version, record, epoch: EPOCH, time: NOW }
}

fn signed_receipt(node: u64) -> Envelope<Receipt> {
    Signed::new(receipt(), &identity(node)).unwrap().into_envelope()
}

fn certificate() -> QuorumCertificate {
    QuorumCertificate { receipts: [100, 101, 102].map(signed_receipt).to_vec() }
}

fn evidence() -> Equivocation {
    Equivocation::between(&record(), &owned("a", 3, "other")).unwrap()
}

#[test]
fn formats_are_what_they_were() {
    let mut golden = Golden::new(HEAD);
    add_records(&mut golden);
    add_content(&mut golden);
    agreement::add(&mut golden);
    upkeep::add(&mut golden);
    messages::add_requests(&mut golden);
    messages::add_replies(&mut golden);
    messages::add_refusals(&mut golden);
    rows::add(&mut golden);
    rows::add_agreed(&mut golden);
    rows::add_cursors(&mut golden);
    golden.check(Path::new(FILE), "DT_DHT_WRITE_GOLDEN");
}

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/wire.txt");

/// A new type or domain is to be given golden bytes, and a line here.
#[test]
fn every_format_has_golden_bytes() {
    let sources = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src"));
    dt_model::testing::check_formats(sources, &formats::FORMATS, Path::new(FILE));
}

fn add_records(golden: &mut Golden) {
    golden.section("Records, receipts and evidence");
    let record = record();
    golden.add("owned address", record.key.address.as_bytes());
    golden.add("its replicas among nine nodes", &codec::encode(&membership(9).replicas(&record.key.address)));
    golden.value("node", &membership(4).nodes()[0], 512);
    golden.value("key", &record.key, 64);
    golden.value("record", record.value(), MAX_RECORD_BYTES);
    golden.value("signed record", record.envelope(), MAX_RECORD_BYTES);
    golden.add("record's digest", record.digest().as_bytes());
    golden.value("receipt", &receipt(), 256);
    golden.value("signed receipt", &signed_receipt(100), 512);
    golden.value("quorum certificate", &certificate(), MAX_CERTIFICATE_BYTES);
    golden.value("evidence", &evidence(), MAX_MESSAGE_BYTES);
}

fn add_content(golden: &mut Golden) {
    golden.section("Blobs and sealed content");
    let (blob, shards) = encode_stripe(b"content", one_fault()).unwrap();
    golden.value("resilience", &one_fault(), 8);
    golden.value("blob", &blob, MAX_MESSAGE_BYTES);
    golden.add("blob's address", blob.address().as_bytes());
    for (index, shard) in shards.iter().enumerate() {
        golden.add(&format!("shard {index}"), shard);
        golden.add(&format!("shard {index}'s digest"), blob.shards()[index].as_bytes());
    }
    // More than one stripe: then the blob names an index.
    let long = dt_dht::BlobRef::of(&vec![0x55; dt_dht::STRIPE_BYTES + 1], one_fault()).unwrap();
    golden.value("indexed blob", &long, MAX_MESSAGE_BYTES);
    golden.value("first checkpoint", &Checkpoint::start(one_fault()), MAX_MESSAGE_BYTES);
    let later = codec::encode(&(one_fault(), long.shards()));
    let later: Checkpoint = codec::decode(&later, MAX_MESSAGE_BYTES).unwrap();
    golden.value("checkpoint after a stripe", &later, MAX_MESSAGE_BYTES);
    let key = Secret::from_bytes([0x33; 32]);
    golden.add("sealed", &seal::seal(&key, b"context", b"pressure log"));
    golden.add("nothing, sealed", &seal::seal(&key, b"context", b""));
    golden.add("two chunks, sealed", &seal::seal(&key, b"context", &[0x44; 70_000]));
}

#[test]
fn placement() {
    let replicas = membership(9).replicas(&owned("a", 1, "").key.address);
    let seeds = |party| (100u64..).find(|seed| identity(*seed).party() == party).unwrap();
    assert_eq!(replicas.into_iter().map(seeds).collect::<Vec<_>>(), PLACEMENT);
}

const PLACEMENT: [u64; 4] = [106, 101, 102, 108];

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
