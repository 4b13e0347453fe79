//! The client's side of a vote: all replicas are asked the same, a quorum has to say yes, and who is behind is told what he missed.

use std::collections::{BTreeMap, BTreeSet};

use dt_model::{Envelope, PartyId, Signed};

use super::justify::Attempt;
use super::{AddressState, Bid, Promise, Settled, Vote};
use crate::operation::{Operation, Outgoing};
use crate::tally::{Answer, Tally, Verdict};
use crate::{Membership, Record, Refusal, ReplyBody, RequestBody};

/// What replicas are asked, and what counts as a yes.
pub(crate) trait Question {
    /// A yes.
    type Yes: Clone;

    /// The request.
    fn body(&self) -> RequestBody;

    /// The yes that `node` gave, if it is sound.
    fn yes(&mut self, node: &PartyId, reply: ReplyBody) -> Option<Self::Yes>;
}

/// Asks a [`Question`] of all replicas of an address.
pub(crate) struct Poll<Q: Question> {
    question: Q,
    tally: Tally,
    yes: BTreeMap<PartyId, Q::Yes>,
    /// What a replica that is behind has to adopt first.
    news: Option<RequestBody>,
    /// Who was told of it, which happens once: else a liar would never be done with catching up.
    told: BTreeSet<PartyId>,
    /// Who has not said yet that he adopted it.
    telling: BTreeSet<PartyId>,
    outgoing: Vec<Outgoing>,
}

/// Too few replicas said yes.
#[derive(Debug)]
pub(crate) struct Defeat {
    pub(crate) tally: Tally,
}

impl Defeat {
    /// What more replicas than can lie say against the record itself.
    pub(crate) fn against_the_record(&self) -> Option<Refusal> {
        self.tally.common_refusal().filter(|refusal| refusal.is_about_the_record())
    }

    /// Whether some replica says that the party has no right here: to propose the record, or to be promised anything, or not yet.
    pub(crate) fn denies_standing(&self) -> bool {
        let denies = |refusal: &Refusal| matches!(refusal, Refusal::NotPermitted | Refusal::Rank);
        self.tally.refusals().iter().any(|(_, refusal)| denies(refusal))
    }

    /// Whether some replica stands by another proposal or has settled one.
    pub(crate) fn is_contended(&self) -> bool {
        let contends = |refusal: &Refusal| {
            matches!(
                refusal,
                Refusal::Outbid { .. }
                    | Refusal::Settled { .. }
                    | Refusal::Behind { .. }
                    | Refusal::Rank
                    | Refusal::Unproven
            )
        };
        self.tally.refusals().iter().any(|(_, refusal)| contends(refusal))
    }
}

impl<Q: Question> Poll<Q> {
    /// Asks all replicas of `base`'s address; `settled` is the present state there, if anything is settled.
    pub(crate) fn new(
        membership: &Membership,
        base: &AddressState,
        settled: Option<&Settled>,
        question: Q,
    ) -> Self {
        let address = base.address();
        let outgoing =
            membership.replicas(&address).into_iter().map(|node| (node, question.body())).collect();
        let news = settled.map(|settled| RequestBody::Adopt {
            certificate: settled.certificate().clone(),
            records: settled.records().iter().map(|record| record.envelope().clone()).collect(),
        });
        let tally = Tally::new(membership, &address);
        Self {
            question,
            tally,
            yes: BTreeMap::new(),
            news,
            told: BTreeSet::new(),
            telling: BTreeSet::new(),
            outgoing,
        }
    }
}

impl<Q: Question> Operation for Poll<Q> {
    type Outcome = Result<BTreeMap<PartyId, Q::Yes>, Defeat>;

    fn requests(&mut self) -> Vec<Outgoing> {
        core::mem::take(&mut self.outgoing)
    }

    fn answer(&mut self, node: PartyId, reply: Option<ReplyBody>) {
        if !self.tally.awaits(&node) {
            return;
        }
        let answer = match reply {
            Some(ReplyBody::Refused { refusal: Refusal::Behind { .. } }) if !self.told.contains(&node) => {
                if let Some(news) = self.news.clone() {
                    self.told.insert(node);
                    self.telling.insert(node);
                    self.outgoing.push((node, news));
                    return;
                }
                Answer::Failed
            }
            Some(ReplyBody::Adopted { .. }) if self.telling.remove(&node) => {
                self.outgoing.push((node, self.question.body()));
                return;
            }
            Some(ReplyBody::Refused { refusal }) => Answer::Refused(refusal),
            Some(reply) => match self.question.yes(&node, reply) {
                Some(yes) => {
                    self.yes.insert(node, yes);
                    Answer::Good
                }
                None => Answer::Failed,
            },
            None => Answer::Failed,
        };
        self.tally.answer(node, answer);
    }

    fn outcome(&mut self) -> Option<Self::Outcome> {
        match self.tally.verdict() {
            Verdict::Pending => None,
            // A driver that has its answer may ask again, for what has come in meanwhile.
            Verdict::Reached => Some(Ok(self.yes.clone())),
            Verdict::Refused(_) | Verdict::Failed => Some(self.unfinished()),
        }
    }

    fn unfinished(&mut self) -> Self::Outcome {
        Err(Defeat { tally: self.tally.clone() })
    }
}

/// Asks for a vote.
pub(crate) struct VoteOn {
    pub(crate) vote: Vote,
    pub(crate) body: RequestBody,
}

impl Question for VoteOn {
    type Yes = Envelope<Vote>;

    fn body(&self) -> RequestBody {
        self.body.clone()
    }

    fn yes(&mut self, node: &PartyId, reply: ReplyBody) -> Option<Envelope<Vote>> {
        let ReplyBody::Voted { vote } = reply else { return None };
        let same = vote.signer() == *node && vote.clone().open().is_ok_and(|vote| *vote == self.vote);
        same.then_some(vote)
    }
}

/// Asks for a promise.
pub(crate) struct PromiseOf<'a> {
    pub(crate) bid: &'a Signed<Bid>,
    pub(crate) base: &'a AddressState,
    pub(crate) membership: &'a Membership,
}

/// A promise, and the lock that it shows.
#[derive(Clone)]
pub(crate) struct Promised {
    pub(crate) promise: Envelope<Promise>,
    pub(crate) lock: Option<(Vote, Signed<Record>)>,
}

impl Question for PromiseOf<'_> {
    type Yes = Promised;

    fn body(&self) -> RequestBody {
        RequestBody::Promise { bid: self.bid.envelope().clone(), titles: Vec::new() }
    }

    fn yes(&mut self, node: &PartyId, reply: ReplyBody) -> Option<Promised> {
        let ReplyBody::Promised { promise, record } = reply else { return None };
        let opened = promise.clone().open().ok().filter(|_| promise.signer() == *node)?;
        let attempt = Attempt::from(self.bid.value());
        if !attempt.is_of(&opened, self.membership) {
            return None;
        }
        let lock = match &opened.lock {
            None => None,
            Some(certificate) => {
                let vote = attempt.open_lock(certificate, self.membership)?;
                let record = record?.open().ok()?;
                let leads = self.base.after(&record).is_some_and(|state| state.digest() == vote.state);
                Some(leads.then_some((vote, record))?)
            }
        };
        Some(Promised { promise, lock })
    }
}
