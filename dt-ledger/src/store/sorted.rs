//! Things in the order of their keys, laid out for searching: what keys share stands once, and eight bytes of each stand side by side.
//!
//! Where a table is larger than the caches, a search costs what it touches. This one touches the eight bytes of some keys, which are one
//! piece of memory, and beyond these only keys that they do not tell apart.

mod prefix;

use crate::store::sorted::prefix::Prefix;

/// What has a key.
pub(super) trait Keyed {
    /// The key, which stands as long as the thing does.
    fn key(&self) -> &[u8];
}

/// Things with different keys, in their order.
///
/// # Invariant
/// All keys start with `shared`, and `words` has for each thing the [`word`] of the rest of its key. So the words are in order, too.
#[derive(Debug, Clone)]
pub(super) struct Sorted<T> {
    shared: Prefix,
    words: Vec<u64>,
    things: Vec<T>,
}

impl<T> Default for Sorted<T> {
    fn default() -> Self {
        Self { shared: Prefix::default(), words: Vec::new(), things: Vec::new() }
    }
}

impl<T: Keyed> From<Vec<T>> for Sorted<T> {
    /// Of things that are in order.
    fn from(things: Vec<T>) -> Self {
        debug_assert!(things.is_sorted_by(|one, next| one.key() < next.key()), "in order");
        let (first, last) = (things.first().map_or(&[][..], T::key), things.last().map_or(&[][..], T::key));
        let shared = Prefix::common(first, last);
        let words = things.iter().map(|thing| word(&thing.key()[shared.len()..])).collect();
        Self { shared, words, things }
    }
}

impl<T: Keyed> Sorted<T> {
    /// Where the thing with this key is, or else where one would be inserted.
    pub(super) fn find(&self, key: &[u8]) -> Result<usize, usize> {
        let Some(rest) = key.strip_prefix(&*self.shared) else {
            // It comes before all that start with the prefix, or after them.
            return Err(if *key < *self.shared { 0 } else { self.things.len() });
        };
        let word = word(rest);
        let first = self.words.partition_point(|other| *other < word);
        let alike = self.words[first..].iter().take_while(|other| **other == word).count();
        let alike = self.things[first..first + alike].binary_search_by(|thing| thing.key().cmp(key));
        alike.map(|at| first + at).map_err(|at| first + at)
    }

    /// The things, in order.
    pub(super) fn as_slice(&self) -> &[T] {
        &self.things
    }

    /// How many things there are.
    pub(super) const fn len(&self) -> usize {
        self.things.len()
    }

    /// The thing at `at`. Its key MUST stay as it is.
    pub(super) fn get_mut(&mut self, at: usize) -> Option<&mut T> {
        self.things.get_mut(at)
    }

    /// Inserts `thing` where [`Sorted::find`] says.
    pub(super) fn insert(&mut self, at: usize, thing: T) {
        if let Some(rest) = thing.key().strip_prefix(&*self.shared) {
            self.words.insert(at, word(rest));
            self.things.insert(at, thing);
        } else {
            let mut things = self.take();
            things.insert(at, thing);
            *self = things.into();
        }
    }

    /// Removes the thing at `at`, which MUST be there.
    pub(super) fn remove(&mut self, at: usize) -> T {
        self.words.remove(at);
        self.things.remove(at)
    }

    /// All things; none is left.
    pub(super) fn take(&mut self) -> Vec<T> {
        std::mem::take(self).things
    }
}

/// The first eight bytes, with zeros behind a shorter key, as a number: greater for a greater key, or the same.
fn word(bytes: &[u8]) -> u64 {
    match bytes.first_chunk() {
        Some(chunk) => u64::from_be_bytes(*chunk),
        None => bytes.iter().zip(0..).fold(0, |word, (byte, at)| word | u64::from(*byte) << (56 - 8 * at)),
    }
}
