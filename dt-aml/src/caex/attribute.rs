//! CAEX attributes: values with unit, data type and constraints.

use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};

use super::class::{self, Family};
use super::constraint::{Constraint, Verdict};
use super::value::DataType;
use crate::document::Document;
use crate::element::Element;
use crate::kind::Kind;

/// A CAEX `Attribute` with what it inherits from its attribute type.
///
/// Unit, data type and default of the attribute itself come before those of the type that its `RefAttributeType`
/// names, and before those of the types that one inherits from. Constraints add up: all of them hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, BorshSerialize, BorshDeserialize)]
pub struct Attribute {
    /// Its address, if it has one.
    pub address: Option<String>,
    /// Its `Name`.
    pub name: String,
    /// Its `Value`.
    pub value: Option<String>,
    /// Its `DefaultValue`.
    pub default: Option<String>,
    /// Its `Unit`.
    pub unit: Option<String>,
    /// Its `AttributeDataType`. CAEX reads a missing one as text.
    pub data_type: Option<DataType>,
    /// All constraints on its value.
    pub constraints: Vec<Constraint>,
}

impl Attribute {
    /// Whether `value` would be a value of this attribute: of its data type, within all its constraints.
    pub fn check(&self, value: &str) -> Verdict {
        judge(self.data_type.as_ref(), &self.constraints, value)
    }

    /// Reads an `Attribute` element.
    pub(crate) fn read(element: Element<'_>) -> Self {
        let mut attribute = Self {
            address: element.address(),
            name: element.name().unwrap_or_default().into_owned(),
            value: text_of(element, Kind::Value),
            default: None,
            unit: None,
            data_type: None,
            constraints: Vec::new(),
        };
        attribute.inherit(element);
        if let Some(path) = element.attribute_value("RefAttributeType") {
            let types = element.document.lineage(Family::AttributeType, &path);
            types.into_iter().filter_map(|(_, class)| class).for_each(|class| attribute.inherit(class));
        }
        attribute
    }

    /// Takes over what `from`, the attribute itself or a type of it, says and nearer ones left open.
    fn inherit(&mut self, from: Element<'_>) {
        let written = |name: &str| from.attribute_value(name).filter(|value| !value.is_empty());
        self.default = self.default.take().or_else(|| text_of(from, Kind::DefaultValue));
        self.unit = self.unit.take().or_else(|| written("Unit").map(|unit| unit.into_owned()));
        let data_type = || written("AttributeDataType").map(|name| DataType::from_schema(&name));
        self.data_type = self.data_type.take().or_else(data_type);
        self.constraints.extend(from.children_of(Kind::Constraint).map(Constraint::read));
    }
}

/// The verdict of a data type and constraints together.
pub(crate) fn judge(data_type: Option<&DataType>, constraints: &[Constraint], value: &str) -> Verdict {
    let typed = data_type.unwrap_or(&DataType::String).check(value);
    constraints.iter().fold(typed, |verdict, constraint| verdict.and(constraint.check(value)))
}

fn text_of(element: Element<'_>, kind: Kind) -> Option<String> {
    element.children_of(kind).next().map(|child| child.text())
}

impl<'d> Element<'d> {
    /// Its CAEX attributes, in document order, nested ones apart.
    pub fn attributes(&self) -> Vec<Attribute> {
        self.children_of(Kind::Attribute).map(Attribute::read).collect()
    }

    /// The element of the CAEX attribute with this path of names; `None` if there is none, or several.
    pub(crate) fn attribute_element(&self, path: &str) -> Option<Element<'d>> {
        let mut at = *self;
        for name in class::segments(path) {
            let mut named = at
                .children_of(Kind::Attribute)
                .filter(|attribute| attribute.name().is_some_and(|other| other == name));
            at = named.next()?;
            if named.next().is_some() {
                return None;
            }
        }
        (at != *self).then_some(at)
    }
}

impl Document {
    /// The CAEX attribute of the element at `element`, by its name, or by a path of names such as `Limits/Max` for
    /// nested ones; a name that holds a slash stands in brackets. `None` if the element or the attribute does not
    /// exist or is not the only one.
    ///
    /// # Examples
    /// ```
    /// use dt_aml::{Document, Limits};
    ///
    /// let aml = r#"<CAEXFile><InstanceHierarchy Name="Plant"><InternalElement Name="Motor" ID="m1">
    ///   <Attribute Name="Speed" AttributeDataType="xs:decimal" Unit="m/min"><Value>30</Value></Attribute>
    /// </InternalElement></InstanceHierarchy></CAEXFile>"#;
    /// let document = Document::parse(aml, &Limits::default())?;
    /// let speed = document.attribute("m1", "Speed").ok_or("no speed")?;
    /// assert_eq!(speed.value.as_deref(), Some("30"));
    /// assert!(!speed.check("fast").passes());
    /// assert_eq!(document.attribute_at("m1/Attribute[Speed]"), Some(speed));
    /// assert_eq!(document.attribute_at("m1"), None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn attribute(&self, element: &str, path: &str) -> Option<Attribute> {
        self.find(element).ok()?.attribute_element(path).map(Attribute::read)
    }

    /// The CAEX attribute at `address`, such as `m1/Attribute[Speed]`; `None` if there is no such element, or not only one, or if it
    /// is no attribute. What stands beside it costs nothing.
    pub fn attribute_at(&self, address: &str) -> Option<Attribute> {
        let element = self.find(address).ok()?;
        (element.kind() == Kind::Attribute).then(|| Attribute::read(element))
    }
}
