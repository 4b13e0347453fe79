//! Queries for elements and interfaces by name, place and class.

use dt_aml::{Document, Element, Kind};
use proptest::prelude::*;

use crate::support::{documents, parse};

const PLANT: &str = r#"<CAEXFile>
<InstanceHierarchy Name="H"><InternalElement Name="Line" ID="line">
  <InternalElement Name="A" ID="by.requirement"><RoleRequirements RefBaseRoleClassPath="Roles/[Sensor]/Thermo"/></InternalElement>
  <InternalElement Name="B" ID="by.support"><SupportedRoleClass RefRoleClassPath="Roles/Sensor"/></InternalElement>
  <InternalElement Name="A" ID="by.unit" RefBaseSystemUnitPath="Units/Hot"/>
  <InternalElement Name="C" ID="by.base.unit" RefBaseSystemUnitPath="Units/Hot/Hotter"><ExternalInterface Name="P" ID="p" RefBaseClassPath="Ports/Fast"/></InternalElement>
  <InternalElement Name="D" ID="external"><RoleRequirements RefBaseRoleClassPath="Base@Roles/Sensor"/></InternalElement>
  <InternalElement Name="E" ID="heir.of.external"><RoleRequirements RefBaseRoleClassPath="Roles/Foreign"/></InternalElement>
  <InternalElement Name="F" ID="circle"><RoleRequirements RefBaseRoleClassPath="Roles/C1"/><ExternalInterface Name="P" ID="q" RefBaseClassPath="Ports/Slow"/></InternalElement>
  <InternalElement Name="G" ID="none"/>
</InternalElement></InstanceHierarchy>
<InterfaceClassLib Name="Ports"><InterfaceClass Name="Port"/><InterfaceClass Name="Slow"/><InterfaceClass Name="Fast" RefBaseClassPath="Ports/Port"/></InterfaceClassLib>
<RoleClassLib Name="Roles">
  <RoleClass Name="Sensor"><RoleClass Name="Thermo" RefBaseClassPath="Sensor"/></RoleClass>
  <RoleClass Name="Foreign" RefBaseClassPath="Base@Roles/Sensor"/>
  <RoleClass Name="C1" RefBaseClassPath="Roles/C2"/><RoleClass Name="C2" RefBaseClassPath="Roles/C1"/>
</RoleClassLib>
<SystemUnitClassLib Name="Units"><SystemUnitClass Name="Hot"><SupportedRoleClass RefRoleClassPath="Roles/Sensor/Thermo"/>
  <SystemUnitClass Name="Hotter" RefBaseClassPath="Hot"><InternalElement Name="A" ID="in.class"/></SystemUnitClass></SystemUnitClass></SystemUnitClassLib>
</CAEXFile>"#;

fn ids<'d>(found: impl IntoIterator<Item = Element<'d>>) -> Vec<String> {
    found.into_iter().map(|element| element.id().expect("an ID").into_owned()).collect()
}

#[test]
fn roles_count_with_inheritance() {
    let document = parse(PLANT);
    let with = |role: &str| ids(document.query().with_role(role));
    let sensors = ["by.requirement", "by.support", "by.unit", "by.base.unit"];
    assert_eq!(with("Roles/Sensor"), sensors);
    assert_eq!(with("[Roles]/[Sensor]"), sensors);
    assert_eq!(with("Roles/Sensor/Thermo"), ["by.requirement", "by.unit", "by.base.unit"]);
    assert_eq!(with("Base@Roles/Sensor"), ["external", "heir.of.external"]);
    assert_eq!(with("Roles/C1"), ["circle"]);
    assert_eq!(with("Roles/C2"), ["circle"]);
    for nothing in ["Roles/Nothing", "Roles", "", "Roles//Sensor", "Sensor", "Roles/sensor", "Units/Hot"] {
        assert_eq!(with(nothing), [""; 0], "{nothing}");
    }
}

#[test]
fn unit_classes_and_interface_classes_count_with_inheritance() {
    let document = parse(PLANT);
    assert_eq!(ids(document.query().of_unit_class("Units/Hot")), ["by.unit", "by.base.unit"]);
    assert_eq!(ids(document.query().of_unit_class("Units/Hot/Hotter")), ["by.base.unit"]);
    assert_eq!(ids(document.query_interfaces().of_class("Ports/Port")), ["p"]);
    assert_eq!(ids(document.query_interfaces().named("P")), ["p", "q"]);
    assert_eq!(ids(document.query_interfaces().named("P").of_class("Ports/Slow")), ["q"]);
    let c = document.find("by.base.unit").expect("an element");
    assert_eq!(ids(document.query_interfaces().within(c)), ["p"]);
}

#[test]
fn conditions_add_up() {
    let document = parse(PLANT);
    let line = document.find("line").expect("a line");
    assert_eq!(ids(document.query().named("A")), ["by.requirement", "by.unit", "in.class"]);
    assert_eq!(ids(document.query().named("A").within(line)), ["by.requirement", "by.unit"]);
    let one = document.query().named("A").within(line).with_role("Roles/Sensor").of_unit_class("Units/Hot");
    assert_eq!(ids(one.iter()), ["by.unit"]);
    assert_eq!(ids(one), ["by.unit"], "a query can be asked again");
    assert!(!ids(document.query().within(line)).contains(&"line".to_owned()));
    assert!(document.query().iter().eq(document.internal_elements()));
}

