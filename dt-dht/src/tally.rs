//! Counting answers: when there are enough, and when there cannot be enough any more.

use std::collections::{BTreeMap, BTreeSet};

use dt_model::PartyId;

use crate::{Membership, Refusal};

/// Counts answers until there are enough, or there cannot be enough any more.
#[derive(Debug, Clone)]
pub(crate) struct Tally {
    needed: usize,
    tolerated: usize,
    pending: BTreeSet<PartyId>,
    good: BTreeSet<PartyId>,
    refusals: BTreeMap<PartyId, Refusal>,
}

/// What a [`Tally`] has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Pending,
    Reached,
    /// More replicas than can lie gave this refusal.
    Refused(Refusal),
    Failed,
}

/// What a node did about a request.
pub(crate) enum Answer {
    Good,
    Refused(Refusal),
    /// No reply, or one that counts for nothing.
    Failed,
}

impl Tally {
    pub(crate) fn new(membership: &Membership, nodes: impl IntoIterator<Item = PartyId>) -> Self {
        let resilience = membership.resilience();
        Self {
            needed: resilience.quorum(),
            tolerated: resilience.max_faulty(),
            pending: nodes.into_iter().collect(),
            good: BTreeSet::new(),
            refusals: BTreeMap::new(),
        }
    }

    /// Takes one node's answer; a second one, or one of a node that was not asked, changes nothing.
    pub(crate) fn answer(&mut self, node: PartyId, answer: Answer) {
        if !self.pending.remove(&node) {
            return;
        }
        match answer {
            Answer::Good => drop(self.good.insert(node)),
            // Who is busy may say something else when he comes to it.
            Answer::Refused(Refusal::Busy { .. }) | Answer::Failed => {}
            Answer::Refused(refusal) => drop(self.refusals.insert(node, refusal)),
        }
    }

    /// Whether `node` was asked and has not answered.
    pub(crate) fn awaits(&self, node: &PartyId) -> bool {
        self.pending.contains(node)
    }

    pub(crate) fn good(&self) -> usize {
        self.good.len()
    }

    pub(crate) fn needed(&self) -> usize {
        self.needed
    }

    pub(crate) fn tolerated(&self) -> usize {
        self.tolerated
    }

    pub(crate) fn refusals(&self) -> Vec<(PartyId, Refusal)> {
        self.refusals.iter().map(|(node, refusal)| (*node, *refusal)).collect()
    }

    /// The refusal that more replicas gave than can lie.
    pub(crate) fn common_refusal(&self) -> Option<Refusal> {
        most_frequent(self.refusals.values())
            .filter(|(_, count)| *count > self.tolerated)
            .map(|(refusal, _)| refusal)
    }

    pub(crate) fn verdict(&self) -> Verdict {
        if self.good() >= self.needed {
            return Verdict::Reached;
        }
        if self.good() + self.pending.len() >= self.needed {
            return Verdict::Pending;
        }
        let common = most_frequent(self.refusals.values());
        match common {
            Some((refusal, count)) if count > self.tolerated => Verdict::Refused(refusal),
            // Those that are still to answer may settle the reason.
            _ if common.map_or(0, |(_, count)| count) + self.pending.len() > self.tolerated
                && !self.pending.is_empty() =>
            {
                Verdict::Pending
            }
            _ => Verdict::Failed,
        }
    }
}

/// The refusal that occurs most often, and how often; of several, the first in their order.
pub(crate) fn most_frequent<'a>(refusals: impl Iterator<Item = &'a Refusal>) -> Option<(Refusal, usize)> {
    let mut counts: BTreeMap<Refusal, usize> = BTreeMap::new();
    refusals.for_each(|refusal| *counts.entry(*refusal).or_default() += 1);
    counts.into_iter().max_by_key(|(refusal, count)| (*count, core::cmp::Reverse(*refusal)))
}
