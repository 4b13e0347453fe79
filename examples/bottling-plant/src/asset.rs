//! The simulated plant as a device: what an OPC UA server would be to a real one.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use dt_ledger::Argument;
use dt_model::{ComponentId, Name, Text, Timestamp};
use dt_sync::{Device, DeviceError, Exchange, Reading};

use crate::Failure;
use crate::plant::{Intervention, Plant, TICK_MS, ids};
use crate::subject::Subject;

/// The plant, what has been done to it, and what its sensors have measured so far.
///
/// Every intervention is written down before it takes effect. So a run that was cut off rebuilds the plant as it was, readings and all.
pub(crate) struct Asset {
    /// The specification's names of things, and the simulation's.
    names: BTreeMap<ComponentId, &'static str>,
    subject: Subject,
    started: Timestamp,
    log: PathBuf,
    state: Mutex<State>,
}

struct State {
    plant: Plant,
    samples: BTreeMap<ComponentId, Vec<Reading>>,
}

impl Asset {
    /// The plant that started at `started`, as it is at `now`.
    pub(crate) fn open(
        folder: &Path,
        subject: Subject,
        seed: u64,
        started: Timestamp,
        now: Timestamp,
    ) -> Result<Arc<Self>, Failure> {
        let mut names = BTreeMap::from([
            (subject.sensor.clone(), ids::LT_201),
            (subject.replacement.clone(), ids::LT_201B),
            (subject.program.clone(), ids::SET_CONVEYOR_SPEED),
            (subject.variable.clone(), ids::SPEED),
        ]);
        names.extend(subject.witness.clone().map(|witness| (witness, ids::QT_501)));
        let log = folder.join("asset.log");
        let state = Mutex::new(State { plant: Plant::new(seed), samples: BTreeMap::new() });
        let asset = Self { names, subject, started, log, state };
        for (at, intervention) in asset.read_log()? {
            asset.run_to(at)?;
            asset.state().apply(&intervention)?;
        }
        asset.advance(now)?;
        Ok(Arc::new(asset))
    }

    /// Lets the plant run on to `now`.
    pub(crate) fn advance(&self, now: Timestamp) -> Result<(), Failure> {
        self.run_to(u64::try_from(now.since(self.started).as_millis())?)
    }

    /// The sensor fails.
    pub(crate) fn break_sensor(&self) -> Result<(), Failure> {
        self.intervene(Intervention::BreakSensor)
    }

    /// The maintainer takes the broken sensor out and puts the new one in, the plant's readers none the wiser until they ask.
    pub(crate) fn replace_sensor(&self) -> Result<(), Failure> {
        let work = [
            Intervention::DisconnectSensor { id: ids::LT_201.into() },
            Intervention::ConnectSensor { id: ids::LT_201B.into() },
        ];
        for intervention in work {
            // A run that goes on may have come half-way before.
            if !self.has(|done| *done == intervention) {
                self.intervene(intervention)?;
            }
        }
        Ok(())
    }

    /// Whether an intervention of this sort has happened.
    pub(crate) fn has(&self, of: impl Fn(&Intervention) -> bool) -> bool {
        self.state().plant.interventions().iter().any(|(_, intervention)| of(intervention))
    }

    /// When the sensor failed.
    pub(crate) fn broke_at(&self) -> Option<Timestamp> {
        let state = self.state();
        let mut log = state.plant.interventions().iter();
        let broke = log.find(|(_, intervention)| *intervention == Intervention::BreakSensor);
        broke.map(|(at, _)| Timestamp::from_millis(self.started.as_millis() + at))
    }

    /// How many bottles have flooded, and how many milliliters went over.
    pub(crate) fn flooded(&self) -> (u64, u64) {
        let state = self.state();
        (state.plant.flooded_bottles(), state.plant.overflow_ml())
    }

    /// How fast the conveyor really runs, in m/min.
    pub(crate) fn conveyor_speed(&self) -> String {
        self.state().plant.conveyor_speed()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs the plant tick by tick, and samples the sensors at each.
    fn run_to(&self, to_ms: u64) -> Result<(), Failure> {
        let mut state = self.state();
        let State { plant, samples } = &mut *state;
        let mut at = plant.now_ms() / TICK_MS * TICK_MS;
        while at + TICK_MS <= to_ms {
            at += TICK_MS;
            plant.advance(at);
            for (component, id) in &self.names {
                if let Some(reading) = self.reading(plant, id)? {
                    samples.entry(component.clone()).or_default().push(reading);
                }
            }
        }
        plant.advance(to_ms);
        Ok(())
    }

    fn reading(&self, plant: &Plant, id: &str) -> Result<Option<Reading>, Failure> {
        let Some(found) = plant.read(id) else { return Ok(None) };
        Ok(Some(Reading {
            time: Timestamp::from_millis(self.started.as_millis() + plant.now_ms()),
            value: Text::new(found.value)?,
            unit: Some(Name::new(found.unit)?),
        }))
    }

    fn intervene(&self, intervention: Intervention) -> Result<(), Failure> {
        let mut state = self.state();
        // Only what the plant will take is written down.
        state.plant.clone().apply(&intervention)?;
        let mut line = serde_json::to_string(&(state.plant.now_ms(), &intervention))?;
        line.push('\n');
        let mut log = OpenOptions::new().create(true).append(true).open(&self.log)?;
        log.write_all(line.as_bytes())?;
        log.sync_all()?;
        state.apply(&intervention)
    }

    fn read_log(&self) -> Result<Vec<(u64, Intervention)>, Failure> {
        let text = match fs::read_to_string(&self.log) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            text => text?,
        };
        // A last line without its end was cut off while it was written, and never took effect.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        if whole.len() + 1 < text.len() {
            fs::write(&self.log, format!("{whole}\n").trim_start())?;
        }
        whole.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
    }
}