/// What the documentation says, without remembering anything.
fn has_role(document: &Document, element: Element<'_>, role: Element<'_>) -> bool {
    let named = |element: Element<'_>| -> Vec<String> {
        let of = |child: Element<'_>| match child.kind() {
            Kind::RoleRequirements => {
                child.attribute_value("RefBaseRoleClassPath").map(|path| path.into_owned())
            }
            Kind::SupportedRoleClass => {
                child.attribute_value("RefRoleClassPath").map(|path| path.into_owned())
            }
            _ => None,
        };
        element.children().filter_map(of).collect()
    };
    let chain = |path: Option<String>, kind: Kind| {
        let mut classes: Vec<Element<'_>> = Vec::new();
        let mut next = path.and_then(|path| document.find_path(&path).ok());
        while let Some(class) = next.filter(|class| class.kind() == kind && !classes.contains(class)) {
            classes.push(class);
            let base = class.attribute_value("RefBaseClassPath");
            let outer = || class.parent().filter(|outer| outer.kind() == kind && outer.name() == base);
            next = base.as_deref().and_then(|base| document.find_path(base).ok()).or_else(outer);
        }
        classes
    };
    let unit = element.attribute_value("RefBaseSystemUnitPath").map(|path| path.into_owned());
    let holders = std::iter::once(element).chain(chain(unit, Kind::SystemUnitClass));
    holders.flat_map(named).any(|path| chain(Some(path), Kind::RoleClass).contains(&role))
}

fn path_of(class: Element<'_>) -> String {
    let mut names: Vec<_> =
        class.ancestors().filter_map(|around| around.name()).map(|name| format!("[{name}]")).collect();
    names.reverse();
    names.join("/")
}

#[test]
fn real_files_answer_as_the_naive_reading_does() {
    for (name, bytes) in documents() {
        let document = parse(&bytes);
        let roles: Vec<_> =
            document.elements().filter(|class| class.kind() == Kind::RoleClass).take(25).collect();
        let mut found = 0;
        for role in roles {
            let path = path_of(role);
            if document.find_path(&path) != Ok(role) {
                continue;
            }
            let expected: Vec<_> =
                document.internal_elements().filter(|element| has_role(&document, *element, role)).collect();
            found += expected.len();
            assert!(document.query().with_role(&path).iter().eq(expected), "{name}: {path}");
        }
        let has_elements_with_roles = name.contains("CandyFactory") || name.starts_with("mtp");
        assert!(!has_elements_with_roles || found > 7, "{name}: {found}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    /// Classes with any bases, circles included, and elements with any classes.
    #[test]
    fn any_libraries_answer_as_the_naive_reading_does(
        role_bases in prop::collection::vec(prop::option::of(0..8_usize), 8),
        unit_bases in prop::collection::vec((prop::option::of(0..6_usize), prop::option::of(0..8_usize)), 6),
        elements in prop::collection::vec((prop::option::of(0..7_usize), prop::option::of(0..9_usize)), 1..12),
    ) {
        let attribute = |name: &str, prefix: &str, number: &Option<usize>| {
            number.map(|number| format!(" {name}='{prefix}{number}'")).unwrap_or_default()
        };
        let child = |tag: &str, name: &str, number: &Option<usize>| {
            number.map(|number| format!("<{tag} {name}='R/r{number}'/>")).unwrap_or_default()
        };
        let role = |(at, base): (usize, &Option<usize>)| format!("<RoleClass Name='r{at}'{}/>", attribute("RefBaseClassPath", "R/r", base));
        let unit = |(at, (base, role)): (usize, &(Option<usize>, Option<usize>))| format!(
            "<SystemUnitClass Name='u{at}'{}>{}</SystemUnitClass>",
            attribute("RefBaseClassPath", "U/u", base),
            child("SupportedRoleClass", "RefRoleClassPath", role),
        );
        let element = |(unit, role): &(Option<usize>, Option<usize>)| format!(
            "<InternalElement Name='e'{}>{}</InternalElement>",
            attribute("RefBaseSystemUnitPath", "U/u", unit),
            child("RoleRequirements", "RefBaseRoleClassPath", role),
        );
        let document = parse(format!(
            "<CAEXFile><InstanceHierarchy Name='H'>{}</InstanceHierarchy><RoleClassLib Name='R'>{}</RoleClassLib><SystemUnitClassLib Name='U'>{}</SystemUnitClassLib></CAEXFile>",
            elements.iter().map(element).collect::<String>(),
            role_bases.iter().enumerate().map(role).collect::<String>(),
            unit_bases.iter().enumerate().map(unit).collect::<String>(),
        ));
        for number in 0..8 {
            let path = format!("R/r{number}");
            let role = document.find_path(&path).expect("a role");
            let expected: Vec<_> = document.internal_elements().filter(|element| has_role(&document, *element, role)).collect();
            prop_assert!(document.query().with_role(&path).iter().eq(expected), "{}", path);
        }
    }
}

#[test]
fn long_chains_and_large_circles_are_judged_once() {
    const CLASSES: usize = 30_000;
    let class = |n: usize| format!("<RoleClass Name='r{n}' RefBaseClassPath='R/r{}'/>", (n + 1) % CLASSES);
    let classes: String = (0..CLASSES).map(class).collect();
    let element = |n: usize| {
        format!(
            "<InternalElement Name='e'><RoleRequirements RefBaseRoleClassPath='R/r{n}'/></InternalElement>"
        )
    };
    let elements: String = (0..CLASSES).map(element).collect();
    let text = format!(
        "<CAEXFile><InstanceHierarchy Name='H'>{elements}</InstanceHierarchy><RoleClassLib Name='R'>{classes}</RoleClassLib></CAEXFile>"
    );
    let document = parse(text);
    assert_eq!(document.query().with_role("R/r7").iter().count(), CLASSES);
    assert_eq!(document.query().with_role("R/none").iter().count(), 0);
}
