//! Things in the order of their keys, laid out for searching: what keys share stands once, and eight bytes of each stand side by side.
//!
//! Where a table is larger than the caches, a search costs the places in memory that it waits for. This one waits for the things' own place,
//! where the eight bytes are, and beyond that only for keys that they do not tell apart.

mod prefix;

use smallvec::SmallVec;

use crate::store::sorted::prefix::Prefix;

/// What has a key.
pub(super) trait Keyed {
    /// The key, which stands as long as the thing does.
    fn key(&self) -> &[u8];
}

/// The words of as many things as a node of a tree has stand in place.
type Words = SmallVec<[u64; 64]>;

/// Things with different keys, in their order.
///
/// # Invariant
/// All keys start with `shared`, and `words` has for each thing the [`word`] of the rest of its key. So the words are in order, too.
#[derive(Debug, Clone)]
pub(super) struct Sorted<T> {
    shared: Prefix,
    words: Words,
    things: Vec<T>,
}

impl<T> Default for Sorted<T> {
    fn default() -> Self {
        Self { shared: Prefix::default(), words: Words::new(), things: Vec::new() }
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
        // All are looked at: they come from memory together, where steps of a binary search would wait for each other.
        let first = self.words.iter().filter(|other| **other < word).count();
        let alike = self.words[first..].iter().take_while(|other| **other == word).count();
        let alike = self.things[first..first + alike].binary_search_by(|thing| thing.key().cmp(key));
        alike.map(|at| first + at).map_err(|at| first + at)
    }

    /// Whether `key` comes before that of the thing at `at`.
    pub(super) fn is_before(&self, key: &[u8], at: usize) -> bool {
        let word_before =
            key.strip_prefix(&*self.shared).zip(self.words.get(at)).map(|(rest, other)| (word(rest), *other));
        match word_before {
            Some((word, other)) if word != other => word < other,
            _ => self.things.get(at).is_none_or(|thing| key < thing.key()),
        }
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

    /// Puts and removes many things: sorted by key, each with its new thing or `None`.
    pub(super) fn merge<'a>(
        &mut self,
        writes: &'a [(Vec<u8>, Option<Vec<u8>>)],
        new: impl Fn(&'a [u8], &'a [u8]) -> T,
    ) {
        let places: Vec<_> = writes.iter().map(|(key, _)| self.find(key)).collect();
        let len = self.shared.len();
        let ends = [writes.first(), writes.last()].into_iter().flatten();
        let is_shared = ends.into_iter().all(|(key, _)| key.starts_with(&self.shared));
        let Self { shared, words, things } = std::mem::take(self);
        let (mut old_words, mut old_things) = (words.into_iter(), things.into_iter());
        let room = old_things.len() + writes.len();
        let (mut words, mut things) = (Words::with_capacity(room), Vec::with_capacity(room));
        let mut passed = 0;
        for ((key, value), place) in writes.iter().zip(places) {
            let (Ok(at) | Err(at)) = place;
            things.extend(old_things.by_ref().take(at - passed));
            words.extend(old_words.by_ref().take(at - passed));
            passed = at;
            if place.is_ok() {
                old_things.next();
                old_words.next();
                passed += 1;
            }
            if let Some(value) = value {
                things.push(new(key, value));
                words.push(key.get(len..).map_or(0, word));
            }
        }
        things.extend(old_things);
        words.extend(old_words);
        *self = if is_shared { Self { shared, words, things } } else { things.into() };
    }

    /// The things in pieces of `size`, but for a smaller last one.
    pub(super) fn split(self, size: usize) -> Vec<Self> {
        let Self { shared, words, things } = self;
        let (mut words, mut things) = (words.into_iter(), things.into_iter());
        let piece = || {
            let things: Vec<T> = things.by_ref().take(size).collect();
            let words = words.by_ref().take(size).collect();
            let (first, last) = (things.first()?.key(), things.last()?.key());
            // Where keys of the piece share more, they are told apart by other bytes.
            let shares_more =
                first.get(shared.len()).zip(last.get(shared.len())).is_some_and(|(a, b)| a == b);
            Some(if shares_more { things.into() } else { Self { shared, words, things } })
        };
        std::iter::from_fn(piece).collect()
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
