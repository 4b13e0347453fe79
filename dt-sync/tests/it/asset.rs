//! A machine that does what the test tells it, and counts what was done to it.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

use async_trait::async_trait;
use dt_ledger::Argument;
use dt_model::{ComponentId, Name, Text, Timestamp};
use dt_sync::{Device, DeviceError, Exchange, Reading};
use tokio::sync::Notify;

use crate::world::component;

/// The program that the machine has, and the variable in which its parameter shows.
pub(crate) const PROGRAM: &str = "set-force";
pub(crate) const VARIABLE: &str = "set-force.force";

/// What the machine does with the next call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Mood {
    #[default]
    Works,
    Refuses,
    /// It does nothing, and the connection breaks.
    LostBefore,
    /// It does it, and the connection breaks.
    LostAfter,
    /// The connection breaks, and afterwards it shows 7.0 in this unit.
    LostShowing(Option<&'static str>),
    /// It does nothing and never answers: the agent dies meanwhile.
    HangsBefore,
    /// It does it and never answers.
    HangsAfter,
}

#[derive(Default)]
struct Inside {
    samples: BTreeMap<ComponentId, Vec<Reading>>,
    shown: BTreeMap<ComponentId, Reading>,
    /// What is shown after somebody has looked once.
    turning: BTreeMap<ComponentId, Reading>,
    /// What cannot be read, and why.
    broken: BTreeMap<ComponentId, DeviceError>,
    exchanges: Vec<Exchange>,
    actuated: Vec<String>,
    mood: Mood,
}

#[derive(Default)]
pub(crate) struct Asset {
    inside: Mutex<Inside>,
    /// Somebody waits for an answer that never comes.
    pub(crate) hangs: Notify,
}

impl Asset {
    pub(crate) fn new() -> Self {
        let asset = Self::default();
        for sensor in ["temperature", "pressure"] {
            asset.inside().samples.insert(component(sensor), Vec::new());
        }
        asset
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap()
    }

    /// The sensor measures `value` at `time`.
    pub(crate) fn measures(&self, sensor: &str, time: Timestamp, value: &str, unit: Option<&str>) -> Reading {
        let reading = Reading {
            time,
            value: Text::new(value).unwrap(),
            unit: unit.map(|unit| Name::new(unit).unwrap()),
        };
        self.inside().samples.entry(component(sensor)).or_default().push(reading.clone());
        reading
    }

    pub(crate) fn shows(&self, variable: &str, value: &str, unit: Option<&str>) {
        let unit = unit.map(|unit| Name::new(unit).unwrap());
        let reading = Reading { time: Timestamp::default(), value: Text::new(value).unwrap(), unit };
        self.inside().shown.insert(component(variable), reading);
    }

    /// After it was read once more, the variable shows `value`.
    pub(crate) fn turns(&self, variable: &str, value: &str) {
        let reading = Reading { time: Timestamp::default(), value: Text::new(value).unwrap(), unit: None };
        self.inside().turning.insert(component(variable), reading);
    }

    /// From now on, whoever reads the variable gets this error.
    pub(crate) fn breaks(&self, variable: &str, error: DeviceError) {
        self.inside().broken.insert(component(variable), error);
    }

    pub(crate) fn mends(&self, variable: &str) {
        self.inside().broken.remove(&component(variable));
    }

    /// Somebody takes `old` out and puts `new` in.
    pub(crate) fn is_exchanged(&self, old: &str, new: &str, fragment: &str) {
        let exchange = Exchange { old: component(old), new: component(new), fragment: fragment.to_owned() };
        let mut inside = self.inside();
        if inside.samples.remove(&exchange.old).is_some() {
            inside.samples.insert(exchange.new.clone(), Vec::new());
        }
        inside.exchanges.push(exchange);
    }

    pub(crate) fn mood(&self, mood: Mood) {
        self.inside().mood = mood;
    }

    /// The values with which the program ran, in order.
    pub(crate) fn actuated(&self) -> Vec<String> {
        self.inside().actuated.clone()
    }
}

#[async_trait]
impl Device for Asset {
    async fn read(&self, component: &ComponentId) -> Result<Option<Reading>, DeviceError> {
        let mut inside = self.inside();
        if let Some(error) = inside.broken.get(component) {
            return Err(error.clone());
        }
        if let Some(samples) = inside.samples.get(component) {
            return Ok(samples.last().cloned());
        }
        let shown = inside.shown.get(component).cloned();
        if let Some(next) = inside.turning.remove(component) {
            inside.shown.insert(component.clone(), next);
        }
        Ok(shown)
    }

    async fn samples(&self, component: &ComponentId, after: Timestamp) -> Result<Vec<Reading>, DeviceError> {
        let inside = self.inside();
        if let Some(error) = inside.broken.get(component) {
            return Err(error.clone());
        }
        let unknown = || DeviceError::UnknownComponent(component.clone());
        let samples = inside.samples.get(component).ok_or_else(unknown)?;
        Ok(samples.iter().filter(|reading| reading.time > after).cloned().collect())
    }

    async fn call(
        &self,
        program: &ComponentId,
        parameters: &BTreeMap<Name, Argument>,
    ) -> Result<Text<1024>, DeviceError> {
        if program.as_str() != PROGRAM {
            return Err(DeviceError::UnknownProgram(program.clone()));
        }
        let mood = self.inside().mood;
        match mood {
            Mood::Refuses => return Err(DeviceError::Refused(Text::abridged("the guard is open"))),
            Mood::LostBefore => return Err(DeviceError::Lost),
            Mood::LostShowing(unit) => {
                self.shows(VARIABLE, "7.0", unit);
                return Err(DeviceError::Lost);
            }
            Mood::HangsBefore => {
                self.hangs.notify_one();
                return std::future::pending().await;
            }
            Mood::Works | Mood::LostAfter | Mood::HangsAfter => {}
        }
        let force = &parameters["Force"];
        self.shows(VARIABLE, force.value.as_str(), force.unit.as_ref().map(Name::as_str));
        self.inside().actuated.push(force.value.to_string());
        match mood {
            Mood::LostAfter => Err(DeviceError::Lost),
            Mood::HangsAfter => {
                self.hangs.notify_one();
                std::future::pending().await
            }
            _ => Ok(Text::abridged("done")),
        }
    }

    async fn exchanges(&self) -> Result<Vec<Exchange>, DeviceError> {
        Ok(self.inside().exchanges.clone())
    }
}
