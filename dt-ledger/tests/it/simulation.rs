//! Networks of replicas under a simulated consensus: the reference goes through everything, and what is broken is found out.
//!
//! `DT_LEDGER_SEEDS=1000 cargo test --release -p dt-ledger --test it -- simulation::many_seeds --nocapture` runs each scenario with a
//! thousand seeds. A failure prints its seed; `DT_LEDGER_SEED=<seed>` runs that one alone.

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dt_ledger::testing::{
    Action, Event, Failure, Fault, Misdeed, Prototype, Report, Scenario, Seat, Stop, Tendermint, Traitor,
    Violation, Weather, simulate,
};
use dt_ledger::{BlockError, vote_quorum};
use dt_model::Timestamp;

use crate::prototypes::{Muffled, Naive, turn_of};

/// Tells the other process which seed's trace to print.
const TRACED: &str = "DT_LEDGER_TRACED_SEED";

fn tendermint(seat: Seat) -> Box<dyn Prototype> {
    Box::new(Tendermint::new(seat))
}

fn traitor(misdeed: Misdeed) -> Fault {
    Fault::Traitor(Arc::new(move |seat| Box::new(Traitor::new(seat, misdeed))))
}

/// Every fault that the catalogue has.
fn faults() -> Vec<Fault> {
    let misdeeds = [
        Misdeed::ProposesTwo,
        Misdeed::VotesForAll,
        Misdeed::BadTransaction,
        Misdeed::OtherState,
        Misdeed::TimeGoesBack,
        Misdeed::TimeRunsAhead,
        Misdeed::ClaimsAQuorum,
    ];
    let own = [Fault::Silent, Fault::Dead, Fault::Twins, Fault::Replays, Fault::Alters];
    own.into_iter().chain(misdeeds.map(traitor)).collect()
}

fn foul(nodes: usize, faulty: Vec<Fault>) -> Scenario {
    Scenario { faulty, weather: Weather::FOUL, ..Scenario::new(nodes) }
}

/// Another weather for each seed: mistakes differ in what brings them to light.
fn stormy(seed: u64) -> Weather {
    let pick = |values: [u16; 3], stride: u64| values[(seed / stride) as usize % 3];
    let most = Duration::from_millis(pick([50, 200, 600], 1).into());
    Weather {
        delay: (Duration::from_millis(1), most),
        lost: pick([300, 30, 100], 3),
        partitions: pick([4, 12, 30], 9).into(),
        crashes: pick([0, 3, 8], 27).into(),
        ..Weather::FOUL
    }
}

/// Runs the reference through a scenario that it must bear.
fn passes(seed: u64, scenario: &Scenario) -> Report {
    simulate(seed, scenario, &tendermint).unwrap_or_else(|failure| panic!("{:?}: {failure}", scenario.faulty))
}

/// The first violation that a prototype commits within so many seeds.
fn first_violation(
    seeds: u64,
    scenario: &Scenario,
    make: &dyn Fn(Seat) -> Box<dyn Prototype>,
    counts: &dyn Fn(&Violation) -> bool,
) -> Failure {
    let found = (0..seeds).filter_map(|seed| simulate(seed, scenario, make).err());
    let mut others = 0;
    for failure in found {
        if counts(&failure.violation) {
            return failure;
        }
        others += 1;
    }
    panic!("not found in {seeds} seeds, which had {others} other failures");
}

#[test]
fn in_fair_weather_every_height_is_decided_in_its_first_round() {
    for nodes in [1, 4, 7] {
        let report = passes(1, &Scenario::new(nodes));
        assert!(report.rounds.len() > 5 && report.rounds.iter().all(|round| *round == 0), "{report:?}");
        assert!(report.time < Duration::from_secs(7), "all is committed when the last was submitted");
    }
}

#[test]
fn four_replicas_bear_foul_weather_and_one_of_any_fault() {
    let mut rounds = 0;
    let mut crashes = 0;
    for (number, fault) in faults().into_iter().enumerate() {
        for seed in 0..2 {
            let report = passes(seed + 100 * number as u64, &foul(4, vec![fault.clone()]));
            rounds += report.rounds.iter().sum::<u32>();
            crashes += report.crashes;
        }
    }
    assert!(rounds > 10 && crashes > 10, "the weather was foul indeed: {rounds} rounds, {crashes} crashes");
}

#[test]
fn seven_replicas_bear_two_faults_at_once() {
    let faults = faults();
    for (number, pair) in faults.windows(2).enumerate().step_by(2) {
        passes(number as u64, &foul(7, pair.to_vec()));
    }
    passes(7, &foul(7, vec![traitor(Misdeed::ProposesTwo), traitor(Misdeed::VotesForAll)]));
    passes(8, &foul(7, vec![Fault::Twins, Fault::Twins]));
}

#[test]
fn a_replica_with_another_state_stops_and_the_others_go_on() {
    for seed in 0..3 {
        let scenario = Scenario { faulty: vec![Fault::Alters], ..Scenario::new(4) };
        let report = passes(seed, &scenario);
        let stopped = report.stopped.get(&report.faulty[0]).expect("it stops");
        assert!(matches!(stopped, Stop::Block(BlockError::StateDiverges { .. })), "{stopped:?}");
    }
}

#[test]
fn the_same_seed_is_the_same_run() {
    let scenario = foul(4, vec![Fault::Twins]);
    let trace = passes(5, &scenario).trace;
    assert_eq!(passes(5, &scenario).trace, trace);
    assert_ne!(passes(6, &scenario).trace, trace);

    let other = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "simulation::prints_a_trace", "--nocapture", "--test-threads=1"])
        .env(TRACED, "5")
        .output()
        .unwrap();
    let printed = String::from_utf8(other.stdout).unwrap();
    assert!(printed.contains(&format!("trace {trace}")), "another process sees the same: {printed}");
}

