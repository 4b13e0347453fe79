//! The party's verbs for records of order [`crate::Order::Agreed`]: read the state of an address, settle the next record, look up a past one.

use core::cmp::Ordering;

use dt_model::{Digest, Signed, Timestamp};

use super::Settled;
use super::course::{Course, Setback};
use super::past::PastQuorum;
use super::read::Reading;
use crate::{Address, Client, GetError, Key, PutError, Record, Refusal};

/// How often a read starts again because others are in the middle of something.
const READ_ATTEMPTS: u32 = 8;
/// How often a write does.
const WRITE_ATTEMPTS: u32 = 24;
/// An upper bound of reads between two attempts, by which those that were outbid get out of each other's way: a client has no clock, and
/// counts in exchanges instead.
const MAX_PAUSE: u32 = 16;

impl Client {
    /// The agreed records at `address` that were decided last, consistent with each other, or `None` if a quorum has nothing there.
    ///
    /// One exchange, unless somebody is in the middle of settling the next record: if it may be decided already, it is finished first. No
    /// later read gives an older state.
    ///
    /// # Errors
    /// [`GetError`]; [`GetError::Contended`] if others keep the next record from being finished.
    pub async fn state(&self, address: Address, now: Timestamp) -> Result<Option<Settled>, GetError> {
        let membership = self.membership();
        let course = Course { client: self, membership: &membership, address, now };
        let mut sequence = 0;
        for attempt in 0..READ_ATTEMPTS {
            let reading = course.read().await?;
            sequence = reading.base.sequence().saturating_add(1);
            let Some(lock) = &reading.lock else {
                course.help(&reading)?;
                return Ok(reading.settled);
            };
            let finished = match course.finish(&reading, lock).await {
                // Somebody's later attempt stands in the way. He may be gone.
                Err(Setback::Defeat(defeat)) if defeat.is_contended() && attempt > 0 => {
                    course.take_over(&reading, None).await
                }
                finished => finished.map(Some),
            };
            match finished {
                Ok(Some(settled)) => return Ok(Some(settled)),
                // A quorum has promised to decide nothing older, and shows nothing that may be decided.
                Ok(None) => return Ok(reading.settled),
                Err(Setback::NoRank | Setback::Unfit) => {}
                Err(Setback::Defeat(defeat)) if defeat.is_contended() => {}
                Err(Setback::Defeat(defeat)) => return Err(GetError::no_quorum(&defeat.tally)),
                Err(Setback::Signer(error)) => return Err(error.into()),
            }
        }
        Err(GetError::Contended { sequence })
    }

    /// Settles `record` as the next agreed one at its address: the state with it, and the proof that it was decided.
    ///
    /// Three exchanges when nobody else writes: read, accept, commit. A record that is in the state already is a success, so to try again
    /// is safe; it renews the lease of the address. Another record may be settled before it; then it is judged against the new state. As
    /// with [`Client::state`], no later read or write gives an older state.
    ///
    /// # Errors
    /// [`PutError`]. [`PutError::Refused`] with [`Refusal::Stale`], [`Refusal::Conflict`] or whatever the kind's validator says: another
    /// record won, or this one is not to be there. [`PutError::Contended`]: it may be settled yet.
    pub async fn settle(&self, record: &Signed<Record>, now: Timestamp) -> Result<Settled, PutError> {
        let membership = self.membership();
        let course = Course { client: self, membership: &membership, address: record.key.address, now };
        let mut reading = course.read().await?;
        let mut outbid = false;
        for attempt in 0..WRITE_ATTEMPTS {
            if let Some(outcome) = outcome(reading.settled.as_ref(), record) {
                return match outcome {
                    Ok(settled) if attempt == 0 => {
                        self.settled_before(&course, settled, &reading, record).await
                    }
                    outcome => outcome,
                };
            }
            let sequence = reading.base.sequence();
            match next_step(&course, &reading, record, outbid).await {
                Ok(Some(settled)) => {
                    outbid = false;
                    reading = reading.after(settled);
                    continue;
                }
                Ok(None) => {}
                Err(Setback::NoRank) => drop(course.introduce(&reading, record).await?),
                Err(Setback::Unfit) => return Err(PutError::Refused(Refusal::Malformed)),
                Err(Setback::Defeat(defeat)) => {
                    let (refusal, denied) = (defeat.against_the_record(), defeat.denies_standing());
                    let is_introduced = denied && course.introduce(&reading, record).await?;
                    // More say so than can lie, whatever the others say.
                    if let Some(refusal) = refusal.filter(|_| !is_introduced) {
                        return Err(PutError::Refused(refusal));
                    }
                    if !(defeat.is_contended() || denied) {
                        return Err(PutError::no_quorum(&defeat.tally));
                    }
                }
                Err(Setback::Signer(error)) => return Err(error.into()),
            }
            // The later the attempt, the more exchanges somebody else may need to finish his.
            let pause = self.draw(MAX_PAUSE.min(1 << attempt.min(4)));
            for _ in 0..pause {
                course.read().await?;
            }
            reading = course.read().await?;
            outbid = reading.base.sequence() == sequence;
        }
        // The last attempt may have been the one.
        let sequence = reading.base.sequence().saturating_add(1);
        outcome(reading.settled.as_ref(), record).unwrap_or(Err(PutError::Contended { sequence }))
    }

