//! XML 1.0 with namespaces, as far as a document needs it.
//!
//! ```text
//!   text ──► Reader ──► tags and their attributes ──► grow: the arena
//!               └─ Scope: which namespace a prefix stands for
//! ```
//!
//! - `chars`: which characters may stand where.
//! - `reader`: cuts a text into tags, and refuses it where it is not well-formed.
//! - `scope`: namespace declarations in force.
//! - `fault`: why a text is refused.
//! - `text`: names, attributes and character data of text that was read before.
//!
//! A document type declaration is refused: its entities are the one way in which few bytes become many.

mod chars;
mod fault;
mod reader;
mod scope;
mod text;

pub use fault::XmlFault;
pub(crate) use fault::{Fault, Refusal};
pub(crate) use reader::{Reader, Shape, Tag};
pub(crate) use scope::Scope;
pub(crate) use text::*;
