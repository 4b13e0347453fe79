//! What a node does about its own rows when memberships change, and when it says that it holds everything.

use dt_model::{PartyId, Timestamp};

use super::link::{upkeep, upkeep_reply};
use super::listing::Want;
use super::local::own_indexes;
use super::past::{self, Recalled};
use super::visit::{CursorRow, Visit};
use super::{HandOverCertificate, Holding, Place, Upkeep, UpkeepReply, UpkeepRequest};
use crate::{Address, Key, Membership, Refusal};

/// How many of its own addresses a node looks at in one step.
const OWN_ADDRESSES: usize = 64;

impl Upkeep {
    /// Whether the node holds everything that is its own in the present epoch, and so has signed that it does.
    ///
    /// # Errors
    /// [`Refusal::Unavailable`] if the store fails.
    pub fn has_taken_over(&self) -> Result<bool, Refusal> {
        self.replica.has_taken_over(&self.replica.membership())
    }

    /// Asks all nodes for their statements that they have taken over: a certificate, if enough have.
    pub async fn hand_over(&self, now: Timestamp) -> Option<HandOverCertificate> {
        let membership = self.replica.membership();
        let mut certificate = HandOverCertificate { statements: Vec::new() };
        for node in membership.next_nodes() {
            let body = upkeep(UpkeepRequest::HandOver);
            let answer = self.link.ask(&membership, node.party, body, now).await;
            let Some(UpkeepReply::HandOver(Some(statement))) = upkeep_reply(answer.as_ref()) else {
                continue;
            };
            let opened = statement.clone().open();
            let counts = opened.is_ok_and(|opened| {
                opened.signer() == node.party
                    && (opened.network, opened.epoch) == (membership.network(), membership.epoch())
            });
            if counts {
                certificate.statements.push(statement.clone());
            }
        }
        certificate.verify(&membership).is_ok().then_some(certificate)
    }

    /// Looks at some of the node's own addresses: what is no longer its own is dropped, and shards that it lacks are wanted.
    pub(super) fn look_at_own(
        &mut self,
        membership: &Membership,
        visit: &mut Visit,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let me = self.replica.party();
        let page = self.replica.addresses(visit.cursor.after, OWN_ADDRESSES)?;
        for (address, row) in page.iter().filter(|(_, row)| !row.expiring && row.rows > 0) {
            let is_own = membership.is_replica(&me, address);
            let (leased, digest) = (row.leased, dt_model::Digest::ZERO);
            let want = |place, version| {
                (Want::Fetch(Holding { address: *address, place, version, digest, leased }), 0)
            };
            if is_own && membership.is_changing() {
                let slots = self.replica.slots_with_past(address)?.into_iter();
                visit.wants.extend(slots.map(|key| (Want::Past(key), 0)));
            }
            if is_own && self.lacks_shard(membership, address)? {
                let since = self.replica.proven_since(address, now)?;
                visit.wants.push_back(want(Place::Shard, since));
            } else if let Some(sequence) = self.replica.left_over(membership, address)? {
                visit.wants.push_back(want(Place::Locked, sequence));
            } else if membership.is_changing() {
                // Nothing is dropped before it is handed over.
            } else if is_own {
                self.replica.drop_shards(address, &own_indexes(membership, address, &me))?;
            } else {
                self.replica.drop_address(address)?;
                self.report.dropped += 1;
            }
        }
        visit.until = page.last().map(|(address, _)| *address).filter(|_| page.len() == OWN_ADDRESSES);
        if visit.is_done() { self.finish_range(me, visit, now) } else { Ok(()) }
    }

    /// Fetches the next page of what the node lacks of a slot's past.
    pub(super) async fn recall(
        &mut self,
        membership: &Membership,
        visit: &mut Visit,
        key: Key,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let (recalled, requests, bytes) =
            past::recall(&self.replica, &self.link, membership, key, now).await?;
        self.pay(requests, bytes, now);
        match recalled {
            Recalled::Some => {
                self.report.repaired += 1;
                visit.wants.push_front((Want::Past(key), 0));
            }
            Recalled::All => {}
            Recalled::Unresolved => {
                self.report.unresolved += 1;
                visit.cursor.unresolved += 1;
            }
        }
        Ok(())
    }

    /// Whether a blob lies at the address of which the node lacks a shard that is its own: its place among the replicas has changed.
    pub(super) fn lacks_shard(&self, membership: &Membership, address: &Address) -> Result<bool, Refusal> {
        let has_some = self.replica.address_row(address)?.is_some_and(|row| row.shards > 0);
        if !has_some || self.replica.is_bad(address)? {
            return Ok(false);
        }
        for index in own_indexes(membership, address, &self.replica.party()) {
            if !self.replica.has_shard(address, index)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Has the node look at its own rows in a joint epoch, once it has compared itself with enough others to know all of its addresses; and
    /// notes in its own row that it holds everything, as soon as it does.
    pub(super) fn note_completion(&mut self, membership: &Membership) -> Result<(), Refusal> {
        let me = self.replica.party();
        let has_compared = self.has_compared(membership);
        if let Some(own) = self.visits.get_mut(&me)
            && (own.due, own.cursor.passes, has_compared) == (Timestamp::MAX, 0, true)
        {
            own.due = Timestamp::from_millis(0);
        }
        let own = self.visits.get(&me).map(|visit| visit.cursor);
        let Some(own) = own.filter(|own| !own.complete && own.passes > 0 && has_compared) else {
            return Ok(());
        };
        let own = CursorRow { complete: true, ..own };
        self.replica.save_cursor(&me, own)?;
        if let Some(visit) = self.visits.get_mut(&me) {
            visit.cursor = own;
        }
        Ok(())
    }

    /// Whether all nodes but *k* that had everything before have been compared with to the end.
    fn has_compared(&self, membership: &Membership) -> bool {
        let me = self.replica.party();
        let compared = |node: &PartyId| {
            *node == me || self.visits.get(node).is_some_and(|visit| visit.cursor.passes > 0)
        };
        let tolerated = membership.resilience().max_faulty();
        let enough = |nodes: &[PartyId]| nodes.iter().filter(|node| !compared(node)).count() <= tolerated;
        membership.node_groups().take(1).all(enough)
    }
}
