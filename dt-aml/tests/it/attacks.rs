//! Hostile documents and fragments: each is a typed error, soon, and leaves the document as it was.

use std::sync::mpsc;
use std::time::Duration;

use dt_aml::{Document, EditError, Limit, Limits, ParseError};

use crate::support::{PLANT_30, PLANT_215, parse, refused};

/// Far more than any refusal takes, also without optimisation on a busy machine.
const SOON: Duration = Duration::from_secs(10);

/// Runs `attack` and fails if it does not end soon.
fn soon<T: Send + 'static>(attack: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, wait) = mpsc::channel();
    std::thread::spawn(move || done.send(attack()));
    wait.recv_timeout(SOON).expect("an attack must end soon")
}

fn caex(content: &str) -> String {
    format!("<CAEXFile>{content}</CAEXFile>")
}

fn limit_of(error: ParseError) -> Limit {
    match error {
        ParseError::Limit(exceeded) => exceeded.limit,
        other => panic!("not a limit: {other}"),
    }
}

#[test]
fn depth() {
    let bomb = caex(&format!("{}{}", "<a>".repeat(100_000), "</a>".repeat(100_000)));
    assert_eq!(limit_of(soon(|| refused(bomb))), Limit::Depth);
    let unclosed = "<CAEXFile>".repeat(100_000);
    assert_eq!(limit_of(soon(|| refused(unclosed))), Limit::Depth);
}

#[test]
fn the_deepest_allowed_document_is_handled() {
    let depth = 100_000;
    let text = caex(&format!("{}{}", "<a>".repeat(depth - 1), "</a>".repeat(depth - 1)));
    soon(move || {
        let limits = Limits { depth: depth as u32, ..Limits::default() };
        let document = Document::parse(&text, &limits).expect("within its limits");
        assert_eq!(document.to_bytes(), text.as_bytes());
        assert_eq!(document.elements().count(), depth);
        let copy = document.clone();
        assert!(copy.elements().last().expect("a root").ancestors().count() == depth);
    });
}

#[test]
fn attributes() {
    let many: String = (0..100_000).map(|n| format!(" a{n}=''")).collect();
    let error = soon(move || refused(format!("<CAEXFile{many}/>")));
    assert_eq!(limit_of(error), Limit::Attributes);
}

#[test]
fn namespaces() {
    let many: String = (0..5_000).map(|n| format!(" xmlns:p{n}='u{n}'")).collect();
    let limits = Limits { attributes: 10_000, ..Limits::default() };
    let error = soon(move || Document::parse(format!("<CAEXFile{many}/>"), &limits).unwrap_err());
    assert_eq!(limit_of(error), Limit::Namespaces);
    let nested: String = (0..100).map(|n| format!("<a xmlns:p{n}='u{n}'>")).collect();
    assert_eq!(limit_of(soon(move || refused(caex(&nested)))), Limit::Namespaces);
}

#[test]
fn attributes_and_namespaces_are_affordable_under_any_limits() {
    let wide = Limits { attributes: 1 << 20, namespaces: 1 << 20, ..Limits::default() };
    let attributes: String = (0..20_000).map(|n| format!(" a{n}=''")).collect();
    let (twice, once) = (format!("<CAEXFile{attributes} a0=''/>"), format!("<CAEXFile{attributes}/>"));
    soon(move || {
        assert!(Document::parse(once, &wide).is_ok());
        assert!(matches!(Document::parse(twice, &wide), Err(ParseError::NotWellFormed { .. })));
    });
    let prefixes: String = (0..2_000).map(|n| format!(" xmlns:p{n}='u' p{n}:a{n}=''")).collect();
    let (twice, once) = (format!("<CAEXFile{prefixes} p0:a1=''/>"), format!("<CAEXFile{prefixes}/>"));
    soon(move || {
        assert!(Document::parse(once, &wide).is_ok());
        assert!(matches!(Document::parse(twice, &wide), Err(ParseError::NotWellFormed { .. })));
    });
}

#[test]
fn many_small_declarations_are_affordable() {
    let siblings: String = (0..20_000).map(|n| format!("<a xmlns:p{n}='u{n}'/>")).collect();
    let text = caex(&siblings);
    soon(move || parse(text));
}

#[test]
fn bytes_and_elements() {
    let small = Limits { bytes: 100, elements: 3, ..Limits::default() };
    let error = Document::parse(caex(&" ".repeat(100)), &small).unwrap_err();
    assert_eq!(limit_of(error), Limit::Bytes);
    let error = Document::parse(caex("<a/><a/><a/>"), &small).unwrap_err();
    assert_eq!(limit_of(error), Limit::Elements);
    assert!(Document::parse(caex("<a/><a/>"), &small).is_ok());
}

