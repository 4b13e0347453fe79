//! What one replica accepts, and what it refuses: the rules that make it a witness.

use dt_dht::{Record, Refusal};
use dt_feed::{Head, Segment, Tree};
use dt_model::testing::identity;
use dt_model::{Digest, Timestamp, codec};

use crate::common::*;

/// What is changed, what becomes of it, and the change.
type Case<T> = (&'static str, Refusal, Box<dyn FnOnce(&mut T)>);

fn resign_segment(step: &Step, version: u64, change: impl FnOnce(&mut Segment)) -> dt_model::Signed<Record> {
    let mut segment: Segment = (*step.segment).clone();
    change(&mut segment);
    let key = manifest().feed().segment_key(segment.index);
    sign(Record { key, version, body: codec::encode(&segment).into() })
}

fn resign_head(step: &Step, change: impl FnOnce(&mut Head)) -> dt_model::Signed<Record> {
    let mut head: Head = (*step.head).clone();
    change(&mut head);
    let key = manifest().feed().head_key();
    sign(Record { key, version: head.segments, body: codec::encode(&head).into() })
}

#[test]
fn nothing_is_accepted_without_its_manifest() {
    let steps = steps(None, &[3], 0);
    let mut shelf = Shelf::default();
    assert_eq!(shelf.offer(steps[0].segment.record()), Err(Refusal::Gap { stored: 0 }));
    assert_eq!(shelf.offer(steps[0].head.record()), Err(Refusal::Gap { stored: 0 }));
}

#[test]
fn nobody_squats_an_address() {
    let stranger = identity(STRANGER);
    let mut shelf = Shelf::default();
    assert_eq!(shelf.offer(&sign_as(manifest().record(), &stranger)), Err(Refusal::NotPermitted));
    // His own manifest has another address.
    let mut own = manifest();
    own.owner = dt_model::Signer::party(&stranger);
    let squat = Record { key: manifest().feed().manifest_key(), ..own.record() };
    assert_eq!(shelf.offer(&sign_as(squat, &stranger)), Err(Refusal::WrongAddress));
    let second = Record { version: 2, ..manifest().record() };
    assert_eq!(shelf.offer(&sign(second)), Err(Refusal::Malformed));
}

#[test]
fn a_segment_must_follow() {
    let steps = steps(None, &[3, 4, 5], 0);
    let mut shelf = Shelf::with_manifest();
    shelf.take(&steps[0]).unwrap();
    assert_eq!(shelf.offer(steps[2].segment.record()), Err(Refusal::Gap { stored: 1 }));
    let next = &steps[1];
    let cases: Vec<Case<Segment>> = vec![
        ("chain", Refusal::Inconsistent, Box::new(|s| s.previous = Digest::from([1; 32]))),
        ("time of entries", Refusal::Inconsistent, Box::new(|s| s.first_time = Timestamp::from_millis(1))),
        ("time of making", Refusal::Inconsistent, Box::new(|s| s.time = Timestamp::from_millis(1))),
        ("epoch", Refusal::Inconsistent, Box::new(|s| s.epoch = 0)),
        ("no entries", Refusal::Malformed, Box::new(|s| s.count = 0)),
        ("too many entries", Refusal::Malformed, Box::new(|s| s.count = u32::MAX)),
        ("hashes", Refusal::Malformed, Box::new(|s| s.added.push(Digest::ZERO))),
        ("times", Refusal::Malformed, Box::new(|s| s.first_time = Timestamp::MAX)),
        ("start over", Refusal::Malformed, Box::new(|s| s.before = Tree::empty())),
        ("index", Refusal::Gap { stored: 1 }, Box::new(|s| s.index = 2)),
        ("last index", Refusal::Malformed, Box::new(|s| s.index = u64::MAX)),
        ("feed", Refusal::WrongAddress, Box::new(|s| s.feed = [9; 32].into())),
    ];
    for (what, refusal, change) in cases {
        let offered = resign_segment(next, 1, change);
        // The slot that it claims is the one it is put to; a foreign feed is caught by the address.
        assert_eq!(shelf.clone().offer(&offered), Err(refusal), "{what}");
    }
    let tree = steps[2].segment.before.clone();
    let other_tree = resign_segment(next, 1, |s| {
        s.before = tree;
        s.added = dt_feed_blocks(s.before.size(), u64::from(s.count));
    });
    assert_eq!(shelf.offer(&other_tree), Err(Refusal::Inconsistent));
    let foreign = sign_as(next.segment.record().value().clone(), &identity(STRANGER));
    assert_eq!(shelf.offer(&foreign), Err(Refusal::NotPermitted));
    shelf.take(next).unwrap();
    shelf.take(&steps[2]).unwrap();
}

/// As many hashes as the range [start, start + count) has blocks.
fn dt_feed_blocks(start: u64, count: u64) -> Vec<Digest> {
    let (mut at, end, mut hashes) = (start, start + count, Vec::new());
    while at < end {
        let mut size = 1;
        while at % (size * 2) == 0 && at + size * 2 <= end {
            size *= 2;
        }
        at += size;
        hashes.push(Digest::ZERO);
    }
    hashes
}

#[test]
fn a_head_says_only_what_the_chain_proves() {
    let made = steps(None, &[3, 4], 0);
    let mut shelf = Shelf::with_manifest();
    shelf.take(&made[0]).unwrap();
    assert_eq!(shelf.offer(made[1].head.record()), Err(Refusal::Gap { stored: 1 }));
    shelf.offer(made[1].segment.record()).unwrap();
    let other = steps(Some(made[0].head.clone()), &[4], 7);
    let cases: Vec<Case<Head>> = vec![
        ("previous", Refusal::Inconsistent, Box::new(|h| h.previous = Digest::from([1; 32]))),
        ("segment", Refusal::Gap { stored: 1 }, Box::new(|h| h.segment = Digest::ZERO)),
        ("tree", Refusal::Inconsistent, Box::new(move |h| h.tree = other[0].head.tree.clone())),
        ("first time", Refusal::Inconsistent, Box::new(|h| h.first_time = Timestamp::from_millis(1))),
        ("last time", Refusal::Inconsistent, Box::new(|h| h.last_time = Timestamp::MAX)),
        ("time", Refusal::Inconsistent, Box::new(|h| h.time = Timestamp::MAX)),
        ("epoch", Refusal::Inconsistent, Box::new(|h| h.epoch = u64::MAX)),
        ("version", Refusal::Gap { stored: 1 }, Box::new(|h| h.segments = 5)),
        ("huge version", Refusal::Malformed, Box::new(|h| h.segments = u64::MAX)),
        ("feed", Refusal::WrongAddress, Box::new(|h| h.feed = [9; 32].into())),
        ("empty tree", Refusal::Malformed, Box::new(|h| h.tree = Tree::empty())),
    ];
    for (what, refusal, change) in cases {
        assert_eq!(shelf.offer(&resign_head(&made[1], change)), Err(refusal), "{what}");
    }
    let foreign = sign_as(made[1].head.record().value().clone(), &identity(STRANGER));
    assert_eq!(shelf.offer(&foreign), Err(Refusal::NotPermitted));
    shelf.offer(made[1].head.record()).unwrap();
    assert_eq!(shelf.offer(made[0].head.record()), Err(Refusal::Stale { stored: 2 }), "never back");
}

#[test]
fn a_witness_holds_to_the_first_of_two_histories() {
    let trunk = steps(None, &[3], 0);
    let (a, b) =
        (steps(Some(trunk[0].head.clone()), &[4, 2], 1), steps(Some(trunk[0].head.clone()), &[4, 2], 2));
    let mut shelf = Shelf::with_manifest();
    shelf.take(&trunk[0]).unwrap();
    shelf.take(&a[0]).unwrap();
    assert_eq!(shelf.offer(b[0].segment.record()), Err(Refusal::Conflict));
    assert_eq!(shelf.offer(b[0].head.record()), Err(Refusal::Conflict));
    assert_eq!(shelf.offer(b[1].segment.record()), Err(Refusal::Inconsistent));
    assert_eq!(shelf.offer(b[1].head.record()), Err(Refusal::Gap { stored: 2 }));
    shelf.take(&a[1]).unwrap();
}

#[test]
fn an_uncovered_segment_may_be_replaced_and_only_that() {
    let trunk = steps(None, &[3], 0);
    let early = steps(Some(trunk[0].head.clone()), &[4, 1], 1);
    let late = steps(Some(trunk[0].head.clone()), &[5], 2);
    let mut shelf = Shelf::with_manifest();
    shelf.take(&trunk[0]).unwrap();
    shelf.offer(early[0].segment.record()).unwrap();
    shelf.offer(late[0].segment.record()).unwrap();
    let stored = late[0].segment.record().version;
    assert_eq!(shelf.offer(early[0].segment.record()), Err(Refusal::Stale { stored }));
    assert_eq!(
        shelf.offer(early[0].head.record()),
        Err(Refusal::Gap { stored: 1 }),
        "its segment was replaced"
    );
    shelf.offer(late[0].head.record()).unwrap();
    let newest = resign_segment(&early[0], u64::MAX, |_| ());
    assert_eq!(shelf.offer(&newest), Err(Refusal::Conflict), "a head covers it");

    let mut shelf = Shelf::with_manifest();
    shelf.take(&trunk[0]).unwrap();
    shelf.offer(early[0].segment.record()).unwrap();
    shelf.offer(early[1].segment.record()).unwrap();
    assert_eq!(shelf.offer(late[0].segment.record()), Err(Refusal::Conflict), "another one is chained to it");

    let after = steps(Some(late[0].head.clone()), &[1], 3);
    let mut shelf = Shelf::with_manifest();
    shelf.take(&trunk[0]).unwrap();
    shelf.offer(early[0].segment.record()).unwrap();
    let gap = Err(Refusal::Gap { stored: 1 });
    assert_eq!(shelf.offer(after[0].segment.record()), gap, "it follows on the attempt that is not here");
    shelf.offer(late[0].segment.record()).unwrap();
    shelf.offer(after[0].segment.record()).unwrap();
    shelf.offer(after[0].head.record()).unwrap();
}

#[test]
fn a_laggard_catches_up_and_a_lost_segment_returns() {
    let made = steps(None, &[3, 4, 5, 1], 0);
    let mut shelf = Shelf::with_manifest();
    shelf.take(&made[0]).unwrap();
    made[1..].iter().for_each(|step| shelf.offer(step.segment.record()).unwrap());
    shelf.offer(made[3].head.record()).unwrap();

    let other = steps(None, &[3], 9);
    for step in &made {
        let slot = step.segment.record().key.slot;
        let mut shelf = shelf.clone();
        shelf.0.remove(&slot);
        if slot.index == 0 {
            assert_eq!(shelf.offer(other[0].segment.record()), Err(Refusal::Conflict));
        }
        shelf.offer(step.segment.record()).unwrap();
    }
    let mut gap = shelf.clone();
    gap.0.remove(&made[1].segment.record().key.slot);
    gap.0.remove(&made[2].segment.record().key.slot);
    assert_eq!(gap.offer(made[1].segment.record()), Err(Refusal::Superseded), "nothing vouches for it yet");
    gap.offer(made[2].segment.record()).unwrap();
    gap.offer(made[1].segment.record()).unwrap();
}

#[test]
fn what_another_segment_is_chained_to_returns_as_it_was() {
    let trunk = steps(None, &[3], 0);
    let made = steps(Some(trunk[0].head.clone()), &[4, 5, 1], 1);
    let mut shelf = Shelf::with_manifest();
    shelf.take(&trunk[0]).unwrap();
    made.iter().for_each(|step| shelf.offer(step.segment.record()).unwrap());
    // No head covers them. The owner describes another one, of a higher version, where a replica lost one of them.
    for (at, lost) in made[..2].iter().enumerate() {
        let mut shelf = shelf.clone();
        shelf.0.remove(&lost.segment.record().key.slot);
        let before = if at == 0 { &trunk[0] } else { &made[at - 1] };
        for count in [u64::from(lost.segment.count), 9] {
            let other = steps(Some(before.head.clone()), &[count], 2);
            assert_ne!(other[0].segment.record().digest(), lost.segment.record().digest());
            assert_eq!(shelf.offer(other[0].segment.record()), Err(Refusal::Conflict), "{at}, {count}");
        }
        let newer = resign_segment(lost, u64::MAX, |_| ());
        assert_eq!(shelf.offer(&newer), Err(Refusal::Conflict), "the same, signed again");
        shelf.offer(lost.segment.record()).unwrap();
        shelf.offer(made[2].head.record()).unwrap();
    }
    // Nothing is chained to the last one.
    let mut shelf = shelf.clone();
    shelf.0.remove(&made[2].segment.record().key.slot);
    shelf.offer(steps(Some(made[1].head.clone()), &[2], 2)[0].segment.record()).unwrap();
}
