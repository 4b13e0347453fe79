//! Replace, set a value, move, splice, retag: what they do, and what they refuse.

use dt_aml::{Document, Edit, EditError, Limit, LimitExceeded, Limits, RemovePolicy, SchemaError};

use crate::support::{PLANT_30, PLANT_215, assert_consistent, parse, text};

/// Applies an edit, which must be taken, and takes it back; returns the text in between.
fn done(aml: &str, edit: &Edit) -> String {
    let mut document = parse(aml);
    let outcome = document.apply(std::slice::from_ref(edit)).unwrap_or_else(|e| panic!("{edit:?}: {e}"));
    assert_consistent(&document);
    let edited = text(&document);
    let again = document.apply_patch(&outcome.inverse).expect("the inverse");
    assert_eq!(text(&document), aml, "{edit:?}");
    assert_consistent(&document);
    document.apply_patch(&again.inverse).expect("the inverse of the inverse");
    assert_eq!(text(&document), edited, "{edit:?}");
    edited
}

/// The error of an edit, which must leave everything as it was.
fn refused(aml: &str, edit: &Edit) -> EditError {
    let mut document = parse(aml);
    let root = document.root_hash();
    let error = document.apply(std::slice::from_ref(edit)).expect_err("this must be refused");
    assert_eq!((text(&document), document.root_hash()), (aml.to_owned(), root), "{edit:?}");
    assert_consistent(&document);
    error
}

fn moved(address: &str, parent: &str, after: Option<&str>) -> Edit {
    Edit::Move { address: address.into(), parent: parent.into(), after: after.map(str::to_owned) }
}

fn set(address: &str, value: &str) -> Edit {
    Edit::SetValue { address: address.into(), value: value.into() }
}

fn splice(parent: &str, after: Option<&str>, before: Option<&str>, content: &str) -> Edit {
    Edit::Splice {
        parent: parent.into(),
        after: after.map(str::to_owned),
        before: before.map(str::to_owned),
        content: content.into(),
        policy: RemovePolicy::Restrict,
    }
}

fn retag(address: &str, start: &str, end: &str) -> Edit {
    let policy = RemovePolicy::Restrict;
    Edit::Retag { address: address.into(), start: start.into(), end: end.into(), policy }
}

#[test]
fn a_replacement_stands_where_the_former_stood() {
    let fragment = " <InternalElement Name='S2' ID='s2'/>\n";
    let policy = RemovePolicy::OpenLinks;
    let edit = Edit::Replace { address: "sensor".into(), fragment: fragment.into(), policy };
    let expected = PLANT_215.replace("<InternalElement Name=\"Sensor\" ID=\"sensor\" />", fragment.trim());
    assert_eq!(done(PLANT_215, &edit), expected);
    let replace = |address: &str, fragment: &str| Edit::Replace {
        address: address.into(),
        fragment: fragment.into(),
        policy,
    };
    assert_eq!(refused(PLANT_215, &replace("/", "<CAEXFile/>")), EditError::Root);
    assert_eq!(refused(PLANT_215, &replace("sensor", "")), EditError::NotOneRoot);
    let duplicate = refused(PLANT_215, &replace("sensor", "<InternalElement Name='x' ID='motor'/>"));
    assert_eq!(duplicate, EditError::DuplicateId { id: "motor".into() });
    let schema = refused(PLANT_215, &replace("sensor", "<Attribute Name='x'/>"));
    assert!(matches!(schema, EditError::Schema(SchemaError::OutOfOrder { .. })), "{schema}");
    let information =
        replace("/SourceDocumentInformation", "<SuperiorStandardVersion>2</SuperiorStandardVersion>");
    let missing = refused(PLANT_30, &information);
    assert!(matches!(missing, EditError::Schema(SchemaError::Missing { .. })), "{missing}");
}

