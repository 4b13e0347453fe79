//! The document's inside: elements as nodes that point into its texts, what they are looked up by, and their hashes.
//!
//! ```text
//!   text ──► grow ──► tree ◄── rehash ──► hash      nodes, and the Merkle tree over them
//!                      │                            kept in `pages`, which clones share
//!                      └─────► index ──► key        kept in `postings`, which clones share
//! ```
//!
//! `compact` gives back what edits leave behind.

mod compact;
pub(crate) mod grow;
pub(crate) mod hash;
pub(crate) mod index;
pub(crate) mod key;
pub(crate) mod pages;
pub(crate) mod postings;
mod rehash;
pub(crate) mod tree;

pub use hash::SubtreeHash;
