//! Semantic hashes: what is written in another way hashes alike, what says something else does not.

use std::collections::{BTreeMap, BTreeSet};

use dt_aml::{Document, Limits, SemanticHash};
use proptest::prelude::*;
use roxmltree::Node;

use crate::rewriter::{Writer, is_free, roxml};
use crate::support::{Lcg, PLANT_30, PLANT_215, documents, parse};

const CAEX_3: &str = "http://www.dke.de/CAEX";

/// A document with everything that can be written in several ways.
const RICH: &str = r#"<CAEXFile SchemaVersion="3.0" xmlns="http://www.dke.de/CAEX" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:schemaLocation="a b">
  <Description> a &lt; b &amp; &#233; ]]&gt; "q" 'a' </Description>
  <AdditionalInformation xml:space="default" n="a&#10;b&#9;c &quot;d'">
    mixed <b xmlns="urn:b" xmlns:c="urn:c" c:x="1" x="2"> text <c:i/> </b> and &#13; more
    <Value> kept </Value>
  </AdditionalInformation>
  <InstanceHierarchy Name="H"><x:tool xmlns:x="urn:x" x:a="1"> kept <x:y/></x:tool>
    <InternalElement Name="E" ID="e"><Attribute Name="A" Unit="m"><Value> 1
    2 </Value></Attribute></InternalElement>
    <InternalElement Name="F" ID="f"/>
  </InstanceHierarchy>
</CAEXFile>"#;

fn corpus() -> Vec<(String, String)> {
    let mut corpus: Vec<_> = [("215", PLANT_215), ("30", PLANT_30), ("rich", RICH)]
        .map(|(name, text)| (name.to_owned(), text.to_owned()))
        .to_vec();
    let real = documents().into_iter().filter(|(_, bytes)| bytes.len() < 100_000);
    corpus.extend(real.map(|(name, bytes)| (name, String::from_utf8(bytes).expect("UTF-8"))));
    corpus
}

/// The definition, from another parser's tree.
mod reference {
    use super::*;

    fn keyed(context: &str, preimage: &[u8]) -> [u8; 32] {
        let key = blake3::hash(context.as_bytes());
        blake3::keyed_hash(key.as_bytes(), preimage).into()
    }

    pub(super) fn document(text: &str) -> [u8; 32] {
        let tree = roxml(text);
        let root = tree.root_element();
        let caex = root.tag_name().namespace().unwrap_or("");
        keyed("dt/aml/semantic/document/v1", &element(root, caex))
    }

    fn element(node: Node<'_, '_>, caex: &str) -> [u8; 32] {
        let mut out = Vec::new();
        let name = |namespace: &str, local: &str, out: &mut Vec<u8>| {
            out.extend([namespace.as_bytes(), &[0xFF], local.as_bytes(), &[0xFF]].concat());
        };
        name(node.tag_name().namespace().unwrap_or(""), node.tag_name().name(), &mut out);
        let attributes: BTreeMap<_, _> = node
            .attributes()
            .map(|attribute| ((attribute.namespace().unwrap_or(""), attribute.name()), attribute.value()))
            .collect();
        for ((namespace, local), value) in attributes {
            out.push(0xFE);
            name(namespace, local, &mut out);
            out.extend(value.as_bytes());
        }
        out.push(0xFD);
        let is_free = is_free(node, caex);
        let mut text = String::new();
        let flush = |text: &mut String, out: &mut Vec<u8>| {
            let counts = if is_free { text.as_str() } else { text.trim_matches([' ', '\t', '\r', '\n']) };
            out.extend(counts.as_bytes());
            text.clear();
        };
        for child in node.children() {
            if child.is_text() {
                text.push_str(child.text().expect("text"));
            } else if child.is_element() {
                flush(&mut text, &mut out);
                out.push(0xFF);
                out.extend(element(child, caex));
            }
        }
        flush(&mut text, &mut out);
        keyed("dt/aml/semantic/element/v1", &out)
    }
}