#[test]
fn what_a_replacement_tells() {
    let mut document = parse(PLANT_215);
    let fragment = "<InternalElement Name='Motor' ID='new'><ExternalInterface Name='In' ID='motor.in'/></InternalElement>";
    let policy = RemovePolicy::OpenLinks;
    let edit = Edit::Replace { address: "motor".into(), fragment: fragment.into(), policy };
    let change = document.apply(&[edit]).expect("a replacement").changes.remove(0);
    assert_eq!((change.address.as_str(), change.parent.as_str()), ("new", "line"));
    assert_eq!(change.within.as_deref(), Some("motor"));
    assert_eq!((change.inserted, change.removed), (vec!["new".to_owned()], vec!["motor".to_owned()]));
    assert_eq!(change.kept, ["motor.in"]);
    assert_eq!(change.opened.len(), 1);
}

#[test]
fn a_value_is_set_as_text() {
    let speed = "line/Attribute[Speed]";
    for value in ["", "7", "<Value>&amp;</Value>", "]]>", " a\r\nb\t", "\u{1F600}", "\r"] {
        let edited = done(PLANT_215, &set(speed, value));
        assert_eq!(
            parse(&edited).attribute("line", "Speed").and_then(|speed| speed.value).as_deref(),
            Some(value)
        );
    }
    assert_eq!(
        done(PLANT_215, &set(speed, "7")),
        PLANT_215.replace("<Value>42.5</Value>", "<Value>7</Value>")
    );
    let bare = PLANT_215.replace("<Value>42.5</Value>\n        ", "");
    assert_eq!(done(&bare, &set(speed, "42.5")), PLANT_215);
    let closed = PLANT_215.replace("<Value>42.5</Value>", "<Value/>");
    assert_eq!(done(&closed, &set(speed, "42.5")), PLANT_215);
    let commented = PLANT_215.replace("<Value>42.5</Value>", "<Value><!-- was --><![CDATA[1]]></Value>");
    assert_eq!(done(&commented, &set(speed, "42.5")), PLANT_215);
    assert!(matches!(refused(PLANT_215, &set("line", "1")), EditError::NotAnAttribute { .. }));
    assert!(matches!(refused(PLANT_215, &set(speed, "\u{0}")), EditError::NotWellFormed { .. }));
    let twice = PLANT_215.replace("<Value>42.5</Value>", "<Value/><Value/>");
    assert!(matches!(refused(&twice, &set(speed, "1")), EditError::NotAnAttribute { .. }));
    let long = refused(PLANT_215, &set(speed, &"x".repeat(2 << 20)));
    assert!(matches!(long, EditError::Limit(LimitExceeded { limit: Limit::Fragment, .. })), "{long}");
}

#[test]
fn a_value_gets_the_prefix_of_its_attribute() {
    let aml = "<c:CAEXFile xmlns:c='http://www.dke.de/CAEX'><c:InstanceHierarchy Name='H'><c:Attribute Name='A'/></c:InstanceHierarchy></c:CAEXFile>";
    let edited = done(aml, &set("/InstanceHierarchy[H]/Attribute[A]", "1"));
    assert!(edited.contains("<c:Attribute Name='A'><c:Value>1</c:Value></c:Attribute>"), "{edited}");
}

#[test]
fn an_element_moves_with_everything_in_it() {
    let mut document = parse(PLANT_215);
    let change = document.move_to("sensor", "motor", None).expect("a move").changes.remove(0);
    assert_eq!((change.address.as_str(), change.parent.as_str()), ("sensor", "motor"));
    assert_eq!((change.within.as_deref(), change.kept), (Some("sensor"), vec!["sensor".to_owned()]));
    assert!(change.inserted.is_empty() && change.removed.is_empty());
    assert!(document.remove("sensor").is_err(), "the mirror still refers to it");

    let first = moved("sensor", "line", Some("line.out"));
    let edited = done(PLANT_215, &first);
    assert!(
        edited.contains("ID=\"line.out\"/>\n      <InternalElement Name=\"Sensor\" ID=\"sensor\" />\n"),
        "{edited}"
    );
    // An only child leaves an element that closes itself, if that is what it was made from.
    let only = "<CAEXFile><InstanceHierarchy Name='H'>\n  <InternalElement Name='A' ID='a'>\n    <InternalElement Name='B' ID='b'/>\n  </InternalElement>\n  <InternalElement Name='C' ID='c'/>\n</InstanceHierarchy></CAEXFile>";
    let edited = done(only, &moved("b", "c", None));
    assert!(edited.contains("<InternalElement Name='A' ID='a'/>\n"), "{edited}");
    assert!(edited.contains(
        "<InternalElement Name='C' ID='c'>\n    <InternalElement Name='B' ID='b'/>\n  </InternalElement>"
    ));
    for address in ["motor", "line", "mirror"] {
        done(PLANT_215, &moved(address, "/InstanceHierarchy[Plant]", None));
    }
}

