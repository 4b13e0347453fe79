//! What refers to what, and what becomes of it under each policy.

use dt_aml::{Document, Edit, EditError, RemovePolicy};

use crate::support::{assert_consistent, parse, text};

/// One of each sort of reference in CAEX 2.15.
const ALL_215: &str = r#"<CAEXFile SchemaVersion="2.15">
  <InstanceHierarchy Name="H">
    <InternalElement Name="Tank" ID="tank" RefBaseSystemUnitPath="Units/Vessel/Tank">
      <Attribute Name="Level" RefAttributeType="x"/>
      <Attribute Name="Parts" AttributeDataType="xs:IDREFS"><Value> pump  valve
      </Value></Attribute>
      <Attribute Name="Text" AttributeDataType="xs:string"><Value>pump</Value></Attribute>
      <ExternalInterface Name="Out" ID="tank.out" RefBaseClassPath="Ports/Flange"/>
      <InternalLink Name="Pipe" RefPartnerSideA="{tank}:Out" RefPartnerSideB="pump:In"/>
      <RoleRequirements RefBaseRoleClassPath="Roles/[In/Out]"/>
      <MappingObject>
        <AttributeNameMapping SystemUnitAttributeName="Level" RoleAttributeName="Fill"/>
        <InterfaceNameMapping SystemUnitInterfaceName="Out" RoleInterfaceName="Port"/>
      </MappingObject>
    </InternalElement>
    <InternalElement Name="Pump" ID="pump">
      <ExternalInterface Name="In" ID="pump.in"/>
    </InternalElement>
    <InternalElement Name="Valve" ID="valve"/>
    <InternalElement Name="Mirror" ID="mirror" RefBaseSystemUnitPath="pump"/>
    <InternalElement Name="MirrorOfMirror" ID="mirror2" RefBaseSystemUnitPath="mirror"/>
  </InstanceHierarchy>
  <InterfaceClassLib Name="Ports">
    <InterfaceClass Name="Flange"/>
    <InterfaceClass Name="Bolted" RefBaseClassPath="Ports/Flange"/>
  </InterfaceClassLib>
  <RoleClassLib Name="Roles">
    <RoleClass Name="In/Out"/>
    <RoleClass Name="Sub" RefBaseClassPath="Roles/[In/Out]"/>
  </RoleClassLib>
  <SystemUnitClassLib Name="Units">
    <SystemUnitClass Name="Vessel">
      <SupportedRoleClass RefRoleClassPath="Roles/Sub"/>
      <SystemUnitClass Name="Tank" RefBaseClassPath="Units/Vessel"/>
    </SystemUnitClass>
  </SystemUnitClassLib>
</CAEXFile>
"#;

const ALL_30: &str = r#"<CAEXFile SchemaVersion="3.0" xmlns="http://www.dke.de/CAEX">
  <SourceDocumentInformation OriginName="o" OriginID="i" OriginVersion="1" LastWritingDateTime="2024-01-01T00:00:00Z"/>
  <InstanceHierarchy Name="H">
    <InternalElement Name="Tank" ID="tank">
      <Attribute Name="Level" RefAttributeType="Types/Length"/>
      <ExternalInterface Name="Out" ID="tank:out"/>
      <InternalLink Name="Pipe" RefPartnerSideA="tank:out" RefPartnerSideB="tank:out"/>
      <RoleRequirements RefBaseRoleClassPath="Roles/Vessel">
        <MappingObject><InterfaceIDMapping SystemUnitInterfaceID="tank:out" RoleInterfaceID="vessel.port"/></MappingObject>
      </RoleRequirements>
    </InternalElement>
  </InstanceHierarchy>
  <RoleClassLib Name="Roles">
    <RoleClass Name="Vessel"><ExternalInterface Name="Port" ID="vessel.port"/></RoleClass>
  </RoleClassLib>
  <AttributeTypeLib Name="Types">
    <AttributeType Name="Length"/>
    <AttributeType Name="Height" RefAttributeType="Types/Length"/>
  </AttributeTypeLib>
</CAEXFile>
"#;

fn remove(address: &str, policy: RemovePolicy) -> Edit {
    Edit::Remove { address: address.into(), policy }
}

/// The references as `from attribute` that keep `address` from being removed.
fn holders(aml: &str, address: &str) -> Vec<String> {
    match parse(aml).remove(address) {
        Ok(_) => Vec::new(),
        Err(EditError::Referenced { by }) => {
            by.iter().map(|reference| format!("{} {}", reference.from, reference.attribute)).collect()
        }
        Err(other) => panic!("{address}: {other}"),
    }
}