fn semantic(text: &str) -> SemanticHash {
    parse(text).semantic_hash()
}

#[test]
fn the_hash_is_the_documented_one() {
    for (name, text) in corpus() {
        assert_eq!(semantic(&text).as_bytes(), &reference::document(&text), "{name}");
    }
}

#[test]
fn what_is_written_in_another_way_hashes_alike() {
    let wide = Limits { namespaces: 1 << 16, ..Limits::default() };
    let mut random = Lcg(11);
    for (name, text) in corpus() {
        let expected = semantic(&text);
        let times = if text.len() < 5_000 { 100 } else { 3 };
        for _ in 0..times {
            let other = Writer::document(&text, &mut random);
            let document =
                Document::parse(&other, &wide).unwrap_or_else(|error| panic!("{name}: {error}\n{other}"));
            assert_ne!(document.to_bytes(), text.as_bytes(), "{name}");
            assert_eq!(document.semantic_hash(), expected, "{name}\n{}", &other[..other.len().min(4_000)]);
        }
    }
}

#[test]
fn each_way_of_writing_by_itself() {
    let base = semantic(
        "<CAEXFile><InstanceHierarchy Name='a b'><Description>x y</Description></InstanceHierarchy></CAEXFile>",
    );
    for other in [
        "\u{feff}<?xml version='1.0'?><CAEXFile><InstanceHierarchy Name='a b'><Description>x y</Description></InstanceHierarchy></CAEXFile>\n<!-- c -->",
        "<CAEXFile>\r\n<InstanceHierarchy\tName = \"a\tb\" >\n<Description>\n x y\t</Description ></InstanceHierarchy>\n</CAEXFile>",
        "<CAEXFile><InstanceHierarchy Name='&#97; &#x62;'><Description><![CDATA[x]]> <!-- c -->y<?p?></Description></InstanceHierarchy></CAEXFile>",
        "<CAEXFile xmlns:unused='u'><InstanceHierarchy Name='a b'><Description>&#32;x y</Description></InstanceHierarchy></CAEXFile>",
    ] {
        assert_eq!(semantic(other), base, "{other}");
    }
}

/// Every difference here says something else, so all hashes differ.
#[test]
fn what_says_something_else_hashes_differently() {
    let file = |content: &str| format!("<CAEXFile>{content}</CAEXFile>");
    let free = |content: &str| file(&format!("<AdditionalInformation>{content}</AdditionalInformation>"));
    let texts = [
        file(""),
        format!("<CAEXFile xmlns='{CAEX_3}'/>"),
        file("<Description/>"),
        file("<Description>x y</Description>"),
        file("<Description>x  y</Description>"),
        file("<Description>x\ny</Description>"),
        file("<Description>xy</Description>"),
        file("<Version>xy</Version>"),
        file("xy"),
        file("<Description a=''>xy</Description>"),
        file("<Description a='b'>xy</Description>"),
        file("<Description b='a'>xy</Description>"),
        file("<Description a='b' c='d'>xy</Description>"),
        file("<Description a='bc' d=''>xy</Description>"),
        file("<Description a='d' c='b'>xy</Description>"),
        file("<Description xmlns:p='u' p:a='b'>xy</Description>"),
        file("<Description xmlns:p='v' p:a='b'>xy</Description>"),
        file("<p:Description xmlns:p='u' a='b'>xy</p:Description>"),
        file("<Description/><Version/>"),
        file("<Version/><Description/>"),
        file("<InstanceHierarchy Name='a'/><InstanceHierarchy Name='b'/>"),
        file("<InstanceHierarchy Name='b'/><InstanceHierarchy Name='a'/>"),
        file("<InstanceHierarchy Name='a'><InstanceHierarchy Name='b'/></InstanceHierarchy>"),
        free(""),
        free(" "),
        free("\n"),
        free("&#13;"),
        free("a"),
        free(" a"),
        free("<b/>"),
        free(" <b/>"),
        free("<b/> "),
        free("<b> </b>"),
        free("a<b/>"),
        free("<b/>a"),
        free("<b>a</b>"),
        free("<b/><b/>"),
        free("<b><b/></b>"),
    ];
    let hashes: BTreeSet<_> = texts.iter().map(|text| semantic(text)).collect();
    assert_eq!(hashes.len(), texts.len());
}

