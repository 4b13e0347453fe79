//! From the bytes of a zip file to the files in it.
//!
//! Two passes: what the directory says about all entries is judged first, then they are expanded one by one.

use std::collections::BTreeSet;
use std::io::{Cursor, Read};

use zip::read::{ArchiveOffset, Config, ZipFileEntry};
use zip::result::ZipError;
use zip::{CompressionMethod, ZipArchive};

use super::error::{PackageError, PackageLimit};
use super::{Entry, PackageLimits, frame, name};

type Archive<'b> = ZipArchive<Cursor<&'b [u8]>>;

/// The files in a zip file, in the order of its directory.
pub(super) fn read(bytes: &[u8], limits: &PackageLimits) -> Result<Vec<Entry>, PackageError> {
    frame::check(bytes, limits)?;
    let config = Config { archive_offset: ArchiveOffset::Known(0) };
    let mut archive = Archive::with_config(config, Cursor::new(bytes)).map_err(broken)?;
    if archive.has_overlapping_entries().map_err(broken)? {
        return Err(PackageError::Overlap);
    }
    survey(&archive, limits)?;
    archive.validate_header_consistency().map_err(broken)?;
    let mut entries = Vec::new();
    let mut left = limits.expanded;
    for index in 0..archive.len() {
        if let Some(entry) = expand(&mut archive, index, left, limits)? {
            left = left.saturating_sub(entry.bytes.len() as u64);
            entries.push(entry);
        }
    }
    Ok(entries)
}

/// Judges all entries by what the directory says.
fn survey(archive: &Archive<'_>, limits: &PackageLimits) -> Result<(), PackageError> {
    let mut seen = BTreeSet::new();
    let mut declared = 0_u64;
    for index in 0..archive.len() {
        let entry = archive.by_index_data(index).map_err(broken)?;
        let name = judge(&entry)?;
        if !seen.insert(name::key(&name)) {
            return Err(PackageError::DuplicateName { name });
        }
        PackageError::unless(entry.size(), limits.entry, PackageLimit::Entry)?;
        declared = declared.saturating_add(entry.size());
        PackageError::unless(declared, limits.expanded, PackageLimit::Expanded)?;
    }
    Ok(())
}

/// The name of an entry that is of an accepted sort.
fn judge(entry: &ZipFileEntry<'_>) -> Result<String, PackageError> {
    let name = entry.name().map_err(broken)?.into_owned();
    if !name::is_sound(&name) {
        return Err(PackageError::BadName { name });
    }
    if entry.encrypted() {
        return Err(PackageError::Encrypted { name });
    }
    if entry.is_symlink() {
        return Err(PackageError::Link { name });
    }
    match entry.compression() {
        CompressionMethod::Stored | CompressionMethod::Deflated => Ok(name),
        method => Err(PackageError::Method { name, method: method.to_string() }),
    }
}

/// Expands one entry to at most `left` bytes; `None` for a directory.
fn expand(
    archive: &mut Archive<'_>,
    index: usize,
    left: u64,
    limits: &PackageLimits,
) -> Result<Option<Entry>, PackageError> {
    let file = archive.by_index(index).map_err(broken)?;
    let name = file.name().map_err(broken)?.into_owned();
    let (declared, is_directory) = (file.size(), file.is_dir());
    let mut bytes = Vec::new();
    // One byte more than allowed tells what fills a limit from what exceeds it.
    let most = limits.entry.min(left).saturating_add(1);
    if let Err(error) = file.take(most).read_to_end(&mut bytes) {
        return Err(PackageError::Damaged { name, cause: error.to_string() });
    }
    let length = bytes.len() as u64;
    PackageError::unless(length, limits.entry, PackageLimit::Entry)?;
    if length > left {
        return Err(PackageError::Limit { limit: PackageLimit::Expanded, max: limits.expanded });
    }
    if length != declared || is_directory && length > 0 {
        return Err(PackageError::Damaged { name, cause: "it has another size than it should".to_owned() });
    }
    Ok((!is_directory).then_some(Entry { name, bytes }))
}

/// What the reader of archives finds wrong, in words.
fn broken(error: ZipError) -> PackageError {
    match error {
        ZipError::InvalidArchive(cause) => PackageError::broken(cause),
        error => PackageError::broken(error),
    }
}
