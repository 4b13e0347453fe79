//! The instruments: one row per sensor of `plant.aml`, and how a true value becomes the reading that leaves the plant.

use super::noise::{drift, noise};
use super::probe::Probe;
use super::utilities::TANK_UL;
use super::{Plant, ids, line};

/// Bottles that the accumulation table holds.
const TABLE_PLACES: i64 = 60;
/// Random streams of the instruments start here, in the order of [`SENSORS`].
const STREAM: u64 = 0x1000;

/// A measured value with its unit, as it leaves the instrument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reading {
    /// An exact decimal with the instrument's number of places, such as `251.375`.
    pub(crate) value: String,
    /// The unit, as the model states it.
    pub(crate) unit: &'static str,
}

/// An instrument.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Sensor {
    /// Identifier of its InternalElement.
    pub(crate) id: &'static str,
    /// Its tag, the element's name.
    pub(crate) tag: &'static str,
    /// Unit of its readings, as the model states it.
    pub(crate) unit: &'static str,
    /// Decimal places of its readings.
    places: u32,
    /// Greatest noise and greatest drift, in thousandths of the unit.
    errors: (i64, i64),
    /// What the instrument can show, in thousandths of the unit.
    span: (i64, i64),
    measures: Variable,
}

/// What an instrument looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Variable {
    BowlLevel(Probe),
    BeltSpeed,
    MotorCurrent,
    MotorTemperature,
    Entered,
    Finished,
    Rejected,
    RinsePressure,
    TankLevel,
    HeadPressure,
    InletFlow,
    ProductTemperature,
    Torque(usize),
    LabelReserve,
    FillDeviation,
    TableOccupancy,
    AirPressure,
    CleaningTemperature,
    CleaningConductivity,
}

/// Writes one row of the table.
const fn sensor(
    (id, tag, unit): (&'static str, &'static str, &'static str),
    places: u32,
    errors: (i64, i64),
    span: (i64, i64),
    measures: Variable,
) -> Sensor {
    Sensor { id, tag, unit, places, errors, span, measures }
}

/// A counter shows what it counted.
const EXACT: (i64, i64) = (0, 0);
/// The span of an instrument that counts.
const COUNT: (i64, i64) = (0, i64::MAX);

/// Every instrument that the plant can have; [`ids::LT_201`] and [`ids::LT_201B`] share one place.
static SENSORS: [Sensor; 23] = {
    use Variable as V;
    [
        sensor((ids::LT_201, "LT-201", "mm"), 3, EXACT, (0, 400_000), V::BowlLevel(Probe::Original)),
        sensor((ids::LT_201B, "LT-201", "mm"), 3, EXACT, (0, 400_000), V::BowlLevel(Probe::Spare)),
        sensor((ids::ST_101, "ST-101", "m/min"), 2, (40, 20), (0, 80_000), V::BeltSpeed),
        sensor((ids::IT_101, "IT-101", "A"), 2, (60, 30), (0, 12_000), V::MotorCurrent),
        sensor((ids::TT_101, "TT-101", "°C"), 1, (100, 200), (-50_000, 200_000), V::MotorTemperature),
        sensor((ids::BE_101, "BE-101", "pcs"), 0, EXACT, COUNT, V::Entered),
        sensor((ids::BE_102, "BE-102", "pcs"), 0, EXACT, COUNT, V::Finished),
        sensor((ids::PT_150, "PT-150", "bar"), 2, (50, 80), (0, 6_000), V::RinsePressure),
        sensor((ids::LT_202, "LT-202", "%"), 2, (60, 100), (0, 100_000), V::TankLevel),
        sensor((ids::PT_201, "PT-201", "bar"), 3, (6, 12), (0, 1_000), V::HeadPressure),
        sensor((ids::FT_201, "FT-201", "l/min"), 2, (250, 300), (0, 200_000), V::InletFlow),
        sensor((ids::TT_201, "TT-201", "°C"), 1, (80, 900), (-50_000, 200_000), V::ProductTemperature),
        sensor((ids::WT_311, "WT-311", "Nm"), 3, (6, 10), (0, 5_000), V::Torque(0)),
        sensor((ids::WT_312, "WT-312", "Nm"), 3, (6, 10), (0, 5_000), V::Torque(1)),
        sensor((ids::WT_313, "WT-313", "Nm"), 3, (6, 10), (0, 5_000), V::Torque(2)),
        sensor((ids::WT_314, "WT-314", "Nm"), 3, (6, 10), (0, 5_000), V::Torque(3)),
        sensor((ids::QT_401, "QT-401", "%"), 1, (100, 0), (0, 100_000), V::LabelReserve),
        sensor((ids::QT_501, "QT-501", "ml"), 2, (150, 100), (-600_000, 600_000), V::FillDeviation),
        sensor((ids::BE_511, "BE-511", "pcs"), 0, EXACT, COUNT, V::Rejected),
        sensor((ids::LT_601, "LT-601", "%"), 1, (300, 0), (0, 100_000), V::TableOccupancy),
        sensor((ids::PT_701, "PT-701", "bar"), 2, (30, 250), (0, 10_000), V::AirPressure),
        sensor((ids::TT_721, "TT-721", "°C"), 1, (100, 300), (-50_000, 200_000), V::CleaningTemperature),
        sensor((ids::QT_721, "QT-721", "mS/cm"), 2, (20, 30), (0, 100_000), V::CleaningConductivity),
    ]
};

/// The instruments that are wired now, in a fixed order.
pub(crate) fn wired(plant: &Plant) -> impl Iterator<Item = &'static Sensor> {
    let fitted = plant.mount.connected();
    SENSORS.iter().filter(move |sensor| match sensor.measures {
        Variable::BowlLevel(probe) => fitted == Some(probe),
        _ => true,
    })
}

