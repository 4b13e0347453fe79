//! Thousands of runs in simulated networks that are as bad as the guarantees allow, each from a seed.
//!
//! A few dozen seeds run by default. All of them:
//!
//! ```sh
//! DT_DHT_SEEDS=10000 cargo test --release -p dt-dht --test it -- simulation --nocapture
//! ```
//!
//! One of them again, such as 77: `DT_DHT_SEED=77 cargo test -p dt-dht --test it -- simulation::newest`.

use core::fmt::Display;

use dt_dht::Resilience;
use dt_dht::testing::simulator::{Conditions, Dice, Recorder, Setup};

mod agreed;
mod blobs;
mod checker;
mod disk;
mod newest;
mod replay;

/// How many operations there were, and how many succeeded.
#[derive(Default)]
struct Tally {
    called: usize,
    answered: usize,
}

fn tally(recorder: &Recorder) -> Tally {
    let history = recorder.history();
    let answered = history.operations().iter().filter(|operation| operation.seen.is_some()).count();
    Tally { called: history.operations().len(), answered }
}

/// Runs `scenario` for every seed; the first that fails is reported with the way to run it again.
fn for_seeds(name: &str, quick: u64, scenario: impl Fn(u64) -> Result<Tally, String>) {
    let number = |variable: &str| std::env::var(variable).ok().map(|text| text.parse().expect("a number"));
    let seeds = match number("DT_DHT_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("DT_DHT_SEEDS").unwrap_or(quick),
    };
    let count = seeds.end - seeds.start;
    let mut total = Tally::default();
    for seed in seeds {
        match scenario(seed) {
            Ok(tally) => {
                total.called += tally.called;
                total.answered += tally.answered;
            }
            Err(wrong) => {
                panic!(
                    "{wrong}\nagain: DT_DHT_SEED={seed} cargo test -p dt-dht --test it -- simulation::{name}"
                )
            }
        }
    }
    println!("{name}: {count} seeds hold; {} of {} operations succeeded", total.answered, total.called);
}

/// k from 1 to 3, the larger less often, sometimes with more replicas than 3k + 1 and more nodes than replicas; k nodes are malicious.
fn draw(dice: &mut Dice, setup: impl FnOnce(Resilience) -> Setup) -> Setup {
    let max_faulty = *dice.choose(&[1u16, 1, 1, 1, 2, 2, 3]);
    let more = *dice.choose(&[0u16, 0, 0, 1, 2]);
    let resilience = Resilience::new(3 * max_faulty + 1 + more, max_faulty).unwrap();
    let mut setup = setup(resilience);
    setup.nodes += dice.below(3);
    setup.byzantine = resilience.max_faulty();
    setup.conditions = Conditions::draw(dice);
    setup
}

fn must<T, E: Display>(what: &str, outcome: Result<T, E>) -> Result<T, String> {
    outcome.map_err(|error| format!("{what}: {error}"))
}
