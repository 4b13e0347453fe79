//! What was heard of one round: its proposal, and one vote of each kind from each validator.

use std::collections::BTreeMap;

use dt_model::{Digest, Envelope, PartyId};

use super::message::{Prevote, Proposal};
use crate::{Block, Commit};

/// A proposal that its round's proposer did make.
pub(super) struct Known {
    pub(super) envelope: Envelope<Proposal>,
    pub(super) id: Digest,
    pub(super) block: Block,
    pub(super) valid_round: Option<u32>,
    /// The paper's `valid(v)`.
    pub(super) is_valid: bool,
}

/// One round of a height.
///
/// Of several votes by one validator the first counts: one more would be a traitor's. So a round takes a bounded amount of memory.
#[derive(Default)]
pub(super) struct Round {
    pub(super) proposal: Option<Known>,
    pub(super) prevotes: BTreeMap<PartyId, (Digest, Envelope<Prevote>)>,
    pub(super) precommits: BTreeMap<PartyId, (Digest, Envelope<Commit>)>,
    /// What happens "for the first time" only: lines 34, 36 and 47.
    pub(super) timed_prevote: bool,
    pub(super) locked: bool,
    pub(super) timed_precommit: bool,
}

impl Round {
    pub(super) fn prevotes_for(&self, id: Digest) -> usize {
        self.prevotes.values().filter(|(block, _)| *block == id).count()
    }

    pub(super) fn precommits_for(&self, id: Digest) -> usize {
        self.precommits.values().filter(|(block, _)| *block == id).count()
    }
}
