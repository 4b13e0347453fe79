//! How much a node does for whom: requests and bytes of each party, and how much at once. What is too much is refused as
//! [`Refusal::Busy`], before it costs a signature check.
//!
//! # Who pays
//! A request names its sender before its signature has been checked, so anybody can claim another's name. Therefore:
//! - Only a request whose signature holds is charged to its sender. Nobody uses up another's allowance.
//! - One whose signature does not hold is charged to the *forgeries* of that name. When those are used up, requests in that name are
//!   refused unchecked for a moment. So whoever floods one node in another's name hinders that party at that node, for as long as he
//!   pays for the flood, and nobody else; without the limit he would hinder all, since checks cost more than what he sends.
//! - Names that are not registered have no allowance, and are refused before any check.
//!
//! A genuine request that somebody recorded and sends again is charged to its sender, for [`crate::MAX_REQUEST_AGE`] at most. So channels
//! are to be encrypted (see [`crate::Transport`]).

use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use dt_model::{PartyId, Timestamp};

use super::bucket::{Rate, TokenBucket};
use crate::Refusal;

/// What one node does for each party, and for all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestLimits {
    /// Requests of one party.
    pub requests: Rate,
    /// Bytes of one party's requests.
    pub bytes: Rate,
    /// Requests in one party's name whose signature does not hold.
    pub forgeries: Rate,
    /// Requests that are worked on at the same time.
    pub concurrent: u32,
    /// How many of them may be of one party.
    pub concurrent_per_party: u32,
}

impl RequestLimits {
    /// For a small node: a thousand requests and 16 MiB a second of each party, 64 requests at once.
    pub const RECOMMENDED: Self = Self {
        requests: Rate { per_second: 1_000, burst: 5_000 },
        bytes: Rate { per_second: 16 << 20, burst: 128 << 20 },
        forgeries: Rate { per_second: 100, burst: 500 },
        concurrent: 64,
        concurrent_per_party: 16,
    };
}

/// Counts requests against [`RequestLimits`]. What it remembers is bounded by the number of registered parties.
#[derive(Debug)]
pub(crate) struct Gate {
    limits: Option<RequestLimits>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    running: u32,
    parties: BTreeMap<PartyId, Account>,
}

#[derive(Debug)]
struct Account {
    requests: TokenBucket,
    bytes: TokenBucket,
    forgeries: TokenBucket,
    running: u32,
}

impl Account {
    fn new(limits: &RequestLimits, now: Timestamp) -> Self {
        Self {
            requests: TokenBucket::full(limits.requests, now),
            bytes: TokenBucket::full(limits.bytes, now),
            forgeries: TokenBucket::full(limits.forgeries, now),
            running: 0,
        }
    }
}

/// A request's place among those that are worked on, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Pass<'a> {
    gate: &'a Gate,
    sender: PartyId,
    bytes: u64,
    proven: bool,
}

/// What one may wait for a place that another request holds: nobody knows, and requests are quick.
const PLACE_WAIT: Duration = Duration::from_millis(50);

impl Gate {
    pub(crate) fn new(limits: Option<RequestLimits>) -> Self {
        Self { limits, state: Mutex::default() }
    }

    /// Lets in a request of `bytes` in the name of `sender`, who MUST be registered; his signature is not checked yet.
    ///
    /// # Errors
    /// [`Refusal::Busy`].
    pub(crate) fn enter(&self, sender: PartyId, bytes: usize, now: Timestamp) -> Result<Pass<'_>, Refusal> {
        let bytes = bytes as u64;
        if let Some(limits) = &self.limits {
            let mut state = self.state();
            if state.running >= limits.concurrent {
                return Err(busy(PLACE_WAIT));
            }
            let account = state.parties.entry(sender).or_insert_with(|| Account::new(limits, now));
            account.requests.look(1, now).map_err(busy)?;
            account.bytes.look(bytes, now).map_err(busy)?;
            account.forgeries.look(1, now).map_err(busy)?;
            state.running += 1;
        }
        Ok(Pass { gate: self, sender, bytes, proven: false })
    }

    /// Forgets the parties that are not registered any more.
    pub(crate) fn retain(&self, is_registered: impl Fn(&PartyId) -> bool) {
        self.state().parties.retain(|party, account| account.running > 0 || is_registered(party));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pass<'_> {
    /// The signature holds: the sender is charged.
    ///
    /// # Errors
    /// [`Refusal::Busy`], if requests of his that came meanwhile used up what he may have.
    pub(crate) fn prove(&mut self, now: Timestamp) -> Result<(), Refusal> {
        let Some(limits) = &self.gate.limits else { return Ok(()) };
        let mut state = self.gate.state();
        let account = state.parties.entry(self.sender).or_insert_with(|| Account::new(limits, now));
        if account.running >= limits.concurrent_per_party {
            return Err(busy(PLACE_WAIT));
        }
        account.requests.take(1, now).map_err(busy)?;
        account.bytes.take(self.bytes, now).map_err(busy)?;
        account.running += 1;
        self.proven = true;
        Ok(())
    }

    /// The signature does not hold: the name's forgeries are charged.
    pub(crate) fn forged(&self, now: Timestamp) {
        let Some(limits) = &self.gate.limits else { return };
        let mut state = self.gate.state();
        let account = state.parties.entry(self.sender).or_insert_with(|| Account::new(limits, now));
        account.forgeries.spend(1);
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        if self.gate.limits.is_none() {
            return;
        }
        let mut state = self.gate.state();
        state.running = state.running.saturating_sub(1);
        if self.proven
            && let Some(account) = state.parties.get_mut(&self.sender)
        {
            account.running = account.running.saturating_sub(1);
        }
    }
}

/// The refusal that says to come again in `wait`.
pub(crate) fn busy(wait: Duration) -> Refusal {
    Refusal::Busy { retry_after_millis: u64::try_from(wait.as_millis()).unwrap_or(u64::MAX) }
}
