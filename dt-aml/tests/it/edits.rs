//! What edits do to the bytes, and what they refuse.

use dt_aml::{Change, Document, Edit, EditError, FindError, Reference, RemovePolicy, SchemaError};

use crate::support::{PLANT_30, PLANT_215, assert_consistent, parse, text};

fn insert(fragment: &str, parent: &str, after: Option<&str>) -> Edit {
    Edit::Insert { fragment: fragment.into(), parent: parent.into(), after: after.map(Into::into) }
}

fn remove(address: &str, policy: RemovePolicy) -> Edit {
    Edit::Remove { address: address.into(), policy }
}

/// The schema error of an insertion that is refused, after which nothing has changed.
fn schema_error(document: &mut Document, fragment: &str, parent: &str, after: Option<&str>) -> SchemaError {
    let before = document.root_hash();
    let error = document.insert(fragment, parent, after).expect_err(fragment);
    assert_eq!(document.root_hash(), before);
    match error {
        EditError::Schema(error) => error,
        other => panic!("{fragment}: {other}"),
    }
}

#[test]
fn an_insertion_touches_no_other_byte() {
    let mut document = parse(PLANT_215);
    let change = document
        .insert(
            "<InternalElement Name='Valve' ID='valve'><!-- as given --></InternalElement>",
            "line",
            Some("motor"),
        )
        .expect("an insertion")
        .changes
        .remove(0);
    let line = "\n      <InternalElement Name='Valve' ID='valve'><!-- as given --></InternalElement>";
    let anchor = "\n      </InternalElement>";
    assert_eq!(text(&document), PLANT_215.replacen(anchor, &format!("{anchor}{line}"), 1));
    let expected = Change {
        address: "valve".into(),
        parent: "line".into(),
        within: Some("line".into()),
        inserted: vec!["valve".into()],
        removed: vec![],
        kept: vec![],
        opened: vec![],
    };
    assert_eq!(change, expected);
    assert_consistent(&document);
}

#[test]
fn without_a_sibling_to_follow_it_goes_to_the_end_of_its_group() {
    let cases = [
        ("<Attribute Name='New'/>", "/Attribute[Speed]"),
        ("<ExternalInterface Name='New' ID='n'/>", "line.out"),
        ("<InternalElement Name='New' ID='n'/>", "sensor"),
        ("<Description/>", ""),
    ];
    for (fragment, before) in cases {
        let mut document = parse(PLANT_215);
        let address = document.insert(fragment, "line", None).expect(fragment).changes.remove(0).address;
        let previous = document.find(&address).expect("it is there").previous_sibling();
        match before
            .strip_prefix('/')
            .map(|step| format!("line/{step}"))
            .unwrap_or(before.to_owned())
            .as_str()
        {
            "" => assert_eq!(previous, None, "{fragment}"),
            address => assert_eq!(previous, Some(document.find(address).expect("a sibling")), "{fragment}"),
        }
        assert_consistent(&document);
        document.remove(&address).expect("what was inserted");
        assert_eq!(text(&document), PLANT_215);
    }
}

#[test]
fn a_childless_element_opens_and_closes_again() {
    let forms = [
        "<E N='1'/>",
        "<E N='1' />",
        "<E N='1'></E>",
        "<E N='1'> </E>",
        "<E N='1'>\n</E>",
        "<E N='1'>\n    </E>",
        "<E N='1'>\n      </E>",
        "<E N='1'>\n    \n    </E>",
        "<E N='1'>\r\n    </E>",
        "<E N='1'><!-- c --></E>",
        "<E N='1'>\n      <!-- c -->\n    </E>",
        "<E N='1'\n/>",
        "<E N='1' ></E >",
    ];
    let plant = |form: &str, line: &str| {
        let form = form.replace('E', "InternalElement").replace("N='1'", "Name='E' ID='e'");
        format!("<CAEXFile>{line}<InstanceHierarchy Name='H'>{line}{form}</InstanceHierarchy></CAEXFile>")
    };
    for line in ["\n    ", "\r\n    ", "\n\t", "", " "] {
        let mut seen = std::collections::BTreeMap::new();
        for form in forms {
            let source = plant(form, line);
            let mut document = parse(&source);
            document.insert("<InternalElement Name='X' ID='x'/>", "e", None).expect(form);
            assert_consistent(&document);
            let inserted = text(&document);
            assert_eq!(
                seen.insert(inserted.clone(), form),
                None,
                "two forms lead to one: {form:?} at {line:?}"
            );
            // Whoever has only the bytes removes just the same.
            let mut other = parse(&inserted);
            for document in [&mut document, &mut other] {
                document.remove("x").expect("what was inserted");
                assert_eq!(text(document), source, "{form:?} at {line:?}");
                assert_consistent(document);
            }
        }
    }
}

