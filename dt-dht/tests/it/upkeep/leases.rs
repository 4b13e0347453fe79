//! What expires, what is kept, and crashes in between.

use core::time::Duration;
use std::collections::BTreeMap;

use dt_dht::{LEASE, Refusal, encode_stripe, verify_store};
use proptest::prelude::*;

use super::*;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Sweeps everything, a few rows at a time.
fn sweep(single: &Single, budget: usize) -> usize {
    let (mut after, mut removed) = (None, 0);
    loop {
        let swept = single.replica.sweep(after, budget, single.now).unwrap();
        assert!(swept.looked + swept.removed <= budget + 64, "a sweep is bounded: {swept:?}");
        removed += swept.removed;
        if swept.is_over {
            return removed;
        }
        after = swept.next;
    }
}

#[test]
fn what_nobody_renews_is_removed_and_what_somebody_does_is_kept() {
    let mut single = Single::new(Policy::open());
    let (kept, lost) = (owned("kept", 1, "x"), owned("lost", 1, "y"));
    single.put(&kept).unwrap();
    single.put(&lost).unwrap();
    single.now = single.now.saturating_add(DAY * 300);
    single.put(&kept).unwrap();
    assert_eq!(sweep(&single, 10), 0);
    single.now = single.now.saturating_add(DAY * 101);
    assert_eq!(single.get(&lost), Some(lost.clone()), "until it is swept it is served");
    assert_eq!(sweep(&single, 10), 1);
    assert_eq!(single.get(&lost), None);
    assert_eq!(single.get(&kept), Some(kept));
    assert_eq!(verify_store(&*single.store).unwrap().records, 1);
}

/// What a lease's end means for rollback: the node forgets, and only a reader's floor remembers.
#[test]
fn an_expired_version_may_come_back() {
    let mut single = Single::new(Policy::open());
    single.put(&owned("a", 1, "old")).unwrap();
    single.put(&owned("a", 2, "new")).unwrap();
    assert_eq!(single.put(&owned("a", 1, "old")), Err(Refusal::Stale { stored: 2 }));
    single.now = single.now.saturating_add(LEASE);
    sweep(&single, 10);
    single.put(&owned("a", 1, "old")).unwrap();
}

#[test]
fn shards_and_evidence_expire_and_nothing_is_left() {
    let mut single = Single::new(Policy::open());
    single.put(&owned("a", 1, "x")).unwrap();
    assert_eq!(single.put(&owned("a", 1, "y")), Err(Refusal::Conflict));
    let (blob, shards) = encode_stripe(b"sealed", single.membership.resilience()).unwrap();
    let party = single.replica.party();
    let index = single.membership.replicas(&blob.address()).iter().position(|node| *node == party).unwrap();
    let body =
        RequestBody::PutShard { blob, index: index.try_into().unwrap(), shard: shards[index].clone().into() };
    assert!(is_stored(&single.ask(WRITER, body)));
    let report = verify_store(&*single.store).unwrap();
    assert_eq!((report.records, report.evidence, report.shards), (1, 1, 1));
    single.now = single.now.saturating_add(LEASE);
    assert_eq!(sweep(&single, 1), 3);
    assert_eq!(single.store.scan(&[], None, 10).unwrap().len(), 1, "the totals");
    verify_store(&*single.store).unwrap();
}

