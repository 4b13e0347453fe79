//! The decision of storing one stripe: who is sent a shard, who is spared, who is sent the proof, and when the stripe is stored. Sans-IO.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use dt_model::{Envelope, PartyId, Timestamp};

use crate::tally::{Answer, Tally, Verdict};
use crate::{Address, MAX_REQUEST_AGE, Membership, PutError, QuorumCertificate, Receipt, Refusal, ReplyBody};

/// Collects what replicas say of one stripe, in two steps that each of them takes at its own time: that it holds its shards, and then, as soon
/// as a quorum does, that it keeps the proof of it. When a quorum keeps the proof, the stripe is stored.
///
/// Of a quorum of 2k + 1 at most k lie. So k + 1 honest replicas hold their shards, which restore the stripe; and k + 1 keep the proof, of which
/// whoever listens to all nodes but k hears one, and then waits for the shards.
#[derive(Debug)]
pub(super) struct StripePut {
    expected: Receipt,
    replicas: Vec<(PartyId, u16)>,
    /// Those that lag behind with earlier stripes: sent to only if the others are not enough. The least behind first.
    spared: VecDeque<(PartyId, u16)>,
    /// Those that were sent something and have not answered, and how many times. While nodes hand over, one may hold two shards.
    awaited: BTreeMap<PartyId, usize>,
    /// Who holds its shards.
    holding: Tally,
    receipts: Vec<Envelope<Receipt>>,
    /// Those that hold their shards and were not sent the proof yet.
    unproven: BTreeSet<PartyId>,
    certificate: Option<QuorumCertificate>,
    /// Who keeps the proof.
    keeping: Tally,
}

/// What a replica is sent.
#[derive(Debug)]
pub(super) enum Part {
    /// Its shard of this number.
    Shard(u16),
    /// The proof that a quorum holds its shards.
    Certificate(QuorumCertificate),
}

impl StripePut {
    /// Starts storing a stripe at `address`, at `now`. `backlog` says how many earlier stripes a node has still to take; who has `most` of them
    /// is spared.
    pub(super) fn new(
        membership: &Membership,
        address: &Address,
        backlog: &BTreeMap<PartyId, usize>,
        most: usize,
        now: Timestamp,
    ) -> Self {
        let behind = |node: &PartyId| backlog.get(node).copied().unwrap_or(0);
        let replicas = places(membership, address);
        let tally = Tally::new(membership, address);
        // Two quorums at once spare nobody.
        let spare = |node: &PartyId| behind(node) >= most && !membership.is_changing();
        let (mut spared, replicas): (Vec<_>, Vec<_>) =
            replicas.into_iter().partition(|(node, _)| spare(node));
        spared.sort_by_key(|(node, _)| behind(node));
        Self {
            expected: Receipt::of_shards(membership.network(), membership.epoch(), address, now),
            replicas,
            spared: spared.into(),
            awaited: BTreeMap::new(),
            holding: tally.clone(),
            receipts: Vec::new(),
            unproven: BTreeSet::new(),
            certificate: None,
            keeping: tally,
        }
    }

    /// Who is to be sent what now.
    pub(super) fn wanted(&mut self) -> Vec<(PartyId, Part)> {
        let mut wanted = core::mem::take(&mut self.replicas);
        let on_their_way = self.awaited.len() + self.unproven.len();
        while self.keeping.good() + on_their_way + wanted.len() < self.keeping.needed() {
            let Some(next) = self.spared.pop_front() else { break };
            wanted.push(next);
        }
        let shards = wanted.into_iter().map(|(node, index)| (node, Part::Shard(index)));
        let mut wanted: Vec<_> = shards.collect();
        if let Some(certificate) = &self.certificate {
            let holders = core::mem::take(&mut self.unproven).into_iter();
            wanted.extend(holders.map(|node| (node, Part::Certificate(certificate.clone()))));
        }
        wanted.iter().for_each(|(node, _)| *self.awaited.entry(*node).or_default() += 1);
        wanted
    }

