//! A seed determines a run: the same digest of everything that happened, twice and in another process.

use std::process::Command;

use dt_dht::testing::simulator::{Dice, Setup};
use dt_model::Digest;

use super::newest;

/// Asks this very program for the digest, in another process.
const CHILD: &str = "DT_DHT_TRACE_OF";

fn trace(seed: u64) -> Digest {
    let setup = Setup::draw(&mut Dice::new(seed), newest::setup);
    let mut run = newest::Run::new(seed, setup);
    run.storm().unwrap();
    run.simulation.trace()
}

#[test]
fn replay() {
    if let Ok(seed) = std::env::var(CHILD) {
        println!("trace {}", trace(seed.parse().unwrap()));
        return;
    }
    for seed in [3, 4] {
        let once = trace(seed);
        assert_eq!(once, trace(seed), "in this process");
        assert_ne!(once, trace(seed + 10), "another seed is another run");
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "simulation::replay::replay", "--nocapture"])
            .env(CHILD, seed.to_string())
            .output()
            .unwrap();
        let output = String::from_utf8(output.stdout).unwrap();
        assert!(output.contains(&format!("trace {once}")), "in another process: {output}");
    }
}
