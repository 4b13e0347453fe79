//! Golden values: what bytes have to be, in a text file that other implementations can read too.

use std::fs;
use std::path::Path;

use borsh::{BorshDeserialize, BorshSerialize};

use crate::fixed::to_hex;
use crate::{ContentHash, codec};

/// Longer values stand in the file as their SHA-256: a reader makes them anew, and nobody reads them.
const LONGEST: usize = 4096;

/// A file of golden values in the making: one `name: value` on a line, in hex, under headings that begin with `#`.
#[derive(Debug)]
pub struct Golden {
    text: String,
}

impl Golden {
    /// Begins a file with `head`, which says what it holds and who makes it: lines that begin with `#`.
    #[must_use]
    pub fn new(head: &str) -> Self {
        Self { text: head.to_owned() }
    }

    /// What comes next is about this.
    pub fn section(&mut self, title: &str) {
        self.text.push_str("\n# ");
        self.text.push_str(title);
        self.text.push('\n');
    }

    /// The value called `name`; if it is more than 4,096 bytes long, `sha256` and the SHA-256 of it.
    pub fn add(&mut self, name: &str, bytes: &[u8]) {
        self.text.push_str(name);
        self.text.push_str(": ");
        if bytes.len() > LONGEST {
            self.text.push_str("sha256 ");
            self.text.push_str(&ContentHash::of(bytes).to_string());
        } else {
            self.text.push_str(&to_hex(bytes));
        }
        self.text.push('\n');
    }

    /// The canonical bytes of `value`, which is what is read from them, and from no bytes near them.
    ///
    /// # Panics
    /// If bytes that differ in length, or in one byte, are read as `value`, or in a form that is not theirs.
    pub fn value<T>(&mut self, name: &str, value: &T, limit: usize)
    where
        T: BorshSerialize + BorshDeserialize + PartialEq + core::fmt::Debug,
    {
        let bytes = codec::encode(value);
        self.add(name, &bytes);
        let read = |bytes: &[u8]| codec::decode::<T>(bytes, limit);
        assert_eq!(read(&bytes).as_ref(), Ok(value), "{name}: what was encoded is read");
        assert!(codec::decode::<T>(&bytes, bytes.len() - 1).is_err(), "{name}: the limit holds");
        assert!(read(&[&bytes[..], &[0]].concat()).is_err(), "{name}: a trailing byte is refused");
        let mut near = bytes.clone();
        for at in 0..bytes.len() {
            assert!(read(&bytes[..at]).is_err(), "{name}: {at} bytes of it are refused");
            for other in [bytes[at] ^ 1, bytes[at] ^ 0x80, 0xff] {
                near[at] = other;
                if let Ok(found) = read(&near) {
                    assert_eq!(codec::encode(&found), near, "{name}: one encoding for each value");
                    assert!(near == bytes || found != *value, "{name}: byte {at} says nothing");
                }
            }
            near[at] = bytes[at];
        }
    }

    /// Compares the file at `path` with what was added; if the environment variable `write` is set, makes it anew.
    ///
    /// # Panics
    /// With the first line that differs, and how to make the file anew.
    pub fn check(self, path: &Path, write: &str) {
        if std::env::var_os(write).is_some() {
            return fs::write(path, self.text).expect("the file can be written");
        }
        let kept = fs::read_to_string(path).unwrap_or_default();
        let count = self.text.lines().count().max(kept.lines().count());
        let lines = |text: &'_ str| -> Vec<String> {
            let lines = text.lines().chain(core::iter::repeat("(nothing)"));
            lines.take(count).map(str::to_owned).collect()
        };
        let (made, kept) = (lines(&self.text), lines(&kept));
        let Some((made, kept)) = made.iter().zip(&kept).find(|(made, kept)| made != kept) else { return };
        panic!(
            "{} should say\n  {kept}\nand says\n  {made}\nThat is another format. If it was meant, say so in the CHANGELOG and make the \
             file anew: run the test with {write}=1",
            path.display()
        );
    }
}
