//! Time as data. Nothing in these crates reads a clock: whoever calls says what time it is.

use core::fmt;
use core::time::Duration;
use std::time::SystemTime;

use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};

/// Milliseconds since the Unix epoch, UTC, leap seconds not counted.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Default,
    BorshSerialize,
    BorshDeserialize,
    Serialize,
    Deserialize,
)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The end of time: what has this as its expiry never expires.
    pub const MAX: Self = Self(u64::MAX);

    /// From milliseconds since the Unix epoch.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the Unix epoch.
    #[must_use]
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// This time and `duration` later; [`Timestamp::MAX`] where that overflows.
    #[must_use]
    pub fn saturating_add(self, duration: Duration) -> Self {
        Self(u64::try_from(duration.as_millis()).map_or(u64::MAX, |millis| self.0.saturating_add(millis)))
    }

    /// How much later this is than `earlier`; zero if it is not.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339 with milliseconds; what lies beyond the year 9999 is written as a number of milliseconds.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// 9999-12-31T23:59:59.999Z: RFC 3339 has four digits for the year.
        const LAST: u64 = 253_402_300_799_999;
        if self.0 > LAST {
            return write!(f, "{} ms", self.0);
        }
        let time = SystemTime::UNIX_EPOCH + Duration::from_millis(self.0);
        humantime::format_rfc3339_millis(time).fmt(f)
    }
}
