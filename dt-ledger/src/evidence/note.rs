//! Signed notes, as C2SP specifies them (<https://c2sp.org/signed-note>), with plain Ed25519 signatures.
//!
//! ```text
//! text, of any number of lines
//!
//! — <key name> <base64(key ID ‖ signature)>
//! ```
//!
//! Verifiers of transparency logs read this form. A signature is made over the text alone, without one of our domains
//! ([`dt_model::Domain`]), which others do not know. What we sign elsewhere begins with a domain's length in one byte and a name that
//! begins with `dt/`; so a text in which these three characters follow on its first byte MUST NOT be signed
//! ([`NoteError::Ambiguous`]), and no signature under a note passes for one under anything else, or the other way round.

use core::fmt;
use core::str::FromStr;

use data_encoding::{BASE64, HEXLOWER};
use dt_model::{ContentHash, PartyId, Signature, SignatureError, Signer, SignerError};
use thiserror::Error;

/// The longest note that is read: hundreds of Ed25519 signatures, or sixteen of the longest that the specification expects.
pub const MAX_NOTE_BYTES: usize = 256 * 1024;
/// The longest key name.
pub const MAX_KEY_NAME_BYTES: usize = 255;
/// The type of plain Ed25519 signatures, as the specification assigns it.
const ED25519: u8 = 0x01;
/// What a signature line starts with: an em dash and a space.
const SIGNATURE: &str = "\u{2014} ";
const KEY_ID_BYTES: usize = 4;

/// Why a text is no note, or is not signed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum NoteError {
    /// The note is longer than [`MAX_NOTE_BYTES`].
    #[error("the note has {size} bytes, more than {MAX_NOTE_BYTES}")]
    TooLong {
        /// Its bytes.
        size: usize,
    },
    /// The bytes are not UTF-8, or hold a control character other than the line feed.
    #[error("the note is no text")]
    NotText,
    /// The text does not end with a line feed.
    #[error("the text of the note does not end with its line")]
    OpenLine,
    /// No line of a signature follows on the last empty line.
    #[error("the note has no signature")]
    Unsigned,
    /// A line after the last empty one is no signature.
    #[error("signature line {line} of the note is malformed")]
    Line {
        /// Counted from 1.
        line: usize,
    },
    /// A key's name is empty, longer than [`MAX_KEY_NAME_BYTES`], or has a space, a plus sign, or a control character.
    #[error("not a key's name")]
    KeyName,
    /// The text could be the beginning of something else that is signed.
    #[error("the text of the note begins like what is signed for other purposes")]
    Ambiguous,
    /// The signer did not sign.
    #[error(transparent)]
    Signer(#[from] SignerError),
}

/// A key that signs notes: an Ed25519 key and its name.
///
/// It is shown and read in the form in which transparency-log tools are told a key: `<name>+<key ID>+<base64(0x01 ‖ key)>`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct NoteKey {
    name: String,
    party: PartyId,
    id: [u8; KEY_ID_BYTES],
}

impl NoteKey {
    /// The key of `party` under `name`: a URL without its scheme, as a rule.
    ///
    /// # Errors
    /// [`NoteError::KeyName`].
    pub fn new(name: impl Into<String>, party: PartyId) -> Result<Self, NoteError> {
        let name = name.into();
        if !is_key_name(&name) {
            return Err(NoteError::KeyName);
        }
        let preimage = [name.as_bytes(), &[b'\n', ED25519], party.as_bytes()].concat();
        let [a, b, c, d, ..] = *ContentHash::of(&preimage).as_bytes();
        Ok(Self { name, party, id: [a, b, c, d] })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whose it is.
    #[must_use]
    pub const fn party(&self) -> PartyId {
        self.party
    }

    /// The first four bytes of SHA-256(name ‖ 0x0A ‖ 0x01 ‖ key): to find a key by, never to trust one for.
    #[must_use]
    pub const fn id(&self) -> [u8; 4] {
        self.id
    }
}

impl fmt::Display for NoteKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = [&[ED25519], &self.party.as_bytes()[..]].concat();
        write!(f, "{}+{}+{}", self.name, HEXLOWER.encode(&self.id), BASE64.encode(&key))
    }
}

/// The text is not in the form `<name>+<key ID>+<base64(0x01 ‖ key)>`, or is no acceptable Ed25519 key, or another's ID.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
#[error("not the key of an Ed25519 note signer")]
pub struct NoteKeyError;

impl FromStr for NoteKey {
    type Err = NoteKeyError;

    fn from_str(text: &str) -> Result<Self, NoteKeyError> {
        let mut parts = text.splitn(3, '+');
        let (Some(name), Some(_), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(NoteKeyError);
        };
        let key = BASE64.decode(key.as_bytes()).map_err(|_| NoteKeyError)?;
        let key = key.strip_prefix(&[ED25519]).and_then(|key| <[u8; 32]>::try_from(key).ok());
        let party = PartyId::from_bytes(key.ok_or(NoteKeyError)?).map_err(|_| NoteKeyError)?;
        let key = Self::new(name, party).map_err(|_| NoteKeyError)?;
        if key.to_string() == text { Ok(key) } else { Err(NoteKeyError) }
    }
}

/// A signature line, of any algorithm. Nothing about it is verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoteSignature {
    name: String,
    id: [u8; KEY_ID_BYTES],
    signature: Vec<u8>,
}

