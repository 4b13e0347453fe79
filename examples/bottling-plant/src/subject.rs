//! What the story is about: which elements of the specification play the sensor, its replacement and the program.
//!
//! In the plant's own file these are there. In any other file they are picked from the document by its own IDs, and what the story needs
//! and the file does not have (a normal range, a program with limits) is added by the owner, in one edit, and said aloud.

use dt_aml::{Document, Edit, Element, Kind, RemovePolicy, Version};
use dt_model::{ComponentId, Name};

use crate::Failure;
use crate::plant::{ids, replacement_fragment};

/// The plant's own specification.
pub(crate) const PLANT_AML: &[u8] = include_bytes!("../plant.aml");

/// Who plays what.
#[derive(Debug, Clone)]
pub(crate) struct Subject {
    /// The sensor that breaks.
    pub(crate) sensor: ComponentId,
    /// What people call it.
    pub(crate) sensor_name: String,
    /// The sensor that comes in its place.
    pub(crate) replacement: ComponentId,
    /// What the replacement says of itself.
    pub(crate) fragment: String,
    /// Another sensor whose readings tell of the circumstances.
    pub(crate) witness: Option<ComponentId>,
    /// The program that sets the conveyor's speed.
    pub(crate) program: ComponentId,
    /// Its parameter.
    pub(crate) parameter: Name,
    /// The variable that shows the parameter's value.
    pub(crate) variable: ComponentId,
    /// What the owner adds to the file first.
    pub(crate) preparation: Vec<Edit>,
    /// How the elements were chosen.
    pub(crate) explanation: Vec<String>,
}

fn component(text: &str) -> Result<ComponentId, Failure> {
    Ok(ComponentId::new(text)?)
}

impl Subject {
    /// The story's elements in the plant's own file.
    pub(crate) fn of_plant() -> Result<Self, Failure> {
        Ok(Self {
            sensor: component(ids::LT_201)?,
            sensor_name: "LT-201".into(),
            replacement: component(ids::LT_201B)?,
            fragment: replacement_fragment(),
            witness: Some(component(ids::QT_501)?),
            program: component(ids::SET_CONVEYOR_SPEED)?,
            parameter: Name::new("Speed")?,
            variable: component(ids::SPEED)?,
            preparation: Vec::new(),
            explanation: vec!["the plant's own file: the fill-level sensor LT-201 in the filler".into()],
        })
    }

    /// The story's elements in some other file.
    pub(crate) fn of_document(document: &Document) -> Result<Self, Failure> {
        let mut elements: Vec<Element<'_>> = document.internal_elements().collect();
        // First those that stand after a sibling, and leaves: the less hangs on an element, the easier it is exchanged.
        elements.sort_by_key(|element| {
            let sibling =
                element.previous_sibling().filter(|sibling| sibling.kind() == Kind::InternalElement);
            (sibling.is_none(), element.children_of(Kind::InternalElement).count())
        });
        let picked = elements.into_iter().find_map(|element| Self::of_element(document, element));
        picked.map_or_else(|| Self::of_new_element(document), Ok)
    }

    /// The story with `element` as the sensor, if all its edits are possible.
    fn of_element(document: &Document, element: Element<'_>) -> Option<Self> {
        let id = element.id()?.into_owned();
        let parent = element.parent()?.address()?;
        let name = element.name().map_or_else(|| id.clone(), |name| name.into_owned());
        if document.attribute(&id, dt_sync::MEASURED_VALUE).is_some() {
            return None;
        }
        let range = Edit::Insert { fragment: measured_value(), parent: id.clone(), after: None };
        let program = Edit::Insert { fragment: program(&id), parent, after: None };
        let says = vec![
            format!("the file's element \"{name}\" (ID {id}) plays the sensor"),
            "the file has no normal range for it and no program with limits: the owner adds both".into(),
        ];
        let subject = Self::added(&id, name, vec![range, program], says).ok()?;
        subject.is_possible(document).then_some(subject)
    }

