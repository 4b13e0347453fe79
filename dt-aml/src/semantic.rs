//! Semantic hashes: equal for documents that say the same in other bytes.
//!
//! [`SubtreeHash`](crate::SubtreeHash) changes with every byte. Tools that load a file and save it again change bytes
//! without changing what they say; whether they did no more than that is what a semantic hash tells.
//!
//! # What does not count
//!
//! - Byte-order mark, XML declaration, comments, processing instructions, line ends (XML 1.0, 2.11).
//! - White space within tags, the order of XML attributes, the quotes around them, `<a/>` or `<a></a>`.
//! - Which prefix stands for a namespace, and where that is declared.
//! - Whether a character is written as itself, as a reference, or in a CDATA section.
//! - In elements of CAEX: white space around and between child elements, and at both ends of text.
//!
//! Everything else counts. So does the order of elements: CAEX means nothing by that of most, yet ordered lists and
//! revisions live by it, and no file says which of its lists are ordered. **Free content**, which is what stands in an
//! `AdditionalInformation` or in an element that is not of CAEX, keeps its text to the character, white space included.
//! A prefix within a value, as in `xs:decimal`, is text.
//!
//! # Definition
//!
//! BLAKE3 in keyed mode; the key is BLAKE3 of a context. Three bytes that UTF-8 does not have mark what is no text.
//!
//! ```text
//! document  = H("dt/aml/semantic/document/v1", hash of the root element)
//! element   = H("dt/aml/semantic/element/v1", name attribute* FD content)
//! name      = namespace FF local-name FF
//! attribute = FE name value            in the order of (namespace, local name) by their bytes
//! content   = (text | FF hash of a child element)*
//! ```
//!
//! Values are normalized as XML 1.0, 3.3.3 has it, declarations of namespaces left out. Text between two tags is that of all
//! pieces between them together; in elements of CAEX it is cut at both ends by spaces, tabs, carriage returns and line feeds.
//! Names, values and text are UTF-8 and hold no mark, and hashes have one length: so a preimage can be read back, and
//! those of different contents differ.
//!
//! The hash of an element does not depend on where it stands, except that below free content it is free itself.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use crate::arena::grow;
use crate::arena::hash::{hash_type, key};
use crate::arena::tree::{NodeId, Span, Tree, Visit};
use crate::document::Document;
use crate::element::Element;
use crate::xml::{self, WHITE};

hash_type! {
    /// The BLAKE3 hash of what an element or a document says, whatever bytes say it.
    SemanticHash
}

impl Document {
    /// The hash of what the document says: equal if it was only written in another way. Reads all of it.
    ///
    /// Comments, white space between elements, quotes, prefixes and the order of XML attributes do not count; names,
    /// values, texts and the order of elements do. See [`semantic`](crate::semantic) for all of it.
    ///
    /// # Examples
    /// ```
    /// use dt_aml::{Document, Limits};
    ///
    /// let parse = |aml: &str| Document::parse(aml, &Limits::default());
    /// let one = parse("<CAEXFile><InstanceHierarchy Name='H' ID='h'/></CAEXFile>")?;
    /// let other = parse("<CAEXFile >\n<InstanceHierarchy ID=\"h\" Name=\"&#72;\"></InstanceHierarchy><!-- ! --></CAEXFile>")?;
    /// assert_eq!(one.semantic_hash(), other.semantic_hash());
    /// assert_ne!(one.root_hash(), other.root_hash());
    /// # Ok::<(), dt_aml::ParseError>(())
    /// ```
    pub fn semantic_hash(&self) -> SemanticHash {
        SemanticHash::keyed(&DOCUMENT, self.root().semantic_hash().as_bytes())
    }
}

impl Element<'_> {
    /// The hash of what the element and everything in it say: equal if it was only written in another way. Reads all of it.
    pub fn semantic_hash(&self) -> SemanticHash {
        Hasher::new(&self.document.tree, self.node).run(self.node)
    }
}

static DOCUMENT: LazyLock<[u8; 32]> = LazyLock::new(|| key("dt/aml/semantic/document/v1"));
static ELEMENT: LazyLock<[u8; 32]> = LazyLock::new(|| key("dt/aml/semantic/element/v1"));

/// Ends a namespace or a local name, and stands before the hash of a child.
const MARK: u8 = 0xFF;
/// Stands before an attribute.
const ATTRIBUTE: u8 = 0xFE;
/// Ends the attributes.
const CONTENT: u8 = 0xFD;

/// Walks over an element, with the preimages of all elements that are open.
struct Hasher<'t> {
    tree: &'t Tree,
    bindings: Bindings,
    open: Vec<Vec<u8>>,
    /// A preimage that is done, for its memory.
    spare: Vec<u8>,
    text: String,
}

