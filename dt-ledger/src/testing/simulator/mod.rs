//! A whole network of replicas in one thread, with a clock that stands still until something happens: the same seed, the same run.
//!
//! ```text
//!            seed ──▶ Dice ──▶ delays, losses, partitions, crashes, who is faulty
//!                               │
//!  queue of (time, number) ──▶ one event ──▶ Prototype::handle ──▶ actions, in order ──▶ queue
//!                                             │   ▲                (a crash may cut them off)
//!                                             ▼   │
//!                                            Replica ──▶ Checks: same blocks, same state, nothing twice, in the end everything
//! ```
//!
//! # Invariants
//! - Whatever happens follows from the scenario, the prototype and the seed. [`Report::trace`] is a digest over all of it.
//! - A crash leaves a node what its store committed and what its journal holds, nothing else.

mod checks;
mod dice;
mod faults;
mod network;
mod node;
mod plan;
mod prototype;
mod scenario;
mod trace;
mod watch;
mod workload;

pub use checks::{Failure, Violation};
pub use network::{Report, simulate};
pub use prototype::{Action, Event, Make, Prototype, Seat, Stop};
pub use scenario::{Fault, Scenario, Weather};
