//! The fill-level sensor's mounting place: which device sits in the product bowl, and whether it is sound.

use super::ids::{LT_201, LT_201B};
use super::noise::{draw, drift, noise};
use super::{SensorError, bowl::LEVEL_MAX_UM};

/// Random streams of the probes: one per device for its readings, one for the value at which it sticks.
const READING_STREAM: u64 = 0x100;
const STUCK_STREAM: u64 = 0x180;
/// A healthy probe is within 0.4 mm of noise and 1.5 mm of drift.
const NOISE_UM: i64 = 400;
const DRIFT_UM: i64 = 1_500;
/// A broken probe sticks at 35 to 65 mm: far below the specified 180 mm, so that valves timed by it stay open too long.
const STUCK_MIN_UM: u64 = 35_000;
const STUCK_SPAN_UM: u64 = 30_001;

/// A device that fits the place: the one delivered with the plant, or its spare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Probe {
    /// [`LT_201`].
    Original,
    /// [`LT_201B`].
    Spare,
}

impl Probe {
    /// The device with this identifier.
    ///
    /// # Errors
    /// [`SensorError::Unknown`] if no fill-level sensor has it.
    pub(crate) fn from_id(id: &str) -> Result<Self, SensorError> {
        match id {
            LT_201 => Ok(Self::Original),
            LT_201B => Ok(Self::Spare),
            _ => Err(SensorError::Unknown),
        }
    }
}

/// The place of LT-201.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mount {
    connected: Option<Probe>,
    /// One flag per device: a broken probe stays broken when it is plugged in again.
    broken: [bool; 2],
}

impl Mount {
    /// As delivered: the original device, sound.
    pub(crate) fn new() -> Self {
        Self { connected: Some(Probe::Original), broken: [false; 2] }
    }

    /// The device in place, if there is one.
    pub(crate) fn connected(&self) -> Option<Probe> {
        self.connected
    }

    /// Breaks the device in place.
    ///
    /// # Errors
    /// [`SensorError::NotConnected`] if the place is empty.
    pub(crate) fn break_probe(&mut self) -> Result<(), SensorError> {
        let probe = self.connected.ok_or(SensorError::NotConnected)?;
        self.broken[probe as usize] = true;
        Ok(())
    }

    /// Takes `probe` out.
    ///
    /// # Errors
    /// [`SensorError::NotConnected`] if it is not in place.
    pub(crate) fn disconnect(&mut self, probe: Probe) -> Result<(), SensorError> {
        if self.connected != Some(probe) {
            return Err(SensorError::NotConnected);
        }
        self.connected = None;
        Ok(())
    }

    /// Puts `probe` into the empty place.
    ///
    /// # Errors
    /// [`SensorError::Occupied`] if a device is in place.
    pub(crate) fn connect(&mut self, probe: Probe) -> Result<(), SensorError> {
        if self.connected.is_some() {
            return Err(SensorError::Occupied);
        }
        self.connected = Some(probe);
        Ok(())
    }

    /// What the controller is told of the bowl's level, in micrometres; nothing without a device (broken wire).
    pub(crate) fn report(&self, seed: u64, tick: u64, level_um: i64) -> Option<i64> {
        let probe = self.connected?;
        let device = probe as u64;
        if self.broken[probe as usize] {
            // The remainder is below STUCK_SPAN_UM, so the cast keeps it.
            return Some((STUCK_MIN_UM + draw(seed, STUCK_STREAM + device, 0) % STUCK_SPAN_UM) as i64);
        }
        let stream = READING_STREAM + device;
        let value = level_um + noise(seed, stream, tick, NOISE_UM) + drift(seed, stream, tick, DRIFT_UM);
        Some(value.clamp(0, LEVEL_MAX_UM))
    }
}
