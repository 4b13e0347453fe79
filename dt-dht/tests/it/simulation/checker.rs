//! The check of histories, against a search that tries every order, and every violation by hand.

use std::collections::BTreeMap;

use dt_dht::testing::simulator::{History, OperationId, Seen, Violation};
use dt_dht::{Kind, Slot};
use dt_model::Digest;
use proptest::prelude::*;

const SLOT: Slot = Slot { kind: Kind::new(*b"test"), index: 0 };
const OTHER: Slot = Slot { kind: Kind::new(*b"test"), index: 1 };

fn token(version: u64) -> Digest {
    Digest::from([u8::try_from(version).unwrap(); 32])
}

fn seen(version: u64) -> Seen {
    if version == 0 { Seen::default() } else { Seen::record(SLOT, version, token(version)) }
}

/// One operation with its interval: a write, or a read and what it saw.
#[derive(Debug, Clone, Copy)]
struct Interval {
    write: bool,
    version: u64,
    called: usize,
    answered: Option<usize>,
}

/// Whether some order of the operations, which respects their intervals, is one of a register whose versions only grow.
fn search(left: &[Interval], state: u64) -> bool {
    let first_answer = left.iter().filter_map(|one| one.answered).min();
    let Some(first_answer) = first_answer else { return true };
    (0..left.len()).any(|at| {
        let one = left[at];
        let fits = if one.write { state < one.version } else { state == one.version };
        let rest: Vec<_> =
            left.iter().enumerate().filter(|(other, _)| *other != at).map(|(_, one)| *one).collect();
        one.called < first_answer && fits && search(&rest, one.version)
    })
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Write(usize, usize),
    Read(usize),
    Answer(usize, u64),
    Abandon(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => (0usize..3, 0usize..4).prop_map(|(client, pick)| Step::Write(client, pick)),
        3 => (0usize..3).prop_map(Step::Read),
        5 => (0usize..3, 0u64..5).prop_map(|(client, version)| Step::Answer(client, version)),
        1 => (0usize..3).prop_map(Step::Abandon),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]
    #[test]
    fn the_check_finds_what_a_search_finds(steps in prop::collection::vec(step(), 1..22)) {
        let mut history = History::default();
        let mut intervals: Vec<Interval> = Vec::new();
        let mut busy: BTreeMap<usize, (OperationId, usize)> = BTreeMap::new();
        let mut unused = vec![1, 2, 3, 4];
        for (now, step) in steps.into_iter().enumerate() {
            match step {
                Step::Write(client, pick) if !busy.contains_key(&client) && pick < unused.len() => {
                    let version = unused.remove(pick);
                    let call = history.call("client", "object", Some(token(version)));
                    busy.insert(client, (call, intervals.len()));
                    intervals.push(Interval { write: true, version, called: now, answered: None });
                }
                Step::Read(client) if !busy.contains_key(&client) => {
                    busy.insert(client, (history.call("client", "object", None), intervals.len()));
                    intervals.push(Interval { write: false, version: 0, called: now, answered: None });
                }
                Step::Answer(client, version) => {
                    let Some((call, at)) = busy.remove(&client) else { continue };
                    if !intervals[at].write {
                        intervals[at].version = version;
                    }
                    intervals[at].answered = Some(now);
                    history.answer(call, seen(intervals[at].version));
                }
                Step::Abandon(client) => drop(busy.remove(&client)),
                _ => {}
            }
        }
        // A read without an answer tells nothing.
        intervals.retain(|one| one.write || one.answered.is_some());
        let verdict = history.check();
        prop_assert_eq!(verdict.is_ok(), search(&intervals, 0), "{:?}: {:?}", verdict, intervals);
    }
}

fn write(history: &mut History, version: u64) {
    let call = history.call("writer", "object", Some(token(version)));
    history.answer(call, seen(version));
}

fn read(history: &mut History, seen: Seen) {
    let call = history.call("reader", "object", None);
    history.answer(call, seen);
}

#[test]
fn every_violation_is_found() {
    let mut history = History::default();
    write(&mut history, 1);
    write(&mut history, 2);
    assert_eq!(history.check_steps(), Ok(()));
    let with = |change: &dyn Fn(&mut History)| {
        let mut history = history.clone();
        change(&mut history);
        history.check_steps().unwrap_err()
    };
    let rolled_back = with(&|history| read(history, seen(1)));
    assert!(matches!(rolled_back, Violation::RolledBack { .. }), "{rolled_back}");
    let lost = with(&|history| read(history, seen(0)));
    assert!(matches!(lost, Violation::RolledBack { .. }), "{lost}");
    let phantom = with(&|history| read(history, seen(3)));
    assert!(matches!(phantom, Violation::Phantom(_)), "{phantom}");
    let fork = with(&|history| read(history, Seen::record(SLOT, 2, token(1))));
    assert!(matches!(fork, Violation::Fork { version: 2, .. }), "{fork}");
    let not_there = with(&|history| {
        let call = history.call("writer", "object", Some(token(4)));
        history.answer(call, seen(2));
    });
    assert!(matches!(not_there, Violation::NotThere(_)), "{not_there}");
    let jump = with(&|history| {
        let _in_doubt = history.call("writer", "object", Some(token(5)));
        read(history, Seen::record(SLOT, 3, token(5)));
        read(
            history,
            Seen { version: 5, entries: BTreeMap::from([(SLOT, (4, token(5))), (OTHER, (1, token(1)))]) },
        );
    });
    assert!(matches!(jump, Violation::NoPath { .. }), "{jump}");
}

#[test]
fn writes_in_doubt_may_be_seen_or_not() {
    let mut history = History::default();
    write(&mut history, 1);
    let _in_doubt = history.call("writer", "object", Some(token(2)));
    let mut both = [history.clone(), history];
    read(&mut both[0], seen(1));
    read(&mut both[1], seen(2));
    both.iter().for_each(|history| assert_eq!(history.check(), Ok(())));
    read(&mut both[0], seen(2));
    read(&mut both[1], seen(1));
    assert_eq!(both[0].check(), Ok(()), "it may happen later");
    assert!(both[1].check().is_err(), "it cannot be undone");
}
