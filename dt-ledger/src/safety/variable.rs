//! Variables of a specification: attributes by their address.

use dt_aml::{Attribute, Document};
use dt_model::ComponentId;

/// The attribute of a sensor that says what it shows, and what it may show.
pub const MEASURED_VALUE: &str = "Value";

/// The attribute that `address` means as a variable ([`super::Operand::Variable`]): itself, or the attribute [`MEASURED_VALUE`] of the
/// element there. `None` where there is none, or more than one.
#[must_use]
pub fn variable(document: &Document, address: &ComponentId) -> Option<Attribute> {
    let of_sensor = || document.attribute_at(&format!("{address}/Attribute[{MEASURED_VALUE}]"));
    document.attribute_at(address.as_str()).or_else(of_sensor)
}
