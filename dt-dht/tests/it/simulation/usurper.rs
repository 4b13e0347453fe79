//! A writer who speaks the protocol of agreement with his own hands, and breaks its rules: he proposes his own record where promises show
//! another one to be locked, leaves such promises out, and proposes two records under one ballot.

use dt_dht::testing::simulator::{Dice, Host};
use dt_dht::{
    Ballot, Bid, Call, Client, LockCertificate, Phase, Record, ReplyBody, RequestBody, Settled,
    SettlementCertificate, Transport,
};
use dt_model::{Envelope, PartyId, Signed, codec};
use futures_util::future::join_all;

pub(super) struct Usurper<'a> {
    pub(super) client: &'a Client,
    pub(super) host: &'a Host,
    pub(super) dice: &'a mut Dice,
}

impl Usurper<'_> {
    /// Tries to make each of `rivals` the one record after `base`: under one ballot, or one after the other, when the first is decided and
    /// only one replica has heard of it.
    pub(super) async fn usurps(&mut self, base: &Settled, rivals: &[Signed<Record>]) {
        let mut ballot = self.dice.permille(700).then(|| self.ballot());
        let is_at_once = self.dice.permille(400);
        let mut locks = Vec::new();
        for record in rivals {
            let promises = match ballot {
                Some(ballot) => self.promises(base, ballot).await,
                None => Vec::new(),
            };
            let (sequence, envelope) = (base.sequence() + 1, record.envelope().clone());
            let body = RequestBody::Propose { sequence, ballot, record: envelope, promises };
            if let Some(votes) = self.votes(base, body, None).await {
                let lock: LockCertificate = codec::decode(&codec::encode(&votes), 1 << 20).unwrap();
                if is_at_once {
                    locks.push((record, lock));
                } else {
                    self.finishes(base, record, lock, None).await;
                    ballot = Some(Ballot {
                        round: ballot.map_or(41, |ballot| ballot.round + 41),
                        ..self.ballot()
                    });
                }
            }
        }
        // Of what was accepted under one ballot, the first is for all but one, and the second for that one.
        let one = self.one(base);
        for ((record, lock), spared) in locks.into_iter().zip([Some((one, false)), Some((one, true))]) {
            self.finishes(base, record, lock, spared).await;
        }
    }

    fn one(&mut self, base: &Settled) -> PartyId {
        *self.dice.choose(&self.client.membership().replicas(&base.state().address()))
    }

    /// Has `record` decided, if the replicas let him, and has one of them adopt it.
    async fn finishes(
        &mut self,
        base: &Settled,
        record: &Signed<Record>,
        certificate: LockCertificate,
        of: Option<(PartyId, bool)>,
    ) {
        let commit = |certificate| RequestBody::Commit { record: record.envelope().clone(), certificate };
        let Some(mut votes) = self.votes(base, commit(certificate), of).await else { return };
        // Nodes have changed since it was accepted: they have accepted it again.
        if votes[0].clone().open().is_ok_and(|vote| vote.phase == Phase::Accept) {
            let lock = codec::decode(&codec::encode(&votes), 1 << 20).unwrap();
            let Some(committed) = self.votes(base, commit(lock), of).await else { return };
            votes = committed;
        }
        let Some(state) = base.state().after(record) else { return };
        let certificate: SettlementCertificate =
            codec::decode(&codec::encode(&(state, votes)), 1 << 20).unwrap();
        let records = base.records().iter().chain([record]).map(|record| record.envelope().clone()).collect();
        let one = self.one(base);
        self.ask(base, RequestBody::Adopt { certificate, records }, Some((one, true))).await;
    }

    fn ballot(&mut self) -> Ballot {
        let proposer = self.client.signer().party();
        Ballot { rank: 1, round: self.dice.within(1..=40), proposer }
    }

    /// A quorum's promises, rather of those that show no lock.
    async fn promises(&mut self, base: &Settled, ballot: Ballot) -> Vec<Envelope<dt_dht::Promise>> {
        let (address, sequence) = (base.state().address(), base.sequence() + 1);
        let (network, time) = (self.client.membership().network(), self.host.now());
        let bid = Bid { network, address, sequence, ballot, time };
        let Ok(bid) = Signed::new(bid, self.client.signer()) else { return Vec::new() };
        let body = RequestBody::Promise { bid: bid.into_envelope(), titles: Vec::new() };
        let replies = self.ask(base, body, None).await;
        let mut promises: Vec<_> = replies
            .into_iter()
            .filter_map(|(_, reply)| match reply {
                ReplyBody::Promised { promise, .. } => Some(promise),
                _ => None,
            })
            .collect();
        promises.sort_by_key(|promise| promise.clone().open().is_ok_and(|promise| promise.lock.is_some()));
        promises.truncate(self.client.membership().resilience().quorum());
        promises.sort_by_key(Envelope::signer);
        promises
    }

    /// The votes that `body` gets, if they are a quorum's.
    async fn votes(
        &self,
        base: &Settled,
        body: RequestBody,
        of: Option<(PartyId, bool)>,
    ) -> Option<Vec<Envelope<dt_dht::Vote>>> {
        let replies = self.ask(base, body, of).await.into_iter();
        let mut votes: Vec<_> = replies
            .filter_map(|(_, reply)| match reply {
                ReplyBody::Voted { vote } => Some(vote),
                _ => None,
            })
            .collect();
        votes.sort_by_key(Envelope::signer);
        (votes.len() >= self.client.membership().resilience().quorum()).then_some(votes)
    }

    /// Asks all replicas the same; with `of`, only that one, or all but that one.
    async fn ask(
        &self,
        base: &Settled,
        body: RequestBody,
        of: Option<(PartyId, bool)>,
    ) -> Vec<(PartyId, ReplyBody)> {
        let membership = self.client.membership();
        let replicas = membership.replicas(&base.state().address());
        let nonce = *b"usurper's nonce!";
        let is_asked = |node: &PartyId| of.is_none_or(|(one, alone)| (*node == one) == alone);
        let asked = replicas.into_iter().filter(is_asked).map(|node| {
            let call =
                Call::new(self.client.signer(), &membership, node, nonce, self.host.now(), body.clone());
            async move {
                let call = call.ok()?;
                let reply = self.host.request(&node, call.bytes().clone()).await.ok()?;
                Some((node, call.read(&reply).ok()?))
            }
        });
        join_all(asked).await.into_iter().flatten().collect()
    }
}