impl NoteSignature {
    /// The signature of `signer` over `text`, under a key of this name.
    ///
    /// # Errors
    /// [`NoteError`].
    pub fn sign(text: &str, name: &str, signer: &dyn Signer) -> Result<Self, NoteError> {
        check_text(text)?;
        if text.as_bytes().get(1..4) == Some(b"dt/") {
            return Err(NoteError::Ambiguous);
        }
        let NoteKey { name, id, .. } = NoteKey::new(name, signer.party())?;
        let signature = signer.sign(text.as_bytes())?;
        Ok(Self { name, id, signature: signature.as_bytes().to_vec() })
    }

    /// The name of the key that is said to have signed.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The ID of the key that is said to have signed.
    #[must_use]
    pub const fn id(&self) -> [u8; 4] {
        self.id
    }

    fn parse(line: &str) -> Option<Self> {
        let (name, signature) = line.strip_prefix(SIGNATURE)?.split_once(' ')?;
        let bytes = BASE64.decode(signature.as_bytes()).ok()?;
        let (id, signature) = bytes.split_first_chunk::<KEY_ID_BYTES>()?;
        let parsed = Self { name: name.to_owned(), id: *id, signature: signature.to_vec() };
        // The decoder reads padded pieces one after the other as one: only the encoding that is written is accepted.
        let is_one = is_key_name(name) && !signature.is_empty() && parsed.to_string() == line;
        is_one.then_some(parsed)
    }

    fn is_by(&self, key: &NoteKey, text: &str) -> bool {
        let signature = <[u8; 64]>::try_from(&self.signature[..]).map(Signature::from);
        signature.is_ok_and(|signature| key.party.verify(text.as_bytes(), &signature).is_ok())
    }
}

impl fmt::Display for NoteSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SIGNATURE}{} {}", self.name, BASE64.encode(&[&self.id, &self.signature[..]].concat()))
    }
}

/// A text and signatures under it. Nothing about it is verified: whoever reads the text MUST ask [`SignedNote::verify`] first.
///
/// # Invariant
/// The text ends with a line feed, has no other control characters, and is followed by at least one signature. What was parsed is
/// shown again byte for byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedNote {
    text: String,
    signatures: Vec<NoteSignature>,
}

impl SignedNote {
    /// The note of `text` and signatures that were made over it.
    ///
    /// # Errors
    /// [`NoteError`].
    pub fn new(text: impl Into<String>, signatures: Vec<NoteSignature>) -> Result<Self, NoteError> {
        let note = Self { text: text.into(), signatures };
        check_text(&note.text)?;
        if note.signatures.is_empty() {
            return Err(NoteError::Unsigned);
        }
        match note.to_string().len() {
            size if size > MAX_NOTE_BYTES => Err(NoteError::TooLong { size }),
            _ => Ok(note),
        }
    }

    /// Reads a note, without believing it.
    ///
    /// # Errors
    /// [`NoteError`]; more than [`MAX_NOTE_BYTES`] are refused before any work.
    pub fn parse(note: &[u8]) -> Result<Self, NoteError> {
        if note.len() > MAX_NOTE_BYTES {
            return Err(NoteError::TooLong { size: note.len() });
        }
        let note = core::str::from_utf8(note).map_err(|_| NoteError::NotText)?;
        check_text(note)?;
        // The text may have empty lines: the last one in the note ends it.
        let end = note.rfind("\n\n").ok_or(NoteError::Unsigned)?;
        let (text, lines) = (&note[..=end], &note[end + 2..]);
        if lines.is_empty() {
            return Err(NoteError::Unsigned);
        }
        let signature =
            |(line, text): (usize, &str)| NoteSignature::parse(text).ok_or(NoteError::Line { line });
        let signatures = (1..).zip(lines.lines()).map(signature).collect::<Result<_, _>>()?;
        Ok(Self { text: text.to_owned(), signatures })
    }

    /// What is said to be signed, with its last line feed.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The signatures, in the order of their lines.
    #[must_use]
    pub fn signatures(&self) -> &[NoteSignature] {
        &self.signatures
    }

    /// Which of `keys` signed, each once, in the order of their signatures. Signatures by others are ignored.
    ///
    /// Where several keys share name and ID, which somebody may bring about on purpose, the signature counts for whom it verifies.
    ///
    /// # Errors
    /// [`SignatureError`] if none did, or if one signature by a known key does not verify.
    pub fn verify<'k>(&self, keys: &'k [NoteKey]) -> Result<Vec<&'k NoteKey>, SignatureError> {
        let mut signers: Vec<&NoteKey> = Vec::new();
        for signature in &self.signatures {
            let known = keys.iter().filter(|key| key.id == signature.id && key.name == signature.name);
            // A second signature by one key is not looked at, so there are no more to verify than keys.
            let mut open = known.filter(|key| !signers.contains(key)).peekable();
            if open.peek().is_none() {
                continue;
            }
            signers.push(open.find(|key| signature.is_by(key, &self.text)).ok_or(SignatureError)?);
        }
        if signers.is_empty() { Err(SignatureError) } else { Ok(signers) }
    }
}

impl fmt::Display for SignedNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        self.signatures.iter().try_for_each(|signature| writeln!(f, "{signature}"))
    }
}

/// Whether `text` can be a note's: whole lines, without control characters.
fn check_text(text: &str) -> Result<(), NoteError> {
    if text.chars().any(|c| c < ' ' && c != '\n') {
        return Err(NoteError::NotText);
    }
    if text.ends_with('\n') { Ok(()) } else { Err(NoteError::OpenLine) }
}

fn is_key_name(name: &str) -> bool {
    let fits = !name.is_empty() && name.len() <= MAX_KEY_NAME_BYTES;
    fits && !name.chars().any(|c| c.is_whitespace() || c.is_control() || c == '+')
}
