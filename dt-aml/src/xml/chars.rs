//! Character classes of XML 1.0 (fifth edition) and its references.

/// White space (production 3).
const SPACE: u8 = 1;
/// Begins a name (production 4) without the colon, which separates a prefix.
const NAME_START: u8 = 2;
/// Goes on in a name (production 4a) without the colon.
const NAME: u8 = 4;

/// The classes of ASCII; bytes of longer characters have none and are decoded where it matters.
const CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut byte = 0;
    while byte < 128 {
        classes[byte] = match byte as u8 {
            b' ' | b'\t' | b'\r' | b'\n' => SPACE,
            b'a'..=b'z' | b'A'..=b'Z' | b'_' => NAME_START | NAME,
            b'0'..=b'9' | b'-' | b'.' => NAME,
            _ => 0,
        };
        byte += 1;
    }
    classes
};

pub(super) fn is_space(byte: u8) -> bool {
    CLASSES[byte as usize] & SPACE != 0
}

/// The length of the name without a colon (NCName) that `text` begins with; 0 if it begins with none.
pub(super) fn name_length(text: &str) -> usize {
    let bytes = text.as_bytes();
    let mut length = 0;
    let mut class = NAME_START;
    while let Some(byte) = bytes.get(length) {
        if CLASSES[*byte as usize] & class != 0 {
            length += 1;
        } else if byte.is_ascii() {
            break;
        } else {
            match text[length..].chars().next().filter(|c| is_name_char(*c, class)) {
                Some(c) => length += c.len_utf8(),
                None => break,
            }
        }
        class = NAME;
    }
    length
}

/// Whether a character beyond ASCII is of the class (productions 4 and 4a).
fn is_name_char(c: char, class: u8) -> bool {
    let starts = matches!(c,
        '\u{C0}'..='\u{D6}' | '\u{D8}'..='\u{F6}' | '\u{F8}'..='\u{2FF}' | '\u{370}'..='\u{37D}' | '\u{37F}'..='\u{1FFF}'
        | '\u{200C}'..='\u{200D}' | '\u{2070}'..='\u{218F}' | '\u{2C00}'..='\u{2FEF}' | '\u{3001}'..='\u{D7FF}'
        | '\u{F900}'..='\u{FDCF}' | '\u{FDF0}'..='\u{FFFD}' | '\u{10000}'..='\u{EFFFF}');
    starts || class == NAME && matches!(c, '\u{B7}' | '\u{300}'..='\u{36F}' | '\u{203F}'..='\u{2040}')
}

/// Whether a character may stand in a document at all (production 2).
fn is_char(c: char) -> bool {
    !matches!(c, '\0'..='\u{8}' | '\u{B}' | '\u{C}' | '\u{E}'..='\u{1F}' | '\u{FFFE}' | '\u{FFFF}')
}

/// The offset of the first character that may not stand in a document.
pub(super) fn first_forbidden(text: &str) -> Option<usize> {
    // Block by block without a branch inside, which compilers turn into vector instructions.
    const BLOCK: usize = 4096;
    let suspicious = |block: &[u8]| {
        block.iter().fold(false, |found, byte| {
            found | ((*byte < b' ') & !matches!(*byte, b'\t' | b'\r' | b'\n')) | (*byte == 0xEF)
        })
    };
    let mut from = 0;
    for block in text.as_bytes().chunks(BLOCK) {
        if suspicious(block) {
            // The last character of the block may reach beyond it, the first may begin before it.
            let start = (from..=from + 3).find(|at| text.is_char_boundary(*at)).unwrap_or(from);
            let end = from + block.len();
            let found = text[start..].char_indices().take_while(|(at, _)| start + at < end);
            if let Some((at, _)) = found.into_iter().find(|(_, c)| !is_char(*c)) {
                return Some(start + at);
            }
        }
        from += block.len();
    }
    None
}

/// The length of the reference that `text` begins with, `&lt;` or `&#60;`; none if it is not one that can be resolved
/// without a document type declaration.
pub(super) fn reference_length(text: &str) -> Option<usize> {
    let inner = text.strip_prefix('&')?;
    let end = inner.bytes().position(|byte| !byte.is_ascii_alphanumeric() && byte != b'#')?;
    let (name, rest) = inner.split_at(end);
    let _ = super::text::reference(name).filter(|c| is_char(*c) && rest.starts_with(';'))?;
    Some(end + 2)
}
