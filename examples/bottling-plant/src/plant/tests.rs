//! The plant's behaviour as its users see it, and its agreement with the model.

use super::*;

/// The model that the plant is the asset of.
const MODEL: &str = include_str!("../../plant.aml");
const MINUTE: u64 = 60_000;

/// A reading as thousandths.
fn value(plant: &Plant, id: &str) -> i64 {
    thousandths(&plant.read(id).unwrap().value)
}

fn thousandths(text: &str) -> i64 {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits: i64 = format!("{whole}{fraction:0<3}").parse().unwrap();
    digits
}

/// The opening of the element `id` in the model up to the next element's.
fn element(id: &str) -> &'static str {
    let (_, rest) =
        MODEL.split_once(&format!(" ID=\"{id}\"")).unwrap_or_else(|| panic!("{id} is not in the model"));
    rest.split("<InternalElement ").next().unwrap()
}

/// The text of the first `tag` in `xml`.
fn text<'a>(xml: &'a str, tag: &str) -> Option<&'a str> {
    Some(xml.split_once(&format!("<{tag}>"))?.1.split_once('<')?.0)
}

/// The range that the model specifies for a sensor, in thousandths.
fn range(id: &str) -> (i64, i64) {
    // The spare is in the model once it has replaced the original, with the same range.
    let fragment = replacement_fragment();
    let xml = if id == ids::LT_201B { fragment.as_str() } else { element(id) };
    let min = text(xml, "RequiredMinValue").map_or(i64::MIN, thousandths);
    let max = text(xml, "RequiredMaxValue").map_or(i64::MAX, thousandths);
    assert!(min > i64::MIN, "{id} has a specified range");
    (min, max)
}

/// Advances to `to_ms`, and on the way every `step` checks every wired sensor against the model.
fn run_in_range(plant: &mut Plant, to_ms: u64, step: u64) {
    let ranges: Vec<_> = plant.sensors().map(|sensor| range(sensor.id)).collect();
    while plant.now_ms() < to_ms {
        plant.advance((plant.now_ms() + step).min(to_ms));
        for (sensor, (min, max)) in plant.sensors().zip(&ranges) {
            let reading = value(plant, sensor.id);
            assert!(
                (min..=max).contains(&&reading),
                "{} shows {reading} at {} ms",
                sensor.tag,
                plant.now_ms()
            );
        }
    }
}

#[test]
fn a_healthy_plant_stays_within_its_specification() {
    for seed in [0, 1, 0x5eed, u64::MAX] {
        let mut plant = Plant::new(seed);
        run_in_range(&mut plant, 10 * MINUTE, 300);
        let counters = plant.counters();
        assert_eq!((counters.flooded, counters.rejected), (0, 0));
        // 30 m/min at 300 mm are 100 bottles a minute; less the ramp and what is still on the belt.
        assert!((980..=1_000).contains(&counters.entered), "{counters:?}");
        assert!(counters.finished > 930 && counters.finished <= counters.capped, "{counters:?}");
        assert!(counters.capped <= counters.filled && counters.filled <= counters.entered, "{counters:?}");
    }
}

#[test]
fn a_full_shift_is_healthy_through_deliveries_and_label_changes() {
    let mut plant = Plant::new(8);
    plant.call(ids::SET_CONVEYOR_SPEED, &[("Speed", "60")]).unwrap();
    let (mut lowest_tank, mut lowest_labels) = (i64::MAX, i64::MAX);
    for minute in 1..=8 * 60 {
        run_in_range(&mut plant, minute * MINUTE, 20_000);
        lowest_tank = lowest_tank.min(value(&plant, ids::LT_202));
        lowest_labels = lowest_labels.min(value(&plant, ids::QT_401));
    }
    assert!(lowest_tank < 36_000 && value(&plant, ids::LT_202) > 34_000, "the tank was refilled");
    assert!(lowest_labels < 12_000 && value(&plant, ids::BE_102) > 90_000_000, "reels were spliced");
    assert_eq!((plant.flooded_bottles(), plant.counters().rejected), (0, 0));
}

#[test]
fn every_set_point_within_its_limits_is_healthy() {
    for (speed, volume, torque) in
        [("60", "520", "2.5"), ("60", "300", "1.0"), ("5", "520", "1.8"), ("0", "300", "2.5")]
    {
        let mut plant = Plant::new(3);
        plant.call(ids::SET_CONVEYOR_SPEED, &[("Speed", speed)]).unwrap();
        plant.call(ids::SET_FILL_VOLUME, &[("Volume", volume)]).unwrap();
        plant.call(ids::SET_CAP_TORQUE, &[("Torque", torque)]).unwrap();
        run_in_range(&mut plant, 10 * MINUTE, 1_700);
        assert_eq!((plant.flooded_bottles(), plant.counters().rejected), (0, 0), "{speed} {volume}");
    }
}

