//! The bottling plant as far as the story needs it: its specification, and which of its elements play a part.

use std::collections::BTreeMap;

use dt_model::{ComponentId, Name};

use crate::failure::Failure;
use crate::settings::{DeviceSettings, ProgramSettings, SensorSettings};

/// The specification.
pub(super) const AML: &[u8] = include_bytes!("../../../bottling-plant/plant.aml");
/// The owner's name for the plant.
pub(super) const DEVICE_ID: &str = "bottling-plant-7";
/// The fill-level sensor that fails (LT-201): it measures 180 to 320 mm.
pub(super) const SENSOR: &str = "0e50945a-81e4-43e3-a87a-fc824a04f67b";
/// What it shows when it has failed, in mm.
pub(super) const BROKEN_SHOWS: i64 = 12;
/// The sensor in its place, and what it says of itself.
pub(super) const REPLACEMENT: &str = "ca530d31-a27a-4861-b880-97d9a80bad25";
pub(super) const FRAGMENT: &str = include_str!("../../../bottling-plant/src/plant/lt_201_replacement.aml");
/// When the replacement was built in.
pub(super) const INSTALLED: &str = "ca530d31-a27a-4861-b880-97d9a80bad25/Attribute[Installed]";
/// The program that sets the conveyor's speed: at most 60 m/min.
pub(super) const PROGRAM: &str = "PRG-SetConveyorSpeed";
pub(super) const PARAMETER: &str = "Speed";
pub(super) const UNIT: &str = "m/min";
const VARIABLE: &str = "PRG-SetConveyorSpeed.Speed";

/// The simulated plant.
pub(super) fn device() -> Result<DeviceSettings, Failure> {
    let id = |text: &str| ComponentId::new(text).map_err(Failure::bad_input);
    let name = |text: &str| Name::new(text).map_err(Failure::bad_input);
    let sensor = SensorSettings { id: id(SENSOR)?, middle: 250, spread: 20, unit: Some(name("mm")?) };
    let variables = BTreeMap::from([(name(PARAMETER)?, id(VARIABLE)?)]);
    let program = ProgramSettings { id: id(PROGRAM)?, variables };
    Ok(DeviceSettings {
        id: name(DEVICE_ID)?,
        pull_ms: 500,
        sample_ms: 250,
        sensors: vec![sensor],
        programs: vec![program],
    })
}
