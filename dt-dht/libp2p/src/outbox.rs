//! Our own requests, from the moment that they are made to their end. No I/O: the task sends what this says.
//!
//! A request is sent once. Only if it certainly did not leave, since no connection was made, is it sent again, after the peer's address
//! has been looked for.

use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use dt_dht::TransportError;
use dt_model::PartyId;
use libp2p::PeerId;
use libp2p::request_response::OutboundRequestId;
use thiserror::Error;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// What a request came to.
pub(crate) type Outcome = Result<Bytes, TransportError>;

/// Too many requests to one peer wait already.
#[derive(Debug, Error)]
#[error("{0} requests to the node wait already")]
struct Congested(usize);

pub(crate) struct Outbox {
    timeout: Duration,
    at_once: usize,
    most_queued: usize,
    next: u64,
    waiting: BTreeMap<u64, Waiting>,
    /// All requests have the same time, so the first ends first.
    deadlines: VecDeque<(Instant, u64)>,
    lanes: BTreeMap<PeerId, Lane>,
}

struct Waiting {
    node: PartyId,
    request: Bytes,
    outcome: oneshot::Sender<Outcome>,
    is_searched: bool,
}

/// The requests to one peer.
#[derive(Default)]
struct Lane {
    queued: VecDeque<u64>,
    sent: BTreeMap<OutboundRequestId, u64>,
    searching: Vec<u64>,
    /// When the peer last said anything.
    heard: Option<Instant>,
}

/// What is to be done after a failure.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum After {
    Nothing,
    /// To look for the peer's address, and then to call [`Outbox::found`].
    Search,
    /// To close its connections, which may be dead.
    Disconnect,
}

/// Why a request that was sent came to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    NotConnected,
    Lost,
    TimedOut,
    TooLarge,
}

impl Outbox {
    pub(crate) fn new(timeout: Duration, at_once: usize, most_queued: usize) -> Self {
        let (waiting, deadlines, lanes) = (BTreeMap::new(), VecDeque::new(), BTreeMap::new());
        Self { timeout, at_once, most_queued, next: 0, waiting, deadlines, lanes }
    }

    /// Takes a request to `node`, which is `peer`.
    pub(crate) fn add(
        &mut self,
        node: PartyId,
        peer: PeerId,
        request: Bytes,
        outcome: oneshot::Sender<Outcome>,
    ) {
        let lane = self.lanes.entry(peer).or_default();
        if lane.queued.len() + lane.searching.len() >= self.most_queued {
            let error = Congested(lane.queued.len() + lane.searching.len());
            // Whoever asked may not wait any more; so everywhere below.
            drop(outcome.send(Err(TransportError::Other(Box::new(error)))));
            return;
        }
        lane.queued.push_back(self.next);
        self.waiting.insert(self.next, Waiting { node, request, outcome, is_searched: false });
        self.deadlines.push_back((Instant::now() + self.timeout, self.next));
        self.next += 1;
    }

    /// The next request that is to be sent to `peer` now.
    pub(crate) fn next(&mut self, peer: &PeerId) -> Option<(u64, Bytes)> {
        let lane = self.lanes.get_mut(peer)?;
        while lane.sent.len() < self.at_once {
            let ticket = lane.queued.pop_front()?;
            if let Some(waiting) = self.waiting.get(&ticket) {
                return Some((ticket, waiting.request.clone()));
            }
        }
        None
    }

    /// It was handed over as `id`.
    pub(crate) fn sent(&mut self, peer: &PeerId, ticket: u64, id: OutboundRequestId) {
        if let Some(lane) = self.lanes.get_mut(peer) {
            lane.sent.insert(id, ticket);
        }
    }

    pub(crate) fn replied(&mut self, peer: &PeerId, id: OutboundRequestId, reply: Bytes) {
        let Some(lane) = self.lanes.get_mut(peer) else { return };
        lane.heard = Some(Instant::now());
        let waiting = lane.sent.remove(&id).and_then(|ticket| self.waiting.remove(&ticket));
        if let Some(waiting) = waiting {
            drop(waiting.outcome.send(Ok(reply)));
        }
    }

    /// `peer` has said something.
    pub(crate) fn heard(&mut self, peer: &PeerId) {
        if let Some(lane) = self.lanes.get_mut(peer) {
            lane.heard = Some(Instant::now());
        }
    }

    /// A request that was sent came to nothing. A connection on which nothing is heard for twice the time of a request is taken for dead.
    pub(crate) fn failed(&mut self, peer: &PeerId, id: OutboundRequestId, failure: Failure) -> After {
        let Some(lane) = self.lanes.get_mut(peer) else { return After::Nothing };
        let Some(ticket) = lane.sent.remove(&id) else { return After::Nothing };
        let now = Instant::now();
        let mut after = After::Nothing;
        if failure == Failure::TimedOut && lane.heard.is_none_or(|heard| heard + 2 * self.timeout < now) {
            after = After::Disconnect;
        }
        if failure == Failure::NotConnected
            && self.waiting.get(&ticket).is_some_and(|waiting| !waiting.is_searched)
        {
            lane.searching.push(ticket);
            return if lane.searching.len() == 1 { After::Search } else { After::Nothing };
        }
        if let Some(waiting) = self.waiting.remove(&ticket) {
            let node = waiting.node;
            drop(waiting.outcome.send(Err(match failure {
                Failure::NotConnected | Failure::Lost => TransportError::Unreachable(node),
                Failure::TimedOut => TransportError::TimedOut(node),
                Failure::TooLarge => TransportError::TooLarge(node),
            })));
        }
        after
    }

    /// `peer` was looked for: what waited for that is sent, or given up if there is nothing to try.
    pub(crate) fn found(&mut self, peer: &PeerId, is_worth_trying: bool) {
        let Some(lane) = self.lanes.get_mut(peer) else { return };
        for ticket in lane.searching.drain(..).rev() {
            if !is_worth_trying {
                if let Some(waiting) = self.waiting.remove(&ticket) {
                    drop(waiting.outcome.send(Err(TransportError::Unreachable(waiting.node))));
                }
            } else if let Some(waiting) = self.waiting.get_mut(&ticket) {
                waiting.is_searched = true;
                lane.queued.push_front(ticket);
            }
        }
    }

    /// `peer` is no longer registered: what waits for it ends.
    pub(crate) fn forget(&mut self, peer: &PeerId) {
        let Some(lane) = self.lanes.remove(peer) else { return };
        let tickets = lane.queued.into_iter().chain(lane.sent.into_values()).chain(lane.searching);
        for waiting in tickets.filter_map(|ticket| self.waiting.remove(&ticket)) {
            drop(waiting.outcome.send(Err(TransportError::Unreachable(waiting.node))));
        }
    }

    /// When [`Outbox::expire`] has something to do.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.deadlines.front().map(|(at, _)| *at)
    }

    /// Ends what has waited too long.
    pub(crate) fn expire(&mut self) {
        let now = Instant::now();
        while let Some((at, ticket)) = self.deadlines.front().copied()
            && at <= now
        {
            self.deadlines.pop_front();
            if let Some(waiting) = self.waiting.remove(&ticket) {
                drop(waiting.outcome.send(Err(TransportError::TimedOut(waiting.node))));
            }
        }
    }

    /// Whether nothing waits.
    pub(crate) fn is_idle(&self) -> bool {
        self.waiting.is_empty()
    }
}
