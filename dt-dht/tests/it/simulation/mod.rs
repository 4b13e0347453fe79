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

mod agreed;
mod blobs;
mod checker;
mod deposits;
mod disk;
mod epochs;
mod newest;
mod replay;
mod usurper;

fn must<T, E: Display>(what: &str, outcome: Result<T, E>) -> Result<T, String> {
    outcome.map_err(|error| format!("{what}: {error}"))
}
