//! The transport over real sockets, on loopback.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test reports by panicking")]

mod attacks;
mod conformance;
mod epochs;
mod equivocation;
mod network;
mod raw;
mod support;
