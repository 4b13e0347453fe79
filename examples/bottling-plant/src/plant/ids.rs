//! The identifiers that the plant's model (`plant.aml`) and this simulation share, in one place.
//!
//! A sensor's or a program's identifier is the `ID` of its InternalElement. Equipment carries GUIDs, as engineering tools
//! write them; the programs carry the names that the controller's own tool gave them. A unit test finds each one in the model.

#[cfg(test)]
/// The whole plant, root of the instance hierarchy.
pub(crate) const PLANT: &str = "1dc19a1b-fbc2-4a64-971f-ee48041ae37a";
#[cfg(test)]
/// The main conveyor.
pub(crate) const CONVEYOR: &str = "65ea76bc-b23f-4212-b240-1ac89307051d";
#[cfg(test)]
/// The filler carousel, parent of the fill-level sensor.
pub(crate) const FILLER: &str = "3cc7343d-7503-49ea-835a-56122de991df";
#[cfg(test)]
/// The line controller, below which the programs hang.
pub(crate) const PLC: &str = "4316f6b0-6950-46e3-8894-f6510edaeff3";

/// LT-201 as delivered: the fill-level sensor in the filler's product bowl, which will break.
pub(crate) const LT_201: &str = "0e50945a-81e4-43e3-a87a-fc824a04f67b";
/// LT-201 as replaced: the same place and signal, another device.
pub(crate) const LT_201B: &str = "ca530d31-a27a-4861-b880-97d9a80bad25";
/// ST-101: belt speed.
pub(crate) const ST_101: &str = "2307d5fe-4454-4664-abd3-5f920f2b55ae";
/// IT-101: motor current of the conveyor.
pub(crate) const IT_101: &str = "4eab11eb-241b-47b4-b720-25df1fbf8627";
/// TT-101: winding temperature of the conveyor motor.
pub(crate) const TT_101: &str = "7fdc3c39-8903-46c4-be76-8e15e9533781";
/// BE-101: bottles that entered the line.
pub(crate) const BE_101: &str = "ea0f30b8-aaeb-4991-a33d-975542c0c632";
/// BE-102: bottles that left the line.
pub(crate) const BE_102: &str = "52f0f785-9a8d-4d3d-87b6-2128a18187db";
/// PT-150: rinse water pressure.
pub(crate) const PT_150: &str = "a5772730-e707-4d57-b009-329d8e8fd6e3";
/// LT-202: supply tank level.
pub(crate) const LT_202: &str = "4429abb3-f11b-4627-9436-5d022279f88f";
/// PT-201: head-space pressure in the bowl; stands just before LT-201 in the model.
pub(crate) const PT_201: &str = "cce5ae93-5d28-4aa7-a3eb-e766833dcfb1";
/// FT-201: product flow into the bowl.
pub(crate) const FT_201: &str = "bbe62e7e-0b38-4168-b79f-551f6b2483b3";
/// TT-201: product temperature.
pub(crate) const TT_201: &str = "4307a5fb-e4ba-40d7-89a9-c1b091f5ffca";
/// WT-311: closing torque, head 1.
pub(crate) const WT_311: &str = "504ff547-3689-4c01-9f75-6c59316fd9b9";
/// WT-312: closing torque, head 2.
pub(crate) const WT_312: &str = "a9d4c579-f9ef-4f23-b7ef-4d94401cd616";
/// WT-313: closing torque, head 3.
pub(crate) const WT_313: &str = "1d0c503b-fe98-419d-a607-8c6739be3c9c";
/// WT-314: closing torque, head 4.
pub(crate) const WT_314: &str = "2da67c8b-c8fa-45c5-af20-fbef2e21e8bc";
/// QT-401: label reel reserve.
pub(crate) const QT_401: &str = "2cddbe26-fccd-4222-ac58-50fc855524df";
/// QT-501: volume in the last inspected bottle, less its set volume.
pub(crate) const QT_501: &str = "fa7ae573-54f3-4b53-bf77-c3a50a88519a";
/// BE-511: bottles refused.
pub(crate) const BE_511: &str = "4b954ddd-8415-41e0-9274-0f75aa6b7567";
/// LT-601: occupancy of the accumulation table.
pub(crate) const LT_601: &str = "81125904-c52e-4365-8d8c-853194447182";
/// PT-701: compressed air pressure.
pub(crate) const PT_701: &str = "b202117a-024f-4a09-a195-bd05ee19d36a";
/// TT-721: cleaning return temperature.
pub(crate) const TT_721: &str = "fa20d2f8-88d1-4dbb-9a50-e1dd7ba82a34";
/// QT-721: cleaning return conductivity.
pub(crate) const QT_721: &str = "b363d278-a7bb-4d11-95d4-bd468b6c832d";

/// Sets the belt speed; parameter `Speed` in m/min.
pub(crate) const SET_CONVEYOR_SPEED: &str = "PRG-SetConveyorSpeed";
/// Sets the fill volume; parameter `Volume` in ml.
pub(crate) const SET_FILL_VOLUME: &str = "PRG-SetFillVolume";
/// Sets the closing torque; parameter `Torque` in Nm.
pub(crate) const SET_CAP_TORQUE: &str = "PRG-SetCapTorque";
/// Starts the line; no parameter.
pub(crate) const START_LINE: &str = "PRG-StartLine";
/// Stops the line; no parameter.
pub(crate) const STOP_LINE: &str = "PRG-StopLine";
/// Starts a cleaning programme; parameter `Programme`.
pub(crate) const START_CLEANING: &str = "PRG-StartCleaning";

/// The parameter of [`SET_CONVEYOR_SPEED`], in m/min.
pub(crate) const SPEED: &str = "PRG-SetConveyorSpeed.Speed";
/// The parameter of [`SET_FILL_VOLUME`], in ml.
pub(crate) const VOLUME: &str = "PRG-SetFillVolume.Volume";
/// The parameter of [`SET_CAP_TORQUE`], in Nm.
pub(crate) const TORQUE: &str = "PRG-SetCapTorque.Torque";