#[test]
fn a_move_keeps_the_rules() {
    let itself = |address: &str| EditError::IntoItself { address: address.into() };
    assert_eq!(refused(PLANT_215, &moved("line", "motor", None)), itself("line"));
    assert_eq!(refused(PLANT_215, &moved("line", "line", None)), itself("line"));
    assert_eq!(refused(PLANT_215, &moved("motor", "line", Some("motor"))), itself("motor"));
    assert_eq!(refused(PLANT_215, &moved("/", "line", None)), EditError::Root);
    let order = refused(PLANT_215, &moved("motor", "line", Some("line/Attribute[Speed]")));
    assert!(matches!(order, EditError::Schema(SchemaError::OutOfOrder { .. })), "{order}");
    let place = refused(PLANT_215, &moved("line.out", "/InstanceHierarchy[Plant]", None));
    assert!(matches!(place, EditError::Schema(SchemaError::NotAllowedHere { .. })), "{place}");
    let twice =
        refused(PLANT_215, &moved("/RoleClassLib[Roles]/RoleClass[Line]", "/InstanceHierarchy[Plant]", None));
    assert!(matches!(twice, EditError::Schema(_)), "{twice}");
    // `{line}:Out` names the interface by where it stands.
    let held = refused(PLANT_215, &moved("line.out", "sensor", None));
    assert!(matches!(held, EditError::Referenced { .. }), "{held}");
    let required = refused(PLANT_30, &moved("/SourceDocumentInformation", "pump", None));
    assert!(matches!(required, EditError::Schema(_)), "{required}");
}

#[test]
fn a_move_goes_no_deeper_than_allowed() {
    let nest = |depth: usize| {
        let open: String = (0..depth).map(|n| format!("<InternalElement Name='n' ID='d{n}'>")).collect();
        format!("{open}{}", "</InternalElement>".repeat(depth))
    };
    let aml = format!(
        "<CAEXFile><InstanceHierarchy Name='H'><InternalElement Name='x' ID='x'><InternalElement Name='y' ID='y'/></InternalElement>{}</InstanceHierarchy></CAEXFile>",
        nest(6)
    );
    let limits = Limits { depth: 9, ..Limits::default() };
    let mut document = Document::parse(&aml, &limits).expect("eight levels");
    let deep = document.move_to("x", "d5", None);
    assert!(matches!(deep, Err(EditError::Limit(LimitExceeded { limit: Limit::Depth, .. }))), "{deep:?}");
    document.move_to("x", "d4", None).expect("nine levels");
    assert_consistent(&document);
}

#[test]
fn what_moves_between_namespaces_keeps_its_bytes_or_stays() {
    let aml = "<CAEXFile xmlns='http://www.dke.de/CAEX' xmlns:c='http://www.dke.de/CAEX'><InstanceHierarchy Name='H'><c:InternalElement Name='A' ID='a' xmlns:p='u'><c:InternalElement Name='B' ID='b'/><c:InternalElement Name='P' ID='p'><c:AdditionalInformation><p:x/></c:AdditionalInformation></c:InternalElement></c:InternalElement><InternalElement Name='C' ID='c' xmlns='other' xmlns:d='http://www.dke.de/CAEX'/><d:InternalElement Name='D' ID='d' xmlns='other' xmlns:d='http://www.dke.de/CAEX'/></InstanceHierarchy></CAEXFile>";
    let edited = done(aml, &moved("b", "d", None));
    assert!(edited.contains("<c:InternalElement Name='B' ID='b'/></d:InternalElement>"), "{edited}");
    assert!(
        matches!(refused(aml, &moved("p", "d", None)), EditError::NotWellFormed { .. }),
        "no prefix p there"
    );
    let plain = aml.replace("c:InternalElement Name='B'", "InternalElement Name='B'");
    let foreign = refused(&plain, &moved("b", "d", None));
    assert!(matches!(foreign, EditError::Schema(SchemaError::NotAllowedHere { .. })), "{foreign}");
}

