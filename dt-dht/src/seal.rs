//! Sealing content of any length under one key: the STREAM construction over ChaCha20-Poly1305 (RFC 8439) in chunks of 64 KiB.
//!
//! STREAM is Hoang, Reyhanitabar, Rogaway and Vizár, "Online Authenticated-Encryption and its Nonce-Reuse Misuse-Resistance", 2015.
//! Chunk *i* is sealed under the nonce `00 00 00 00 00 00 00 ‖ i (4 bytes, big-endian) ‖ last`, where `last` is 1 for the last chunk
//! and 0 otherwise, with the caller's context as associated data. So a chunk opens only in its own place: what was cut off,
//! reordered, repeated, or extended does not open.
//!
//! # Invariants
//! - A key MUST seal at most one content: derive a key per item and version. The nonces start from zero each time.
//! - All chunks but the last hold exactly [`CHUNK_BYTES`]; the last one holds at least one byte, unless the content is empty. So a
//!   content has one sealed form.
//! - The cipher does not commit to its key: whoever opens MUST check a commitment to the key or to the content besides, if somebody
//!   who knows two keys could gain from one ciphertext that opens under both.

use chacha20poly1305::aead::{AeadInOut, KeyInit};
use chacha20poly1305::{ChaCha20Poly1305, Nonce, Tag};
use dt_model::{Secret, SecretError};
use zeroize::Zeroizing;

/// Bytes of content in a chunk: large enough that tags cost 0.02 %, small enough to start reading early.
pub const CHUNK_BYTES: usize = 64 * 1024;

/// What every chunk is longer when sealed: a Poly1305 tag.
pub const TAG_BYTES: usize = 16;

/// The longest content: as many chunks as the counter has numbers, 256 TiB.
pub const MAX_CHUNKS: u64 = u32::MAX as u64 + 1;

/// How long content of `length` bytes is when sealed.
///
/// ```
/// use dt_dht::seal::sealed_bytes;
/// assert_eq!(sealed_bytes(0), 16);
/// assert_eq!(sealed_bytes(65_536), 65_536 + 16);
/// assert_eq!(sealed_bytes(65_537), 65_537 + 32);
/// ```
#[must_use]
pub const fn sealed_bytes(length: usize) -> usize {
    let chunks = length.div_ceil(CHUNK_BYTES);
    length + TAG_BYTES * if chunks == 0 { 1 } else { chunks }
}

/// Seals `plaintext` under `key`, bound to `context`, which whoever opens must give again.
///
/// # Panics
/// For a plaintext of more than [`MAX_CHUNKS`] chunks, which no caller's limit admits and no memory holds.
///
/// # Examples
/// ```
/// use dt_dht::seal;
/// use dt_model::Secret;
///
/// let key = Secret::from_bytes([7; 32]); // for this one content only
/// let sealed = seal::seal(&key, b"item 1, version 1", b"pressure log");
/// assert_eq!(&**seal::open(&key, b"item 1, version 1", &sealed)?, b"pressure log");
/// assert!(seal::open(&key, b"item 1, version 2", &sealed).is_err());
/// # Ok::<(), dt_model::SecretError>(())
/// ```
#[must_use]
#[expect(clippy::expect_used, reason = "see Panics: a chunk is far below the cipher's limit")]
pub fn seal(key: &Secret, context: &[u8], plaintext: &[u8]) -> Vec<u8> {
    let cipher = ChaCha20Poly1305::new(key.expose().into());
    let mut sealed = Vec::with_capacity(sealed_bytes(plaintext.len()));
    let chunks = chunk_count(plaintext.len(), CHUNK_BYTES);
    for index in 0..chunks {
        let start = index * CHUNK_BYTES;
        let end = (start + CHUNK_BYTES).min(plaintext.len());
        let nonce = nonce(index, index + 1 == chunks).expect("no more chunks than MAX_CHUNKS");
        let at = sealed.len();
        sealed.extend_from_slice(&plaintext[start..end]);
        let tag = cipher
            .encrypt_inout_detached(&nonce, context, (&mut sealed[at..]).into())
            .expect("a chunk is below the cipher's limit");
        sealed.extend_from_slice(&tag);
    }
    sealed
}

/// Opens what [`seal`] sealed under the same key and context. Memory use is that of the content, and nothing of it is returned unless
/// all of it is sound.
///
/// # Errors
/// [`SecretError`], without a reason.
pub fn open(key: &Secret, context: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SecretError> {
    let cipher = ChaCha20Poly1305::new(key.expose().into());
    let mut plaintext = Zeroizing::new(Vec::with_capacity(sealed.len()));
    let chunks = chunk_count(sealed.len(), CHUNK_BYTES + TAG_BYTES);
    for (index, chunk) in sealed.chunks(CHUNK_BYTES + TAG_BYTES).enumerate() {
        let last = index + 1 == chunks;
        let (content, tag) = chunk.split_last_chunk::<TAG_BYTES>().ok_or(SecretError)?;
        if content.is_empty() && chunks > 1 {
            return Err(SecretError);
        }
        let nonce = nonce(index, last).ok_or(SecretError)?;
        let at = plaintext.len();
        plaintext.extend_from_slice(content);
        cipher
            .decrypt_inout_detached(&nonce, context, (&mut plaintext[at..]).into(), &Tag::from(*tag))
            .map_err(|_| SecretError)?;
    }
    if sealed.is_empty() { Err(SecretError) } else { Ok(plaintext) }
}

/// At least one: empty content has one empty chunk.
fn chunk_count(length: usize, chunk: usize) -> usize {
    length.div_ceil(chunk).max(1)
}

/// Counter and flag; `None` when the counter has run out.
fn nonce(index: usize, last: bool) -> Option<Nonce> {
    let mut nonce = [0; 12];
    nonce[7..11].copy_from_slice(&u32::try_from(index).ok()?.to_be_bytes());
    nonce[11] = u8::from(last);
    Some(nonce.into())
}
