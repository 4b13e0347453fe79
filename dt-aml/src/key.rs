//! Keys of the index: short hashes of what is looked up.
//!
//! Two texts may share a key, so whoever looks one up MUST compare what it finds with what it sought. A key is never
//! shown, stored or sent: it differs between builds of the standard library.

use std::hash::{DefaultHasher, Hasher};

use crate::kind::Kind;
use crate::tree::NodeId;

/// What an element can be looked up by, as 64 bits of SipHash: nobody is known to make many texts share one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key(u64);

/// What a key is made of; equal texts of different sorts have different keys.
#[derive(Clone, Copy)]
enum Sort {
    Id = 1,
    Reference,
    Class,
    ClassReference,
    Child,
    Mapped,
}

impl Key {
    /// The elements that carry this ID.
    pub(crate) fn id(id: &str) -> Self {
        Maker::new(Sort::Id).text(id).done()
    }

    /// The elements that may refer to the element with this ID.
    pub(crate) fn reference(id: &str) -> Self {
        Maker::new(Sort::Reference).text(id).done()
    }

    /// The classes with this path of names, library first, in libraries of kind `lib`.
    pub(crate) fn class<'n>(lib: Kind, names: impl Iterator<Item = &'n str>) -> Self {
        names.fold(Maker::new(Sort::Class).number(lib as u32), Maker::text).done()
    }

    /// The elements that refer to the class with this path.
    pub(crate) fn class_reference<'n>(lib: Kind, names: impl Iterator<Item = &'n str>) -> Self {
        names.fold(Maker::new(Sort::ClassReference).number(lib as u32), Maker::text).done()
    }

    /// The mappings in `owner` that map its part of this name.
    pub(crate) fn mapped(owner: NodeId, name: &str) -> Self {
        let index = u32::try_from(owner.index()).unwrap_or(u32::MAX);
        Maker::new(Sort::Mapped).number(index).text(name).done()
    }

    /// The children of `parent` of kind `kind` with this `Name`.
    pub(crate) fn child(parent: NodeId, kind: Kind, name: &str) -> Self {
        let index = u32::try_from(parent.index()).unwrap_or(u32::MAX);
        Maker::new(Sort::Child).number(index).number(kind as u32).text(name).done()
    }
}

/// Collects the parts of a key.
struct Maker(DefaultHasher);

impl Maker {
    fn new(sort: Sort) -> Self {
        let mut hasher = DefaultHasher::new();
        hasher.write_u8(sort as u8);
        Self(hasher)
    }

    /// A text; its end is marked by a byte that UTF-8 does not have.
    fn text(mut self, text: &str) -> Self {
        self.0.write(text.as_bytes());
        self.0.write_u8(0xFF);
        self
    }

    fn number(mut self, number: u32) -> Self {
        self.0.write_u32(number);
        self
    }

    fn done(self) -> Key {
        Key(self.0.finish())
    }
}
