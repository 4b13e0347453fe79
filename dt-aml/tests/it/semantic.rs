//! Semantic hashes: what is written in another way hashes alike, what says something else does not.

use std::collections::{BTreeMap, BTreeSet};

use dt_aml::{Document, Limits, SemanticHash};
use proptest::prelude::*;
use roxmltree::Node;

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

fn is_free(node: Node<'_, '_>, caex: &str) -> bool {
    let foreign = |node: Node<'_, '_>| node.tag_name().namespace().unwrap_or("") != caex;
    let elements = || node.ancestors().filter(|around| around.is_element());
    elements().any(|around| foreign(around) || around.tag_name().name() == "AdditionalInformation")
        // Names that CAEX does not know are free, too.
        || elements().any(|around| is_unknown(around.tag_name().name()))
}

/// Whether no element of CAEX has this name.
fn is_unknown(name: &str) -> bool {
    let text = format!("<CAEXFile><{name}/></CAEXFile>");
    parse(text).elements().nth(1).expect("a child").kind() == dt_aml::Kind::Other
}

fn roxml(text: &str) -> roxmltree::Document<'_> {
    roxmltree::Document::parse(text.trim_start_matches('\u{feff}')).expect("well-formed")
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

/// Writes a tree anew, every choice at random.
struct Writer<'r> {
    random: &'r mut Lcg,
    caex: String,
    line: &'static str,
    out: String,
}

