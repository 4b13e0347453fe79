//! What malicious nodes, writers and outsiders try.

use core::time::Duration;
use std::sync::Arc;

use dt_dht::testing::Fault;
use dt_dht::{
    Call, CertificateError, Equivocation, EquivocationError, GetError, InProcess, Key, MAX_MESSAGE_BYTES,
    MAX_RECORD_BYTES, OwnedRecords, Parcel, PutError, QuorumCertificate, Record, Refusal, Replica, ReplyBody,
    ReplyError, Request, RequestBody, Resilience, Transport,
};
use dt_model::testing::identity;
use dt_model::{Envelope, Message, Signed, Signer, SignerError, codec};

use crate::support::*;

/// Everything that a lying node can say to a get.
const LIES: [Fault; 8] = [
    Fault::Silent,
    Fault::Garbage,
    Fault::Zeros,
    Fault::Replay,
    Fault::ForgedNewer,
    Fault::NothingStored,
    Fault::Stale,
    Fault::Refuse(Refusal::NotPermitted),
];

#[tokio::test]
async fn k_liars_neither_roll_back_nor_forge_nor_refuse() {
    for max_faulty in [1u16, 2, 3] {
        let network = network(max_faulty);
        let (writer, now) = (client(&network, WRITER), network.now());
        writer.put(&owned("a", 1, "old"), now).await.unwrap();
        let newest = owned("a", 2, "new");
        writer.put(&newest, now).await.unwrap();
        let replicas = network.replicas(&newest.key.address);
        for lie in LIES {
            // The liars come first, and are asked first.
            for node in &replicas[..usize::from(max_faulty)] {
                network.corrupt(node, lie);
            }
            let found = client(&network, READER).get(newest.key, OwnedRecords::check(), now).await;
            assert_eq!(found.unwrap(), Some(newest.clone()), "{lie:?} by {max_faulty}");
        }
    }
}

#[tokio::test]
async fn liars_do_not_keep_a_writer_from_a_quorum() {
    let network = network(1);
    let (writer, now) = (client(&network, WRITER), network.now());
    for (version, lie) in (1..).zip(LIES.into_iter().chain([Fault::Pretend])) {
        let record = owned("a", version, "x");
        network.corrupt(&network.replicas(&record.key.address)[0], lie);
        let certificate = writer.put(&record, now).await.unwrap();
        certificate.verify_for(network.membership(), &record).unwrap();
        let found = writer.get(record.key, OwnedRecords::check(), now).await.unwrap();
        assert_eq!(found, Some(record), "{lie:?}");
    }
}

/// With k + 1 colluding nodes a read can be rolled back: the checks above can fail, and k is what the guarantee hangs on.
#[tokio::test]
async fn beyond_k_the_guarantee_ends() {
    let network = network(1);
    let (writer, now) = (client(&network, WRITER), network.now());
    let newest = owned("a", 2, "new");
    let replicas = network.replicas(&newest.key.address);
    writer.put(&owned("a", 1, "old"), now).await.unwrap();
    network.in_process().stop(&replicas[3].party());
    writer.put(&newest, now).await.unwrap();
    network.in_process().start(&replicas[3].party());
    network.in_process().stop(&replicas[0].party());
    let read = async || client(&network, READER).get(newest.key, OwnedRecords::check(), now).await;
    network.corrupt(&replicas[1], Fault::Stale);
    assert_eq!(read().await.unwrap().unwrap().version, 2);
    // That read repaired replica 3; set the stage again with a fresh name.
    let newest = owned("b", 2, "new");
    let replicas = network.replicas(&newest.key.address);
    network.nodes().iter().for_each(|node| network.faulty().heal(&node.party()));
    network.nodes().iter().for_each(|node| network.in_process().start(&node.party()));
    writer.put(&owned("b", 1, "old"), now).await.unwrap();
    network.in_process().stop(&replicas[3].party());
    writer.put(&newest, now).await.unwrap();
    network.in_process().start(&replicas[3].party());
    network.in_process().stop(&replicas[0].party());
    replicas[1..3].iter().for_each(|node| network.corrupt(node, Fault::Stale));
    let found = client(&network, READER).get(newest.key, OwnedRecords::check(), now).await;
    assert_eq!(found.unwrap().unwrap().version, 1);
}

