//! What a replica keeps in its store.

use std::sync::Arc;

use dt_dht::{
    Address, Call, InProcess, Membership, MemoryStore, OwnedRecords, Pace, Phase, QuorumCertificate, Receipt,
    RecordStore, Replica, ReplyBody, RequestBody, Upkeep, UpkeepReply, UpkeepRequest, Validator,
    encode_stripe,
};
use dt_model::testing::{Golden, SeedRng, identity};
use dt_model::{Identity, Signed, Signer};

use super::agreement::{locked, settled, state, votes};
use super::{NOW, membership, record};
use crate::agreement::{Shared, propose, settlement, step};
use crate::support::{WRITER, owned};

fn replica(seed: u64) -> (Replica, Arc<MemoryStore>) {
    let store = Arc::new(MemoryStore::new());
    let node = Arc::new(identity(seed));
    let validators: Vec<Arc<dyn Validator>> = vec![Arc::new(OwnedRecords), Arc::new(Shared)];
    (Replica::new(node, store.clone(), membership(4), validators), store)
}

fn ask(replica: &Replica, body: RequestBody) -> ReplyBody {
    let call = Call::new(&identity(WRITER), &membership(4), replica.party(), [0; 16], NOW, body).unwrap();
    call.read(&replica.handle(call.bytes(), NOW)).unwrap()
}

fn add_rows(golden: &mut Golden, store: &MemoryStore) {
    for (key, value) in store.scan(&[], None, usize::MAX).unwrap() {
        golden.add(&format!("key, '{}'", key[0].escape_ascii()), &key);
        golden.add(&format!("value, '{}'", key[0].escape_ascii()), &value);
    }
}

/// Evidence, two addresses, a record, a shard and the proof of it, the totals, and what is stored for the writer.
pub(super) fn add(golden: &mut Golden) {
    golden.section("Rows after a record, evidence, a shard and its proof");
    let membership = membership(4);
    let (blob, shards) = encode_stripe(b"content", membership.resilience()).unwrap();
    let first = membership.replicas(&blob.address())[0];
    let (replica, store) = replica((100..104).find(|seed| identity(*seed).party() == first).unwrap());
    ask(&replica, RequestBody::Put { record: record().into_envelope() });
    ask(&replica, RequestBody::Put { record: owned("a", 3, "other").into_envelope() });
    let address = blob.address();
    ask(&replica, RequestBody::PutShard { blob, index: 0, shard: shards[0].clone().into() });
    let certificate = shards_certificate(&membership, &address);
    let kept = ask(&replica, RequestBody::KeepCertificate { blob: address, certificate });
    assert_eq!(kept, ReplyBody::CertificateKept);
    add_rows(golden, &store);
    // Another node is told what lies here.
    let body = RequestBody::Upkeep { request: UpkeepRequest::Summarise { after: None } };
    let other = (100..104).map(identity).find(|node| node.party() != replica.party()).unwrap();
    let call = Call::new(&other, &membership, replica.party(), [0; 16], NOW, body).unwrap();
    let reply = call.read(&replica.handle(call.bytes(), NOW)).unwrap();
    let ReplyBody::Upkeep { reply: UpkeepReply::Summary(summary) } = reply else { panic!("{reply:?}") };
    golden.value("summary of these rows", &summary, 256);
}

/// A quorum's receipts for their shards of a blob.
fn shards_certificate(membership: &Membership, blob: &Address) -> QuorumCertificate {
    let receipt = Receipt::of_shards(membership.network(), membership.epoch(), blob, NOW);
    let mut nodes = [100, 101, 102].map(identity);
    nodes.sort_by_key(Signer::party);
    let sign = |node: Identity| Signed::new(receipt.clone(), &node).unwrap().into_envelope();
    QuorumCertificate { receipts: nodes.map(sign).to_vec() }
}

/// How far a node has compared itself with another.
pub(super) fn add_cursors(golden: &mut Golden) {
    golden.section("Rows after a comparison with another node");
    let [(replica, store), (other, _)] = [replica(100), replica(101)];
    ask(&other, RequestBody::Put { record: record().into_envelope() });
    let [replica, other] = [replica, other].map(Arc::new);
    let network = Arc::new(InProcess::new([replica.clone(), other], Arc::new(|| NOW)));
    let mut upkeep = Upkeep::new(replica, network, SeedRng::new(1), Pace::default());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for _ in 0..16 {
        runtime.block_on(upkeep.step(NOW)).unwrap();
    }
    add_rows(golden, &store);
}

/// A vote, a lock, two settled steps.
pub(super) fn add_agreed(golden: &mut Golden) {
    let (replica, store) = replica(100);
    let (first, second) = (step(WRITER, 1, "a"), step(WRITER, 2, "b"));
    golden.section("Rows after a vote");
    assert!(matches!(ask(&replica, propose(&first, 1, None, Vec::new())), ReplyBody::Voted { .. }));
    add_rows(golden, &store);
    golden.section("Rows after a lock");
    let commit = RequestBody::Commit { record: first.envelope().clone(), certificate: locked() };
    assert!(matches!(ask(&replica, commit), ReplyBody::Voted { .. }));
    add_rows(golden, &store);
    golden.section("Rows after two settled steps");
    let adopt = RequestBody::Adopt { certificate: settled(), records: Vec::new() };
    assert_eq!(ask(&replica, adopt), ReplyBody::Adopted { sequence: 1 });
    let next = state().after(&second).unwrap();
    let vote = |seed| {
        let vote = votes(Phase::Commit)[0].clone().open().unwrap().into_value();
        let vote = dt_dht::Vote { sequence: 2, state: next.digest(), ..vote };
        Signed::new(vote, &identity(seed)).unwrap().into_envelope()
    };
    let certificate = settlement(&next, &[100, 101, 102].map(vote));
    let adopt = RequestBody::Adopt { certificate, records: vec![second.into_envelope()] };
    assert_eq!(ask(&replica, adopt), ReplyBody::Adopted { sequence: 2 });
    add_rows(golden, &store);
}
