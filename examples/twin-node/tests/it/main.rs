//! The program from outside: what a participant sees of it.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod devnet;
mod founding;
mod house;
mod single;
