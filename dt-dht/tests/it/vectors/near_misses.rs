//! Bytes that have the layout of a type and break its invariant.

use borsh::BorshSerialize;
use dt_dht::{
    AddressState, BlobRef, Checkpoint, Former, MAX_AGREED_SLOTS, MAX_BLOB_BYTES, Resilience, Slot, StateEntry,
};
use dt_model::{Digest, codec};

use super::{one_fault, record};

const LIMIT: usize = 1 << 16;

fn reads<T: BorshSerialize + borsh::BorshDeserialize>(raw: &impl BorshSerialize) -> bool {
    codec::decode::<T>(&codec::encode(raw), LIMIT).is_ok()
}

fn entry(index: u64, version: u64) -> StateEntry {
    let Slot { kind, .. } = record().key.slot;
    StateEntry { slot: Slot { kind, index }, version, record: Digest::from([1; 32]), former: None }
}

#[test]
fn states_are_sorted_and_bounded() {
    let state = |sequence: u64, entries: Vec<StateEntry>| {
        reads::<AddressState>(&(record().key.address, sequence, entries))
    };
    let many = |count: u64| -> Vec<_> { (0..count).map(|index| entry(index, 1)).collect() };
    let most = MAX_AGREED_SLOTS as u64;
    assert!(state(0, vec![]) && state(2, vec![entry(1, 1), entry(2, 9)]) && state(most, many(most)));
    assert!(!state(2, vec![entry(2, 1), entry(1, 9)]), "out of order");
    assert!(!state(2, vec![entry(1, 1), entry(1, 2)]), "a slot twice");
    assert!(!state(1, vec![entry(1, 1), entry(2, 9)]), "more slots than steps");
    assert!(!state(1, vec![]) && !state(0, vec![entry(1, 1)]), "steps without a slot, a slot without a step");
    assert!(!state(1, vec![entry(1, 0)]), "no version");
    let replaced = |version, former| {
        let former = Some(Former { version: former, digest: Digest::from([2; 32]) });
        state(2, vec![StateEntry { former, ..entry(1, version) }])
    };
    assert!(replaced(2, 1) && replaced(9, 2));
    assert!(!replaced(2, 2) && !replaced(2, 3) && !replaced(2, 0), "what was replaced is older");
    assert!(!state(most + 1, many(most + 1)), "too many slots");
}

#[test]
fn blobs_can_be_restored() {
    let blob = |length: u64, data: u16, shards: usize| {
        reads::<BlobRef>(&(length, data, vec![Digest::from([1; 32]); shards]))
    };
    assert!(blob(0, 1, 1) && blob(7, 2, 4) && blob(MAX_BLOB_BYTES, 2, 4));
    assert!(!blob(7, 0, 4) && !blob(7, 5, 4) && !blob(7, 0, 0), "shards that restore it");
    assert!(!blob(MAX_BLOB_BYTES + 1, 2, 4) && !blob(u64::MAX, 2, 4), "too long");
    assert!(!blob(MAX_BLOB_BYTES, 2, 64), "too long for so many shards");
}

#[test]
fn checkpoints_are_of_whole_stripes() {
    let checkpoint = |resilience: (u16, u16), digests: usize| {
        reads::<Checkpoint>(&(resilience, vec![Digest::from([1; 32]); digests]))
    };
    assert!(checkpoint((4, 1), 0) && checkpoint((4, 1), 8));
    assert!(!checkpoint((4, 1), 7), "a part of a stripe");
    assert!(!checkpoint((3, 1), 3), "too few replicas");
}

#[test]
fn resilience_needs_replicas() {
    assert_eq!(codec::decode(&codec::encode(&(4u16, 1u16)), 4), Ok(one_fault()));
    assert!(reads::<Resilience>(&(1u16, 0u16)) && reads::<Resilience>(&(5u16, 1u16)));
    assert!(!reads::<Resilience>(&(3u16, 1u16)) && !reads::<Resilience>(&(0u16, 0u16)));
    assert!(!reads::<Resilience>(&(u16::MAX, u16::MAX)));
}
