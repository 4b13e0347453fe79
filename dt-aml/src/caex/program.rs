//! Programs: the elements that `callProgram` can name, with their parameters and limits.
//!
//! Paper: `callProgram`, Listing 1.2. CAEX has no program of its own, so files in the field say it in one of these
//! ways. An InternalElement is a program if
//!
//! 1. one of its roles is a **program role**: the role class, or one it inherits from, has a name that ends in
//!    `Program` (`BottlingRoleClassLib/Program`, `ProgramRoleClassLib/GenericProgram`), or stands in a role class
//!    library whose name begins with `Program` (`ProgramBlocksRoleClassLib/Main`,
//!    `ProgramRoleClassLib/GenericProgram/GenericCommand`);
//! 2. it is an **MTP service** or one of its procedures (VDI/VDE/NAMUR 2658-4): see below;
//! 3. it holds a **PLCopen logic reference** and variables beside it: an ExternalInterface whose class path, or that of
//!    a class it inherits from, names `PLCopenXMLInterface`, and at least one VariableInterface (below). Logic alone is
//!    not enough: a controller refers to all the logic it runs, and is not to be called.
//!
//! A role is one that the element's RoleRequirements or SupportedRoleClass names, or a SupportedRoleClass of its
//! system unit class. A program nested in another is a program of its own.
//!
//! The **parameters** of a program are
//!
//! - its VariableInterfaces: ExternalInterfaces whose class path, or that of a class they inherit from, has a name in
//!   it that ends in `VariableInterface`. Every constraint on any attribute of the interface, `refURI` included, belongs
//!   to the variable. Its data type is that of the attribute named like the interface, or else what the attribute
//!   `type` or `DataType` says (a PLC type), or else that of the only attribute that is no URI;
//! - its CAEX attributes, if it is a program by its role;
//! - the parameters of an MTP service.
//!
//! The type and the limits of an MTP parameter stand in the data assembly that it refers to. Often they are known at run
//! time only: then a value for it is not checkable here, or violates what is known.

use std::cell::OnceCell;

use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};

use super::attribute::{self, Attribute};
use super::class::{self, Family};
use super::constraint::{Constraint, Verdict};
use super::mtp::{self, Assemblies};
use super::query;
use super::reference;
use super::value::DataType;
use crate::document::Document;
use crate::element::Element;
use crate::kind::Kind;

/// The end of the name of an interface class for variables.
const VARIABLE: &str = "VariableInterface";
/// The name of the interface class for logic in PLCopen XML.
const PLCOPEN: &str = "PLCopenXMLInterface";

/// An element that can be called.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, BorshSerialize, BorshDeserialize)]
pub struct Program {
    /// Its address.
    pub address: String,
    /// Its `Name`.
    pub name: String,
    /// What it can be given, in document order; parameters that an MTP procedure only refers to come last.
    pub parameters: Vec<Parameter>,
}

impl Program {
    /// The parameter with this name, if it is the only one.
    pub fn parameter(&self, name: &str) -> Option<&Parameter> {
        let mut named = self.parameters.iter().filter(|parameter| parameter.name == name);
        named.next().filter(|_| named.next().is_none())
    }
}

/// What a program can be given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, BorshSerialize, BorshDeserialize)]
pub struct Parameter {
    /// Its `Name`.
    pub name: String,
    /// The address of its VariableInterface, attribute or MTP parameter, if that has one.
    pub address: Option<String>,
    /// Its data type; none: any text.
    pub data_type: Option<DataType>,
    /// Its unit.
    pub unit: Option<String>,
    /// All constraints on it.
    pub constraints: Vec<Constraint>,
    /// The value it has if it is not given.
    pub default: Option<String>,
}

impl Parameter {
    /// Whether `value` may be given: of the data type, within all constraints.
    pub fn check(&self, value: &str) -> Verdict {
        attribute::judge(self.data_type.as_ref(), &self.constraints, value)
    }
}

impl Document {
    /// All programs that have an address, in document order.
    pub fn programs(&self) -> Vec<Program> {
        let assemblies = OnceCell::new();
        self.internal_elements().filter_map(|element| program(element, &assemblies)).collect()
    }

    /// The program at `address`; `None` if there is no such element, or if it is not a program.
    ///
    /// # Examples
    /// ```
    /// use dt_aml::{Document, Limits, Verdict};
    ///
    /// let aml = r#"<CAEXFile><InstanceHierarchy Name="Plant">
    ///   <InternalElement Name="SetSpeed" ID="p1">
    ///     <ExternalInterface Name="Speed" ID="p1.speed" RefBaseClassPath="Logic/VariableInterface">
    ///       <Attribute Name="Speed" AttributeDataType="xs:decimal" Unit="m/min">
    ///         <Constraint Name="Safety">
    ///           <OrdinalScaledType><RequiredMaxValue>60</RequiredMaxValue></OrdinalScaledType>
    ///         </Constraint>
    ///       </Attribute>
    ///     </ExternalInterface>
    ///     <RoleRequirements RefBaseRoleClassPath="PlantRoles/Program"/>
    ///   </InternalElement>
    /// </InstanceHierarchy></CAEXFile>"#;
    /// let document = Document::parse(aml, &Limits::default())?;
    /// let program = document.program("p1").ok_or("not a program")?;
    /// let speed = program.parameter("Speed").ok_or("no such parameter")?;
    /// assert_eq!(speed.check("60"), Verdict::Passes);
    /// assert_ne!(speed.check("60.1"), Verdict::Passes);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn program(&self, address: &str) -> Option<Program> {
        self.find(address).ok().and_then(|element| program(element, &OnceCell::new()))
    }
}

