//! What fuzz targets have in common: bytes that are read as choices, and inputs that are kept.

use std::fs;
use std::path::{Path, PathBuf};

/// The kept inputs of a fuzz target of the crate in `manifest_dir` (its `CARGO_MANIFEST_DIR`), in the order of their names.
///
/// # Panics
/// If their folder cannot be read, or holds no more than 20 of them.
#[must_use]
pub fn corpus(manifest_dir: &str, target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(manifest_dir).join("fuzz/corpus").join(target);
    let entries = fs::read_dir(&folder).expect("a corpus");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    assert!(paths.len() > 20, "{} inputs in {}", paths.len(), folder.display());
    paths.iter().map(|path| fs::read(path).expect("an input")).collect()
}

/// What is left of a fuzzer's bytes, read as choices. When they are used up, every choice is the first one.
#[derive(Debug)]
pub struct Choices<'a>(&'a [u8]);

impl<'a> Choices<'a> {
    /// The choices that `data` makes.
    #[must_use]
    pub const fn new(data: &'a [u8]) -> Self {
        Self(data)
    }

    /// Whether they are used up.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Any byte.
    pub fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    /// A number below `bound`, which is at most 256.
    pub fn below(&mut self, bound: usize) -> usize {
        usize::from(self.byte()) % bound.max(1)
    }

    /// Yes or no.
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
