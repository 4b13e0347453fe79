//! Simulated time and messages: what is under way, and the transport that puts it there.

use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use dt_model::{Digest, Domain, PartyId, Timestamp};

use super::{Conditions, Dice};
use crate::{Membership, Timer, Transport, TransportError};

/// Something that will happen.
pub(super) enum Event {
    /// A request arrives at a node.
    Request { from: PartyId, node: PartyId, bytes: Bytes, reply: Arc<Slot<Replied>> },
    /// A reply arrives where the request came from.
    Reply { to: PartyId, node: PartyId, bytes: Bytes, reply: Arc<Slot<Replied>> },
    /// Whoever waits for a reply gives up.
    TimeOut { node: PartyId, reply: Arc<Slot<Replied>> },
    /// A sleeper wakes.
    Wake(Arc<Slot<()>>),
    /// The next trouble comes.
    Trouble,
    /// A crashed node starts again.
    Start(PartyId),
    /// The network is whole again.
    Rejoin,
}

/// What a request comes to.
pub(super) type Replied = Result<Bytes, TransportError>;

/// Where one task waits for one value. The first value stands.
pub(super) struct Slot<T>(Mutex<Waiting<T>>);

struct Waiting<T> {
    value: Option<T>,
    is_set: bool,
    waker: Option<Waker>,
}

impl<T> Default for Slot<T> {
    fn default() -> Self {
        Self(Mutex::new(Waiting { value: None, is_set: false, waker: None }))
    }
}

impl<T> Slot<T> {
    pub(super) fn set(&self, value: T) {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !core::mem::replace(&mut waiting.is_set, true) {
            waiting.value = Some(value);
            if let Some(waker) = waiting.waker.take() {
                waker.wake();
            }
        }
    }
}

/// Waits for a slot's value.
struct Wait<T>(Arc<Slot<T>>);

