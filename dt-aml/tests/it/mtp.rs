//! Services of Module Type Packages, their parameters and limits.

use dt_aml::{DataType, Document, Parameter, Verdict, Violation};

use crate::support::{documents, parse};

/// A service with one parameter, whose data assembly holds these attributes as (name, type, value).
fn service(class: &str, attributes: &[(&str, &str, &str)]) -> Document {
    let attribute = |(name, data_type, value): &(&str, &str, &str)| {
        format!("<Attribute Name='{name}' AttributeDataType='{data_type}'><Value>{value}</Value></Attribute>")
    };
    let attributes: String = attributes.iter().map(attribute).collect();
    parse(format!(
        r#"<CAEXFile><InstanceHierarchy Name="MTP">
  <InternalElement Name="Flow" ID="assembly" RefBaseSystemUnitPath="MTPDataObjectSUCLib/DataAssembly/{class}">
    {attributes}<Attribute Name="RefID"><Value> shared </Value></Attribute></InternalElement>
  <InternalElement Name="Picture" ID="picture" RefBaseSystemUnitPath="MTPHMISUCLib/VisualObject">
    <Attribute Name="RefID"><Value>shared</Value></Attribute></InternalElement>
</InstanceHierarchy><InstanceHierarchy Name="Services">
  <InternalElement Name="Dosing" ID="dosing" RefBaseSystemUnitPath="MTPServiceSUCLib/Service">
    <InternalElement Name="Flow" ID="flow" RefBaseSystemUnitPath="MTPServiceSUCLib/ServiceParameter/ProcedureParameter">
      <Attribute Name="RefID"><Value>shared</Value></Attribute></InternalElement>
    <InternalElement Name="Dosed" ID="dosed" RefBaseSystemUnitPath="MTPServiceSUCLib/ServiceParameter/ReportValue"/>
    <InternalElement Name="Level" ID="level" RefBaseSystemUnitPath="MTPServiceSUCLib/ServiceParameter/ProcessValueOut"/>
    <InternalElement Name="Fill" ID="fill" RefBaseSystemUnitPath="MTPServiceSUCLib/ServiceProcedure">
      <Attribute Name="RequiredParameters" AttributeDataType="xs:IDREFS"><Value>flow dosed nowhere picture flow</Value></Attribute>
      <InternalElement Name="Own" ID="own" RefBaseSystemUnitPath="MTPServiceSUCLib/ServiceParameter/ProcedureParameter"/>
    </InternalElement>
  </InternalElement>
</InstanceHierarchy></CAEXFile>"#
    ))
}

fn flow(class: &str, attributes: &[(&str, &str, &str)]) -> Parameter {
    let program = service(class, attributes).program("dosing").expect("a service");
    program.parameter("Flow").expect("a parameter").clone()
}

fn names(document: &Document, program: &str) -> Vec<String> {
    let parameters = document.program(program).expect("a program").parameters;
    parameters.into_iter().map(|parameter| parameter.name).collect()
}

#[test]
fn services_take_what_they_hold_and_what_they_list_but_not_what_they_report() {
    let document = service("AnaServParam", &[]);
    assert_eq!(names(&document, "dosing"), ["Flow"]);
    assert_eq!(names(&document, "fill"), ["Own", "Flow"]);
    let own = document.program("fill").expect("a procedure").parameters[0].clone();
    assert_eq!(own.check("1"), Verdict::NotCheckable, "nobody knows its type");
    assert_eq!(document.programs().len(), 2);
    assert_eq!(document.program("fill"), document.programs().pop(), "alike, one by one or all at once");
}

#[test]
fn numbers_in_the_data_assembly_are_limits() {
    let all = [
        ("VMin", "xs:double", "1"),
        ("VMax", "xs:double", "9.5"),
        ("VSclMin", "xs:double", "0"),
        ("VSclMax", "xs:double", "9"),
    ];
    let flow = flow("OperationElement/AnaServParam", &all);
    assert_eq!(flow.data_type, Some(DataType::Float));
    assert!(flow.check("1").passes() && flow.check("9").passes());
    assert_eq!(flow.check("9.1"), Verdict::Violates(Violation::AboveMax { max: "9".into() }));
    assert_eq!(flow.check("0.5"), Verdict::Violates(Violation::BelowMin { min: "1".into() }));
    assert!(matches!(flow.check("fast"), Verdict::Violates(Violation::NotOfType { .. })));
}

#[test]
fn limits_at_run_time_are_not_checkable_but_known_ones_still_hold() {
    let some = [("VMin", "xs:double", "0"), ("VMax", "xs:IDREF", "60"), ("VSclMax", "xs:double", "100")];
    let flow = flow("AnaServParam", &some);
    assert_eq!(flow.check("50"), Verdict::NotCheckable, "60 is the name of a variable");
    assert!(matches!(flow.check("101"), Verdict::Violates(_)));
    assert!(matches!(flow.check("-1"), Verdict::Violates(_)));
    let unbounded = self::flow("DIntServParam", &[("VMin", "xs:double", "0")]);
    assert_eq!(unbounded.check("5"), Verdict::NotCheckable, "nothing bounds it from above");
    assert!(matches!(unbounded.check("5.5"), Verdict::Violates(Violation::NotOfType { .. })));
    assert!(matches!(unbounded.check("2147483648"), Verdict::Violates(Violation::NotOfType { .. })));
}

#[test]
fn other_data_assemblies_tell_the_type() {
    assert!(flow("BinServParam", &[]).check("true").passes());
    assert!(!flow("BinServParam", &[]).check("5").passes());
    assert!(flow("StringServParam", &[]).check("anything").passes());
    assert_eq!(flow("AnaView", &[]).check("5"), Verdict::NotCheckable);
}

#[test]
fn two_data_assemblies_are_none() {
    let mut document = service("BinServParam", &[]);
    let twin = "<InternalElement Name='Twin' ID='twin' RefBaseSystemUnitPath='MTPDataObjectSUCLib/DataAssembly/BinServParam'>\
        <Attribute Name='RefID'><Value>shared</Value></Attribute></InternalElement>";
    document.insert(twin, "/InstanceHierarchy[MTP]", None).expect("an insertion");
    let flow = document.program("dosing").expect("a service").parameters[0].clone();
    assert_eq!(flow.check("true"), Verdict::NotCheckable);
}

#[test]
fn the_limits_of_real_packages_are_known_at_run_time() {
    let modules: Vec<_> = documents().into_iter().filter(|(name, _)| name.starts_with("mtp")).collect();
    let mut floats = 0;
    for (name, bytes) in &modules {
        for parameter in parse(bytes).programs().into_iter().flat_map(|program| program.parameters) {
            assert_eq!(parameter.check("1"), Verdict::NotCheckable, "{name}: {parameter:?}");
            if parameter.data_type == Some(DataType::Float) {
                assert_eq!(parameter.constraints.len(), 4, "{name}: {parameter:?}");
                floats += 1;
            }
        }
    }
    assert!(modules.is_empty() || floats > 0, "no parameter has a data assembly");
}
