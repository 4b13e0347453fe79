//! Inclusion proofs: one element, shown to be in a document by the document's root hash alone.
//!
//! A proof holds what the hashes on the way from the element up to the root are made of: each ancestor's tags, and the
//! hashes and gaps of the siblings on both sides. So it shows the place of the element too: see [`Proof::ancestors`].

use std::sync::Arc;

use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};

use crate::document::Document;
use crate::edit::EditError;
use crate::grow::{self, Scope, Soil};
use crate::hash::{Preimage, SubtreeHash};
use crate::limits::Limits;
use crate::tree::{NodeId, Span, Tree};

/// Shows that an element with certain bytes stands in the document with a certain root hash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, BorshSerialize, BorshDeserialize)]
pub struct Proof {
    /// What stands before the root element.
    prolog: String,
    /// The ancestors, the parent first.
    levels: Vec<Level>,
    /// What stands after the root element.
    epilog: String,
}

/// An ancestor, and its children beside the one on the path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, BorshSerialize, BorshDeserialize)]
struct Level {
    head: String,
    before: Vec<Sibling>,
    /// The gap before the child on the path.
    gap: String,
    after: Vec<Sibling>,
    tail: String,
    end: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, BorshSerialize, BorshDeserialize)]
struct Sibling {
    gap: String,
    hash: SubtreeHash,
}

/// The proof does not show that the element is in the document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the proof does not hold")]
#[non_exhaustive]
pub struct ProofError;

impl Document {
    /// Proves that the element at `address` is in this document.
    ///
    /// # Errors
    /// [`EditError::Find`] if there is no such element.
    ///
    /// # Examples
    /// ```
    /// use dt_aml::{Document, Limits};
    ///
    /// let aml = r#"<CAEXFile><InstanceHierarchy Name="Plant">
    ///   <InternalElement Name="Motor" ID="m1"/><InternalElement Name="Valve" ID="v1"/>
    /// </InstanceHierarchy></CAEXFile>"#;
    /// let document = Document::parse(aml, &Limits::default())?;
    /// let proof = document.prove("m1")?;
    ///
    /// // Whoever trusts the root hash needs neither the document nor its author.
    /// let root = document.root_hash();
    /// proof.verify(root, r#"<InternalElement Name="Motor" ID="m1"/>"#, &Limits::default())?;
    /// assert!(proof.verify(root, r#"<InternalElement Name="Fan" ID="m1"/>"#, &Limits::default()).is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn prove(&self, address: &str) -> Result<Proof, EditError> {
        let found = self.find(address);
        let node = found.map_err(|cause| EditError::Find { address: address.to_owned(), cause })?.node;
        let tree = &self.tree;
        let levels = tree
            .ancestors(node)
            .filter_map(|child| Some(level(tree, tree.node(child).parent?, child)))
            .collect();
        let prolog = tree.text(tree.node(tree.root).gap).to_owned();
        Ok(Proof { prolog, levels, epilog: tree.text(tree.epilog).to_owned() })
    }
}

fn level(tree: &Tree, parent: NodeId, child: NodeId) -> Level {
    let text = |span: Span| tree.text(span).to_owned();
    let sibling = |id: NodeId| Sibling { gap: text(tree.node(id).gap), hash: tree.node(id).hash };
    let parent_node = tree.node(parent);
    Level {
        head: text(parent_node.head),
        before: tree.children(parent).take_while(|id| *id != child).map(sibling).collect(),
        gap: text(tree.node(child).gap),
        after: tree.children(parent).skip_while(|id| *id != child).skip(1).map(sibling).collect(),
        tail: text(parent_node.tail),
        end: text(parent_node.end),
    }
}

impl Proof {
    /// Verifies that the element with the bytes `source` is in the document with the hash `root`.
    ///
    /// # Errors
    /// [`ProofError`] if it is not, or `source` is not one element within `limits`.
    pub fn verify(&self, root: SubtreeHash, source: &str, limits: &Limits) -> Result<(), ProofError> {
        let mut hash = element_hash(source, limits).ok_or(ProofError)?;
        let mut preimage = Preimage::default();
        for level in &self.levels {
            preimage.open(&level.head);
            level.before.iter().for_each(|sibling| preimage.child(&sibling.gap, sibling.hash));
            preimage.child(&level.gap, hash);
            level.after.iter().for_each(|sibling| preimage.child(&sibling.gap, sibling.hash));
            hash = preimage.close(&level.tail, &level.end);
        }
        if preimage.document(&self.prolog, hash, &self.epilog) == root { Ok(()) } else { Err(ProofError) }
    }

    /// The start tags of the ancestors, the parent's first. Proven with the element once [`Proof::verify`] succeeds.
    pub fn ancestors(&self) -> impl Iterator<Item = &str> {
        self.levels.iter().map(|level| level.head.as_str())
    }
}

/// The hash of an element from its bytes.
fn element_hash(source: &str, limits: &Limits) -> Option<SubtreeHash> {
    limits.check_bytes(source.len() as u64).ok()?;
    let mut tree = Tree::bare(Arc::from(source));
    let soil = Soil { scope: Scope::default(), depth: 0, version: None, free: true };
    let grown = grow::grow(&mut tree, 0, soil, limits).ok()?;
    let alone = tree.node(grown.root).gap.is_empty() && grown.epilog.is_empty();
    alone.then(|| tree.node(grown.root).hash)
}
