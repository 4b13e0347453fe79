//! Tests of `dt-feed` as others see it.

mod api;
mod attacks;
mod common;
mod model;
mod vectors;
mod wire;
mod witness;
