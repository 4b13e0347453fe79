//! Attributes, constraints and programs.

use dt_aml::value::decimal;
use dt_aml::{Bound, Constraint, DataType, Requirement, Verdict, Violation};

use crate::support::{PLANT_215, documents, parse};

fn ordinal(min: Option<&str>, required: Option<&str>, max: Option<&str>) -> Constraint {
    let bound = |text: Option<&str>| text.map(|text| Bound(text.to_owned()));
    let requirement = Requirement::Ordinal { min: bound(min), required: bound(required), max: bound(max) };
    Constraint { name: "C".to_owned(), requirement }
}

fn passes(constraint: &Constraint, value: &str) -> bool {
    constraint.check(value).passes()
}

#[test]
fn attributes_are_read_with_all_they_say() {
    let document = parse(PLANT_215);
    let speed = document.attribute("line", "Speed").expect("a speed");
    assert_eq!(speed.address.as_deref(), Some("line/Attribute[Speed]"));
    assert_eq!((speed.value.as_deref(), speed.default.as_deref()), (Some("42.5"), Some("30")));
    assert_eq!((speed.unit.as_deref(), &speed.data_type), (Some("m/min"), &Some(DataType::Decimal)));
    assert_eq!(
        speed.constraints,
        [Constraint { name: "Safety".into(), ..ordinal(Some("0"), None, Some("60")) }]
    );
    assert!(speed.check("60").passes());
    assert_eq!(speed.check("60.0001"), Verdict::Violates(Violation::AboveMax { max: "60".into() }));
    assert_eq!(speed.check("-1"), Verdict::Violates(Violation::BelowMin { min: "0".into() }));
    let step = document.attribute("line", "Speed/Step").expect("a step");
    assert_eq!(step.value.as_deref(), Some("5"));
    assert!(!step.check("2147483648").passes());
    assert_eq!(document.attribute("line", "Speed/Nothing"), None);
    assert_eq!(document.attribute("line", ""), None);
    assert_eq!(document.attribute("nowhere", "Speed"), None);
    assert_eq!(document.find("line").expect("a line").attributes(), [speed]);
}

#[test]
fn attribute_types_add_their_constraints() {
    let document = parse(
        r#"<CAEXFile xmlns="http://www.dke.de/CAEX"><InstanceHierarchy Name="H"><InternalElement Name="E" ID="e">
             <Attribute Name="P" RefAttributeType="T/Outer/Inner"><Value>1</Value></Attribute>
             <Attribute Name="Loop" RefAttributeType="T/Loop"/>
           </InternalElement></InstanceHierarchy><AttributeTypeLib Name="T">
             <AttributeType Name="Outer" AttributeDataType="xs:decimal" Unit="bar"><DefaultValue>2</DefaultValue>
               <Constraint Name="High"><OrdinalScaledType><RequiredMaxValue>6</RequiredMaxValue></OrdinalScaledType></Constraint>
               <AttributeType Name="Inner" RefAttributeType="Outer" Unit="kPa">
                 <Constraint Name="Low"><OrdinalScaledType><RequiredMinValue>1</RequiredMinValue></OrdinalScaledType></Constraint>
               </AttributeType>
             </AttributeType>
             <AttributeType Name="Loop" RefAttributeType="T/Loop">
               <Constraint Name="C"><UnknownType><Requirements>r</Requirements></UnknownType></Constraint>
             </AttributeType>
           </AttributeTypeLib></CAEXFile>"#,
    );
    let pressure = document.attribute("e", "P").expect("a pressure");
    assert_eq!(pressure.unit.as_deref(), Some("kPa"));
    assert_eq!(pressure.default.as_deref(), Some("2"));
    assert_eq!(pressure.data_type, Some(DataType::Decimal));
    assert!(pressure.check("6").passes() && pressure.check("1").passes());
    assert!(!pressure.check("6.1").passes() && !pressure.check("0.9").passes());
    assert_eq!(document.attribute("e", "Loop").expect("an attribute").constraints.len(), 1, "a circle ends");
}

