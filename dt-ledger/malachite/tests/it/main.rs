//! Validators on loopback, with real sockets and real disks.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test reports by panicking")]

mod agreement;
mod cluster;
mod doubles;
mod exchange;
mod fleet;
mod liars;
mod log;
mod pace;
mod processes;
mod soak;
mod suite;