impl Writer<'_> {
    fn document(text: &str, random: &mut Lcg) -> String {
        let tree = roxml(text);
        let root = tree.root_element();
        let caex = root.tag_name().namespace().unwrap_or("").to_owned();
        let line = if random.below(2) == 0 { "\n" } else { "\r\n" };
        let mut writer = Writer { random, caex, line, out: String::new() };
        if writer.chance() {
            writer.out.push('\u{feff}');
        }
        if writer.chance() {
            writer.out.push_str("<?xml version='1.0' encoding=\"utf-8\"?>\r\n");
        }
        writer.aside();
        writer.element(root, &BTreeMap::new());
        writer.aside();
        writer.out
    }

    fn chance(&mut self) -> bool {
        self.random.below(2) == 0
    }

    /// Comments and instructions, which may stand everywhere, and white space where that does not count.
    fn aside(&mut self) {
        for _ in 0..self.random.below(3) {
            let piece = ["<!-- < & ' -->", "<?pi a > b?>", "<!---->"][self.random.below(3)];
            self.out.push_str(piece);
        }
    }

    fn space(&mut self) {
        let space = ["", "", " ", "\n\t", "\r\n", "\r"][self.random.below(6)];
        self.out.push_str(space);
    }

    fn white(&mut self) {
        self.out.push(' ');
        self.space();
    }

    /// Writes a character where `quote` (none: text) is around it.
    fn char(&mut self, c: char, quote: Option<char>) {
        let raw = match c {
            '<' | '&' | '\r' | '>' => false,
            '\n' | '\t' => quote.is_none(),
            c => quote != Some(c),
        };
        let plain = raw && self.random.below(12) > 0;
        match c {
            '\n' if plain => self.out.push_str(self.line),
            ' ' if plain && quote.is_some() => {
                self.out.push_str([" ", "\t", "\n", "\r\n"][self.random.below(4)])
            }
            _ if plain => self.out.push(c),
            '<' if self.chance() => self.out.push_str("&lt;"),
            '&' if self.chance() => self.out.push_str("&amp;"),
            _ if self.chance() => self.out.push_str(&format!("&#{};", u32::from(c))),
            _ => self.out.push_str(&format!("&#x{:X};", u32::from(c))),
        }
    }

    fn text(&mut self, text: &str) {
        let chars: Vec<char> = text.chars().collect();
        let mut at = 0;
        while at < chars.len() {
            let end = (at + 1 + self.random.below(20)).min(chars.len());
            let piece: String = chars[at..end].iter().collect();
            if self.random.below(4) == 0 && !piece.contains("]]>") && !piece.contains('\r') {
                let body = piece.replace('\n', self.line);
                self.out.push_str(&format!("<![CDATA[{body}]]>"));
            } else {
                piece.chars().for_each(|c| self.char(c, None));
            }
            if self.random.below(6) == 0 {
                self.aside();
            }
            at = end;
        }
    }

    fn element(&mut self, node: Node<'_, '_>, scope: &BTreeMap<String, String>) {
        let mut scope = scope.clone();
        let mut declared = BTreeMap::new();
        let namespace = node.tag_name().namespace().unwrap_or("");
        let name = self.name(namespace, node.tag_name().name(), true, &mut scope, &mut declared);
        let mut attributes: Vec<(String, String)> = Vec::new();
        for attribute in node.attributes() {
            let namespace = attribute.namespace().unwrap_or("");
            let name = self.name(namespace, attribute.name(), false, &mut scope, &mut declared);
            attributes.push((name, attribute.value().to_owned()));
        }
        for (prefix, namespace) in declared {
            let name = if prefix.is_empty() { "xmlns".to_owned() } else { format!("xmlns:{prefix}") };
            attributes.push((name, namespace));
        }
        for at in (1..attributes.len()).rev() {
            attributes.swap(at, self.random.below(at + 1));
        }
        self.out.push_str(&format!("<{name}"));
        for (name, value) in attributes {
            self.white();
            self.out.push_str(&name);
            self.space();
            self.out.push('=');
            self.space();
            let quote = if self.chance() { '"' } else { '\'' };
            self.out.push(quote);
            value.chars().for_each(|c| self.char(c, Some(quote)));
            self.out.push(quote);
        }
        self.space();
        let free = is_free(node, &self.caex);
        let is_empty = node.children().all(|child| !child.is_element() && !child.is_text());
        if is_empty && self.chance() {
            self.out.push_str("/>");
            return;
        }
        self.out.push('>');
        self.aside();
        for child in node.children() {
            if !free {
                self.space();
            }
            if let Some(text) = child.text().filter(|_| child.is_text()) {
                self.text(if free { text } else { text.trim_matches([' ', '\t', '\r', '\n']) });
            } else if child.is_element() {
                self.aside();
                self.element(child, &scope);
                self.aside();
            }
        }
        if !free {
            self.space();
        }
        self.out.push_str(&format!("</{name}"));
        self.space();
        self.out.push('>');
    }

    /// A name for (namespace, local), with any prefix that may stand for it.
    fn name(
        &mut self,
        namespace: &str,
        local: &str,
        is_element: bool,
        scope: &mut BTreeMap<String, String>,
        declared: &mut BTreeMap<String, String>,
    ) -> String {
        let by_default = scope.get("").map_or("", String::as_str) == namespace;
        if namespace == "http://www.w3.org/XML/1998/namespace" {
            return format!("xml:{local}");
        }
        if namespace.is_empty() && !is_element
            || is_element && by_default && (namespace.is_empty() || self.chance())
        {
            return local.to_owned();
        }
        let free_default = !declared.contains_key("") && is_element;
        if namespace.is_empty() || free_default && self.chance() {
            declared.insert(String::new(), namespace.to_owned());
            scope.insert(String::new(), namespace.to_owned());
            return local.to_owned();
        }
        let known = scope.iter().find(|(prefix, bound)| !prefix.is_empty() && *bound == namespace);
        let known = known.map(|(prefix, _)| prefix.clone()).filter(|_| self.random.below(5) > 0);
        let prefix = known.unwrap_or_else(|| {
            loop {
                let prefix = format!("p{}", self.random.below(40));
                if !declared.contains_key(&prefix)
                    && scope.get(&prefix).is_none_or(|bound| bound == namespace)
                {
                    break prefix;
                }
            }
        });
        if scope.get(&prefix).is_none_or(|bound| bound != namespace) {
            declared.insert(prefix.clone(), namespace.to_owned());
            scope.insert(prefix.clone(), namespace.to_owned());
        }
        format!("{prefix}:{local}")
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
