//! The decision of fetching one stripe: whom to ask for a shard, whom besides when an answer is late, and when there are enough. Sans-IO.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use dt_model::PartyId;

use super::reference::{BlobError, BlobRef};
use crate::tally::{Answer, Tally};
use crate::{GetError, Membership, ReplyBody};

/// Collects shards of one stripe until they restore it.
///
/// As many nodes are asked as shards are missing, those first that the caller ranks first. A node that has failed, or is late, is made
/// up for by the next one; its answer is still welcome. Every candidate is asked in the end, so k nodes that withhold, lie or hang
/// cost time at most.
#[derive(Debug)]
pub(super) struct StripeGet {
    blob: BlobRef,
    /// Those that were not asked yet, best first.
    candidates: VecDeque<(PartyId, u16)>,
    /// Those that were asked for a shard and have not answered, and whether they are late.
    asked: BTreeMap<(PartyId, u16), bool>,
    sound: BTreeMap<u16, Bytes>,
    tally: Tally,
}

/// What an answer says of the node that gave it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Conduct {
    /// It answered properly: with the shard, without one, or with a refusal.
    Proper,
    /// No answer, or nothing that counts.
    Failed,
    /// It signed something else than the shard.
    Lied,
}

impl StripeGet {
    /// Starts fetching the root of `blob` from `candidates`, each a replica and the number of its shard.
    pub(super) fn new(membership: &Membership, blob: BlobRef, candidates: Vec<(PartyId, u16)>) -> Self {
        let tally = Tally::new(membership, candidates.iter().map(|(node, _)| *node));
        Self { blob, candidates: candidates.into(), asked: BTreeMap::new(), sound: BTreeMap::new(), tally }
    }

    /// Whom to ask now, and for which shard.
    pub(super) fn wanted(&mut self) -> Vec<(PartyId, u16)> {
        let mut wanted = Vec::new();
        let awaited = self.asked.iter().filter(|(_, late)| !**late).map(|((_, index), _)| *index);
        let mut expected: BTreeSet<u16> = self.sound.keys().copied().chain(awaited).collect();
        while expected.len() < self.blob.data_shards() {
            // While nodes hand over, two of them may have the same shard.
            let next = self.candidates.iter().position(|(_, index)| !expected.contains(index));
            let Some(next) = next.and_then(|at| self.candidates.remove(at)) else { break };
            expected.insert(next.1);
            wanted.push(next);
        }
        self.asked.extend(wanted.iter().map(|asked| (*asked, false)));
        wanted
    }

    /// Whom to ask if nothing is to be left to chance: everybody.
    pub(super) fn all(&mut self) -> Vec<(PartyId, u16)> {
        let wanted: Vec<_> = self.candidates.drain(..).collect();
        self.asked.extend(wanted.iter().map(|asked| (*asked, false)));
        wanted
    }

    /// Takes what `node` replied when it was asked for the shard `index`; `None` if it did not, or nothing that counts. What a node says
    /// unasked changes nothing.
    pub(super) fn answer(&mut self, node: PartyId, index: u16, reply: Option<ReplyBody>) -> Conduct {
        if self.asked.remove(&(node, index)).is_none() {
            return Conduct::Failed;
        }
        let (answer, conduct) = match reply {
            Some(ReplyBody::Shard { shard: Some(shard) }) => {
                if self.blob.names(index, &shard) {
                    self.sound.insert(index, shard.into_bytes());
                    (Answer::Good, Conduct::Proper)
                } else {
                    (Answer::Failed, Conduct::Lied)
                }
            }
            Some(ReplyBody::Shard { shard: None }) => (Answer::Failed, Conduct::Proper),
            Some(ReplyBody::Refused { refusal }) => (Answer::Refused(refusal), Conduct::Proper),
            _ => (Answer::Failed, Conduct::Failed),
        };
        self.tally.answer(node, answer);
        conduct
    }

    /// Whoever is still to answer is late from now on; those that were not so before.
    pub(super) fn late(&mut self) -> Vec<PartyId> {
        let nodes = self.awaited().copied().collect();
        self.asked.values_mut().for_each(|late| *late = true);
        nodes
    }

    /// Those that were asked, have not answered, and are not late.
    pub(super) fn awaited(&self) -> impl Iterator<Item = &PartyId> {
        self.asked.iter().filter(|(_, late)| !**late).map(|((node, _), _)| node)
    }

    /// Whether there are enough shards, or cannot be any more.
    pub(super) fn is_decided(&self) -> bool {
        let more = |(_, index): &(PartyId, u16)| !self.sound.contains_key(index);
        self.sound.len() >= self.blob.data_shards()
            || !(self.asked.keys().any(more) || self.candidates.iter().any(more))
    }

    /// As many sound shards as restore the stripe.
    pub(super) fn outcome(self) -> Result<Vec<(u16, Bytes)>, GetError> {
        let (found, needed) = (self.sound.len(), self.blob.data_shards());
        match self.tally.common_refusal() {
            _ if found >= needed => Ok(self.sound.into_iter().collect()),
            Some(refusal) => Err(GetError::Refused(refusal)),
            None => Err(BlobError::TooFewShards { found, needed }.into()),
        }
    }
}