/// A crash at every write of everything that a node does: the books always agree with the rows, and a sweep after it goes on.
#[test]
fn books_hold_after_a_crash_at_every_write() {
    for writes in 0.. {
        let memory = Arc::new(MemoryStore::new());
        let dying = Arc::new(Dying::new(memory.clone(), writes));
        let mut single = Single::on(dying.clone(), Policy::open());
        for name in ["a", "b", "c"] {
            let _ = single.put(&owned(name, 1, "x"));
            let _ = single.put(&owned(name, 2, "y"));
            let _ = single.put(&owned(name, 2, "z"));
        }
        single.now = single.now.saturating_add(LEASE / 2);
        let _ = single.put(&owned("b", 2, "y"));
        single.now = single.now.saturating_add(LEASE / 2);
        let _ = single.replica.sweep(None, 1, single.now);
        let _ = single.replica.sweep(None, 100, single.now);
        let finished = !dying.is_dead();
        let report = verify_store(&*memory).unwrap();

        let mut again = Single::on(memory.clone(), Policy::open());
        again.now = single.now;
        sweep(&again, 2);
        let after = verify_store(&*memory).unwrap();
        assert!(after.records <= report.records && after.records <= 1);
        again.now = again.now.saturating_add(LEASE);
        sweep(&again, 2);
        let rows = memory.scan(&[], None, 100).unwrap();
        assert!(rows.iter().all(|(key, _)| key.as_ref() == b"t" || key[0] == b'u'), "{rows:?}");
        assert!(rows.iter().all(|(key, value)| key.as_ref() == b"t" || value.is_empty()), "{rows:?}");
        if finished {
            assert!(writes > 10);
            break;
        }
    }
}

/// A long address is removed in parts, of which nobody sees some and not the others, and a write in the middle comes after all of it.
#[tokio::test]
async fn half_an_address_is_never_seen() {
    let validators: [Arc<dyn dt_dht::Validator>; 1] = [Arc::new(Private)];
    let network = with_nodes(Resilience::tolerating(1).unwrap(), 4, &validators);
    let writer = client(&network, WRITER);
    let record = |index: u64| {
        let key = dt_dht::Key::new([9; 32].into(), Private::KIND, index);
        Signed::new(Record { key, version: 1, body: "x".into() }, &identity(WRITER)).unwrap()
    };
    for index in 0..200 {
        writer.put(&record(index), network.now()).await.unwrap();
    }
    network.advance(LEASE);
    let replica = network.replica(&network.nodes()[0].party()).clone();
    let swept = replica.sweep(None, 10, network.now()).unwrap();
    assert!(!swept.is_over && swept.removed <= 11, "{swept:?}");
    verify_store(&**replica.store()).unwrap();
    let ask = |body| ask(&network, WRITER, &network.nodes()[0], body);
    let answers: Vec<_> = (0..6).map(|_| ask(RequestBody::Get { key: record(199).key })).collect();
    let gone = answers.iter().filter(|answer| **answer == ReplyBody::Record { record: None }).count();
    let busy = |answer: &&ReplyBody| matches!(answer, ReplyBody::Refused { refusal: Refusal::Busy { .. } });
    assert_eq!(gone + answers.iter().filter(busy).count(), 6, "never the record: {answers:?}");
    assert!(gone > 0, "those who ask finish the removal");
    assert!(matches!(ask(put(&record(3))), ReplyBody::Stored { .. }));
    assert_eq!(verify_store(&**replica.store()).unwrap().records, 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Any puts, renewals and sweeps against a map of times.
    #[test]
    fn leases_against_a_naive_model(steps in prop::collection::vec((0u8..5, 0u64..120, any::<bool>()), 1..40)) {
        let mut single = Single::new(Policy::open());
        // A renewal within a period of 6.25 days may count as the one before.
        let slack = LEASE / 64;
        let mut leased: BTreeMap<u8, Timestamp> = BTreeMap::new();
        for (name, days, put) in steps {
            single.now = single.now.saturating_add(DAY * u32::try_from(days).unwrap());
            let record = owned(["a", "b", "c", "d", "e"][usize::from(name)], 1, "x");
            if put {
                single.put(&record).unwrap();
                leased.insert(name, single.now);
                continue;
            }
            sweep(&single, 3);
            for (name, leased) in &leased {
                let record = owned(["a", "b", "c", "d", "e"][usize::from(*name)], 1, "x");
                let age = single.now.since(*leased);
                let held = single.get(&record).is_some();
                prop_assert!(held || age + slack >= LEASE, "{name} was removed after {age:?}");
                prop_assert!(!held || age < LEASE, "{name} was kept for {age:?}");
            }
            leased.retain(|_, leased| single.now.since(*leased) + slack < LEASE);
            verify_store(&*single.store).unwrap();
        }
    }
}
