//! Who may take part, and where he may be found.

use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dt_dht::Membership;
use dt_model::PartyId;
use libp2p::{Multiaddr, PeerId};
use thiserror::Error;
use tokio::time::Instant;

use crate::account::{Account, Bank, Offence};
use crate::peer::{dialable, peer_of};

/// Why a peer is not let in.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Barred {
    /// It is not registered.
    #[error("not registered")]
    Stranger,
    /// It went too far.
    #[error("banned for a while")]
    Banned,
}

/// The registered parties: shared by whatever has to ask who somebody is.
pub(crate) struct Directory {
    own: PartyId,
    bank: Bank,
    malformed: u32,
    ban: Duration,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    members: BTreeMap<PeerId, Member>,
    refused: u64,
}

struct Member {
    party: PartyId,
    account: Arc<Account>,
    /// As the ledger has them.
    registered: Vec<Multiaddr>,
    /// As it or others say, the latest last.
    learned: VecDeque<Multiaddr>,
    /// Malformed requests since the last time of a ban began.
    malformed: (Instant, u32),
    banned_until: Option<Instant>,
}

/// So many addresses that are not on the ledger are kept of a peer.
const MOST_LEARNED: usize = 8;

impl Directory {
    pub(crate) fn new(own: PartyId, bank: Bank, malformed: u32, ban: Duration) -> Self {
        Self { own, bank, malformed, ban, state: Mutex::default() }
    }

    /// Takes over who is registered, and returns the peers that are no longer.
    pub(crate) fn update(&self, membership: &Membership) -> Vec<PeerId> {
        let nodes = membership.nodes().iter().map(|node| (node.party, node.endpoints.as_slice()));
        let parties = membership.parties().iter().map(|party| (*party, [].as_slice()));
        let now = Instant::now();
        let mut state = self.state();
        let mut former = core::mem::take(&mut state.members);
        // Nodes come last: who is a node and is named beside them too keeps his addresses.
        for (party, endpoints) in parties.chain(nodes).filter(|(party, _)| *party != self.own) {
            let Some(peer) = peer_of(&party) else { continue };
            let registered = endpoints
                .iter()
                .filter_map(|endpoint| dialable(&endpoint.as_str().parse().ok()?, &peer))
                .collect();
            let known = former.remove(&peer).or_else(|| state.members.remove(&peer));
            let member = match known {
                Some(member) => Member { registered, ..member },
                None => Member {
                    party,
                    account: Arc::new(self.bank.open(peer)),
                    registered,
                    learned: VecDeque::new(),
                    malformed: (now, 0),
                    banned_until: None,
                },
            };
            state.members.insert(peer, member);
        }
        former.into_keys().collect()
    }

    /// Whether `peer` may be connected.
    ///
    /// # Errors
    /// [`Barred`], which is counted.
    pub(crate) fn admit(&self, peer: &PeerId) -> Result<(), Barred> {
        let mut state = self.state();
        let barred = match state.members.get(peer) {
            None => Barred::Stranger,
            Some(member) if member.is_banned(Instant::now()) => Barred::Banned,
            Some(_) => return Ok(()),
        };
        state.refused += 1;
        Err(barred)
    }

    /// The peer of a party that may be connected.
    pub(crate) fn peer(&self, party: &PartyId) -> Option<PeerId> {
        peer_of(party).filter(|peer| self.state().members.contains_key(peer))
    }

    pub(crate) fn party(&self, peer: &PeerId) -> Option<PartyId> {
        self.state().members.get(peer).map(|member| member.party)
    }

    pub(crate) fn account(&self, peer: &PeerId) -> Option<Arc<Account>> {
        self.state().members.get(peer).map(|member| member.account.clone())
    }

    /// Where `peer` may be found, the likeliest first.
    pub(crate) fn addresses(&self, peer: &PeerId) -> Vec<Multiaddr> {
        let state = self.state();
        let Some(member) = state.members.get(peer) else { return Vec::new() };
        let mut found: Vec<Multiaddr> = member.learned.iter().rev().cloned().collect();
        found.extend(member.registered.iter().filter(|known| !member.learned.contains(known)).cloned());
        found
    }

    /// The members that have addresses on the ledger.
    pub(crate) fn registered(&self) -> Vec<(PeerId, Vec<Multiaddr>)> {
        let state = self.state();
        let members = state.members.iter().filter(|(_, member)| !member.registered.is_empty());
        members.map(|(peer, member)| (*peer, member.registered.clone())).collect()
    }

    /// Somebody says that `peer` is at `addresses`: a hint, since whoever answers there has to prove his key. Returns those of them that
    /// are new.
    pub(crate) fn learn(&self, peer: &PeerId, addresses: &[Multiaddr]) -> Vec<Multiaddr> {
        let mut state = self.state();
        let Some(member) = state.members.get_mut(peer) else { return Vec::new() };
        let mut new = Vec::new();
        for address in addresses.iter().filter_map(|address| dialable(address, peer)).take(MOST_LEARNED) {
            if let Some(at) = member.learned.iter().position(|known| *known == address) {
                member.learned.remove(at);
            } else if !member.registered.contains(&address) {
                new.push(address.clone());
            }
            member.learned.push_back(address);
        }
        let surplus = member.learned.len().saturating_sub(MOST_LEARNED);
        member.learned.drain(..surplus);
        new
    }

    /// Notes an offence, and says whether `peer` is banned for it.
    pub(crate) fn offend(&self, peer: &PeerId, offence: Offence) -> bool {
        let now = Instant::now();
        let mut state = self.state();
        let Some(member) = state.members.get_mut(peer) else { return false };
        if offence == Offence::Malformed {
            if now > member.malformed.0 + self.ban {
                member.malformed = (now, 0);
            }
            member.malformed.1 += 1;
            if member.malformed.1 <= self.malformed {
                return false;
            }
        }
        member.malformed = (now, 0);
        member.banned_until = Some(now + self.ban);
        true
    }

    /// Who is banned now.
    pub(crate) fn banned(&self) -> Vec<PartyId> {
        let now = Instant::now();
        let state = self.state();
        state.members.values().filter(|member| member.is_banned(now)).map(|member| member.party).collect()
    }

    /// How often somebody was not let in.
    pub(crate) fn refused(&self) -> u64 {
        self.state().refused
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Member {
    fn is_banned(&self, now: Instant) -> bool {
        self.banned_until.is_some_and(|until| now < until)
    }
}
