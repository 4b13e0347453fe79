//! The bottling plant.
fn main() {}