/// The other process: prints the trace that it is asked for. Without the variable there is nothing to do.
#[test]
fn prints_a_trace() {
    let Ok(seed) = std::env::var(TRACED) else { return };
    println!("\ntrace {}", passes(seed.parse().unwrap(), &foul(4, vec![Fault::Twins])).trace);
}

#[test]
fn many_seeds() {
    let read = |name| std::env::var(name).ok().map(|value| value.parse::<u64>().unwrap());
    let seeds = match (read("DT_LEDGER_SEED"), read("DT_LEDGER_SEEDS")) {
        (Some(seed), _) => seed..seed + 1,
        (None, seeds) => 0..seeds.unwrap_or(0),
    };
    for seed in seeds {
        let faults = faults();
        let pick = |number: u64| faults[number as usize % faults.len()].clone();
        let weather = stormy(seed);
        passes(seed, &Scenario { weather: weather.clone(), ..foul(4, vec![pick(seed)]) });
        let pair = vec![pick(seed), pick(seed / faults.len() as u64)];
        passes(seed, &Scenario { weather, ..foul(7, pair) });
        if seed % 100 == 99 {
            println!("{} seeds", seed + 1);
        }
    }
}

/// The case that locks are for ([`Muffled`]): nodes 1 and 3 have locked the block when node 2 proposes another, which would have a quorum with them. That they crash in between makes
/// no difference, nor does it that node 2 claims to have a quorum already.
#[test]
fn what_one_node_has_decided_the_others_decide_later() {
    fn claims(seat: Seat) -> Box<dyn Prototype> {
        match turn_of(&seat, seat.node) {
            2 => Box::new(Traitor::new(seat, Misdeed::ClaimsAQuorum)),
            _ => tendermint(seat),
        }
    }
    for seed in 0..5 {
        for make in [tendermint, claims] {
            let report =
                simulate(seed, &Scenario::new(4), &|seat| Box::new(Muffled::new(seat, make))).unwrap();
            assert_eq!(report.rounds[0], 0, "node 0 decided in the first round");
        }
    }
}

#[test]
fn more_traitors_than_the_protocol_bears_break_it() {
    let faulty = vec![traitor(Misdeed::ProposesTwo), traitor(Misdeed::VotesForAll)];
    let scenario = Scenario { faulty, ..Scenario::new(4) };
    let failure =
        first_violation(20, &scenario, &tendermint, &|found| matches!(found, Violation::Fork { .. }));
    let again = simulate(failure.seed, &scenario, &tendermint).unwrap_err();
    assert_eq!(again.to_string(), failure.to_string(), "the seed finds it again");
    let Violation::Fork { node, height } = *failure.violation else { unreachable!("looked for a fork") };
    let told = failure.to_string();
    let (seed, fork) = (format!("seed {}", failure.seed), format!("node {node}   is at height {height}"));
    assert!(told.contains(&seed) && told.contains(&fork), "seed and last events are told: {told}");
}

#[test]
fn a_node_that_forgets_its_votes_over_a_crash_is_found_out() {
    let forgetful = |seat: Seat| tendermint(Seat { kept: None, ..seat });
    let crashes = Weather { crashes: 5, ..Weather::FOUL };
    let scenario = Scenario { weather: crashes, ..Scenario::new(4) };
    first_violation(40, &scenario, &forgetful, &|found| {
        matches!(found, Violation::VotedTwice { .. } | Violation::Fork { .. })
    });
}

#[test]
fn a_prototype_without_locks_is_found_out() {
    let naive = |seat: Seat| Box::new(Naive::new(seat, vote_quorum)) as Box<dyn Prototype>;
    let scenario = Scenario { weather: Weather { crashes: 0, ..Weather::FOUL }, ..Scenario::new(4) };
    first_violation(40, &scenario, &naive, &|found| matches!(found, Violation::Fork { .. }));
    simulate(1, &Scenario::new(4), &naive).expect("nobody notices in fair weather");
}

#[test]
fn a_prototype_without_a_quorum_is_stopped_by_its_replica() {
    let hasty = |seat: Seat| Box::new(Naive::new(seat, |_| 1)) as Box<dyn Prototype>;
    let refused = |found: &Violation| {
        matches!(found, Violation::Stopped { reason: Stop::Block(BlockError::Uncommitted { .. }), .. })
    };
    first_violation(1, &Scenario::new(4), &hasty, &refused);
}

#[test]
fn a_prototype_that_does_nothing_is_found_out() {
    struct Idle;
    impl Prototype for Idle {
        fn handle(&mut self, _: Timestamp, _: Event) -> Result<Vec<Action>, Stop> {
            Ok(Vec::new())
        }
    }
    let failure = simulate(1, &Scenario::new(4), &|_| Box::new(Idle)).unwrap_err();
    assert!(matches!(*failure.violation, Violation::Stalled { missing: 12, .. }), "{failure}");
}

#[test]
fn a_prototype_that_never_rests_is_found_out() {
    struct Restless;
    impl Prototype for Restless {
        fn handle(&mut self, _: Timestamp, _: Event) -> Result<Vec<Action>, Stop> {
            let again = Action::Wake { after: Duration::ZERO, timer: Bytes::new() };
            Ok(vec![again])
        }
    }
    let failure = simulate(1, &Scenario::new(1), &|_| Box::new(Restless)).unwrap_err();
    assert!(matches!(*failure.violation, Violation::Runaway { .. }), "{failure}");
}
