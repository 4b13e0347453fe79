//! CAEX paths: what they lead to, and that they never pick one of several.

use dt_aml::path::MAX_PATH;
use dt_aml::{Document, Kind, PathError};

use crate::support::{documents, parse};

const PLANT: &str = r#"
  <ExternalReference Alias="Base" Path="../base.aml"/>
  <ExternalReference Alias="Twice" Path="1.aml"/><ExternalReference Alias="Twice" Path="2.aml"/>
  <InstanceHierarchy Name="Plant">
    <InternalElement Name="Motor" ID="motor">
      <Attribute Name="Speed" ID="speed"><Attribute Name="Max" ID="max"/><Attribute Name="a/b" ID="slash"/></Attribute>
      <Attribute Name="v1.2" ID="dotted"/>
      <ExternalInterface Name="In" ID="in"><Attribute Name="Level" ID="level"/></ExternalInterface>
      <ExternalInterface Name="Ch:3.Out" ID="ch3"/>
      <InternalElement Name="Shaft" ID="shaft"/>
    </InternalElement>
    <InternalElement Name="Motor.Speed" ID="clash"><Attribute Name="Max" ID="clash.max"/></InternalElement>
    <InternalElement Name="Twin" ID="twin1"/><InternalElement Name="Twin" ID="twin2"><InternalElement Name="Own" ID="own"/></InternalElement>
    <InternalElement Name="[A01] x" ID="bracket"/>
    <InternalElement Name="a@b" ID="at"/>
    <InternalElement Name="I/O" ID="io"/>
  </InstanceHierarchy>
  <InterfaceClassLib Name="Ports"><InterfaceClass Name="Port" ID="port"><InterfaceClass Name="Fast" ID="fast"/></InterfaceClass></InterfaceClassLib>
  <RoleClassLib Name="Roles"><RoleClass Name="I/O" ID="role"><ExternalInterface Name="P" ID="role.p"/><RoleClass Name="In" ID="role.in"/></RoleClass></RoleClassLib>
  <SystemUnitClassLib Name="Units"><SystemUnitClass Name="Pump" ID="pump">
    <Attribute Name="Flow" ID="flow"/><InternalElement Name="Part" ID="part"/><SystemUnitClass Name="Screw" ID="screw"/>
  </SystemUnitClass></SystemUnitClassLib>"#;

fn plant_215() -> Document {
    parse(format!("<CAEXFile>{PLANT}</CAEXFile>"))
}

fn plant_30() -> Document {
    let types = "<AttributeTypeLib Name='Types'><AttributeType Name='Length' ID='length'><Attribute Name='Unit' ID='unit'/>\
        <AttributeType Name='Width' ID='width'/></AttributeType></AttributeTypeLib>";
    parse(format!("<CAEXFile xmlns='http://www.dke.de/CAEX'>{PLANT}{types}</CAEXFile>"))
}

fn id(document: &Document, path: &str) -> Result<String, PathError> {
    document.find_path(path).map(|element| element.id().expect("an ID").into_owned())
}

#[test]
fn paths_lead_to_objects_interfaces_and_attributes() {
    for document in [plant_215(), plant_30()] {
        for (path, expected) in [
            ("Plant/Motor", "motor"),
            ("[Plant]/[Motor]", "motor"),
            ("Plant/Motor/Shaft", "shaft"),
            ("Plant/Motor:In", "in"),
            ("[Plant]/[Motor]:[In].[Level]", "level"),
            ("Plant/Motor:In.Level", "level"),
            ("Plant/[Motor].Speed.Max", "max"),
            ("Plant/Motor.[Speed].Max", "max"),
            ("Plant/[Motor.Speed].Max", "clash.max"),
            ("Plant/Motor.Speed.[a/b]", "slash"),
            ("Plant/Motor.v1.2", "dotted"),
            ("Plant/Motor.[v1.2]", "dotted"),
            ("Plant/Motor:Ch:3.Out", "ch3"),
            ("Plant/Motor:[Ch:3.Out]", "ch3"),
            ("Plant/[Motor.Speed]", "clash"),
            ("Plant/[Motor].Speed", "speed"),
            ("Plant/Twin/Own", "own"),
            (r"Plant/[\[A01\] x]", "bracket"),
            ("Plant/a@b", "at"),
            ("Plant/[I/O]", "io"),
            ("Ports/Port/Fast", "fast"),
            ("Roles/[I/O]/In", "role.in"),
            ("Roles/[I/O]:P", "role.p"),
            ("Units/Pump/Screw", "screw"),
            ("Units/Pump/Part", "part"),
            ("Units/Pump.Flow", "flow"),
        ] {
            assert_eq!(id(&document, path).as_deref(), Ok(expected), "{path}");
        }
        assert_eq!(document.find_path("Plant").expect("a hierarchy").kind(), Kind::InstanceHierarchy);
    }
}

