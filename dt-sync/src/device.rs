//! The device seam: the asset as the device agent sees it (paper, sections 4.2 and 4.4).

use std::collections::BTreeMap;

use async_trait::async_trait;
use borsh::{BorshDeserialize, BorshSerialize};
use dt_ledger::Argument;
use dt_model::{ComponentId, Name, Text, Timestamp};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// What a sensor measured, or a variable held, at a moment: an entry's payload in a sensor feed, as canonical borsh.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct Reading {
    /// When it was measured, by the device's clock.
    pub time: Timestamp,
    /// The value in decimal or plain notation: never a binary float, so that everybody reads the same number.
    pub value: Text<256>,
    /// Its unit, as the specification spells it.
    pub unit: Option<Name>,
}

/// The media type of a feed of [`Reading`]s.
pub const READING_MEDIA_TYPE: &str = "application/vnd.dt.reading+borsh";

/// A component of the asset that somebody has exchanged for another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exchange {
    /// The component that is gone.
    pub old: ComponentId,
    /// The component in its place.
    pub new: ComponentId,
    /// What the new one says of itself: an AML element whose ID is `new`.
    pub fragment: String,
}

/// Why the asset did not do what it was asked.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum DeviceError {
    /// The asset has no such component. One that is not connected shows nothing, or the connection to it is broken.
    #[error("the asset has no component {0}")]
    UnknownComponent(ComponentId),
    /// The asset has no such program.
    #[error("the asset has no program {0}")]
    UnknownProgram(ComponentId),
    /// The asset refused, and did nothing.
    #[error("the asset refused: {0}")]
    Refused(Text<512>),
    /// Nobody knows whether the asset did it: the connection broke on the way.
    #[error("the connection to the asset broke")]
    Lost,
}

/// The asset, or what stands before it: a field bus, an OPC UA server, a simulation.
///
/// What an implementer may get wrong: [`Device::call`] actuates *at most once* and returns [`DeviceError::Lost`] where it cannot tell
/// whether it did; it MUST NOT retry by itself. [`Device::samples`] answers from a buffer and may be asked for the same time twice (a
/// restarted agent asks from where its feed ends), so it does not forget what it has handed out before its buffer is full; times
/// never go back. [`Device::exchanges`] goes on reporting an exchange until the agent's specification shows it.
/// [`crate::testing::device_suite`] checks what can be checked from outside.
#[async_trait]
pub trait Device: Send + Sync {
    /// What `component` (a sensor or a variable) shows now; `None` where it shows nothing.
    ///
    /// Safety rules ask for variables by the address that the rule gives, and for the last value of a parameter by the address of its
    /// interface. A variable that shows nothing or is out of reach stops the calls that hang on it; only for one that the asset does not
    /// have ([`DeviceError::UnknownComponent`]), the specification's value is believed.
    ///
    /// # Errors
    /// [`DeviceError`].
    async fn read(&self, component: &ComponentId) -> Result<Option<Reading>, DeviceError>;

    /// What the sensor `component` has measured after `after`, in order.
    ///
    /// # Errors
    /// [`DeviceError`].
    async fn samples(&self, component: &ComponentId, after: Timestamp) -> Result<Vec<Reading>, DeviceError>;

    /// Runs a program; what the asset says when it is done.
    ///
    /// # Errors
    /// [`DeviceError`].
    async fn call(
        &self,
        program: &ComponentId,
        parameters: &BTreeMap<Name, Argument>,
    ) -> Result<Text<1024>, DeviceError>;

    /// Components that were exchanged.
    ///
    /// # Errors
    /// [`DeviceError`].
    async fn exchanges(&self) -> Result<Vec<Exchange>, DeviceError>;
}
