//! Keys of the index: short hashes of what is looked up.
//!
//! Two texts may share a key, so whoever looks one up MUST compare what it finds with what it sought. A key is never
//! shown, stored or sent: it differs between builds of the standard library.

use std::hash::{DefaultHasher, Hasher};

use super::tree::NodeId;
use crate::kind::Kind;

/// What an element can be looked up by, as 64 bits of SipHash: nobody is known to make many texts share one.
///
/// Keys of what stands in one element follow each other, so that a new element with many parts has its keys in one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    /// The number of the element in which it means something, from 1; 0: in the whole document.
    place: u32,
    /// The hash in halves, which keep a key as small as its parts are.
    hash: [u32; 2],
}

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
    /// A number in whose order keys are, as far as it tells them apart: few keys share one, and the greatest is not far above the number
    /// of elements.
    pub(crate) fn bucket(self) -> usize {
        const OF_THE_DOCUMENT: usize = 1 << 12;
        match self.place {
            0 => self.hash[0] as usize >> 20,
            place => OF_THE_DOCUMENT + place as usize,
        }
    }

    /// A number of 96 bits in whose order keys are.
    pub(crate) fn number(self) -> u128 {
        let [high, low] = self.hash.map(u128::from);
        u128::from(self.place) << 64 | high << 32 | low
    }

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
        Maker::new(Sort::Child).number(kind as u32).text(name).done_in(parent)
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

    /// A key that means the same in the whole document.
    fn done(self) -> Key {
        self.done_at(0)
    }

    /// A key that means something else in each element.
    fn done_in(self, element: NodeId) -> Key {
        let index = u32::try_from(element.index()).unwrap_or(u32::MAX);
        self.done_at(index.saturating_add(1))
    }

    fn done_at(self, place: u32) -> Key {
        let hash = self.0.finish();
        Key { place, hash: [(hash >> 32) as u32, hash as u32] }
    }
}