#[test]
fn content_between_two_places_is_set_to_the_byte() {
    let line = "line";
    let edit = splice(line, Some("motor"), Some("sensor"), "<!-- a -->\n");
    let expected = PLANT_215.replace(
        "</InternalElement>\n      <InternalElement Name=\"Sensor\"",
        "</InternalElement><!-- a -->\n<InternalElement Name=\"Sensor\"",
    );
    assert_eq!(done(PLANT_215, &edit), expected);
    let edited = done(PLANT_215, &splice("sensor", None, None, "<Attribute Name='x'/> "));
    assert!(edited.contains("ID=\"sensor\" ><Attribute Name='x'/> </InternalElement>"), "{edited}");
    assert_eq!(done(PLANT_215, &splice("sensor", None, None, "")), PLANT_215);
    let edited = done(PLANT_215, &splice(line, Some("line/InternalLink[Drive]"), None, "\n    "));
    assert!(!edited.contains("RoleRequirements"));

    let held = refused(PLANT_215, &splice(line, Some("line.out"), None, ""));
    assert!(matches!(held, EditError::Referenced { .. }), "{held}");
    let region = EditError::NotARegion { parent: line.into() };
    for (after, before) in
        [("sensor", "motor"), ("motor", "motor"), ("motor.in", "sensor"), ("motor", "nowhere")]
    {
        assert_eq!(
            refused(PLANT_215, &splice(line, Some(after), Some(before), "")),
            region,
            "{after} {before}"
        );
    }
    let cases = [
        ("text", "StrayText"),
        ("<![CDATA[x]]>", "StrayText"),
        ("<Attribute Name='x'/>", "OutOfOrder"),
        ("<RoleRequirements/>", "TooMany"),
        ("<Foo/>", "NotAllowedHere"),
        ("<InternalElement/>", "Unnamed"),
        ("<InternalElement Name='x' ID='line'/>", "DuplicateId"),
        ("<InternalElement Name='x' ID='x'/><InternalElement Name='y' ID='x'/>", "DuplicateId"),
        ("<InternalElement Name='x'>", "NotWellFormed"),
        ("</InternalElement><InternalElement>", "NotWellFormed"),
        ("]]>", "NotWellFormed"),
        ("<!-- ", "NotWellFormed"),
        ("<!DOCTYPE a>", "Dtd"),
        ("<?xml version='1.0'?>", "NotWellFormed"),
    ];
    for (content, error) in cases {
        let found =
            format!("{:?}", refused(PLANT_215, &splice(line, Some("motor"), Some("sensor"), content)));
        assert!(found.contains(error), "{content}: {found}");
    }
}

#[test]
fn text_around_the_root_is_set_too() {
    let prolog = "\u{feff}<?xml version='1.0' encoding='UTF-8' standalone='yes'?>\r\n<!-- p -->\r\n";
    let edited = done(PLANT_215, &splice("", None, Some("/"), prolog));
    assert!(edited.starts_with(&format!("{prolog}<CAEXFile")));
    assert!(
        done(PLANT_215, &splice("", Some("/"), None, "<!-- e --><?x y?>"))
            .ends_with("</CAEXFile><!-- e --><?x y?>")
    );
    let around = |content: &str, prolog: bool| {
        let (after, before) = if prolog { (None, Some("/")) } else { (Some("/"), None) };
        refused(PLANT_215, &splice("", after, before, content))
    };
    for content in ["text", "<a/>", "<CAEXFile>", "<![CDATA[x]]>", "<!-- ", "<!DOCTYPE a>", "&lt;"] {
        around(content, true);
        around(content, false);
    }
    assert_eq!(around("<?xml version='1.0' encoding='latin1'?>", true), EditError::Encoding);
    around("<?xml version='1.0'?>", false);
    around("\u{feff}", false);
    let region = EditError::NotARegion { parent: String::new() };
    for (after, before) in [(None, None), (Some("line"), None), (Some("/"), Some("/")), (None, Some("line"))]
    {
        assert_eq!(refused(PLANT_215, &splice("", after, before, "")), region);
    }
}