#[test]
fn every_sort_of_reference_is_known() {
    let cases: [(&str, &[&str]); 12] = [
        (
            "pump",
            &[
                "tank/Attribute[Parts]/Value Value",
                "tank/InternalLink[Pipe] RefPartnerSideB",
                "mirror RefBaseSystemUnitPath",
            ],
        ),
        ("pump.in", &["tank/InternalLink[Pipe] RefPartnerSideB"]),
        ("valve", &["tank/Attribute[Parts]/Value Value"]),
        ("mirror", &["mirror2 RefBaseSystemUnitPath"]),
        ("mirror2", &[]),
        (
            "tank.out",
            &[
                "tank/InternalLink[Pipe] RefPartnerSideA",
                "tank/MappingObject/InterfaceNameMapping SystemUnitInterfaceName",
            ],
        ),
        ("tank/Attribute[Level]", &["tank/MappingObject/AttributeNameMapping SystemUnitAttributeName"]),
        ("tank/Attribute[Text]", &[]),
        (
            "/InterfaceClassLib[Ports]/InterfaceClass[Flange]",
            &[
                "tank.out RefBaseClassPath",
                "/InterfaceClassLib[Ports]/InterfaceClass[Bolted] RefBaseClassPath",
            ],
        ),
        (
            "/RoleClassLib[Roles]/RoleClass[In/Out]",
            &[
                "tank/RoleRequirements RefBaseRoleClassPath",
                "/RoleClassLib[Roles]/RoleClass[Sub] RefBaseClassPath",
            ],
        ),
        (
            "/RoleClassLib[Roles]/RoleClass[Sub]",
            &["/SystemUnitClassLib[Units]/SystemUnitClass[Vessel]/SupportedRoleClass RefRoleClassPath"],
        ),
        // The reference of the nested class to the outer one goes with it.
        ("/SystemUnitClassLib[Units]/SystemUnitClass[Vessel]", &["tank RefBaseSystemUnitPath"]),
    ];
    for (address, expected) in cases {
        assert_eq!(holders(ALL_215, address), expected, "{address}");
    }
    let cases: [(&str, &[&str]); 3] = [
        (
            "tank:out",
            &[
                "tank/InternalLink[Pipe] RefPartnerSideA",
                "tank/InternalLink[Pipe] RefPartnerSideB",
                "tank/RoleRequirements/MappingObject/InterfaceIDMapping SystemUnitInterfaceID",
            ],
        ),
        ("vessel.port", &["tank/RoleRequirements/MappingObject/InterfaceIDMapping RoleInterfaceID"]),
        (
            "/AttributeTypeLib[Types]/AttributeType[Length]",
            &[
                "tank/Attribute[Level] RefAttributeType",
                "/AttributeTypeLib[Types]/AttributeType[Height] RefAttributeType",
            ],
        ),
    ];
    for (address, expected) in cases {
        assert_eq!(holders(ALL_30, address), expected, "{address}");
    }
}

#[test]
fn references_of_a_library_that_goes_are_those_to_its_classes() {
    let by = holders(ALL_215, "/RoleClassLib[Roles]");
    assert_eq!(
        by,
        [
            "tank/RoleRequirements RefBaseRoleClassPath",
            "/SystemUnitClassLib[Units]/SystemUnitClass[Vessel]/SupportedRoleClass RefRoleClassPath",
        ]
    );
}

#[test]
fn a_reference_that_still_leads_somewhere_is_none_that_breaks() {
    let twice = ALL_215.replace("Name=\"Valve\" ID=\"valve\"", "Name=\"Valve\" ID=\"pump\"");
    let mut document = parse(&twice);
    let one = "/InstanceHierarchy[H]/InternalElement[Valve]";
    document.remove(one).expect("another element has the ID");
    assert!(matches!(document.remove("pump"), Err(EditError::Referenced { .. })));
    // In one step with what takes its place, nothing breaks.
    let mut document = parse(ALL_215);
    let fragment = "<InternalElement Name='Pump2' ID='pump'><ExternalInterface Name='In'/></InternalElement>";
    document.replace("pump", fragment).expect("the ID comes back");
    let without = "<InternalElement Name='Pump3' ID='pump'/>";
    let Err(EditError::Referenced { by }) = document.replace("pump", without) else {
        panic!("the interface goes")
    };
    assert_eq!(by.len(), 1);
    assert_eq!(by[0].target, "pump:In");
}

#[test]
fn references_may_open() {
    let mut document = parse(ALL_215);
    let outcome = document.apply(&[remove("pump", RemovePolicy::OpenLinks)]).expect("a removal");
    let opened: Vec<&str> =
        outcome.changes[0].opened.iter().map(|reference| reference.target.as_str()).collect();
    assert_eq!(opened, ["pump", "pump:In", "pump"]);
    assert!(text(&document).contains("RefPartnerSideB=\"pump:In\""));
    document.apply_patch(&outcome.inverse).expect("the inverse");
    assert_eq!(text(&document), ALL_215);
    // They are references again.
    assert!(matches!(document.remove("pump"), Err(EditError::Referenced { .. })));
}