#[test]
fn a_new_only_child_gets_a_line_of_its_own() {
    let mut document = parse(PLANT_215);
    document.insert("<Attribute Name='A'/>", "sensor", None).expect("an attribute");
    let opened = "<InternalElement Name=\"Sensor\" ID=\"sensor\" >\n        <Attribute Name='A'/>\n      </InternalElement>";
    assert_eq!(
        text(&document),
        PLANT_215.replacen("<InternalElement Name=\"Sensor\" ID=\"sensor\" />", opened, 1)
    );
}

#[test]
fn line_ends_and_compact_files_are_kept() {
    let crlf = PLANT_215.replace('\n', "\r\n");
    let mut document = parse(&crlf);
    document.insert("<InternalElement Name='X' ID='x'/>", "motor", None).expect("an element");
    assert!(!text(&document).replace("\r\n", "").contains('\n'));
    let compact = "<CAEXFile><InstanceHierarchy Name='H'><InternalElement Name='E' ID='e'/></InstanceHierarchy></CAEXFile>";
    let mut document = parse(compact);
    document.insert("<InternalElement Name='X' ID='x'/>", "/InstanceHierarchy[H]", None).expect("an element");
    assert_eq!(text(&document), compact.replace("</Inst", "<InternalElement Name='X' ID='x'/></Inst"));
}

#[test]
fn a_comment_before_a_removed_element_stays() {
    let mut document = parse(PLANT_215);
    document.apply(&[remove("line", RemovePolicy::OpenLinks)]).expect("a removal");
    assert!(
        text(&document)
            .contains("<Version>1</Version>\n    <!-- the line -->\n    <InternalElement Name=\"Copy\"")
    );
    assert_consistent(&document);
    document.remove("mirror").expect("a removal");
    assert!(text(&document).contains("<Version>1</Version>\n    <!-- the line -->\n  </InstanceHierarchy>"));
    assert_consistent(&document);
}

#[test]
fn several_edits_are_one() {
    let mut document = parse(PLANT_215);
    let swap = [
        remove("line/InternalLink[Drive]", RemovePolicy::Restrict),
        remove("motor", RemovePolicy::Restrict),
        insert("<InternalElement Name='Motor' ID='motor'/>", "line", None),
        insert("<ExternalInterface Name='In' ID='motor.in'/>", "motor", None),
    ];
    let changes = document.apply(&swap).expect("the exchange").changes;
    assert_eq!(changes[1].removed, ["motor", "motor.in"]);
    assert_eq!(changes[3].parent, "motor");
    assert_consistent(&document);

    let mut document = parse(PLANT_215);
    let mut doomed = swap.to_vec();
    doomed.push(remove("nowhere", RemovePolicy::Restrict));
    let before = document.root_hash();
    let error = document.apply(&doomed).expect_err("the last edit is refused");
    assert_eq!(error, EditError::Find { address: "nowhere".into(), cause: FindError::Unknown });
    assert_eq!(text(&document), PLANT_215);
    assert_eq!(document.root_hash(), before);
    assert_eq!(document.find("motor.in").map(|element| element.kind()), Ok(dt_aml::Kind::ExternalInterface));
    assert!(matches!(document.remove("motor"), Err(EditError::Referenced { .. })), "the index was restored");
    assert_consistent(&document);
}

#[test]
fn what_is_referred_to_stays_unless_links_may_open() {
    let mut document = parse(PLANT_215);
    let link = |attribute: &str, target: &str| Reference {
        from: "line/InternalLink[Drive]".into(),
        attribute: attribute.into(),
        target: target.into(),
    };
    let motor = vec![link("RefPartnerSideB", "{motor}:In")];
    let mirror = Reference {
        from: "mirror".into(),
        attribute: "RefBaseSystemUnitPath".into(),
        target: "sensor".into(),
    };
    assert_eq!(document.remove("motor"), Err(EditError::Referenced { by: motor.clone() }));
    assert_eq!(document.remove("motor.in"), Err(EditError::Referenced { by: motor.clone() }));
    let out = vec![link("RefPartnerSideA", "{line}:Out")];
    assert_eq!(document.remove("line.out"), Err(EditError::Referenced { by: out }));
    assert_eq!(document.remove("sensor"), Err(EditError::Referenced { by: vec![mirror.clone()] }));
    // The link goes with the line, the mirror does not.
    assert_eq!(document.remove("line"), Err(EditError::Referenced { by: vec![mirror] }));
    assert_eq!(text(&document), PLANT_215);

    let outcome = document.apply(&[remove("motor", RemovePolicy::OpenLinks)]).expect("a removal");
    assert_eq!(outcome.changes[0].opened, motor);
    document.remove("line/InternalLink[Drive]").expect("nothing refers to a link");

    let mut document = parse(PLANT_30);
    let error = document.remove("valve").expect_err("a link refers into it");
    assert!(matches!(error, EditError::Referenced { by } if by[0].target == "valve.p1"));
}

