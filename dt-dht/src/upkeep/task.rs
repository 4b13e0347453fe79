//! The task that a node runs beside its replica: it compares itself with the other nodes and fetches what it lacks.

use core::ops::Bound;
use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::Arc;

use dt_model::{PartyId, Timestamp};
use rand_core::CryptoRng;

use super::bucket::{Rate, TokenBucket};
use super::fetch::{Fetched, Fetcher};
use super::link::{Link, upkeep, upkeep_reply};
use super::listing::{Want, is_sorted, spot, want};
use super::visit::{CursorRow, Reading, SILENCE, Visit};
use super::{Holding, Listing, Place, Summary, UpkeepReply, UpkeepRequest};
use crate::{Membership, Refusal, Replica, Transport};

/// How fast a node repairs itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Requests to other nodes.
    pub requests: Rate,
    /// Bytes of requests and replies.
    pub bytes: Rate,
    /// The time between two passes over the addresses shared with one node.
    pub pause: Duration,
}

impl Default for Pace {
    /// Twenty requests and 4 MiB a second, each node once an hour.
    fn default() -> Self {
        Self {
            requests: Rate { per_second: 20, burst: 20 },
            bytes: Rate { per_second: 4 << 20, burst: 16 << 20 },
            pause: Duration::from_secs(3600),
        }
    }
}

/// What a step came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Something was done, and there may be more.
    Worked,
    /// Nothing is to be done for so long.
    Wait(Duration),
}

/// What the task has done since it was started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct UpkeepReport {
    /// Records, evidence and shards that were fetched or made anew.
    pub repaired: u64,
    /// Addresses whose lease was brought up to date.
    pub renewed: u64,
    /// What other nodes listed, and neither a validator nor more nodes than can lie stand for.
    pub refused: u64,
    /// What could not be fetched, for now.
    pub unresolved: u64,
    /// Addresses that were dropped because they are other nodes' now.
    pub dropped: u64,
    /// Replies that no honest node gives.
    pub garbage: u64,
}

/// Keeps one node's rows complete: anti-entropy, repair and hand-over.
///
/// Every step is one bounded piece of work: a request or two, or the making of a shard. Nodes are visited in turn, a step each, so that
/// one whose listing never ends, or is nothing but garbage, takes up its own share of the time and no other's. What is fetched is judged
/// as if it were put: nothing is believed to a node. Where the validator refuses (it may lack what came before, or a right may have ended
/// since), a record is taken in nevertheless if k + 1 replicas hold it, of which one has judged it; where something older lies, n − q + k + 1.
///
/// A step that is interrupted is begun again; progress is stored after every range of addresses.
///
/// # Examples
/// ```no_run
/// # async fn run(mut upkeep: dt_dht::Upkeep, clock: impl Fn() -> dt_model::Timestamp, sleep: impl AsyncFn(core::time::Duration)) {
/// use dt_dht::Step;
/// loop {
///     match upkeep.step(clock()).await {
///         Ok(Step::Worked) => {}
///         Ok(Step::Wait(time)) => sleep(time).await,
///         Err(_) => sleep(core::time::Duration::from_secs(60)).await, // the store fails
///     }
/// }
/// # }
/// ```
pub struct Upkeep {
    pub(super) replica: Arc<Replica>,
    pub(super) link: Link,
    pace: Pace,
    requests: Option<TokenBucket>,
    bytes: Option<TokenBucket>,
    epoch: Option<u64>,
    pub(super) visits: BTreeMap<PartyId, Visit>,
    last: Option<PartyId>,
    pub(super) report: UpkeepReport,
}

/// How often something is put off that may only have come before what it needs.
const PUT_OFF: u8 = 3;
/// How much may be put off in one range; what is more is left to the next pass.
const MOST_LATE: usize = 4 * super::LISTING_HOLDINGS;
impl Upkeep {
    /// The upkeep of `replica`, whose node sends through `transport` and draws its nonces from `rng`.
    pub fn new(
        replica: Arc<Replica>,
        transport: Arc<dyn Transport>,
        rng: impl CryptoRng + Send + 'static,
        pace: Pace,
    ) -> Self {
        let link = Link::new(replica.clone(), transport, rng);
        let (visits, report) = (BTreeMap::new(), UpkeepReport::default());
        Self { replica, link, pace, requests: None, bytes: None, epoch: None, visits, last: None, report }
    }

    /// What was done so far.
    #[must_use]
    pub const fn report(&self) -> UpkeepReport {
        self.report
    }