impl State {
    fn apply(&mut self, intervention: &Intervention) -> Result<(), Failure> {
        Ok(self.plant.apply(intervention)?)
    }
}

/// The value of a text that may be any length, cut to what a message holds.
fn refused(error: &dyn std::fmt::Display) -> DeviceError {
    DeviceError::Refused(Text::abridged(&error.to_string()))
}

#[async_trait]
impl Device for Asset {
    async fn read(&self, component: &ComponentId) -> Result<Option<Reading>, DeviceError> {
        let unknown = || DeviceError::UnknownComponent(component.clone());
        let id = self.names.get(component).ok_or_else(unknown)?;
        self.reading(&self.state().plant, id).map_err(|error| refused(&error))
    }

    async fn samples(&self, component: &ComponentId, after: Timestamp) -> Result<Vec<Reading>, DeviceError> {
        let state = self.state();
        let unknown = || DeviceError::UnknownComponent(component.clone());
        let samples = state.samples.get(component).ok_or_else(unknown)?;
        let first = samples.partition_point(|reading| reading.time <= after);
        Ok(samples[first..].to_vec())
    }

    async fn call(
        &self,
        program: &ComponentId,
        parameters: &BTreeMap<Name, Argument>,
    ) -> Result<Text<1024>, DeviceError> {
        let unknown = || DeviceError::UnknownProgram(program.clone());
        let id = self.names.get(program).ok_or_else(unknown)?;
        let parameters: Vec<(String, String)> = parameters
            .iter()
            .map(|(name, argument)| (name.to_string(), argument.value.to_string()))
            .collect();
        let borrowed: Vec<(&str, &str)> =
            parameters.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let said = self.state().plant.clone().call(id, &borrowed).map_err(|error| refused(&error))?;
        let call = Intervention::Call { program: (*id).to_owned(), parameters };
        self.intervene(call).map_err(|error| refused(&error))?;
        Ok(Text::abridged(&said))
    }

    async fn exchanges(&self) -> Result<Vec<Exchange>, DeviceError> {
        let is_new = |intervention: &Intervention| matches!(intervention, Intervention::ConnectSensor { id } if id == ids::LT_201B);
        let Subject { sensor, replacement, fragment, .. } = &self.subject;
        let exchange = Exchange { old: sensor.clone(), new: replacement.clone(), fragment: fragment.clone() };
        Ok(if self.has(is_new) { vec![exchange] } else { Vec::new() })
    }
}

#[cfg(test)]
mod tests {
    use dt_sync::testing::{Subject as Tested, device_suite};

    use super::*;

    fn open(folder: &Path, now: u64) -> Arc<Asset> {
        let subject = Subject::of_plant().unwrap();
        let (start, now) = (Timestamp::from_millis(5_000), Timestamp::from_millis(5_000 + now));
        Asset::open(folder, subject, 7, start, now).unwrap()
    }

    #[tokio::test]
    async fn the_plant_is_a_device() {
        let folder = tempfile::tempdir().unwrap();
        let asset = open(folder.path(), 60_000);
        let subject = &asset.subject;
        let argument =
            Argument { value: Text::new("12.5").unwrap(), unit: Some(Name::new("m/min").unwrap()) };
        let tested = Tested {
            sensor: subject.sensor.clone(),
            program: subject.program.clone(),
            accepted: BTreeMap::from([(subject.parameter.clone(), argument)]),
            effect: Some((subject.variable.clone(), subject.parameter.clone())),
        };
        device_suite(&*asset, &tested).await;
    }

    #[tokio::test]
    async fn a_plant_that_was_cut_off_is_rebuilt_with_all_its_readings() {
        let folder = tempfile::tempdir().unwrap();
        let asset = open(folder.path(), 30_000);
        asset.break_sensor().unwrap();
        asset.advance(Timestamp::from_millis(50_000)).unwrap();
        asset.replace_sensor().unwrap();
        asset.advance(Timestamp::from_millis(95_000)).unwrap();
        // A line that was being written when the power failed.
        let mut log = OpenOptions::new().append(true).open(folder.path().join("asset.log")).unwrap();
        log.write_all(b"[99000,{\"Break").unwrap();
        let rebuilt = open(folder.path(), 90_000);
        for component in [&asset.subject.sensor, &asset.subject.replacement] {
            let beginning = Timestamp::from_millis(0);
            let before = asset.samples(component, beginning).await.unwrap();
            assert_eq!(rebuilt.samples(component, beginning).await.unwrap(), before);
        }
        assert_eq!(rebuilt.flooded(), asset.flooded());
        assert_eq!(rebuilt.exchanges().await.unwrap(), asset.exchanges().await.unwrap());
    }
}
