//! A bottling plant that runs in a computer: the asset behind the twin (paper, section 5).
//!
//! ```text
//!   programs  -> controller -> conveyor, valves, heads
//!                    ^                  |
//!                    |                  v
//!                  LT-201 <- bowl  bottles: filled | flooded | refused | finished
//! ```
//!
//! The plant MUST be a pure function of its seed, the interventions and the time: no clock, no float, no carried random state.
//! So a run that was cut off is rebuilt from what it had written down, intervention by intervention ([`Plant::apply`]).
//!
//! Time is in milliseconds since the plant's start and moves in ticks of 100 ms. An intervention at time t acts between the
//! tick that ended at or before t and the next one.

mod bowl;
pub(crate) mod ids;
mod line;
mod noise;
mod probe;
mod programs;
mod sensors;
#[cfg(test)]
mod tests;
mod utilities;

use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};

use bowl::Bowl;
#[cfg(test)]
pub(crate) use line::Counters;
use line::Line;
use probe::{Mount, Probe};
pub(crate) use programs::CallError;
use programs::Command;
pub(crate) use sensors::Reading;
#[cfg(test)]
pub(crate) use sensors::Sensor;
use utilities::Utilities;

/// Length of a tick, in milliseconds.
pub(crate) const TICK_MS: u64 = 100;
/// The simulated time stands still after 30 days: a bound on the work that a time argument can ask for.
pub(crate) const TIME_MAX_MS: u64 = 30 * 24 * 60 * 60 * 1_000;

/// Something done to the plant from outside.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub(crate) enum Intervention {
    /// The fill-level sensor in place fails.
    BreakSensor,
    /// The fill-level sensor `id` is taken out.
    DisconnectSensor {
        /// Identifier of its element.
        id: String,
    },
    /// The fill-level sensor `id` is put into the empty place.
    ConnectSensor {
        /// Identifier of its element.
        id: String,
    },
    /// A program of the controller is called.
    Call {
        /// Identifier of the program's element.
        program: String,
        /// Names and values.
        parameters: Vec<(String, String)>,
    },
}

/// Why work on the fill-level sensor is impossible. Nothing has changed then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum SensorError {
    /// No device that fits has this identifier.
    #[error("no fill-level sensor has this identifier")]
    Unknown,
    /// The device is not in place.
    #[error("this fill-level sensor is not connected")]
    NotConnected,
    /// A device is in place already.
    #[error("a fill-level sensor is connected already")]
    Occupied,
}

#[cfg(test)]
/// Why a log of interventions is not one that this plant can have written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum ReplayError {
    /// An entry's time lies before the one of its predecessor, or beyond [`TIME_MAX_MS`].
    #[error("intervention {index} is out of order in time")]
    Time {
        /// Place in the log, from 0.
        index: usize,
    },
    /// The plant refused what the log says it took.
    #[error("intervention {index}: {source}")]
    Refused {
        /// Place in the log, from 0.
        index: usize,
        /// The refusal.
        source: Refusal,
    },
}

/// Why the plant did not take an intervention. Nothing has changed then.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum Refusal {
    /// A program refused the call.
    #[error(transparent)]
    Call(#[from] CallError),
    /// Work on the sensor is impossible.
    #[error(transparent)]
    Sensor(#[from] SensorError),
}

/// The plant at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plant {
    seed: u64,
    now_ms: u64,
    tick: u64,
    mount: Mount,
    bowl: Bowl,
    line: Line,
    utilities: Utilities,
    interventions: Vec<(u64, Intervention)>,
}

