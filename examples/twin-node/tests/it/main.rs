//! The program from outside: what a participant sees of it.

mod devnet;
mod founding;
mod house;
mod single;
