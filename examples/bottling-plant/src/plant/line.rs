//! The conveyor and the stations along it: bottles in a queue, each at its distance from the infeed.
//!
//! ```text
//!   0 m        3.6 m     4.5 m    6.0 m     6.6 m    8.4 m     14.4 m
//!   infeed --- filler -> capper -> camera -> gate -> label --> table -> packer
//! ```

use std::collections::VecDeque;

use super::bowl::{Bowl, Pour};
use super::noise::noise;

/// The odometer counts (mm/min) per tick, so that no speed is rounded: 600 of them are a millimetre.
const PER_MM: u64 = 600;
/// Distance between two bottles: 300 mm.
const PITCH: u64 = 300 * PER_MM;
/// Where the stations stand.
const CAPPER: u64 = 4_500 * PER_MM;
const CAMERA: u64 = 6_000 * PER_MM;
const GATE: u64 = 6_600 * PER_MM;
const LABELLER: u64 = 8_400 * PER_MM;
const TABLE: u64 = 14_400 * PER_MM;
/// The drive's ramp: 0.5 m/min in a tick, so that full speed takes 12 s.
const RAMP_MM_MIN: i64 = 500;
/// What a bottle holds up to its brim; the rest floods.
const BRIM_UL: i64 = 535_000;
/// The camera refuses a bottle that is further than 10 ml from its set volume.
const TOLERANCE_UL: i64 = 10_000;
/// Closing torque scatters by 80 mNm; a valve's flow is within 0.2 % of its rating.
const TORQUE_SCATTER: i64 = 80;
const VALVE_TRIM_PPM: i64 = 2_000;
/// Random streams of the bottles.
const TRIM_STREAM: u64 = 0x200;
const TORQUE_STREAM: u64 = 0x201;
/// The packer takes a crate of six once two dozen bottles wait.
const TABLE_START: i64 = 24;
const CRATE: i64 = 6;
/// Labels on a full reel; at a tenth of it the next one is spliced on.
pub(crate) const REEL: i64 = 20_000;
const REEL_SPLICE: i64 = REEL / 10;

/// How far a bottle has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Filling,
    Filled,
    Capped,
    Inspected,
    Sorted,
    Labelled,
}

/// A bottle on the belt.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Bottle {
    serial: u64,
    entered_at: u64,
    pour: Pour,
    stage: Stage,
    refused: bool,
}

/// What has been counted since the plant's start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counters {
    /// Bottles that came in at the infeed.
    pub(crate) entered: u64,
    /// Bottles whose valve has closed.
    pub(crate) filled: u64,
    /// Bottles that ran over.
    pub(crate) flooded: u64,
    /// Product that ran over, in microlitres.
    pub(crate) overflow_ul: u64,
    /// Bottles with a cap on.
    pub(crate) capped: u64,
    /// Bottles that the camera refused and the gate pushed out.
    pub(crate) rejected: u64,
    /// Good bottles that reached the table.
    pub(crate) finished: u64,
}

/// The conveyor with everything on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    /// Whether the infeed is open and the drive follows the set speed.
    pub(crate) running: bool,
    /// Set speed, in mm/min.
    pub(crate) set_mm_min: i64,
    /// Set volume for bottles that come in, in microlitres.
    pub(crate) set_volume_ul: i64,
    /// Set torque, in mNm.
    pub(crate) set_torque: i64,
    /// Latest closing torque of each head, in mNm.
    pub(crate) head_torque: [i64; 4],
    /// Volume in the last inspected bottle, less its set volume, in microlitres.
    pub(crate) last_deviation_ul: i64,
    /// Bottles that wait on the table.
    pub(crate) on_table: i64,
    /// Labels left on the reel.
    pub(crate) labels: i64,
    /// Totals.
    pub(crate) counters: Counters,
    speed_mm_min: i64,
    odometer: u64,
    bottles: VecDeque<Bottle>,
}

impl Line {
    /// A line that has just been started, empty, at 30 m/min, 500 ml, 1.8 Nm.
    pub(crate) fn new() -> Self {
        Self {
            running: true,
            set_mm_min: 30_000,
            set_volume_ul: 500_000,
            set_torque: 1_800,
            head_torque: [1_800; 4],
            last_deviation_ul: 0,
            on_table: 0,
            labels: REEL,
            counters: Counters::default(),
            speed_mm_min: 0,
            odometer: 0,
            bottles: VecDeque::new(),
        }
    }