#[test]
fn tags_change_and_nothing_else() {
    let edited = done(PLANT_215, &retag("sensor", "<InternalElement ID='sensor'\n Name='S'/>", ""));
    assert_eq!(
        edited,
        PLANT_215.replace(
            "<InternalElement Name=\"Sensor\" ID=\"sensor\" />",
            "<InternalElement ID='sensor'\n Name='S'/>"
        )
    );
    let edited =
        done(PLANT_215, &retag("line", "<InternalElement Name='L' ID='line' >", "</InternalElement\n>"));
    assert_eq!(parse(&edited).find("line").map(|line| line.children().count()), Ok(6));
    done(PLANT_215, &retag("/", "<CAEXFile FileName='x' SchemaVersion='2.15' xmlns:q='u'>", "</CAEXFile>"));
    done(
        PLANT_215,
        &retag(
            "motor",
            "<InternalElement xmlns:q='u' q:a='b' Name='Motor' ID='motor'>",
            "</InternalElement>",
        ),
    );

    let cases = [
        ("line", "<InternalElement Name='L' ID='line'/>", "", "NotTags"),
        ("sensor", "<InternalElement Name='S' ID='sensor'>x", "</InternalElement>", "NotTags"),
        ("sensor", " <InternalElement Name='S' ID='sensor'/>", "", "NotOneRoot"),
        ("sensor", "<InternalElement Name='S' ID='sensor'/>", "<!-- -->", "NotOneRoot"),
        ("sensor", "<InternalElement Name='S' ID='sensor'>", "</InternalLink>", "NotWellFormed"),
        ("sensor", "<InternalElement Name='S' Name='T'/>", "", "NotWellFormed"),
        ("sensor", "<p:InternalElement Name='S'/>", "", "NotWellFormed"),
        ("sensor", "<InternalElement ID='sensor'/>", "", "Unnamed"),
        ("sensor", "<InternalElement Name='S' ID='motor'/>", "", "DuplicateId"),
        ("sensor", "<InternalElement Name='S' ID='a/Value'/>", "", "UnusableId"),
        ("sensor", "<InternalElement Name='S'/>", "", "Referenced"),
        ("sensor", "<Attribute Name='S'/>", "", "OutOfOrder"),
        ("sensor", "<Foo Name='S' ID='sensor'/>", "", "NotAllowedHere"),
        ("line", "<InternalElement xmlns='u' Name='L' ID='line'>", "</InternalElement>", "NotAllowedHere"),
        ("/", "<Foo>", "</Foo>", "Root"),
        ("/", "<CAEXFile xmlns='u'>", "</CAEXFile>", "Root"),
        ("/", "<CAEXFile xmlns='http://www.dke.de/CAEX'>", "</CAEXFile>", "Schema"),
        ("line/InternalLink[Drive]", "<InternalLink Name='Drive' RefPartnerSideA='x'/>", "", "LinkFormat"),
    ];
    for (address, start, end, error) in cases {
        let found = format!("{:?}", refused(PLANT_215, &retag(address, start, end)));
        assert!(found.contains(error), "{start}: {found}");
    }
}

