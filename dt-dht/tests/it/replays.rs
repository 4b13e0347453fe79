//! What somebody does with messages, records and disks that were once good, and with the largest numbers.

use std::sync::Arc;

use dt_dht::testing::{Fault, Network};
use dt_dht::{
    Call, GetQuorum, Membership, MemoryStore, OwnedRecords, Parcel, PutError, QuorumCertificate, Record,
    RecordStore, Refusal, Reply, ReplyBody, RequestBody, Resilience,
};
use dt_model::testing::identity;
use dt_model::{Envelope, Signed, Signer};

use crate::support::*;

/// What a node says to bytes, whoever sent them.
fn said(network: &Network, node: &dt_model::Identity, request: &[u8]) -> ReplyBody {
    let reply = network.replica(&node.party()).handle(request, network.now());
    Parcel::<Reply>::decode(&reply).unwrap().open().unwrap().body
}

fn next_epoch(network: &Network, epoch: u64) -> Membership {
    let now = network.membership();
    let (nodes, parties) = (now.nodes().to_vec(), now.parties().clone());
    Membership::new(now.network(), epoch, now.resilience(), nodes, parties).unwrap()
}

/// A put that somebody recorded does not bring an old version back, in the same minute or from any node's disk.
#[tokio::test]
async fn a_recorded_put_rolls_nothing_back() {
    let network = network(1);
    let writer = client(&network, WRITER);
    let (old, new) = (owned("a", 1, "old"), owned("a", 2, "new"));
    let replicas = network.replicas(&old.key.address);
    let recorded = replicas.iter().map(|node| call(&network, WRITER, node, put(&old)));
    let recorded: Vec<Call> = recorded.collect();
    writer.put(&old, network.now()).await.unwrap();
    writer.put(&new, network.now()).await.unwrap();
    for (node, call) in replicas.iter().zip(&recorded) {
        assert_eq!(said(&network, node, call.bytes()), refused(Refusal::Stale { stored: 2 }));
        assert_eq!(held(&network, node, old.key), Some(new.clone()));
    }
}

/// A request that was made for one epoch serves in no other, before or after, and neither does its reply.
#[tokio::test]
async fn a_request_is_for_one_epoch() {
    let network = network(1);
    let record = owned("a", 1, "x");
    let node = network.nodes()[0].clone();
    let old = call(&network, WRITER, &node, put(&record));
    let early = Call::new(
        &identity(WRITER),
        &next_epoch(&network, 2),
        node.party(),
        [5; 16],
        network.now(),
        put(&record),
    );
    let early = early.unwrap();
    assert_eq!(said(&network, &node, early.bytes()), refused(Refusal::Outdated));
    network.replica(&node.party()).update_membership(next_epoch(&network, 2));
    assert_eq!(said(&network, &node, old.bytes()), refused(Refusal::Outdated));
    assert_eq!(report(&network, &node).records, 0);
    assert!(matches!(said(&network, &node, early.bytes()), ReplyBody::Stored { .. }));
    let reply = network.replica(&node.party()).handle(early.bytes(), network.now());
    assert!(old.read(&reply).is_err(), "a reply of the next epoch to the next request");
}

/// Receipts of two epochs are no certificate, though each is sound in its own.
#[tokio::test]
async fn receipts_of_two_epochs_do_not_add_up() {
    let network = network(1);
    let (writer, record) = (client(&network, WRITER), owned("a", 1, "x"));
    let first = writer.put(&record, network.now()).await.unwrap();
    let next = next_epoch(&network, 2);
    writer.update_membership(next.clone());
    network.nodes().iter().for_each(|node| network.replica(&node.party()).update_membership(next.clone()));
    let second = writer.put(&record, network.now()).await.unwrap();
    for taken in 1..3 {
        let mut receipts = first.receipts[..taken].to_vec();
        let has =
            |node: &Envelope<_>, of: &[Envelope<_>]| of.iter().any(|other| other.signer() == node.signer());
        receipts
            .extend(second.receipts.iter().filter(|other| !has(other, &first.receipts[..taken])).cloned());
        receipts.sort_by_key(Envelope::signer);
        let mixed = QuorumCertificate { receipts };
        assert!(mixed.verify(network.membership()).is_err() && mixed.verify(&next).is_err());
    }
}