    /// Takes what `node` replied to a shard; `None` if it did not, or nothing that counts.
    pub(super) fn answer_shard(&mut self, node: PartyId, reply: Option<&ReplyBody>) {
        let left = self.answered(&node);
        match reply {
            Some(ReplyBody::ShardStored { receipt: Some(receipt) }) if self.is_expected(node, receipt) => {
                self.receive(node, receipt);
            }
            // It holds its part when it holds all its shards.
            Some(ReplyBody::ShardStored { receipt: None }) if left > 0 => {}
            Some(ReplyBody::Refused { refusal }) => self.fail(node, Some(*refusal)),
            _ => self.fail(node, None),
        }
    }

    /// Takes what `node` replied to the proof.
    pub(super) fn answer_certificate(&mut self, node: PartyId, reply: Option<&ReplyBody>) {
        self.answered(&node);
        self.keeping.answer(
            node,
            match reply {
                Some(ReplyBody::CertificateKept) => Answer::Good,
                Some(ReplyBody::Refused { refusal }) => Answer::Refused(*refusal),
                _ => Answer::Failed,
            },
        );
    }

    /// Those that were sent something and have not answered, once for each time.
    pub(super) fn awaited(&self) -> Vec<PartyId> {
        self.awaited.iter().flat_map(|(node, count)| core::iter::repeat_n(*node, *count)).collect()
    }

    /// The outcome, as soon as there is one.
    pub(super) fn outcome(&self) -> Option<Result<(), PutError>> {
        match self.keeping.verdict() {
            Verdict::Pending => None,
            Verdict::Reached => Some(Ok(())),
            Verdict::Refused(refusal) => Some(Err(PutError::Refused(refusal))),
            Verdict::Failed => Some(Err(self.unfinished())),
        }
    }

    /// The error when no more answers come although some are outstanding.
    pub(super) fn unfinished(&self) -> PutError {
        PutError::no_quorum(if self.certificate.is_some() { &self.keeping } else { &self.holding })
    }

    /// How many answers of `node` are still to come.
    fn answered(&mut self, node: &PartyId) -> usize {
        let left = self.awaited.get(node).copied().unwrap_or(0).saturating_sub(1);
        if left > 0 {
            self.awaited.insert(*node, left);
        } else {
            self.awaited.remove(node);
        }
        left
    }

    /// A replica that holds its shards is to be sent the proof, once there is one.
    fn receive(&mut self, node: PartyId, receipt: &Envelope<Receipt>) {
        if !self.holding.awaits(&node) {
            return;
        }
        self.holding.answer(node, Answer::Good);
        self.unproven.insert(node);
        if self.certificate.is_some() {
            return;
        }
        self.receipts.push(receipt.clone());
        if self.holding.verdict() == Verdict::Reached {
            self.receipts.sort_by_key(Envelope::signer);
            self.certificate = Some(QuorumCertificate { receipts: core::mem::take(&mut self.receipts) });
        }
    }

    /// Who does not hold its shards will not keep the proof.
    fn fail(&mut self, node: PartyId, refusal: Option<Refusal>) {
        if self.holding.awaits(&node) {
            let answer = || refusal.map_or(Answer::Failed, Answer::Refused);
            self.holding.answer(node, answer());
            self.keeping.answer(node, answer());
        }
    }

    fn is_expected(&self, node: PartyId, receipt: &Envelope<Receipt>) -> bool {
        receipt.signer() == node
            && receipt.clone().open().is_ok_and(|receipt| {
                let age = receipt.time.since(self.expected.time).max(self.expected.time.since(receipt.time));
                receipt.agrees_with(&self.expected) && age <= MAX_REQUEST_AGE
            })
    }
}

/// Which shard of a stripe at `address` is for which node: one each, but in the old and in the new order while nodes hand over.
pub(super) fn places(membership: &Membership, address: &Address) -> Vec<(PartyId, u16)> {
    let mut places: Vec<(PartyId, u16)> = Vec::new();
    for group in membership.groups(address).into_iter().rev() {
        for place in group.into_iter().zip(0..) {
            if !places.contains(&place) {
                places.push(place);
            }
        }
    }
    places
}
