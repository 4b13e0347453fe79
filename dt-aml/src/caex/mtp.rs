//! Module Type Packages (VDI/VDE/NAMUR 2658): services, their parameters, and the limits of these.
//!
//! A **service** or one of its procedures (in older files: strategies) is an InternalElement of class `Service`,
//! `ServiceProcedure` or `ServiceStrategy` in `MTPServiceSUCLib`. Its parameters are the InternalElements of class
//! `ServiceParameter` in it, and those whose IDs its attribute `RequiredParameters` lists. `ReportValue` and
//! `ProcessValueOut` inherit from that class too, but are what a service answers, so they are left out.
//!
//! The limits of a parameter stand in its **data assembly**: the InternalElement of class `AnaServParam`, `DIntServParam`,
//! `BinServParam` or `StringServParam` in a library of MTP that has the same value in its attribute `RefID`. Its class
//! tells the data type; `VMin`, `VMax`, `VSclMin` and `VSclMax` are the bounds. Where one of these is a number, it is a
//! constraint. Where it refers to a variable of the controller (`xs:IDREF`), or where nothing bounds a number on one
//! side, the limit is known at run time only: then a value is not checkable, or violates what is known.

use std::collections::{BTreeMap, BTreeSet};

use super::attribute::Attribute;
use super::class::{self, Family};
use super::constraint::{Bound, Constraint, Requirement};
use super::reference;
use super::value::{DataType, decimal};
use crate::document::Document;
use crate::element::Element;
use crate::kind::Kind;
use crate::xml::WHITE;

/// The library of services.
const LIBRARY: &str = "MTPServiceSUCLib";
/// The beginning of the names of all libraries of MTP.
const LIBRARIES: &str = "MTP";
/// The classes of services and of what they can be asked to do.
const SERVICES: [&str; 3] = ["Service", "ServiceProcedure", "ServiceStrategy"];
/// The class of their parameters.
const PARAMETER: &str = "ServiceParameter";
/// The parameters that a service does not take but gives.
const GIVEN: [&str; 2] = ["ReportValue", "ProcessValueOut"];
/// The attribute that a parameter and its data assembly share.
const SHARED: &str = "RefID";
/// The attribute of a procedure that lists the IDs of parameters.
const REQUIRED: &str = "RequiredParameters";
/// The attributes of a data assembly that bound a value: from below, and from above.
const BOUNDS: [[&str; 2]; 2] = [["VMin", "VSclMin"], ["VMax", "VSclMax"]];

/// True if `element` is a service or one of its procedures.
pub(crate) fn is_service(element: Element<'_>) -> bool {
    is_of(element, |names| {
        names[0] == LIBRARY && names.get(1).is_some_and(|class| SERVICES.contains(&class.as_str()))
    })
}

/// The parameters of a service: those in it, in document order, and then those that it lists.
pub(crate) fn parameters(service: Element<'_>) -> Vec<Element<'_>> {
    let mut parameters: Vec<_> =
        service.children_of(Kind::InternalElement).filter(|child| is_taken(*child)).collect();
    let mut seen: BTreeSet<_> = parameters.iter().map(|parameter| parameter.node).collect();
    let document = service.document;
    let listed = value_of(service, REQUIRED).unwrap_or_default();
    for id in listed.split_ascii_whitespace() {
        let mut with_id = document.index.with_id(&document.tree, id);
        let only = with_id.next().filter(|node| with_id.next().is_none() && seen.insert(*node));
        parameters.extend(only.map(|node| document.element(node)).filter(|element| is_taken(*element)));
    }
    parameters
}

/// True if `element` is a parameter that a service takes.
fn is_taken(element: Element<'_>) -> bool {
    let is_parameter =
        is_of(element, |names| names[0] == LIBRARY && names.get(1).is_some_and(|class| class == PARAMETER));
    is_parameter && !is_of(element, |names| names.last().is_some_and(|class| GIVEN.contains(&class.as_str())))
}

/// Whether the path of the element's system unit class, or of one that it inherits from, is such a path of names.
fn is_of(element: Element<'_>, is_such: impl Fn(&[String]) -> bool) -> bool {
    let path = element.attribute_value(reference::UNIT).filter(|_| element.kind() == Kind::InternalElement);
    path.is_some_and(|path| lineage(element.document, &path).iter().any(|names| is_such(names)))
}

/// The names in the path of a system unit class, and in those of the classes it inherits from. None is empty.
fn lineage(document: &Document, path: &str) -> Vec<Vec<String>> {
    let lineage = document.lineage(Family::Unit, path).into_iter();
    let names = |path: &str| class::segments(path).into_iter().map(|name| name.into_owned()).collect();
    lineage.map(|(path, _)| names(&path)).filter(|names: &Vec<_>| !names.is_empty()).collect()
}

/// The value of the element's CAEX attribute with this name, if there is one such attribute.
fn value_of(element: Element<'_>, name: &str) -> Option<String> {
    let attribute = element.attribute_element(name)?;
    attribute.children_of(Kind::Value).next().map(|value| value.text().trim_matches(WHITE).to_owned())
}

/// The data assemblies of a document, by their `RefID`.
pub(crate) struct Assemblies<'d>(BTreeMap<String, Vec<(Element<'d>, DataType)>>);

