//! Well-formedness: a table of verdicts, and agreement with another parser where that one is as strict.

use dt_aml::{Document, Limits, ParseError, XmlFault};
use proptest::prelude::*;

use crate::support::{PLANT_30, PLANT_215, documents};

/// Limits that stand in nobody's way here.
const WIDE: Limits = Limits {
    bytes: 1 << 24,
    depth: 1000,
    elements: 1 << 20,
    attributes: 100_000,
    namespaces: 100_000,
    fragment: 1 << 20,
};

/// Why this crate does not take the text for well-formed, if it does not.
fn fault(text: &str) -> Option<XmlFault> {
    match Document::parse(text, &WIDE) {
        // What is not AutomationML, or declares another encoding, may be well-formed all the same.
        Ok(_) | Err(ParseError::NotCaex { .. } | ParseError::Encoding { .. }) => None,
        Err(ParseError::NotWellFormed { cause, .. }) => Some(cause),
        Err(ParseError::Dtd { .. }) => Some(XmlFault::Dtd),
        Err(other) => panic!("{text:?}: {other}"),
    }
}

/// What the other parser lets pass: odd XML declarations and instructions, references to surrogates, names that begin with a colon,
/// namespaces declared twice, and undeclared prefixes before `xmlns`.
fn is_finer(cause: XmlFault, text: &str) -> bool {
    use XmlFault::*;
    matches!(cause, Declaration | Instruction | Reference | Name | DuplicateAttribute | Namespace)
        || cause == Prefix && text.contains(":xmlns")
        || cause == WrongEnd && text.contains("</:")
}

fn assert_agreed(text: &str) {
    if matches!(Document::parse(text, &WIDE), Err(ParseError::Encoding { .. })) {
        return; // judged before anything is read
    }
    let theirs = roxmltree::Document::parse(text);
    match (fault(text), theirs) {
        (None, Ok(_)) | (Some(_), Err(_)) => {}
        (Some(cause), Ok(_)) => assert!(is_finer(cause, text), "{text:?}: refused, {cause}"),
        // It refuses elements with the prefix that is bound everywhere.
        (None, Err(roxmltree::Error::InvalidElementNamePrefix(_))) if text.contains("<xml:") => {}
        (None, Err(error)) => panic!("{text:?}: accepted, {error}"),
    }
}

#[test]
fn real_files_and_fixtures() {
    for (name, bytes) in documents() {
        let text = std::str::from_utf8(&bytes).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_agreed(text);
    }
}

/// Well-formed by the recommendations: XML 1.0 (fifth edition) and Namespaces in XML 1.0.
#[rustfmt::skip]
const WELL_FORMED: &[&str] = &[
    "<a/>", "<a />", "<a\t\r\n/>", "<a b = 'c' d= \"e'\"/>", "<a></a>", "<a></a >", " \n<a/>\t ",
    "\u{feff}<a/>", "<a>\u{feff}</a>", "<!-- --><a/><!-- -->", "<!----><a/>", "<!-- - --><a/>",
    "<?x?><a/><?y z?>", "<?xml version='1.0'?><a/>",
    "<?xml version='1.0' encoding='utf-8' standalone='yes' ?><a/>", "<?xml version='1.1'?><a/>",
    "<?xml-style x?><a/>", "<a><?xmlx x?></a>", "<a>&lt;&gt;&amp;&quot;&apos;&#65;&#x41;&#x1F600;</a>",
    "<a>&#9;</a>", "<a>&#00000000000000000000000000000000065;</a>", "<a b='&lt;'/>", "<a b='>'/>",
    "<a>></a>", "<a>]]</a>", "<a>]] ></a>", "<a b=']]>'/>", "<a><![CDATA[]]></a>",
    "<a><![CDATA[<&]]>]]</a>", "<a><![CDATA[x]]]]></a>", "<a>\u{7f}\u{80}</a>", "<a>\u{fffd}</a>",
    "<\u{e9}t\u{e9} \u{4e2d}='x'/>", "<a\u{b7}/>", "<a1/>", "<a-/>", "<_/>", "<\u{1F600}/>", "<\u{10000}/>",
    "<p:a xmlns:p='u'/>", "<p:a xmlns:p='u'></p:a>", "<a xmlns:p='u' p:b='c'/>", "<a p:b='c' xmlns:p='u'/>",
    "<a xmlns:p='u' xmlns:q='v' p:b='1' q:b='2'/>", "<a xmlns='u' xmlns:p='u' b='1' p:b='2'/>",
    "<a xmlns:p='u'><b xmlns:p='v'><p:c/></b><p:d/></a>", "<a xml:lang='de'/>", "<xml:a/>",
    "<a xmlns:xml='http://www.w3.org/XML/1998/namespace'/>", "<a xmlns=''/>",
];

