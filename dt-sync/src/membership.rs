//! The DHT's membership as the ledger has it: the same for every client and node, whenever they look, and in the same epochs.
//!
//! ```text
//!   ledger: epoch 1 {a b c d} ── e joins ──▶ epoch 2, joint ── HandOver of all but k ──▶ epoch 3 {a b c d e}
//!                                                 ▲    │
//!   DhtNode of each: compares, fetches ───────────┼────┘ states that it has taken over
//!   Client: every quorum is one of {a b c d} and one of {a b c d e}, until epoch 3
//! ```

use std::collections::BTreeSet;

use dt_dht::{Endpoint, Membership, Node, Resilience};
use dt_ledger::{Nodes, Snapshot, State as _};
use dt_model::{Digest, PartyId, Timestamp};

use crate::ClientError;

/// The DHT's membership in `state`: its nodes in the present epoch and in all former ones, whose certificates are still about; and the
/// parties that take part at `now`, who are served.
///
/// # Errors
/// [`ClientError::NoStorage`] if the organisations have not founded the DHT, or too few nodes are registered yet; [`ClientError::Store`].
pub fn membership(state: &Snapshot, chain: Digest, now: Timestamp) -> Result<Membership, ClientError> {
    let nodes = state.nodes()?;
    if nodes.changes.is_empty() {
        return Err(ClientError::NoStorage);
    }
    let resilience = Resilience::new(nodes.head.replicas, nodes.head.max_faulty)?;
    let mut parties = BTreeSet::new();
    for (party, record) in state.parties()? {
        if state.is_active(&record, now)? {
            parties.insert(party);
        }
    }
    let (mut group, mut membership) = (BTreeSet::new(), None::<Membership>);
    for (epoch, change) in &nodes.changes {
        group.extend(&change.joining);
        group.retain(|node| !change.leaving.contains(node));
        let members = group.iter().map(|party| node(&nodes, *party)).collect();
        membership = Some(match membership {
            None => Membership::new(chain, *epoch, resilience, members, parties.clone())?,
            Some(former) => completed(former)?.successor(members, parties.clone())?,
        });
    }
    let membership = membership.ok_or(ClientError::NoStorage)?;
    let membership = if nodes.head.changing { membership } else { completed(membership)? };
    debug_assert_eq!(membership.epoch(), nodes.head.epoch, "the ledger counts as memberships do");
    Ok(membership)
}

fn completed(membership: Membership) -> Result<Membership, ClientError> {
    Ok(if membership.is_changing() { membership.complete()? } else { membership })
}

/// The node of `party`. Of one that has left, nobody needs to know where it was.
fn node(nodes: &Nodes, party: PartyId) -> Node {
    let endpoints = nodes.nodes.get(&party).into_iter().flat_map(|record| &record.endpoints);
    Node { party, endpoints: endpoints.filter_map(|uri| Endpoint::new(uri.as_str()).ok()).collect() }
}
