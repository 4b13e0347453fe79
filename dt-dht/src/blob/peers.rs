//! What a client knows of the nodes from earlier answers: whom it asks for shards first.

use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use dt_model::PartyId;

/// What restoring a data shard that was not fetched costs: a recovery shard is worth asking for if its node is quicker by this much.
const DECODING: Duration = Duration::from_millis(2);
/// How long a node of which nothing is known is waited for, before another one is asked besides.
const FIRST_PATIENCE: Duration = Duration::from_millis(100);
/// Nobody is waited for longer than this before another one is asked besides.
const MAX_PATIENCE: Duration = Duration::from_secs(1);
/// The worst opinion of a node that does not lie.
const MAX_PENALTY: Duration = Duration::from_secs(10);
/// A late node is avoided as if it took this many times longer than it was waited for.
const PENALTY_FACTOR: u32 = 8;
/// By which part a penalty shrinks whenever the node was not asked: after some hundred stripes it is tried again.
const FORGIVING: u32 = 64;
/// The weight of a new measurement is one in so many (as TCP estimates round trips, RFC 6298).
const SMOOTHING: u32 = 8;

/// The nodes that a client has asked for shards.
///
/// # Invariant
/// It only sets the order of asking, and every node is asked if need be: so whatever a node does here, it cannot keep content from a
/// reader.
#[derive(Debug, Default)]
pub(crate) struct Peers(Mutex<BTreeMap<PartyId, Peer>>);

#[derive(Debug, Clone, Copy, Default)]
struct Peer {
    /// Smoothed time to an answer; zero if none was measured, so that everybody is tried once.
    expected: Duration,
    /// Grows when it is late or fails, and wears off.
    penalty: Duration,
    /// It signed an answer with a wrong shard. That is no accident, so it is never forgotten.
    lied: bool,
}

impl Peers {
    /// Sorts `candidates`, each a node and the number of its shard: best first. The first `data` numbers are the content itself.
    pub(crate) fn rank(&self, candidates: &mut [(PartyId, u16)], data: usize) {
        let mut peers = self.peers();
        candidates.sort_by_cached_key(|(node, index)| {
            let peer = peers.get(node).copied().unwrap_or_default();
            let decoding = if usize::from(*index) < data { Duration::ZERO } else { DECODING };
            (peer.lied, peer.expected + peer.penalty + decoding, *index)
        });
        for (node, _) in candidates.iter().skip(data) {
            if let Some(peer) = peers.get_mut(node) {
                peer.penalty -= peer.penalty / FORGIVING;
            }
        }
    }

    /// How long the slowest of `nodes` is waited for, before others are asked besides: twice what it usually takes.
    pub(crate) fn patience<'a>(&self, nodes: impl IntoIterator<Item = &'a PartyId>) -> Duration {
        let peers = self.peers();
        let usual = |node| match peers.get(node).map(|peer| peer.expected) {
            None | Some(Duration::ZERO) => FIRST_PATIENCE,
            Some(expected) => expected * 2 + DECODING,
        };
        nodes.into_iter().map(usual).max().unwrap_or(FIRST_PATIENCE).min(MAX_PATIENCE)
    }

    /// `node` answered after `time`.
    pub(crate) fn answered(&self, node: PartyId, time: Duration) {
        let mut peers = self.peers();
        let peer = peers.entry(node).or_default();
        // Zero means unknown.
        let time = time.clamp(Duration::from_nanos(1), MAX_PENALTY);
        peer.expected = match peer.expected {
            Duration::ZERO => time,
            before => before - before / SMOOTHING + time / SMOOTHING,
        };
        peer.penalty /= 2;
    }

    /// `node` has not answered after `time`, or the transport says that it will not.
    pub(crate) fn failed(&self, node: PartyId, time: Duration) {
        let mut peers = self.peers();
        let peer = peers.entry(node).or_default();
        peer.penalty = (time.max(peer.penalty).max(FIRST_PATIENCE) * PENALTY_FACTOR).min(MAX_PENALTY);
    }

    /// `node` signed a wrong shard.
    pub(crate) fn lied(&self, node: PartyId) {
        self.peers().entry(node).or_default().lied = true;
    }

    fn peers(&self) -> MutexGuard<'_, BTreeMap<PartyId, Peer>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