#[test]
fn elements_hash_alike_wherever_they_stand() {
    let document = parse(RICH);
    let alone = parse(format!(
        "<z:CAEXFile xmlns:z='{CAEX_3}'><z:InstanceHierarchy Name='Z'><z:InternalElement ID='e' Name='E'><z:Attribute Unit='m' Name='A'><z:Value>1\n    2</z:Value></z:Attribute></z:InternalElement></z:InstanceHierarchy></z:CAEXFile>"
    ));
    let e = |document: &Document| document.find("e").expect("an element").semantic_hash();
    assert_eq!(e(&document), e(&alone));
    assert_ne!(document.semantic_hash(), alone.semantic_hash());
    assert_ne!(document.root().semantic_hash(), document.semantic_hash(), "a document is no element");
}

#[test]
fn hashes_follow_edits_and_come_back() {
    let mut document = parse(PLANT_215);
    let before = document.semantic_hash();
    document.insert("<Attribute Name='New'/>", "motor", None).expect("an insertion");
    assert_ne!(document.semantic_hash(), before);
    assert_eq!(document.semantic_hash(), semantic(std::str::from_utf8(&document.to_bytes()).expect("UTF-8")));
    document.remove("motor/Attribute[New]").expect("a removal");
    assert_eq!(document.semantic_hash(), before);
}

#[test]
fn depth_and_width_cost_no_more_than_they_hold() {
    let depth = 100_000;
    let limits = Limits { depth: depth as u32 + 1, namespaces: u32::MAX, ..Limits::default() };
    let nested = |tag: &str| {
        format!(
            "<CAEXFile>{}{}</CAEXFile>",
            format!("<{tag}>").repeat(depth),
            format!("</{}>", &tag[..1]).repeat(depth)
        )
    };
    let deep = Document::parse(nested("a"), &limits).expect("within the limits");
    let spaced = Document::parse(nested("a ").replace("</a>", "</a >"), &limits).expect("within the limits");
    assert_eq!(deep.semantic_hash(), spaced.semantic_hash());
    let declared: String = (0..3_000).map(|n| format!("<a xmlns:p{n}='u'>")).collect();
    let many = format!("<CAEXFile>{declared}{}{}</CAEXFile>", "<p0:b/>".repeat(3_000), "</a>".repeat(3_000));
    let many = Document::parse(many, &limits).expect("within the limits");
    assert_eq!(many.semantic_hash(), many.clone().semantic_hash());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// One character that says something, changed.
    #[test]
    fn one_change_of_meaning_is_seen(seed in any::<u64>(), at in any::<prop::sample::Index>()) {
        let tree = roxml(RICH);
        let spans: Vec<_> = tree
            .descendants()
            .filter(|node| node.is_element())
            .flat_map(|node| node.attributes().map(|attribute| attribute.range_value()).collect::<Vec<_>>())
            .filter(|range| !range.is_empty())
            .collect();
        let span = &spans[at.index(spans.len())];
        let mut changed = RICH.to_owned();
        let last = changed[span.clone()].char_indices().next().expect("not empty").0 + span.start;
        changed.insert(last, 'Z');
        prop_assert_ne!(semantic(&changed), semantic(RICH));
        let rewritten = Writer::document(&changed, &mut Lcg(seed));
        let wide = Limits { namespaces: 1 << 16, ..Limits::default() };
        let rewritten = Document::parse(&rewritten, &wide).expect("well-formed");
        prop_assert_eq!(rewritten.semantic_hash(), semantic(&changed));
    }
}
