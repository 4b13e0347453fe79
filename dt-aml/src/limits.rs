//! What a document may cost: sizes that are checked before the work they bound is done.

use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};

/// Largest document in bytes: twice the largest plant exports seen in practice. Offsets are 32 bits wide, so
/// no limit above `u32::MAX` has an effect.
pub const MAX_BYTES: u64 = 256 << 20;
/// Deepest nesting. Real files stay below 20; sub-assemblies and nested attributes leave room.
pub const MAX_DEPTH: u32 = 256;
/// Most elements in one document.
pub const MAX_ELEMENTS: u32 = 8_000_000;
/// Most XML attributes on one element: CAEX knows fewer than 20.
pub const MAX_ATTRIBUTES: u32 = 256;
/// Most namespace declarations in force at one element, its ancestors' included. Each prefix is looked up among them, so
/// this bounds a product.
pub const MAX_NAMESPACES: u32 = 64;
/// Largest fragment that one edit may insert, in bytes.
pub const MAX_FRAGMENT: u64 = 1 << 20;

/// The limits under which a document is parsed and edited.
///
/// A document keeps its limits: an edit that would carry it beyond them is refused, so what was edited can
/// always be parsed again. Parties that must agree on a document MUST use the same limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, BorshSerialize, BorshDeserialize)]
pub struct Limits {
    /// Bytes of the document.
    pub bytes: u64,
    /// Levels of nesting; the root element is level 1.
    pub depth: u32,
    /// Elements of the document.
    pub elements: u32,
    /// XML attributes on one element, namespace declarations included.
    pub attributes: u32,
    /// Namespace declarations in force at one element.
    pub namespaces: u32,
    /// Bytes of an inserted fragment.
    pub fragment: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            bytes: MAX_BYTES,
            depth: MAX_DEPTH,
            elements: MAX_ELEMENTS,
            attributes: MAX_ATTRIBUTES,
            namespaces: MAX_NAMESPACES,
            fragment: MAX_FRAGMENT,
        }
    }
}

impl Limits {
    /// For text that was read under limits before.
    pub(crate) const NONE: Self = Self {
        bytes: u64::MAX,
        depth: u32::MAX,
        elements: u32::MAX,
        attributes: u32::MAX,
        namespaces: u32::MAX,
        fragment: u64::MAX,
    };

    /// Refuses a document of `bytes` bytes if that is more than allowed, or more than 32-bit offsets reach.
    pub(crate) fn check_bytes(&self, bytes: u64) -> Result<(), LimitExceeded> {
        LimitExceeded::unless(bytes, self.bytes.min(u64::from(u32::MAX)), Limit::Bytes)
    }
}

/// Which limit was exceeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Limit {
    /// [`Limits::bytes`].
    Bytes,
    /// [`Limits::depth`].
    Depth,
    /// [`Limits::elements`].
    Elements,
    /// [`Limits::attributes`].
    Attributes,
    /// [`Limits::namespaces`].
    Namespaces,
    /// [`Limits::fragment`].
    Fragment,
}

/// More than the limits allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("more than {max} {} allowed", match .limit {
    Limit::Bytes => "bytes in a document are",
    Limit::Depth => "levels of nesting are",
    Limit::Elements => "elements are",
    Limit::Attributes => "attributes on one element are",
    Limit::Namespaces => "namespace declarations in force at one element are",
    Limit::Fragment => "bytes in a fragment are",
})]
#[non_exhaustive]
pub struct LimitExceeded {
    /// The limit that was hit.
    pub limit: Limit,
    /// Its value.
    pub max: u64,
}

impl LimitExceeded {
    /// `Ok` while `actual` is within `max`.
    pub(crate) fn unless(actual: u64, max: u64, limit: Limit) -> Result<(), Self> {
        if actual <= max { Ok(()) } else { Err(Self { limit, max }) }
    }
}

/// A place in a text: line and column, both from 1; columns count characters.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    BorshSerialize,
    BorshDeserialize,
)]
pub struct Position {
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
}

impl Position {
    /// The position of byte `offset` in `text`.
    pub(crate) fn at(text: &str, offset: usize) -> Self {
        let mut start = Self { line: 1, column: 1 };
        start.advance(text.get(..offset).unwrap_or(text));
        start
    }

    /// Moves over `text`.
    pub(crate) fn advance(&mut self, text: &str) {
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        match text.rfind('\n') {
            None => self.column = self.column.saturating_add(count(text.chars().count())),
            Some(last) => {
                let lines = text.bytes().filter(|byte| *byte == b'\n').count();
                self.line = self.line.saturating_add(count(lines));
                self.column = count(text[last + 1..].chars().count()).saturating_add(1);
            }
        }
    }
}

impl std::fmt::Display for Position {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}