    /// The story in a file in which nothing can be exchanged: the owner adds the sensor, too.
    fn of_new_element(document: &Document) -> Result<Self, Failure> {
        let id = "dt-story-sensor";
        let hierarchy =
            document.root().children_of(Kind::InstanceHierarchy).find_map(|found| found.address());
        let sensor =
            format!(r#"<InternalElement Name="LT-201" ID="{id}">{}</InternalElement>"#, measured_value());
        let (preparation, place) = match &hierarchy {
            Some(parent) => {
                let insert =
                    |fragment: String| Edit::Insert { fragment, parent: parent.clone(), after: None };
                (vec![insert(sensor), insert(program(id))], format!("to {parent}"))
            }
            None => {
                let content = format!("{sensor}{}", program(id));
                let fragment = format!(r#"<InstanceHierarchy Name="Story">{content}</InstanceHierarchy>"#);
                let parent = "/".into();
                (
                    vec![Edit::Insert { fragment, parent, after: None }],
                    "with an instance hierarchy of its own".into(),
                )
            }
        };
        let says = vec![format!(
            "the file has no InternalElement with an ID of its own that can be exchanged: the owner adds sensor and program {place}"
        )];
        let subject = Self::added(id, "LT-201".into(), preparation, says)?;
        if subject.is_possible(document) {
            return Ok(subject);
        }
        let version = match document.version() {
            Version::Caex215 => "2.15",
            Version::Caex30 => "3.0",
        };
        Err(format!("nothing in this file (CAEX {version}) can be exchanged, and nothing can be added to it")
            .into())
    }

    fn added(id: &str, name: String, preparation: Vec<Edit>, says: Vec<String>) -> Result<Self, Failure> {
        let replacement = format!("{id}-replacement");
        let shown = escape(&name);
        Ok(Self {
            sensor: component(id)?,
            sensor_name: name,
            replacement: component(&replacement)?,
            fragment: format!(
                r#"<InternalElement Name="{shown}" ID="{}">{}</InternalElement>"#,
                escape(&replacement),
                measured_value()
            ),
            witness: None,
            program: component(&format!("{id}-program"))?,
            parameter: Name::new("Speed")?,
            variable: component(&format!("{id}-program.speed"))?,
            preparation,
            explanation: says,
        })
    }

    /// Whether preparation, exchange and program work out on a copy of the document.
    fn is_possible(&self, document: &Document) -> bool {
        let mut copy = document.clone();
        if copy.apply(&self.preparation).is_err() || copy.program(self.program.as_str()).is_none() {
            return false;
        }
        let Ok(sensor) = copy.find(self.sensor.as_str()) else { return false };
        let Some(parent) = sensor.parent().and_then(|parent| parent.address()) else { return false };
        let edits = [
            Edit::Remove { address: self.sensor.to_string(), policy: RemovePolicy::Restrict },
            Edit::Insert { fragment: self.fragment.clone(), parent, after: None },
        ];
        copy.apply(&edits).is_ok()
    }
}

/// A measured value with the normal range of the plant's fill-level sensor.
fn measured_value() -> String {
    r#"<Attribute Name="Value" AttributeDataType="xs:decimal" Unit="mm"><Constraint Name="NormalRange"><OrdinalScaledType><RequiredMaxValue>320</RequiredMaxValue><RequiredMinValue>180</RequiredMinValue></OrdinalScaledType></Constraint></Attribute>"#.into()
}

/// A program that sets the conveyor's speed, with the limits of the plant's own.
fn program(id: &str) -> String {
    let id = escape(id);
    format!(
        r#"<InternalElement Name="SetConveyorSpeed" ID="{id}-program"><ExternalInterface Name="Speed" ID="{id}-program.speed" RefBaseClassPath="StoryInterfaceClassLib/VariableInterface"><Attribute Name="Speed" AttributeDataType="xs:decimal" Unit="m/min"><Constraint Name="SafetyLimit"><OrdinalScaledType><RequiredMaxValue>60</RequiredMaxValue><RequiredMinValue>0</RequiredMinValue></OrdinalScaledType></Constraint></Attribute></ExternalInterface><RoleRequirements RefBaseRoleClassPath="StoryRoleClassLib/Program"/></InternalElement>"#
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use dt_aml::Limits;

    use super::*;

    #[test]
    fn the_plants_own_file_is_in_order() {
        let document = Document::parse(PLANT_AML, &Limits::default()).unwrap();
        assert_eq!(document.issues(), []);
        let programs: Vec<String> = document.programs().into_iter().map(|program| program.address).collect();
        let expected = [
            ids::SET_CONVEYOR_SPEED,
            ids::SET_FILL_VOLUME,
            ids::SET_CAP_TORQUE,
            ids::START_LINE,
            ids::STOP_LINE,
            ids::START_CLEANING,
        ];
        assert_eq!(programs.len(), expected.len(), "{programs:?}");
        assert!(expected.iter().all(|id| programs.iter().any(|program| program == id)), "{programs:?}");
        assert!(document.ids().count() > 200, "a plant of some 200 elements");
        assert!(Subject::of_plant().unwrap().is_possible(&document), "the story can be told");
    }
}