#[test]
fn the_level_looks_like_a_measurement() {
    let mut plant = Plant::new(11);
    let mut levels = Vec::new();
    for tick in 1..=1_200 {
        plant.advance(tick * TICK_MS);
        levels.push(value(&plant, ids::LT_201));
    }
    let (low, high) = (levels.iter().min().unwrap(), levels.iter().max().unwrap());
    assert!(high - low > 15_000, "the fill cycle shows: {low} to {high}");
    assert!(
        levels.windows(2).filter(|pair| pair[0] == pair[1]).count() < 12,
        "noise hardly ever repeats a value"
    );
    assert!(
        plant.read(ids::LT_201).unwrap().value.split_once('.').is_some_and(|(_, places)| places.len() == 3)
    );
    assert_eq!(plant.read(ids::LT_201).unwrap().unit, "mm");
}

#[test]
fn a_broken_sensor_leaves_its_range_and_bottles_flood() {
    for seed in 0..8 {
        for volume in ["300", "500", "520"] {
            let mut plant = Plant::new(seed);
            plant.call(ids::SET_FILL_VOLUME, &[("Volume", volume)]).unwrap();
            plant.advance(2 * MINUTE);
            plant.break_sensor().unwrap();
            let stuck = value(&plant, ids::LT_201);
            assert!(stuck < range(ids::LT_201).0);
            plant.advance(3 * MINUTE);
            assert_eq!(value(&plant, ids::LT_201), stuck, "it sticks");
            assert!(plant.flooded_bottles() > 80, "{:?}", plant.counters());
            assert!(plant.overflow_ml() > 40 * plant.flooded_bottles(), "{:?}", plant.counters());
            assert!(plant.counters().rejected > 50, "the camera sees it");
        }
    }
}

#[test]
fn a_replacement_measures_properly_again() {
    let mut plant = Plant::new(5);
    plant.advance(MINUTE);
    plant.break_sensor().unwrap();
    plant.advance(3 * MINUTE);
    plant.replace_sensor(ids::LT_201, ids::LT_201B).unwrap();
    assert_eq!(plant.read(ids::LT_201), None);
    assert!(plant.sensors().any(|sensor| sensor.id == ids::LT_201B));
    assert!(plant.sensors().all(|sensor| sensor.id != ids::LT_201));
    let (min, max) = range(ids::LT_201B);
    assert!((min..=max).contains(&value(&plant, ids::LT_201B)));
    // Bottles that were under a valve, or on the belt, may still be spoiled.
    plant.advance(4 * MINUTE);
    let before = plant.counters();
    run_in_range(&mut plant, 14 * MINUTE, 500);
    assert_eq!(plant.counters().flooded, before.flooded);
    assert_eq!(plant.counters().rejected, before.rejected);
    assert!(plant.counters().finished > before.finished + 900);
}

#[test]
fn sensor_work_that_makes_no_sense_is_refused_and_changes_nothing() {
    let mut plant = Plant::new(5);
    let before = plant.clone();
    assert_eq!(plant.replace_sensor(ids::LT_201, ids::PT_201), Err(SensorError::Unknown));
    assert_eq!(plant.replace_sensor(ids::LT_201B, ids::LT_201), Err(SensorError::NotConnected));
    assert_eq!(plant.connect_sensor(ids::LT_201B), Err(SensorError::Occupied));
    assert_eq!(plant, before);
}

#[test]
fn without_a_level_signal_the_line_trips_and_cannot_start() {
    let mut plant = Plant::new(5);
    plant.advance(MINUTE);
    plant.disconnect_sensor(ids::LT_201).unwrap();
    plant.advance(MINUTE + TICK_MS);
    assert!(!plant.is_running());
    assert_eq!(plant.call(ids::START_LINE, &[]), Err(CallError::NoLevelSignal));
    plant.connect_sensor(ids::LT_201B).unwrap();
    assert!(plant.call(ids::START_LINE, &[]).is_ok() && plant.is_running());
}

