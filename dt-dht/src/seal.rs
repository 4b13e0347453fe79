//! Sealing content of any length under one key: the STREAM construction over ChaCha20-Poly1305 (RFC 8439) in chunks of 64 KiB.
//!
//! STREAM is Hoang, Reyhanitabar, Rogaway and Vizár, "Online Authenticated-Encryption and its Nonce-Reuse Misuse-Resistance", 2015.
//! Chunk *i* is sealed under the nonce `00 00 00 00 00 00 00 ‖ i (4 bytes, big-endian) ‖ last`, where `last` is 1 for the last chunk
//! and 0 otherwise. So a chunk opens only in its own place: what was cut off, reordered, repeated, or extended does not open. The
//! caller's context is bound by the key, which is derived from his and it; as associated data it would shift the blocks that
//! Poly1305 takes four at a time, and cost a tenth of the whole.
//!
//! [`seal()`] and [`open()`] are for content in memory, [`Sealer`] and [`Opener`] for streams and for ranges.
//!
//! # Invariants
//! - A key MUST seal at most one content: derive a key per item and version. The nonces start from zero each time.
//! - All chunks but the last hold exactly [`CHUNK_BYTES`]; the last one holds at least one byte, unless the content is empty. So a
//!   content has one sealed form.
//! - The cipher does not commit to its key: whoever opens MUST check a commitment to the key or to the content besides, if somebody
//!   who knows two keys could gain from one ciphertext that opens under both.

use core::ops::Range;

use chacha20poly1305::aead::inout::InOutBuf;
use chacha20poly1305::aead::{AeadInOut, Error, KeyInit};
use chacha20poly1305::{ChaCha20Poly1305, Nonce, Tag};
use dt_model::{Domain, Secret, SecretError};
use zeroize::Zeroizing;

/// Bytes of content in a chunk: large enough that tags cost 0.02 %, small enough to start reading early.
pub const CHUNK_BYTES: usize = 64 * 1024;

/// What every chunk is longer when sealed: a Poly1305 tag.
pub const TAG_BYTES: usize = 16;

/// The key of all chunks of one content in one context.
const CHUNKS: Domain = Domain::new("dt/dht/seal/v1");

/// Bytes of a full chunk when sealed.
const SEALED_CHUNK_BYTES: usize = CHUNK_BYTES + TAG_BYTES;

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
pub const fn sealed_bytes(length: u64) -> u64 {
    let chunks = length.div_ceil(CHUNK_BYTES as u64);
    length.saturating_add((TAG_BYTES as u64).saturating_mul(if chunks == 0 { 1 } else { chunks }))
}

/// Which sealed bytes hold the content in `range`: whole chunks, so the last one may end behind the sealed content.
///
/// ```
/// use dt_dht::seal::sealed_range;
/// assert_eq!(sealed_range(10..20), 0..65_552);
/// assert_eq!(sealed_range(65_535..65_537), 0..131_104);
/// assert_eq!(sealed_range(65_536..65_536), 65_552..65_552);
/// ```
#[must_use]
pub const fn sealed_range(range: Range<u64>) -> Range<u64> {
    let first = range.start / CHUNK_BYTES as u64;
    let behind = if range.start < range.end { range.end.div_ceil(CHUNK_BYTES as u64) } else { first };
    first.saturating_mul(SEALED_CHUNK_BYTES as u64)..behind.saturating_mul(SEALED_CHUNK_BYTES as u64)
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
    let chunks = plaintext.len().div_ceil(CHUNK_BYTES).max(1);
    let mut sealed = Vec::with_capacity(plaintext.len() + chunks * TAG_BYTES);
    let stream = Stream::new(key, context);
    for number in 0..chunks {
        let start = number * CHUNK_BYTES;
        let chunk = &plaintext[start..plaintext.len().min(start + CHUNK_BYTES)];
        stream
            .seal(number as u64, number + 1 == chunks, chunk, &mut sealed)
            .expect("no more chunks than MAX_CHUNKS");
    }
    sealed
}

