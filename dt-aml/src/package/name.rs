//! Names of entries: which are accepted, and which are the same (ISO/IEC 29500-2, part names).

use std::borrow::Cow;

/// Whether a name is relative, stays in the package, and means the same everywhere. A directory's ends in a slash.
pub(super) fn is_sound(name: &str) -> bool {
    let decoded = decode(name);
    let path = decoded.strip_suffix('/').unwrap_or(&decoded);
    let is_drive =
        path.as_bytes().get(1) == Some(&b':') && path.starts_with(|c: char| c.is_ascii_alphabetic());
    let segments = || path.split('/').all(|segment| !matches!(segment, "" | "." | ".."));
    !is_drive && !path.contains(|c: char| c == '\\' || c.is_control()) && segments()
}

/// What two names have in common that are the same: case and percent-encoding do not count.
pub(super) fn key(name: &str) -> String {
    decode(name).trim_end_matches('/').to_ascii_lowercase()
}

/// The text with percent-encoding resolved; as it is where that gives no text.
pub(super) fn decode(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return Cow::Borrowed(text);
    }
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        match (first, tail) {
            (b'%', [high, low, tail @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                out.push(digit(*high) << 4 | digit(*low));
                rest = tail;
            }
            _ => {
                out.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8(out).map_or(Cow::Borrowed(text), Cow::Owned)
}

/// The value of a hexadecimal digit.
fn digit(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20).wrapping_sub(b'a').wrapping_add(10),
    }
}