/// What the wired instrument `id` shows, or the set-point that the controller holds for the parameter `id`.
pub(crate) fn read(plant: &Plant, id: &str) -> Option<Reading> {
    if let Some(reading) = set_point(plant, id) {
        return Some(reading);
    }
    let sensor = wired(plant).find(|sensor| sensor.id == id)?;
    let stream = (STREAM..).zip(&SENSORS).find(|(_, row)| row.id == id)?.0;
    let (noise_max, drift_max) = sensor.errors;
    let error =
        noise(plant.seed, stream, plant.tick, noise_max) + drift(plant.seed, stream, plant.tick, drift_max);
    let true_value = truth(plant, sensor.measures)?;
    // Closed valves, standing belts and drives are shown as exactly nothing, as instruments with a cut-off do.
    let shown =
        if true_value == 0 && cuts_off(sensor.measures) { 0 } else { true_value.saturating_add(error) };
    let value = super::decimal(shown.clamp(sensor.span.0, sensor.span.1), sensor.places);
    Some(Reading { value, unit: sensor.unit })
}

/// The controller's own variables: what a program has set last.
fn set_point(plant: &Plant, id: &str) -> Option<Reading> {
    let (value, unit) = match id {
        ids::SPEED => (plant.line.set_mm_min, "m/min"),
        ids::VOLUME => (plant.line.set_volume_ul, "ml"),
        ids::TORQUE => (plant.line.set_torque, "Nm"),
        _ => return None,
    };
    Some(Reading { value: super::decimal(value, 3), unit })
}

/// Whether the instrument suppresses readings around nothing.
fn cuts_off(variable: Variable) -> bool {
    matches!(variable, Variable::BeltSpeed | Variable::MotorCurrent | Variable::InletFlow)
}

/// The value before the instrument's own errors, in thousandths of its unit; for the bowl's level, what the probe reports.
fn truth(plant: &Plant, variable: Variable) -> Option<i64> {
    let (line, utilities) = (&plant.line, &plant.utilities);
    let count = |total: u64| i64::try_from(total).unwrap_or(i64::MAX).saturating_mul(1_000);
    Some(match variable {
        Variable::BowlLevel(_) => plant.reported_level_um()?,
        Variable::BeltSpeed => line.speed_mm_min(),
        // 1.2 A to move at all, and 1 A for each 20 m/min.
        Variable::MotorCurrent if line.speed_mm_min() == 0 => 0,
        Variable::MotorCurrent => 1_200 + line.speed_mm_min() / 20,
        Variable::MotorTemperature => utilities.motor_uc / 1_000,
        Variable::Entered => count(line.counters.entered),
        Variable::Finished => count(line.counters.finished),
        Variable::Rejected => count(line.counters.rejected),
        Variable::RinsePressure => {
            if line.running {
                2_450
            } else {
                2_900
            }
        }
        Variable::TankLevel => utilities.tank_ul / (TANK_UL / 100_000),
        Variable::HeadPressure => 280,
        // Microlitres per tick: 600 ticks a minute, a thousand microlitres in a thousandth of a litre.
        Variable::InletFlow => plant.bowl.inlet_ul_per_tick() * 600 / 1_000,
        Variable::ProductTemperature => 5_800,
        Variable::Torque(head) => line.head_torque[head],
        Variable::LabelReserve => line.labels * 100_000 / line::REEL,
        Variable::FillDeviation => line.last_deviation_ul,
        Variable::TableOccupancy => line.on_table * 100_000 / TABLE_PLACES,
        Variable::AirPressure => 6_500,
        Variable::CleaningTemperature => utilities.cip_uc / 1_000,
        Variable::CleaningConductivity => utilities.cip_ns / 1_000,
    })
}
