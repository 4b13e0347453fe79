//! The frame of a zip file: its end record and directory (APPNOTE 4.3.12, 4.3.16), checked to the byte before anything is
//! allocated by what they say.
//!
//! A zip file is read from its end, and readers differ in where they look for that. Here it is the last end record, it ends
//! the file, and the directory stands directly before it. So every reader finds the same directory, and it has as many
//! entries as it claims.

use std::collections::BTreeSet;

use super::PackageLimits;
use super::error::{PackageError, PackageLimit};

/// Begins an entry's own header.
const LOCAL: &[u8] = b"PK\x03\x04";
/// Begins a header in the directory.
const CENTRAL: &[u8] = b"PK\x01\x02";
/// Begins the end record.
const END: &[u8] = b"PK\x05\x06";
/// Begins what stands directly before the end record in ZIP64.
const LOCATOR_64: &[u8] = b"PK\x06\x07";
/// Bytes of a directory header, without what has its own length.
const CENTRAL_LENGTH: usize = 46;
/// Bytes of the end record, without the comment.
const END_LENGTH: usize = 22;
/// Bytes of the ZIP64 locator.
const LOCATOR_LENGTH: usize = 20;

/// Whether the bytes begin with an entry, or with the end of a package that has none.
pub(super) fn begins_like_one(bytes: &[u8]) -> bool {
    bytes.starts_with(LOCAL) || bytes.starts_with(END)
}

/// Checks the frame; everything that is bounded by the number of entries may follow.
pub(super) fn check(bytes: &[u8], limits: &PackageLimits) -> Result<(), PackageError> {
    PackageError::unless(bytes.len() as u64, limits.bytes, PackageLimit::Bytes)?;
    if !begins_like_one(bytes) {
        return Err(PackageError::broken("it does not begin like one"));
    }
    let end = end_record(bytes).ok_or_else(|| PackageError::broken("it does not end with an end record"))?;
    let before = &bytes[..end];
    let record = &bytes[end..];
    let is_64 = before[before.len().saturating_sub(LOCATOR_LENGTH)..].starts_with(LOCATOR_64);
    let [disk, first_disk, here, count] = [4, 6, 8, 10].map(|at| short(record, at).unwrap_or(u16::MAX));
    let [size, start] = [12, 16].map(|at| long(record, at).unwrap_or(u32::MAX));
    if is_64
        || disk != 0
        || first_disk != 0
        || here != count
        || count == u16::MAX
        || u32::MAX == size.max(start)
    {
        return Err(PackageError::Unsupported);
    }
    PackageError::unless(count.into(), limits.entries.into(), PackageLimit::Entries)?;
    let directory = usize::try_from(start).ok().and_then(|start| before.get(start..));
    let directory = directory.filter(|directory| directory.len() as u64 == u64::from(size));
    let directory =
        directory.ok_or_else(|| PackageError::broken("its directory is not where it should be"))?;
    check_directory(directory, count, limits)
}

/// The offset of the last end record, if that ends the file.
fn end_record(bytes: &[u8]) -> Option<usize> {
    let tail = bytes.len().saturating_sub(END_LENGTH + usize::from(u16::MAX));
    let end = tail + bytes[tail..].windows(END.len()).rposition(|window| window == END)?;
    let comment = usize::from(short(&bytes[end..], END_LENGTH - 2)?);
    (end + END_LENGTH + comment == bytes.len()).then_some(end)
}

/// The directory is exactly `count` headers, no two of one name.
fn check_directory(directory: &[u8], count: u16, limits: &PackageLimits) -> Result<(), PackageError> {
    let torn = || PackageError::broken("its directory does not hold the entries it should");
    let mut seen = BTreeSet::new();
    let mut rest = directory;
    for _ in 0..count {
        if !rest.starts_with(CENTRAL) {
            return Err(torn());
        }
        let lengths = [28, 30, 32].map(|at| short(rest, at).map(usize::from));
        let [Some(name), Some(extra), Some(comment)] = lengths else { return Err(torn()) };
        PackageError::unless(name as u64, limits.name.into(), PackageLimit::Name)?;
        let name = rest.get(CENTRAL_LENGTH..CENTRAL_LENGTH + name).ok_or_else(torn)?;
        if !seen.insert(name) {
            return Err(PackageError::DuplicateName { name: String::from_utf8_lossy(name).into_owned() });
        }
        rest = rest.get(CENTRAL_LENGTH + name.len() + extra + comment..).ok_or_else(torn)?;
    }
    if rest.is_empty() { Ok(()) } else { Err(torn()) }
}

/// The 16-bit number at an offset.
fn short(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2)?.try_into().ok().map(u16::from_le_bytes)
}

/// The 32-bit number at an offset.
fn long(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_le_bytes)
}
