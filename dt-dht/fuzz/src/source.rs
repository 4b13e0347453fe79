//! The fuzzer's bytes, read as choices.

/// What is left of them. When they are used up, every choice is the first one.
pub struct Source<'a>(&'a [u8]);

impl<'a> Source<'a> {
    pub const fn new(data: &'a [u8]) -> Self {
        Self(data)
    }

    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    /// A number below `bound`, which is at most 256.
    pub fn below(&mut self, bound: usize) -> usize {
        usize::from(self.byte()) % bound.max(1)
    }

    pub fn is(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    /// A number that is small, or one of the greatest.
    pub fn number(&mut self) -> u64 {
        match self.byte() {
            byte @ 0..=0xf7 => u64::from(byte) % 8,
            byte => u64::MAX - u64::from(0xff - byte),
        }
    }

    /// As many bytes as the next two say, or all that are left.
    pub fn bytes(&mut self) -> &'a [u8] {
        let length = usize::from(self.byte()) + 256 * usize::from(self.byte() % 4);
        let (taken, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        taken
    }
}