/// The program that `element` is. The data assemblies are read once one is needed.
fn program<'d>(element: Element<'d>, assemblies: &OnceCell<Assemblies<'d>>) -> Option<Program> {
    if element.kind() != Kind::InternalElement {
        return None;
    }
    let by_role = has_program_role(element);
    let by_service = mtp::is_service(element);
    if !by_role && !by_service && !is_logic_with_variables(element) {
        return None;
    }
    let mut parameters: Vec<_> = element.children().filter_map(|child| parameter(child, by_role)).collect();
    if by_service {
        let assemblies = || assemblies.get_or_init(|| Assemblies::of(element.document));
        parameters
            .extend(mtp::parameters(element).into_iter().map(|found| service_parameter(found, assemblies())));
    }
    Some(Program {
        address: element.address()?,
        name: element.name().unwrap_or_default().into_owned(),
        parameters,
    })
}

fn has_program_role(element: Element<'_>) -> bool {
    let unit = element.attribute_value(reference::UNIT);
    let unit = unit.map(|path| element.document.lineage(Family::Unit, &path)).unwrap_or_default();
    let inherited = unit.into_iter().filter_map(|(_, class)| class);
    std::iter::once(element).chain(inherited).flat_map(query::roles).any(|role| {
        element.document.lineage(Family::Role, &role).iter().any(|(path, _)| is_program_role(path))
    })
}

fn is_program_role(path: &str) -> bool {
    let names = class::segments(path);
    let ends = names.last().is_some_and(|class| class.ends_with("Program"));
    ends || names.len() > 1 && names.first().is_some_and(|library| library.starts_with("Program"))
}

fn is_logic_with_variables(element: Element<'_>) -> bool {
    let is_logic = |interface: Element<'_>| {
        !is_variable(interface) && interface_names(interface).iter().any(|name| name == PLCOPEN)
    };
    let interfaces = || element.children_of(Kind::ExternalInterface);
    interfaces().any(is_logic) && interfaces().any(is_variable)
}

fn is_variable(interface: Element<'_>) -> bool {
    interface_names(interface).iter().any(|name| name.ends_with(VARIABLE))
}

/// The names in the path of an interface's class and in those of the classes it inherits from.
fn interface_names(interface: Element<'_>) -> Vec<String> {
    let Some(path) = interface.attribute_value("RefBaseClassPath") else { return Vec::new() };
    let lineage = interface.document.lineage(Family::Interface, &path);
    lineage.iter().flat_map(|(path, _)| class::segments(path)).map(|name| name.into_owned()).collect()
}

fn parameter(child: Element<'_>, by_role: bool) -> Option<Parameter> {
    match child.kind() {
        Kind::ExternalInterface if is_variable(child) => Some(variable(child)),
        Kind::Attribute if by_role => {
            let Attribute { address, name, default, unit, data_type, constraints, value } =
                Attribute::read(child);
            Some(Parameter { name, address, data_type, unit, constraints, default: value.or(default) })
        }
        _ => None,
    }
}

/// A parameter of an MTP service. If nobody knows its type, no value for it is checkable.
fn service_parameter(element: Element<'_>, assemblies: &Assemblies<'_>) -> Parameter {
    let unknown = || (DataType::Other("MTP ServiceParameter".to_owned()), Vec::new());
    let (data_type, constraints) = assemblies.limits(element).unwrap_or_else(unknown);
    Parameter {
        name: element.name().unwrap_or_default().into_owned(),
        address: element.address(),
        data_type: Some(data_type),
        unit: None,
        constraints,
        default: None,
    }
}

/// A VariableInterface as a parameter.
fn variable(interface: Element<'_>) -> Parameter {
    let name = interface.name().unwrap_or_default().into_owned();
    let attributes = interface.attributes();
    let is_uri = |attribute: &Attribute| matches!(&attribute.data_type, Some(DataType::Other(name)) if name.ends_with("anyURI"));
    let declares = |name: &str| name.eq_ignore_ascii_case("type") || name.eq_ignore_ascii_case("DataType");
    let declared = attributes.iter().find(|attribute| declares(&attribute.name));
    let mut plain = attributes.iter().filter(|attribute| !is_uri(attribute));
    let only = plain.next().filter(|_| plain.next().is_none());
    let carrier = attributes.iter().find(|attribute| attribute.name == name);
    let data_type = carrier
        .and_then(|carrier| carrier.data_type.clone())
        .or_else(|| declared.and_then(|declared| declared.value.as_deref()).map(DataType::from_plc))
        .or_else(|| only.and_then(|only| only.data_type.clone()));
    let carrier = carrier.or(only.filter(|only| declared.is_none_or(|declared| declared != *only)));
    Parameter {
        name,
        address: interface.address(),
        data_type,
        unit: carrier
            .and_then(|carrier| carrier.unit.clone())
            .or_else(|| attributes.iter().find_map(|attribute| attribute.unit.clone())),
        default: carrier.and_then(|carrier| carrier.default.clone().or_else(|| carrier.value.clone())),
        constraints: attributes.into_iter().flat_map(|attribute| attribute.constraints).collect(),
    }
}