#[test]
fn links_are_written_as_their_version_writes_them() {
    let link =
        |a: &str, b: &str| format!("<InternalLink Name='x' RefPartnerSideA='{a}' RefPartnerSideB='{b}'/>");
    let taken =
        |aml: &str, parent: &str, a: &str, b: &str| parse(aml).insert(&link(a, b), parent, None).is_ok();
    assert!(taken(PLANT_215, "line", "{line}:Out", "motor:In"));
    assert!(taken(PLANT_215, "line", "", "nobody:x"), "an end may be open");
    assert!(!taken(PLANT_215, "line", "line.out", "motor:In"));
    assert!(taken(PLANT_30, "pump", "pump.p1", "valve.p1"));
    assert!(taken(PLANT_30, "pump", "pump.p1", "urn:uuid:of-another-file"));
    assert!(!taken(PLANT_30, "pump", "pump:P1", "valve.p1"));
    assert!(!taken(PLANT_30, "pump", "{6f0e}:P1", "valve.p1"));
    assert!(!taken(PLANT_30, "pump", "valve.p1", "{pump}:P1"));
    let nested = format!("<InternalElement Name='n' ID='n'>{}</InternalElement>", link("line.out", ""));
    assert_eq!(
        parse(PLANT_215).insert(&nested, "line", None).map(|_| ()),
        Err(EditError::LinkFormat { target: "line.out".into() })
    );
}

#[test]
fn elements_without_name_are_told_by_their_number() {
    let aml = "<CAEXFile xmlns='http://www.dke.de/CAEX'><InstanceHierarchy Name='H'><InternalElement Name='A' ID='a'><RoleRequirements RefBaseRoleClassPath='x'/><RoleRequirements RefBaseRoleClassPath='y'/><RoleRequirements/></InternalElement></InstanceHierarchy></CAEXFile>";
    let mut document = parse(aml);
    let second = "a/RoleRequirements#2";
    assert_eq!(
        document.find(second).map(|role| role.source().into_owned()),
        Ok("<RoleRequirements RefBaseRoleClassPath='y'/>".into())
    );
    let change = document.remove(second).expect("the second").changes.remove(0);
    assert_eq!(change.address, second);
    assert!(!text(&document).contains("'y'"));
    assert!(document.find("a/RoleRequirements#3").is_err());
}

#[test]
fn what_an_edit_carries_along_is_known_before() {
    let document = parse(PLANT_215);
    let in_line = document.find("line").expect("a line").descendants().count();
    assert_eq!(document.carried_by(&moved("line", "motor", None)), in_line);
    let tags = |start: &str| retag("line", start, "</InternalElement>");
    assert_eq!(document.carried_by(&tags("<InternalElement Name='L' ID='line'>")), 1);
    assert_eq!(document.carried_by(&tags("<InternalElement Name='L' ID='line' xmlns:q='u'>")), in_line);
    assert_eq!(document.carried_by(&moved("nobody", "motor", None)), 0);
    assert_eq!(document.carried_by(&set("line/Attribute[Speed]", "1")), 0);
}

#[test]
fn what_was_wrong_before_may_stay_but_nothing_new_may_come() {
    let aml = "<CAEXFile><InstanceHierarchy Name='H'><InternalElement Name='A' ID='a'><Attribute Name='x'/><Attribute Name='x'/></InternalElement><InternalElement Name='B' ID='a'/><InternalElement Name='C' ID='c'/></InstanceHierarchy></CAEXFile>";
    let (b, first) = (
        "/InstanceHierarchy[H]/InternalElement[B]",
        "/InstanceHierarchy[H]/InternalElement[A]/Attribute[x]#1",
    );
    done(aml, &retag(b, "<InternalElement Name='B2' ID='a'/>", ""));
    done(aml, &retag(first, "<Attribute Name='x' Unit='m'/>", ""));
    assert_eq!(
        refused(aml, &retag(b, "<InternalElement Name='B' ID='c'/>", "")),
        EditError::DuplicateId { id: "c".into() }
    );
    assert!(matches!(
        refused(aml, &retag(b, "<InternalElement ID='a'/>", "")),
        EditError::Schema(SchemaError::Unnamed { .. })
    ));
    done(aml, &retag(b, "<InternalElement Name='B' ID='b'/>", ""));
}