    /// Real belt speed, in mm/min.
    pub(crate) fn speed_mm_min(&self) -> i64 {
        self.speed_mm_min
    }

    /// Moves the belt and everything on it by one tick.
    pub(crate) fn tick(&mut self, seed: u64, bowl: &mut Bowl, reported_um: Option<i64>) {
        self.drive(seed);
        self.fill(bowl, reported_um);
        for index in 0..self.bottles.len() {
            self.pass_stations(seed, index);
        }
        self.bottles.retain(|bottle| !(bottle.refused && bottle.stage == Stage::Sorted));
        self.discharge();
    }

    /// Ramps the belt, moves it, and lets bottles in.
    fn drive(&mut self, seed: u64) {
        let wanted = if self.running { self.set_mm_min } else { 0 };
        self.speed_mm_min += (wanted - self.speed_mm_min).clamp(-RAMP_MM_MIN, RAMP_MM_MIN);
        let before = self.odometer / PITCH;
        // The speed lies between 0 and the set speed's limit, so it is never negative.
        self.odometer += self.speed_mm_min.unsigned_abs();
        if self.running && self.odometer / PITCH > before {
            let serial = self.counters.entered;
            let trim_ppm = noise(seed, TRIM_STREAM, serial, VALVE_TRIM_PPM);
            let pour = Pour::new(self.set_volume_ul, trim_ppm);
            let entered_at = self.odometer;
            self.bottles.push_back(Bottle {
                serial,
                entered_at,
                pour,
                stage: Stage::Filling,
                refused: false,
            });
            self.counters.entered += 1;
        }
    }

    /// Runs the valves of all bottles in the filler, and counts what ran over where one closed.
    fn fill(&mut self, bowl: &mut Bowl, reported_um: Option<i64>) {
        for bottle in self.bottles.iter_mut().filter(|bottle| bottle.stage == Stage::Filling) {
            bowl.pour(&mut bottle.pour, reported_um);
            if bottle.pour.open {
                continue;
            }
            bottle.stage = Stage::Filled;
            self.counters.filled += 1;
            let over = bottle.pour.poured_ul - BRIM_UL;
            if over > 0 {
                self.counters.flooded += 1;
                self.counters.overflow_ul += over.unsigned_abs();
            }
        }
    }

    /// Takes one bottle through each station that it has reached.
    fn pass_stations(&mut self, seed: u64, index: usize) {
        let Some(bottle) = self.bottles.get_mut(index) else { return };
        let travelled = self.odometer - bottle.entered_at;
        match bottle.stage {
            Stage::Filled if travelled >= CAPPER => {
                let scatter = noise(seed, TORQUE_STREAM, bottle.serial, TORQUE_SCATTER);
                self.head_torque[(bottle.serial % 4) as usize] = self.set_torque + scatter;
                self.counters.capped += 1;
                bottle.stage = Stage::Capped;
            }
            Stage::Capped if travelled >= CAMERA => {
                let deviation = bottle.pour.poured_ul.min(BRIM_UL) - bottle.pour.target_ul;
                self.last_deviation_ul = deviation;
                bottle.refused = deviation.abs() > TOLERANCE_UL;
                bottle.stage = Stage::Inspected;
            }
            Stage::Inspected if travelled >= GATE => {
                self.counters.rejected += u64::from(bottle.refused);
                bottle.stage = Stage::Sorted;
            }
            Stage::Sorted if travelled >= LABELLER && !bottle.refused => {
                self.labels = if self.labels > REEL_SPLICE { self.labels - 1 } else { REEL };
                bottle.stage = Stage::Labelled;
            }
            _ => {}
        }
    }

    /// Hands bottles at the belt's end to the table, and crates from there to the packer.
    fn discharge(&mut self) {
        while self.bottles.front().is_some_and(|bottle| self.odometer - bottle.entered_at >= TABLE) {
            self.bottles.pop_front();
            self.counters.finished += 1;
            self.on_table += 1;
        }
        if self.on_table >= TABLE_START {
            self.on_table -= CRATE;
        }
    }
}