impl<'d> Assemblies<'d> {
    /// Reads all elements of the document once.
    pub(crate) fn of(document: &'d Document) -> Self {
        let mut types: BTreeMap<String, Option<DataType>> = BTreeMap::new();
        let mut assemblies = BTreeMap::<_, Vec<_>>::new();
        for element in document.internal_elements() {
            let Some(path) = element.attribute_value(reference::UNIT) else { continue };
            let known = types.get(&*path).cloned();
            let data_type = known.unwrap_or_else(|| {
                let data_type = lineage(document, &path).iter().find_map(|names| assembly_type(names));
                types.insert(path.into_owned(), data_type.clone());
                data_type
            });
            if let Some((data_type, shared)) = data_type.zip(value_of(element, SHARED)) {
                assemblies.entry(shared).or_default().push((element, data_type));
            }
        }
        Self(assemblies)
    }

    /// Data type and constraints of a parameter, from its data assembly; `None` if it has none, or several.
    pub(crate) fn limits(&self, parameter: Element<'_>) -> Option<(DataType, Vec<Constraint>)> {
        let found = self.0.get(&value_of(parameter, SHARED)?)?;
        let [(assembly, data_type)] = found.as_slice() else { return None };
        let constraints = match data_type {
            DataType::Boolean | DataType::String => Vec::new(),
            _ => constraints(*assembly),
        };
        Some((data_type.clone(), constraints))
    }
}

/// The data type of values whose data assembly has a class with this path of names.
fn assembly_type(names: &[String]) -> Option<DataType> {
    let class = names.last().filter(|_| names[0].starts_with(LIBRARIES))?;
    match class.as_str() {
        "AnaServParam" => Some(DataType::Float),
        "DIntServParam" => Some(DataType::from_plc("DINT")),
        "BinServParam" => Some(DataType::Boolean),
        "StringServParam" => Some(DataType::String),
        _ => None,
    }
}

/// What a data assembly asks of a number.
fn constraints(assembly: Element<'_>) -> Vec<Constraint> {
    let mut constraints = Vec::new();
    for (side, names) in BOUNDS.iter().enumerate() {
        let before = constraints.len();
        for name in names {
            let Some(attribute) = assembly.attribute_element(name).map(Attribute::read) else { continue };
            let requirement = match number(attribute) {
                Some(bound) if side == 0 => {
                    Requirement::Ordinal { min: Some(bound), required: None, max: None }
                }
                Some(bound) => Requirement::Ordinal { min: None, required: None, max: Some(bound) },
                None => at_run_time(),
            };
            constraints.push(Constraint { name: (*name).to_owned(), requirement });
        }
        if constraints.len() == before {
            constraints.push(Constraint { name: names[0].to_owned(), requirement: at_run_time() });
        }
    }
    constraints
}

/// The number that an attribute holds for good.
fn number(attribute: Attribute) -> Option<Bound> {
    let is_reference = matches!(&attribute.data_type, Some(DataType::Other(name)) if name.ends_with("IDREF"));
    let written =
        attribute.value.or(attribute.default).filter(|text| !is_reference && decimal(text).is_some());
    written.map(Bound)
}

fn at_run_time() -> Requirement {
    Requirement::Unknown { requirements: "known at run time".to_owned() }
}