/// Not well-formed by the same, or with a document type declaration.
#[rustfmt::skip]
const NOT_WELL_FORMED: &[&str] = &[
    "< a/>", "<a b/>", "<a b=c/>", "<a b='c'd='e'/>", "<a b='c\" d=''/>", "<a></ a>", "<a></b>", "<a></a",
    "<a></a b='c'>", "<a><b></a></b>", "</a>", "<a></a></a>", "<a/><b/>", "<a/>x", "x<a/>",
    "\u{feff}\u{feff}<a/>", "", " ", "<!-- -- --><a/>", "<!-- ---><a/>", "<!--><a/>", "<!--->",
    "<a><!--</a>", "<??><a/>", "<? x?><a/>", "<?x", "<?xml?><a/>", " <?xml version='1.0'?><a/>",
    "<?xml version='1.0' standalone='maybe'?><a/>", "<?xml encoding='utf-8'?><a/>",
    "<?xml version=\"1.0\" standalone='no' encoding='utf-8'?><a/>", "<?xml version='1.'?><a/>",
    "<?xml version='2.0'?><a/>", "<?xml version='1.0'encoding='utf-8'?><a/>", "<a><?xml x?></a>",
    "<a><?XML x?></a>", "<a>&x;</a>", "<a>& </a>", "<a>&</a>", "<a>&#;</a>", "<a>&#x;</a>", "<a>&#+65;</a>",
    "<a>&#X41;</a>", "<a>&#xD800;</a>", "<a>&#x110000;</a>", "<a>&#0;</a>", "<a>&#1;</a>",
    "<a>&#xFFFE;</a>", "<a b='<'/>", "<a b='&x;'/>", "<a b='&'/>", "<a>]]></a>", "<a><![cdata[x]]></a>",
    "<![CDATA[x]]><a/>", "<a/><![CDATA[x]]>", "<a>\u{0}</a>", "<a>\u{1f}</a>", "<a>\u{fffe}</a>",
    "<a>\u{ffff}</a>", "<a b='\u{b}'/>", "<!--\u{1}--><a/>", "<?x \u{1}?><a/>", "<a\u{1}/>", "<\u{b7}a/>",
    "<1a/>", "<-a/>", "<.a/>", "<a\u{d7}/>", "<a \u{300}='x'/>", "<p:a/>", "<p:a xmlns:p='u'></a>",
    "<a p:b='c'/>", "<:a/>", "<a:/>", "<a :b='c'/>", "<a b:='c'/>", "<a:b:c xmlns:a='u'/>",
    "<a b='1' b='2'/>", "<a xmlns:p='u' xmlns:q='u' p:b='1' q:b='2'/>", "<a xmlns='u' xmlns='v'/>",
    "<a xmlns:p='u' xmlns:p='v'/>", "<a><b xmlns:p='u'/><p:c/></a>", "<a xmlns:xml='u'/>",
    "<a xmlns:p='http://www.w3.org/XML/1998/namespace'/>",
    "<a xmlns='http://www.w3.org/XML/1998/namespace'/>", "<a xmlns:xmlns='u'/>",
    "<a xmlns:p='http://www.w3.org/2000/xmlns/'/>", "<a xmlns='http://www.w3.org/2000/xmlns/'/>",
    "<!DOCTYPE a><a/>", "<a><!DOCTYPE a></a>", "<!x><a/>", "<!", "<", "<a", "<a b", "<a b=", "<a b='",
    "<a/", "<a / >", "<a/ >", "<a //>", "<a></a/>", "<a>&#65</a>", "<a>&lt</a>", "<a>& lt;</a>",
    "<a b=''c=''/>", "<a b='1'/><!-- x --", "<a/>&#32;", "<a xmlns:p=''/>",
];

#[test]
fn verdicts() {
    for case in WELL_FORMED {
        assert_eq!(fault(case), None, "{case:?}");
    }
    for case in NOT_WELL_FORMED {
        assert_ne!(fault(case), None, "{case:?}");
    }
}

fn pieces() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "<",
        ">",
        "/",
        "a",
        "b",
        "p:",
        "<a>",
        "</a>",
        "<a/>",
        "<b ",
        "</b>",
        " ",
        "\n",
        "=",
        "='",
        "'",
        "\"",
        "<!--",
        "-->",
        "-",
        "<![CDATA[",
        "]]>",
        "]",
        "<?",
        "?>",
        "xml",
        "&",
        ";",
        "&#65;",
        "&lt;",
        "xmlns:p='u'",
        "xmlns='u'",
        ":",
        "x='1'",
        "\u{feff}",
        "\u{e9}",
        "\u{1}",
        "\u{fffe}",
        "<!",
    ]);
    prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_markup(text in pieces()) {
        assert_agreed(&text);
        assert_agreed(&format!("<a xmlns:p='u'>{text}</a>"));
    }

    #[test]
    fn mutated_plants(
        fixture in prop::sample::select(vec![PLANT_215, PLANT_30]),
        at in any::<prop::sample::Index>(),
        cut in 0..3_usize,
        put in pieces(),
    ) {
        let mut at = at.index(fixture.len());
        while !fixture.is_char_boundary(at) {
            at -= 1;
        }
        let behind = fixture[at..].char_indices().nth(cut).map_or(fixture.len(), |(end, _)| at + end);
        let text = [&fixture[..at], &put[..put.char_indices().nth(2).map_or(put.len(), |(end, _)| end)], &fixture[behind..]].concat();
        assert_agreed(&text);
    }
}