/// k nodes whose disks went back to a former state, with all signatures right, roll nobody back.
#[tokio::test]
async fn k_disks_from_the_past_roll_nothing_back() {
    for max_faulty in [1u16, 2] {
        let resilience = Resilience::tolerating(max_faulty).unwrap();
        let stores: Vec<_> = (0..resilience.replicas()).map(|_| Arc::new(MemoryStore::new())).collect();
        let open = || stores.iter().map(|store| store.clone() as Arc<dyn RecordStore>).collect();
        let parties = [WRITER, READER].map(|seed| identity(seed).party());
        let network = || Network::with_stores(resilience, open(), parties, &[Arc::new(OwnedRecords)]);
        let before = network();
        let (old, new) = (owned("a", 1, "old"), owned("a", 2, "new"));
        client(&before, WRITER).put(&old, before.now()).await.unwrap();
        let past: Vec<_> = stores[..usize::from(max_faulty)]
            .iter()
            .map(|store| store.scan(&[], None, usize::MAX).unwrap())
            .collect();
        client(&before, WRITER).put(&new, before.now()).await.unwrap();
        stores.iter().zip(&past).for_each(|(store, rows)| store.put(rows).unwrap());
        let after = network();
        let found = client(&after, READER).get(new.key, OwnedRecords::check(), after.now()).await;
        assert_eq!(found.unwrap(), Some(new.clone()));
        let healed = after.nodes().iter().filter(|node| held(&after, node, new.key) == Some(new.clone()));
        assert_eq!(healed.count(), resilience.replicas(), "and the reader heals them");
    }
}

/// The last version there is: the owner ends his record with it, and nothing comes after it.
#[tokio::test]
async fn the_last_version_is_the_last() {
    let network = network(1);
    let (writer, now) = (client(&network, WRITER), network.now());
    writer.put(&owned("a", 1, "first"), now).await.unwrap();
    let last = owned("a", u64::MAX, "last");
    writer.put(&last, now).await.unwrap().verify_for(network.membership(), &last).unwrap();
    let again = writer.put(&owned("a", u64::MAX, "another"), now).await;
    assert!(matches!(again, Err(PutError::Refused(Refusal::Conflict))), "{again:?}");
    let wrapped = writer.put(&owned("a", 0, "around"), now).await;
    assert!(matches!(wrapped, Err(PutError::Refused(Refusal::Malformed))), "{wrapped:?}");
    let found = client(&network, READER).get(last.key, OwnedRecords::check(), now).await.unwrap();
    assert_eq!(found, Some(last));
}

/// A liar shows a record of the last version, which he signed himself: the reader notices, and does not stumble over the number.
#[tokio::test]
async fn a_forged_last_version_is_no_trouble() {
    let network = network(1);
    let record = owned("a", 3, "x");
    let mut quorum = GetQuorum::new(network.membership(), record.key);
    let replicas = quorum.replicas().to_vec();
    let forged = Record { version: u64::MAX, ..record.value().clone() };
    let forged = Signed::new(forged, &identity(READER)).unwrap();
    let show = |record: &Signed<Record>| Some(ReplyBody::Record { record: Some(record.envelope().clone()) });
    quorum.answer(replicas[0], show(&forged), OwnedRecords::check());
    quorum.answer(replicas[1], show(&record), OwnedRecords::check());
    quorum.answer(replicas[2], Some(ReplyBody::Record { record: None }), OwnedRecords::check());
    assert_eq!(quorum.winner().unwrap(), Some(record.clone()));
    let sent: Vec<_> = quorum.write_backs(&record).into_iter().map(|back| back.node).collect();
    assert_eq!(sent, [replicas[0], replicas[2], replicas[3]]);

    client(&network, WRITER).put(&record, network.now()).await.unwrap();
    network.corrupt(&network.replicas(&record.key.address)[0], Fault::ForgedNewer);
    let found = client(&network, READER).get(record.key, OwnedRecords::check(), network.now()).await;
    assert_eq!(found.unwrap(), Some(record));
}

/// Who answers in another's name, twice, or for a quorum of one, does not make a quorum.
#[tokio::test]
async fn one_node_is_one_voice() {
    let network = network(1);
    let record = owned("a", 1, "x");
    let certificate = client(&network, WRITER).put(&record, network.now()).await.unwrap();
    let one = certificate.receipts[0].clone();
    let stuffed = QuorumCertificate { receipts: vec![one; 40] };
    assert!(stuffed.verify(network.membership()).is_err());
    let doubled: Vec<_> =
        certificate.receipts.iter().flat_map(|receipt| [receipt.clone(), receipt.clone()]).collect();
    assert!(QuorumCertificate { receipts: doubled }.verify(network.membership()).is_err());
    let body = || RequestBody::Get { key: record.key };
    let replies: Vec<_> = network.nodes().iter().map(|node| ask(&network, READER, node, body())).collect();
    assert!(replies.iter().all(|reply| *reply == replies[0]));
}
