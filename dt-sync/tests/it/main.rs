//! The crate from outside: several companies, one twin, one machine, in one process.

mod api;
mod asset;
mod attacks;
mod calls;
mod crash;
mod fuse;
mod revocation;
mod world;
