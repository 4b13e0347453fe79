//! A simulated device: sensors that measure around a middle until they break, programs that set variables. What is done to it is
//! remembered in its folder.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use dt_ledger::Argument;
use dt_model::{ComponentId, Digest, Domain, Name, Text, Timestamp, file};
use dt_sync::{Device, DeviceError, Exchange, Reading};
use serde::{Deserialize, Serialize};

use crate::api::Intervention;
use crate::clock;
use crate::failure::{Failure, at};
use crate::settings::{DeviceSettings, ProgramSettings, SensorSettings};

/// The device.
pub(super) struct Simulation {
    settings: DeviceSettings,
    file: PathBuf,
    memory: Mutex<Memory>,
}

/// What has become of it since it was new.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Memory {
    /// Sensors that are broken: since when, and what they show.
    broken: BTreeMap<ComponentId, (Timestamp, i64)>,
    /// Sensors that were put in the place of others, and when.
    exchanges: Vec<(Timestamp, Replacement)>,
    /// What the programs have set, and when.
    variables: BTreeMap<ComponentId, Reading>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Replacement {
    old: ComponentId,
    new: ComponentId,
    fragment: String,
}

/// How many samples a sensor's buffer holds.
const BUFFER: u64 = 600;
const WOBBLE: Domain = Domain::new("dt/example/twin-node/wobble/v1");

impl Simulation {
    /// The device that lies in `folder`.
    pub(super) fn open(folder: &Path, settings: DeviceSettings) -> Result<Self, Failure> {
        std::fs::create_dir_all(folder).map_err(|error| at(folder, error))?;
        let file = folder.join("device.json");
        let memory = match std::fs::read(&file) {
            Ok(text) => serde_json::from_slice(&text).map_err(|error| at(&file, error))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Memory::default(),
            Err(error) => return Err(at(&file, error)),
        };
        Ok(Self { settings, file, memory: Mutex::new(memory) })
    }

    /// How it is set up.
    pub(super) const fn settings(&self) -> &DeviceSettings {
        &self.settings
    }

    /// The sensors that are built in now.
    pub(super) fn sensors(&self) -> Vec<ComponentId> {
        let memory = self.memory();
        let built_in = self.settings.sensors.iter().map(|sensor| memory.successor(&sensor.id).clone());
        built_in.collect()
    }

    /// Somebody does something to it.
    pub(super) fn intervene(&self, intervention: Intervention) -> Result<(), Failure> {
        let (mut memory, now) = (self.memory(), clock::now());
        let unknown = |id: &ComponentId| Failure::not_found(format_args!("the device has no sensor {id}"));
        let mut next = memory.clone();
        match intervention {
            Intervention::Break { sensor, shows } => {
                self.sensor(&memory, &sensor).ok_or_else(|| unknown(&sensor))?;
                next.broken.insert(sensor, (now, shows));
            }
            Intervention::Exchange { old, new, fragment } => {
                self.sensor(&memory, &old).ok_or_else(|| unknown(&old))?;
                if self.sensor(&memory, &new).is_some() || old == new {
                    return Err(Failure::bad_input(format_args!("{new} is built in already")));
                }
                next.exchanges.push((now, Replacement { old, new, fragment }));
            }
        }
        self.replace(&mut memory, next)
    }

    /// Remembers durably before anything takes effect.
    fn replace(&self, memory: &mut Memory, next: Memory) -> Result<(), Failure> {
        let text = serde_json::to_vec_pretty(&next).map_err(|error| Failure::internal(&error))?;
        file::write_private(&self.file, &text).map_err(|error| at(&self.file, error))?;
        *memory = next;
        Ok(())
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The sensor of that name that is built in now, as it was set up.
    fn sensor(&self, memory: &Memory, id: &ComponentId) -> Option<&SensorSettings> {
        self.settings.sensors.iter().find(|sensor| memory.successor(&sensor.id) == id)
    }

    fn program(&self, id: &ComponentId) -> Option<&ProgramSettings> {
        self.settings.programs.iter().find(|program| program.id == *id)
    }

    /// What the sensor measures at a moment: the same whenever it is asked.
    fn measured(
        &self,
        memory: &Memory,
        id: &ComponentId,
        sensor: &SensorSettings,
        time: Timestamp,
    ) -> Reading {
        let value = match memory.broken.get(id) {
            Some((since, shows)) if *since <= time => *shows,
            _ => sensor.middle.saturating_add(wobble(id, time, sensor.spread)),
        };
        Reading { time, value: Text::abridged(&value.to_string()), unit: sensor.unit.clone() }
    }
}

impl Memory {
    /// The sensor that is now in the place of `id`.
    fn successor<'a>(&'a self, id: &'a ComponentId) -> &'a ComponentId {
        self.exchanges.iter().fold(id, |id, (_, of)| if of.old == *id { &of.new } else { id })
    }

