//! Subtree hashes: a Merkle tree over a document's elements, kept up to date by every edit.
//!
//! # Definition
//!
//! All hashes are BLAKE3 in keyed mode; the key is BLAKE3 of a context, which keeps the sorts apart. What is hashed are the
//! element's own bytes, in which two bytes that UTF-8 does not have mark what stands for something longer:
//!
//! - **`dt/aml/element/v3`**: an element from its start tag to its end tag. If these are at most 4096 bytes, they are
//!   hashed as they are. If they are more, each child element is replaced by `FF` and its hash, and each run of children by
//!   `FE` and its hash.
//! - **`dt/aml/run/v3`**: a run: for each of its children the text before it, `FF`, and its hash. A run ends behind
//!   each child whose hash has six zeros as the lowest bits of its first byte, so it has 64 children on average. Children
//!   behind the last such one are in no run.
//! - **`dt/aml/document/v3`**: a document, where the root element is replaced by `FF` and its hash.
//!
//! ```text
//! <Value>30</Value>                  →  H("<Value>30</Value>")
//! <InternalElement Name="A">         →  H("<InternalElement Name="A">
//!   <Attribute … 5000 bytes …>             " FF hash "
//! </InternalElement>                     </InternalElement>")
//! ```
//!
//! So the root commits to every byte and depends on bytes alone, not on how a document came about. Where runs end follows
//! from the children themselves: an insertion among 100,000 siblings changes one run, and the rest is not hashed again.
//! Whoever makes 100,000 children none of which ends a run makes edits among them cost as if there were no runs.
//!
//! Most elements are short and stand in short ones. They have hashes like all others, but nobody needs them until one is
//! asked for: a document has few hashes for its many elements.

use std::ops::Range;
use std::sync::LazyLock;

/// Declares a type for the hashes of one sort, so that nobody takes them for those of another.
macro_rules! hash_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[derive(serde::Serialize, serde::Deserialize, borsh::BorshSerialize, borsh::BorshDeserialize)]
        pub struct $name(pub [u8; 32]);

        impl $name {
            /// The bytes of the hash.
            pub fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }

            /// The hash of a preimage under the key of its sort.
            fn keyed(key: &[u8; 32], preimage: &[u8]) -> Self {
                Self(blake3::keyed_hash(key, preimage).into())
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }
    };
}
pub(crate) use hash_type;

hash_type! {
    /// The BLAKE3 hash of an element with everything in it, or of a whole document.
    SubtreeHash
}

impl SubtreeHash {
    /// Stands in a node until its hash is needed. No bytes are known that have this hash.
    pub(crate) const UNSET: Self = Self([0; 32]);

    /// Whether a child with this hash is the last of a run.
    pub(crate) fn ends_run(&self) -> bool {
        self.0[0].trailing_zeros() >= RUN_BITS
    }
}

/// Longest element that is hashed as one piece: four chunks of BLAKE3, which are hashed side by side.
pub(crate) const SHORT: u32 = 4096;
/// A run has 2^RUN_BITS children on average.
const RUN_BITS: u32 = 6;

static ELEMENT: LazyLock<[u8; 32]> = LazyLock::new(|| key("dt/aml/element/v3"));
static RUN: LazyLock<[u8; 32]> = LazyLock::new(|| key("dt/aml/run/v3"));
static DOCUMENT: LazyLock<[u8; 32]> = LazyLock::new(|| key("dt/aml/document/v3"));

/// The key of a sort of hashes.
pub(crate) fn key(context: &str) -> [u8; 32] {
    blake3::hash(context.as_bytes()).into()
}

/// Stands before the hash of a child.
const CHILD: u8 = 0xFF;
/// Stands before the hash of a run.
const RUN_OF_CHILDREN: u8 = 0xFE;
/// The length of a mark with the hash behind it.
const MARKED: usize = 33;

fn mark(sort: u8, hash: &SubtreeHash, out: &mut Vec<u8>) {
    out.push(sort);
    out.extend_from_slice(&hash.0);
}

/// The children of a long element as its hash sees them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Children {
    /// The runs' hashes.
    pub(crate) runs: Vec<SubtreeHash>,
    /// The children behind them, as they are hashed.
    rest: Vec<u8>,
}

impl Children {
    /// Children of which nothing is known but their runs.
    pub(crate) fn of_runs(runs: Vec<SubtreeHash>) -> Self {
        Self { runs, rest: Vec::new() }
    }

    /// No children yet, and room for as many as a run has on average.
    pub(crate) fn with_room() -> Self {
        Self { runs: Vec::new(), rest: Vec::with_capacity((2 * MARKED) << RUN_BITS) }
    }

    /// Puts other runs in the place of some, and, if asked for, other children behind the last run.
    pub(crate) fn replace(&mut self, runs: Range<usize>, fresh: Self, with_rest: bool) {
        self.runs.splice(runs, fresh.runs);
        if with_rest {
            self.rest = fresh.rest;
        }
    }

    /// Whether all children so far stand in runs.
    pub(crate) fn is_without_rest(&self) -> bool {
        self.rest.is_empty()
    }

    /// Adds the next child; returns whether it ends a run.
    pub(crate) fn push(&mut self, gap: &str, hash: SubtreeHash) -> bool {
        self.rest.extend_from_slice(gap.as_bytes());
        mark(CHILD, &hash, &mut self.rest);
        let ends = hash.ends_run();
        if ends {
            self.runs.push(SubtreeHash::keyed(&RUN, &self.rest));
            self.rest.clear();
        }
        ends
    }
}

/// The hash of a short element.
pub(crate) fn short(source: &str) -> SubtreeHash {
    SubtreeHash::keyed(&ELEMENT, source.as_bytes())
}

/// The hash of an element that is not short from its own pieces and its children.
pub(crate) fn long(head: &str, children: &Children, tail: &str, end: &str) -> SubtreeHash {
    let own = head.len() + tail.len() + end.len();
    let mut out = Vec::with_capacity(own + children.rest.len() + MARKED * children.runs.len());
    out.extend_from_slice(head.as_bytes());
    children.runs.iter().for_each(|run| mark(RUN_OF_CHILDREN, run, &mut out));
    out.extend_from_slice(&children.rest);
    out.extend_from_slice(tail.as_bytes());
    out.extend_from_slice(end.as_bytes());
    SubtreeHash::keyed(&ELEMENT, &out)
}

/// The hash of a whole document around its root element.
pub(crate) fn document(prolog: &str, root: SubtreeHash, epilog: &str) -> SubtreeHash {
    let mut preimage = prolog.as_bytes().to_vec();
    mark(CHILD, &root, &mut preimage);
    preimage.extend_from_slice(epilog.as_bytes());
    SubtreeHash::keyed(&DOCUMENT, &preimage)
}
