//! How hard a network is on those who use it.

use core::ops::RangeInclusive;

use super::Dice;

/// What happens to messages, clocks and machines. All times are in milliseconds of simulated time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conditions {
    /// How long a message takes.
    pub delay: RangeInclusive<u64>,
    /// How many of a thousand messages take up to `late` instead, so that they arrive after others that were sent later.
    pub late_permille: u64,
    /// The longest that a late message takes.
    pub late: u64,
    /// How many of a thousand messages are lost.
    pub lost_permille: u64,
    /// How many of a thousand requests arrive twice, the second time perhaps much later: somebody recorded them.
    pub duplicated_permille: u64,
    /// How many of a thousand replies somebody on the way replaces by an earlier one of the same node.
    pub replayed_permille: u64,
    /// After how long the transport gives a request up.
    pub timeout: u64,
    /// How far a clock may be off, in either direction. Twice that and the delays MUST be below [`crate::MAX_REQUEST_AGE`].
    pub skew: u64,
    /// The time between two troubles (a crash, a partition, a change of mind of a malicious node); none if there is no range.
    pub trouble: Option<RangeInclusive<u64>>,
    /// How long a crashed node is down, or a partition lasts.
    pub outage: RangeInclusive<u64>,
}

impl Conditions {
    /// Nothing goes wrong by itself.
    #[must_use]
    pub const fn calm() -> Self {
        Self {
            delay: 1..=20,
            late_permille: 0,
            late: 0,
            lost_permille: 0,
            duplicated_permille: 0,
            replayed_permille: 0,
            timeout: 2000,
            skew: 0,
            trouble: None,
            outage: 0..=0,
        }
    }

    /// Any weather, from a breeze to a storm.
    #[must_use]
    pub fn draw(dice: &mut Dice) -> Self {
        let mut rarely = |permille: u64| if dice.permille(500) { dice.within(0..=permille) } else { 0 };
        let (late_permille, lost_permille) = (rarely(200), rarely(150));
        let (duplicated_permille, replayed_permille) = (rarely(200), rarely(100));
        let slowest = *dice.choose(&[5, 50, 500]);
        let trouble = *dice.choose(&[300, 1500, 6000]);
        Self {
            delay: 1..=slowest,
            late_permille,
            late: dice.within(slowest..=4 * slowest + 1000),
            lost_permille,
            duplicated_permille,
            replayed_permille,
            timeout: dice.within(4 * slowest..=4 * slowest + 1000),
            skew: *dice.choose(&[0, 1000, 100_000]),
            trouble: dice.permille(850).then_some(trouble / 4..=trouble),
            outage: 50..=dice.within(100..=5000),
        }
    }
}