#[tokio::test]
async fn nobody_writes_at_anothers_address() {
    let network = network(1);
    let now = network.now();
    let theirs = owned("a", 1, "theirs");
    // The squatter copies everything but the signature.
    let squatter = Signed::new(theirs.value().clone(), &identity(READER)).unwrap();
    let refused = client(&network, READER).put(&squatter, now).await;
    assert!(matches!(refused, Err(PutError::Refused(Refusal::WrongAddress))), "{refused:?}");
    client(&network, WRITER).put(&theirs, now).await.unwrap();
}

#[tokio::test]
async fn the_unregistered_are_refused() {
    let network = network(1);
    let now = network.now();
    let record = owned("a", 1, "x");
    let stranger = client(&network, STRANGER);
    let refused = stranger.put(&record, now).await;
    assert!(matches!(refused, Err(PutError::Refused(Refusal::UnknownParty))), "{refused:?}");
    let refused = stranger.get(record.key, OwnedRecords::check(), now).await;
    assert!(matches!(refused, Err(GetError::Refused(Refusal::UnknownParty))), "{refused:?}");
    assert_eq!(report(&network, &network.nodes()[0]).records, 0);
}

#[tokio::test]
async fn a_request_is_for_one_node_one_network_one_time() {
    let network = network(1);
    let record = owned("a", 1, "x");
    let (node, other) = (&network.nodes()[0], &network.nodes()[1]);
    let call = call(&network, WRITER, node, put(&record));
    let refusal = |reply: &[u8]| {
        let reply = Parcel::<dt_dht::Reply>::decode(reply).unwrap();
        match reply.open().unwrap().body {
            ReplyBody::Refused { refusal } => Some(refusal),
            _ => None,
        }
    };
    let passed_on = network.replica(&other.party()).handle(call.bytes(), network.now());
    assert_eq!(refusal(&passed_on), Some(Refusal::WrongAddress));
    assert_eq!(call.read(&passed_on), Err(ReplyError::WrongNode(other.party())));

    let node_replica = network.replica(&node.party());
    let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
    let late = node_replica.handle(call.bytes(), network.now().saturating_add(minutes(6)));
    assert_eq!(refusal(&late), Some(Refusal::Outdated));
    let early = dt_model::Timestamp::from_millis(network.now().as_millis() - 360_000);
    assert_eq!(refusal(&node_replica.handle(call.bytes(), early)), Some(Refusal::Outdated));
    assert_eq!(report(&network, node).records, 0);
    let in_time = node_replica.handle(call.bytes(), network.now().saturating_add(minutes(4)));
    assert_eq!(refusal(&in_time), None);

    let old = network.membership();
    let elsewhere = dt_dht::Membership::new(
        [1; 32].into(),
        old.epoch(),
        old.resilience(),
        old.nodes().to_vec(),
        old.parties().clone(),
    )
    .unwrap();
    let body = RequestBody::Get { key: record.key };
    let call = Call::new(&identity(WRITER), &elsewhere, node.party(), [5; 16], network.now(), body).unwrap();
    let reply = node_replica.handle(call.bytes(), network.now());
    assert_eq!(refusal(&reply), Some(Refusal::WrongAddress));
    assert_eq!(call.read(&reply), Err(ReplyError::OtherMembership));
}

/// A request that somebody else re-signs is his, and one whose signer is altered is nobody's.
#[test]
fn a_request_is_its_senders() {
    let network = network(1);
    let node = &network.nodes()[0];
    let body = RequestBody::Get { key: owned("a", 1, "x").key };
    let call = call(&network, WRITER, node, body);
    let mut bytes = call.bytes().to_vec();
    bytes[..32].copy_from_slice(identity(READER).party().as_bytes());
    let reply = network.replica(&node.party()).handle(&bytes, network.now());
    let reply = Parcel::<dt_dht::Reply>::decode(&reply).unwrap();
    assert_eq!(reply.open().unwrap().body, refused(Refusal::NotPermitted));
}

#[tokio::test]
async fn a_reply_serves_one_request() {
    let network = network(1);
    let node = &network.nodes()[0];
    let record = owned("a", 1, "x");
    let ask = |nonce: u8| {
        let body = RequestBody::Get { key: record.key };
        let (signer, membership) = (identity(READER), network.membership());
        Call::new(&signer, membership, node.party(), [nonce; 16], network.now(), body).unwrap()
    };
    let (before, after) = (ask(1), ask(2));
    let replica = network.replica(&node.party());
    let nothing = replica.handle(before.bytes(), network.now());
    assert_eq!(before.read(&nothing), Ok(ReplyBody::Record { record: None }));
    client(&network, WRITER).put(&record, network.now()).await.unwrap();
    assert_eq!(after.read(&nothing), Err(ReplyError::OtherRequest));
}

