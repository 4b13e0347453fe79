//! What a replica has verified it does not verify again, and takes nothing else for it.

use std::collections::BTreeSet;
use std::sync::Arc;

use dt_dht::{
    Call, Membership, MemoryStore, Node, OwnedRecords, Record, Refusal, Replica, ReplyBody, RequestBody,
    Resilience,
};
use dt_model::testing::{count_ed25519, identity};
use dt_model::{Digest, Envelope, Signer, Timestamp};

use crate::agreement::{Shared, propose, step};
use crate::support::{WRITER, owned};

const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

fn membership() -> Membership {
    let nodes = (100..104).map(|seed| Node { party: identity(seed).party(), endpoints: Vec::new() });
    let parties = BTreeSet::from([identity(WRITER).party()]);
    let network = Digest::from([7; 32]);
    Membership::new(network, 1, Resilience::tolerating(1).unwrap(), nodes.collect(), parties).unwrap()
}

fn replica() -> Replica {
    let node = Arc::new(identity(100));
    Replica::new(
        node,
        Arc::new(MemoryStore::new()),
        membership(),
        vec![Arc::new(OwnedRecords), Arc::new(Shared)],
    )
}

/// What it replies, and how many signatures it verified for that besides the request's.
fn ask(replica: &Replica, body: RequestBody) -> (ReplyBody, usize) {
    let call = Call::new(&identity(WRITER), &membership(), replica.party(), [0; 16], NOW, body).unwrap();
    let (reply, count) = count_ed25519(|| replica.handle(call.bytes(), NOW));
    (call.read(&reply).unwrap(), count.verifications - 1)
}

#[test]
fn a_record_is_verified_when_it_comes_and_not_again() {
    let (replica, record) = (replica(), owned("a", 1, "value"));
    let put = || RequestBody::Put { record: record.envelope().clone() };
    assert_eq!(ask(&replica, put()).1, 1);
    assert_eq!(ask(&replica, put()).1, 0);
    let (reply, verified) = ask(&replica, RequestBody::Get { key: record.key });
    assert_eq!(reply, ReplyBody::Record { record: Some(record.envelope().clone()) });
    assert_eq!(verified, 0);
    // A restart remembers nothing, and the store is not believed.
    let store = replica.store().clone();
    let anew = Replica::new(Arc::new(identity(100)), store, membership(), vec![Arc::new(OwnedRecords)]);
    assert_eq!(ask(&anew, RequestBody::Get { key: record.key }).1, 1);
}

#[test]
fn a_proposal_is_verified_once_for_vote_and_reading() {
    let (replica, first) = (replica(), step(WRITER, 1, "a"));
    let (reply, verified) = ask(&replica, propose(&first, 1, None, Vec::new()));
    assert!(matches!(reply, ReplyBody::Voted { .. }), "{reply:?}");
    assert_eq!(verified, 1);
    assert_eq!(ask(&replica, propose(&first, 1, None, Vec::new())).1, 0);
    assert_eq!(ask(&replica, RequestBody::GetState { address: first.key.address }).1, 0);
}

/// The same record under a signature that does not hold is not the one that was verified.
#[test]
fn another_signature_is_another_record() {
    let (replica, record) = (replica(), owned("a", 1, "value"));
    ask(&replica, RequestBody::Put { record: record.envelope().clone() });
    let other = owned("b", 1, "value");
    let signature = *other.envelope().signature();
    let forged: Envelope<Record> =
        Envelope::unverified(record.signer(), signature, record.envelope().body().clone());
    let (reply, verified) = ask(&replica, RequestBody::Put { record: forged });
    assert_eq!(reply, ReplyBody::Refused { refusal: Refusal::NotPermitted });
    assert_eq!(verified, 1);
}
