//! Reads a text tag by tag, in one pass, and refuses it where it is not well-formed.
//!
//! Everything that XML 1.0 (fifth edition) and Namespaces in XML 1.0 ask of a text without a document type declaration
//! is checked. Limits are checked before the work that they bound.

use std::collections::BTreeSet;
use std::ops::Range;

use memchr::memchr3;

use super::chars::{first_forbidden, is_space, name_length, reference_length};
use super::fault::{Fault, Refusal, XmlFault};
use super::scope::{Scope, declared_prefix};
use crate::kind::Version;
use crate::limits::{Limit, LimitExceeded, Limits};

/// What a text has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// One element, and around it at most a byte-order mark, an XML declaration, comments, instructions, white space.
    Document,
    /// One element and nothing around it.
    Element,
    /// Elements and text, as between a start and an end tag.
    Content,
}

/// A tag, by its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Tag<'t> {
    /// `<a …>` or, if `empty`, `<a …/>`.
    Start { range: Range<usize>, local: &'t str, version: Option<Version>, empty: bool },
    /// `</a>`.
    End { range: Range<usize> },
}

/// An attribute of a start tag.
#[derive(Clone, Copy, Debug)]
struct Attribute<'t> {
    /// As written, prefix included.
    name: &'t str,
    /// The length of the prefix; 0 if there is none.
    prefix: usize,
    /// As written between the quotes.
    raw: &'t str,
}

/// Iterates over the tags of a text.
pub(crate) struct Reader<'t> {
    text: &'t str,
    at: usize,
    shape: Shape,
    limits: &'t Limits,
    scope: Scope,
    /// Levels above the text.
    above: u32,
    /// The names of the open elements, outermost first, and where they start.
    open: Vec<(&'t str, usize)>,
    attributes: Vec<Attribute<'t>>,
    elements: u32,
    seen_root: bool,
}

impl<'t> Reader<'t> {
    /// A reader of `text`, which stands `above` levels deep in the scope of these namespaces.
    pub(crate) fn new(
        text: &'t str,
        shape: Shape,
        scope: Scope,
        above: u32,
        limits: &'t Limits,
    ) -> Result<Self, Fault> {
        if let Some(offset) = first_forbidden(text) {
            return Err(Fault::at(offset, XmlFault::Character));
        }
        let (open, attributes) = (Vec::new(), Vec::new());
        let mut reader = Self {
            text,
            at: 0,
            shape,
            limits,
            scope,
            above,
            open,
            attributes,
            elements: 0,
            seen_root: false,
        };
        if shape == Shape::Document {
            reader.at = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
            reader.declaration()?;
        }
        Ok(reader)
    }