#[test]
fn altered_requests_change_nothing() {
    let network = network(1);
    let node = &network.nodes()[0];
    let replica = network.replica(&node.party());
    let call = call(&network, WRITER, node, put(&owned("a", 1, "x")));
    let whole = call.bytes();
    let is_refused = |bytes: &[u8]| {
        let reply = Parcel::<dt_dht::Reply>::decode(&replica.handle(bytes, network.now())).unwrap();
        assert_eq!(reply.signer(), node.party());
        let refused = matches!(reply.open().unwrap().body, ReplyBody::Refused { .. });
        assert!(refused);
    };
    for bit in 0..whole.len() * 8 {
        let mut flipped = whole.to_vec();
        flipped[bit / 8] ^= 1 << (bit % 8);
        is_refused(&flipped);
    }
    (0..whole.len()).for_each(|length| is_refused(&whole[..length]));
    is_refused(&[&whole[..], &[0]].concat());
    is_refused(&vec![0; MAX_MESSAGE_BYTES + 1]);
    assert_eq!(report(&network, node).records, 0);
    assert!(call.read(&replica.handle(whole, network.now())).is_ok());
}

#[test]
fn altered_replies_are_not_believed() {
    let network = network(1);
    let node = &network.nodes()[0];
    let call = call(&network, WRITER, node, put(&owned("a", 1, "x")));
    let whole = network.replica(&node.party()).handle(call.bytes(), network.now());
    assert!(call.read(&whole).is_ok());
    for bit in 0..whole.len() * 8 {
        let mut flipped = whole.to_vec();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(call.read(&flipped).is_err());
    }
    assert!((0..whole.len()).all(|length| call.read(&whole[..length]).is_err()));
    assert!(call.read(&[&whole[..], &[0]].concat()).is_err());
}

#[tokio::test]
async fn oversized_records_are_refused_on_both_sides() {
    let network = network(1);
    let writer = identity(WRITER);
    let record = OwnedRecords::record(writer.party(), "a".parse().unwrap(), 1, vec![0; MAX_RECORD_BYTES]);
    let unsigned = Signed::new(record.clone(), &writer);
    assert!(matches!(unsigned, Err(SignerError::TooLarge { limit: MAX_RECORD_BYTES, .. })));
    // Signed all the same, by a writer of his own make.
    let body = codec::encode(&record);
    let preimage = [&Record::DOMAIN.prefix()[..], writer.party().as_bytes(), &body].concat();
    let signature = writer.sign(&preimage).unwrap();
    let envelope = codec::encode(&(writer.party(), signature, body));
    let record: Envelope<Record> = codec::decode(&envelope, MAX_MESSAGE_BYTES).unwrap();
    let answer = ask(&network, WRITER, &network.nodes()[0], RequestBody::Put { record });
    assert_eq!(answer, refused(Refusal::Malformed));
    let fits = OwnedRecords::record(writer.party(), "a".parse().unwrap(), 1, vec![0; MAX_RECORD_BYTES - 200]);
    let fits = Signed::new(fits, &writer).unwrap();
    client(&network, WRITER).put(&fits, network.now()).await.unwrap();
}

/// The node is honest about keys, but shows a sound record of another key.
#[tokio::test]
async fn a_record_of_another_key_is_discarded() {
    let network = network(1);
    let (record, other) = (owned("a", 1, "x"), owned("b", 7, "y"));
    let mut quorum = dt_dht::GetQuorum::new(network.membership(), record.key);
    let replicas = quorum.replicas().to_vec();
    let show = |record: &Signed<Record>| Some(ReplyBody::Record { record: Some(record.envelope().clone()) });
    quorum.answer(replicas[0], show(&other), OwnedRecords::check());
    quorum.answer(replicas[1], show(&record), OwnedRecords::check());
    quorum.answer(replicas[2], show(&record), OwnedRecords::check());
    assert!(!quorum.is_decided(), "the liar does not count");
    quorum.answer(replicas[3], show(&record), OwnedRecords::check());
    assert_eq!(quorum.winner().unwrap(), Some(record));
}