impl Plant {
    /// A plant that has just been started: line running and empty, 30 m/min, 500 ml, 1.8 Nm.
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            seed,
            now_ms: 0,
            tick: 0,
            mount: Mount::new(),
            bowl: Bowl::new(),
            line: Line::new(),
            utilities: Utilities::new(),
            interventions: Vec::new(),
        }
    }

    #[cfg(test)]
    /// The plant as it was at `to_ms`, from its seed and the interventions before then.
    ///
    /// # Errors
    /// [`ReplayError`] if the log is not one that [`Plant::interventions`] returned for this seed.
    pub(crate) fn replay(seed: u64, log: &[(u64, Intervention)], to_ms: u64) -> Result<Self, ReplayError> {
        let mut plant = Self::new(seed);
        for (index, (at_ms, intervention)) in log.iter().enumerate() {
            if *at_ms < plant.now_ms || *at_ms > TIME_MAX_MS {
                return Err(ReplayError::Time { index });
            }
            plant.advance(*at_ms);
            plant.apply(intervention).map_err(|source| ReplayError::Refused { index, source })?;
        }
        plant.advance(to_ms);
        Ok(plant)
    }

    /// Does at the present time what an intervention says.
    ///
    /// # Errors
    /// [`Refusal`].
    pub(crate) fn apply(&mut self, intervention: &Intervention) -> Result<(), Refusal> {
        match intervention {
            Intervention::BreakSensor => self.break_sensor()?,
            Intervention::DisconnectSensor { id } => self.disconnect_sensor(id)?,
            Intervention::ConnectSensor { id } => self.connect_sensor(id)?,
            Intervention::Call { program, parameters } => {
                let parameters: Vec<_> = parameters.iter().map(|(name, value)| (&**name, &**value)).collect();
                self.call(program, &parameters)?;
            }
        }
        Ok(())
    }

    /// Lets time pass up to `to_ms`. A time before now changes nothing; the work grows with the time that passes.
    pub(crate) fn advance(&mut self, to_ms: u64) {
        self.now_ms = self.now_ms.max(to_ms.min(TIME_MAX_MS));
        while self.tick < self.now_ms / TICK_MS {
            self.step();
        }
    }

    /// One tick: the controller reads the level, then everything moves.
    fn step(&mut self) {
        let reported = self.reported_level_um();
        self.tick += 1;
        // A broken wire trips the line: it stays stopped until somebody starts it.
        self.line.running &= reported.is_some();
        self.line.tick(self.seed, &mut self.bowl, reported);
        let drawn_ul = self.bowl.refill(reported);
        self.utilities.tick(self.tick, self.line.speed_mm_min(), drawn_ul);
    }

    /// Milliseconds since the start.
    pub(crate) fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// What has been done to the plant, with its time, oldest first. Refused calls are not in it.
    pub(crate) fn interventions(&self) -> &[(u64, Intervention)] {
        &self.interventions
    }

    #[cfg(test)]
    /// The instruments that are wired now. After a replacement the list names the new device.
    pub(crate) fn sensors(&self) -> impl Iterator<Item = &'static Sensor> {
        sensors::wired(self)
    }

    /// What the instrument `element_id` shows now; nothing if it is not wired.
    ///
    /// A program's parameter ([`ids::SPEED`], [`ids::VOLUME`], [`ids::TORQUE`]) reads as the set-point that the controller
    /// holds: what was desired and has arrived.
    pub(crate) fn read(&self, element_id: &str) -> Option<Reading> {
        sensors::read(self, element_id)
    }

    /// What the controller is told of the bowl's level, in micrometres.
    fn reported_level_um(&self) -> Option<i64> {
        self.mount.report(self.seed, self.tick, self.bowl.level_um())
    }

    /// Lets the fill-level sensor in place fail: it sticks far below its range, valves stay open too long, bottles flood.
    ///
    /// # Errors
    /// [`SensorError::NotConnected`] if none is in place.
    pub(crate) fn break_sensor(&mut self) -> Result<(), SensorError> {
        self.mount.break_probe()?;
        self.record(Intervention::BreakSensor);
        Ok(())
    }

    /// Takes the fill-level sensor `element_id` out. At the next tick the line trips, for its signal is gone.
    ///
    /// # Errors
    /// [`SensorError::Unknown`] or [`SensorError::NotConnected`].
    pub(crate) fn disconnect_sensor(&mut self, element_id: &str) -> Result<(), SensorError> {
        self.mount.disconnect(Probe::from_id(element_id)?)?;
        self.record(Intervention::DisconnectSensor { id: element_id.to_owned() });
        Ok(())
    }

    /// Puts the fill-level sensor `element_id` in. The bowl is drained to its working level for that.
    ///
    /// # Errors
    /// [`SensorError::Unknown`] or [`SensorError::Occupied`].
    pub(crate) fn connect_sensor(&mut self, element_id: &str) -> Result<(), SensorError> {
        self.mount.connect(Probe::from_id(element_id)?)?;
        self.bowl.settle();
        self.record(Intervention::ConnectSensor { id: element_id.to_owned() });
        Ok(())
    }

    #[cfg(test)]
    /// Takes `old_id` out and puts `new_id` in within one instant, so that the line does not trip.
    ///
    /// # Errors
    /// [`SensorError`]; nothing has changed then.
    pub(crate) fn replace_sensor(&mut self, old_id: &str, new_id: &str) -> Result<(), SensorError> {
        Probe::from_id(new_id)?;
        self.disconnect_sensor(old_id)?;
        self.connect_sensor(new_id)
    }

    /// Calls the controller's program `program_id` and returns what it answers.
    ///
    /// # Errors
    /// [`CallError`], from the call itself or from the state of the line.
    pub(crate) fn call(
        &mut self,
        program_id: &str,
        parameters: &[(&str, &str)],
    ) -> Result<String, CallError> {
        let command = Command::parse(program_id, parameters)?;
        let answer = self.execute(command)?;
        let parameters =
            parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        self.record(Intervention::Call { program: program_id.to_owned(), parameters });
        Ok(answer)
    }

    /// Carries out what the controller has understood.
    fn execute(&mut self, command: Command) -> Result<String, CallError> {
        let line = &mut self.line;
        match command {
            Command::SetConveyorSpeed(value) => {
                let before = std::mem::replace(&mut line.set_mm_min, value);
                Ok(format!("belt speed {} m/min, was {}", decimal(value, 3), decimal(before, 3)))
            }
            Command::SetFillVolume(value) => {
                let before = std::mem::replace(&mut line.set_volume_ul, value);
                Ok(format!("fill volume {} ml, was {}", decimal(value, 3), decimal(before, 3)))
            }
            Command::SetCapTorque(value) => {
                let before = std::mem::replace(&mut line.set_torque, value);
                Ok(format!("closing torque {} Nm, was {}", decimal(value, 3), decimal(before, 3)))
            }
            Command::StartLine if self.utilities.cleaning().is_some() => Err(CallError::Cleaning),
            Command::StartLine if self.mount.connected().is_none() => Err(CallError::NoLevelSignal),
            Command::StartLine => {
                line.running = true;
                Ok(format!("line started at {} m/min", decimal(line.set_mm_min, 3)))
            }
            Command::StopLine => {
                line.running = false;
                Ok("line stopped".to_owned())
            }
            Command::StartCleaning(_) if line.running => Err(CallError::LineRunning),
            Command::StartCleaning(_) if self.utilities.cleaning().is_some() => Err(CallError::Cleaning),
            Command::StartCleaning(programme) => {
                let minutes = programme.minutes();
                self.utilities.start_cleaning(programme, self.tick + minutes * 60_000 / TICK_MS);
                Ok(format!("cleaning {programme:?} started, {minutes} min"))
            }
        }
    }

    /// Writes an intervention down at the present time.
    fn record(&mut self, intervention: Intervention) {
        self.interventions.push((self.now_ms, intervention));
    }

    #[cfg(test)]
    /// Whether the line has been started and not stopped or tripped since.
    pub(crate) fn is_running(&self) -> bool {
        self.line.running
    }

    #[cfg(test)]
    /// Whether a cleaning programme runs.
    pub(crate) fn is_cleaning(&self) -> bool {
        self.utilities.cleaning().is_some()
    }

    /// The belt's real speed, in m/min: it follows the set speed along the drive's ramp.
    pub(crate) fn conveyor_speed(&self) -> String {
        decimal(self.line.speed_mm_min(), 3)
    }

    #[cfg(test)]
    /// What has been counted since the start.
    pub(crate) fn counters(&self) -> Counters {
        self.line.counters
    }

    /// Bottles that ran over.
    pub(crate) fn flooded_bottles(&self) -> u64 {
        self.line.counters.flooded
    }

    /// Product that ran over, in whole millilitres.
    pub(crate) fn overflow_ml(&self) -> u64 {
        self.line.counters.overflow_ul / 1_000
    }
}

/// The element that replaces LT-201 in the model: the spare's identity and serial number, with the link to the same channel.
///
/// It stands in no namespace of its own: inserted into `plant.aml`, it takes the document's.
pub(crate) fn replacement_fragment() -> String {
    include_str!("lt_201_replacement.aml").trim_end().to_owned()
}

/// Thousandths as exact decimal text with up to three places; further digits are cut off.
fn decimal(thousandths: i64, places: u32) -> String {
    let scale = 10_i64.pow(places);
    let cut = thousandths / (1_000 / scale);
    let sign = if cut < 0 { "-" } else { "" };
    let (whole, rest) =
        (cut.unsigned_abs() / scale.unsigned_abs(), cut.unsigned_abs() % scale.unsigned_abs());
    match places {
        0 => format!("{sign}{whole}"),
        _ => format!("{sign}{whole}.{rest:0width$}", width = places as usize),
    }
}
