//! CAEX paths: what they lead to, and that they never pick one of several.

use dt_aml::path::MAX_PATH;
use dt_aml::{Document, Element, Kind, PathError};
use proptest::prelude::*;

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

/// Elements in elements, with interfaces and attributes in them.
#[derive(Clone, Debug)]
struct Naive {
    kind: Kind,
    name: String,
    children: Vec<Naive>,
}

impl Naive {
    fn xml(&self) -> String {
        let tag = self.kind.tag().expect("a kind of CAEX");
        let name = self.name.replace('<', "&lt;");
        let of = |kind: Kind| self.children.iter().filter(move |child| child.kind == kind);
        let kinds = [Kind::Attribute, Kind::ExternalInterface, Kind::InternalElement];
        let children: String = kinds.into_iter().flat_map(of).map(Naive::xml).collect();
        format!("<{tag} Name='{name}'>{children}</{tag}>")
    }
}

fn naive(name: &'static str) -> impl Strategy<Value = Naive> {
    let attribute = name.prop_map(|name| Naive { kind: Kind::Attribute, name, children: Vec::new() });
    let attribute = attribute.prop_recursive(2, 4, 2, move |inner| {
        (name, prop::collection::vec(inner, 0..3)).prop_map(|(name, children)| Naive {
            kind: Kind::Attribute,
            name,
            children,
        })
    });
    let interface = (name, prop::collection::vec(attribute.clone(), 0..2))
        .prop_map(|(name, children)| Naive { kind: Kind::ExternalInterface, name, children });
    let inside = prop_oneof![attribute, interface];
    let leaf = (name, prop::collection::vec(inside.clone(), 0..4)).prop_map(|(name, children)| Naive {
        kind: Kind::InternalElement,
        name,
        children,
    });
    leaf.prop_recursive(3, 16, 3, move |inner| {
        (name, prop::collection::vec(prop_oneof![inner, inside.clone()], 0..5))
            .prop_map(|(name, children)| Naive { kind: Kind::InternalElement, name, children })
    })
}

/// The path of an element with every name written by `write`.
fn written(element: Element<'_>, write: impl Fn(&str) -> String) -> String {
    let mut around: Vec<_> = element.ancestors().filter(|around| around.kind() != Kind::CaexFile).collect();
    around.reverse();
    let mut path = String::new();
    for element in around {
        path.push_str(match element.kind() {
            Kind::InstanceHierarchy => "",
            Kind::ExternalInterface => ":",
            Kind::Attribute => ".",
            _ => "/",
        });
        path.push_str(&write(&element.name().expect("a name")));
    }
    path
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    /// Names that may hold what separates names: a path leads to the elements that are written so, and counts them.
    #[test]
    fn plain_paths_lead_where_they_can_be_read(top in naive("a|b|a\\.a|a:a|a\\.b|b:a")) {
        let document = parse(format!("<CAEXFile><InstanceHierarchy Name='H'>{}</InstanceHierarchy></CAEXFile>", top.xml()));
        let plain = |element: Element<'_>| written(element, str::to_owned);
        for element in document.elements().skip(1) {
            let path = plain(element);
            let alike: Vec<_> = document.elements().skip(1).filter(|other| plain(*other) == path).collect();
            let expected = match alike.as_slice() {
                [only] => Ok(*only),
                several => Err(PathError::Ambiguous { count: several.len() }),
            };
            prop_assert_eq!(document.find_path(&path), expected, "{}", path);
        }
    }

    /// In brackets every name is itself.
    #[test]
    fn bracketed_paths_lead_back(top in naive("[a-b./:@<\\[\\]\\\\ ]{0,4}[a/.\\]\\[]")) {
        let document = parse(format!("<CAEXFile><InstanceHierarchy Name='H'>{}</InstanceHierarchy></CAEXFile>", top.xml()));
        let bracketed = |element: Element<'_>| {
            written(element, |name| format!("[{}]", name.replace('[', "\\[").replace(']', "\\]")))
        };
        for element in document.elements().skip(1) {
            let path = bracketed(element);
            let alike = document.elements().skip(1).filter(|other| bracketed(*other) == path).count();
            let expected = if alike == 1 { Ok(element) } else { Err(PathError::Ambiguous { count: alike }) };
            prop_assert_eq!(document.find_path(&path), expected, "{}", path);
        }
    }

    #[test]
    fn no_text_makes_a_path_panic(text in "[ab/:.@\\[\\]\\\\\u{e9}]{0,24}") {
        let _answer = plant_30().find_path(&text);
        let _attribute = plant_215().attribute("motor", &text);
        prop_assert_eq!(plant_215().query().with_role(text).iter().count(), 0);
    }
}

#[test]
fn broken_documents_answer() {
    let bytes = crate::support::PLANT_215.as_bytes();
    for at in 0..bytes.len() {
        let mut broken = bytes.to_vec();
        broken[at] ^= 0x1C;
        let Ok(document) = Document::parse(&broken, &dt_aml::Limits::default()) else { continue };
        let _links = document.links().count();
        let _hash = document.semantic_hash();
        let _path = document.find_path("Plant/Line/Motor:In");
        let _found = document.query().with_role("Roles/Line").of_unit_class("a/b").iter().count();
        for element in document.internal_elements() {
            let _around = (element.connected(), element.mirrors(), element.master());
        }
    }
}
