//! Which children of two elements are the same.

use std::collections::BTreeMap;

use crate::address;
use crate::arena::index;
use crate::arena::tree::{NodeId, Tree};
use crate::document::Document;
use crate::xml;

/// A child of one element and the child of the other that is the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pair {
    pub(crate) ours: NodeId,
    pub(crate) theirs: NodeId,
}

/// The children of two elements that are the same, in their order in both.
///
/// Equal ones at both ends first; in between those with the same ID, or else with the same tag and name; of those that cross each other,
/// as many as possible that do not.
pub(crate) fn children(
    ours: &Document,
    our_parent: NodeId,
    theirs: &Document,
    their_parent: NodeId,
) -> Vec<Pair> {
    let left: Vec<NodeId> = ours.tree.children(our_parent).collect();
    let right: Vec<NodeId> = theirs.tree.children(their_parent).collect();
    let is_equal = |(our, their): &(&NodeId, &NodeId)| {
        ours.tree.hash(**our) == theirs.tree.hash(**their) && is_addressable(ours, **our)
    };
    let head = left.iter().zip(&right).take_while(is_equal).count();
    let (inner_left, inner_right) = (&left[head..], &right[head..]);
    let tail = inner_left.iter().rev().zip(inner_right.iter().rev()).take_while(is_equal).count();
    let inner_left = &inner_left[..inner_left.len() - tail];
    let inner_right = &inner_right[..inner_right.len() - tail];

    let pair = |(ours, theirs): (&NodeId, &NodeId)| Pair { ours: *ours, theirs: *theirs };
    let mut pairs: Vec<Pair> = left.iter().zip(&right).take(head).map(pair).collect();
    pairs.extend(in_between(ours, inner_left, theirs, inner_right));
    let ends = left[left.len() - tail..].iter().zip(&right[right.len() - tail..]);
    pairs.extend(ends.map(pair));
    pairs
}

/// Whether one element can become the other by other tags and other content: they are called the same, and what stands in them means the
/// same.
pub(crate) fn is_comparable(ours: &Tree, our: NodeId, theirs: &Tree, their: NodeId) -> bool {
    ours.node(our).kind == theirs.node(their).kind && xml::are_alike(ours.head(our), theirs.head(their))
}

/// An element that no address reaches cannot be told in an edit.
fn is_addressable(document: &Document, node: NodeId) -> bool {
    let name = xml::attribute(document.tree.head(node), "Name");
    let is_short = name.is_none_or(|name| name.len() < address::MAX_ADDRESS / 4);
    is_short || address::address_of(document, node).is_some()
}

fn in_between(ours: &Document, left: &[NodeId], theirs: &Document, right: &[NodeId]) -> Vec<Pair> {
    let mut partners: Vec<Option<usize>> = vec![None; right.len()];
    let mut taken = vec![false; left.len()];
    for identity in [Identity::by_id, Identity::by_name] {
        let mut waiting: BTreeMap<Identity, Vec<usize>> = BTreeMap::new();
        for at in (0..left.len()).rev().filter(|at| !taken[*at]) {
            if let Some(identity) = identity(ours, left[at], theirs) {
                waiting.entry(identity).or_default().push(at);
            }
        }
        for (their, partner) in right.iter().zip(&mut partners).filter(|(_, partner)| partner.is_none()) {
            let first = identity(theirs, *their, ours).and_then(|identity| waiting.get_mut(&identity)?.pop());
            let found = first.filter(|at| {
                is_comparable(&ours.tree, left[*at], &theirs.tree, *their) && is_addressable(ours, left[*at])
            });
            if let Some(at) = found {
                taken[at] = true;
                *partner = Some(at);
            }
        }
    }
    let pairs: Vec<(usize, usize)> =
        partners.iter().enumerate().filter_map(|(at, partner)| Some(((*partner)?, at))).collect();
    let straight = longest_rise(&pairs.iter().map(|(left, _)| *left).collect::<Vec<_>>());
    straight
        .into_iter()
        .filter_map(|at| pairs.get(at))
        .map(|(our, their)| Pair { ours: left[*our], theirs: right[*their] })
        .collect()
}

/// What makes a child the same as one of another element.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Identity {
    Id(String),
    Name { tag: String, name: Option<String> },
}

impl Identity {
    fn by_id(document: &Document, node: NodeId, _other: &Document) -> Option<Self> {
        index::id_of(&document.tree, node).map(|id| Self::Id(id.into_owned()))
    }

    /// Tag and name, unless the ID tells that it is another element.
    fn by_name(document: &Document, node: NodeId, other: &Document) -> Option<Self> {
        let head = document.tree.head(node);
        if index::id_of(&document.tree, node)
            .is_some_and(|id| other.index.with_id(&other.tree, &id).next().is_some())
        {
            return None;
        }
        let name = xml::attribute(head, "Name").map(|name| name.into_owned());
        Some(Self::Name { tag: xml::tag_name(head).to_owned(), name })
    }
}

/// The places of a longest rising part of `numbers`, which are all different.
fn longest_rise(numbers: &[usize]) -> Vec<usize> {
    // For each length the place where the rise of that length with the lowest end ends (patience sorting).
    let mut ends: Vec<usize> = Vec::new();
    let mut before: Vec<Option<usize>> = Vec::with_capacity(numbers.len());
    for (at, number) in numbers.iter().enumerate() {
        let length = ends.partition_point(|end| numbers[*end] < *number);
        before.push(length.checked_sub(1).and_then(|length| ends.get(length)).copied());
        match ends.get_mut(length) {
            Some(end) => *end = at,
            None => ends.push(at),
        }
    }
    let mut rise: Vec<usize> = std::iter::successors(ends.last().copied(), |at| before[*at]).collect();
    rise.reverse();
    rise
}
