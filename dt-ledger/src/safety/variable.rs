//! Variables of a specification: attributes by their address.

use dt_aml::{Attribute, Document, Kind};
use dt_model::ComponentId;

/// The attribute of a sensor that says what it shows, and what it may show.
pub const MEASURED_VALUE: &str = "Value";

/// The attribute that `address` means as a variable ([`super::Operand::Variable`]): itself, or the attribute [`MEASURED_VALUE`] of the
/// element there. `None` where there is none, or more than one.
#[must_use]
pub fn variable(document: &Document, address: &ComponentId) -> Option<Attribute> {
    let element = document.find(address.as_str()).ok()?;
    if element.kind() != Kind::Attribute {
        return document.attribute(address.as_str(), MEASURED_VALUE);
    }
    let parent = element.parent()?;
    let place = parent.children_of(Kind::Attribute).position(|child| child == element)?;
    parent.attributes().into_iter().nth(place)
}
