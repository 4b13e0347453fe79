//! What a node's operator decides: for how long it keeps things, for whom how much, and how much it does for whom.

use core::time::Duration;

use dt_model::Timestamp;

use super::{Quotas, RequestLimits};

/// How a node is run. Nodes need not agree on it; who depends on a lease asks its operators.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// How long everything at an address is kept after anything was last put there.
    pub lease: Duration,
    /// What each party may have stored.
    pub quotas: Quotas,
    /// What is done for each party; `None`: whatever it asks.
    pub limits: Option<RequestLimits>,
}

/// Four hundred days: who renews once a year has a month to be late.
pub const LEASE: Duration = Duration::from_secs(400 * 24 * 60 * 60);

/// Into how many periods a lease is divided. A renewal within the period of the last one is not written, and nodes compare leases by
/// their periods.
const LEASE_PERIODS: u32 = 64;

impl Policy {
    /// Nothing is limited, for one process, tests and benches; leases last for [`LEASE`].
    #[must_use]
    pub const fn open() -> Self {
        Self { lease: LEASE, quotas: Quotas::unlimited(), limits: None }
    }

    /// What a node on a network starts from.
    #[must_use]
    pub const fn recommended() -> Self {
        Self { lease: LEASE, quotas: Quotas::recommended(), limits: Some(RequestLimits::RECOMMENDED) }
    }

    /// When a lease of `leased` ends.
    #[must_use]
    pub fn ends(&self, leased: Timestamp) -> Timestamp {
        leased.saturating_add(self.lease)
    }

    /// The number of the period in which `leased` lies.
    pub(crate) fn period(&self, leased: Timestamp) -> u64 {
        let millis = u64::try_from((self.lease / LEASE_PERIODS).as_millis()).unwrap_or(u64::MAX);
        leased.as_millis() / millis.max(1)
    }
}