#[test]
fn bounds_are_compared_exactly() {
    let limit = ordinal(Some("0.1"), None, Some("0.3"));
    for value in [
        "0.1",
        "0.3",
        "0.30",
        "+0.2",
        " 0.2\n",
        ".2",
        "3e-1",
        "2E-1",
        "00.1",
        "0.3000000000000000000000000000",
    ] {
        assert!(passes(&limit, value), "{value}");
    }
    for value in [
        "0.30000000000000000001",
        "0.09999999999999999999",
        "",
        " ",
        "-0.2",
        "abc",
        "NaN",
        "INF",
        "-INF",
        "0,2",
        "0x0",
        "0.2.1",
        "1_0",
        "0.2 0.2",
        "\u{0660}.2",
        "--0.2",
        "+-0.2",
        "e",
        "0.2e",
        "1e1000000000000000000",
        "\u{a0}0.2",
    ] {
        assert!(matches!(limit.check(value), Verdict::Violates(_)), "{value}");
    }
    let digits = format!("0.2{}1", "0".repeat(27));
    assert!(!passes(&limit, &digits), "29 digits do not fit exactly, so nobody knows");
    assert!(!passes(&limit, &"0".repeat(100)));
    assert!(!passes(&limit, &"1".repeat(1 << 20)));
}

#[test]
fn what_cannot_be_told_is_not_a_pass() {
    let dates = ordinal(None, None, Some("2024-01-01"));
    assert_eq!(dates.check("2023-01-01"), Verdict::NotCheckable);
    assert_eq!(ordinal(Some("0"), None, Some("high")).check("5"), Verdict::NotCheckable);
    assert_eq!(ordinal(None, None, None).check("5"), Verdict::NotCheckable);
    let unknown =
        Constraint { name: "C".into(), requirement: Requirement::Unknown { requirements: "gentle".into() } };
    assert_eq!(unknown.check("5"), Verdict::NotCheckable);
    assert_eq!(Verdict::Passes.and(Verdict::NotCheckable), Verdict::NotCheckable);
    let violation = Verdict::Violates(Violation::NotListed);
    assert_eq!(Verdict::NotCheckable.and(violation.clone()), violation);
    assert!(!DataType::from_schema("xs:anyURI").check("a").passes());
}

#[test]
fn required_alone_is_the_one_value_and_beside_bounds_the_target() {
    let alone = ordinal(None, Some("5"), None);
    assert!(passes(&alone, "5.0") && !passes(&alone, "5.1"));
    let target = ordinal(Some("4"), Some("5"), Some("6"));
    assert!(passes(&target, "4") && passes(&target, "6") && !passes(&target, "7"));
}

#[test]
fn nominal_values_are_compared_character_by_character() {
    let requirement = Requirement::Nominal { values: vec!["Rinse".into(), "\u{c4}cid".into()] };
    let choice = Constraint { name: "C".into(), requirement };
    assert!(passes(&choice, "Rinse") && passes(&choice, "\u{c4}cid"));
    for value in ["rinse", "Rinse ", "", "A\u{308}cid"] {
        assert_eq!(choice.check(value), Verdict::Violates(Violation::NotListed), "{value}");
    }
}

#[test]
fn data_types() {
    let cases: [(&str, &[&str], &[&str]); 9] = [
        ("xs:boolean", &["true", "false", "1", "0", " true "], &["TRUE", "yes", "2", ""]),
        ("xs:integer", &["0", "-5", "+7", "123456789012345678901234567890"], &["1.0", "1e3", "", "-", "0x1"]),
        ("xs:int", &["2147483647", "-2147483648"], &["2147483648", "-2147483649", "1.5"]),
        ("xs:unsignedByte", &["0", "255"], &["-1", "256"]),
        ("xs:unsignedLong", &["18446744073709551615"], &["18446744073709551616", "-1"]),
        ("xs:positiveInteger", &["1"], &["0"]),
        ("xs:decimal", &["1", "-1.50", ".5", "5."], &["1e3", "NaN", ".", "", "1.2.3"]),
        ("xs:double", &["1e3", "-1.5E-2", "0"], &["NaN", "INF", "1e", "1e99"]),
        ("string", &["", "anything"], &[]),
    ];
    for (name, good, bad) in cases {
        let data_type = DataType::from_schema(name);
        good.iter().for_each(|value| assert!(data_type.check(value).passes(), "{name}: {value}"));
        bad.iter().for_each(|value| assert!(!data_type.check(value).passes(), "{name}: {value}"));
    }
    assert!(DataType::from_plc("int").check("32767").passes());
    assert!(!DataType::from_plc("INT").check("32768").passes());
    assert!(DataType::from_plc("Bool").check("1").passes());
}

#[test]
fn decimals_are_exact_or_nothing() {
    let same = [
        ("1", "1.000"),
        ("-0", "0"),
        ("1e2", "100"),
        ("1200e-2", "12"),
        ("0.5e1", "5"),
        ("1e0", "1"),
        ("0e999", "0"),
    ];
    for (left, right) in same {
        assert_eq!(decimal(left), decimal(right), "{left} {right}");
        assert!(decimal(left).is_some(), "{left}");
    }
    assert_eq!(
        decimal("79228162514264337593543950335").map(|d| d.to_string()),
        Some("79228162514264337593543950335".into())
    );
    for text in
        ["79228162514264337593543950336", "1e29", "1e-29", "0.00000000000000000000000000001", "1e9999999999"]
    {
        assert_eq!(decimal(text), None, "{text}");
    }
}

