//! Comparing the asset with its specification (paper, section 4.3: sensor updates against expected values).

use dt_aml::{Document, Verdict};
/// The attribute of a sensor that says what it may show: its constraints hold for every reading.
pub use dt_ledger::safety::MEASURED_VALUE;
use dt_model::{ComponentId, Text, Timestamp};
use serde::Serialize;

use crate::device::Reading;

/// A reading that the specification does not allow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Anomaly {
    /// The sensor.
    pub component: ComponentId,
    /// When it was measured.
    pub time: Timestamp,
    /// What was measured.
    pub value: Text<256>,
    /// The rule that it breaks.
    pub rule: String,
}

/// Whether the specification allows `reading` of `component`. What it does not constrain is no anomaly; a reading in another unit than
/// it states is one.
#[must_use]
pub fn check(specification: &Document, component: &ComponentId, reading: &Reading) -> Option<Anomaly> {
    let attribute = specification.attribute(component.as_str(), MEASURED_VALUE)?;
    let anomaly = |rule: String| Anomaly {
        component: component.clone(),
        time: reading.time,
        value: reading.value.clone(),
        rule,
    };
    let unit = reading.unit.as_ref().map(dt_model::Name::as_str);
    if let Some(expected) = attribute.unit.as_deref().filter(|expected| unit != Some(*expected)) {
        return Some(anomaly(format!("the unit is {expected}")));
    }
    match attribute.check(reading.value.as_str()) {
        Verdict::Violates(violation) => Some(anomaly(violation.to_string())),
        Verdict::Passes | Verdict::NotCheckable => None,
    }
}
