//! The decision of storing one stripe: who is sent a shard, who is spared, and when enough replicas hold theirs. Sans-IO.

use std::collections::{BTreeMap, VecDeque};

use dt_model::PartyId;

use crate::tally::{Answer, Tally, Verdict};
use crate::{Address, Membership, PutError, ReplyBody};

/// Collects the acknowledgements of one stripe until a quorum holds its shards.
///
/// Of a quorum of 2k + 1 at most k lie, and any k + 1 shards restore the stripe.
#[derive(Debug)]
pub(super) struct StripePut {
    replicas: Vec<(PartyId, u16)>,
    /// Those that lag behind with earlier stripes: sent to only if the others are not enough. The least behind first.
    spared: VecDeque<(PartyId, u16)>,
    /// Those that were sent shards and have not answered, with how many. While nodes hand over, one may hold two shards.
    awaited: BTreeMap<PartyId, usize>,
    tally: Tally,
}

impl StripePut {
    /// Starts storing a stripe at `address`. `backlog` says how many earlier stripes a node has still to take; who has `most` of them
    /// is spared.
    pub(super) fn new(
        membership: &Membership,
        address: &Address,
        backlog: &BTreeMap<PartyId, usize>,
        most: usize,
    ) -> Self {
        let behind = |node: &PartyId| backlog.get(node).copied().unwrap_or(0);
        let replicas = places(membership, address);
        let tally = Tally::new(membership, replicas.iter().map(|(node, _)| *node));
        // Two quorums at once spare nobody.
        let spare = |node: &PartyId| behind(node) >= most && !membership.is_changing();
        let (mut spared, replicas): (Vec<_>, Vec<_>) =
            replicas.into_iter().partition(|(node, _)| spare(node));
        spared.sort_by_key(|(node, _)| behind(node));
        Self { replicas, spared: spared.into(), awaited: BTreeMap::new(), tally }
    }

    /// Who is to be sent which shard now.
    pub(super) fn wanted(&mut self) -> Vec<(PartyId, u16)> {
        let mut wanted = core::mem::take(&mut self.replicas);
        while self.tally.good() + self.awaited.len() + wanted.len() < self.tally.needed() {
            let Some(next) = self.spared.pop_front() else { break };
            wanted.push(next);
        }
        wanted.iter().for_each(|(node, _)| *self.awaited.entry(*node).or_default() += 1);
        wanted
    }

    /// Takes what `node` replied; `None` if it did not, or nothing that counts. A node's first answer stands.
    pub(super) fn answer(&mut self, node: PartyId, reply: Option<&ReplyBody>) {
        let answer = match reply {
            Some(ReplyBody::ShardStored) => Answer::Good,
            Some(ReplyBody::Refused { refusal }) => Answer::Refused(*refusal),
            _ => Answer::Failed,
        };
        let left = self.awaited.get(&node).copied().unwrap_or(0).saturating_sub(1);
        if left > 0 {
            self.awaited.insert(node, left);
        } else {
            self.awaited.remove(&node);
        }
        // It holds its part when it holds all its shards.
        if left == 0 || !matches!(answer, Answer::Good) {
            self.tally.answer(node, answer);
        }
    }

    /// Those that were sent a shard and have not answered, once for each shard.
    pub(super) fn awaited(&self) -> Vec<PartyId> {
        self.awaited.iter().flat_map(|(node, count)| core::iter::repeat_n(*node, *count)).collect()
    }

    /// The outcome, as soon as there is one.
    pub(super) fn outcome(&self) -> Option<Result<(), PutError>> {
        match self.tally.verdict() {
            Verdict::Pending => None,
            Verdict::Reached => Some(Ok(())),
            Verdict::Refused(refusal) => Some(Err(PutError::Refused(refusal))),
            Verdict::Failed => Some(Err(self.unfinished())),
        }
    }

    /// The error when no more answers come although some are outstanding.
    pub(super) fn unfinished(&self) -> PutError {
        PutError::no_quorum(&self.tally)
    }
}

/// Which shard of a stripe at `address` is for which node: one each, but in the old and in the new order while nodes hand over.
pub(super) fn places(membership: &Membership, address: &Address) -> Vec<(PartyId, u16)> {
    let mut places: Vec<(PartyId, u16)> = Vec::new();
    for group in membership.groups(address).into_iter().rev() {
        for place in group.into_iter().zip(0..) {
            if !places.contains(&place) {
                places.push(place);
            }
        }
    }
    places
}