#[test]
fn entities() {
    let laughs =
        r#"<!DOCTYPE a [<!ENTITY b "lol"><!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;">]><CAEXFile>&c;</CAEXFile>"#;
    assert!(matches!(refused(laughs), ParseError::Dtd { .. }));
    let external = "<?xml version='1.0'?>\n<!DOCTYPE a SYSTEM 'file:///etc/passwd'><CAEXFile/>";
    let ParseError::Dtd { position } = refused(external) else { panic!("a DTD") };
    assert_eq!((position.line, position.column), (2, 1));
    assert!(matches!(refused(caex("&undefined;")), ParseError::NotWellFormed { .. }));
    assert!(matches!(refused(caex("<!ELEMENT a>")), ParseError::Dtd { .. }));
}

#[test]
fn encodings() {
    let utf16: Vec<u8> = [0xFF, 0xFE].into_iter().chain("<CAEXFile/>".bytes().flat_map(|b| [b, 0])).collect();
    assert_eq!(refused(utf16), ParseError::NotUtf8 { offset: 0 });
    assert_eq!(refused(b"<CAEXFile a='\xC3\x28'/>"), ParseError::NotUtf8 { offset: 13 });
    assert_eq!(refused(b"<CAEXFile a='\xED\xA0\x80'/>"), ParseError::NotUtf8 { offset: 13 });
    let declared = "<?xml version='1.0' encoding='ISO-8859-1'?><CAEXFile/>";
    assert_eq!(refused(declared), ParseError::Encoding { declared: "ISO-8859-1".to_owned() });
    let utf8 = "<?xml version='1.0' encoding='Utf-8'?><CAEXFile/>";
    assert_eq!(parse(utf8).to_bytes(), utf8.as_bytes());
}

#[test]
fn not_well_formed() {
    let cases = [
        "",
        " ",
        "text",
        "<",
        "<CAEXFile",
        "<CAEXFile>",
        "</CAEXFile>",
        "<CAEXFile></CAEXFil>",
        "<CAEXFile/><CAEXFile/>",
        "<CAEXFile/>text",
        "text<CAEXFile/>",
        "<CAEXFile a='1' a='2'/>",
        "<CAEXFile a=1/>",
        "<CAEXFile a/>",
        "<CAEXFile a='<'/>",
        "<CAEXFile>\u{0}</CAEXFile>",
        "<CAEXFile>\u{1}</CAEXFile>",
        "<CAEXFile a='\u{b}'/>",
        "<CAEXFile>\u{ffff}</CAEXFile>",
        "<CAEXFile>&#0;</CAEXFile>",
        "<CAEXFile>&#x1F;</CAEXFile>",
        "<CAEXFile>]]></CAEXFile>",
        "<CAEXFile>a & b</CAEXFile>",
        "<CAEXFile><!-- a -- b --></CAEXFile>",
        "<CAEXFile><!-- </CAEXFile>",
        "<CAEXFile><![CDATA[ </CAEXFile>",
        "<CAEXFile><?pi </CAEXFile>",
        "<CAEXFile><p:a/></CAEXFile>",
        "<CAEXFile p:a='1'/>",
        "<CAEXFile xmlns:p='u' xmlns:q='u' p:a='1' q:a='2'/>",
        "<CAEXFile><a></CAEXFile></a>",
        "<CAEXFile><?xml version='1.0'?></CAEXFile>",
        "<CAEXFile><1/></CAEXFile>",
        "<CAEXFile>< a/></CAEXFile>",
        "\u{feff}\u{feff}<CAEXFile/>",
    ];
    for case in cases {
        let error = refused(case);
        assert!(matches!(error, ParseError::NotWellFormed { .. }), "{case:?}: {error}");
    }
}

#[test]
fn every_cut_and_every_flip_ends_in_an_answer() {
    let bytes = PLANT_215.as_bytes();
    for cut in 0..bytes.len() {
        let _answer = Document::parse(&bytes[..cut], &Limits::default());
    }
    for at in 0..bytes.len() {
        for flip in [1, 0x10, 0x1C, 0x80] {
            let mut broken = bytes.to_vec();
            broken[at] ^= flip;
            if let Ok(document) = Document::parse(&broken, &Limits::default()) {
                assert_eq!(document.to_bytes(), broken);
                let _issues = document.issues();
                let _programs = document.programs();
            }
        }
    }
}

#[test]
fn other_roots_are_not_caex() {
    let cases = [
        "<html/>",
        "<caexfile/>",
        "<CAEXFile xmlns='http://example.com'/>",
        "<x:CAEXFile xmlns:x='http://example.com'/>",
        "<CAEXFile xmlns='http://www.dke.de/CAEX/'/>",
    ];
    for case in cases {
        assert!(matches!(refused(case), ParseError::NotCaex { .. }), "{case}");
    }
}

#[test]
fn unterminated_markup_costs_linear_time() {
    for piece in ["<!--", "<![CDATA[", "<?a ", "<a b='", "<a ", "</", "&", "<a b=\"'\" "] {
        let text = caex(&piece.repeat(200_000));
        soon(move || refused(text));
    }
}

