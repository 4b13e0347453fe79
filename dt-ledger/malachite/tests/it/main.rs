//! Validators on loopback, with real sockets and real disks.

mod agreement;
mod cluster;
mod processes;
mod suite;
