//! The controller's programs: what the model's elements of role `Program` do when they are called.
//!
//! The controller checks its limits itself, as a real one does: the ledger and the device agent have checked the call against
//! the model before, and neither relies on the other.

use super::ids;
use super::utilities::Programme;

/// Longest number text that the controller reads.
const NUMBER_MAX_LEN: usize = 16;
/// Set-points are read to a thousandth.
const PLACES: usize = 3;

/// Limits of the set-points, in thousandths; `plant.aml` states the same.
const SPEED: Limits = Limits { parameter: "Speed", min: 0, max: 60_000 };
const VOLUME: Limits = Limits { parameter: "Volume", min: 300_000, max: 520_000 };
const TORQUE: Limits = Limits { parameter: "Torque", min: 1_000, max: 2_500 };
/// The parameter of the cleaning program.
const PROGRAMME: &str = "Programme";

/// A set-point's parameter and its range, in thousandths of its unit.
#[derive(Clone, Copy, Debug)]
struct Limits {
    parameter: &'static str,
    min: i64,
    max: i64,
}

/// A call that the controller has understood: values in thousandths of the model's units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// Belt speed, in mm/min.
    SetConveyorSpeed(i64),
    /// Fill volume, in microlitres.
    SetFillVolume(i64),
    /// Closing torque, in mNm.
    SetCapTorque(i64),
    /// Start the line.
    StartLine,
    /// Stop the line.
    StopLine,
    /// Clean.
    StartCleaning(Programme),
}

/// Why the controller refused a call. Nothing has changed then.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum CallError {
    /// No program has this identifier.
    #[error("the controller has no such program")]
    UnknownProgram,
    /// A needed parameter is absent.
    #[error("parameter {parameter} is missing")]
    Missing {
        /// Its name.
        parameter: &'static str,
    },
    /// The program has no parameter of a name that was given, or it was given twice.
    #[error("parameter number {position} is unknown to the program, or is given twice")]
    Unexpected {
        /// Which of the given ones, counted from 1.
        position: usize,
    },
    /// The text is not a decimal number with at most three places.
    #[error("parameter {parameter} is not a decimal number with at most three places")]
    NotANumber {
        /// Its name.
        parameter: &'static str,
    },
    /// The number is outside the set-point's range.
    #[error("parameter {parameter} is outside {} to {}", super::decimal(*min, 3), super::decimal(*max, 3))]
    OutOfRange {
        /// Its name.
        parameter: &'static str,
        /// Lowest value allowed, in thousandths.
        min: i64,
        /// Highest value allowed, in thousandths.
        max: i64,
    },
    /// The text names no cleaning programme.
    #[error("parameter Programme names no cleaning programme")]
    UnknownProgramme,
    /// The line must be stopped for this.
    #[error("the line is running: stop it first")]
    LineRunning,
    /// Not while cleaning.
    #[error("cleaning is under way")]
    Cleaning,
    /// No fill level arrives, so that the filler cannot dose.
    #[error("no fill level: the sensor's signal is broken")]
    NoLevelSignal,
}

impl Command {
    /// Reads a call of `program`.
    ///
    /// # Errors
    /// Each [`CallError`] that does not depend on the plant's state.
    pub(crate) fn parse(program: &str, parameters: &[(&str, &str)]) -> Result<Self, CallError> {
        match program {
            ids::SET_CONVEYOR_SPEED => SPEED.read(parameters).map(Self::SetConveyorSpeed),
            ids::SET_FILL_VOLUME => VOLUME.read(parameters).map(Self::SetFillVolume),
            ids::SET_CAP_TORQUE => TORQUE.read(parameters).map(Self::SetCapTorque),
            ids::START_LINE => none(parameters).map(|()| Self::StartLine),
            ids::STOP_LINE => none(parameters).map(|()| Self::StopLine),
            ids::START_CLEANING => {
                let name = only(PROGRAMME, parameters)?;
                let known = Programme::ALL.iter().find(|(known, _)| *known == name);
                known.map(|(_, programme)| Self::StartCleaning(*programme)).ok_or(CallError::UnknownProgramme)
            }
            _ => Err(CallError::UnknownProgram),
        }
    }
}