impl<T> Future for Wait<T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        let mut waiting = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        match waiting.value.take() {
            Some(value) => Poll::Ready(value),
            None => {
                waiting.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

/// Time, and everything that is under way.
pub(super) struct World {
    pub(super) conditions: Conditions,
    pub(super) dice: Dice,
    /// Those that can reach only each other, if the network is split.
    pub(super) island: BTreeSet<PartyId>,
    now: u64,
    /// By time, then by lot; the last number only tells events apart.
    queue: BTreeMap<(u64, u64, u64), Event>,
    sequence: u64,
    /// Some of what each node replied, as somebody on the way recorded it.
    replies: BTreeMap<PartyId, Vec<Bytes>>,
    trace: blake3::Hasher,
}

/// Where time starts: some day in 2023.
const START_MILLIS: u64 = 1_700_000_000_000;
/// When a recorded request comes again, in milliseconds, while nodes still take it.
const LONG_AFTER: u64 = 20_000;
/// How many of a node's replies somebody on the way records.
const RECORDED: usize = 50;

impl World {
    pub(super) fn new(conditions: Conditions, dice: Dice) -> Self {
        let (island, queue) = (BTreeSet::new(), BTreeMap::new());
        let (replies, trace) = (BTreeMap::new(), blake3::Hasher::new());
        Self { conditions, dice, island, now: START_MILLIS, queue, sequence: 0, replies, trace }
    }

    /// The time in milliseconds.
    pub(super) const fn now(&self) -> u64 {
        self.now
    }

    /// From now on the network is as `conditions` say, and whole; how it was before. Clocks stay as they are.
    pub(super) fn change(&mut self, conditions: Conditions) -> Conditions {
        let starts = self.conditions.trouble.is_none() && conditions.trouble.is_some();
        if starts {
            self.schedule(1, Event::Trouble);
        }
        self.island.clear();
        core::mem::replace(&mut self.conditions, conditions)
    }

    /// Lets `event` happen after `delay` milliseconds.
    pub(super) fn schedule(&mut self, delay: u64, event: Event) {
        let key = (self.now + delay, self.dice.number(), self.sequence);
        self.sequence += 1;
        self.queue.insert(key, event);
    }

    /// Goes to the next event.
    pub(super) fn next(&mut self) -> Option<Event> {
        let ((time, _, _), event) = self.queue.pop_first()?;
        self.now = time;
        let (tag, node, bytes): (u8, &[u8], &[u8]) = match &event {
            Event::Request { node, bytes, .. } => (0, node.as_bytes(), bytes),
            Event::Reply { node, bytes, .. } => (1, node.as_bytes(), bytes),
            Event::TimeOut { node, .. } => (2, node.as_bytes(), &[]),
            Event::Wake(_) => (3, &[], &[]),
            Event::Trouble => (4, &[], &[]),
            Event::Start(node) => (5, node.as_bytes(), &[]),
            Event::Rejoin => (6, &[], &[]),
        };
        self.trace.update(&time.to_le_bytes()).update(&[tag]).update(node).update(bytes);
        Some(event)
    }

    /// A digest of everything that has happened.
    pub(super) fn trace(&self) -> Digest {
        const TRACE: Domain = Domain::new("dt/dht/simulation-trace/v1");
        TRACE.blake3(&[self.trace.finalize().as_bytes()])
    }

    /// Whether `a` and `b` can reach each other.
    pub(super) fn reaches(&self, a: &PartyId, b: &PartyId) -> bool {
        self.island.contains(a) == self.island.contains(b)
    }

    /// Sends a request to `node`, perhaps twice, perhaps not at all.
    fn send(&mut self, from: PartyId, node: PartyId, bytes: &Bytes) -> Arc<Slot<Replied>> {
        let reply = Arc::new(Slot::default());
        let twice = self.dice.permille(self.conditions.duplicated_permille);
        let repeated = twice.then(|| *self.dice.choose(&[0, 0, LONG_AFTER]));
        for after in [Some(0), repeated].into_iter().flatten() {
            if let Some(delay) = self.delay() {
                let (bytes, reply) = (bytes.clone(), reply.clone());
                self.schedule(after + delay, Event::Request { from, node, bytes, reply });
            }
        }
        self.schedule(self.conditions.timeout, Event::TimeOut { node, reply: reply.clone() });
        reply
    }

    /// Sends a reply back, unless it gets lost.
    pub(super) fn send_back(&mut self, to: PartyId, node: PartyId, bytes: Bytes, reply: Arc<Slot<Replied>>) {
        let known = self.replies.entry(node).or_default();
        let is_replaced = self.dice.permille(self.conditions.replayed_permille) && !known.is_empty();
        if known.len() < RECORDED {
            known.push(bytes.clone());
        }
        let bytes = if is_replaced { self.dice.choose(known).clone() } else { bytes };
        if let Some(delay) = self.delay() {
            self.schedule(delay, Event::Reply { to, node, bytes, reply });
        }
    }

    /// How long the next message takes; `None` if it is lost.
    fn delay(&mut self) -> Option<u64> {
        if self.dice.permille(self.conditions.lost_permille) {
            return None;
        }
        let is_late = self.dice.permille(self.conditions.late_permille);
        let range = if is_late { 0..=self.conditions.late } else { self.conditions.delay.clone() };
        Some(self.dice.within(range))
    }
}

/// One participant's access to the network, and his clock.
#[derive(Clone)]
pub struct Host {
    party: PartyId,
    /// How far his clock is ahead, or behind if `is_behind`.
    skew: u64,
    is_behind: bool,
    world: Arc<Mutex<World>>,
}

impl Host {
    pub(super) fn new(party: PartyId, world: Arc<Mutex<World>>) -> Self {
        let (skew, is_behind) = {
            let world = &mut *world.lock().unwrap_or_else(PoisonError::into_inner);
            (world.dice.within(0..=world.conditions.skew), world.dice.permille(500))
        };
        Self { party, skew, is_behind, world }
    }

    pub(super) const fn party(&self) -> PartyId {
        self.party
    }

    /// What time it is for him.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        let now = self.world().now;
        Timestamp::from_millis(if self.is_behind { now - self.skew } else { now + self.skew })
    }

    /// Changes the weather for everybody: how it was before. What was about to go wrong still does.
    pub fn weather(&self, conditions: Conditions) -> Conditions {
        self.world().change(conditions)
    }

    /// Waits.
    pub async fn sleep(&self, time: Duration) {
        let slot = Arc::new(Slot::default());
        let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX / 2);
        self.world().schedule(millis, Event::Wake(slot.clone()));
        Wait(slot).await;
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Timer for Host {
    fn elapsed(&self) -> Duration {
        Duration::from_millis(self.world().now - START_MILLIS)
    }

    async fn sleep(&self, time: Duration) {
        Self::sleep(self, time).await;
    }
}

#[async_trait]
impl Transport for Host {
    async fn request(&self, node: &PartyId, request: Bytes) -> Result<Bytes, TransportError> {
        let reply = self.world().send(self.party, *node, &request);
        Wait(reply).await
    }

    /// Its machines are there, whoever takes part.
    fn update_membership(&self, _: &Membership) {}
}