/// Removes with everything that refers to it; returns what is left of the document's text around `mark`.
fn cascade(aml: &str, address: &str) -> (Document, Vec<String>) {
    let mut document = parse(aml);
    let outcome = document.apply(&[remove(address, RemovePolicy::Cascade)]).expect("a removal");
    assert_consistent(&document);
    let touched = outcome.changes.iter().map(|change| change.address.clone()).collect();
    let mut back = document.clone();
    back.apply_patch(&outcome.inverse).expect("the inverse");
    assert_eq!(text(&back), aml);
    (document, touched)
}

#[test]
fn references_go_with_what_they_refer_to() {
    let (document, touched) = cascade(ALL_215, "pump");
    assert_eq!(
        touched,
        ["pump", "tank/Attribute[Parts]/Value", "tank/InternalLink[Pipe]", "mirror", "mirror2"]
    );
    assert!(
        text(&document).contains("<Attribute Name=\"Parts\" AttributeDataType=\"xs:IDREFS\"></Attribute>")
    );
    assert!(document.find("tank/InternalLink[Pipe]").is_err());
    assert!(document.find("valve").is_ok());

    let (document, touched) = cascade(ALL_215, "/SystemUnitClassLib[Units]/SystemUnitClass[Vessel]");
    assert_eq!(touched[1..], ["tank"]);
    assert!(
        text(&document).contains("<InternalElement Name=\"Tank\" ID=\"tank\">"),
        "it does not go with its class"
    );

    let (document, touched) = cascade(ALL_215, "/RoleClassLib[Roles]/RoleClass[In/Out]");
    assert_eq!(touched[1..], ["tank/RoleRequirements", "/RoleClassLib[Roles]/RoleClass[Sub]"]);
    assert!(text(&document).contains("<RoleClass Name=\"Sub\"/>"));

    let (document, _) = cascade(ALL_215, "tank.out");
    assert!(
        !text(&document).contains("InterfaceNameMapping") && text(&document).contains("AttributeNameMapping")
    );

    let (document, _) = cascade(ALL_30, "tank:out");
    assert!(text(&document).contains("<MappingObject></MappingObject>"));
}

#[test]
fn a_circle_of_mirrors_ends() {
    let ring = "<CAEXFile><InstanceHierarchy Name='H'><InternalElement Name='A' ID='a' RefBaseSystemUnitPath='b'/><InternalElement Name='B' ID='b' RefBaseSystemUnitPath='a'/><InternalElement Name='C' ID='c' RefBaseSystemUnitPath='c'/></InstanceHierarchy></CAEXFile>";
    let (document, touched) = cascade(ring, "a");
    assert_eq!(touched, ["a", "b"]);
    let (_, touched) = cascade(ring, "c");
    assert_eq!(touched, ["c"]);
    assert_eq!(document.internal_elements().count(), 1);
}

#[test]
fn names_that_change_are_held_by_what_refers_to_them() {
    let retag = |address: &str, start: &str, end: &str| Edit::Retag {
        address: address.into(),
        start: start.into(),
        end: end.into(),
        policy: RemovePolicy::Restrict,
    };
    let mut document = parse(ALL_215);
    let held = [
        retag("pump", "<InternalElement Name=\"Pump\" ID=\"p\">", "</InternalElement>"),
        retag("pump.in", "<ExternalInterface Name=\"Inlet\" ID=\"pump.in\"/>", ""),
        retag("/RoleClassLib[Roles]", "<RoleClassLib Name=\"R\">", "</RoleClassLib>"),
        retag("tank/Attribute[Level]", "<Attribute Name=\"Fill\"/>", ""),
    ];
    for edit in held {
        assert!(
            matches!(document.apply(std::slice::from_ref(&edit)), Err(EditError::Referenced { .. })),
            "{edit:?}"
        );
    }
    assert_eq!(text(&document), ALL_215);
    document
        .apply(&[retag("pump", "<InternalElement Name=\"P\" ID=\"pump\">", "</InternalElement>")])
        .expect("a name");
    // A type that makes the value a reference, and one that does not.
    document
        .apply(&[retag(
            "tank/Attribute[Text]",
            "<Attribute Name=\"Text\" AttributeDataType='xs:IDREF'>",
            "</Attribute>",
        )])
        .expect("a type");
    document.apply(&[remove("tank/Attribute[Parts]", RemovePolicy::Restrict)]).expect("nothing refers to it");
    document
        .apply(&[remove("tank/InternalLink[Pipe]", RemovePolicy::Restrict)])
        .expect("nothing refers to it");
    document
        .apply(&[remove("mirror2", RemovePolicy::Restrict), remove("mirror", RemovePolicy::Restrict)])
        .expect("both");
    let Err(EditError::Referenced { by }) = document.remove("pump") else { panic!("the value refers to it") };
    assert_eq!(by[0].from, "tank/Attribute[Text]/Value");
    document.set_value("tank/Attribute[Text]", "valve").expect("a value");
    document.remove("pump").expect("nothing refers to it any more");
    assert!(matches!(document.remove("valve"), Err(EditError::Referenced { .. })));
    assert_consistent(&document);
}
