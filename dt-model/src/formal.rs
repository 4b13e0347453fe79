//! The paper's formal basis (section 3.2) as types: data elements in their classes, and the operations parties perform on them.

use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};

use crate::{ComponentId, TwinId};

/// The classes of a twin's data.
///
/// Section 3.2 divides a twin's data in two disjoint sets: descriptive data *D_desc*, which parties write, with the specification
/// *d_spec* as its essential element; and sensor data *D_sensor*, which the asset produces. Two more classes are what the contracts
/// guard besides: the programs of the machine (`callProgram`, Listing 1.2) and the policies themselves (section 4.4).
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    BorshSerialize,
    BorshDeserialize,
    Serialize,
    Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum DataClass {
    /// *d_spec*: the AML specification.
    Specification,
    /// Documents of any format, analysis results among them.
    Document,
    /// References to data that stays with its owner (a URI).
    ExternalSource,
    /// *D_sensor*: streams that the asset produces.
    Sensor,
    /// The program interfaces of the asset.
    Program,
    /// Roles and policies: who may do what.
    Policy,
}

impl DataClass {
    /// All classes, in order.
    pub const ALL: [Self; 6] = [
        Self::Specification,
        Self::Document,
        Self::ExternalSource,
        Self::Sensor,
        Self::Program,
        Self::Policy,
    ];

    /// Whether elements of this class belong to *D_desc*.
    #[must_use]
    pub const fn is_descriptive(self) -> bool {
        matches!(self, Self::Specification | Self::Document | Self::ExternalSource)
    }

    /// Whether elements of this class belong to *D_sensor*.
    #[must_use]
    pub const fn is_sensor(self) -> bool {
        matches!(self, Self::Sensor)
    }
}

/// What a party does to a data element: *read* and *write* of section 3.2, the execution of programs, and administration of rights.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    BorshSerialize,
    BorshDeserialize,
    Serialize,
    Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Operation {
    /// *read(n, d)*, for d in *D_desc* or *D_sensor*.
    Read,
    /// *write(n, d)*, for d in *D_desc*. For the sensor class: to link a feed to a component; the stream itself has one owner.
    Write,
    /// To call a program of the asset.
    Execute,
    /// To change roles and policies.
    Administer,
}

/// What a role may do: one operation on one class of data.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    BorshSerialize,
    BorshDeserialize,
    Serialize,
    Deserialize,
)]
pub struct Permission {
    /// What may be done.
    pub operation: Operation,
    /// To which data.
    pub class: DataClass,
}

impl Permission {
    /// `operation` on `class`.
    #[must_use]
    pub const fn new(operation: Operation, class: DataClass) -> Self {
        Self { operation, class }
    }

    /// Reading of every class.
    pub fn read_all() -> impl Iterator<Item = Self> {
        DataClass::ALL.into_iter().map(|class| Self::new(Operation::Read, class))
    }
}

/// A data element *d*: something of a class, at a component of a twin.
#[derive(
    Debug,
    Clone,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    BorshSerialize,
    BorshDeserialize,
    Serialize,
    Deserialize,
)]
pub struct DataElement {
    /// The twin it belongs to.
    pub twin: TwinId,
    /// Its class.
    pub class: DataClass,
    /// The component that scopes it; `None` is the twin as a whole.
    pub component: Option<ComponentId>,
}
