//! The little XML that a document needs after it was checked: names, attributes and character data in spans.
//!
//! These functions read text that was found well-formed. On other text they return less, never panic, and
//! never read beyond it.

use std::borrow::Cow;

use memchr::memchr;

use super::chars::is_space;

/// XML white space (XML 1.0, production 3).
pub(crate) const WHITE: [char; 4] = [' ', '\t', '\r', '\n'];

/// True for white space in XML's sense, which is narrower than Unicode's.
pub(crate) fn is_white(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n'))
}

/// The qualified name in a start or end tag, such as `caex:Attribute`.
pub(crate) fn tag_name(tag: &str) -> &str {
    let inner = tag.trim_start_matches('<').trim_start_matches('/');
    let ends = |byte: u8| is_space(byte) || matches!(byte, b'/' | b'>');
    let end = inner.bytes().position(ends).unwrap_or(inner.len());
    &inner[..end]
}

/// Splits a qualified name into prefix (empty if none) and local name.
pub(crate) fn split_name(name: &str) -> (&str, &str) {
    name.split_once(':').unwrap_or(("", name))
}

/// The attributes in a start tag as (qualified name, raw value), in document order.
pub(crate) fn attributes(head: &str) -> Attributes<'_> {
    let skip = 1 + tag_name(head).len();
    Attributes { rest: head.get(skip..).unwrap_or("") }
}

/// Iterator of [`attributes`].
pub(crate) struct Attributes<'a> {
    rest: &'a str,
}

impl<'a> Iterator for Attributes<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        let (name, after) = self.rest.split_at(memchr(b'=', self.rest.as_bytes())?);
        let value = after[1..].trim_ascii_start();
        let quote = value.bytes().next().filter(|byte| matches!(byte, b'"' | b'\''))?;
        let inner = &value[1..];
        let (inner, rest) = inner.split_at(memchr(quote, inner.as_bytes())?);
        self.rest = &rest[1..];
        Some((name.trim_ascii(), inner))
    }
}

/// The namespace declarations in a start tag.
fn declarations(head: &str) -> impl Iterator<Item = (&str, &str)> {
    attributes(head).filter(|(name, _)| *name == "xmlns" || name.starts_with("xmlns:"))
}

/// Whether two start tags have the same name and declare the same namespaces: what stands behind one means the same behind the other.
pub(crate) fn are_alike(head: &str, other: &str) -> bool {
    tag_name(head) == tag_name(other) && declarations(head).eq(declarations(other))
}

/// The normalized value of the attribute `name` in a start tag.
pub(crate) fn attribute<'a>(head: &'a str, name: &str) -> Option<Cow<'a, str>> {
    attributes(head).find(|(candidate, _)| *candidate == name).map(|(_, raw)| attribute_value(raw))
}

/// Normalizes a raw attribute value: references resolved, white space to spaces (XML 1.0, 3.3.3).
pub(crate) fn attribute_value(raw: &str) -> Cow<'_, str> {
    if !raw.bytes().any(|byte| matches!(byte, b'&' | b'\t' | b'\r' | b'\n')) {
        return Cow::Borrowed(raw);
    }
    let spaced = raw.replace("\r\n", " ").replace(['\t', '\r', '\n'], " ");
    Cow::Owned(unescape(&spaced).into_owned())
}

/// Resolves the five predefined entities and character references. No other entity can exist without a DTD.
pub(crate) fn unescape(text: &str) -> Cow<'_, str> {
    if !text.contains('&') {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('&') {
        out.push_str(before);
        match after.split_once(';').and_then(|(name, tail)| Some((reference(name)?, tail))) {
            Some((c, tail)) => {
                out.push(c);
                rest = tail;
            }
            None => {
                out.push('&');
                rest = after;
            }
        }
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// The character that `&name;` stands for.
pub(super) fn reference(name: &str) -> Option<char> {
    match name {
        "lt" => Some('<'),
        "gt" => Some('>'),
        "amp" => Some('&'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => {
            let digits = name.strip_prefix('#')?;
            // Rust's numbers may have a sign.
            if digits.contains('+') {
                return None;
            }
            let code = match digits.strip_prefix('x') {
                Some(hex) => u32::from_str_radix(hex, 16).ok()?,
                None => digits.parse().ok()?,
            };
            char::from_u32(code)
        }
    }
}

/// Makes `text` fit between tags, so that it is read as it is.
pub(crate) fn escape_text(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\r' => out.push_str("&#13;"),
            _ => out.push(c),
        }
    }
    out
}

/// A start tag without one of its attributes and the white space before it.
pub(crate) fn without_attribute(head: &str, name: &str) -> String {
    let mut from = head.len() - attributes(head).rest.len();
    let mut attributes = attributes(head);
    while let Some((found, _)) = attributes.next() {
        let to = head.len() - attributes.rest.len();
        if found == name {
            return [&head[..from], &head[to..]].concat();
        }
        from = to;
    }
    head.to_owned()
}

/// Appends the character data of a piece between tags: text and CDATA, without comments and instructions.
pub(crate) fn push_text(piece: &str, out: &mut String) {
    let mut rest = piece;
    while let Some(at) = rest.find('<') {
        push_characters(&rest[..at], out);
        let markup = &rest[at..];
        let (open, close) = if markup.starts_with("<!--") {
            (4, "-->")
        } else if markup.starts_with("<![CDATA[") {
            (9, "]]>")
        } else {
            (2, "?>")
        };
        let Some(body) = markup.get(open..) else { return };
        let end = body.find(close).unwrap_or(body.len());
        if open == 9 {
            out.push_str(&body[..end].replace("\r\n", "\n").replace('\r', "\n"));
        }
        rest = body.get(end + close.len()..).unwrap_or("");
    }
    push_characters(rest, out);
}

/// Text with line ends normalized and references resolved.
fn push_characters(text: &str, out: &mut String) {
    if text.contains('\r') {
        out.push_str(&unescape(&text.replace("\r\n", "\n").replace('\r', "\n")));
    } else {
        out.push_str(&unescape(text));
    }
}
