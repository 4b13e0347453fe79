//! The document: parse, write back, look at as a whole.

use std::io::{self, Write};
use std::sync::Arc;

use crate::address::{self, FindError};
use crate::arena::grow::{self, Grown, Soil};
use crate::arena::hash::SubtreeHash;
use crate::arena::index::Index;
use crate::arena::pages::{Pages, PagesBuilder};
use crate::arena::tree::{NodeId, Span, Tree};
use crate::edit::EditError;
use crate::element::Element;
use crate::kind::{Kind, Version};
use crate::limits::{LimitExceeded, Limits, Position};
use crate::xml::{self, Refusal, Shape, XmlFault};

/// An AutomationML document that can be queried and edited, and knows its own bytes.
///
/// # Invariants
///
/// - A document that was not edited MUST be written back byte for byte.
/// - What an edit does MUST follow from the document's bytes and the edit alone: a replica that edited a document for
///   years and one that has just parsed its bytes answer alike. Hence the tree remembers nothing that its bytes do
///   not show.
///
/// # Costs
///
/// Parsing is linear, and keeps two to three times the document's bytes. An edit costs what it brings and takes away and a walk
/// to the root; what else is in the document hardly matters. What edits leave behind is given back once it outweighs what lives:
/// one edit in many thousands then takes as long as parsing.
///
/// # Snapshots
///
/// A clone is an independent snapshot, and costs next to nothing: both share all memory until one of them is edited,
/// and then all but what the edit touches. So readers keep the version they began with while edits go on.
#[derive(Clone, Debug)]
pub struct Document {
    pub(crate) tree: Tree,
    pub(crate) index: Index,
    pub(crate) limits: Limits,
    pub(crate) root_hash: SubtreeHash,
}

/// Why bytes are not a document.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseError {
    /// The bytes exceed a limit.
    #[error(transparent)]
    Limit(#[from] LimitExceeded),
    /// The bytes are not UTF-8; they are from this offset on something else. UTF-16 lands here.
    #[error("not UTF-8 from byte {offset} on")]
    NotUtf8 {
        /// The first byte that does not fit.
        offset: usize,
    },
    /// The XML declaration names another encoding than UTF-8 or its subset ASCII.
    #[error("declared as {declared}, but only UTF-8 is accepted")]
    Encoding {
        /// What the declaration says.
        declared: String,
    },
    /// A document type declaration: its entities could expand without bound or fetch other files.
    #[error("{position}: a document type declaration is not accepted")]
    Dtd {
        /// Where it begins.
        position: Position,
    },
    /// The text is not well-formed XML 1.0 with namespaces.
    #[error("{position}: {cause}")]
    NotWellFormed {
        /// Where it shows.
        position: Position,
        /// What is wrong.
        cause: XmlFault,
    },
    /// The root element is not `CAEXFile` in the namespace of a CAEX version: HTML, for example.
    #[error("the root element is {root}, not CAEXFile of CAEX 2.15 or 3.0")]
    NotCaex {
        /// The root element's name as written.
        root: String,
    },
}

impl Document {
    /// Parses UTF-8 bytes, with or without byte-order mark.
    ///
    /// Loads what is well-formed even where CAEX is broken, as real files often are: see [`Document::issues`].
    ///
    /// # Errors
    /// [`ParseError`]: beyond the limits, not UTF-8, not well-formed, a document type declaration, or not CAEX.
    ///
    /// # Examples
    /// ```
    /// use dt_aml::{Document, Limits};
    ///
    /// let bytes = br#"<CAEXFile SchemaVersion="2.15"><InstanceHierarchy Name="Plant"/></CAEXFile>"#;
    /// let document = Document::parse(bytes, &Limits::default())?;
    /// assert_eq!(document.to_bytes(), bytes);
    /// # Ok::<(), dt_aml::ParseError>(())
    /// ```
    pub fn parse(bytes: impl AsRef<[u8]>, limits: &Limits) -> Result<Self, ParseError> {
        let bytes = bytes.as_ref();
        limits.check_bytes(bytes.len() as u64)?;
        let text = std::str::from_utf8(bytes).map_err(|e| ParseError::NotUtf8 { offset: e.valid_up_to() })?;
        check_encoding(text)?;
        let mut grown =
            grow::grow(text, Soil::bare(Shape::Document), limits).map_err(|refusal| refuse(text, refusal))?;
        let (keys, rest) = (std::mem::take(&mut grown.keys), std::mem::take(&mut grown.keyed_in_context));
        let mut tree = Tree::of(text, grown);
        if tree.node(tree.root).kind != Kind::CaexFile {
            return Err(ParseError::NotCaex { root: xml::tag_name(tree.head(tree.root)).to_owned() });
        }
        let index = Index::of(&tree, keys, &rest);
        tree.hash_grown(tree.root);
        let root_hash = tree.document_hash();
        Ok(Self { tree, index, limits: *limits, root_hash })
    }

