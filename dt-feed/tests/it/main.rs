//! Tests of `dt-feed` as others see it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests report by panicking")]

mod api;
mod attacks;
mod collusion;
mod common;
mod model;
mod simulation;
mod vectors;

mod wire;
mod witness;
