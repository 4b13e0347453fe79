//! The integration tests: what a party sees, what an attacker gets, the naive model, and the bytes.

mod api;
mod attacks;
mod common;
mod lists;
mod model;
mod vectors;