    /// The attributes of the start tag that was read last: names as written, and what stands between the quotes.
    pub(crate) fn attributes(&self) -> impl Iterator<Item = (&'t str, &'t str)> + '_ {
        self.attributes.iter().map(|attribute| (attribute.name, attribute.raw))
    }

    /// The next tag, or `None` at the end of a text that is well-formed.
    pub(crate) fn next_tag(&mut self) -> Result<Option<Tag<'t>>, Refusal> {
        loop {
            self.characters()?;
            let Some(markup) = self.text.as_bytes().get(self.at..).filter(|rest| !rest.is_empty()) else {
                return self.end_of_text().map(|()| None);
            };
            match markup.get(1) {
                Some(b'/') => return self.end_tag().map(Some),
                Some(b'?') => self.instruction()?,
                Some(b'!') => self.declaration_or_comment()?,
                _ => return self.start_tag().map(Some),
            }
        }
    }

    fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    fn fault<T>(&self, cause: XmlFault) -> Result<T, Refusal> {
        Err(Fault::at(self.at, cause).into())
    }

    fn end_of_text(&self) -> Result<(), Refusal> {
        match self.open.last() {
            Some((_, start)) => Err(Fault::at(*start, XmlFault::Unclosed).into()),
            None if self.seen_root || self.shape == Shape::Content => Ok(()),
            None => Err(Fault::at(0, XmlFault::NotOneRoot).into()),
        }
    }

    /// Whether text, CDATA and any number of elements may stand here.
    fn is_in_content(&self) -> bool {
        !self.open.is_empty() || self.shape == Shape::Content
    }

    /// Reads up to the next markup.
    fn characters(&mut self) -> Result<(), Refusal> {
        let bytes = self.text.as_bytes();
        let start = self.at;
        loop {
            let found = memchr3(b'<', b'&', b'>', &bytes[self.at..]);
            self.at = found.map_or(bytes.len(), |found| self.at + found);
            match bytes.get(self.at) {
                None | Some(b'<') => break,
                Some(b'&') => self.at += self.reference()?,
                Some(_) if bytes[start..self.at].ends_with(b"]]") => return self.fault(XmlFault::CdataEnd),
                Some(_) => self.at += 1,
            }
        }
        let text = &bytes[start..self.at];
        let allowed = match self.shape {
            _ if self.is_in_content() || text.is_empty() => true,
            Shape::Document => text.iter().all(|byte| is_space(*byte)),
            Shape::Element | Shape::Content => false,
        };
        if allowed { Ok(()) } else { Err(Fault::at(start, XmlFault::NotOneRoot).into()) }
    }

    /// The length of the reference that begins here.
    fn reference(&self) -> Result<usize, Fault> {
        reference_length(self.rest()).ok_or(Fault::at(self.at, XmlFault::Reference))
    }

    /// Reads over markup that begins with `open` bytes and ends with `close`; returns what stands between.
    fn enclosed(&mut self, open: usize, close: &str) -> Result<&'t str, Fault> {
        let inner = self.rest().get(open..).and_then(|rest| rest.find(close).map(|end| &rest[..end]));
        let inner = inner.ok_or(Fault::at(self.at, XmlFault::Open))?;
        self.at += open + inner.len() + close.len();
        Ok(inner)
    }

    fn declaration_or_comment(&mut self) -> Result<(), Refusal> {
        let start = self.at;
        if self.rest().starts_with("<!--") {
            self.beside()?;
            let inner = self.enclosed(4, "--")?;
            if !self.rest().starts_with('>') {
                let cause = if self.rest().is_empty() { XmlFault::Open } else { XmlFault::Comment };
                return Err(Fault::at(start + 4 + inner.len(), cause).into());
            }
            self.at += 1;
        } else if self.rest().starts_with("<![CDATA[") {
            if !self.is_in_content() {
                return self.fault(XmlFault::NotOneRoot);
            }
            self.enclosed(9, "]]>")?;
        } else {
            return self.fault(XmlFault::Dtd);
        }
        Ok(())
    }

    /// Refuses markup where only the one element may stand.
    fn beside(&self) -> Result<(), Refusal> {
        let allowed = self.shape != Shape::Element || !self.open.is_empty();
        if allowed { Ok(()) } else { self.fault(XmlFault::NotOneRoot) }
    }

    fn instruction(&mut self) -> Result<(), Refusal> {
        self.beside()?;
        let start = self.at;
        let inner = self.enclosed(2, "?>")?;
        let name = &inner[..name_length(inner)];
        let ends = inner[name.len()..].bytes().next().is_none_or(is_space);
        if name.is_empty() || !ends || name.eq_ignore_ascii_case("xml") {
            return Err(Fault::at(start, XmlFault::Instruction).into());
        }
        Ok(())
    }

    /// Reads an XML declaration if there is one (production 23).
    fn declaration(&mut self) -> Result<(), Fault> {
        let start = self.at;
        let is_one =
            self.rest().strip_prefix("<?xml").is_some_and(|rest| rest.bytes().next().is_some_and(is_space));
        if !is_one {
            return Ok(());
        }
        let inner = self.enclosed(5, "?>")?;
        let sound = declares(inner).is_some();
        if sound { Ok(()) } else { Err(Fault::at(start, XmlFault::Declaration)) }
    }

    fn start_tag(&mut self) -> Result<Tag<'t>, Refusal> {
        let start = self.at;
        if self.seen_root && !self.is_in_content() {
            return self.fault(XmlFault::NotOneRoot);
        }
        let level = u32::try_from(self.open.len()).unwrap_or(u32::MAX);
        let depth = self.above.saturating_add(level).saturating_add(1);
        LimitExceeded::unless(depth.into(), self.limits.depth.into(), Limit::Depth)?;
        self.elements += 1;
        LimitExceeded::unless(self.elements.into(), self.limits.elements.into(), Limit::Elements)?;
        self.seen_root = true;
        self.at += 1;
        let (name, prefix) = self.qualified_name()?;
        let empty = self.read_attributes()?;
        self.namespaces(start, depth)?;
        let unknown = Fault::at(start + 1, XmlFault::Prefix);
        let namespace = self.scope.resolve(&name[..prefix]).ok_or(unknown)?;
        let version = namespace.version;
        if empty {
            self.scope.leave(depth);
        } else {
            self.open.push((name, start));
        }
        let local = &name[if prefix == 0 { 0 } else { prefix + 1 }..];
        Ok(Tag::Start { range: start..self.at, local, version, empty })
    }

    fn end_tag(&mut self) -> Result<Tag<'t>, Refusal> {
        let start = self.at;
        let Some((name, _)) = self.open.pop() else { return self.fault(XmlFault::Unopened) };
        let Some(rest) = self.rest()[2..].strip_prefix(name) else {
            return self.fault(XmlFault::WrongEnd);
        };
        let space = rest.bytes().take_while(|byte| is_space(*byte)).count();
        match rest.as_bytes().get(space) {
            Some(b'>') => {}
            None => return self.fault(XmlFault::Open),
            Some(_) => return self.fault(XmlFault::WrongEnd),
        }
        self.at += 2 + name.len() + space + 1;
        let level = u32::try_from(self.open.len()).unwrap_or(u32::MAX);
        self.scope.leave(self.above.saturating_add(level).saturating_add(1));
        Ok(Tag::End { range: start..self.at })
    }

    /// A name with at most one colon, and the length of its prefix.
    fn qualified_name(&mut self) -> Result<(&'t str, usize), Refusal> {
        let text = self.rest();
        let mut length = name_length(text);
        let mut prefix = 0;
        if length > 0 && text[length..].starts_with(':') {
            prefix = length;
            let local = name_length(&text[length + 1..]);
            length = if local == 0 { 0 } else { length + 1 + local };
        }
        if length == 0 {
            return self.fault(XmlFault::Name);
        }
        self.at += length;
        Ok((&text[..length], prefix))
    }

    /// Reads white space; returns whether there was any.
    fn space(&mut self) -> bool {
        let length = self.rest().bytes().take_while(|byte| is_space(*byte)).count();
        self.at += length;
        length > 0
    }

    /// Reads the attributes of a start tag and its end; returns whether it closes itself.
    fn read_attributes(&mut self) -> Result<bool, Refusal> {
        self.attributes.clear();
        loop {
            let spaced = self.space();
            let bytes = self.text.as_bytes();
            match (bytes.get(self.at), bytes.get(self.at + 1)) {
                (Some(b'>'), _) => {
                    self.at += 1;
                    return Ok(false);
                }
                (Some(b'/'), Some(b'>')) => {
                    self.at += 2;
                    return Ok(true);
                }
                (None, _) | (Some(b'/'), None) => return self.fault(XmlFault::Open),
                _ if !spaced => return self.fault(XmlFault::Attribute),
                _ => {}
            }
            LimitExceeded::unless(
                self.attributes.len() as u64 + 1,
                self.limits.attributes.into(),
                Limit::Attributes,
            )?;
            let (name, prefix) = self.qualified_name()?;
            self.space();
            if !self.rest().starts_with('=') {
                return self.fault(XmlFault::Attribute);
            }
            self.at += 1;
            self.space();
            let raw = self.value()?;
            self.attributes.push(Attribute { name, prefix, raw });
        }
    }

    /// An attribute's value, as written between its quotes.
    fn value(&mut self) -> Result<&'t str, Refusal> {
        let bytes = self.text.as_bytes();
        let Some(quote) = bytes.get(self.at).copied().filter(|byte| matches!(byte, b'"' | b'\'')) else {
            return self.fault(XmlFault::Attribute);
        };
        let opened = self.at;
        self.at += 1;
        while let Some(found) = memchr3(quote, b'<', b'&', &bytes[self.at..]) {
            self.at += found;
            match bytes[self.at] {
                b'<' => return self.fault(XmlFault::LessThan),
                b'&' => self.at += self.reference()?,
                _ => {
                    self.at += 1;
                    return Ok(&self.text[opened + 1..self.at - 1]);
                }
            }
        }
        Err(Fault::at(opened, XmlFault::Open).into())
    }

    /// Takes the declarations of the start tag into scope, and refuses prefixes without one and attributes that occur twice.
    fn namespaces(&mut self, start: usize, depth: u32) -> Result<(), Refusal> {
        let faulty = |cause| Refusal::from(Fault::at(start, cause));
        let mut prefixed = false;
        for attribute in &self.attributes {
            if let Some(prefix) = declared_prefix(attribute.name) {
                self.scope.declare(prefix, attribute.raw, depth).map_err(faulty)?;
                LimitExceeded::unless(self.scope.len(), self.limits.namespaces.into(), Limit::Namespaces)?;
            } else {
                prefixed |= attribute.prefix > 0;
            }
        }
        if is_repeating(self.attributes.iter().map(|attribute| attribute.name), self.attributes.len()) {
            return Err(faulty(XmlFault::DuplicateAttribute));
        }
        if prefixed { self.prefixes().map_err(faulty) } else { Ok(()) }
    }

    /// Refuses prefixes without a declaration, and attributes that differ in nothing but their prefix.
    fn prefixes(&self) -> Result<(), XmlFault> {
        let mut seen = BTreeSet::new();
        for Attribute { name, prefix, .. } in &self.attributes {
            if *prefix == 0 || declared_prefix(name).is_some() {
                continue;
            }
            let namespace = self.scope.resolve(&name[..*prefix]).ok_or(XmlFault::Prefix)?.name;
            if !seen.insert((namespace, &name[prefix + 1..])) {
                return Err(XmlFault::DuplicateAttribute);
            }
        }
        Ok(())
    }
}

