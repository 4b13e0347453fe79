//! Counting answers: when there are enough, and when there cannot be enough any more.

use core::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use dt_model::PartyId;

use crate::{Address, Membership, Refusal, Resilience};

/// Counts answers until there are enough in every group of replicas, or there cannot be enough any more.
#[derive(Debug, Clone)]
pub(crate) struct Tally {
    resilience: Resilience,
    groups: Vec<Vec<PartyId>>,
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
    /// Nobody has answered: all replicas of `address` are awaited.
    pub(crate) fn new(membership: &Membership, address: &Address) -> Self {
        let groups = membership.groups(address);
        let pending = groups.iter().flatten().copied().collect();
        Self {
            resilience: membership.resilience(),
            groups,
            pending,
            good: BTreeSet::new(),
            refusals: BTreeMap::new(),
        }
    }

    /// The same before anybody answered.
    pub(crate) fn cleared(&self) -> Self {
        let pending = self.groups.iter().flatten().copied().collect();
        let (good, refusals) = (BTreeSet::new(), BTreeMap::new());
        Self { resilience: self.resilience, groups: self.groups.clone(), pending, good, refusals }
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

    /// Whether anybody has not answered.
    pub(crate) fn is_open(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Takes a good answer back: it turned out to be a lie.
    pub(crate) fn convict(&mut self, node: &PartyId) {
        self.good.remove(node);
    }

    /// How many answered well, in the group where they are fewest.
    pub(crate) fn good(&self) -> usize {
        self.fewest(|node| self.good.contains(node))
    }

    /// Whether `others` and those that answered well are enough together.
    pub(crate) fn is_quorum_with(&self, others: &BTreeSet<PartyId>) -> bool {
        self.fewest(|node| self.good.contains(node) || others.contains(node)) >= self.needed()
    }

    pub(crate) fn needed(&self) -> usize {
        self.resilience.quorum()
    }

    /// Whether those for whom `holds` is true are more than can lie, in some group.
    pub(crate) fn outnumber_liars(&self, holds: impl Fn(&PartyId) -> bool) -> bool {
        self.most(holds) > self.resilience.max_faulty()
    }

    /// Whether something that all of `nodes` lack cannot have reached a quorum: n - q replicas may lack what has, and k may lie.
    ///
    /// While nodes change, only the group that was there before counts: what was written until then, the next one may lack altogether.
    pub(crate) fn exclude_quorum(&self, nodes: &BTreeSet<PartyId>) -> bool {
        let lacking = self.resilience.replicas() - self.needed();
        let present = self.groups.first().map_or(0, |group| count(group, |node| nodes.contains(node)));
        present > lacking + self.resilience.max_faulty()
    }

    fn fewest(&self, holds: impl Fn(&PartyId) -> bool) -> usize {
        self.groups.iter().map(|group| count(group, &holds)).min().unwrap_or(0)
    }

    fn most(&self, holds: impl Fn(&PartyId) -> bool) -> usize {
        self.groups.iter().map(|group| count(group, &holds)).max().unwrap_or(0)
    }

    pub(crate) fn refusals(&self) -> Vec<(PartyId, Refusal)> {
        self.refusals.iter().map(|(node, refusal)| (*node, *refusal)).collect()
    }

    /// The refusal that more replicas gave than can lie.
    pub(crate) fn common_refusal(&self) -> Option<Refusal> {
        self.common(&self.refusals)
    }

    /// Of what some replicas say, that which more say than can lie; what is said most often goes first.
    pub(crate) fn common(&self, said: &BTreeMap<PartyId, Refusal>) -> Option<Refusal> {
        let by_group = self.groups.iter().filter_map(|group| most_frequent(group, said));
        by_group
            .max_by_key(|(refusal, count)| (*count, Reverse(*refusal)))
            .and_then(|(refusal, count)| (count > self.resilience.max_faulty()).then_some(refusal))
    }

    pub(crate) fn verdict(&self) -> Verdict {
        let needed = self.needed();
        if self.good() >= needed {
            return Verdict::Reached;
        }
        if self.fewest(|node| self.good.contains(node) || self.pending.contains(node)) >= needed {
            return Verdict::Pending;
        }
        if let Some(refusal) = self.common_refusal() {
            return Verdict::Refused(refusal);
        }
        // Those that are still to answer may settle the reason.
        let open = self.groups.iter().any(|group| {
            let pending = count(group, |node| self.pending.contains(node));
            let common = most_frequent(group, &self.refusals).map_or(0, |(_, count)| count);
            pending > 0 && common + pending > self.resilience.max_faulty()
        });
        if open { Verdict::Pending } else { Verdict::Failed }
    }
}

/// Of how many of a group `holds` is true.
fn count(group: &[PartyId], holds: impl Fn(&PartyId) -> bool) -> usize {
    group.iter().filter(|node| holds(node)).count()
}

/// The refusal that occurs most often in a group, and how often; of several, the first in their order.
fn most_frequent(group: &[PartyId], said: &BTreeMap<PartyId, Refusal>) -> Option<(Refusal, usize)> {
    let mut counts: BTreeMap<Refusal, usize> = BTreeMap::new();
    let refusals = group.iter().filter_map(|node| said.get(node));
    refusals.for_each(|refusal| *counts.entry(*refusal).or_default() += 1);
    counts.into_iter().max_by_key(|(refusal, count)| (*count, Reverse(*refusal)))
}
