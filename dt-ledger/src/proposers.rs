//! Whose turn it is to propose, and who has to sit out: an engine waits for a proposer that is dead, round after round, so each block says in
//! which round it was made. The proposers of the rounds before it have failed, and rest for some hundred heights.
//!
//! # Invariants
//! - Who rests follows from the headers alone, so every validator knows it before the height begins; one header tells whoever joins.
//! - No more than a third of the validators rest ([`vote_quorum`] of them always take turns), so nobody can be left alone with the proposals.
//! - A proposer cannot let others rest: whoever votes checks that the block of a round names that round.

use borsh::{BorshDeserialize, BorshSerialize};
use dt_model::PartyId;
use serde::{Deserialize, Serialize};

use crate::block::vote_quorum;
use crate::replica::Tip;

/// For how many heights whoever failed to propose rests.
pub const REST_HEIGHTS: u64 = 300;

/// A validator that does not propose for a while. It votes as before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct Rest {
    /// Who.
    pub validator: PartyId,
    /// The last height at which it does not propose.
    pub until: u64,
}

/// Which of those who take turns ([`Tip::turns`]) proposes at `height` in `round`; `None` if there are none.
#[must_use]
pub fn turn<T>(turns: &[T], height: u64, round: u32) -> Option<&T> {
    let turn = height.wrapping_add(u64::from(round)).checked_rem(turns.len() as u64)?;
    turns.get(usize::try_from(turn).ok()?)
}

impl Tip {
    /// Whose turn it is to propose the next block in `round`; `None` if nobody votes.
    #[must_use]
    pub fn proposer(&self, round: u32) -> Option<PartyId> {
        turn(&self.turns(), self.height + 1, round).copied()
    }

    /// The validators that take turns in proposing the next block.
    #[must_use]
    pub fn turns(&self) -> Vec<PartyId> {
        let resting = self.still_resting();
        let rests = |validator: &&PartyId| !resting.iter().any(|rest| rest.validator == **validator);
        self.validators.iter().filter(rests).copied().collect()
    }

    /// Who rests once the next block was made in `round`: what its header says.
    #[must_use]
    pub fn resting_after(&self, round: u32) -> Vec<Rest> {
        let mut resting = self.still_resting();
        let most = self.validators.len() - vote_quorum(self.validators.len());
        let turns = self.turns();
        let proposer = |round| turn(&turns, self.height + 1, round).copied();
        let maker = proposer(round);
        // After as many rounds as there are validators, the turns begin anew.
        for failed in (0..round).take(self.validators.len()).filter_map(proposer) {
            let is_new = Some(failed) != maker && !resting.iter().any(|rest| rest.validator == failed);
            if is_new && resting.len() < most {
                resting
                    .push(Rest { validator: failed, until: (self.height + 1).saturating_add(REST_HEIGHTS) });
            }
        }
        resting
    }

    /// Those of the last header that have not come to their end, and vote on the next block.
    fn still_resting(&self) -> Vec<Rest> {
        let stays = |rest: &&Rest| rest.until > self.height && self.validators.contains(&rest.validator);
        let most = self.validators.len() - vote_quorum(self.validators.len());
        self.resting.iter().filter(stays).take(most).copied().collect()
    }
}
