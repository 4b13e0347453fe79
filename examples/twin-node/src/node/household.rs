//! What a new member of the chain has to do once, and does by itself: register its parties, register its node, vote for the DHT.
//!
//! # Invariant
//! Each step looks at the ledger first. A node that was killed in between goes on where it was, and one that has done all does nothing.

use std::sync::Arc;
use std::time::Duration;

use dt_ledger::{Call, Certificate, ExecuteError, MAX_PROPOSAL_MILLIS, Reason, State as _, Uri};
use dt_model::{Identity, Name, Signed, Signer, Timestamp};
use dt_sync::Ledger;
use tracing::{info, warn};

use super::Node;
use crate::clock;
use crate::failure::Failure;
use crate::folder::Key;

/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(500);
/// How long the organisations before this one have to propose the DHT, each.
const TURN: Duration = Duration::from_secs(10);
/// How long the certificates are good: five years, from a day ago (clocks differ).
const VALIDITY: Duration = Duration::from_secs(5 * 365 * 24 * 60 * 60);
const DAY_MILLIS: u64 = 24 * 60 * 60 * 1000;

/// Does what is to be done, as soon as the chain runs.
pub(super) async fn run(node: Arc<Node>) {
    let begun = clock::now();
    loop {
        match settle(&node, begun).await {
            Ok(true) => return,
            Ok(false) => {}
            Err(failure) => warn!(%failure, "not settled yet"),
        }
        if !node.pause(PAUSE).await {
            return;
        }
    }
}

/// The next steps; whether there are no more.
async fn settle(node: &Node, begun: Timestamp) -> Result<bool, Failure> {
    if node.replica().tip().height == 0 {
        return Ok(false);
    }
    // Whoever has no authority's key is enrolled by whoever has.
    let authority =
        if node.folder.has_key(Key::Authority) { Some(node.folder.key(Key::Authority)?) } else { None };
    if let Some(authority) = &authority {
        let name = node.settings.name.clone();
        enrol(node, &node.ledger, authority, name).await?;
        if node.device.is_some() {
            let agent = node.folder.key(Key::Agent)?;
            let name = Name::abridged(&format!("{}-agent", node.settings.name));
            enrol(node, &of(node, agent), authority, name).await?;
        }
    }
    let is_registered = node.ledger.state()?.party(&node.ledger.party())?.is_some();
    if !is_registered {
        return Ok(false);
    }
    if node.settings.storage.serve {
        register_node(node).await?;
    }
    match authority {
        Some(authority) if node.settings.storage.found => found(node, authority, begun).await,
        _ => Ok(true),
    }
}

/// The ledger as another of the house uses it.
pub(super) fn of(node: &Node, signer: Arc<Identity>) -> Ledger {
    Ledger::new(Arc::clone(&node.consensus) as _, Arc::clone(node.replica()), signer)
}

/// Registers the party of `ledger`, certified by `authority`.
async fn enrol(node: &Node, ledger: &Ledger, authority: &Identity, name: Name) -> Result<(), Failure> {
    if ledger.state()?.party(&ledger.party())?.is_some() {
        return Ok(());
    }
    let now = clock::now();
    let certificate = Certificate {
        chain: node.replica().chain(),
        party: ledger.party(),
        name: name.clone(),
        encryption_key: ledger.signer().encryption_key(),
        not_before: Timestamp::from_millis(now.as_millis().saturating_sub(DAY_MILLIS)),
        not_after: now.saturating_add(VALIDITY),
    };
    let certificate = Signed::new(certificate, authority).map_err(|error| Failure::internal(&error))?;
    let certificate = certificate.into_envelope().into();
    match ledger.execute(vec![Call::Register { certificate }]).await {
        Ok(executed) => info!(%name, party = %ledger.party(), height = executed.height, "registered"),
        Err(ExecuteError::Refused(Reason::AlreadyRegistered)) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

/// Says on the ledger that the party runs a node, and where.
async fn register_node(node: &Node) -> Result<(), Failure> {
    let card = node.founding.cards().find(|card| card.party == node.ledger.party());
    let Some(card) = card else { return Ok(()) };
    let endpoints = vec![Uri::new(card.storage.as_str()).map_err(Failure::bad_input)?];
    let known = node.ledger.state()?.node(&node.ledger.party())?;
    if known.is_some_and(|known| !known.registered || known.endpoints == endpoints) {
        return Ok(());
    }
    let executed = node.ledger.execute(vec![Call::RegisterNode { endpoints }]).await?;
    info!(height = executed.height, "the party's DHT node is registered");
    Ok(())
}

/// Proposes the founding file's DHT, or votes for it; whether there is one.
///
/// The first organisation proposes; the others wait for it, and if it is not there, the next one proposes.
async fn found(node: &Node, authority: Arc<Identity>, begun: Timestamp) -> Result<bool, Failure> {
    let state = node.ledger.state()?;
    if state.nodes_head()?.is_founded() {
        return Ok(true);
    }
    let (ledger, proposal) = (of(node, Arc::clone(&authority)), node.founding.storage());
    let now = node.replica().tip().time;
    let open =
        state.proposals()?.into_iter().find(|(_, open)| open.proposal == proposal && now < open.expires);
    let call = match open {
        Some((_, open)) if open.votes.contains_key(&authority.party()) => return Ok(false),
        Some((proposal, _)) => Call::Vote { proposal },
        None => {
            let rank = node.founding.member(&authority.party()).map_or(0, |(rank, _)| rank);
            let turn = TURN.saturating_mul(u32::try_from(rank).unwrap_or(u32::MAX));
            if clock::now().since(begun) < turn {
                return Ok(false);
            }
            Call::Propose { proposal, millis: MAX_PROPOSAL_MILLIS }
        }
    };
    drop(state);
    match ledger.execute(vec![call]).await {
        Ok(executed) => {
            info!(height = executed.height, "the organisation is for the DHT of the founding file")
        }
        // Others were faster.
        Err(ExecuteError::Refused(
            Reason::StorageFounded | Reason::AlreadyVoted | Reason::UnknownProposal(_),
        )) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(false)
}