    /// The answer when `record` is in the state that was read first: maybe it was decided long ago, and what came after it has been seen by
    /// somebody, even if no replica has settled it yet.
    async fn settled_before(
        &self,
        course: &Course<'_>,
        settled: Settled,
        reading: &Reading,
        record: &Signed<Record>,
    ) -> Result<Settled, PutError> {
        course.renew(&settled)?;
        if reading.lock.is_none() {
            return Ok(settled);
        }
        let latest = self.state(course.address, course.now).await?;
        outcome(latest.as_ref(), record).unwrap_or(Ok(settled))
    }

    /// The agreed record that lay at `key` in `version` and has this `digest`, if a replica still has it: the digest makes sure that it is
    /// the right one, so the first replica that has it is enough. Who is served the present records is served these.
    ///
    /// A record names the one before by its digest (`previous`, in the kinds that need it), so from a settled record one goes back step by
    /// step. Of the last 1,024 versions of a slot each is with more honest replicas than can be absent, also when nodes have changed since.
    ///
    /// # Errors
    /// [`GetError`].
    pub async fn past(
        &self,
        key: Key,
        version: u64,
        digest: Digest,
        now: Timestamp,
    ) -> Result<Option<Signed<Record>>, GetError> {
        let membership = self.membership();
        self.drive(&membership, PastQuorum::new(&membership, key, version, digest), now).await?
    }
}

/// What the settled state says of `record`: that it is there, or that its place is taken, since versions only go up.
fn outcome(settled: Option<&Settled>, record: &Signed<Record>) -> Option<Result<Settled, PutError>> {
    let settled = settled?;
    if settled.state().contains(record) {
        return Some(Ok(settled.clone()));
    }
    let stored = settled.state().entry(record.key.slot)?.version;
    match record.version.cmp(&stored) {
        Ordering::Less => Some(Err(PutError::Refused(Refusal::Stale { stored }))),
        Ordering::Equal => Some(Err(PutError::Refused(Refusal::Conflict))),
        Ordering::Greater => None,
    }
}

/// Settles the next record: one that may be decided already, or else `record`.
async fn next_step(
    course: &Course<'_>,
    reading: &Reading,
    record: &Signed<Record>,
    outbid: bool,
) -> Result<Option<Settled>, Setback> {
    match &reading.lock {
        // Somebody's record may be decided: it is finished before anything else can be.
        Some(lock) if !outbid => course.finish(reading, lock).await.map(Some),
        _ if outbid || reading.is_contended(course.liars()) => course.take_over(reading, Some(record)).await,
        _ => {
            let state = reading.base.after(record).ok_or(Setback::Unfit)?;
            course.come_first(reading, record, &state).await.map(Some)
        }
    }
}
