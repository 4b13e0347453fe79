//! The crate from outside: several companies, one twin, one machine, in one process.
#![expect(clippy::unwrap_used, clippy::panic, reason = "the helpers of a test report by panicking")]

mod alignment;
mod api;
mod asset;
mod attacks;
mod calls;
mod crash;
mod epochs;
mod fuse;
mod revocation;
mod safety;
mod streams;
mod world;