    /// Does the next piece of work, under the replica's membership, which the transport is told.
    ///
    /// # Errors
    /// [`Refusal::Unavailable`] if the node's own store fails.
    pub async fn step(&mut self, now: Timestamp) -> Result<Step, Refusal> {
        let membership = self.replica.membership();
        self.link.follow(&membership);
        if self.epoch != Some(membership.epoch()) {
            self.begin(&membership)?;
        }
        if let Err(wait) = self.has_room(now) {
            return Ok(Step::Wait(wait));
        }
        let Some(node) = self.next_due(now) else {
            let due = self.visits.values().map(|visit| visit.due.since(now)).min();
            return Ok(Step::Wait(due.unwrap_or(self.pace.pause)));
        };
        self.last = Some(node);
        let Some(mut visit) = self.visits.remove(&node) else { return Ok(Step::Worked) };
        let done = self.visit(&membership, node, &mut visit, now).await;
        self.visits.insert(node, visit);
        done?;
        self.note_completion(&membership)?;
        Ok(Step::Worked)
    }

    /// Starts over with the nodes of `membership`, from where a former run left off in the same epoch.
    fn begin(&mut self, membership: &Membership) -> Result<(), Refusal> {
        self.visits.clear();
        let me = self.replica.party();
        // One that has left has nobody to ask, but things to drop.
        let others = membership.nodes().iter().filter(|_| membership.node(&me).is_some());
        for node in others.map(|node| node.party).filter(|node| *node != me).chain([me]) {
            let stored = self.replica.cursor(&node)?.filter(|row| row.epoch == membership.epoch());
            let cursor = stored.unwrap_or(CursorRow { epoch: membership.epoch(), ..CursorRow::default() });
            // What a pass had left open is not stored: it is found again by the next.
            self.visits.insert(node, Visit::new(cursor));
        }
        if membership.is_changing()
            && let Some(own) = self.visits.get_mut(&me)
        {
            // It has its turn when the node knows its addresses: see `note_completion`.
            own.due = Timestamp::MAX;
        }
        // Anywhere: a node that is started again and again would else visit always the same ones.
        self.last = self.link.choose(self.visits.keys());
        self.epoch = Some(membership.epoch());
        Ok(())
    }

    /// The next node in turn that may be visited.
    fn next_due(&self, now: Timestamp) -> Option<PartyId> {
        let is_due = |(_, visit): &(&PartyId, &Visit)| visit.due <= now;
        let start = self.last.map_or(Bound::Unbounded, Bound::Excluded);
        let after = self.visits.range((start, Bound::Unbounded));
        after.chain(&self.visits).find(is_due).map(|(node, _)| *node)
    }

    async fn visit(
        &mut self,
        membership: &Membership,
        node: PartyId,
        visit: &mut Visit,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        if let Some((want, put_off)) = visit.wants.pop_front() {
            self.satisfy(membership, node, visit, (want, put_off), now).await?;
            if visit.is_done() {
                self.finish_range(node, visit, now)?;
            }
            return Ok(());
        }
        if node == self.replica.party() {
            return self.look_at_own(membership, visit, now);
        }
        match visit.reading {
            Some(reading) => self.read(membership, node, visit, reading, now).await,
            None => self.compare(membership, node, visit, now).await,
        }
    }

    /// Compares the digests of the next range.
    async fn compare(
        &mut self,
        membership: &Membership,
        node: PartyId,
        visit: &mut Visit,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let after = visit.cursor.after;
        let answer = self.link.ask(membership, node, upkeep(UpkeepRequest::Summarise { after }), now).await;
        self.pay(1, answer.as_ref().map_or(0, |answer| answer.bytes), now);
        let Some(UpkeepReply::Summary(Summary { until, digest })) = upkeep_reply(answer.as_ref()) else {
            visit.due = now.saturating_add(SILENCE);
            return Ok(());
        };
        if until.is_some_and(|until| after.is_some_and(|after| until <= after)) {
            self.report.garbage += 1;
            visit.due = now.saturating_add(self.pace.pause);
            return Ok(());
        }
        visit.until = *until;
        let own = self.replica.summarise(membership, &node, after, Some(*until))?;
        if own.digest == *digest {
            return self.finish_range(node, visit, now);
        }
        // From the start of the range: it excludes the address before it, and so everything there.
        visit.reading = Some(Reading { after: after.map(|after| (after, Place::LAST)), until: *until });
        Ok(())
    }

    /// Reads the next page of a range that differs.
    async fn read(
        &mut self,
        membership: &Membership,
        node: PartyId,
        visit: &mut Visit,
        reading: Reading,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let request = UpkeepRequest::List { after: reading.after, until: reading.until };
        let answer = self.link.ask(membership, node, upkeep(request), now).await;
        self.pay(1, answer.as_ref().map_or(0, |answer| answer.bytes), now);
        let Some(UpkeepReply::Listing(listing)) = upkeep_reply(answer.as_ref()) else {
            visit.due = now.saturating_add(SILENCE);
            return Ok(());
        };
        let sound = is_sorted(&listing.holdings, reading.after, reading.until)
            && (!listing.more || !listing.holdings.is_empty())
            && listing.holdings.iter().all(|holding| {
                membership.is_replica(&self.replica.party(), &holding.address)
                    && membership.is_replica(&node, &holding.address)
            });
        if !sound {
            self.report.garbage += 1;
            visit.reading = None;
            visit.due = now.saturating_add(self.pace.pause);
            return Ok(());
        }
        self.take_wants(visit, listing, now)?;
        visit.read_on(listing);
        if visit.is_done() {
            self.finish_range(node, visit, now)?;
        }
        Ok(())
    }

