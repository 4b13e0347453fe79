//! Inclusion proofs: one element, shown to be in a document by the document's root hash alone.
//!
//! A proof holds what the hashes on the way from the element up to the root are made of: each long ancestor's tags, the
//! hashes and gaps of the siblings in the same run, and the hashes of the other runs. Short elements are hashed as one
//! piece, so a proof of what stands in one holds the bytes of that short ancestor, some thousand at most. It shows the
//! place of the element too: see [`Proof::ancestors`].

use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};

use crate::arena::grow;
use crate::arena::hash::{self, Children, SHORT, SubtreeHash};
use crate::arena::tree::{NodeId, Span, Tree, Visit};
use crate::document::Document;
use crate::edit::EditError;
use crate::limits::Limits;
use crate::xml::Scope;

/// Shows that an element with certain bytes stands in the document with a certain root hash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, BorshSerialize, BorshDeserialize)]
pub struct Proof {
    /// What stands before the root element.
    prolog: String,
    /// The rest of the outermost short element that it stands in, if it stands in one.
    within: Option<Within>,
    /// The ancestors of that, the parent first; all are long.
    levels: Vec<Level>,
    /// What stands after the root element.
    epilog: String,
}

/// A short element around the one that is proven.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, BorshSerialize, BorshDeserialize)]
struct Within {
    /// The start tags of the ancestors up to the short element itself, the parent's first.
    heads: Vec<String>,
    /// Its bytes before the one that is proven.
    before: String,
    /// Its bytes behind it.
    behind: String,
}

/// A long ancestor, and its children beside the one on the path.
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
        let is_short = |node: &NodeId| tree.node(*node).bytes <= SHORT;
        let outermost = tree.ancestors(node).take_while(is_short).last().unwrap_or(node);
        let levels = tree
            .ancestors(outermost)
            .filter_map(|child| Some(level(tree, tree.node(child).parent?, child)))
            .collect();
        let within = (outermost != node).then(|| within(tree, outermost, node));
        let prolog = tree.text(tree.node(tree.root).gap).to_owned();
        Ok(Proof { prolog, within, levels, epilog: tree.text(tree.epilog).to_owned() })
    }
}

/// What stands around `node` in `top`.
fn within(tree: &Tree, top: NodeId, node: NodeId) -> Within {
    let (mut before, mut behind) = (String::new(), String::new());
    let mut out = &mut before;
    let mut visits = tree.walk(top);
    while let Some(visit) = visits.next() {
        let (first, second) = match visit {
            Visit::Enter(id) => (tree.node(id).gap, tree.node(id).head),
            Visit::Leave(id) => (tree.node(id).tail, tree.node(id).end),
        };
        if !matches!(visit, Visit::Enter(id) if id == top) {
            out.push_str(tree.text(first));
        }
        if matches!(visit, Visit::Enter(id) if id == node) {
            visits.find(|visit| matches!(visit, Visit::Leave(id) if *id == node));
            out = &mut behind;
            continue;
        }
        out.push_str(tree.text(second));
    }
    Within { heads: heads_between(tree, node, top), before, behind }
}

/// The start tags of the ancestors of `node` up to `top`, the parent's first.
fn heads_between(tree: &Tree, node: NodeId, top: NodeId) -> Vec<String> {
    let ancestors = tree.ancestors(node).take_while(|ancestor| *ancestor != top).skip(1).chain([top]);
    ancestors.map(|ancestor| tree.head(ancestor).to_owned()).collect()
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
        if children.push(tree.text(node.gap), tree.hash(child)) {
            runs.extend(children.runs.last().map(|hash| (std::mem::take(&mut rest), *hash)));
        }
    }
    (runs, rest)
}

fn sibling(tree: &Tree, id: NodeId) -> Sibling {
    Sibling { gap: tree.text(tree.node(id).gap).to_owned(), hash: tree.hash(id) }
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
        Some(hash::long(&self.head, &children, &self.tail, &self.end))
    }
}

impl Within {
    /// The hash of the short element, if `source` is an element in it, below these ancestors.
    fn hash(&self, source: &str, scope: Scope, limits: &Limits) -> Option<SubtreeHash> {
        let whole = [&self.before, source, &self.behind].concat();
        let tree = grown(&whole, scope, limits)?;
        let is_it = |id: &NodeId| {
            let node = tree.node(*id);
            node.head.start as usize == self.before.len() && node.bytes as usize == source.len()
        };
        let node = tree.preorder(tree.root).find(is_it)?;
        let is_there = node != tree.root && heads_between(&tree, node, tree.root) == self.heads;
        is_there.then(|| tree.hash(tree.root))
    }
}

impl Proof {
    /// Verifies that the element with the bytes `source` is in the document with the hash `root`.
    ///
    /// # Errors
    /// [`ProofError`] if it is not, or `source` is not one element within `limits`.
    pub fn verify(&self, root: SubtreeHash, source: &str, limits: &Limits) -> Result<(), ProofError> {
        let hash = self.hash(source, limits).ok_or(ProofError)?;
        if hash == root { Ok(()) } else { Err(ProofError) }
    }

    /// The hash of a document that holds the element with the bytes `source` in the place that the proof shows.
    fn hash(&self, source: &str, limits: &Limits) -> Option<SubtreeHash> {
        let scope = Scope::of_heads(self.levels.iter().rev().map(|level| level.head.as_str()));
        let outermost = match &self.within {
            Some(within) => within.hash(source, scope, limits)?,
            None => {
                let tree = grown(source, scope, limits)?;
                tree.hash(tree.root)
            }
        };
        let top = self.levels.iter().try_fold(outermost, |child, level| level.hash(child))?;
        Some(hash::document(&self.prolog, top, &self.epilog))
    }

    /// The start tags of the ancestors, the parent's first. Proven with the element once [`Proof::verify`] succeeds.
    pub fn ancestors(&self) -> impl Iterator<Item = &str> {
        let within = self.within.iter().flat_map(|within| &within.heads);
        within.chain(self.levels.iter().map(|level| &level.head)).map(String::as_str)
    }
}

/// The element with these bytes as a tree of its own.
fn grown(source: &str, scope: Scope, limits: &Limits) -> Option<Tree> {
    limits.check_bytes(source.len() as u64).ok()?;
    grow::grow_element(source, scope, limits).ok()
}