#[tokio::test]
async fn certificates_prove_what_they_say_and_no_more() {
    let network = with_nodes(Resilience::tolerating(1).unwrap(), 6, &[Arc::new(OwnedRecords)]);
    let (writer, now) = (client(&network, WRITER), network.now());
    let membership = network.membership();
    let record = owned("a", 1, "x");
    let certificate = writer.put(&record, now).await.unwrap();
    certificate.verify_for(membership, &record).unwrap();
    let with = |receipts: Vec<_>| QuorumCertificate { receipts }.verify(membership);
    let receipts = certificate.receipts.clone();
    let [a, b, c] = [receipts[0].clone(), receipts[1].clone(), receipts[2].clone()];

    assert_eq!(with(vec![a.clone(), b.clone()]), Err(CertificateError::TooFew { receipts: 2, needed: 3 }));
    assert_eq!(with(vec![]), Err(CertificateError::TooFew { receipts: 0, needed: 3 }));
    let twice = vec![a.clone(), b.clone(), b.clone()];
    assert_eq!(with(twice), Err(CertificateError::DuplicateNode(b.signer())));
    let unsorted = vec![b.clone(), a.clone(), c.clone()];
    assert_eq!(with(unsorted), Err(CertificateError::DuplicateNode(a.signer())));

    let body = a.clone().open().unwrap().into_value();
    let replicas = membership.replicas(&record.key.address);
    let resign = |signer: &dyn Signer, change: fn(&mut dt_dht::Receipt)| {
        let mut receipt = body.clone();
        change(&mut receipt);
        let mut all: Vec<_> =
            receipts.iter().filter(|other| other.signer() != signer.party()).take(2).cloned().collect();
        all.push(Signed::new(receipt, signer).unwrap().into_envelope());
        all.sort_by_key(Envelope::signer);
        (QuorumCertificate { receipts: all }, signer.party())
    };
    let outsider = network.nodes().iter().find(|node| !replicas.contains(&node.party())).unwrap();
    let (forged, node) = resign(&**outsider, |_| {});
    assert_eq!(forged.verify(membership), Err(CertificateError::NotAReplica(node)));
    let insider = network.nodes().iter().find(|node| replicas.contains(&node.party())).unwrap();
    let (sound, _) = resign(&**insider, |receipt| receipt.time = dt_model::Timestamp::MAX);
    assert_eq!(sound.verify(membership), Ok(()), "times may differ");
    for change in [
        (|receipt| receipt.version = 2) as fn(&mut dt_dht::Receipt),
        |receipt| receipt.record = dt_model::Digest::ZERO,
        |receipt| receipt.key.slot.index = 1,
    ] {
        let (mixed, _) = resign(&**insider, change);
        let error = mixed.verify(membership);
        assert!(matches!(error, Err(CertificateError::Disagreement(_))), "{error:?}");
    }
    for change in [(|receipt| receipt.epoch = 9) as fn(&mut dt_dht::Receipt), |receipt| {
        receipt.network = dt_model::Digest::ZERO
    }] {
        let error = resign(&**insider, change).0.verify(membership);
        let of_two_minds =
            |error| matches!(error, CertificateError::OtherMembership | CertificateError::Disagreement(_));
        assert!(error.is_err_and(of_two_minds));
    }
    let other = owned("a", 1, "another");
    assert_eq!(certificate.verify_for(membership, &other), Err(CertificateError::OtherRecord));

    let bytes = codec::encode(&certificate);
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let read = codec::decode::<QuorumCertificate>(&flipped, dt_dht::MAX_CERTIFICATE_BYTES);
        assert!(read.is_err() || read.is_ok_and(|read| read.verify(membership).is_err()));
    }
}

#[tokio::test]
async fn two_records_of_one_version_convict_their_writer() {
    let network = network(1);
    let (writer, now) = (client(&network, WRITER), network.now());
    let (one, two) = (owned("a", 1, "one"), owned("a", 1, "two"));
    let replicas = network.replicas(&one.key.address);
    for (at, node) in replicas.iter().enumerate() {
        let stored = ask(&network, WRITER, node, put(if at < 2 { &one } else { &two }));
        assert!(matches!(stored, ReplyBody::Stored { .. }));
    }
    let found = writer.get(one.key, OwnedRecords::check(), now).await;
    let Err(GetError::Equivocation(evidence)) = found else { panic!("{found:?}") };
    let culprit = evidence.verify().unwrap();
    assert_eq!((culprit.writer, culprit.key, culprit.version), (one.signer(), one.key, 1));

    // A replica that is offered both keeps the proof, and serves it to anybody.
    let body = || RequestBody::GetEvidence { key: one.key };
    assert_eq!(ask(&network, READER, &replicas[0], body()), ReplyBody::Evidence { evidence: None });
    assert_eq!(ask(&network, WRITER, &replicas[0], put(&two)), refused(Refusal::Conflict));
    let ReplyBody::Evidence { evidence: Some(kept) } = ask(&network, READER, &replicas[0], body()) else {
        panic!("the evidence is served")
    };
    assert_eq!(kept.verify(), Ok(culprit));
    assert_eq!(held(&network, &replicas[0], one.key), Some(one.clone()), "the first one stays");
    assert_eq!(report(&network, &replicas[0]).evidence, 1);
}