const PROGRAMS: &str = r#"<CAEXFile><InstanceHierarchy Name="H"><InternalElement Name="PLC" ID="plc">
  <InternalElement Name="ByOwnRole" ID="p1">
    <Attribute Name="cmd" AttributeDataType="xs:string"><Value>run</Value></Attribute>
    <InternalElement Name="Nested" ID="p2"><RoleRequirements RefBaseRoleClassPath="ProgramRoleClassLib/Generic/Command"/></InternalElement>
    <InternalElement Name="Table" ID="t1"><RoleRequirements RefBaseRoleClassPath="Tables/ProgramTable"/></InternalElement>
    <RoleRequirements RefBaseRoleClassPath="Roles/SubProgram"/>
  </InternalElement>
  <InternalElement Name="ByInheritedRole" ID="p3"><SupportedRoleClass RefRoleClassPath="Roles/Recipe"/></InternalElement>
  <InternalElement Name="ByUnit" ID="p4" RefBaseSystemUnitPath="Units/Sub"/>
  <InternalElement Name="Service" ID="p5" RefBaseSystemUnitPath="MTPServiceSUCLib/Service">
    <InternalElement Name="Flow" ID="p5.flow" RefBaseSystemUnitPath="MTPServiceSUCLib/ServiceParameter/ProcedureParameter"/>
  </InternalElement>
  <InternalElement Name="Logic" ID="p6">
    <Attribute Name="note"/>
    <ExternalInterface Name="OB1" ID="ob1" RefBaseClassPath="Interfaces/PLCopenXMLInterface"/>
    <ExternalInterface Name="Belt" ID="belt" RefBaseClassPath="Interfaces/Tag">
      <Attribute Name="refURI" AttributeDataType="xs:anyURI"><Value>x#y</Value>
        <Constraint Name="Safety"><OrdinalScaledType><RequiredMaxValue>60</RequiredMaxValue></OrdinalScaledType></Constraint>
      </Attribute>
      <Attribute Name="type"><Value>int</Value></Attribute>
    </ExternalInterface>
  </InternalElement>
  <InternalElement Name="OnlyLogic" ID="l1"><ExternalInterface Name="OB2" ID="ob2" RefBaseClassPath="Interfaces/PLCopenXMLInterface"/></InternalElement>
  <InternalElement Name="OnlyVariables" ID="v1"><ExternalInterface Name="V" ID="v" RefBaseClassPath="Interfaces/VariableInterface"/></InternalElement>
  <InternalElement Name="External" ID="x1"><RoleRequirements RefBaseRoleClassPath="Alias@Roles/Recipe"/></InternalElement>
  <InternalElement Name="Circle" ID="c1"><RoleRequirements RefBaseRoleClassPath="Roles/A"/></InternalElement>
</InternalElement></InstanceHierarchy>
<InterfaceClassLib Name="Interfaces"><InterfaceClass Name="PLCopenXMLInterface">
  <InterfaceClass Name="VariableInterface" RefBaseClassPath="PLCopenXMLInterface"/></InterfaceClass>
  <InterfaceClass Name="Tag" RefBaseClassPath="Interfaces/PLCopenXMLInterface/VariableInterface"/></InterfaceClassLib>
<RoleClassLib Name="Roles"><RoleClass Name="Recipe" RefBaseClassPath="Roles/Program"/><RoleClass Name="Program"/>
  <RoleClass Name="A" RefBaseClassPath="Roles/B"/><RoleClass Name="B" RefBaseClassPath="Roles/A"/></RoleClassLib>
<SystemUnitClassLib Name="Units"><SystemUnitClass Name="Base"><SupportedRoleClass RefRoleClassPath="Roles/Program"/></SystemUnitClass>
  <SystemUnitClass Name="Sub" RefBaseClassPath="Units/Base"/></SystemUnitClassLib></CAEXFile>"#;

#[test]
fn programs_are_recognised_in_every_documented_way() {
    let document = parse(PROGRAMS);
    let addresses: Vec<String> = document.programs().into_iter().map(|program| program.address).collect();
    assert_eq!(addresses, ["p1", "p2", "p3", "p4", "p5", "p6"]);
    for other in ["plc", "t1", "v1", "l1", "x1", "c1", "belt", "nowhere", "/"] {
        assert_eq!(document.program(other), None, "{other}");
    }
    let names = |address: &str| {
        let program = document.program(address).expect("a program");
        program.parameters.into_iter().map(|parameter| parameter.name).collect::<Vec<_>>()
    };
    assert_eq!(names("p1"), ["cmd"]);
    assert_eq!(names("p5"), ["Flow"]);
    assert_eq!(names("p6"), ["Belt"]);
}

