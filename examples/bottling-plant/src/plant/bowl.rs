//! The filler's product bowl: its level, its inlet, and what a filling valve lets out.
//!
//! The filler is a gravity filler. A valve's flow grows with the square root of the level above it (Torricelli), so the
//! controller integrates the flow it expects *from the reported level* and closes the valve at the set volume. A level that is
//! reported too low therefore does two kinds of harm at once: valves stay open too long, and the inlet never closes.

/// Cross-section of 0.4 m²: one micrometre of level is 400 microlitres.
const UL_PER_UM: i64 = 400;
/// The level that flows are rated at, and at which the plant starts.
pub(crate) const LEVEL_NOMINAL_UM: i64 = 250_000;
/// Height of the overflow pipe, which leads back to the supply tank.
pub(crate) const LEVEL_MAX_UM: i64 = 400_000;
/// The inlet opens below and closes above: two-point control.
const INLET_OPENS_UM: i64 = 240_000;
const INLET_CLOSES_UM: i64 = 260_000;
/// Flow of the open inlet, 129.6 l/min, and how fast its valve moves (open in 0.4 s).
const INLET_UL_PER_TICK: i64 = 216_000;
const INLET_RAMP_UL: i64 = 54_000;
/// Flow of one open filling valve at the nominal level: 210 ml/s.
const VALVE_UL_PER_MS: i64 = 210;
/// Length of the fill sector in time at full speed: the cam closes a valve after it, whatever the controller believes.
const VALVE_MAX_MS: i64 = 3_500;
/// Scale of the square-root ratio.
const RATIO: i64 = 10_000;
/// Parts in a valve's trim (parts per million).
const PPM: i64 = 1_000_000;
/// A tick in milliseconds.
const TICK_MS: i64 = super::TICK_MS as i64;

/// The bowl and its inlet valve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bowl {
    volume_ul: i64,
    inlet_open: bool,
    inlet_ul_per_tick: i64,
}

/// One bottle under a valve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pour {
    /// Set volume, in microlitres.
    pub(crate) target_ul: i64,
    /// What really came out so far.
    pub(crate) poured_ul: i64,
    /// What the controller believes came out so far.
    estimated_ul: i64,
    open_ms: i64,
    /// How far this valve's flow is off its rating, in parts per million.
    trim_ppm: i64,
    /// True until the valve closes.
    pub(crate) open: bool,
}

impl Pour {
    /// A bottle that has just come under a valve.
    pub(crate) fn new(target_ul: i64, trim_ppm: i64) -> Self {
        Self { target_ul, poured_ul: 0, estimated_ul: 0, open_ms: 0, trim_ppm, open: true }
    }
}

impl Bowl {
    /// A bowl at the nominal level, inlet closed.
    pub(crate) fn new() -> Self {
        Self { volume_ul: LEVEL_NOMINAL_UM * UL_PER_UM, inlet_open: false, inlet_ul_per_tick: 0 }
    }

    /// True level, in micrometres.
    pub(crate) fn level_um(&self) -> i64 {
        self.volume_ul / UL_PER_UM
    }

    /// Flow through the inlet, in microlitres per tick.
    pub(crate) fn inlet_ul_per_tick(&self) -> i64 {
        self.inlet_ul_per_tick
    }

    /// Brings the level to nominal: who fits a probe has to open the bowl, and drains it to the working level first.
    pub(crate) fn settle(&mut self) {
        self.volume_ul = LEVEL_NOMINAL_UM * UL_PER_UM;
    }

    /// Moves the inlet for one tick and returns the microlitres that left the supply for good.
    ///
    /// Without a reported level the inlet closes: the safe side.
    pub(crate) fn refill(&mut self, reported_um: Option<i64>) -> i64 {
        self.inlet_open = match reported_um {
            Some(level) if level < INLET_OPENS_UM => true,
            Some(level) if level > INLET_CLOSES_UM => false,
            Some(_) => self.inlet_open,
            None => false,
        };
        let wanted = if self.inlet_open { INLET_UL_PER_TICK } else { 0 };
        let step = (wanted - self.inlet_ul_per_tick).clamp(-INLET_RAMP_UL, INLET_RAMP_UL);
        self.inlet_ul_per_tick += step;
        let before = self.volume_ul;
        self.volume_ul = (before + self.inlet_ul_per_tick).min(LEVEL_MAX_UM * UL_PER_UM);
        self.volume_ul - before
    }

    /// Lets one valve run for a tick. Without a reported level it closes at once.
    pub(crate) fn pour(&mut self, pour: &mut Pour, reported_um: Option<i64>) {
        let Some(reported_um) = reported_um else {
            pour.open = false;
            return;
        };
        let expected_per_tick = valve_ul(reported_um, TICK_MS);
        let missing = pour.target_ul - pour.estimated_ul;
        let needed_ms = if missing < expected_per_tick {
            (missing * TICK_MS + expected_per_tick - 1) / expected_per_tick
        } else {
            TICK_MS
        };
        let ms = needed_ms.min(VALVE_MAX_MS - pour.open_ms);
        let real = valve_ul(self.level_um(), ms);
        let real = (real + real * pour.trim_ppm / PPM).clamp(0, self.volume_ul);
        self.volume_ul -= real;
        pour.poured_ul += real;
        pour.estimated_ul += valve_ul(reported_um, ms);
        pour.open_ms += ms;
        pour.open = pour.estimated_ul < pour.target_ul && pour.open_ms < VALVE_MAX_MS;
    }
}

/// What a valve of exact rating lets out in `ms` milliseconds below `level_um` of product.
fn valve_ul(level_um: i64, ms: i64) -> i64 {
    let ratio = (level_um.max(0) * RATIO * RATIO / LEVEL_NOMINAL_UM).isqrt();
    VALVE_UL_PER_MS * ms * ratio / RATIO
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_true_level_fills_to_the_set_volume_and_a_low_report_overfills() {
        let fill = |reported_um| {
            let (mut bowl, mut pour) = (Bowl::new(), Pour::new(500_000, 0));
            while pour.open {
                bowl.pour(&mut pour, Some(reported_um));
            }
            pour.poured_ul
        };
        let (true_report, low_report) = (fill(LEVEL_NOMINAL_UM), fill(60_000));
        assert!((497_000..=501_000).contains(&true_report), "{true_report}");
        assert!(low_report > 700_000, "{low_report}");
    }

    #[test]
    fn without_a_level_everything_closes() {
        let (mut bowl, mut pour) = (Bowl::new(), Pour::new(500_000, 0));
        bowl.pour(&mut pour, None);
        assert!(!pour.open);
        bowl.refill(Some(0));
        assert!(bowl.inlet_ul_per_tick() > 0);
        bowl.refill(None);
        assert_eq!(bowl.inlet_ul_per_tick(), 0);
    }

    #[test]
    fn the_bowl_never_rises_above_its_overflow() {
        let mut bowl = Bowl::new();
        let gained: i64 = (0..2_000).map(|_| bowl.refill(Some(50_000))).sum();
        assert_eq!(bowl.level_um(), LEVEL_MAX_UM);
        assert_eq!(gained, (LEVEL_MAX_UM - LEVEL_NOMINAL_UM) * UL_PER_UM);
    }
}
