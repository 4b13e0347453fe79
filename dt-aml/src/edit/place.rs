//! Where an inserted element goes, and the white space that comes and goes with it.
//!
//! # Invariant
//!
//! Inserting and then removing MUST restore the former bytes, and both MUST depend on bytes alone. So each former
//! content of a childless element leads to another arrangement, from which removal tells it:
//!
//! ```text
//! <P/>            →  <P>⏎  X⏎</P>          the slash went, the end tag came
//! <P>⏎</P>        →  <P>⏎⏎  X⏎</P>         what stood there looks like the line that <P/> gets: repeat it
//! <P>other</P>    →  <P>⏎  Xother</P>      what stood there stays behind
//! ```

use super::schema;
use crate::arena::tree::{NodeId, Span, Tree};
use crate::xml::WHITE;

/// The neighbours an inserted element gets.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) prev: Option<NodeId>,
    pub(crate) next: Option<NodeId>,
}

impl Place {
    /// The end of the schema group of `child` in `parent`.
    pub(crate) fn at_end_of_group(tree: &Tree, parent: NodeId, child: NodeId) -> Self {
        let content = schema::content(tree.version, tree.node(parent).kind);
        let rank = |node: NodeId| content.rank(tree.node(node).kind).map(|(rank, _)| rank);
        let own = rank(child);
        let mut prev = tree.node(parent).last;
        // Elements unknown to the schema have no rank and come before all others here.
        while let Some(node) = prev.filter(|node| rank(*node) > own) {
            prev = tree.node(node).prev;
        }
        Self::behind(tree, parent, prev)
    }

    /// Directly behind `prev`, or in front.
    pub(crate) fn behind(tree: &Tree, parent: NodeId, prev: Option<NodeId>) -> Self {
        let next = match prev {
            Some(prev) => tree.node(prev).next,
            None => tree.node(parent).first,
        };
        Self { prev, next }
    }
}

/// The white space at the end of a gap.
pub(crate) fn trailing_white(tree: &Tree, gap: Span) -> Span {
    let text = tree.text(gap);
    gap.suffix(text.len() - text.trim_end_matches(WHITE).len())
}

/// The last line break in the white space at the end of a gap, with the indentation after it; nothing if the element
/// behind the gap does not begin a line.
pub(crate) fn last_line(tree: &Tree, gap: Span) -> Span {
    let white = trailing_white(tree, gap);
    let text = tree.text(white);
    let Some(feed) = text.rfind('\n') else { return white.suffix(0) };
    let start = if text[..feed].ends_with('\r') { feed - 1 } else { feed };
    white.suffix(text.len() - start)
}

/// The white space around an only child.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Lone {
    /// Before the child.
    pub(crate) before: String,
    /// Before the end tag of the parent.
    pub(crate) behind: String,
}

impl Lone {
    /// The white space that an only child of `parent` gets.
    pub(crate) fn of(tree: &Tree, parent: NodeId) -> Self {
        let behind = match tree.node(parent).parent {
            None => if tree.text(tree.node(parent).gap).contains("\r\n") { "\r\n" } else { "\n" }.to_owned(),
            Some(_) => tree.text(last_line(tree, tree.node(parent).gap)).to_owned(),
        };
        let before =
            if behind.is_empty() { String::new() } else { format!("{behind}{}", unit(tree, parent)) };
        Self { before, behind }
    }

    /// The white space before an only child of `<P>⏎</P>`: tells that form from `<P/>`.
    pub(crate) fn before_if_open(&self) -> String {
        let both = format!("{}{}", self.behind, self.before);
        if both.is_empty() { " ".to_owned() } else { both }
    }
}

/// One level of indentation, as `parent` is indented against its own parent; two spaces if that does not show.
fn unit(tree: &Tree, parent: NodeId) -> &str {
    const DEFAULT: &str = "  ";
    let Some(grandparent) = tree.node(parent).parent else { return DEFAULT };
    let line =
        |node: NodeId| tree.text(last_line(tree, tree.node(node).gap)).trim_start_matches(['\r', '\n']);
    let outer = if tree.node(grandparent).parent.is_none() { "" } else { line(grandparent) };
    line(parent).strip_prefix(outer).filter(|unit| !unit.is_empty()).unwrap_or(DEFAULT)
}