#[test]
fn addresses_that_lead_nowhere() {
    let mut document = parse(PLANT_215);
    let element = "<InternalElement Name='X' ID='x'/>";
    let unknown = |address: &str| EditError::Find { address: address.into(), cause: FindError::Unknown };
    assert_eq!(document.insert(element, "nowhere", None), Err(unknown("nowhere")));
    assert_eq!(document.insert(element, "line", Some("nowhere")), Err(unknown("nowhere")));
    let not_a_child = EditError::NotAChild { after: "motor.in".into(), parent: "line".into() };
    assert_eq!(document.insert(element, "line", Some("motor.in")), Err(not_a_child));
    assert_eq!(document.remove("/"), Err(EditError::Root));
    assert_eq!(text(&document), PLANT_215);
}

#[test]
fn ids_stay_unique() {
    let mut document = parse(PLANT_215);
    let duplicate = |id: &str| EditError::DuplicateId { id: id.into() };
    let twice = "<InternalElement Name='X' ID='x'><InternalElement Name='Y' ID='x'/></InternalElement>";
    assert_eq!(document.insert(twice, "line", None), Err(duplicate("x")));
    assert_eq!(
        document.insert("<InternalElement Name='X' ID='motor.in'/>", "line", None),
        Err(duplicate("motor.in"))
    );
    assert_eq!(
        document.insert("<InternalElement Name='X' ID='&#109;otor'/>", "line", None),
        Err(duplicate("motor"))
    );
    for id in ["line/Attribute[Speed]", "/", "a/Description"] {
        let fragment = format!("<InternalElement Name='X' ID='{id}'/>");
        assert_eq!(document.insert(&fragment, "line", None), Err(EditError::UnusableId { id: id.into() }));
    }
    document.insert("<InternalElement Name='X' ID='a/b [c] {d}:e'/>", "line", None).expect("an odd ID");
    assert!(document.find("a/b [c] {d}:e").is_ok());
}

#[test]
fn the_content_model_is_kept() {
    let mut document = parse(PLANT_215);
    let mut error =
        |fragment: &str, after: Option<&str>| schema_error(&mut document, fragment, "line", after);
    let not_allowed = [
        "<RoleClass Name='X'/>",
        "<internalElement Name='X'/>",
        "<Foo/>",
        "<CAEXFile/>",
        "<Value>1</Value>",
        "<SourceObjectInformation/>",
        "<InternalElement Name='X'><Value/></InternalElement>",
        "<Attribute Name='X'><Value><b/></Value></Attribute>",
        "<InternalElement xmlns='http://www.dke.de/CAEX' Name='X' ID='x'/>",
    ];
    for fragment in not_allowed {
        let error = error(fragment, None);
        assert!(matches!(error, SchemaError::NotAllowedHere { .. }), "{fragment}: {error}");
    }
    let unnamed =
        ["<InternalElement/>", "<Attribute Name=''/>", "<Attribute Name='X'><Attribute/></Attribute>"];
    for fragment in unnamed {
        assert!(matches!(error(fragment, None), SchemaError::Unnamed { .. }), "{fragment}");
    }
    let order =
        "<InternalElement Name='X'><InternalElement Name='Y'/><Attribute Name='Z'/></InternalElement>";
    assert!(matches!(error(order, None), SchemaError::OutOfOrder { .. }));
    assert!(matches!(error("<Attribute Name='X'/>", Some("motor")), SchemaError::OutOfOrder { .. }));
    assert!(matches!(
        error("<InternalElement Name='X'/>", Some("line/Attribute[Speed]")),
        SchemaError::OutOfOrder { .. }
    ));
    assert!(matches!(error("<RoleRequirements/>", None), SchemaError::TooMany { .. }));
    let twice = "<Attribute Name='X'><Value>1</Value><Value>2</Value></Attribute>";
    assert!(matches!(error(twice, None), SchemaError::TooMany { .. }));
    let missing = "<Attribute Name='X'><Constraint Name='C'/></Attribute>";
    assert!(matches!(error(missing, None), SchemaError::Missing { .. }));
    assert!(matches!(error("<Attribute Name='Speed'/>", None), SchemaError::DuplicateName { .. }));
    let same = "<InternalElement Name='X'><Attribute Name='A'/><Attribute Name='A'/></InternalElement>";
    assert!(matches!(error(same, None), SchemaError::DuplicateName { .. }));
    for stray in ["text", "<![CDATA[text]]>", "&#65;"] {
        let fragment = format!("<InternalElement Name='X'>{stray}</InternalElement>");
        assert!(matches!(error(&fragment, None), SchemaError::StrayText { .. }), "{fragment}");
    }
    let free =
        "<AdditionalInformation>text<a xmlns='u'><InternalElement ID='line'/></a></AdditionalInformation>";
    document.insert(free, "line", None).expect("additional information is free");
    assert_eq!(document.find("line").map(|line| line.kind()), Ok(dt_aml::Kind::InternalElement));
}

