//! Addresses, handles and what a document tells about itself.

use dt_aml::{Document, FindError, Kind, Limits, Problem, Version};

use crate::support::{PLANT_30, PLANT_215, parse};

fn problems(text: &str) -> Vec<Problem> {
    parse(text).issues().into_iter().map(|issue| issue.problem).collect()
}

#[test]
fn elements_are_found_by_id_and_by_path() {
    let document = parse(PLANT_215);
    let tag_at = |address: &str| document.find(address).map(|element| element.tag());
    assert_eq!(tag_at("/"), Ok("CAEXFile"));
    assert_eq!(tag_at("motor.in"), Ok("ExternalInterface"));
    assert_eq!(tag_at("/InstanceHierarchy[Plant]"), Ok("InstanceHierarchy"));
    assert_eq!(tag_at("/InstanceHierarchy[Plant]/Version"), Ok("Version"));
    assert_eq!(tag_at("/RoleClassLib[Roles]/RoleClass[Line]"), Ok("RoleClass"));
    assert_eq!(tag_at("line/Attribute[Speed]/Attribute[Step]/Value"), Ok("Value"));
    assert_eq!(
        tag_at("/InstanceHierarchy[Plant]/InternalElement[Line]/InternalElement[Motor]"),
        Ok("InternalElement")
    );
    assert_eq!(tag_at(""), Err(FindError::Malformed));
    assert_eq!(tag_at(&"x".repeat(1 << 20)), Err(FindError::Malformed));
    for address in [
        "LINE",
        "line/Attribute[speed]",
        "line/Attribute",
        "//",
        "line/",
        "/InstanceHierarchy",
        "line/Foo[x]",
    ] {
        assert_eq!(tag_at(address), Err(FindError::Unknown), "{address}");
    }
    assert_eq!(document.find("sensor").expect("a sensor").address().as_deref(), Some("sensor"));
    let step = document.find("line/Attribute[Speed]/Attribute[Step]").expect("a step");
    assert_eq!(step.address().as_deref(), Some("line/Attribute[Speed]/Attribute[Step]"));
}

#[test]
fn names_and_ids_may_hold_anything() {
    let names =
        ["a/b", "a]b", "]", "]]", "[x]", "a]/Attribute[b", "\u{e9}\u{1F600}", "a&amp;b", "&#93;", " "];
    let ids = ["a/b", "[A01] name", "{6f0e}", "x/y[z", "a]/b[", "x/y[z]", "x/y[z]w", "urn:x:y", "&lt;"];
    let attributes: String = names.iter().map(|name| format!("<Attribute Name='{name}'/>")).collect();
    let element = |(n, id)| format!("<InternalElement Name='{n}' ID='{id}'>{attributes}</InternalElement>");
    let elements: String = ids.iter().enumerate().map(element).collect();
    let document =
        parse(format!("<CAEXFile><InstanceHierarchy Name='H'>{elements}</InstanceHierarchy></CAEXFile>"));
    let mut addressed = 0;
    for element in document.elements() {
        if let Some(address) = element.address() {
            assert_eq!(document.find(&address), Ok(element), "{address}");
            addressed += 1;
        }
    }
    assert!(document.find("x/y[z]").is_err(), "a path, not the ID");
    // `]` and `&#93;` are one name, so these two are told apart by their number.
    assert_eq!(addressed, 2 + ids.len() * (1 + names.len()));
}

#[test]
fn one_of_several_is_never_taken_for_the_one() {
    let document = parse(
        "<CAEXFile><InstanceHierarchy Name='H'>
           <InternalElement Name='A' ID='a'/><InternalElement Name='A' ID='a'/><InternalElement Name='A' ID='b'/>
         </InstanceHierarchy></CAEXFile>",
    );
    assert_eq!(document.find("a").map(|a| a.tag()), Err(FindError::Ambiguous { count: 2 }));
    let path = "/InstanceHierarchy[H]/InternalElement[A]";
    assert_eq!(document.find(path).map(|a| a.tag()), Err(FindError::Ambiguous { count: 3 }));
    let addresses: Vec<_> = document.internal_elements().map(|element| element.address()).collect();
    let numbered = |number: usize| Some(format!("{path}#{number}"));
    assert_eq!(addresses, [numbered(1), numbered(2), Some("b".to_owned())]);
    for number in ["0", "01", "+1", "4", "", "x", "18446744073709551616"] {
        let address = format!("{path}#{number}");
        assert_eq!(document.find(&address).map(|a| a.tag()), Err(FindError::Unknown), "{address}");
    }
    assert_eq!(document.ids().collect::<Vec<_>>(), ["a", "a", "b"]);
}

