//! Fetching one thing that a node lacks, and judging it.

use dt_model::{Envelope, PartyId, Signed, Timestamp};

use super::link::{Answer, Link};
use super::{Holding, Place};
use crate::{Address, Key, Membership, Record, Refusal, Replica, ReplyBody, RequestBody, Settled, Slot};

/// What came of fetching something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fetched {
    /// It is held now, or something newer.
    Done,
    /// Nobody who counts stands for it.
    Refused,
    /// The node's answer is none that an honest one gives.
    Garbage,
    /// It may be acceptable once other things have been fetched.
    Early,
    /// It was not to be had though it should be, or there is no room for it.
    Unresolved,
}

/// Fetches in one membership, at one time.
pub(crate) struct Fetcher<'a> {
    pub(super) replica: &'a Replica,
    pub(super) link: &'a Link,
    pub(super) membership: &'a Membership,
    pub(super) now: Timestamp,
    /// Requests made so far.
    pub(crate) requests: u64,
    /// Their bytes, and those of the replies.
    pub(crate) bytes: u64,
}

impl<'a> Fetcher<'a> {
    pub(crate) const fn new(
        replica: &'a Replica,
        link: &'a Link,
        membership: &'a Membership,
        now: Timestamp,
    ) -> Self {
        Self { replica, link, membership, now, requests: 0, bytes: 0 }
    }

    /// Fetches what `node` lists. With `insist`, what the validator refuses is taken in if enough replicas hold it.
    pub(crate) async fn fetch(
        &mut self,
        node: PartyId,
        holding: &Holding,
        insist: bool,
    ) -> Result<Fetched, Refusal> {
        match holding.place {
            Place::Record(slot) => self.fetch_record(node, holding, slot, insist).await,
            Place::Evidence(slot) => self.fetch_evidence(node, &holding.address, slot).await,
            Place::Shard => self.fetch_shards(node, holding).await,
            Place::Agreed | Place::Locked => self.take_over(&holding.address).await,
        }
    }

    pub(super) async fn ask(&mut self, node: PartyId, body: RequestBody) -> Option<Answer> {
        self.requests += 1;
        let answer = self.link.ask(self.membership, node, body, self.now).await;
        self.bytes += answer.as_ref().map_or(0, |answer| answer.bytes);
        answer
    }

    async fn fetch_record(
        &mut self,
        node: PartyId,
        holding: &Holding,
        slot: Slot,
        insist: bool,
    ) -> Result<Fetched, Refusal> {
        let key = Key { address: holding.address, slot };
        let record = match self.ask(node, RequestBody::Get { key }).await.map(|answer| answer.body) {
            Some(ReplyBody::Record { record: Some(record) }) => record,
            _ => return Ok(Fetched::Unresolved),
        };
        let is_listed = |record: &Signed<Record>| {
            record.key == key && (record.digest() == holding.digest || record.version > holding.version)
        };
        let Some(record) = record.open().ok().filter(is_listed) else { return Ok(Fetched::Garbage) };
        match self.replica.take_in(&record, holding.leased, self.now) {
            Ok(()) | Err(Refusal::Stale { .. }) => Ok(Fetched::Done),
            Err(Refusal::Unavailable) => Err(Refusal::Unavailable),
            Err(Refusal::QuotaExceeded | Refusal::Busy { .. }) => Ok(Fetched::Unresolved),
            // No validator takes these, whatever else it knows.
            Err(Refusal::Malformed | Refusal::WrongAddress | Refusal::Conflict | Refusal::Inconsistent) => {
                Ok(Fetched::Refused)
            }
            Err(_) if !insist => Ok(Fetched::Early),
            Err(_) => self.take_if_judged(&record, holding).await,
        }
    }