    /// The document's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(usize::try_from(self.len()).unwrap_or(0));
        for piece in self.pieces() {
            bytes.extend_from_slice(self.tree.text(piece).as_bytes());
        }
        bytes
    }

    /// Writes the document's bytes. Pieces may be small: give a buffered writer.
    ///
    /// # Errors
    /// What `writer` answers.
    pub fn write_to(&self, writer: &mut impl Write) -> io::Result<()> {
        self.pieces().try_for_each(|piece| writer.write_all(self.tree.text(piece).as_bytes()))
    }

    /// The length of the document in bytes.
    #[expect(clippy::len_without_is_empty, reason = "a document has a root element, so it is never empty")]
    pub fn len(&self) -> u64 {
        self.tree.bytes
    }

    /// The hash over every byte of the document, as a Merkle tree over its elements.
    pub fn root_hash(&self) -> SubtreeHash {
        self.root_hash
    }

    /// The CAEX version.
    pub fn version(&self) -> Version {
        self.tree.version
    }

    /// The limits it was parsed under, which also bound its edits.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The root element, `CAEXFile`. Its address is `/`.
    pub fn root(&self) -> Element<'_> {
        self.element(self.tree.root)
    }

    /// The element at `address`: see [`address`](crate::address) for how elements are addressed.
    ///
    /// # Errors
    /// [`FindError`]: malformed, unknown, or more than one element.
    pub fn find(&self, address: &str) -> Result<Element<'_>, FindError> {
        address::find(self, address).map(|id| self.element(id))
    }

    /// Every element, in document order.
    pub fn elements(&self) -> impl Iterator<Item = Element<'_>> {
        self.tree.preorder(self.tree.root).map(|id| self.element(id))
    }

    /// Every InternalElement, in document order.
    pub fn internal_elements(&self) -> impl Iterator<Item = Element<'_>> {
        self.elements().filter(|element| element.kind() == Kind::InternalElement)
    }

    /// Every ID of a CAEX element, in document order; one that names several elements comes several times.
    pub fn ids(&self) -> impl Iterator<Item = String> {
        self.elements().filter_map(|element| element.id()).map(|id| id.into_owned())
    }

    pub(crate) fn element(&self, node: NodeId) -> Element<'_> {
        Element { document: self, node }
    }

    /// All pieces in document order; neighbours in one buffer come as one piece.
    pub(crate) fn pieces(&self) -> impl Iterator<Item = Span> + '_ {
        let prolog = std::iter::once(self.tree.node(self.tree.root).gap);
        let pieces = prolog.chain(self.tree.pieces(self.tree.root)).chain([self.tree.epilog]);
        coalesce(pieces.filter(|piece| !piece.is_empty()))
    }
}

/// Joins spans that follow each other in one buffer.
pub(crate) fn coalesce(pieces: impl Iterator<Item = Span>) -> impl Iterator<Item = Span> {
    let mut pieces = pieces.peekable();
    std::iter::from_fn(move || {
        let mut piece = pieces.next()?;
        while let Some(next) = pieces.next_if(|next| next.buffer == piece.buffer && next.start == piece.end) {
            piece.end = next.end;
        }
        Some(piece)
    })
}

impl Document {
    /// Refuses text that cannot stand around a root element, for which `<a/>` stands in `whole`.
    pub(crate) fn check_surroundings(whole: &str, limits: &Limits) -> Result<(), EditError> {
        check_encoding(whole).map_err(|_| EditError::Encoding)?;
        let grown = grow::grow(whole, Soil::bare(Shape::Document), limits);
        grown.map(|_| ()).map_err(|refusal| EditError::of(whole, refusal))
    }
}

fn refuse(text: &str, refusal: Refusal) -> ParseError {
    match refusal {
        Refusal::Limit(limit) => ParseError::Limit(limit),
        Refusal::Fault(fault) => {
            let position = Position::at(text, fault.offset);
            match fault.cause {
                XmlFault::Dtd => ParseError::Dtd { position },
                cause => ParseError::NotWellFormed { position, cause },
            }
        }
    }
}

impl Tree {
    /// The tree of a whole text, without hashes.
    pub(crate) fn of(text: &str, grown: Grown) -> Self {
        let mut buffers = PagesBuilder::new();
        buffers.push(Arc::from(text));
        let nodes: Pages<_> = grown.nodes.build();
        let elements = u32::try_from(nodes.len()).unwrap_or(u32::MAX);
        Self {
            buffers: buffers.build(),
            nodes,
            runs: Arc::default(),
            root: NodeId::FIRST,
            version: grown.version.unwrap_or(Version::Caex215),
            epilog: grown.epilog,
            bytes: text.len() as u64,
            held: text.len() as u64,
            elements,
        }
    }
}

/// Refuses a declared encoding that the bytes do not have.
fn check_encoding(text: &str) -> Result<(), ParseError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let Some((declaration, _)) = text.strip_prefix("<?xml").and_then(|rest| rest.split_once("?>")) else {
        return Ok(());
    };
    let encoding = xml::attribute(&format!("<x{declaration}>"), "encoding").map(|name| name.into_owned());
    match encoding {
        Some(name)
            if !["utf-8", "utf8", "us-ascii", "ascii"].contains(&name.to_ascii_lowercase().as_str()) =>
        {
            Err(ParseError::Encoding { declared: name })
        }
        _ => Ok(()),
    }
}
