//! Draws from a seed, without floating point.

use core::ops::RangeInclusive;

use dt_model::testing::SeedRng;
use rand_core::Rng;

/// A seeded source of choices.
#[derive(Debug, Clone)]
pub struct Dice(SeedRng);

impl Dice {
    /// The source that `seed` gives.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(SeedRng::new(seed))
    }

    /// Any number.
    pub fn number(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number in `range`, each nearly as likely as the others; the lower end of an empty one.
    pub fn within(&mut self, range: RangeInclusive<u64>) -> u64 {
        let span = range.end().saturating_sub(*range.start()).saturating_add(1);
        range.start().saturating_add(self.number() % span)
    }

    /// An index below `count`, or 0.
    #[expect(clippy::cast_possible_truncation, reason = "the remainder is below a usize")]
    pub fn below(&mut self, count: usize) -> usize {
        (self.number() % (count.max(1) as u64)) as usize
    }

    /// Yes in so many cases of a thousand.
    pub fn permille(&mut self, permille: u64) -> bool {
        self.number() % 1000 < permille
    }

    /// One of `choices`.
    ///
    /// # Panics
    /// If there are none.
    pub fn choose<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.below(choices.len())]
    }

    /// So many bytes.
    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.0.fill_bytes(&mut bytes);
        bytes
    }

    /// A source of its own for somebody.
    #[must_use]
    pub fn fork(&mut self) -> Self {
        Self::new(self.number())
    }
}