#[test]
fn the_belt_speed_sets_the_throughput() {
    let finished = |speed: &str| {
        let mut plant = Plant::new(9);
        let answer = plant.call(ids::SET_CONVEYOR_SPEED, &[("Speed", speed)]).unwrap();
        assert!(answer.contains(speed), "{answer}");
        plant.advance(10 * MINUTE);
        assert_eq!(thousandths(&plant.conveyor_speed()), thousandths(speed));
        plant.counters().finished
    };
    let (slow, fast) = (finished("15"), finished("60"));
    assert!(fast > 4 * slow, "{slow} {fast}");
    assert_eq!(finished("0"), 0);
}

#[test]
fn cleaning_needs_a_stopped_line_and_holds_it() {
    let mut plant = Plant::new(2);
    plant.advance(MINUTE);
    let clean = [("Programme", "Caustic")];
    assert_eq!(plant.call(ids::START_CLEANING, &clean), Err(CallError::LineRunning));
    plant.call(ids::STOP_LINE, &[]).unwrap();
    run_in_range(&mut plant, 2 * MINUTE, 1_000);
    assert_eq!(plant.conveyor_speed(), "0.000");
    let entered = plant.counters().entered;
    plant.call(ids::START_CLEANING, &clean).unwrap();
    assert_eq!(plant.call(ids::START_LINE, &[]), Err(CallError::Cleaning));
    assert_eq!(plant.call(ids::START_CLEANING, &clean), Err(CallError::Cleaning));
    run_in_range(&mut plant, 12 * MINUTE, 5_000);
    assert!(value(&plant, ids::TT_721) > 75_000 && value(&plant, ids::QT_721) > 55_000);
    run_in_range(&mut plant, 18 * MINUTE, 5_000);
    assert!(!plant.is_cleaning());
    plant.call(ids::START_LINE, &[]).unwrap();
    run_in_range(&mut plant, 20 * MINUTE, 1_000);
    assert!(plant.counters().entered > entered + 150);
}

/// A plant with a varied life.
fn eventful(seed: u64, step: u64) -> Plant {
    let mut plant = Plant::new(seed);
    let until = |plant: &mut Plant, to_ms: u64| {
        while plant.now_ms() < to_ms {
            plant.advance((plant.now_ms() + step).min(to_ms));
        }
    };
    until(&mut plant, 30_050);
    plant.call(ids::SET_CONVEYOR_SPEED, &[("Speed", "42.5")]).unwrap();
    plant.call(ids::SET_CONVEYOR_SPEED, &[("Speed", "99")]).unwrap_err();
    plant.call(ids::SET_CAP_TORQUE, &[("Torque", "2.1")]).unwrap();
    until(&mut plant, 61_234);
    plant.break_sensor().unwrap();
    until(&mut plant, 95_001);
    plant.call(ids::STOP_LINE, &[]).unwrap();
    plant.replace_sensor(ids::LT_201, ids::LT_201B).unwrap();
    plant.call(ids::SET_FILL_VOLUME, &[("Volume", "330")]).unwrap();
    plant.call(ids::START_LINE, &[]).unwrap();
    until(&mut plant, 180_099);
    plant
}

#[test]
fn a_replay_gives_an_equal_plant() {
    let plant = eventful(77, 1_000_000);
    assert_eq!(plant.interventions().len(), 8, "the refused call is not recorded");
    assert_eq!(Plant::replay(77, plant.interventions(), plant.now_ms()).unwrap(), plant);
    assert_eq!(eventful(77, 37), plant, "how time is cut does not matter");
    assert_ne!(
        Plant::replay(78, plant.interventions(), plant.now_ms()).unwrap().counters(),
        Counters::default()
    );
    assert_ne!(Plant::replay(78, plant.interventions(), plant.now_ms()).unwrap(), plant);
    assert_ne!(Plant::replay(77, &plant.interventions()[1..], plant.now_ms()).unwrap(), plant);
    let bytes = borsh::to_vec(plant.interventions()).unwrap();
    let log: Vec<(u64, Intervention)> = borsh::from_slice(&bytes).unwrap();
    assert_eq!(Plant::replay(77, &log, plant.now_ms()).unwrap(), plant);
}

#[test]
fn a_log_that_cannot_be_true_is_refused() {
    let replay = |log: &[(u64, Intervention)]| Plant::replay(1, log, 0).unwrap_err();
    let late = (20, Intervention::BreakSensor);
    assert_eq!(replay(&[late.clone(), (10, Intervention::BreakSensor)]), ReplayError::Time { index: 1 });
    assert_eq!(replay(&[(u64::MAX, Intervention::BreakSensor)]), ReplayError::Time { index: 0 });
    let connect = Intervention::ConnectSensor { id: ids::LT_201B.to_owned() };
    assert_eq!(
        replay(&[late, (30, connect)]),
        ReplayError::Refused { index: 1, source: SensorError::Occupied.into() }
    );
    let call = Intervention::Call { program: "?".to_owned(), parameters: Vec::new() };
    assert_eq!(
        replay(&[(0, call)]),
        ReplayError::Refused { index: 0, source: CallError::UnknownProgram.into() }
    );
}

