//! What nodes tell each other of what they hold, and the statements by which they hand over.

use bytes::Bytes;
use dt_dht::{
    Address, Former, FoundPast, FoundShard, HandOver, HandOverCertificate, Holding, Listing,
    MAX_MESSAGE_BYTES, Place, Summary, UpkeepReply, UpkeepRequest, encode_stripe,
};
use dt_model::testing::{Golden, identity};
use dt_model::{Digest, Envelope, Message, Signed, Signer};

use super::{EPOCH, NOW, certificate, network, one_fault, record};
use crate::support::WRITER;

fn address() -> Address {
    record().key.address
}

pub(super) fn requests() -> Vec<(&'static str, UpkeepRequest)> {
    let slot = record().key.slot;
    vec![
        ("summarise", UpkeepRequest::Summarise { after: None }),
        ("summarise further", UpkeepRequest::Summarise { after: Some(address()) }),
        ("list", UpkeepRequest::List { after: None, until: None }),
        (
            "list further",
            UpkeepRequest::List { after: Some((address(), Place::Record(slot))), until: Some(address()) },
        ),
        ("fetch shard", UpkeepRequest::FetchShard { blob: address(), index: 2 }),
        ("fetch certificate", UpkeepRequest::FetchCertificate { blob: address() }),
        ("fetch past", UpkeepRequest::FetchPast { key: record().key, former: former() }),
        ("hand over", UpkeepRequest::HandOver),
    ]
}

fn former() -> Former {
    Former { version: 2, digest: Digest::from([0x66; 32]) }
}

fn past() -> Vec<FoundPast> {
    let found = |former| FoundPast { record: record().into_envelope(), former };
    vec![found(Some(former())), found(None)]
}

/// One of every place, in order.
fn holdings() -> Vec<Holding> {
    let (slot, digest) = (record().key.slot, record().digest());
    let holding =
        |place, version, digest| Holding { address: address(), place, version, digest, leased: NOW };
    vec![
        holding(Place::Agreed, 2, digest),
        holding(Place::Locked, 3, digest),
        holding(Place::Record(slot), 3, digest),
        holding(Place::Evidence(slot), 0, Digest::ZERO),
        holding(Place::Shard, NOW.as_millis(), Digest::ZERO),
    ]
}

fn statement(node: u64) -> Envelope<HandOver> {
    let statement = HandOver { network: network(), epoch: EPOCH, time: NOW };
    Signed::new(statement, &identity(node)).unwrap().into_envelope()
}

/// The replies but for a shard, of which only the digest is in the signed bytes.
pub(super) fn replies() -> Vec<(&'static str, UpkeepReply)> {
    let summary = |until| UpkeepReply::Summary(Summary { until, digest: Digest::from([0x77; 32]) });
    vec![
        ("summary", summary(Some(address()))),
        ("last summary", summary(None)),
        ("listing", UpkeepReply::Listing(Listing { holdings: holdings(), more: true })),
        ("last listing", UpkeepReply::Listing(Listing { holdings: Vec::new(), more: false })),
        ("no shard found", UpkeepReply::Shard(None)),
        ("certificate", UpkeepReply::Certificate(Some(certificate()))),
        ("no certificate", UpkeepReply::Certificate(None)),
        ("past", UpkeepReply::Past(past())),
        ("no past", UpkeepReply::Past(Vec::new())),
        ("handed over", UpkeepReply::HandOver(Some(statement(100)))),
        ("not handed over", UpkeepReply::HandOver(None)),
    ]
}

pub(super) fn shard() -> UpkeepReply {
    let (blob, shards) = encode_stripe(b"content", one_fault()).unwrap();
    let shard = Bytes::clone(&shards[1]).into();
    UpkeepReply::Shard(Some(FoundShard { blob, payer: identity(WRITER).party(), shard }))
}

pub(super) fn add(golden: &mut Golden) {
    golden.section("Upkeep");
    let statement_of = |node| statement(node).open().unwrap().into_value();
    golden.value("hand-over", &statement_of(100), HandOver::MAX_BYTES);
    golden.value("signed hand-over", &statement(100), 256);
    let certificate = HandOverCertificate { statements: [100, 101, 102].map(statement).to_vec() };
    golden.value("hand-over certificate", &certificate, MAX_MESSAGE_BYTES);
    for (holding, place) in holdings().iter().zip(["agreed", "locked", "record", "evidence", "shard"]) {
        golden.value(&format!("holding, {place}"), holding, 256);
    }
}