/// Whether a name occurs twice: by pairs while there are few, in order of size otherwise.
fn is_repeating<'n>(names: impl Iterator<Item = &'n str> + Clone, count: usize) -> bool {
    const FEW: usize = 12;
    if count > FEW {
        let mut seen = BTreeSet::new();
        return !names.into_iter().all(|name| seen.insert(name));
    }
    let mut rest = names;
    while let Some(name) = rest.next() {
        if rest.clone().any(|other| other == name) {
            return true;
        }
    }
    false
}

/// Whether this is what stands between `<?xml` and `?>` (productions 24, 32 and 80); an encoding is judged elsewhere.
fn declares(inner: &str) -> Option<()> {
    let rest = pseudo_attribute(inner, "version", |value| {
        value
            .strip_prefix("1.")
            .is_some_and(|minor| !minor.is_empty() && minor.bytes().all(|b| b.is_ascii_digit()))
    })?;
    let encoding = |value: &str| {
        value.starts_with(|c: char| c.is_ascii_alphabetic())
            && value.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
    };
    let rest = pseudo_attribute(rest, "encoding", encoding).unwrap_or(rest);
    let rest = pseudo_attribute(rest, "standalone", |value| matches!(value, "yes" | "no")).unwrap_or(rest);
    rest.bytes().all(is_space).then_some(())
}

/// What stands behind ` name="value"`, if `rest` begins with that.
fn pseudo_attribute<'r>(rest: &'r str, name: &str, accept: impl FnOnce(&str) -> bool) -> Option<&'r str> {
    let white = super::text::WHITE;
    let after = rest.trim_start_matches(white);
    let value = after.strip_prefix(name).filter(|_| after.len() < rest.len())?;
    let value = value.trim_start_matches(white).strip_prefix('=')?.trim_start_matches(white);
    let quote = value.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    let (inner, rest) = value[1..].split_once(quote)?;
    accept(inner).then_some(rest)
}