#[test]
fn time_never_runs_backwards() {
    let mut plant = Plant::new(1);
    plant.advance(5_000);
    let before = plant.clone();
    plant.advance(4_000);
    assert_eq!(plant, before);
}

#[test]
fn the_model_names_every_sensor_with_its_tag_and_unit() {
    let plant = Plant::new(0);
    assert_eq!(
        plant.sensors().count(),
        MODEL.matches("RefBaseRoleClassPath=\"BottlingRoleClassLib/Sensor\"").count()
    );
    for sensor in plant.sensors() {
        assert!(MODEL.contains(&format!("<InternalElement Name=\"{}\" ID=\"{}\"", sensor.tag, sensor.id)));
        assert!(element(sensor.id).contains(&format!("Unit=\"{}\"", sensor.unit)), "{}", sensor.tag);
    }
    for id in [ids::PLANT, ids::CONVEYOR, ids::FILLER, ids::PLC] {
        assert!(MODEL.contains(&format!(" ID=\"{id}\"")));
    }
}

#[test]
fn the_model_and_the_controller_agree_on_programs_and_limits() {
    let limits = [
        (ids::SET_CONVEYOR_SPEED, "Speed", ids::SPEED),
        (ids::SET_FILL_VOLUME, "Volume", ids::VOLUME),
        (ids::SET_CAP_TORQUE, "Torque", ids::TORQUE),
    ];
    for (program, parameter, id) in limits {
        let xml = element(program);
        assert!(xml.contains(&format!("<ExternalInterface Name=\"{parameter}\" ID=\"{id}\"")), "{program}");
        let mut plant = Plant::new(0);
        let held = plant.read(id).unwrap();
        assert_eq!(thousandths(text(xml, "DefaultValue").unwrap()), thousandths(&held.value));
        assert!(xml.contains(&format!("Unit=\"{}\"", held.unit)));
        for (tag, outside) in [("RequiredMinValue", -1), ("RequiredMaxValue", 1)] {
            let limit = text(xml, tag).unwrap();
            plant.call(program, &[(parameter, limit)]).unwrap();
            assert_eq!(value(&plant, id), thousandths(limit));
            let beyond = decimal(thousandths(limit) + outside, 3);
            assert!(matches!(
                plant.call(program, &[(parameter, &beyond)]),
                Err(CallError::OutOfRange { .. })
            ));
        }
    }
    for program in [ids::START_LINE, ids::STOP_LINE] {
        assert!(element(program).contains("BottlingRoleClassLib/Program\""));
    }
    let xml = element(ids::START_CLEANING);
    let named: Vec<_> =
        xml.split("<RequiredValue>").skip(1).filter_map(|rest| rest.split('<').next()).collect();
    assert_eq!(named, utilities::Programme::ALL.map(|(name, _)| name));
}

#[test]
fn the_replacement_has_its_own_identity_and_the_old_signal() {
    let (fragment, old) = (replacement_fragment(), element(ids::LT_201));
    assert!(fragment.starts_with(&format!("<InternalElement Name=\"LT-201\" ID=\"{}\"", ids::LT_201B)));
    assert!(fragment.ends_with("</InternalElement>"));
    let attribute = |xml: &str, name: &str| -> Vec<String> {
        let opening = format!(" {name}=\"");
        let parts = xml.split(&opening).skip(1);
        parts.filter_map(|rest| rest.split('"').next()).map(str::to_owned).collect()
    };
    for id in attribute(&fragment, "ID") {
        assert!(!MODEL.contains(&id), "{id} is taken");
    }
    let channel = attribute(&fragment, "RefPartnerSideB");
    assert_eq!(channel, attribute(old, "RefPartnerSideB")[..1]);
    assert!(attribute(&fragment, "ID").contains(&attribute(&fragment, "RefPartnerSideA")[0]));
}

#[test]
fn decimals_are_exact() {
    for (value, places, expected) in [
        (251_375, 3, "251.375"),
        (-5, 3, "-0.005"),
        (-5, 2, "0.00"),
        (-1_299, 1, "-1.2"),
        (7_000, 0, "7"),
        (0, 1, "0.0"),
    ] {
        assert_eq!(decimal(value, places), expected);
    }
}
