//! What one peer uses up: rate, memory, places. Each peer has an account of its own, so that nobody pays for another.

use core::time::Duration;
use std::sync::{Arc, Mutex, PoisonError};

use dt_dht::{MAX_MESSAGE_BYTES, Rate};
use libp2p::PeerId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Instant, sleep};

use crate::Limits;

/// What no honest software sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Offence {
    /// A message beyond the limit of [`MAX_MESSAGE_BYTES`].
    Oversized,
    /// A request in another party's name.
    Impersonation,
    /// Bytes that are no request.
    Malformed,
}

pub(crate) struct Account {
    peer: PeerId,
    rates: Mutex<Rates>,
    requests: Arc<Semaphore>,
    all_requests: Arc<Semaphore>,
    replies: Arc<Semaphore>,
    working: Arc<Semaphore>,
    offences: mpsc::Sender<(PeerId, Offence)>,
}

struct Rates {
    requests: Spacing,
    bytes: Spacing,
}

/// What all accounts share.
#[derive(Clone)]
pub(crate) struct Bank {
    limits: Limits,
    requests: Arc<Semaphore>,
    offences: mpsc::Sender<(PeerId, Offence)>,
}

/// A share of a budget, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Held(#[expect(dead_code, reason = "it is for its drop")] Vec<OwnedSemaphorePermit>);

/// Budgets count in units of so many bytes, so that they fit the semaphores' counters.
const UNIT_BYTES: usize = 1024;

impl Bank {
    /// Offences are told to the receiver. (When it is full, there is more than enough to judge by.)
    pub(crate) fn new(limits: Limits) -> (Self, mpsc::Receiver<(PeerId, Offence)>) {
        let (offences, receiver) = mpsc::channel(256);
        (Self { requests: budget(limits.request_bytes), limits, offences }, receiver)
    }

    pub(crate) fn open(&self, peer: PeerId) -> Account {
        let (limits, now) = (&self.limits, Instant::now());
        Account {
            peer,
            rates: Mutex::new(Rates {
                requests: Spacing::new(limits.requests, now),
                bytes: Spacing::new(limits.bytes, now),
            }),
            requests: budget(limits.request_bytes_per_peer),
            all_requests: self.requests.clone(),
            replies: budget(limits.reply_bytes_per_peer),
            working: Arc::new(Semaphore::new(limits.working_per_peer.max(1))),
            offences: self.offences.clone(),
        }
    }
}

/// A budget that holds one message at least, or nothing would ever pass.
fn budget(bytes: usize) -> Arc<Semaphore> {
    Arc::new(Semaphore::new(bytes.max(MAX_MESSAGE_BYTES + UNIT_BYTES) / UNIT_BYTES))
}

impl Account {
    /// Waits until a request of so many bytes may be read. The deadline of its stream ends the wait.
    pub(crate) async fn request(&self, bytes: usize) -> Option<Held> {
        let wait = {
            let mut rates = self.rates.lock().unwrap_or_else(PoisonError::into_inner);
            let now = Instant::now();
            rates.requests.take(1, now).max(rates.bytes.take(bytes as u64, now))
        };
        if !wait.is_zero() {
            sleep(wait).await;
        }
        let own = take(&self.requests, bytes).await?;
        Some(Held(vec![own, take(&self.all_requests, bytes).await?]))
    }

    /// Waits until a reply of so many bytes may be read.
    pub(crate) async fn reply(&self, bytes: usize) -> Option<Held> {
        Some(Held(vec![take(&self.replies, bytes).await?]))
    }

    /// Waits until a request may be worked on.
    pub(crate) async fn work(&self) -> Option<Held> {
        Some(Held(vec![self.working.clone().acquire_owned().await.ok()?]))
    }

    pub(crate) fn offend(&self, offence: Offence) {
        let _ = self.offences.try_send((self.peer, offence));
    }
}

async fn take(budget: &Arc<Semaphore>, bytes: usize) -> Option<OwnedSemaphorePermit> {
    let units = u32::try_from(bytes / UNIT_BYTES + 1).ok()?;
    budget.clone().acquire_many_owned(units).await.ok()
}

/// A rate as the times at which things may happen (the generic cell rate algorithm, ITU-T I.371).
struct Spacing {
    rate: Rate,
    /// When all that was taken would be paid for.
    due: Instant,
}

impl Spacing {
    fn new(rate: Rate, now: Instant) -> Self {
        Self { rate, due: now }
    }

    /// Takes so much, and says how long to wait for it.
    fn take(&mut self, amount: u64, now: Instant) -> Duration {
        self.due = self.due.max(now) + self.time_for(amount);
        self.due.saturating_duration_since(now).saturating_sub(self.time_for(self.rate.burst.into()))
    }

    fn time_for(&self, amount: u64) -> Duration {
        let nanos = u128::from(amount) * 1_000_000_000 / u128::from(self.rate.per_second.max(1));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_too_fast_waits() {
        let start = Instant::now();
        let mut spacing = Spacing::new(Rate { per_second: 10, burst: 20 }, start);
        for _ in 0..20 {
            assert_eq!(spacing.take(1, start), Duration::ZERO);
        }
        assert_eq!(spacing.take(1, start), Duration::from_millis(100));
        assert_eq!(spacing.take(1, start), Duration::from_millis(200));
        assert_eq!(spacing.take(1, start + Duration::from_secs(1)), Duration::ZERO);
        assert_eq!(spacing.take(40, start + Duration::from_secs(60)), Duration::from_secs(2));
    }
}