    /// Since when `id` is built in, if it was not from the beginning.
    fn since(&self, id: &ComponentId) -> Timestamp {
        let built_in = self.exchanges.iter().find(|(_, of)| of.new == *id);
        built_in.map_or(Timestamp::default(), |(since, _)| *since)
    }
}

/// A number between `-spread` and `spread` that follows from sensor and time.
fn wobble(id: &ComponentId, time: Timestamp, spread: u32) -> i64 {
    let digest: Digest = WOBBLE.blake3_of(&(id, time));
    let drawn = digest.as_bytes().first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes));
    i64::from(drawn % (spread.saturating_mul(2).saturating_add(1))) - i64::from(spread)
}

#[async_trait]
impl Device for Simulation {
    async fn read(&self, component: &ComponentId) -> Result<Option<Reading>, DeviceError> {
        let memory = self.memory();
        if let Some(sensor) = self.sensor(&memory, component) {
            return Ok(Some(self.measured(&memory, component, sensor, clock::now())));
        }
        if let Some(reading) = memory.variables.get(component) {
            return Ok(Some(reading.clone()));
        }
        let is_variable = |program: &ProgramSettings| program.variables.values().any(|id| id == component);
        let exists = self.settings.programs.iter().any(is_variable);
        if exists { Ok(None) } else { Err(DeviceError::UnknownComponent(component.clone())) }
    }

    async fn samples(&self, component: &ComponentId, after: Timestamp) -> Result<Vec<Reading>, DeviceError> {
        let memory = self.memory();
        let sensor = self.sensor(&memory, component);
        let sensor = sensor.ok_or_else(|| DeviceError::UnknownComponent(component.clone()))?;
        let (now, period) = (clock::now().as_millis(), self.settings.sample_ms);
        let oldest = now.saturating_sub(period.saturating_mul(BUFFER));
        let from = after.max(memory.since(component)).as_millis().max(oldest);
        let times = (from / period + 1..=now / period).map(|tick| Timestamp::from_millis(tick * period));
        Ok(times.map(|time| self.measured(&memory, component, sensor, time)).collect())
    }

    async fn call(
        &self,
        program: &ComponentId,
        parameters: &BTreeMap<Name, Argument>,
    ) -> Result<Text<1024>, DeviceError> {
        let known = self.program(program).ok_or_else(|| DeviceError::UnknownProgram(program.clone()))?;
        let (mut memory, mut said) = (self.memory(), Vec::new());
        let (mut next, time) = (memory.clone(), clock::now());
        for (name, Argument { value, unit }) in parameters {
            let variable = known.variables.get(name);
            let refused = || DeviceError::Refused(Text::abridged(&format!("no parameter {name}")));
            let reading = Reading { time, value: value.clone(), unit: unit.clone() };
            next.variables.insert(variable.ok_or_else(refused)?.clone(), reading);
            said.push(format!("{name} is {value}"));
        }
        let failed = |error: Failure| DeviceError::Refused(Text::abridged(&error.message));
        self.replace(&mut memory, next).map_err(failed)?;
        Ok(Text::abridged(&said.join(", ")))
    }

    async fn exchanges(&self) -> Result<Vec<Exchange>, DeviceError> {
        let memory = self.memory();
        let exchanges = memory.exchanges.iter().map(|(_, of)| Exchange {
            old: of.old.clone(),
            new: of.new.clone(),
            fragment: of.fragment.clone(),
        });
        Ok(exchanges.collect())
    }
}

/// How long the agent waits between two looks.
pub(super) const fn pull_period(settings: &DeviceSettings) -> Duration {
    Duration::from_millis(settings.pull_ms)
}