#[test]
fn a_limit_on_an_attribute_of_a_variable_is_the_variables() {
    let program = parse(PROGRAMS).program("p6").expect("a program");
    let belt = program.parameter("Belt").expect("a variable");
    assert_eq!(belt.address.as_deref(), Some("belt"));
    assert_eq!(belt.data_type, Some(DataType::from_plc("INT")));
    assert!(belt.check("60").passes());
    assert!(!belt.check("61").passes());
    assert!(!belt.check("59.5").passes());
    assert!(!parse(PROGRAMS).program("p5").expect("a service").parameters[0].check("1").passes());
}

#[test]
fn tags_of_a_project_configuration_name_their_type_too() {
    let document = parse(
        r#"<CAEXFile><InstanceHierarchy Name="H"><InternalElement Name="P" ID="p">
             <ExternalInterface Name="Level" ID="level" RefBaseClassPath="Lib/VariableInterface/Tag">
               <Attribute Name="DataType" AttributeDataType="xs:string"><Value>Int</Value></Attribute>
               <Attribute Name="LogicalAddress"><Value>%IW2</Value></Attribute>
             </ExternalInterface>
             <RoleRequirements RefBaseRoleClassPath="Roles/Program"/>
           </InternalElement></InstanceHierarchy></CAEXFile>"#,
    );
    let level = document.program("p").expect("a program").parameters[0].clone();
    assert!(level.check("32767").passes());
    assert!(!level.check("32768").passes());
}

#[test]
fn real_programs() {
    let count = |name: &str| {
        let documents = documents();
        let found = documents.iter().find(|(file, _)| file == name)?;
        let programs = parse(&found.1).programs();
        let parameters = programs.iter().map(|program| program.parameters.len()).sum::<usize>();
        Some((programs.len(), parameters))
    };
    let expected = [
        ("ethertwin_CandyFactory_c215.aml", (5, 15)),
        ("mtppy_mtp_example_c215.aml", (2, 1)),
        // 17 parameters stand in services; their strategies refer to them 27 times.
        ("mtp_polaris_CPS_EDP_Manifest_c215.aml", (33, 17 + 27)),
        ("blackenergy_c30.aml", (0, 0)),
    ];
    for (name, numbers) in expected {
        match count(name) {
            Some(found) => assert_eq!(found, numbers, "{name}"),
            None => eprintln!("not checked: {name} is not there"),
        }
    }
}

#[test]
fn the_conveyor_of_the_candy_factory_is_limited() {
    let Some((_, bytes)) =
        documents().into_iter().find(|(name, _)| name.starts_with("ethertwin_CandyFactory"))
    else {
        eprintln!("not checked: CandyFactory is not there");
        return;
    };
    let program = parse(bytes).program("1332aff9-f295-466e-84c2-0eb5902996a3").expect("the PLC's program");
    let velocity = program.parameter("ConveyorVelocity").expect("a variable");
    assert!(velocity.check("60").passes());
    assert_eq!(velocity.check("61"), Verdict::Violates(Violation::AboveMax { max: "60".into() }));
}

#[test]
fn classes_follow_edits() {
    let mut document = parse(PROGRAMS);
    assert!(document.program("p3").is_some());
    let recipe = "/RoleClassLib[Roles]/RoleClass[Recipe]";
    assert!(document.remove(recipe).is_err(), "p3 refers to it");
    let policy = dt_aml::RemovePolicy::OpenLinks;
    document.apply(&[dt_aml::Edit::Remove { address: recipe.into(), policy }]).expect("a class");
    assert_eq!(document.program("p3"), None, "the role inherits from nothing now");
    let recipe = "<RoleClass Name='Recipe' RefBaseClassPath='Roles/Program'/>";
    document.insert(recipe, "/RoleClassLib[Roles]", None).expect("a class");
    assert!(document.program("p3").is_some());
    let twice = document.apply(&[
        dt_aml::Edit::Remove {
            address: "/RoleClassLib[Roles]".into(),
            policy: dt_aml::RemovePolicy::Restrict,
        },
        dt_aml::Edit::Remove { address: "nowhere".into(), policy: dt_aml::RemovePolicy::Restrict },
    ]);
    assert!(twice.is_err());
    assert!(document.program("p3").is_some(), "nothing happened");
}
