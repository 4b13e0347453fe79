//! Quotas: who pays, what is no way around, and that they are right after a restart.

use std::collections::BTreeMap;

use dt_dht::{Amount, Quotas, ROW_BYTES, Refusal, Usage, encode_stripe, verify_store};
use proptest::prelude::*;

use super::*;

fn policy(rows: u64, bytes: u64) -> Policy {
    let mut policy = Policy::open();
    policy.quotas.common.records = Amount { rows, bytes };
    policy.quotas.common.shards = Amount { rows, bytes };
    policy
}

#[test]
fn rows_and_bytes_are_limited() {
    let mut single = Single::new(policy(3, u64::MAX));
    for name in ["a", "b", "c"] {
        single.put(&owned(name, 1, "x")).unwrap();
    }
    let before = single.store.scan(&[], None, 100).unwrap();
    assert_eq!(single.put(&owned("d", 1, "x")), Err(Refusal::QuotaExceeded));
    assert_eq!(single.store.scan(&[], None, 100).unwrap(), before, "nothing has changed");
    // A newer version takes the place of the older, and another party has its own allowance.
    single.put(&owned("a", 2, "y")).unwrap();
    single.put(&sized(READER, "d", 1, 10)).unwrap();

    let mut single = Single::new(policy(u64::MAX, 10_000));
    single.put(&sized(WRITER, "a", 1, 8_000)).unwrap();
    assert_eq!(single.put(&sized(WRITER, "b", 1, 8_000)), Err(Refusal::QuotaExceeded));
    assert_eq!(single.put(&sized(WRITER, "a", 2, 12_000)), Err(Refusal::QuotaExceeded));
    single.put(&sized(WRITER, "a", 2, 10)).unwrap();
    single.put(&sized(WRITER, "b", 1, 8_000)).unwrap();
}

/// Many small records, others' names, renewals: none of them is a way around.
#[test]
fn there_is_no_way_around() {
    let mut single = Single::new(policy(u64::MAX, 20 * ROW_BYTES));
    let stored = (0..100).filter(|at| single.put(&sized(WRITER, &format!("n{at}"), 1, 0)).is_ok()).count();
    assert!(stored < 20, "{stored} rows of no content");
    // The writer's record counts for the writer, whoever sends it.
    let record = sized(WRITER, "sent-by-another", 1, 0);
    assert_eq!(single.ask(READER, put(&record)), refused(Refusal::QuotaExceeded));
    single.put(&sized(READER, "his-own", 1, 0)).unwrap();
    // A renewal costs nothing and gives nothing back.
    let first = sized(WRITER, "n0", 1, 0);
    for _ in 0..50 {
        single.put(&first).unwrap();
    }
    assert_eq!(single.put(&record), Err(Refusal::QuotaExceeded));
    verify_store(&*single.store).unwrap();
}

#[test]
fn who_renews_a_shard_pays_for_it() {
    let mut single = Single::new(policy(1, u64::MAX));
    let shard = |single: &Single, content: &[u8]| {
        let (blob, shards) = encode_stripe(content, single.membership.resilience()).unwrap();
        let party = single.replica.party();
        let replicas = single.membership.replicas(&blob.address());
        let index = replicas.iter().position(|node| *node == party).unwrap();
        let shard = shards[index].clone().into();
        RequestBody::PutShard { blob, index: index.try_into().unwrap(), shard }
    };
    let (first, second) = (shard(&single, b"first"), shard(&single, b"second"));
    assert!(is_stored(&single.ask(WRITER, first.clone())));
    assert_eq!(single.ask(WRITER, second.clone()), refused(Refusal::QuotaExceeded));
    assert!(is_stored(&single.ask(WRITER, first.clone())));
    assert!(is_stored(&single.ask(READER, first)));
    assert!(is_stored(&single.ask(WRITER, second)));
    verify_store(&*single.store).unwrap();
}

#[test]
fn evidence_is_bounded() {
    let mut single = Single::new(Policy::open());
    for at in 0..40 {
        let name = format!("n{at}");
        single.put(&sized(WRITER, &name, 1, 1)).unwrap();
        assert_eq!(single.put(&sized(WRITER, &name, 1, 2)), Err(Refusal::Conflict));
    }
    assert_eq!(verify_store(&*single.store).unwrap().evidence, 16);
}

#[test]
fn quotas_hold_after_a_restart_and_some_have_their_own() {
    let memory = Arc::new(MemoryStore::new());
    Single::on(memory.clone(), policy(2, u64::MAX)).put(&owned("a", 1, "x")).unwrap();
    Single::on(memory.clone(), policy(2, u64::MAX)).put(&owned("b", 1, "x")).unwrap();
    let mut single = Single::on(memory.clone(), policy(2, u64::MAX));
    assert_eq!(single.put(&owned("c", 1, "x")), Err(Refusal::QuotaExceeded));
    let mut policy = policy(2, u64::MAX);
    policy.quotas.of = BTreeMap::from([(identity(WRITER).party(), Quotas::recommended().common)]);
    Single::on(memory, policy).put(&owned("c", 1, "x")).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Any puts of two writers against sums over what is stored.
    #[test]
    fn usage_against_a_naive_model(
        steps in prop::collection::vec((1u64..3, 0u8..4, 0usize..3000), 1..40),
        rows in 1u64..4,
        bytes in 500u64..6000,
    ) {
        let mut single = Single::new(policy(rows, bytes));
        let mut stored: BTreeMap<(u64, u8), (u64, u64)> = BTreeMap::new();
        for (writer, name, length) in steps {
            let version = stored.get(&(writer, name)).map_or(0, |(version, _)| *version) + 1;
            let record = sized(writer, ["a", "b", "c", "d"][usize::from(name)], version, length);
            // The row: its key, a checksum, the envelope; and the overhead.
            let row = borsh::to_vec(record.envelope()).unwrap().len() as u64 + 45 + 32 + ROW_BYTES;
            let mut after = stored.clone();
            after.insert((writer, name), (version, row));
            let sum = |of: &BTreeMap<(u64, u8), (u64, u64)>| {
                let own = of.iter().filter(|((owner, _), _)| *owner == writer).map(|(_, (_, row))| *row);
                Usage {
                    records: Amount { rows: own.clone().count() as u64, bytes: own.sum() },
                    ..Usage::default()
                }
            };
            let (before, now) = (sum(&stored).records, sum(&after).records);
            let fits = (now.rows <= rows || now.rows <= before.rows)
                && (now.bytes <= bytes || now.bytes <= before.bytes);
            match single.put(&record) {
                Ok(()) => {
                    prop_assert!(fits);
                    stored = after;
                }
                Err(refusal) => {
                    prop_assert_eq!(refusal, Refusal::QuotaExceeded);
                    prop_assert!(!fits);
                }
            }
        }
        verify_store(&*single.store).unwrap();
    }
}
