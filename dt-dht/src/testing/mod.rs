//! For those who test against these types: conformance suites for the seams, a network in one process with lying nodes, a simulator that
//! replays any run from its seed, and proptest strategies for what travels.

mod faulty;
mod liar;
mod network;
mod probe;
pub mod simulator;
mod store_suite;
mod strategies;
mod transport_suite;

pub use faulty::{Fault, Faulty};
pub use network::Network;
pub use store_suite::store_suite;
pub use strategies::{address, blob, certificate, key, receipt, record, reply, request, signed_record};
pub use transport_suite::{Setting, Started, Station, transport_suite};
