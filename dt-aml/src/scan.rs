//! Cuts XML text into tags in one linear pass, so that limits hold before a full parser sees the text.
//!
//! The scanner finds where tags begin and end and skips what stands between them. It refuses a document type
//! declaration: entities are the one way in which few bytes become many. Whether the text is well-formed in full
//! is decided by `roxmltree` in [`check_well_formed`], after the limits have been checked.

use std::ops::Range;

use crate::limits::Position;

/// A tag, by its bytes.
pub(crate) enum Tag {
    /// `<a …>` or, if `empty`, `<a …/>`.
    Start { range: Range<usize>, empty: bool },
    /// `</a>`.
    End { range: Range<usize> },
}

/// Why a text cannot be cut into tags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A document type declaration at this offset.
    Dtd(usize),
    /// Markup that begins at this offset does not end.
    Open(usize),
    /// An end tag at this offset has no start tag.
    Unopened(usize),
    /// An element that starts at this offset has no end tag.
    Unclosed(usize),
    /// No element, or text beside the one root element, at this offset.
    NotOneRoot(usize),
}

/// Iterates over the tags of a text.
pub(crate) struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scanner<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// The next tag, or `None` at the end.
    pub(crate) fn next_tag(&mut self) -> Result<Option<Tag>, Fault> {
        while let Some(found) = self.text[self.at..].find('<') {
            let start = self.at + found;
            let rest = &self.text[start..];
            if rest.starts_with("<!--") {
                self.at = self.skip(start, 4, "-->")?;
            } else if rest.starts_with("<![CDATA[") {
                self.at = self.skip(start, 9, "]]>")?;
            } else if rest.starts_with("<!") {
                return Err(Fault::Dtd(start));
            } else if rest.starts_with("<?") {
                self.at = self.skip(start, 2, "?>")?;
            } else if rest.starts_with("</") {
                self.at = self.skip(start, 2, ">")?;
                return Ok(Some(Tag::End { range: start..self.at }));
            } else {
                let length = start_tag(rest.as_bytes()).ok_or(Fault::Open(start))?;
                self.at = start + length;
                let empty = self.text.as_bytes()[self.at - 2] == b'/';
                return Ok(Some(Tag::Start { range: start..self.at, empty }));
            }
        }
        Ok(None)
    }

    /// The offset after `close`, which is looked for behind the first `open` bytes of the markup at `start`.
    fn skip(&self, start: usize, open: usize, close: &str) -> Result<usize, Fault> {
        let from = start + open;
        let found = self.text.get(from..).and_then(|rest| rest.find(close)).ok_or(Fault::Open(start))?;
        Ok(from + found + close.len())
    }
}

/// The length of the start tag that `bytes` begins with; a `>` in quotes does not end it.
fn start_tag(bytes: &[u8]) -> Option<usize> {
    let mut quote = None;
    for (index, byte) in bytes.iter().enumerate().skip(1) {
        match (quote, *byte) {
            (None, b'>') => return Some(index + 1),
            (None, b'"' | b'\'') => quote = Some(*byte),
            (Some(open), byte) if byte == open => quote = None,
            _ => {}
        }
    }
    None
}

/// Why a text is not well-formed XML.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(transparent)]
pub struct XmlFault(#[from] Cause);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum Cause {
    #[error("markup that begins here does not end")]
    Open,
    #[error("this end tag has no start tag")]
    Unopened,
    #[error("this element has no end tag")]
    Unclosed,
    #[error("exactly one root element is expected")]
    NotOneRoot,
    #[error("a document type declaration is not accepted")]
    Dtd,
    #[error(transparent)]
    Syntax(roxmltree::Error),
}

impl Fault {
    /// The offset and the cause, to be reported.
    pub(crate) fn explain(self) -> (usize, XmlFault) {
        let (offset, cause) = match self {
            Self::Dtd(at) => (at, Cause::Dtd),
            Self::Open(at) => (at, Cause::Open),
            Self::Unopened(at) => (at, Cause::Unopened),
            Self::Unclosed(at) => (at, Cause::Unclosed),
            Self::NotOneRoot(at) => (at, Cause::NotOneRoot),
        };
        (offset, XmlFault(cause))
    }
}

/// Checks in full that `text` is well-formed XML 1.0 with namespaces.
pub(crate) fn check_well_formed(text: &str) -> Result<(), (Position, XmlFault)> {
    let options = roxmltree::ParsingOptions { allow_dtd: false, ..Default::default() };
    match roxmltree::Document::parse_with_options(text, options) {
        Ok(_) => Ok(()),
        Err(error) => {
            let position = Position { line: error.pos().row, column: error.pos().col };
            Err((position, XmlFault(Cause::Syntax(error))))
        }
    }
}
