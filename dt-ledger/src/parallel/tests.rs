//! What comes of work on any number of threads, also where one breaks off or the taker refuses.

use std::sync::Mutex;

use proptest::prelude::*;

use super::*;

fn threads(number: usize) -> Threads {
    Threads::new(NonZero::new(number).unwrap())
}

/// What `take` was given, and what came of all, when it refuses number `refused`.
fn taken(number: usize, count: usize, refused: usize) -> (Vec<(usize, usize)>, Result<(), usize>) {
    let mut all = Vec::new();
    let result = threads(number).in_order(
        count,
        |number| number * number,
        |number, square| {
            all.push((number, square));
            if number == refused { Err(number) } else { Ok(()) }
        },
    );
    (all, result)
}

proptest! {
    #[test]
    fn all_is_taken_in_order_up_to_the_first_refusal(number in 1..9usize, count in 0..200usize, refused in 0..250usize) {
        let (all, result) = taken(number, count, refused);
        let end = count.min(refused + 1);
        prop_assert_eq!(all, (0..end).map(|number| (number, number * number)).collect::<Vec<_>>());
        prop_assert_eq!(result, if refused < count { Err(refused) } else { Ok(()) });
    }
}

#[test]
fn one_thread_is_the_callers_and_takes_each_before_the_next() {
    let caller = thread::current().id();
    let steps = Mutex::new(Vec::new());
    let step = |what: &'static str, number: usize| {
        assert_eq!(thread::current().id(), caller);
        steps.lock().unwrap().push((what, number));
    };
    let take = |number, ()| {
        step("take", number);
        Ok::<_, ()>(())
    };
    Threads::ONE.in_order(3, |number| step("work", number), take).unwrap();
    Threads::ONE.both(|| step("here", 0), || step("there", 0));
    let expected =
        (0..3).flat_map(|number| [("work", number), ("take", number)]).chain([("here", 0), ("there", 0)]);
    assert_eq!(*steps.lock().unwrap(), expected.collect::<Vec<_>>());
}

/// Whatever a helper does not finish, the caller does.
#[test]
fn helpers_that_break_off_are_not_missed() {
    let caller = thread::current().id();
    let break_off = || assert_eq!(thread::current().id(), caller, "a helper breaks off, as it should here");
    for _ in 0..20 {
        let mut all = Vec::new();
        let work = |number: usize| {
            break_off();
            number
        };
        let take = |_, number| {
            all.push(number);
            Ok::<_, ()>(())
        };
        threads(3).in_order(100, work, take).unwrap();
        assert_eq!(all, (0..100).collect::<Vec<_>>());
    }
    assert_eq!(threads(2).both(|| 1, || [break_off(); 2].len()), (1, 2));
}

#[test]
fn halves_are_never_empty_and_few_pieces_get_few_threads() {
    for number in 1..20 {
        let [more, less] = threads(number).halves();
        assert!(more.0 >= less.0 && less.0.get() >= 1);
        assert!(number == 1 || more.0.get() + less.0.get() == number);
    }
    let all = threads(8);
    assert_eq!([0, 7, 8, 16, 1000].map(|pieces| all.at_most(pieces, 8).0.get()), [1, 1, 1, 2, 8]);
}