    fn take_wants(&self, visit: &mut Visit, listing: &Listing, now: Timestamp) -> Result<(), Refusal> {
        let policy = self.replica.policy();
        for their in &listing.holdings {
            let leased = their.leased.min(now);
            // What would be removed at once is not fetched.
            if policy.ends(leased) <= now {
                continue;
            }
            let (address, place) = spot(their);
            let own = self.replica.holding(&address, place)?;
            // What a lapsed proof says is nothing any more.
            let is_lapsed = policy.ends(Timestamp::from_millis(their.version)) <= now;
            let version = if place == Place::Shard && is_lapsed { 0 } else { their.version };
            let their = Holding { leased, version, ..*their };
            let Some(want) = self.wanted(own.as_ref(), &their)? else { continue };
            if visit.wants.back().is_none_or(|(last, _)| *last != want) {
                visit.wants.push_back((want, 0));
            }
        }
        Ok(())
    }

    /// What is to be done about a holding of another node.
    fn wanted(&self, own: Option<&Holding>, their: &Holding) -> Result<Option<Want>, Refusal> {
        let policy = self.replica.policy();
        let want = want(own, their, |leased| policy.period(leased));
        Ok(if self.is_settled(own, want)? { None } else { want })
    }

    /// Whether two records of one version, of which this node has one, are known as evidence already.
    fn is_settled(&self, own: Option<&Holding>, want: Option<Want>) -> Result<bool, Refusal> {
        let (Some(own), Some(Want::Fetch(their))) = (own, want) else { return Ok(false) };
        let Place::Record(slot) = their.place else { return Ok(false) };
        Ok(own.version == their.version
            && self.replica.holding(&their.address, Place::Evidence(slot))?.is_some())
    }

    /// Fetches one thing, or puts it off.
    async fn satisfy(
        &mut self,
        membership: &Membership,
        node: PartyId,
        visit: &mut Visit,
        (want, put_off): (Want, u8),
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let holding = match want {
            Want::Renew(address, leased) => {
                self.report.renewed += u64::from(self.replica.renew(&address, leased)?);
                return Ok(());
            }
            Want::Past(key) => return self.recall(membership, visit, key, now).await,
            Want::Fetch(holding) => holding,
        };
        // Another node's listing may have brought it meanwhile.
        let own = self.replica.holding(&holding.address, holding.place)?;
        let is_wanted = self.wanted(own.as_ref(), &holding)?.is_some();
        if !is_wanted && !self.lacks_shard(membership, &holding.address)? {
            return Ok(());
        }
        let mut fetcher = Fetcher::new(&self.replica, &self.link, membership, now);
        let fetched = fetcher.fetch(node, &holding, put_off >= PUT_OFF).await?;
        let (requests, bytes) = (fetcher.requests, fetcher.bytes);
        self.pay(requests, bytes, now);
        match fetched {
            Fetched::Done => self.report.repaired += 1,
            Fetched::Refused => self.report.refused += 1,
            Fetched::Garbage => {
                self.report.garbage += 1;
                visit.cursor.unresolved += 1;
            }
            Fetched::Early if visit.late.len() < MOST_LATE => visit.late.push_back((want, put_off + 1)),
            Fetched::Early | Fetched::Unresolved => {
                self.report.unresolved += 1;
                visit.cursor.unresolved += 1;
            }
        }
        Ok(())
    }

    /// The range is done: progress is stored, and after the last one the node rests.
    pub(super) fn finish_range(
        &mut self,
        node: PartyId,
        visit: &mut Visit,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        if let Some(is_clean) = visit.advance() {
            visit.due = match is_clean {
                // Of a node's own rows nothing becomes another's, nor a shard another, before the next epoch.
                true if node == self.replica.party() => Timestamp::MAX,
                true => now.saturating_add(self.pace.pause),
                false => now.saturating_add(SILENCE),
            };
        }
        self.replica.save_cursor(&node, visit.cursor)
    }

    /// Whether the pace has room for another step; if not, in how much time.
    fn has_room(&mut self, now: Timestamp) -> Result<(), Duration> {
        let pace = self.pace;
        self.requests.get_or_insert_with(|| TokenBucket::full(pace.requests, now)).look(1, now)?;
        self.bytes.get_or_insert_with(|| TokenBucket::full(pace.bytes, now)).look(1, now)
    }

    pub(super) fn pay(&mut self, requests: u64, bytes: u64, now: Timestamp) {
        let pace = self.pace;
        self.requests.get_or_insert_with(|| TokenBucket::full(pace.requests, now)).spend(requests);
        self.bytes.get_or_insert_with(|| TokenBucket::full(pace.bytes, now)).spend(bytes);
    }
}