#[test]
fn hostile_fragments() {
    let mut document = parse(PLANT_215);
    let before = document.to_bytes();
    let deep = |n: usize| format!("{}{}", "<InternalElement>".repeat(n), "</InternalElement>".repeat(n));
    let attributes: String = (0..1000).map(|n| format!(" a{n}=''")).collect();
    let refused = |document: &mut Document, fragment: &str| {
        let error = document.insert(fragment, "line", None).expect_err("a hostile fragment");
        assert_eq!(document.to_bytes(), before, "{fragment}");
        error
    };
    let limited = [
        (deep(300), Limit::Depth),
        (format!("<InternalElement{attributes}/>"), Limit::Attributes),
        (format!("<InternalElement Name='{}'/>", "x".repeat(1 << 20)), Limit::Fragment),
    ];
    for (fragment, limit) in limited {
        let error = refused(&mut document, &fragment);
        assert!(matches!(&error, EditError::Limit(exceeded) if exceeded.limit == limit), "{error}");
    }
    for fragment in
        ["", "  ", "text", "<a/><b/>", "<a/>text", "<!-- c --><a/>", "<?xml version='1.0'?><a/>", "<?p?>"]
    {
        assert_eq!(refused(&mut document, fragment), EditError::NotOneRoot, "{fragment}");
    }
    assert_eq!(refused(&mut document, "<!DOCTYPE a><a/>"), EditError::Dtd);
    let malformed = [
        "<InternalElement",
        "<InternalElement>",
        "<a></_><_></a>",
        "</_><InternalElement/>",
        "</_><_>",
        "<InternalElement Name='a' ID='n'><a></InternalElement></a>",
        "<InternalElement Name='a' Name='b'/>",
        "<InternalElement Name='a\u{1}'/>",
        "<InternalElement xsi:type='a'/>",
        "<InternalElement Name='&lol;'/>",
        "<p:InternalElement/>",
    ];
    for fragment in malformed {
        let error = refused(&mut document, fragment);
        assert!(matches!(error, EditError::NotWellFormed { .. }), "{fragment}: {error}");
    }
}

#[test]
fn faults_in_fragments_are_located_in_the_fragment() {
    let mut document = parse(PLANT_30);
    let position = |error: EditError| match error {
        EditError::NotWellFormed { position, .. } => (position.line, position.column),
        other => panic!("{other}"),
    };
    let fault = |document: &mut Document, fragment: &str| {
        position(document.insert(fragment, "pump", None).unwrap_err())
    };
    assert_eq!(fault(&mut document, "<InternalElement Name='&lol;'/>"), (1, 24));
    assert_eq!(fault(&mut document, "<InternalElement\n  Name='&lol;'/>"), (2, 9));
}

#[test]
fn edits_cannot_carry_a_document_beyond_its_limits() {
    let limits = Limits { bytes: PLANT_215.len() as u64 + 60, ..Limits::default() };
    let mut document = Document::parse(PLANT_215, &limits).expect("within its limits");
    document.insert("<InternalElement Name='A' ID='a'/>", "line", None).expect("there is room");
    let before = (document.to_bytes(), document.root_hash());
    let error = document.insert("<InternalElement Name='B' ID='b'/>", "line", None).unwrap_err();
    assert!(matches!(error, EditError::Limit(exceeded) if exceeded.limit == Limit::Bytes));
    assert_eq!((document.to_bytes(), document.root_hash()), before);
    assert!(document.find("b").is_err());
}

#[test]
fn edits_without_end_do_not_fill_memory_or_change_the_document() {
    let mut document = parse(PLANT_30);
    let before = document.root_hash();
    let fragment = format!(
        "<InternalElement Name='A' ID='a'><Description>{}</Description></InternalElement>",
        "x".repeat(2000)
    );
    for _ in 0..3000 {
        document.insert(&fragment, "pump", None).expect("a fragment");
        document.remove("a").expect("an element");
    }
    assert_eq!(document.root_hash(), before);
    assert_eq!(document.to_bytes(), PLANT_30.as_bytes());
}

#[test]
fn ids_that_look_like_endless_paths_cost_linear_time() {
    for id in ["/Value".repeat(100_000) + "!", "/a[".repeat(100_000), "/a[/Value]".repeat(50_000) + "]"] {
        let fragment = format!("<InternalElement Name='X' ID='{id}'/>");
        let text = caex(&format!("<InstanceHierarchy Name='H'>{fragment}</InstanceHierarchy>"));
        soon(move || {
            let document = parse(text);
            assert!(document.find(&id).is_err());
            assert_eq!(
                document.internal_elements().next().expect("an element").address().as_deref(),
                Some("/InstanceHierarchy[H]/InternalElement[X]")
            );
            assert!(matches!(
                parse(PLANT_215).insert(&fragment, "line", None),
                Err(EditError::UnusableId { .. })
            ));
        });
    }
    let longest = "/Value".repeat(680) + "!";
    let elements: String =
        (0..500).map(|n| format!("<InternalElement Name='X' ID='{n}{longest}'/>")).collect();
    let text = caex(&format!("<InstanceHierarchy Name='H'>{elements}</InstanceHierarchy>"));
    soon(move || {
        let document = parse(text);
        assert!(document.internal_elements().all(|element| element.address().is_some()));
    });
}
