//! Tests of `dt-aml` through its public interface.

mod api;
mod attacks;
mod edits;
mod files;
mod model;
mod queries;
mod support;
mod vectors;