#[test]
fn caex_3_has_slashes_for_everything() {
    let document = plant_30();
    for (path, expected) in [
        ("Plant/Motor/In", "in"),
        ("Plant/Motor/In/Level", "level"),
        ("Plant/Motor/Speed/Max", "max"),
        ("Types/Length/Width", "width"),
        ("Types/Length/Unit", "unit"),
    ] {
        assert_eq!(id(&document, path).as_deref(), Ok(expected), "{path}");
        assert_eq!(id(&plant_215(), path), Err(PathError::Unknown), "{path}");
    }
}

#[test]
fn several_elements_are_an_error_with_their_number() {
    let document = plant_215();
    assert_eq!(id(&document, "Plant/Twin"), Err(PathError::Ambiguous { count: 2 }));
    assert_eq!(id(&document, "Plant/Motor.Speed.Max"), Err(PathError::Ambiguous { count: 2 }));
    let both = id(&document, "Plant/Motor.Speed");
    assert_eq!(both, Err(PathError::Ambiguous { count: 2 }), "an element of that name, and an attribute");
}

#[test]
fn paths_out_of_the_document_are_told() {
    let document = plant_215();
    let external = PathError::External { alias: "Base".into(), location: "../base.aml".into() };
    assert_eq!(id(&document, "Base@Lib/Role"), Err(external.clone()));
    assert_eq!(id(&document, "[Base]@Lib/Role"), Err(external));
    assert_eq!(id(&document, "No@Lib/Role"), Err(PathError::UnknownAlias { alias: "No".into() }));
    assert_eq!(id(&document, "Twice@Lib/Role"), Err(PathError::Ambiguous { count: 2 }));
}

#[test]
fn what_is_no_path_is_refused() {
    let document = plant_215();
    for path in [
        "",
        "/",
        "/Plant",
        "Plant/",
        "Plant//Motor",
        "[Plant",
        "[]",
        "[Plant]x/Motor",
        "Plant/[Mo[tor]",
        "@Lib/Role",
        "Base@",
        "Base@/Role",
        "[a]b@Lib",
        "[a\\]",
    ] {
        assert_eq!(id(&document, path), Err(PathError::Malformed), "{path}");
    }
    for path in [
        "plant",
        "Plant/Nothing",
        "Plant/Motor.Nothing",
        "Plant/Motor:Speed",
        "Plant/Motor.In",
        "Plant/Motor.",
        "Motor",
        "Plant/Motor/Speed",
        "Plant/[Motor.Speed.Max]",
        "Plant/[Motor:In]",
        "Plant/I/O",
    ] {
        assert_eq!(id(&document, path), Err(PathError::Unknown), "{path}");
    }
    assert_eq!(id(&document, &"a".repeat(MAX_PATH)), Err(PathError::Unknown));
    assert_eq!(id(&document, &"a".repeat(MAX_PATH + 1)), Err(PathError::TooLong));
}

/// Every class of the real files is found at the path that is put together from its names.
#[test]
fn every_class_of_real_files_has_a_path() {
    let mut found = 0;
    for (name, bytes) in documents() {
        let document = parse(&bytes);
        for element in document.elements() {
            let is_class = matches!(
                element.kind(),
                Kind::RoleClass | Kind::InterfaceClass | Kind::SystemUnitClass | Kind::AttributeType
            );
            if is_class {
                let mut names: Vec<String> = element
                    .ancestors()
                    .filter_map(|around| around.name())
                    .map(|name| format!("[{}]", name.replace('[', "\\[").replace(']', "\\]")))
                    .collect();
                names.reverse();
                let path = names.join("/");
                match document.find_path(&path) {
                    Ok(other) => assert_eq!(other, element, "{name}: {path}"),
                    Err(error) => {
                        assert!(matches!(error, PathError::Ambiguous { .. }), "{name}: {path}: {error}")
                    }
                }
                found += 1;
            }
        }
    }
    assert!(found > 0);
}

#[test]
fn hostile_paths_cost_no_more_than_the_document() {
    // Each child can be read in each of many ways, and each leads on.
    let nest =
        |inner: String, _: usize| format!("<Attribute Name='a'>{inner}</Attribute><Attribute Name='a.a'/>");
    let attributes = (0..200).fold(String::new(), nest);
    let element = format!("<InternalElement Name='a'>{attributes}</InternalElement>");
    let document =
        parse(format!("<CAEXFile><InstanceHierarchy Name='H'>{element}</InstanceHierarchy></CAEXFile>"));
    let path = format!("H/{}", vec!["a"; 2000].join("."));
    assert_eq!(document.find_path(&path), Err(PathError::Unknown));
    let path = format!("H/{}", vec!["a"; 101].join("."));
    assert_eq!(document.find_path(&path), Err(PathError::Ambiguous { count: 2 }));
    let twins = "<InternalElement Name='a'><InternalElement Name='a'/></InternalElement>".repeat(20_000);
    let document =
        parse(format!("<CAEXFile><InstanceHierarchy Name='H'>{twins}</InstanceHierarchy></CAEXFile>"));
    assert_eq!(document.find_path("H/a/a"), Err(PathError::Ambiguous { count: 20_000 }));
}