/// Opens what [`seal()`] sealed under the same key and context. Memory use is that of the content, and nothing of it is returned unless
/// all of it is sound.
///
/// # Errors
/// [`SecretError`], without a reason.
pub fn open(key: &Secret, context: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SecretError> {
    let mut plaintext = Zeroizing::new(Vec::with_capacity(sealed.len()));
    let mut opener = Opener::new(key, context, sealed.len() as u64)?;
    opener.push(sealed, &mut plaintext)?;
    opener.finish()?;
    Ok(plaintext)
}

/// Seals content that comes piece by piece, into the same bytes as [`seal()`].
///
/// # Examples
/// ```
/// use dt_dht::seal::{self, Sealer};
/// use dt_model::Secret;
///
/// let key = Secret::from_bytes([7; 32]);
/// let (mut sealer, mut sealed) = (Sealer::new(&key, b"item 1, version 1"), Vec::new());
/// sealer.push(b"pressure ", &mut sealed)?;
/// sealer.push(b"log", &mut sealed)?; // what is in `sealed` may be sent and taken out between any two calls
/// sealer.finish(&mut sealed)?;
/// assert_eq!(sealed, seal::seal(&key, b"item 1, version 1", b"pressure log"));
/// # Ok::<(), dt_model::SecretError>(())
/// ```
pub struct Sealer {
    stream: Stream,
    /// The number of the next chunk.
    next: u64,
    /// What is not sealed yet: the last chunk is sealed in another way, so a full one has to wait for the byte behind it.
    pending: Zeroizing<Vec<u8>>,
}

impl Sealer {
    /// Starts a content under `key`, which seals nothing else, bound to `context`.
    #[must_use]
    pub fn new(key: &Secret, context: &[u8]) -> Self {
        Self { stream: Stream::new(key, context), next: 0, pending: Zeroizing::new(Vec::new()) }
    }

    /// Goes on with a content of which the first `chunks` chunks have been sealed under the same key and context: the next byte to be
    /// pushed is the one at `chunks` × [`CHUNK_BYTES`]. It MUST be the same content, or two contents are sealed under one nonce.
    #[must_use]
    pub fn resume(key: &Secret, context: &[u8], chunks: u64) -> Self {
        Self { next: chunks, ..Self::new(key, context) }
    }

    /// Takes the next bytes of the content, and appends to `sealed` what can be sealed by now.
    ///
    /// # Errors
    /// [`SecretError`] for content of more than [`MAX_CHUNKS`] chunks.
    pub fn push(&mut self, mut plaintext: &[u8], sealed: &mut Vec<u8>) -> Result<(), SecretError> {
        if !self.pending.is_empty() {
            let missing = (CHUNK_BYTES - self.pending.len()).min(plaintext.len());
            let (head, tail) = plaintext.split_at(missing);
            self.pending.extend_from_slice(head);
            plaintext = tail;
            if plaintext.is_empty() {
                return Ok(());
            }
            self.stream.seal(self.next, false, &self.pending, sealed)?;
            self.next += 1;
            self.pending.clear();
        }
        while let Some((chunk, tail)) = plaintext.split_at_checked(CHUNK_BYTES)
            && !tail.is_empty()
        {
            self.stream.seal(self.next, false, chunk, sealed)?;
            self.next += 1;
            plaintext = tail;
        }
        if self.pending.capacity() == 0 {
            // At once, so that no copy of it is left behind when it grows.
            self.pending.reserve_exact(CHUNK_BYTES);
        }
        self.pending.extend_from_slice(plaintext);
        Ok(())
    }

    /// Ends the content, and appends the last chunk to `sealed`.
    ///
    /// # Errors
    /// [`SecretError`] for content of more than [`MAX_CHUNKS`] chunks.
    pub fn finish(self, sealed: &mut Vec<u8>) -> Result<(), SecretError> {
        self.stream.seal(self.next, true, &self.pending, sealed)
    }
}

/// Opens sealed content piece by piece, or any chunks of it on their own.
///
/// The length says which chunk is the last one, and how long it is. So content that was cut off does not pass for whole: with the length
/// of what is left, its last chunk does not open. A range that does not reach the last chunk says nothing of the length.
///
/// # Examples
/// ```
/// use dt_dht::seal::{self, Opener};
/// use dt_model::Secret;
///
/// let (key, content) = (Secret::from_bytes([7; 32]), vec![5; 1_000_000]);
/// let sealed = seal::seal(&key, b"", &content);
/// let opener = Opener::new(&key, b"", sealed.len() as u64)?;
/// let range = 300_000..300_010;
/// let needed = opener.sealed_range(range.clone()); // of a gigabyte, too, these are 64 KiB
/// let opened = opener.open_range(range, &sealed[needed.start as usize..needed.end as usize])?;
/// assert_eq!(&**opened, [5; 10]);
/// # Ok::<(), dt_model::SecretError>(())
/// ```
pub struct Opener {
    stream: Stream,
    /// How long the sealed content is.
    length: u64,
    /// The number of the next chunk of the stream.
    next: u64,
    /// Sealed bytes that are no whole chunk yet.
    pending: Vec<u8>,
}

impl Opener {
    /// Opens content that is `length` bytes long when sealed.
    ///
    /// # Errors
    /// [`SecretError`] if no content has this length when sealed.
    pub fn new(key: &Secret, context: &[u8], length: u64) -> Result<Self, SecretError> {
        let chunks = length.div_ceil(SEALED_CHUNK_BYTES as u64);
        // The last chunk has a tag, and only the only one may have nothing else.
        let last = length.saturating_sub(chunks.saturating_sub(1) * SEALED_CHUNK_BYTES as u64);
        let least = TAG_BYTES as u64 + u64::from(chunks > 1);
        if chunks > MAX_CHUNKS || last < least {
            return Err(SecretError);
        }
        Ok(Self { stream: Stream::new(key, context), length, next: 0, pending: Vec::new() })
    }

    /// How long the content is, if it is what it seems.
    #[must_use]
    pub const fn content_bytes(&self) -> u64 {
        self.length - self.length.div_ceil(SEALED_CHUNK_BYTES as u64) * TAG_BYTES as u64
    }

    /// Goes on with chunk `number`: the next byte to be pushed is the one at `number` sealed chunks. What was pushed and not opened is
    /// forgotten. A stream that does not start at chunk 0 says nothing of what is before.
    pub fn seek(&mut self, number: u64) {
        self.next = number;
        self.pending.clear();
    }

    /// Takes the next sealed bytes, and appends to `plaintext` what can be opened by now. What it appends is sound, in its place.
    ///
    /// # Errors
    /// [`SecretError`]; then `plaintext` has only sound chunks, and the stream is of no further use.
    pub fn push(&mut self, mut sealed: &[u8], plaintext: &mut Vec<u8>) -> Result<(), SecretError> {
        loop {
            let size = self.chunk_bytes(self.next).ok_or(SecretError);
            if sealed.is_empty() {
                return Ok(());
            }
            let size = size?;
            if self.pending.is_empty()
                && let Some((chunk, tail)) = sealed.split_at_checked(size)
            {
                self.stream.open(self.next, self.is_last(self.next), chunk, plaintext)?;
                sealed = tail;
            } else {
                let (head, tail) = sealed.split_at(sealed.len().min(size - self.pending.len()));
                self.pending.extend_from_slice(head);
                sealed = tail;
                if self.pending.len() < size {
                    return Ok(());
                }
                self.stream.open(self.next, self.is_last(self.next), &self.pending, plaintext)?;
                self.pending.clear();
            }
            self.next += 1;
        }
    }

    /// Ends the stream.
    ///
    /// # Errors
    /// [`SecretError`] if content is missing.
    pub fn finish(self) -> Result<(), SecretError> {
        let whole = self.pending.is_empty() && self.chunk_bytes(self.next).is_none();
        if whole { Ok(()) } else { Err(SecretError) }
    }

    /// [`sealed_range`], within this content.
    #[must_use]
    pub fn sealed_range(&self, range: Range<u64>) -> Range<u64> {
        let needed = sealed_range(range);
        needed.start.min(self.length)..needed.end.min(self.length)
    }

    /// Opens the content in `range`, given exactly the sealed bytes of [`Opener::sealed_range`]. It has nothing to do with the stream.
    ///
    /// # Errors
    /// [`SecretError`], also for a range that the content does not have.
    pub fn open_range(&self, range: Range<u64>, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SecretError> {
        let needed = self.sealed_range(range.clone());
        let fits = range.start <= range.end && range.end <= self.content_bytes();
        if !fits || sealed.len() as u64 != needed.end - needed.start {
            return Err(SecretError);
        }
        let mut plaintext = Zeroizing::new(Vec::with_capacity(sealed.len()));
        let first = needed.start / SEALED_CHUNK_BYTES as u64;
        for (number, chunk) in (first..).zip(sealed.chunks(SEALED_CHUNK_BYTES)) {
            self.stream.open(number, self.is_last(number), chunk, &mut plaintext)?;
        }
        let length = usize::try_from(range.end - range.start).map_err(|_| SecretError)?;
        let skipped = usize::try_from(range.start % CHUNK_BYTES as u64).map_err(|_| SecretError)?;
        let skipped = skipped.min(plaintext.len());
        plaintext.copy_within(skipped.., 0);
        plaintext.truncate(length);
        Ok(plaintext)
    }

    /// The length of a chunk when sealed; `None` behind the last one.
    fn chunk_bytes(&self, number: u64) -> Option<usize> {
        let start = number.checked_mul(SEALED_CHUNK_BYTES as u64)?;
        let left = self.length.checked_sub(start).filter(|left| *left > 0)?;
        Some(usize::try_from(left).unwrap_or(usize::MAX).min(SEALED_CHUNK_BYTES))
    }

    const fn is_last(&self, number: u64) -> bool {
        number + 1 == self.length.div_ceil(SEALED_CHUNK_BYTES as u64)
    }
}

/// The cipher, chunk by chunk.
struct Stream(ChaCha20Poly1305);

impl Stream {
    fn new(key: &Secret, context: &[u8]) -> Self {
        Self(ChaCha20Poly1305::new(key.derive(CHUNKS, context).expose().into()))
    }

    /// Appends chunk `number`, sealed, to `out`.
    fn seal(&self, number: u64, last: bool, chunk: &[u8], out: &mut Vec<u8>) -> Result<(), SecretError> {
        let nonce = nonce(number, last)?;
        let tag = beside(chunk, out)
            .and_then(|both| self.0.encrypt_inout_detached(&nonce, &[], both))
            .map_err(|_| SecretError)?;
        out.extend_from_slice(&tag);
        Ok(())
    }

    /// Appends chunk `number`, opened, to `out`; on error nothing.
    fn open(&self, number: u64, last: bool, chunk: &[u8], out: &mut Vec<u8>) -> Result<(), SecretError> {
        let (content, tag) = chunk.split_last_chunk::<TAG_BYTES>().ok_or(SecretError)?;
        let (nonce, tag) = (nonce(number, last)?, Tag::from(*tag));
        let at = out.len();
        let opened =
            beside(content, out).and_then(|both| self.0.decrypt_inout_detached(&nonce, &[], both, &tag));
        opened.map_err(|_| {
            out.truncate(at);
            SecretError
        })
    }
}

/// The bytes of `chunk`, and as much new room at the end of `out`: to work from one into the other costs less than to copy first.
fn beside<'a>(chunk: &'a [u8], out: &'a mut Vec<u8>) -> Result<InOutBuf<'a, 'a, u8>, Error> {
    let at = out.len();
    out.resize(at + chunk.len(), 0);
    InOutBuf::new(chunk, &mut out[at..]).map_err(|_| Error)
}

/// Counter and flag.
fn nonce(number: u64, last: bool) -> Result<Nonce, SecretError> {
    let mut nonce = [0; 12];
    nonce[7..11].copy_from_slice(&u32::try_from(number).map_err(|_| SecretError)?.to_be_bytes());
    nonce[11] = u8::from(last);
    Ok(nonce.into())
}
