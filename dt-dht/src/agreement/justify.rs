//! What a proposal under a ballot has to show: a quorum's promises, and with them the record that the ballot has to respect.

use dt_model::{Digest, Envelope, Signed};

use super::{Ballot, Bid, LockCertificate, Promise, Vote};
use crate::certificate::check_signers;
use crate::{Address, Membership};

/// The attempt that promises are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Attempt {
    pub(crate) address: Address,
    pub(crate) sequence: u64,
    pub(crate) ballot: Ballot,
}

/// The promises do not justify anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unjustified;

impl From<&Bid> for Attempt {
    fn from(bid: &Bid) -> Self {
        Self { address: bid.address, sequence: bid.sequence, ballot: bid.ballot }
    }
}

impl Attempt {
    /// Whether `promise` is one for this attempt; the lock that it shows is not checked.
    pub(crate) fn is_of(&self, promise: &Promise, membership: &Membership) -> bool {
        let named = Self { address: promise.address, sequence: promise.sequence, ballot: promise.ballot };
        named == *self && (promise.network, promise.epoch) == (membership.network(), membership.epoch())
    }

    /// What a lock that a promise for this attempt shows is on: `None` if it is no proof of an earlier attempt at the same sequence.
    pub(crate) fn open_lock(&self, lock: &LockCertificate, membership: &Membership) -> Option<Vote> {
        let claim = lock.claim().filter(|claim| self.precedes(claim))?;
        (lock.verify(membership, &self.address) == Ok(claim)).then_some(claim)
    }

    fn precedes(&self, claim: &Vote) -> bool {
        claim.sequence == self.sequence && claim.ballot < Some(self.ballot)
    }

    /// The state that a proposal has to lead to, if a quorum's `promises` show one: that of the newest lock.
    pub(crate) fn justify(
        &self,
        promises: &[Envelope<Promise>],
        membership: &Membership,
        is_proof: impl Fn(&LockCertificate) -> bool,
    ) -> Result<Option<Digest>, Unjustified> {
        let groups = membership.groups(&self.address);
        let signers = promises.iter().map(Envelope::signer);
        check_signers(&groups, membership.resilience().quorum(), signers).map_err(|_| Unjustified)?;
        let opened = promises.iter().map(|promise| promise.clone().open().map_err(|_| Unjustified));
        let opened = opened.collect::<Result<Vec<Signed<Promise>>, _>>()?;
        if !opened.iter().all(|promise| self.is_of(promise, membership)) {
            return Err(Unjustified);
        }
        let locks = opened.iter().filter_map(|promise| promise.lock.as_ref());
        let claims = locks.map(|lock| lock.claim().map(|claim| (claim, lock)).ok_or(Unjustified));
        let claims = claims.collect::<Result<Vec<_>, _>>()?;
        // Only the newest one matters. An honest proposer passes on no promise whose lock is not sound.
        let Some((claim, lock)) = claims.into_iter().max_by_key(|(claim, _)| claim.ballot) else {
            return Ok(None);
        };
        if self.precedes(&claim) && claim.address == self.address && is_proof(lock) {
            Ok(Some(claim.state))
        } else {
            Err(Unjustified)
        }
    }
}
