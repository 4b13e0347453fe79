//! Token buckets: how much of something may be used in a time. Integers only, and the time is an argument.

use core::time::Duration;

use dt_model::Timestamp;

/// So much each second, and so much at once after a rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// What comes back each second.
    pub per_second: u32,
    /// What may be used at once. Something larger than this is let through when the bucket is full, and paid off afterwards.
    pub burst: u32,
}

/// One bucket, full at first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TokenBucket {
    rate: Rate,
    /// Thousandths of a token: a token a second is one of them each millisecond. Below zero while something large is paid off.
    level: i64,
    as_of: Timestamp,
}

const THOUSANDTHS: i64 = 1000;

impl TokenBucket {
    pub(crate) fn full(rate: Rate, now: Timestamp) -> Self {
        Self { rate, level: i64::from(rate.burst) * THOUSANDTHS, as_of: now }
    }

    /// Takes `tokens`, if they are there.
    ///
    /// # Errors
    /// In how much time they will be; nothing is taken.
    pub(crate) fn take(&mut self, tokens: u64, now: Timestamp) -> Result<(), Duration> {
        self.look(tokens, now)?;
        self.spend(tokens);
        Ok(())
    }

    /// Whether `tokens` could be taken.
    ///
    /// # Errors
    /// In how much time they will be there.
    pub(crate) fn look(&mut self, tokens: u64, now: Timestamp) -> Result<(), Duration> {
        self.refill(now);
        let needed = i64::from(u32::try_from(tokens).unwrap_or(u32::MAX).min(self.rate.burst)) * THOUSANDTHS;
        let missing = u64::try_from(needed.saturating_sub(self.level)).unwrap_or(0);
        match missing {
            0 => Ok(()),
            _ if self.rate.per_second == 0 => Err(Duration::MAX),
            _ => Err(Duration::from_millis(missing.div_ceil(u64::from(self.rate.per_second)))),
        }
    }

    /// Takes `tokens` whether they are there or not.
    pub(crate) fn spend(&mut self, tokens: u64) {
        let tokens = i64::try_from(tokens).unwrap_or(i64::MAX).saturating_mul(THOUSANDTHS);
        self.level = self.level.saturating_sub(tokens);
    }

    /// A clock that goes back refills nothing, and takes nothing away.
    fn refill(&mut self, now: Timestamp) {
        let millis = i64::try_from(now.since(self.as_of).as_millis()).unwrap_or(i64::MAX);
        let gained = millis.saturating_mul(i64::from(self.rate.per_second));
        let most = i64::from(self.rate.burst) * THOUSANDTHS;
        self.level = self.level.saturating_add(gained).min(most);
        self.as_of = self.as_of.max(now);
    }
}
