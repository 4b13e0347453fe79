//! Inclusion proofs: one element, shown to be in a document by the document's root hash alone.
//!
//! A proof holds what the hashes on the way from the element up to the root are made of: each ancestor's tags, the hashes
//! and gaps of the siblings in the same run, and the hashes of the other runs. So it shows the place of the element too:
//! see [`Proof::ancestors`].

use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};

use crate::document::Document;
use crate::edit::EditError;
use crate::grow;
use crate::hash::{self, Children, ElementHasher, SubtreeHash};
use crate::limits::Limits;
use crate::tree::{NodeId, Span, Tree};
use crate::xml::Scope;

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
    /// The runs before the one with the child on the path, or all runs if it stands behind them.
    runs_before: Vec<SubtreeHash>,
    before: Vec<Sibling>,
    /// The gap before the child on the path.
    gap: String,
    /// The siblings behind it in its run.
    after: Vec<Sibling>,
    /// What comes behind its run; none if it stands in no run.
    behind: Option<Behind>,
    tail: String,
    end: String,
}

/// What comes behind a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, BorshSerialize, BorshDeserialize)]
struct Behind {
    runs: Vec<SubtreeHash>,
    rest: Vec<Sibling>,
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
    let (runs, rest) = runs(tree, parent);
    let of_child = runs.iter().position(|(siblings, _)| siblings.contains(&child));
    let hashes = |runs: &[(Vec<NodeId>, SubtreeHash)]| runs.iter().map(|(_, hash)| *hash).collect();
    let siblings = |ids: &[NodeId]| ids.iter().map(|id| sibling(tree, *id)).collect::<Vec<_>>();
    let (own, runs_before, behind) = match of_child {
        Some(number) => {
            let behind = Behind { runs: hashes(&runs[number + 1..]), rest: siblings(&rest) };
            (runs[number].0.as_slice(), hashes(&runs[..number]), Some(behind))
        }
        None => (rest.as_slice(), hashes(&runs), None),
    };
    let at = own.iter().position(|id| *id == child).unwrap_or(own.len());
    let parent = tree.node(parent);
    Level {
        head: text(parent.head),
        runs_before,
        before: siblings(&own[..at]),
        gap: text(tree.node(child).gap),
        after: siblings(own.get(at + 1..).unwrap_or_default()),
        behind,
        tail: text(parent.tail),
        end: text(parent.end),
    }
}

/// The runs of an element's children with their hashes, and the rest.
fn runs(tree: &Tree, parent: NodeId) -> (Vec<(Vec<NodeId>, SubtreeHash)>, Vec<NodeId>) {
    let (mut runs, mut rest) = (Vec::new(), Vec::new());
    let mut children = Children::default();
    for child in tree.children(parent) {
        rest.push(child);
        let node = tree.node(child);
        if children.push(tree.text(node.gap), node.hash) {
            runs.extend(children.runs.last().map(|hash| (std::mem::take(&mut rest), *hash)));
        }
    }
    (runs, rest)
}

fn sibling(tree: &Tree, id: NodeId) -> Sibling {
    let node = tree.node(id);
    Sibling { gap: tree.text(node.gap).to_owned(), hash: node.hash }
}

impl Level {
    /// The hash of the ancestor, if the child on the path has the hash `child`.
    fn hash(&self, child: SubtreeHash) -> Option<SubtreeHash> {
        let own = self.before.iter().map(|sibling| (sibling.gap.as_str(), sibling.hash));
        let own = own.chain([(self.gap.as_str(), child)]);
        let own = own.chain(self.after.iter().map(|sibling| (sibling.gap.as_str(), sibling.hash)));
        let mut children = Children::of_runs(self.runs_before.clone());
        let runs_before = children.runs.len();
        own.for_each(|(gap, hash)| {
            children.push(gap, hash);
        });
        if let Some(behind) = &self.behind {
            let is_one_run = children.runs.len() == runs_before + 1 && children.is_without_rest();
            children.runs.extend(&behind.runs);
            let runs = children.runs.len();
            behind.rest.iter().for_each(|sibling| {
                children.push(&sibling.gap, sibling.hash);
            });
            if !is_one_run || children.runs.len() != runs {
                return None;
            }
        } else if children.runs.len() != runs_before {
            return None;
        }
        Some(ElementHasher::default().hash(&self.head, &children, &self.tail, &self.end))
    }
}

impl Proof {
    /// Verifies that the element with the bytes `source` is in the document with the hash `root`.
    ///
    /// # Errors
    /// [`ProofError`] if it is not, or `source` is not one element within `limits`.
    pub fn verify(&self, root: SubtreeHash, source: &str, limits: &Limits) -> Result<(), ProofError> {
        limits.check_bytes(source.len() as u64).map_err(|_| ProofError)?;
        let scope = Scope::of_heads(self.levels.iter().rev().map(|level| level.head.as_str()));
        let element = grow::hash_element(source, scope, limits).ok_or(ProofError)?;
        let top = self.levels.iter().try_fold(element, |child, level| level.hash(child)).ok_or(ProofError)?;
        if hash::document(&self.prolog, top, &self.epilog) == root { Ok(()) } else { Err(ProofError) }
    }

    /// The start tags of the ancestors, the parent's first. Proven with the element once [`Proof::verify`] succeeds.
    pub fn ancestors(&self) -> impl Iterator<Item = &str> {
        self.levels.iter().map(|level| level.head.as_str())
    }
}