#[test]
fn what_is_not_caex_has_no_id() {
    let document = parse(
        "<CAEXFile xmlns='http://www.dke.de/CAEX' xmlns:o='other'><AdditionalInformation><InternalElement ID='x'/>
         </AdditionalInformation><o:InternalElement ID='x'/><InstanceHierarchy Name='H' ID='x'/></CAEXFile>",
    );
    assert_eq!(document.find("x").map(|x| x.kind()), Ok(Kind::InstanceHierarchy));
    assert_eq!(document.version(), Version::Caex30);
    assert_eq!(document.internal_elements().count(), 0);
}

#[test]
fn handles_lead_around() {
    let document = parse(PLANT_215);
    let motor = document.find("motor").expect("a motor");
    assert_eq!(motor.parent(), document.find("line").ok());
    assert_eq!(motor.previous_sibling(), document.find("line.out").ok());
    assert_eq!(motor.next_sibling(), document.find("sensor").ok());
    assert_eq!(motor.name().as_deref(), Some("Motor"));
    let tags: Vec<_> = motor.ancestors().map(|element| element.tag()).collect();
    assert_eq!(tags, ["InternalElement", "InternalElement", "InstanceHierarchy", "CAEXFile"]);
    assert_eq!(motor.children().count(), 1);
    assert_eq!(motor.descendants().count(), 2);
    assert!(
        PLANT_215.contains(&*motor.source()) && motor.source().starts_with("<InternalElement Name=\"Motor\"")
    );
    assert_eq!(document.root().parent(), None);
    assert_eq!((motor.position().line, motor.position().column), (19, 7));
}

#[test]
fn text_is_read_as_xml_says() {
    let document = parse(
        "<CAEXFile><InstanceHierarchy Name='a&amp;b&#x41;&#9;\tc\nd'><Description>x &lt;<!-- no --><![CDATA[&amp;<]]>\r\ny<?pi no?>z</Description></InstanceHierarchy></CAEXFile>",
    );
    let hierarchy = document.root().children().next().expect("a hierarchy");
    assert_eq!(hierarchy.name().as_deref(), Some("a&bA\t c d"));
    assert_eq!(hierarchy.children().next().map(|text| text.text()), Some("x <&amp;<\nyz".to_owned()));
}

#[test]
fn sound_documents_have_no_issues() {
    assert_eq!(parse(PLANT_215).issues(), []);
    assert_eq!(parse(PLANT_30).issues(), []);
}

#[test]
fn issues_are_listed_with_their_place() {
    let text = "<CAEXFile SchemaVersion=\"3.0\">\n  <InstanceHierarchy Name=\"H\">\n    <InternalElement Name=\"A\" ID=\"a\"/>\n    <InternalElement Name=\"B\" ID=\"a\"/>\n    <InternalElement Name=\"C\"/>\n    <InternalElement Name=\"D\" ID=\"d/Value\"/>\n    <InternalElement Name=\"E\" ID=\"e\"><InternalLink Name=\"L\" RefPartnerSideA=\"{x}:y\" RefPartnerSideB=\"{a}:z\"/><Attribute Name=\"late\"/></InternalElement>\n  </InstanceHierarchy>\n</CAEXFile>";
    let issues: Vec<String> = parse(text).issues().iter().map(ToString::to_string).collect();
    assert_eq!(
        issues,
        [
            "1:1: SchemaVersion is 3.0, but the namespace is that of another version",
            "3:5: the ID a names 2 elements",
            "4:5: the ID a names 2 elements",
            "5:5: InternalElement has no ID",
            "6:5: the ID d/Value reads as a path or is too long",
            "7:5: Attribute is out of order in InternalElement",
            "7:38: RefPartnerSideA refers to {x}:y, which does not exist",
            "7:38: RefPartnerSideB refers to {a}:z, which does not exist",
        ]
    );
}

#[test]
fn duplicates_can_be_edited_away() {
    let text = "<CAEXFile SchemaVersion='2.15'><InstanceHierarchy Name='H'><InternalElement Name='A' ID='a'/><InternalElement Name='B' ID='a'/></InstanceHierarchy></CAEXFile>";
    assert_eq!(problems(text).len(), 2);
    let mut document = parse(text);
    document.remove("/InstanceHierarchy[H]/InternalElement[B]").expect("found by its path");
    assert_eq!(document.issues(), []);
    assert!(document.find("a").is_ok());
}

#[test]
fn a_clone_is_a_snapshot() {
    let mut document = parse(PLANT_215);
    let snapshot = document.clone();
    document.insert("<InternalElement Name='X' ID='x'/>", "line", None).expect("an element");
    assert_eq!(snapshot.to_bytes(), PLANT_215.as_bytes());
    assert!(snapshot.find("x").is_err());
    assert_eq!(
        Document::parse(PLANT_215, &Limits::default()).expect("a plant").root_hash(),
        snapshot.root_hash()
    );
}