impl Limits {
    /// The one parameter, as a number within the limits.
    fn read(self, parameters: &[(&str, &str)]) -> Result<i64, CallError> {
        let Self { parameter, min, max } = self;
        let value = thousandths(only(parameter, parameters)?).ok_or(CallError::NotANumber { parameter })?;
        if value < min || value > max {
            Err(CallError::OutOfRange { parameter, min, max })
        } else {
            Ok(value)
        }
    }
}

/// Refuses any parameter.
fn none(parameters: &[(&str, &str)]) -> Result<(), CallError> {
    if parameters.is_empty() { Ok(()) } else { Err(CallError::Unexpected { position: 1 }) }
}

/// The text of the one parameter that a program has.
fn only<'a>(parameter: &'static str, parameters: &[(&str, &'a str)]) -> Result<&'a str, CallError> {
    let mut found = None;
    for (index, (name, value)) in parameters.iter().enumerate() {
        if *name != parameter || found.is_some() {
            return Err(CallError::Unexpected { position: index + 1 });
        }
        found = Some(*value);
    }
    found.ok_or(CallError::Missing { parameter })
}

/// Reads an exact decimal, such as `42.5`, as thousandths. Zeros beyond the third place are accepted, other digits are not.
fn thousandths(text: &str) -> Option<i64> {
    if text.len() > NUMBER_MAX_LEN {
        return None;
    }
    let (negative, digits) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (whole, fraction) =
        digits.split_once('.').map_or((digits, None), |(whole, rest)| (whole, Some(rest)));
    let all_digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !all_digits(whole) || fraction.is_some_and(|part| !all_digits(part)) {
        return None;
    }
    let fraction = fraction.unwrap_or("").trim_end_matches('0');
    if fraction.len() > PLACES {
        return None;
    }
    let value: i64 = format!("{whole}{fraction:0<PLACES$}").parse().ok()?;
    Some(if negative { -value } else { value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_exactly() {
        for (text, value) in [
            ("0", 0),
            ("42", 42_000),
            ("42.5", 42_500),
            ("1.8000", 1_800),
            ("-0.001", -1),
            ("007.250", 7_250),
        ] {
            assert_eq!(thousandths(text), Some(value), "{text}");
        }
        for text in
            ["", "-", ".", "1.", ".5", "+1", "1e3", "1.0001", " 1", "1,5", "0x10", "٣", "12345678901234567"]
        {
            assert_eq!(thousandths(text), None, "{text}");
        }
    }

    #[test]
    fn a_program_takes_its_parameters_and_no_others() {
        let speed = |parameters: &[(&str, &str)]| Command::parse(ids::SET_CONVEYOR_SPEED, parameters);
        assert_eq!(speed(&[("Speed", "60")]), Ok(Command::SetConveyorSpeed(60_000)));
        assert_eq!(speed(&[]), Err(CallError::Missing { parameter: "Speed" }));
        assert_eq!(speed(&[("speed", "1")]), Err(CallError::Unexpected { position: 1 }));
        assert_eq!(speed(&[("Speed", "1"), ("Speed", "2")]), Err(CallError::Unexpected { position: 2 }));
        assert_eq!(speed(&[("Speed", "fast")]), Err(CallError::NotANumber { parameter: "Speed" }));
        let outside = CallError::OutOfRange { parameter: "Speed", min: 0, max: 60_000 };
        assert_eq!(speed(&[("Speed", "60.001")]), Err(outside.clone()));
        assert_eq!(outside.to_string(), "parameter Speed is outside 0.000 to 60.000");
        assert_eq!(
            Command::parse(ids::START_LINE, &[("Speed", "1")]),
            Err(CallError::Unexpected { position: 1 })
        );
        assert_eq!(
            Command::parse(ids::START_CLEANING, &[("Programme", "Soap")]),
            Err(CallError::UnknownProgramme)
        );
        assert_eq!(Command::parse("PRG-Explode", &[]), Err(CallError::UnknownProgram));
    }
}
