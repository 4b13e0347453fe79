//! The clock seam: how long something takes, and waiting.

use core::time::Duration;

use async_trait::async_trait;

/// Measures and waits, in whatever runtime the integrator has: with it, a [`crate::Client`] asks only as many nodes for shards as are
/// needed, and one more when an answer is late. Without it, the client asks all of them at once.
///
/// What an implementer may get wrong: [`Timer::elapsed`] MUST NOT go back (so it is no wall clock). Nothing that is stored or signed
/// depends on either, so a bad timer costs speed and nothing else.
#[async_trait]
pub trait Timer: Send + Sync {
    /// The time since some moment that is the same for the life of this value.
    fn elapsed(&self) -> Duration;

    /// Returns after `time`.
    async fn sleep(&self, time: Duration);
}
