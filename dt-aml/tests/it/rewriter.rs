//! Writes documents in other bytes that say the same, from the tree of another parser.

use std::collections::BTreeMap;

use roxmltree::Node;

use crate::support::{Lcg, parse};

/// Whether what stands in an element is free content.
pub(crate) fn is_free(node: Node<'_, '_>, caex: &str) -> bool {
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

/// The tree of another parser.
pub(crate) fn roxml(text: &str) -> roxmltree::Document<'_> {
    roxmltree::Document::parse(text.trim_start_matches('\u{feff}')).expect("well-formed")
}

/// Writes a tree anew, every choice at random.
pub(crate) struct Writer<'r> {
    random: &'r mut Lcg,
    caex: String,
    line: &'static str,
    out: String,
}

impl Writer<'_> {
    /// The same document in other bytes.
    pub(crate) fn document(text: &str, random: &mut Lcg) -> String {
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