    /// Takes in a record that this node cannot judge, if enough replicas of its address hold it.
    ///
    /// Where nothing lies yet, more than can lie are enough: one of them has judged it. Where this node has receipted something older, which the
    /// record may contradict, so many are needed that every quorum has an honest one among them: one that has seen both.
    async fn take_if_judged(
        &mut self,
        record: &Signed<Record>,
        holding: &Holding,
    ) -> Result<Fetched, Refusal> {
        let resilience = self.membership.resilience();
        let has_older = self.replica.holding(&holding.address, holding.place)?.is_some();
        let outside = if has_older { resilience.replicas() - resilience.quorum() } else { 0 };
        let needed = outside + resilience.max_faulty() + 1;
        let mut is_judged = false;
        for group in self.membership.groups(&holding.address) {
            is_judged = self.count_holders(record, &group, needed).await == needed;
            if is_judged != has_older {
                break;
            }
        }
        if !is_judged {
            return Ok(Fetched::Refused);
        }
        match self.replica.store_judged(record, holding.leased) {
            Ok(()) => Ok(Fetched::Done),
            Err(Refusal::Unavailable) => Err(Refusal::Unavailable),
            Err(_) => Ok(Fetched::Unresolved),
        }
    }

    /// How many of `group` hold `record`; as soon as there are `enough`, no more are asked.
    async fn count_holders(&mut self, record: &Signed<Record>, group: &[PartyId], enough: usize) -> usize {
        let body = RequestBody::Get { key: record.key };
        let me = self.replica.party();
        let mut holders = 0;
        for node in group.iter().filter(|node| **node != me) {
            if holders == enough {
                break;
            }
            let answer = self.ask(*node, body.clone()).await.map(|answer| answer.body);
            let is_same = |held: &Envelope<Record>| held == record.envelope();
            let holds = matches!(&answer, Some(ReplyBody::Record { record: Some(held) }) if is_same(held));
            holders += usize::from(holds);
        }
        holders
    }

    /// Reads what is agreed at an address, by a quorum, which finishes what may be decided, and takes it over.
    async fn take_over(&mut self, address: &Address) -> Result<Fetched, Refusal> {
        let client = self.link.client(self.membership);
        self.requests += self.membership.replicas(address).len() as u64;
        let fetched = match client.state(*address, self.now).await {
            Ok(Some(settled)) => {
                let lengths = settled.records().iter().map(|record| record.envelope().body().len() as u64);
                self.bytes += lengths.sum::<u64>();
                let adopted = self.adopt(&settled)?;
                if matches!(adopted, Fetched::Unresolved) {
                    return Ok(adopted);
                }
                adopted
            }
            Ok(None) => Fetched::Refused,
            Err(_) => Fetched::Unresolved,
        };
        // The quorum that answered may have been one that knows nothing of it; where none did, what stood in the way may be gone.
        match self.replica.left_over(self.membership, address)? {
            Some(_) => self.settle(address).await,
            None => Ok(fetched),
        }
    }

    /// Has the record settled on which this node is locked, in the epoch's own groups; whatever comes of it, the lock is over then.
    async fn settle(&mut self, address: &Address) -> Result<Fetched, Refusal> {
        let Some(record) = self.replica.locked_record(self.membership, address, self.now)? else {
            return Ok(Fetched::Done);
        };
        let client = self.link.client(self.membership);
        self.requests += 2 * self.membership.replicas(address).len() as u64;
        let Ok(settled) = client.settle(&record, self.now).await else { return Ok(Fetched::Unresolved) };
        self.adopt(&settled)
    }

    /// Has the own replica take over what is settled.
    fn adopt(&self, settled: &Settled) -> Result<Fetched, Refusal> {
        let records = settled.records().iter().map(|record| record.envelope().clone()).collect();
        match self.replica.adopt(self.membership, settled.certificate().clone(), records, self.now) {
            Ok(_) => Ok(Fetched::Done),
            Err(Refusal::Unavailable) => Err(Refusal::Unavailable),
            Err(_) => Ok(Fetched::Unresolved),
        }
    }

    async fn fetch_evidence(
        &mut self,
        node: PartyId,
        address: &Address,
        slot: Slot,
    ) -> Result<Fetched, Refusal> {
        let key = Key { address: *address, slot };
        match self.ask(node, RequestBody::GetEvidence { key }).await.map(|answer| answer.body) {
            Some(ReplyBody::Evidence { evidence: Some(evidence) }) => {
                match self.replica.learn(&key, &evidence) {
                    Ok(()) => Ok(Fetched::Done),
                    Err(Refusal::Unavailable) => Err(Refusal::Unavailable),
                    Err(_) => Ok(Fetched::Garbage),
                }
            }
            _ => Ok(Fetched::Unresolved),
        }
    }
}
