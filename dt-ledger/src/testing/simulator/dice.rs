//! The one source of chance: everything that a simulation leaves to it follows from the seed.

use core::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};

/// A stream of numbers that depends on its seed alone.
#[derive(Debug, Clone)]
pub(super) struct Dice(ChaCha8Rng);

impl Dice {
    /// The stream number `stream` of `seed`: streams of one seed do not depend on each other.
    pub(super) fn new(seed: u64, stream: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(stream);
        Self(rng)
    }

    /// A number below `bound`; 0 if that is 0. The tiny bias towards small numbers does no harm here.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.0.next_u64().checked_rem(bound).unwrap_or(0)
    }

    /// A place in something of length `length`.
    pub(super) fn place(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).unwrap_or(0)
    }

    /// Whether something happens that happens `per_mille` times out of a thousand.
    pub(super) fn happens(&mut self, per_mille: u16) -> bool {
        self.below(1000) < u64::from(per_mille)
    }

    /// A duration of whole milliseconds, from the first to the second, both included.
    pub(super) fn between(&mut self, (least, most): (Duration, Duration)) -> Duration {
        let width = most.saturating_sub(least).as_millis() as u64;
        least + Duration::from_millis(self.below(width + 1))
    }

    /// So many different places in something of length `length`, in order.
    pub(super) fn choose(&mut self, count: usize, length: usize) -> Vec<usize> {
        let mut places: Vec<usize> = (0..length).collect();
        while places.len() > count {
            let gone = self.place(places.len());
            places.remove(gone);
        }
        places
    }
}