#[test]
fn removal_keeps_what_the_schema_requires() {
    let mut document = parse(PLANT_215);
    let constraint = "line/Attribute[Speed]/Constraint[Safety]";
    let error = document.remove(&format!("{constraint}/OrdinalScaledType")).expect_err("the only type");
    assert!(matches!(error, EditError::Schema(SchemaError::Missing { .. })));
    document.remove(&format!("{constraint}/OrdinalScaledType/RequiredMinValue")).expect("a bound may go");
    let error = parse(PLANT_30).remove("/SourceDocumentInformation").expect_err("required in 3.0");
    assert!(matches!(error, EditError::Schema(SchemaError::Missing { .. })));
}

#[test]
fn the_versions_differ() {
    let two_roles =
        "<InternalElement Name='X' ID='x'><RoleRequirements/><RoleRequirements/></InternalElement>";
    assert!(matches!(
        schema_error(&mut parse(PLANT_215), two_roles, "line", None),
        SchemaError::TooMany { .. }
    ));
    let outcome = parse(PLANT_30).insert(two_roles, "pump", None).expect("several roles in 3.0");
    assert_eq!(outcome.changes[0].inserted, ["x"]);
    let nested =
        "<ExternalInterface Name='X' ID='x'><ExternalInterface Name='Y' ID='y'/></ExternalInterface>";
    assert!(matches!(
        schema_error(&mut parse(PLANT_215), nested, "line", None),
        SchemaError::NotAllowedHere { .. }
    ));
    assert!(parse(PLANT_30).insert(nested, "pump", None).is_ok());
}

#[test]
fn namespaces_of_a_fragment_are_those_of_its_place() {
    let prefixed = PLANT_30
        .replace("xmlns=", "xmlns:c=")
        .replace("</", "</c:")
        .replace('<', "<c:")
        .replace("<c:/c:", "</c:");
    let mut document = parse(&prefixed);
    assert_eq!(document.find("valve").map(|valve| valve.tag()), Ok("InternalElement"));
    let plain = "<InternalElement Name='X' ID='x'/>";
    assert!(matches!(schema_error(&mut document, plain, "pump", None), SchemaError::NotAllowedHere { .. }));
    document
        .insert("<c:InternalElement Name='X' ID='x' xsi:nil='false'/>", "pump", None)
        .expect("the document's prefix");
    document
        .insert("<InternalElement xmlns='http://www.dke.de/CAEX' Name='Y' ID='y'/>", "valve", None)
        .expect("its own");
    document.insert("<c:InternalElement Name='Z' ID='z'/>", "y", None).expect("in scope of both");
    document.insert("<InternalElement Name='W' ID='w'/>", "y", None).expect("the default of its parent");
    assert_consistent(&document);
    assert!(text(&document).contains("</c:InternalElement>\n"));
}

#[test]
fn edits_travel() {
    let edits = vec![insert("<a/>", "p", Some("q")), remove("x", RemovePolicy::OpenLinks)];
    let bytes = borsh::to_vec(&edits).expect("borsh");
    assert_eq!(borsh::from_slice::<Vec<Edit>>(&bytes).expect("borsh"), edits);
}

/// What is reported follows the document, not the order in which things came into it: a replica that has just parsed the bytes MUST report
/// the same.
#[test]
fn references_are_reported_in_document_order() {
    let mut document = parse(
        "<CAEXFile><InstanceHierarchy Name='H'><InternalElement Name='a' ID='a'><InternalElement Name='b' ID='b'/></InternalElement></InstanceHierarchy></CAEXFile>",
    );
    let link = "<InternalLink Name='l' RefPartnerSideA='b:i' RefPartnerSideB='x:i'/>";
    let later = format!("<InternalElement Name='c' ID='c'>{link}</InternalElement>");
    document.insert(&later, "/InstanceHierarchy[H]", None).unwrap();
    document.insert(link, "a", None).unwrap();
    let refused = document.remove("b").unwrap_err();
    let EditError::Referenced { by } = &refused else { panic!("{refused:?}") };
    let from: Vec<_> = by.iter().map(|reference| reference.from.as_str()).collect();
    assert_eq!(from, ["a/InternalLink[l]", "c/InternalLink[l]"]);
    assert_eq!(parse(document.to_bytes()).remove("b"), Err(refused));
}