#[test]
fn evidence_cannot_be_made_up() {
    let (one, two) = (owned("a", 1, "one"), owned("a", 1, "two"));
    let pair = |first: &Signed<Record>, second: &Signed<Record>| {
        Equivocation { first: first.envelope().clone(), second: second.envelope().clone() }.verify()
    };
    assert!(pair(&one, &two).is_ok());
    assert_eq!(pair(&one, &one), Err(EquivocationError::NoContradiction));
    assert_eq!(pair(&one, &owned("a", 2, "two")), Err(EquivocationError::NoContradiction));
    assert_eq!(pair(&one, &owned("b", 1, "two")), Err(EquivocationError::NoContradiction));
    let another = Signed::new(two.value().clone(), &identity(READER)).unwrap();
    assert_eq!(pair(&one, &another), Err(EquivocationError::NoContradiction));
    assert_eq!(Equivocation::between(&one, &another), None);
    let mut bytes = codec::encode(one.envelope());
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    let tampered: Envelope<Record> = codec::decode(&bytes, 1 << 20).unwrap();
    let framed = Equivocation { first: one.envelope().clone(), second: tampered }.verify();
    assert!(matches!(framed, Err(EquivocationError::Record(_))), "{framed:?}");
}

/// Two writers of one version, each with a right to write: nobody is convicted, and the reader is told.
#[tokio::test]
async fn two_writers_of_one_version_are_a_conflict() {
    let network = with_nodes(Resilience::tolerating(1).unwrap(), 4, &[Arc::new(Chained)]);
    let one = plain(Chained::KIND, &identity(WRITER), 1, "one");
    let two = plain(Chained::KIND, &identity(READER), 1, "two");
    for (at, node) in network.replicas(&one.key.address).iter().enumerate() {
        ask(&network, WRITER, node, put(if at < 2 { &one } else { &two }));
    }
    let found = client(&network, READER).get(one.key, &|_| Ok(()), network.now()).await;
    let Err(GetError::Conflict { first, second }) = found else { panic!("{found:?}") };
    assert_ne!(first.signer(), second.signer());
    let lost = client(&network, WRITER).put(&two, network.now()).await;
    assert!(matches!(
        lost,
        Err(PutError::NoQuorum { receipts: 2, .. } | PutError::Refused(Refusal::Conflict))
    ));
}

/// A replica that restarts on another node's key, or on a key that is not registered, is no replica.
#[tokio::test]
async fn an_impostor_is_not_heard() {
    let network = network(1);
    let record = owned("a", 1, "x");
    let impostor = Arc::new(Replica::new(
        Arc::new(identity(STRANGER)),
        Arc::new(dt_dht::MemoryStore::new()),
        network.membership().clone(),
        vec![Arc::new(OwnedRecords)],
    ));
    let now = network.now();
    let transport = InProcess::new([impostor.clone()], Arc::new(move || now));
    let key = record.key;
    let call = Call::new(
        &identity(WRITER),
        network.membership(),
        impostor.party(),
        [5; 16],
        now,
        RequestBody::Get { key },
    )
    .unwrap();
    let reply = transport.request(&impostor.party(), call.bytes().clone()).await.unwrap();
    assert_eq!(call.read(&reply), Ok(refused(Refusal::NotAReplica)));
    let mut quorum = dt_dht::GetQuorum::new(network.membership(), key);
    for _ in 0..5 {
        quorum.answer(impostor.party(), Some(ReplyBody::Record { record: None }), &|_| Ok(()));
    }
    assert!(!quorum.is_decided());
}

#[test]
fn who_claims_to_have_sent_is_read_first() {
    let network = network(1);
    let node = network.nodes()[0].clone();
    let body = RequestBody::Get { key: Key::new([9; 32].into(), OwnedRecords::KIND, 0) };
    let bytes = call(&network, WRITER, &node, body).bytes().clone();
    let claimed = Parcel::<Request>::claimed_signer(&bytes);
    assert_eq!(claimed, Some(identity(WRITER).party()));
    assert_eq!(Parcel::<Request>::decode(&bytes).unwrap().signer(), identity(WRITER).party());
    assert_eq!(Parcel::<Request>::claimed_signer(&bytes[..31]), None);
    assert_eq!(Parcel::<Request>::claimed_signer(&[0xff; 100]), None);
}