impl<'t> Hasher<'t> {
    /// A hasher for elements that stand where `node` stands.
    fn new(tree: &'t Tree, node: NodeId) -> Self {
        let mut bindings = Bindings::default();
        let around: Vec<_> = tree.ancestors(node).skip(1).collect();
        around.iter().rev().for_each(|ancestor| bindings.enter(tree.head(*ancestor)));
        Self { tree, bindings, open: Vec::new(), spare: Vec::new(), text: String::new() }
    }

    fn run(mut self, top: NodeId) -> SemanticHash {
        let mut hash = SemanticHash([0; 32]);
        for visit in self.tree.walk(top) {
            match visit {
                Visit::Enter(node) => {
                    if let Some(parent) = self.tree.node(node).parent.filter(|_| node != top) {
                        self.text(parent, self.tree.node(node).gap);
                    }
                    self.enter(self.tree.head(node));
                }
                Visit::Leave(node) => {
                    self.text(node, self.tree.node(node).tail);
                    hash = self.leave();
                }
            }
        }
        hash
    }

    fn enter(&mut self, head: &str) {
        self.bindings.enter(head);
        let mut preimage = std::mem::take(&mut self.spare);
        preimage.clear();
        let (prefix, local) = xml::split_name(xml::tag_name(head));
        name(self.bindings.namespace(prefix), local, &mut preimage);
        let attributes = xml::attributes(head).filter(|(name, _)| declared_prefix(name).is_none());
        let mut sorted: Vec<_> = attributes
            .map(|(name, raw)| match xml::split_name(name) {
                // An attribute without a prefix is in no namespace, whatever the default is.
                ("", local) => ("", local, raw),
                (prefix, local) => (self.bindings.namespace(prefix), local, raw),
            })
            .collect();
        sorted.sort_unstable();
        for (namespace, local, raw) in sorted {
            preimage.push(ATTRIBUTE);
            name(namespace, local, &mut preimage);
            preimage.extend_from_slice(xml::attribute_value(raw).as_bytes());
        }
        preimage.push(CONTENT);
        self.open.push(preimage);
    }

    /// Adds a piece of text directly in `parent`, the innermost open element.
    fn text(&mut self, parent: NodeId, piece: Span) {
        let Some(preimage) = self.open.last_mut() else { return };
        let (piece, is_free) = (self.tree.text(piece), grow::is_free(self.tree.node(parent).kind));
        if !is_free && xml::is_white(piece) {
            return;
        }
        self.text.clear();
        xml::push_text(piece, &mut self.text);
        let counts = if is_free { self.text.as_str() } else { self.text.trim_matches(WHITE) };
        preimage.extend_from_slice(counts.as_bytes());
    }

    fn leave(&mut self) -> SemanticHash {
        self.bindings.leave();
        let preimage = self.open.pop().unwrap_or_default();
        let hash = SemanticHash::keyed(&ELEMENT, &preimage);
        self.spare = preimage;
        if let Some(parent) = self.open.last_mut() {
            parent.push(MARK);
            parent.extend_from_slice(&hash.0);
        }
        hash
    }
}

fn name(namespace: &str, local: &str, out: &mut Vec<u8>) {
    for part in [namespace, local] {
        out.extend_from_slice(part.as_bytes());
        out.push(MARK);
    }
}

/// What prefixes stand for, and the elements that declare it.
#[derive(Default)]
struct Bindings {
    /// For each prefix its namespaces, the one in force last. The empty prefix is the default.
    in_force: BTreeMap<String, Vec<String>>,
    /// The prefixes that the open elements declare.
    declared: Vec<Vec<String>>,
}

impl Bindings {
    fn enter(&mut self, head: &str) {
        let mut declared = Vec::new();
        for (name, raw) in xml::attributes(head) {
            let Some(prefix) = declared_prefix(name) else { continue };
            let namespaces = self.in_force.entry(prefix.to_owned()).or_default();
            namespaces.push(xml::attribute_value(raw).into_owned());
            declared.push(prefix.to_owned());
        }
        self.declared.push(declared);
    }

    fn leave(&mut self) {
        for prefix in self.declared.pop().unwrap_or_default() {
            if let Some(namespaces) = self.in_force.get_mut(&prefix) {
                namespaces.pop();
            }
        }
    }

    fn namespace(&self, prefix: &str) -> &str {
        let declared = self.in_force.get(prefix).and_then(|namespaces| namespaces.last());
        match (declared, prefix) {
            (Some(namespace), _) => namespace,
            (None, "xml") => "http://www.w3.org/XML/1998/namespace",
            (None, _) => "",
        }
    }
}

/// The prefix that an attribute of this name declares; empty for the default namespace.
fn declared_prefix(name: &str) -> Option<&str> {
    match name.strip_prefix("xmlns")? {
        "" => Some(""),
        rest => rest.strip_prefix(':'),
    }
}
