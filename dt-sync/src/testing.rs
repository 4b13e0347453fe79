//! For those who implement [`crate::Device`]: its conformance suite.
#![expect(clippy::expect_used, clippy::panic, reason = "a suite reports by panicking")]

use std::collections::BTreeMap;

use dt_ledger::Argument;
use dt_model::{ComponentId, Name, Timestamp};

use crate::{Device, DeviceError};

/// What the suite needs to know of the asset before the device.
#[derive(Debug, Clone)]
pub struct Subject {
    /// A sensor that has measured something already.
    pub sensor: ComponentId,
    /// A program.
    pub program: ComponentId,
    /// Parameters that the program accepts.
    pub accepted: BTreeMap<Name, Argument>,
    /// The variable that shows the value of one of these parameters afterwards, and that parameter's name.
    pub effect: Option<(ComponentId, Name)>,
}

/// Checks a [`Device`] against its contract. It calls the subject's program once.
///
/// # Panics
/// With a sentence, where the device breaks the contract.
pub async fn device_suite(device: &dyn Device, subject: &Subject) {
    let unknown = ComponentId::new("dt/sync/testing/no such component").expect("a valid text");
    let beginning = Timestamp::from_millis(0);

    let samples = device.samples(&subject.sensor, beginning).await.expect("a sensor has samples");
    assert!(!samples.is_empty(), "the sensor has measured something");
    assert!(samples.is_sorted_by_key(|reading| reading.time), "times never go back");
    let again = device.samples(&subject.sensor, beginning).await.expect("a sensor has samples");
    assert!(again.starts_with(&samples), "what was handed out once is handed out again");
    let middle = samples[samples.len() / 2].time;
    let later = device.samples(&subject.sensor, middle).await.expect("a sensor has samples");
    assert!(later.iter().all(|reading| reading.time > middle), "only what was measured after the given time");
    assert!(device.read(&subject.sensor).await.expect("a sensor shows something").is_some());

    let missing = device.samples(&unknown, beginning).await;
    assert!(matches!(missing, Err(DeviceError::UnknownComponent(_))), "an unknown component is an error");
    let missing = device.call(&unknown, &BTreeMap::new()).await;
    assert!(matches!(missing, Err(DeviceError::UnknownProgram(_))), "an unknown program is an error");

    device.call(&subject.program, &subject.accepted).await.expect("accepted parameters");
    if let Some((variable, parameter)) = &subject.effect {
        let shown = device.read(variable).await.expect("the variable can be read");
        let shown = shown.unwrap_or_else(|| panic!("{variable} shows the value that was set"));
        let asked = subject.accepted.get(parameter).expect("the suite's subject names a parameter");
        assert!(crate::agent::same_value(&shown, asked.value.as_str()), "the effect can be read back");
    }
}
