//! Runs one scenario for many seeds.
#![expect(clippy::panic, reason = "a test reports by panicking")]

use core::num::NonZero;
use core::ops::AddAssign;
use core::sync::atomic::{AtomicU64, Ordering};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError};
use std::thread;

use super::{Conditions, Dice, History, Setup};
use crate::Resilience;

/// How many operations there were, and how many succeeded: a scenario in which nothing succeeds shows nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Calls.
    pub called: usize,
    /// Answers.
    pub answered: usize,
}

impl From<&History> for Tally {
    fn from(history: &History) -> Self {
        let answered = history.operations().iter().filter(|operation| operation.seen.is_some()).count();
        Self { called: history.operations().len(), answered }
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.called += other.called;
        self.answered += other.answered;
    }
}

/// Runs `scenario` for `quick` seeds, or as many as `DT_DHT_SEEDS` says, or only for the one that `DT_DHT_SEED` names, on as many threads as
/// the machine runs at once. `test` is how `cargo test` finds it: it is printed for the first seed that fails.
///
/// # Panics
/// If a seed fails.
pub fn for_seeds(test: &str, quick: u64, scenario: impl Fn(u64) -> Result<Tally, String> + Sync) {
    let number = |variable: &str| std::env::var(variable).ok().and_then(|text| text.parse::<u64>().ok());
    let seeds = match number("DT_DHT_SEED") {
        Some(seed) => seed..seed.saturating_add(1),
        None => 0..number("DT_DHT_SEEDS").unwrap_or(quick),
    };
    let count = seeds.end - seeds.start;
    let (next, total) = (AtomicU64::new(seeds.start), Mutex::new(Tally::default()));
    let first_wrong: Mutex<Option<(u64, String)>> = Mutex::default();
    let work = || {
        while let Some(seed) = Some(next.fetch_add(1, Ordering::Relaxed)).filter(|seed| seeds.contains(seed))
        {
            let outcome = catch_unwind(AssertUnwindSafe(|| scenario(seed)));
            match outcome.unwrap_or_else(|_| Err("it panics".to_owned())) {
                Ok(tally) => *total.lock().unwrap_or_else(PoisonError::into_inner) += tally,
                Err(wrong) => {
                    // Those below are under way already.
                    next.store(seeds.end, Ordering::Relaxed);
                    let mut first = first_wrong.lock().unwrap_or_else(PoisonError::into_inner);
                    if first.as_ref().is_none_or(|(first, _)| seed < *first) {
                        *first = Some((seed, wrong));
                    }
                }
            }
        }
    };
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work))));
    if let Some((seed, wrong)) = first_wrong.into_inner().unwrap_or_else(PoisonError::into_inner) {
        panic!("{wrong}\nagain: DT_DHT_SEED={seed} cargo test {test}");
    }
    let total = total.into_inner().unwrap_or_else(PoisonError::into_inner);
    println!("{test}: {count} seeds hold; {} of {} operations succeeded", total.answered, total.called);
}

impl Setup {
    /// A network as bad as the guarantees allow: k from 1 to 3, the larger less often, sometimes with more replicas than 3k + 1 and more
    /// nodes than replicas; k malicious nodes; any weather.
    ///
    /// # Panics
    /// Never: what it draws makes a resilience.
    #[must_use]
    pub fn draw(dice: &mut Dice, of: impl FnOnce(Resilience) -> Self) -> Self {
        let max_faulty = *dice.choose(&[1u16, 1, 1, 1, 2, 2, 3]);
        let more = *dice.choose(&[0u16, 0, 0, 1, 2]);
        let resilience =
            Resilience::new(3 * max_faulty + 1 + more, max_faulty).expect("3k + 1 replicas, or more");
        let mut setup = of(resilience);
        setup.nodes += dice.below(3);
        setup.byzantine = resilience.max_faulty();
        setup.conditions = Conditions::draw(dice);
        setup
    }
}
